#pragma once
/**
 * @file net/unix_file.h  The file of a UNIX socket that is ours
 *
 * A stale one is replaced, one that somebody has open is not. Until owner and
 * mode are right nobody may use it.
 */
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>

struct unix_file {
	struct sockaddr_un address; /* its path is "" where there is none */
	dev_t device;
	ino_t inode;
};

/** Write a path into an address. @return 0 or -ENAMETOOLONG */
int unix_address(const char *path, struct sockaddr_un *ret);

/**
 * Bind a socket, not blocking, to a file with nobody's rights.
 *
 * @param type  SOCK_STREAM or SOCK_DGRAM
 * @return the socket, or negative errno: -EADDRINUSE (somebody has it),
 *         -ENOTSOCK (the file is something else), -ENAMETOOLONG, ...
 */
int unix_file_bind(struct unix_file *ret, int type, const char *path);

/** Give the file to those who may use it. group: (gid_t)-1 leaves it.
 * @return 0 or negative errno */
int unix_file_open_to(const struct unix_file *file, mode_t mode, gid_t group);

/** Remove the file, but not that of a successor who has taken the name over. */
void unix_file_remove(const struct unix_file *file);
