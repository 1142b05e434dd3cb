/** @file net/conn.c  A bufferevent, plain or with TLS, that speaks in lines
 *
 * Handlers are called from events and from the connection's task, which the
 * loop runs at the end of a turn. So a call into this module never calls back,
 * and the struct lives until the task of its last turn.
 */
#include "net/conn.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/bufferevent_struct.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "net/conn_internal.h"
#include "net/conn_socket.h"

/* Small writes of one turn share a piece of the output buffer, since each
 * piece becomes a TLS record of its own: the payload of the largest record,
 * without the piece's header. */
#define OUTPUT_PIECE (16 * 1024 - 64)

static void tell_closed(struct conn *conn)
{
	if (conn->handlers.closed)
		conn->handlers.closed(conn, conn->why, conn->arg);
	if (conn->state < CONN_FLUSHING)
		conn_leave(conn);
}

void conn_set_why(struct conn *conn, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(conn->why, sizeof(conn->why), format, args);
	va_end(args);
}

void conn_fail_later(struct conn *conn)
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

void conn_read_ready(struct bufferevent *bev, void *arg)
{
	struct conn *conn = arg;

	if (conn->state == CONN_FLUSHING) {
		struct evbuffer *input = bufferevent_get_input(bev);

		evbuffer_drain(input, evbuffer_get_length(input));
	} else {
		go_on(conn);
	}
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
		conn_set_why(conn, "too slow, %zu bytes unread", pending);
		conn_fail_later(conn);
	} else if (pending >= conn->limits.pause_reading_at && !conn->full) {
		conn->full = true;
		update_reading(conn);
	}
}

static bool append(struct conn *conn, struct span bytes)
{
	struct evbuffer *output;
	bool was_empty;

	if (!conn_is_connected(conn)) {
		if (!conn->early)
			conn->early = evbuffer_new();
		return conn->early &&
		       evbuffer_add(conn->early, bytes.ptr, bytes.len) == 0;
	}
	output = bufferevent_get_output(conn->bev);
	was_empty = evbuffer_get_length(output) == 0;
	if (was_empty && conn->ssl)
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
		conn_set_why(conn, "out of memory");
		conn_fail_later(conn);
	}
}

void conn_write_done(struct bufferevent *bev, void *arg)
{
	struct conn *conn = arg;
	size_t pending = evbuffer_get_length(bufferevent_get_output(bev));

	if (conn->state == CONN_FLUSHING && pending == 0) {
		loop_task_start(&conn->task);
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

	if (ERR_SYSTEM_ERROR(tls_error)) {
		error = ERR_GET_REASON(tls_error);
		tls_error = 0;
	}
	if (tls_error || conn->tls.why[0])
		conn_set_why(conn, "%s",
			     tls_session_reason(&conn->tls, tls_error));
	else if (what & BEV_EVENT_EOF || error == 0)
		conn_set_why(conn, "closed by peer%s", when);
	else
		conn_set_why(conn, "%s%s", conn_socket_error(error), when);
	ERR_clear_error();
}

void conn_event_came(struct bufferevent *bev, short what, void *arg)
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
		conn->ended = true;
		if (conn->broken || conn->lingers)
			conn_finish(conn);
		return;
	}
	if (!conn->ended)
		describe_end(conn, what, error);
	conn->ended = true;
	loop_task_start(&conn->task);
}

void conn_deadline_passed(evutil_socket_t fd, short what, void *arg)
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
	conn_set_why(
		conn, "no %s within %llu ms",
		conn->bev || conn->is_server ? "TLS handshake" : "connection",
		(unsigned long long)(conn->limits.handshake_us / US_PER_MS));
	conn_fail_later(conn);
}

/* The connection's task. */
void conn_step(void *arg)
{
	struct conn *conn = arg;

	if (conn->state == CONN_OVER) {
		loop_linger(conn->loop, false);
		conn_free(conn);
	} else if (conn->state == CONN_FLUSHING) {
		if (conn_pending(conn) == 0)
			conn_part(conn);
	} else if (conn->state == CONN_OPENING && conn->ended) {
		tell_closed(conn);
	} else if (conn->state == CONN_OPENING && !conn->tls.context &&
		   conn->bev) {
		become_open(conn);
	} else {
		go_on(conn);
	}
}

/* Calls from outside */

void conn_close(struct conn *conn)
{
	if (conn && conn->state < CONN_FLUSHING)
		conn_leave(conn);
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

bool conn_peer_is_gone(const struct conn *conn)
{
	if (conn->broken || conn->state >= CONN_FLUSHING)
		return true;
	return conn->bev && conn_socket_is_gone(bufferevent_getfd(conn->bev));
}

int conn_verify_again(struct conn *conn, const char **ret_why)
{
	if (!conn->ssl || conn->state != CONN_OPEN)
		return 0;
	return tls_session_verify(&conn->tls, conn->ssl, ret_why);
}
