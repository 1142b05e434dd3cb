#include "media/learning.h"

static bool is_set(const struct endpoint *ep)
{
	return ip_is_set(&ep->ip);
}

/* Sequence numbers wrap; what is behind comes out as a huge step. */
static bool step_within(uint16_t from, uint16_t to, unsigned most)
{
	unsigned step = (uint16_t)(to - from);

	return step >= 1 && step <= most;
}

void learning_init(struct learning *l, enum component component)
{
	*l = (struct learning){.component = (uint8_t)component};
}

void learning_forget_candidates(struct learning *l)
{
	for (size_t i = 0; i < LEARNING_CANDIDATES; i++)
		l->candidates[i] = (struct learning_candidate){0};
}

static void forget_remote(struct learning *l)
{
	l->remote = (struct endpoint){0};
	l->rank = RANK_NONE;
	l->rule = RULE_NONE;
	l->has_ssrc = false;
	l->has_udptl_seq = false;
}

void learning_sdp_changed(struct learning *l, const struct endpoint *before,
			  const struct endpoint *after, uint64_t now_us)
{
	if (is_set(&l->remote)) {
		l->replaced[l->replaced_next] =
			(struct learning_replaced){l->remote, *before};
		l->replaced_next =
			(uint8_t)((l->replaced_next + 1) % LEARNING_REPLACED);
	}
	for (size_t i = 0; i < LEARNING_REPLACED; i++)
		if (endpoint_equal(&l->replaced[i].sdp, after))
			l->replaced[i] = (struct learning_replaced){0};
	forget_remote(l);
	learning_forget_candidates(l);
	l->changed_us = now_us;
}

void learning_end_ice(struct learning *l)
{
	if (l->rule == RULE_ICE)
		l->rule = RULE_KNOWN_IP;
}

/* RTCP comes every few seconds. A remote of which nothing came for much longer
 * is not worth sending to. */
static void forget_silent_rtcp(struct learning *l,
			       const struct learning_config *config,
			       uint64_t now_us)
{
	/* Whom ICE has checked, ICE watches. */
	if (l->component == COMPONENT_RTCP && is_set(&l->remote) &&
	    l->rule != RULE_ICE &&
	    now_us >= l->heard_us + config->rtcp_forget_us)
		forget_remote(l);
}

static void note_rtp(struct learning *l, const struct packet_facts *packet)
{
	bool newer = (int16_t)(packet->seq - l->seq) > 0;

	if (!l->has_ssrc || l->ssrc != packet->ssrc || newer)
		l->seq = packet->seq;
	l->has_ssrc = true;
	l->has_udptl_seq = false;
	l->ssrc = packet->ssrc;
}

static void note_udptl(struct learning *l, const struct packet_facts *packet)
{
	bool newer = (int16_t)(packet->seq - l->seq) > 0;

	if (!l->has_udptl_seq || newer)
		l->seq = packet->seq;
	l->has_udptl_seq = true;
}

static void note_heard(struct learning *l, const struct packet_facts *packet,
		       uint64_t now_us)
{
	l->heard_us = now_us;
	if (packet->kind == PACKET_RTP && packet->has_ssrc)
		note_rtp(l, packet);
	else if (packet->kind == PACKET_OTHER && packet->has_seq &&
		 !l->has_ssrc) /* not a keepalive among RTP */
		note_udptl(l, packet);
}

bool learning_hear(struct learning *l, const struct learning_config *config,
		   const struct endpoint *source,
		   const struct packet_facts *packet, uint64_t now_us)
{
	if (!endpoint_equal(&l->remote, source))
		return false;
	forget_silent_rtcp(l, config, now_us);
	if (!is_set(&l->remote))
		return false;
	if (packet->kind != PACKET_STUN)
		note_heard(l, packet, now_us);
	return true;
}

