/** @file net/conn.c  A bufferevent, plain or with TLS, that speaks in lines
 *
 * Handlers are called from events and from the connection's task, which the
 * loop runs at the end of a turn. So a call into this module never calls back,
 * and the struct lives until the task of its last turn.
 */
#include "net/conn.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/bufferevent_struct.h>
#include <event2/event_struct.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/conn_socket.h"
#include "net/line_reader.h"
#include "net/loop_event.h"
#include "net/tls_session.h"

#define HANDSHAKE_US (10 * US_PER_S)
#define FLUSH_US (2 * US_PER_S)
#define MAX_LINE (16 * 1024)
#define PAUSE_READING_AT (256 * 1024)
#define CLOSE_AT (8 * 1024 * 1024)

/* What may lie in the input buffer beside the longest line. */
#define READ_AHEAD (64 * 1024)
#define MAX_SINGLE_WRITE (256 * 1024)

/* Small writes of one turn share a piece of the output buffer, since each
 * piece becomes a TLS record of its own: the payload of the largest record,
 * without the piece's header. */
#define OUTPUT_PIECE (16 * 1024 - 64)

enum conn_state {
	CONN_OPENING, /* TCP connect, TLS handshake, or not announced yet */
	CONN_OPEN,
	CONN_FLUSHING, /* nobody is called any more; the last bytes leave */
	CONN_OVER,     /* freed by the task */
};

struct conn {
	struct loop *loop;
	struct loop_task task;
	struct conn_handlers handlers;
	void *arg;
	struct conn_limits limits;
	enum conn_state state;

	int dialing_fd; /* until TCP is connected, then the bufferevent's */
	struct event dialing;
	struct event deadline; /* of the handshake, or of the flush */
	struct bufferevent *bev;
	struct evbuffer *early; /* what was written before it was open */
	struct tls_session tls; /* tls.context is NULL without TLS */
	SSL *ssl;               /* the bufferevent owns it */
	struct line_reader lines;

	bool paused;  /* by conn_pause() */
	bool full;    /* too much waits to be written */
	bool reading; /* the bufferevent reads */
	bool ended;   /* nothing more comes from the peer; `why` is set */
	bool broken;  /* nothing can be written any more */
	bool failed;  /* given up by us: not even what is buffered is handled */

	struct endpoint peer;
	char name[ADDR_TEXT_SIZE];
	char why[TLS_REASON_SIZE + 64];
};

static void step(void *arg);
static void read_ready(struct bufferevent *bev, void *arg);
static void write_done(struct bufferevent *bev, void *arg);
static void event_came(struct bufferevent *bev, short what, void *arg);
static void deadline_passed(evutil_socket_t fd, short what, void *arg);

/* Freeing */

static void conn_free(struct conn *conn)
{
	if (conn->ssl && !conn->broken && SSL_is_init_finished(conn->ssl)) {
		ERR_clear_error();
		SSL_shutdown(conn->ssl);
		ERR_clear_error();
	}
	if (conn->bev)
		bufferevent_free(conn->bev);
	if (conn->early)
		evbuffer_free(conn->early);
	if (conn->dialing_fd >= 0) {
		event_del(&conn->dialing);
		close(conn->dialing_fd);
	}
	event_del(&conn->deadline);
	loop_task_stop(&conn->task);
	free(conn);
}

static void set_deadline(struct conn *conn, uint64_t delay_us)
{
	struct timeval tv = loop_timeval(delay_us);

	event_del(&conn->deadline);
	event_add(&conn->deadline, &tv);
}

static void conn_finish(struct conn *conn)
{
	conn->state = CONN_OVER;
	loop_task_start(&conn->task);
}

/* Can bytes leave now? */
static bool is_connected(const struct conn *conn)
{
	return conn->bev && !conn->broken &&
	       (!conn->tls.context || conn->state != CONN_OPENING);
}

/* From here on no handler is called. */
static void leave(struct conn *conn)
{
	loop_linger(conn->loop, true);
	if (!is_connected(conn) || conn_pending(conn) == 0) {
		conn_finish(conn);
		return;
	}
	conn->state = CONN_FLUSHING;
	bufferevent_disable(conn->bev, EV_READ);
	bufferevent_enable(conn->bev, EV_WRITE);
	bufferevent_setwatermark(conn->bev, EV_WRITE, 0, 0);
	set_deadline(conn, FLUSH_US);
}

static void tell_closed(struct conn *conn)
{
	if (conn->handlers.closed)
		conn->handlers.closed(conn, conn->why, conn->arg);
	if (conn->state < CONN_FLUSHING)
		leave(conn);
}

__attribute__((format(printf, 2, 3))) static void
set_why(struct conn *conn, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(conn->why, sizeof(conn->why), format, args);
	va_end(args);
}

/* It is over, and the task says so: for what is found out inside a call. */
static void fail_later(struct conn *conn)
{
	conn->ended = conn->broken = conn->failed = true;
	loop_task_start(&conn->task);
}

/* Reading */

static bool may_handle_lines(const struct conn *conn)
{
	return conn->state == CONN_OPEN && !conn->failed && !conn->paused &&
	       (!conn->full || conn->broken);
}

