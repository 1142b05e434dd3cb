#pragma once
/** @file tests/unit/media/ice_scene.h  One component of an ICE stream */
#include "media/ice.h"

#include <string.h>

#include "learning_scene.h"

#define CALLER_SDP "192.168.1.5:5000" /* private: nothing is sent there */
#define CALLER "203.0.113.9:7000"     /* its signalling comes from there */
#define CALLER_B "203.0.113.9:7001"
#define CALLER_ROAMING "192.0.2.10:9000"
#define CALLEE_SDP "198.51.100.7:6000"
#define CALLEE "198.51.100.99:6100"
#define CALLEE_ROAMING "192.0.2.20:9000"
#define ATTACKER "192.0.2.66:1024"
#define ATTACKER_B "192.0.2.67:1024"

#define REQUEST_LEN 148u
#define RESPONSE_LEN 112u
#define GENERATION 77u

struct ice_scene {
	struct ice ice;
	struct endpoint sdp[PARTY_COUNT], remote[PARTY_COUNT];
	struct ice_facts facts;
};

static inline void ice_begin(struct ice_scene *s)
{
	*s = (struct ice_scene){
		.sdp = {endpoint(CALLER_SDP), endpoint(CALLEE_SDP)},
		.facts = {.now_us = START},
	};
	for (unsigned i = 0; i < PARTY_COUNT; i++)
		s->facts.port[i] = (struct ice_port){
			.sdp = &s->sdp[i],
			.remote = &s->remote[i],
			.is_open = true,
		};
}

static inline void ice_wait(struct ice_scene *s, uint64_t us)
{
	s->facts.now_us += us;
}

static inline enum learning_rank ice_rank(const struct ice_scene *s,
					  enum party party,
					  const struct endpoint *source)
{
	const char *const known[] = {"203.0.113.9", "198.51.100.99"};
	struct ip_addr ip = address(known[party]);

	if (endpoint_equal(&s->sdp[party], source))
		return RANK_SDP;
	return ip_equal(&ip, &source->ip) ? RANK_KNOWN_IP : RANK_STRANGER;
}

struct ice_words {
	enum stun_class class;
	uint32_t id;
	bool no_integrity, role_conflict;
	uint32_t generation; /* 0: GENERATION */
	size_t len;          /* 0: as usual */
};

static inline struct ice_verdict ice_say(struct ice_scene *s, enum party from,
					 const char *source,
					 struct ice_words words)
{
	struct endpoint ep = endpoint(source);
	struct ice_message message = {
		.class = words.class,
		.integrity = !words.no_integrity,
		.role_conflict = words.role_conflict,
		.generation = words.generation ? words.generation : GENERATION,
	};
	struct ice_packet packet = {
		.from = from,
		.source = &ep,
		.rank = ice_rank(s, from, &ep),
		.len = words.class == STUN_REQUEST ? REQUEST_LEN : RESPONSE_LEN,
		.message = &message,
	};

	if (words.len)
		packet.len = words.len;
	memcpy(message.id, &words.id, sizeof(words.id));
	return ice_stun(&s->ice, &s->facts, &packet);
}

static inline struct ice_verdict ice_ask(struct ice_scene *s, enum party from,
					 const char *source, uint32_t id)
{
	return ice_say(s, from, source, (struct ice_words){.id = id});
}

static inline struct ice_verdict ice_ask_anew(struct ice_scene *s,
					      enum party from,
					      const char *source, uint32_t id,
					      uint32_t generation)
{
	return ice_say(s, from, source,
		       (struct ice_words){.id = id, .generation = generation});
}

static inline struct ice_verdict ice_answer(struct ice_scene *s,
					    enum party from, const char *source,
					    uint32_t id)
{
	return ice_say(
		s, from, source,
		(struct ice_words){.class = STUN_SUCCESS_RESPONSE, .id = id});
}

