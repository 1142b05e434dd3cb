/** @file tests/fuzz/fuzz_link.c  What a relay says of itself, and what a
 * dispatcher can */
#include <stdlib.h>

#include "base/cleanup.h"
#include "link/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_hello(struct span text)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct link_hello hello, again;

	if (link_hello_decode(text, &hello) < 0)
		return;
	if (!memchr(hello.name, '\0', sizeof(hello.name)) ||
	    !memchr(hello.version, '\0', sizeof(hello.version)))
		abort();
	/* What was read writes, and reads back the same. A text that was cut
	 * inside a character grows when it is written: not that one. */
	link_hello_encode(&out, &hello);
	if (strlen(hello.name) > 20 || strlen(hello.version) > 20)
		return;
	if (link_hello_decode(buf_span(&out), &again) < 0 ||
	    again.features != hello.features ||
	    strcmp(again.name, hello.name) != 0)
		abort();
}

static void check_features(struct span text)
{
	CLEANUP(buf_done) struct buf out = {0};
	unsigned features = link_features_decode(text);

	link_features_encode(&out, features);
	if (link_features_decode(buf_span(&out)) != features)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_hello(span_make(data, size));
	check_features(span_make(data, size));
	return 0;
}