void learning_hear_from_engine(struct learning *l,
			       const struct learning_heard *heard)
{
	const struct packet_facts packet = {
		.kind = heard->has_ssrc ? PACKET_RTP : PACKET_OTHER,
		.has_ssrc = heard->has_ssrc,
		.has_seq = heard->has_ssrc || heard->has_udptl_seq,
		.seq = heard->seq,
		.ssrc = heard->ssrc,
	};

	if (is_set(&l->remote) && heard->heard_us > l->heard_us)
		note_heard(l, &packet, heard->heard_us);
}

static bool is_replaced(const struct learning *l, const struct endpoint *source)
{
	for (size_t i = 0; i < LEARNING_REPLACED; i++)
		if (endpoint_equal(&l->replaced[i].remote, source))
			return true;
	return false;
}

static enum learning_rank rank_of(const struct learning *l,
				  const struct learning_facts *facts,
				  const struct endpoint *source)
{
	enum learning_rank rank = RANK_STRANGER;

	if (endpoint_equal(facts->sdp, source))
		return RANK_SDP;
	if (is_replaced(l, source))
		return RANK_STRANGER;
	if (ip_equal(&facts->sdp->ip, &source->ip))
		return RANK_KNOWN_IP;
	for (size_t i = 0; i < facts->known_count; i++)
		if (facts->known[i].rank < rank &&
		    ip_equal(&facts->known[i].ip, &source->ip))
			rank = facts->known[i].rank;
	return rank;
}

bool learning_is_stranger(const struct learning *l,
			  const struct learning_facts *facts,
			  const struct endpoint *source,
			  const struct packet_facts *packet)
{
	if (packet->has_ssrc &&
	    ((l->has_ssrc && l->ssrc == packet->ssrc) ||
	     (facts->has_rtp_ssrc && facts->rtp_ssrc == packet->ssrc)))
		return false;
	return rank_of(l, facts, source) == RANK_STRANGER;
}

static struct learning_decision drop(enum media_drop why)
{
	return (struct learning_decision){LEARNING_DROP, RULE_NONE, why};
}

static struct learning_decision confirm(struct learning *l,
					const struct learning_facts *facts,
					const struct endpoint *source,
					enum learning_rank rank,
					enum learning_rule rule)
{
	learning_forget_candidates(l);
	forget_remote(l);
	l->remote = *source;
	l->rank = (uint8_t)rank;
	l->rule = (uint8_t)rule;
	l->heard_us = facts->now_us;
	return (struct learning_decision){LEARNING_CONFIRM, rule, DROP_COUNT};
}

/* Does a packet go on where the silent remote stopped? */
static bool goes_on(const struct learning *l,
		    const struct learning_facts *facts,
		    const struct endpoint *source, enum learning_rank rank,
		    const struct packet_facts *packet)
{
	if (facts->now_us < l->heard_us + facts->config->rebind_silence_us)
		return false;
	switch (packet->kind) {
	case PACKET_RTP:
		return l->has_ssrc && packet->has_ssrc &&
		       l->ssrc == packet->ssrc &&
		       step_within(l->seq, packet->seq, LEARNING_REBIND_STEP);
	case PACKET_RTCP:
		/* No sequence here: it follows its RTP, which moved first. */
		return l->component == COMPONENT_RTCP && rank < RANK_STRANGER &&
		       facts->has_rtp_ssrc && packet->has_ssrc &&
		       packet->ssrc == facts->rtp_ssrc;
	case PACKET_OTHER:
		return l->has_udptl_seq && packet->has_seq &&
		       ip_equal(&l->remote.ip, &source->ip) &&
		       step_within(l->seq, packet->seq, LEARNING_REBIND_STEP);
	default:
		return false;
	}
}

/* A better rank takes the place of a worse one. But a stranger that proved
 * itself elsewhere, at a port where the party is silent perhaps, is no better
 * than one that did so here. */
static bool may_displace(const struct learning *l, enum learning_rank rank)
{
	return rank < l->rank && rank != RANK_PROVED_IP;
}

/* ---- what ICE asks of it ---- */

