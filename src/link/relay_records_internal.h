#pragma once
/**
 * @file link/relay_records_internal.h  What the files of relay_records share
 *
 * relay_records.c has the places of a record and the link's side;
 * relay_records_disk.c has the jobs at the store. A record outlives the jobs
 * that hold it, and so does struct relay_records.
 */
#include "base/addr.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "link/relay_records.h"

#define RELAY_RECORDS_RETRY_US US_PER_S /* what the store refused */

#define RELAY_RECORDS_MAX_LABEL 352

/* Where a record is. The rows of an owner whose ids are greater than the cursor
 * and that are no record here are on disk alone. */
enum place {
	NOWHERE,
	IN_MEMORY, /* ids up to the cursor, in order */
	SPILLING,  /* behind all in memory; goes when its row is written */
	FORGOTTEN  /* acknowledged; goes when its row is gone */
};

struct record {
	struct list link; /* of its place */
	struct hash_node node;
	struct relay_records *records;
	int64_t id; /* 0: only the record_id is known */
	uint64_t added_us;
	enum place place;
	bool sent;     /* on the present connection */
	bool was_sent; /* on one before */
	bool on_disk, writing, deleting, gone, logged;
	size_t deleted; /* rows; of the writer while deleting */
	size_t record_id_len, json_len;
	char text[]; /* record_id, json */
};

struct relay_records {
	struct relay_record_file *file;
	struct store *store;
	struct loop *loop;
	char owner[ADDR_TEXT_SIZE], label[RELAY_RECORDS_MAX_LABEL];
	size_t max_records, max_bytes;
	void (*more)(void *arg);
	void *arg;
	struct timer *look, *retry;
	struct hash_table by_record_id;
	struct list memory, spilling, forgotten;
	struct list *unsent; /* in memory: nothing before it is to be sent */
	size_t memory_count, memory_bytes, spilling_count, spilling_bytes;
	int64_t last_id, cursor;
	int64_t backlog_end; /* what waited when the link came up is before */
	bool up, acks;
	bool unread;       /* there may be rows behind the cursor */
	bool unread_again; /* there are some since the read began */
	bool reading;
	bool closing;    /* freed by its owner: only the jobs hold it */
	unsigned jobs;   /* at the store */
	struct buf sent; /* ids of spilled records that were sent on the present
			    connection, in order */
	size_t sent_at;
	struct relay_records_counts counts;
	struct log_limit log_read;
};

static inline struct span record_id_of(const struct record *record)
{
	return span_make(record->text, record->record_id_len);
}

static inline struct span json_of(const struct record *record)
{
	return span_make(record->text + record->record_id_len,
			 record->json_len);
}

/* relay_records.c */

/** A record that is nowhere yet. @return NULL without memory */
struct record *relay_records_make(struct relay_records *records,
				  struct span record_id, struct span json);
struct record *relay_records_find(const struct relay_records *records,
				  struct span record_id);
/** Take it out of its place; it is nowhere then. */
void relay_records_leave(struct record *record);
void relay_records_discard(struct record *record);
/** Log it, and free it. */
void relay_records_drop(struct record *record, const char *why);
/** Put it behind all that are in memory. */
void relay_records_keep(struct record *record);
/** Take it from those on their way into the file, instead of its row. */
void relay_records_unspill(struct record *record);
/** Take what is behind into memory while there is room; _and_tell: the link
 * too. */
void relay_records_refill(struct relay_records *records);
void relay_records_refill_and_tell(struct relay_records *records);
/** A job is over; the last one of a closed one frees it. */
void relay_records_job_over(struct relay_records *records);

/* relay_records_disk.c */

/** Have its row written, if it is not. The handler of a refused job may free
 * the record at once. */
void relay_records_write(struct record *record);
/** Have its row deleted, unless that is under way or done. */
void relay_records_delete(struct record *record);
/** Read rows behind the cursor. */
void relay_records_read(struct relay_records *records, size_t max);
