/* The kernel's maps as plain memory, in real ones: ports, counters, the time in
 * its units, and the hop that installs and takes back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/clock.h"
#include "media/kernel/flow_maps.h"

#include "test.h"

#define FIRST_PORT 50000
#define END_PORT 50010
/* A unit of time, and what is lost to whole microseconds. */
#define UNIT_US 1050

static const struct media_engine_config config = {
	.port_first = FIRST_PORT,
	.port_end = END_PORT,
	.lease_us = 30 * US_PER_S,
};

static struct flow_maps *new_maps(void)
{
	char why[MEDIA_REASON_SIZE];
	struct flow_maps *maps;
	int r = flow_maps_new(&maps, &config, why, sizeof(why));

	if (r == -EPERM || r == -ENOSYS) {
		print_message("%s\n", why);
		skip();
	}
	if (r < 0)
		fail_msg("%s", why);
	return maps;
}

static struct endpoint at(const char *ip, uint16_t port)
{
	struct endpoint ep = {.port = port};

	assert_int_equal(ip_parse(span_of(ip), &ep.ip), 0);
	return ep;
}

/* A flow of this port. */
static void add(struct flow_maps *maps, const struct endpoint *local,
		uint64_t heard_us, uint16_t hop)
{
	bool is_ipv4 = local->ip.family == AF_INET;
	const struct engine_item item = {
		.local = *local,
		.destination = at(is_ipv4 ? "192.0.2.2" : "2001:db8::2", 4002),
	};
	const struct engine_flow flow = {
		.remote = at(is_ipv4 ? "192.0.2.1" : "2001:db8::1", 4000),
		.source = at(is_ipv4 ? "192.0.2.9" : "2001:db8::9", 50004),
		.heard_us = heard_us,
	};

	flow_maps_add(maps, &item, &flow, hop);
}

static struct engine_counters read_at(const struct flow_maps *maps,
				      const struct endpoint *local,
				      uint64_t now_us)
{
	struct engine_counters counters;

	flow_maps_read(maps, local, now_us, &counters);
	return counters;
}

static void assert_nothing(const struct engine_counters *c)
{
	const struct engine_counters nothing = {.payload_type = -1};

	assert_int_equal(c->packets, 0);
	assert_int_equal(c->bytes, 0);
	assert_int_equal(c->dropped, 0);
	assert_int_equal(c->heard_us, nothing.heard_us);
	assert_int_equal(c->media_us, 0);
	assert_false(c->has_ssrc || c->has_udptl_seq);
	assert_int_equal(c->payload_type, nothing.payload_type);
}

static void test_a_port_outside_of_the_range_is_nothing(void **state)
{
	const struct endpoint outside[] = {
		at("192.0.2.9", FIRST_PORT - 1), at("192.0.2.9", END_PORT),
		at("192.0.2.9", 0), at("2001:db8::9", FIRST_PORT - 1),
		at("2001:db8::9", END_PORT)};
	struct flow_maps *maps = new_maps();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
		struct engine_counters c;

		flow_maps_reset(maps, &outside[i]);
		add(maps, &outside[i], US_PER_S, FLOW_HOP_FIRST);
		flow_maps_move(maps, &outside[i], FLOW_HOP_FIRST, 7);
		c = read_at(maps, &outside[i], 2 * US_PER_S);
		assert_nothing(&c);
		flow_maps_del(maps, &outside[i]);
	}
	flow_maps_free(maps);
	flow_maps_free(NULL);
}

/* A relay that gets its engine while calls are on: nobody reset their ports. */
static void test_a_port_that_was_never_reset_has_no_payload_type(void **state)
{
	const struct endpoint local[] = {at("192.0.2.9", FIRST_PORT),
					 at("2001:db8::9", END_PORT - 1)};
	struct flow_maps *maps = new_maps();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(local); i++) {
		struct engine_counters c = read_at(maps, &local[i], US_PER_S);

		assert_nothing(&c);
		flow_maps_reset(maps, &local[i]);
		c = read_at(maps, &local[i], US_PER_S);
		assert_nothing(&c);
	}
	flow_maps_free(maps);
}

