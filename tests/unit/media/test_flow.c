/* A flow on its way into the engine and back while the call goes on: when it
 * is asked for, what is installed, and what takes it back. */
#include "flow_scene.h"

/* ---- into the engine ---- */

static void
test_a_flow_is_asked_for_when_both_remotes_are_confirmed(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	s.engine->answers_by_hand = true;
	pass_rtp(&s, PARTY_CALLER);
	pass_rtp(&s, PARTY_CALLER);
	let_worker_finish(&s.call);
	assert_int_equal(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).asks, 0);
	assert_int_equal(flow_of(&s, PARTY_CALLEE, COMPONENT_RTP).asks, 0);

	pass_rtp(&s, PARTY_CALLEE);
	await_request(&s, PARTY_CALLEE, COMPONENT_RTP, FAKE_ASKED);
	pass_rtp(&s, PARTY_CALLER);
	await_request(&s, PARTY_CALLER, COMPONENT_RTP, FAKE_ASKED);
	let_worker_finish(&s.call);
	assert_false(is_installed(&s, PARTY_CALLER));
	answer(&s, PARTY_CALLER, COMPONENT_RTP);
	await_installed(&s, PARTY_CALLER, COMPONENT_RTP);
	assert_false(is_installed(&s, PARTY_CALLEE));
	assert_int_equal(flow_of(&s, PARTY_CALLEE, COMPONENT_RTCP).asks, 0);
	answer(&s, PARTY_CALLEE, COMPONENT_RTP);
	end_scene(&s);
}

static void test_rtp_is_asked_for_only_after_media(void **state)
{
	/* Neither STUN nor media: RTCP that shares the port. */
	static const uint8_t report[] = {0x80, 201, 0, 1, 0, 0, 0, 1};
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	for (unsigned i = 0; i < 2; i++)
		for (enum party p = 0; p < PARTY_COUNT; p++) {
			say(&s.call, p, COMPONENT_RTP, report, sizeof(report));
			hear(&s.call, party_other(p), COMPONENT_RTP, report,
			     sizeof(report));
		}
	let_worker_finish(&s.call);
	assert_int_equal(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).asks, 0);
	assert_int_equal(flow_of(&s, PARTY_CALLEE, COMPONENT_RTP).asks, 0);
	pass_rtp(&s, PARTY_CALLER);
	await_installed(&s, PARTY_CALLER, COMPONENT_RTP);
	assert_int_equal(flow_of(&s, PARTY_CALLEE, COMPONENT_RTP).asks, 0);
	end_scene(&s);
}

static void both_directions(int family)
{
	struct scene s;

	start_scene(&s, family);
	install_rtp(&s);
	install_rtcp(&s);
	for (enum party p = 0; p < PARTY_COUNT; p++)
		for (enum component c = 0; c < COMPONENT_COUNT; c++) {
			assert_flow(&s, p, c);
			assert_int_equal(flow_of(&s, p, c).silence_us,
					 c == COMPONENT_RTCP ? 60000000 : 0);
			assert_false(flow_of(&s, p, c).flow.is_udptl);
			assert_int_not_equal(flow_of(&s, p, c).flow.heard_us,
					     0);
		}
	end_scene(&s);
}

static void test_ipv4_flows_lead_from_remote_to_remote(void **state)
{
	(void)state;
	both_directions(AF_INET);
}

static void test_ipv6_flows_lead_from_remote_to_remote(void **state)
{
	(void)state;
	both_directions(AF_INET6);
}

static void test_udptl_is_installed_as_such(void **state)
{
	static const uint8_t packets[][4] = {{0, 1, 1, 9}, {0, 2, 1, 9}};
	struct scene s;

	(void)state;
	start_scene_with(&s, AF_INET, MEDIA_FORMAT_UDPTL, LONG_US, 60000000);
	for (unsigned i = 0; i < 2; i++)
		for (enum party p = 0; p < PARTY_COUNT; p++) {
			say(&s.call, p, COMPONENT_RTP, packets[i], 4);
			hear(&s.call, party_other(p), COMPONENT_RTP, packets[i],
			     4);
		}
	for (enum party p = 0; p < PARTY_COUNT; p++) {
		await_installed(&s, p, COMPONENT_RTP);
		assert_true(flow_of(&s, p, COMPONENT_RTP).flow.is_udptl);
	}
	end_scene(&s);
}

