#pragma once
/**
 * @file net/conn.h  Stream connections that speak in lines: TCP, TLS, UNIX
 *
 * Only CRLF ends a line; it is not part of the line. Memory is bounded both
 * ways: a line over the limit is swallowed and reported as too long, without
 * its text; a peer that does not read what we write is not read from
 * (high-water mark), and is closed at a hard limit. All events come from the
 * loop, never from inside a call.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"
#include "net/loop.h"
#include "net/tls.h"

struct conn;

struct conn_handlers {
	/** The connection is usable (TLS: after the handshake and the
	 * passport). May be NULL */
	void (*ready)(struct conn *conn, void *arg);
	/** One line. It may call conn_close(). */
	void (*line)(struct conn *conn, struct span line, bool too_long,
		     void *arg);
	/** It is over, for the reason given (static or the connection's own
	 * text); the connection is freed after this call, which is its last.
	 * Not called for conn_close(). */
	void (*closed)(struct conn *conn, const char *why, void *arg);
};

/** Where a limit is 0, and for NULL, the default in brackets holds. */
struct conn_limits {
	size_t max_line; /* longer lines are swallowed (16 KiB) */

	/* Bytes that wait to be written: no more lines are read and handled
	 * until half of them are gone (256 KiB), or the end (8 MiB). */
	size_t pause_reading_at;
	size_t close_at;

	/* TCP connect and TLS handshake together (10 s) */
	uint64_t handshake_us;
};

/** Use an accepted socket (taken over, also on failure). tls: NULL for plain.
 */
int conn_accept(struct conn **ret, struct loop *loop, int fd,
		const struct tls_context *tls, const struct conn_limits *limits,
		const struct conn_handlers *handlers, void *arg);

/** Dial. The result comes as ready or closed. @return 0 or -ENOMEM */
int conn_dial(struct conn **ret, struct loop *loop, const struct endpoint *to,
	      const struct tls_context *tls, const struct conn_limits *limits,
	      const struct conn_handlers *handlers, void *arg);

/** Queue bytes for the peer, as they are; they leave at the end of this turn.
 * What is written before ready waits for it. */
void conn_write(struct conn *conn, struct span bytes);

/** Write what is queued (within 2 s), then close and free. No handler is called
 * again. Safe in every handler. */
void conn_close(struct conn *conn);

/** Do not call the line handler for a while; what arrives waits, bounded, in
 * the kernel. The end of the peer waits too: closed comes after resume, when
 * all its lines were handled. */
void conn_pause(struct conn *conn);
/** Go on, from the loop. */
void conn_resume(struct conn *conn);

/** "10.0.0.1:25060", or "unix" */
const char *conn_peer_name(const struct conn *conn);
const struct endpoint *conn_peer(const struct conn *conn); /* unset for UNIX */

/** How many bytes wait to be written. */
size_t conn_pending(const struct conn *conn);

/** Has the peer closed, so that no answer reaches it? Also true while paused,
 * of a peer whose end has not been told yet; not of one that still reads. */
bool conn_peer_is_gone(const struct conn *conn);

/**
 * Check the peer's certificate again, against the context as it is now (a new
 * CRL, an expired certificate, a changed passport).
 *
 * @return 0, or -EACCES with the reason in ret_why (freed by nobody, valid
 * until the next call)
 */
int conn_verify_again(struct conn *conn, const char **ret_why);
