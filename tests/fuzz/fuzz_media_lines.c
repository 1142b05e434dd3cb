/** @file tests/fuzz/fuzz_media_lines.c  A media header: what is read writes,
 * and reads back the same */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "proto/update.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(struct buf *out, const struct media_line *line)
{
	static const char *const directions[] = {
		[DIRECTION_SENDRECV] = "sendrecv",
		[DIRECTION_SENDONLY] = "sendonly",
		[DIRECTION_RECVONLY] = "recvonly",
		[DIRECTION_INACTIVE] = "inactive",
	};
	char ip[ADDR_TEXT_SIZE];

	buf_printf(out, "%.*s:%s:%u:%s:ice=%s", SPAN_ARG(line->type),
		   ip_format(&line->sdp.ip, ip), line->sdp.port,
		   directions[line->direction], line->ice ? "yes" : "no");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct media_line first[UPDATE_MAX_STREAMS];
	static struct media_line second[UPDATE_MAX_STREAMS];
	CLEANUP(buf_done) struct buf out = {0};
	size_t count = 0, again = 0;

	if (media_lines_decode(span_make(data, size), first, &count) < 0)
		return 0;
	if (count == 0 || count > UPDATE_MAX_STREAMS)
		abort();
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_char(&out, ',');
		encode(&out, &first[i]);
	}
	if (media_lines_decode(buf_span(&out), second, &again) < 0 ||
	    again != count)
		abort();
	for (size_t i = 0; i < count; i++)
		if (!span_equal(first[i].type, second[i].type) ||
		    !endpoint_equal(&first[i].sdp, &second[i].sdp) ||
		    first[i].direction != second[i].direction ||
		    first[i].ice != second[i].ice)
			abort();
	return 0;
}
