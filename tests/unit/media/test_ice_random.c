/*
 * Random calls with agents and attackers at both ports, against a model that
 * keeps everything: every request, every byte, who is genuine. Agents answer
 * genuine requests with success and others with an error; attackers ask, answer
 * whatever they get and guess, and know each other's requests. Fixed seeds.
 */
#include <stdio.h>
#include <string.h>

#include "ice_scene.h"

#define STEPS 4000
#define SEEDS 60
#define SOURCES 6 /* of a side */
#define REQUESTS 8192
#define PENDING 64
#define HEADERS 28 /* of IPv4 and UDP */

/* The first ones are a party's, the others attackers'. */
#define GENUINE 3

static const char *const names[PARTY_COUNT][SOURCES] = {
	{CALLER, CALLER_B, CALLER_ROAMING, ATTACKER, "192.0.2.68:5",
	 "192.0.2.69:6"},
	{CALLEE, CALLEE_SDP, CALLEE_ROAMING, ATTACKER_B, "192.0.2.78:5",
	 "192.0.2.79:6"},
};

struct request {
	enum party from;
	unsigned source;
	unsigned sent_to; /* bits: sources of the other side, over all copies */
	uint64_t time_us;
	bool integrity;
};

/* A request that has reached somebody, who has not answered yet. */
struct pending {
	uint32_t id;
	enum party at;
	unsigned source;
};

struct world {
	struct ice_scene s;
	struct endpoint sources[PARTY_COUNT][SOURCES];
	uint64_t in[PARTY_COUNT][SOURCES], out[PARTY_COUNT][SOURCES];
	bool asked[PARTY_COUNT][SOURCES];
	bool was_valid[PARTY_COUNT][SOURCES]; /* ever: bytes are free then */
	struct request requests[REQUESTS];
	uint32_t request_count;
	struct pending pending[PENDING];
	unsigned pending_count;
	uint64_t random;
	unsigned genuine; /* sources of a party that it uses */
	bool parties_spoke;
	unsigned valid_genuine, valid_attackers, refused_attackers, moved;
};

static uint32_t next_random(struct world *w, uint32_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (uint32_t)(w->random >> 32) % below;
}

static bool is_attacker(unsigned source)
{
	return source >= GENUINE;
}

static const struct ice_source *slot_of(struct world *w, enum party party,
					unsigned source)
{
	return ice_find(&w->s.ice.sides[party], &w->sources[party][source]);
}

static bool is_valid(struct world *w, enum party party, unsigned source)
{
	const struct ice_source *slot = slot_of(w, party, source);

	return slot && slot->validity != ICE_NOT_VALID;
}

static bool is_remote(const struct world *w, enum party party, unsigned source)
{
	return endpoint_equal(&w->s.remote[party], &w->sources[party][source]);
}

static unsigned source_at(const struct world *w, enum party party,
			  const struct endpoint *endpoint)
{
	for (unsigned i = 0; i < SOURCES; i++)
		if (endpoint_equal(&w->sources[party][i], endpoint))
			return i;
	fail_msg("sent to an address that nobody has");
	return 0;
}

/* ---- what has to hold after each packet ---- */

static void check_valid_ones(struct world *w, enum party party)
{
	struct ice_side *side = &w->s.ice.sides[party];
	bool any = false, strong = false, weak = false;

	for (unsigned i = 0; i < SOURCES; i++) {
		const struct ice_source *slot = slot_of(w, party, i);

		if (!slot || slot->validity == ICE_NOT_VALID)
			continue;
		any = true;
		strong = strong || slot->validity == ICE_STRONG;
		weak = weak || slot->validity == ICE_WEAK;
		if (is_attacker(i)) {
			w->valid_attackers++;
			/* The parties are known, and have spoken. */
			assert_false(w->parties_spoke);
			assert_int_not_equal(slot->validity, ICE_STRONG);
		} else {
			w->valid_genuine++;
		}
		w->was_valid[party][i] = true;
	}
	assert_false(strong && weak);
	assert_int_equal(any, side->chosen != 0);
	if (any)
		assert_int_not_equal(ice_chosen(side)->validity, ICE_NOT_VALID);
}

static void check_sent(struct world *w, enum party to, unsigned source,
		       size_t bytes, bool was_free)
{
	bool usable = w->s.facts.port[to].sdp_usable &&
		      endpoint_equal(&w->sources[to][source], &w->s.sdp[to]);

	assert_true(w->asked[to][source] || was_free || usable);
	if (was_free || usable || is_valid(w, to, source) ||
	    w->was_valid[to][source])
		return;
	w->out[to][source] += bytes + HEADERS;
	assert_true(w->out[to][source] <= w->in[to][source]);
}

