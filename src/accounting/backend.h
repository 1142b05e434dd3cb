#pragma once
/**
 * @file accounting/backend.h  What a backend of accounting is: one file and one
 * row in accounting/backends.c
 *
 * A backend takes batches of final records from the spool and delivers them:
 * at least once each, and told apart by record_id. It runs in a thread of its
 * own and may wait there for as long as it has to; a record stays in the spool
 * until it was delivered or refused for good. docs/accounting.md shows the
 * smallest backend.
 */
#include <stdbool.h>
#include <stddef.h>

#include "accounting/record.h"
#include "base/buf.h"
#include "conf/conf.h"

/** What became of a record. */
enum delivery_outcome {
	DELIVERY_LATER,  /* not now: try again. What a delivery begins as */
	DELIVERY_DONE,   /* delivered, or known to be delivered before */
	DELIVERY_REFUSED /* this record will never be taken: set it aside */
};

#define DELIVERY_REASON_SIZE 256

struct delivery {
	struct record record;
	enum delivery_outcome outcome;
	char reason[DELIVERY_REASON_SIZE]; /* of REFUSED, for people */
};

struct backend_config {
	const struct conf *conf; /* lives as long as the backend */
	const char *config_dir;  /* for relative paths in it */
	const char *state_dir;
};

struct backend {
	const char *name;    /* as in `accounting = name` */
	const char *section; /* of config.ini, with its keys */
	size_t batch;        /* the most records for one deliver() */

	/**
	 * Check the configuration and make the state. Called on the control
	 * thread while the daemon starts: it connects to nobody.
	 *
	 * @param ret_why  One line for people on failure: what is wrong, and
	 *                 what to do, such as the package to install
	 * @return 0, -EINVAL (the daemon does not start), or -ENOMEM
	 */
	int (*start)(void **ret_state, const struct backend_config *config,
		     struct buf *ret_why);

	/**
	 * Deliver some records, in order. On the backend's thread.
	 *
	 * It sets the outcome of each; those that it leaves LATER come again,
	 * after a while that grows. A failure that concerns one record alone is
	 * REFUSED with a reason; one that concerns all (the server is down, the
	 * table is missing) is returned.
	 *
	 * @param ret_why  On failure one line: what is down, and why
	 * @return 0, or negative errno: the backend is down. Outcomes that are
	 *         set count all the same
	 */
	int (*deliver)(void *state, struct delivery *batch, size_t count,
		       struct buf *ret_why);

	/**
	 * Report a call that is up; its statistics are no final record, and
	 * nobody keeps them. On the backend's thread. NULL: it takes none.
	 *
	 * @return 0 or negative errno
	 */
	int (*interim)(void *state, const struct record *record,
		       struct buf *ret_why);

	/** Disconnect and free the state. On the backend's thread, after its
	 * last call, or on the control thread if no thread was begun. */
	void (*stop)(void *state);
};

extern const struct backend database_backend;
extern const struct backend radius_backend;
extern const struct backend file_backend;
