#include "base/json.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

/* One UTF-16 unit as \uXXXX. */
static void add_unit(struct buf *out, uint32_t unit)
{
	static const char digits[] = "0123456789abcdef";
	const char text[] = {'\\',
			     'u',
			     digits[unit >> 12 & 0xf],
			     digits[unit >> 8 & 0xf],
			     digits[unit >> 4 & 0xf],
			     digits[unit & 0xf]};

	buf_add(out, span_make(text, sizeof(text)));
}

static void add_code(struct buf *out, uint32_t code)
{
	static const char letters[] = {
		['"'] = '"',  ['\\'] = '\\', ['\n'] = 'n', ['\r'] = 'r',
		['\t'] = 't', ['\b'] = 'b',  ['\f'] = 'f'};

	if (code < sizeof(letters) && letters[code]) {
		buf_char(out, '\\');
		buf_char(out, letters[code]);
	} else if (code < 0x10000) {
		add_unit(out, code);
	} else {
		add_unit(out, 0xd800 + ((code - 0x10000) >> 10));
		add_unit(out, 0xdc00 + ((code - 0x10000) & 0x3ff));
	}
}

/* How many bytes at the front stand for themselves. */
static size_t plain_len(struct span s)
{
	size_t len = 0;

	while (len < s.len && s.ptr[len] >= 0x20 && s.ptr[len] < 0x7f &&
	       s.ptr[len] != '"' && s.ptr[len] != '\\')
		len++;
	return len;
}

static void string(struct buf *out, struct span s)
{
	buf_char(out, '"');
	while (s.len > 0) {
		size_t len = plain_len(s);
		uint32_t code;

		buf_add(out, span_make(s.ptr, len));
		s = span_make(s.ptr + len, s.len - len);
		if (s.len == 0)
			break;
		len = utf8_decode(s, &code);
		if (len == 0) {
			code = (uint8_t)s.ptr[0];
			len = 1;
		}
		add_code(out, code);
		s = span_make(s.ptr + len, s.len - len);
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

/* Fifteen digits are always good, seventeen always exact. Without its zeros at
 * the end the first that reads back as the same number is the shortest. */
static void shortest(char text[static 64], double value)
{
	double size = fabs(value);
	/* UNIX times and rates are plainer without an exponent. */
	bool fixed = size >= 1 && size < 1e16;
	int whole_digits = fixed ? (int)floor(log10(size)) + 1 : 0;

	for (int digits = size < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
		int decimals = digits - whole_digits;

		if (fixed)
			snprintf(text, 64, "%.*f", decimals > 1 ? decimals : 1,
				 value);
		else
			snprintf(text, 64, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	if (fixed)
		for (size_t last = strlen(text) - 1;
		     text[last] == '0' && text[last - 1] != '.'; last--)
			text[last] = '\0';
}

void json_float(struct json_writer *w, const char *key, double value)
{
	char text[64] = "";

	if (!isfinite(value)) {
		json_nothing(w, key);
		return;
	}
	begin_value(w, key);
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
