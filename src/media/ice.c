#include "media/ice.h"

#include <string.h>

/* Better is more; 0: not valid. */
static unsigned level(const struct ice *ice, const struct ice_source *source)
{
	return source->validity * 2u +
	       (source->validity != ICE_NOT_VALID && ice_is_fresh(ice, source));
}

/* ---- who is valid ---- */

/* Has somebody of rank 1 or 2 spoken here? Then strangers are not believed. */
static bool known_has_spoken(const struct ice_side *side,
			     const struct ice_port *port)
{
	return side->known_spoke ||
	       (!side->moved && ip_is_set(&port->remote->ip) &&
		ice_is_known(port->remote_rank));
}

static void choose(struct ice_side *side, const struct ice_source *source,
		   uint64_t now_us)
{
	side->chosen = ice_slot(side, source);
	side->chosen_us = now_us;
}

/* One is chosen as long as any is valid. */
static void choose_best(const struct ice *ice, struct ice_side *side,
			uint64_t now_us)
{
	const struct ice_source *best = &side->sources[0];

	for (size_t i = 1; i < ICE_SOURCES; i++)
		if (level(ice, &side->sources[i]) > level(ice, best))
			best = &side->sources[i];
	side->chosen = 0;
	if (best->validity != ICE_NOT_VALID)
		choose(side, best, now_us);
}

static void invalidate(const struct ice *ice, struct ice_side *side,
		       struct ice_source *source, uint64_t now_us)
{
	bool was_chosen = ice_is_chosen(side, source);

	source->validity = ICE_NOT_VALID;
	source->credit = 0;
	if (was_chosen)
		choose_best(ice, side, now_us);
}

static bool has_strong(const struct ice_side *side)
{
	for (size_t i = 0; i < ICE_SOURCES; i++)
		if (side->sources[i].validity == ICE_STRONG)
			return true;
	return false;
}

/* What rests on the word of a stranger ends when there is something better. */
static void drop_weak(const struct ice *ice, struct ice_side *side,
		      bool known_spoke, uint64_t now_us)
{
	bool strong = has_strong(side);

	for (size_t i = 0; i < ICE_SOURCES; i++) {
		struct ice_source *s = &side->sources[i];

		if (s->validity == ICE_WEAK &&
		    (strong || (known_spoke &&
				!ice_is_known((enum learning_rank)s->rank))))
			invalidate(ice, side, s, now_us);
	}
}

/* Somebody of rank 1 or 2 speaks, by STUN or by media. */
static void note_known(const struct ice *ice, struct ice_side *side,
		       uint64_t now_us)
{
	if (side->known_spoke)
		return;
	side->known_spoke = true;
	drop_weak(ice, side, /* known_spoke= */ true, now_us);
}

static bool chosen_was_heard(const struct ice_side *side,
			     const struct ice_port *port)
{
	return port->heard_us > side->chosen_us;
}

static bool chosen_is_silent(const struct ice_side *side,
			     const struct ice_port *port, uint64_t now_us,
			     uint64_t silence_us)
{
	return !chosen_was_heard(side, port) ||
	       now_us >= port->heard_us + silence_us;
}

/* The first success after a restart: who was valid before is old now. */
static void note_generation(struct ice *ice, uint32_t generation)
{
	if (generation == ice->generation ||
	    generation == ice->generation_before)
		return;
	ice->generation_before = ice->generation;
	ice->generation = generation;
	for (unsigned i = 0; i < PARTY_COUNT; i++) {
		ice->sides[i].moved = false;
		ice->sides[i].renewed_us = 0;
	}
}