static void test_a_candidate_has_no_flow(void **state)
{
	struct endpoint elsewhere = {.port = 9999};
	uint8_t packet[RTP_LEN];
	struct scene s;

	(void)state;
	start_scene_with(&s, AF_INET, MEDIA_FORMAT_RTP, SHORT_US, 60000000);
	assert_int_equal(ip_parse(SPAN("127.0.0.77"), &elsewhere.ip), 0);
	media_stream_set_sdp(s.call.stream, PARTY_CALLEE, &elsewhere);
	/* Three of the four that prove a stranger. */
	for (uint16_t seq = 1; seq <= 3; seq++)
		say_rtp(&s.call, PARTY_CALLEE, seq);
	for (uint16_t seq = 1; seq <= 3; seq++) {
		make_rtp(packet, 1, seq);
		say(&s.call, PARTY_CALLER, COMPONENT_RTP, packet, RTP_LEN);
	}
	let_worker_finish(&s.call);
	assert_int_equal(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).asks, 0);
	assert_int_equal(flow_of(&s, PARTY_CALLEE, COMPONENT_RTP).asks, 0);
	end_scene(&s);
}

/* ---- the moment of switching over ---- */

#define BURST 200

static void test_a_flow_is_installed_when_its_socket_is_empty(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	s.engine->answers_by_hand = true;
	pass_rtp(&s, PARTY_CALLER);
	/* The worker stands still, first where it asks for the callee's flow,
	 * then for the caller's: what comes now waits in the socket, longer
	 * than the worker reads on for a flow. */
	s.engine->at_ask.shut = true;
	pass_rtp(&s, PARTY_CALLEE);
	sem_wait(&s.engine->at_ask.waits);
	s.engine->at_ask.shut = true;
	sem_post(&s.engine->at_ask.go);
	sem_wait(&s.engine->at_ask.waits);
	s.engine->fd_to_be_empty = s.call.pairs[PARTY_CALLER].fd[COMPONENT_RTP];
	for (unsigned i = 0; i < BURST; i++)
		say_rtp(&s.call, PARTY_CALLER, ++s.seq[PARTY_CALLER]);
	answer(&s, PARTY_CALLER, COMPONENT_RTP);
	sem_post(&s.engine->at_ask.go);

	await_installed(&s, PARTY_CALLER, COMPONENT_RTP);
	assert_int_equal(s.engine->adds_to_nonempty, 0);
	for (uint16_t seq = 2; seq <= BURST + 1; seq++)
		hear_rtp(&s.call, PARTY_CALLEE, 1, seq);
	assert_nothing_to_hear(&s.call, PARTY_CALLEE, COMPONENT_RTP);
	answer(&s, PARTY_CALLEE, COMPONENT_RTP);
	end_scene(&s);
}

static void
test_what_comes_up_while_a_flow_is_installed_is_forwarded(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	s.engine->at_add.shut = true;
	pass_rtp(&s, PARTY_CALLER);
	pass_rtp(&s, PARTY_CALLEE);
	sem_wait(&s.engine->at_add.waits);
	say_rtp(&s.call, PARTY_CALLEE, ++s.seq[PARTY_CALLEE]);
	say_rtp(&s.call, PARTY_CALLER, ++s.seq[PARTY_CALLER]);
	sem_post(&s.engine->at_add.go);
	hear_rtp(&s.call, PARTY_CALLER, 2, s.seq[PARTY_CALLEE]);
	hear_rtp(&s.call, PARTY_CALLEE, 1, s.seq[PARTY_CALLER]);
	await_installed(&s, PARTY_CALLER, COMPONENT_RTP);
	await_installed(&s, PARTY_CALLEE, COMPONENT_RTP);
	for (unsigned i = 0; i < 10; i++) {
		pass_rtp(&s, PARTY_CALLER);
		pass_rtp(&s, PARTY_CALLEE);
	}
	assert_int_equal(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).dels, 0);
	end_scene(&s);
}

/* The worker has looked at the settings and installs; no packet comes after. */
static void
test_sdp_that_comes_during_the_installing_takes_it_back(void **state)
{
	struct scene s;
	struct phone before;

	(void)state;
	start_scene(&s, AF_INET);
	before = s.call.phones[PARTY_CALLEE];
	s.engine->at_add.shut = true;
	pass_rtp(&s, PARTY_CALLER);
	pass_rtp(&s, PARTY_CALLEE);
	sem_wait(&s.engine->at_add.waits);
	s.call.phones[PARTY_CALLEE] = open_phone(s.call.media, AF_INET);
	media_stream_set_sdp(s.call.stream, PARTY_CALLEE,
			     &s.call.phones[PARTY_CALLEE].at[COMPONENT_RTP]);
	sem_post(&s.engine->at_add.go);
	AWAIT(flow_of(&s, PARTY_CALLEE, COMPONENT_RTP).dels == 1);
	await_request(&s, PARTY_CALLEE, COMPONENT_RTP, FAKE_IDLE);
	await_request(&s, PARTY_CALLER, COMPONENT_RTP, FAKE_IDLE);
	close_phone(s.call.media, &before);
	end_scene(&s);
}

