#include "management/api.h"

#include "base/cleanup.h"
#include "daemon.h"
#include "version.h"

static void facts(struct json_writer *w, void *arg)
{
	json_u64(w, "asked", ((struct daemon_world *)arg)->asked_count);
}

static const struct management_handlers relay_handlers = {
	.name = "media-relay",
	.summary = daemon_asked,
	.sessions = daemon_sessions,
};

/* Takes {"forwarding": ...} by its length: 2 is wrong, 3 is not possible. */
static int daemon_set(struct span json, struct buf *ret_why, void *arg)
{
	struct daemon_world *world = arg;

	world->answer_bytes = json.len;
	if (json.len == 2 || json.len == 3)
		buf_add(ret_why, json.len == 2 ? SPAN("wrong \"word\"")
					       : SPAN("no right"));
	return json.len == 2 ? -EINVAL : json.len == 3 ? -EPERM : 0;
}

static const struct management_handlers forwarding_handlers = {
	.summary = daemon_asked,
	.sessions = daemon_sessions,
	.forwarding = daemon_asked,
	.set_forwarding = daemon_set,
};

/* One item: what the question says. */
static void daemon_echoes(struct management_request *request, void *arg)
{
	const char *call_id = management_request_parameter(request, "call_id");
	struct json_writer *w;
	uint64_t limit = 5;

	(void)arg;
	if (management_request_number(request, "limit", 2, 9, &limit) < 0)
		return;
	w = management_request_item(request);
	json_object_begin(w, NULL);
	json_text(w, "call_id", call_id ? call_id : "none");
	json_u64(w, "limit", limit);
	json_span(w, "body", management_request_body(request));
	json_object_end(w);
	management_request_finish(request);
}

static const struct management_handlers records_handlers = {
	.summary = daemon_asked,
	.sessions = daemon_asked,
	.facts = facts,
	.history = daemon_echoes,
	.accounting = daemon_asked,
	.set_aside = daemon_asked,
	.retry = daemon_echoes,
};

static const struct management_handlers dispatcher_handlers = {
	.summary = daemon_asked,
	.sessions = daemon_asked,
	.facts = facts,
};

struct setup {
	struct daemon_world world;
	struct management_api *api;
	char folder[64];
	struct sockaddr_un at;
};

static void setup_init(struct setup *setup,
		       const struct management_handlers *handlers)
{
	*setup = (struct setup){.folder = "/tmp/mp-test-api-XXXXXX",
				.at = {.sun_family = AF_UNIX}};
	world_init(&setup->world);
	assert_non_null(mkdtemp(setup->folder));
	snprintf(setup->at.sun_path, sizeof(setup->at.sun_path), "%s/ctl",
		 setup->folder);
	assert_int_equal(management_api_new(&setup->api, setup->world.loop,
					    setup->at.sun_path, handlers,
					    &setup->world),
			 0);
}

static void setup_done(struct setup *setup)
{
	management_api_free(setup->api);
	world_done(&setup->world);
	rmdir(setup->folder);
}

static void ask_with(struct client *client, struct setup *setup,
		     const char *method, const char *target, const char *body)
{
	char text[512];

	client_init(client, &setup->world, (struct sockaddr *)&setup->at,
		    sizeof(setup->at));
	snprintf(text, sizeof(text),
		 "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		 "Content-Length: %zu\r\n\r\n%s",
		 method, target, strlen(body), body);
	client_say(client, text);
}

static void ask(struct client *client, struct setup *setup, const char *method,
		const char *target)
{
	ask_with(client, setup, method, target, "");
}

/* The whole answer: status, type and body. */
static void hears(struct client *client, const char *status, const char *body)
{
	char line[64];
	const char *end;

	client_is_closed(client);
	snprintf(line, sizeof(line), "HTTP/1.1 %s ", status);
	assert_non_null(client->text.data);
	assert_true(span_starts_with(buf_span(&client->text), span_of(line)));
	assert_non_null(strstr(client->text.data,
			       "\r\nContent-Type: application/json\r\n"));
	end = strstr(client->text.data, "\r\n\r\n");
	assert_non_null(end);
	assert_string_equal(end + 4, body);
	client_done(client);
}

static void test_the_version_names_the_daemon(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &relay_handlers);
	ask(&client, &setup, "GET", "/api/v1/version");
	hears(&client, "200",
	      "{\"name\": \"media-relay\", \"version\": \"" MEDIAPROXY_VERSION
	      "\"}");
	setup_done(&setup);
}

