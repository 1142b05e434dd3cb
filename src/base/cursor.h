#pragma once
/**
 * @file base/cursor.h  Reading binary data with a sticky error
 *
 * After a short read everything reads as zero; test cursor_failed() once.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const uint8_t *at;
	size_t left;
	bool failed;
};

static inline struct cursor cursor_over(const void *data, size_t len)
{
	return (struct cursor){data, len, false};
}

static inline bool cursor_failed(const struct cursor *c)
{
	return c->failed;
}

static inline size_t cursor_left(const struct cursor *c)
{
	return c->left;
}

/** Take len bytes; NULL on a short read. */
static inline const uint8_t *cursor_bytes(struct cursor *c, size_t len)
{
	const uint8_t *at = c->at;

	if (c->failed || c->left < len) {
		c->failed = true;
		c->left = 0;
		return NULL;
	}
	c->at += len;
	c->left -= len;
	return at;
}

static inline void cursor_skip(struct cursor *c, size_t len)
{
	(void)cursor_bytes(c, len);
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *b = cursor_bytes(c, 1);

	return b ? b[0] : 0;
}

static inline uint16_t cursor_be16(struct cursor *c)
{
	const uint8_t *b = cursor_bytes(c, 2);

	return (uint16_t)(b ? b[0] << 8 | b[1] : 0);
}

static inline uint32_t cursor_be32(struct cursor *c)
{
	const uint8_t *b = cursor_bytes(c, 4);

	return b ? (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
			       (uint32_t)b[2] << 8 | b[3]
		 : 0;
}
