#include "disk.h"

#include <assert.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILES 64

/* What a file looked like when it was synced last. */
struct image {
	char path[512];
	char *bytes;
	size_t len;
};

struct disk_file {
	sqlite3_file base;
	const char *path;
	sqlite3_file *real;
};

static struct {
	sqlite3_vfs vfs, *real;
	sqlite3_io_methods methods;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool full, stalled;
	size_t syncs;
	size_t count;
	struct image images[MAX_FILES];
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER,
	  .changed = PTHREAD_COND_INITIALIZER};

static sqlite3_file *real(sqlite3_file *file)
{
	return ((struct disk_file *)file)->real;
}

static struct image *image_of(const char *path, bool make)
{
	for (size_t i = 0; i < disk.count; i++)
		if (strcmp(disk.images[i].path, path) == 0)
			return &disk.images[i];
	if (!make)
		return NULL;
	assert(disk.count < MAX_FILES);
	snprintf(disk.images[disk.count].path, sizeof(disk.images[0].path),
		 "%s", path);
	return &disk.images[disk.count++];
}

static void take_image(struct disk_file *file)
{
	struct image *image = image_of(file->path, true);
	sqlite3_int64 size = 0;

	file->real->pMethods->xFileSize(file->real, &size);
	free(image->bytes);
	image->bytes = malloc((size_t)size + 1);
	image->len = (size_t)size;
	assert(image->bytes);
	if (size > 0)
		file->real->pMethods->xRead(file->real, image->bytes, (int)size,
					    0);
}

static int disk_close(sqlite3_file *file)
{
	struct disk_file *f = (struct disk_file *)file;
	int r = f->real->pMethods ? f->real->pMethods->xClose(f->real)
				  : SQLITE_OK;

	free(f->real);
	return r;
}

static int disk_read(sqlite3_file *file, void *to, int len, sqlite3_int64 at)
{
	return real(file)->pMethods->xRead(real(file), to, len, at);
}

static int disk_write(sqlite3_file *file, const void *from, int len,
		      sqlite3_int64 at)
{
	bool full;

	pthread_mutex_lock(&disk.lock);
	full = disk.full;
	pthread_mutex_unlock(&disk.lock);
	return full ? SQLITE_FULL
		    : real(file)->pMethods->xWrite(real(file), from, len, at);
}

static int disk_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	return real(file)->pMethods->xTruncate(real(file), size);
}

static int disk_sync(sqlite3_file *file, int flags)
{
	int r;

	pthread_mutex_lock(&disk.lock);
	while (disk.stalled)
		pthread_cond_wait(&disk.changed, &disk.lock);
	r = real(file)->pMethods->xSync(real(file), flags);
	take_image((struct disk_file *)file);
	disk.syncs++;
	pthread_mutex_unlock(&disk.lock);
	return r;
}

static int disk_file_size(sqlite3_file *file, sqlite3_int64 *ret)
{
	return real(file)->pMethods->xFileSize(real(file), ret);
}

static int disk_lock(sqlite3_file *file, int level)
{
	return real(file)->pMethods->xLock(real(file), level);
}

static int disk_unlock(sqlite3_file *file, int level)
{
	return real(file)->pMethods->xUnlock(real(file), level);
}

static int disk_check_reserved(sqlite3_file *file, int *ret)
{
	return real(file)->pMethods->xCheckReservedLock(real(file), ret);
}

static int disk_control(sqlite3_file *file, int op, void *arg)
{
	return real(file)->pMethods->xFileControl(real(file), op, arg);
}

static int disk_sector_size(sqlite3_file *file)
{
	return real(file)->pMethods->xSectorSize(real(file));
}

/* Without promises: SQLite must not rely on what this disk does not keep. */
static int disk_characteristics(sqlite3_file *file)
{
	(void)file;
	return 0;
}

static int disk_shm_map(sqlite3_file *file, int page, int size, int extend,
			void volatile **ret)
{
	return real(file)->pMethods->xShmMap(real(file), page, size, extend,
					     ret);
}