/* ---- packets ---- */

static void deliver(struct world *w, uint32_t id, enum party at,
		    unsigned source)
{
	if (w->pending_count < PENDING)
		w->pending[w->pending_count++] =
			(struct pending){id, at, source};
}

static bool known_has_spoken(const struct world *w, enum party party)
{
	for (unsigned i = 0; i < GENUINE; i++)
		if (w->asked[party][i] &&
		    ice_rank(&w->s, party, &w->sources[party][i]) <
			    RANK_STRANGER)
			return true;
	return false;
}

static void ask(struct world *w, enum party from, unsigned source, uint32_t id)
{
	const struct ice_words words = {
		.id = id,
		.no_integrity = !w->requests[id].integrity,
		.len = 60 + next_random(w, 120),
	};
	enum party to = party_other(from);
	struct request *r = &w->requests[id];
	bool is_replay = r->source != source || r->from != from;
	bool free_before[SOURCES];
	struct ice_verdict v;

	for (unsigned i = 0; i < SOURCES; i++)
		free_before[i] = is_valid(w, to, i) || is_remote(w, to, i);
	v = ice_say(&w->s, from, names[from][source], words);
	if (v.drop != DROP_STUN_LIMIT || v.count > 0)
		w->in[from][source] += words.len + HEADERS;
	/* Whether it was taken is the unit's business: what matters here is
	 * that nothing goes to who never asked. */
	w->asked[from][source] = true;
	for (size_t i = 0; i < v.count; i++) {
		unsigned at = source_at(w, to, &v.to[i]);

		check_sent(w, to, at, words.len, free_before[at]);
		if (!is_replay) {
			r->sent_to |= 1u << at;
			r->time_us = w->s.facts.now_us;
		}
		deliver(w, id, to, at);
	}
	ice_settle(&w->s);
}

static void ask_anew(struct world *w, enum party from, unsigned source)
{
	uint32_t id = w->request_count;

	if (id == REQUESTS)
		return;
	w->request_count++;
	w->requests[id] = (struct request){
		.from = from,
		.source = source,
		.time_us = w->s.facts.now_us,
		.integrity = next_random(w, 8) > 0,
	};
	ask(w, from, source, id);
}

static void answer(struct world *w, enum party at, unsigned source, uint32_t id,
		   enum stun_class class)
{
	const struct ice_words words = {
		.class = class,
		.id = id,
		.no_integrity = next_random(w, 10) == 0,
		.role_conflict = next_random(w, 20) == 0,
		.len = 60 + next_random(w, 100),
	};
	struct request *r = &w->requests[id];
	bool was_free = is_valid(w, r->from, r->source) ||
			is_remote(w, r->from, r->source);
	bool late =
		known_has_spoken(w, at) &&
		ice_rank(&w->s, at, &w->sources[at][source]) == RANK_STRANGER &&
		!is_valid(w, at, source) && !is_remote(w, at, source);
	struct ice_verdict v = ice_say(&w->s, at, names[at][source], words);

	w->in[at][source] += words.len + HEADERS;
	if (v.count > 0) {
		/* To exactly who asked, from exactly who was asked. */
		assert_int_equal(v.count, 1);
		assert_int_equal(party_other(at), r->from);
		assert_int_equal(source_at(w, r->from, &v.to[0]), r->source);
		assert_true(r->sent_to >> source & 1);
		assert_true(w->s.facts.now_us <=
			    r->time_us + ICE_TRANSACTION_US + 1000);
		assert_false(late);
		check_sent(w, r->from, r->source, words.len, was_free);
	} else if (is_attacker(source)) {
		w->refused_attackers++;
	}
	ice_settle(&w->s);
}

/* Somebody whom a request has reached says what he has to say. */
static void answer_one(struct world *w)
{
	unsigned index;
	struct pending p;
	bool success;

	if (w->pending_count == 0)
		return;
	index = next_random(w, w->pending_count);
	p = w->pending[index];
	w->pending[index] = w->pending[--w->pending_count];
	success = is_attacker(p.source) ||
		  (!is_attacker(w->requests[p.id].source) &&
		   w->requests[p.id].integrity);
	answer(w, p.at, p.source, p.id,
	       success ? STUN_SUCCESS_RESPONSE : STUN_ERROR_RESPONSE);
}

static bool remembers(struct world *w, enum party at, uint32_t number)
{
	uint8_t id[STUN_TRANSACTION_ID_LEN] = {0};

	memcpy(id, &number, sizeof(number));
	return ice_find_transaction(&w->s.ice.sides[at], id);
}