static inline struct ice_verdict ice_fail(struct ice_scene *s, enum party from,
					  const char *source, uint32_t id)
{
	return ice_say(
		s, from, source,
		(struct ice_words){.class = STUN_ERROR_RESPONSE, .id = id});
}

static inline bool ice_goes_to(const struct ice_verdict *v, const char *to)
{
	struct endpoint ep = endpoint(to);

	for (size_t i = 0; i < v->count; i++)
		if (endpoint_equal(&v->to[i], &ep))
			return true;
	return false;
}

#define assert_goes_to(verdict, expected)                                      \
	do {                                                                   \
		struct ice_verdict v_ = (verdict);                             \
		assert_int_equal(v_.count, 1);                                 \
		assert_true(ice_goes_to(&v_, expected));                       \
	} while (0)

#define assert_goes_to_both(verdict, a, b)                                     \
	do {                                                                   \
		struct ice_verdict v_ = (verdict);                             \
		assert_int_equal(v_.count, 2);                                 \
		assert_true(ice_goes_to(&v_, a));                              \
		assert_true(ice_goes_to(&v_, b));                              \
	} while (0)

#define assert_goes_nowhere(verdict, expected)                                 \
	do {                                                                   \
		struct ice_verdict v_ = (verdict);                             \
		assert_int_equal(v_.count, 0);                                 \
		assert_string_equal(media_drop_name(v_.drop),                  \
				    media_drop_name(expected));                \
	} while (0)

/* Who is chosen becomes the remote, as port_ice.c does it. */
static inline void ice_settle(struct ice_scene *s)
{
	for (unsigned i = 0; i < PARTY_COUNT; i++) {
		const struct ice_source *chosen =
			ice_remote(&s->ice, (enum party)i);

		if (!chosen || endpoint_equal(&chosen->endpoint, &s->remote[i]))
			continue;
		s->remote[i] = chosen->endpoint;
		s->facts.port[i].remote_rank =
			chosen->validity == ICE_STRONG
				? RANK_KNOWN_IP
				: (enum learning_rank)chosen->rank;
		s->facts.port[i].heard_us = s->facts.now_us;
	}
}

static inline enum ice_media_verdict
ice_send(struct ice_scene *s, enum party from, const char *source)
{
	struct endpoint ep = endpoint(source);
	enum ice_media_verdict verdict;

	if (endpoint_equal(&s->remote[from], &ep)) {
		s->facts.port[from].heard_us = s->facts.now_us;
		return ICE_MEDIA_HEAR;
	}
	verdict = ice_media(&s->ice, &s->facts, from, &ep,
			    ice_rank(s, from, &ep));
	ice_settle(s);
	return verdict;
}

static inline void assert_ice_remote(struct ice_scene *s, enum party party,
				     const char *expected)
{
	const struct ice_source *chosen = ice_remote(&s->ice, party);
	char text[ADDR_TEXT_SIZE];

	assert_string_equal(chosen ? endpoint_format(&chosen->endpoint, text)
				   : "none",
			    expected);
	ice_settle(s);
}

/* A check of `from` that succeeds; its request goes to responder, at least. */
static inline void ice_check(struct ice_scene *s, enum party from,
			     const char *source, const char *responder,
			     uint32_t id, uint32_t generation)
{
	struct ice_verdict v = ice_ask_anew(s, from, source, id, generation);

	assert_true(ice_goes_to(&v, responder));
	assert_goes_to(ice_answer(s, party_other(from), responder, id), source);
	ice_settle(s);
}

/* Both parties have checked each other. */
static inline void ice_connect(struct ice_scene *s)
{
	ice_begin(s);
	ice_ask(s, PARTY_CALLEE, CALLEE, 1); /* the caller was not heard yet */
	ice_check(s, PARTY_CALLER, CALLER, CALLEE, 2, GENERATION);
	ice_check(s, PARTY_CALLEE, CALLEE, CALLER, 3, GENERATION);
	assert_ice_remote(s, PARTY_CALLER, CALLER);
	assert_ice_remote(s, PARTY_CALLEE, CALLEE);
}
