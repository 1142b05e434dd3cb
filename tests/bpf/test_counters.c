/** @file tests/bpf/test_counters.c  What is counted and noted of a flow */
#include "bpf_scene.h"

#include <pthread.h>
#include <string.h>

#include <bpf/bpf.h>

#define SSRC 0xdeadbeefu

static const uint8_t stun[20] = {1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};

static void send_bytes(struct scene *s, enum scene_program program, int family,
		       const uint8_t *payload, size_t len)
{
	struct way way = scene_way(family);
	struct frame_spec sent = scene_sent(family, &way, payload, len);

	scene_expect_forwarded(s, program, &sent, &way);
}

static void send_rtp(struct scene *s, enum scene_program program, int family,
		     uint8_t payload_type, uint16_t seq, uint32_t ssrc)
{
	uint8_t rtp[32] = {0x80, payload_type};

	put16(rtp + 2, seq);
	put16(rtp + 8, (uint16_t)(ssrc >> 16));
	put16(rtp + 10, (uint16_t)ssrc);
	send_bytes(s, program, family, rtp, sizeof(rtp));
}

static void send_udptl(struct scene *s, enum scene_program program, int family,
		       uint16_t seq)
{
	uint8_t udptl[9] = {0};

	put16(udptl, seq);
	send_bytes(s, program, family, udptl, sizeof(udptl));
}

/* ---- which timers a packet feeds ---- */

static bool is_about_now(uint32_t noted)
{
	uint32_t now = (uint32_t)(scene_now_ns() >> FLOW_TIME_SHIFT);

	/* The coarse clock is late by some milliseconds, a slow run by more. */
	return now - noted <= 30000;
}

struct feeds {
	const char *what;
	uint8_t bytes[32];
	size_t len;
	bool heard, media;
};

static const struct feeds feeds[] = {
	{"RTP", {0x80, 0}, 32, true, true},
	{"RTP with its marker", {0x80, 0x80 | 96}, 32, true, true},
	{"the shortest RTP", {0x80, 8}, 12, true, true},
	{"RTP with CSRCs", {0x83, 8}, 24, true, true},
	{"RTP whose CSRCs are cut off", {0x8f, 8}, 24, true, true},
	{"RTP below RTCP's types", {0x80, 0x80 | 63}, 32, true, true},
	{"RTP above RTCP's types", {0x80, 0x80 | 96}, 32, true, true},
	{"RTCP, the lowest type", {0x80, 192}, 32, true, false},
	{"RTCP, a sender report", {0x80, 200}, 28, true, false},
	{"RTCP, an empty receiver report", {0x80, 201, 0, 1}, 8, true, false},
	{"RTCP of 11 bytes", {0x81, 203, 0, 1}, 11, true, false},
	{"RTCP, the highest type", {0x80, 223}, 32, true, false},
	{"RTCP that is too short", {0x80, 200}, 7, true, true},
	{"STUN", {0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42}, 32, false, false},
	{"STUN without attributes",
	 {1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42},
	 20,
	 false,
	 false},
	{"STUN with a wrong length",
	 {0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42},
	 32,
	 true,
	 true},
	{"STUN of an odd length",
	 {0, 1, 0, 11, 0x21, 0x12, 0xa4, 0x42},
	 31,
	 true,
	 true},
	{"STUN without its cookie", {0, 1, 0, 12}, 32, true, true},
	{"STUN whose class is above",
	 {4, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42},
	 32,
	 true,
	 true},
	{"DTLS", {22, 0xfe, 0xfd}, 32, true, true},
	{"ZRTP", {0x10, 0, 0, 1, 'Z', 'R', 'T', 'P'}, 32, true, true},
	{"a keepalive", {0, 0, 0, 0}, 4, true, true},
	{"nothing", {0}, 0, true, true},
};

static void kinds(struct scene *s, enum scene_program program, int family)
{
	struct flow_counters *c = scene_counters(s, family);

	for (size_t i = 0; i < sizeof(feeds) / sizeof(feeds[0]); i++) {
		c->heard = c->media = 0;
		c->seen = 0;
		send_bytes(s, program, family, feeds[i].bytes, feeds[i].len);
		if ((c->heard != 0) != feeds[i].heard ||
		    (c->media != 0) != feeds[i].media ||
		    !(c->seen & FLOW_SEEN_MEDIA) == feeds[i].media)
			fail_msg("%s: heard %u, media %u, seen %u",
				 feeds[i].what, c->heard, c->media, c->seen);
		assert_true(c->heard == 0 || is_about_now(c->heard));
		assert_true(c->media == 0 || c->media == c->heard);
	}
}

static void test_each_kind_of_packet_feeds_its_timers(void **state)
{
	scene_each(state, kinds);
}

/* ---- RTP ---- */

