#pragma once
/**
 * @file link/relay_peers.h  The relays that are linked to this dispatcher
 *
 * The dispatcher's end of docs/protocols.md, section 2. A relay is known by the
 * IP address that it dials from; its next connection replaces the one before.
 * On each connection its `sessions` are asked for first. Requests are matched
 * with replies by sequence number; numbers live until the link ends, so that
 * even a late reply to `remove` comes through. Logs what concerns a link,
 * limited.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "link/session_report.h"
#include "net/loop.h"
#include "net/tls.h"
#include "proto/command.h"

struct relay_peers;
struct relay_peer;

enum relay_peer_state {
	RELAY_PEER_SYNCING,      /* its list of sessions is not read yet */
	RELAY_PEER_ACTIVE,       /* takes new calls */
	RELAY_PEER_UNRESPONSIVE, /* left a request unanswered; until its ping */
	RELAY_PEER_DRAINING      /* said `halting`; until it reconnects */
};

const char *relay_peer_state_name(enum relay_peer_state state);

/* A peer lives from connect to the end of the turn in which down was called.
 * All handlers are called from the loop, none from inside a call. None may end
 * a peer. */
struct relay_peers_handlers {
	/** Before up its sessions are listed, in pages or at once: begin (when
	 * they are asked for, before all other requests), then each session,
	 * then end. A list that is not complete (the relay had no
	 * reply that can be read) says nothing of what is not in it. When the
	 * link goes down in between, there is no end. */
	void (*listing_begin)(struct relay_peer *peer, void *arg);
	void (*listed)(struct relay_peer *peer,
		       const struct session_report *report, void *arg);
	void (*listing_end)(struct relay_peer *peer, size_t count,
			    bool complete, void *arg);
	/** It is ready for calls. */
	void (*up)(struct relay_peer *peer, void *arg);
	/** It was connected and is gone; its open requests fail after this
	 * call. Also called for a link that never came up. */
	void (*down)(struct relay_peer *peer, const char *why, void *arg);
	/** A session ended by itself, or a record comes again that was not
	 * acknowledged. */
	void (*expired)(struct relay_peer *peer, struct span json, void *arg);
	/** After the list: all records that waited at the relay have come. */
	void (*caught_up)(struct relay_peer *peer, void *arg);
};

/** What became of a request. */
enum relay_outcome {
	RELAY_OUTCOME_TEXT,    /* a reply that is none of the next two */
	RELAY_OUTCOME_ERROR,   /* `error` */
	RELAY_OUTCOME_HALTING, /* `halting` */
	RELAY_OUTCOME_LOST     /* the link ended */
};

/** Called once for each request, even minutes later. text: for TEXT, and for
 * this call only. */
typedef void relay_reply_h(struct relay_peer *peer, enum relay_outcome outcome,
			   struct span text, void *arg);

struct relay_peers_counters {
	uint64_t accepted, refused, handshakes_failed;
	uint64_t replaced, timeouts, recoveries_failed, verifications_failed;
	uint64_t unknown_replies, bad_lines, long_lines;
};

/**
 * Listen for relays.
 *
 * @param conf      outlives the peers
 * @param tls       read again every verify_interval; NULL for plain TCP (tests)
 * @return 0 or negative errno of the listener
 */
int relay_peers_new(struct relay_peers **ret, struct loop *loop,
		    const struct conf *conf, struct tls_context *tls,
		    const struct relay_peers_handlers *handlers, void *arg);

/** Close all links; open requests get LOST, no other handler is called.
 * @return NULL */
struct relay_peers *relay_peers_free(struct relay_peers *peers);

struct endpoint relay_peers_address(const struct relay_peers *peers);
const struct relay_peers_counters *
relay_peers_counters(const struct relay_peers *peers);

/** The linked relays, one after the other; NULL: the first, NULL at the end. */
struct relay_peer *relay_peers_next(struct relay_peers *peers,
				    struct relay_peer *after);
struct relay_peer *relay_peers_find(struct relay_peers *peers,
				    const struct ip_addr *ip);

const struct ip_addr *relay_peer_ip(const struct relay_peer *peer);
/** "10.0.0.1:43210" */
const char *relay_peer_name(const struct relay_peer *peer);
/** What it announced, of enum link_feature. */
unsigned relay_peer_features(const struct relay_peer *peer);
/** Its version, or "" if it did not announce one (MediaProxy 4). */
const char *relay_peer_version(const struct relay_peer *peer);
enum relay_peer_state relay_peer_state(const struct relay_peer *peer);
/** For how long its oldest open request has waited, in microseconds; those past
 * relay_timeout do not count, since its ping has forgiven them. */
uint64_t relay_peer_waiting_us(const struct relay_peer *peer);

/** Headers in the form that relay_peer_request() sends: with the empty line. */
void relay_request_body(struct buf *out, const struct command_header *headers,
			size_t count);

/**
 * Send a request.
 *
 * @param name     "update", ...
 * @param body     from relay_request_body(); copied
 * @param handler  called once, never from inside this call
 * @return 0, -ENOMEM, -ENOTCONN (the link is ending), or -EAGAIN (too many
 *         requests are open)
 */
int relay_peer_request(struct relay_peer *peer, struct span name,
		       struct span body, relay_reply_h *handler, void *arg);

/** Tell the relay that it may forget a record; nothing for a relay that keeps
 * none. */
void relay_peer_ack(struct relay_peer *peer, struct span record_id);

/** Check every link's certificate again now, and drop those that fail. */
void relay_peers_verify(struct relay_peers *peers);
