/** @file tests/bpf/test_strangers.c  What others send to a port with a flow */
#include "bpf_scene.h"

#include <string.h>

static const uint8_t rtp[20] = {0x80, 0, 0, 1};
/* A binding request (RFC 8489). */
static const uint8_t stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};

#define PLAIN_BUCKETS (FLOW_BUCKETS - FLOW_STUN_BUCKETS)
#define MANY 200

static struct frame_spec strange(int family, bool is_stun)
{
	struct way way = scene_way(family);
	struct frame_spec sent =
		scene_sent(family, &way, is_stun ? stun : rtp, 20);

	sent.src_port++;
	return sent;
}

/* How many of so many packets in a row go up; the others are dropped, and
 * nothing else becomes of any. */
static unsigned sent_up(struct scene *s, enum scene_program program,
			const struct frame_spec *sent, unsigned count)
{
	uint8_t frame[FRAME_MOST];
	size_t len = frame_spec_build(sent, frame);
	struct scene_counts before = scene_counts(s), after;
	unsigned up = 0;

	for (unsigned i = 0; i < count; i++) {
		enum scene_verdict verdict = scene_run(s, program, frame, len);

		assert_true(verdict == SCENE_UP || verdict == SCENE_DROPPED);
		assert_int_equal(s->out_len, len);
		assert_memory_equal(s->out, frame, len);
		up += verdict == SCENE_UP;
	}
	after = scene_counts(s);
	assert_memory_equal(&after.flow4, &before.flow4, sizeof(after.flow4));
	assert_memory_equal(&after.flow6, &before.flow6, sizeof(after.flow6));
	assert_int_equal(after.strangers.dropped,
			 before.strangers.dropped + count - up);
	before.stats[FLOW_UP_STRANGER] += up;
	before.stats[FLOW_DROP_STRANGER] += count - up;
	assert_memory_equal(after.stats, before.stats, sizeof(after.stats));
	return up;
}

/* The bucket fills up while the test runs, by whole packets. */
static void assert_at_least_and_what_time_adds(unsigned up, unsigned wanted,
					       uint64_t since_ns)
{
	uint64_t more = (scene_now_ns() - since_ns) / FLOW_BUCKET_INTERVAL_NS;

	assert_true(up >= wanted);
	assert_true(up <= wanted + more + 1);
}

static void burst(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = strange(family, false);
	uint64_t since_ns = scene_now_ns();

	assert_at_least_and_what_time_adds(sent_up(s, program, &sent, MANY),
					   FLOW_BUCKET_BURST, since_ns);
}

static void test_a_burst_goes_up_and_the_rest_is_dropped(void **state)
{
	scene_each(state, burst);
}

static void each_field(struct scene *s, enum scene_program program, int family)
{
	struct way way = scene_way(family);
	struct frame_spec sent = scene_sent(family, &way, rtp, 20);

	for (size_t i = 0; i < address_len(family); i++) {
		sent.src[i] ^= 0x80;
		memset(s->strangers, 0, SCENE_PORTS * sizeof(*s->strangers));
		assert_int_equal(sent_up(s, program, &sent, 1), 1);
		sent.src[i] ^= 0x80;
	}
	for (unsigned bit = 0; bit < 16; bit++) {
		sent.src_port ^= (uint16_t)(1u << bit);
		memset(s->strangers, 0, SCENE_PORTS * sizeof(*s->strangers));
		assert_int_equal(sent_up(s, program, &sent, 1), 1);
		sent.src_port ^= (uint16_t)(1u << bit);
	}
	scene_expect_forwarded(s, program, &sent, &way);
}

static void test_who_differs_in_one_bit_is_a_stranger(void **state)
{
	scene_each(state, each_field);
}

static unsigned buckets_used(const struct scene *s, unsigned from, unsigned to)
{
	unsigned used = 0;

	for (unsigned i = from; i < to; i++)
		used += s->strangers[SCENE_INDEX].full_at_ns[i] != 0;
	return used;
}

static void spread(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = strange(family, false);

	/* One source uses up one bucket. */
	sent_up(s, program, &sent, MANY);
	assert_int_equal(buckets_used(s, 0, FLOW_BUCKETS), 1);
	/* Many sources find the others. */
	for (unsigned i = 0; i < 64; i++) {
		sent.src_port++;
		sent_up(s, program, &sent, 1);
	}
	assert_int_equal(buckets_used(s, 0, PLAIN_BUCKETS), PLAIN_BUCKETS);
	assert_int_equal(buckets_used(s, PLAIN_BUCKETS, FLOW_BUCKETS), 0);
}

static void test_a_flood_of_one_source_leaves_room_for_others(void **state)
{
	scene_each(state, spread);
}

/* Neighbours in a network, too, and the halves of an address. */
static void addresses(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = strange(family, false);

	for (size_t i = 0; i < address_len(family); i++) {
		memset(s->strangers, 0, SCENE_PORTS * sizeof(*s->strangers));
		for (unsigned j = 0; j < 64; j++) {
			sent.src[i]++;
			sent_up(s, program, &sent, 1);
		}
		assert_int_equal(buckets_used(s, 0, PLAIN_BUCKETS),
				 PLAIN_BUCKETS);
	}
}

static void test_each_byte_of_an_address_spreads_the_sources(void **state)
{
	scene_each(state, addresses);
}

