/** @file net/conn_close.c  The end of a connection: flush, goodbye, free */
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/conn_internal.h"
#include "net/conn_socket.h"

#define FLUSH_US (2 * US_PER_S)

bool conn_is_connected(const struct conn *conn)
{
	return conn->bev && !conn->broken &&
	       (!conn->tls.context || conn->state != CONN_OPENING);
}

void conn_set_deadline(struct conn *conn, uint64_t delay_us)
{
	struct timeval tv = loop_timeval(delay_us);

	event_del(&conn->deadline);
	event_add(&conn->deadline, &tv);
}

void conn_free(struct conn *conn)
{
	if (conn->bev)
		bufferevent_free(conn->bev);
	if (conn->early)
		evbuffer_free(conn->early);
	if (conn->waiting_fd >= 0) {
		event_del(&conn->waiting);
		close(conn->waiting_fd);
	}
	event_del(&conn->deadline);
	loop_task_stop(&conn->task);
	free(conn);
}

/* The context may be freed from now on; a handshake that still runs fails. */
void conn_finish(struct conn *conn)
{
	conn->state = CONN_OVER;
	conn->tls.context = NULL;
	loop_task_start(&conn->task);
}

void conn_leave(struct conn *conn)
{
	loop_linger(conn->loop, true);
	if (!conn_is_connected(conn)) {
		conn_finish(conn);
		return;
	}
	conn->state = CONN_FLUSHING;
	bufferevent_disable(conn->bev, EV_READ);
	bufferevent_enable(conn->bev, EV_WRITE);
	bufferevent_setwatermark(conn->bev, EV_WRITE, 0, 0);
	conn_set_deadline(conn, FLUSH_US);
	if (conn_pending(conn) == 0)
		loop_task_start(&conn->task);
}

static void send_close_notify(struct conn *conn)
{
	ERR_clear_error();
	SSL_shutdown(conn->ssl);
	ERR_clear_error();
}

/*
 * To close a TCP socket that holds something unread is to reset it, and then
 * the kernel throws away what the peer does not have yet. So end our direction
 * only, and read until the peer has ended the other.
 */
void conn_part(struct conn *conn)
{
	int fd = bufferevent_getfd(conn->bev);

	if (conn->lingers)
		return;
	if (conn->ssl)
		send_close_notify(conn);
	if (conn->ended || conn_socket_unsent(fd) == 0) {
		conn_finish(conn);
		return;
	}
	conn->lingers = true;
	shutdown(fd, SHUT_WR);
	bufferevent_enable(conn->bev, EV_READ);
}
