#include "net/unix_file.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

int unix_address(const char *path, struct sockaddr_un *ret)
{
	size_t len = strlen(path);

	if (len >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret->sun_path, path, len);
	return 0;
}

static int make_socket(int type)
{
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/*
 * Remove a socket file that nobody has open.
 *
 * @return 0, -EADDRINUSE, or -ENOTSOCK if the file is something else
 */
static int remove_stale(const struct sockaddr_un *address, int type)
{
	struct stat st;
	CLEANUP(closep) int fd = -1;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = make_socket(type);
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) ==
	    0)
		return -EADDRINUSE;
	if (errno == ENOENT)
		return 0;
	if (errno != ECONNREFUSED)
		return -EADDRINUSE; /* a full backlog, another type, no right */
	return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

int unix_file_bind(struct unix_file *ret, int type, const char *path)
{
	struct unix_file file = {0};
	CLEANUP(closep) int fd = -1;
	struct stat st;
	mode_t before;
	int err = unix_address(path, &file.address);

	if (err == 0)
		err = remove_stale(&file.address, type);
	if (err < 0)
		return err;
	fd = make_socket(type);
	if (fd < 0)
		return fd;
	before = umask(0777);
	if (bind(fd, (const struct sockaddr *)&file.address,
		 sizeof(file.address)) < 0)
		err = -errno;
	umask(before);
	if (err < 0)
		return err;
	if (lstat(path, &st) == 0) {
		file.device = st.st_dev;
		file.inode = st.st_ino;
	}
	*ret = file;
	return TAKE_FD(fd);
}

int unix_file_open_to(const struct unix_file *file, mode_t mode, gid_t group)
{
	const char *path = file->address.sun_path;

	if ((group != (gid_t)-1 && lchown(path, (uid_t)-1, group) < 0) ||
	    chmod(path, mode) < 0)
		return -errno;
	return 0;
}

void unix_file_remove(const struct unix_file *file)
{
	const char *path = file->address.sun_path;
	struct stat st;

	if (path[0] && lstat(path, &st) == 0 && st.st_ino == file->inode &&
	    st.st_dev == file->device)
		unlink(path);
}