static void validate(struct ice *ice, const struct ice_facts *facts,
		     enum party party, struct ice_source *source, bool strong,
		     uint32_t generation)
{
	struct ice_side *side = &ice->sides[party];
	const struct ice_port *port = &facts->port[party];
	const struct ice_source *before;

	if (strong || !has_strong(side))
		note_generation(ice, generation);
	if (strong)
		source->validity = ICE_STRONG;
	else if (source->validity == ICE_NOT_VALID)
		source->validity = ICE_WEAK;
	source->generation = generation;
	if (ice_is_fresh(ice, source) && side->renewed_us == 0)
		side->renewed_us = facts->now_us;
	drop_weak(ice, side, known_has_spoken(side, port), facts->now_us);

	before = ice_chosen(side);
	if (source->validity == ICE_NOT_VALID || source == before)
		return;
	if (!before || level(ice, source) > level(ice, before) ||
	    (level(ice, source) == level(ice, before) &&
	     chosen_is_silent(side, port, facts->now_us, ICE_SILENT_US)))
		choose(side, source, facts->now_us);
}

/* ---- requests ---- */

static struct ice_verdict refuse(enum media_drop why)
{
	return (struct ice_verdict){.drop = why};
}

static void send_to(struct ice_verdict *verdict, uint8_t *sent_to,
		    const struct ice_side *side,
		    const struct ice_source *source)
{
	uint8_t bit = (uint8_t)(1u << (ice_slot(side, source) - 1));

	if (*sent_to & bit)
		return;
	*sent_to |= bit;
	verdict->to[verdict->count++] = source->endpoint;
}

/* Where media goes before anybody is valid; and after new SDP, whoever was
 * valid before. */
static void send_to_places(struct ice *ice, const struct ice_facts *facts,
			   enum party party, struct ice_verdict *verdict,
			   uint8_t *sent_to)
{
	const struct ice_port *port = &facts->port[party];
	struct ice_side *side = &ice->sides[party];
	struct ice_source *source = ice_chosen(side);

	if (source)
		send_to(verdict, sent_to, side, source);
	if (ip_is_set(&port->remote->ip)) {
		source = ice_add(ice, party, port->remote, port->remote_rank,
				 facts->now_us);
		send_to(verdict, sent_to, side, source);
	}
	if (port->sdp_usable) {
		source =
			ice_add(ice, party, port->sdp, RANK_SDP, facts->now_us);
		send_to(verdict, sent_to, side, source);
	}
}

/* And who asked on that side: so two agents that are both behind NATs meet. */
static void send_to_asking(struct ice *ice, const struct ice_facts *facts,
			   enum party party, size_t len,
			   struct ice_verdict *verdict, uint8_t *sent_to)
{
	const struct ice_port *port = &facts->port[party];
	struct ice_side *side = &ice->sides[party];
	bool strangers = port->is_open && !known_has_spoken(side, port);

	for (size_t i = 0; i < ICE_SOURCES; i++) {
		struct ice_source *s = &side->sources[i];
		bool may =
			ice_is_known((enum learning_rank)s->rank) || strangers;

		if (s->asked && may && !(*sent_to >> i & 1) &&
		    ice_spend(s, len))
			send_to(verdict, sent_to, side, s);
	}
}

static struct ice_verdict pass_request(struct ice *ice,
				       const struct ice_facts *facts,
				       enum party to, size_t len,
				       uint8_t *sent_to)
{
	struct ice_verdict verdict = refuse(DROP_NO_DESTINATION);
	struct ice_side *side = &ice->sides[to];
	const struct ice_source *settled = ice_chosen(side);

	if (settled && ice_is_fresh(ice, settled) && !side->moved) {
		send_to(&verdict, sent_to, side, settled);
		return verdict;
	}
	send_to_places(ice, facts, to, &verdict, sent_to);
	/* Later it is for a new one to ask: who passes for the party, behind
	 * its NAT, could say yes to a stranger otherwise. */
	if (!settled)
		send_to_asking(ice, facts, to, len, &verdict, sent_to);
	return verdict;
}

static bool is_stranger(const struct ice_source *source)
{
	return source->validity == ICE_NOT_VALID &&
	       !ice_is_known((enum learning_rank)source->rank);
}