static void rtp_noted(struct scene *s, enum scene_program program, int family)
{
	struct flow_counters *c = scene_counters(s, family);

	send_rtp(s, program, family, 0x80 | 97, 0x1234, SSRC);
	assert_int_equal(c->ssrc, SSRC);
	assert_int_equal(c->seq, 0x1234);
	assert_int_equal(c->payload_type, 97);
	assert_int_equal(c->seen, FLOW_SEEN_RTP | FLOW_SEEN_MEDIA);
}

static void test_ssrc_seq_and_payload_type_are_noted(void **state)
{
	scene_each(state, rtp_noted);
}

static void newest(struct scene *s, enum scene_program program, int family)
{
	static const uint16_t seq[][2] = {
		/* comes, stands afterwards */
		{65530, 65530},   {65529, 65530},
		{65535, 65535},   {0, 0},
		{65535, 0},       {1, 1},
		{1, 1},           {0x8000, 0x8000},
		{1, 0x8000}, /* half of the numbers away: not newer */
		{0, 0x8000},      {0xffff, 0xffff},
		{0x7ffe, 0x7ffe},
	};
	struct flow_counters *c = scene_counters(s, family);

	for (size_t i = 0; i < sizeof(seq) / sizeof(seq[0]); i++) {
		send_rtp(s, program, family, 0, seq[i][0], SSRC);
		if (c->seq != seq[i][1])
			fail_msg("%u: %u", seq[i][0], c->seq);
	}
}

static void test_the_newest_number_stays_across_the_wrap(void **state)
{
	scene_each(state, newest);
}

static void new_ssrc(struct scene *s, enum scene_program program, int family)
{
	struct flow_counters *c = scene_counters(s, family);

	send_rtp(s, program, family, 0, 5000, SSRC);
	send_rtp(s, program, family, 8, 10, SSRC + 1);
	assert_int_equal(c->ssrc, SSRC + 1);
	assert_int_equal(c->seq, 10);
	assert_int_equal(c->payload_type, 8);
}

static void test_a_new_ssrc_begins_with_its_own_number(void **state)
{
	scene_each(state, new_ssrc);
}

static void not_noted(struct scene *s, enum scene_program program, int family)
{
	static const uint8_t others[][32] = {
		{0x80, 200, 0, 6, 1, 2, 3, 4},                 /* RTCP */
		{0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42},         /* STUN */
		{0x8f, 8, 0x22, 0x22, 0, 0, 0, 0, 1, 2, 3, 4}, /* cut off */
		{0x40, 8, 0x22, 0x22}, /* no version of RTP */
		{0xc0, 8, 0x22, 0x22},
		{22, 0xfe, 0xfd},
	};
	struct flow_counters *c = scene_counters(s, family);

	send_rtp(s, program, family, 3, 5000, SSRC);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		send_bytes(s, program, family, others[i], 32);
		assert_int_equal(c->ssrc, SSRC);
		assert_int_equal(c->seq, 5000);
		assert_int_equal(c->payload_type, 3);
	}
	send_bytes(s, program, family, others[4], 3);
	assert_int_equal(c->seq, 5000);
}

static void test_what_is_not_rtp_leaves_them_alone(void **state)
{
	scene_each(state, not_noted);
}

/* ---- UDPTL ---- */

static void set_udptl(struct scene *s, int family, bool on)
{
	uint8_t flags = on ? FLOW_IS_UDPTL : 0;

	if (family == 4)
		s->flows4[SCENE_INDEX].flags = flags;
	else
		s->flows6[SCENE_INDEX].flags = flags;
}

static void fax(struct scene *s, enum scene_program program, int family)
{
	struct flow_counters *c = scene_counters(s, family);

	set_udptl(s, family, true);
	send_udptl(s, program, family, 65535);
	assert_int_equal(c->seq, 65535);
	assert_int_equal(c->seen, FLOW_SEEN_UDPTL | FLOW_SEEN_MEDIA);
	send_udptl(s, program, family, 0x80c8); /* as RTCP would begin */
	assert_int_equal(c->seq, 65535);
	send_udptl(s, program, family, 0);
	assert_int_equal(c->seq, 0);
	send_udptl(s, program, family, 65535);
	assert_int_equal(c->seq, 0);
	send_udptl(s, program, family, 1);
	assert_int_equal(c->seq, 1);
	assert_int_equal(c->payload_type, 0xff);
	send_bytes(s, program, family, stun, sizeof(stun));
	send_bytes(s, program, family, stun, 2); /* too short for a number */
	assert_int_equal(c->seq, 1);
}

static void test_udptl_is_told_by_the_flow_and_never_is_rtp(void **state)
{
	scene_each(state, fax);
}

static void rtcp_like_fax(struct scene *s, enum scene_program program,
			  int family)
{
	struct flow_counters *c = scene_counters(s, family);

	set_udptl(s, family, true);
	send_udptl(s, program, family, 0x80c8);
	assert_int_equal(c->seq, 0x80c8);
	assert_int_not_equal(c->media, 0);
}

static void test_udptl_whose_number_resembles_rtcp_is_media(void **state)
{
	scene_each(state, rtcp_like_fax);
}

