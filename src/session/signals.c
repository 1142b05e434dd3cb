#include "session/signals.h"

#include <stdlib.h>
#include <string.h>

void signals_done(struct signals *signals)
{
	free(signals->list);
	*signals = (struct signals){0};
}

size_t signals_count(const struct signals *signals)
{
	return signals->noted < signals->size ? signals->noted : signals->size;
}

static bool is_same(const struct signal *a, const struct signal *b)
{
	return a->kind == b->kind && a->sender == b->sender &&
	       a->direction == b->direction && a->ice == b->ice &&
	       a->why == b->why && endpoint_equal(&a->sdp, &b->sdp) &&
	       memcmp(a->type, b->type, sizeof(a->type)) == 0;
}

static size_t place_of(uint32_t number)
{
	return number < SIGNALS_FIRST
		       ? number
		       : SIGNALS_FIRST +
				 (number - SIGNALS_FIRST) % SIGNALS_LATEST;
}

/* The latest of its party and media is the same: a 200 after a 183. */
static bool is_known(const struct signals *signals, const struct signal *signal)
{
	uint32_t back = signals->noted < SIGNALS_LATEST ? signals->noted
							: SIGNALS_LATEST;

	for (uint32_t i = 1; i <= back; i++) {
		const struct signal *at =
			&signals->list[place_of(signals->noted - i)];

		if (at->sender == signal->sender && at->kind == signal->kind &&
		    memcmp(at->type, signal->type, sizeof(at->type)) == 0)
			return is_same(at, signal);
	}
	return false;
}

/* Most calls have an offer and an answer. */
static void grow(struct signals *signals)
{
	uint16_t size = signals->size == 0 ? SIGNALS_FIRST : SIGNALS_MAX;
	struct signal *more;

	if (signals->noted < signals->size || signals->size == SIGNALS_MAX)
		return;
	more = realloc(signals->list, size * sizeof(*more));
	if (!more)
		return;
	signals->list = more;
	signals->size = size;
}

void signals_note(struct signals *signals, const struct signal *signal)
{
	size_t at = place_of(signals->noted);

	if (is_known(signals, signal))
		return;
	grow(signals);
	if (at >= signals->size)
		return;
	signals->list[at] = *signal;
	signals->noted++;
}

void signals_note_line(struct signals *signals, enum signal_kind kind,
		       enum party sender, const struct media_line *line,
		       bool is_usable, uint64_t now_us)
{
	struct signal signal = {
		.at_us = now_us,
		.sdp = line->sdp,
		.kind = (uint8_t)kind,
		.sender = (uint8_t)sender,
		.direction = (uint8_t)line->direction,
		.ice = line->ice,
		.is_usable = is_usable,
	};
	size_t len = line->type.len < sizeof(signal.type) - 1
			     ? line->type.len
			     : sizeof(signal.type) - 1;

	memcpy(signal.type, line->type.ptr, len);
	signals_note(signals, &signal);
}
