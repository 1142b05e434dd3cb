#include "management/json_scan.h"

#include "base/utf8.h"

/* A position in the text; every step returns false where it is no JSON. */
struct scan {
	const char *at, *end;
};

static bool peek(const struct scan *s, char c)
{
	return s->at < s->end && *s->at == c;
}

static bool take(struct scan *s, char c)
{
	if (!peek(s, c))
		return false;
	s->at++;
	return true;
}

static void skip_blanks(struct scan *s)
{
	while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' ||
				  *s->at == '\r' || *s->at == '\n'))
		s->at++;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool take_word(struct scan *s, struct span word)
{
	struct span rest = span_make(s->at, (size_t)(s->end - s->at));

	if (!span_starts_with(rest, word))
		return false;
	s->at += word.len;
	return true;
}

static bool take_escape(struct scan *s)
{
	if (s->at == s->end)
		return false;
	if (*s->at != 'u') {
		if (*s->at == '\0' || !strchr("\"\\/bfnrt", *s->at))
			return false;
		s->at++;
		return true;
	}
	s->at++;
	for (int i = 0; i < 4; i++, s->at++)
		if (s->at == s->end || !is_hex(*s->at))
			return false;
	return true;
}

static bool take_string(struct scan *s)
{
	if (!take(s, '"'))
		return false;
	while (s->at < s->end) {
		uint8_t c = (uint8_t)*s->at;
		uint32_t code;
		size_t len = 1;

		if (c == '"' || c == '\\' || c < 0x20) {
			s->at++;
			if (c == '"')
				return true;
			if (c < 0x20 || !take_escape(s))
				return false;
			continue;
		}
		if (c >= 0x80)
			len = utf8_decode(
				span_make(s->at, (size_t)(s->end - s->at)),
				&code);
		if (len == 0)
			return false;
		s->at += len;
	}
	return false;
}

static bool take_digits(struct scan *s)
{
	const char *start = s->at;

	while (s->at < s->end && is_digit(*s->at))
		s->at++;
	return s->at > start;
}

static bool take_number(struct scan *s)
{
	take(s, '-');
	if (!take(s, '0') && !take_digits(s))
		return false;
	if (take(s, '.') && !take_digits(s))
		return false;
	if (take(s, 'e') || take(s, 'E')) {
		if (!take(s, '+'))
			take(s, '-');
		return take_digits(s);
	}
	return true;
}

static bool take_value(struct scan *s, unsigned depth);

/* The members of an object or the values of an array, behind the bracket. */
static bool take_members(struct scan *s, bool object, unsigned depth)
{
	char close = object ? '}' : ']';

	skip_blanks(s);
	if (take(s, close))
		return true;
	do {
		skip_blanks(s);
		if (object) {
			if (!take_string(s))
				return false;
			skip_blanks(s);
			if (!take(s, ':'))
				return false;
		}
		if (!take_value(s, depth))
			return false;
		skip_blanks(s);
	} while (take(s, ','));
	return take(s, close);
}

static bool take_value(struct scan *s, unsigned depth)
{
	skip_blanks(s);
	if (peek(s, '"'))
		return take_string(s);
	if (take(s, '{'))
		return depth < JSON_SCAN_MAX_DEPTH &&
		       take_members(s, /* object= */ true, depth + 1);
	if (take(s, '['))
		return depth < JSON_SCAN_MAX_DEPTH &&
		       take_members(s, /* object= */ false, depth + 1);
	return take_word(s, SPAN("true")) || take_word(s, SPAN("false")) ||
	       take_word(s, SPAN("null")) || take_number(s);
}

struct span json_scan_blanks(struct span text)
{
	struct scan s = {text.ptr, text.ptr + text.len};

	if (text.len == 0)
		return text;
	skip_blanks(&s);
	return span_make(s.at, (size_t)(s.end - s.at));
}

int json_scan_value(struct span *rest, struct span *ret_value)
{
	struct span text = json_scan_blanks(*rest);
	struct scan s = {text.ptr, text.ptr + text.len};

	if (text.len == 0 || !take_value(&s, 0))
		return -EBADMSG;
	*ret_value = span_make(text.ptr, (size_t)(s.at - text.ptr));
	*rest = span_make(s.at, (size_t)(s.end - s.at));
	return 0;
}
