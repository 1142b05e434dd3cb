#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "dispatcher/relay_choice.h"
#include "dispatcher/router_internal.h"
#include "link/session_report.h"

static void attempt_reply(struct relay_peer *peer, enum relay_outcome outcome,
			  struct span text, void *arg);

/* Asking */

static struct directory_session *find_session(const struct transaction *t)
{
	struct directory_call *call =
		directory_find(t->router->directory, t->leg.call_id);

	return call ? directory_find_session(call, t->leg.from_tag,
					     t->leg.to_tag)
		    : NULL;
}

static int ask(struct transaction *t, struct relay_peer *peer)
{
	struct directory_session *session = find_session(t);
	struct attempt *attempt;
	int err;

	if (t->attempt_count >= MAX_ATTEMPTS)
		return -EAGAIN;
	attempt = &t->attempts[t->attempt_count++];
	*attempt = (struct attempt){.transaction = t,
				    .relay = *relay_peer_ip(peer),
				    .order = ++t->router->last_order,
				    .sent_us = loop_now_us(t->router->loop)};
	err = relay_peer_request(
		peer, t->is_remove ? SPAN("remove") : SPAN("update"),
		span_make(t->body, t->body_len), attempt_reply, attempt);
	if (err < 0)
		return err;
	if (session && t->is_remove)
		directory_removing(session, attempt->order);
	else if (session)
		directory_asked(session, attempt->order, attempt->sent_us);
	attempt->open = true;
	t->open_attempts++;
	return 0;
}

void transaction_ask_owner(struct transaction *t, const struct ip_addr *relay)
{
	struct relay_peer *peer = relay_peers_find(t->router->peers, relay);

	t->state = TRANSACTION_ASKING;
	if (!peer)
		transaction_refuse(t, REFUSAL_RELAY_GONE,
				   "the call's relay is not connected");
	else if (ask(t, peer) < 0)
		transaction_refuse(t, REFUSAL_NO_ROOM,
				   "too many requests are open at the relay");
}

static bool was_tried(const struct transaction *t, const struct ip_addr *relay)
{
	for (size_t i = 0; i < t->attempt_count; i++)
		if (ip_equal(&t->attempts[i].relay, relay))
			return true;
	return false;
}

static bool grow_facts(struct router *router)
{
	size_t size = router->fact_size ? router->fact_size * 2 : 16;
	struct relay_fact *facts =
		reallocarray(router->facts, size, sizeof(*facts));

	if (!facts)
		return false;
	router->facts = facts;
	router->fact_size = size;
	return true;
}

static size_t gather_facts(struct transaction *t)
{
	struct router *router = t->router;
	struct relay_peer *peer = NULL;
	size_t count = 0;

	while ((peer = relay_peers_next(router->peers, peer))) {
		if (count >= router->fact_size && !grow_facts(router))
			break;
		router->facts[count++] = (struct relay_fact){
			.ip = *relay_peer_ip(peer),
			.active = relay_peer_state(peer) == RELAY_PEER_ACTIVE,
			.prompt = relay_peer_waiting_us(peer) <
				  router->conf->failover_timeout_us,
			.tried = was_tried(t, relay_peer_ip(peer)),
		};
	}
	return count;
}

/* xorshift64*: good enough to spread calls */
static uint64_t next_random(struct router *router)
{
	uint64_t x = router->random | 1;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	router->random = x;
	return x * 0x2545f4914f6cdd1dull >> 16;
}

static struct relay_peer *choose(struct transaction *t)
{
	struct router *router = t->router;
	size_t count = gather_facts(t);
	size_t chosen = relay_choose(router->facts, count, &t->preferred,
				     next_random(router));

	if (chosen == RELAY_CHOICE_NONE)
		return NULL;
	return relay_peers_find(router->peers, &router->facts[chosen].ip);
}

static void log_failover(struct transaction *t, const struct ip_addr *to,
			 const char *why)
{
	struct router *router = t->router;
	char from_text[ADDR_TEXT_SIZE], to_text[ADDR_TEXT_SIZE];
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	router->counters.failovers++;
	if (!log_limit_allows(&router->failover_limit,
			      loop_now_us(router->loop), &suppressed))
		return;
	log_warning(
		"[%.*s] relay %s: %s; the call goes on to relay %s%s",
		SPAN_ARG(t->leg.call_id),
		ip_format(&t->attempts[t->attempt_count - 2].relay, from_text),
		why, ip_format(to, to_text),
		log_left_out(suppressed, left_out));
}

