#pragma once
/**
 * @file proto/rtp.h  The header of an RTP packet (RFC 3550, section 5.1)
 *
 * Decoding only: a relay changes no byte of it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"

struct rtp_header {
	uint8_t payload_type; /* 0..127 */
	bool marker, padding, extension;
	uint8_t csrc_count;
	uint16_t seq;
	uint32_t timestamp, ssrc;
};

/**
 * Decode the header: the fixed part, the CSRC list and the header extension,
 * which all have to be there. The cursor stands at the payload afterwards;
 * padding is still behind it (rtp_padding_len()).
 *
 * @return 0, or -EBADMSG: version not 2, or too short for what it announces
 */
int rtp_header_decode(struct rtp_header *ret, struct cursor *in);

/**
 * How many bytes at the end of the payload are padding.
 *
 * @param payload  Where rtp_header_decode() has left it
 * @return 0, or -EBADMSG if the count is 0 or more than there is. An encrypted
 *         packet's padding is encrypted too, so a fault here proves nothing
 */
int rtp_padding_len(const struct rtp_header *header,
		    const struct cursor *payload, uint8_t *ret_len);
