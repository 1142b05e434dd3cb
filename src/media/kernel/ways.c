#include "media/kernel/ways.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "media/kernel/hop_table.h"
#include "media/kernel/next_hop.h"

struct ways {
	struct flow_maps *maps;
	struct attachments *attachments;
	struct next_hops *next_hops;
	struct hop_table *hops;
	uint64_t now_us; /* of the present call */
	uint64_t count;  /* destinations in use */
	struct log_limit full, lost;
};

static void write_hop(uint16_t index, const struct flow_hop *hop, void *arg)
{
	flow_maps_set_hop(arg, index, hop);
}

static void warn_full(struct ways *w)
{
	char left_out[LOG_LEFT_OUT_SIZE];
	uint64_t suppressed;

	if (log_limit_allows(&w->full, w->now_us, &suppressed))
		log_warning("more than %u neighbours that media goes to: "
			    "userspace forwards what goes to others%s",
			    FLOW_HOPS - FLOW_HOP_FIRST,
			    log_left_out(suppressed, left_out));
}

static uint16_t take_hop(struct ways *w, const struct destination *way)
{
	const struct next_hop *hop = destination_hop(way);
	struct flow_hop entry = {0};
	uint16_t index;

	if (!hop)
		return FLOW_HOP_NOWHERE;
	memcpy(entry.dst_mac, hop->dst_mac, sizeof(entry.dst_mac));
	memcpy(entry.src_mac, hop->src_mac, sizeof(entry.src_mac));
	entry.ifindex = hop->ifindex;
	entry.device =
		attachments_device(w->attachments, hop->physical_ifindex);
	entry.vlan = hop->has_vlan ? htons(hop->vlan_id) : 0;
	entry.mtu = hop->mtu < UINT16_MAX ? (uint16_t)hop->mtu : UINT16_MAX;
	index = hop_table_take(w->hops, &entry, w->now_us);
	if (index == FLOW_HOP_NOWHERE)
		warn_full(w);
	return index;
}

/* Lead all flows of a destination by the hop that it has now. A worker that is
 * installing one looks at item->hop again afterwards: kernel_engine.c,
 * kernel_add(). */
static void point(struct ways *w, struct destination *way)
{
	uint16_t before = (uint16_t)way->hop_index;
	uint16_t after = take_hop(w, way);

	way->hop_index = after;
	list_for_each (link, &way->users) {
		struct engine_item *item =
			list_item(link, struct engine_item, in_way);

		atomic_store(&item->hop, after);
		flow_maps_move(w->maps, &item->local, before, after);
	}
	hop_table_put(w->hops, before, w->now_us);
}

/* One line for all of a moment: there may be thousands. */
static void warn_lost(struct ways *w, const struct destination *way)
{
	char text[ADDR_TEXT_SIZE], left_out[LOG_LEFT_OUT_SIZE];
	uint64_t suppressed;

	if (log_limit_allows(&w->lost, w->now_us, &suppressed))
		log_warning("way to %s lost: %s; until it is found, userspace "
			    "forwards what goes there%s",
			    ip_format(&way->dst, text),
			    next_hop_problem_name(destination_problem(way)),
			    log_left_out(suppressed, left_out));
}

static void way_changed(struct destination *way, void *arg)
{
	struct ways *w = arg;
	bool had_one = way->hop_index >= FLOW_HOP_FIRST;
	char text[ADDR_TEXT_SIZE];

	log_debug("way to %s: %s", ip_format(&way->dst, text),
		  next_hop_problem_name(destination_problem(way)));
	point(w, way);
	if (had_one && !destination_hop(way))
		warn_lost(w, way);
}

/* ---- the thread ---- */

int ways_new(struct ways **ret, struct flow_maps *maps,
	     const struct interfaces *interfaces,
	     struct attachments *attachments)
{
	struct ways *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->maps = maps;
	w->attachments = attachments;
	w->full = LOG_LIMIT(1, 60 * US_PER_S);
	w->lost = LOG_LIMIT(1, US_PER_S);
	r = hop_table_new(&w->hops, write_hop, maps);
	if (r == 0)
		r = next_hops_new(&w->next_hops, interfaces, way_changed, w);
	if (r < 0) {
		ways_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

struct ways *ways_free(struct ways *w)
{
	if (!w)
		return NULL;
	next_hops_free(w->next_hops);
	hop_table_free(w->hops);
	free(w);
	return NULL;
}

int ways_fd(const struct ways *w)
{
	return next_hops_fd(w->next_hops);
}

void ways_dispatch(struct ways *w, uint64_t now_us)
{
	w->now_us = now_us;
	next_hops_dispatch(w->next_hops, now_us);
}

void ways_tick(struct ways *w, uint64_t now_us)
{
	w->now_us = now_us;
	next_hops_tick(w->next_hops, now_us);
}

uint64_t ways_wait_us(const struct ways *w, uint64_t now_us)
{
	return next_hops_wait_us(w->next_hops, now_us);
}

void ways_link_changed(struct ways *w, unsigned ifindex, uint64_t now_us)
{
	w->now_us = now_us;
	next_hops_link_changed(w->next_hops, ifindex);
}

void ways_count(const struct ways *w, struct media_engine_status *ret)
{
	const struct next_hops_counters *lookups =
		next_hops_counters(w->next_hops);
	struct hop_table_counts hops;

	hop_table_count(w->hops, &hops);
	ret->destinations = w->count;
	ret->hops = hops.used;
	ret->hops_full = hops.full;
	ret->lookup_errors = lookups->lookup_errors;
	ret->neighbours_refused = lookups->refused;
	ret->netlink_resyncs = lookups->resyncs;
}

/* ---- items ---- */

void ways_find(struct ways *w, struct engine_item *item, uint64_t now_us)
{
	int r = next_hops_take(w->next_hops, &item->destination.ip,
			       &item->source, now_us, &item->way);

	w->now_us = now_us;
	if (r < 0) {
		/* The packets go on through userspace. */
		item->way = NULL;
		atomic_store(&item->hop, FLOW_HOP_NOWHERE);
		return;
	}
	if (list_empty(&item->way->users))
		w->count++;
	/* Not known before, or there was no room for it in the table. */
	if (item->way->hop_index < FLOW_HOP_FIRST)
		point(w, item->way);
	list_add_tail(&item->way->users, &item->in_way);
	atomic_store(&item->hop, (uint16_t)item->way->hop_index);
}

void ways_leave(struct ways *w, struct engine_item *item, uint64_t now_us)
{
	struct destination *way = item->way;

	item->way = NULL;
	if (!way)
		return;
	list_del(&item->in_way);
	if (list_empty(&way->users)) {
		hop_table_put(w->hops, (uint16_t)way->hop_index, now_us);
		way->hop_index = FLOW_HOP_UP;
		w->count--;
	}
	next_hops_put(w->next_hops, way);
}
