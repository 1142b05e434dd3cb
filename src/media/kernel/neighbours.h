#pragma once
/**
 * @file media/kernel/neighbours.h  The neighbours in use: their MACs, kept
 * alive
 *
 * The kernel resolves and probes a neighbour for packets that its stack sends.
 * Ours pass the stack by, so it is told in their place (NTF_USE), for each
 * neighbour about every 20 s, spread out; one that failed is tried again with
 * growing pauses. Used by next_hop.h alone.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/hash.h"
#include "base/list.h"
#include "media/kernel/interfaces.h"
#include "media/kernel/netlink.h"
#include "media/kernel/next_hop.h"
#include "media/kernel/route.h"

struct neighbour {
	struct list users;             /* links of the owner; never empty */
	enum next_hop_problem problem; /* or NEXT_HOP_OK: it has a MAC */
	uint8_t mac[MAC_LEN];

	/* neighbours.c's. */
	struct hash_node node;
	struct list turn;
	struct ip_addr ip;
	unsigned ifindex;
	uint64_t retry_us;
	uint64_t due_us;
};

/** The MAC or the problem of a neighbour changed. */
typedef void neighbour_h(struct neighbour *neighbour, void *arg);

struct neighbours {
	const struct interfaces *interfaces;
	struct netlink *questions;
	struct next_hops_counters *counters;
	neighbour_h *changed;
	void *arg;

	/* neighbours.c's. */
	struct hash_table all;
	struct list turns; /* all, the last served at the end */
	uint64_t due_us;   /* the first of all, or earlier */
};

/** What is set already is borrowed. @return 0 or -ENOMEM */
int neighbours_init(struct neighbours *ns);

/** All have been put. */
void neighbours_done(struct neighbours *ns);

/**
 * Find, or make and ask for it.
 *
 * @param user  Appended to neighbour->users
 * @return NULL without memory
 */
struct neighbour *neighbours_take(struct neighbours *ns, unsigned ifindex,
				  const struct ip_addr *ip, struct list *user,
				  uint64_t now_us);

/** @param user  Taken out of neighbour->users; the last one frees it */
void neighbours_put(struct neighbours *ns, struct neighbour *neighbour,
		    struct list *user);

/** Whether this is the one at that address. */
bool neighbour_is(const struct neighbour *neighbour, unsigned ifindex,
		  const struct ip_addr *ip);

/** An event; what is about neighbours not in use is passed over. */
void neighbours_told(struct neighbours *ns, const struct neighbour_state *state,
		     uint64_t now_us);

/** Serve those whose time has come, at most some hundreds: see due_us. */
void neighbours_tick(struct neighbours *ns, uint64_t now_us);

/** Events were lost: ask for all in the next tick. */
void neighbours_resync(struct neighbours *ns, uint64_t now_us);
