#pragma once
/**
 * @file ctl/distribution.h  Many measurements in little memory: percentiles,
 * least and most
 *
 * Buckets grow with the value (128 for each doubling), so a percentile is at
 * most 1 % too high; values below 128, the least and the most are exact. Units
 * are the caller's.
 */
#include <stdint.h>

#define DISTRIBUTION_STEPS 128
#define DISTRIBUTION_BUCKETS (58 * DISTRIBUTION_STEPS)

struct distribution {
	uint64_t count, min, max;
	double sum;
	uint64_t buckets[DISTRIBUTION_BUCKETS];
};

/** Start with all zero: struct distribution d = {0}; */
void distribution_add(struct distribution *d, uint64_t value);

/** The smallest value that percent (0 to 100) of all values do not exceed; 0
 * without any. */
uint64_t distribution_percentile(const struct distribution *d, double percent);
