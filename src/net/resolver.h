#pragma once
/**
 * @file net/resolver.h  Looking up the dispatchers of a relay without waiting (c-ares)
 */
#include <stddef.h>

#include "base/addr.h"
#include "net/loop.h"

struct resolver;
struct resolver_query;

/**
 * @param addresses  count of them; only the IP addresses are set
 * @param why        NULL, or why there are none (static text)
 */
typedef void resolver_h(const struct ip_addr *addresses, size_t count, const char *why, void *arg);

int resolver_new(struct resolver **ret, struct loop *loop);
/** Pending queries are dropped without a call. @return NULL */
struct resolver *resolver_free(struct resolver *resolver);

/** Look a domain up as _sip._udp SRV, and every target's A and AAAA; without SRV: A and AAAA of
 * the name itself. A numeric address or localhost by /etc/hosts is answered as well. The handler is called once, from the loop. @return 0 or -ENOMEM */
int resolver_lookup(struct resolver *resolver, const char *name, resolver_h *handler, void *arg,
		    struct resolver_query **ret);
void resolver_cancel(struct resolver_query *query);
