#include "bpf_scene.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include "bpf/relay.skel.h"
#pragma GCC diagnostic pop

#define LOOPBACK_IFINDEX 1
/* Newer than Debian 12 and its headers. */
#define TEST_SKB_CHECKSUM_COMPLETE (1u << 2)

static const uint8_t hop_dst_mac[6] = {0x02, 0, 0, 0, 0x77, 1};
static const uint8_t hop_src_mac[6] = {0x02, 0, 0, 0, 0x77, 2};

/* ---- loading ---- */

static bool there_is_no_bpf(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "probe", 4, 4, 1, NULL);

	if (fd < 0)
		return errno == EPERM || errno == ENOSYS;
	close(fd);
	return false;
}

static void *mapped(const struct bpf_map *map)
{
	size_t value = (bpf_map__value_size(map) + 7u) & ~7u;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t len = value * bpf_map__max_entries(map);
	void *at =
		mmap(NULL, (len + page - 1) / page * page,
		     PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return at == MAP_FAILED ? NULL : at;
}

static int load(struct scene *s)
{
	struct relay_bpf *o = relay_bpf__open();

	s->object = o;
	if (!o || bpf_map__set_max_entries(o->maps.flows4, SCENE_PORTS) ||
	    bpf_map__set_max_entries(o->maps.flows6, SCENE_PORTS) ||
	    bpf_map__set_max_entries(o->maps.strangers, SCENE_PORTS) ||
	    relay_bpf__load(o))
		return -1;
	s->control = mapped(o->maps.control);
	s->flows4 = mapped(o->maps.flows4);
	s->flows6 = mapped(o->maps.flows6);
	s->strangers = mapped(o->maps.strangers);
	s->hops = mapped(o->maps.hops);
	return s->control && s->flows4 && s->flows6 && s->strangers && s->hops
		       ? 0
		       : -1;
}

int scene_start(void **state)
{
	struct scene *s;
	__u32 device = SCENE_DEVICE, lo = LOOPBACK_IFINDEX;

	*state = NULL;
	if (there_is_no_bpf()) {
		print_message("no BPF: %s\n", strerror(errno));
		return 0;
	}
	s = calloc(1, sizeof(*s));
	if (!s || load(s) ||
	    bpf_map__update_elem(s->object->maps.devices, &device,
				 sizeof(device), &lo, sizeof(lo), 0)) {
		print_error("the object cannot be loaded: %s\n",
			    strerror(errno));
		return -1;
	}
	scene_reset(s);
	*state = s;
	return 0;
}

int scene_stop(void **state)
{
	struct scene *s = *state;

	if (s)
		relay_bpf__destroy(s->object);
	free(s);
	return 0;
}

struct scene *scene_of(void **state)
{
	struct scene *s = *state;

	if (!s) {
		print_message("skipped: no BPF, or not root\n");
		skip();
	}
	scene_reset(s);
	return s;
}

void scene_each(void **state, scene_case_h run)
{
	for (enum scene_program p = SCENE_XDP; p <= SCENE_TC; p++) {
		run(scene_of(state), p, 4);
		run(scene_of(state), p, 6);
	}
}

/* ---- what is in the maps ---- */

uint64_t scene_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct way scene_way(int family)
{
	struct way w = {.remote_port = 40000,
			.src_port = SCENE_PORT + 2,
			.dst_port = 30000};

	if (family == 4) {
		memcpy(w.remote, (uint8_t[]){192, 0, 2, 10}, 4);
		memcpy(w.local, (uint8_t[]){198, 51, 100, 1}, 4);
		memcpy(w.src, (uint8_t[]){203, 0, 113, 1}, 4);
		memcpy(w.dst, (uint8_t[]){203, 0, 113, 77}, 4);
		return w;
	}
	for (unsigned i = 0; i < 4; i++) {
		uint8_t *ip[] = {w.remote, w.local, w.src, w.dst};

		memcpy(ip[i], (uint8_t[]){0x20, 0x01, 0x0d, 0xb8}, 4);
		ip[i][7] = (uint8_t)(i + 1);
		ip[i][15] = (uint8_t)(0xa0 + i);
	}
	return w;
}

/* What replacing these bytes adds, in ones' complement and in the byte order of
 * the machine, as the ABI wants it. */
static uint32_t difference(const void *before, const void *after, size_t len)
{
	uint32_t sum = 0;
	uint16_t a, b;

	for (size_t i = 0; i < len; i += 2) {
		memcpy(&b, (const uint8_t *)before + i, 2);
		memcpy(&a, (const uint8_t *)after + i, 2);
		sum += (uint32_t)(uint16_t)~b + a;
	}
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t big_endian(uint16_t value)
{
	return __builtin_bswap16(value);
}

static uint16_t address_delta(int family, const struct way *w)
{
	size_t len = address_len(family);

	return fold(difference(w->remote, w->src, len) +
		    difference(w->local, w->dst, len));
}

static uint16_t port_delta(const struct way *w)
{
	uint16_t before[2] = {big_endian(w->remote_port),
			      big_endian(SCENE_PORT)};
	uint16_t after[2] = {big_endian(w->src_port), big_endian(w->dst_port)};

	return fold(difference(before, after, sizeof(before)));
}

static void install4(struct flow4 *f, const struct way *w)
{
	f->remote_port = big_endian(w->remote_port);
	f->src_port = big_endian(w->src_port);
	f->dst_port = big_endian(w->dst_port);
	memcpy(&f->remote, w->remote, 4);
	memcpy(&f->local, w->local, 4);
	memcpy(&f->src, w->src, 4);
	memcpy(&f->dst, w->dst, 4);
	f->address_delta = address_delta(4, w);
	f->port_delta = port_delta(w);
	f->hop = SCENE_HOP;
}

static void install6(struct flow6 *f, const struct way *w)
{
	f->remote_port = big_endian(w->remote_port);
	f->src_port = big_endian(w->src_port);
	f->dst_port = big_endian(w->dst_port);
	memcpy(f->remote, w->remote, 16);
	memcpy(f->local, w->local, 16);
	memcpy(f->src, w->src, 16);
	memcpy(f->dst, w->dst, 16);
	f->address_delta = address_delta(6, w);
	f->port_delta = port_delta(w);
	f->hop = SCENE_HOP;
}

void scene_install(struct scene *s, int family, const struct way *way)
{
	if (family == 4)
		install4(&s->flows4[SCENE_INDEX], way);
	else
		install6(&s->flows6[SCENE_INDEX], way);
}

uint16_t *scene_flow_hop(struct scene *s, int family)
{
	return family == 4 ? &s->flows4[SCENE_INDEX].hop
			   : &s->flows6[SCENE_INDEX].hop;
}

struct flow_counters *scene_counters(struct scene *s, int family)
{
	return family == 4 ? &s->flows4[SCENE_INDEX].counters
			   : &s->flows6[SCENE_INDEX].counters;
}

void scene_reset(struct scene *s)
{
	struct flow_hop *hop = &s->hops[SCENE_HOP];

	memset(s->flows4, 0, SCENE_PORTS * sizeof(*s->flows4));
	memset(s->flows6, 0, SCENE_PORTS * sizeof(*s->flows6));
	memset(s->strangers, 0, SCENE_PORTS * sizeof(*s->strangers));
	memset(s->hops, 0, (SCENE_HOP + 1) * sizeof(*s->hops));
	*s->control = (struct flow_control){
		.magic = FLOW_ABI_MAGIC,
		.abi_version = FLOW_ABI_VERSION,
		.first_port = SCENE_FIRST_PORT,
		.port_count = SCENE_PORTS,
		.lease_ns = scene_now_ns() + 3600 * 1000000000ull,
		.tos = SCENE_TOS,
	};
	memcpy(hop->dst_mac, hop_dst_mac, 6);
	memcpy(hop->src_mac, hop_src_mac, 6);
	hop->ifindex = LOOPBACK_IFINDEX;
	hop->device = SCENE_DEVICE;
	hop->mtu = SCENE_MTU;
	for (int family = 4; family <= 6; family += 2) {
		struct way way = scene_way(family);

		scene_install(s, family, &way);
		scene_counters(s, family)->payload_type = 0xff;
	}
	s->gso_size = s->meta_len = 0;
	s->whole_sum = false;
}

static uint64_t stat_of(struct scene *s, __u32 which)
{
	int cpus = libbpf_num_possible_cpus();
	size_t size = (size_t)cpus * sizeof(uint64_t);
	uint64_t *counts = calloc(1, size), sum = 0;

	assert_non_null(counts);
	assert_int_equal(bpf_map__lookup_elem(s->object->maps.stats, &which,
					      sizeof(which), counts, size, 0),
			 0);
	for (int i = 0; i < cpus; i++)
		sum += counts[i];
	free(counts);
	return sum;
}

struct scene_counts scene_counts(struct scene *s)
{
	struct scene_counts c = {
		.flow4 = s->flows4[SCENE_INDEX].counters,
		.flow6 = s->flows6[SCENE_INDEX].counters,
		.strangers = s->strangers[SCENE_INDEX],
	};

	for (__u32 i = 0; i < FLOW_STATS; i++)
		c.stats[i] = stat_of(s, i);
	return c;
}

/* ---- running ---- */

int scene_program_fd(struct scene *s, enum scene_program program)
{
	return bpf_program__fd(program == SCENE_XDP
				       ? s->object->progs.relay_xdp
				       : s->object->progs.relay_tc);
}

size_t scene_shortest(enum scene_program program, const uint8_t *frame)
{
	if (program == SCENE_TC && get16(frame + 12) == ETH_P_IP)
		return ETHERNET_LEN + 20;
	if (program == SCENE_TC && get16(frame + 12) == ETH_P_IPV6)
		return ETHERNET_LEN + 40;
	return ETHERNET_LEN;
}

static enum scene_verdict xdp_verdict(__u32 value)
{
	switch (value) {
	case XDP_PASS:
		return SCENE_UP;
	case XDP_DROP:
		return SCENE_DROPPED;
	case XDP_REDIRECT:
		return SCENE_FORWARDED;
	default:
		return SCENE_BROKEN;
	}
}

static enum scene_verdict tc_verdict(__u32 value)
{
	switch ((int)value) {
	case TC_ACT_UNSPEC:
		return SCENE_UP;
	case TC_ACT_SHOT:
		return SCENE_DROPPED;
	case TC_ACT_REDIRECT:
		return SCENE_FORWARDED;
	default:
		return SCENE_BROKEN;
	}
}

static void run_options(const struct scene *s, enum scene_program program,
			struct bpf_test_run_opts *options,
			struct __sk_buff *skb, struct xdp_md *md)
{
	if (program == SCENE_XDP && s->meta_len > 0) {
		md->data = s->meta_len;
		md->data_end = options->data_size_in;
		options->ctx_in = md;
		options->ctx_size_in = sizeof(*md);
	}
	if (program == SCENE_TC && s->gso_size > 0) {
		skb->gso_size = s->gso_size;
		options->ctx_in = skb;
		options->ctx_size_in = sizeof(*skb);
	}
	if (program == SCENE_TC && s->whole_sum)
		options->flags = TEST_SKB_CHECKSUM_COMPLETE;
}

/* With meta_len the frame stands behind so many bytes of metadata. */
enum scene_verdict scene_run(struct scene *s, enum scene_program program,
			     const uint8_t *frame, size_t len)
{
	uint8_t in[FRAME_MOST + 256] = {0}, out[FRAME_MOST + 512];
	size_t meta = program == SCENE_XDP ? s->meta_len : 0;
	struct __sk_buff skb = {0};
	struct xdp_md md = {0};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = in,
		    .data_size_in = (__u32)(meta + len), .data_out = out,
		    .data_size_out = sizeof(out));

	assert_true(len <= FRAME_MOST);
	memcpy(in + meta, frame, len);
	run_options(s, program, &options, &skb, &md);
	s->error =
		bpf_prog_test_run_opts(scene_program_fd(s, program), &options);
	if (s->error)
		return SCENE_BROKEN;
	assert_true(options.data_size_out <= FRAME_MOST);
	s->out_len = options.data_size_out;
	memcpy(s->out, out, s->out_len);
	return program == SCENE_XDP ? xdp_verdict(options.retval)
				    : tc_verdict(options.retval);
}

/* ---- what is expected ---- */

/* Loopback's address is all zeros: such frames are for this host. */
struct frame_spec scene_sent(int family, const struct way *way,
			     const uint8_t *payload, size_t len)
{
	struct frame_spec spec = {
		.family = family,
		.src_mac = {0x02, 0, 0, 0, 0x11, 1},
		.tos = 0x68,
		.ttl = 57,
		.flow_label = 0x5a5a5,
		.id = 0x1234,
		.frag_off = 0x4000,
		.src_port = way->remote_port,
		.dst_port = SCENE_PORT,
		.payload = payload,
		.payload_len = len,
	};

	memcpy(spec.src, way->remote, 16);
	memcpy(spec.dst, way->local, 16);
	return spec;
}

struct frame_spec scene_arrives(const struct scene *s,
				enum scene_program program,
				const struct frame_spec *sent,
				const struct way *way)
{
	struct frame_spec spec = *sent;

	memcpy(spec.dst_mac, hop_dst_mac, 6);
	memcpy(spec.src_mac, hop_src_mac, 6);
	memcpy(spec.src, way->src, 16);
	memcpy(spec.dst, way->dst, 16);
	spec.src_port = way->src_port;
	spec.dst_port = way->dst_port;
	spec.tos =
		(uint8_t)(s->control->tos | (sent->tos & s->control->tos_kept));
	spec.ttl--;
	if (program == SCENE_XDP) {
		spec.tci = big_endian(s->hops[SCENE_HOP].vlan);
		spec.tagged = spec.tci != 0;
	}
	return spec;
}

static void expect_counted(struct scene *s, const struct scene_counts *before,
			   const struct frame_spec *sent)
{
	struct scene_counts after = scene_counts(s);
	bool is_ip4 = sent->family == 4;
	const struct flow_counters *was =
		is_ip4 ? &before->flow4 : &before->flow6;
	const struct flow_counters *is = is_ip4 ? &after.flow4 : &after.flow6;

	assert_int_equal(is->packets, was->packets + 1);
	assert_int_equal(is->bytes, was->bytes + frame_spec_ip_len(sent));
	assert_memory_equal(after.stats, before->stats, sizeof(after.stats));
	assert_memory_equal(&after.strangers, &before->strangers,
			    sizeof(after.strangers));
	if (is_ip4)
		assert_memory_equal(&after.flow6, &before->flow6,
				    sizeof(after.flow6));
	else
		assert_memory_equal(&after.flow4, &before->flow4,
				    sizeof(after.flow4));
}

void scene_expect_forwarded(struct scene *s, enum scene_program program,
			    const struct frame_spec *sent,
			    const struct way *way)
{
	struct scene_counts before = scene_counts(s);
	struct frame_spec arrives = scene_arrives(s, program, sent, way);
	uint8_t in[FRAME_MOST], wanted[FRAME_MOST];
	size_t len = frame_spec_build(sent, in);
	size_t wanted_len = frame_spec_build(&arrives, wanted);

	assert_int_equal(scene_run(s, program, in, len), SCENE_FORWARDED);
	assert_int_equal(s->out_len, wanted_len);
	assert_memory_equal(s->out, wanted, wanted_len);
	assert_true(frame_checksums_hold(&arrives, s->out));
	expect_counted(s, &before, sent);
}

void scene_expect_up(struct scene *s, enum scene_program program,
		     const uint8_t *frame, size_t len, unsigned stat)
{
	struct scene_counts before = scene_counts(s), after;

	assert_int_equal(scene_run(s, program, frame, len), SCENE_UP);
	assert_int_equal(s->out_len, len);
	assert_memory_equal(s->out, frame, len);
	after = scene_counts(s);
	if (stat != SCENE_NO_STAT)
		before.stats[stat]++;
	for (unsigned i = 0; i < FLOW_STATS; i++)
		if (after.stats[i] != before.stats[i])
			fail_msg("stat %u is %llu, not %llu", i,
				 (unsigned long long)after.stats[i],
				 (unsigned long long)before.stats[i]);
	assert_memory_equal(&after, &before, sizeof(after));
}

void scene_expect_spec_up(struct scene *s, enum scene_program program,
			  const struct frame_spec *sent, unsigned stat)
{
	uint8_t frame[FRAME_MOST];
	size_t len = frame_spec_build(sent, frame);

	scene_expect_up(s, program, frame, len, stat);
}
