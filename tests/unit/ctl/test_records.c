#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "test.h"
#include "world.h"

/* A dispatcher with records: places MAX_SEQ to 1, each set aside by two
 * backends, on pages of PAGE places at most. */
#define MAX_SEQ 7
#define PAGE 3
struct keeper {
	struct http_server *server;
	unsigned asked;
	char last[256], body[128]; /* the last path with its query; of PUT */
	bool refuses;
};

static void keep_question(struct keeper *k, struct http_request *request)
{
	static const char *const names[] = {"call_id", "backend", "before",
					    "limit"};
	struct span body = http_body(request);

	k->asked++;
	(void)snprintf(k->last, sizeof(k->last), "%s", http_path(request));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value = http_parameter(request, names[i]);
		size_t len = strlen(k->last);

		if (value)
			(void)snprintf(k->last + len, sizeof(k->last) - len,
				       " %s=%s", names[i], value);
	}
	if (strcmp(http_method(request), "PUT") == 0)
		(void)snprintf(k->body, sizeof(k->body), "%.*s",
			       SPAN_ARG(body));
}

static void add_rows(struct buf *out, struct http_request *request)
{
	const char *before = http_parameter(request, "before");
	const char *limit = http_parameter(request, "limit");
	bool aside = strstr(http_path(request), "set-aside") != NULL;
	int seq = before ? atoi(before) - 1 : MAX_SEQ;
	int left = atoi(limit) < PAGE ? atoi(limit) : PAGE;
	const char *separator = "";

	for (; seq > 0 && left > 0; seq--, left--)
		for (int twice = 0; twice < 1 + aside; twice++) {
			buf_printf(out,
				   "%s{\"seq\": %d, \"backend\": \"b%d\","
				   " \"record\": {\"call_id\": \"c%d\"}}",
				   separator, seq, twice, seq);
			separator = ", ";
		}
}

static void answer_as_keeper(struct http_request *request, void *arg)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct keeper *k = arg;
	const char *path = http_path(request);
	const char *call_id = http_parameter(request, "call_id");

	keep_question(k, request);
	if (k->refuses) {
		http_answer(request, 503, "application/json",
			    SPAN("{\"error\": \"disk I/O error\"}"));
		return;
	}
	if (strcmp(path, "/api/v1/accounting") == 0) {
		buf_printf(&out, "{\"accounting\": {\"stored\": 3}}");
	} else if (strcmp(path, "/api/v1/accounting/retry") == 0) {
		buf_printf(&out, "{\"retried\": %d}",
			   strstr(k->body, "none") ? 0 : 2);
	} else {
		buf_char(&out, '[');
		if (!call_id || call_id[0] == 'c')
			add_rows(&out, request);
		buf_char(&out, ']');
	}
	http_answer(request, 200, "application/json", buf_span(&out));
}

static void serve_keeper(struct world *w, struct keeper *k)
{
	*k = (struct keeper){0};
	serve(w, &k->server, "media-dispatcher.ctl", answer_as_keeper, k);
}

static int count_of(const struct world *w, const char *word)
{
	int found = 0;

	for (const char *at = w->text; (at = strstr(at, word)); at++)
		found++;
	return found;
}

