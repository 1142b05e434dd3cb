#include "proto/rtp.h"

#include <errno.h>

int rtp_header_decode(struct rtp_header *ret, struct cursor *in)
{
	struct rtp_header h = {0};
	uint8_t first = cursor_u8(in);
	uint8_t second = cursor_u8(in);

	h.padding = first & 0x20;
	h.extension = first & 0x10;
	h.csrc_count = first & 0x0f;
	h.marker = second >> 7;
	h.payload_type = second & 0x7f;
	h.seq = cursor_be16(in);
	h.timestamp = cursor_be32(in);
	h.ssrc = cursor_be32(in);
	cursor_skip(in, 4u * h.csrc_count);
	if (h.extension) {
		cursor_skip(in, 2); /* defined by the profile */
		cursor_skip(in, 4u * cursor_be16(in));
	}

	if (cursor_failed(in) || first >> 6 != 2)
		return -EBADMSG;

	*ret = h;
	return 0;
}

int rtp_padding_len(const struct rtp_header *header,
		    const struct cursor *payload, uint8_t *ret_len)
{
	uint8_t len = 0;

	if (header->padding) {
		if (payload->left == 0)
			return -EBADMSG;
		len = payload->at[payload->left - 1];
		if (len == 0 || len > payload->left)
			return -EBADMSG;
	}
	*ret_len = len;
	return 0;
}
