#include "management/text.h"

#include "daemon.h"
#include "version.h"

static const struct management_handlers handlers = {
	.summary = daemon_asked,
	.sessions = daemon_sessions,
};

struct setup {
	struct daemon_world world;
	struct management_text *text;
};

static void setup_with(struct setup *setup,
		       struct management_text_config config)
{
	world_init(&setup->world);
	assert_int_equal(ip_parse(SPAN("127.0.0.1"), &config.listen.ip), 0);
	assert_int_equal(management_text_new(&setup->text, setup->world.loop,
					     &config, &handlers, &setup->world),
			 0);
}

static void setup_init(struct setup *setup, enum conf_management_format format,
		       unsigned max_connections)
{
	setup_with(setup, (struct management_text_config){
				  .format = format,
				  .max_connections = max_connections});
}

static void setup_done(struct setup *setup)
{
	management_text_free(setup->text);
	world_done(&setup->world);
}

static void dial(struct client *client, struct setup *setup)
{
	struct endpoint at = management_text_address(setup->text);
	struct sockaddr_storage to;
	socklen_t len = endpoint_to_sockaddr(&at, &to);

	client_init(client, &setup->world, (struct sockaddr *)&to, len);
}

static void test_lines_end_with_an_empty_line(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_LINES, 5);
	dial(&client, &setup);
	client_say(&client, "version\r\n");
	client_hears(&client, MEDIAPROXY_VERSION "\r\n\r\n");
	client_say(&client, "sessions\r\n");
	client_hears(&client, "\r\n");
	client_say(&client, "summary\r\n");
	world_wait(&setup.world, setup.world.asked_count == 1);
	daemon_answer(&setup.world, 0, "one");
	client_hears(&client, "{\"name\": \"one\"}\r\n\r\n");
	client_done(&client);
	setup_done(&setup);
}

static void test_an_array_is_one_line_without_an_empty_one(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_ARRAY, 5);
	dial(&client, &setup);
	client_say(&client, "version\r\n");
	client_hears(&client, MEDIAPROXY_VERSION "\r\n");
	client_say(&client, "sessions\r\n");
	client_hears(&client, "[]\r\n");
	client_say(&client, "summary\r\n");
	world_wait(&setup.world, setup.world.asked_count == 1);
	daemon_answer(&setup.world, 0, "one");
	client_hears(&client, "[{\"name\": \"one\"}]\r\n");
	client_done(&client);
	setup_done(&setup);
}

static void
test_anything_else_is_an_error_and_the_connection_stays(void **state)
{
	struct setup setup;
	struct client client;
	struct management_text_counts counts;
	char too_long[3000];

	(void)state;
	memset(too_long, 'x', sizeof(too_long));
	memcpy(too_long + sizeof(too_long) - 3, "\r\n", 3);
	setup_init(&setup, CONF_MANAGEMENT_LINES, 5);
	dial(&client, &setup);
	client_say(&client, "sumary\r\n\r\nversion \r\nVERSION\r\n");
	client_hears(&client, "error\r\nerror\r\nerror\r\nerror\r\n");
	client_say(&client, too_long);
	client_hears(&client, "error\r\n");
	client_say(&client, "sessions\r\n");
	client_hears(&client, "\r\n");
	management_text_count(setup.text, &counts);
	assert_int_equal(counts.commands, 6);
	assert_int_equal(counts.commands_bad, 5);
	client_done(&client);
	setup_done(&setup);
}

static void test_answers_keep_the_order_of_the_commands(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_ARRAY, 5);
	dial(&client, &setup);
	client_say(&client, "summary\r\nsessions\r\nsummary\r\nnonsense\r\n");
	world_wait(&setup.world, setup.world.asked_count == 2);
	daemon_answer(&setup.world, 1, "second");
	client_hears_nothing(&client);
	daemon_answer(&setup.world, 0, "first");
	client_hears(&client, "[{\"name\": \"first\"}]\r\n[]\r\n"
			      "[{\"name\": \"second\"}]\r\nerror\r\n");
	client_done(&client);
	setup_done(&setup);
}

