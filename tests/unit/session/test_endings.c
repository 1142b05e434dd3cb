#include "session_scene.h"

static void test_hold_and_resume_keep_the_ports(void **state)
{
	struct world *world = *state;
	struct session_ports first = REQUEST(1, .media = A);
	struct session_ports held, resumed;

	REPLY(1, .media = B);
	held = REQUEST(2, .to_tag = "callee", .media = A_HELD);
	REPLY(2, .media = B_RECVONLY);
	resumed = REQUEST(3, .to_tag = "callee", .media = A);
	REPLY(3, .media = B);
	assert_int_equal(held.ports[0], first.ports[0]);
	assert_int_equal(resumed.ports[0], first.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
}

static void test_all_forms_of_hold_outlive_the_stream_timeout(void **state)
{
	static const char *const forms[] = {
		A_HELD,
		"audio:127.0.0.1:5000:inactive:ice=no",
		"audio:0.0.0.0:5000:sendrecv:ice=no",
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		REQUEST(1, .media = A);
		REPLY(1, .media = B);
		REQUEST(2, .to_tag = "callee", .media = forms[i]);
		REPLY(2, .media = B_RECVONLY);
		pass(world, STREAM_TIMEOUT_S + 1);
		sessions_tick(world->sessions, &world->now);
		assert_int_equal(living(world), 1);
		pass(world, HOLD_TIMEOUT_S);
		sessions_tick(world->sessions, &world->now);
		settle(world);
		assert_int_equal(living(world), 0);
		assert_record_has(world, "\"status\": \"on hold timeout\"");
		assert_record_has(world, "\"timeout_wait\": 7200");
		assert_record_has(world, "\"timed_out\": true");
	}
}

static void test_the_answerer_may_hold_too(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	REQUEST(2, .to_tag = "callee", .media = A);
	REPLY(2, .media = "audio:127.0.0.1:6000:inactive:ice=no");
	pass(world, STREAM_TIMEOUT_S + 1);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	REQUEST(3, .to_tag = "callee", .media = A);
	REPLY(3, .media = B);
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 0);
}

static void test_a_stream_offered_on_hold_is_on_hold(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A_HELD);
	REPLY(1, .media = B_RECVONLY);
	pass(world, STREAM_TIMEOUT_S + 1);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
}

static void test_silence_before_the_answer_ends_nothing(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	pass(world, STREAM_TIMEOUT_S * 2);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	pass(world, UNANSWERED_S);
	sessions_tick(world->sessions, &world->now);
	settle(world);
	assert_int_equal(living(world), 0);
	assert_int_equal(world->expired, 1);
	assert_int_equal(world->end, SESSION_END_UNANSWERED);
	assert_record_has(world, "\"start_time\": null");
}

static void test_silence_from_the_answer_on_ends_the_session(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	pass(world, STREAM_TIMEOUT_S * 2);
	REPLY(1, .media = B);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	settle(world);
	assert_int_equal(living(world), 0);
	assert_int_equal(world->expired, 1);
	assert_record_has(world, "\"status\": \"no-traffic timeout\"");
	assert_record_has(world, "\"timeout_wait\": 90");
}

static void test_a_call_may_ring_in_silence_after_a_183(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	FORK_REPLY(1, NULL, .media = B);
	pass(world, STREAM_TIMEOUT_S * 2);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	REPLY(1, .media = B);
	pass(world, STREAM_TIMEOUT_S - 1);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	pass(world, 1);
	sessions_tick(world->sessions, &world->now);
	settle(world);
	assert_int_equal(living(world), 0);
	assert_record_has(world, "\"timeout_wait\": 90");
}

static void test_a_183_without_a_200_ends_as_unanswered_calls_do(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	FORK_REPLY(1, NULL, .media = B);
	pass(world, UNANSWERED_S - 1);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	pass(world, 1);
	sessions_tick(world->sessions, &world->now);
	settle(world);
	assert_int_equal(living(world), 0);
	assert_record_has(world, "\"timeout_wait\": 600");
}

static void test_a_call_without_media_is_none_and_makes_nothing(void **state)
{
	struct world *world = *state;
	struct session_ports ports;

	assert_int_equal(send_to(world, (struct message){.cseq = 1}, &ports),
			 -ENODATA);
	assert_int_equal(living(world), 0);
	REQUEST(1, .media = A);
	assert_int_equal(
		say(world, (struct message){.cseq = 1, .reply = true}).count,
		0);
}

static void test_addresses_that_are_refused_make_no_session(void **state)
{
	static const char *const bad[] = {
		"audio:169.254.1.1:5000:sendrecv:ice=no",
		"audio:169.254.169.254:80:sendrecv:ice=no",
		"audio:224.0.0.1:5000:sendrecv:ice=no",
		"audio:255.255.255.255:5000:sendrecv:ice=no",
		"audio:2001:db8::1:5000:sendrecv:ice=no",
		"audio:::ffff:224.0.0.1:5000:sendrecv:ice=no",
		"audio:203.0.113.200:5000:sendrecv:ice=no",
		"audio:::ffff:203.0.113.200:5000:sendrecv:ice=no",
		("audio:127.0.0.1:5000:sendrecv:ice=no,"
		 "video:203.0.113.200:5000:sendrecv:ice=yes"),
	};
	struct world *world = *state;
	struct session_ports ports;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
			send_to(world,
				(struct message){.cseq = 1, .media = bad[i]},
				&ports),
			-EINVAL);
	assert_int_equal(living(world), 0);
	assert_int_equal(ports_in_use(world), 0);
}

