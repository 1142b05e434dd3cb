#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family &&
	       memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && ip_equal(&a->ip, &b->ip);
}

static struct ip_addr make_ip4(const void *bytes)
{
	struct ip_addr ip = {.family = AF_INET};

	memcpy(ip.bytes, bytes, 4);
	return ip;
}

static struct ip_addr make_ip6(const void *bytes)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct ip_addr ip = {.family = AF_INET6};

	if (memcmp(bytes, mapped, sizeof(mapped)) == 0)
		return make_ip4((const uint8_t *)bytes + 12);
	memcpy(ip.bytes, bytes, 16);
	return ip;
}

int ip_parse(struct span text, struct ip_addr *ret)
{
	char copy[INET6_ADDRSTRLEN + 1];
	uint8_t bytes[16];
	bool brackets = text.len >= 2 && text.ptr[0] == '[' &&
			text.ptr[text.len - 1] == ']';

	if (brackets)
		text = span_make(text.ptr + 1, text.len - 2);
	if (text.len == 0 || text.len >= sizeof(copy) ||
	    memchr(text.ptr, '\0', text.len))
		return -EINVAL;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';

	if (!brackets && inet_pton(AF_INET, copy, bytes) == 1)
		*ret = make_ip4(bytes);
	else if (inet_pton(AF_INET6, copy, bytes) == 1)
		*ret = make_ip6(bytes);
	else
		return -EINVAL;
	return 0;
}

int ip_network_parse(struct span text, struct ip_network *ret)
{
	struct ip_network net;
	struct span address;
	uint64_t prefix;
	uint64_t most;

	if (!span_cut(&text, '/', &address)) {
		if (ip_parse(text, &net.ip) < 0)
			return -EINVAL;
		net.prefix_len = net.ip.family == AF_INET ? 32 : 128;
		*ret = net;
		return 0;
	}
	if (ip_parse(address, &net.ip) < 0)
		return -EINVAL;
	most = net.ip.family == AF_INET ? 32 : 128;
	if (span_to_u64(text, most, &prefix) < 0)
		return -EINVAL;
	net.prefix_len = (uint8_t)prefix;
	*ret = net;
	return 0;
}

static bool prefix_matches(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8;
	unsigned rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

bool ip_network_contains(const struct ip_network *net, const struct ip_addr *ip)
{
	return net->ip.family == ip->family &&
	       prefix_matches(net->ip.bytes, ip->bytes, net->prefix_len);
}

const char *ip_format(const struct ip_addr *ip,
		      char text[static ADDR_TEXT_SIZE])
{
	if (!ip_is_set(ip) ||
	    !inet_ntop(ip->family, ip->bytes, text, ADDR_TEXT_SIZE))
		snprintf(text, ADDR_TEXT_SIZE, "none");
	return text;
}

const char *endpoint_format(const struct endpoint *ep,
			    char text[static ADDR_TEXT_SIZE])
{
	char ip[ADDR_TEXT_SIZE];

	ip_format(&ep->ip, ip);
	if (!ip_is_set(&ep->ip))
		return strcpy(text, ip);
	snprintf(text, ADDR_TEXT_SIZE,
		 ep->ip.family == AF_INET6 ? "[%.45s]:%u" : "%.45s:%u", ip,
		 ep->port);
	return text;
}

struct endpoint endpoint_from_sockaddr(const void *sockaddr)
{
	struct endpoint ep = {0};
	sa_family_t family;

	memcpy(&family,
	       (const char *)sockaddr + offsetof(struct sockaddr, sa_family),
	       sizeof(family));
	if (family == AF_INET) {
		const struct sockaddr_in *in4 = sockaddr;

		ep.ip = make_ip4(&in4->sin_addr);
		ep.port = ntohs(in4->sin_port);
	} else if (family == AF_INET6) {
		const struct sockaddr_in6 *in6 = sockaddr;

		ep.ip = make_ip6(&in6->sin6_addr);
		ep.port = ntohs(in6->sin6_port);
	}
	return ep;
}

socklen_t endpoint_to_sockaddr(const struct endpoint *ep,
			       struct sockaddr_storage *ret)
{
	if (ep->ip.family == AF_INET) {
		struct sockaddr_in in4 = {.sin_family = AF_INET,
					  .sin_port = htons(ep->port)};

		memcpy(&in4.sin_addr, ep->ip.bytes, 4);
		memcpy(ret, &in4, sizeof(in4));
		return sizeof(in4);
	}
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons(ep->port)};

	memcpy(&in6.sin6_addr, ep->ip.bytes, 16);
	memcpy(ret, &in6, sizeof(in6));
	return sizeof(in6);
}

