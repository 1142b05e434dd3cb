#pragma once
/**
 * @file media/routes.h  Which address of ours packets to somebody leave from
 *
 * By rtnetlink (RTM_GETROUTE). The kernel answers inside the system call, in a
 * few microseconds, from its tables alone: no name is looked up and nobody else
 * is asked, so the control loop may. Answers are kept for a few seconds, in a
 * table of fixed size. One thread.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct routes;

struct routes_counters {
	uint64_t lookups, failures; /* that the kernel was asked */
	uint64_t cached;            /* that were answered from the table */
};

/** @return 0, -ENOMEM, or the error of opening a netlink socket */
int routes_new(struct routes **ret);
/** NULL is fine. @return NULL */
struct routes *routes_free(struct routes *routes);

/**
 * The address that the kernel prefers for packets to peer.
 *
 * @return 0; a negative errno: -ENETUNREACH, -EHOSTUNREACH, ..., also if the
 * address is one that nobody else can answer to (link-local)
 */
int routes_source(struct routes *routes, const struct ip_addr *peer,
		  uint64_t now_us, struct ip_addr *ret);

/** Is it an address of this host? If the kernel does not say, it is. */
bool routes_is_here(struct routes *routes, const struct ip_addr *ip);

/** Forget all answers: something changed. */
void routes_flush(struct routes *routes);

const struct routes_counters *routes_counters(const struct routes *routes);