static struct ice_verdict judge_request(struct ice *ice,
					const struct ice_facts *facts,
					const struct ice_packet *packet)
{
	struct ice_side *side = &ice->sides[packet->from];
	const struct ice_message *m = packet->message;
	struct ice_transaction *t = ice_find_transaction(side, m->id);
	struct ice_verdict verdict;
	struct ice_source *source;
	uint8_t sent_to = 0;

	source = ice_add(ice, packet->from, packet->source, packet->rank,
			 facts->now_us);
	/* Played again by somebody who saw it. */
	if (t && t->source && t->source != ice_slot(side, source))
		return refuse(DROP_STUN_REFUSED);
	ice_earn(source, packet->len);
	source->asked = true;
	if (ice_is_known(packet->rank))
		note_known(ice, side, facts->now_us);
	verdict = pass_request(ice, facts, party_other(packet->from),
			       packet->len, &sent_to);

	/* Also if it went nowhere: others may not play it again. */
	if (!t || !t->source) {
		t = ice_new_transaction(side, is_stranger(source),
					facts->now_us);
		*t = (struct ice_transaction){.source = ice_slot(side, source),
					      .integrity = m->integrity,
					      .generation = m->generation};
		memcpy(t->id, m->id, sizeof(t->id));
	}
	t->time_ms = ice_to_ms(facts->now_us);
	t->sent_to |= sent_to;
	return verdict;
}

/* ---- responses ---- */

static bool is_remote(const struct ice_port *port,
		      const struct endpoint *source)
{
	return endpoint_equal(port->remote, source);
}

static bool is_strong(const struct ice_source *responder,
		      const struct ice_port *port)
{
	return ice_is_known((enum learning_rank)responder->rank) ||
	       responder->validity == ICE_STRONG ||
	       (is_remote(port, &responder->endpoint) &&
		ice_is_known(port->remote_rank));
}

static bool may_respond(const struct ice_side *side,
			const struct ice_port *port,
			const struct ice_source *responder)
{
	if (is_strong(responder, port) ||
	    responder->validity != ICE_NOT_VALID ||
	    is_remote(port, &responder->endpoint))
		return true;
	return port->is_open && !known_has_spoken(side, port) && !side->chosen;
}

/* An agent that gets an error gives up that pair. Where a request went to
 * several places, the wrong ones say no first. But a conflict of roles has to
 * be told. */
static bool may_fail(const struct ice *ice, const struct ice_transaction *t,
		     const struct ice_source *responder,
		     const struct ice_message *m)
{
	bool only_one = (t->sent_to & (t->sent_to - 1)) == 0;
	bool is_old = responder->validity != ICE_NOT_VALID &&
		      !ice_is_fresh(ice, responder);

	return m->role_conflict || (only_one && !is_old);
}

/* A success, and then an error of the same responder for the same request: one
 * of them was forged. */
static void take_validity_back(const struct ice *ice, struct ice_side *side,
			       struct ice_transaction *t, uint8_t responder,
			       uint64_t now_us)
{
	if (t->validated != responder)
		return;
	t->validated = 0;
	invalidate(ice, side, &side->sources[t->source - 1], now_us);
}

/** One response and whom it concerns. */
struct response {
	enum party asker, answerer;
	struct ice_transaction *transaction;
	struct ice_source *source, *responder;
};

static void note_success(struct ice *ice, const struct ice_facts *facts,
			 const struct response *r)
{
	const struct ice_port *port = &facts->port[r->answerer];
	struct ice_side *side = &ice->sides[r->asker];
	bool strong = is_strong(r->responder, port);

	if (!strong && !ice_is_known((enum learning_rank)r->source->rank) &&
	    known_has_spoken(side, &facts->port[r->asker]))
		return;
	validate(ice, facts, r->asker, r->source, strong,
		 r->transaction->generation);
	if (r->source->validity != ICE_NOT_VALID)
		r->transaction->validated =
			ice_slot(&ice->sides[r->answerer], r->responder);
	/* ICE-lite: it never asks, and its address is in its SDP. */
	if (r->responder->rank == RANK_SDP)
		validate(ice, facts, r->answerer, r->responder, true,
			 r->transaction->generation);
}