/* ---- and back ---- */

static void
test_new_sdp_takes_both_directions_back_without_a_packet(void **state)
{
	struct phone before;
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	install_rtcp(&s);
	s.engine->settles_by_hand = true;
	before = s.call.phones[PARTY_CALLEE];
	s.call.phones[PARTY_CALLEE] = open_phone(s.call.media, AF_INET);
	media_stream_set_sdp(s.call.stream, PARTY_CALLEE,
			     &s.call.phones[PARTY_CALLEE].at[COMPONENT_RTP]);
	for (enum party p = 0; p < PARTY_COUNT; p++)
		for (enum component c = 0; c < COMPONENT_COUNT; c++) {
			await_request(&s, p, c, FAKE_SETTLING);
			assert_false(flow_of(&s, p, c).installed);
		}

	/* Userspace forwards to the new address; nothing is asked for until
	 * the old flows are settled. */
	talk(&s);
	pass_rtcp(&s, PARTY_CALLEE);
	let_worker_finish(&s.call);
	for (enum party p = 0; p < PARTY_COUNT; p++) {
		assert_int_equal(flow_of(&s, p, COMPONENT_RTP).asks, 1);
		answer(&s, p, COMPONENT_RTP);
		answer(&s, p, COMPONENT_RTCP);
	}
	let_worker_finish(&s.call);
	talk(&s);
	await_installed(&s, PARTY_CALLER, COMPONENT_RTP);
	await_installed(&s, PARTY_CALLEE, COMPONENT_RTP);
	assert_flow(&s, PARTY_CALLER, COMPONENT_RTP);
	assert_flow(&s, PARTY_CALLEE, COMPONENT_RTP);
	s.engine->settles_by_hand = false;
	close_phone(s.call.media, &before);
	end_scene(&s);
}

static void test_sdp_that_comes_while_asked_is_what_gets_installed(void **state)
{
	struct phone before;
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	s.engine->answers_by_hand = true;
	talk(&s);
	await_request(&s, PARTY_CALLER, COMPONENT_RTP, FAKE_ASKED);
	before = s.call.phones[PARTY_CALLEE];
	s.call.phones[PARTY_CALLEE] = open_phone(s.call.media, AF_INET);
	media_stream_set_sdp(s.call.stream, PARTY_CALLEE,
			     &s.call.phones[PARTY_CALLEE].at[COMPONENT_RTP]);
	answer(&s, PARTY_CALLER, COMPONENT_RTP);
	answer(&s, PARTY_CALLEE, COMPONENT_RTP);
	await_request(&s, PARTY_CALLER, COMPONENT_RTP, FAKE_IDLE);
	await_request(&s, PARTY_CALLEE, COMPONENT_RTP, FAKE_IDLE);
	assert_int_equal(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).adds, 0);
	assert_int_equal(flow_of(&s, PARTY_CALLEE, COMPONENT_RTP).adds, 0);
	s.engine->answers_by_hand = false;
	let_worker_finish(&s.call);
	talk(&s);
	await_installed(&s, PARTY_CALLER, COMPONENT_RTP);
	assert_flow(&s, PARTY_CALLER, COMPONENT_RTP);
	close_phone(s.call.media, &before);
	end_scene(&s);
}

static void test_what_changes_no_address_changes_no_flow(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	for (enum party p = 0; p < PARTY_COUNT; p++) {
		media_stream_set_sdp(s.call.stream, p,
				     &s.call.phones[p].at[COMPONENT_RTP]);
		media_session_set_signalling(s.call.session, p,
					     &s.call.phones[p].at[0].ip);
	}
	media_stream_set_forwarding(s.call.stream, true);
	media_stream_open(s.call.stream);
	let_worker_finish(&s.call);
	/* Nor does a packet of somebody else. */
	send_to(s.call.phones[PARTY_CALLEE].fd[COMPONENT_RTCP],
		&s.call.pairs[PARTY_CALLER].local, "hello", 5);
	await_drops(&s.call, PARTY_CALLER, DROP_NOT_THE_REMOTE, 1);
	let_worker_finish(&s.call);
	for (enum party p = 0; p < PARTY_COUNT; p++) {
		assert_true(is_installed(&s, p));
		assert_int_equal(flow_of(&s, p, COMPONENT_RTP).dels, 0);
	}
	end_scene(&s);
}

