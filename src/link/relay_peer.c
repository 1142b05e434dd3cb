#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "link/relay_peers_internal.h"

/* An acknowledgement is in no hurry: the relay has the record. Most find a
 * request to go with, and cost neither side a wakeup of their own. */
#define ACKS_US (10 * US_PER_MS)

static void send_acks(void *arg)
{
	struct relay_peer *peer = arg;

	if (peer->acks.len == 0)
		return;
	conn_write(peer->conn, buf_span(&peer->acks));
	buf_reset(&peer->acks);
	timer_stop(peer->acks_due);
}

struct relay_peer *relay_peer_new(struct relay_peers *peers,
				  const struct endpoint *from)
{
	struct relay_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	if (hash_init(&peer->requests) < 0 ||
	    timer_new(&peer->acks_due, peers->loop, send_acks, peer) < 0) {
		hash_done(&peer->requests);
		free(peer);
		return NULL;
	}
	peer->peers = peers;
	peer->ip = from->ip;
	endpoint_format(from, peer->name);
	list_init(&peer->link);
	list_init(&peer->young);
	list_init(&peer->overdue);
	return peer;
}

static void free_peer(void *arg)
{
	struct relay_peer *peer = arg;

	hash_done(&peer->requests);
	timer_free(peer->acks_due);
	buf_done(&peer->acks);
	free(peer);
}

/* Requests */

void relay_request_body(struct buf *out, const struct command_header *headers,
			size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buf_add(out, headers[i].name);
		buf_add(out, SPAN(": "));
		buf_add(out, headers[i].value);
		buf_add(out, SPAN("\r\n"));
	}
	buf_add(out, SPAN("\r\n"));
}

int relay_peer_request(struct relay_peer *peer, struct span name,
		       struct span body, relay_reply_h *handler, void *arg)
{
	struct open_request *request;
	char head[64];
	int len;

	if (peer->dead || !peer->linked)
		return -ENOTCONN;
	if (peer->requests.count >= MAX_OPEN_REQUESTS)
		return -EAGAIN;
	len = snprintf(head, sizeof(head), "%.*s %llu\r\n", SPAN_ARG(name),
		       (unsigned long long)peer->last_seq + 1);
	if (len < 0 || (size_t)len >= sizeof(head))
		return -EINVAL;
	request = malloc(sizeof(*request));
	if (!request)
		return -ENOMEM;
	*request = (struct open_request){
		.seq = ++peer->last_seq,
		.sent_us = loop_now_us(peer->peers->loop),
		.handler = handler,
		.arg = arg,
	};
	/* Numbers in a row are the best of hashes already. */
	hash_add(&peer->requests, &request->by_seq, request->seq);
	list_add_tail(&peer->young, &request->by_age);
	send_acks(peer);
	conn_write(peer->conn, span_make(head, (size_t)len));
	conn_write(peer->conn, body);
	return 0;
}

void relay_peer_ack(struct relay_peer *peer, struct span record_id)
{
	if (peer->dead || !peer->linked ||
	    !(peer->hello.features & (unsigned)LINK_FEATURE_ACK))
		return;
	buf_add(&peer->acks, SPAN("ack "));
	buf_add(&peer->acks, record_id);
	buf_add(&peer->acks, SPAN("\r\n"));
	if (!timer_is_running(peer->acks_due))
		timer_start(peer->acks_due, ACKS_US);
}

static void finish_request(struct relay_peer *peer,
			   struct open_request *request,
			   enum relay_outcome outcome, struct span text)
{
	struct open_request done = *request;

	hash_del(&peer->requests, &request->by_seq);
	list_del(&request->by_age);
	free(request);
	done.handler(peer, outcome, text, done.arg);
}

static struct open_request *find_request(struct relay_peer *peer, uint64_t seq)
{
	struct hash_node *node = hash_first(&peer->requests, seq);

	return node ? hash_item(node, struct open_request, by_seq) : NULL;
}

static void fail_requests(struct relay_peer *peer, struct list *requests)
{
	struct list *first;

	while ((first = list_first(requests)))
		finish_request(peer,
			       list_item(first, struct open_request, by_age),
			       RELAY_OUTCOME_LOST, (struct span){0});
}

void relay_peer_kill(struct relay_peer *peer, const char *why)
{
	struct relay_peers *peers = peer->peers;

	if (peer->dead)
		return;
	peer->dead = true;
	timer_stop(peer->acks_due);
	list_del(&peer->link);
	if (peer->linked)
		peers->link_count--;
	else
		peers->handshake_count--;
	if (peer->linked && !peers->ending)
		peers->handlers.down(peer, why, peers->arg);
	fail_requests(peer, &peer->overdue);
	fail_requests(peer, &peer->young);
	/* A handler up the stack may still look at it. Without memory for the
	 * call it stays, which is better than the opposite. */
	(void)loop_defer(peers->loop, free_peer, peer);
}

