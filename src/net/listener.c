/** @file net/listener.c */
#include "net/listener.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "net/loop_event.h"
#include "net/unix_file.h"

#define BACKLOG 4096
#define PAUSE_US (100 * US_PER_MS)
/* So many connections at once, then the others in the loop have their turn. */
#define ACCEPTS_A_TURN 64

struct listener {
	struct event readable, pause;
	int fd;
	struct endpoint address;
	listener_h *handler;
	void *arg;
	uint64_t pauses;
	bool accepting; /* inside accept_ready(), which frees what was freed
			   there */
	bool dead;
	struct unix_file file; /* of UNIX */
};

/* Out of descriptors or memory: the clients wait in the backlog. */
static void pause_accepting(struct listener *listener)
{
	struct timeval tv = loop_timeval(PAUSE_US);

	listener->pauses++;
	event_del(&listener->readable);
	event_add(&listener->pause, &tv);
}

static void pause_is_over(evutil_socket_t fd, short what, void *arg)
{
	struct listener *listener = arg;

	(void)fd;
	(void)what;
	event_add(&listener->readable, NULL);
}

static bool is_out_of_resources(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS ||
	       error == ENOMEM;
}

static void accept_ready(evutil_socket_t fd, short what, void *arg)
{
	struct listener *listener = arg;

	(void)what;
	listener->accepting = true;
	for (int i = 0; i < ACCEPTS_A_TURN && !listener->dead; i++) {
		struct sockaddr_storage from = {0};
		socklen_t len = sizeof(from);
		struct endpoint peer;
		int client = accept4(fd, (struct sockaddr *)&from, &len,
				     SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (client < 0 && is_out_of_resources(errno))
			pause_accepting(listener);
		if (client < 0)
			break;
		peer = endpoint_from_sockaddr(&from);
		listener->handler(client, &peer, listener->arg);
	}
	listener->accepting = false;
	if (listener->dead)
		free(listener);
}

/* Takes the descriptor over on success. */
static int start_listening(struct listener **ret, struct loop *loop, int fd,
			   listener_h *handler, void *arg)
{
	struct event_base *base = loop_event_base(loop);
	struct listener *listener = calloc(1, sizeof(*listener));
	struct sockaddr_storage at = {0};
	socklen_t len = sizeof(at);

	if (!listener)
		return -ENOMEM;
	listener->fd = fd;
	listener->handler = handler;
	listener->arg = arg;
	if (getsockname(fd, (struct sockaddr *)&at, &len) == 0)
		listener->address = endpoint_from_sockaddr(&at);
	event_assign(&listener->readable, base, fd, EV_READ | EV_PERSIST,
		     accept_ready, listener);
	evtimer_assign(&listener->pause, base, pause_is_over, listener);
	if (handler && event_add(&listener->readable, NULL) < 0) {
		free(listener);
		return -ENOMEM;
	}
	*ret = listener;
	return 0;
}

/* @return a listening socket or negative errno */
static int listen_at(const struct endpoint *at)
{
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(at, &address);
	CLEANUP(closep)
	int fd = socket(address.ss_family,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int on = 1, off = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (struct sockaddr *)&address, len) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* All addresses: one IPv6 socket takes IPv4 too; IPv4 alone where IPv6 is
 * missing. */
static int listen_everywhere(uint16_t port)
{
	struct endpoint at = {.ip.family = AF_INET6, .port = port};
	int fd = listen_at(&at);

	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL ||
	    fd == -EPROTONOSUPPORT) {
		at.ip.family = AF_INET;
		fd = listen_at(&at);
	}
	return fd;
}

int listener_new_tcp(struct listener **ret, struct loop *loop,
		     const struct endpoint *at, listener_h *handler, void *arg)
{
	CLEANUP(closep)
	int fd = ip_is_set(&at->ip) ? listen_at(at)
				    : listen_everywhere(at->port);
	int r;

	if (fd < 0)
		return fd;
	r = start_listening(ret, loop, fd, handler, arg);
	if (r == 0)
		fd = -1;
	return r;
}

int listener_new_unix(struct listener **ret, struct loop *loop,
		      const char *path, mode_t mode, gid_t group,
		      listener_h *handler, void *arg)
{
	struct unix_file file;
	CLEANUP(closep)
	int fd = unix_file_bind(&file, SOCK_STREAM, path);
	int r;

	if (fd < 0)
		return fd;
	r = listen(fd, BACKLOG) < 0 ? -errno
				    : unix_file_open_to(&file, mode, group);
	if (r == 0)
		r = start_listening(ret, loop, fd, handler, arg);
	if (r < 0) {
		unix_file_remove(&file);
		return r;
	}
	fd = -1;
	(*ret)->file = file;
	return 0;
}

struct listener *listener_free(struct listener *listener)
{
	if (!listener)
		return NULL;
	event_del(&listener->readable);
	event_del(&listener->pause);
	unix_file_remove(&listener->file);
	close(listener->fd);
	listener->dead = true;
	if (!listener->accepting)
		free(listener);
	return NULL;
}

int listener_descriptor(const struct listener *listener)
{
	return listener->fd;
}

struct endpoint listener_address(const struct listener *listener)
{
	return listener->address;
}

uint64_t listener_pauses(const struct listener *listener)
{
	return listener->pauses;
}
