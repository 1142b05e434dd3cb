/**
 * @file tests/fuzz/fuzz_line_reader.c  Lines cut out of chunks, against a plain
 * cut
 *
 * The first byte is the limit of a line. Then come chunks: a byte with the
 * length (6 bits), whether the chunk is a piece of its own in the buffer, and
 * whether only one line is taken after it; then its bytes. However the text was
 * cut up, the lines must be those of the whole text.
 */
#include <assert.h>
#include <event2/buffer.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "net/line_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note_line(struct buf *out, struct span line, bool too_long)
{
	buf_add(out, line);
	buf_add(out, too_long ? SPAN("<too long>") : SPAN("<end>"));
}

/* What the lines of a whole text are. */
static void cut_plainly(struct span text, size_t max_line, struct buf *out)
{
	size_t start = 0;

	for (size_t i = 0; i + 1 < text.len; i++) {
		size_t len = i - start;

		if (text.ptr[i] != '\r' || text.ptr[i + 1] != '\n')
			continue;
		if (len > max_line)
			note_line(out, SPAN(""), true);
		else
			note_line(out, span_make(text.ptr + start, len), false);
		start = i + 2;
		i++;
	}
}

static void add_chunk(struct evbuffer *input, struct span chunk, bool own_piece)
{
	struct evbuffer *piece;

	if (!own_piece) {
		evbuffer_add(input, chunk.ptr, chunk.len);
		return;
	}
	piece = evbuffer_new();
	evbuffer_add(piece, chunk.ptr, chunk.len);
	evbuffer_add_buffer(input, piece);
	evbuffer_free(piece);
}

static void take_lines(struct line_reader *reader, struct evbuffer *input,
		       bool only_one, struct buf *out)
{
	struct span line;
	bool too_long;

	while (line_reader_next(reader, input, &line, &too_long)) {
		note_line(out, line, too_long);
		if (only_one)
			break;
	}
	line_reader_release(reader, input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf text = {0}, got = {0}, expected = {0};
	struct evbuffer *input = evbuffer_new();
	struct line_reader reader;
	size_t at = 1;

	if (size == 0 || !input) {
		if (input)
			evbuffer_free(input);
		return 0;
	}
	line_reader_init(&reader, data[0]);
	while (at < size) {
		uint8_t head = data[at++];
		size_t len = head & 0x3f;
		struct span chunk;

		if (len > size - at)
			len = size - at;
		chunk = span_make(data + at, len);
		at += len;
		buf_add(&text, chunk);
		add_chunk(input, chunk, head & 0x40);
		take_lines(&reader, input, head & 0x80, &got);
		if (!(head & 0x80))
			assert(evbuffer_get_length(input) <=
			       reader.max_line + 1);
	}
	take_lines(&reader, input, false, &got);
	cut_plainly(buf_span(&text), reader.max_line, &expected);
	assert(span_equal(buf_span(&got), buf_span(&expected)));

	evbuffer_free(input);
	buf_done(&text);
	buf_done(&got);
	buf_done(&expected);
	return 0;
}
