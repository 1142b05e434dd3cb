#include "media/kernel/route_query.h"

#include <errno.h>
#include <linux/neighbour.h>

static void put_ip(struct nlmsghdr *request, uint16_t type,
		   const struct ip_addr *ip)
{
	mnl_attr_put(request, type, ip->family == AF_INET ? 4 : 16, ip->bytes);
}

struct route_answer {
	struct route route;
	bool is_there;
};

static void route_message(const struct nlmsghdr *message, void *arg)
{
	struct route_answer *answer = arg;

	if (route_decode(message, &answer->route) == 0)
		answer->is_there = true;
}

int route_query(struct netlink *nl, const struct ip_addr *dst,
		const struct ip_addr *src, struct route *ret)
{
	NETLINK_REQUEST(buf);
	struct nlmsghdr *request =
		netlink_request(buf, RTM_GETROUTE, 0, sizeof(struct rtmsg));
	struct rtmsg *head = mnl_nlmsg_get_payload(request);
	struct route_answer answer = {0};
	int result;

	head->rtm_family = dst->family;
	head->rtm_dst_len = dst->family == AF_INET ? 32 : 128;
	put_ip(request, RTA_DST, dst);
	if (src) {
		head->rtm_src_len = head->rtm_dst_len;
		put_ip(request, RTA_SRC, src);
	}
	/* For rules that go by protocol; ports would be one flow's. */
	mnl_attr_put_u8(request, RTA_IP_PROTO, IPPROTO_UDP);
	result = netlink_ask(nl, request, route_message, &answer);
	if (result < 0)
		return result;
	if (!answer.is_there)
		return -EPROTO;
	*ret = answer.route;
	return 0;
}

bool route_query_is_gone(struct netlink *nl, const struct ip_addr *ip)
{
	struct route route;
	int result = route_query(nl, ip, NULL, &route);

	return result < 0 ? problem_of_route_error(result) != NEXT_HOP_OK
			  : problem_of_route(&route) != NEXT_HOP_LOCAL;
}

struct neighbour_answer {
	struct neighbour_state state;
	bool is_there;
};

static void neighbour_message(const struct nlmsghdr *message, void *arg)
{
	struct neighbour_answer *answer = arg;

	if (neighbour_decode(message, &answer->state) == 0)
		answer->is_there = true;
}

int neighbour_query(struct netlink *nl, unsigned ifindex,
		    const struct ip_addr *ip, struct neighbour_state *ret)
{
	NETLINK_REQUEST(buf);
	struct nlmsghdr *request =
		netlink_request(buf, RTM_GETNEIGH, 0, sizeof(struct ndmsg));
	struct ndmsg *head = mnl_nlmsg_get_payload(request);
	struct neighbour_answer answer = {0};
	int result;

	head->ndm_family = ip->family;
	head->ndm_ifindex = (int)ifindex;
	put_ip(request, NDA_DST, ip);
	result = netlink_ask(nl, request, neighbour_message, &answer);
	if (result < 0 && result != -ENOENT)
		return result;
	if (answer.is_there)
		*ret = answer.state;
	else
		*ret = (struct neighbour_state){.ifindex = ifindex, .ip = *ip};
	return 0;
}

int neighbour_use(struct netlink *nl, unsigned ifindex,
		  const struct ip_addr *ip)
{
	NETLINK_REQUEST(buf);
	struct nlmsghdr *request = netlink_request(
		buf, RTM_NEWNEIGH, NLM_F_CREATE, sizeof(struct ndmsg));
	struct ndmsg *head = mnl_nlmsg_get_payload(request);

	head->ndm_family = ip->family;
	head->ndm_ifindex = (int)ifindex;
	head->ndm_flags = NTF_USE;
	put_ip(request, NDA_DST, ip);
	return netlink_ask(nl, request, NULL, NULL);
}
