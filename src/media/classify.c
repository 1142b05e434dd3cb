#include "media/classify.h"

#include "base/cursor.h"
#include "proto/rtcp.h"
#include "proto/rtp.h"

#define PAYLOAD_TYPE_CN 13     /* RFC 3389 */
#define PAYLOAD_TYPE_CN_OLD 19 /* reserved by RFC 3551, still sent */

static void read_rtp(struct packet_facts *facts, struct cursor in)
{
	struct rtp_header rtp;

	if (rtp_header_decode(&rtp, &in) < 0)
		return;
	facts->has_seq = true;
	facts->has_ssrc = true;
	facts->seq = rtp.seq;
	facts->ssrc = rtp.ssrc;
	facts->payload_type = rtp.payload_type;
	facts->single = cursor_left(&in) == 0 ||
			rtp.payload_type == PAYLOAD_TYPE_CN ||
			rtp.payload_type == PAYLOAD_TYPE_CN_OLD;
}

static void read_rtcp(struct packet_facts *facts, struct cursor in)
{
	struct rtcp_header rtcp;

	if (rtcp_header_decode(&rtcp, &in) < 0)
		return;
	facts->has_ssrc = true;
	facts->ssrc = rtcp.sender_ssrc;
}

static void read_udptl(struct packet_facts *facts, const void *data, size_t len)
{
	facts->has_seq = udptl_seq(data, len, &facts->seq) == 0;
	facts->single = true;
}

struct packet_facts packet_read_udptl(const void *data, size_t len)
{
	struct packet_facts facts = {.payload_type = -1};

	facts.kind = packet_classify(data, len);
	if (facts.kind == PACKET_STUN)
		return facts;
	if (facts.kind != PACKET_EMPTY)
		facts.kind = PACKET_OTHER;
	read_udptl(&facts, data, len);
	return facts;
}

struct packet_facts packet_read(const void *data, size_t len)
{
	struct packet_facts facts = {.payload_type = -1};

	facts.kind = packet_classify(data, len);
	switch (facts.kind) {
	case PACKET_RTP:
		read_rtp(&facts, cursor_over(data, len));
		break;
	case PACKET_RTCP:
		read_rtcp(&facts, cursor_over(data, len));
		break;
	case PACKET_STUN:
		break;
	case PACKET_OTHER:
		read_udptl(&facts, data, len);
		break;
	case PACKET_DTLS:
	case PACKET_ZRTP:
	case PACKET_TURN_CHANNEL:
	case PACKET_EMPTY:
		facts.single = true;
		break;
	}
	return facts;
}