static bool has_asker(const struct transaction *t)
{
	router_is_gone_h *is_gone = t->router->is_gone;

	return t->handler && !(is_gone && is_gone(t->arg));
}

/* Is there anybody for whom a session would be made? */
static bool is_wanted(const struct transaction *t)
{
	if (has_asker(t))
		return true;
	list_for_each (link, &t->waiters) {
		const struct transaction *waiter =
			list_item(link, struct transaction, waiting);

		if (waiter->is_remove || has_asker(waiter))
			return true;
	}
	return false;
}

/* Nobody is left to be asked, but somebody may still reply. */
static void give_up(struct transaction *t, const char *why)
{
	if (t->open_attempts > 0)
		return;
	if (t->attempt_count == 0)
		transaction_refuse(t, REFUSAL_NO_RELAY,
				   "no relay takes new calls");
	else
		transaction_refuse(t, REFUSAL_RELAY_ERROR,
				   why ? why : "no relay could be asked");
}

void transaction_ask_next(struct transaction *t, const char *why)
{
	struct router *router = t->router;
	bool wanted = t->attempt_count == 0 || is_wanted(t);
	struct relay_peer *peer;

	list_del(&t->by_failover);
	while (wanted && t->attempt_count < MAX_ATTEMPTS &&
	       (peer = choose(t))) {
		if (ask(t, peer) < 0)
			continue;
		if (t->attempt_count > 1)
			log_failover(t, relay_peer_ip(peer),
				     why ? why : "it could not be asked");
		t->failover_at_us = loop_now_us(router->loop) +
				    router->conf->failover_timeout_us;
		list_add_tail(&router->failovers, &t->by_failover);
		router_arm(router, router->failover_timer, t->failover_at_us);
		return;
	}
	give_up(t, why);
}

/* Undoing */

static void ignore_reply(struct relay_peer *peer, enum relay_outcome outcome,
			 struct span text, void *arg)
{
	(void)peer;
	(void)outcome;
	(void)text;
	(void)arg;
}

/* Has somebody who waits for an answer asked the same relay for this leg? The
 * relay may have given both the same session. */
static bool is_asked_for(struct transaction *t, const struct ip_addr *relay)
{
	list_for_each (link, &t->router->deadlines) {
		const struct transaction *other =
			list_item(link, struct transaction, by_deadline);

		if (other != t && !other->is_remove && has_asker(other) &&
		    span_equal(other->leg.from_tag, t->leg.from_tag) &&
		    span_equal(other->leg.call_id, t->leg.call_id) &&
		    was_tried(other, relay))
			return true;
	}
	return false;
}

/* Does somebody else use what the relay has for this leg? */
static bool is_in_use(struct transaction *t, const struct ip_addr *relay)
{
	struct router *router = t->router;
	struct transaction *founder =
		router_find_founder(router, t->leg.call_id);
	struct directory_call *call =
		directory_find(router->directory, t->leg.call_id);

	if (founder && founder != t && was_tried(founder, relay))
		return true;
	if (is_asked_for(t, relay))
		return true;
	return call && ip_equal(directory_call_relay(call), relay) &&
	       directory_find_session(call, t->leg.from_tag, t->leg.to_tag);
}

/* Nobody will ever use this session: remove it; its reply is no record. A
 * request inside a dialog is of a call that goes on, whatever is known here. */
