#include "dispatcher/router.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "dispatcher/router_internal.h"

static const struct {
	const char *name;
	enum log_level level;
} refusals[REFUSAL_COUNT] = {
	[REFUSAL_BAD_REQUEST] = {"bad_request", LOG_LEVEL_WARNING},
	/* Proxies remove calls that never had media. */
	[REFUSAL_UNKNOWN_CALL] = {"unknown_call", LOG_LEVEL_DEBUG},
	[REFUSAL_NO_RELAY] = {"no_relay", LOG_LEVEL_WARNING},
	[REFUSAL_RELAY_GONE] = {"relay_gone", LOG_LEVEL_WARNING},
	[REFUSAL_RELAY_ERROR] = {"relay_error", LOG_LEVEL_WARNING},
	[REFUSAL_TIMEOUT] = {"timeout", LOG_LEVEL_WARNING},
	[REFUSAL_DISK] = {"disk", LOG_LEVEL_ERROR},
	[REFUSAL_NO_ROOM] = {"no_room", LOG_LEVEL_ERROR},
	[REFUSAL_STOPPING] = {"stopping", LOG_LEVEL_INFO},
};

const char *refusal_name(enum refusal refusal)
{
	return refusals[refusal].name;
}

const struct router_counters *router_counters(const struct router *router)
{
	return &router->counters;
}

static void count_refusal(struct router *router, enum refusal refusal,
			  struct span call_id, const char *what,
			  const char *why)
{
	enum log_level level = refusals[refusal].level;
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	router->counters.refused[refusal]++;
	if (level < log_get_level() ||
	    !log_limit_allows(&router->limits[refusal],
			      loop_now_us(router->loop), &suppressed))
		return;
	log_line(level, "[%.*s] %s refused: %s%s", SPAN_ARG(call_id), what, why,
		 log_left_out(suppressed, left_out));
}

void router_refuse_unreadable(struct router *router, struct span call_id,
			      const char *why)
{
	count_refusal(router, REFUSAL_BAD_REQUEST, call_id, "request", why);
}

/* The life of a transaction */

void transaction_unpin(struct transaction *t)
{
	t->pins--;
	if (t->pins == 0 && t->open_attempts == 0 &&
	    t->state == TRANSACTION_ANSWERED)
		free(t);
}

static void route(struct transaction *t);

/* The outcome of a new call is known: whoever waited for it finds the call in
 * the directory, or looks for a relay himself. */
static void let_waiters_go(struct transaction *t)
{
	struct list *first;

	hash_del(&t->router->founders, &t->by_call_id);
	t->is_founder = false;
	while ((first = list_first(&t->waiters))) {
		struct transaction *waiter =
			list_item(first, struct transaction, waiting);

		list_del(first);
		transaction_pin(waiter);
		route(waiter);
		transaction_unpin(waiter);
	}
}

void transaction_answer(struct transaction *t, struct span reply)
{
	router_reply_h *handler = t->handler;

	if (t->state == TRANSACTION_ANSWERED)
		return;
	t->state = TRANSACTION_ANSWERED;
	t->handler = NULL;
	list_del(&t->by_deadline);
	list_del(&t->by_failover);
	list_del(&t->by_commit);
	list_del(&t->waiting);
	transaction_pin(t);
	if (handler)
		handler(reply, t->arg);
	if (t->is_founder)
		let_waiters_go(t);
	transaction_unpin(t);
}

void transaction_refuse(struct transaction *t, enum refusal refusal,
			const char *why)
{
	count_refusal(t->router, refusal, t->leg.call_id,
		      t->is_remove ? "remove" : "update", why);
	transaction_answer(t, SPAN("error"));
}

/* Deadlines. All are the same length of time away when they are set, so a list
 * in the order of coming is sorted, and a timer that runs is never too late. */

void router_arm(struct router *router, struct timer *timer, uint64_t at_us)
{
	uint64_t now_us = loop_now_us(router->loop);

	if (!timer_is_running(timer))
		timer_start(timer, at_us > now_us ? at_us - now_us : 0);
}

static void deadline_passed(void *arg)
{
	struct router *router = arg;
	uint64_t now_us = loop_now_us(router->loop);
	struct list *first;

	while ((first = list_first(&router->deadlines))) {
		struct transaction *t =
			list_item(first, struct transaction, by_deadline);

		if (t->answer_by_us > now_us) {
			router_arm(router, router->deadline_timer,
				   t->answer_by_us);
			return;
		}
		transaction_refuse(t, REFUSAL_TIMEOUT,
				   "no relay replied within answer_timeout");
	}
}

static void failover_due(void *arg)
{
	struct router *router = arg;
	uint64_t now_us = loop_now_us(router->loop);
	struct list *first;

	while ((first = list_first(&router->failovers))) {
		struct transaction *t =
			list_item(first, struct transaction, by_failover);

		if (t->failover_at_us > now_us) {
			router_arm(router, router->failover_timer,
				   t->failover_at_us);
			return;
		}
		list_del(first);
		transaction_ask_next(t, "no reply within failover_timeout");
	}
}

