#pragma once
/**
 * @file media/kernel/route_query.h  Questions to the kernel about one route,
 * neighbour
 *
 * Each is a system call or two. See media/netlink.h.
 */
#include <stdbool.h>

#include "media/kernel/netlink.h"
#include "media/kernel/route.h"

/**
 * The route that a UDP packet from src to dst would take.
 *
 * @param src  NULL: any of ours
 * @return 0, -EPROTO if there is no proper answer, or the errno that a sender
 * would see
 */
int route_query(struct netlink *nl, const struct ip_addr *dst,
		const struct ip_addr *src, struct route *ret);

/** @return whether the kernel denies that this is an address of this host */
bool route_query_is_gone(struct netlink *nl, const struct ip_addr *ip);

/**
 * The neighbour's state; one that the kernel does not know has a nud of 0.
 *
 * @return 0 or a negative errno
 */
int neighbour_query(struct netlink *nl, unsigned ifindex,
		    const struct ip_addr *ip, struct neighbour_state *ret);

/**
 * Tell the kernel that the neighbour is in use: it resolves one that is not,
 * and probes one that is stale. It would make a permanent one dynamic.
 *
 * @return 0, -EPERM without CAP_NET_ADMIN, or another negative errno
 */
int neighbour_use(struct netlink *nl, unsigned ifindex,
		  const struct ip_addr *ip);
