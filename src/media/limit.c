#include "media/limit.h"

#include <string.h>

#include "bpf/flow_abi.h"

#define NS_PER_S 1000000000ull

/* What is not the remote's, and never will be in most cases: as in the kernel.
 */
#define INTERVAL_US (FLOW_BUCKET_INTERVAL_NS / 1000)
/* While the remote is being looked for it may be video: several thousand
 * packets a second, of which a proof wants some in sequence. */
#define WANTED_INTERVAL_US 200

struct limit_rate limit_rate_of(uint64_t per_second)
{
	struct limit_rate rate = {.per_second = per_second};

	if (per_second > 0)
		rate.cost = (NS_PER_S << 10) / per_second;
	return rate;
}

static uint32_t hash_source(const struct endpoint *source)
{
	uint32_t words[4];
	uint32_t h;

	memcpy(words, source->ip.bytes, sizeof(words));
	h = words[0] ^ words[1] ^ words[2] ^ words[3];
	h ^= source->port * 0x9e3779b1u;
	h = (h ^ h >> 16) * 0x7feb352du;
	return (h ^ h >> 15) * 0x846ca68bu >> 16;
}

static unsigned bucket_of(const struct limit_source *who)
{
	uint32_t hash = hash_source(who->source);

	if (who->is_known)
		return LIMIT_BUCKETS - 1 - who->is_stun;
	return who->is_stun ? LIMIT_CLASSES + hash % LIMIT_STUN_CLASSES
			    : hash % LIMIT_CLASSES;
}

bool limit_take(struct limit_others *others, const struct limit_source *who,
		uint64_t now_us)
{
	uint32_t interval = who->is_wanted && !who->is_stun ? WANTED_INTERVAL_US
							    : INTERVAL_US;
	uint32_t *full_at = &others->full_at_us[bucket_of(who)];
	uint32_t now = (uint32_t)now_us;
	uint32_t ahead = *full_at - now;

	/* In the past, by more than 32 bits can say perhaps. What was taken at
	 * the longer interval comes out as a full bucket, too: no harm. */
	if (*full_at == 0 || ahead > FLOW_BUCKET_BURST * interval)
		ahead = 0;
	if (ahead > (FLOW_BUCKET_BURST - 1) * interval)
		return false;
	*full_at = now + ahead + interval;
	return true;
}