static void undo(struct transaction *t, struct relay_peer *peer)
{
	struct router *router = t->router;
	struct command_header headers[3] = {
		{SPAN("call_id"), t->leg.call_id},
		{SPAN("from_tag"), t->leg.from_tag},
		{SPAN("to_tag"), t->leg.to_tag},
	};
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	if (t->is_in_dialog || is_in_use(t, relay_peer_ip(peer)))
		return;
	router->counters.late_sessions++;
	if (log_limit_allows(&router->late_limit, loop_now_us(router->loop),
			     &suppressed))
		log_info("[%.*s] relay %s: its session is not needed any more "
			 "and is removed%s",
			 SPAN_ARG(t->leg.call_id), relay_peer_name(peer),
			 log_left_out(suppressed, left_out));
	buf_reset(&router->scratch);
	relay_request_body(&router->scratch, headers,
			   t->leg.to_tag.len > 0 ? 3 : 2);
	if (!buf_failed(&router->scratch))
		(void)relay_peer_request(peer, SPAN("remove"),
					 buf_span(&router->scratch),
					 ignore_reply, NULL);
}

/* Replies */

/* "IP port port ...": what the proxy's module writes into the SDP. */
static bool is_ports(struct span text)
{
	struct span rest = text;
	struct span ip_text = text;
	struct ip_addr ip;

	if (!span_cut(&rest, ' ', &ip_text))
		rest = (struct span){0};
	for (size_t i = 0; i < rest.len; i++)
		if ((rest.ptr[i] < '0' || rest.ptr[i] > '9') &&
		    rest.ptr[i] != ' ')
			return false;
	return ip_parse(ip_text, &ip) == 0;
}

static void update_succeeded(struct transaction *t, struct attempt *attempt,
			     struct relay_peer *peer, struct span text)
{
	int err;

	if (t->is_new_session && !is_wanted(t)) {
		transaction_pin(t);
		transaction_answer(t, SPAN("error"));
		undo(t, peer);
		transaction_unpin(t);
		return;
	}
	t->leg.order = attempt->order;
	t->leg.sent_us = attempt->sent_us;
	if (t->is_reply && t->has_media)
		t->leg.answered_us = clock_wall_us();
	err = directory_add(t->router->directory, &attempt->relay, &t->leg);
	if (err == 0) {
		transaction_answer(t, text);
		return;
	}
	transaction_pin(t);
	transaction_refuse(t, REFUSAL_NO_ROOM,
			   err == -EEXIST ? "the call is on another relay"
					  : "no room for another session");
	undo(t, peer);
	transaction_unpin(t);
}

static const char *why_of(enum relay_outcome outcome)
{
	switch (outcome) {
	case RELAY_OUTCOME_ERROR:
		return "it replied error";
	case RELAY_OUTCOME_HALTING:
		return "it is halting";
	case RELAY_OUTCOME_LOST:
		return "its link ended";
	case RELAY_OUTCOME_TEXT:
		break;
	}
	return "its reply has no ports";
}

static void update_failed(struct transaction *t, struct attempt *attempt,
			  enum relay_outcome outcome)
{
	const char *why = why_of(outcome);

	if (!t->is_founder)
		transaction_refuse(t,
				   outcome == RELAY_OUTCOME_LOST
					   ? REFUSAL_RELAY_GONE
					   : REFUSAL_RELAY_ERROR,
				   why);
	else if (t->open_attempts == 0 ||
		 attempt == &t->attempts[t->attempt_count - 1])
		transaction_ask_next(t, why);
}

static void update_reply(struct transaction *t, struct attempt *attempt,
			 struct relay_peer *peer, enum relay_outcome outcome,
			 struct span text)
{
	bool success = outcome == RELAY_OUTCOME_TEXT && is_ports(text);

	if (t->state == TRANSACTION_ANSWERED) {
		if (success && t->is_new_session)
			undo(t, peer);
	} else if (success) {
		update_succeeded(t, attempt, peer, text);
	} else if (outcome == RELAY_OUTCOME_TEXT && !t->has_media &&
		   span_equal(text, SPAN("None"))) {
		/* Nothing was asked for and there is nothing: no session. */
		transaction_answer(t, text);
	} else {
		update_failed(t, attempt, outcome);
	}
}

struct removed_leg {
	struct router *router;
	const struct attempt *attempt;
};

static void session_removed(struct router *router,
			    const struct attempt *attempt,
			    struct directory_session *session)
{
	directory_removed(router->directory, session, attempt->order,
			  loop_now_us(router->loop));
}

