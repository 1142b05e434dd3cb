#include "media/port_ice.h"

#include <stdlib.h>

#include "media/worker.h"

/** What is known of one port. */
struct side_facts {
	struct learning_known known[STREAM_KNOWN_MAX];
	struct learning_facts learning;
};

static void gather(struct side_facts *side, struct port *port, uint64_t now_us)
{
	side->learning = media_stream_facts(
		port, port->stream->worker->learning, side->known, now_us);
}

static struct ice_port ice_port(const struct port *port,
				const struct side_facts *side)
{
	const struct learning *l = &port->learning;

	return (struct ice_port){
		.sdp = &port->sdp,
		.sdp_usable = port->sdp_usable,
		.remote = &l->remote,
		.remote_rank = (enum learning_rank)l->rank,
		.heard_us = l->heard_us,
		.is_open = learning_is_open(l, &side->learning),
	};
}

static struct ice_facts facts_of(struct port *from,
				 const struct side_facts *side, uint64_t now_us)
{
	struct ice_facts facts = {.now_us = now_us};
	struct port *other = media_port_other(from);
	struct side_facts other_side;

	gather(&other_side, other, now_us);
	facts.port[from->party] = ice_port(from, side);
	facts.port[other->party] = ice_port(other, &other_side);
	return facts;
}

/* Most streams never see STUN on their port of RTCP, and many none at all. */
static struct ice *ice_of(struct port *port)
{
	struct ice **ice = &port->stream->ice[port->component];

	if (!*ice)
		*ice = calloc(1, sizeof(**ice));
	return *ice;
}

struct ice_verdict port_ice_stun(struct port *from,
				 const struct endpoint *source,
				 const void *data, size_t len, uint64_t now_us)
{
	struct ice_verdict refused = {.drop = DROP_STUN_REFUSED};
	struct ice *ice = ice_of(from);
	struct ice_message message;
	struct side_facts side;
	struct ice_facts facts;
	enum learning_rank rank;

	if (!ice || ice_message_read(&message, data, len) < 0)
		return refused;
	gather(&side, from, now_us);
	rank = learning_rank_of(&from->learning, &side.learning, source);
	if (rank == RANK_NONE)
		return refused;
	facts = facts_of(from, &side, now_us);
	return ice_stun(ice, &facts,
			&(struct ice_packet){.from = from->party,
					     .source = source,
					     .rank = rank,
					     .len = len,
					     .message = &message});
}

enum ice_media_verdict port_ice_media(struct port *from,
				      const struct endpoint *source,
				      const struct packet_facts *packet,
				      uint64_t now_us)
{
	struct ice *ice = from->stream->ice[from->component];
	enum ice_media_verdict verdict;
	struct side_facts side;
	struct ice_facts facts;
	enum learning_rank rank;

	if (!ice || !ice_remote(ice, from->party))
		return ICE_MEDIA_LEARN;
	gather(&side, from, now_us);
	rank = learning_rank_of(&from->learning, &side.learning, source);
	if (rank == RANK_NONE)
		return ICE_MEDIA_REFUSE;
	facts = facts_of(from, &side, now_us);
	verdict = ice_media(ice, &facts, from->party, source, rank);
	if (verdict != ICE_MEDIA_REFUSE ||
	    !learning_rebinds(&from->learning, &side.learning, source, packet))
		return verdict;
	ice_rebound(ice, &facts, from->party, source, rank);
	return ICE_MEDIA_HEAR;
}

/* The other party's agent has checked a strong one: that is as good as to be
 * known, and serves the other streams of the party too. */
static enum learning_rank rank_of_chosen(const struct ice_source *chosen)
{
	if (chosen->validity == ICE_STRONG && chosen->rank > RANK_KNOWN_IP)
		return RANK_KNOWN_IP;
	return (enum learning_rank)chosen->rank;
}

bool port_ice_choose(struct port *port, uint64_t now_us)
{
	const struct ice *ice = port->stream->ice[port->component];
	const struct ice_source *chosen =
		ice ? ice_remote(ice, port->party) : NULL;
	const struct learning_facts facts = {.now_us = now_us};

	return chosen &&
	       learning_set_remote(&port->learning, &facts, &chosen->endpoint,
				   rank_of_chosen(chosen), RULE_ICE);
}