/* The record is taken all the same: only the proxy waits no longer. */
static void commit_due(void *arg)
{
	struct router *router = arg;
	uint64_t now_us = loop_now_us(router->loop);
	struct list *first;

	while ((first = list_first(&router->commits))) {
		struct transaction *t =
			list_item(first, struct transaction, by_commit);

		if (t->commit_by_us > now_us) {
			router_arm(router, router->commit_timer,
				   t->commit_by_us);
			return;
		}
		transaction_refuse(t, REFUSAL_DISK,
				   "its record is not on disk within "
				   "commit_timeout");
	}
}

/* Which way a request goes */

struct transaction *router_find_founder(struct router *router,
					struct span call_id)
{
	struct hash_node *node;

	if (router->founders.count == 0)
		return NULL;
	node = hash_first(&router->founders,
			  hash_span(&router->founders, call_id));
	for (; node; node = hash_next(node)) {
		struct transaction *t =
			hash_item(node, struct transaction, by_call_id);

		if (span_equal(t->leg.call_id, call_id))
			return t;
	}
	return NULL;
}

static void wait_for(struct transaction *t, struct transaction *founder)
{
	t->state = TRANSACTION_WAITING;
	list_add_tail(&founder->waiters, &t->waiting);
}

static void found_call(struct transaction *t,
		       const struct directory_call *expired)
{
	struct router *router = t->router;

	t->state = TRANSACTION_ASKING;
	t->is_founder = true;
	t->is_new_session = !t->is_in_dialog;
	if (expired && !ip_is_set(&t->preferred))
		t->preferred = *directory_call_relay(expired);
	hash_add(&router->founders, &t->by_call_id,
		 hash_span(&router->founders, t->leg.call_id));
	transaction_ask_next(t, NULL);
}

/* What ended by itself is gone from the relay; only the proxy did not know. */
static void remove_expired(struct transaction *t,
			   struct directory_session *session)
{
	directory_remove(t->router->directory, session);
	transaction_answer(t, SPAN("removed"));
}

static void route(struct transaction *t)
{
	struct router *router = t->router;
	struct transaction *founder =
		router_find_founder(router, t->leg.call_id);
	struct directory_session *session = NULL;
	struct directory_call *call;

	if (router->stopping) {
		transaction_refuse(t, REFUSAL_STOPPING, "the dispatcher stops");
		return;
	}
	if (founder) {
		wait_for(t, founder);
		return;
	}
	call = directory_find(router->directory, t->leg.call_id);
	if (call)
		session = directory_find_session(call, t->leg.from_tag,
						 t->leg.to_tag);
	if (t->is_remove && session && directory_session_is_expired(session) &&
	    (!directory_session_is_in_doubt(session) ||
	     !relay_peers_find(router->peers, directory_call_relay(call)))) {
		remove_expired(t, session);
	} else if (call && directory_call_is_live(call)) {
		t->is_new_session = !session && !t->is_remove &&
				    !t->is_in_dialog && !t->is_reply;
		transaction_ask_owner(t, directory_call_relay(call));
	} else if (t->is_remove) {
		transaction_refuse(t, REFUSAL_UNKNOWN_CALL,
				   "no such call is known");
	} else {
		found_call(t, call);
	}
}

/* How a request comes in */

/* A copy of a command whose spans point into the body that was made of it. */
static void rebase(const struct command *command, const char *body,
		   struct command *ret)
{
	const char *at = body;

	ret->name = command->name;
	ret->seq = 0;
	ret->header_count = command->header_count;
	for (size_t i = 0; i < command->header_count; i++) {
		const struct command_header *header = &command->headers[i];

		ret->headers[i].name = span_make(at, header->name.len);
		at += header->name.len + 2; /* ": " */
		ret->headers[i].value = span_make(at, header->value.len);
		at += header->value.len + 2; /* CRLF */
	}
}

static int decode_update(struct transaction *t, const struct command *command,
			 const char **ret_why)
{
	struct update update;

	if (update_decode(command, &update, ret_why) < 0)
		return -EBADMSG;
	t->leg = (struct directory_leg){
		.call_id = update.call_id,
		.from_tag = update.from_tag,
		.to_tag = update.to_tag,
		.dialog_id = update.dialog_id,
		.from_uri = update.from_uri,
		.to_uri = update.to_uri,
	};
	t->has_media = update.has_media;
	t->is_reply = update.is_reply;
	t->is_in_dialog = !update.is_reply && update.to_tag.len > 0;
	/* A relay that is not an address is nobody that we know. */
	(void)ip_parse(update.media_relay, &t->preferred);
	return 0;
}