static void attack(struct world *w)
{
	enum party at = (enum party)next_random(w, PARTY_COUNT);
	unsigned source = GENUINE + next_random(w, SOURCES - GENUINE);
	uint32_t id;

	if (w->request_count == 0) {
		ask_anew(w, at, source);
		return;
	}
	id = w->request_count - 1 -
	     next_random(w, w->request_count < 32 ? w->request_count : 32);
	switch (next_random(w, 3)) {
	case 0:
		ask_anew(w, at, source);
		break;
	case 1: /* play one again, as long as it is remembered */
		if (w->requests[id].from == at && remembers(w, at, id))
			ask(w, at, source, id);
		break;
	case 2: /* answer one that it was never sent */
		if (w->requests[id].from != at)
			answer(w, at, source, id, STUN_SUCCESS_RESPONSE);
		break;
	}
}

static void send_media(struct world *w)
{
	enum party from = (enum party)next_random(w, PARTY_COUNT);
	unsigned source = next_random(w, SOURCES);
	bool valid = is_valid(w, from, source);
	bool any = w->s.ice.sides[from].chosen != 0;
	bool remote = is_remote(w, from, source);
	enum ice_media_verdict verdict =
		ice_send(&w->s, from, names[from][source]);

	if (remote)
		return;
	if (!any)
		assert_int_equal(verdict, ICE_MEDIA_LEARN);
	else
		assert_int_equal(verdict,
				 valid ? ICE_MEDIA_HEAR : ICE_MEDIA_REFUSE);
	w->moved += valid && is_remote(w, from, source);
}

/* ---- runs ---- */

static void begin(struct world *w, uint64_t seed, unsigned genuine)
{
	*w = (struct world){.random = seed * 0x9e3779b97f4a7c15u,
			    .genuine = genuine};
	ice_begin(&w->s);
	w->s.facts.port[PARTY_CALLEE].sdp_usable = seed % 2;
	for (unsigned p = 0; p < PARTY_COUNT; p++)
		for (unsigned i = 0; i < SOURCES; i++)
			w->sources[p][i] = endpoint(names[p][i]);
}

static void step(struct world *w)
{
	enum party from = (enum party)next_random(w, PARTY_COUNT);
	uint32_t what = next_random(w, 100);

	ice_wait(&w->s, next_random(w, 20000));
	if (what < 35)
		ask_anew(w, from, next_random(w, w->genuine));
	else if (what < 65)
		answer_one(w);
	else if (what < 85)
		attack(w);
	else
		send_media(w);
	if (next_random(w, 500) == 0)
		ice_wait(&w->s, ICE_TRANSACTION_US / 2);
	check_valid_ones(w, PARTY_CALLER);
	check_valid_ones(w, PARTY_CALLEE);
}

static void test_attackers_are_never_valid_where_the_parties_speak(void **state)
{
	static struct world w;
	unsigned genuine = 0, refused = 0, moved = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		/* All sources of the parties but the roaming ones are known. */
		begin(&w, seed, 2 + seed % 2);
		ask_anew(&w, PARTY_CALLER, 0);
		ask_anew(&w, PARTY_CALLEE, 0);
		w.parties_spoke = true;
		for (unsigned i = 0; i < STEPS; i++)
			step(&w);
		genuine += w.valid_genuine;
		refused += w.refused_attackers;
		moved += w.moved;
		assert_true(is_valid(&w, PARTY_CALLER, 0));
	}
	/* It did happen. */
	assert_true(genuine > 1000);
	assert_true(refused > 1000);
	assert_true(moved > 100);
}

static void test_before_that_they_are_weak_and_end_when_they_do(void **state)
{
	static struct world w;
	unsigned attackers = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		begin(&w, seed, 2);
		for (unsigned i = 0; i < 200; i++) {
			ice_wait(&w.s, next_random(&w, 20000));
			if (i % 2)
				answer_one(&w);
			else
				attack(&w);
			check_valid_ones(&w, PARTY_CALLER);
			check_valid_ones(&w, PARTY_CALLEE);
		}
		attackers += w.valid_attackers;
		w.pending_count = 0;
		ask_anew(&w, PARTY_CALLER, 0);
		ask_anew(&w, PARTY_CALLEE, 0);
		w.parties_spoke = true;
		for (unsigned i = 0; i < STEPS / 4; i++)
			step(&w);
		assert_true(is_valid(&w, PARTY_CALLER, 0));
	}
	assert_true(attackers > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_attackers_are_never_valid_where_the_parties_speak),
		cmocka_unit_test(
			test_before_that_they_are_weak_and_end_when_they_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
