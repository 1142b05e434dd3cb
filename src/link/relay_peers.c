#include "link/relay_peers.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "link/relay_peers_internal.h"

/* How much may wait for a relay that does not read: some 20,000 updates. */
static const struct conn_limits link_limits = {
	.max_line = LINK_MAX_RELAY_LINE,
	.pause_reading_at = 4u << 20,
	.close_at = 16u << 20,
	.handshake_us = HANDSHAKE_US,
};

static void count_refused(struct relay_peers *peers, const char *name,
			  const char *why)
{
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	if (log_limit_allows(&peers->refused_limit, loop_now_us(peers->loop),
			     &suppressed))
		log_warning("relay connection from %s refused: %s%s", name, why,
			    log_left_out(suppressed, left_out));
}

/* A relay that connects again has lost its old connection, whether we know that
 * already or not. */
static void peer_ready(struct conn *conn, void *arg)
{
	struct relay_peer *peer = arg;
	struct relay_peers *peers = peer->peers;
	struct relay_peer *old = relay_peers_find(peers, &peer->ip);

	(void)conn;
	list_del(&peer->link);
	peers->handshake_count--;
	if (old) {
		peers->counters.replaced++;
		conn_close(old->conn);
		relay_peer_kill(old, "replaced by a new connection");
	}
	peer->linked = true;
	list_add_tail(&peers->links, &peer->link);
	peers->link_count++;
	relay_peer_start(peer);
}

static void peer_closed(struct conn *conn, const char *why, void *arg)
{
	struct relay_peer *peer = arg;
	struct relay_peers *peers = peer->peers;

	(void)conn;
	if (!peer->linked) {
		peers->counters.handshakes_failed++;
		count_refused(peers, peer->name, why);
	}
	relay_peer_kill(peer, why);
}

static const struct conn_handlers link_handlers = {
	.ready = peer_ready,
	.line = relay_peer_line,
	.closed = peer_closed,
};

static void drop_handshake(struct relay_peer *peer, const char *why)
{
	peer->peers->counters.refused++;
	count_refused(peer->peers, peer->name, why);
	conn_close(peer->conn);
	relay_peer_kill(peer, why);
}

/* Strangers must not keep relays out by handshakes that they never finish, be
 * it from a relay's own address: the oldest one gives way. */
static void make_room(struct relay_peers *peers, const struct ip_addr *ip)
{
	struct relay_peer *oldest = NULL;
	unsigned count = 0;

	list_for_each (link, &peers->handshakes) {
		struct relay_peer *peer =
			list_item(link, struct relay_peer, link);

		if (!ip_equal(&peer->ip, ip))
			continue;
		if (count++ == 0)
			oldest = peer;
	}
	if (count >= MAX_HANDSHAKES_PER_SOURCE)
		drop_handshake(
			oldest,
			"too many unfinished connections from this address");
	if (peers->handshake_count >= MAX_HANDSHAKES)
		drop_handshake(list_item(list_first(&peers->handshakes),
					 struct relay_peer, link),
			       "too many unfinished connections");
}

static const char *may_connect(struct relay_peers *peers,
			       const struct endpoint *from)
{
	if (peers->link_count >=
		    peers->conf->dispatcher.max_relay_connections &&
	    !relay_peers_find(peers, &from->ip))
		return "max_relay_connections is reached";
	return NULL;
}

static void accepted(int fd, const struct endpoint *from, void *arg)
{
	struct relay_peers *peers = arg;
	const char *why = may_connect(peers, from);
	struct relay_peer *peer = NULL;
	char name[ADDR_TEXT_SIZE];

	if (!why) {
		make_room(peers, &from->ip);
		peer = relay_peer_new(peers, from);
		if (!peer)
			why = "no memory";
	}
	if (!peer) {
		close(fd);
		peers->counters.refused++;
		count_refused(peers, endpoint_format(from, name), why);
		return;
	}
	peers->counters.accepted++;
	list_add_tail(&peers->handshakes, &peer->link);
	peers->handshake_count++;
	if (conn_accept(&peer->conn, peers->loop, fd, peers->tls, &link_limits,
			&link_handlers, peer) < 0)
		relay_peer_kill(peer, "no memory");
}

static void check_all(void *arg)
{
	struct relay_peers *peers = arg;
	uint64_t now_us = loop_now_us(peers->loop);

	list_for_each_safe (link, &peers->links) {
		relay_peer_check(list_item(link, struct relay_peer, link),
				 now_us);
	}
}

