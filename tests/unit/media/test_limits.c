#include "bpf/flow_abi.h"
#include "flow_scene.h"

#define BURST FLOW_BUCKET_BURST
#define LIMIT 200u /* packets a second */

/* A call with a fake engine, and with limits. */
static void start_limited(struct scene *s, struct media_limits limits)
{
	struct call *call = &s->call;
	const struct media_config config = {
		.worker_count = 2,
		.engine.forwarding = FORWARDING_USERSPACE,
		.limits = limits,
		.learning = {.mode = LEARNING_SAFE,
			     .settle_us = LONG_US,
			     .rebind_silence_us = REBIND_US,
			     .rtcp_forget_us = LONG_US,
			     .probation_packets = 4},
	};

	*s = (struct scene){.engine = fake_engine_new()};
	assert_int_equal(media_new(&call->media, &config), 0);
	media_use_engine(call->media, &s->engine->engine);
	assert_int_equal(media_session_new(&call->session, call->media), 0);
	start_stream(call, AF_INET);
	for (enum party party = 0; party < PARTY_COUNT; party++) {
		call->phones[party] = open_phone(call->media, AF_INET);
		media_stream_set_sdp(call->stream, party,
				     &call->phones[party].at[COMPONENT_RTP]);
	}
	media_stream_open(call->stream);
}

static struct media_counters from(const struct scene *s, enum party party)
{
	struct media_snapshot snapshot;

	media_stream_read(s->call.stream, &snapshot);
	return snapshot.from[party][COMPONENT_RTP];
}

static void flood(struct scene *s, int fd, unsigned count)
{
	struct endpoint to = relay_port(&s->call, PARTY_CALLER, COMPONENT_RTP);
	uint8_t packet[RTP_LEN];

	for (unsigned i = 0; i < count; i++) {
		make_rtp(packet, 0xabcd, (uint16_t)(2 * i));
		send_to(fd, &to, packet, RTP_LEN);
	}
}

static void test_a_stranger_is_judged_only_now_and_then(void **state)
{
	struct endpoint at = {0};
	struct media_counters c;
	struct scene s;
	int fd;

	(void)state;
	start_scene(&s, AF_INET);
	assert_int_equal(ip_parse(SPAN("127.0.0.66"), &at.ip), 0);
	fd = media_socket_open(&at, 0, false);
	assert_true(fd >= 0);
	s.engine->engine.forwards = false;
	talk(&s);
	flood(&s, fd, 200);
	AWAIT(from(&s, PARTY_CALLER).drops[DROP_NOT_THE_REMOTE] +
		      from(&s, PARTY_CALLER).drops[DROP_FLOOD] ==
	      200);
	c = from(&s, PARTY_CALLER);
	/* one more in each 20 ms that this took */
	assert_in_range(c.drops[DROP_NOT_THE_REMOTE], BURST, 150);
	talk(&s); /* the party is heard as before */
	close(fd);
	end_scene(&s);
}

