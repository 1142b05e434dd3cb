#pragma once
/**
 * @file dispatcher/dialog_end.h  Ending calls at the SIP proxy
 *
 * A call whose media has stopped is still up for the SIP proxy, and is billed.
 * So the proxy's management interface, a UNIX datagram socket, is asked to end
 * its dialog: both phones get a BYE. Nothing waits for that, and nothing
 * depends on it: what cannot be asked for is logged and counted. One log line
 * for each call that was asked for, with a limit.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/span.h"
#include "conf/conf.h"
#include "dispatcher/dialog_forms.h"
#include "net/loop.h"

/* How many may be open: in the proxy's hands, or waiting for their turn. */
#define DIALOG_END_MAX_OPEN 10000

/* How many the proxy gets at once: as many datagrams as a Linux socket holds
 * by default (net.unix.max_dgram_qlen), the proxy's as well as ours. */
#define DIALOG_END_MAX_ASKED 10

struct dialog_end;

struct dialog_end_config {
	const struct conf_opensips *proxy; /* stays the caller's */
	const char *path;      /* of our socket, to which the answers come */
	mode_t mode;           /* of its file: the proxy has to write to it */
	gid_t group;           /* (gid_t)-1: leave it */
	uint32_t first_number; /* random; the next ones are counted */
	uint64_t answer_timeout_us; /* 0: 3 s */
	uint64_t wait_timeout_us;   /* for its turn; 0: 60 s */
};

/** A call that has ended here. */
struct dialog_end_call {
	struct span call_id;
	struct span dialog_id; /* as the SIP proxy named it in its update */
	/* Another dialog with this Call-ID is up: then it is not asked for by
	 * its Call-ID, which might end that one. */
	bool call_id_is_shared;
};

struct dialog_end_counters {
	uint64_t requested;
	uint64_t outcomes[DIALOG_OUTCOME_COUNT];
	uint64_t late;    /* answers that nobody waits for any more */
	uint64_t waiting; /* open now */
};

/**
 * Open the socket. The proxy's need not be there, now or ever.
 *
 * @return 0 or negative errno; -ENAMETOOLONG also for the proxy's path
 */
int dialog_end_new(struct dialog_end **ret, struct loop *loop,
		   const struct dialog_end_config *config);

/** What was not asked for yet is not any more. @return NULL */
struct dialog_end *dialog_end_free(struct dialog_end *ends);

/** Have the dialog of a call ended. Copies what it needs. */
void dialog_end(struct dialog_end *ends, const struct dialog_end_call *call);

struct dialog_end_counters dialog_end_counts(const struct dialog_end *ends);

/** The name of an outcome in counters: "ended", "not_found", ... */
const char *dialog_outcome_name(enum dialog_outcome outcome);
