#pragma once
/**
 * @file base/buf.h  A text that grows
 *
 * The first failed allocation sticks: everything after it does nothing, and
 * buf_failed() tells. So a text is built without a test at each step.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct buf {
	char *data; /* NUL-terminated once something was added */
	size_t len, size;
	bool failed;
};

/** Free what a buffer holds and make it empty. Usable with CLEANUP(). */
void buf_done(struct buf *buf);

/** Make it empty, keep the memory and forget a failure. */
void buf_reset(struct buf *buf);

void buf_add(struct buf *buf, struct span text);
void buf_char(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list args);

static inline bool buf_failed(const struct buf *buf)
{
	return buf->failed;
}

static inline struct span buf_span(const struct buf *buf)
{
	return span_make(buf->data, buf->len);
}
