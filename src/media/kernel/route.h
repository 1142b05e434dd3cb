#pragma once
/**
 * @file media/kernel/route.h  What rtnetlink says of routes and neighbours, and
 * means
 *
 * Decoders of messages and the decisions of next_hop.h, as pure functions.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "media/kernel/interfaces.h"
#include "media/kernel/next_hop.h"

struct nlmsghdr;

/** The answer to a lookup. */
struct route {
	uint8_t type;           /* RTN_* */
	unsigned ifindex;       /* 0: none */
	struct ip_addr gateway; /* unset: on link. IPv4 may go by an IPv6 one */
	struct ip_addr source;  /* what a sender without one gets; may be unset
				 */
	unsigned mtu;           /* 0: that of the interface */
};

/** What an event or an answer says of a neighbour. */
struct neighbour_state {
	unsigned ifindex;
	struct ip_addr ip;
	uint16_t nud; /* NUD_*; 0 if it was deleted or is not there */
	bool has_mac;
	uint8_t mac[MAC_LEN];
};

/** Read RTM_NEWROUTE. @return 0 or -EBADMSG */
int route_decode(const struct nlmsghdr *message, struct route *ret);

/**
 * Read RTM_NEWNEIGH or RTM_DELNEIGH.
 *
 * @return 0, or -EBADMSG, also if it is no IP neighbour (but a bridge's port,
 * or a proxy)
 */
int neighbour_decode(const struct nlmsghdr *message,
		     struct neighbour_state *ret);

/** What a route means for a packet to be forwarded there. */
enum next_hop_problem problem_of_route(const struct route *route);

/**
 * What the kernel's refusal to answer means, for a source that is ours.
 *
 * @return NEXT_HOP_OK if it means nothing about the route
 */
enum next_hop_problem problem_of_route_error(int error);

/** Whether frames can leave there; NULL: no such interface. */
enum next_hop_problem problem_of_interface(const struct interface *interface);

/**
 * Whether the neighbour has a known MAC. One that failed stays so while it is
 * asked again.
 */
enum next_hop_problem problem_of_neighbour(const struct neighbour_state *state,
					   enum next_hop_problem before);

/** Nothing has to keep it alive. */
bool neighbour_is_permanent(uint16_t nud);

/**
 * Put a next hop together.
 *
 * @param parent  The interface below a vlan, or NULL
 * @param mtu     Of the route; 0: none
 */
struct next_hop next_hop_make(const struct interface *interface,
			      const struct interface *parent, unsigned mtu,
			      const uint8_t dst_mac[static MAC_LEN]);
