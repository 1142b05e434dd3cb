#pragma once
/**
 * @file dispatcher/relay_events.h  What relays tell unasked, and what it does
 * to the directory
 *
 * A link that comes up brings the relay's list of sessions, and the records
 * that waited there; what is in neither, and does not end just then, was lost,
 * and is accounted with what is known here. A session that ended by itself is
 * kept as expired until the SIP proxy removes it, and its dialog is ended
 * there. One log line for each thing that happened.
 */
#include "dispatcher/dialog_end.h"
#include "dispatcher/directory.h"
#include "dispatcher/records.h"
#include "link/relay_peers.h"
#include "net/loop.h"

struct relay_events {
	struct loop *loop;
	const struct conf_dispatcher *conf;
	struct directory *directory;
	struct records *records;
	struct dialog_end *dialogs; /* NULL: calls are not ended at the proxy */
	struct timer *sweep_timer, *judge_timer;
	/* How long a session is ending at its relay: so close before `expired`
	 * an update makes it doubtful, and so long after the list its record
	 * may come. */
	uint64_t doubt_us;
	uint64_t expired, expired_unknown, expired_foreign, lost_sessions;
	uint64_t not_listed; /* known elsewhere, or too many */
	struct log_limit expired_limit, listed_limit, lost_limit;
};

/** Handlers for relay_peers_new(); their arg is a struct relay_events. */
extern const struct relay_peers_handlers relay_events_handlers;

/** @return 0 or -ENOMEM */
int relay_events_start(struct relay_events *events, struct loop *loop,
		       const struct conf_dispatcher *conf,
		       struct directory *directory, struct records *records);
void relay_events_stop(struct relay_events *events);
