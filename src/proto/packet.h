#pragma once
/**
 * @file proto/packet.h  What kind of datagram is it?
 *
 * By the first byte, as RFC 7983 (and RFC 9443) says; RTP and RTCP are told
 * apart by the second, as RFC 5761, section 4. Everything is forwarded alike;
 * the kind decides how a source proves itself.
 */
#include <stddef.h>
#include <stdint.h>

enum packet_kind {
	PACKET_RTP,
	PACKET_RTCP,
	PACKET_STUN, /* the whole header holds, not the first byte alone */
	PACKET_DTLS, /* and DTLS-SRTP */
	PACKET_ZRTP, /* RFC 6189, with its magic cookie */
	PACKET_TURN_CHANNEL,
	PACKET_EMPTY, /* of no bytes: a keepalive */
	PACKET_OTHER  /* UDPTL (T.38), keepalives of a byte or four, ... */
};
#define PACKET_KIND_COUNT (PACKET_OTHER + 1)

enum packet_kind packet_classify(const void *data, size_t len);

/** "RTP", "RTCP", ... for logs and counters. */
const char *packet_kind_name(enum packet_kind kind);

/**
 * The sequence number of a UDPTL packet (T.38, 9.1): its first two bytes.
 *
 * @return 0, or -EBADMSG if it is too short for a primary field behind it
 */
int udptl_seq(const void *data, size_t len, uint16_t *ret_seq);