static void drop_reported(const struct session_report *report, void *arg)
{
	const struct removed_leg *removed = arg;
	struct directory_call *call =
		directory_find(removed->router->directory, report->call_id);
	struct directory_session *session;

	if (!call ||
	    !ip_equal(directory_call_relay(call), &removed->attempt->relay))
		return;
	session =
		directory_find_session(call, report->from_tag, report->to_tag);
	if (session)
		session_removed(removed->router, removed->attempt, session);
}

/* The session that was asked for is the one that went. Only where the request
 * fits none that is known, the record has to be read. */
static void drop_session(struct transaction *t, const struct attempt *attempt,
			 struct span record)
{
	struct router *router = t->router;
	struct directory_call *call =
		directory_find(router->directory, t->leg.call_id);
	struct directory_session *session = find_session(t);

	if (!call || !ip_equal(directory_call_relay(call), &attempt->relay))
		return;
	if (session && record.len == 0 &&
	    directory_session_is_unlisted(session)) {
		directory_removed_unlisted(session);
	} else if (session) {
		session_removed(router, attempt, session);
	} else if (record.len > 0) {
		struct removed_leg removed = {router, attempt};

		(void)session_report_decode(record, drop_reported, &removed);
	}
}

/* It may have ended by itself while the remove was on its way. */
static bool is_expired(const struct transaction *t)
{
	const struct directory_session *session = find_session(t);

	return session && directory_session_is_expired(session);
}

static void record_taken(int err, void *arg)
{
	struct transaction *t = arg;

	if (err == 0)
		transaction_answer(t, SPAN("removed"));
	else if (t->state != TRANSACTION_ANSWERED)
		transaction_refuse(t, REFUSAL_DISK,
				   "its record cannot be written");
	transaction_unpin(t);
}

static void await_commit(struct transaction *t)
{
	struct router *router = t->router;

	if (t->state == TRANSACTION_ANSWERED)
		return;
	if (accounting_is_failing(router->records->accounting)) {
		transaction_refuse(t, REFUSAL_DISK,
				   "nothing can be written at present, its "
				   "record waits");
		return;
	}
	t->commit_by_us =
		loop_now_us(router->loop) + router->conf->commit_timeout_us;
	list_add_tail(&router->commits, &t->by_commit);
	router_arm(router, router->commit_timer, t->commit_by_us);
}

/* The answer is written when the record is on disk. */
static void take_record(struct transaction *t, const struct attempt *attempt,
			struct span json)
{
	struct router *router = t->router;

	router->counters.records++;
	if (t->state == TRANSACTION_ANSWERED)
		router->counters.late_records++;
	transaction_pin(t);
	if (records_take(router->records, &attempt->relay, json, record_taken,
			 t) == 0)
		await_commit(t);
	else
		record_taken(-EBADMSG, t);
}

static void remove_reply(struct transaction *t, const struct attempt *attempt,
			 enum relay_outcome outcome, struct span text)
{
	bool is_record = outcome == RELAY_OUTCOME_TEXT && text.ptr[0] == '{';
	bool was_expired = is_expired(t);

	if (is_record)
		take_record(t, attempt, text);
	/* In the same turn: the session goes from the disk with its record's
	 * coming. */
	if (is_record || outcome == RELAY_OUTCOME_ERROR)
		drop_session(t, attempt, is_record ? text : (struct span){0});
	if (t->state == TRANSACTION_ANSWERED || is_record)
		return;
	if (was_expired)
		transaction_answer(t, SPAN("removed"));
	else
		transaction_refuse(
			t,
			outcome == RELAY_OUTCOME_LOST ? REFUSAL_RELAY_GONE
						      : REFUSAL_RELAY_ERROR,
			outcome == RELAY_OUTCOME_TEXT ? "the reply is no record"
						      : why_of(outcome));
}

static void attempt_reply(struct relay_peer *peer, enum relay_outcome outcome,
			  struct span text, void *arg)
{
	struct attempt *attempt = arg;
	struct transaction *t = attempt->transaction;

	attempt->open = false;
	t->open_attempts--;
	transaction_pin(t);
	if (t->is_remove)
		remove_reply(t, attempt, outcome, text);
	else
		update_reply(t, attempt, peer, outcome, text);
	transaction_unpin(t);
}
