#include "session/addresses.h"

#include <errno.h>
#include <stdlib.h>

struct addresses {
	struct address_handlers handlers;
	void *arg;
	size_t next[2]; /* where the next search begins; IPv4, IPv6 */
	size_t count;
	struct local_address list[];
};

int addresses_new(struct addresses **ret, const struct local_address *list,
		  size_t count)
{
	struct addresses *addresses =
		calloc(1, sizeof(*addresses) + count * sizeof(list[0]));

	if (!addresses)
		return -ENOMEM;
	addresses->count = count;
	memcpy(addresses->list, list, count * sizeof(list[0]));
	*ret = addresses;
	return 0;
}

struct addresses *addresses_free(struct addresses *addresses)
{
	free(addresses);
	return NULL;
}

void addresses_ask(struct addresses *addresses,
		   const struct address_handlers *handlers, void *arg)
{
	addresses->handlers = *handlers;
	addresses->arg = arg;
}

const struct ip_addr *addresses_shown(const struct addresses *addresses,
				      const struct ip_addr *ip)
{
	for (size_t i = 0; i < addresses->count; i++) {
		const struct local_address *ours = &addresses->list[i];

		if (ip_equal(&ours->ip, ip) && ip_is_set(&ours->advertised))
			return &ours->advertised;
	}
	return ip;
}

const struct ip_addr *addresses_name(const struct addresses *addresses)
{
	return addresses_shown(addresses, &addresses->list[0].ip);
}

bool addresses_have_family(const struct addresses *addresses, uint8_t family)
{
	if (addresses->handlers.route)
		return true;
	for (size_t i = 0; i < addresses->count; i++)
		if (addresses->list[i].ip.family == family)
			return true;
	return false;
}

bool addresses_have_loopback(const struct addresses *addresses)
{
	for (size_t i = 0; i < addresses->count; i++)
		if (ip_is_loopback(&addresses->list[i].ip))
			return true;
	return false;
}

bool addresses_is_here(const struct addresses *addresses,
		       const struct ip_addr *ip)
{
	return !addresses->handlers.is_here ||
	       addresses->handlers.is_here(ip, addresses->arg);
}

static bool serves(const struct ip_addr *ip, const struct address_wish *wish)
{
	return ip->family == wish->family &&
	       (!ip_is_loopback(&wish->sdp) || ip_is_loopback(ip));
}

/* Loopback is for loopback, and for others only where there is nothing else: on
 * the desk of whoever tries it out. */
static bool serves_well(const struct ip_addr *ip,
			const struct address_wish *wish)
{
	return serves(ip, wish) &&
	       ip_is_loopback(&wish->sdp) == ip_is_loopback(ip);
}

typedef bool serves_h(const struct ip_addr *ip,
		      const struct address_wish *wish);

static const struct ip_addr *next_of(struct addresses *addresses,
				     const struct address_wish *wish,
				     serves_h *good, bool *ret_any)
{
	size_t *next = &addresses->next[wish->family == AF_INET6];

	for (size_t i = 0; i < addresses->count; i++) {
		size_t at = (*next + i) % addresses->count;
		const struct ip_addr *ip = &addresses->list[at].ip;

		if (!good(ip, wish))
			continue;
		*ret_any = true;
		if (!addresses_is_here(addresses, ip))
			continue;
		*next = at + 1;
		return ip;
	}
	return NULL;
}

/* A kept stream stays where it is, if it may. */
static const struct ip_addr *stay_or_next(struct addresses *addresses,
					  const struct address_wish *wish,
					  const struct ip_addr *at_present,
					  serves_h *good, bool *ret_any)
{
	if (ip_is_set(at_present) && good(at_present, wish) &&
	    addresses_is_here(addresses, at_present))
		return at_present;
	return next_of(addresses, wish, good, ret_any);
}

int addresses_choose(struct addresses *addresses,
		     const struct address_wish *wish,
		     const struct ip_addr *at_present, struct ip_addr *ret,
		     const char **ret_why)
{
	const struct ip_addr *found;
	struct ip_addr ip;
	bool any = false;

	if (addresses->handlers.route &&
	    addresses->handlers.route(wish, &ip, addresses->arg) == 0 &&
	    serves_well(&ip, wish)) {
		*ret = ip;
		return 0;
	}
	found = stay_or_next(addresses, wish, at_present, serves_well, &any);
	if (!found && !any)
		found = stay_or_next(addresses, wish, at_present, serves, &any);
	if (found) {
		*ret = *found;
		return 0;
	}
	*ret_why = any ? "none of the relay's addresses of that family is on "
			 "this host at present"
		       : "the SDP address is of a family that relay_ip has not";
	return any ? -EADDRNOTAVAIL : -EINVAL;
}
