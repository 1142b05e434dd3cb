#pragma once
/**
 * @file media/kernel/next_hop.h  The way of a packet to a destination:
 * interface, MACs
 *
 * What the kernel would do with a packet that is sent from here, asked for
 * (RTM_GETROUTE with our source) and followed by events, for programs that
 * forward packets past the stack. Since the stack then sees no packet any more,
 * the neighbours in use are kept alive from here. No sysctl matters.
 *
 * One thread; nothing waits for the network. The caller polls
 * next_hops_fd() for next_hops_dispatch(), and calls next_hops_tick() each
 * second and when next_hops_wait_us() says so.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/hash.h"
#include "base/list.h"
#include "media/kernel/interfaces.h"

#define NEXT_HOPS_MAX 65536

/**
 * One way in two forms. The logical interface is what the route names (to send
 * by TC). The physical one is where XDP can send: the NIC or veth itself, or
 * the one below an 802.1Q vlan, with the tag to write.
 */
struct next_hop {
	unsigned ifindex;
	unsigned physical_ifindex; /* 0: XDP cannot send there */
	bool has_vlan;             /* of the physical form */
	uint16_t vlan_id;
	uint8_t src_mac[MAC_LEN];
	uint8_t dst_mac[MAC_LEN];
	unsigned mtu; /* of an IP packet */
};

bool next_hop_equal(const struct next_hop *a, const struct next_hop *b);

/** Why there is no next hop. */
enum next_hop_problem {
	NEXT_HOP_OK,
	NEXT_HOP_NO_ROUTE,
	NEXT_HOP_LOCAL,        /* an address of this host, or through lo */
	NEXT_HOP_REFUSED,      /* blackhole, unreachable, prohibit, throw */
	NEXT_HOP_NOT_UNICAST,  /* multicast, broadcast, anycast */
	NEXT_HOP_SOURCE_GONE,  /* our source is no address of this host */
	NEXT_HOP_DOWN,         /* the interface, or its carrier */
	NEXT_HOP_NOT_ETHERNET, /* a tunnel, PPP */
	NEXT_HOP_UNRESOLVED,   /* the neighbour was asked for */
	NEXT_HOP_FAILED,       /* the neighbour does not answer */
};

/** For people: "no route", ... @return a constant text */
const char *next_hop_problem_name(enum next_hop_problem problem);

/** A destination as seen from one of our addresses; counted references. */
struct destination {
	/* The caller's. */
	struct list users; /* initialized as an empty list */
	unsigned hop_index;

	/* next_hop.c's. */
	struct hash_node node;
	struct list turn;       /* when it is looked up next */
	struct list neighbours; /* the others through the same neighbour */
	struct neighbour *neighbour;
	uint64_t looked_up_us;
	unsigned refs;
	unsigned ifindex; /* of the route */
	unsigned route_mtu;
	enum next_hop_problem route_problem;
	enum next_hop_problem problem;
	struct next_hop hop;
	struct ip_addr dst, src;
};

struct next_hops_counters {
	uint64_t lookups;          /* of routes */
	uint64_t lookup_errors;    /* the kernel had no proper answer */
	uint64_t neighbour_events; /* about neighbours in use */
	uint64_t resyncs;          /* the kernel had no room for an event */
	uint64_t refused;          /* to resolve: CAP_NET_ADMIN is missing */
};

struct next_hops;

/**
 * The hop or the problem of a destination differs from what it was. The handler
 * must not take or put destinations.
 */
typedef void next_hop_h(struct destination *destination, void *arg);

/**
 * @param interfaces  Borrowed; whoever owns it calls next_hops_link_changed()
 * for what its handler is told
 * @return 0 or a negative errno
 */
int next_hops_new(struct next_hops **ret, const struct interfaces *interfaces,
		  next_hop_h *changed, void *arg);

/** Free all, taken destinations too; NULL is fine. @return always NULL */
struct next_hops *next_hops_free(struct next_hops *hops);

/** To be polled for reading. */
int next_hops_fd(const struct next_hops *hops);

/** Read the events, and do what they and the time ask for. */
void next_hops_dispatch(struct next_hops *hops, uint64_t now_us);

/** Do what the time asks for: lookups, at most some hundreds, neighbours. */
void next_hops_tick(struct next_hops *hops, uint64_t now_us);

/** How soon next_hops_tick() wants to be called; UINT64_MAX: no hurry. */
uint64_t next_hops_wait_us(const struct next_hops *hops, uint64_t now_us);

/**
 * An interface changed, came or went: destinations through it change at once,
 * all are looked up in the next tick.
 */
void next_hops_link_changed(struct next_hops *hops, unsigned ifindex);

/**
 * Find or make a destination, looked up at once. The handler is not called for
 * a new one.
 *
 * @param src  The address of ours that media is sent from
 * @return 0, -EINVAL unless both are addresses of one family, -ENOSPC if there
 * are NEXT_HOPS_MAX, or -ENOMEM
 */
int next_hops_take(struct next_hops *hops, const struct ip_addr *dst,
		   const struct ip_addr *src, uint64_t now_us,
		   struct destination **ret);

/** Give a reference back; the last one frees the destination. */
void next_hops_put(struct next_hops *hops, struct destination *destination);

/** @return the way there, or NULL: see destination_problem() */
const struct next_hop *destination_hop(const struct destination *destination);

enum next_hop_problem
destination_problem(const struct destination *destination);

const struct next_hops_counters *
next_hops_counters(const struct next_hops *hops);
