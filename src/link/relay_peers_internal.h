#pragma once
/**
 * @file link/relay_peers_internal.h  What relay_peers.c and relay_peer.c share
 *
 * relay_peers.c has the table of links: who may connect, who replaces whom.
 * relay_peer.c has one link: its lines, its open requests, its standing.
 */
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "link/link.h"
#include "link/relay_peers.h"
#include "net/conn.h"
#include "net/listener.h"

#define MAX_HANDSHAKES 128
#define MAX_HANDSHAKES_PER_SOURCE 4
#define HANDSHAKE_US (10 * US_PER_S)
#define MAX_LISTING_PAGES 10000
#define MAX_OPEN_REQUESTS 65536 /* of one link */

struct relay_peers {
	struct loop *loop;
	const struct conf *conf;
	struct tls_context *tls;
	struct relay_peers_handlers handlers;
	void *arg;
	struct listener *listener;
	struct timer *check_timer, *verify_timer;
	struct list links;      /* of struct relay_peer */
	struct list handshakes; /* the same, oldest first */
	unsigned link_count, handshake_count;
	bool ending; /* no handler but those of open requests */
	struct relay_peers_counters counters;
	struct log_limit refused_limit, line_limit, timeout_limit;
};

struct open_request {
	struct hash_node by_seq;
	struct list by_age;
	uint64_t seq, sent_us;
	relay_reply_h *handler;
	void *arg;
};

struct relay_peer {
	struct relay_peers *peers;
	struct list link; /* in links or handshakes; in neither once killed */
	struct conn *conn;
	struct ip_addr ip;
	char name[ADDR_TEXT_SIZE];
	struct link_hello hello;
	uint64_t last_seq;
	uint64_t listing_seq; /* of the `sessions` that it is asked for first */
	unsigned listing_pages;
	size_t listed_count;
	struct hash_table requests; /* by sequence number */
	struct list young;          /* open requests, oldest first */
	struct list overdue; /* those that have waited past relay_timeout */
	struct buf acks;     /* go with the next request, or soon */
	struct timer *acks_due;
	bool linked, synced, draining, unresponsive, dead;
	bool listed_all; /* the list was complete */
	bool records_came, caught_up;
	uint64_t unresponsive_since_us;
};

/** A link that is accepted and not through its handshake. NULL: no memory. */
struct relay_peer *relay_peer_new(struct relay_peers *peers,
				  const struct endpoint *from);

/** The handshake is done: ask for its sessions. */
void relay_peer_start(struct relay_peer *peer);

void relay_peer_line(struct conn *conn, struct span line, bool too_long,
		     void *arg);

/** Look at what is open and overdue. It may kill the peer. */
void relay_peer_check(struct relay_peer *peer, uint64_t now_us);

/** Take it out of the tables, tell of its end, fail what is open, free it at
 * the end of the turn. Closing the connection is the caller's. */
void relay_peer_kill(struct relay_peer *peer, const char *why);
