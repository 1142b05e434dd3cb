#include "base/span.h"

#include <errno.h>
#include <stdlib.h>

bool span_starts_with(struct span s, struct span prefix)
{
	return s.len >= prefix.len &&
	       span_equal(span_make(s.ptr, prefix.len), prefix);
}

bool span_ends_with(struct span s, struct span suffix)
{
	return s.len >= suffix.len &&
	       span_equal(span_make(s.ptr + s.len - suffix.len, suffix.len),
			  suffix);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span span_trim(struct span s)
{
	while (s.len > 0 && is_blank(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

bool span_cut(struct span *rest, char separator, struct span *ret_head)
{
	const char *at;

	if (rest->len == 0)
		return false;
	at = memchr(rest->ptr, separator, rest->len);
	if (!at)
		return false;

	*ret_head = span_make(rest->ptr, (size_t)(at - rest->ptr));
	rest->len -= ret_head->len + 1;
	rest->ptr = at + 1;
	return true;
}

bool span_cut_last(struct span *rest, char separator, struct span *ret_tail)
{
	const char *at;

	if (rest->len == 0)
		return false;
	at = memrchr(rest->ptr, separator, rest->len);
	if (!at)
		return false;

	ret_tail->ptr = at + 1;
	ret_tail->len = rest->len - (size_t)(at + 1 - rest->ptr);
	rest->len = (size_t)(at - rest->ptr);
	return true;
}

int span_to_u64(struct span s, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (s.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return -EINVAL;
	}
	for (size_t i = 0; i < s.len; i++) {
		uint64_t digit = (uint64_t)(s.ptr[i] - '0');

		if (value > (max - digit) / 10 || digit > max)
			return -ERANGE;
		value = value * 10 + digit;
	}
	*ret = value;
	return 0;
}

char *span_dup(struct span s)
{
	char *copy = malloc(s.len + 1);

	if (!copy)
		return NULL;
	if (s.len > 0)
		memcpy(copy, s.ptr, s.len);
	copy[s.len] = '\0';
	return copy;
}
