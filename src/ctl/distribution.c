/** @file ctl/distribution.c */
#include "ctl/distribution.h"

#include <stddef.h>

/* Values below 128 have their own bucket; above, the first eight bits of a
 * value choose one. */
static size_t bucket_of(uint64_t value)
{
	unsigned shift;

	if (value < DISTRIBUTION_STEPS)
		return (size_t)value;
	shift = 56 - (unsigned)__builtin_clzll(value);
	return (size_t)(shift * DISTRIBUTION_STEPS + (value >> shift));
}

/* The largest value of a bucket. */
static uint64_t top_of(size_t bucket)
{
	unsigned shift;
	uint64_t head;

	if (bucket < 2 * DISTRIBUTION_STEPS)
		return bucket;
	shift = (unsigned)(bucket / DISTRIBUTION_STEPS) - 1;
	head = bucket % DISTRIBUTION_STEPS + DISTRIBUTION_STEPS;
	return ((head + 1) << shift) - 1;
}

void distribution_add(struct distribution *d, uint64_t value)
{
	if (d->count == 0 || value < d->min)
		d->min = value;
	if (value > d->max)
		d->max = value;
	d->count++;
	d->sum += (double)value;
	d->buckets[bucket_of(value)]++;
}

uint64_t distribution_percentile(const struct distribution *d, double percent)
{
	double exact = percent / 100 * (double)d->count;
	uint64_t rank = (uint64_t)exact, seen = 0;

	if (d->count == 0)
		return 0;
	if ((double)rank < exact)
		rank++;
	if (rank < 1)
		return d->min;
	if (rank >= d->count)
		return d->max;
	for (size_t i = 0; i < DISTRIBUTION_BUCKETS; i++) {
		seen += d->buckets[i];
		if (seen >= rank) {
			uint64_t top = top_of(i);

			top = top < d->min ? d->min : top;
			return top > d->max ? d->max : top;
		}
	}
	return d->max;
}
