/** What a record says of its session: who it is, when it was, why it ended. */
#include "session_scene.h"

#define ID_PREFIX "\"record_id\": \"00000000000000000000000000000000-"

static void test_every_session_has_a_record_id_of_its_own(void **state)
{
	struct world *world = *state;

	for (unsigned i = 1; i <= 17; i++) {
		char id[sizeof(ID_PREFIX) + 16];

		REQUEST(1, .media = A);
		REPLY(1, .media = B);
		remove_call(world, "caller");
		snprintf(id, sizeof(id), ID_PREFIX "%x\", ", i);
		assert_record_has(world, id);
	}
}

/* As when whoever asked to remove it is gone before the reply. */
static void removed_twice(const struct session_final *final, void *arg)
{
	struct world *world = arg;
	char id[128];

	snprintf(id, sizeof(id), "\"record_id\": \"%.*s\"",
		 SPAN_ARG(final->statistics->record_id));
	for (int use = STATISTICS_REMOVE; use <= STATISTICS_EXPIRED; use++) {
		struct json_writer w = json_writer_over(&world->record);

		buf_reset(&world->record);
		statistics_encode(&w, NULL, final->statistics,
				  (enum statistics_use)use);
		assert_record_has(world, id);
		assert_record_has(world, ID_PREFIX "1\"");
	}
}

static void test_a_record_that_is_sent_twice_keeps_its_id(void **state)
{
	struct world *world = *state;
	struct removal removal = {SPAN("call-1"), SPAN("caller"), SPAN("")};

	REQUEST(1, .media = A);
	assert_int_equal(sessions_remove(world->sessions, &removal, &world->now,
					 removed_twice, world),
			 0);
	settle(world);
	assert_non_null(world->record.data);
}

static void
test_the_ids_of_two_relays_differ_by_what_they_begin_with(void **state)
{
	struct world *world = *state;
	struct sessions_config config = {
		.port_first = 42320,
		.port_end = 42324,
		.record_base = {0x0123456789abcdef, 0xf},
	};
	struct session_handlers handlers = {.expired = expired};

	sessions_free(world->sessions);
	config.addresses = world->addresses;
	assert_int_equal(sessions_new(&world->sessions, &config, world->media,
				      &handlers, world),
			 0);
	REQUEST(1, .media = A);
	remove_call(world, "caller");
	assert_record_has(world, "\"record_id\": \"0123456789abcdef"
				 "000000000000000f-1\", \"schema\": 2");
}

static void test_a_record_has_the_times_of_answer_and_end(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	pass(world, 2);
	FORK_REPLY(1, NULL, .media = B);
	pass(world, 3);
	REPLY(1, .media = B);
	pass(world, 20);
	remove_call(world, "caller");
	assert_record_has(world, "\"start_time\": 1700000002.0, "
				 "\"duration\": 23, ");
	assert_record_has(world, "\"answered_time\": 1700000005.0, "
				 "\"end_time\": 1700000025.0, \"relay\": "
				 "\"127.0.0.1\", \"engine\": \"userspace\"");
}

static void test_a_call_that_only_rang_has_no_time_of_answer(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	FORK_REPLY(1, NULL, .media = B);
	remove_call(world, "caller");
	assert_record_has(world, "\"answered_time\": null, ");
	assert_record_has(world, "\"start_time\": 1700000000.0, ");
}

static void test_a_record_has_the_addresses_of_both_sdps(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	remove_call(world, "caller");
	assert_record_has(world, "\"caller_sdp\": \"127.0.0.1:5000\"");
	assert_record_has(world, "\"callee_sdp\": \"127.0.0.1:6000\"");
	assert_record_has(world, "\"caller_remote\": \"Unknown\"");
	assert_record_lacks(world, "_dropped_");
}

static void assert_ended(struct world *world, const char *reason)
{
	char text[64];

	settle(world);
	assert_int_equal(living(world), 0);
	snprintf(text, sizeof(text), "\"end_reason\": \"%s\"}", reason);
	assert_record_has(world, text);
}

static void test_every_way_to_end_has_its_word(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	remove_call(world, "caller");
	assert_ended(world, "removed");

	REQUEST(1, .media = A);
	pass(world, UNANSWERED_S);
	sessions_tick(world->sessions, &world->now);
	assert_ended(world, "unanswered");

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	assert_ended(world, "timeout");

	REQUEST(1, .media = A_ICE);
	REPLY(1, .media = B_ICE);
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	assert_ended(world, "unselected ICE candidate");

	REQUEST(1, .media = A);
	REPLY(1, .media = B_OFF);
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	assert_ended(world, "no stream");

	REQUEST(1, .media = A);
	sessions_end_all(world->sessions, &world->now);
	assert_ended(world, "relay stopped");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_session_has_a_record_id_of_its_own),
		TEST(test_a_record_that_is_sent_twice_keeps_its_id),
		TEST(test_the_ids_of_two_relays_differ_by_what_they_begin_with),
		TEST(test_a_record_has_the_times_of_answer_and_end),
		TEST(test_a_call_that_only_rang_has_no_time_of_answer),
		TEST(test_a_record_has_the_addresses_of_both_sdps),
		TEST(test_every_way_to_end_has_its_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