static void
test_a_rejected_stream_has_no_flow_until_it_is_accepted(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	media_stream_set_forwarding(s.call.stream, false);
	AWAIT(!is_installed(&s, PARTY_CALLER) &&
	      !is_installed(&s, PARTY_CALLEE));
	say_rtp(&s.call, PARTY_CALLER, 100);
	await_drops(&s.call, PARTY_CALLER, DROP_NOT_FORWARDING, 1);
	let_worker_finish(&s.call);
	assert_int_equal(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).asks, 1);
	media_stream_set_forwarding(s.call.stream, true);
	install_rtp(&s);
	assert_flow(&s, PARTY_CALLER, COMPONENT_RTP);
	assert_flow(&s, PARTY_CALLEE, COMPONENT_RTP);
	end_scene(&s);
}

/* ---- what the engine hears ---- */

static int open_stranger(struct endpoint *ret)
{
	int fd;

	*ret = (struct endpoint){0};
	assert_int_equal(ip_parse(SPAN("127.0.0.66"), &ret->ip), 0);
	fd = media_socket_open(ret, 0, false);
	assert_true(fd >= 0);
	return fd;
}

static void set_heard(struct scene *s, enum party party, uint64_t heard_us,
		      uint16_t seq)
{
	struct endpoint local = relay_port(&s->call, party, COMPONENT_RTP);
	struct engine_counters *c = &fake_at(s->engine, &local)->counters;

	pthread_mutex_lock(&s->engine->lock);
	c->heard_us = c->media_us = heard_us;
	c->has_ssrc = true;
	c->ssrc = (uint32_t)party + 1;
	c->seq = seq;
	pthread_mutex_unlock(&s->engine->lock);
}

/* Further on than a stream may go by itself, but right behind what the engine
 * has heard. */
static void test_a_phone_moves_by_what_the_engine_has_heard(void **state)
{
	struct endpoint at;
	struct scene s;
	uint8_t packet[RTP_LEN];
	uint64_t then_us;
	struct phone before;
	int fd;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	then_us = clock_mono_us();
	set_heard(&s, PARTY_CALLER, then_us, 10000);
	AWAIT(clock_mono_us() > then_us + 2 * REBIND_US);
	before = s.call.phones[PARTY_CALLER];
	fd = open_stranger(&at);
	make_rtp(packet, 1, 10001);
	send_to(fd, &s.call.pairs[PARTY_CALLER].local, packet, RTP_LEN);
	hear_rtp(&s.call, PARTY_CALLEE, 1, 10001);
	AWAIT(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).dels == 1 &&
	      flow_of(&s, PARTY_CALLEE, COMPONENT_RTP).dels == 1);

	s.call.phones[PARTY_CALLER].fd[COMPONENT_RTP] = fd;
	media_stream_close(s.call.stream, NULL, NULL);
	close_stream(&s.call);
	assert_int_equal(s.call.final.from[PARTY_CALLER][COMPONENT_RTP].rule,
			 RULE_REBIND);
	close(fd);
	s.call.phones[PARTY_CALLER] = before;
	end_scene(&s);
}

static void
test_a_stranger_takes_nothing_while_the_engine_hears_the_remote(void **state)
{
	uint8_t packet[RTP_LEN];
	struct endpoint at;
	uint64_t then_us;
	struct scene s;
	int fd;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	then_us = clock_mono_us();
	AWAIT(clock_mono_us() > then_us + 2 * REBIND_US);
	/* As if each 20 ms, and for as long as the test takes. */
	set_heard(&s, PARTY_CALLER, clock_mono_us() + 3600 * US_PER_S, 3);
	fd = open_stranger(&at);
	for (uint16_t seq = 4; seq < 24; seq++) {
		make_rtp(packet, 1, seq);
		send_to(fd, &s.call.pairs[PARTY_CALLER].local, packet, RTP_LEN);
	}
	await_drops(&s.call, PARTY_CALLER, DROP_NOT_THE_REMOTE, 20);
	let_worker_finish(&s.call);
	assert_flow(&s, PARTY_CALLER, COMPONENT_RTP);
	assert_flow(&s, PARTY_CALLEE, COMPONENT_RTP);
	assert_nothing_to_hear(&s.call, PARTY_CALLEE, COMPONENT_RTP);
	close(fd);
	end_scene(&s);
}

#define FORGET_US 300000u