/* A call that turns into a fax and back, with the counters that it had. */
static void to_fax_and_back(struct scene *s, enum scene_program program,
			    int family)
{
	struct flow_counters *c = scene_counters(s, family);

	send_rtp(s, program, family, 0, 50000, SSRC);
	set_udptl(s, family, true);
	send_udptl(s, program, family, 3);
	assert_int_equal(c->seq, 3);
	set_udptl(s, family, false);
	send_rtp(s, program, family, 0, 2, SSRC);
	assert_int_equal(c->seq, 2);
	assert_int_equal(c->ssrc, SSRC);
	set_udptl(s, family, true);
	send_udptl(s, program, family, 0);
	assert_int_equal(c->seq, 0);
}

static void test_a_call_may_turn_into_a_fax_and_back(void **state)
{
	scene_each(state, to_fax_and_back);
}

/* ---- exactly ---- */

static void sums(struct scene *s, enum scene_program program, int family)
{
	struct flow_counters *c = scene_counters(s, family);
	uint8_t payload[200] = {0x80};
	uint64_t bytes = 0;

	/* The relay starts them at what it has counted itself. */
	c->packets = UINT32_MAX;
	c->bytes = UINT32_MAX;
	for (size_t len = 0; len < sizeof(payload); len++) {
		send_bytes(s, program, family, payload, len);
		bytes += (family == 4 ? 28 : 48) + len;
	}
	assert_int_equal(c->packets, UINT32_MAX + sizeof(payload));
	assert_int_equal(c->bytes, UINT32_MAX + bytes);
}

static void test_packets_and_bytes_of_ip_are_exact_in_64_bits(void **state)
{
	scene_each(state, sums);
}

#define THREADS 2
#define RUNS 20000

struct runner {
	pthread_t thread;
	int program_fd;
	uint8_t frame[FRAME_MOST];
	size_t len;
	unsigned forwarded;
};

static void *run_often(void *arg)
{
	struct runner *r = arg;
	uint8_t out[FRAME_MOST];

	for (unsigned i = 0; i < RUNS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = r->frame,
			    .data_size_in = (__u32)r->len, .data_out = out,
			    .data_size_out = sizeof(out));

		if (bpf_prog_test_run_opts(r->program_fd, &options) == 0 &&
		    (options.retval == 4 || options.retval == 7))
			r->forwarded++;
	}
	return NULL;
}

/* One flow, on two CPUs at once: one of them per program. */
static void at_once(struct scene *s, int family)
{
	struct runner runners[THREADS] = {0};
	struct way way = scene_way(family);
	uint8_t payload[33] = {0x80};
	struct frame_spec sent =
		scene_sent(family, &way, payload, sizeof(payload));
	struct flow_counters *c = scene_counters(s, family);

	for (unsigned i = 0; i < THREADS; i++) {
		struct runner *r = &runners[i];

		r->len = frame_spec_build(&sent, r->frame);
		r->program_fd =
			scene_program_fd(s, i % 2 ? SCENE_TC : SCENE_XDP);
		assert_int_equal(pthread_create(&r->thread, NULL, run_often, r),
				 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(runners[i].thread, NULL);
		assert_int_equal(runners[i].forwarded, RUNS);
	}
	assert_int_equal(c->packets, THREADS * RUNS);
	assert_int_equal(c->bytes, THREADS * RUNS * frame_spec_ip_len(&sent));
}

static void test_two_cpus_at_once_lose_no_count(void **state)
{
	at_once(scene_of(state), 4);
	at_once(scene_of(state), 6);
}

static void other_flows(struct scene *s, enum scene_program program, int family)
{
	static const struct flow4 none4;
	static const struct flow6 none6;

	send_rtp(s, program, family, 0, 1, SSRC);
	for (unsigned i = 0; i < SCENE_PORTS; i++) {
		if (i == SCENE_INDEX)
			continue;
		assert_memory_equal(&s->flows4[i], &none4, sizeof(none4));
		assert_memory_equal(&s->flows6[i], &none6, sizeof(none6));
	}
}

static void test_only_the_flow_of_that_port_is_touched(void **state)
{
	scene_each(state, other_flows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_kind_of_packet_feeds_its_timers),
		cmocka_unit_test(test_ssrc_seq_and_payload_type_are_noted),
		cmocka_unit_test(test_the_newest_number_stays_across_the_wrap),
		cmocka_unit_test(test_a_new_ssrc_begins_with_its_own_number),
		cmocka_unit_test(test_what_is_not_rtp_leaves_them_alone),
		cmocka_unit_test(
			test_udptl_is_told_by_the_flow_and_never_is_rtp),
		cmocka_unit_test(
			test_udptl_whose_number_resembles_rtcp_is_media),
		cmocka_unit_test(test_a_call_may_turn_into_a_fax_and_back),
		cmocka_unit_test(
			test_packets_and_bytes_of_ip_are_exact_in_64_bits),
		cmocka_unit_test(test_two_cpus_at_once_lose_no_count),
		cmocka_unit_test(test_only_the_flow_of_that_port_is_touched),
	};

	return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