static void test_a_relays_summary_is_its_object(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &relay_handlers);
	ask(&client, &setup, "GET", "/api/v1/summary");
	world_wait(&setup.world, setup.world.asked_count == 1);
	daemon_answer(&setup.world, 0, "one");
	hears(&client, "200", "{\"name\": \"one\"}");
	setup_done(&setup);
}

static void
test_a_dispatchers_summary_has_its_relays_and_its_facts(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &dispatcher_handlers);
	ask(&client, &setup, "GET", "/api/v1/summary");
	world_wait(&setup.world, setup.world.asked_count == 1);
	daemon_item(setup.world.asked[0], "one");
	daemon_answer(&setup.world, 0, "two");
	hears(&client, "200",
	      "{\"relays\": [{\"name\": \"one\"}, {\"name\": \"two\"}], "
	      "\"asked\": 0}");
	setup_done(&setup);
}

static void test_sessions_are_an_array(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &relay_handlers);
	ask(&client, &setup, "GET", "/api/v1/sessions");
	hears(&client, "200", "[]");
	setup_done(&setup);
}

static void test_sessions_of_one_call_id_are_chosen_by_the_query(void **state)
{
	struct setup setup;
	struct client client;
	struct management_request *request;

	(void)state;
	setup_init(&setup, &dispatcher_handlers);
	ask(&client, &setup, "GET", "/api/v1/sessions?call_id=a%40b%22%26");
	world_wait(&setup.world, setup.world.asked_count == 1);
	request = setup.world.asked[0];
	assert_true(management_request_wants(request, SPAN("a@b\"&")));
	assert_false(management_request_wants(request, SPAN("a")));
	assert_int_equal(management_request_add_array(
				 request, SPAN("[{\"call_id\": \"a\"}, "
					       "{\"call_id\": \"a@b\\\"&\"}]")),
			 0);
	management_request_finish(request);
	hears(&client, "200", "[{\"call_id\": \"a@b\\\"&\"}]");
	setup_done(&setup);
}

static void test_other_paths_and_methods_are_refused_in_json(void **state)
{
	static const char *const paths[] = {"/", "/api/v1/", "/api/v2/version",
					    "/api/v1/summary/",
					    "/api/v1/Summary"};
	static const char *const methods[] = {"POST", "PUT", "DELETE"};
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &relay_handlers);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		ask(&client, &setup, "GET", paths[i]);
		hears(&client, "404", "{\"error\": \"no such path\"}");
	}
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		ask(&client, &setup, methods[i], "/api/v1/summary");
		hears(&client, "405",
		      "{\"error\": \"only GET is allowed here\"}");
	}
	assert_int_equal(setup.world.asked_count, 0);
	setup_done(&setup);
}

#define FORWARDING "/api/v1/forwarding"

static void test_what_forwards_is_answered_by_the_relays_object(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &forwarding_handlers);
	ask(&client, &setup, "GET", FORWARDING);
	world_wait(&setup.world, setup.world.asked_count == 1);
	daemon_answer(&setup.world, 0, "tc");
	hears(&client, "200", "{\"name\": \"tc\"}");
	setup_done(&setup);
}

static void test_a_change_of_what_forwards_is_answered_as_get(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &forwarding_handlers);
	ask_with(&client, &setup, "PUT", FORWARDING, "\"tc\"");
	world_wait(&setup.world, setup.world.asked_count == 1);
	assert_int_equal(setup.world.answer_bytes, 4);
	daemon_answer(&setup.world, 0, "tc");
	hears(&client, "200", "{\"name\": \"tc\"}");
	setup_done(&setup);
}

static void test_a_change_that_is_wrong_or_impossible_says_why(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &forwarding_handlers);
	ask_with(&client, &setup, "PUT", FORWARDING, "{}");
	hears(&client, "400", "{\"error\": \"wrong \\\"word\\\"\"}");
	ask_with(&client, &setup, "PUT", FORWARDING, "{ }");
	hears(&client, "503", "{\"error\": \"no right\"}");
	assert_int_equal(setup.world.asked_count, 0);
	setup_done(&setup);
}

