#pragma once
/**
 * @file accounting/record.h  A final record: the statistics of a session that
 * ended
 *
 * The JSON is docs/protocols.md's, section 3, and is what backends store. What
 * they need to find it again has been read out of it once. All texts are UTF-8
 * where a relay of ours wrote the record; a byte of NUL may be in any of them,
 * since a peer may write \u0000.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

struct record {
	int64_t seq;           /* its place in the spool */
	struct span record_id; /* never empty; the same record has the same */
	struct span call_id;   /* never empty */
	struct span from_tag;  /* may be empty */
	struct span to_tag;    /* empty: there is none (null) */
	bool has_start_time;   /* it was answered */
	struct span json;      /* one object */
};

/** The record lives for this call only. */
typedef void record_h(const struct record *record, void *arg);

#define RECORD_MAX_BYTES (4u << 20) /* what a relay may write */

/**
 * Read the JSON of a record; seq is 0.
 *
 * @return 0, or -EBADMSG if it is no object with a call_id, or too long (the
 *         handler was not called then). record_id may be empty here
 */
int record_decode(struct span json, record_h *handler, void *arg);

/**
 * Copy a record and all its texts, into one piece of memory.
 *
 * @param ret  On success to be freed by record_done()
 * @return 0 or -ENOMEM
 */
int record_dup(struct record *ret, const struct record *record);
/** Free what record_dup() made; one of zeros is fine. */
void record_done(struct record *record);
