#pragma once
/**
 * @file base/json.h  Writing JSON into a buffer, member by member
 *
 * The text that Python's json.dumps() writes: ", " and ": " as separators,
 * ASCII only. A byte sequence that is not UTF-8 is shown byte by byte as
 * \u0080 to \u00ff, so that nothing is lost. Reading JSON is jansson's work.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define JSON_MAX_DEPTH 16

struct json_writer {
	struct buf *out;
	unsigned depth;
	bool has_items[JSON_MAX_DEPTH];
};

static inline struct json_writer json_writer_over(struct buf *out)
{
	return (struct json_writer){.out = out};
}

/* Every value takes the key that it has in its object; NULL in an array and
 * at the top. */
void json_object_begin(struct json_writer *w, const char *key);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w, const char *key);
void json_array_end(struct json_writer *w);
void json_span(struct json_writer *w, const char *key, struct span value);
void json_text(struct json_writer *w, const char *key, const char *value);
void json_i64(struct json_writer *w, const char *key, int64_t value);
void json_u64(struct json_writer *w, const char *key, uint64_t value);
/** Always with a point or an exponent; what is not finite becomes null. */
void json_float(struct json_writer *w, const char *key, double value);
void json_bool(struct json_writer *w, const char *key, bool value);
void json_nothing(struct json_writer *w, const char *key);
/* The word of JSON for it, where jansson, which has a json_null() of its own,
 * is not included before this file. Never a symbol: jansson would call ours. */
#ifndef JANSSON_H
static inline void json_null(struct json_writer *w, const char *key)
{
	json_nothing(w, key);
}
#endif
/** A value that is JSON already. */
void json_raw(struct json_writer *w, const char *key, struct span json);