static void stun_apart(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = strange(family, false);
	uint64_t since_ns;

	for (unsigned i = 0; i < 64; i++) {
		sent.src_port++;
		sent_up(s, program, &sent, 2 * FLOW_BUCKET_BURST);
	}
	sent.payload = stun;
	since_ns = scene_now_ns();
	assert_at_least_and_what_time_adds(sent_up(s, program, &sent, MANY),
					   FLOW_BUCKET_BURST, since_ns);
	assert_int_equal(buckets_used(s, PLAIN_BUCKETS, FLOW_BUCKETS), 1);
	for (unsigned i = 0; i < 64; i++) {
		sent.src_port++;
		sent_up(s, program, &sent, 1);
	}
	assert_int_equal(buckets_used(s, PLAIN_BUCKETS, FLOW_BUCKETS),
			 FLOW_STUN_BUCKETS);
}

static void test_stun_has_buckets_of_its_own(void **state)
{
	scene_each(state, stun_apart);
}

static void almost_stun(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = strange(family, true);

	for (unsigned at = 0; at < 8; at++) {
		uint8_t bytes[20];

		memcpy(bytes, stun, sizeof(bytes));
		bytes[at] ^= at == 1 ? 0 : 0x44;
		sent.payload = bytes;
		memset(s->strangers, 0, SCENE_PORTS * sizeof(*s->strangers));
		sent_up(s, program, &sent, 1);
		assert_int_equal(buckets_used(s, PLAIN_BUCKETS, FLOW_BUCKETS),
				 at == 1 ? 1 : 0);
	}
}

static void test_what_only_resembles_stun_is_none(void **state)
{
	scene_each(state, almost_stun);
}

static void refill(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = strange(family, false);
	__u64 *full_at_ns = s->strangers[SCENE_INDEX].full_at_ns;
	unsigned bucket = 0;
	uint64_t since_ns;

	sent_up(s, program, &sent, 1);
	while (full_at_ns[bucket] == 0)
		bucket++;
	/* So many packets are missing in it. The kernel's coarse clock is late
	 * by a tick at most, which costs one. */
	for (unsigned missing = 0; missing < FLOW_BUCKET_BURST; missing += 8) {
		since_ns = scene_now_ns();
		full_at_ns[bucket] =
			since_ns + missing * FLOW_BUCKET_INTERVAL_NS;
		assert_at_least_and_what_time_adds(
			sent_up(s, program, &sent, MANY),
			FLOW_BUCKET_BURST - missing - 1, since_ns);
	}
	/* Full for long: not more than a burst. */
	full_at_ns[bucket] = 1;
	since_ns = scene_now_ns();
	assert_at_least_and_what_time_adds(sent_up(s, program, &sent, MANY),
					   FLOW_BUCKET_BURST, since_ns);
	/* Nothing that may stand there breaks it. */
	full_at_ns[bucket] = UINT64_MAX;
	assert_int_equal(sent_up(s, program, &sent, MANY), 0);
}

static void test_a_bucket_fills_up_with_time(void **state)
{
	scene_each(state, refill);
}

/* The way does not matter to strangers: they go up either way. */
static void nowhere(struct scene *s, enum scene_program program, int family)
{
	struct frame_spec sent = strange(family, false);
	uint64_t since_ns = scene_now_ns();

	*scene_flow_hop(s, family) = FLOW_HOP_NOWHERE;
	assert_at_least_and_what_time_adds(sent_up(s, program, &sent, MANY),
					   FLOW_BUCKET_BURST, since_ns);
	*scene_flow_hop(s, family) = FLOW_HOP_UP;
	for (unsigned i = 0; i < 2 * FLOW_BUCKET_BURST; i++)
		scene_expect_spec_up(s, program, &sent, SCENE_NO_STAT);
}

static void test_a_flow_without_a_way_keeps_strangers_back(void **state)
{
	scene_each(state, nowhere);
}

/* The remote's own packets are nobody's burst. */
static void flooded(struct scene *s, enum scene_program program, int family)
{
	struct way way = scene_way(family);
	struct frame_spec other = strange(family, false);
	struct frame_spec sent = scene_sent(family, &way, rtp, 20);

	for (unsigned i = 0; i < 64; i++) {
		other.src_port++;
		sent_up(s, program, &other, 2 * FLOW_BUCKET_BURST);
	}
	for (unsigned i = 0; i < 2 * FLOW_BUCKET_BURST; i++)
		scene_expect_forwarded(s, program, &sent, &way);
	sent.payload = stun;
	for (unsigned i = 0; i < 2 * FLOW_BUCKET_BURST; i++)
		scene_expect_forwarded(s, program, &sent, &way);
}

static void test_a_flood_of_strangers_does_not_touch_the_remote(void **state)
{
	scene_each(state, flooded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_burst_goes_up_and_the_rest_is_dropped),
		cmocka_unit_test(test_who_differs_in_one_bit_is_a_stranger),
		cmocka_unit_test(
			test_a_flood_of_one_source_leaves_room_for_others),
		cmocka_unit_test(
			test_each_byte_of_an_address_spreads_the_sources),
		cmocka_unit_test(test_stun_has_buckets_of_its_own),
		cmocka_unit_test(test_what_only_resembles_stun_is_none),
		cmocka_unit_test(test_a_bucket_fills_up_with_time),
		cmocka_unit_test(
			test_a_flow_without_a_way_keeps_strangers_back),
		cmocka_unit_test(
			test_a_flood_of_strangers_does_not_touch_the_remote),
	};

	return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
