#include "media/kernel/next_hop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "media/kernel/neighbours.h"
#include "media/kernel/netlink.h"
#include "media/kernel/route.h"
#include "media/kernel/route_query.h"

#define LOOKUPS_AT_ONCE 256
#define NEIGHBOURS_AT_ONCE 1024

/* Between two lookups of all destinations: so much, and more for many, so that
 * a feed of routes that never ends costs a part of the time only. */
#define ROUND_US (250 * US_PER_MS)
#define ROUND_US_EACH 16

/* Some changes have no event: a learned path MTU, routes that go with their
 * interface. */
#define AUDIT_US (60 * US_PER_S)

/* After the kernel had no proper answer, or we no memory. */
#define RETRY_US (1 * US_PER_S)

/* A destination is in one of two lists: to be looked up, or looked up, in the
 * order in which that was done. So a round over all costs nothing to begin. */
struct next_hops {
	const struct interfaces *interfaces;
	struct netlink events;
	struct netlink questions;
	struct hash_table destinations;
	struct neighbours neighbours;
	struct list to_look_up, looked_up;
	uint64_t wanted_us;     /* the next round; UINT64_MAX: none is wanted */
	uint64_t next_round_us; /* not before */
	next_hop_h *changed;
	void *arg;
	struct next_hops_counters counters;
};

static void want_round(struct next_hops *hops, uint64_t at_us)
{
	if (at_us < hops->wanted_us)
		hops->wanted_us = at_us;
}

/* Verdict: what is known of route, interface and neighbour. */
static enum next_hop_problem judge(const struct next_hops *hops,
				   const struct destination *d,
				   struct next_hop *ret)
{
	const struct interface *interface, *parent;
	enum next_hop_problem problem = d->route_problem;

	if (problem != NEXT_HOP_OK)
		return problem;
	interface = interfaces_find(hops->interfaces, d->ifindex);
	problem = problem_of_interface(interface);
	if (problem != NEXT_HOP_OK)
		return problem;
	if (!d->neighbour)
		return NEXT_HOP_UNRESOLVED;
	if (d->neighbour->problem != NEXT_HOP_OK)
		return d->neighbour->problem;
	parent = interface->parent
			 ? interfaces_find(hops->interfaces, interface->parent)
			 : NULL;
	*ret = next_hop_make(interface, parent, d->route_mtu,
			     d->neighbour->mac);
	return NEXT_HOP_OK;
}

/* A destination without a reference is one that is being made. */
static void settle(struct next_hops *hops, struct destination *d)
{
	struct next_hop hop = {0};
	enum next_hop_problem problem = judge(hops, d, &hop);

	if (problem == d->problem && next_hop_equal(&hop, &d->hop))
		return;
	d->problem = problem;
	d->hop = hop;
	if (d->refs > 0 && hops->changed)
		hops->changed(d, hops->arg);
}

static void neighbour_changed(struct neighbour *neighbour, void *arg)
{
	list_for_each (link, &neighbour->users)
		settle(arg, list_item(link, struct destination, neighbours));
}

static void leave_neighbour(struct next_hops *hops, struct destination *d)
{
	if (d->neighbour)
		neighbours_put(&hops->neighbours, TAKE_PTR(d->neighbour),
			       &d->neighbours);
}

static void join_neighbour(struct next_hops *hops, struct destination *d,
			   const struct ip_addr *ip, uint64_t now_us)
{
	if (d->neighbour && neighbour_is(d->neighbour, d->ifindex, ip))
		return;
	leave_neighbour(hops, d);
	d->neighbour = neighbours_take(&hops->neighbours, d->ifindex, ip,
				       &d->neighbours, now_us);
	if (!d->neighbour)
		want_round(hops, now_us + RETRY_US);
}

/* IPv4 has no route from a source that is not ours, but by errors that mean
 * other things, too; IPv6 does not care. An IPv6 link-local destination would
 * need an interface that nobody knows. */
static enum next_hop_problem ask_route(struct next_hops *hops,
				       const struct destination *d,
				       struct route *ret, int *ret_error)
{
	bool is_ipv6 = d->dst.family == AF_INET6;

	if (is_ipv6 && ip_is_link_local(&d->dst))
		return NEXT_HOP_NO_ROUTE;
	hops->counters.lookups++;
	*ret_error = route_query(&hops->questions, &d->dst, &d->src, ret);
	if ((is_ipv6 || *ret_error < 0) &&
	    route_query_is_gone(&hops->questions, &d->src))
		return NEXT_HOP_SOURCE_GONE;
	return *ret_error < 0 ? problem_of_route_error(*ret_error)
			      : problem_of_route(ret);
}

