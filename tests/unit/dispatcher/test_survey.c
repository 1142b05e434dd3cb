/** What management clients hear of relays that reply, and of those that do not.
 */
#include "dispatcher/survey.h"

#include "base/clock.h"
#include "management/text.h"
#include "rig.h"
#include "test.h"

struct scene {
	struct rig rig;
	struct surveys *surveys;
	struct management_text *text;
	struct rig_end *one, *two, *client;
};

static void summary(struct management_request *request, void *arg)
{
	surveys_summary(arg, request);
}

static void sessions(struct management_request *request, void *arg)
{
	surveys_sessions(arg, request);
}

static void explain(struct management_request *request, void *arg)
{
	surveys_explain(arg, request, "call-1");
}

static void set_up_with(struct scene *s, management_request_h *sessions_handler)
{
	const struct management_handlers handlers = {
		.summary = summary, .sessions = sessions_handler};
	struct management_text_config config = {.format = CONF_MANAGEMENT_LINES,
						.max_connections =
							SURVEYS_MAX + 1};
	struct endpoint at;

	rig_start(&s->rig);
	s->one = rig_relay(&s->rig, "127.0.0.2", "[]");
	s->two = rig_relay(&s->rig, "127.0.0.3", "[]");
	assert_int_equal(surveys_new(&s->surveys, s->rig.loop,
				     &s->rig.conf.dispatcher, s->rig.peers),
			 0);
	config.listen = s->rig.conf.dispatcher.listen;
	assert_int_equal(management_text_new(&s->text, s->rig.loop, &config,
					     &handlers, s->surveys),
			 0);
	at = management_text_address(s->text);
	s->client = rig_client(&s->rig, &at);
}

static void set_up(struct scene *s)
{
	set_up_with(s, sessions);
}

static void tear_down(struct scene *s)
{
	surveys_stop(s->surveys);
	management_text_free(s->text);
	rig_end_free(s->one);
	rig_end_free(s->two);
	rig_end_free(s->client);
	rig_done(&s->rig);
	surveys_free(s->surveys);
}

static void test_the_summaries_of_all_relays_come_together(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_say(s.client, "summary");
	rig_say(s.two, "%lu {\"ip\": \"127.0.0.3\"}",
		rig_expect_request(s.two, "summary"));
	rig_expect_nothing(s.two);
	rig_say(s.one, "%lu {\"ip\": \"127.0.0.2\"}",
		rig_expect_request(s.one, "summary"));
	rig_expect(s.client, "{\"ip\": \"127.0.0.3\"}");
	rig_expect(s.client, "{\"ip\": \"127.0.0.2\"}");
	rig_expect(s.client, "");
	tear_down(&s);
}

static void test_a_silent_relay_is_named_after_relay_timeout(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	s.rig.conf.dispatcher.relay_timeout_us = 20 * US_PER_MS;
	set_up(&s);
	rig_say(s.client, "summary");
	rig_say(s.one, "%lu {\"ip\": \"127.0.0.2\"}",
		rig_expect_request(s.one, "summary"));
	rig_expect(s.client, "{\"ip\": \"127.0.0.2\"}");
	rig_expect(s.client, "{\"status\": \"error\", \"ip\": \"127.0.0.3\"}");
	rig_expect(s.client, "");
	/* Its late reply is nobody's. */
	rig_say(s.two, "%lu {}", rig_expect_request(s.two, "summary"));
	rig_expect_nothing(s.two);
	tear_down(&s);
}

static void test_a_relay_that_is_lost_in_between_is_named(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_say(s.client, "summary");
	rig_expect_request(s.two, "summary");
	rig_end_close(s.two);
	rig_say(s.one, "%lu nonsense", rig_expect_request(s.one, "summary"));
	/* Both, in whichever order it was noticed. */
	assert_non_null(strstr(rig_hear(s.client), "\"status\": \"error\""));
	assert_non_null(strstr(rig_hear(s.client), "\"status\": \"error\""));
	rig_expect(s.client, "");
	tear_down(&s);
}

static void test_the_sessions_of_all_relays_are_joined(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_say(s.client, "sessions");
	rig_say(s.one, "%lu [{\"call_id\": \"a\"}, {\"call_id\": \"b\"}]",
		rig_expect_request(s.one, "sessions"));
	rig_expect_nothing(s.one);
	rig_say(s.two, "%lu [{\"call_id\": \"c\"}]",
		rig_expect_request(s.two, "sessions"));
	rig_expect(s.client, "{\"call_id\": \"a\"}");
	rig_expect(s.client, "{\"call_id\": \"b\"}");
	rig_expect(s.client, "{\"call_id\": \"c\"}");
	rig_expect(s.client, "");
	tear_down(&s);
}

