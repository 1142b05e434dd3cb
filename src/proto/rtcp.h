#pragma once
/**
 * @file proto/rtcp.h  The first packet of an RTCP compound (RFC 3550, section
 * 6)
 *
 * Type and sender are in the clear in SRTCP as well (RFC 3711, section 3.4),
 * and are all that a relay needs. What follows in the compound is not read.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"

#define RTCP_SENDER_REPORT 200
#define RTCP_RECEIVER_REPORT 201
#define RTCP_SOURCE_DESCRIPTION 202
#define RTCP_BYE 203
#define RTCP_APP 204
#define RTCP_TRANSPORT_FEEDBACK 205
#define RTCP_PAYLOAD_FEEDBACK 206
#define RTCP_EXTENDED_REPORT 207

struct rtcp_header {
	uint8_t type;  /* 192..223 */
	uint8_t count; /* of reports, sources or a subtype */
	bool padding;
	size_t len; /* of this packet in bytes, header included */
	uint32_t sender_ssrc;
};

/**
 * Decode the first packet's header. Any type may come first, as reduced-size
 * RTCP (RFC 5506) allows. The cursor stands behind the sender's SSRC.
 *
 * @return 0, or -EBADMSG: version not 2, a type that is not RTCP's, shorter
 * than it announces, or without a sender (an SDES or BYE of no source)
 */
int rtcp_header_decode(struct rtcp_header *ret, struct cursor *in);
