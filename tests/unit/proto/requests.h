#pragma once
/** @file tests/unit/proto/requests.h  Requests for tests, fed line by line */
#include <string.h>

#include "base/span.h"
#include "proto/command.h"

/** Feed CRLF-separated text; the status of its last line. */
static inline enum command_status feed(struct command_reader *reader,
				       struct span text)
{
	enum command_status status = COMMAND_MORE;

	while (text.ptr && text.len > 0) {
		const char *end = memmem(text.ptr, text.len, "\r\n", 2);
		size_t len = end ? (size_t)(end - text.ptr) : text.len;

		status = command_reader_line(reader, span_make(text.ptr, len),
					     /* too_long= */ false);
		text = span_make(text.ptr + len + (end ? 2 : 0),
				 text.len - len - (end ? 2 : 0));
	}
	return status;
}

#define FEED(reader, literal) feed(reader, SPAN(literal))
