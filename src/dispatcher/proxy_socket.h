#pragma once
/**
 * @file dispatcher/proxy_socket.h  The UNIX socket that SIP proxies speak to
 *
 * docs/protocols.md, section 1: requests in, one line of reply for each, in the
 * order of the requests on that connection. So many requests of a connection
 * may be open; past that it is not read from. What cannot be read is answered
 * by `error`, and the connection stays.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "base/span.h"
#include "conf/conf.h"
#include "dispatcher/router.h"
#include "net/loop.h"

#define PROXY_MAX_OPEN_REQUESTS 64 /* of one connection */

struct proxy_socket;

/** Who may connect: what the socket file gets. */
struct proxy_access {
	mode_t mode;
	gid_t group;      /* (gid_t)-1: leave it */
	bool open_to_all; /* worth a warning */
};

/**
 * Decide it. Pure.
 *
 * @param opensips, kamailio  ids of these groups; (gid_t)-1: there is none
 */
struct proxy_access proxy_access_choose(gid_t opensips, gid_t kamailio);

struct proxy_socket_counters {
	uint64_t accepted, refused, connections;
	uint64_t paused; /* how often a connection had too much open */
};

/**
 * Listen.
 *
 * @param path  absolute
 * @return 0 or negative errno
 */
int proxy_socket_new(struct proxy_socket **ret, struct loop *loop,
		     const char *path, const struct proxy_access *access,
		     unsigned max_connections, struct router *router);

/** Close what is there; replies that were given are written. @return NULL */
struct proxy_socket *proxy_socket_free(struct proxy_socket *sock);

const struct proxy_socket_counters *
proxy_socket_counters(const struct proxy_socket *sock);