/* Standing */

const char *relay_peer_state_name(enum relay_peer_state state)
{
	static const char *const names[] = {"syncing", "active", "unresponsive",
					    "halting"};

	return names[state];
}

enum relay_peer_state relay_peer_state(const struct relay_peer *peer)
{
	if (peer->draining)
		return RELAY_PEER_DRAINING;
	if (peer->unresponsive)
		return RELAY_PEER_UNRESPONSIVE;
	return peer->synced ? RELAY_PEER_ACTIVE : RELAY_PEER_SYNCING;
}

const struct ip_addr *relay_peer_ip(const struct relay_peer *peer)
{
	return &peer->ip;
}

const char *relay_peer_name(const struct relay_peer *peer)
{
	return peer->name;
}

unsigned relay_peer_features(const struct relay_peer *peer)
{
	return peer->hello.features;
}

const char *relay_peer_version(const struct relay_peer *peer)
{
	return peer->hello.version;
}

uint64_t relay_peer_waiting_us(const struct relay_peer *peer)
{
	const struct list *oldest = list_first(&peer->young);

	if (!oldest)
		return 0;
	return loop_now_us(peer->peers->loop) -
	       list_item(oldest, const struct open_request, by_age)->sent_us;
}

/* relay_recover_interval counts from the request that was not answered. */
static void mark_unresponsive(struct relay_peer *peer, uint64_t sent_us,
			      uint64_t now_us)
{
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	peer->peers->counters.timeouts++;
	if (peer->unresponsive)
		return;
	peer->unresponsive = true;
	peer->unresponsive_since_us = sent_us;
	if (log_limit_allows(&peer->peers->timeout_limit, now_us, &suppressed))
		log_warning(
			"relay %s left a request unanswered for %.1f s: no new "
			"calls for it until its next ping%s",
			peer->name,
			(double)peer->peers->conf->dispatcher.relay_timeout_us /
				(double)US_PER_S,
			log_left_out(suppressed, left_out));
}

void relay_peer_check(struct relay_peer *peer, uint64_t now_us)
{
	const struct conf_dispatcher *conf = &peer->peers->conf->dispatcher;
	struct list *first;

	while ((first = list_first(&peer->young))) {
		struct open_request *request =
			list_item(first, struct open_request, by_age);

		if (now_us - request->sent_us < conf->relay_timeout_us)
			break;
		list_del(first);
		list_add_tail(&peer->overdue, first);
		mark_unresponsive(peer, request->sent_us, now_us);
	}
	if (peer->unresponsive && now_us - peer->unresponsive_since_us >=
					  conf->relay_recover_interval_us) {
		peer->peers->counters.recoveries_failed++;
		conn_close(peer->conn);
		relay_peer_kill(peer, "no ping within relay_recover_interval");
	}
}

/* Lines */

static int ask_sessions(struct relay_peer *peer, uint64_t cursor);

static void count_listed(const struct session_report *report, void *arg)
{
	struct relay_peer *peer = arg;

	peer->listed_count++;
	peer->peers->handlers.listed(peer, report, peer->peers->arg);
}

/* MediaProxy 4 replies with an array; ours does so in pages. */
static int read_listing(struct relay_peer *peer, enum relay_outcome outcome,
			struct span text, uint64_t *ret_next)
{
	struct span array = text;

	*ret_next = 0;
	if (outcome != RELAY_OUTCOME_TEXT)
		return -EBADMSG;
	if (text.ptr[0] == '{' &&
	    session_page_split(text, &array, ret_next) < 0)
		return -EBADMSG;
	return session_reports_decode(array, count_listed, peer);
}

/* What a session's record says that still waits at the relay is more than that
 * the session is not in the list. A relay that keeps no records has none. */
static void look_whether_caught_up(struct relay_peer *peer)
{
	bool keeps = peer->hello.features & (unsigned)LINK_FEATURE_ACK;

	if (!peer->listed_all || peer->caught_up ||
	    (keeps && !peer->records_came))
		return;
	peer->caught_up = true;
	peer->peers->handlers.caught_up(peer, peer->peers->arg);
}

static void sessions_reply(struct relay_peer *peer, enum relay_outcome outcome,
			   struct span text, void *arg)
{
	struct relay_peers *peers = peer->peers;
	uint64_t next;
	int err;

	(void)arg;
	if (peer->dead || peers->ending)
		return;
	peer->listing_pages++;
	err = read_listing(peer, outcome, text, &next);
	if (err == 0 && next > 0) {
		err = peer->listing_pages < MAX_LISTING_PAGES
			      ? ask_sessions(peer, next)
			      : -EBADMSG;
		if (err == 0)
			return;
	}
	if (err < 0)
		log_warning("relay %s: its list of sessions cannot be read "
			    "after %zu sessions; what is known of it stands",
			    peer->name, peer->listed_count);
	peers->handlers.listing_end(peer, peer->listed_count, err == 0,
				    peers->arg);
	peer->synced = true;
	peer->listed_all = err == 0;
	peers->handlers.up(peer, peers->arg);
	look_whether_caught_up(peer);
}