enum learning_rank learning_rank_of(const struct learning *l,
				    const struct learning_facts *facts,
				    const struct endpoint *source)
{
	if (source->port == 0 || learning_is_refused(facts->config, &source->ip,
						     facts->local_is_loopback))
		return RANK_NONE;
	return rank_of(l, facts, source);
}

bool learning_set_remote(struct learning *l, const struct learning_facts *facts,
			 const struct endpoint *source, enum learning_rank rank,
			 enum learning_rule rule)
{
	bool changes =
		!endpoint_equal(&l->remote, source) || l->rule != (uint8_t)rule;

	if (!endpoint_equal(&l->remote, source))
		confirm(l, facts, source, rank, rule);
	l->rank = (uint8_t)rank;
	l->rule = (uint8_t)rule;
	return changes;
}

static bool may_rebind(const struct learning *l,
		       const struct learning_facts *facts,
		       const struct endpoint *source, enum learning_rank rank,
		       const struct packet_facts *packet)
{
	if (facts->config->mode == LEARNING_STRICT && rank == RANK_STRANGER)
		return false;
	return goes_on(l, facts, source, rank, packet);
}

/* A NAT forgets a mapping while a call is on hold, and a phone may begin anew
 * with another SSRC. The SDP that ends the hold names the address that it named
 * before. So who speaks first from a known IP address may be heard, if the
 * remote was not since then; where a stranger proved itself, only if that was
 * this remote. */
static bool comes_back(const struct learning *l,
		       const struct learning_facts *facts,
		       const struct endpoint *source, enum learning_rank rank)
{
	bool known =
		rank <= RANK_KNOWN_IP || (rank == RANK_PROVED_IP &&
					  ip_equal(&l->remote.ip, &source->ip));

	return known && facts->resumed_us > l->heard_us &&
	       facts->now_us >= l->heard_us + facts->config->rebind_silence_us;
}

static uint64_t opens_at(const struct learning *l,
			 const struct learning_facts *facts)
{
	uint64_t from = facts->opened_us > l->changed_us ? facts->opened_us
							 : l->changed_us;

	return from + facts->config->settle_us;
}

bool learning_is_open(const struct learning *l,
		      const struct learning_facts *facts)
{
	return facts->config->mode != LEARNING_STRICT &&
	       facts->opened_us != 0 && facts->now_us >= opens_at(l, facts);
}

bool learning_rebinds(const struct learning *l,
		      const struct learning_facts *facts,
		      const struct endpoint *source,
		      const struct packet_facts *packet)
{
	return ip_is_set(&l->remote.ip) &&
	       may_rebind(l, facts, source, rank_of(l, facts, source), packet);
}

static struct learning_candidate *find_candidate(struct learning *l,
						 const struct endpoint *source)
{
	for (size_t i = 0; i < LEARNING_CANDIDATES; i++)
		if (endpoint_equal(&l->candidates[i].source, source))
			return &l->candidates[i];
	return NULL;
}

bool learning_is_candidate(const struct learning *l,
			   const struct endpoint *source)
{
	for (size_t i = 0; i < LEARNING_CANDIDATES; i++)
		if (endpoint_equal(&l->candidates[i].source, source))
			return true;
	return false;
}

/* Whose place a newcomer takes: that of one which fell silent, else of one that
 * has proved least. A spray of single packets pushes nobody out who is in the
 * middle of a proof. */
static unsigned worth(const struct learning_candidate *c,
		      const struct learning_facts *facts)
{
	if (facts->now_us >= c->seen_us + facts->config->settle_us)
		return 0;
	return 1u + c->run;
}

static struct learning_candidate *
add_candidate(struct learning *l, const struct learning_facts *facts,
	      const struct endpoint *source)
{
	struct learning_candidate *slot = &l->candidates[0];

	for (size_t i = 1; i < LEARNING_CANDIDATES; i++) {
		struct learning_candidate *c = &l->candidates[i];
		unsigned here = worth(c, facts), there = worth(slot, facts);

		if (here < there ||
		    (here == there && c->seen_us < slot->seen_us))
			slot = c;
	}
	*slot = (struct learning_candidate){.source = *source};
	return slot;
}

