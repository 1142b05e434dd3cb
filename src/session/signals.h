#pragma once
/**
 * @file session/signals.h  What signalling said of a session, for its story
 *
 * One entry for each m= line of an offer or an answer, the pick-up, and what
 * was refused. Bounded: the first ones, how the call was set up, and the latest
 * ones. What is said again is not noted again.
 */
#include <stddef.h>
#include <stdint.h>

#include "proto/party.h"
#include "proto/update.h"

#define SIGNALS_FIRST 4
#define SIGNALS_LATEST 12
#define SIGNALS_MAX (SIGNALS_FIRST + SIGNALS_LATEST)

enum signal_kind {
	SIGNAL_OFFER,
	SIGNAL_ANSWER,
	SIGNAL_PICK_UP,
	SIGNAL_REFUSED /* an update that changed nothing */
};

struct signal {
	uint64_t at_us;
	const char *why; /* SIGNAL_REFUSED: static text */
	struct endpoint sdp;
	uint8_t kind, sender, direction; /* their enums */
	bool ice;
	bool is_usable; /* packets go to this SDP before it speaks */
	char type[8];   /* of media; cut */
};

/** Zero it. */
struct signals {
	struct signal *list;
	uint16_t size;
	uint32_t noted; /* ever */
};

void signals_done(struct signals *signals);

/** Without memory it is lost, as if it were too old. */
void signals_note(struct signals *signals, const struct signal *signal);

/** One m= line of a message. @param is_usable  Packets go to its address before
 * anything came from there */
void signals_note_line(struct signals *signals, enum signal_kind kind,
		       enum party sender, const struct media_line *line,
		       bool is_usable, uint64_t now_us);

/** The number that is kept, in no order. */
size_t signals_count(const struct signals *signals);
