/** @file tests/bpf/test_rewrite.c  What is forwarded, byte by byte */
#include "bpf_scene.h"

#include <errno.h>
#include <string.h>

#define PAYLOAD_MOST 1472

static const uint8_t rtp[] = {0x80, 0x00, 0x12, 0x34, 0,    0,
			      0x10, 0x00, 0xde, 0xad, 0xbe, 0xef,
			      0x55, 0xaa, 0x01, 0x02, 0x03};

static void hit(struct scene *s, enum scene_program program, int family)
{
	struct way way = scene_way(family);
	struct frame_spec sent = scene_sent(family, &way, rtp, sizeof(rtp));

	scene_expect_forwarded(s, program, &sent, &way);
}

static void test_a_packet_of_the_remote_is_rewritten_and_sent_on(void **state)
{
	scene_each(state, hit);
}

static struct way random_way(struct numbers *n)
{
	struct way w;

	numbers_fill(n, &w, sizeof(w));
	return w;
}

static struct frame_spec random_sent(struct numbers *n, int family,
				     const struct way *way,
				     const uint8_t *payload, size_t len)
{
	struct frame_spec sent = scene_sent(family, way, payload, len);

	sent.tos = (uint8_t)numbers_next(n);
	sent.ttl = (uint8_t)(2 + numbers_next(n) % 254);
	sent.flow_label = numbers_next(n) & 0xfffff;
	sent.id = (uint16_t)numbers_next(n);
	sent.frag_off = numbers_next(n) % 2 ? 0x4000 : 0;
	return sent;
}

static void random_frames(struct scene *s, enum scene_program program,
			  int family)
{
	struct numbers n = {.state = 20260101u + (unsigned)family};
	uint8_t payload[PAYLOAD_MOST];
	size_t most = family == 4 ? PAYLOAD_MOST : PAYLOAD_MOST - 20;

	for (size_t len = 0; len <= most; len++) {
		struct way way = random_way(&n);
		struct frame_spec sent;

		numbers_fill(&n, payload, len);
		sent = random_sent(&n, family, &way, payload, len);
		s->control->tos = (uint8_t)numbers_next(&n);
		s->control->tos_kept = (uint8_t)numbers_next(&n);
		scene_install(s, family, &way);
		scene_expect_forwarded(s, program, &sent, &way);
	}
}

static void
test_random_frames_of_every_length_have_right_checksums(void **state)
{
	scene_each(state, random_frames);
}

/* Every carry that can come about, in both checksums. */
static void every_word(struct scene *s, enum scene_program program, int family)
{
	uint8_t payload[2], frame[FRAME_MOST];
	struct way way = scene_way(family);
	struct frame_spec sent =
		scene_sent(family, &way, payload, sizeof(payload));
	struct frame_spec arrives = scene_arrives(s, program, &sent, &way);

	for (unsigned word = 0; word < 0x10000; word++) {
		size_t len;

		put16(payload, (uint16_t)word);
		sent.id = (uint16_t)word;
		len = frame_spec_build(&sent, frame);
		assert_int_equal(scene_run(s, program, frame, len),
				 SCENE_FORWARDED);
		assert_true(frame_checksums_hold(&arrives, s->out));
	}
}

static void test_every_sum_is_carried_over(void **state)
{
	scene_each(state, every_word);
}

static void test_a_zero_checksum_of_udp_over_ipv4_stays_zero(void **state)
{
	for (enum scene_program p = SCENE_XDP; p <= SCENE_TC; p++) {
		struct scene *s = scene_of(state);
		struct way way = scene_way(4);
		struct frame_spec sent = scene_sent(4, &way, rtp, sizeof(rtp));

		sent.no_checksum = true;
		scene_expect_forwarded(s, p, &sent, &way);
		assert_int_equal(frame_udp_checksum(&sent, s->out), 0);
	}
}

/* A payload word that makes the sum of what arrives, or of what is sent, all
 * ones, whose complement is zero. */
static void put_word_for_zero(const struct frame_spec *spec, uint8_t *word)
{
	uint8_t frame[FRAME_MOST];

	put16(word, 0);
	frame_spec_build(spec, frame);
	put16(word, frame_udp_checksum(spec, frame));
	frame_spec_build(spec, frame);
	assert_int_equal(frame_udp_checksum(spec, frame), 0xffff);
}

