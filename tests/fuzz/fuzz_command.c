/** @file tests/fuzz/fuzz_command.c  A connection's bytes: lines, requests, and
 * what they say */
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "proto/update.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool is_within(struct span part, struct span whole)
{
	return part.len == 0 || (part.ptr >= whole.ptr &&
				 part.ptr + part.len <= whole.ptr + whole.len);
}

/* No name twice, nothing empty, no line over the limit. */
static void check_headers(const struct command *command)
{
	require(command->header_count <= COMMAND_MAX_HEADERS);
	for (size_t i = 0; i < command->header_count; i++) {
		const struct command_header *h = &command->headers[i];

		require(h->name.len > 0 && h->value.len > 0);
		require(h->name.len + 2 + h->value.len <= COMMAND_MAX_LINE);
		for (size_t j = 0; j < i; j++)
			require(!span_equal(h->name, command->headers[j].name));
	}
}

static void check_update(const struct command *command)
{
	static struct update update;
	struct removal removal;
	const char *why = NULL;

	if (update_decode(command, &update, &why) < 0) {
		require(why != NULL);
	} else {
		struct span media = command_header(command, "media");

		require(update.call_id.len > 0 && update.from_tag.len > 0);
		require(update.stream_count <= UPDATE_MAX_STREAMS);
		require(update.has_media == (update.stream_count > 0));
		for (size_t i = 0; i < update.stream_count; i++)
			require(is_within(update.streams[i].type, media));
	}
	why = NULL;
	if (removal_decode(command, &removal, &why) < 0)
		require(why != NULL);
	else
		require(removal.call_id.len > 0 && removal.from_tag.len > 0);
}

static enum command_status feed(struct command_reader *reader,
				struct span *rest)
{
	const char *end = memmem(rest->ptr, rest->len, "\r\n", 2);
	size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
	bool too_long = len > COMMAND_MAX_LINE;
	struct span line = span_make(rest->ptr, too_long ? 0 : len);

	*rest = span_make(rest->ptr + len + (end ? 2 : 0),
			  rest->len - len - (end ? 2 : 0));
	return command_reader_line(reader, line, too_long);
}

/* Passed on to a relay, a request says the same. */
static void check_passing_on(const struct command *command)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct command_reader *reader = NULL;
	enum command_status status = COMMAND_MORE;
	const struct command *again;
	struct span rest;

	if (command_reader_new(&reader, COMMAND_FORM_LINK) < 0)
		return;
	command_encode(&out, SPAN("update"), 17, command->headers,
		       command->header_count);
	rest = buf_span(&out);
	while (rest.len > 0) {
		require(status == COMMAND_MORE);
		status = feed(reader, &rest);
	}
	require(status == COMMAND_DONE);
	again = command_reader_command(reader);
	require(again->seq == 17 &&
		again->header_count == command->header_count);
	for (size_t i = 0; i < again->header_count; i++) {
		require(span_equal(again->headers[i].name,
				   command->headers[i].name));
		require(span_equal(again->headers[i].value,
				   command->headers[i].value));
	}
	command_reader_free(reader);
}

static void read_all(enum command_form form, struct span rest)
{
	struct command_reader *reader = NULL;

	if (command_reader_new(&reader, form) < 0)
		return;
	while (rest.len > 0) {
		enum command_status status = feed(reader, &rest);
		const struct command *command = command_reader_command(reader);

		if (status == COMMAND_MORE)
			continue;
		require(command_reader_idle(reader));
		require((status == COMMAND_BAD) ==
			(command_reader_why(reader)[0] != '\0'));
		check_headers(command);
		if (status == COMMAND_DONE) {
			require(command->name.len > 0);
			check_update(command);
			check_passing_on(command);
		}
	}
	command_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_all(COMMAND_FORM_SOCKET, span_make(data, size));
	read_all(COMMAND_FORM_LINK, span_make(data, size));
	return 0;
}
