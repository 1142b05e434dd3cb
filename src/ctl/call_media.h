#pragma once
/**
 * @file ctl/call_media.h  The two phones of a test call: sockets, packets, what
 * arrived
 *
 * Each stream has, for each party, a socket for RTP on an even port and one for
 * RTCP on the next (RFC 3550, section 11). Every packet carries who sent it,
 * its number and when, so that loss, doubles, order and delay of each flow are
 * known exactly; sender and receiver share a clock.
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "ctl/distribution.h"
#include "proto/party.h"

#define CALL_PACKET_BYTES 172 /* 20 ms of G.711: RTP header and 160 bytes */
#define CALL_INTERVAL_US 20000
#define CALL_PACKETS_PER_S 50
#define CALL_MAX_SECONDS 3600

/** One direction of one component of one stream. */
struct call_flow {
	uint64_t sent, received; /* received: each packet once */
	uint64_t duplicated, out_of_order;
	uint64_t damaged;   /* not what was sent */
	uint64_t misrouted; /* from another address than the relay's for it */
	uint64_t unsent;    /* send() failed: not in sent */
	uint8_t *seen;      /* a flag for each number */
	uint64_t highest;   /* of the numbers that arrived, plus 1 */
	struct distribution delay_us;
};

struct call_media;

/**
 * Open the sockets of all streams.
 *
 * @param packets  How many RTP packets call_media_run() sends on each stream,
 * each way
 * @return 0, -ENOMEM, -EADDRNOTAVAIL (the address is not ours) or another
 * negative errno
 */
int call_media_new(struct call_media **ret, const struct ip_addr *ip,
		   size_t streams, unsigned packets);
struct call_media *call_media_free(struct call_media *media);

/** The RTP port of a party, for its SDP. */
uint16_t call_media_port(const struct call_media *media, size_t stream,
			 enum party party);

/** Where a party sends the RTP of a stream, and hears from; port 0: rejected.
 */
void call_media_set_relay(struct call_media *media, size_t stream,
			  enum party party, const struct endpoint *rtp);

/** Send both ways, receive, and wait for the last packets. *stop ends it early.
 */
int call_media_run(struct call_media *media, const volatile sig_atomic_t *stop);

/** What became of the packets of a party. */
const struct call_flow *call_media_flow(const struct call_media *media,
					size_t stream, enum party from,
					enum component component);

/** Did every packet of every flow arrive, whole, from where it should? */
bool call_media_is_complete(const struct call_media *media);
