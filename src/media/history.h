#pragma once
/**
 * @file media/history.h  What was decided about the senders of one component
 *
 * The evidence of `mediaproxy explain`: who was confirmed, by which rule, who
 * was refused and why. Bounded: the latest decisions, and the sources that were
 * refused most, so that a flood of strangers pushes out none of the decisions.
 * The stream's worker writes, anybody reads without a lock. Nothing here is
 * called for a packet of the confirmed remote.
 *
 * Times are milliseconds since the stream began.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

#define HISTORY_DECISIONS 4
#define HISTORY_REFUSALS 3

/** A confirmed sender of RTP is told to be silent when nothing came for this
 * long. Comfort noise comes more often. */
#define HISTORY_SILENCE_US 5000000u

enum history_kind {
	HISTORY_NONE, /* nothing is there */
	/* decisions: */
	HISTORY_CONFIRMED, /* the remote now; reason: enum learning_rule */
	HISTORY_REPLACED,  /* new SDP: it is the remote no longer */
	HISTORY_FORGOTTEN, /* RTCP: the remote was silent for too long */
	/* refusals: */
	HISTORY_HELD,   /* proving itself: its packets wait */
	HISTORY_REFUSED /* reason: enum media_drop */
};

struct history_entry {
	uint8_t ip[16]; /* IPv4 as ::ffff:a.b.c.d; zeros: no source */
	uint32_t first_ms, last_ms;
	/* Packets. HISTORY_CONFIRMED: milliseconds for which the remote before
	 * this one had been silent; 0: there was none. */
	uint32_t count;
	uint16_t port;
	uint8_t kind; /* enum history_kind */
	uint8_t reason;
};

/** How often; they stop at their largest value. */
struct history_counts {
	uint16_t decisions;  /* number n stands at n % HISTORY_DECISIONS */
	uint16_t pushed_out; /* refused sources that are not kept */
	uint16_t silences;   /* that began and ended, or are going on */
	uint16_t handed;     /* to the kernel */
};

/** A copy. */
struct history_facts {
	struct history_counts counts;
	uint32_t silence_from_ms, silence_to_ms; /* the latest */
	uint32_t handed_ms;                      /* the first time */
	struct history_entry decided[HISTORY_DECISIONS];
	struct history_entry refused[HISTORY_REFUSALS];
};

#define HISTORY_WORDS (sizeof(struct history_facts) / sizeof(uint32_t))

/** Zero it. */
struct history {
	_Atomic uint32_t version; /* odd: the worker is writing */
	_Atomic uint32_t words[HISTORY_WORDS];
};

_Static_assert(4 * sizeof(struct history) < 1000,
	       "what a session of one stream remembers stays under 1 kB");

/* worker: */

void history_decided(struct history *history, enum history_kind kind,
		     unsigned reason, const struct endpoint *source,
		     uint32_t now_ms, uint64_t count);

/** @param source  NULL: of nobody in particular */
void history_refused(struct history *history, enum history_kind kind,
		     unsigned reason, const struct endpoint *source,
		     uint32_t now_ms, uint64_t count);

/** The remote was silent, and may be so still. Again with the same beginning:
 * it is the same silence. */
void history_silent(struct history *history, uint32_t from_ms, uint32_t to_ms);

/** The kernel forwards from now on. */
void history_handed(struct history *history, uint32_t now_ms);

/* anybody: */

/**
 * Copy what there is.
 *
 * @return false, with *ret zeroed, if the worker was writing whenever we looked
 * for a millisecond or more: one that was preempted just then. Ask again later
 */
bool history_read(const struct history *history, struct history_facts *ret);

/** Where it came from; unset if it has no source. */
struct endpoint history_source(const struct history_entry *entry);