static void zero_result(struct scene *s, enum scene_program program, int family)
{
	struct numbers n = {.state = 4711};
	uint8_t payload[40];

	for (unsigned i = 0; i < 200; i++) {
		struct way way = random_way(&n);
		struct frame_spec sent, arrives;

		numbers_fill(&n, payload, sizeof(payload));
		scene_install(s, family, &way);
		sent = random_sent(&n, family, &way, payload, sizeof(payload));
		arrives = scene_arrives(s, program, &sent, &way);
		put_word_for_zero(&arrives, payload + 20);
		scene_expect_forwarded(s, program, &sent, &way);
		assert_int_equal(frame_udp_checksum(&arrives, s->out), 0xffff);
	}
}

static void test_a_checksum_that_comes_out_as_zero_is_sent_as_ffff(void **state)
{
	scene_each(state, zero_result);
}

static void ffff_arrives(struct scene *s, enum scene_program program,
			 int family)
{
	struct numbers n = {.state = 4712};
	uint8_t payload[40];

	for (unsigned i = 0; i < 200; i++) {
		struct way way = random_way(&n);
		struct frame_spec sent;

		numbers_fill(&n, payload, sizeof(payload));
		scene_install(s, family, &way);
		sent = random_sent(&n, family, &way, payload, sizeof(payload));
		put_word_for_zero(&sent, payload + 20);
		scene_expect_forwarded(s, program, &sent, &way);
	}
}

static void test_a_checksum_that_arrives_as_ffff_is_updated(void **state)
{
	scene_each(state, ffff_arrives);
}

/* Nothing but the ports swap, or not even those: the differences are zero, in
 * one of its two forms. */
static void no_difference(struct scene *s, enum scene_program program,
			  int family)
{
	struct way way = scene_way(family);
	struct frame_spec sent;
	uint8_t payload[4] = {0};

	memcpy(way.src, way.local, 16);
	memcpy(way.dst, way.remote, 16);
	way.src_port = SCENE_PORT;
	way.dst_port = way.remote_port;
	scene_install(s, family, &way);
	sent = scene_sent(family, &way, payload, sizeof(payload));
	scene_expect_forwarded(s, program, &sent, &way);
	put_word_for_zero(&sent, payload);
	scene_expect_forwarded(s, program, &sent, &way);

	s->flows4[SCENE_INDEX].address_delta = 0;
	s->flows4[SCENE_INDEX].port_delta = 0;
	s->flows6[SCENE_INDEX].address_delta = 0;
	s->flows6[SCENE_INDEX].port_delta = 0;
	scene_expect_forwarded(s, program, &sent, &way);
	put16(payload, 0x1234);
	scene_expect_forwarded(s, program, &sent, &way);
}

static void test_a_way_that_changes_no_sum_keeps_the_checksum(void **state)
{
	scene_each(state, no_difference);
}

/* IPv4's header, as well: what remains of it is chosen so that the new
 * checksum is zero. */
static void test_a_header_checksum_of_zero_is_right_in_ipv4(void **state)
{
	for (enum scene_program p = SCENE_XDP; p <= SCENE_TC; p++) {
		struct scene *s = scene_of(state);
		struct way way = scene_way(4);
		struct frame_spec sent = scene_sent(4, &way, rtp, sizeof(rtp));
		struct frame_spec arrives;
		uint8_t frame[FRAME_MOST];

		sent.id = 0;
		arrives = scene_arrives(s, p, &sent, &way);
		frame_spec_build(&arrives, frame);
		sent.id = get16(frame + frame_spec_ip_at(&arrives) + 10);
		scene_expect_forwarded(s, p, &sent, &way);
		assert_int_equal(get16(s->out + ETHERNET_LEN + 10), 0);
	}
}

static void all_tos(struct scene *s, enum scene_program program, int family)
{
	static const struct {
		uint8_t ours, kept;
	} cases[] = {{0, 0}, {0xb8, 0}, {0xff, 0}, {0xb8, 3}, {0, 0xff}};
	struct way way = scene_way(family);
	struct frame_spec sent = scene_sent(family, &way, rtp, sizeof(rtp));

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s->control->tos = cases[i].ours;
		s->control->tos_kept = cases[i].kept;
		for (unsigned tos = 0; tos < 256; tos++) {
			sent.tos = (uint8_t)tos;
			sent.flow_label = tos << 12 | 0xabc;
			scene_expect_forwarded(s, program, &sent, &way);
		}
	}
}

