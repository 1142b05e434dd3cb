#include "accounting/database/reason.h"

#include "base/cleanup.h"

/* As odbc_string.c writes it. */
static void add_doubled(struct buf *out, const char *password)
{
	for (; *password; password++) {
		buf_char(out, *password);
		if (*password == '}')
			buf_char(out, '}');
	}
}

static bool begins(struct span message, size_t at, struct span word)
{
	return word.len > 0 &&
	       span_starts_with(span_make(message.ptr + at, message.len - at),
				word);
}

void reason_add(struct buf *out, struct span message, const char *password)
{
	CLEANUP(buf_done) struct buf doubled = {0};
	struct span plain = span_of(password);
	size_t at = 0;

	add_doubled(&doubled, password);
	while (at < message.len) {
		char c = message.ptr[at];
		size_t len = begins(message, at, buf_span(&doubled))
				     ? doubled.len
			     : begins(message, at, plain) ? plain.len
							  : 0;

		if (len > 0) {
			buf_add(out, SPAN("***"));
			at += len;
			continue;
		}
		buf_char(out, c >= 0 && c < ' ' ? ' ' : c);
		at++;
	}
}
