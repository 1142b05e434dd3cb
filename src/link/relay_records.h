#pragma once
/**
 * @file link/relay_records.h  The final records that wait for one dispatcher
 *
 * Each is kept until the dispatcher has acknowledged it, in order. The first
 * ones are in memory, as many as the limits allow; with a file, what comes
 * behind them is in the file alone and is read back as acknowledgements make
 * room. A record in memory is written to the file too when no link is up, or
 * when it has waited for WRITE_AFTER_US: so a relay that is killed loses only
 * what was not on the wire yet in that time. Without a file, or when the disk
 * refuses more, the log is the last place where a record can be found.
 *
 * It sends nothing: the link takes what is next, and says what became of it.
 * One loop, one thread.
 */
#include <stdbool.h>

#include "link/relay_record_file.h"
#include "net/loop.h"

struct relay_records;

struct relay_records_config {
	struct loop *loop;
	struct relay_record_file *file; /* NULL: memory alone */
	const char *owner;              /* "10.0.0.1:25060"; copied */
	const char *label;              /* the same for the log; copied */
	size_t max_records, max_bytes;  /* in memory */
	/** Records have come from the file, to be taken by _next(). From the
	 * loop. */
	void (*more)(void *arg);
	void *arg;
};

/** @return 0 or -ENOMEM */
int relay_records_new(struct relay_records **ret,
		      const struct relay_records_config *config);

/**
 * What is not acknowledged is handed to the store, and lives on until it is
 * written: free the store afterwards. Without one it goes to the log.
 *
 * @return NULL
 */
struct relay_records *relay_records_free(struct relay_records *records);

/** Keep a record that is to be sent. */
void relay_records_add(struct relay_records *records, struct span record_id,
		       struct span json);

/** Keep one that was just written to the present connection, whose dispatcher
 * acknowledges. */
void relay_records_add_sent(struct relay_records *records,
			    struct span record_id, struct span json);

/** A connection may be written to. @param acks  The dispatcher acknowledges;
 * if not, what was sent is gone */
void relay_records_up(struct relay_records *records, bool acks);
/** The connection is gone: what is not acknowledged is sent again. */
void relay_records_down(struct relay_records *records);

/** The next record to be sent, until relay_records_sent(). @return false if
 * there is none in memory */
bool relay_records_next(struct relay_records *records,
			struct span *ret_record_id, struct span *ret_json);
/** The record that _next() gave was written to the connection. */
void relay_records_sent(struct relay_records *records);
/** The dispatcher has it. */
void relay_records_acked(struct relay_records *records, struct span record_id);

/** Has all that waited at relay_records_up() been sent since? */
bool relay_records_caught_up(const struct relay_records *records);
/** Is there nothing left, in memory or in the file? */
bool relay_records_empty(const struct relay_records *records);
/** How many are kept, in memory and in the file. */
size_t relay_records_total(const struct relay_records *records);

struct relay_records_counts {
	size_t waiting;  /* in memory, now */
	size_t on_disk;  /* in the file, now; those in memory too */
	uint64_t sent;   /* as `expired`, and again */
	uint64_t resent; /* after a reconnect */
	uint64_t acked;
	uint64_t acks_unknown; /* of records that are not here (any more) */
	uint64_t dropped;      /* each is in the log */
};

void relay_records_count(const struct relay_records *records,
			 struct relay_records_counts *ret);
