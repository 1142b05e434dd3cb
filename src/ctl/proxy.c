/** @file ctl/proxy.c */
#include "ctl/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"

void proxy_write_update(struct buf *out, const struct proxy_call *call,
			bool is_reply, const char *ip, struct span media)
{
	buf_printf(out,
		   "update\r\n"
		   "type: %s\r\n"
		   "call_id: %s\r\n"
		   "cseq: 1\r\n"
		   "from_uri: %s\r\n"
		   "to_uri: %s\r\n"
		   "from_tag: %s\r\n",
		   is_reply ? "reply" : "request", call->call_id,
		   call->from_uri, call->to_uri, call->from_tag);
	if (is_reply)
		buf_printf(out, "to_tag: %s\r\n", call->to_tag);
	buf_printf(out,
		   "user_agent: mediaproxy test call\r\n"
		   "signaling_ip: %s\r\n"
		   "media: %.*s\r\n"
		   "\r\n",
		   ip, SPAN_ARG(media));
}

void proxy_write_remove(struct buf *out, const struct proxy_call *call)
{
	buf_printf(out,
		   "remove\r\n"
		   "call_id: %s\r\n"
		   "from_tag: %s\r\n"
		   "to_tag: %s\r\n"
		   "\r\n",
		   call->call_id, call->from_tag, call->to_tag);
}

static bool decode_ports(struct span line, struct proxy_reply *reply)
{
	struct span head;
	bool last = false;

	if (!span_cut(&line, ' ', &head) || ip_parse(head, &reply->ip) < 0)
		return false;
	while (!last) {
		uint64_t port;

		last = !span_cut(&line, ' ', &head);
		if (last)
			head = line;
		if (reply->count == UPDATE_MAX_STREAMS ||
		    span_to_u64(head, UINT16_MAX, &port) < 0)
			return false;
		reply->ports[reply->count++] = (uint16_t)port;
	}
	return true;
}

void proxy_reply_decode(struct span line, struct proxy_reply *ret)
{
	*ret = (struct proxy_reply){.kind = PROXY_REPLY_STRANGE};
	if (span_equal(line, SPAN("removed")))
		ret->kind = PROXY_REPLY_REMOVED;
	else if (span_equal(line, SPAN("error")))
		ret->kind = PROXY_REPLY_ERROR;
	else if (span_equal(line, SPAN("None")))
		ret->kind = PROXY_REPLY_NONE;
	else if (decode_ports(line, ret))
		ret->kind = PROXY_REPLY_PORTS;
}

int proxy_connect(const char *path, bool nonblocking, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP(closep) int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (nonblocking && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int send_all(int fd, struct span bytes)
{
	while (bytes.len > 0) {
		ssize_t n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes = span_make(bytes.ptr + n, bytes.len - (size_t)n);
	}
	return 0;
}

/* @return 0 when something can be read, or negative errno */
static int wait_readable(int fd, uint64_t deadline_us)
{
	for (;;) {
		uint64_t now = clock_mono_us();
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int rc;

		if (now >= deadline_us)
			return -ETIMEDOUT;
		rc = poll(&p, 1, (int)((deadline_us - now) / US_PER_MS) + 1);
		if (rc > 0)
			return 0;
		if (rc < 0 && errno != EINTR)
			return -errno;
	}
}

int proxy_ask(int fd, struct span request, int timeout_ms,
	      char reply[static PROXY_MAX_REPLY], size_t *ret_len)
{
	uint64_t deadline_us =
		clock_mono_us() + US_PER_MS * (unsigned)timeout_ms;
	size_t len = 0;
	int rc = send_all(fd, request);

	while (rc == 0) {
		ssize_t n;

		rc = wait_readable(fd, deadline_us);
		if (rc < 0)
			break;
		n = recv(fd, reply + len, PROXY_MAX_REPLY - 1 - len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		len += (size_t)n;
		if (len >= 2 && memcmp(reply + len - 2, "\r\n", 2) == 0) {
			*ret_len = len - 2;
			reply[len - 2] = '\0';
			return 0;
		}
		if (len == PROXY_MAX_REPLY - 1)
			return -EMSGSIZE;
	}
	return rc;
}
