/*
 * Accounting to a file: the JSON of each record as a line of its own
 *
 * A batch is one write and one fdatasync. A record stands twice in the file if
 * the daemon died between the two and the word to the spool: readers that care
 * tell by record_id. No line is ever half a record, but for the one on which a
 * machine went down; it is ended before the next is written.
 *
 * The file may be moved or removed under us (logrotate): the next batch begins
 * a new one. Nobody else may write to it: what a failed write left is cut off.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "accounting/backend.h"
#include "base/cleanup.h"

#define NUMBERED_SIZE (PATH_MAX + 16)
#define MODE 0640 /* who called whom is not for everybody */

struct file {
	char path[PATH_MAX], folder[PATH_MAX];
	uint64_t rotate_bytes;
	unsigned keep;
	int fd; /* -1: not open */
};

static int fail(struct buf *why, const char *what, const char *path, int err)
{
	buf_printf(why, "cannot %s %s: %s", what, path, strerror(-err));
	return err;
}

static void file_close(struct file *file)
{
	closep(&file->fd);
	file->fd = -1;
}

static void file_stop(void *state)
{
	struct file *file = state;

	file_close(file);
	free(file);
}

static int set_paths(struct file *file, const struct backend_config *config)
{
	const char *path = config->conf->file.path;
	const char *state_dir = path[0] == '/' ? "" : config->state_dir;
	char copy[PATH_MAX];
	int len;

	len = snprintf(file->path, sizeof(file->path), "%s%s%s", state_dir,
		       path[0] == '/' ? "" : "/", path);
	if (len < 0 || (size_t)len >= sizeof(file->path))
		return -ENAMETOOLONG;
	memcpy(copy, file->path, sizeof(copy));
	(void)snprintf(file->folder, sizeof(file->folder), "%s", dirname(copy));
	return 0;
}

static int check_paths(const struct file *file, struct buf *why)
{
	struct stat st;

	if (stat(file->folder, &st) < 0 || !S_ISDIR(st.st_mode)) {
		buf_printf(why,
			   "[File] path: there is no folder %s: make it, or "
			   "write another path",
			   file->folder);
		return -EINVAL;
	}
	if (access(file->folder, W_OK | X_OK) < 0) {
		buf_printf(why,
			   "[File] path: no right to write to the folder %s: "
			   "%s",
			   file->folder, strerror(errno));
		return -EINVAL;
	}
	if (stat(file->path, &st) == 0 && !S_ISREG(st.st_mode)) {
		buf_printf(why, "[File] path: %s is no file: write another",
			   file->path);
		return -EINVAL;
	}
	return 0;
}

static int file_start(void **ret_state, const struct backend_config *config,
		      struct buf *ret_why)
{
	struct file *file = calloc(1, sizeof(*file));
	int err;

	if (!file)
		return -ENOMEM;
	file->fd = -1;
	file->rotate_bytes = (uint64_t)config->conf->file.rotate_mib << 20;
	file->keep = config->conf->file.keep;
	err = set_paths(file, config);
	if (err < 0)
		buf_printf(ret_why, "[File] path is too long");
	else
		err = check_paths(file, ret_why);
	if (err < 0) {
		file_stop(file);
		return -EINVAL;
	}
	*ret_state = file;
	return 0;
}

/* A name that was made or changed outlives a crash once its folder is synced.
 */
