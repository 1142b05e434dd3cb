/** @file tests/fuzz/fuzz_rtp.c  An RTP packet */
#include <stdlib.h>

#include "proto/rtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor in = cursor_over(data, size);
	struct rtp_header header;
	uint8_t padding;

	if (rtp_header_decode(&header, &in) < 0)
		return 0;
	/* The payload is what is left of the packet, to its end. */
	if (cursor_failed(&in) || in.at + in.left != data + size ||
	    size - in.left < 12u + 4u * header.csrc_count)
		abort();
	if (rtp_padding_len(&header, &in, &padding) == 0 &&
	    (padding > in.left || header.padding != (padding > 0)))
		abort();
	return 0;
}
