#pragma once
/**
 * @file dispatcher/relay_choice.h  Which relay gets a new call
 *
 * The relay that the SIP proxy prefers, if it takes calls, prompt or not: if it
 * is slow for this call too, the next one is asked after failover_timeout. Else
 * a random one of those that take calls, and one that keeps others waiting only
 * when there is no prompt one. Pure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

struct relay_fact {
	struct ip_addr ip;
	bool active; /* takes new calls */
	bool prompt; /* has nothing open for longer than failover_timeout */
	bool tried;  /* for this call, in vain */
};

#define RELAY_CHOICE_NONE ((size_t)-1)

/**
 * @param preferred  may be unset
 * @param random     any number; it decides among equals
 * @return index of the chosen one or RELAY_CHOICE_NONE
 */
size_t relay_choose(const struct relay_fact *relays, size_t count,
		    const struct ip_addr *preferred, uint64_t random);