static int ask_sessions(struct relay_peer *peer, uint64_t cursor)
{
	CLEANUP(buf_done) struct buf features = {0};
	CLEANUP(buf_done) struct buf page = {0};
	CLEANUP(buf_done) struct buf body = {0};
	int err;

	link_features_encode(&features, LINK_FEATURES_OURS);
	buf_printf(&page, "%llu", (unsigned long long)cursor);
	struct command_header headers[] = {
		{SPAN("features"), buf_span(&features)},
		{SPAN("scope"), SPAN("own")},
		{SPAN("page"), buf_span(&page)},
	};
	relay_request_body(&body, headers, ARRAY_SIZE(headers));
	if (buf_failed(&features) || buf_failed(&page) || buf_failed(&body))
		return -ENOMEM;
	err = relay_peer_request(peer, SPAN("sessions"), buf_span(&body),
				 sessions_reply, NULL);
	if (err == 0)
		peer->listing_seq = peer->last_seq;
	return err;
}

void relay_peer_start(struct relay_peer *peer)
{
	int err = ask_sessions(peer, 0);

	if (err == 0) {
		peer->peers->handlers.listing_begin(peer, peer->peers->arg);
		return;
	}
	conn_close(peer->conn);
	relay_peer_kill(peer, strerror(-err));
}

static void bad_line(struct relay_peer *peer, const char *what,
		     struct span line)
{
	struct relay_peers *peers = peer->peers;
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	if (line.len > 80)
		line.len = 80;
	if (log_limit_allows(&peers->line_limit, loop_now_us(peers->loop),
			     &suppressed))
		log_warning("relay %s: %s: %.*s%s", peer->name, what,
			    SPAN_ARG(line), log_left_out(suppressed, left_out));
}

static void ping(struct relay_peer *peer, struct span hello)
{
	conn_write(peer->conn, SPAN("pong\r\n"));
	if (hello.len > 0 && link_hello_decode(hello, &peer->hello) < 0) {
		peer->peers->counters.bad_lines++;
		bad_line(peer, "a ping with something that is no JSON object",
			 hello);
	}
	if (!peer->unresponsive)
		return;
	peer->unresponsive = false;
	log_info("relay %s pings again", peer->name);
}

static void reply(struct relay_peer *peer, uint64_t seq, struct span text)
{
	struct open_request *request = find_request(peer, seq);
	enum relay_outcome outcome = RELAY_OUTCOME_TEXT;

	if (!request) {
		peer->peers->counters.unknown_replies++;
		bad_line(peer, "a reply to nothing that was asked", text);
		return;
	}
	if (span_equal(text, SPAN("error")) || text.len == 0) {
		outcome = RELAY_OUTCOME_ERROR;
	} else if (span_equal(text, SPAN("halting"))) {
		outcome = RELAY_OUTCOME_HALTING;
		if (!peer->draining)
			log_info("relay %s is halting: no new calls for it",
				 peer->name);
		peer->draining = true;
	}
	finish_request(peer, request, outcome, text);
}

/* Which reply was too long is not known. Only `sessions` can be, and the one
 * that a new link waits for is what matters. */
static void long_line(struct relay_peer *peer)
{
	struct open_request *first = find_request(peer, peer->listing_seq);

	peer->peers->counters.long_lines++;
	bad_line(peer, "a line that is too long was dropped", SPAN(""));
	if (!peer->synced && first)
		finish_request(peer, first, RELAY_OUTCOME_ERROR,
			       (struct span){0});
}

void relay_peer_line(struct conn *conn, struct span line, bool too_long,
		     void *arg)
{
	struct relay_peer *peer = arg;
	struct span text = line;
	struct span word;
	uint64_t seq;

	(void)conn;
	if (peer->dead)
		return;
	if (too_long) {
		long_line(peer);
		return;
	}
	if (!span_cut(&text, ' ', &word)) {
		word = line;
		text = (struct span){0};
	}
	if (span_to_u64(word, UINT64_MAX, &seq) == 0) {
		reply(peer, seq, text);
	} else if (span_equal(word, SPAN("ping"))) {
		ping(peer, text);
	} else if (span_equal(word, SPAN("expired")) && text.len > 0) {
		peer->peers->handlers.expired(peer, text, peer->peers->arg);
	} else if (span_equal(line, SPAN("caught-up"))) {
		peer->records_came = true;
		look_whether_caught_up(peer);
	} else {
		peer->peers->counters.bad_lines++;
		bad_line(peer,
			 "a line that is neither ping, expired nor a "
			 "reply",
			 line);
	}
}