/*
 * The bufferevent waits for the socket to become readable, but what OpenSSL has
 * read ahead does not make it so: after a stop (by us, or by the high-water
 * mark) the read event has to be raised by hand.
 */
static void read_what_openssl_holds(struct conn *conn)
{
	if (conn->reading && conn->ssl && SSL_has_pending(conn->ssl))
		event_active(&conn->bev->ev_read, EV_READ, 1);
}

static void update_reading(struct conn *conn)
{
	bool wanted = may_handle_lines(conn) && !conn->ended;

	if (wanted == conn->reading || !conn->bev)
		return;
	conn->reading = wanted;
	if (wanted)
		bufferevent_enable(conn->bev, EV_READ);
	else
		bufferevent_disable(conn->bev, EV_READ);
}

static void handle_lines(struct conn *conn)
{
	struct evbuffer *input = bufferevent_get_input(conn->bev);
	struct span line;
	bool too_long;

	while (may_handle_lines(conn) &&
	       line_reader_next(&conn->lines, input, &line, &too_long))
		conn->handlers.line(conn, line, too_long, conn->arg);
	line_reader_release(&conn->lines, input);
}

/* Handle what is there, then go on reading, or say that it is over. */
static void go_on(struct conn *conn)
{
	if (conn->state == CONN_OPEN)
		handle_lines(conn);
	if (conn->state != CONN_OPEN)
		return;
	if (conn->failed || (conn->ended && may_handle_lines(conn))) {
		tell_closed(conn);
	} else {
		update_reading(conn);
		read_what_openssl_holds(conn);
	}
}

static void read_ready(struct bufferevent *bev, void *arg)
{
	(void)bev;
	go_on(arg);
}

/* Writing */

size_t conn_pending(const struct conn *conn)
{
	size_t len = conn->early ? evbuffer_get_length(conn->early) : 0;

	if (conn->bev)
		len += evbuffer_get_length(bufferevent_get_output(conn->bev));
	return len;
}

/* Write at the end of this turn, without asking the kernel first whether we
 * may. */
static void flush_soon(struct conn *conn)
{
	event_active(&conn->bev->ev_write, EV_WRITE, 1);
}

static void check_pending(struct conn *conn)
{
	size_t pending = conn_pending(conn);

	if (pending >= conn->limits.close_at) {
		set_why(conn, "too slow, %zu bytes unread", pending);
		fail_later(conn);
	} else if (pending >= conn->limits.pause_reading_at && !conn->full) {
		conn->full = true;
		update_reading(conn);
	}
}

static bool append(struct conn *conn, struct span bytes)
{
	struct evbuffer *output;
	bool was_empty;

	if (!is_connected(conn)) {
		if (!conn->early)
			conn->early = evbuffer_new();
		return conn->early &&
		       evbuffer_add(conn->early, bytes.ptr, bytes.len) == 0;
	}
	output = bufferevent_get_output(conn->bev);
	was_empty = evbuffer_get_length(output) == 0;
	if (was_empty)
		evbuffer_expand(output, OUTPUT_PIECE);
	if (evbuffer_add(output, bytes.ptr, bytes.len) < 0)
		return false;
	if (was_empty)
		flush_soon(conn);
	return true;
}

void conn_write(struct conn *conn, struct span bytes)
{
	if (conn->state >= CONN_FLUSHING || conn->broken || bytes.len == 0)
		return;
	if (append(conn, bytes)) {
		check_pending(conn);
	} else {
		set_why(conn, "out of memory");
		fail_later(conn);
	}
}

static void write_done(struct bufferevent *bev, void *arg)
{
	struct conn *conn = arg;
	size_t pending = evbuffer_get_length(bufferevent_get_output(bev));

	if (conn->state == CONN_FLUSHING && pending == 0) {
		conn_finish(conn);
	} else if (conn->full && pending <= conn->limits.pause_reading_at / 2) {
		conn->full = false;
		go_on(conn);
	}
}

/* Events */

static void become_open(struct conn *conn)
{
	conn->state = CONN_OPEN;
	event_del(&conn->deadline);
	if (conn->early && evbuffer_get_length(conn->early) > 0) {
		bufferevent_write_buffer(conn->bev, conn->early);
		flush_soon(conn);
	}
	if (conn->handlers.ready)
		conn->handlers.ready(conn, conn->arg);
	go_on(conn);
}

static void describe_end(struct conn *conn, short what, int error)
{
	unsigned long tls_error =
		conn->ssl ? bufferevent_get_openssl_error(conn->bev) : 0;
	const char *when =
		conn->state == CONN_OPENING ? " during the TLS handshake" : "";

	if (tls_error || conn->tls.why[0])
		set_why(conn, "%s", tls_session_reason(&conn->tls, tls_error));
	else if (what & BEV_EVENT_EOF || error == 0)
		set_why(conn, "closed by peer%s", when);
	else
		set_why(conn, "%s%s", conn_socket_error(error), when);
	ERR_clear_error();
}

