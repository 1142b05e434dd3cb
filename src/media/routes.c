#include "media/routes.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "media/kernel/route_query.h"

#define PLACES 1024 /* a power of two */
#define KEPT_US (5 * US_PER_S)

/* One answer; the next one with the same hash takes its place. */
struct answer {
	struct ip_addr peer, source;
	int error;
	uint64_t until_us; /* 0: none */
};

struct routes {
	struct netlink questions;
	struct hash_table hash; /* for its key alone: peers choose addresses */
	struct routes_counters counters;
	struct answer answers[PLACES];
};

int routes_new(struct routes **ret)
{
	struct routes *routes = calloc(1, sizeof(*routes));
	int r;

	if (!routes)
		return -ENOMEM;
	r = hash_init(&routes->hash);
	if (r == 0)
		r = netlink_open(&routes->questions, NULL, 0);
	if (r < 0) {
		routes_free(routes);
		return r;
	}
	*ret = routes;
	return 0;
}

struct routes *routes_free(struct routes *routes)
{
	if (!routes)
		return NULL;
	netlink_close(&routes->questions);
	hash_done(&routes->hash);
	free(routes);
	return NULL;
}

static int ask(struct routes *routes, const struct ip_addr *peer,
	       struct ip_addr *ret)
{
	struct route route;
	int r = route_query(&routes->questions, peer, NULL, &route);

	if (r < 0)
		return r;
	if (route.type != RTN_UNICAST && route.type != RTN_LOCAL)
		return -EHOSTUNREACH;
	if (!ip_is_set(&route.source) || ip_is_link_local(&route.source))
		return -EADDRNOTAVAIL;
	*ret = route.source;
	return 0;
}

int routes_source(struct routes *routes, const struct ip_addr *peer,
		  uint64_t now_us, struct ip_addr *ret)
{
	struct span key =
		span_make((const char *)peer->bytes, sizeof(peer->bytes));
	struct answer *at =
		&routes->answers[hash_span(&routes->hash, key) % PLACES];

	if (now_us < at->until_us && ip_equal(&at->peer, peer)) {
		routes->counters.cached++;
	} else {
		*at = (struct answer){.peer = *peer,
				      .until_us = now_us + KEPT_US};
		at->error = ask(routes, peer, &at->source);
		routes->counters.lookups++;
		routes->counters.failures += at->error < 0;
	}
	if (at->error == 0)
		*ret = at->source;
	return at->error;
}

bool routes_is_here(struct routes *routes, const struct ip_addr *ip)
{
	return !route_query_is_gone(&routes->questions, ip);
}

void routes_flush(struct routes *routes)
{
	for (unsigned i = 0; i < PLACES; i++)
		routes->answers[i].until_us = 0;
}

const struct routes_counters *routes_counters(const struct routes *routes)
{
	return &routes->counters;
}