/* Had nobody else sent anything for settle_us? If so, one packet may speak for
 * this candidate; and it silences the claims of all others in any case. Those
 * pushed out of their slots need no look: they had been silent for settle_us,
 * or all others had not. */
static bool is_alone(struct learning *l, const struct learning_candidate *c,
		     const struct learning_facts *facts)
{
	uint64_t settle_us = facts->config->settle_us;
	bool alone = true;

	for (size_t i = 0; i < LEARNING_CANDIDATES; i++) {
		struct learning_candidate *other = &l->candidates[i];

		if (other == c || !is_set(&other->source))
			continue;
		other->alone_us = 0;
		if (facts->now_us < other->seen_us + settle_us)
			alone = false;
	}
	return alone;
}

static void count_run(struct learning_candidate *c,
		      const struct packet_facts *packet)
{
	bool goes_on_here =
		c->run > 0 && c->ssrc == packet->ssrc &&
		step_within(c->seq, packet->seq, LEARNING_PROOF_STEP);

	if (!goes_on_here)
		c->run = 0;
	if (c->run < UINT8_MAX)
		c->run++;
	c->ssrc = packet->ssrc;
	c->seq = packet->seq;
}

static bool claim_holds(const struct learning_candidate *c,
			const struct learning_facts *facts)
{
	return c->alone_us != 0 &&
	       facts->now_us >= c->alone_us + facts->config->settle_us;
}

static struct learning_decision try_proof(struct learning *l,
					  const struct learning_facts *facts,
					  const struct endpoint *source,
					  const struct packet_facts *packet)
{
	struct learning_candidate *c;
	bool alone;

	if (packet->kind == PACKET_RTCP) {
		if (facts->has_rtp_ssrc && packet->has_ssrc &&
		    packet->ssrc == facts->rtp_ssrc)
			return confirm(l, facts, source, RANK_STRANGER,
				       RULE_PROVED);
		return drop(DROP_NOT_PROVED);
	}
	if (l->component == COMPONENT_RTCP)
		return drop(DROP_NOT_PROVED);

	c = find_candidate(l, source);
	if (!c)
		c = add_candidate(l, facts, source);
	alone = is_alone(l, c, facts);
	c->seen_us = facts->now_us;
	if (packet->kind == PACKET_RTP && packet->has_ssrc)
		count_run(c, packet);
	if (packet->single && alone && c->alone_us == 0)
		c->alone_us = facts->now_us;
	if (c->run >= facts->config->probation_packets || claim_holds(c, facts))
		return confirm(l, facts, source, RANK_STRANGER, RULE_PROVED);
	return (struct learning_decision){LEARNING_HOLD, RULE_NONE, DROP_COUNT};
}

static struct learning_decision
judge_stranger(struct learning *l, const struct learning_facts *facts,
	       const struct endpoint *source, const struct packet_facts *packet)
{
	if (facts->config->mode == LEARNING_STRICT)
		return drop(DROP_STRICT);
	if (facts->opened_us == 0 || facts->now_us < opens_at(l, facts))
		return drop(DROP_NOT_OPEN);
	if (packet->kind == PACKET_STUN)
		return drop(DROP_NOT_PROVED);
	return try_proof(l, facts, source, packet);
}

/* The original's rule; but what new SDP has replaced is let back in only when
 * the new address had its time to speak. */
static struct learning_decision
judge_first_packet(struct learning *l, const struct learning_facts *facts,
		   const struct endpoint *source, enum learning_rank rank)
{
	bool too_early =
		is_replaced(l, source) && rank != RANK_SDP &&
		facts->now_us < l->changed_us + facts->config->settle_us;

	if (too_early)
		return drop(DROP_NOT_OPEN);
	return confirm(l, facts, source, rank, RULE_FIRST_PACKET);
}