static void
test_the_tos_is_ours_but_for_what_is_kept_and_the_flow_label_stays(void **state)
{
	scene_each(state, all_tos);
}

static void all_ttl(struct scene *s, enum scene_program program, int family)
{
	struct way way = scene_way(family);
	struct frame_spec sent = scene_sent(family, &way, rtp, sizeof(rtp));

	for (unsigned ttl = 2; ttl < 256; ttl++) {
		sent.ttl = (uint8_t)ttl;
		scene_expect_forwarded(s, program, &sent, &way);
	}
}

static void test_ttl_and_hop_limit_are_one_less(void **state)
{
	scene_each(state, all_ttl);
}

static void mtu_exact(struct scene *s, enum scene_program program, int family)
{
	uint8_t payload[PAYLOAD_MOST] = {0};
	struct way way = scene_way(family);
	struct frame_spec sent = scene_sent(family, &way, payload, 0);

	sent.payload_len = SCENE_MTU - frame_spec_ip_len(&sent);
	assert_int_equal(frame_spec_ip_len(&sent), SCENE_MTU);
	scene_expect_forwarded(s, program, &sent, &way);
	s->hops[SCENE_HOP].mtu--;
	scene_expect_spec_up(s, program, &sent, FLOW_UP_MTU);
}

static void test_a_packet_of_exactly_the_mtu_is_sent_on(void **state)
{
	scene_each(state, mtu_exact);
}

/* Ethernet fills a frame up to 60 bytes; so does whoever likes to. */
static void padded(struct scene *s, enum scene_program program, int family)
{
	struct way way = scene_way(family);
	struct frame_spec sent = scene_sent(family, &way, rtp, 0);

	for (size_t len = 0; len < sizeof(rtp); len++) {
		for (size_t padding = 0; padding < 40; padding++) {
			sent.payload_len = len;
			sent.padding = padding;
			scene_expect_forwarded(s, program, &sent, &way);
		}
	}
}

static void test_bytes_behind_the_packet_do_not_count(void **state)
{
	scene_each(state, padded);
}

static void wrong_sums(struct scene *s, enum scene_program program, int family)
{
	struct way way = scene_way(family);
	struct frame_spec sent = scene_sent(family, &way, rtp, sizeof(rtp));
	struct frame_spec arrives = scene_arrives(s, program, &sent, &way);
	uint8_t frame[FRAME_MOST];
	size_t len = frame_spec_build(&sent, frame);

	frame[len - 1] ^= 0x10; /* damaged on its way to us */
	assert_int_equal(scene_run(s, program, frame, len), SCENE_FORWARDED);
	assert_false(frame_checksums_hold(&arrives, s->out));
	frame[len - 1] ^= 0x10;
	if (family == 6)
		return;
	frame[ETHERNET_LEN + 4] ^= 0x10;
	assert_int_equal(scene_run(s, program, frame, len), SCENE_FORWARDED);
	assert_false(frame_checksums_hold(&arrives, s->out));
}

/* Or the receiver would play what was damaged before. */
static void test_a_wrong_checksum_stays_wrong(void **state)
{
	scene_each(state, wrong_sums);
}

/* ---- TC ---- */

static void whole_sum(struct scene *s, int family, bool no_checksum)
{
	struct numbers n = {.state = 99};
	uint8_t payload[64];

	s->whole_sum = true;
	for (unsigned i = 0; i < 200; i++) {
		struct way way = random_way(&n);
		struct frame_spec sent;

		numbers_fill(&n, payload, sizeof(payload));
		scene_install(s, family, &way);
		sent = random_sent(&n, family, &way, payload, i % 64);
		sent.no_checksum = no_checksum;
		scene_expect_forwarded(s, SCENE_TC, &sent, &way);
	}
}

/* CHECKSUM_COMPLETE: the next kernel to receive it believes that sum. */
static void
test_the_sum_that_a_card_made_of_the_packet_stays_right(void **state)
{
	struct scene *s = scene_of(state);
	struct way way = scene_way(4);
	struct frame_spec sent = scene_sent(4, &way, rtp, sizeof(rtp));
	uint8_t frame[FRAME_MOST];
	size_t len = frame_spec_build(&sent, frame);

	s->whole_sum = true;
	if (scene_run(s, SCENE_TC, frame, len) == SCENE_BROKEN &&
	    s->error == -EINVAL) {
		print_message("skipped: this kernel's test runs know no "
			      "checksum of a card\n");
		skip();
	}
	whole_sum(s, 4, false);
	whole_sum(s, 4, true);
	whole_sum(s, 6, false);
}

