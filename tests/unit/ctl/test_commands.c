#include "base/cleanup.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "test.h"

/* Subcommands as they are called: arguments in, exit status and output out. */
struct world {
	char folder[64], output[128];
	char text[8192]; /* what the last command printed, both ways */

	/* The daemons that are asked; commands then run in a thread. */
	struct loop *loop;
	struct http_server *dispatcher, *relay;
	struct timer *guard;
	bool hung;
	int done[2];
	int argc, status;
	char **argv;
	int (*command)(int argc, char **argv);
};

static void guard_fired(void *arg)
{
	struct world *w = arg;

	w->hung = true;
	loop_stop(w->loop);
}

static int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->folder, "/tmp/test-commands-XXXXXX");
	if (!mkdtemp(w->folder) || loop_new(&w->loop) < 0 ||
	    timer_new(&w->guard, w->loop, guard_fired, w) < 0 ||
	    pipe(w->done) < 0)
		return -1;
	timer_start(w->guard, 20000000);
	(void)snprintf(w->output, sizeof(w->output), "%s/output", w->folder);
	*state = w;
	return 0;
}

static int end_world(void **state)
{
	struct world *w = *state;
	char command[128];

	http_server_free(w->dispatcher);
	http_server_free(w->relay);
	timer_free(w->guard);
	loop_free(w->loop);
	close(w->done[0]);
	close(w->done[1]);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", w->folder);
	free(w);
	return system(command);
}

static void read_output(struct world *w)
{
	FILE *file = fopen(w->output, "r");
	size_t len;

	assert_non_null(file);
	len = fread(w->text, 1, sizeof(w->text) - 1, file);
	w->text[len] = '\0';
	fclose(file);
}

/* Run a command with its output in a file. */
static void run_here(struct world *w)
{
	int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
	int file = open(w->output, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	fflush(NULL);
	dup2(file, STDOUT_FILENO);
	dup2(file, STDERR_FILENO);
	optind = 1;
	w->status = w->command(w->argc, w->argv);
	fflush(NULL);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	close(file);
}

static void *run_in_thread(void *arg)
{
	struct world *w = arg;

	run_here(w);
	(void)!write(w->done[1], "x", 1);
	return NULL;
}

static void command_is_done(int fd, void *arg)
{
	struct world *w = arg;
	char byte;

	(void)!read(fd, &byte, 1);
	loop_stop(w->loop);
}

/* The loop serves while the command runs. */
static int run(struct world *w, int (*command)(int, char **), char **argv)
{
	struct watch *watch;
	pthread_t thread;

	w->command = command;
	w->argv = argv;
	for (w->argc = 0; argv[w->argc];)
		w->argc++;
	assert_int_equal(
		watch_new(&watch, w->loop, w->done[0], command_is_done, w), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_in_thread, w), 0);
	assert_int_equal(loop_run(w->loop), 0);
	pthread_join(thread, NULL);
	watch_free(watch);
	assert_false(w->hung);
	read_output(w);
	return w->status;
}

#define RUN(w, command, ...)                                                   \
	run(w, command, (char *[]){"command", __VA_ARGS__, NULL})

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
	assert_int_equal(RUN(w, ctl_sessions, "--nothing"), CTL_USAGE);
	assert_non_null(strstr(w->text, "mediaproxy sessions --help"));
}

static void test_every_command_has_help_with_examples(void **state)
{
	int (*const commands[])(int, char **) = {ctl_certs,    ctl_call,
						 ctl_bench,    ctl_summary,
						 ctl_sessions, ctl_relay};
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

static void serve(struct world *w, struct http_server **ret, const char *name,
		  http_request_h *handler)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", w->folder, name);
	assert_int_equal(http_server_new_unix(ret, w->loop, path, 0600,
					      (gid_t)-1, handler, w),
			 0);
}

static void test_the_relay_is_asked_where_no_dispatcher_runs(void **state)
{
	struct world *w = *state;

	serve(w, &w->relay, "media-relay.ctl", answer_as_relay);
	assert_int_equal(RUN(w, ctl_summary, "--runtime-dir", w->folder),
			 CTL_OK);
	assert_non_null(strstr(w->text, "Relay\n  ip  10.0.0.1\n"));
	serve(w, &w->dispatcher, "media-dispatcher.ctl", answer_as_dispatcher);
	assert_int_equal(RUN(w, ctl_summary, "--runtime-dir", w->folder),
			 CTL_OK);
	assert_non_null(strstr(w->text, "Dispatcher\n"));
}

static void serve_forwarder(struct world *w, struct forwarder *f)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/media-relay.ctl", w->folder);
	assert_int_equal(http_server_new_unix(&f->server, w->loop, path, 0600,
					      (gid_t)-1, answer_as_forwarder,
					      f),
			 0);
}

static void test_what_forwards_is_asked_of_the_relay_alone(void **state)
{
	struct world *w = *state;
	struct forwarder f = {.done_at = 9};

	serve(w, &w->dispatcher, "media-dispatcher.ctl", answer_as_dispatcher);
	assert_int_equal(
		RUN(w, ctl_relay, "forwarding", "--runtime-dir", w->folder),
		CTL_FAILED);
	assert_non_null(strstr(w->text, "media-relay.ctl"));
	serve_forwarder(w, &f);
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

	serve_forwarder(w, &f);
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

	serve(w, &w->relay, "media-relay.ctl", answer_as_relay);
	assert_int_equal(RUN(w, ctl_sessions, "--runtime-dir", w->folder,
			     "--json", "tw"),
			 CTL_OK);
	assert_non_null(strstr(w->text, "\"two\""));
	assert_null(strstr(w->text, "\"one\""));
}

static void test_a_refusal_is_shown_with_its_reason(void **state)
{
	struct world *w = *state;

	serve(w, &w->dispatcher, "media-dispatcher.ctl", answer_as_dispatcher);
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)

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
