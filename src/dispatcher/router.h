#pragma once
/**
 * @file dispatcher/router.h  The way of a request: from the SIP proxy to a
 * relay and back
 *
 * router_submit() takes an `update` or `remove`, asks the relay that has the
 * call, or for a new call one relay after the other, and answers once, within
 * answer_timeout. While a new call looks for its relay, further requests with
 * its call-id wait for the outcome. A relay that makes a session nobody needs
 * any more (it was too late, or the proxy is gone) is told to remove it.
 * Logs what was refused, with the call-id.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "conf/conf.h"
#include "dispatcher/directory.h"
#include "dispatcher/records.h"
#include "link/relay_peers.h"
#include "net/loop.h"
#include "proto/command.h"

struct router;
struct transaction;

/** Why a request was answered with `error`. */
enum refusal {
	REFUSAL_BAD_REQUEST,
	REFUSAL_UNKNOWN_CALL, /* a remove */
	REFUSAL_NO_RELAY,     /* none takes new calls */
	REFUSAL_RELAY_GONE,   /* the call's relay is not connected */
	REFUSAL_RELAY_ERROR,
	REFUSAL_TIMEOUT, /* answer_timeout */
	REFUSAL_DISK,    /* the record is not on disk within commit_timeout */
	REFUSAL_NO_ROOM, /* memory, or a limit of ours */
	REFUSAL_STOPPING
};
#define REFUSAL_COUNT (REFUSAL_STOPPING + 1)

/** The name of a reason in counters: "bad_request", ... */
const char *refusal_name(enum refusal refusal);

struct router_counters {
	uint64_t updates, removes;
	uint64_t refused[REFUSAL_COUNT];
	uint64_t failovers;     /* a new call went on to another relay */
	uint64_t late_sessions; /* made too late, or for a proxy that is gone */
	uint64_t late_records;  /* replies to remove after the answer */
	uint64_t records;       /* replies to remove, all */
};

/** The answer, without CRLF; for this call only. */
typedef void router_reply_h(struct span reply, void *arg);

/** Has whoever asked gone without our being told yet? arg: as router_submit()
 * got it. */
typedef bool router_is_gone_h(void *arg);

/**
 * @param peers      may be given later by router_set_peers()
 * @param directory  outlives the router
 * @param records    the same
 * @return 0 or -ENOMEM
 */
int router_new(struct router **ret, struct loop *loop,
	       const struct conf_dispatcher *conf, struct directory *directory,
	       struct records *records);

/** Where the relays are; they are freed before the router. */
void router_set_peers(struct router *router, struct relay_peers *peers);

/** How to find out whether somebody is still there for an answer. Without it:
 * whoever does not abandon his request is. */
void router_set_is_gone(struct router *router, router_is_gone_h *is_gone);

/** Answer all that is open with `error`, and all that comes. */
void router_stop(struct router *router);

/** @return NULL */
struct router *router_free(struct router *router);

/**
 * Take a request.
 *
 * @param handler  called exactly once, perhaps before this returns, unless
 *                 router_abandon() comes first
 * @return the open request, or NULL if it was answered already
 */
struct transaction *router_submit(struct router *router,
				  const struct command *command,
				  router_reply_h *handler, void *arg);

/** Nobody is there for the answer any more; its handler is not called. */
void router_abandon(struct transaction *transaction);

/** Count and log a request that could not even be read. call_id may be empty.
 */
void router_refuse_unreadable(struct router *router, struct span call_id,
			      const char *why);

const struct router_counters *router_counters(const struct router *router);
