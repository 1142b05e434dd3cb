#include "conf/passport.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *known_attribute(struct span name)
{
	static const char *const names[] = {"O", "OU", "CN",   "C",
					    "L", "ST", "EMAIL"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (name.len == strlen(names[i]) &&
		    strncasecmp(name.ptr, names[i], name.len) == 0)
			return names[i];
	return NULL;
}

/* Cut off the part before the first comma that has no backslash before it. */
static struct span cut_check(struct span *rest)
{
	struct span head = *rest;

	for (size_t i = 0; i < rest->len; i++) {
		if (rest->ptr[i] != ',' || (i > 0 && rest->ptr[i - 1] == '\\'))
			continue;
		head.len = i;
		*rest = span_make(rest->ptr + i + 1, rest->len - i - 1);
		return head;
	}
	*rest = span_make(rest->ptr + rest->len, 0);
	return head;
}

/* Copy a value without the backslashes before commas. @return its length */
static size_t copy_unescaped(char *to, struct span value)
{
	size_t len = 0;

	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] == '\\' && i + 1 < value.len &&
		    value.ptr[i + 1] == ',')
			continue;
		to[len++] = value.ptr[i];
	}
	to[len] = '\0';
	return len;
}

static int add_check(struct passport *ret, struct span check, size_t *used)
{
	struct span attribute;
	const char *name;
	char *value = ret->text + *used;
	size_t i = ret->count;

	if (i == PASSPORT_MAX_CHECKS || !span_cut(&check, ':', &attribute))
		return -EINVAL;
	name = known_attribute(span_trim(attribute));
	check = span_trim(check);
	if (!name || check.len == 0)
		return -EINVAL;

	ret->checks[i].any_prefix = check.ptr[0] == '*';
	if (ret->checks[i].any_prefix)
		check = span_make(check.ptr + 1, check.len - 1);
	ret->checks[i].any_suffix =
		check.len > 0 && check.ptr[check.len - 1] == '*';
	if (ret->checks[i].any_suffix)
		check.len--;
	/* A `*` inside would be taken for a wildcard, and is none. */
	if (check.len > 0 && memchr(check.ptr, '*', check.len))
		return -EINVAL;

	snprintf(ret->checks[i].attribute, sizeof(ret->checks[i].attribute),
		 "%s", name);
	ret->checks[i].value = value;
	*used += copy_unescaped(value, check) + 1;
	ret->count++;
	return 0;
}

static bool has_controls(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
			return true;
	return false;
}

int passport_parse(struct span text, struct passport *ret)
{
	size_t used = 0;

	*ret = (struct passport){0};
	text = span_trim(text);
	/* Values and their NULs never need more room than the text. */
	if (text.len == 0 || text.len >= sizeof(ret->text) ||
	    has_controls(text))
		return -EINVAL;
	if (text.len == 4 && strncasecmp(text.ptr, "None", 4) == 0)
		return 0;

	for (bool more = true; more;) {
		struct span before = text;
		struct span check = cut_check(&text);

		more = check.len < before.len;
		if (add_check(ret, check, &used) < 0) {
			*ret = (struct passport){0};
			return -EINVAL;
		}
	}
	return 0;
}

static bool value_matches(struct span pattern, bool any_prefix, bool any_suffix,
			  struct span value)
{
	if (any_prefix && any_suffix)
		return pattern.len == 0 ||
		       (value.len >= pattern.len &&
			memmem(value.ptr, value.len, pattern.ptr, pattern.len));
	if (any_prefix)
		return span_ends_with(value, pattern);
	if (any_suffix)
		return span_starts_with(value, pattern);
	return span_equal(value, pattern);
}

bool passport_matches(const struct passport *passport,
		      const struct subject_attribute *subject, size_t count)
{
	for (size_t i = 0; i < passport->count; i++) {
		bool found = false;

		for (size_t j = 0; j < count && !found; j++)
			found = strcasecmp(subject[j].name,
					   passport->checks[i].attribute) ==
					0 &&
				value_matches(
					span_of(passport->checks[i].value),
					passport->checks[i].any_prefix,
					passport->checks[i].any_suffix,
					subject[j].value);
		if (!found)
			return false;
	}
	return true;
}