static void test_a_phone_that_moves_is_found_in_a_flood(void **state)
{
	struct endpoint at = {0}, to;
	struct scene s;
	int fds[16], moved;
	uint8_t packet[RTP_LEN];

	(void)state;
	start_scene(&s, AF_INET);
	s.engine->engine.forwards = false;
	talk(&s);
	assert_int_equal(ip_parse(SPAN("127.0.0.66"), &at.ip), 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		assert_true((fds[i] = media_socket_open(&at, 0, false)) >= 0);
	assert_int_equal(ip_parse(SPAN("127.0.0.77"), &at.ip), 0);
	assert_true((moved = media_socket_open(&at, 0, false)) >= 0);
	poll(NULL, 0, 2 * REBIND_US / 1000); /* the party is silent */

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		flood(&s, fds[i], 40);
	to = relay_port(&s.call, PARTY_CALLER, COMPONENT_RTP);
	make_rtp(packet, PARTY_CALLER + 1, ++s.seq[PARTY_CALLER]);
	send_to(moved, &to, packet, RTP_LEN);
	hear_rtp(&s.call, PARTY_CALLEE, PARTY_CALLER + 1, s.seq[PARTY_CALLER]);
	assert_int_equal(from(&s, PARTY_CALLER).rule, RULE_REBIND);
	assert_true(from(&s, PARTY_CALLER).drops[DROP_FLOOD] > 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	close(moved);
	end_scene(&s);
}

/* Over its limit a party is heard still, and nobody else in its place. */
static void test_the_remote_may_send_what_the_limit_says(void **state)
{
	struct media_counters c;
	struct scene s;

	(void)state;
	start_limited(&s, (struct media_limits){.packets = LIMIT});
	s.engine->engine.forwards = false;
	talk(&s);
	for (unsigned i = 0; i < 600; i++)
		say_rtp(&s.call, PARTY_CALLER, ++s.seq[PARTY_CALLER]);
	AWAIT(from(&s, PARTY_CALLER).packets +
		      from(&s, PARTY_CALLER).drops[DROP_OVER_LIMIT] ==
	      602);
	c = from(&s, PARTY_CALLER);
	assert_in_range(c.packets, LIMIT, 500);
	pass_rtp(&s, PARTY_CALLEE); /* the other party has a limit of its own */
	end_scene(&s);
}

static void test_bytes_are_limited_too(void **state)
{
	struct scene s;

	(void)state;
	start_limited(&s, (struct media_limits){.bytes = LIMIT * IP4_LEN});
	s.engine->engine.forwards = false;
	talk(&s);
	for (unsigned i = 0; i < 600; i++)
		say_rtp(&s.call, PARTY_CALLER, ++s.seq[PARTY_CALLER]);
	AWAIT(from(&s, PARTY_CALLER).packets +
		      from(&s, PARTY_CALLER).drops[DROP_OVER_LIMIT] ==
	      602);
	assert_in_range(from(&s, PARTY_CALLER).packets, LIMIT, 500);
	end_scene(&s);
}

/* As the control thread does, once a second; a second of this test's own. */
static void look(struct scene *s, uint64_t seconds)
{
	struct media_snapshot snapshot;

	media_stream_read(s->call.stream, &snapshot);
	media_stream_check_limits(s->call.stream, &snapshot,
				  seconds * US_PER_S);
}

static void test_a_flow_over_the_limit_leaves_the_kernel(void **state)
{
	struct scene s;
	uint64_t second = 1;

	(void)state;
	start_limited(&s, (struct media_limits){.packets = LIMIT});
	install_rtp(&s);
	look(&s, second);
	for (; second < 20; second++) {
		engine_forwards(&s, PARTY_CALLER, LIMIT);
		engine_forwards(&s, PARTY_CALLEE, LIMIT);
		look(&s, second + 1);
	}
	let_worker_finish(&s.call);
	assert_true(is_installed(&s, PARTY_CALLER));
	assert_true(is_installed(&s, PARTY_CALLEE));

	/* nearly twice as much: a second's worth is free */
	engine_forwards(&s, PARTY_CALLER, 2 * LIMIT - 20);
	look(&s, ++second);
	let_worker_finish(&s.call);
	assert_true(is_installed(&s, PARTY_CALLER));
	engine_forwards(&s, PARTY_CALLER, 2 * LIMIT);
	look(&s, ++second);
	AWAIT(!is_installed(&s, PARTY_CALLER));
	assert_true(is_installed(&s, PARTY_CALLEE));

	/* and stays out, though it is heard again */
	pass_rtp(&s, PARTY_CALLER);
	let_worker_finish(&s.call);
	assert_false(is_installed(&s, PARTY_CALLER));
	end_scene(&s);
}

static void test_without_limits_a_flow_stays(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	for (uint64_t second = 1; second < 5; second++) {
		engine_forwards(&s, PARTY_CALLER, 20000);
		look(&s, second);
	}
	let_worker_finish(&s.call);
	assert_true(is_installed(&s, PARTY_CALLER));
	end_scene(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_stranger_is_judged_only_now_and_then),
		cmocka_unit_test(test_a_phone_that_moves_is_found_in_a_flood),
		cmocka_unit_test(test_the_remote_may_send_what_the_limit_says),
		cmocka_unit_test(test_bytes_are_limited_too),
		cmocka_unit_test(test_a_flow_over_the_limit_leaves_the_kernel),
		cmocka_unit_test(test_without_limits_a_flow_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
