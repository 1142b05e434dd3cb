/** @file net/listener.c */
#include "net/listener.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "net/loop_event.h"

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

	/* UNIX: the file that is ours */
	struct sockaddr_un path;
	dev_t device;
	ino_t inode;
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

/*
 * Remove a socket file on which nobody listens.
 *
 * @return 0, -EADDRINUSE, or -ENOTSOCK if the file is something else
 */
static int remove_stale(const struct sockaddr_un *path)
{
	struct stat st;
	CLEANUP(closep) int fd = -1;

	if (lstat(path->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)path, sizeof(*path)) == 0)
		return -EADDRINUSE;
	if (errno == ENOENT)
		return 0;
	if (errno != ECONNREFUSED)
		return -EADDRINUSE; /* a full backlog, another type, no right */
	return unlink(path->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

/* The file is there with nobody's rights until owner and mode are right. */
static int bind_with_mode(int fd, const struct sockaddr_un *path, mode_t mode,
			  gid_t group)
{
	mode_t before = umask(0777);
	int r = bind(fd, (const struct sockaddr *)path, sizeof(*path));
	int error = errno;

	umask(before);
	if (r < 0)
		return -error;
	if (listen(fd, BACKLOG) == 0 &&
	    (group == (gid_t)-1 ||
	     lchown(path->sun_path, (uid_t)-1, group) == 0) &&
	    chmod(path->sun_path, mode) == 0)
		return 0;
	error = errno;
	unlink(path->sun_path);
	return -error;
}

int listener_new_unix(struct listener **ret, struct loop *loop,
		      const char *path, mode_t mode, gid_t group,
		      listener_h *handler, void *arg)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP(closep) int fd = -1;
	struct stat st;
	int r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = remove_stale(&address);
	if (r == 0)
		r = bind_with_mode(fd, &address, mode, group);
	if (r < 0)
		return r;
	r = start_listening(ret, loop, fd, handler, arg);
	if (r < 0) {
		unlink(path);
		return r;
	}
	fd = -1;
	(*ret)->path = address;
	if (lstat(path, &st) == 0) {
		(*ret)->device = st.st_dev;
		(*ret)->inode = st.st_ino;
	}
	return 0;
}

/* Not the file of a successor that has taken the name over. */
static void remove_own_file(const struct listener *listener)
{
	const char *path = listener->path.sun_path;
	struct stat st;

	if (path[0] && lstat(path, &st) == 0 && st.st_ino == listener->inode &&
	    st.st_dev == listener->device)
		unlink(path);
}

struct listener *listener_free(struct listener *listener)
{
	if (!listener)
		return NULL;
	event_del(&listener->readable);
	event_del(&listener->pause);
	remove_own_file(listener);
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
