#include "proto/command.h"

#include <errno.h>
#include <stdlib.h>

/* An emptied reader keeps its memory up to this size, so that ten thousand
 * idle connections do not hold ten thousand large requests. */
#define KEEP_BYTES 8192
/* What a dispatcher may add to a request that it passes on: the sequence
 * number and a header or two. */
#define LINK_EXTRA_BYTES 1024

/* Offsets into the text, which moves while it grows. */
struct header_place {
	size_t name, name_len, value, value_len;
};

struct command_reader {
	enum command_form form;
	bool idle, finished;
	const char *why; /* the first fault of this request; NULL: none */
	size_t bytes;    /* of the request's lines, CRLF included */
	struct buf text;
	size_t place_count;
	struct header_place places[COMMAND_MAX_HEADERS];
	size_t name_len; /* the command's name is the head of the text */
	struct command command;
};

int command_reader_new(struct command_reader **ret, enum command_form form)
{
	struct command_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return -ENOMEM;
	reader->form = form;
	reader->idle = true;
	*ret = reader;
	return 0;
}

struct command_reader *command_reader_free(struct command_reader *reader)
{
	if (reader)
		buf_done(&reader->text);
	free(reader);
	return NULL;
}

static void begin_request(struct command_reader *reader)
{
	if (reader->text.size > KEEP_BYTES)
		buf_done(&reader->text);
	else
		buf_reset(&reader->text);
	reader->finished = false;
	reader->why = NULL;
	reader->bytes = 0;
	reader->place_count = 0;
	reader->name_len = 0;
	reader->command.name = (struct span){0};
	reader->command.seq = 0;
	reader->command.header_count = 0;
}

/* The first fault counts; from there to the empty line all is skipped. */
static void fault(struct command_reader *reader, const char *why)
{
	if (!reader->why)
		reader->why = why;
}

static bool is_continuation(struct span line)
{
	return line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t');
}

static struct span skip_blanks(struct span s)
{
	while (is_continuation(s))
		s = span_make(s.ptr + 1, s.len - 1);
	return s;
}

static struct span text_at(const struct command_reader *reader, size_t at,
			   size_t len)
{
	if (len == 0)
		return (struct span){0};
	return span_make(reader->text.data + at, len);
}

/* Nothing continues the last header any more. One that stayed empty is
 * dropped; one that was there before is a fault and is dropped too. */
static void close_header(struct command_reader *reader)
{
	const struct header_place *last;
	struct span name;

	if (reader->place_count == 0)
		return;
	last = &reader->places[reader->place_count - 1];
	if (last->value_len == 0) {
		reader->place_count--;
		return;
	}
	name = text_at(reader, last->name, last->name_len);
	for (size_t i = 0; i + 1 < reader->place_count; i++) {
		const struct header_place *other = &reader->places[i];

		if (!span_equal(name,
				text_at(reader, other->name, other->name_len)))
			continue;
		reader->place_count--;
		fault(reader, "a header comes twice");
		return;
	}
}

static void command_line(struct command_reader *reader, struct span line)
{
	struct span rest = line, name = line;
	uint64_t seq = 0;

	if (is_continuation(line)) {
		fault(reader, "the request begins with a space");
		return;
	}
	if (reader->form == COMMAND_FORM_LINK) {
		if (!span_cut(&rest, ' ', &name) || name.len == 0 ||
		    span_to_u64(rest, UINT64_MAX, &seq) < 0) {
			fault(reader, "no command with a sequence number");
			return;
		}
	}
	buf_add(&reader->text, name);
	reader->name_len = name.len;
	reader->command.seq = seq;
}

static void continuation_line(struct command_reader *reader, struct span line)
{
	struct span more = skip_blanks(line);
	struct header_place *last;

	if (reader->place_count == 0) {
		fault(reader, "a folded line without a header before it");
		return;
	}
	if (more.len == 0)
		return;
	last = &reader->places[reader->place_count - 1];
	/* Passed on it becomes one line, which has its limit as well. */
	if (last->name_len + 2 + last->value_len + 1 + more.len >
	    COMMAND_MAX_LINE) {
		fault(reader, "a folded header is too long");
		return;
	}
	if (last->value_len > 0) {
		buf_char(&reader->text, ' ');
		last->value_len++;
	}
	buf_add(&reader->text, more);
	last->value_len += more.len;
}

