#include "media/kernel/flow_maps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/clock.h"
#include "base/log.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include "relay.skel.h"
#pragma GCC diagnostic pop

#define NS_PER_US 1000u
/* Of the TOS byte (RFC 3168): congestion on the way here goes on to whom it
 * concerns. */
#define ECN_BITS 3u
/* Without a word for so long, another relay's programs are left over. */
#define RENEWAL_MISSED_US (5 * US_PER_S)

struct flow_maps {
	struct relay_bpf *object;
	uint32_t first_port, port_count;
	/* mapped: */
	struct flow4 *flows4;
	struct flow6 *flows6;
	struct flow_strangers *strangers;
	struct flow_hop *hops;
	struct flow_control *control;
	int cpus;
};

/* ---- loading ---- */

static int log_libbpf(enum libbpf_print_level level, const char *format,
		      va_list args)
{
	char text[512];

	if (level == LIBBPF_DEBUG || log_get_level() > LOG_LEVEL_DEBUG)
		return 0;
	(void)vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_debug("libbpf: %s", text);
	return 0;
}

static size_t map_size(const struct bpf_map *map)
{
	size_t size =
		(size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

static int map_memory(void *ret_pointer, const struct bpf_map *map)
{
	void *memory = mmap(NULL, map_size(map), PROT_READ | PROT_WRITE,
			    MAP_SHARED, bpf_map__fd(map), 0);

	if (memory == MAP_FAILED)
		return -errno;
	*(void **)ret_pointer = memory;
	return 0;
}

static void unmap_memory(void *memory, const struct bpf_map *map)
{
	if (memory)
		munmap(memory, map_size(map));
}

static int map_all(struct flow_maps *maps)
{
	const struct relay_bpf *o = maps->object;
	int r;

	if ((r = map_memory(&maps->flows4, o->maps.flows4)) < 0 ||
	    (r = map_memory(&maps->flows6, o->maps.flows6)) < 0 ||
	    (r = map_memory(&maps->strangers, o->maps.strangers)) < 0 ||
	    (r = map_memory(&maps->hops, o->maps.hops)) < 0 ||
	    (r = map_memory(&maps->control, o->maps.control)) < 0)
		return r;
	return 0;
}

static void write_control(struct flow_maps *maps,
			  const struct media_engine_config *config)
{
	*maps->control = (struct flow_control){
		.magic = FLOW_ABI_MAGIC,
		.abi_version = FLOW_ABI_VERSION,
		.first_port = maps->first_port,
		.port_count = maps->port_count,
		.tos = config->keeps_tos ? 0 : config->tos & ~ECN_BITS,
		.tos_kept = config->keeps_tos ? 0xff : ECN_BITS,
		.pid = (uint32_t)getpid(),
		.family = config->local.family,
	};
	memcpy(maps->control->address, config->local.bytes,
	       sizeof(maps->control->address));
}

static void size_maps(const struct flow_maps *maps)
{
	const struct relay_bpf *o = maps->object;

	(void)bpf_map__set_max_entries(o->maps.flows4, maps->port_count);
	(void)bpf_map__set_max_entries(o->maps.flows6, maps->port_count);
	(void)bpf_map__set_max_entries(o->maps.strangers, maps->port_count);
}

static const char *why_not(int error)
{
	switch (error) {
	case EPERM:
		return "no permission to load a program into the kernel: it "
		       "takes root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON";
	case ENOSYS:
		return "the kernel has no BPF";
	case ENOMEM:
		return "no memory for the kernel's maps";
	case EINVAL:
	case ENOTSUP:
		return "the kernel does not take the program";
	default:
		return strerror(error);
	}
}

int flow_maps_new(struct flow_maps **ret,
		  const struct media_engine_config *config, char *ret_why,
		  size_t why_size)
{
	struct flow_maps *maps = calloc(1, sizeof(*maps));
	int r = -ENOMEM;

	libbpf_set_print(log_libbpf);
	if (!maps)
		goto fail;
	maps->first_port = config->port_first;
	maps->port_count = config->port_end - config->port_first;
	maps->cpus = libbpf_num_possible_cpus();
	maps->object = relay_bpf__open();
	if (!maps->object || maps->cpus < 1) {
		r = -EINVAL;
		goto fail;
	}
	size_maps(maps);
	r = relay_bpf__load(maps->object);
	if (r == 0)
		r = map_all(maps);
	if (r < 0)
		goto fail;
	write_control(maps, config);
	*ret = maps;
	return 0;
fail:
	(void)snprintf(ret_why, why_size, "%s", why_not(-r));
	flow_maps_free(maps);
	return r;
}

struct flow_maps *flow_maps_free(struct flow_maps *maps)
{
	if (maps && maps->object) {
		const struct relay_bpf *o = maps->object;

		unmap_memory(maps->flows4, o->maps.flows4);
		unmap_memory(maps->flows6, o->maps.flows6);
		unmap_memory(maps->strangers, o->maps.strangers);
		unmap_memory(maps->hops, o->maps.hops);
		unmap_memory(maps->control, o->maps.control);
		relay_bpf__destroy(maps->object);
	}
	free(maps);
	return NULL;
}

int flow_maps_xdp(const struct flow_maps *maps)
{
	return bpf_program__fd(maps->object->progs.relay_xdp);
}

int flow_maps_tc(const struct flow_maps *maps)
{
	return bpf_program__fd(maps->object->progs.relay_tc);
}

/* ---- a port ---- */

static bool index_of(const struct flow_maps *maps, const struct endpoint *local,
		     uint32_t *ret)
{
	uint32_t index = (uint32_t)local->port - maps->first_port;

	if (index >= maps->port_count)
		return false;
	*ret = index;
	return true;
}

static struct flow_counters *counters_of(const struct flow_maps *maps,
					 const struct endpoint *local,
					 uint32_t index)
{
	return local->ip.family == AF_INET ? &maps->flows4[index].counters
					   : &maps->flows6[index].counters;
}

static uint16_t *hop_of(const struct flow_maps *maps,
			const struct endpoint *local)
{
	uint32_t index;

	if (!index_of(maps, local, &index))
		return NULL;
	return local->ip.family == AF_INET ? &maps->flows4[index].hop
					   : &maps->flows6[index].hop;
}

void flow_maps_reset(struct flow_maps *maps, const struct endpoint *local)
{
	uint32_t index;

	if (!index_of(maps, local, &index))
		return;
	*counters_of(maps, local, index) = (struct flow_counters){0};
	maps->strangers[index] = (struct flow_strangers){0};
}

static uint32_t to_units(uint64_t time_us)
{
	return (uint32_t)(time_us * NS_PER_US >> FLOW_TIME_SHIFT);
}

/* The units wrap: count back from now. */
static uint64_t from_units(uint32_t units, uint64_t now_us)
{
	uint64_t now = now_us * NS_PER_US >> FLOW_TIME_SHIFT;
	int32_t age = (int32_t)((uint32_t)now - units);

	if (age < 0)
		age = 0; /* it came after we looked at the clock */
	return ((now - (uint32_t)age) << FLOW_TIME_SHIFT) / NS_PER_US;
}

static uint32_t sum_words(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2) {
		uint16_t word;

		memcpy(&word, p + i, sizeof(word));
		sum += word;
	}
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* What replacing `before` by `after` adds to a checksum over them. */
static uint16_t delta_of(uint32_t before, uint32_t after)
{
	return fold((uint32_t)(uint16_t)~fold(before) + fold(after));
}

struct sides {
	const struct endpoint *remote, *local, *source, *destination;
	size_t len; /* of an address */
};

static uint16_t address_delta(const struct sides *s)
{
	return delta_of(sum_words(s->remote->ip.bytes, s->len) +
				sum_words(s->local->ip.bytes, s->len),
			sum_words(s->source->ip.bytes, s->len) +
				sum_words(s->destination->ip.bytes, s->len));
}

static uint16_t port_delta(const struct sides *s)
{
	return delta_of(
		(uint32_t)htons(s->remote->port) + htons(s->local->port),
		(uint32_t)htons(s->source->port) + htons(s->destination->port));
}

#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define STORE(field, value)                                                    \
	__atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

static void begin_counting(struct flow_counters *c,
			   const struct engine_flow *flow)
{
	STORE(c->heard, to_units(flow->heard_us));
	STORE(c->media, 0u);
	STORE(c->ssrc, 0u);
	STORE(c->seq, (uint16_t)0);
	STORE(c->seen, (uint8_t)0);
}

static void write_flow4(struct flow4 *f, const struct sides *s, uint8_t flags)
{
	f->flags = flags;
	f->remote_port = htons(s->remote->port);
	f->src_port = htons(s->source->port);
	f->dst_port = htons(s->destination->port);
	f->address_delta = address_delta(s);
	f->port_delta = port_delta(s);
	memcpy(&f->remote, s->remote->ip.bytes, s->len);
	memcpy(&f->local, s->local->ip.bytes, s->len);
	memcpy(&f->src, s->source->ip.bytes, s->len);
	memcpy(&f->dst, s->destination->ip.bytes, s->len);
}

static void write_flow6(struct flow6 *f, const struct sides *s, uint8_t flags)
{
	f->flags = flags;
	f->remote_port = htons(s->remote->port);
	f->src_port = htons(s->source->port);
	f->dst_port = htons(s->destination->port);
	f->address_delta = address_delta(s);
	f->port_delta = port_delta(s);
	memcpy(f->remote, s->remote->ip.bytes, s->len);
	memcpy(f->local, s->local->ip.bytes, s->len);
	memcpy(f->src, s->source->ip.bytes, s->len);
	memcpy(f->dst, s->destination->ip.bytes, s->len);
}

void flow_maps_add(struct flow_maps *maps, const struct engine_item *item,
		   const struct engine_flow *flow, uint16_t hop)
{
	const struct sides sides = {
		.remote = &flow->remote,
		.local = &item->local,
		.source = &flow->source,
		.destination = &item->destination,
		.len = item->local.ip.family == AF_INET ? 4 : 16,
	};
	uint8_t flags = (uint8_t)((flow->is_udptl ? FLOW_IS_UDPTL : 0) |
				  (flow->stun_up ? FLOW_STUN_UP : 0));
	uint32_t index;

	if (!index_of(maps, &item->local, &index))
		return;
	begin_counting(counters_of(maps, &item->local, index), flow);
	if (item->local.ip.family == AF_INET)
		write_flow4(&maps->flows4[index], &sides, flags);
	else
		write_flow6(&maps->flows6[index], &sides, flags);
	__atomic_store_n(hop_of(maps, &item->local), hop, __ATOMIC_SEQ_CST);
}

void flow_maps_del(struct flow_maps *maps, const struct endpoint *local)
{
	uint16_t *hop = hop_of(maps, local);

	if (hop)
		__atomic_store_n(hop, FLOW_HOP_UP, __ATOMIC_SEQ_CST);
}

void flow_maps_move(struct flow_maps *maps, const struct endpoint *local,
		    uint16_t from, uint16_t to)
{
	uint16_t *hop = hop_of(maps, local);

	if (hop)
		(void)__atomic_compare_exchange_n(hop, &from, to, false,
						  __ATOMIC_SEQ_CST,
						  __ATOMIC_SEQ_CST);
}

void flow_maps_read(const struct flow_maps *maps, const struct endpoint *local,
		    uint64_t now_us, struct engine_counters *ret)
{
	struct engine_counters counters = {.payload_type = -1};
	const struct flow_counters *c;
	uint32_t index;
	uint8_t seen;

	*ret = counters;
	if (!index_of(maps, local, &index))
		return;
	c = counters_of(maps, local, index);
	seen = LOAD(c->seen);
	counters.packets = LOAD(c->packets);
	counters.bytes = LOAD(c->bytes);
	counters.dropped = LOAD(maps->strangers[index].dropped);
	counters.has_ssrc = seen & FLOW_SEEN_RTP;
	counters.has_udptl_seq = seen & FLOW_SEEN_UDPTL;
	counters.seq = LOAD(c->seq);
	counters.ssrc = LOAD(c->ssrc);
	if (seen & FLOW_SEEN_RTP)
		counters.payload_type = LOAD(c->payload_type);
	if (now_us > 0 && LOAD(c->heard) != 0)
		counters.heard_us = from_units(LOAD(c->heard), now_us);
	if (now_us > 0 && seen & FLOW_SEEN_MEDIA)
		counters.media_us = from_units(LOAD(c->media), now_us);
	*ret = counters;
}

/* ---- the engine's thread ---- */

void flow_maps_set_hop(struct flow_maps *maps, uint16_t index,
		       const struct flow_hop *hop)
{
	/* Whoever stores the index in a flow does so by a release. */
	maps->hops[index] = *hop;
}

int flow_maps_set_device(struct flow_maps *maps, uint32_t slot,
			 unsigned ifindex)
{
	int fd = bpf_map__fd(maps->object->maps.devices);
	int r = ifindex ? bpf_map_update_elem(fd, &slot, &ifindex, BPF_ANY)
			: bpf_map_delete_elem(fd, &slot);

	return r == -ENOENT ? 0 : r;
}

void flow_maps_renew(struct flow_maps *maps, uint64_t now_us, uint64_t lease_us)
{
	__atomic_store_n(&maps->control->lease_ns,
			 (now_us + lease_us) * NS_PER_US, __ATOMIC_RELAXED);
	__atomic_store_n(&maps->control->renewed_ns, now_us * NS_PER_US,
			 __ATOMIC_RELAXED);
}

const char *flow_stat_name(enum flow_stat stat)
{
	static const char *const names[FLOW_STATS] = {
		[FLOW_UP_FRAGMENT] = "up_fragment",
		[FLOW_UP_OPTIONS] = "up_options",
		[FLOW_UP_MALFORMED] = "up_malformed",
		[FLOW_UP_TTL] = "up_ttl",
		[FLOW_UP_MTU] = "up_mtu",
		[FLOW_UP_NO_HOP] = "up_no_hop",
		[FLOW_UP_OFFLOAD] = "up_offload",
		[FLOW_UP_LEASE] = "up_lease",
		[FLOW_UP_STRANGER] = "up_stranger",
		[FLOW_UP_STUN] = "up_stun",
		[FLOW_DROP_STRANGER] = "dropped_stranger",
		[FLOW_DROP_NO_ROOM] = "dropped_no_room",
	};

	return names[stat];
}

void flow_maps_read_stats(const struct flow_maps *maps,
			  uint64_t ret[static FLOW_STATS])
{
	int fd = bpf_map__fd(maps->object->maps.stats);
	uint64_t *values = calloc((size_t)maps->cpus, sizeof(*values));

	for (uint32_t stat = 0; stat < FLOW_STATS; stat++) {
		ret[stat] = 0;
		if (!values || bpf_map_lookup_elem(fd, &stat, values) < 0)
			continue;
		for (int cpu = 0; cpu < maps->cpus; cpu++)
			ret[stat] += values[cpu];
	}
	free(values);
}

/* ---- whose is it? ---- */

static bool read_control(uint32_t map_id, struct flow_control *ret)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info), key = 0;
	int fd = bpf_map_get_fd_by_id(map_id);
	bool found;

	if (fd < 0)
		return false;
	found = bpf_obj_get_info_by_fd(fd, &info, &size) == 0 &&
		strcmp(info.name, "control") == 0 &&
		info.value_size == sizeof(*ret) &&
		bpf_map_lookup_elem(fd, &key, ret) == 0 &&
		ret->magic == FLOW_ABI_MAGIC;
	close(fd);
	return found;
}

static bool find_control(uint32_t prog_id, struct flow_control *ret)
{
	uint32_t map_ids[16];
	struct bpf_prog_info info = {
		.nr_map_ids = 16,
		.map_ids = (uintptr_t)map_ids,
	};
	uint32_t size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(prog_id);
	bool found = false;

	if (fd < 0)
		return false;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
		for (uint32_t i = 0; i < info.nr_map_ids && i < 16; i++)
			found = found || read_control(map_ids[i], ret);
	close(fd);
	return found;
}

enum flow_owner flow_maps_owner(const struct flow_maps *maps, uint32_t prog_id,
				uint64_t now_us)
{
	const struct flow_control *ours = maps->control;
	struct flow_control theirs;

	if (!find_control(prog_id, &theirs))
		return FLOW_OWNER_OTHER;
	if (theirs.family == ours->family &&
	    memcmp(theirs.address, ours->address, sizeof(ours->address)) == 0 &&
	    theirs.first_port == ours->first_port)
		return FLOW_OWNER_GONE;
	return theirs.renewed_ns / NS_PER_US + RENEWAL_MISSED_US > now_us
		       ? FLOW_OWNER_ALIVE
		       : FLOW_OWNER_GONE;
}