static void test_what_forwards_is_a_path_of_relays_alone(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &forwarding_handlers);
	ask(&client, &setup, "DELETE", FORWARDING);
	hears(&client, "405",
	      "{\"error\": \"only GET and PUT are allowed here\"}");
	ask(&client, &setup, "GET", FORWARDING "/");
	hears(&client, "404", "{\"error\": \"no such path\"}");
	setup_done(&setup);
	setup_init(&setup, &dispatcher_handlers);
	ask(&client, &setup, "GET", FORWARDING);
	hears(&client, "404", "{\"error\": \"no such path\"}");
	ask_with(&client, &setup, "PUT", FORWARDING, "\"tc\"");
	hears(&client, "404", "{\"error\": \"no such path\"}");
	setup_done(&setup);
}

#define HISTORY "/api/v1/history"
#define RETRY "/api/v1/accounting/retry"

static void test_a_handler_reads_parameters_and_body(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &records_handlers);
	ask(&client, &setup, "GET", HISTORY);
	hears(&client, "200",
	      "[{\"call_id\": \"none\", \"limit\": 5, \"body\": \"\"}]");
	ask(&client, &setup, "GET", HISTORY "?limit=9&call_id=%22%26");
	hears(&client, "200",
	      "[{\"call_id\": \"\\\"&\", \"limit\": 9, \"body\": \"\"}]");
	ask_with(&client, &setup, "PUT", RETRY "?limit=2", "{}");
	hears(&client, "200",
	      "{\"call_id\": \"none\", \"limit\": 2, \"body\": \"{}\"}");
	setup_done(&setup);
}

static void test_a_number_that_is_not_allowed_is_refused(void **state)
{
	static const char *const bad[] = {
		"",     "1",   "10",
		"-3",   "+3",  "3.0",
		"%203", "0x3", "18446744073709551619"};
	struct setup setup;
	struct client client;
	char target[64];

	(void)state;
	setup_init(&setup, &records_handlers);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(target, sizeof(target), HISTORY "?limit=%s", bad[i]);
		ask(&client, &setup, "GET", target);
		hears(&client, "400",
		      "{\"error\": \"limit: a whole number from 2 to 9 is "
		      "needed\"}");
	}
	setup_done(&setup);
}

static void test_records_are_paths_of_dispatchers_alone(void **state)
{
	static const char *const paths[] = {HISTORY, "/api/v1/accounting",
					    "/api/v1/accounting/set-aside",
					    RETRY};
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &relay_handlers);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		ask(&client, &setup, i == 3 ? "PUT" : "GET", paths[i]);
		hears(&client, "404", "{\"error\": \"no such path\"}");
	}
	setup_done(&setup);
	setup_init(&setup, &records_handlers);
	ask(&client, &setup, "GET", RETRY);
	hears(&client, "405", "{\"error\": \"only PUT is allowed here\"}");
	ask(&client, &setup, "PUT", HISTORY);
	hears(&client, "405", "{\"error\": \"only GET is allowed here\"}");
	assert_int_equal(setup.world.asked_count, 0);
	setup_done(&setup);
}

static void test_what_is_refused_late_has_no_item_left(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &records_handlers);
	ask(&client, &setup, "GET", "/api/v1/accounting/set-aside");
	world_wait(&setup.world, setup.world.asked_count == 1);
	daemon_item(setup.world.asked[0], "first");
	management_request_refuse(setup.world.asked[0], 503, "the \"disk\"");
	hears(&client, "503", "{\"error\": \"the \\\"disk\\\"\"}");
	setup_done(&setup);
}

static void test_nobody_hears_a_refusal_after_the_server(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &records_handlers);
	ask(&client, &setup, "GET", "/api/v1/accounting");
	world_wait(&setup.world, setup.world.asked_count == 1);
	setup.api = management_api_free(setup.api);
	assert_null(management_request_parameter(setup.world.asked[0], "x"));
	assert_int_equal(management_request_body(setup.world.asked[0]).len, 0);
	management_request_refuse(setup.world.asked[0], 503, "late");
	client_is_closed(&client);
	client_done(&client);
	setup_done(&setup);
}

static void test_an_answer_without_an_item_is_an_error(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &relay_handlers);
	ask(&client, &setup, "GET", "/api/v1/summary");
	world_wait(&setup.world, setup.world.asked_count == 1);
	management_request_finish(setup.world.asked[0]);
	hears(&client, "503", "{\"error\": \"no answer\"}");
	setup_done(&setup);
}

