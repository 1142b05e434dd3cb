#pragma once
/**
 * @file accounting/delivery.h  One backend's thread: from the spool to the
 * backend
 *
 * It reads the records behind the backend's cursor, batch by batch, has them
 * delivered, and moves the cursor. While the backend is down it waits, from
 * half a second up to a minute, and nothing is lost but time. What the backend
 * refuses for good is set aside with the reason. Logs when a backend goes down
 * and comes back.
 */
#include "accounting/backend.h"
#include "store/store.h"

struct delivery_thread;

struct delivery_config {
	const struct backend *backend;
	void *state; /* of the backend's start(); stopped by its own thread */
	struct store *store;
	const char *store_path;
	int64_t cursor; /* of the backend */
	uint64_t random;
};

/** What a thread has done, and does; copied under its lock. */
struct delivery_status {
	int64_t cursor;
	uint64_t delivered, set_aside, failures;
	uint64_t interims, interims_dropped;
	bool is_down;
	uint64_t down_since_us; /* monotonic */
	char why[DELIVERY_REASON_SIZE];
};

/** @return 0 or negative errno; then the state is still the caller's */
int delivery_start(struct delivery_thread **ret,
		   const struct delivery_config *config);

/** There are new records. */
void delivery_wake(struct delivery_thread *thread);
/** Some that were set aside are to be tried again, and a backend that is down
 * at once. */
void delivery_retry(struct delivery_thread *thread);
/** Report a call that is up; dropped while too many wait. json: one object */
void delivery_interim(struct delivery_thread *thread, struct span json);

void delivery_read_status(struct delivery_thread *thread,
			  struct delivery_status *ret);

/** Ask it to end; it does so behind the batch that it has. */
void delivery_stop(struct delivery_thread *thread);
/**
 * Wait for that, and free it. A thread that hangs in its backend past the
 * grace is left behind, and frees itself if it comes back; the store may go
 * before it does.
 *
 * @return NULL
 */
struct delivery_thread *delivery_free(struct delivery_thread *thread,
				      uint64_t grace_us);
