#pragma once
/**
 * @file base/addr.h  IP addresses and transport addresses of either family
 *
 * A v4-mapped IPv6 address (::ffff:a.b.c.d) is its IPv4 address everywhere:
 * every way in normalizes it. Both structs are free of padding games: unused
 * bytes are zero.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

/** An IP address. family: AF_INET, AF_INET6, or 0 (AF_UNSPEC) for none. */
struct ip_addr {
	uint8_t bytes[16]; /* IPv4 uses the first four */
	uint8_t family;
};

/** A transport address: IP address and UDP or TCP port (host byte order). */
struct endpoint {
	struct ip_addr ip;
	uint16_t port;
};

/** A network: the first prefix_len bits of an address. */
struct ip_network {
	struct ip_addr ip;
	uint8_t prefix_len;
};

#define ADDR_TEXT_SIZE 64

static inline bool ip_is_set(const struct ip_addr *ip)
{
	return ip->family != 0;
}

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

/**
 * Read an address in its numeric form; [brackets] around IPv6 are accepted,
 * names and scope ids are not.
 *
 * @return 0 or -EINVAL
 */
int ip_parse(struct span text, struct ip_addr *ret);

/** Read "10.0.0.0/8", "fd00::/8" or a single address. @return 0 or -EINVAL */
int ip_network_parse(struct span text, struct ip_network *ret);

bool ip_network_contains(const struct ip_network *net,
			 const struct ip_addr *ip);

/** The numeric form, without brackets. @return text; "none" for no address */
const char *ip_format(const struct ip_addr *ip,
		      char text[static ADDR_TEXT_SIZE]);

/** "10.0.0.1:5000" or "[2001:db8::1]:5000"; "none" for no address. @return text
 */
const char *endpoint_format(const struct endpoint *ep,
			    char text[static ADDR_TEXT_SIZE]);

/** From what the kernel gives; an unknown family becomes an unset address. */
struct endpoint endpoint_from_sockaddr(const void *sockaddr);

/** To what the kernel takes. @return the length of the sockaddr */
socklen_t endpoint_to_sockaddr(const struct endpoint *ep,
			       struct sockaddr_storage *ret);

/**
 * The IPv4 address that an IPv6 address carries and leads to: IPv4-compatible,
 * IPv4-translated, NAT64 (64:ff9b::/96, 64:ff9b:1::/48 in its last bytes), 6to4
 * and Teredo. Not a v4-mapped one, which has become IPv4 long before.
 *
 * @return false: it carries none
 */
bool ip_embedded(const struct ip_addr *ip, struct ip_addr *ret);

/* What kind of address it is. What embeds an IPv4 address is of its kind, too:
 * nobody gets round a check by another way of writing. */
bool ip_is_unspecified(const struct ip_addr *ip); /* 0.0.0.0 or :: */
/** ::a.b.c.d, which nothing uses since RFC 4291. */
bool ip_is_ip4_compatible(const struct ip_addr *ip);
bool ip_is_loopback(const struct ip_addr *ip);
bool ip_is_link_local(const struct ip_addr *ip);
bool ip_is_multicast(const struct ip_addr *ip); /* and 255.255.255.255, 240/4 */
/** RFC 1918, RFC 6598 (carrier NAT), RFC 4193, fec0::/10, and all that is not
 * global. */
bool ip_is_private(const struct ip_addr *ip);
/** Addresses at which clouds serve secrets to whoever asks from the host. */
bool ip_is_metadata_service(const struct ip_addr *ip);