#define ASK(w, command, ...)                                                   \
	RUN(w, command, "--runtime-dir", (w)->folder, ##__VA_ARGS__)

static void test_the_history_is_read_page_by_page(void **state)
{
	struct world *w = *state;
	struct keeper k;

	serve_keeper(w, &k);
	assert_int_equal(ASK(w, ctl_history), CTL_OK);
	assert_int_equal(count_of(w, "removed"), MAX_SEQ);
	assert_non_null(strstr(w->text, "\n7 records\n"));
	assert_int_equal(k.asked, 4); /* the last page is empty */
	assert_int_equal(ASK(w, ctl_history, "--limit", "4"), CTL_OK);
	assert_int_equal(count_of(w, "removed"), 4);
	assert_non_null(strstr(w->text, "4 records; older ones: --before 4"));
	assert_string_equal(k.last, "/api/v1/history before=5 limit=1");
	assert_int_equal(ASK(w, ctl_history, "--before", "4", "--json"),
			 CTL_OK);
	assert_int_equal(count_of(w, "\"seq\""), 3);
	assert_int_equal(w->text[0], '[');
	http_server_free(k.server);
}

static void test_a_call_id_is_asked_for_as_it_is(void **state)
{
	struct world *w = *state;
	struct keeper k;

	serve_keeper(w, &k);
	assert_int_equal(ASK(w, ctl_history, "--limit", "1", "c@b;?&=%+ 1"),
			 CTL_OK);
	assert_string_equal(k.last,
			    "/api/v1/history call_id=c@b;?&=%+ 1 limit=1");
	assert_non_null(strstr(w->text, "Callee"));
	http_server_free(k.server);
}

static void test_no_record_is_said_and_is_no_failure(void **state)
{
	struct world *w = *state;
	struct keeper k;

	serve_keeper(w, &k);
	assert_int_equal(ASK(w, ctl_history, "x\x1b[2J"), CTL_OK);
	assert_string_equal(w->text, "No record of a call with call-id "
				     "x\\x1b[2J is kept.\n");
	assert_int_equal(ASK(w, ctl_history, "--before", "1"), CTL_OK);
	assert_string_equal(w->text, "No record of a call before 1 is kept.\n");
	assert_int_equal(ASK(w, ctl_history, "x", "--json"), CTL_OK);
	assert_string_equal(w->text, "[]\n");
	http_server_free(k.server);
}

static void test_accounting_is_shown_and_what_is_set_aside(void **state)
{
	struct world *w = *state;
	struct keeper k;

	serve_keeper(w, &k);
	assert_int_equal(ASK(w, ctl_accounting), CTL_OK);
	assert_non_null(strstr(w->text, "3 stored"));
	assert_int_equal(ASK(w, ctl_accounting, "--json"), CTL_OK);
	assert_non_null(strstr(w->text, "\"stored\": 3"));
	assert_int_equal(ASK(w, ctl_accounting, "list", "--limit", "2", "b&1"),
			 CTL_OK);
	assert_string_equal(k.last,
			    "/api/v1/accounting/set-aside backend=b&1 limit=2");
	assert_non_null(strstr(w->text, "4 set aside; older ones: --before 6"));
	assert_int_equal(ASK(w, ctl_accounting, "list", "--before", "1"),
			 CTL_OK);
	assert_string_equal(w->text, "Nothing is set aside.\n");
	http_server_free(k.server);
}

static void test_a_retry_says_how_many(void **state)
{
	struct world *w = *state;
	struct keeper k;

	serve_keeper(w, &k);
	assert_int_equal(ASK(w, ctl_accounting, "retry"), CTL_OK);
	assert_string_equal(k.body, "{}");
	assert_string_equal(w->text, "2 records are tried again.\n");
	assert_int_equal(ASK(w, ctl_accounting, "retry", "radius", "--record",
			     "r-1", "--json"),
			 CTL_OK);
	assert_string_equal(k.body, "{\"backend\": \"radius\", "
				    "\"record_id\": \"r-1\"}");
	assert_non_null(strstr(w->text, "\"retried\": 2"));
	assert_int_equal(ASK(w, ctl_accounting, "retry", "none"), CTL_OK);
	assert_non_null(strstr(w->text, "Nothing is set aside"));
	http_server_free(k.server);
}

static void test_an_export_has_every_record_once_on_a_line(void **state)
{
	struct world *w = *state;
	struct keeper k;

	serve_keeper(w, &k);
	assert_int_equal(ASK(w, ctl_accounting, "export", "radius"), CTL_OK);
	assert_string_equal(w->text,
			    "{\"call_id\": \"c7\"}\n{\"call_id\": \"c6\"}\n"
			    "{\"call_id\": \"c5\"}\n{\"call_id\": \"c4\"}\n"
			    "{\"call_id\": \"c3\"}\n{\"call_id\": \"c2\"}\n"
			    "{\"call_id\": \"c1\"}\n");
	assert_non_null(strstr(k.last, "set-aside backend=radius before=1 "));
	assert_int_equal(ASK(w, ctl_accounting, "export", "--all"), CTL_OK);
	assert_int_equal(count_of(w, "\n"), MAX_SEQ);
	assert_non_null(strstr(k.last, "/api/v1/history before=1 limit=1000"));
	http_server_free(k.server);
}

static void no_answer(struct http_request *request, void *arg)
{
	(void)arg;
	http_answer(request, 500, "text/plain", SPAN(""));
}

static void test_records_are_asked_of_the_dispatcher_alone(void **state)
{
	struct world *w = *state;
	struct keeper k;

	serve(w, &w->relay, "media-relay.ctl", no_answer, NULL);
	assert_int_equal(ASK(w, ctl_history), CTL_FAILED);
	assert_non_null(strstr(
		w->text, "media-dispatcher.ctl: is the dispatcher running?"));
	serve_keeper(w, &k);
	k.refuses = true;
	assert_int_equal(ASK(w, ctl_accounting, "export"), CTL_FAILED);
	assert_non_null(strstr(w->text, "503"));
	assert_non_null(strstr(w->text, "disk I/O error"));
	http_server_free(k.server);
}

/* A daemon whose pages lead nowhere. */
static void answer_in_circles(struct http_request *request, void *arg)
{
	(void)arg;
	http_answer(request, 200, "application/json",
		    SPAN("[{\"seq\": 5, \"record\": {}}]"));
}

static void test_pages_that_lead_nowhere_are_not_followed(void **state)
{
	struct world *w = *state;

	serve(w, &w->dispatcher, "media-dispatcher.ctl", answer_in_circles,
	      NULL);
	assert_int_equal(ASK(w, ctl_history), CTL_FAILED);
	assert_non_null(strstr(w->text, "no page of records"));
}

static void test_wrong_words_are_wrong_usage(void **state)
{
	struct world *w = *state;

	assert_int_equal(RUN(w, ctl_history, "--limit", "0"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_history, "--before"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_history, "--all"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_history, ""), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_history, "one", "two"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_accounting, "delete"), CTL_USAGE);
	assert_non_null(strstr(w->text, "list, retry and export"));
	assert_int_equal(RUN(w, ctl_accounting, "--all"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_accounting, "list", "--record", "r"),
			 CTL_USAGE);
	assert_non_null(strstr(w->text, "--record is an option of \"retry\""));
	assert_int_equal(RUN(w, ctl_accounting, "retry", ""), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_accounting, "export", "radius", "--all"),
			 CTL_USAGE);
	assert_int_equal(RUN(w, ctl_accounting, "list", "a", "b"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_accounting, "list", "--limit", "x"),
			 CTL_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_the_history_is_read_page_by_page),
		CASE(test_a_call_id_is_asked_for_as_it_is),
		CASE(test_no_record_is_said_and_is_no_failure),
		CASE(test_accounting_is_shown_and_what_is_set_aside),
		CASE(test_a_retry_says_how_many),
		CASE(test_an_export_has_every_record_once_on_a_line),
		CASE(test_records_are_asked_of_the_dispatcher_alone),
		CASE(test_pages_that_lead_nowhere_are_not_followed),
		CASE(test_wrong_words_are_wrong_usage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
