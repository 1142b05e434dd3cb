#include "media/kernel/route.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <net/if_arp.h>
#include <string.h>

#include "media/kernel/netlink.h"

static size_t ip_len(uint8_t family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

/* @return false if the attribute is no address of this family */
static bool read_ip(const struct nlattr *attr, uint8_t family,
		    struct ip_addr *ret)
{
	struct ip_addr ip = {.family = family};

	if (ip_len(family) == 0 ||
	    !netlink_bytes(attr, ip.bytes, ip_len(family)))
		return false;
	*ret = ip;
	return true;
}

/* An address of another family than the route's: struct rtvia. */
static bool read_via(const struct nlattr *attr, struct ip_addr *ret)
{
	struct ip_addr ip = {.family = AF_INET6};
	struct {
		uint16_t family;
		uint8_t address[16];
	} via;

	if (!netlink_bytes(attr, &via, sizeof(via)) || via.family != AF_INET6)
		return false;
	memcpy(ip.bytes, via.address, sizeof(via.address));
	*ret = ip;
	return true;
}

int route_decode(const struct nlmsghdr *message, struct route *ret)
{
	const struct rtmsg *head = netlink_header(message, sizeof(*head));
	const struct nlattr *attrs[RTA_MAX + 1];
	const struct nlattr *metrics[RTAX_MAX + 1];
	struct route route = {0};

	if (!head || message->nlmsg_type != RTM_NEWROUTE ||
	    ip_len(head->rtm_family) == 0)
		return -EBADMSG;
	netlink_attributes(message, sizeof(*head), attrs, ARRAY_SIZE(attrs));
	netlink_nested(attrs[RTA_METRICS], metrics, ARRAY_SIZE(metrics));

	route.type = head->rtm_type;
	route.ifindex = netlink_u32(attrs[RTA_OIF]);
	route.mtu = netlink_u32(metrics[RTAX_MTU]);
	/* A gateway that cannot be read must not pass for on-link. */
	if (attrs[RTA_GATEWAY] &&
	    !read_ip(attrs[RTA_GATEWAY], head->rtm_family, &route.gateway))
		return -EBADMSG;
	if (attrs[RTA_VIA] && !read_via(attrs[RTA_VIA], &route.gateway))
		return -EBADMSG;
	(void)read_ip(attrs[RTA_PREFSRC], head->rtm_family, &route.source);
	*ret = route;
	return 0;
}

int neighbour_decode(const struct nlmsghdr *message,
		     struct neighbour_state *ret)
{
	const struct ndmsg *head = netlink_header(message, sizeof(*head));
	const struct nlattr *attrs[NDA_LLADDR + 1];
	struct neighbour_state state = {0};

	if (!head || (head->ndm_flags & NTF_PROXY))
		return -EBADMSG;
	netlink_attributes(message, sizeof(*head), attrs, ARRAY_SIZE(attrs));
	if (!read_ip(attrs[NDA_DST], head->ndm_family, &state.ip))
		return -EBADMSG;
	state.ifindex = (unsigned)head->ndm_ifindex;
	if (message->nlmsg_type == RTM_NEWNEIGH) {
		state.nud = head->ndm_state;
		state.has_mac = netlink_bytes(attrs[NDA_LLADDR], state.mac,
					      sizeof(state.mac));
	}
	*ret = state;
	return 0;
}

enum next_hop_problem problem_of_route(const struct route *route)
{
	switch (route->type) {
	case RTN_UNICAST:
		return route->ifindex ? NEXT_HOP_OK : NEXT_HOP_NO_ROUTE;
	case RTN_LOCAL:
		return NEXT_HOP_LOCAL;
	case RTN_BROADCAST:
	case RTN_ANYCAST:
	case RTN_MULTICAST:
		return NEXT_HOP_NOT_UNICAST;
	default:
		return NEXT_HOP_REFUSED;
	}
}

enum next_hop_problem problem_of_route_error(int error)
{
	switch (-error) {
	case ENETUNREACH:
		return NEXT_HOP_NO_ROUTE;
	case EINVAL:       /* blackhole */
	case EACCES:       /* prohibit */
	case EHOSTUNREACH: /* unreachable */
	case EAGAIN:       /* throw */
		return NEXT_HOP_REFUSED;
	default:
		return NEXT_HOP_OK;
	}
}

enum next_hop_problem problem_of_interface(const struct interface *interface)
{
	if (!interface)
		return NEXT_HOP_DOWN;
	if (interface->is_loopback)
		return NEXT_HOP_LOCAL;
	if (interface->hardware != ARPHRD_ETHER)
		return NEXT_HOP_NOT_ETHERNET;
	if (!interface->is_up || !interface->has_carrier)
		return NEXT_HOP_DOWN;
	return NEXT_HOP_OK;
}

enum next_hop_problem problem_of_neighbour(const struct neighbour_state *state,
					   enum next_hop_problem before)
{
	const uint16_t valid = NUD_REACHABLE | NUD_STALE | NUD_DELAY |
			       NUD_PROBE | NUD_PERMANENT | NUD_NOARP;

	if ((state->nud & valid) && state->has_mac)
		return NEXT_HOP_OK;
	if ((state->nud & NUD_FAILED) || before == NEXT_HOP_FAILED)
		return NEXT_HOP_FAILED;
	return NEXT_HOP_UNRESOLVED;
}

bool neighbour_is_permanent(uint16_t nud)
{
	return nud & (NUD_PERMANENT | NUD_NOARP);
}

static bool xdp_can_send(const struct interface *interface)
{
	return problem_of_interface(interface) == NEXT_HOP_OK &&
	       (interface->kind[0] == '\0' ||
		strcmp(interface->kind, "veth") == 0);
}

struct next_hop next_hop_make(const struct interface *interface,
			      const struct interface *parent, unsigned mtu,
			      const uint8_t dst_mac[static MAC_LEN])
{
	struct next_hop hop = {.ifindex = interface->ifindex,
			       .mtu = interface->mtu};

	if (mtu > 0 && mtu < hop.mtu)
		hop.mtu = mtu;
	memcpy(hop.src_mac, interface->mac, sizeof(hop.src_mac));
	memcpy(hop.dst_mac, dst_mac, sizeof(hop.dst_mac));
	if (xdp_can_send(interface)) {
		hop.physical_ifindex = interface->ifindex;
	} else if (strcmp(interface->kind, "vlan") == 0 &&
		   interface->is_8021q && xdp_can_send(parent)) {
		hop.physical_ifindex = parent->ifindex;
		hop.has_vlan = true;
		hop.vlan_id = interface->vlan_id;
	}
	return hop;
}

bool next_hop_equal(const struct next_hop *a, const struct next_hop *b)
{
	return a->ifindex == b->ifindex &&
	       a->physical_ifindex == b->physical_ifindex &&
	       a->has_vlan == b->has_vlan && a->vlan_id == b->vlan_id &&
	       a->mtu == b->mtu &&
	       memcmp(a->src_mac, b->src_mac, MAC_LEN) == 0 &&
	       memcmp(a->dst_mac, b->dst_mac, MAC_LEN) == 0;
}

const char *next_hop_problem_name(enum next_hop_problem problem)
{
	switch (problem) {
	case NEXT_HOP_OK:
		return "none";
	case NEXT_HOP_NO_ROUTE:
		return "no route";
	case NEXT_HOP_LOCAL:
		return "an address of this host";
	case NEXT_HOP_REFUSED:
		return "refused by a route";
	case NEXT_HOP_NOT_UNICAST:
		return "not a unicast address";
	case NEXT_HOP_SOURCE_GONE:
		return "our address is gone";
	case NEXT_HOP_DOWN:
		return "interface down";
	case NEXT_HOP_NOT_ETHERNET:
		return "not an Ethernet interface";
	case NEXT_HOP_UNRESOLVED:
		return "neighbour not resolved yet";
	case NEXT_HOP_FAILED:
		return "neighbour does not answer";
	}
	return "unknown";
}
