/** @file tests/fuzz/fuzz_radius.c  Whatever a record says, the request is a
 * packet of RADIUS; and whatever comes back is judged, and taken only as it was
 * signed */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "accounting/radius_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_packet(const struct radius_request *request)
{
	size_t at = RADIUS_HEADER_SIZE;

	require(request->len >= at && request->len <= RADIUS_MAX_PACKET);
	while (at < request->len) {
		require(at + 2 <= request->len);
		/* An empty value is left out. */
		require(request->bytes[at + 1] > 2);
		at += request->bytes[at + 1];
	}
	require(at == request->len);
}

/* libFuzzer sees the right signature where it is compared, and uses it. */
static void check_answer(const struct radius_request *request,
			 struct span datagram)
{
	const struct span secret = SPAN("secret");
	uint8_t bytes[RADIUS_MAX_PACKET];

	if (radius_response_judge(request, datagram, secret) !=
	    RADIUS_ANSWER_TAKEN)
		return;
	require(datagram.len >= RADIUS_HEADER_SIZE);
	if (datagram.len > sizeof(bytes))
		return;
	for (size_t at = 0; at < RADIUS_HEADER_SIZE; at++) {
		memcpy(bytes, datagram.ptr, datagram.len);
		bytes[at] ^= 0x80;
		require(radius_response_judge(request,
					      span_make(bytes, datagram.len),
					      secret) != RADIUS_ANSWER_TAKEN);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_make(data, size);
	struct radius_attributes attributes = {0};
	struct radius_code codes[RADIUS_NAME_COUNT];
	struct radius_request request;

	for (size_t i = 0; i < RADIUS_NAME_COUNT; i++)
		codes[i] = (struct radius_code){.vendor = i % 2 ? 0x1234 : 0,
						.type = (uint8_t)(i + 1)};
	(void)radius_attributes_of(&attributes, input);
	require(radius_request_encode(&request, &attributes, codes, 7,
				      SPAN("secret")) == 0);
	check_packet(&request);
	check_answer(&request, input);
	return 0;
}
