#include "media/ice_table.h"

#include <string.h>

#include "media/ice_message.h"

#define UDP_HEADER_LEN 8
#define IP4_HEADER_LEN 20
#define IP6_HEADER_LEN 40

/* ---- sources ---- */

struct ice_source *ice_find(struct ice_side *side,
			    const struct endpoint *endpoint)
{
	for (size_t i = 0; i < ICE_SOURCES; i++)
		if (endpoint_equal(&side->sources[i].endpoint, endpoint))
			return &side->sources[i];
	return NULL;
}

/* Who has to go first. */
enum worth {
	WORTH_NOTHING,
	WORTH_STRANGER,
	WORTH_KNOWN,
	WORTH_VALID,
	WORTH_CHOSEN
};

static enum worth worth(const struct ice_side *side,
			const struct ice_source *source)
{
	if (!ip_is_set(&source->endpoint.ip))
		return WORTH_NOTHING;
	if (ice_is_chosen(side, source))
		return WORTH_CHOSEN;
	if (source->validity != ICE_NOT_VALID)
		return WORTH_VALID;
	return ice_is_known((enum learning_rank)source->rank) ? WORTH_KNOWN
							      : WORTH_STRANGER;
}

/* The slot that is missed least; never that of the chosen one. */
static struct ice_source *least(struct ice_side *side, bool strangers_only)
{
	struct ice_source *found = NULL;

	for (size_t i = 0; i < ICE_SOURCES; i++) {
		struct ice_source *s = &side->sources[i];
		enum worth w = worth(side, s);

		if (strangers_only && w != WORTH_STRANGER)
			continue;
		if (!found || w < worth(side, found) ||
		    (w == worth(side, found) && s->seen_us < found->seen_us))
			found = s;
	}
	return found;
}

static unsigned count_strangers(const struct ice_side *side)
{
	unsigned count = 0;

	for (size_t i = 0; i < ICE_SOURCES; i++)
		count += worth(side, &side->sources[i]) == WORTH_STRANGER;
	return count;
}

/* A slot is reused: nothing may be matched with who had it before. */
static void forget(struct ice *ice, enum party party, struct ice_source *source)
{
	struct ice_side *side = &ice->sides[party];
	struct ice_side *other = &ice->sides[party_other(party)];
	uint8_t gone = ice_slot(side, source);

	for (size_t i = 0; i < ICE_TRANSACTIONS; i++) {
		struct ice_transaction *t = &other->transactions[i];

		if (side->transactions[i].source == gone)
			side->transactions[i] = (struct ice_transaction){0};
		t->sent_to &= (uint8_t) ~(1u << (gone - 1));
		if (t->validated == gone)
			t->validated = 0;
	}
	*source = (struct ice_source){0};
}

struct ice_source *ice_add(struct ice *ice, enum party party,
			   const struct endpoint *endpoint,
			   enum learning_rank rank, uint64_t now_us)
{
	struct ice_side *side = &ice->sides[party];
	struct ice_source *source = ice_find(side, endpoint);

	if (!source) {
		source = least(side,
			       !ice_is_known(rank) &&
				       count_strangers(side) >= ICE_STRANGERS);
		forget(ice, party, source);
		source->endpoint = *endpoint;
	}
	source->rank = (uint8_t)rank;
	source->seen_us = now_us;
	return source;
}

/* ---- limits ---- */

/* A token bucket as the time at which it is full again (GCRA). */
static bool take(uint64_t *full_at_us, uint64_t now_us, uint64_t interval_us,
		 unsigned burst)
{
	uint64_t full_us = *full_at_us > now_us ? *full_at_us : now_us;

	if (full_us - now_us > (burst - 1) * interval_us)
		return false;
	*full_at_us = full_us + interval_us;
	return true;
}

static unsigned hash_endpoint(const struct endpoint *endpoint)
{
	const struct span bytes =
		span_make(endpoint->ip.bytes, sizeof(endpoint->ip.bytes));

	return (ice_hash(bytes) ^ endpoint->port) * 0x9e3779b1u >> 16;
}

bool ice_within_limits(struct ice_side *side, const struct ice_source *found,
		       const struct endpoint *source, enum learning_rank rank,
		       uint64_t now_us)
{
	unsigned bucket;

	if (found && found->validity != ICE_NOT_VALID)
		return take(&side->full_at_us[0], now_us, ICE_INTERVAL_US,
			    ICE_BURST);
	if (ice_is_known(rank))
		return take(&side->full_at_us[1], now_us, ICE_INTERVAL_US,
			    ICE_BURST);
	bucket = hash_endpoint(source) % ICE_STRANGER_BUCKETS;
	return take(&side->full_at_us[2 + bucket], now_us,
		    ICE_STRANGER_INTERVAL_US, ICE_STRANGER_BURST);
}

/* Of the whole IP packet, as it leaves from here or came. */
static size_t bytes_of(const struct ice_source *source, size_t len)
{
	return len + UDP_HEADER_LEN +
	       (source->endpoint.ip.family == AF_INET ? IP4_HEADER_LEN
						      : IP6_HEADER_LEN);
}

bool ice_spend(struct ice_source *source, size_t len)
{
	size_t bytes = bytes_of(source, len);

	if (source->validity != ICE_NOT_VALID)
		return true;
	if (source->credit < bytes)
		return false;
	source->credit -= (uint32_t)bytes;
	return true;
}

void ice_earn(struct ice_source *source, size_t len)
{
	if (source->credit < UINT32_MAX / 2)
		source->credit += (uint32_t)bytes_of(source, len);
}

/* ---- transactions ---- */

bool ice_has_expired(const struct ice_transaction *t, uint64_t now_us)
{
	return ice_to_ms(now_us) - t->time_ms > ICE_TRANSACTION_US / US_PER_MS;
}

struct ice_transaction *ice_find_transaction(struct ice_side *side,
					     const uint8_t *id)
{
	for (size_t i = 0; i < ICE_TRANSACTIONS; i++) {
		struct ice_transaction *t = &side->transactions[i];

		if (t->source &&
		    memcmp(t->id, id, STUN_TRANSACTION_ID_LEN) == 0)
			return t;
	}
	return NULL;
}

/* What has expired stays until its entry is needed: a request that is played
 * again from elsewhere is known by it. */
struct ice_transaction *ice_new_transaction(struct ice_side *side,
					    bool stranger, uint64_t now_us)
{
	size_t from = stranger ? 0 : ICE_STRANGER_TRANSACTIONS;
	size_t end = stranger ? ICE_STRANGER_TRANSACTIONS : ICE_TRANSACTIONS;
	struct ice_transaction *oldest = &side->transactions[from];

	for (size_t i = from; i < end; i++) {
		struct ice_transaction *t = &side->transactions[i];

		if (!t->source)
			return t;
		if (ice_to_ms(now_us) - t->time_ms >
		    ice_to_ms(now_us) - oldest->time_ms)
			oldest = t;
	}
	return oldest;
}
