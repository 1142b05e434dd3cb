#pragma once
/**
 * @file net/unix_datagram.h  A UNIX datagram socket with a name of its own
 *
 * Whoever gets a datagram from it can answer, if the file's mode lets him: to
 * send to a socket is to write to its file. The other end is found anew for
 * each datagram, so it may come and go. Never blocks.
 */
#include <sys/types.h>

#include "base/span.h"
#include "net/loop.h"

#define UNIX_DATAGRAM_MAX_BYTES 65536

struct unix_datagram;

/** A datagram came; what is over UNIX_DATAGRAM_MAX_BYTES is cut. The handler
 * must not free the socket. */
typedef void unix_datagram_h(struct span datagram, void *arg);

/**
 * Make the socket. A stale file is replaced, one that somebody has open is not.
 *
 * @param mode   e.g. 0660
 * @param group  (gid_t)-1: leave it
 * @return 0 or negative errno (-EADDRINUSE, -ENAMETOOLONG, ...)
 */
int unix_datagram_new(struct unix_datagram **ret, struct loop *loop,
		      const char *path, mode_t mode, gid_t group,
		      unix_datagram_h *handler, void *arg);

/** Close it and remove its file. @return NULL */
struct unix_datagram *unix_datagram_free(struct unix_datagram *sock);

/**
 * Send to the socket with this path.
 *
 * @return 0, -EAGAIN (it is full), -ENOENT or -ECONNREFUSED (nobody is there),
 *         -ENAMETOOLONG, or another negative errno
 */
int unix_datagram_send(struct unix_datagram *sock, const char *path,
		       struct span datagram);