static void test_clients_are_answered_in_any_order(void **state)
{
	struct setup setup;
	struct client first;
	struct client second;

	(void)state;
	setup_init(&setup, &relay_handlers);
	ask(&first, &setup, "GET", "/api/v1/summary");
	world_wait(&setup.world, setup.world.asked_count == 1);
	ask(&second, &setup, "GET", "/api/v1/summary");
	world_wait(&setup.world, setup.world.asked_count == 2);
	daemon_answer(&setup.world, 1, "second");
	hears(&second, "200", "{\"name\": \"second\"}");
	daemon_answer(&setup.world, 0, "first");
	hears(&first, "200", "{\"name\": \"first\"}");
	setup_done(&setup);
}

static void test_a_client_may_go_before_its_answer_comes(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &relay_handlers);
	ask(&client, &setup, "GET", "/api/v1/summary");
	world_wait(&setup.world, setup.world.asked_count == 1);
	client_done(&client);
	world_turns(&setup.world, 5);
	daemon_answer(&setup.world, 0, "late");
	ask(&client, &setup, "GET", "/api/v1/sessions");
	hears(&client, "200", "[]");
	setup_done(&setup);
}

static void test_the_server_may_go_before_its_answers_come(void **state)
{
	struct setup setup;
	struct client client;

	(void)state;
	setup_init(&setup, &dispatcher_handlers);
	ask(&client, &setup, "GET", "/api/v1/summary");
	world_wait(&setup.world, setup.world.asked_count == 1);
	setup.api = management_api_free(setup.api);
	assert_false(management_request_is_wanted(setup.world.asked[0]));
	daemon_answer(&setup.world, 0, "late");
	client_is_closed(&client);
	client_done(&client);
	setup_done(&setup);
}

static void test_sixty_four_questions_are_open_at_most(void **state)
{
	struct setup setup;
	struct client clients[MAX_ASKED];
	struct client one_more;

	(void)state;
	setup_init(&setup, &dispatcher_handlers);
	for (size_t i = 0; i < MAX_ASKED; i++) {
		ask(&clients[i], &setup, "GET", "/api/v1/sessions");
		world_wait(&setup.world, setup.world.asked_count == i + 1);
	}
	ask(&one_more, &setup, "GET", "/api/v1/sessions");
	hears(&one_more, "503", "{\"error\": \"too many requests are open\"}");
	daemon_answer(&setup.world, 0, "x");
	hears(&clients[0], "200", "[{\"name\": \"x\"}]");
	ask(&clients[0], &setup, "GET", "/api/v1/sessions");
	world_wait(&setup.world, setup.world.asked_count == MAX_ASKED);
	for (size_t i = 1; i < MAX_ASKED; i++) {
		daemon_answer(&setup.world, 0, "x");
		hears(&clients[i], "200", "[{\"name\": \"x\"}]");
	}
	daemon_answer(&setup.world, 0, "y");
	hears(&clients[0], "200", "[{\"name\": \"y\"}]");
	setup_done(&setup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_version_names_the_daemon),
		cmocka_unit_test(test_a_relays_summary_is_its_object),
		cmocka_unit_test(
			test_a_dispatchers_summary_has_its_relays_and_its_facts),
		cmocka_unit_test(test_sessions_are_an_array),
		cmocka_unit_test(
			test_sessions_of_one_call_id_are_chosen_by_the_query),
		cmocka_unit_test(
			test_other_paths_and_methods_are_refused_in_json),
		cmocka_unit_test(
			test_what_forwards_is_answered_by_the_relays_object),
		cmocka_unit_test(
			test_a_change_of_what_forwards_is_answered_as_get),
		cmocka_unit_test(
			test_a_change_that_is_wrong_or_impossible_says_why),
		cmocka_unit_test(test_what_forwards_is_a_path_of_relays_alone),
		cmocka_unit_test(test_a_handler_reads_parameters_and_body),
		cmocka_unit_test(test_a_number_that_is_not_allowed_is_refused),
		cmocka_unit_test(test_records_are_paths_of_dispatchers_alone),
		cmocka_unit_test(test_what_is_refused_late_has_no_item_left),
		cmocka_unit_test(test_nobody_hears_a_refusal_after_the_server),
		cmocka_unit_test(test_an_answer_without_an_item_is_an_error),
		cmocka_unit_test(test_clients_are_answered_in_any_order),
		cmocka_unit_test(test_a_client_may_go_before_its_answer_comes),
		cmocka_unit_test(
			test_the_server_may_go_before_its_answers_come),
		cmocka_unit_test(test_sixty_four_questions_are_open_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
