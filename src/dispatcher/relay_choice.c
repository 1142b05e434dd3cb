#include "dispatcher/relay_choice.h"

/* Higher is better; what is not eligible has no rank. */
enum rank { RANK_NONE, RANK_SLOW, RANK_PROMPT, RANK_PREFERRED };

static enum rank rank_of(const struct relay_fact *relay,
			 const struct ip_addr *preferred)
{
	bool is_preferred =
		ip_is_set(preferred) && ip_equal(&relay->ip, preferred);

	if (!relay->active || relay->tried)
		return RANK_NONE;
	if (is_preferred)
		return RANK_PREFERRED;
	return relay->prompt ? RANK_PROMPT : RANK_SLOW;
}

size_t relay_choose(const struct relay_fact *relays, size_t count,
		    const struct ip_addr *preferred, uint64_t random)
{
	enum rank best = RANK_NONE;
	size_t equals = 0;
	size_t nth;

	for (size_t i = 0; i < count; i++) {
		enum rank rank = rank_of(&relays[i], preferred);

		if (rank > best) {
			best = rank;
			equals = 0;
		}
		if (rank == best)
			equals++;
	}
	if (best == RANK_NONE)
		return RELAY_CHOICE_NONE;
	nth = (size_t)(random % equals);
	for (size_t i = 0; i < count; i++)
		if (rank_of(&relays[i], preferred) == best && nth-- == 0)
			return i;
	return RELAY_CHOICE_NONE;
}