static void header_line(struct command_reader *reader, struct span line)
{
	const char *at = memmem(line.ptr, line.len, ": ", 2);
	struct header_place *place;

	close_header(reader);
	if (reader->why)
		return;
	if (!at || at == line.ptr) {
		fault(reader, "a line that is no header");
		return;
	}
	if (reader->place_count == COMMAND_MAX_HEADERS) {
		fault(reader, "too many headers");
		return;
	}
	place = &reader->places[reader->place_count++];
	place->name = reader->text.len;
	place->name_len = (size_t)(at - line.ptr);
	place->value = place->name + place->name_len + 2;
	place->value_len = line.len - place->name_len - 2;
	buf_add(&reader->text, line);
}

static enum command_status end_request(struct command_reader *reader)
{
	struct command *command = &reader->command;

	if (!reader->why)
		close_header(reader);
	if (buf_failed(&reader->text)) {
		reader->name_len = 0;
		reader->place_count = 0;
	}
	command->name = text_at(reader, 0, reader->name_len);
	for (size_t i = 0; i < reader->place_count; i++) {
		const struct header_place *place = &reader->places[i];

		if (place->value_len == 0)
			continue;
		command->headers[command->header_count++] =
			(struct command_header){
				text_at(reader, place->name, place->name_len),
				text_at(reader, place->value,
					place->value_len)};
	}
	reader->idle = true;
	reader->finished = true;
	return reader->why ? COMMAND_BAD : COMMAND_DONE;
}

enum command_status command_reader_line(struct command_reader *reader,
					struct span line, bool too_long)
{
	size_t max_bytes = COMMAND_MAX_BYTES;
	bool first = reader->idle;

	if (reader->form == COMMAND_FORM_LINK)
		max_bytes += LINK_EXTRA_BYTES;
	if (line.len == 0 && !too_long)
		return first ? COMMAND_MORE : end_request(reader);
	if (first) {
		begin_request(reader);
		reader->idle = false;
	}
	if (reader->why)
		return COMMAND_MORE;

	reader->bytes += line.len + 2;
	if (too_long || line.len > COMMAND_MAX_LINE)
		fault(reader, "a line is too long");
	else if (reader->bytes > max_bytes)
		fault(reader, "the request is too long");
	else if (first)
		command_line(reader, line);
	else if (is_continuation(line))
		continuation_line(reader, line);
	else
		header_line(reader, line);
	/* At once: the places would point to text that is not there. */
	if (buf_failed(&reader->text))
		fault(reader, "out of memory");
	return COMMAND_MORE;
}

const struct command *
command_reader_command(const struct command_reader *reader)
{
	return &reader->command;
}

bool command_reader_idle(const struct command_reader *reader)
{
	return reader->idle;
}

const char *command_reader_why(const struct command_reader *reader)
{
	return reader->why ? reader->why : "";
}

struct span command_header(const struct command *command, const char *name)
{
	struct span wanted = span_of(name);

	for (size_t i = 0; i < command->header_count; i++) {
		if (span_equal(command->headers[i].name, wanted))
			return command->headers[i].value;
	}
	return (struct span){0};
}

/* Whoever made this value, it must not become two lines. */
static void add_without_crlf(struct buf *out, struct span value)
{
	const char *at;

	while (value.len > 0 &&
	       (at = memmem(value.ptr, value.len, "\r\n", 2))) {
		size_t len = (size_t)(at - value.ptr);

		buf_add(out, span_make(value.ptr, len));
		buf_char(out, ' ');
		value = span_make(at + 2, value.len - len - 2);
	}
	buf_add(out, value);
}

void command_encode(struct buf *out, struct span name, uint64_t seq,
		    const struct command_header *headers, size_t count)
{
	buf_add(out, name);
	buf_printf(out, " %llu\r\n", (unsigned long long)seq);
	for (size_t i = 0; i < count; i++) {
		if (headers[i].value.len == 0)
			continue;
		add_without_crlf(out, headers[i].name);
		buf_add(out, SPAN(": "));
		add_without_crlf(out, headers[i].value);
		buf_add(out, SPAN("\r\n"));
	}
	buf_add(out, SPAN("\r\n"));
}