static void test_both_families_have_a_port_each(void **state)
{
	const struct endpoint ipv4 = at("192.0.2.9", FIRST_PORT);
	const struct endpoint ipv6 = at("2001:db8::9", FIRST_PORT);
	struct flow_maps *maps = new_maps();
	struct engine_counters c;

	(void)state;
	add(maps, &ipv4, 100 * US_PER_S, FLOW_HOP_FIRST);
	c = read_at(maps, &ipv6, 200 * US_PER_S);
	assert_nothing(&c);
	c = read_at(maps, &ipv4, 200 * US_PER_S);
	assert_int_not_equal(c.heard_us, 0);
	flow_maps_reset(maps, &ipv6);
	c = read_at(maps, &ipv4, 200 * US_PER_S);
	assert_int_not_equal(c.heard_us, 0);
	flow_maps_reset(maps, &ipv4);
	c = read_at(maps, &ipv4, 200 * US_PER_S);
	assert_nothing(&c);
	flow_maps_free(maps);
}

static void assert_heard(uint64_t heard_us, uint64_t now_us)
{
	const struct endpoint local = at("192.0.2.9", FIRST_PORT);
	struct flow_maps *maps = new_maps();
	struct engine_counters c;

	add(maps, &local, heard_us, FLOW_HOP_FIRST);
	c = read_at(maps, &local, now_us);
	/* Never later, and by a unit at most earlier. */
	assert_true(c.heard_us <= heard_us);
	assert_true(c.heard_us + UNIT_US > heard_us);
	flow_maps_free(maps);
}

static void test_time_survives_its_units(void **state)
{
	/* 2^52 ns: the units begin again at zero, after 52 days. */
	const uint64_t wrap_us = (1ull << 52) / 1000;

	(void)state;
	assert_heard(5 * US_PER_S, 5 * US_PER_S);
	assert_heard(5 * US_PER_S, 3600 * US_PER_S);
	assert_heard(wrap_us - US_PER_S, wrap_us - 1);
	assert_heard(wrap_us - US_PER_S, wrap_us + US_PER_S);
	assert_heard(wrap_us + US_PER_S, wrap_us + 2 * US_PER_S);
	assert_heard(3 * wrap_us - US_PER_S, 3 * wrap_us + US_PER_S);
	/* Silent for 25 days. */
	assert_heard(wrap_us, wrap_us + 25 * 86400 * US_PER_S);
}

static void test_what_came_after_the_look_at_the_clock_came_now(void **state)
{
	const struct endpoint local = at("192.0.2.9", FIRST_PORT);
	struct flow_maps *maps = new_maps();
	struct engine_counters c;

	(void)state;
	add(maps, &local, 100 * US_PER_S, FLOW_HOP_FIRST);
	c = read_at(maps, &local, 99 * US_PER_S);
	assert_true(c.heard_us <= 99 * US_PER_S);
	assert_true(c.heard_us + UNIT_US > 99 * US_PER_S);
	/* Nor has anybody asked for the time. */
	c = read_at(maps, &local, 0);
	assert_int_equal(c.heard_us, 0);
	flow_maps_free(maps);
}

/* The map as the kernel has it. @return its file descriptor */
static int open_map(const struct flow_maps *maps, const char *name)
{
	uint32_t ids[16];
	struct bpf_prog_info prog = {.nr_map_ids = 16,
				     .map_ids = (uintptr_t)ids};
	uint32_t size = sizeof(prog);

	assert_int_equal(
		bpf_obj_get_info_by_fd(flow_maps_xdp(maps), &prog, &size), 0);
	for (uint32_t i = 0; i < prog.nr_map_ids; i++) {
		struct bpf_map_info map = {0};
		int fd = bpf_map_get_fd_by_id(ids[i]);

		size = sizeof(map);
		assert_int_equal(bpf_obj_get_info_by_fd(fd, &map, &size), 0);
		if (strcmp(map.name, name) == 0)
			return fd;
		close(fd);
	}
	fail_msg("no map %s", name);
	return -1;
}

union any_flow {
	struct flow4 flow4;
	struct flow6 flow6;
};

static void exchange_flow(const struct flow_maps *maps,
			  const struct endpoint *local, union any_flow *flow,
			  bool write)
{
	int fd = open_map(maps,
			  local->ip.family == AF_INET ? "flows4" : "flows6");
	uint32_t index = local->port - FIRST_PORT;

	assert_int_equal(write ? bpf_map_update_elem(fd, &index, flow, BPF_ANY)
			       : bpf_map_lookup_elem(fd, &index, flow),
			 0);
	close(fd);
}

static bool has_hop(struct flow_maps *maps, const struct endpoint *local,
		    uint16_t hop)
{
	union any_flow flow;

	exchange_flow(maps, local, &flow, false);
	return flow.flow4.hop == hop; /* the first in both */
}

