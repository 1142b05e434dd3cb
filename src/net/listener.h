#pragma once
/**
 * @file net/listener.h  Accepting connections on TCP and UNIX sockets
 *
 * Without descriptors or memory (EMFILE and its like) it pauses for 100 ms
 * instead of spinning, and counts that; the clients wait in the backlog.
 */
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"
#include "net/loop.h"

struct listener;

/** A new connection; the handler owns the descriptor. peer: unset for UNIX. */
typedef void listener_h(int fd, const struct endpoint *peer, void *arg);

/** Listen on a TCP address; an unset IP address with a port listens on all
 * (IPv4 and IPv6).
 * @return 0 or negative errno (-EADDRINUSE, -EACCES, ...) */
int listener_new_tcp(struct listener **ret, struct loop *loop,
		     const struct endpoint *at, listener_h *handler, void *arg);

/**
 * Listen on a UNIX stream socket. A stale socket file is replaced; one that
 * somebody answers on is not (-EADDRINUSE).
 *
 * @param mode   e.g. 0660
 * @param group  (gid_t)-1: leave it
 */
int listener_new_unix(struct listener **ret, struct loop *loop,
		      const char *path, mode_t mode, gid_t group,
		      listener_h *handler, void *arg);

/** Stop; a UNIX socket's file is removed. @return NULL */
struct listener *listener_free(struct listener *listener);

/** The socket, for who accepts on it himself: the handler given was NULL. It
 * stays the listener's. */
int listener_descriptor(const struct listener *listener);

/** The address that it listens on (with the port that port 0 became). */
struct endpoint listener_address(const struct listener *listener);

/** How often it had to pause, for want of descriptors or memory. */
uint64_t listener_pauses(const struct listener *listener);
