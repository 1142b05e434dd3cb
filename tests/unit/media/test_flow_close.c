/* The end of streams that have flows, and their numbers: userspace and engine
 * together, exactly. */
#include "flow_scene.h"

static const struct media_counters *final_of(const struct scene *s,
					     enum party party)
{
	return &s->call.final.from[party][COMPONENT_RTP];
}

static void dispatch_if_ready(struct scene *s)
{
	struct pollfd p = {.fd = media_event_fd(s->call.media),
			   .events = POLLIN};

	if (poll(&p, 1, 0) == 1)
		media_dispatch(s->call.media);
}

static void begin_close(struct scene *s)
{
	media_stream_close(s->call.stream, note_closed, &s->call);
}

static void await_closed(struct scene *s)
{
	AWAIT((dispatch_if_ready(s), s->call.closed));
}

/* ---- the end ---- */

static void test_a_stream_closes_when_its_flows_are_settled(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	install_rtcp(&s);
	s.engine->settles_by_hand = true;
	begin_close(&s);
	for (enum party p = 0; p < PARTY_COUNT; p++)
		for (enum component c = 0; c < COMPONENT_COUNT; c++) {
			await_request(&s, p, c, FAKE_SETTLING);
			assert_false(flow_of(&s, p, c).installed);
		}
	/* What the kernel gives back meanwhile is forwarded; what it had on its
	 * way is counted. */
	pass_rtp(&s, PARTY_CALLER);
	pass_rtp(&s, PARTY_CALLEE);
	pthread_mutex_lock(&s.engine->lock);
	fake_at(s.engine, &s.call.pairs[PARTY_CALLER].local)->counters.packets =
		7;
	pthread_mutex_unlock(&s.engine->lock);
	for (enum party p = 0; p < PARTY_COUNT; p++)
		for (enum component c = 0; c < COMPONENT_COUNT; c++) {
			let_worker_finish(&s.call);
			assert_false(s.call.closed);
			answer(&s, p, c);
		}
	await_closed(&s);
	assert_int_equal(final_of(&s, PARTY_CALLER)->packets, 3 + 7);
	assert_int_equal(final_of(&s, PARTY_CALLER)->kernel_packets, 7);
	assert_int_equal(final_of(&s, PARTY_CALLEE)->packets, 2);
	s.engine->settles_by_hand = false;
	end_scene(&s);
}

static void test_what_waits_in_the_sockets_at_the_end_is_forwarded(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	s.engine->answers_by_hand = true;
	/* The worker stands still with another component's flow. */
	s.engine->at_ask.shut = true;
	pass_rtcp(&s, PARTY_CALLER);
	pass_rtcp(&s, PARTY_CALLEE);
	sem_wait(&s.engine->at_ask.waits);
	begin_close(&s);
	for (unsigned i = 0; i < 20; i++)
		say_rtp(&s.call, PARTY_CALLER, ++s.seq[PARTY_CALLER]);
	sem_post(&s.engine->at_ask.go);
	AWAIT(!is_installed(&s, PARTY_CALLER));
	answer(&s, PARTY_CALLEE, COMPONENT_RTCP);
	await_request(&s, PARTY_CALLER, COMPONENT_RTCP, FAKE_ASKED);
	answer(&s, PARTY_CALLER, COMPONENT_RTCP);
	await_closed(&s);
	for (uint16_t seq = 3; seq <= 22; seq++)
		hear_rtp(&s.call, PARTY_CALLEE, 1, seq);
	assert_int_equal(final_of(&s, PARTY_CALLER)->packets, 22);
	end_scene(&s);
}

static void test_a_stream_closes_after_what_it_asked_is_answered(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	s.engine->answers_by_hand = true;
	talk(&s);
	await_request(&s, PARTY_CALLER, COMPONENT_RTP, FAKE_ASKED);
	begin_close(&s);
	let_worker_finish(&s.call);
	assert_false(s.call.closed);
	pass_rtp(&s, PARTY_CALLER);
	answer(&s, PARTY_CALLER, COMPONENT_RTP);
	answer(&s, PARTY_CALLEE, COMPONENT_RTP);
	await_closed(&s);
	assert_int_equal(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).adds, 0);
	assert_int_equal(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).settles, 1);
	assert_int_equal(final_of(&s, PARTY_CALLER)->packets, 3);
	end_scene(&s);
}

static void test_a_stream_closes_while_it_settles(void **state)
{
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	s.engine->settles_by_hand = true;
	media_stream_set_forwarding(s.call.stream, false);
	await_request(&s, PARTY_CALLER, COMPONENT_RTP, FAKE_SETTLING);
	await_request(&s, PARTY_CALLEE, COMPONENT_RTP, FAKE_SETTLING);
	begin_close(&s);
	let_worker_finish(&s.call);
	assert_false(s.call.closed);
	answer(&s, PARTY_CALLER, COMPONENT_RTP);
	answer(&s, PARTY_CALLEE, COMPONENT_RTP);
	await_closed(&s);
	assert_int_equal(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).settles, 1);
	s.engine->settles_by_hand = false;
	end_scene(&s);
}