static int decode_remove(struct transaction *t, const struct command *command,
			 const char **ret_why)
{
	struct removal removal;

	if (removal_decode(command, &removal, ret_why) < 0)
		return -EBADMSG;
	t->is_remove = true;
	t->leg = (struct directory_leg){
		.call_id = removal.call_id,
		.from_tag = removal.from_tag,
		.to_tag = removal.to_tag,
	};
	return 0;
}

static int decode(struct transaction *t, const struct command *command,
		  const char **ret_why)
{
	struct command own;

	rebase(command, t->body, &own);
	if (span_equal(command->name, SPAN("update")))
		return decode_update(t, &own, ret_why);
	if (span_equal(command->name, SPAN("remove")))
		return decode_remove(t, &own, ret_why);
	*ret_why = "the command is neither update nor remove";
	return -EBADMSG;
}

static struct transaction *make_transaction(struct router *router,
					    const struct command *command)
{
	struct buf *body = &router->scratch;
	struct transaction *t;

	buf_reset(body);
	relay_request_body(body, command->headers, command->header_count);
	if (buf_failed(body))
		return NULL;
	t = malloc(sizeof(*t) + body->len);
	if (!t)
		return NULL;
	*t = (struct transaction){.router = router, .body_len = body->len};
	memcpy(t->body, body->data, body->len);
	list_init(&t->by_deadline);
	list_init(&t->by_failover);
	list_init(&t->by_commit);
	list_init(&t->waiters);
	list_init(&t->waiting);
	return t;
}

struct transaction *router_submit(struct router *router,
				  const struct command *command,
				  router_reply_h *handler, void *arg)
{
	struct transaction *t = make_transaction(router, command);
	const char *why = "no memory";
	bool open;

	if (!t || decode(t, command, &why) < 0) {
		count_refusal(router, t ? REFUSAL_BAD_REQUEST : REFUSAL_NO_ROOM,
			      command_header(command, "call_id"), "request",
			      why);
		free(t);
		handler(SPAN("error"), arg);
		return NULL;
	}
	if (t->is_remove)
		router->counters.removes++;
	else
		router->counters.updates++;
	t->handler = handler;
	t->arg = arg;
	t->answer_by_us =
		loop_now_us(router->loop) + router->conf->answer_timeout_us;
	list_add_tail(&router->deadlines, &t->by_deadline);
	router_arm(router, router->deadline_timer, t->answer_by_us);

	transaction_pin(t);
	route(t);
	open = t->state != TRANSACTION_ANSWERED;
	transaction_unpin(t);
	return open ? t : NULL;
}

/* A remove is carried out all the same. */
void router_abandon(struct transaction *t)
{
	t->handler = NULL;
	if (t->state == TRANSACTION_WAITING && !t->is_remove)
		transaction_answer(t, SPAN("error"));
}

/* The router itself */

static uint64_t random_seed(void)
{
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		seed = clock_wall_us();
	return seed;
}

int router_new(struct router **ret, struct loop *loop,
	       const struct conf_dispatcher *conf, struct directory *directory,
	       struct records *records)
{
	struct router *router = calloc(1, sizeof(*router));
	int err;

	if (!router)
		return -ENOMEM;
	router->loop = loop;
	router->conf = conf;
	router->directory = directory;
	router->records = records;
	router->random = random_seed();
	list_init(&router->deadlines);
	list_init(&router->failovers);
	list_init(&router->commits);
	for (size_t i = 0; i < REFUSAL_COUNT; i++)
		router->limits[i] = LOG_LIMIT(20, 10 * US_PER_S);
	router->failover_limit = LOG_LIMIT(20, 10 * US_PER_S);
	router->late_limit = LOG_LIMIT(20, 10 * US_PER_S);
	err = hash_init(&router->founders);
	if (err == 0)
		err = timer_new(&router->deadline_timer, loop, deadline_passed,
				router);
	if (err == 0)
		err = timer_new(&router->failover_timer, loop, failover_due,
				router);
	if (err == 0)
		err = timer_new(&router->commit_timer, loop, commit_due,
				router);
	if (err < 0) {
		router_free(router);
		return err;
	}
	*ret = router;
	return 0;
}

void router_set_peers(struct router *router, struct relay_peers *peers)
{
	router->peers = peers;
}

void router_set_is_gone(struct router *router, router_is_gone_h *is_gone)
{
	router->is_gone = is_gone;
}

void router_stop(struct router *router)
{
	struct list *first;

	router->stopping = true;
	while ((first = list_first(&router->deadlines)))
		transaction_refuse(
			list_item(first, struct transaction, by_deadline),
			REFUSAL_STOPPING, "the dispatcher stops");
}

struct router *router_free(struct router *router)
{
	if (!router)
		return NULL;
	timer_free(router->deadline_timer);
	timer_free(router->failover_timer);
	timer_free(router->commit_timer);
	hash_done(&router->founders);
	buf_done(&router->scratch);
	free(router->facts);
	free(router);
	return NULL;
}
