#pragma once
/**
 * @file media/kernel/ways.h  Which flows go by which next hop
 *
 * Brings together what next_hop.h finds out about destinations, the entries of
 * hop_table.h, and the flows in the maps: when a route or a neighbour changes,
 * all flows to the destinations that it concerns are led by another entry, each
 * by one atomic store. The engine's thread only.
 */
#include "media/engine.h"
#include "media/kernel/attach.h"
#include "media/kernel/flow_maps.h"
#include "media/kernel/interfaces.h"

struct ways;

/** All are borrowed. @return 0 or a negative errno */
int ways_new(struct ways **ret, struct flow_maps *maps,
	     const struct interfaces *interfaces,
	     struct attachments *attachments);

/** Items that are left have no way any more. NULL is fine. @return NULL */
struct ways *ways_free(struct ways *ways);

/** To be polled for ways_dispatch(). */
int ways_fd(const struct ways *ways);
void ways_dispatch(struct ways *ways, uint64_t now_us);

/** Each second, and when ways_wait_us() is 0. */
void ways_tick(struct ways *ways, uint64_t now_us);
uint64_t ways_wait_us(const struct ways *ways, uint64_t now_us);

void ways_link_changed(struct ways *ways, unsigned ifindex, uint64_t now_us);

/** Set item->hop to the way to its destination, and keep it current until
 * ways_leave(). Where there is no way, it is FLOW_HOP_NOWHERE. */
void ways_find(struct ways *ways, struct engine_item *item, uint64_t now_us);
void ways_leave(struct ways *ways, struct engine_item *item, uint64_t now_us);

/** Fill in destinations, hops and the counters of lookups. */
void ways_count(const struct ways *ways, struct media_engine_status *ret);
