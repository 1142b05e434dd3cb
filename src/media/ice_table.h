#pragma once
/**
 * @file media/ice_table.h  The sources and requests of an ICE stream
 *
 * What ice.h decides by. Tables of fixed size: who has to go when there is no
 * room is decided here, so that a storm of strangers costs nobody else
 * anything. Pure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/clock.h"
#include "media/learning.h"
#include "proto/party.h"
#include "proto/stun.h"

/** Sources of a port that are remembered; so many of them at most are neither
 * valid nor known. */
#define ICE_SOURCES 8
#define ICE_STRANGERS 3
/** Requests of a port that a response may match. The first ones are for
 * strangers, so that a storm of theirs pushes out nobody else's. */
#define ICE_TRANSACTIONS 24
#define ICE_STRANGER_TRANSACTIONS 6
/** A response comes within this (RFC 8489: 39.5 s), or never. */
#define ICE_TRANSACTION_US (40 * US_PER_S)
/** STUN of a port that is looked at: at once, and one more after each interval.
 * Valid sources, known ones, and strangers by hash. */
#define ICE_BURST 100
#define ICE_INTERVAL_US 10000u
#define ICE_STRANGER_BURST 16
#define ICE_STRANGER_INTERVAL_US 100000u
#define ICE_STRANGER_BUCKETS 4
#define ICE_BUCKETS (2 + ICE_STRANGER_BUCKETS)

/** Weak: the response was a stranger's. It gives way to a strong one. */
enum ice_validity { ICE_NOT_VALID, ICE_WEAK, ICE_STRONG };

struct ice_source {
	struct endpoint endpoint; /* unset: a free slot */
	uint8_t rank;             /* enum learning_rank, at its latest packet */
	uint8_t validity;         /* enum ice_validity */
	bool asked;               /* it sent a request, under the present SDP */
	uint32_t generation;      /* of the check that made it valid */
	uint32_t credit; /* bytes that came from it and were not spent on it */
	uint64_t seen_us;
};

/** A request that came in here and was passed on. */
struct ice_transaction {
	uint8_t id[STUN_TRANSACTION_ID_LEN];
	uint32_t generation;
	uint32_t time_ms;  /* of its latest copy; wraps */
	uint8_t source;    /* who asked: its slot, plus 1; 0: a free entry */
	uint8_t sent_to;   /* bits: slots of the other port */
	uint8_t validated; /* whose response made it valid: the slot, plus 1 */
	bool integrity;
};

/** One port: what one party sends to. */
struct ice_side {
	struct ice_source sources[ICE_SOURCES];
	struct ice_transaction transactions[ICE_TRANSACTIONS];
	uint64_t full_at_us[ICE_BUCKETS];
	uint64_t chosen_us;  /* when; its media counts from then on */
	uint64_t renewed_us; /* the first of the present generation was valid */
	uint8_t chosen;      /* packets go there: its slot, plus 1; 0: nobody */
	bool known_spoke;    /* a source of rank 1 or 2, by whatever */
	bool moved; /* new SDP, and no check of a new generation since */
};

/** Zero it. */
struct ice {
	struct ice_side sides[PARTY_COUNT];
	/* The ufrags of both agents, hashed: an ICE restart changes them. */
	uint32_t generation, generation_before;
};

_Static_assert(sizeof(struct ice) <= 2112,
	       "a session of one ICE stream has to stay under 8 kB in all");

static inline bool ice_is_known(enum learning_rank rank)
{
	return rank == RANK_SDP || rank == RANK_KNOWN_IP;
}

static inline bool ice_is_fresh(const struct ice *ice,
				const struct ice_source *source)
{
	return source->generation == ice->generation;
}

static inline uint8_t ice_slot(const struct ice_side *side,
			       const struct ice_source *source)
{
	return (uint8_t)(source - side->sources + 1);
}

/** The source that packets go to; NULL: nobody is. */
static inline struct ice_source *ice_chosen(struct ice_side *side)
{
	return side->chosen ? &side->sources[side->chosen - 1] : NULL;
}

static inline bool ice_is_chosen(const struct ice_side *side,
				 const struct ice_source *source)
{
	return side->chosen == source - side->sources + 1;
}

static inline uint32_t ice_to_ms(uint64_t time_us)
{
	return (uint32_t)(time_us / US_PER_MS);
}

/** @return NULL: it is not remembered */
struct ice_source *ice_find(struct ice_side *side,
			    const struct endpoint *endpoint);

/** Find a source, or add it. Strangers have a share of the slots, no less and
 * no more; the chosen one keeps its slot. */
struct ice_source *ice_add(struct ice *ice, enum party party,
			   const struct endpoint *endpoint,
			   enum learning_rank rank, uint64_t now_us);

/**
 * May one more STUN packet be looked at?
 *
 * @param found  The source, if it is remembered; else NULL
 */
bool ice_within_limits(struct ice_side *side, const struct ice_source *found,
		       const struct endpoint *source, enum learning_rank rank,
		       uint64_t now_us);

/** A datagram of this length came from the source. */
void ice_earn(struct ice_source *source, size_t len);

/** May one be sent there? To a source that is not valid no more bytes, with all
 * headers, than came from there: its address may be forged. */
bool ice_spend(struct ice_source *source, size_t len);

/** @return NULL: there is none, expired ones included */
struct ice_transaction *ice_find_transaction(struct ice_side *side,
					     const uint8_t *id);

/** The oldest entry of a stranger's share, or of that of all others. */
struct ice_transaction *ice_new_transaction(struct ice_side *side,
					    bool stranger, uint64_t now_us);

/** Is it too late for a response? */
bool ice_has_expired(const struct ice_transaction *t, uint64_t now_us);
