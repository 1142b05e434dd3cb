#include "media/kernel/netlink.h"

#include <errno.h>
#include <string.h>

/* As large as the kernel makes a part of a dump. */
#define MESSAGE_BYTES 32768
#define EVENT_BUFFER_BYTES (1 << 20)
#define EVENTS_AT_ONCE 4096

int netlink_open(struct netlink *ret, const unsigned *groups, size_t count)
{
	struct netlink nl = {0};
	int bytes = EVENT_BUFFER_BYTES;
	int error;

	nl.socket =
		mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!nl.socket || mnl_socket_bind(nl.socket, 0, MNL_SOCKET_AUTOPID) < 0)
		goto out;
	for (size_t i = 0; i < count; i++) {
		int group = (int)groups[i];

		if (mnl_socket_setsockopt(nl.socket, NETLINK_ADD_MEMBERSHIP,
					  &group, sizeof(group)) < 0)
			goto out;
	}
	/* Without the right to pass the limit of the system, up to it. */
	if (count > 0 && setsockopt(netlink_fd(&nl), SOL_SOCKET, SO_RCVBUFFORCE,
				    &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(netlink_fd(&nl), SOL_SOCKET, SO_RCVBUF, &bytes,
				 sizeof(bytes));
	*ret = nl;
	return 0;
out:
	error = -errno;
	netlink_close(&nl);
	return error;
}

void netlink_close(struct netlink *nl)
{
	if (nl->socket)
		mnl_socket_close(nl->socket);
	*nl = (struct netlink){0};
}

int netlink_fd(const struct netlink *nl)
{
	return mnl_socket_get_fd(nl->socket);
}

struct nlmsghdr *netlink_request(void *buf, uint16_t type, uint16_t flags,
				 size_t size)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);

	request->nlmsg_type = type;
	request->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	mnl_nlmsg_put_extra_header(request, size);
	return request;
}

struct taker {
	netlink_h *take;
	void *arg;
};

static int take_message(const struct nlmsghdr *message, void *arg)
{
	struct taker *taker = arg;

	if (taker->take)
		taker->take(message, taker->arg);
	return MNL_CB_OK;
}

/* Every question wants an end: DONE of a dump, or an acknowledgement. What an
 * abandoned question left behind has another number, and is passed over. */
int netlink_ask(struct netlink *nl, struct nlmsghdr *request, netlink_h *answer,
		void *arg)
{
	struct taker taker = {.take = answer, .arg = arg};
	unsigned port = mnl_socket_get_portid(nl->socket);
	bool is_inconsistent = false;
	_Alignas(struct nlmsghdr) uint8_t buf[MESSAGE_BYTES];

	if (!(request->nlmsg_flags & NLM_F_DUMP))
		request->nlmsg_flags |= NLM_F_ACK;
	request->nlmsg_seq = ++nl->seq;
	if (mnl_socket_sendto(nl->socket, request, request->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(nl->socket, buf, sizeof(buf));
		int result;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return is_inconsistent ? -EINTR : -EPROTO;
		result = mnl_cb_run(buf, (size_t)n, nl->seq, port, take_message,
				    &taker);
		if (result == MNL_CB_STOP)
			return is_inconsistent ? -EINTR : 0;
		/* The rest of the dump has to be read before the next. */
		if (result == MNL_CB_ERROR && errno == EINTR)
			is_inconsistent = true;
		else if (result == MNL_CB_ERROR && errno != EPROTO)
			return -errno;
	}
}

/* The kernel drops events in silence from the first that found no room until
 * its queue is empty. So only then it makes sense to ask what was missed. */
int netlink_events(struct netlink *nl, netlink_h *event, void *arg)
{
	struct taker taker = {.take = event, .arg = arg};
	_Alignas(struct nlmsghdr) uint8_t buf[MESSAGE_BYTES];

	for (unsigned i = 0; i < EVENTS_AT_ONCE; i++) {
		ssize_t n = mnl_socket_recvfrom(nl->socket, buf, sizeof(buf));

		if (n >= 0) {
			(void)mnl_cb_run(buf, (size_t)n, 0, 0, take_message,
					 &taker);
		} else if (errno == EAGAIN) {
			bool has_overrun = nl->has_overrun;

			nl->has_overrun = false;
			return has_overrun ? -ENOBUFS : 0;
		} else if (errno != EINTR) {
			/* ENOBUFS, or ENOSPC: one larger than the buffer */
			nl->has_overrun = true;
		}
	}
	return -EAGAIN;
}

const void *netlink_header(const struct nlmsghdr *message, size_t size)
{
	if (message->nlmsg_len < sizeof(*message) + size)
		return NULL;
	return mnl_nlmsg_get_payload(message);
}

static size_t aligned(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

static void sort(const uint8_t *data, size_t len, const struct nlattr **table,
		 unsigned table_size)
{
	memset(table, 0, table_size * sizeof(*table));
	while (len >= sizeof(struct nlattr)) {
		const struct nlattr *attr = (const void *)data;
		size_t whole = aligned(attr->nla_len);
		unsigned type = mnl_attr_get_type(attr);

		if (attr->nla_len < sizeof(*attr) || attr->nla_len > len)
			return;
		if (type < table_size)
			table[type] = attr;
		if (whole > len)
			return;
		data += whole;
		len -= whole;
	}
}

void netlink_attributes(const struct nlmsghdr *message, size_t header_size,
			const struct nlattr **table, unsigned table_size)
{
	size_t skip = sizeof(*message) + aligned(header_size);
	size_t len = message->nlmsg_len;

	if (skip > len)
		skip = len;
	sort((const uint8_t *)message + skip, len - skip, table, table_size);
}

void netlink_nested(const struct nlattr *nest, const struct nlattr **table,
		    unsigned table_size)
{
	sort(nest ? mnl_attr_get_payload(nest) : NULL,
	     nest ? mnl_attr_get_payload_len(nest) : 0, table, table_size);
}

static void copy_start(const struct nlattr *attr, void *ret, size_t len)
{
	if (attr && mnl_attr_get_payload_len(attr) >= len)
		memcpy(ret, mnl_attr_get_payload(attr), len);
}

uint8_t netlink_u8(const struct nlattr *attr)
{
	uint8_t value = 0;

	copy_start(attr, &value, sizeof(value));
	return value;
}

uint16_t netlink_u16(const struct nlattr *attr)
{
	uint16_t value = 0;

	copy_start(attr, &value, sizeof(value));
	return value;
}

uint32_t netlink_u32(const struct nlattr *attr)
{
	uint32_t value = 0;

	copy_start(attr, &value, sizeof(value));
	return value;
}

bool netlink_bytes(const struct nlattr *attr, void *ret, size_t len)
{
	if (!attr || mnl_attr_get_payload_len(attr) != len)
		return false;
	memcpy(ret, mnl_attr_get_payload(attr), len);
	return true;
}

void netlink_text(const struct nlattr *attr, char *ret, size_t size)
{
	size_t len = 0;

	if (attr) {
		const char *text = mnl_attr_get_payload(attr);

		len = strnlen(text, mnl_attr_get_payload_len(attr));
		if (len >= size)
			len = size - 1;
		memcpy(ret, text, len);
	}
	ret[len] = '\0';
}
