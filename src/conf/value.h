#pragma once
/**
 * @file conf/value.h  From the text of a value to a member of struct conf, and
 * back
 */
#include "base/buf.h"
#include "base/span.h"
#include "conf/schema.h"

/** The units of time, the largest first. */
struct value_unit {
	const char *name;
	uint64_t us;
};
#define VALUE_UNIT_COUNT 6
extern const struct value_unit value_units[VALUE_UNIT_COUNT];

/**
 * Read a value and store it. On failure the member is unchanged, but for a
 * passport, which is unusable then.
 *
 * @return 0 or -EINVAL
 */
int value_parse(const struct conf_key *key, struct span text,
		struct conf *conf);

/** Write a value as it could stand in the file; a password becomes "***". */
void value_print(const struct conf_key *key, const struct conf *conf,
		 struct buf *out);

/** A number of microseconds in the largest unit that leaves no fraction. */
void value_print_duration(uint64_t us, struct buf *out);

/** Write text for a message: at most 100 bytes, controls as '?'. */
void value_print_quoted(const struct conf_key *key, struct span text,
			struct buf *out);