static void test_a_range_that_runs_out_gives_every_port_back(void **state)
{
	struct world *world = *state;
	struct session_ports ports;

	assert_int_equal(send_to(world,
				 (struct message){.cseq = 1, .media = A "," AV},
				 &ports),
			 -EADDRNOTAVAIL);
	assert_int_equal(living(world), 0);
	assert_int_equal(ports_in_use(world), 0);
	REQUEST(2, .media = A);
	assert_int_equal(ports_in_use(world), 2);
	/* a re-INVITE that cannot be served leaves the call as it is */
	REPLY(2, .media = B);
	assert_int_equal(send_to(world,
				 (struct message){.cseq = 3,
						  .to_tag = "callee",
						  .media = A_MOVED},
				 &ports),
			 -EADDRNOTAVAIL);
	assert_int_equal(ports_in_use(world), 2);
	assert_int_equal(living(world), 1);
}

static void test_half_a_stream_is_given_back_too(void **state)
{
	struct world *world = *state;
	struct session_ports ports;

	assert_int_equal(send_to(world,
				 (struct message){.cseq = 1, .media = A "," AV},
				 &ports),
			 -EADDRNOTAVAIL);
	assert_int_equal(ports_in_use(world), 0);
}

static void test_a_loop_of_reinvites_is_bounded(void **state)
{
	struct world *world = *state;
	struct session_ports ports;
	unsigned cseq = 1;
	int r = 0;

	REQUEST(cseq, .media = A);
	REPLY(cseq, .media = B);
	while (r == 0 && cseq < 2000) {
		cseq++;
		r = send_to(world,
			    (struct message){.cseq = cseq,
					     .to_tag = "callee",
					     .media = cseq % 2 ? A : A_MOVED},
			    &ports);
		if (r == 0)
			REPLY(cseq, .media = B);
		settle(world);
		pass(world, 6);
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(living(world), 1);
}

static bool count_session(const struct session_statistics *statistics,
			  void *arg)
{
	unsigned *count = arg;

	(void)statistics;
	(*count)++;
	return true;
}

static void test_sessions_are_visited_page_by_page_and_by_owner(void **state)
{
	struct world *world = *state;
	uint64_t cursor = 0;
	unsigned count = 0;
	unsigned pages = 0;

	for (unsigned i = 0; i < 25; i++) {
		char call_id[16];

		snprintf(call_id, sizeof(call_id), "call-%u", i);
		REQUEST(1, .call_id = call_id, .media = A);
	}
	do {
		sessions_visit(world->sessions, &cursor, 0, 10, &world->now,
			       count_session, &count);
		pages++;
	} while (cursor != 0);
	assert_int_equal(count, 25);
	assert_int_equal(pages, 3);
	sessions_visit(world->sessions, &cursor, 7, 10, &world->now,
		       count_session, &count);
	assert_int_equal(count, 25);
}

static void test_a_prack_does_not_pick_up_the_phone(void **state)
{
	struct world *world = *state;

	say(world, (struct message){.cseq = 1, .reply = true, .media = B});
	REQUEST(2, .to_tag = "callee", .media = A); /* PRACK: the answer */
	pass(world, STREAM_TIMEOUT_S + 1);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	REPLY(1, .media = B); /* 200 */
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 0);
}

static void test_the_ack_of_a_late_offer_picks_it_up(void **state)
{
	struct world *world = *state;

	say(world, (struct message){.cseq = 1, .reply = true, .media = B});
	REQUEST(1, .to_tag = "callee", .media = A);
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 0);
}

static void
test_ports_of_a_rejected_stream_are_free_when_no_fork_can_come(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A_HELD "," AV);
	REPLY(1, .media = B_RECVONLY "," BV_OFF);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(ports_in_use(world), 4);
	pass(world, 32);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(ports_in_use(world), 2);
	remove_call(world, "caller");
	assert_record_has(world, "\"status\": \"rejected\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hold_and_resume_keep_the_ports),
		TEST(test_all_forms_of_hold_outlive_the_stream_timeout),
		TEST(test_the_answerer_may_hold_too),
		TEST(test_a_stream_offered_on_hold_is_on_hold),
		TEST(test_silence_before_the_answer_ends_nothing),
		TEST(test_silence_from_the_answer_on_ends_the_session),
		TEST(test_a_call_may_ring_in_silence_after_a_183),
		TEST(test_a_183_without_a_200_ends_as_unanswered_calls_do),
		TEST(test_a_call_without_media_is_none_and_makes_nothing),
		TEST(test_addresses_that_are_refused_make_no_session),
		cmocka_unit_test_setup_teardown(
			test_a_range_that_runs_out_gives_every_port_back,
			begin_with_two_pairs, end),
		cmocka_unit_test_setup_teardown(
			test_half_a_stream_is_given_back_too,
			begin_with_three_pairs, end),
		TEST(test_a_loop_of_reinvites_is_bounded),
		TEST(test_sessions_are_visited_page_by_page_and_by_owner),
		TEST(test_a_prack_does_not_pick_up_the_phone),
		TEST(test_the_ack_of_a_late_offer_picks_it_up),
		TEST(test_ports_of_a_rejected_stream_are_free_when_no_fork_can_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