static void test_a_slow_answer_holds_back_its_own_connection_alone(void **state)
{
	struct setup setup;
	struct client slow;
	struct client other;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_ARRAY, 5);
	dial(&slow, &setup);
	dial(&other, &setup);
	client_say(&slow, "summary\r\nversion\r\n");
	world_wait(&setup.world, setup.world.asked_count == 1);
	client_say(&other, "version\r\n");
	client_hears(&other, MEDIAPROXY_VERSION "\r\n");
	client_hears_nothing(&slow);
	daemon_answer(&setup.world, 0, "x");
	client_hears(&slow,
		     "[{\"name\": \"x\"}]\r\n" MEDIAPROXY_VERSION "\r\n");
	client_done(&slow);
	client_done(&other);
	setup_done(&setup);
}

static void test_quit_closes_after_the_answers_before_it(void **state)
{
	static const char *const words[] = {"quit\r\n", "exit\r\n"};
	struct setup setup;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_ARRAY, 5);
	for (int i = 0; i < 2; i++) {
		struct client client;

		dial(&client, &setup);
		client_say(&client, "summary\r\n");
		client_say(&client, words[i]);
		client_say(&client, "version\r\n");
		world_wait(&setup.world, setup.world.asked_count == 1);
		client_hears_nothing(&client);
		daemon_answer(&setup.world, 0, "x");
		client_is_closed(&client);
		assert_string_equal(client.text.data,
				    "[{\"name\": \"x\"}]\r\n");
		client_done(&client);
	}
	setup_done(&setup);
}

static size_t connections(const struct setup *setup)
{
	struct management_text_counts counts;

	management_text_count(setup->text, &counts);
	return counts.connections;
}

static void test_a_client_may_go_before_its_answer_comes(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_LINES, 5);
	dial(&client, &setup);
	client_say(&client, "summary\r\nversion\r\n");
	world_wait(&setup.world, setup.world.asked_count == 1);
	assert_true(management_request_is_wanted(setup.world.asked[0]));
	client_done(&client);
	world_wait(&setup.world, connections(&setup) == 0);
	assert_false(management_request_is_wanted(setup.world.asked[0]));
	daemon_answer(&setup.world, 0, "late");
	setup_done(&setup);
}

static void test_the_server_may_go_before_its_answers_come(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_LINES, 5);
	dial(&client, &setup);
	client_say(&client, "summary\r\n");
	world_wait(&setup.world, setup.world.asked_count == 1);
	setup.text = management_text_free(setup.text);
	daemon_answer(&setup.world, 0, "late");
	client_is_closed(&client);
	client_done(&client);
	setup_done(&setup);
}

static void test_connections_over_the_limit_are_refused(void **state)
{
	struct setup setup;
	struct client clients[3];
	struct management_text_counts counts;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_ARRAY, 2);
	for (int i = 0; i < 3; i++)
		dial(&clients[i], &setup);
	for (int i = 0; i < 2; i++) {
		client_say(&clients[i], "sessions\r\n");
		client_hears(&clients[i], "[]\r\n");
	}
	client_say(&clients[2], "sessions\r\n");
	client_is_closed(&clients[2]);
	management_text_count(setup.text, &counts);
	assert_int_equal(counts.connections, 2);
	assert_int_equal(counts.accepted, 3);
	assert_int_equal(counts.refused, 1);

	client_done(&clients[0]);
	world_wait(&setup.world, connections(&setup) == 1);
	client_done(&clients[2]);
	dial(&clients[2], &setup);
	client_say(&clients[2], "sessions\r\n");
	client_hears(&clients[2], "[]\r\n");
	client_done(&clients[1]);
	client_done(&clients[2]);
	setup_done(&setup);
}

static void test_who_gives_no_command_keeps_nobody_out(void **state)
{
	struct setup setup;
	struct client mute[100], client;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_ARRAY, 2);
	for (int i = 0; i < 100; i++)
		dial(&mute[i], &setup);
	dial(&client, &setup);
	client_say(&client, "sessions\r\n");
	client_hears(&client, "[]\r\n");
	/* Sixteen stay, of which the client was one. */
	world_wait(&setup.world, connections(&setup) == 16);
	client_is_closed(&mute[0]);
	for (int i = 0; i < 100; i++)
		client_done(&mute[i]);
	client_done(&client);
	setup_done(&setup);
}

