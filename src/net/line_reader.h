#pragma once
/**
 * @file net/line_reader.h  Lines out of an input buffer, for net/conn.c
 *
 * Only CRLF ends a line; a bare CR or LF is data. Lines are handed out where
 * they lie, without a copy, unless they lie across two pieces of the buffer. A
 * line over the limit is dropped as it comes in, so that at most max_line and a
 * little more are ever kept.
 */
#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct line_reader {
	size_t max_line;
	size_t scanned;  /* bytes at the front that hold no CRLF */
	bool swallowing; /* inside a line that is too long */

	/* The front of the buffer, from which lines are being handed out */
	const char *block;
	size_t block_len, block_used;
};

void line_reader_init(struct line_reader *reader, size_t max_line);

/**
 * The next line.
 *
 * @param ret_line      Without CRLF; valid until the next call. Empty if too
 * long
 * @param ret_too_long  The line was over the limit, and is gone
 * @return false if there is no whole line
 */
bool line_reader_next(struct line_reader *reader, struct evbuffer *input,
		      struct span *ret_line, bool *ret_too_long);

/** Take what was handed out off the buffer: before anything else touches it. */
void line_reader_release(struct line_reader *reader, struct evbuffer *input);
