#pragma once
/**
 * @file media/ice.h  Whose checks succeeded: ICE through a relay candidate
 *
 * RFC 8445, RFC 8489, RFC 7675. The agents of both parties have our ports as a
 * relay candidate and check them; we are a TURN server without a login. We do
 * not know their passwords and compute nothing: what we know of a check is who
 * asked, whom we passed it on to, and who answered. A source is *valid* when
 * its request with integrity drew a success response with integrity from the
 * other party, whose agent has checked it.
 *
 * Pure: facts in, verdict out; no I/O, no allocation, no clock. One struct ice
 * for one component of a stream, both ports of it. docs/media.md has the rules
 * as a table.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "media/ice_message.h"
#include "media/ice_table.h"
#include "media/learning.h"
#include "proto/party.h"

/** Of two valid sources that both send media, the one that packets go to
 * changes only after such a silence. */
#define ICE_MOVE_US 100000u
/** A valid source that has sent no media for so long gives way to the next one
 * that is acknowledged. */
#define ICE_SILENT_US 1000000u
/** After an ICE restart the old sources are heard until the new ones speak, and
 * no longer than this. */
#define ICE_OLD_US 3000000u

/** What the rest of the relay knows about a port. */
struct ice_port {
	const struct endpoint *sdp;    /* of this component; may be unset */
	bool sdp_usable;               /* learning_sdp_is_usable() */
	const struct endpoint *remote; /* learning's; may be unset */
	enum learning_rank remote_rank;
	uint64_t heard_us; /* the remote's latest packet, STUN excepted */
	bool is_open;      /* strangers may be believed */
};

struct ice_facts {
	struct ice_port port[PARTY_COUNT];
	uint64_t now_us;
};

/** One STUN packet. */
struct ice_packet {
	enum party from; /* whose port it came to */
	const struct endpoint *source;
	enum learning_rank rank;
	size_t len; /* of the datagram */
	const struct ice_message *message;
};

/** Where it is sent, by the other party's port; nowhere: why. */
struct ice_verdict {
	size_t count;
	struct endpoint to[ICE_SOURCES];
	enum media_drop drop;
};

/** Judge a STUN packet. ice_remote() of both ports may be another one then. */
struct ice_verdict ice_stun(struct ice *ice, const struct ice_facts *facts,
			    const struct ice_packet *packet);

enum ice_media_verdict {
	ICE_MEDIA_LEARN, /* no source is valid here: learning decides */
	ICE_MEDIA_HEAR,  /* of a valid source: forward it */
	ICE_MEDIA_REFUSE /* of another one */
};

/** Judge a packet that is not STUN and not of the remote. ice_remote() of this
 * port may be another one then. */
enum ice_media_verdict ice_media(struct ice *ice, const struct ice_facts *facts,
				 enum party from, const struct endpoint *source,
				 enum learning_rank rank);

/** The media of the chosen source goes on from here (a NAT that rebinds): it
 * takes its place. Only where ice_media() said ICE_MEDIA_REFUSE. */
void ice_rebound(struct ice *ice, const struct ice_facts *facts,
		 enum party from, const struct endpoint *source,
		 enum learning_rank rank);

/** Where packets for this party go. @return NULL: no source is valid, learning
 * decides */
const struct ice_source *ice_remote(const struct ice *ice, enum party party);

bool ice_is_valid(const struct ice *ice, enum party party,
		  const struct endpoint *source);

/** No source of this party is valid any more. */
void ice_forget(struct ice *ice, enum party party);

/** New SDP named another address of this party. Valid sources stay so until a
 * check of a new generation succeeds. */
void ice_sdp_changed(struct ice *ice, enum party party);
