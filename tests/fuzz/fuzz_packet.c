/** @file tests/fuzz/fuzz_packet.c  Any datagram on a media port */
#include <stdlib.h>

#include "proto/packet.h"
#include "proto/stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the first byte has to be for a kind, by RFC 7983. */
static int first_byte_fits(enum packet_kind kind, uint8_t first)
{
	switch (kind) {
	case PACKET_STUN:
		return first <= 3;
	case PACKET_ZRTP:
		return first >= 16 && first <= 19;
	case PACKET_DTLS:
		return first >= 20 && first <= 63;
	case PACKET_TURN_CHANNEL:
		return first >= 64 && first <= 79;
	case PACKET_RTP:
	case PACKET_RTCP:
		return first >= 128 && first <= 191;
	case PACKET_EMPTY:
		return 0;
	case PACKET_OTHER:
		break;
	}
	return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum packet_kind kind = packet_classify(data, size);
	struct stun_message stun;
	uint16_t seq;

	if ((kind == PACKET_EMPTY) != (size == 0))
		abort();
	if (size > 0 && !first_byte_fits(kind, data[0]))
		abort();
	if ((kind == PACKET_STUN) !=
	    (size > 0 && stun_decode(&stun, data, size) == 0 && data[0] <= 3))
		abort();
	if (udptl_seq(data, size, &seq) == 0 &&
	    (size < 3 || seq != (data[0] << 8 | data[1])))
		abort();
	return packet_kind_name(kind) == NULL;
}