void relay_peers_verify(struct relay_peers *peers)
{
	list_for_each_safe (link, &peers->links) {
		struct relay_peer *peer =
			list_item(link, struct relay_peer, link);
		const char *why;

		if (conn_verify_again(peer->conn, &why) == 0)
			continue;
		peers->counters.verifications_failed++;
		log_warning("relay %s: its certificate no longer holds: %s",
			    peer->name, why);
		conn_close(peer->conn);
		relay_peer_kill(peer, "its certificate no longer holds");
	}
}

static void verify(void *arg)
{
	struct relay_peers *peers = arg;
	const char *why;

	if (tls_context_reload(peers->tls, &why) < 0)
		log_warning("certificates not read again, the old ones stay "
			    "in force: %s",
			    why);
	relay_peers_verify(peers);
}

/* Often enough for relay_timeout to be kept within a tenth. */
static uint64_t check_interval(const struct conf_dispatcher *conf)
{
	uint64_t interval_us = conf->relay_timeout_us / 10;

	if (interval_us < 5 * US_PER_MS)
		return 5 * US_PER_MS;
	return interval_us > US_PER_S / 2 ? US_PER_S / 2 : interval_us;
}

static int start(struct relay_peers *peers)
{
	const struct conf *conf = peers->conf;
	int err;

	err = timer_new(&peers->check_timer, peers->loop, check_all, peers);
	if (err < 0)
		return err;
	timer_start_every(peers->check_timer,
			  check_interval(&conf->dispatcher));
	if (peers->tls && conf->tls.verify_interval_us > 0) {
		err = timer_new(&peers->verify_timer, peers->loop, verify,
				peers);
		if (err < 0)
			return err;
		timer_start_every(peers->verify_timer,
				  conf->tls.verify_interval_us);
	}
	return listener_new_tcp(&peers->listener, peers->loop,
				&conf->dispatcher.listen, accepted, peers);
}

int relay_peers_new(struct relay_peers **ret, struct loop *loop,
		    const struct conf *conf, struct tls_context *tls,
		    const struct relay_peers_handlers *handlers, void *arg)
{
	struct relay_peers *peers = calloc(1, sizeof(*peers));
	int err;

	if (!peers)
		return -ENOMEM;
	peers->loop = loop;
	peers->conf = conf;
	peers->tls = tls;
	peers->handlers = *handlers;
	peers->arg = arg;
	peers->refused_limit = LOG_LIMIT(5, 60 * US_PER_S);
	peers->line_limit = LOG_LIMIT(5, 60 * US_PER_S);
	peers->timeout_limit = LOG_LIMIT(5, 60 * US_PER_S);
	list_init(&peers->links);
	list_init(&peers->handshakes);
	err = start(peers);
	if (err < 0) {
		relay_peers_free(peers);
		return err;
	}
	*ret = peers;
	return 0;
}

static void end_all(struct list *links)
{
	struct list *first;

	while ((first = list_first(links))) {
		struct relay_peer *peer =
			list_item(first, struct relay_peer, link);

		conn_close(peer->conn);
		relay_peer_kill(peer, "the dispatcher stops");
	}
}

static void free_peers(void *arg)
{
	free(arg);
}

struct relay_peers *relay_peers_free(struct relay_peers *peers)
{
	if (!peers)
		return NULL;
	peers->ending = true;
	listener_free(peers->listener);
	timer_free(peers->check_timer);
	timer_free(peers->verify_timer);
	end_all(&peers->handshakes);
	end_all(&peers->links);
	/* After its links, which are freed in the order of their ends. */
	if (loop_defer(peers->loop, free_peers, peers) < 0)
		free(peers);
	return NULL;
}

struct endpoint relay_peers_address(const struct relay_peers *peers)
{
	return listener_address(peers->listener);
}

const struct relay_peers_counters *
relay_peers_counters(const struct relay_peers *peers)
{
	return &peers->counters;
}

struct relay_peer *relay_peers_next(struct relay_peers *peers,
				    struct relay_peer *after)
{
	struct list *next = after ? after->link.next : peers->links.next;

	return next == &peers->links ? NULL
				     : list_item(next, struct relay_peer, link);
}

struct relay_peer *relay_peers_find(struct relay_peers *peers,
				    const struct ip_addr *ip)
{
	list_for_each (link, &peers->links) {
		struct relay_peer *peer =
			list_item(link, struct relay_peer, link);

		if (ip_equal(&peer->ip, ip))
			return peer;
	}
	return NULL;
}