static void event_came(struct bufferevent *bev, short what, void *arg)
{
	struct conn *conn = arg;
	int error = errno;

	(void)bev;
	if (conn->state == CONN_OVER)
		return;
	if (what & BEV_EVENT_CONNECTED) {
		if (conn->state == CONN_OPENING && !conn->ended)
			become_open(conn);
		return;
	}
	conn->broken |= (what & BEV_EVENT_EOF) == 0;
	if (conn->state == CONN_FLUSHING) {
		if (conn->broken)
			conn_finish(conn);
		return;
	}
	if (!conn->ended)
		describe_end(conn, what, error);
	conn->ended = true;
	loop_task_start(&conn->task);
}

static void deadline_passed(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	(void)fd;
	(void)what;
	if (conn->state == CONN_FLUSHING) {
		conn->broken = true;
		conn_finish(conn);
		return;
	}
	if (conn->state != CONN_OPENING || conn->ended)
		return;
	set_why(conn, "no %s within %llu ms",
		conn->bev ? "TLS handshake" : "connection",
		(unsigned long long)(conn->limits.handshake_us / US_PER_MS));
	fail_later(conn);
}

/* The connection's task. */
static void step(void *arg)
{
	struct conn *conn = arg;

	if (conn->state == CONN_OVER) {
		loop_linger(conn->loop, false);
		conn_free(conn);
	} else if (conn->state == CONN_OPENING && conn->ended) {
		tell_closed(conn);
	} else if (conn->state == CONN_OPENING && !conn->tls.context &&
		   conn->bev) {
		become_open(conn);
	} else {
		go_on(conn);
	}
}

/* Opening */

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
	conn->dialing_fd = -1;
	conn->tls.context = tls;
	set_limits(conn, limits);
	line_reader_init(&conn->lines, conn->limits.max_line);
	loop_task_init(&conn->task, loop, step, conn);
	evtimer_assign(&conn->deadline, loop_event_base(loop), deadline_passed,
		       conn);
	return conn;
}

/* The bufferevent owns the descriptor on success. */
static int make_bufferevent(struct conn *conn, int fd, bool is_server)
{
	struct event_base *base = loop_event_base(conn->loop);

	if (conn->tls.context) {
		SSL *ssl = tls_session_open(&conn->tls, conn->tls.context,
					    is_server);

		if (!ssl)
			return -ENOMEM;
		conn->bev = bufferevent_openssl_socket_new(
			base, fd, ssl,
			is_server ? BUFFEREVENT_SSL_ACCEPTING
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
	bufferevent_setcb(conn->bev, read_ready, write_done, event_came, conn);
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

int conn_accept(struct conn **ret, struct loop *loop, int fd,
		const struct tls_context *tls, const struct conn_limits *limits,
		const struct conn_handlers *handlers, void *arg)
{
	struct conn *conn = conn_alloc(loop, tls, limits, handlers, arg);
	struct endpoint peer = conn_socket_peer(fd);

	if (conn)
		conn_socket_prepare(fd);
	if (!conn || make_bufferevent(conn, fd, /* is_server= */ true) < 0) {
		close(fd);
		free(conn);
		return -ENOMEM;
	}
	set_peer(conn, &peer);
	if (tls)
		set_deadline(conn, conn->limits.handshake_us);
	else
		loop_task_start(&conn->task);
	*ret = conn;
	return 0;
}

static void dial_result(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	int error = conn_socket_take_error(fd);

	(void)what;
	if (conn->state != CONN_OPENING)
		return;
	conn->dialing_fd = -1;
	if (error == 0)
		error = -make_bufferevent(conn, fd, /* is_server= */ false);
	if (error != 0) {
		close(fd);
		set_why(conn, "%s", conn_socket_error(error));
		fail_later(conn);
	} else if (!conn->tls.context) {
		loop_task_start(&conn->task);
	}
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
	set_deadline(conn, conn->limits.handshake_us);
	fd = conn_socket_dial(to);
	if (fd >= 0) {
		conn->dialing_fd = fd;
		event_assign(&conn->dialing, loop_event_base(loop), fd,
			     EV_WRITE, dial_result, conn);
		event_add(&conn->dialing, NULL);
	} else {
		set_why(conn, "%s", conn_socket_error(-fd));
		fail_later(conn);
	}
	*ret = conn;
	return 0;
}

/* Calls from outside */

void conn_close(struct conn *conn)
{
	if (conn && conn->state < CONN_FLUSHING)
		leave(conn);
}

void conn_pause(struct conn *conn)
{
	conn->paused = true;
	if (conn->state == CONN_OPEN)
		update_reading(conn);
}

void conn_resume(struct conn *conn)
{
	if (!conn->paused)
		return;
	conn->paused = false;
	if (conn->state == CONN_OPEN)
		loop_task_start(&conn->task);
}

const char *conn_peer_name(const struct conn *conn)
{
	return conn->name;
}

const struct endpoint *conn_peer(const struct conn *conn)
{
	return &conn->peer;
}

int conn_verify_again(struct conn *conn, const char **ret_why)
{
	if (!conn->ssl || conn->state != CONN_OPEN)
		return 0;
	return tls_session_verify(&conn->tls, conn->ssl, ret_why);
}
