/** Who else uses an interface's clsact qdisc: by rtnetlink. */
#include <libmnl/libmnl.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include "media/kernel/attach.h"

#define ANSWER_SIZE 16384
#define ANSWER_MS 200

static int note_filter(const struct nlmsghdr *message, void *arg)
{
	bool *found = arg;

	if (message->nlmsg_type == RTM_NEWTFILTER)
		*found = true;
	return MNL_CB_OK;
}

/* @return whether there is one, or it is not known */
static bool has_filters(struct mnl_socket *nl, unsigned ifindex,
			uint32_t parent)
{
	char buffer[ANSWER_SIZE];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	uint32_t seq = (uint32_t)time(NULL) ^ parent;
	struct tcmsg *tc;
	bool found = false;
	int r = MNL_CB_OK;

	request->nlmsg_type = RTM_GETTFILTER;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = seq;
	tc = mnl_nlmsg_put_extra_header(request, sizeof(*tc));
	tc->tcm_ifindex = (int)ifindex;
	tc->tcm_parent = TC_H_MAKE(TC_H_CLSACT, parent);
	if (mnl_socket_sendto(nl, request, request->nlmsg_len) < 0)
		return true;
	while (r == MNL_CB_OK) {
		struct pollfd ready = {.fd = mnl_socket_get_fd(nl),
				       .events = POLLIN};
		ssize_t len;

		if (poll(&ready, 1, ANSWER_MS) <= 0)
			return true;
		len = recv(ready.fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (len < 0)
			return true;
		r = mnl_cb_run(buffer, (size_t)len, seq,
			       mnl_socket_get_portid(nl), note_filter, &found);
	}
	return found || r < 0;
}

bool clsact_has_filters(unsigned ifindex)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	bool found = true;

	if (nl && mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) == 0)
		found = has_filters(nl, ifindex, TC_H_MIN_INGRESS) ||
			has_filters(nl, ifindex, TC_H_MIN_EGRESS);
	if (nl)
		mnl_socket_close(nl);
	return found;
}
