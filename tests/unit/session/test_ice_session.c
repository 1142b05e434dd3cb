/* What ICE changes for a session: which streams go on, and how they end. */
#include "session_scene.h"

/* Silence until the session ends; its record is there then. */
static void stay_silent(struct world *world)
{
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	settle(world);
	assert_int_equal(living(world), 0);
}

static void
test_silence_with_ice_is_no_timeout_the_media_flows_elsewhere(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A_ICE);
	REPLY(1, .media = B_ICE);
	stay_silent(world);
	assert_record_has(world, "\"status\": \"unselected ICE candidate\"");
	assert_record_has(world, "\"timed_out\": false");
	assert_record_has(world, "\"all_streams_ice\": true");
	assert_record_has(world, "\"timeout_wait\": 90");
	assert_int_equal(world->end, SESSION_END_ICE);
}

static void test_it_takes_ice_on_both_sides(void **state)
{
	static const char *const pairs[][2] = {{A_ICE, B}, {A, B_ICE}};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		REQUEST(1, .media = pairs[i][0]);
		REPLY(1, .media = pairs[i][1]);
		stay_silent(world);
		assert_record_has(world, "\"status\": \"no-traffic timeout\"");
		assert_record_has(world, "\"timed_out\": true");
		assert_record_has(world, "\"all_streams_ice\": false");
	}
}

static void test_the_latest_offer_and_answer_decide(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A_ICE);
	REPLY(1, .media = B);
	REPLY(1, .media = B_ICE); /* 183 and 200 */
	REQUEST(2, .to_tag = "callee", .media = A_ICE);
	REPLY(2, .media = B);
	stay_silent(world);
	assert_record_has(world, "\"status\": \"no-traffic timeout\"");
}

static void test_on_hold_the_longer_time_counts_with_ice_too(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A_ICE);
	REPLY(1, .media = B_ICE);
	REQUEST(2, .to_tag = "callee", .media = A_ICE_HELD);
	REPLY(2, .media = B_ICE);
	pass(world, STREAM_TIMEOUT_S + 1);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	pass(world, HOLD_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	settle(world);
	assert_record_has(world, "\"status\": \"on hold timeout\"");
	assert_record_has(world, "\"timed_out\": true");
}

static void test_a_rejected_stream_does_not_make_it_a_timeout(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A_ICE "," AV);
	REPLY(1, .media = B_ICE "," BV_OFF);
	stay_silent(world);
	assert_record_has(world, "\"status\": \"rejected\"");
	assert_record_has(world, "\"all_streams_ice\": true");
	assert_record_has(world, "\"timed_out\": false");
}

static void test_a_stream_without_ice_that_falls_silent_does(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A_ICE "," AV);
	REPLY(1, .media = B_ICE "," BV);
	stay_silent(world);
	assert_record_has(world, "\"status\": \"unselected ICE candidate\"");
	assert_record_has(world, "\"all_streams_ice\": false");
	assert_record_has(world, "\"timed_out\": true");
}

static void test_a_restart_at_another_address_keeps_the_ports(void **state)
{
	struct world *world = *state;
	struct session_ports before, after;

	REQUEST(1, .media = A_ICE);
	before = REPLY(1, .media = B_ICE);
	REQUEST(2, .to_tag = "callee", .media = A_ICE_MOVED);
	after = REPLY(2, .media = B_ICE);
	assert_int_equal(after.ports[0], before.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
	remove_call(world, "caller");
	assert_record_has(world, "\"caller_sdp\": \"127.0.0.1:5100\"");
}

static void test_without_ice_in_the_new_offer_the_ports_are_new(void **state)
{
	struct world *world = *state;
	struct session_ports before, after;

	REQUEST(1, .media = A_ICE);
	before = REPLY(1, .media = B_ICE);
	REQUEST(2, .to_tag = "callee", .media = A_MOVED);
	after = REPLY(2, .media = B_ICE);
	assert_int_not_equal(after.ports[0], before.ports[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_silence_with_ice_is_no_timeout_the_media_flows_elsewhere),
		TEST(test_it_takes_ice_on_both_sides),
		TEST(test_the_latest_offer_and_answer_decide),
		TEST(test_on_hold_the_longer_time_counts_with_ice_too),
		TEST(test_a_rejected_stream_does_not_make_it_a_timeout),
		TEST(test_a_stream_without_ice_that_falls_silent_does),
		TEST(test_a_restart_at_another_address_keeps_the_ports),
		TEST(test_without_ice_in_the_new_offer_the_ports_are_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
