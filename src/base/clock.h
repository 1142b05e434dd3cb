#pragma once
/**
 * @file base/clock.h  The two clocks
 *
 * Policies never read a clock: time is passed in. Only main loops and workers
 * call these.
 */
#include <stdint.h>

#define US_PER_MS 1000ull
#define US_PER_S 1000000ull

/** Microseconds that never run backwards: for timeouts and delays. */
uint64_t clock_mono_us(void);

/** UNIX time in microseconds: for records and people. */
uint64_t clock_wall_us(void);
