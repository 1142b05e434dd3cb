#pragma once
/**
 * @file link/relay_links.h  The relay's links to its dispatchers
 *
 * The relay dials every address of every dispatcher that it knows, says `ping
 * {json}`, takes commands and writes replies and `expired` records. Names are
 * looked up again and again; an address that vanishes is hung up on. A link
 * counts as up from the first line that the dispatcher says: under TLS 1.3 we
 * have finished the handshake before it has looked at our certificate. One
 * loop, one thread.
 *
 * Final records are kept for their dispatcher until it has them: one that has
 * announced `ack` says so; to others a record that was written is gone. What
 * waits, and does not have room in memory, is in the store.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "conf/conf.h"
#include "link/link.h"
#include "net/loop.h"
#include "net/tls.h"
#include "proto/command.h"
#include "store/store.h"

#define RELAY_LINKS_MAX 256 /* dispatcher addresses in a process's life */
#define RELAY_LINKS_MAX_ADDRESSES 32 /* of one name */

struct relay_links;

struct relay_links_config {
	struct loop *loop;
	struct tls_context *tls; /* NULL: plain TCP, for tests */
	const struct conf_host_list *dispatchers;
	struct link_hello hello;
	uint64_t dns_check_interval_us, keepalive_interval_us;
	uint64_t reconnect_delay_us;
	uint64_t first_reconnect_us; /* after a link that was up; 0: 1 s */
	uint64_t verify_interval_us; /* 0: never; without tls: never */
	/** For records: opened, and not started yet. Free it after the links.
	 * NULL: they are in memory alone. */
	struct store *store;
	size_t max_records; /* in memory, for one dispatcher; 0: with a store
			       2048, else 262144 */
};

/** A command that waits for its reply: who asked, on which connection. Copy it.
 */
struct relay_request {
	unsigned owner; /* the dispatcher; stable for the life of the process */
	uint32_t session; /* of the owner's connections, the one it came on */
	uint64_t seq;
};

struct relay_links_handlers {
	/** A well-formed command (`update`, `remove`, `summary`, `sessions`, or
	 * one that nobody knows). Answer it now or later by
	 * relay_links_reply(). */
	void (*command)(const struct relay_request *request,
			const struct command *command, void *arg);
};

/**
 * Start to dial. What config points to has to live as long as the links.
 *
 * @return 0 or -ENOMEM
 */
int relay_links_new(struct relay_links **ret,
		    const struct relay_links_config *config,
		    const struct relay_links_handlers *handlers, void *arg);

/** Hang up on all. Records that still wait are handed to the store, without one
 * logged and lost. @return NULL */
struct relay_links *relay_links_free(struct relay_links *links);

/**
 * Write `SEQ text`. A text that is longer than a line may be becomes `error`.
 *
 * @return 0, or -ENOTCONN: the connection that asked is gone and nobody will
 * read this
 */
int relay_links_reply(struct relay_links *links,
		      const struct relay_request *request, struct span text);

/**
 * Send `expired {json}` to the owner; while its link is down the record waits.
 * Too many, and no store: the oldest is dropped, with an error in the log that
 * holds it.
 *
 * @param record_id  What the dispatcher acknowledges; no other record has it
 */
void relay_links_expired(struct relay_links *links, unsigned owner,
			 struct span record_id, struct span json);

/**
 * The final record of a session whose `remove` waits for its reply. If the
 * connection that asked is gone, or goes before the dispatcher has acknowledged
 * the record, it is sent as `expired`.
 *
 * @param reply, expired  The record in both forms
 */
void relay_links_removed(struct relay_links *links,
			 const struct relay_request *request,
			 struct span record_id, struct span reply,
			 struct span expired);

/** Has the dispatcher announced this on its present connection? */
bool relay_links_has_feature(const struct relay_links *links, unsigned owner,
			     enum link_feature feature);

/** "10.0.0.1:25060", with the name that it was found by. For logs. */
const char *relay_links_owner_name(const struct relay_links *links,
				   unsigned owner);

struct relay_links_counts {
	size_t known;           /* addresses to be linked to, now */
	size_t up;              /* links that are up, now */
	size_t records_waiting; /* in memory now, for all dispatchers */
	size_t records_on_disk; /* now; those in memory may be among them */
	bool disk_failing;      /* it cannot be written, now */
	uint64_t connected;     /* links that came up */
	uint64_t lost;          /* links that were up and went down */
	uint64_t failed;        /* attempts that led to no link */
	uint64_t commands;      /* well-formed ones */
	uint64_t commands_bad;
	uint64_t replies_lost; /* asked for on a connection that is gone */
	uint64_t records_sent;
	uint64_t records_resent; /* of these, after a reconnect */
	uint64_t records_acked;
	uint64_t acks_unknown;
	uint64_t records_dropped;
	uint64_t lookups_failed;
};

void relay_links_count(const struct relay_links *links,
		       struct relay_links_counts *ret);

typedef void relay_links_closed_h(void *arg);

/**
 * The relay stops: wait until all records are sent, and acknowledged by whoever
 * does that, and all replies are written, but no longer than the grace, then
 * hang up and call the handler (once, from the loop). Until then the links work
 * as before. Free the links afterwards.
 */
void relay_links_close(struct relay_links *links, uint64_t grace_us,
		       relay_links_closed_h *closed, void *arg);