static void test_who_gives_no_command_in_time_is_hung_up_on(void **state)
{
	struct setup setup;
	struct client client, mute;

	(void)state;
	setup_with(&setup, (struct management_text_config){
				   .format = CONF_MANAGEMENT_ARRAY,
				   .max_connections = 2,
				   .newcomer_us = 50 * US_PER_MS});
	dial(&client, &setup);
	client_say(&client, "sessions\r\n");
	client_hears(&client, "[]\r\n");
	dial(&mute, &setup);
	client_say(&mute, "sess");
	client_is_closed(&mute);
	/* The other one has no reason to hurry. */
	client_say(&client, "sessions\r\n");
	client_hears(&client, "[]\r\n");
	client_done(&mute);
	client_done(&client);
	setup_done(&setup);
}

static void test_an_idle_client_gives_way_to_one_that_asks(void **state)
{
	struct setup setup;
	struct client clients[3];

	(void)state;
	setup_with(&setup, (struct management_text_config){
				   .format = CONF_MANAGEMENT_ARRAY,
				   .max_connections = 2,
				   .idle_us = 1});
	for (int i = 0; i < 2; i++) {
		dial(&clients[i], &setup);
		client_say(&clients[i], "sessions\r\n");
		client_hears(&clients[i], "[]\r\n");
	}
	client_say(&clients[0], "version\r\n");
	client_hears(&clients[0], MEDIAPROXY_VERSION "\r\n");
	dial(&clients[2], &setup);
	client_say(&clients[2], "sessions\r\n");
	client_hears(&clients[2], "[]\r\n");
	client_is_closed(&clients[1]);
	client_say(&clients[0], "version\r\n");
	client_hears(&clients[0], MEDIAPROXY_VERSION "\r\n");
	for (int i = 0; i < 3; i++)
		client_done(&clients[i]);
	setup_done(&setup);
}

static void test_a_client_has_few_commands_open_at_one_time(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_ARRAY, 5);
	dial(&client, &setup);
	for (int i = 0; i < 20; i++)
		client_say(&client, "summary\r\n");
	world_wait(&setup.world, setup.world.asked_count == 4);
	client_hears_nothing(&client);
	assert_int_equal(setup.world.asked_count, 4);
	for (int i = 0; i < 20; i++) {
		world_wait(&setup.world, setup.world.asked_count > 0);
		daemon_answer(&setup.world, 0, "x");
		client_hears(&client, "[{\"name\": \"x\"}]\r\n");
	}
	client_done(&client);
	setup_done(&setup);
}

static void test_an_answer_of_megabytes_comes_whole(void **state)
{
	const size_t bytes = 10u * 1000 * 1000;
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, CONF_MANAGEMENT_LINES, 5);
	setup.world.answer_bytes = bytes;
	dial(&client, &setup);
	client_say(&client, "sessions\r\nversion\r\n");
	world_wait(&setup.world,
		   client_read(&client) && client.text.len >= bytes &&
			   span_ends_with(buf_span(&client.text),
					  SPAN("\r\n\r\n" MEDIAPROXY_VERSION
					       "\r\n\r\n")));
	/* {"name": "..."} and CRLF around each thousand */
	assert_int_equal(client.text.len,
			 10000 * 1014 + 2 +
				 strlen(MEDIAPROXY_VERSION "\r\n\r\n"));
	client_done(&client);
	setup_done(&setup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_end_with_an_empty_line),
		cmocka_unit_test(
			test_an_array_is_one_line_without_an_empty_one),
		cmocka_unit_test(
			test_anything_else_is_an_error_and_the_connection_stays),
		cmocka_unit_test(test_answers_keep_the_order_of_the_commands),
		cmocka_unit_test(
			test_a_slow_answer_holds_back_its_own_connection_alone),
		cmocka_unit_test(test_quit_closes_after_the_answers_before_it),
		cmocka_unit_test(test_a_client_may_go_before_its_answer_comes),
		cmocka_unit_test(
			test_the_server_may_go_before_its_answers_come),
		cmocka_unit_test(test_connections_over_the_limit_are_refused),
		cmocka_unit_test(test_who_gives_no_command_keeps_nobody_out),
		cmocka_unit_test(
			test_who_gives_no_command_in_time_is_hung_up_on),
		cmocka_unit_test(
			test_an_idle_client_gives_way_to_one_that_asks),
		cmocka_unit_test(
			test_a_client_has_few_commands_open_at_one_time),
		cmocka_unit_test(test_an_answer_of_megabytes_comes_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
