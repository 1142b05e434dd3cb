#pragma once
/**
 * @file media/kernel/flow_maps.h  The kernel engine's maps, as plain memory
 *
 * Loads the programs of bpf/relay.bpf.c and maps their arrays, whose layout and
 * rules are in bpf/flow_abi.h. Knows nothing of interfaces, routes and threads;
 * each function says who may call it.
 */
#include <stddef.h>
#include <stdint.h>

#include "bpf/flow_abi.h"
#include "media/engine.h"

struct flow_maps;

/**
 * Load the programs. Nothing is attached.
 *
 * @param ret_why  On failure why, for people
 * @return 0, or a negative errno: -EPERM, -ENOSYS, -ENOMEM, ...
 */
int flow_maps_new(struct flow_maps **ret,
		  const struct media_engine_config *config, char *ret_why,
		  size_t why_size);

/** Unload them; what is attached stays alive. NULL is fine. @return NULL */
struct flow_maps *flow_maps_free(struct flow_maps *maps);

/** A program's file descriptor; it belongs to the maps. */
int flow_maps_xdp(const struct flow_maps *maps);
int flow_maps_tc(const struct flow_maps *maps);

/* Of a port: nothing happens, and nothing is read, if it is outside the range
 * of the maps. */

/** Zero its counters. Nobody may have a flow there. */
void flow_maps_reset(struct flow_maps *maps, const struct endpoint *local);

/** Write the flow, and release it by its hop. After a grace period. */
void flow_maps_add(struct flow_maps *maps, const struct engine_item *item,
		   const struct engine_flow *flow, uint16_t hop);

/** Let packets come up. Any thread. */
void flow_maps_del(struct flow_maps *maps, const struct endpoint *local);

/** Change the hop, unless the flow was taken back meanwhile. Any thread. */
void flow_maps_move(struct flow_maps *maps, const struct endpoint *local,
		    uint16_t from, uint16_t to);

/** Any thread. @param now_us  Of CLOCK_MONOTONIC; 0: times are not wanted */
void flow_maps_read(const struct flow_maps *maps, const struct endpoint *local,
		    uint64_t now_us, struct engine_counters *ret);

/* The engine's thread: */

/** Write an entry of the table of hops that no flow points to. */
void flow_maps_set_hop(struct flow_maps *maps, uint16_t index,
		       const struct flow_hop *hop);

/** What XDP may send through. @param ifindex  0: nothing
 * @return 0 or a negative errno */
int flow_maps_set_device(struct flow_maps *maps, uint32_t slot,
			 unsigned ifindex);

/** Forward on until lease_us from now. */
void flow_maps_renew(struct flow_maps *maps, uint64_t now_us,
		     uint64_t lease_us);

const char *flow_stat_name(enum flow_stat stat);

/** Sums over all CPUs. Any thread. */
void flow_maps_read_stats(const struct flow_maps *maps,
			  uint64_t ret[static FLOW_STATS]);

/** Whose program is it? */
enum flow_owner {
	FLOW_OWNER_OTHER, /* not of this project, or it cannot be seen */
	FLOW_OWNER_ALIVE, /* another relay of this host that runs */
	FLOW_OWNER_GONE   /* one that was killed; or us, before we started */
};

enum flow_owner flow_maps_owner(const struct flow_maps *maps, uint32_t prog_id,
				uint64_t now_us);
