/** @file tests/fuzz/fuzz_rtcp.c  An RTCP compound */
#include <stdlib.h>

#include "proto/rtcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor in = cursor_over(data, size);
	struct rtcp_header header;

	if (rtcp_header_decode(&header, &in) < 0)
		return 0;
	if (cursor_failed(&in) || in.left != size - 8 || header.len > size ||
	    header.len < 8 || header.len % 4 != 0)
		abort();
	return 0;
}
