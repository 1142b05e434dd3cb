#pragma once
/**
 * @file accounting/spool.h  The records on disk: what waits for backends, what
 * was set aside, and the history
 *
 * Tables in the dispatcher's store, and the questions that are asked of them.
 * Each backend has a cursor: all records up to it were delivered, or set aside
 * with a reason. Every function runs on the thread of the connection that it is
 * given; those that write are for the work of store_submit(). Errors are
 * SQLite's.
 */
#include "accounting/backend.h"
#include "store/store.h"

/** Make the tables that are not there. */
int spool_open(struct store_db *db);

/**
 * Keep a record.
 *
 * @param ret_seq  Its place; 0: it was there already, by its record_id
 */
int spool_add(struct store_db *db, const struct record *record, int64_t now_us,
	      int64_t *ret_seq);

/** The last record's place; 0: there is none. */
int spool_last(struct store_db *db, int64_t *ret);

/** A backend's cursor; one that was never seen begins behind the last record.
 */
int spool_cursor(struct store_db *db, const char *backend, int64_t *ret);
int spool_set_cursor(struct store_db *db, const char *backend, int64_t seq);

/**
 * Read the records that follow a place.
 *
 * @param batch  To be freed by spool_batch_done()
 */
int spool_read(struct store_db *db, int64_t after, struct delivery *batch,
	       size_t max, size_t *ret_count);
/** The same, of those that were set aside for a backend and are to be tried
 * again. */
int spool_read_retries(struct store_db *db, const char *backend, int64_t after,
		       struct delivery *batch, size_t max, size_t *ret_count);
void spool_batch_done(struct delivery *batch, size_t count);

int spool_set_aside(struct store_db *db, const char *backend, int64_t seq,
		    const char *reason, int64_t now_us);
/** It was delivered after all. */
int spool_take_back(struct store_db *db, const char *backend, int64_t seq);
/** Try what was set aside again. record_id: empty for all. @param ret_count how
 * many */
int spool_retry(struct store_db *db, struct span backend, struct span record_id,
		int64_t *ret_count);
int spool_count_aside(struct store_db *db, const char *backend, int64_t *ret);

/** What pruning may take. */
struct spool_limits {
	int64_t delivered_seq;   /* all backends have taken it up to here */
	int64_t stored_after_us; /* older ones go */
	int64_t max_bytes;       /* of the whole file */
	int64_t after;           /* where the last go ended; 0: begin */
	int64_t max_records;     /* to look at in one go */
};

struct spool_pruned {
	int64_t count; /* deleted */
	int64_t next;  /* where the next go begins; 0: there is no more */
};

/** Delete what is old, or too much. One go takes as long with many records that
 * were set aside as with none. */
int spool_prune(struct store_db *db, const struct spool_limits *limits,
		struct spool_pruned *ret);

/** What to show of the history. */
struct spool_query {
	struct span call_id; /* empty: every call */
	struct span backend; /* what was set aside for it; empty: all records */
	bool aside;          /* only what was set aside, for any backend */
	int64_t before;      /* only records before this place; 0: the newest */
	int64_t max;         /* records */
	size_t max_bytes;    /* enough when they have so many; 0: any number */
};

struct spool_row {
	int64_t seq, stored_us;
	struct span json;
	struct span backend, reason; /* of what was set aside */
	bool retry;                  /* it is to be tried again */
};
typedef void spool_row_h(const struct spool_row *row, void *arg);

/** The newest first. A record that several backends have set aside comes with
 * all its rows or not at all, so that whoever asks for what stands before it
 * misses none. */
int spool_show(struct store_db *db, const struct spool_query *query,
	       spool_row_h *handler, void *arg);
