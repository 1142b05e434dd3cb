#pragma once
/**
 * @file net/resolver.h  Looking up the dispatchers of a relay without waiting
 * (c-ares)
 *
 * Each lookup reads resolv.conf, /etc/hosts and nsswitch.conf anew, so that a
 * change of the host's configuration needs no restart. Nothing is cached. One
 * loop, one thread.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "net/loop.h"

#define RESOLVER_MAX_ADDRESSES 64
#define RESOLVER_MAX_TARGETS                                                   \
	32 /* of SRV records; those beyond are left out                        \
	    */

struct resolver;
struct resolver_query;

/**
 * @param addresses  count of them, each once; valid during the call
 * @param complete   false: a part of it was not answered, and there may be more
 *                   of them. That a name or its data does not exist is an
 *                   answer.
 * @param why        NULL, or why there are none or not all (static text)
 */
typedef void resolver_h(const struct ip_addr *addresses, size_t count,
			bool complete, const char *why, void *arg);

int resolver_new(struct resolver **ret, struct loop *loop);
/** Pending queries are dropped without a call. @return NULL */
struct resolver *resolver_free(struct resolver *resolver);

/**
 * Ask this name server instead of the host's (for tests and for hosts that want
 * it). An unset address: the host's again.
 */
void resolver_use_server(struct resolver *resolver, const struct endpoint *at);

/**
 * Look a domain up as _sip._udp SRV, and every target's A and AAAA; without
 * SRV: A and AAAA of the name itself. A name without a dot ("localhost", a host
 * of the search domain) has no SRV. A numeric address or a name of /etc/hosts
 * is answered as well. The handler is called once, from the loop, never from
 * inside this call; the query ends with it.
 *
 * @param ret  For resolver_cancel(); may be NULL
 * @return 0 or -ENOMEM
 */
int resolver_lookup(struct resolver *resolver, const char *name,
		    resolver_h *handler, void *arg,
		    struct resolver_query **ret);
/** Drop a query whose handler was not called yet. NULL is fine, and so is the
 * query whose handler is running. */
void resolver_cancel(struct resolver_query *query);
