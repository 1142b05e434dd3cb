#pragma once
/**
 * @file link/relay_record_file.h  The relay's records on disk: their table
 *
 * A row for each final record that is written down. Its id says its place in
 * the order; it is given before the row is written, so a record can be deleted
 * while its insert still waits. Private to relay_records.c and relay_links.c.
 */
#include "base/buf.h"
#include "store/store.h"

/** A record_id that is longer is nobody's. */
#define RELAY_RECORD_MAX_ID 64
#define RELAY_RECORD_BATCH 256 /* rows that are read at once */
#define RELAY_RECORD_BATCH_BYTES (1u << 20)

struct relay_record_file;

/**
 * Make the table, see what is in it, and start the store.
 *
 * @param store    Opened and not started; it stays the caller's
 * @param ret_why  On failure: a line for people
 * @return 0 or negative errno
 */
int relay_record_file_new(struct relay_record_file **ret, struct store *store,
			  struct buf *ret_why);
struct relay_record_file *relay_record_file_free(struct relay_record_file *f);

struct store *relay_record_file_store(const struct relay_record_file *f);

/** The next place in the order, of all owners. */
int64_t relay_record_file_next_id(struct relay_record_file *f);

/** Somebody takes care of this owner. @return how many records it had when the
 * file was opened */
size_t relay_record_file_adopt(struct relay_record_file *f, const char *owner);

/** How many records belong to owners that nobody has adopted.
 * @param ret_names  NULL, or: who they are, for people */
size_t relay_record_file_strangers(const struct relay_record_file *f,
				   struct buf *ret_names);

/* Work on the store's threads */

/** Write one; again does no harm. @return 0 or an error of SQLite */
int relay_record_insert(struct store_db *db, const char *owner, int64_t id,
			struct span record_id, struct span json);

/** Delete by id; id 0: by owner and record_id. @return 0 or an error of
 * SQLite */
int relay_record_delete(struct store_db *db, const char *owner, int64_t id,
			struct span record_id, size_t *ret_deleted);

/** What is read at once: of an owner, in order. */
struct relay_record_batch {
	const char *owner;
	int64_t after; /* an id */
	size_t max;    /* rows; up to RELAY_RECORD_BATCH */

	bool is_last; /* there was no more */
	size_t count;
	struct {
		int64_t id;
		size_t record_id_len, json_len; /* one behind the other */
	} rows[RELAY_RECORD_BATCH];
	struct buf bytes;
};

/** Fill a batch. @return 0 or an error of SQLite */
int relay_record_read(struct store_db *db, struct relay_record_batch *batch);
