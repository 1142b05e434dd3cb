#pragma once
/**
 * @file media/limit.h  How much may come: token buckets
 *
 * Written as GCRA: a bucket is the time at which it is full again, so it needs
 * no timer, and one word. Pure: time is passed in.
 *
 * Two kinds. What the remote of a port sends is measured once for a batch, in
 * packets and in bytes. What others send is judged by learning only as long as
 * their bucket has something, one for each hash of a source, as
 * bpf/relay.bpf.c does where a port has a flow.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/** So much may come at once: what the rate allows in this time. */
#define LIMIT_DEPTH_US 1000000u
/** And what was over its limit is watched for so long. */
#define LIMIT_HOLD_US 2000000u

/** A rate. Zeroed: no limit. */
struct limit_rate {
	uint64_t per_second;
	uint64_t cost; /* of one, in 2^-10 ns */
};

/** Zeroed: full. */
struct limit_bucket {
	uint64_t full_at_ns;
};

/** @param per_second  0: no limit */
struct limit_rate limit_rate_of(uint64_t per_second);

/** Is more gone than the bucket holds? Then nothing may pass. */
static inline bool limit_is_over(const struct limit_bucket *bucket,
				 uint64_t now_us)
{
	return bucket->full_at_ns > (now_us + LIMIT_DEPTH_US) * 1000;
}

/** So many have passed; it may overdraw the bucket. */
static inline void limit_use(struct limit_bucket *bucket,
			     const struct limit_rate *rate, uint64_t now_us,
			     uint64_t count)
{
	uint64_t now_ns = now_us * 1000;

	if (bucket->full_at_ns < now_ns)
		bucket->full_at_ns = now_ns;
	bucket->full_at_ns += count * rate->cost >> 10;
}

/** Classes of sources by their hash; STUN has its own. */
#define LIMIT_CLASSES 4
#define LIMIT_STUN_CLASSES 2
/** And one of either kind for what shows an IP address or an SSRC that is known
 * for the party: no stranger can empty it. */
#define LIMIT_BUCKETS (LIMIT_CLASSES + LIMIT_STUN_CLASSES + 2)

/** The buckets of one port. Zeroed: full. */
struct limit_others {
	uint32_t full_at_us[LIMIT_BUCKETS];
};

/** Who sends, other than the remote. */
struct limit_source {
	const struct endpoint *source;
	bool is_known; /* by an IP address or an SSRC of the party */
	bool is_stun;
	bool is_wanted; /* there is no remote yet: it may prove itself */
};

/** Take a packet's worth out of the bucket of this source. @return false: it is
 * empty, drop the packet */
bool limit_take(struct limit_others *others, const struct limit_source *who,
		uint64_t now_us);
