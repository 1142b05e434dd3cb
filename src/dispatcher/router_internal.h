#pragma once
/**
 * @file dispatcher/router_internal.h  What router.c and router_attempt.c share
 *
 * router.c has a request from its coming to its answer; router_attempt.c has
 * what is asked of relays for it, and what they reply.
 */
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "dispatcher/router.h"
#include "proto/update.h"

/* So many relays are asked for one new call. */
#define MAX_ATTEMPTS 8

struct router {
	struct loop *loop;
	const struct conf_dispatcher *conf;
	struct directory *directory;
	struct records *records;
	struct relay_peers *peers;
	router_is_gone_h *is_gone;  /* may be NULL */
	struct hash_table founders; /* transactions, by call-id */
	struct list deadlines;      /* unanswered ones, by answer_by_us */
	struct list failovers;      /* founders that ask, by failover_at_us */
	struct list commits;        /* removes whose record is being written */
	struct timer *deadline_timer, *failover_timer, *commit_timer;
	struct buf scratch;
	struct relay_fact *facts; /* fact_size of them, for relay_choose() */
	size_t fact_size;
	uint64_t random;
	uint64_t last_order; /* of what was sent to relays */
	bool stopping;
	struct router_counters counters;
	struct log_limit limits[REFUSAL_COUNT], failover_limit, late_limit;
};

/*
 * waiting -> asking -> answered, or any of them left out. An answered one lives
 * on while a relay owes a reply: a late success has to be undone.
 */
enum transaction_state {
	TRANSACTION_NEW,
	TRANSACTION_WAITING, /* for the founder of its call */
	TRANSACTION_ASKING,
	TRANSACTION_ANSWERED
};

struct attempt {
	struct transaction *transaction;
	struct ip_addr relay;
	uint64_t order, sent_us;
	bool open;
};

struct transaction {
	struct router *router;
	enum transaction_state state;
	bool is_remove;
	bool is_founder;     /* it looks for a relay for a new call */
	bool is_in_dialog;   /* it may make a session, but begins no call */
	bool is_new_session; /* its success makes one that may be undone */
	bool has_media;
	bool is_reply;
	unsigned pins; /* callers up the stack that still look at it */
	router_reply_h *handler; /* NULL: nobody is there for the answer */
	void *arg;
	uint64_t answer_by_us, failover_at_us, commit_by_us;
	struct list by_deadline, by_failover, by_commit;
	struct hash_node by_call_id; /* of a founder */
	struct list waiters;         /* of a founder */
	struct list waiting;         /* link of a waiter */
	struct directory_leg leg;
	struct ip_addr preferred;
	size_t attempt_count;
	unsigned open_attempts;
	struct attempt attempts[MAX_ATTEMPTS];
	size_t body_len;
	char body[]; /* for relay_peer_request(); the leg points into it */
};

static inline void transaction_pin(struct transaction *t)
{
	t->pins++;
}

/** Frees it if nothing is left for it to do. */
void transaction_unpin(struct transaction *t);

/** Answer, and let those go on that wait for this one. */
void transaction_answer(struct transaction *t, struct span reply);

/** Answer `error`, count and log it. */
void transaction_refuse(struct transaction *t, enum refusal refusal,
			const char *why);

/** Ask the relay of a known call. */
void transaction_ask_owner(struct transaction *t, const struct ip_addr *relay);

/** Ask the next relay for a new call, or give up. */
void transaction_ask_next(struct transaction *t, const char *why_not_last);

/** The call's founder, if one is on its way. */
struct transaction *router_find_founder(struct router *router,
					struct span call_id);

/** Start a timer that does not run, for a moment. */
void router_arm(struct router *router, struct timer *timer, uint64_t at_us);
