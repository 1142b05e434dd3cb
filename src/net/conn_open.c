/** @file net/conn_open.c  Making connections: accepted and dialled ones */
#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/conn_internal.h"
#include "net/conn_socket.h"

#define HANDSHAKE_US (10 * US_PER_S)
#define MAX_LINE (16 * 1024)
#define PAUSE_READING_AT (256 * 1024)
#define CLOSE_AT (8 * 1024 * 1024)

/* What may lie in the input buffer beside the longest line. */
#define READ_AHEAD (64 * 1024)
#define MAX_SINGLE_WRITE (256 * 1024)

static void set_limits(struct conn *conn, const struct conn_limits *limits)
{
	static const struct conn_limits defaults = {
		.max_line = MAX_LINE,
		.pause_reading_at = PAUSE_READING_AT,
		.close_at = CLOSE_AT,
		.handshake_us = HANDSHAKE_US,
	};
	struct conn_limits *l = &conn->limits;

	*l = limits ? *limits : defaults;
	if (l->max_line == 0)
		l->max_line = defaults.max_line;
	if (l->pause_reading_at == 0)
		l->pause_reading_at = defaults.pause_reading_at;
	if (l->close_at == 0)
		l->close_at = defaults.close_at;
	if (l->handshake_us == 0)
		l->handshake_us = defaults.handshake_us;
}

static struct conn *conn_alloc(struct loop *loop, const struct tls_context *tls,
			       const struct conn_limits *limits,
			       const struct conn_handlers *handlers, void *arg)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->loop = loop;
	conn->handlers = *handlers;
	conn->arg = arg;
	conn->waiting_fd = -1;
	conn->tls.context = tls;
	set_limits(conn, limits);
	line_reader_init(&conn->lines, conn->limits.max_line);
	loop_task_init(&conn->task, loop, conn_step, conn);
	evtimer_assign(&conn->deadline, loop_event_base(loop),
		       conn_deadline_passed, conn);
	return conn;
}

/* The bufferevent owns the descriptor on success. */
static int make_bufferevent(struct conn *conn, int fd)
{
	struct event_base *base = loop_event_base(conn->loop);

	if (conn->tls.context) {
		SSL *ssl = tls_session_open(&conn->tls, conn->tls.context,
					    conn->is_server);

		if (!ssl)
			return -ENOMEM;
		conn->bev = bufferevent_openssl_socket_new(
			base, fd, ssl,
			conn->is_server ? BUFFEREVENT_SSL_ACCEPTING
					: BUFFEREVENT_SSL_CONNECTING,
			BEV_OPT_CLOSE_ON_FREE);
		if (!conn->bev)
			return -ENOMEM;
		conn->ssl = ssl;
		bufferevent_openssl_set_allow_dirty_shutdown(conn->bev, 1);
		/* It reads from the end of the handshake on, so begin with
		 * that. */
		bufferevent_enable(conn->bev, EV_READ);
		conn->reading = true;
	} else {
		conn->bev =
			bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
		if (!conn->bev)
			return -ENOMEM;
		bufferevent_set_max_single_read(conn->bev, READ_AHEAD);
	}
	bufferevent_set_max_single_write(conn->bev, MAX_SINGLE_WRITE);
	bufferevent_setwatermark(conn->bev, EV_READ, 0,
				 conn->limits.max_line + READ_AHEAD);
	bufferevent_setwatermark(conn->bev, EV_WRITE,
				 conn->limits.pause_reading_at / 2, 0);
	bufferevent_setcb(conn->bev, conn_read_ready, conn_write_done,
			  conn_event_came, conn);
	return 0;
}

static void set_peer(struct conn *conn, const struct endpoint *peer)
{
	conn->peer = *peer;
	if (ip_is_set(&peer->ip))
		endpoint_format(peer, conn->name);
	else
		snprintf(conn->name, sizeof(conn->name), "unix");
}

/* TCP has connected, or not; or the first bytes of a TLS client are there. */
static void waited(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	int error = conn_socket_take_error(fd);

	(void)what;
	if (conn->state != CONN_OPENING)
		return;
	conn->waiting_fd = -1;
	if (error == 0)
		error = -make_bufferevent(conn, fd);
	if (error != 0) {
		close(fd);
		conn_set_why(conn, "%s", conn_socket_error(error));
		conn_fail_later(conn);
	} else if (!conn->tls.context) {
		loop_task_start(&conn->task);
	}
}

static int wait_for(struct conn *conn, int fd, short what)
{
	event_assign(&conn->waiting, loop_event_base(conn->loop), fd, what,
		     waited, conn);
	if (event_add(&conn->waiting, NULL) < 0)
		return -ENOMEM;
	conn->waiting_fd = fd;
	conn_set_deadline(conn, conn->limits.handshake_us);
	return 0;
}

int conn_accept(struct conn **ret, struct loop *loop, int fd,
		const struct tls_context *tls, const struct conn_limits *limits,
		const struct conn_handlers *handlers, void *arg)
{
	struct conn *conn = conn_alloc(loop, tls, limits, handlers, arg);
	struct endpoint peer = conn_socket_peer(fd);
	int r = -ENOMEM;

	if (conn) {
		conn->is_server = true;
		set_peer(conn, &peer);
		conn_socket_prepare(fd);
		/* A handshake takes 40 kB: not for a client that never speaks.
		 */
		r = tls ? wait_for(conn, fd, EV_READ)
			: make_bufferevent(conn, fd);
	}
	if (r < 0) {
		close(fd);
		free(conn);
		return r;
	}
	if (!tls)
		loop_task_start(&conn->task);
	*ret = conn;
	return 0;
}

int conn_dial(struct conn **ret, struct loop *loop, const struct endpoint *to,
	      const struct tls_context *tls, const struct conn_limits *limits,
	      const struct conn_handlers *handlers, void *arg)
{
	struct conn *conn = conn_alloc(loop, tls, limits, handlers, arg);
	int fd;

	if (!conn)
		return -ENOMEM;
	set_peer(conn, to);
	fd = conn_socket_dial(to);
	if (fd >= 0 && wait_for(conn, fd, EV_WRITE) < 0) {
		close(fd);
		fd = -ENOMEM;
	}
	if (fd < 0) {
		conn_set_why(conn, "%s", conn_socket_error(-fd));
		conn_fail_later(conn);
	}
	*ret = conn;
	return 0;
}