static void look_up(struct next_hops *hops, struct destination *d,
		    uint64_t now_us)
{
	struct route route = {0};
	enum next_hop_problem problem;
	int error = 0;

	list_del(&d->turn);
	list_add_tail(&hops->looked_up, &d->turn);
	d->looked_up_us = now_us;

	problem = ask_route(hops, d, &route, &error);
	if (problem == NEXT_HOP_OK && error < 0) {
		/* No answer: what was known stays, for a second. */
		hops->counters.lookup_errors++;
		want_round(hops, now_us + RETRY_US);
		return;
	}
	d->route_problem = problem;
	d->ifindex = route.ifindex;
	d->route_mtu = route.mtu;
	if (problem == NEXT_HOP_OK &&
	    problem_of_interface(interfaces_find(hops->interfaces,
						 d->ifindex)) == NEXT_HOP_OK)
		join_neighbour(hops, d,
			       ip_is_set(&route.gateway) ? &route.gateway
							 : &d->dst,
			       now_us);
	else
		leave_neighbour(hops, d);
	settle(hops, d);
}

static void list_move_all(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	from->prev->next = to;
	to->prev->next = from->next;
	to->prev = from->prev;
	list_init(from);
}

static void begin_round(struct next_hops *hops, uint64_t now_us)
{
	struct list *link;

	if (now_us >= hops->wanted_us && now_us >= hops->next_round_us) {
		list_move_all(&hops->to_look_up, &hops->looked_up);
		hops->wanted_us = UINT64_MAX;
		hops->next_round_us = now_us + ROUND_US +
				      hops->destinations.count * ROUND_US_EACH;
	}
	while ((link = list_first(&hops->looked_up))) {
		struct destination *d =
			list_item(link, struct destination, turn);

		if (d->looked_up_us + AUDIT_US > now_us)
			break;
		list_del(link);
		list_add_tail(&hops->to_look_up, link);
	}
}

void next_hops_tick(struct next_hops *hops, uint64_t now_us)
{
	struct list *link;

	begin_round(hops, now_us);
	for (unsigned i = 0;
	     i < LOOKUPS_AT_ONCE && (link = list_first(&hops->to_look_up)); i++)
		look_up(hops, list_item(link, struct destination, turn),
			now_us);
	neighbours_tick(&hops->neighbours, now_us);
}

uint64_t next_hops_wait_us(const struct next_hops *hops, uint64_t now_us)
{
	const struct list *oldest = list_first(&hops->looked_up);
	uint64_t at_us = hops->wanted_us;

	if (!list_empty(&hops->to_look_up))
		return 0;
	if (at_us < hops->next_round_us)
		at_us = hops->next_round_us;
	if (hops->neighbours.due_us < at_us)
		at_us = hops->neighbours.due_us;
	if (oldest) {
		uint64_t audit_us = list_item(oldest, struct destination, turn)
					    ->looked_up_us +
				    AUDIT_US;

		if (audit_us < at_us)
			at_us = audit_us;
	}
	if (at_us == UINT64_MAX)
		return at_us;
	return at_us > now_us ? at_us - now_us : 0;
}

struct event_time {
	struct next_hops *hops;
	uint64_t now_us;
};

/* Which destinations a change of routes concerns would take as long to find out
 * as to ask for all. */
static void event(const struct nlmsghdr *message, void *arg)
{
	const struct event_time *at = arg;
	struct neighbour_state state;

	switch (message->nlmsg_type) {
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		if (neighbour_decode(message, &state) == 0)
			neighbours_told(&at->hops->neighbours, &state,
					at->now_us);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
	case RTM_NEWRULE:
	case RTM_DELRULE:
	case RTM_NEWADDR:
	case RTM_DELADDR:
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		want_round(at->hops, at->now_us);
		break;
	default:
		break;
	}
}

void next_hops_dispatch(struct next_hops *hops, uint64_t now_us)
{
	struct event_time at = {.hops = hops, .now_us = now_us};

	if (netlink_events(&hops->events, event, &at) == -ENOBUFS) {
		hops->counters.resyncs++;
		want_round(hops, now_us);
		neighbours_resync(&hops->neighbours, now_us);
	}
	next_hops_tick(hops, now_us);
}

