#include "proto/rtcp.h"

#include <errno.h>

int rtcp_header_decode(struct rtcp_header *ret, struct cursor *in)
{
	struct rtcp_header h = {0};
	size_t whole = cursor_left(in);
	uint8_t first = cursor_u8(in);

	h.padding = first & 0x20;
	h.count = first & 0x1f;
	h.type = cursor_u8(in);
	h.len = 4u * (cursor_be16(in) + 1u);
	h.sender_ssrc = cursor_be32(in);

	if (cursor_failed(in) || first >> 6 != 2 || h.type < 192 ||
	    h.type > 223 || h.len < 8 || h.len > whole)
		return -EBADMSG;

	*ret = h;
	return 0;
}
