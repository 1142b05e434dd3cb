/* A call's story as people see it, and as the daemons may answer. */
#include "base/cleanup.h"

#include <string.h>

#include "ctl/ctl.h"
#include "ctl/show.h"
#include "test.h"
#include "world.h"

#define STORY                                                                  \
	"{\"call_id\": \"call-1\", \"from_uri\": \"alice@x\", \"to_uri\":"     \
	" \"bob@x\", \"relay\": \"10.0.0.1\", \"engine\": \"xdp\","            \
	" \"began\": 1700000000.5, \"duration\": 12.345, \"end_reason\": %s,"  \
	" \"streams_not_told\": %d, \"events\": ["                             \
	"{\"at\": 0.000, \"event\": \"offer\", \"text\": \"caller offers\"},"  \
	"{\"at\": 1.2, \"until\": 7.250, \"event\": \"refused\","              \
	" \"text\": \"12 packets\"}], \"diagnosis\": ["                        \
	"{\"verdict\": \"fine\", \"text\": \"the callee hears the caller\"},"  \
	"{\"verdict\": \"fine\", \"text\": \"the caller hears the callee\"}]}"

static void show(struct buf *out, const char *end_reason, int skipped)
{
	CLEANUP(buf_done) struct buf text = {0};
	json_t *story;

	buf_printf(&text, STORY, end_reason, skipped);
	story = json_loadb(text.data, text.len, 0, NULL);
	assert_non_null(story);
	show_story(out, story);
	json_decref(story);
}

static void test_a_story_is_in_the_order_of_time(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	const char *rest;

	(void)state;
	show(&out, "null", 0);
	assert_non_null(strstr(out.data, "call-1  alice@x -> bob@x\n"
					 "relay 10.0.0.1, engine xdp, began "));
	rest = strstr(out.data, ", up for");
	assert_non_null(rest);
	assert_string_equal(rest, ", up for 12.3 s\n\n"
				  "     0.000  caller offers\n"
				  "     1.200  12 packets, until 7.250\n"
				  "\n"
				  "the callee hears the caller\n"
				  "the caller hears the callee\n");
}

static void test_how_a_call_ended_and_what_is_left_out_is_said(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};

	(void)state;
	show(&out, "\"timeout\"", 3);
	assert_non_null(strstr(out.data, ", ended after 12.3 s: timeout\n"));
	assert_non_null(strstr(out.data, "3 older streams are not told\n"));
}

/* An older or newer relay, or a stranger's. */
static void test_whatever_a_daemon_says_is_shown_safely(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"{\"call_id\": 7, \"events\": {}, \"diagnosis\": [1, null]}",
		"{\"events\": [{}, 3, {\"at\": \"x\", \"text\": []}],"
		" \"began\": 1e300, \"duration\": null}",
		"{\"call_id\": \"\\u001b[2J\", \"end_reason\": \"\\u0007\","
		" \"events\": [{\"text\": \"\\u001b[1m\"}],"
		" \"diagnosis\": [{\"text\": \"\\u001b[3m\\n\"}]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		CLEANUP(buf_done) struct buf out = {0};
		json_t *story = json_loads(texts[i], 0, NULL);

		assert_non_null(story);
		show_story(&out, story);
		json_decref(story);
		for (size_t c = 0; c < out.len; c++)
			assert_true(out.data[c] == '\n' || out.data[c] >= ' ');
	}
}

/* What a daemon answers, and what it was asked. */
struct answer {
	const char *text;
	char call_id[64];
};

static void answer(struct http_request *request, void *arg)
{
	struct answer *a = arg;

	assert_string_equal(http_path(request), "/api/v1/explain");
	(void)snprintf(a->call_id, sizeof(a->call_id), "%s",
		       http_parameter(request, "call_id"));
	http_answer(request, 200, "application/json", span_of(a->text));
}

static int explain(struct world *w, const char *option, const char *text)
{
	struct answer a = {.text = text};
	int rc;

	serve(w, &w->dispatcher, "media-dispatcher.ctl", answer, &a);
	rc = RUN(w, ctl_explain, "--runtime-dir", w->folder, (char *)option,
		 "a+b &c@x");
	assert_string_equal(a.call_id, "a+b &c@x");
	return rc;
}

static void
test_an_unknown_call_fails_and_says_which_relays_were_silent(void **state)
{
	struct world *w = *state;

	assert_int_equal(explain(w, "--",
				 "[{\"status\": \"error\", \"ip\":"
				 " \"10.0.0.2\"}]"),
			 CTL_FAILED);
	assert_non_null(strstr(w->text, "no call with call-id a+b &c@x"));
	assert_non_null(strstr(w->text, "Relay 10.0.0.2 did not answer"));
}

static void test_stories_of_one_call_id_follow_each_other(void **state)
{
	struct world *w = *state;

	assert_int_equal(explain(w, "--",
				 "[{\"call_id\": \"a\"}, {\"status\":"
				 " \"error\"}, {\"call_id\": \"a\"}]"),
			 CTL_OK);
	assert_non_null(strstr(w->text, "\n\na  "));
	/* What is told may not be all. */
	assert_non_null(strstr(w->text, "did not answer"));
}

static void test_json_is_printed_as_it_came(void **state)
{
	struct world *w = *state;

	assert_int_equal(explain(w, "--json", "[{\"call_id\": \"a\"}]"),
			 CTL_OK);
	assert_string_equal(w->text,
			    "[\n  {\n    \"call_id\": \"a\"\n  }\n]\n");
}

static void test_what_is_no_list_is_no_answer(void **state)
{
	struct world *w = *state;

	assert_int_equal(explain(w, "--json", "{}"), CTL_FAILED);
	assert_non_null(strstr(w->text, "no list of stories"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_story_is_in_the_order_of_time),
		cmocka_unit_test(
			test_how_a_call_ended_and_what_is_left_out_is_said),
		cmocka_unit_test(test_whatever_a_daemon_says_is_shown_safely),
		CASE(test_an_unknown_call_fails_and_says_which_relays_were_silent),
		CASE(test_stories_of_one_call_id_follow_each_other),
		CASE(test_json_is_printed_as_it_came),
		CASE(test_what_is_no_list_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