static struct ice_verdict judge_response(struct ice *ice,
					 const struct ice_facts *facts,
					 const struct ice_packet *packet)
{
	struct response r = {.asker = party_other(packet->from),
			     .answerer = packet->from};
	struct ice_side *answerers = &ice->sides[r.answerer];
	struct ice_side *askers = &ice->sides[r.asker];
	const struct ice_message *m = packet->message;
	struct ice_verdict verdict = {.count = 1};
	bool may_pass;

	r.transaction = ice_find_transaction(askers, m->id);
	r.responder = ice_find(answerers, packet->source);
	if (!r.transaction || !r.responder ||
	    ice_has_expired(r.transaction, facts->now_us) ||
	    !(r.transaction->sent_to >> (ice_slot(answerers, r.responder) - 1) &
	      1))
		return refuse(DROP_STUN_REFUSED);
	r.responder->rank = (uint8_t)packet->rank;
	r.responder->seen_us = facts->now_us;
	ice_earn(r.responder, packet->len);
	if (!may_respond(answerers, &facts->port[r.answerer], r.responder))
		return refuse(DROP_STUN_REFUSED);

	r.source = &askers->sources[r.transaction->source - 1];
	if (m->class == STUN_ERROR_RESPONSE) {
		take_validity_back(ice, askers, r.transaction,
				   ice_slot(answerers, r.responder),
				   facts->now_us);
		may_pass = may_fail(ice, r.transaction, r.responder, m);
		/* It said no to this one: a yes that follows is forged. */
		r.transaction->sent_to &= (uint8_t) ~(
			1u << (ice_slot(answerers, r.responder) - 1));
		if (!may_pass)
			return refuse(DROP_STUN_REFUSED);
	} else if (m->integrity && r.transaction->integrity) {
		note_success(ice, facts, &r);
	}
	if (!is_remote(&facts->port[r.asker], &r.source->endpoint) &&
	    !ice_spend(r.source, packet->len))
		return refuse(DROP_STUN_LIMIT);
	verdict.to[0] = r.source->endpoint;
	return verdict;
}

/* ---- all STUN ---- */

/* A keepalive: for the NATs on its way, and for the agent at its end. */
static struct ice_verdict judge_indication(struct ice *ice,
					   const struct ice_facts *facts,
					   const struct ice_packet *packet)
{
	struct ice_side *to = &ice->sides[party_other(packet->from)];
	const struct ice_port *port = &facts->port[party_other(packet->from)];
	const struct ice_source *source =
		ice_find(&ice->sides[packet->from], packet->source);
	struct ice_verdict verdict = refuse(DROP_NO_DESTINATION);
	bool may = (source && source->validity != ICE_NOT_VALID) ||
		   is_remote(&facts->port[packet->from], packet->source);

	if (!may)
		return refuse(DROP_STUN_REFUSED);
	if (ice_chosen(to))
		verdict.to[verdict.count++] = ice_chosen(to)->endpoint;
	else if (ip_is_set(&port->remote->ip))
		verdict.to[verdict.count++] = *port->remote;
	else if (port->sdp_usable)
		verdict.to[verdict.count++] = *port->sdp;
	return verdict;
}

struct ice_verdict ice_stun(struct ice *ice, const struct ice_facts *facts,
			    const struct ice_packet *packet)
{
	struct ice_side *side = &ice->sides[packet->from];

	if (!ice_within_limits(side, ice_find(side, packet->source),
			       packet->source, packet->rank, facts->now_us))
		return refuse(DROP_STUN_LIMIT);
	switch (packet->message->class) {
	case STUN_REQUEST:
		return judge_request(ice, facts, packet);
	case STUN_INDICATION:
		return judge_indication(ice, facts, packet);
	case STUN_SUCCESS_RESPONSE:
	case STUN_ERROR_RESPONSE:
		break;
	}
	return judge_response(ice, facts, packet);
}