static void test_news_of_silence_at_the_end_does_no_harm(void **state)
{
	struct endpoint local;
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtcp(&s);
	s.engine->settles_by_hand = true;
	begin_close(&s);
	for (enum party p = 0; p < PARTY_COUNT; p++) {
		await_request(&s, p, COMPONENT_RTCP, FAKE_SETTLING);
		local = relay_port(&s.call, p, COMPONENT_RTCP);
		fake_silent(s.engine, &local);
		answer(&s, p, COMPONENT_RTCP);
	}
	await_closed(&s);
	end_scene(&s);
}

/* Their workers are gone, and there is nobody to answer to. */
static void free_with_flows(bool answers_by_hand, bool settles_by_hand)
{
	struct scene s;

	start_scene(&s, AF_INET);
	s.engine->answers_by_hand = answers_by_hand;
	s.engine->settles_by_hand = settles_by_hand;
	if (answers_by_hand) {
		talk(&s);
		await_request(&s, PARTY_CALLER, COMPONENT_RTP, FAKE_ASKED);
	} else {
		install_rtp(&s);
	}
	if (settles_by_hand) {
		begin_close(&s);
		await_request(&s, PARTY_CALLER, COMPONENT_RTP, FAKE_SETTLING);
	}
	media_session_free(s.call.session);
	for (unsigned i = 0; i < PARTY_COUNT; i++)
		close_phone(s.call.media, &s.call.phones[i]);
	media_free(s.call.media);
}

static void test_media_ends_with_flows_installed(void **state)
{
	(void)state;
	free_with_flows(false, false);
}

static void test_media_ends_with_flows_asked_for(void **state)
{
	(void)state;
	free_with_flows(true, false);
}

static void test_media_ends_with_flows_settling(void **state)
{
	(void)state;
	free_with_flows(false, true);
}

/* ---- numbers ---- */

static void test_numbers_are_those_of_userspace_and_engine(void **state)
{
	struct fake_port *port;
	struct media_snapshot now;
	uint64_t media_us;
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	engine_forwards(&s, PARTY_CALLER, 100);
	engine_forwards(&s, PARTY_CALLEE, 50);
	port = fake_at(s.engine, &s.call.pairs[PARTY_CALLER].local);
	pthread_mutex_lock(&s.engine->lock);
	port->counters.dropped = 5;
	port->counters.payload_type = 13;
	media_us = port->counters.media_us;
	pthread_mutex_unlock(&s.engine->lock);
	send_to(s.call.phones[PARTY_CALLEE].fd[COMPONENT_RTCP],
		&s.call.pairs[PARTY_CALLER].local, "hello", 5);
	await_drops(&s.call, PARTY_CALLER, DROP_NOT_THE_REMOTE, 1);

	media_stream_read(s.call.stream, &now);
	close_stream(&s.call);
	assert_memory_equal(&now.from[PARTY_CALLER][COMPONENT_RTP],
			    final_of(&s, PARTY_CALLER),
			    sizeof(struct media_counters));
	assert_int_equal(final_of(&s, PARTY_CALLER)->packets, 102);
	assert_int_equal(final_of(&s, PARTY_CALLER)->kernel_packets, 100);
	assert_int_equal(final_of(&s, PARTY_CALLER)->bytes, 102 * IP4_LEN);
	assert_int_equal(final_of(&s, PARTY_CALLER)->payload_type, 13);
	assert_int_equal(final_of(&s, PARTY_CALLER)->last_media_us, media_us);
	assert_int_equal(final_of(&s, PARTY_CALLER)->drops[DROP_NOT_THE_REMOTE],
			 1);
	assert_int_equal(final_of(&s, PARTY_CALLER)->drops[DROP_FLOOD], 5);
	assert_int_equal(final_of(&s, PARTY_CALLEE)->packets, 51);
	assert_int_equal(final_of(&s, PARTY_CALLEE)->kernel_packets, 50);
	assert_int_equal(final_of(&s, PARTY_CALLEE)->payload_type, 8);
	end_scene(&s);
}