static void tell_silent(struct scene *s, enum party party)
{
	struct endpoint local = relay_port(&s->call, party, COMPONENT_RTCP);

	fake_silent(s->engine, &local);
}

static bool has_rtcp_remote(struct scene *s, enum party party)
{
	struct media_snapshot snapshot;

	media_stream_read(s->call.stream, &snapshot);
	return ip_is_set(&snapshot.from[party][COMPONENT_RTCP].remote.ip);
}

static void test_silence_forgets_the_remote_of_rtcp(void **state)
{
	uint64_t then_us;
	struct scene s;

	(void)state;
	start_scene_with(&s, AF_INET, MEDIA_FORMAT_RTP, LONG_US, FORGET_US);
	install_rtcp(&s);
	install_rtp(&s);
	then_us = clock_mono_us();
	AWAIT(clock_mono_us() > then_us + FORGET_US);
	tell_silent(&s, PARTY_CALLEE);
	AWAIT(!flow_of(&s, PARTY_CALLER, COMPONENT_RTCP).installed);
	AWAIT(!flow_of(&s, PARTY_CALLEE, COMPONENT_RTCP).installed);
	AWAIT(!has_rtcp_remote(&s, PARTY_CALLEE));
	assert_true(is_installed(&s, PARTY_CALLER));
	assert_true(is_installed(&s, PARTY_CALLEE));
	end_scene(&s);
}

static void test_silence_that_is_over_forgets_nothing(void **state)
{
	struct endpoint local;
	uint64_t then_us;
	struct scene s;

	(void)state;
	start_scene_with(&s, AF_INET, MEDIA_FORMAT_RTP, LONG_US, FORGET_US);
	install_rtcp(&s);
	local = relay_port(&s.call, PARTY_CALLEE, COMPONENT_RTCP);
	then_us = clock_mono_us();
	AWAIT(clock_mono_us() > then_us + FORGET_US);
	pthread_mutex_lock(&s.engine->lock);
	fake_at(s.engine, &local)->counters.heard_us =
		then_us + 3600 * US_PER_S;
	pthread_mutex_unlock(&s.engine->lock);
	tell_silent(&s, PARTY_CALLEE);
	let_worker_finish(&s.call);
	assert_true(flow_of(&s, PARTY_CALLEE, COMPONENT_RTCP).installed);
	assert_true(has_rtcp_remote(&s, PARTY_CALLEE));
	end_scene(&s);
}

/* Otherwise nobody would see that it is silent: what the other one sends goes
 * past userspace. */
static void test_rtcp_that_spoke_once_is_watched_as_well(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	pass_rtcp(&s, PARTY_CALLEE);
	pass_rtcp(&s, PARTY_CALLER);
	await_installed(&s, PARTY_CALLER, COMPONENT_RTCP);
	await_installed(&s, PARTY_CALLEE, COMPONENT_RTCP);
	assert_flow(&s, PARTY_CALLEE, COMPONENT_RTCP);
	end_scene(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_flow_is_asked_for_when_both_remotes_are_confirmed),
		cmocka_unit_test(test_rtp_is_asked_for_only_after_media),
		cmocka_unit_test(test_ipv4_flows_lead_from_remote_to_remote),
		cmocka_unit_test(test_ipv6_flows_lead_from_remote_to_remote),
		cmocka_unit_test(test_udptl_is_installed_as_such),
		cmocka_unit_test(test_a_candidate_has_no_flow),
		cmocka_unit_test(
			test_a_flow_is_installed_when_its_socket_is_empty),
		cmocka_unit_test(
			test_what_comes_up_while_a_flow_is_installed_is_forwarded),
		cmocka_unit_test(
			test_sdp_that_comes_during_the_installing_takes_it_back),
		cmocka_unit_test(
			test_new_sdp_takes_both_directions_back_without_a_packet),
		cmocka_unit_test(
			test_sdp_that_comes_while_asked_is_what_gets_installed),
		cmocka_unit_test(test_what_changes_no_address_changes_no_flow),
		cmocka_unit_test(
			test_a_rejected_stream_has_no_flow_until_it_is_accepted),
		cmocka_unit_test(
			test_a_phone_moves_by_what_the_engine_has_heard),
		cmocka_unit_test(
			test_a_stranger_takes_nothing_while_the_engine_hears_the_remote),
		cmocka_unit_test(test_silence_forgets_the_remote_of_rtcp),
		cmocka_unit_test(test_silence_that_is_over_forgets_nothing),
		cmocka_unit_test(test_rtcp_that_spoke_once_is_watched_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
