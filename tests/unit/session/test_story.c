/* What is remembered of a call, and for how long. */
#include "session/signals.h"

#include "session_scene.h"

static const char *story_of(struct world *world, const char *call_id,
			    size_t *ret_count)
{
	struct json_writer w = json_writer_over(&world->record);

	buf_reset(&world->record);
	json_array_begin(&w, NULL);
	*ret_count = sessions_explain(world->sessions, span_of(call_id),
				      world->now.mono_us, &w);
	json_array_end(&w);
	assert_non_null(world->record.data);
	return world->record.data;
}

static void assert_told(struct world *world, const char *text)
{
	size_t count;

	story_of(world, "call-1", &count);
	assert_int_equal(count, 1);
	assert_record_has(world, text);
}

static size_t known(struct world *world, const char *call_id)
{
	size_t count;

	story_of(world, call_id, &count);
	return count;
}

static void test_signalling_is_told_with_its_times(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	pass(world, 2);
	REPLY(1, .media = B);
	pass(world, 3);
	REQUEST(2, .to_tag = "callee", .media = A_HELD);
	REPLY(2, .media = B_RECVONLY);
	assert_told(world, "\"at\": 0.000, \"event\": \"offer\", \"address\": "
			   "\"127.0.0.1:5000\", \"text\": \"caller offers "
			   "audio at 127.0.0.1:5000\"");
	assert_record_has(world, "{\"at\": 2.000, \"event\": \"answer\"");
	assert_record_has(world, "{\"at\": 2.000, \"event\": \"pick_up\"");
	assert_record_has(world, "\"at\": 5.000, \"event\": \"offer\"");
	assert_record_has(world, "caller offers audio at 127.0.0.1:5000, "
				 "sendonly");
	assert_record_has(world, "callee answers audio at 127.0.0.1:6000, "
				 "recvonly");
	assert_record_has(world, "the caller put the stream on hold");
	assert_record_has(world, "\"duration\": 5.000");
}

static void test_what_is_said_again_is_told_once(void **state)
{
	struct world *world = *state;
	const char *found;

	REQUEST(1, .media = A);
	FORK_REPLY(1, NULL, .media = B);
	pass(world, 4);
	REPLY(1, .media = B);
	REQUEST(1, .media = A);
	assert_told(world, "{\"at\": 4.000, \"event\": \"pick_up\"");
	found = strstr(world->record.data, "\"event\": \"answer\"");
	assert_non_null(found);
	assert_null(strstr(found + 1, "\"event\": \"answer\""));
}

static void
test_a_call_that_ended_is_remembered_and_counts_as_gone(void **state)
{
	struct world *world = *state;
	struct session_counts counts;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	pass(world, 7);
	remove_call(world, "caller");
	pass(world, 1000);
	assert_told(world, "\"end_reason\": \"removed\"");
	assert_record_has(world, "\"duration\": 7.000");
	assert_record_has(world, "{\"at\": 7.000, \"event\": \"ended\"");
	assert_record_has(world, "heard nothing");
	sessions_count(world->sessions, &counts);
	assert_int_equal(counts.created, counts.destroyed);
	assert_int_equal(counts.streams_created, counts.streams_destroyed);
	assert_int_equal(known(world, "call-2"), 0);
}

static void test_a_call_that_never_was_is_not_remembered(void **state)
{
	struct world *world = *state;
	struct session_ports ports;

	/* There is room for one stream of the two. */
	assert_int_equal(send_to(world,
				 (struct message){.cseq = 1, .media = A "," AV},
				 &ports),
			 -EADDRNOTAVAIL);
	settle(world);
	assert_int_equal(known(world, "call-1"), 0);
}

/* 1,000 that end at once. */
static void test_the_oldest_are_forgotten(void **state)
{
	struct world *world = *state;
	char call_id[32];

	for (int i = 0; i < 1002; i++) {
		struct removal removal = {.from_tag = SPAN("caller")};

		snprintf(call_id, sizeof(call_id), "call-%d", i);
		REQUEST(1, .call_id = call_id, .media = A);
		removal.call_id = span_of(call_id);
		assert_int_equal(sessions_remove(world->sessions, &removal,
						 &world->now, removed, world),
				 0);
		settle(world);
		pass(world, 10); /* the ports have rested */
	}
	assert_int_equal(known(world, "call-0"), 0);
	assert_int_equal(known(world, "call-1"), 0);
	assert_int_equal(known(world, "call-2"), 1);
	assert_int_equal(known(world, "call-1001"), 1);
}

static void
test_of_many_calls_with_one_call_id_the_latest_are_told(void **state)
{
	struct world *world = *state;
	size_t count;

	for (int i = 0; i < 22; i++) {
		REQUEST(1, .media = A);
		if (i < 21)
			remove_call(world, "caller");
		pass(world, 10);
	}
	story_of(world, "call-1", &count);
	assert_int_equal(count, 20);
	assert_record_has(world, "\"began\": 1700000020.000");
	assert_record_has(world, "\"began\": 1700000210.000");
	assert_record_lacks(world, "\"began\": 1700000010.000");
}

static void test_the_first_and_the_latest_signals_are_kept(void **state)
{
	struct signals signals = {0};
	unsigned first = 0, latest = 0;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		signals_note(&signals,
			     &(struct signal){.at_us = i,
					      .kind = SIGNAL_REFUSED,
					      .sdp.port = (uint16_t)i});
	assert_int_equal(signals.noted, 1000);
	assert_int_equal(signals_count(&signals), SIGNALS_MAX);
	for (size_t i = 0; i < signals_count(&signals); i++) {
		first += signals.list[i].at_us < SIGNALS_FIRST;
		latest += signals.list[i].at_us >= 1000 - SIGNALS_LATEST;
	}
	assert_int_equal(first, SIGNALS_FIRST);
	assert_int_equal(latest, SIGNALS_LATEST);
	signals_done(&signals);
}

static void test_a_long_call_says_what_it_has_forgotten(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	for (unsigned i = 2; i < 22; i++) {
		REQUEST(i, .to_tag = "callee", .media = i % 2 ? A : A_HELD);
		REPLY(i, .media = i % 2 ? B : B_RECVONLY);
	}
	/* 2 and the pick-up, then 20 times 2. */
	assert_told(world, "27 messages that followed are not remembered");
}

/* The proxy goes on without us then: that is one-way audio to come. */
static void test_a_refused_change_is_told(void **state)
{
	struct world *world = *state;
	struct session_ports ports;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	pass(world, 3);
	assert_int_equal(send_to(world,
				 (struct message){.cseq = 2,
						  .to_tag = "callee",
						  .media = A "," AV},
				 &ports),
			 -EADDRNOTAVAIL);
	assert_told(world, "no port pair of port_range is free");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_signalling_is_told_with_its_times),
		TEST(test_what_is_said_again_is_told_once),
		TEST(test_a_call_that_ended_is_remembered_and_counts_as_gone),
		cmocka_unit_test_setup_teardown(
			test_a_call_that_never_was_is_not_remembered,
			begin_with_two_pairs, end),
		TEST(test_the_oldest_are_forgotten),
		cmocka_unit_test_setup_teardown(test_a_refused_change_is_told,
						begin_with_two_pairs, end),
		TEST(test_a_long_call_says_what_it_has_forgotten),
		TEST(test_of_many_calls_with_one_call_id_the_latest_are_told),
		cmocka_unit_test(
			test_the_first_and_the_latest_signals_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