void next_hops_link_changed(struct next_hops *hops, unsigned ifindex)
{
	hash_for_each_safe (node, &hops->destinations) {
		struct destination *d =
			hash_item(node, struct destination, node);

		if (d->ifindex == ifindex || d->hop.physical_ifindex == ifindex)
			settle(hops, d);
	}
	want_round(hops, 0);
}

static struct destination *destination_find(const struct next_hops *hops,
					    const struct ip_addr *dst,
					    const struct ip_addr *src,
					    uint64_t *ret_hash)
{
	struct ip_addr key[2] = {*dst, *src};
	struct hash_node *node;

	*ret_hash = hash_span(&hops->destinations, span_make(key, sizeof(key)));
	node = hash_first(&hops->destinations, *ret_hash);
	for (; node; node = hash_next(node)) {
		struct destination *d =
			hash_item(node, struct destination, node);

		if (ip_equal(&d->dst, dst) && ip_equal(&d->src, src))
			return d;
	}
	return NULL;
}

int next_hops_take(struct next_hops *hops, const struct ip_addr *dst,
		   const struct ip_addr *src, uint64_t now_us,
		   struct destination **ret)
{
	struct destination *d;
	uint64_t hash;

	if (!ip_is_set(dst) || dst->family != src->family)
		return -EINVAL;
	d = destination_find(hops, dst, src, &hash);
	if (!d) {
		if (hops->destinations.count >= NEXT_HOPS_MAX)
			return -ENOSPC;
		d = calloc(1, sizeof(*d));
		if (!d)
			return -ENOMEM;
		d->dst = *dst;
		d->src = *src;
		d->route_problem = d->problem = NEXT_HOP_NO_ROUTE;
		list_init(&d->users);
		list_init(&d->turn);
		list_init(&d->neighbours);
		hash_add(&hops->destinations, &d->node, hash);
		look_up(hops, d, now_us);
	}
	d->refs++;
	*ret = d;
	return 0;
}

static void destination_free(struct next_hops *hops, struct destination *d)
{
	hash_del(&hops->destinations, &d->node);
	list_del(&d->turn);
	leave_neighbour(hops, d);
	free(d);
}

void next_hops_put(struct next_hops *hops, struct destination *destination)
{
	if (--destination->refs == 0)
		destination_free(hops, destination);
}

int next_hops_new(struct next_hops **ret, const struct interfaces *interfaces,
		  next_hop_h *changed, void *arg)
{
	static const unsigned groups[] = {
		RTNLGRP_NEIGH,       RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE,
		RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_RULE,
		RTNLGRP_IPV6_RULE,   RTNLGRP_NEXTHOP};
	struct next_hops *hops = calloc(1, sizeof(*hops));
	int result;

	if (!hops)
		return -ENOMEM;
	hops->interfaces = interfaces;
	hops->changed = changed;
	hops->arg = arg;
	hops->wanted_us = UINT64_MAX;
	hops->neighbours = (struct neighbours){.interfaces = interfaces,
					       .questions = &hops->questions,
					       .counters = &hops->counters,
					       .changed = neighbour_changed,
					       .arg = hops};
	list_init(&hops->to_look_up);
	list_init(&hops->looked_up);
	result = hash_init(&hops->destinations);
	if (result == 0)
		result = neighbours_init(&hops->neighbours);
	if (result == 0)
		result =
			netlink_open(&hops->events, groups, ARRAY_SIZE(groups));
	if (result == 0)
		result = netlink_open(&hops->questions, NULL, 0);
	if (result < 0) {
		next_hops_free(hops);
		return result;
	}
	*ret = hops;
	return 0;
}

struct next_hops *next_hops_free(struct next_hops *hops)
{
	if (!hops)
		return NULL;
	hash_for_each_safe (node, &hops->destinations)
		destination_free(hops,
				 hash_item(node, struct destination, node));
	hash_done(&hops->destinations);
	neighbours_done(&hops->neighbours);
	netlink_close(&hops->events);
	netlink_close(&hops->questions);
	free(hops);
	return NULL;
}

int next_hops_fd(const struct next_hops *hops)
{
	return netlink_fd(&hops->events);
}

const struct next_hop *destination_hop(const struct destination *destination)
{
	return destination->problem == NEXT_HOP_OK ? &destination->hop : NULL;
}

enum next_hop_problem destination_problem(const struct destination *destination)
{
	return destination->problem;
}

const struct next_hops_counters *
next_hops_counters(const struct next_hops *hops)
{
	return &hops->counters;
}