static void test_what_the_kernel_notes_is_read(void **state)
{
	const uint64_t now_us = 500 * US_PER_S;
	const struct endpoint local = at("192.0.2.9", FIRST_PORT + 3);
	struct flow_maps *maps = new_maps();
	struct engine_counters c;
	union any_flow flow;

	(void)state;
	flow_maps_reset(maps, &local);
	add(maps, &local, now_us, FLOW_HOP_FIRST);
	exchange_flow(maps, &local, &flow, false);
	assert_int_equal(flow.flow4.remote_port, htons(4000));
	assert_int_equal(flow.flow4.src_port, htons(50004));
	assert_int_equal(flow.flow4.dst_port, htons(4002));
	assert_int_equal(flow.flow4.flags, 0);
	flow.flow4.counters = (struct flow_counters){
		.packets = 5000000000,
		.bytes = 1000000000000,
		.heard = (uint32_t)(now_us * 1000 >> FLOW_TIME_SHIFT),
		.media = (uint32_t)((now_us - US_PER_S) * 1000 >>
				    FLOW_TIME_SHIFT),
		.ssrc = 0xdeadbeef,
		.seq = 65535,
		.payload_type = 0,
		.seen = FLOW_SEEN_RTP | FLOW_SEEN_MEDIA,
	};
	exchange_flow(maps, &local, &flow, true);
	c = read_at(maps, &local, now_us);
	assert_int_equal(c.packets, 5000000000);
	assert_int_equal(c.bytes, 1000000000000);
	assert_true(c.has_ssrc);
	assert_false(c.has_udptl_seq);
	assert_int_equal(c.ssrc, 0xdeadbeef);
	assert_int_equal(c.seq, 65535);
	assert_int_equal(c.payload_type, 0);
	assert_true(c.media_us + US_PER_S + UNIT_US > now_us);
	assert_true(c.media_us + US_PER_S <= now_us);
	/* The next flow of the port counts on, and notes anew. */
	flow_maps_del(maps, &local);
	add(maps, &local, now_us, FLOW_HOP_FIRST);
	c = read_at(maps, &local, now_us);
	assert_int_equal(c.packets, 5000000000);
	assert_int_equal(c.media_us, 0);
	assert_false(c.has_ssrc);
	assert_int_equal(c.payload_type, -1);
	flow_maps_free(maps);
}

static void test_moving_loses_against_taking_back(void **state)
{
	const struct endpoint both[] = {at("192.0.2.9", FIRST_PORT),
					at("2001:db8::9", FIRST_PORT)};
	struct flow_maps *maps = new_maps();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		const struct endpoint *local = &both[i];

		assert_true(has_hop(maps, local, FLOW_HOP_UP));
		flow_maps_move(maps, local, 5, 6);
		assert_true(has_hop(maps, local, FLOW_HOP_UP));
		add(maps, local, US_PER_S, 5);
		assert_true(has_hop(maps, local, 5));
		flow_maps_move(maps, local, 5, 6);
		assert_true(has_hop(maps, local, 6));
		/* Another way than it has. */
		flow_maps_move(maps, local, 5, 7);
		assert_true(has_hop(maps, local, 6));
		flow_maps_del(maps, local);
		flow_maps_move(maps, local, 6, 7);
		assert_true(has_hop(maps, local, FLOW_HOP_UP));
	}
	flow_maps_free(maps);
}

static void test_each_reason_has_a_name(void **state)
{
	struct flow_maps *maps = new_maps();
	uint64_t stats[FLOW_STATS];

	(void)state;
	flow_maps_read_stats(maps, stats);
	for (unsigned i = 0; i < FLOW_STATS; i++) {
		assert_non_null(flow_stat_name((enum flow_stat)i));
		assert_int_equal(stats[i], 0);
	}
	flow_maps_free(maps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_port_outside_of_the_range_is_nothing),
		cmocka_unit_test(
			test_a_port_that_was_never_reset_has_no_payload_type),
		cmocka_unit_test(test_both_families_have_a_port_each),
		cmocka_unit_test(test_time_survives_its_units),
		cmocka_unit_test(
			test_what_came_after_the_look_at_the_clock_came_now),
		cmocka_unit_test(test_what_the_kernel_notes_is_read),
		cmocka_unit_test(test_moving_loses_against_taking_back),
		cmocka_unit_test(test_each_reason_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
