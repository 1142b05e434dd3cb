#include "base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

static void string(struct buf *out, struct span s)
{
	size_t at = 0;

	buf_char(out, '"');
	while (at < s.len) {
		uint32_t code;
		size_t len =
			utf8_decode(span_make(s.ptr + at, s.len - at), &code);

		if (len == 0) {
			code = (uint8_t)s.ptr[at];
			len = 1;
		}
		at += len;
		switch (code) {
		case '"':
			buf_add(out, SPAN("\\\""));
			break;
		case '\\':
			buf_add(out, SPAN("\\\\"));
			break;
		case '\n':
			buf_add(out, SPAN("\\n"));
			break;
		case '\r':
			buf_add(out, SPAN("\\r"));
			break;
		case '\t':
			buf_add(out, SPAN("\\t"));
			break;
		case '\b':
			buf_add(out, SPAN("\\b"));
			break;
		case '\f':
			buf_add(out, SPAN("\\f"));
			break;
		default:
			if (code >= 0x20 && code < 0x7f)
				buf_char(out, (char)code);
			else if (code < 0x10000)
				buf_printf(out, "\\u%04x", code);
			else
				buf_printf(out, "\\u%04x\\u%04x",
					   0xd800 + ((code - 0x10000) >> 10),
					   0xdc00 + ((code - 0x10000) & 0x3ff));
		}
	}
	buf_char(out, '"');
}

static void begin_value(struct json_writer *w, const char *key)
{
	if (w->has_items[w->depth])
		buf_add(w->out, SPAN(", "));
	w->has_items[w->depth] = true;
	if (key) {
		string(w->out, span_of(key));
		buf_add(w->out, SPAN(": "));
	}
}

static void enter(struct json_writer *w, const char *key, char bracket)
{
	begin_value(w, key);
	buf_char(w->out, bracket);
	assert(w->depth + 1 < JSON_MAX_DEPTH);
	w->has_items[++w->depth] = false;
}

static void leave(struct json_writer *w, char bracket)
{
	assert(w->depth > 0);
	w->depth--;
	buf_char(w->out, bracket);
}

void json_object_begin(struct json_writer *w, const char *key)
{
	enter(w, key, '{');
}

void json_object_end(struct json_writer *w)
{
	leave(w, '}');
}

void json_array_begin(struct json_writer *w, const char *key)
{
	enter(w, key, '[');
}

void json_array_end(struct json_writer *w)
{
	leave(w, ']');
}

void json_span(struct json_writer *w, const char *key, struct span value)
{
	begin_value(w, key);
	string(w->out, value);
}

void json_text(struct json_writer *w, const char *key, const char *value)
{
	json_span(w, key, span_of(value));
}

void json_i64(struct json_writer *w, const char *key, int64_t value)
{
	begin_value(w, key);
	buf_printf(w->out, "%" PRId64, value);
}

void json_u64(struct json_writer *w, const char *key, uint64_t value)
{
	begin_value(w, key);
	buf_printf(w->out, "%" PRIu64, value);
}

/* The shortest text that reads back as the same number. */
static void shortest(char text[static 40], double value)
{
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, 40, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			return;
	}
}

void json_float(struct json_writer *w, const char *key, double value)
{
	char text[40] = "";

	if (!isfinite(value)) {
		json_nothing(w, key);
		return;
	}
	begin_value(w, key);
	/* UNIX times and rates are plainer without an exponent. */
	if (fabs(value) >= 1 && fabs(value) < 1e16)
		for (int decimals = 1; decimals <= 17; decimals++) {
			snprintf(text, sizeof(text), "%.*f", decimals, value);
			if (strtod(text, NULL) == value)
				break;
		}
	else
		shortest(text, value);
	buf_add(w->out, span_of(text));
	if (!strpbrk(text, ".e"))
		buf_add(w->out, SPAN(".0"));
}

void json_bool(struct json_writer *w, const char *key, bool value)
{
	begin_value(w, key);
	buf_add(w->out, value ? SPAN("true") : SPAN("false"));
}

void json_nothing(struct json_writer *w, const char *key)
{
	begin_value(w, key);
	buf_add(w->out, SPAN("null"));
}

void json_raw(struct json_writer *w, const char *key, struct span json)
{
	begin_value(w, key);
	buf_add(w->out, json);
}