/* ---- XDP and VLANs ---- */

static void tags(struct scene *s, int family, uint16_t in, uint16_t out)
{
	struct way way = scene_way(family);
	struct frame_spec sent = scene_sent(family, &way, rtp, sizeof(rtp));

	s->hops[SCENE_HOP].vlan = __builtin_bswap16(out);
	sent.tagged = in != 0;
	sent.tci = in;
	for (size_t padding = 0; padding < 8; padding++) {
		sent.padding = padding;
		for (size_t len = 0; len <= sizeof(rtp); len++) {
			sent.payload_len = len;
			scene_expect_forwarded(s, SCENE_XDP, &sent, &way);
		}
	}
}

static void test_xdp_writes_the_tag_of_the_way_out(void **state)
{
	/* With a priority, and without. */
	static const uint16_t tci[] = {0, 1, 100, 0xa064, 0x1fff};

	for (int family = 4; family <= 6; family += 2)
		for (unsigned in = 0; in < 5; in++)
			for (unsigned out = 0; out < 5; out++)
				tags(scene_of(state), family, tci[in],
				     tci[out]);
}

/* Priority only: VLAN 0 is none. */
static void test_xdp_takes_off_a_tag_of_vlan_0(void **state)
{
	struct scene *s = scene_of(state);
	struct way way = scene_way(4);
	struct frame_spec sent = scene_sent(4, &way, rtp, sizeof(rtp));

	sent.tagged = true;
	scene_expect_forwarded(s, SCENE_XDP, &sent, &way);
}

/* Metadata takes the headroom. */
static void test_xdp_drops_and_says_so_if_a_tag_has_no_room(void **state)
{
	struct scene *s = scene_of(state);

	for (int family = 4; family <= 6; family += 2) {
		struct way way = scene_way(family);
		struct frame_spec sent =
			scene_sent(family, &way, rtp, sizeof(rtp));
		uint8_t frame[FRAME_MOST];
		size_t len = frame_spec_build(&sent, frame);
		struct scene_counts before, after;

		s->hops[SCENE_HOP].vlan = __builtin_bswap16(9);
		s->meta_len = 216;
		before = scene_counts(s);
		if (scene_run(s, SCENE_XDP, frame, len) == SCENE_BROKEN &&
		    s->error == -EINVAL) {
			print_message("skipped: this kernel has no long "
				      "metadata\n");
			skip();
		}
		after = scene_counts(s);
		assert_int_equal(after.stats[FLOW_DROP_NO_ROOM],
				 before.stats[FLOW_DROP_NO_ROOM] + 1);
		assert_int_equal(scene_counters(s, family)->packets, 0);
		assert_int_equal(scene_counters(s, family)->bytes, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_packet_of_the_remote_is_rewritten_and_sent_on),
		cmocka_unit_test(
			test_random_frames_of_every_length_have_right_checksums),
		cmocka_unit_test(test_every_sum_is_carried_over),
		cmocka_unit_test(
			test_a_zero_checksum_of_udp_over_ipv4_stays_zero),
		cmocka_unit_test(
			test_a_checksum_that_comes_out_as_zero_is_sent_as_ffff),
		cmocka_unit_test(
			test_a_checksum_that_arrives_as_ffff_is_updated),
		cmocka_unit_test(
			test_a_way_that_changes_no_sum_keeps_the_checksum),
		cmocka_unit_test(
			test_a_header_checksum_of_zero_is_right_in_ipv4),
		cmocka_unit_test(
			test_the_tos_is_ours_but_for_what_is_kept_and_the_flow_label_stays),
		cmocka_unit_test(test_ttl_and_hop_limit_are_one_less),
		cmocka_unit_test(test_a_packet_of_exactly_the_mtu_is_sent_on),
		cmocka_unit_test(test_bytes_behind_the_packet_do_not_count),
		cmocka_unit_test(test_a_wrong_checksum_stays_wrong),
		cmocka_unit_test(
			test_the_sum_that_a_card_made_of_the_packet_stays_right),
		cmocka_unit_test(test_xdp_writes_the_tag_of_the_way_out),
		cmocka_unit_test(test_xdp_takes_off_a_tag_of_vlan_0),
		cmocka_unit_test(
			test_xdp_drops_and_says_so_if_a_tag_has_no_room),
	};

	return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
