#include "management/request.h"

#include <errno.h>
#include <string.h>

#include "management/request_internal.h"
#include "test.h"

/* What came out of the last request. */
static struct buf answer;
static int answers;

static void finished(struct management_request *request)
{
	assert_false(buf_failed(&request->out));
	buf_reset(&answer);
	buf_add(&answer, buf_span(&request->out));
	answers++;
	request_free(request);
}

static void facts(struct json_writer *w, void *arg)
{
	json_i64(w, "sessions", *(int *)arg);
}

static const struct management_handlers handlers = {.facts = facts};
static int session_count = 7;

static struct management_request *make(enum request_form form)
{
	struct management_request *request =
		request_new(form, finished, &session_count);

	assert_non_null(request);
	request->handlers = &handlers;
	request->handlers_arg = &session_count;
	buf_reset(&answer);
	answers = 0;
	return request;
}

static void add(struct management_request *request, const char *name)
{
	struct json_writer *w = management_request_item(request);

	json_object_begin(w, NULL);
	json_text(w, "call_id", name);
	json_object_end(w);
}

static void test_each_form_has_its_frame(void **state)
{
	static const struct {
		enum request_form form;
		const char *none, *two;
	} forms[] = {
		{REQUEST_LINES, "\r\n",
		 "{\"call_id\": \"a\"}\r\n{\"call_id\": \"b\"}\r\n\r\n"},
		{REQUEST_ARRAY, "[]",
		 "[{\"call_id\": \"a\"}, {\"call_id\": \"b\"}]"},
		{REQUEST_RELAYS, "{\"relays\": [], \"sessions\": 7}",
		 "{\"relays\": [{\"call_id\": \"a\"}, {\"call_id\": \"b\"}], "
		 "\"sessions\": 7}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct management_request *request = make(forms[i].form);

		management_request_finish(request);
		assert_string_equal(answer.data, forms[i].none);
		request = make(forms[i].form);
		add(request, "a");
		add(request, "b");
		management_request_finish(request);
		assert_string_equal(answer.data, forms[i].two);
		assert_int_equal(answers, 1);
	}
}

static void test_the_one_item_of_an_object_is_the_answer(void **state)
{
	struct management_request *request = make(REQUEST_OBJECT);

	(void)state;
	add(request, "a");
	management_request_finish(request);
	assert_string_equal(answer.data, "{\"call_id\": \"a\"}");
}

/* An empty line would end the answer. */
static void test_an_item_that_was_not_written_makes_no_line(void **state)
{
	struct management_request *request = make(REQUEST_LINES);

	(void)state;
	management_request_item(request);
	add(request, "a");
	management_request_item(request);
	management_request_finish(request);
	assert_string_equal(answer.data, "{\"call_id\": \"a\"}\r\n\r\n");
}

static void test_arrays_of_relays_are_joined(void **state)
{
	struct management_request *request = make(REQUEST_ARRAY);

	(void)state;
	assert_int_equal(management_request_add_array(
				 request, SPAN("[{\"a\": 1}, {\"b\": [2]}]")),
			 0);
	assert_int_equal(management_request_add_array(request, SPAN(" [ ] ")),
			 0);
	add(request, "x");
	assert_int_equal(
		management_request_add_array(request, SPAN("[{\"c\":3}]\r")),
		0);
	management_request_finish(request);
	assert_string_equal(answer.data, "[{\"a\": 1}, {\"b\": [2]}, "
					 "{\"call_id\": \"x\"}, {\"c\":3}]");
}

static void test_arrays_of_relays_become_lines(void **state)
{
	struct management_request *request = make(REQUEST_LINES);

	(void)state;
	assert_int_equal(
		management_request_add_array(
			request, SPAN("[{\"a\":\r\n 1}\n,{\"b\": 2}]")),
		0);
	management_request_finish(request);
	assert_string_equal(answer.data, "{\"a\":   1}\r\n{\"b\": 2}\r\n\r\n");
}

static void test_a_relays_broken_array_does_not_spoil_the_answer(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[{\"a\": 1},",
		"[{\"a\": 1},]",
		"[{\"a\": 1}",
		"[{\"a\": 1} {}]",
		"[{\"a\": 1}]]",
		"[{\"a\": 1}, {\"b\": x}]",
		"[{\"a\": 1}, 5]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct management_request *request = make(REQUEST_ARRAY);

		if (management_request_add_array(request, span_of(bad[i])) !=
		    -EBADMSG)
			fail_msg("took %s", bad[i]);
		add(request, "x");
		management_request_finish(request);
		assert_string_equal(answer.data,
				    i < 2 ? "[{\"call_id\": \"x\"}]"
					  : "[{\"a\": 1}, "
					    "{\"call_id\": \"x\"}]");
	}
}

static void test_an_object_is_added_only_if_it_is_one(void **state)
{
	struct management_request *request = make(REQUEST_ARRAY);

	(void)state;
	assert_int_equal(
		management_request_add_object(request, SPAN(" {\"a\": 1} ")),
		0);
	assert_int_equal(
		management_request_add_object(request, SPAN("{\"a\": 1")),
		-EBADMSG);
	assert_int_equal(management_request_add_object(request, SPAN("{} {}")),
			 -EBADMSG);
	assert_int_equal(management_request_add_object(request, SPAN("[]")),
			 -EBADMSG);
	assert_int_equal(management_request_add_object(request, SPAN("")),
			 -EBADMSG);
	management_request_finish(request);
	assert_string_equal(answer.data, "[{\"a\": 1}]");
}

static void test_a_filter_lets_one_call_id_through(void **state)
{
	struct management_request *request = make(REQUEST_ARRAY);

	(void)state;
	assert_int_equal(request_set_call_id(request, SPAN("a\"b")), 0);
	assert_true(management_request_wants(request, SPAN("a\"b")));
	assert_false(management_request_wants(request, SPAN("a")));
	assert_int_equal(
		management_request_add_array(
			request, SPAN("[{\"call_id\": \"a\"}, "
				      "{\"call_id\": \"a\\\"b\", \"x\": 1}, "
				      "{\"call_id\": \"c\", "
				      "\"ua\": \"\\\"call_id\\\": "
				      "\\\"a\\\\\\\"b\\\"\"}, "
				      "{\"call_id\": \"a\\\"bc\"}]")),
		0);
	management_request_finish(request);
	assert_string_equal(answer.data,
			    "[{\"call_id\": \"a\\\"b\", \"x\": 1}]");
}

static void test_without_a_filter_every_call_id_is_wanted(void **state)
{
	struct management_request *request = make(REQUEST_ARRAY);

	(void)state;
	assert_true(management_request_wants(request, SPAN("a")));
	assert_true(management_request_wants(request, SPAN("")));
	management_request_finish(request);
}

static void
test_an_answer_for_a_client_that_has_gone_leads_nowhere(void **state)
{
	struct management_request *request = make(REQUEST_RELAYS);

	(void)state;
	add(request, "a");
	assert_true(management_request_is_wanted(request));
	request_detach(request);
	assert_false(management_request_is_wanted(request));
	add(request, "b");
	assert_int_equal(
		management_request_add_array(request, SPAN("[{\"a\": 1}]")), 0);
	assert_int_equal(request->out.len, 0);
	management_request_finish(request);
	assert_int_equal(answers, 0);
}

static int free_answer(void **state)
{
	(void)state;
	buf_done(&answer);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_form_has_its_frame),
		cmocka_unit_test(test_the_one_item_of_an_object_is_the_answer),
		cmocka_unit_test(
			test_an_item_that_was_not_written_makes_no_line),
		cmocka_unit_test(test_arrays_of_relays_are_joined),
		cmocka_unit_test(test_arrays_of_relays_become_lines),
		cmocka_unit_test(
			test_a_relays_broken_array_does_not_spoil_the_answer),
		cmocka_unit_test(test_an_object_is_added_only_if_it_is_one),
		cmocka_unit_test(test_a_filter_lets_one_call_id_through),
		cmocka_unit_test(test_without_a_filter_every_call_id_is_wanted),
		cmocka_unit_test(
			test_an_answer_for_a_client_that_has_gone_leads_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, free_answer);
}
