#include "accounting/radius_exchange.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"

static void freeaddrinfop(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

/* Connected, so that ICMP is heard and nobody else is. */
static int open_socket(const struct radius_config *config,
		       const struct addrinfo *to)
{
	CLEANUP(closep) int fd = -1;

	fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
	if (fd < 0)
		return -errno;
	if (ip_is_set(&config->bind_ip)) {
		const struct endpoint from = {.ip = config->bind_ip};
		struct sockaddr_storage address;
		socklen_t len = endpoint_to_sockaddr(&from, &address);

		if (bind(fd, (struct sockaddr *)&address, len) < 0)
			return -errno;
	}
	if (connect(fd, to->ai_addr, to->ai_addrlen) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* To the first address of the server that there is a way to. */
static int reach(const struct radius_config *config,
		 const struct radius_server *server)
{
	CLEANUP(freeaddrinfop) struct addrinfo *list = NULL;
	const struct addrinfo hints = {
		.ai_family = config->bind_ip.family, /* 0: any */
		.ai_socktype = SOCK_DGRAM,
		.ai_flags = AI_NUMERICSERV,
	};
	int fd = -EHOSTUNREACH;
	char port[8];

	(void)snprintf(port, sizeof(port), "%u", server->port);
	if (getaddrinfo(server->host, port, &hints, &list) != 0)
		return -EHOSTUNREACH;
	for (const struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
		fd = open_socket(config, at);
	return fd;
}

/* 0: something can be read. */
static int wait_until(int fd, uint64_t end_us)
{
	for (;;) {
		uint64_t now_us = clock_mono_us();
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		int count;

		if (now_us >= end_us)
			return -ETIMEDOUT;
		count = poll(
			&poll_fd, 1,
			(int)((end_us - now_us + US_PER_MS - 1) / US_PER_MS));
		if (count > 0)
			return 0;
		if (count < 0 && errno != EINTR)
			return -errno;
	}
}

/* Wait for the answer until end_us. A forged one ends nothing, or whoever can
 * send one could make us give up; but it is what silence is explained by. */
static int await(int fd, const struct radius_server *server,
		 const struct radius_request *request, uint64_t end_us,
		 bool *forged)
{
	uint8_t bytes[RADIUS_MAX_PACKET];
	int err;

	while ((err = wait_until(fd, end_us)) == 0) {
		ssize_t len = recv(fd, bytes, sizeof(bytes), 0);

		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (len < 0)
			return -errno;
		switch (radius_response_judge(request,
					      span_make(bytes, (size_t)len),
					      span_of(server->secret))) {
		case RADIUS_ANSWER_TAKEN:
			return 0;
		case RADIUS_ANSWER_OTHER:
			return -EPROTO;
		case RADIUS_ANSWER_FORGED:
			*forged = true;
			break;
		case RADIUS_ANSWER_STRAY:
			break;
		}
	}
	return err;
}

int radius_exchange(const struct radius_config *config,
		    const struct radius_server *server,
		    const struct radius_request *request)
{
	CLEANUP(closep) int fd = reach(config, server);
	bool forged = false;
	int err = fd;

	if (fd < 0)
		return fd;
	for (unsigned try = 0; try <= config->retries; try++) {
		uint64_t end_us =
			clock_mono_us() + config->timeout_s * US_PER_S;

		if (send(fd, request->bytes, request->len, MSG_NOSIGNAL) < 0)
			return -errno;
		err = await(fd, server, request, end_us, &forged);
		if (err != -ETIMEDOUT)
			return err;
	}
	return forged ? -EBADMSG : err;
}