static int sync_folder(const struct file *file)
{
	CLEANUP(closep) int fd = -1;

	fd = open(file->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static bool is_still_there(const struct file *file)
{
	struct stat ours, named;

	return fstat(file->fd, &ours) == 0 && stat(file->path, &named) == 0 &&
	       ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

/* O_NONBLOCK: a FIFO that somebody put there must not hold the thread. */
static int file_open(struct file *file, struct buf *why)
{
	struct stat st;
	int err;

	if (file->fd >= 0 && is_still_there(file))
		return 0;
	file_close(file);
	file->fd = open(file->path,
			O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK,
			MODE);
	if (file->fd < 0)
		return fail(why, "open", file->path, -errno);
	err = fstat(file->fd, &st) < 0 ? -errno : 0;
	if (err == 0 && !S_ISREG(st.st_mode))
		err = -EINVAL;
	if (err == 0 && st.st_size == 0)
		err = sync_folder(file);
	if (err < 0) {
		file_close(file);
		return fail(why, "use", file->path, err);
	}
	return 0;
}

static void numbered(const struct file *file, unsigned number,
		     char name[static NUMBERED_SIZE])
{
	if (number == 0)
		(void)snprintf(name, NUMBERED_SIZE, "%s", file->path);
	else
		(void)snprintf(name, NUMBERED_SIZE, "%s.%u", file->path,
			       number);
}

/* From the oldest on, so that a crash in between leaves a gap in the numbers
 * and loses nothing. The oldest is overwritten. */
static int shift(const struct file *file)
{
	char from[NUMBERED_SIZE], to[NUMBERED_SIZE];

	if (file->keep == 0)
		return unlink(file->path) < 0 ? -errno : 0;
	for (unsigned number = file->keep; number > 0; number--) {
		numbered(file, number - 1, from);
		numbered(file, number, to);
		if (rename(from, to) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int rotate(struct file *file, struct buf *why)
{
	int err = shift(file);

	if (err == 0)
		err = sync_folder(file);
	if (err < 0)
		return fail(why, "rotate", file->path, err);
	file_close(file);
	return file_open(file, why);
}

/* White space between the tokens of JSON may be a newline; inside a text it
 * never is. */
static void add_line(struct buf *lines, struct span json)
{
	size_t begin = lines->len;

	buf_add(lines, json);
	for (size_t i = begin; !buf_failed(lines) && i < lines->len; i++)
		if (lines->data[i] == '\n' || lines->data[i] == '\r')
			lines->data[i] = ' ';
	buf_char(lines, '\n');
}

/* @return the size of the file, or negative errno */
static int64_t end_of(const struct file *file, bool *ret_in_line)
{
	struct stat st;
	char last = '\n';

	if (fstat(file->fd, &st) < 0)
		return -errno;
	if (st.st_size > 0 && pread(file->fd, &last, 1, st.st_size - 1) != 1)
		return -EIO;
	*ret_in_line = last != '\n';
	return st.st_size;
}

/* One write; a second one tells why the first was short. */
static int append(const struct file *file, struct span text)
{
	while (text.len > 0) {
		ssize_t len = write(file->fd, text.ptr, text.len);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		text.ptr += len;
		text.len -= (size_t)len;
	}
	return fdatasync(file->fd) < 0 ? -errno : 0;
}

static int write_batch(struct file *file, const struct buf *lines,
		       struct buf *why)
{
	bool in_line = false;
	int64_t size;
	int err;

	err = file_open(file, why);
	if (err < 0)
		return err;
	size = end_of(file, &in_line);
	if (size > 0 && (uint64_t)size + lines->len > file->rotate_bytes) {
		err = rotate(file, why);
		if (err < 0)
			return err;
		size = end_of(file, &in_line);
	}
	if (size < 0)
		return fail(why, "read", file->path, (int)size);
	err = in_line ? append(file, SPAN("\n")) : 0;
	if (err == 0)
		err = append(file, buf_span(lines));
	if (err == 0)
		return 0;
	/* No half line stays; where even that fails, the next batch ends it. */
	if (ftruncate(file->fd, size) < 0)
		file_close(file);
	return fail(why, "write to", file->path, err);
}

static int file_deliver(void *state, struct delivery *batch, size_t count,
			struct buf *ret_why)
{
	CLEANUP(buf_done) struct buf lines = {0};
	int err;

	for (size_t i = 0; i < count; i++)
		add_line(&lines, batch[i].record.json);
	if (buf_failed(&lines)) {
		buf_printf(ret_why, "out of memory");
		return -ENOMEM;
	}
	err = write_batch(state, &lines, ret_why);
	if (err < 0)
		return err;
	for (size_t i = 0; i < count; i++)
		batch[i].outcome = DELIVERY_DONE;
	return 0;
}

const struct backend file_backend = {
	.name = "file",
	.section = "File",
	.batch = 256,
	.start = file_start,
	.deliver = file_deliver,
	.stop = file_stop,
};
