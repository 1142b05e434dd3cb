/**
 * @file tests/bpf/test_hostile.c  Truncated, changed and random frames
 *
 * A second reading of the frame, byte by byte, says which frames may be sent
 * on, and the programs have to agree about each.
 */
#include "bpf_scene.h"

#include <string.h>

static const uint8_t payload[24] = {0x80, 8, 1, 2};

static size_t good_frame(int family, bool tagged, uint8_t *frame)
{
	struct way way = scene_way(family);
	struct frame_spec sent =
		scene_sent(family, &way, payload, sizeof(payload));

	sent.tagged = tagged;
	sent.tci = tagged ? 5 : 0;
	return frame_spec_build(&sent, frame);
}

/* ---- a second reading ---- */

static bool ip4_may_go(const uint8_t *ip, size_t left, const struct way *way)
{
	size_t len = get16(ip + 2);

	return left >= 28 && ip[0] == 0x45 && ip[9] == 17 &&
	       (get16(ip + 6) & 0xbfff) == 0 && len <= left && len >= 28 &&
	       get16(ip + 24) == len - 20 && ip[8] > 1 && len <= SCENE_MTU &&
	       memcmp(ip + 12, way->remote, 4) == 0 &&
	       memcmp(ip + 16, way->local, 4) == 0 &&
	       get16(ip + 20) == way->remote_port &&
	       get16(ip + 22) == SCENE_PORT;
}

static bool ip6_may_go(const uint8_t *ip, size_t left, const struct way *way)
{
	size_t len = get16(ip + 4);

	return left >= 48 && ip[0] >> 4 == 6 && ip[6] == 17 &&
	       40 + len <= left && len >= 8 && get16(ip + 44) == len &&
	       ip[7] > 1 && 40 + len <= SCENE_MTU && get16(ip + 46) != 0 &&
	       memcmp(ip + 8, way->remote, 16) == 0 &&
	       memcmp(ip + 24, way->local, 16) == 0 &&
	       get16(ip + 40) == way->remote_port &&
	       get16(ip + 42) == SCENE_PORT;
}

static bool may_go(enum scene_program program, const uint8_t *frame, size_t len)
{
	static const uint8_t loopback[6];
	size_t at = ETHERNET_LEN;
	uint16_t type = get16(frame + 12);
	struct way way;

	if (frame[0] & 1)
		return false;
	if (program == SCENE_TC && memcmp(frame, loopback, 6) != 0)
		return false;
	if (type == 0x8100) {
		if (program == SCENE_TC || len < ETHERNET_LEN + TAG_LEN)
			return false;
		type = get16(frame + 16);
		at += TAG_LEN;
	}
	if (type == 0x0800) {
		way = scene_way(4);
		return ip4_may_go(frame + at, len - at, &way);
	}
	way = scene_way(6);
	return type == 0x86dd && ip6_may_go(frame + at, len - at, &way);
}

/* What does not go may be a stranger's and be dropped; it is not touched. */
static void expect_as_read(struct scene *s, enum scene_program program,
			   const uint8_t *frame, size_t len)
{
	enum scene_verdict verdict;

	if (len < scene_shortest(program, frame))
		return;
	verdict = scene_run(s, program, frame, len);
	if (may_go(program, frame, len)) {
		assert_int_equal(verdict, SCENE_FORWARDED);
		return;
	}
	assert_true(verdict == SCENE_UP || verdict == SCENE_DROPPED);
	assert_int_equal(s->out_len, len);
	assert_memory_equal(s->out, frame, len);
}

/* ---- the cases ---- */

static void truncated(struct scene *s, enum scene_program program, int family)
{
	uint8_t frame[FRAME_MOST];

	for (unsigned tagged = 0; tagged < 2; tagged++) {
		size_t len = good_frame(family, tagged, frame);
		size_t headers = len - sizeof(payload);

		for (size_t cut = scene_shortest(program, frame); cut < len;
		     cut++) {
			unsigned stat = cut < headers ? SCENE_NO_STAT
						      : FLOW_UP_MALFORMED;

			scene_expect_up(s, program, frame, cut, stat);
		}
	}
}

static void test_a_frame_cut_off_at_any_byte_goes_up(void **state)
{
	scene_each(state, truncated);
}

static void one_byte(struct scene *s, enum scene_program program, int family)
{
	uint8_t frame[FRAME_MOST];

	for (unsigned tagged = 0; tagged < 2; tagged++) {
		size_t len = good_frame(family, tagged, frame);

		for (size_t at = 0; at < len; at++) {
			uint8_t was = frame[at];

			for (unsigned value = 0; value < 256; value++) {
				frame[at] = (uint8_t)value;
				expect_as_read(s, program, frame, len);
			}
			frame[at] = was;
		}
	}
}

static void test_any_byte_may_have_any_value(void **state)
{
	scene_each(state, one_byte);
}

/* Several bytes, lengths and tails at once. */
static void many_bytes(struct scene *s, enum scene_program program, int family)
{
	struct numbers n = {.state = 815};
	uint8_t good[FRAME_MOST], frame[FRAME_MOST];

	for (unsigned i = 0; i < 20000; i++) {
		size_t len = good_frame(family, i % 2, good);
		unsigned changes = numbers_next(&n) % 4;

		memcpy(frame, good, len);
		numbers_fill(&n, frame + len, 64);
		while (changes-- > 0)
			frame[numbers_next(&n) % len] ^=
				(uint8_t)(1u << numbers_next(&n) % 8);
		if (numbers_next(&n) % 2)
			len = ETHERNET_LEN + numbers_next(&n) % (len + 50);
		expect_as_read(s, program, frame, len);
	}
}

static void test_frames_changed_at_random_are_read_alike(void **state)
{
	scene_each(state, many_bytes);
}

static void noise(struct scene *s, enum scene_program program, int family)
{
	struct numbers n = {.state = 816};
	uint8_t frame[FRAME_MOST];

	for (unsigned i = 0; i < 5000; i++) {
		size_t len = ETHERNET_LEN + numbers_next(&n) % 1500;

		numbers_fill(&n, frame, len);
		memset(frame, 0, 6);
		/* Or nothing would ever be looked at. */
		put16(frame + 12, family == 4 ? 0x0800 : 0x86dd);
		frame[ETHERNET_LEN] = family == 4 ? 0x45 : 0x60;
		frame[ETHERNET_LEN + (family == 4 ? 9 : 6)] = 17;
		expect_as_read(s, program, frame, len);
	}
}

static void test_noise_goes_up(void **state)
{
	scene_each(state, noise);
}

/* The longest that a card hands over, and headers at the end of a page. */
static void long_frames(struct scene *s, enum scene_program program, int family)
{
	uint8_t bytes[1900] = {0x80};
	struct way way = scene_way(family);
	struct frame_spec sent = scene_sent(family, &way, bytes, 0);

	s->hops[SCENE_HOP].mtu = 0xffff;
	for (size_t len = 1400; len <= sizeof(bytes); len += 100) {
		sent.payload_len = len;
		scene_expect_forwarded(s, program, &sent, &way);
	}
}

static void test_a_large_mtu_lets_large_packets_through(void **state)
{
	scene_each(state, long_frames);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_frame_cut_off_at_any_byte_goes_up),
		cmocka_unit_test(test_any_byte_may_have_any_value),
		cmocka_unit_test(test_frames_changed_at_random_are_read_alike),
		cmocka_unit_test(test_noise_goes_up),
		cmocka_unit_test(test_a_large_mtu_lets_large_packets_through),
	};

	return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