static int disk_shm_lock(sqlite3_file *file, int at, int count, int flags)
{
	return real(file)->pMethods->xShmLock(real(file), at, count, flags);
}

static void disk_shm_barrier(sqlite3_file *file)
{
	real(file)->pMethods->xShmBarrier(real(file));
}

static int disk_shm_unmap(sqlite3_file *file, int delete)
{
	return real(file)->pMethods->xShmUnmap(real(file), delete);
}

static int disk_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file,
		     int flags, int *ret_flags)
{
	struct disk_file *f = (struct disk_file *)file;
	int r;

	(void)vfs;
	f->path = path ? path : "";
	f->real = calloc(1, (size_t)disk.real->szOsFile);
	f->base.pMethods = NULL;
	if (!f->real)
		return SQLITE_NOMEM;
	r = disk.real->xOpen(disk.real, path, f->real, flags, ret_flags);
	if (r == SQLITE_OK)
		f->base.pMethods = &disk.methods;
	else
		free(f->real);
	return r;
}

static int disk_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
	(void)vfs;
	return disk.real->xDelete(disk.real, path, sync);
}

void disk_install(void)
{
	disk.real = sqlite3_vfs_find(NULL);
	disk.vfs = *disk.real;
	disk.vfs.pNext = NULL;
	disk.vfs.zName = "disk";
	disk.vfs.szOsFile = sizeof(struct disk_file);
	disk.vfs.xOpen = disk_open;
	disk.vfs.xDelete = disk_delete;
	disk.methods = (sqlite3_io_methods){
		.iVersion = 2,
		.xClose = disk_close,
		.xRead = disk_read,
		.xWrite = disk_write,
		.xTruncate = disk_truncate,
		.xSync = disk_sync,
		.xFileSize = disk_file_size,
		.xLock = disk_lock,
		.xUnlock = disk_unlock,
		.xCheckReservedLock = disk_check_reserved,
		.xFileControl = disk_control,
		.xSectorSize = disk_sector_size,
		.xDeviceCharacteristics = disk_characteristics,
		.xShmMap = disk_shm_map,
		.xShmLock = disk_shm_lock,
		.xShmBarrier = disk_shm_barrier,
		.xShmUnmap = disk_shm_unmap,
	};
	disk.syncs = 0;
	sqlite3_vfs_register(&disk.vfs, 1);
}

void disk_uninstall(void)
{
	sqlite3_vfs_unregister(&disk.vfs);
	for (size_t i = 0; i < disk.count; i++)
		free(disk.images[i].bytes);
	memset(disk.images, 0, sizeof(disk.images));
	disk.count = 0;
	disk.full = disk.stalled = false;
}

static void set(bool *flag, bool value)
{
	pthread_mutex_lock(&disk.lock);
	*flag = value;
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.lock);
}

void disk_set_full(bool is_full)
{
	set(&disk.full, is_full);
}

void disk_set_stalled(bool is_stalled)
{
	set(&disk.stalled, is_stalled);
}

size_t disk_syncs(void)
{
	size_t syncs;

	pthread_mutex_lock(&disk.lock);
	syncs = disk.syncs;
	pthread_mutex_unlock(&disk.lock);
	return syncs;
}

static void write_image(const char *path, const char *to)
{
	const struct image *image = image_of(path, false);
	FILE *file;

	if (!image)
		return;
	file = fopen(to, "w");
	assert(file);
	assert(fwrite(image->bytes, 1, image->len, file) == image->len);
	fclose(file);
}

void disk_write_durable(const char *path, const char *to)
{
	char from_log[600], to_log[600];

	snprintf(from_log, sizeof(from_log), "%s-wal", path);
	snprintf(to_log, sizeof(to_log), "%s-wal", to);
	pthread_mutex_lock(&disk.lock);
	write_image(path, to);
	write_image(from_log, to_log);
	pthread_mutex_unlock(&disk.lock);
}
