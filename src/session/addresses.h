#pragma once
/**
 * @file session/addresses.h  Which of our addresses a party is to send to
 *
 * The relay's addresses of both families, what others are told of each, and the
 * choice for a party: the address that the route to it prefers, if there is
 * somebody to ask, else those of its family in turn. An address that is not on
 * this host is not chosen. Does no I/O of its own. Control thread only.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

struct addresses;

struct local_address {
	struct ip_addr ip;         /* what is bound */
	struct ip_addr advertised; /* what others are told; unset: the same */
};

/** What is known of a party whose packets we want. */
struct address_wish {
	uint8_t family;            /* of our address */
	struct ip_addr sdp;        /* may be unset */
	struct ip_addr signalling; /* where its SIP comes from; may be unset */
};

/** What the host says; each may be NULL. */
struct address_handlers {
	/** The address that packets to the party leave from. @return 0, or a
	 * negative errno: take one of the list */
	int (*route)(const struct address_wish *wish, struct ip_addr *ret,
		     void *arg);
	/** Is it one of this host, now? */
	bool (*is_here)(const struct ip_addr *ip, void *arg);
};

/**
 * @param list  At least one; copied. The first one names the relay
 * @return 0 or -ENOMEM
 */
int addresses_new(struct addresses **ret, const struct local_address *list,
		  size_t count);
/** NULL is fine. @return NULL */
struct addresses *addresses_free(struct addresses *addresses);

void addresses_ask(struct addresses *addresses,
		   const struct address_handlers *handlers, void *arg);

/** The address that names the relay, as others see it. */
const struct ip_addr *addresses_name(const struct addresses *addresses);

/** Is there one of this family, here or not? Where routes are asked: any may
 * be. */
bool addresses_have_family(const struct addresses *addresses, uint8_t family);

/** Is it one of this host, now? */
bool addresses_is_here(const struct addresses *addresses,
		       const struct ip_addr *ip);

/** May packets come from loopback to one of them? */
bool addresses_have_loopback(const struct addresses *addresses);

/**
 * Choose an address for a party.
 *
 * @param at_present  What it has; stays if it may. May be unset
 * @param ret_why     On failure why, static text
 * @return 0; -EINVAL: none of that family; -EADDRNOTAVAIL: none of those is on
 * this host now
 */
int addresses_choose(struct addresses *addresses,
		     const struct address_wish *wish,
		     const struct ip_addr *at_present, struct ip_addr *ret,
		     const char **ret_why);

/** What others are told of an address. @return ip itself, or into addresses */
const struct ip_addr *addresses_shown(const struct addresses *addresses,
				      const struct ip_addr *ip);
