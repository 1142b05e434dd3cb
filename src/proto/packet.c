#include "proto/packet.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "proto/stun.h"

#define RTP_MIN_LEN 12
#define RTCP_MIN_LEN 8
#define DTLS_MIN_LEN 13
#define TURN_CHANNEL_MIN_LEN 4
#define ZRTP_MIN_LEN 12
#define UDPTL_MIN_LEN 3

static bool is_zrtp(const uint8_t *data, size_t len)
{
	return len >= ZRTP_MIN_LEN && memcmp(data + 4, "ZRTP", 4) == 0;
}

/* DTLS 1.0 and 1.2 records, and the alerts and handshakes of 1.3, carry a
 * version that begins with 254. Only the records of DTLS 1.3 (RFC 9147, section
 * 4) have none; they begin with the bits 001. */
static bool is_dtls(const uint8_t *data, size_t len)
{
	if (data[0] >> 5 == 1)
		return true;
	return len >= DTLS_MIN_LEN && data[1] == 0xfe;
}

/*
 * The first byte alone would mistake UDPTL for anything: it begins with a
 * sequence number that counts up from 0. So each kind has to show more than
 * that.
 */
enum packet_kind packet_classify(const void *packet, size_t len)
{
	const uint8_t *data = packet;
	struct stun_message stun;

	if (len == 0)
		return PACKET_EMPTY;
	if (data[0] <= 3 && stun_decode(&stun, data, len) == 0)
		return PACKET_STUN;
	if (data[0] >= 16 && data[0] <= 19 && is_zrtp(data, len))
		return PACKET_ZRTP;
	if (data[0] >= 20 && data[0] <= 63 && is_dtls(data, len))
		return PACKET_DTLS;
	if (data[0] >= 64 && data[0] <= 79 && len >= TURN_CHANNEL_MIN_LEN)
		return PACKET_TURN_CHANNEL;
	if (data[0] >= 128 && data[0] <= 191 && len >= RTCP_MIN_LEN) {
		uint8_t payload_type = data[1] & 0x7f;

		if (payload_type >= 64 && payload_type <= 95)
			return PACKET_RTCP;
		if (len >= RTP_MIN_LEN)
			return PACKET_RTP;
	}
	return PACKET_OTHER;
}

const char *packet_kind_name(enum packet_kind kind)
{
	switch (kind) {
	case PACKET_RTP:
		return "RTP";
	case PACKET_RTCP:
		return "RTCP";
	case PACKET_STUN:
		return "STUN";
	case PACKET_DTLS:
		return "DTLS";
	case PACKET_ZRTP:
		return "ZRTP";
	case PACKET_TURN_CHANNEL:
		return "TURN channel";
	case PACKET_EMPTY:
		return "empty";
	case PACKET_OTHER:
		break;
	}
	return "other";
}

int udptl_seq(const void *packet, size_t len, uint16_t *ret_seq)
{
	const uint8_t *data = packet;

	if (len < UDPTL_MIN_LEN)
		return -EBADMSG;
	*ret_seq = (uint16_t)(data[0] << 8 | data[1]);
	return 0;
}