/* ---- media ---- */

/* Old ones are heard after a restart until the new ones speak. */
static bool is_over(const struct ice *ice, const struct ice_side *side,
		    const struct ice_port *port,
		    const struct ice_source *source, uint64_t now_us)
{
	const struct ice_source *now = &side->sources[side->chosen - 1];

	return !ice_is_fresh(ice, source) && ice_is_fresh(ice, now) &&
	       (chosen_was_heard(side, port) ||
		now_us >= side->renewed_us + ICE_OLD_US);
}

static void invalidate_all(struct ice_side *side)
{
	side->chosen = 0;
	for (size_t i = 0; i < ICE_SOURCES; i++)
		if (side->sources[i].validity != ICE_NOT_VALID) {
			side->sources[i].validity = ICE_NOT_VALID;
			side->sources[i].credit = 0;
		}
}

enum ice_media_verdict ice_media(struct ice *ice, const struct ice_facts *facts,
				 enum party from, const struct endpoint *source,
				 enum learning_rank rank)
{
	const struct ice_port *port = &facts->port[from];
	struct ice_side *side = &ice->sides[from];
	struct ice_source *found = ice_find(side, source);
	const struct ice_source *now;

	if (ice_is_known(rank))
		note_known(ice, side, facts->now_us);
	now = ice_chosen(side);
	if (!now)
		return ICE_MEDIA_LEARN;
	if (!found || found->validity == ICE_NOT_VALID) {
		if (!side->moved || rank != RANK_SDP)
			return ICE_MEDIA_REFUSE;
		/* New SDP, and here it is, without a check: no ICE there. */
		invalidate_all(side);
		return ICE_MEDIA_LEARN;
	}
	if (is_over(ice, side, port, found, facts->now_us)) {
		invalidate(ice, side, found, facts->now_us);
		return ICE_MEDIA_REFUSE;
	}
	/* One microsecond back, so that this packet counts as heard. */
	if (found != now && level(ice, found) >= level(ice, now) &&
	    chosen_is_silent(side, port, facts->now_us, ICE_MOVE_US))
		choose(side, found, facts->now_us - 1);
	return ICE_MEDIA_HEAR;
}

void ice_rebound(struct ice *ice, const struct ice_facts *facts,
		 enum party from, const struct endpoint *source,
		 enum learning_rank rank)
{
	struct ice_side *side = &ice->sides[from];
	const struct ice_source *before = ice_chosen(side);
	struct ice_source *now;

	if (!before)
		return;
	now = ice_add(ice, from, source, rank, facts->now_us);
	now->validity = before->validity;
	now->generation = before->generation;
	choose(side, now, facts->now_us - 1);
}

const struct ice_source *ice_remote(const struct ice *ice, enum party party)
{
	const struct ice_side *side = &ice->sides[party];

	return side->chosen ? &side->sources[side->chosen - 1] : NULL;
}

bool ice_is_valid(const struct ice *ice, enum party party,
		  const struct endpoint *source)
{
	const struct ice_source *all = ice->sides[party].sources;

	for (size_t i = 0; i < ICE_SOURCES; i++)
		if (all[i].validity != ICE_NOT_VALID &&
		    endpoint_equal(&all[i].endpoint, source))
			return true;
	return false;
}

void ice_forget(struct ice *ice, enum party party)
{
	invalidate_all(&ice->sides[party]);
}

void ice_sdp_changed(struct ice *ice, enum party party)
{
	struct ice_side *side = &ice->sides[party];

	side->known_spoke = false;
	side->moved = true;
	/* A fork that was checked before may be the one that answers. */
	ice->generation_before = ice->generation;
	for (size_t i = 0; i < ICE_SOURCES; i++)
		side->sources[i].asked = false;
	memset(side->transactions, 0, sizeof(side->transactions));
}
