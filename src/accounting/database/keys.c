#include "accounting/database/keys.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/utf8.h"

#define HASH_LEN 9 /* ~ and eight digits */

static uint32_t fnv1a(struct span text)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < text.len; i++)
		hash = (hash ^ (uint8_t)text.ptr[i]) * 16777619u;
	return hash;
}

static bool holds(enum charset charset, size_t utf8_len, uint32_t code)
{
	if (utf8_len == 0 || code == 0)
		return false;
	return charset == CHARSET_UTF8     ? true
	       : charset == CHARSET_UTF8_3 ? utf8_len < 4
					   : utf8_len == 1;
}

static struct span skip(struct span text, size_t len)
{
	return span_make(text.ptr + len, text.len - len);
}

static void add_escaped(struct buf *out, struct span text, enum charset charset)
{
	while (text.len > 0) {
		uint32_t code = 0;
		size_t utf8_len = utf8_decode(text, &code);
		size_t len = utf8_len ? utf8_len : 1;

		if (holds(charset, utf8_len, code))
			buf_add(out, span_make(text.ptr, len));
		else
			for (size_t i = 0; i < len; i++)
				buf_printf(out, "\\x%02x",
					   (uint8_t)text.ptr[i]);
		text = skip(text, len);
	}
}

/* The bytes of the first characters; all of UTF-8. */
static size_t bytes_of(struct span text, size_t characters)
{
	size_t at = 0;
	uint32_t code;

	for (size_t i = 0; i < characters && at < text.len; i++)
		at += utf8_decode(skip(text, at), &code);
	return at;
}

static void add_fitting(struct buf *out, struct span text, size_t width,
			enum charset charset)
{
	CLEANUP(buf_done) struct buf whole = {0};

	add_escaped(&whole, text, charset);
	if (buf_failed(&whole)) {
		out->failed = true;
		return;
	}
	if (bytes_of(buf_span(&whole), width) == whole.len) {
		buf_add(out, buf_span(&whole));
		return;
	}
	width = width > HASH_LEN ? width - HASH_LEN : 0;
	buf_add(out, span_make(whole.data, bytes_of(buf_span(&whole), width)));
	buf_printf(out, "~%08x", fnv1a(text));
}

static void make_suffix(char ret[static 16], const struct record *record,
			unsigned number)
{
	ret[0] = '\0';
	if (number == KEY_LAST_NUMBER)
		snprintf(ret, 16, ";%08x", fnv1a(record->record_id));
	else if (number > 1)
		snprintf(ret, 16, ";%u", number);
}

int key_make(struct key *ret, const struct record *record,
	     const struct key_widths *widths, enum charset charset,
	     unsigned number)
{
	size_t to_tag_width = widths->to_tag;
	char suffix[16];

	buf_reset(&ret->call_id);
	buf_reset(&ret->from_tag);
	buf_reset(&ret->to_tag);
	make_suffix(suffix, record, number);
	to_tag_width -= strlen(suffix) < to_tag_width ? strlen(suffix) : 0;
	add_fitting(&ret->call_id, record->call_id, widths->call_id, charset);
	add_fitting(&ret->from_tag, record->from_tag, widths->from_tag,
		    charset);
	add_fitting(&ret->to_tag, record->to_tag, to_tag_width, charset);
	buf_add(&ret->to_tag, span_of(suffix));
	ret->has_to_tag = record->to_tag.len > 0 || number > 1;
	return buf_failed(&ret->call_id) || buf_failed(&ret->from_tag) ||
			       buf_failed(&ret->to_tag)
		       ? -ENOMEM
		       : 0;
}

static bool text_depends(struct span text, enum charset from, enum charset to)
{
	while (text.len > 0) {
		uint32_t code = 0;
		size_t len = utf8_decode(text, &code);

		if (holds(from, len, code) != holds(to, len, code))
			return true;
		text = skip(text, len ? len : 1);
	}
	return false;
}

bool key_depends_on_charset(const struct record *record, enum charset from,
			    enum charset to)
{
	return text_depends(record->call_id, from, to) ||
	       text_depends(record->from_tag, from, to) ||
	       text_depends(record->to_tag, from, to);
}

void key_done(struct key *key)
{
	buf_done(&key->call_id);
	buf_done(&key->from_tag);
	buf_done(&key->to_tag);
}
