#include "base/cleanup.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/ctl.h"
#include "test.h"
#include "world.h"

static void test_certificates_are_made_shown_and_revoked(void **state)
{
	struct world *w = *state;
	char *f = w->folder;
	char file[128];
	struct stat st;

	assert_int_equal(RUN(w, ctl_certs, "init", "--folder", f,
			     "--organization", "Phones"),
			 CTL_OK);
	assert_int_equal(
		RUN(w, ctl_certs, "--folder", f, "relay", "--days", "10"),
		CTL_OK);
	(void)snprintf(file, sizeof(file), "%s/relay.crt", f);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(RUN(w, ctl_certs, "show", "--folder", f), CTL_OK);
	assert_non_null(strstr(w->text, "O=Phones, CN=relay"));
	assert_int_equal(RUN(w, ctl_certs, "revoke", file, "--folder", f),
			 CTL_OK);
	assert_int_equal(RUN(w, ctl_certs, "renew-crl", "--folder", f), CTL_OK);
	assert_int_equal(RUN(w, ctl_certs, "show", "--folder", f), CTL_OK);
	assert_non_null(strstr(w->text, "PROBLEM: it is revoked"));
	assert_int_equal(RUN(w, ctl_certs, "show", "--json", "--folder", f),
			 CTL_OK);
	assert_int_equal(w->text[0], '{');
}

static void test_what_is_there_is_kept_without_force(void **state)
{
	struct world *w = *state;
	char *f = w->folder;

	assert_int_equal(RUN(w, ctl_certs, "relay", "--folder", f), CTL_FAILED);
	assert_non_null(strstr(w->text, "mediaproxy certs init"));
	assert_int_equal(RUN(w, ctl_certs, "init", "--folder", f), CTL_OK);
	assert_int_equal(RUN(w, ctl_certs, "init", "--folder", f), CTL_FAILED);
	assert_int_equal(RUN(w, ctl_certs, "relay", "--folder", f), CTL_OK);
	assert_int_equal(RUN(w, ctl_certs, "relay", "--folder", f), CTL_FAILED);
	assert_non_null(strstr(w->text, "--force"));
	assert_int_equal(RUN(w, ctl_certs, "relay", "--folder", f, "--force"),
			 CTL_OK);
}

static void test_wrong_words_are_wrong_usage(void **state)
{
	struct world *w = *state;

	assert_int_equal(RUN(w, ctl_certs, "--folder"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_certs, "paint"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_certs, "revoke"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_certs, "init", "relay"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_certs, "init", "--days", "0"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_call, "--seconds", "1.5"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_call, "--ip", "localhost"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_bench, "--calls", "5"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_bench, "signalling", "--pid", "1,,2"),
			 CTL_USAGE);
	assert_int_equal(RUN(w, ctl_summary, "now"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_relay, "--json"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_relay, "tc"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_relay, "forwarding", "ebpf"), CTL_USAGE);
	assert_non_null(strstr(w->text, "auto, xdp, tc and userspace"));
	assert_int_equal(RUN(w, ctl_relay, "forwarding", "tc", "xdp"),
			 CTL_USAGE);
	assert_int_equal(RUN(w, ctl_explain, "--json"), CTL_USAGE);
	assert_non_null(strstr(w->text, "call-id is needed"));
	assert_int_equal(RUN(w, ctl_explain, ""), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_explain, "a", "b"), CTL_USAGE);
	assert_int_equal(RUN(w, ctl_sessions, "--nothing"), CTL_USAGE);
	assert_non_null(strstr(w->text, "mediaproxy sessions --help"));
}

static void test_every_command_has_help_with_examples(void **state)
{
	int (*const commands[])(int, char **) = {
		ctl_certs,   ctl_call,       ctl_bench,
		ctl_summary, ctl_sessions,   ctl_relay,
		ctl_history, ctl_accounting, ctl_explain};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		assert_int_equal(RUN(w, commands[i], "--help"), CTL_OK);
		assert_non_null(strstr(w->text, "Usage: mediaproxy"));
		assert_non_null(strstr(w->text, "Examples:"));
	}
}

static void answer_as_dispatcher(struct http_request *request, void *arg)
{
	(void)arg;
	if (strcmp(http_path(request), "/api/v1/summary") == 0)
		http_answer(request, 200, "application/json",
			    SPAN("{\"relays\": [], \"sessions\": 0}"));
	else
		http_answer(request, 404, "application/json",
			    SPAN("{\"error\": \"no such thing\"}"));
}

/* What was asked, and from which question on it is done. */
struct forwarder {
	struct http_server *server;
	char body[64];
	unsigned asked, done_at;
};

static void answer_as_forwarder(struct http_request *request, void *arg)
{
	struct forwarder *f = arg;
	struct span body = http_body(request);
	char text[128];

	assert_string_equal(http_path(request), "/api/v1/forwarding");
	f->asked++;
	if (strcmp(http_method(request), "PUT") == 0)
		(void)snprintf(f->body, sizeof(f->body), "%.*s",
			       SPAN_ARG(body));
	if (f->asked > 1000) {
		http_answer(request, 503, "application/json",
			    SPAN("{\"error\": \"no permission\"}"));
		return;
	}
	(void)snprintf(text, sizeof(text),
		       "{\"forwarding\": \"tc\", \"applied\": %s}",
		       f->asked >= f->done_at ? "true" : "false");
	http_answer(request, 200, "application/json", span_of(text));
}

