#include "link/session_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "test.h"

struct seen {
	int count;
	char text[512];
};

static void note(const struct session_report *report, void *arg)
{
	struct seen *seen = arg;
	size_t len = strlen(seen->text);

	seen->count++;
	if (seen->count < 10)
		snprintf(seen->text + len, sizeof(seen->text) - len,
			 "%.*s/%.*s/%.*s/%.*s%s%s%s ",
			 SPAN_ARG(report->call_id), SPAN_ARG(report->from_tag),
			 SPAN_ARG(report->to_tag), SPAN_ARG(report->dialog_id),
			 report->has_start_time ? "+" : "",
			 report->timed_out ? "!" : "",
			 report->all_streams_ice ? "ice" : "");
}

static void test_an_object_is_read_with_what_matters(void **state)
{
	struct seen seen = {0};

	(void)state;
	assert_int_equal(
		session_report_decode(
			SPAN("{\"call_id\": \"c\", \"from_tag\": \"f\", "
			     "\"to_tag\": \"t\", \"start_time\": 1.5, "
			     "\"streams\": [{}], \"dialog_id\": \"1:2\", "
			     "\"timed_out\": true}"),
			note, &seen),
		0);
	assert_string_equal(seen.text, "c/f/t/1:2+! ");
}

static void test_that_all_streams_were_candidates_is_read(void **state)
{
	struct seen seen = {0};

	(void)state;
	assert_int_equal(
		session_report_decode(SPAN("{\"call_id\": \"c\", "
					   "\"all_streams_ice\": true}"),
				      note, &seen),
		0);
	assert_int_equal(
		session_report_decode(SPAN("{\"call_id\": \"d\", "
					   "\"all_streams_ice\": false}"),
				      note, &seen),
		0);
	assert_string_equal(seen.text, "c///ice d/// ");
}

static void test_nulls_and_missing_keys_read_as_empty(void **state)
{
	struct seen seen = {0};

	(void)state;
	assert_int_equal(
		session_report_decode(
			SPAN("{\"call_id\": \"c\", \"from_tag\": \"f\", "
			     "\"to_tag\": null, \"start_time\": null}"),
			note, &seen),
		0);
	assert_string_equal(seen.text, "c/f// ");
}

static void test_escapes_become_bytes_of_utf8(void **state)
{
	struct seen seen = {0};

	(void)state;
	assert_int_equal(
		session_report_decode(SPAN("{\"call_id\": \"a\\u00e9\\\"b\"}"),
				      note, &seen),
		0);
	assert_string_equal(seen.text, "a\xc3\xa9\"b/// ");
}

static void test_a_list_is_read_object_by_object(void **state)
{
	struct seen seen = {0};

	(void)state;
	assert_int_equal(
		session_reports_decode(
			SPAN(" [ {\"call_id\": \"a\"} ,\t{\"call_id\": \"b\", "
			     "\"x\": {\"y\": [1, {}]}},{\"call_id\":\"c\"}] "),
			note, &seen),
		0);
	assert_string_equal(seen.text, "a/// b/// c/// ");
}

static void test_an_empty_list_is_a_list(void **state)
{
	struct seen seen = {0};

	(void)state;
	assert_int_equal(session_reports_decode(SPAN("[]"), note, &seen), 0);
	assert_int_equal(session_reports_decode(SPAN("[ ]"), note, &seen), 0);
	assert_int_equal(seen.count, 0);
}

static void test_what_is_no_list_of_sessions_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"[",
		"]",
		"{}",
		"null",
		"[1]",
		"[null]",
		"[[]]",
		"[{}]",
		"[{\"call_id\": \"\"}]",
		"[{\"call_id\": 5}]",
		"[{\"call_id\": \"a\"}",
		"[{\"call_id\": \"a\"},]",
		"[{\"call_id\": \"a\"} {\"call_id\": \"b\"}]",
		"[{\"call_id\": \"a\"}] x",
		"[{\"call_id\": \"\xff\"}]",
	};
	struct seen seen = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			session_reports_decode(span_of(bad[i]), note, &seen),
			-EBADMSG);
}

static void test_an_object_that_is_too_long_is_refused(void **state)
{
	size_t size = SESSION_REPORT_MAX_BYTES + 64;
	struct seen seen = {0};
	char *text = malloc(size);

	(void)state;
	assert_non_null(text);
	memset(text, ' ', size);
	memcpy(text, "[{\"call_id\": \"a\"", 16);
	text[size - 2] = '}';
	text[size - 1] = ']';
	assert_int_equal(
		session_reports_decode(span_make(text, size), note, &seen),
		-EBADMSG);
	assert_int_equal(session_report_decode(span_make(text + 1, size - 2),
					       note, &seen),
			 -EBADMSG);
	assert_int_equal(seen.count, 0);
	free(text);
}

static void test_a_page_is_taken_apart(void **state)
{
	struct span array;
	uint64_t next;

	(void)state;
	assert_int_equal(session_page_split(
				 SPAN("{\"sessions\": [{\"call_id\": \"a\"}], "
				      "\"next\": 17}"),
				 &array, &next),
			 0);
	assert_true(span_equal(array, SPAN("[{\"call_id\": \"a\"}]")));
	assert_int_equal(next, 17);
	assert_int_equal(
		session_page_split(SPAN("{\"sessions\": [], \"next\": 0}"),
				   &array, &next),
		0);
	assert_true(span_equal(array, SPAN("[]")));
	assert_int_equal(next, 0);
}

static void test_what_is_no_page_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"sessions\": ",
		"{\"sessions\": []}",
		"{\"sessions\": , \"next\": 0",
		"{\"sessions\": [], \"next\": }",
		"{\"sessions\": [], \"next\": -1}",
		"{\"sessions\": [], \"next\": 0} ",
		"{\"sessions\": [], \"next\": 99999999999999999999}",
		"{\"next\": 0, \"sessions\": []}",
	};
	struct span array;
	uint64_t next = 5;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			session_page_split(span_of(bad[i]), &array, &next),
			-EBADMSG);
	assert_int_equal(next, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_object_is_read_with_what_matters),
		cmocka_unit_test(test_that_all_streams_were_candidates_is_read),
		cmocka_unit_test(test_nulls_and_missing_keys_read_as_empty),
		cmocka_unit_test(test_escapes_become_bytes_of_utf8),
		cmocka_unit_test(test_a_list_is_read_object_by_object),
		cmocka_unit_test(test_an_empty_list_is_a_list),
		cmocka_unit_test(test_what_is_no_list_of_sessions_is_refused),
		cmocka_unit_test(test_an_object_that_is_too_long_is_refused),
		cmocka_unit_test(test_a_page_is_taken_apart),
		cmocka_unit_test(test_what_is_no_page_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