/* Where an IPv6 address may carry an IPv4 address that it leads to. */
static const struct {
	struct ip_network net;
	uint8_t at;   /* of its first byte */
	uint8_t flip; /* what each byte is XORed with */
} embeddings[] = {
	{{{{0}, AF_INET6}, 96}, 12, 0},                         /* RFC 4291 */
	{{{{[8] = 0xff, 0xff}, AF_INET6}, 96}, 12, 0},          /* RFC 2765 */
	{{{{0x00, 0x64, 0xff, 0x9b}, AF_INET6}, 96}, 12, 0},    /* RFC 6052 */
	{{{{0, 0x64, 0xff, 0x9b, 0, 1}, AF_INET6}, 48}, 12, 0}, /* RFC 8215 */
	{{{{0x20, 0x02}, AF_INET6}, 16}, 2, 0},                 /* RFC 3056 */
	{{{{0x20, 0x01}, AF_INET6}, 32}, 12, 0xff},             /* RFC 4380 */
};

bool ip_embedded(const struct ip_addr *ip, struct ip_addr *ret)
{
	static const struct ip_network own = {{{0}, AF_INET6}, 127};

	if (ip->family != AF_INET6 || ip_network_contains(&own, ip))
		return false; /* :: and ::1 are themselves */
	for (size_t i = 0; i < ARRAY_SIZE(embeddings); i++) {
		if (!ip_network_contains(&embeddings[i].net, ip))
			continue;
		*ret = make_ip4(ip->bytes + embeddings[i].at);
		for (size_t byte = 0; byte < 4; byte++)
			ret->bytes[byte] ^= embeddings[i].flip;
		return true;
	}
	return false;
}

static bool in_nets(const struct ip_addr *ip, const struct ip_network *nets,
		    size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ip_network_contains(&nets[i], ip))
			return true;
	return false;
}

static bool in_any(const struct ip_addr *ip, const struct ip_network *nets,
		   size_t count)
{
	struct ip_addr inside;

	return in_nets(ip, nets, count) ||
	       (ip_embedded(ip, &inside) && in_nets(&inside, nets, count));
}

#define NET4(a, b, c, d, len)                                                  \
	{                                                                      \
		{{a, b, c, d}, AF_INET}, len                                   \
	}
#define NET6(a, b, len)                                                        \
	{                                                                      \
		{{a, b}, AF_INET6}, len                                        \
	}
#define IN_ANY(ip, nets) in_any(ip, nets, ARRAY_SIZE(nets))

bool ip_is_unspecified(const struct ip_addr *ip)
{
	static const uint8_t zero[16];

	return ip_is_set(ip) && memcmp(ip->bytes, zero, 16) == 0;
}

bool ip_is_ip4_compatible(const struct ip_addr *ip)
{
	static const struct ip_network net = {{{0}, AF_INET6}, 96};
	struct ip_addr inside;

	return ip_network_contains(&net, ip) && ip_embedded(ip, &inside);
}

bool ip_is_loopback(const struct ip_addr *ip)
{
	static const struct ip_network nets[] = {
		NET4(127, 0, 0, 0, 8),
		{{{[15] = 1}, AF_INET6}, 128},
	};

	return IN_ANY(ip, nets);
}

bool ip_is_link_local(const struct ip_addr *ip)
{
	static const struct ip_network nets[] = {
		NET4(169, 254, 0, 0, 16),
		NET6(0xfe, 0x80, 10),
	};

	return IN_ANY(ip, nets);
}

bool ip_is_multicast(const struct ip_addr *ip)
{
	static const struct ip_network nets[] = {
		NET4(224, 0, 0, 0, 3),
		NET6(0xff, 0x00, 8),
	};

	return IN_ANY(ip, nets);
}

bool ip_is_private(const struct ip_addr *ip)
{
	static const struct ip_network nets[] = {
		NET4(10, 0, 0, 0, 8),     NET4(172, 16, 0, 0, 12),
		NET4(192, 168, 0, 0, 16), NET4(100, 64, 0, 0, 10),
		NET4(127, 0, 0, 0, 8),    NET4(169, 254, 0, 0, 16),
		NET4(0, 0, 0, 0, 8),      NET6(0xfc, 0x00, 7),
		NET6(0xfe, 0x80, 10),     NET6(0xfe, 0xc0, 10),
		{{{0}, AF_INET6}, 127},
	};

	return IN_ANY(ip, nets);
}

bool ip_is_metadata_service(const struct ip_addr *ip)
{
	static const struct ip_network nets[] = {
		NET4(169, 254, 169, 254, 32),
		NET4(100, 100, 100, 200, 32),
		{{{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}, AF_INET6},
		 128},
	};

	return IN_ANY(ip, nets);
}