static struct learning_decision decide(struct learning *l,
				       const struct learning_facts *facts,
				       const struct endpoint *source,
				       const struct packet_facts *packet)
{
	enum learning_rank rank = rank_of(l, facts, source);
	bool first_packet = facts->config->mode == LEARNING_FIRST_PACKET;
	bool settled = is_set(&l->remote);

	if (packet->kind == PACKET_STUN && rank < RANK_STRANGER)
		return (struct learning_decision){LEARNING_PASS, RULE_NONE,
						  DROP_COUNT};
	if (packet->kind == PACKET_STUN && settled)
		return drop(DROP_NOT_THE_REMOTE);
	if (packet->kind == PACKET_STUN && first_packet)
		return drop(DROP_NOT_PROVED);
	if (!settled && first_packet)
		return judge_first_packet(l, facts, source, rank);
	if (!first_packet && rank < RANK_STRANGER &&
	    (!settled || may_displace(l, rank)))
		return confirm(l, facts, source, rank,
			       rank == RANK_SDP ? RULE_SDP : RULE_KNOWN_IP);
	if (settled && may_rebind(l, facts, source, rank, packet))
		return confirm(l, facts, source, rank, RULE_REBIND);
	if (settled && comes_back(l, facts, source, rank))
		return confirm(l, facts, source, rank, RULE_KNOWN_IP);
	if (settled)
		return drop(DROP_NOT_THE_REMOTE);
	return judge_stranger(l, facts, source, packet);
}

struct learning_decision learning_judge(struct learning *l,
					const struct learning_facts *facts,
					const struct endpoint *source,
					const struct packet_facts *packet)
{
	struct learning_decision decision;

	if (learning_hear(l, facts->config, source, packet, facts->now_us))
		return (struct learning_decision){LEARNING_HEAR, RULE_NONE,
						  DROP_COUNT};
	forget_silent_rtcp(l, facts->config, facts->now_us);
	if (source->port == 0 || learning_is_refused(facts->config, &source->ip,
						     facts->local_is_loopback))
		return drop(DROP_NOT_THE_REMOTE);

	decision = decide(l, facts, source, packet);
	if (decision.verdict == LEARNING_CONFIRM)
		note_heard(l, packet, facts->now_us);
	return decision;
}

bool learning_follow_rtp(struct learning *rtcp, const struct learning *rtp)
{
	if (!is_set(&rtcp->remote) || rtcp->rank <= RANK_KNOWN_IP ||
	    rtp->rank > RANK_KNOWN_IP || !is_set(&rtp->remote) ||
	    ip_equal(&rtcp->remote.ip, &rtp->remote.ip))
		return false;
	forget_remote(rtcp);
	return true;
}

bool learning_is_waiting(const struct learning *l)
{
	for (size_t i = 0; i < LEARNING_CANDIDATES; i++)
		if (is_set(&l->candidates[i].source))
			return true;
	return false;
}

bool learning_tick(struct learning *l, const struct learning_facts *facts)
{
	uint64_t settle_us = facts->config->settle_us;
	uint64_t forget_us = settle_us > LEARNING_CANDIDATE_US
				     ? settle_us
				     : LEARNING_CANDIDATE_US;

	for (size_t i = 0; i < LEARNING_CANDIDATES; i++) {
		struct learning_candidate *c = &l->candidates[i];
		struct endpoint source = c->source;

		if (!is_set(&source))
			continue;
		if (claim_holds(c, facts)) {
			confirm(l, facts, &source, RANK_STRANGER, RULE_PROVED);
			return true;
		}
		if (facts->now_us >= c->seen_us + forget_us)
			*c = (struct learning_candidate){0};
	}
	return false;
}

const struct endpoint *
learning_destination(struct learning *l, const struct learning_config *config,
		     const struct endpoint *sdp, bool sdp_usable,
		     uint64_t now_us)
{
	forget_silent_rtcp(l, config, now_us);
	if (is_set(&l->remote))
		return &l->remote;
	return sdp_usable ? sdp : NULL;
}
