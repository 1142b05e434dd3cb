#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

void buf_done(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){0};
}

void buf_reset(struct buf *buf)
{
	buf->len = 0;
	buf->failed = false;
	if (buf->data)
		buf->data[0] = '\0';
}

/* Room for more bytes and a NUL behind them. */
static bool reserve(struct buf *buf, size_t more)
{
	size_t size = buf->size ? buf->size : 256;
	char *data;

	if (buf->failed)
		return false;
	if (more < buf->size - buf->len)
		return true;
	/* Doubling has to end somewhere. */
	if (more > SIZE_MAX / 4 || buf->len > SIZE_MAX / 4) {
		buf->failed = true;
		return false;
	}
	while (size <= buf->len + more)
		size *= 2;
	data = realloc(buf->data, size);
	if (!data) {
		buf->failed = true;
		return false;
	}
	buf->data = data;
	buf->size = size;
	return true;
}

void buf_add(struct buf *buf, struct span text)
{
	if (text.len == 0 || !reserve(buf, text.len))
		return;
	memcpy(buf->data + buf->len, text.ptr, text.len);
	buf->len += text.len;
	buf->data[buf->len] = '\0';
}

void buf_char(struct buf *buf, char c)
{
	buf_add(buf, span_make(&c, 1));
}

void buf_vprintf(struct buf *buf, const char *format, va_list args)
{
	va_list again;
	int len;

	if (!reserve(buf, 64))
		return;
	va_copy(again, args);
	len = vsnprintf(buf->data + buf->len, buf->size - buf->len, format,
			args);
	if (len >= 0 && (size_t)len >= buf->size - buf->len) {
		buf->data[buf->len] = '\0';
		if (reserve(buf, (size_t)len))
			vsnprintf(buf->data + buf->len, (size_t)len + 1, format,
				  again);
		else
			len = -1;
	}
	if (len > 0)
		buf->len += (size_t)len;
	va_end(again);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_vprintf(buf, format, args);
	va_end(args);
}
