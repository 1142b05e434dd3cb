#pragma once
/**
 * @file tests/unit/dispatcher/rig.h  A dispatcher in one process with fake
 * relays and proxies
 *
 * Real sockets on loopback (plain TCP, and UNIX), a real store, one loop.
 * Relays are told apart by the loopback address that they dial from. A test
 * says what it expects next; the loop runs until that has come, or the test
 * fails.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "conf/conf.h"
#include "dispatcher/directory_disk.h"
#include "dispatcher/proxy_socket.h"
#include "dispatcher/relay_events.h"
#include "net/conn.h"

#define RIG_MAX_LINES 4096

/** One end of a connection to the dispatcher: what it has heard. */
struct rig_end {
	struct rig *rig;
	struct conn *conn; /* NULL: closed by the dispatcher */
	char *lines[RIG_MAX_LINES];
	size_t count; /* heard */
	size_t next;  /* to be looked at */
	bool closed;
};

struct rig {
	struct conf conf;
	struct tls_context *tls;       /* of the dispatcher; NULL: plain TCP */
	struct tls_context *relay_tls; /* of what dials next */
	struct loop *loop;
	struct store *store;
	struct backend_config backend_config;
	struct records records;
	struct directory *directory;
	struct directory_disk *disk;
	struct router *router;
	struct relay_events events;
	uint64_t doubt_us; /* for events */
	struct relay_peers *peers;
	struct proxy_socket *proxy;
	struct timer *limit;
	char folder[64], path[96], store_path[96];
	bool timed_out;
};

/** All deadlines are a minute: a test shortens the one that it is about, before
 * rig_start(). */
void rig_init(struct rig *rig);
void rig_start(struct rig *rig);
/** End all but the loop, and start again from what is on disk. All ends are
 * closed then. */
void rig_restart(struct rig *rig);
void rig_done(struct rig *rig);

/** Connect a relay from an address of 127/8 (with TLS: from 127.0.0.1), and get
 * it up with a list of sessions. */
struct rig_end *rig_relay(struct rig *rig, const char *address,
			  const char *sessions);
/** The same, without an answer to `sessions`. */
struct rig_end *rig_dial(struct rig *rig, const char *address);
struct rig_end *rig_proxy(struct rig *rig);
/** A client of something else that listens on TCP. */
struct rig_end *rig_client(struct rig *rig, const struct endpoint *to);
void rig_end_close(struct rig_end *end);
void rig_end_free(struct rig_end *end);

void rig_say(struct rig_end *end, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Run until the next line comes, which the test then owns the look of. */
const char *rig_hear(struct rig_end *end);
/** Expect this line next. */
void rig_expect(struct rig_end *end, const char *line);
/** Expect a request `name SEQ` next and skip its headers. @return SEQ */
unsigned long rig_expect_request(struct rig_end *end, const char *name);
/** The same, and this header among its own. */
unsigned long rig_expect_request_with(struct rig_end *end, const char *name,
				      const char *header);
/** Of a relay: expect that nothing has come but the answer to a ping. */
void rig_expect_nothing(struct rig_end *end);
/** Run until it is so. */
void rig_until(struct rig *rig, bool (*fact)(void *arg), void *arg);
/** Run until the dispatcher closes this end. */
void rig_expect_closed(struct rig_end *end);
/** Run until the dispatcher has so many proxy connections. */
void rig_until_proxies(struct rig *rig, unsigned count);

/** An update with one audio stream, and a remove, as a proxy writes them. */
void rig_update(struct rig_end *proxy, const char *call_id,
		const char *from_tag, const char *more_headers);
void rig_remove(struct rig_end *proxy, const char *call_id,
		const char *from_tag);
