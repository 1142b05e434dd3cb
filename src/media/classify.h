#pragma once
/**
 * @file media/classify.h  What learning wants to know of a datagram
 *
 * Pure; reads at most the headers of RTP or RTCP.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/packet.h"

struct packet_facts {
	enum packet_kind kind;
	bool has_seq;         /* RTP and UDPTL */
	bool has_ssrc;        /* RTP and RTCP */
	bool single;          /* proves itself by one packet: see below */
	int16_t payload_type; /* RTP; -1 for others */
	uint16_t seq;
	uint32_t ssrc;
};

/**
 * Read the facts of a datagram. It may be of any length, 0 included.
 *
 * single: DTLS, ZRTP, UDPTL and everything else that nobody knows, keepalives
 * (no bytes, or RTP without payload, RFC 6263) and comfort noise (RFC 3389): a
 * party may send just one of these and then wait for the other.
 */
struct packet_facts packet_read(const void *data, size_t len);

/** The same on a stream of T.38: all but STUN is UDPTL, whatever its sequence
 * number looks like. */
struct packet_facts packet_read_udptl(const void *data, size_t len);
