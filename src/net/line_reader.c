/** @file net/line_reader.c */
#include "net/line_reader.h"

#include <string.h>

void line_reader_init(struct line_reader *reader, size_t max_line)
{
	*reader = (struct line_reader){.max_line = max_line};
}

void line_reader_release(struct line_reader *reader, struct evbuffer *input)
{
	if (reader->block_used > 0)
		evbuffer_drain(input, reader->block_used);
	reader->block = NULL;
	reader->block_len = reader->block_used = 0;
}

/* @param from  Where to begin; a CR right before it counts */
static const char *find_crlf(const char *data, size_t len, size_t from)
{
	const char *end = data + len;
	const char *at = data + from;

	while (at < end) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));

		if (!lf)
			return NULL;
		if (lf > data && lf[-1] == '\r')
			return lf - 1;
		at = lf + 1;
	}
	return NULL;
}

static bool take_from_block(struct line_reader *reader, struct span *ret_line,
			    bool *ret_too_long)
{
	const char *line = reader->block + reader->block_used;
	size_t left = reader->block_len - reader->block_used;
	const char *crlf = find_crlf(line, left, reader->scanned);
	size_t len;

	if (!crlf)
		return false;
	len = (size_t)(crlf - line);
	reader->block_used += len + 2;
	reader->scanned = 0;
	*ret_too_long = len > reader->max_line;
	*ret_line = *ret_too_long ? SPAN("") : span_make(line, len);
	return true;
}

/* Drop everything but a last CR, whose LF may be the next byte. */
static void swallow(struct evbuffer *input)
{
	size_t len = evbuffer_get_length(input);
	struct evbuffer_ptr last;
	char c = 0;

	if (len == 0)
		return;
	evbuffer_ptr_set(input, &last, len - 1, EVBUFFER_PTR_SET);
	evbuffer_copyout_from(input, &last, &c, 1);
	evbuffer_drain(input, c == '\r' ? len - 1 : len);
}

/* The first CRLF, wherever it lies; -1: none, and `scanned` says how far. */
static ev_ssize_t find_in_buffer(struct line_reader *reader,
				 struct evbuffer *input)
{
	size_t len = evbuffer_get_length(input);
	size_t from = reader->scanned > 0 ? reader->scanned - 1 : 0;
	struct evbuffer_ptr start;
	struct evbuffer_ptr found;

	if (len < 2 || from >= len ||
	    evbuffer_ptr_set(input, &start, from, EVBUFFER_PTR_SET) < 0)
		return -1;
	found = evbuffer_search(input, "\r\n", 2, &start);
	if (found.pos < 0)
		reader->scanned = len;
	return found.pos;
}

static bool finish_swallowing(struct line_reader *reader,
			      struct evbuffer *input, struct span *ret_line,
			      bool *ret_too_long)
{
	ev_ssize_t at = find_in_buffer(reader, input);

	reader->scanned = 0;
	if (at < 0) {
		swallow(input);
		return false;
	}
	evbuffer_drain(input, (size_t)at + 2);
	reader->swallowing = false;
	*ret_line = SPAN("");
	*ret_too_long = true;
	return true;
}

/* Make a block that begins with a whole line. */
static bool open_block(struct line_reader *reader, struct evbuffer *input)
{
	size_t len = evbuffer_get_contiguous_space(input);
	ev_ssize_t at;

	reader->block =
		len ? (const char *)evbuffer_pullup(input, (ev_ssize_t)len)
		    : NULL;
	reader->block_len = len;
	if (reader->block &&
	    find_crlf(reader->block, len,
		      reader->scanned < len ? reader->scanned : len))
		return true;

	reader->block = NULL;
	reader->block_len = 0;
	if (evbuffer_get_length(input) == len) {
		reader->scanned = len;
		return false;
	}
	at = find_in_buffer(reader, input);
	if (at < 0 || (size_t)at > reader->max_line)
		return false;
	reader->block = (const char *)evbuffer_pullup(input, at + 2);
	reader->block_len = reader->block ? (size_t)at + 2 : 0;
	reader->scanned = 0;
	return reader->block != NULL;
}

bool line_reader_next(struct line_reader *reader, struct evbuffer *input,
		      struct span *ret_line, bool *ret_too_long)
{
	if (reader->block && take_from_block(reader, ret_line, ret_too_long))
		return true;
	line_reader_release(reader, input);
	if (!reader->swallowing) {
		if (open_block(reader, input))
			return take_from_block(reader, ret_line, ret_too_long);
		/* A last CR may belong to the line's end. */
		if (evbuffer_get_length(input) <= reader->max_line + 1)
			return false;
		reader->swallowing = true;
		reader->scanned = 0;
	}
	return finish_swallowing(reader, input, ret_line, ret_too_long);
}
