#include "net/unix_datagram.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "net/unix_file.h"

/* So many datagrams at once, then the others in the loop have their turn. */
#define READS_A_TURN 64

struct unix_datagram {
	struct unix_file file;
	struct watch *watch;
	int fd;
	unix_datagram_h *handler;
	void *arg;
	char datagram[UNIX_DATAGRAM_MAX_BYTES];
};

static void readable(int fd, void *arg)
{
	struct unix_datagram *sock = arg;

	for (int i = 0; i < READS_A_TURN; i++) {
		ssize_t len =
			recv(fd, sock->datagram, sizeof(sock->datagram), 0);

		if (len < 0)
			break;
		sock->handler(span_make(sock->datagram, (size_t)len),
			      sock->arg);
	}
}

int unix_datagram_new(struct unix_datagram **ret, struct loop *loop,
		      const char *path, mode_t mode, gid_t group,
		      unix_datagram_h *handler, void *arg)
{
	struct unix_datagram *sock = calloc(1, sizeof(*sock));
	int err;

	if (!sock)
		return -ENOMEM;
	sock->handler = handler;
	sock->arg = arg;
	sock->fd = unix_file_bind(&sock->file, SOCK_DGRAM, path);
	err = sock->fd < 0 ? sock->fd
			   : unix_file_open_to(&sock->file, mode, group);
	if (err == 0)
		err = watch_new(&sock->watch, loop, sock->fd, readable, sock);
	if (err < 0) {
		unix_datagram_free(sock);
		return err;
	}
	*ret = sock;
	return 0;
}

struct unix_datagram *unix_datagram_free(struct unix_datagram *sock)
{
	if (!sock)
		return NULL;
	watch_free(sock->watch);
	unix_file_remove(&sock->file);
	closep(&sock->fd);
	free(sock);
	return NULL;
}

int unix_datagram_send(struct unix_datagram *sock, const char *path,
		       struct span datagram)
{
	struct sockaddr_un to;
	int err = unix_address(path, &to);

	if (err < 0)
		return err;
	if (sendto(sock->fd, datagram.ptr, datagram.len, MSG_DONTWAIT,
		   (const struct sockaddr *)&to, sizeof(to)) < 0)
		return errno == ENOBUFS || errno == ENOMEM ? -EAGAIN : -errno;
	return 0;
}
