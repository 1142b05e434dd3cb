#pragma once
/**
 * @file media/kernel/hop_table.h  The entries of the kernel's table of next
 * hops
 *
 * Equal hops share an entry, so that thousands of flows to one gateway read one
 * line of memory. An entry never changes while somebody may read it: it rests
 * for HOP_REST_US after its last user, and longer than any grace period. The
 * engine's thread only.
 */
#include <stdint.h>

#include "bpf/flow_abi.h"

/** How long an entry rests before it may become another one. */
#define HOP_REST_US 10000000u

struct hop_table;

/** Writes an entry to where the kernel reads it. */
typedef void hop_write_h(uint16_t index, const struct flow_hop *hop, void *arg);

/** @return 0 or -ENOMEM */
int hop_table_new(struct hop_table **ret, hop_write_h *write, void *arg);

/** NULL is fine. @return NULL */
struct hop_table *hop_table_free(struct hop_table *table);

/**
 * Find or make the entry of a hop, and count a user of it.
 *
 * @param hop  Unused bytes zero
 * @return its index, or FLOW_HOP_NOWHERE (which counts no users) if the table
 * is full
 */
uint16_t hop_table_take(struct hop_table *table, const struct flow_hop *hop,
			uint64_t now_us);

/** A user less. FLOW_HOP_UP and FLOW_HOP_NOWHERE are fine. */
void hop_table_put(struct hop_table *table, uint16_t index, uint64_t now_us);

struct hop_table_counts {
	uint32_t used, resting;
	uint64_t full; /* how often there was no entry left */
};

void hop_table_count(const struct hop_table *table,
		     struct hop_table_counts *ret);
