#pragma once
/**
 * @file base/span.h  Bytes that belong to somebody else: pointer and length
 *
 * All text that comes from outside is handled as spans: raw bytes, NUL
 * included, never as C strings. A span is passed by value and owns nothing.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *ptr;
	size_t len;
};

/** A span of a string literal. */
#define SPAN(literal) ((struct span){("" literal), sizeof(literal) - 1})

/** For printf: printf("%.*s", SPAN_ARG(s)) */
#define SPAN_ARG(s) ((int)(s).len), ((s).ptr ? (s).ptr : "")

static inline struct span span_of(const char *text)
{
	return (struct span){text, text ? strlen(text) : 0};
}

static inline struct span span_make(const void *ptr, size_t len)
{
	return (struct span){ptr, len};
}

static inline bool span_equal(struct span a, struct span b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool span_starts_with(struct span s, struct span prefix);
bool span_ends_with(struct span s, struct span suffix);

/** Without spaces and tabs at both ends. */
struct span span_trim(struct span s);

/**
 * Cut off the part before the first separator; the separator is dropped.
 *
 * @param rest  In: the whole; out: what follows the separator. Unchanged on
 * false
 * @return false if there is no separator
 */
bool span_cut(struct span *rest, char separator, struct span *ret_head);

/** The same from the end: cut off the part behind the last separator. */
bool span_cut_last(struct span *rest, char separator, struct span *ret_tail);

/**
 * A decimal number: digits alone, no sign, no space, leading zeros allowed.
 *
 * @return 0, -EINVAL if it is no number, or -ERANGE if it is over max
 */
int span_to_u64(struct span s, uint64_t max, uint64_t *ret);

/** A NUL-terminated copy on the heap (an inner NUL stays); NULL: no memory. */
char *span_dup(struct span s);