static void answer_as_relay(struct http_request *request, void *arg)
{
	(void)arg;
	if (strcmp(http_path(request), "/api/v1/summary") == 0)
		http_answer(request, 200, "application/json",
			    SPAN("{\"ip\": \"10.0.0.1\"}"));
	else
		http_answer(request, 200, "application/json",
			    SPAN("[{\"call_id\": \"one\"}, "
				 "{\"call_id\": \"two\"}]"));
}

static void test_the_relay_is_asked_where_no_dispatcher_runs(void **state)
{
	struct world *w = *state;

	serve(w, &w->relay, "media-relay.ctl", answer_as_relay, NULL);
	assert_int_equal(RUN(w, ctl_summary, "--runtime-dir", w->folder),
			 CTL_OK);
	assert_non_null(strstr(w->text, "Relay\n  ip  10.0.0.1\n"));
	serve(w, &w->dispatcher, "media-dispatcher.ctl", answer_as_dispatcher,
	      NULL);
	assert_int_equal(RUN(w, ctl_summary, "--runtime-dir", w->folder),
			 CTL_OK);
	assert_non_null(strstr(w->text, "Dispatcher\n"));
}

static void test_what_forwards_is_asked_of_the_relay_alone(void **state)
{
	struct world *w = *state;
	struct forwarder f = {.done_at = 9};

	serve(w, &w->dispatcher, "media-dispatcher.ctl", answer_as_dispatcher,
	      NULL);
	assert_int_equal(
		RUN(w, ctl_relay, "forwarding", "--runtime-dir", w->folder),
		CTL_FAILED);
	assert_non_null(strstr(w->text, "media-relay.ctl"));
	serve(w, &f.server, "media-relay.ctl", answer_as_forwarder, &f);
	assert_int_equal(
		RUN(w, ctl_relay, "forwarding", "--runtime-dir", w->folder),
		CTL_OK);
	assert_non_null(strstr(w->text, "forwarding = tc"));
	assert_int_equal(f.asked, 1); /* nothing to wait for */
	assert_string_equal(f.body, "");
	http_server_free(f.server);
}

static void test_a_change_of_what_forwards_is_waited_for(void **state)
{
	struct world *w = *state;
	struct forwarder f = {.done_at = 3};

	serve(w, &f.server, "media-relay.ctl", answer_as_forwarder, &f);
	assert_int_equal(RUN(w, ctl_relay, "--runtime-dir", w->folder, "--json",
			     "forwarding", "tc"),
			 CTL_OK);
	assert_non_null(strstr(w->text, "\"applied\": true"));
	assert_int_equal(f.asked, 3);
	assert_string_equal(f.body, "{\"forwarding\": \"tc\"}");
	f = (struct forwarder){.server = f.server, .done_at = UINT_MAX};
	assert_int_equal(RUN(w, ctl_relay, "forwarding", "auto",
			     "--runtime-dir", w->folder),
			 CTL_FAILED);
	assert_non_null(strstr(w->text, "has not done it yet"));
	f.asked = 1000;
	assert_int_equal(RUN(w, ctl_relay, "forwarding", "xdp", "--runtime-dir",
			     w->folder),
			 CTL_FAILED);
	assert_non_null(strstr(w->text, "503"));
	assert_non_null(strstr(w->text, "no permission"));
	http_server_free(f.server);
}

static void test_sessions_can_be_chosen_also_as_json(void **state)
{
	struct world *w = *state;

	serve(w, &w->relay, "media-relay.ctl", answer_as_relay, NULL);
	assert_int_equal(RUN(w, ctl_sessions, "--runtime-dir", w->folder,
			     "--json", "tw"),
			 CTL_OK);
	assert_non_null(strstr(w->text, "\"two\""));
	assert_null(strstr(w->text, "\"one\""));
}

static void test_a_refusal_is_shown_with_its_reason(void **state)
{
	struct world *w = *state;

	serve(w, &w->dispatcher, "media-dispatcher.ctl", answer_as_dispatcher,
	      NULL);
	assert_int_equal(RUN(w, ctl_sessions, "--runtime-dir", w->folder),
			 CTL_FAILED);
	assert_non_null(strstr(w->text, "404"));
	assert_non_null(strstr(w->text, "no such thing"));
}

static void test_nobody_there_is_said_with_the_path(void **state)
{
	struct world *w = *state;

	assert_int_equal(RUN(w, ctl_summary, "--runtime-dir", w->folder),
			 CTL_FAILED);
	assert_non_null(strstr(w->text, w->folder));
	assert_int_equal(RUN(w, ctl_call, "--runtime-dir", w->folder),
			 CTL_FAILED);
	assert_non_null(
		strstr(w->text, "dispatcher.sock: is the dispatcher running?"));
	assert_int_equal(
		RUN(w, ctl_bench, "signalling", "--runtime-dir", w->folder),
		CTL_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_certificates_are_made_shown_and_revoked),
		CASE(test_what_is_there_is_kept_without_force),
		CASE(test_wrong_words_are_wrong_usage),
		CASE(test_every_command_has_help_with_examples),
		CASE(test_the_relay_is_asked_where_no_dispatcher_runs),
		CASE(test_what_forwards_is_asked_of_the_relay_alone),
		CASE(test_a_change_of_what_forwards_is_waited_for),
		CASE(test_sessions_can_be_chosen_also_as_json),
		CASE(test_a_refusal_is_shown_with_its_reason),
		CASE(test_nobody_there_is_said_with_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