static void test_a_list_that_is_no_json_does_not_spoil_the_others(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_say(s.client, "sessions");
	rig_say(s.one, "%lu [{\"call_id\": \"a\"}, {\"call",
		rig_expect_request(s.one, "sessions"));
	rig_expect_nothing(s.one);
	rig_say(s.two, "%lu [{\"call_id\": \"c\"}]",
		rig_expect_request(s.two, "sessions"));
	rig_expect(s.client, "{\"call_id\": \"a\"}");
	rig_expect(s.client, "{\"call_id\": \"c\"}");
	rig_expect(s.client, "");
	tear_down(&s);
}

static void test_too_many_questions_at_a_time_ask_nobody(void **state)
{
	struct rig_end *clients[SURVEYS_MAX];
	struct endpoint at;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	at = management_text_address(s.text);
	for (int i = 0; i < SURVEYS_MAX; i++) {
		clients[i] = rig_client(&s.rig, &at);
		rig_say(clients[i], "summary");
		rig_expect_request(s.one, "summary");
	}
	rig_say(s.client, "summary");
	rig_expect(s.client, "{\"status\": \"error\", \"ip\": \"127.0.0.2\"}");
	rig_expect(s.client, "{\"status\": \"error\", \"ip\": \"127.0.0.3\"}");
	rig_expect(s.client, "");
	rig_expect_nothing(s.one);
	for (int i = 0; i < SURVEYS_MAX; i++)
		rig_end_free(clients[i]);
	tear_down(&s);
}

static void
test_what_is_open_when_the_dispatcher_stops_is_finished(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_say(s.client, "summary");
	rig_expect_request(s.one, "summary");
	rig_expect_request(s.two, "summary");
	surveys_stop(s.surveys);
	rig_expect(s.client, "{\"status\": \"error\", \"ip\": \"127.0.0.2\"}");
	rig_expect(s.client, "{\"status\": \"error\", \"ip\": \"127.0.0.3\"}");
	rig_expect(s.client, "");
	tear_down(&s);
}

static void test_who_announced_pages_is_asked_for_them(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_say(s.one, "ping {\"features\": [\"paged\"]}");
	rig_expect(s.one, "pong");
	rig_say(s.client, "sessions");
	rig_say(s.two, "%lu [{\"call_id\": \"old\"}]",
		rig_expect_request(s.two, "sessions"));
	rig_expect_nothing(s.two);
	rig_say(s.one,
		"%lu {\"sessions\": [{\"call_id\": \"a\"}], \"next\": 5}",
		rig_expect_request_with(s.one, "sessions", "page: 0"));
	rig_say(s.one,
		"%lu {\"sessions\": [{\"call_id\": \"b\"}], \"next\": 0}",
		rig_expect_request_with(s.one, "sessions", "page: 5"));
	rig_expect(s.client, "{\"call_id\": \"old\"}");
	rig_expect(s.client, "{\"call_id\": \"a\"}");
	rig_expect(s.client, "{\"call_id\": \"b\"}");
	rig_expect(s.client, "");
	tear_down(&s);
}

/* A relay that does not announce it would answer `error`, or close the link. */
static void test_who_can_explain_is_asked_to_and_others_are_named(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up_with(&s, explain);
	rig_say(s.one, "ping {\"features\": [\"explain\"]}");
	rig_expect(s.one, "pong");
	rig_say(s.client, "sessions");
	rig_expect_nothing(s.two);
	rig_say(s.one, "%lu [{\"call_id\": \"call-1\"}]",
		rig_expect_request_with(s.one, "explain", "call_id: call-1"));
	rig_expect(s.client, "{\"status\": \"error\", \"ip\": \"127.0.0.3\"}");
	rig_expect(s.client, "{\"call_id\": \"call-1\"}");
	rig_expect(s.client, "");

	rig_say(s.client, "sessions");
	rig_say(s.one, "%lu error",
		rig_expect_request_with(s.one, "explain", "call_id: call-1"));
	rig_expect(s.client, "{\"status\": \"error\", \"ip\": \"127.0.0.3\"}");
	rig_expect(s.client, "{\"status\": \"error\", \"ip\": \"127.0.0.2\"}");
	rig_expect(s.client, "");
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_the_summaries_of_all_relays_come_together),
		cmocka_unit_test(
			test_a_silent_relay_is_named_after_relay_timeout),
		cmocka_unit_test(test_a_relay_that_is_lost_in_between_is_named),
		cmocka_unit_test(test_the_sessions_of_all_relays_are_joined),
		cmocka_unit_test(test_who_announced_pages_is_asked_for_them),
		cmocka_unit_test(
			test_who_can_explain_is_asked_to_and_others_are_named),
		cmocka_unit_test(
			test_a_list_that_is_no_json_does_not_spoil_the_others),
		cmocka_unit_test(test_too_many_questions_at_a_time_ask_nobody),
		cmocka_unit_test(
			test_what_is_open_when_the_dispatcher_stops_is_finished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
