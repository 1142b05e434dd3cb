#pragma once
/**
 * @file media/held.h  Packets that wait for their source to be confirmed
 *
 * In the order of arrival, at most LEARNING_HELD_MAX for a component, and
 * bounded in bytes for all components of a worker. Memory is taken only while
 * something is held. Worker only.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "media/classify.h"

/** The most that one worker holds, in bytes of heap. */
#define HELD_MOST_BYTES (4u << 20)

/** The longest that is held: media of a newcomer goes in one frame, and large
 * datagrams of a stranger are not to use up the room of all. */
#define HELD_MOST_LEN 2048

struct held_packet {
	struct held_packet *next;
	struct endpoint source;
	struct packet_facts facts;
	uint64_t arrived_us;
	size_t len;
	uint8_t data[];
};

struct held {
	struct held_packet *first;
	uint8_t count;
};

/** A bound that several struct held share. */
struct held_budget {
	size_t bytes;
};

/**
 * Keep a copy. When LEARNING_HELD_MAX are there, the oldest goes.
 *
 * @return how many packets were lost: 0, or 1 (the oldest, or this one, for
 * want of memory, or because it is too long)
 */
unsigned held_add(struct held *held, struct held_budget *budget,
		  const struct endpoint *source,
		  const struct packet_facts *facts, const void *data,
		  size_t len, uint64_t now_us);

/** Take the oldest out; NULL: empty. Give it to held_packet_free(). */
struct held_packet *held_take(struct held *held);

void held_packet_free(struct held_packet *packet, struct held_budget *budget);

/** Decides whether a packet stays. */
typedef bool held_keep_h(const struct held_packet *packet, void *arg);

/** Drop those that the handler does not want. @return how many */
unsigned held_keep(struct held *held, struct held_budget *budget,
		   held_keep_h *keep, void *arg);

/** Drop all. @return how many */
unsigned held_clear(struct held *held, struct held_budget *budget);
