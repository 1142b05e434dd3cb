#include "media/socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Of the TOS byte. We know nothing of the path's congestion (RFC 3168). */
#define ECN_BITS 3u
/* For bursts, of video mostly. Memory only while they wait; the kernel caps it
 * at net.core.rmem_max. */
#define RECEIVE_BUFFER_BYTES (512 * 1024)

int media_socket_set_tos(int fd, int family, unsigned tos)
{
	const int value = (int)tos;
	int r = family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS,
						&value, sizeof(value))
				   : setsockopt(fd, IPPROTO_IP, IP_TOS, &value,
						sizeof(value));

	return r < 0 ? -errno : 0;
}

/* The TOS byte of each packet comes with it. */
static int receive_tos(int fd, int family)
{
	const int on = 1;
	int r = family == AF_INET6
			? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on,
				     sizeof(on))
			: setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on,
				     sizeof(on));

	return r < 0 ? -errno : 0;
}

unsigned media_socket_received_tos(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		int value = 0;

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			return *CMSG_DATA(c);
		if (c->cmsg_level != IPPROTO_IPV6 ||
		    c->cmsg_type != IPV6_TCLASS)
			continue;
		memcpy(&value, CMSG_DATA(c), sizeof(value));
		return (unsigned)value & 0xff;
	}
	return 0;
}

static int set_options(int fd, int family, unsigned tos, bool keeps_tos)
{
	const int on = 1;
	const int bytes = RECEIVE_BUFFER_BYTES;

	/* No SO_REUSEADDR: it would let another program share a port. */
	if (family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	if (keeps_tos ? receive_tos(fd, family) < 0
		      : media_socket_set_tos(fd, family, tos & ~ECN_BITS) < 0)
		return -errno;
	/* A smaller buffer than wished for is no reason to fail. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return 0;
}

int media_socket_open(const struct endpoint *local, unsigned tos,
		      bool keeps_tos)
{
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(local, &address);
	CLEANUP(closep)
	int fd = socket(local->ip.family,
			SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = set_options(fd, local->ip.family, tos, keeps_tos);
	if (err < 0)
		return err;
	if (bind(fd, (struct sockaddr *)&address, len) < 0)
		return -errno;
	return TAKE_FD(fd);
}
