/**
 * @file tests/fuzz/fuzz_ice.c  A stream with ICE, and whatever is sent to it
 *
 * The input is a row of steps: a byte that says who and what, one more, and for
 * STUN as many bytes as that says.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "media/ice.h"

#define SOURCES 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct scene {
	struct ice ice;
	struct ice_facts facts;
	struct endpoint sdp[PARTY_COUNT], remote[PARTY_COUNT];
};

static void need(bool fact)
{
	if (!fact)
		abort();
}

static struct endpoint source_of(enum party party, unsigned number)
{
	return (struct endpoint){
		.ip = {.bytes = {192, 0, 2,
				 (uint8_t)(10 * ((unsigned)party + 1) +
					   number)},
		       .family = 2},
		.port = (uint16_t)(1000 + number)};
}

/* The first is in the SDP, two more are known, the others are strangers. */
static enum learning_rank rank_of(unsigned number)
{
	if (number == 0)
		return RANK_SDP;
	return number < 3 ? RANK_KNOWN_IP : RANK_STRANGER;
}

static void check_side(const struct scene *s, enum party party)
{
	const struct ice_side *side = &s->ice.sides[party];
	unsigned valid = 0, strangers = 0;

	for (unsigned i = 0; i < ICE_SOURCES; i++) {
		const struct ice_source *source = &side->sources[i];

		if (source->validity != ICE_NOT_VALID)
			valid++;
		else if (ip_is_set(&source->endpoint.ip) &&
			 source->rank == RANK_STRANGER)
			strangers++;
	}
	need((side->chosen != 0) == (valid > 0));
	need(side->chosen <= ICE_SOURCES);
	if (side->chosen)
		need(ice_remote(&s->ice, party)->validity != ICE_NOT_VALID);
	/* Who was valid and is no longer may be one too many. */
	need(strangers <= ICE_SOURCES);
	for (unsigned i = 0; i < ICE_TRANSACTIONS; i++) {
		unsigned slot = side->transactions[i].source;

		need(slot <= ICE_SOURCES);
		if (slot)
			need(ip_is_set(&side->sources[slot - 1].endpoint.ip));
	}
}

static void settle(struct scene *s)
{
	for (unsigned i = 0; i < PARTY_COUNT; i++) {
		const struct ice_source *chosen =
			ice_remote(&s->ice, (enum party)i);

		check_side(s, (enum party)i);
		if (!chosen)
			continue;
		s->remote[i] = chosen->endpoint;
		s->facts.port[i].remote_rank = (enum learning_rank)chosen->rank;
	}
}

static void stun_came(struct scene *s, enum party from, unsigned number,
		      const uint8_t *data, size_t len)
{
	struct endpoint source = source_of(from, number);
	struct ice_message message;
	struct ice_packet packet = {.from = from,
				    .source = &source,
				    .rank = rank_of(number),
				    .len = len,
				    .message = &message};
	struct ice_verdict verdict;

	if (ice_message_read(&message, data, len) < 0)
		return;
	verdict = ice_stun(&s->ice, &s->facts, &packet);
	need(verdict.count <= ICE_SOURCES);
	need(verdict.count > 0 || verdict.drop < DROP_COUNT);
	if (message.class != STUN_REQUEST)
		need(verdict.count <= 1);
	for (size_t i = 0; i < verdict.count; i++)
		need(ip_is_set(&verdict.to[i].ip) && verdict.to[i].port != 0);
}

static void media_came(struct scene *s, enum party from, unsigned number,
		       bool rebinds)
{
	struct endpoint source = source_of(from, number);
	enum ice_media_verdict verdict;

	if (endpoint_equal(&s->remote[from], &source)) {
		s->facts.port[from].heard_us = s->facts.now_us;
		return;
	}
	verdict = ice_media(&s->ice, &s->facts, from, &source, rank_of(number));
	if (verdict == ICE_MEDIA_REFUSE && rebinds)
		ice_rebound(&s->ice, &s->facts, from, &source, rank_of(number));
}

static void changed(struct scene *s, enum party party, uint8_t what)
{
	s->facts.port[party].sdp_usable = what & 1;
	s->facts.port[party].is_open = what & 2;
	if (what & 4)
		ice_sdp_changed(&s->ice, party);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scene s = {.facts.now_us = US_PER_S};

	for (unsigned i = 0; i < PARTY_COUNT; i++) {
		s.sdp[i] = source_of((enum party)i, 0);
		s.facts.port[i].sdp = &s.sdp[i];
		s.facts.port[i].remote = &s.remote[i];
	}
	while (size >= 2) {
		enum party party = (enum party)(data[0] & 1);
		unsigned number = data[0] >> 1 & (SOURCES - 1);
		uint8_t what = data[1];
		size_t len = what < size - 2 ? what : size - 2;

		switch (data[0] >> 4 & 3) {
		case 0:
			stun_came(&s, party, number, data + 2, len);
			data += len;
			size -= len;
			break;
		case 1:
			media_came(&s, party, number, what & 1);
			break;
		case 2:
			s.facts.now_us += what * 10 * US_PER_MS;
			break;
		case 3:
			changed(&s, party, what);
			break;
		}
		settle(&s);
		data += 2;
		size -= 2;
	}
	return 0;
}
