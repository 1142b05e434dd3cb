#pragma once
/**
 * @file net/conn_internal.h  The inside of a connection
 *
 * conn_open.c makes it, conn.c lets it speak, conn_close.c ends it.
 */
#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>

#include "net/conn.h"
#include "net/line_reader.h"
#include "net/loop_event.h"
#include "net/tls_session.h"

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

	int waiting_fd; /* until there is a bufferevent, which owns it then */
	struct event
		waiting; /* for TCP to connect, or for a TLS client to speak */
	bool is_server;
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
	bool lingers; /* all is written; until the peer has it */

	struct endpoint peer;
	char name[ADDR_TEXT_SIZE];
	char why[TLS_REASON_SIZE + 64];
};

/* conn.c: what libevent and the loop call */
void conn_step(void *arg);
void conn_read_ready(struct bufferevent *bev, void *arg);
void conn_write_done(struct bufferevent *bev, void *arg);
void conn_event_came(struct bufferevent *bev, short what, void *arg);
void conn_deadline_passed(evutil_socket_t fd, short what, void *arg);

/** It is over, and the task says so: for what is found out inside a call. */
void conn_fail_later(struct conn *conn);
void conn_set_why(struct conn *conn, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* conn_close.c */

/** Can bytes leave now? */
bool conn_is_connected(const struct conn *conn);
void conn_set_deadline(struct conn *conn, uint64_t delay_us);
/** From here on no handler is called: write what is queued, then finish. */
void conn_leave(struct conn *conn);
/** All is written: say goodbye, and finish when the peer has it. */
void conn_part(struct conn *conn);
/** Free it in its task. */
void conn_finish(struct conn *conn);
void conn_free(struct conn *conn);
