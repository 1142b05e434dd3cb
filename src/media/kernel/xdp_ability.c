/** What an interface can do for XDP: asked by netlink's family "netdev" (Linux
 * 6.3), or else by the name of its driver. */
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "media/kernel/attach.h"

/* Of linux/netdev.h, which Debian 12 does not have yet. */
#define NETDEV_DEV_GET 1
#define NETDEV_DEV_IFINDEX 1
#define NETDEV_DEV_XDP_FEATURES 3
#define NETDEV_XDP_BASIC 1u
#define NETDEV_XDP_NDO_XMIT 4u

#define ANSWER_SIZE 8192

struct answer {
	uint16_t wanted;
	bool found;
	uint64_t value;
};

static int read_attribute(const struct nlattr *attr, void *arg)
{
	struct answer *answer = arg;

	if (mnl_attr_get_type(attr) != answer->wanted)
		return MNL_CB_OK;
	switch (mnl_attr_get_payload_len(attr)) {
	case sizeof(uint16_t):
		answer->value = mnl_attr_get_u16(attr);
		break;
	case sizeof(uint64_t):
		answer->value = mnl_attr_get_u64(attr);
		break;
	default:
		return MNL_CB_OK;
	}
	answer->found = true;
	return MNL_CB_OK;
}

static int read_message(const struct nlmsghdr *message, void *arg)
{
	if (mnl_nlmsg_get_payload_len(message) < sizeof(struct genlmsghdr))
		return MNL_CB_OK;
	mnl_attr_parse(message, sizeof(struct genlmsghdr), read_attribute, arg);
	return MNL_CB_STOP;
}

/* The kernel answers within sendto(). @return false: it refused */
static bool ask(struct mnl_socket *nl, struct nlmsghdr *request,
		struct answer *answer)
{
	char buffer[ANSWER_SIZE];
	ssize_t len;

	if (mnl_socket_sendto(nl, request, request->nlmsg_len) < 0)
		return false;
	len = recv(mnl_socket_get_fd(nl), buffer, sizeof(buffer), MSG_DONTWAIT);
	if (len < 0)
		return false;
	(void)mnl_cb_run(buffer, (size_t)len, request->nlmsg_seq,
			 mnl_socket_get_portid(nl), read_message, answer);
	return answer->found;
}

static struct nlmsghdr *begin(char *buffer, uint16_t type, uint8_t command)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *generic;

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST;
	request->nlmsg_seq = (uint32_t)time(NULL);
	generic = mnl_nlmsg_put_extra_header(request, sizeof(*generic));
	generic->cmd = command;
	generic->version = 1;
	return request;
}

static bool ask_features(struct mnl_socket *nl, unsigned ifindex,
			 uint64_t *ret_features)
{
	struct answer family = {.wanted = CTRL_ATTR_FAMILY_ID};
	struct answer features = {.wanted = NETDEV_DEV_XDP_FEATURES};
	char buffer[256];
	struct nlmsghdr *request;

	request = begin(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, "netdev");
	if (!ask(nl, request, &family))
		return false;
	request = begin(buffer, (uint16_t)family.value, NETDEV_DEV_GET);
	mnl_attr_put_u32(request, NETDEV_DEV_IFINDEX, ifindex);
	if (!ask(nl, request, &features))
		return false;
	*ret_features = features.value;
	return true;
}

static bool kernel_says(unsigned ifindex, uint64_t *ret_features)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	bool said = nl && mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) == 0 &&
		    ask_features(nl, ifindex, ret_features);

	if (nl)
		mnl_socket_close(nl);
	return said;
}

/* Drivers of Linux 6.1 that run XDP and send what a program of another
 * interface redirects to them. veth is none: it depends on its peer. */
static bool is_known_driver(const char *name)
{
	static const char *const known[] = {
		"bnxt_en", "ena",   "i40e",      "ice",       "igb",
		"igc",     "ixgbe", "mlx5_core", "virtio_net"};
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {.ifr_data = (void *)&info};
	CLEANUP(closep)
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(request.ifr_name, name, IFNAMSIZ);
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strncmp(info.driver, known[i], sizeof(info.driver)) == 0)
			return true;
	return false;
}

enum xdp_ability xdp_ability_of(const struct interface *interface)
{
	uint64_t features;

	if (!kernel_says(interface->ifindex, &features))
		return is_known_driver(interface->name) ? XDP_ABLE
							: XDP_UNKNOWN;
	if (!(features & NETDEV_XDP_BASIC))
		return XDP_UNKNOWN;
	return features & NETDEV_XDP_NDO_XMIT ? XDP_ABLE : XDP_CANNOT_SEND;
}