/* And again into the engine, which begins to note from there. */
static void test_what_the_engine_noted_is_kept_when_a_flow_is_back(void **state)
{
	struct media_snapshot now;
	uint64_t media_us;
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	engine_forwards(&s, PARTY_CALLER, 3);
	media_us = flow_of(&s, PARTY_CALLER, COMPONENT_RTP).counters.media_us;
	media_stream_set_forwarding(s.call.stream, false);
	await_request(&s, PARTY_CALLER, COMPONENT_RTP, FAKE_IDLE);
	let_worker_finish(&s.call);
	media_stream_read(s.call.stream, &now);
	assert_int_equal(now.from[PARTY_CALLER][COMPONENT_RTP].last_media_us,
			 media_us);
	media_stream_set_forwarding(s.call.stream, true);
	install_rtp(&s);
	engine_forwards(&s, PARTY_CALLER, 4);
	close_stream(&s.call);
	assert_int_equal(final_of(&s, PARTY_CALLER)->kernel_packets, 7);
	assert_int_equal(final_of(&s, PARTY_CALLER)->packets, 2 + 2 + 7);
	end_scene(&s);
}

static void test_the_later_payload_type_counts(void **state)
{
	struct fake_port *port;
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	engine_forwards(&s, PARTY_CALLER, 1);
	port = fake_at(s.engine, &s.call.pairs[PARTY_CALLER].local);
	pthread_mutex_lock(&s.engine->lock);
	port->counters.payload_type = 101;
	port->counters.media_us -= US_PER_MS;
	pthread_mutex_unlock(&s.engine->lock);
	pass_rtp(&s, PARTY_CALLER); /* 8, by way of userspace */
	close_stream(&s.call);
	assert_int_equal(final_of(&s, PARTY_CALLER)->payload_type, 8);
	end_scene(&s);
}

static void test_totals_count_the_engine_once(void **state)
{
	struct media_totals before, after;
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	engine_forwards(&s, PARTY_CALLER, 10);
	engine_forwards(&s, PARTY_CALLEE, 20);
	let_worker_finish(&s.call);
	media_read_totals(s.call.media, &before);
	assert_int_equal(before.kernel_packets, 30);
	assert_int_equal(before.packets, 33);
	assert_int_equal(before.bytes, 33 * IP4_LEN);
	close_stream(&s.call);
	media_read_totals(s.call.media, &after);
	assert_int_equal(after.kernel_packets, 30);
	assert_int_equal(after.packets, 33);
	assert_int_equal(after.bytes, 33 * IP4_LEN);
	end_scene(&s);
}

static void test_a_port_that_is_used_again_begins_at_zero(void **state)
{
	struct media_totals totals;
	struct scene s;

	(void)state;
	start_scene(&s, AF_INET);
	install_rtp(&s);
	engine_forwards(&s, PARTY_CALLER, 10);
	close_stream(&s.call);
	assert_int_equal(final_of(&s, PARTY_CALLER)->packets, 12);
	for (enum party p = 0; p < PARTY_COUNT; p++) {
		struct endpoint at = s.call.pairs[p].local;

		assert_int_equal(media_port_pair_open(s.call.media, &at.ip,
						      at.port,
						      &s.call.pairs[p]),
				 0);
	}
	assert_int_equal(media_stream_new(&s.call.stream, s.call.session,
					  s.call.pairs, MEDIA_FORMAT_RTP),
			 0);
	s.call.closed = false;
	for (enum party p = 0; p < PARTY_COUNT; p++)
		media_stream_set_sdp(s.call.stream, p,
				     &s.call.phones[p].at[COMPONENT_RTP]);
	install_rtp(&s);
	engine_forwards(&s, PARTY_CALLER, 1);
	close_stream(&s.call);
	assert_int_equal(final_of(&s, PARTY_CALLER)->packets, 3);
	assert_int_equal(final_of(&s, PARTY_CALLER)->kernel_packets, 1);
	media_read_totals(s.call.media, &totals);
	assert_int_equal(totals.kernel_packets, 11);
	assert_int_equal(totals.packets, 12 + 1 + 3 + 1);
	end_scene(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_stream_closes_when_its_flows_are_settled),
		cmocka_unit_test(
			test_what_waits_in_the_sockets_at_the_end_is_forwarded),
		cmocka_unit_test(
			test_a_stream_closes_after_what_it_asked_is_answered),
		cmocka_unit_test(test_a_stream_closes_while_it_settles),
		cmocka_unit_test(test_news_of_silence_at_the_end_does_no_harm),
		cmocka_unit_test(test_media_ends_with_flows_installed),
		cmocka_unit_test(test_media_ends_with_flows_asked_for),
		cmocka_unit_test(test_media_ends_with_flows_settling),
		cmocka_unit_test(
			test_numbers_are_those_of_userspace_and_engine),
		cmocka_unit_test(
			test_what_the_engine_noted_is_kept_when_a_flow_is_back),
		cmocka_unit_test(test_the_later_payload_type_counts),
		cmocka_unit_test(test_totals_count_the_engine_once),
		cmocka_unit_test(test_a_port_that_is_used_again_begins_at_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
