/** @file tests/fuzz/fuzz_statistics.c  Whatever a caller names himself, the
 * statistics are JSON, and nothing is lost */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "proto/statistics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* The text as JSON shows it: each byte that is no UTF-8 as the character of
 * that number. */
static void as_shown(struct buf *out, struct span text)
{
	while (text.len > 0) {
		uint32_t code;
		size_t len = utf8_decode(text, &code);

		if (len > 0) {
			buf_add(out, span_make(text.ptr, len));
		} else {
			uint8_t byte = (uint8_t)text.ptr[0];

			len = 1;
			buf_char(out, (char)(0xc0 | byte >> 6));
			buf_char(out, (char)(0x80 | (byte & 0x3f)));
		}
		text = span_make(text.ptr + len, text.len - len);
	}
}

static void check_text(const json_t *object, const char *key, struct span text,
		       const char *if_empty)
{
	CLEANUP(buf_done) struct buf shown = {0};
	const json_t *value = json_object_get(object, key);

	if (text.len == 0 && !if_empty) {
		require(json_is_null(value));
		return;
	}
	as_shown(&shown, text.len ? text : span_of(if_empty));
	require(json_is_string(value));
	require(span_equal(buf_span(&shown),
			   span_make(json_string_value(value),
				     json_string_length(value))));
}

/* Texts up to the next newline. */
static struct span take(struct span *rest)
{
	struct span head = *rest;

	if (!span_cut(rest, '\n', &head))
		*rest = (struct span){0};
	return head;
}

/* CDRTool prints every value of a stream. */
static void require_flat(json_t *stream)
{
	const char *key;
	json_t *value;

	json_object_foreach(stream, key, value)
		require(!json_is_object(value) && !json_is_array(value));
}

static void check(const struct session_statistics *s, enum statistics_use use)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct json_writer w = json_writer_over(&out);
	const json_t *streams;
	json_t *object;

	statistics_encode(&w, NULL, s, use);
	require(!buf_failed(&out));
	for (size_t i = 0; i < out.len; i++)
		require(out.data[i] >= ' ' && out.data[i] <= '~');
	object = json_loadb(out.data, out.len,
			    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	require(json_is_object(object));
	check_text(object, "call_id", s->call_id, "");
	check_text(object, "from_tag", s->from_tag, "");
	check_text(object, "to_tag", s->to_tag, NULL);
	check_text(object, "caller_ua", s->user_agent[PARTY_CALLER], "Unknown");
	check_text(object, "username", s->username, NULL);
	streams = json_object_get(object, "streams");
	require(json_array_size(streams) == s->stream_count);
	if (s->stream_count > 0) {
		check_text(json_array_get(streams, 0), "media_type",
			   s->streams[0].media_type, "");
		require_flat(json_array_get(streams, 0));
	}
	json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = span_make(data, size);
	struct session_statistics s = {
		.from_uri = SPAN("a@b"),
		.record_id = SPAN("1-1"),
		.engine = "userspace",
		.end_reason = "removed",
	};
	struct stream_statistics stream = {
		.party = {{.payload_type = size ? data[size - 1] & 0x7f : -1},
			  {.payload_type = CODEC_NONE}},
	};

	s.call_id = take(&rest);
	s.from_tag = take(&rest);
	s.to_tag = take(&rest);
	s.user_agent[PARTY_CALLER] = take(&rest);
	s.username = take(&rest);
	s.dialog_id = take(&rest);
	stream.media_type = take(&rest);
	if (rest.len >= sizeof(s.start_time)) {
		memcpy(&s.start_time, rest.ptr, sizeof(s.start_time));
		s.has_start_time = true;
		s.has_answered_time = true;
		s.answered_time = s.end_time = s.start_time;
		stream.has_post_dial_delay = true;
		stream.post_dial_delay_s = s.start_time;
	}
	s.streams = &stream;
	s.stream_count = 1;
	for (int use = STATISTICS_SESSIONS; use <= STATISTICS_EXPIRED; use++)
		check(&s, (enum statistics_use)use);
	return 0;
}
