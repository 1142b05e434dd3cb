#include "dispatcher/dialog_end.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/unix_file.h"
#include "test.h"

#define LIMIT_US (20 * US_PER_S)
#define SOON_US (100 * US_PER_MS) /* a timeout that a test waits for */

#define DID "\"method\": \"dlg_end_dlg\", \"params\": [\"c78.60e75581\"]}"
#define CALL_ID "\"method\": \"dlg_end_dlg\", \"params\": [\"c1@x\"]}"
#define KAMAILIO "\"method\": \"dlg.end_dlg\", \"params\": [3078, 1789]}"
#define TEXT ":dlg_end_dlg:\n3078\n1789\n\n"

#define OK "{\"jsonrpc\": \"2.0\", \"result\": \"OK\", \"id\": \"%s\"}"
#define NOT_FOUND                                                              \
	"{\"error\": {\"code\": 404, \"message\": \"Dialog not found\"}, "     \
	"\"id\": \"%s\"}"

/* A dispatcher's dialog_end, and the SIP proxy's socket, which a test holds. */
struct scene {
	struct loop *loop;
	struct conf_opensips conf;
	struct dialog_end_config config;
	struct dialog_end *ends;
	struct timer *limit;
	struct watch *watch;
	int proxy; /* -1: it is not there */
	char folder[64], path[96];
	char heard[65536]; /* the last request */
	char id[9];        /* of it; "": a text */
	unsigned count;    /* of requests */
	bool answers_all;
};

static void limit_reached(void *arg)
{
	(void)arg;
	fail_msg("%s", "what was expected did not come");
}

static void say(struct scene *s, const char *format)
{
	struct sockaddr_un to;
	char text[512];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), format, s->id);
#pragma GCC diagnostic pop
	assert_int_equal(unix_address(s->path, &to), 0);
	assert_int_equal(sendto(s->proxy, text, strlen(text), 0,
				(struct sockaddr *)&to, sizeof(to)),
			 strlen(text));
}

static void request_came(int fd, void *arg)
{
	struct scene *s = arg;
	ssize_t len = recv(fd, s->heard, sizeof(s->heard) - 1, MSG_DONTWAIT);
	const char *id;

	if (len < 0)
		return;
	s->heard[len] = '\0';
	id = strstr(s->heard, "\"id\": \"");
	snprintf(s->id, sizeof(s->id), "%.8s", id ? id + 7 : "");
	s->count++;
	if (s->answers_all)
		say(s, OK);
	else
		loop_stop(s->loop);
}

static void listen_again(struct scene *s)
{
	assert_int_equal(
		watch_new(&s->watch, s->loop, s->proxy, request_came, s), 0);
}

static void proxy_starts(struct scene *s)
{
	struct sockaddr_un at;

	s->proxy = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_true(s->proxy >= 0);
	assert_int_equal(unix_address(s->conf.socket_path, &at), 0);
	assert_int_equal(bind(s->proxy, (struct sockaddr *)&at, sizeof(at)), 0);
	listen_again(s);
}

static void proxy_stops(struct scene *s)
{
	s->watch = watch_free(s->watch);
	if (s->proxy >= 0)
		close(s->proxy);
	s->proxy = -1;
}

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	log_set_level(LOG_LEVEL_ERROR);
	strcpy(s->folder, "/tmp/mediaproxy-test.XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->path, sizeof(s->path), "%s/ours", s->folder);
	snprintf(s->conf.socket_path, sizeof(s->conf.socket_path), "%s/proxy",
		 s->folder);
	assert_int_equal(loop_new(&s->loop), 0);
	assert_int_equal(timer_new(&s->limit, s->loop, limit_reached, s), 0);
	timer_start(s->limit, LIMIT_US);
	s->config = (struct dialog_end_config){
		.proxy = &s->conf,
		.path = s->path,
		.mode = 0600,
		.group = (gid_t)-1,
		.first_number = 0xfffffffe,
		.answer_timeout_us = LIMIT_US,
	};
	proxy_starts(s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	dialog_end_free(s->ends);
	proxy_stops(s);
	timer_free(s->limit);
	loop_free(s->loop);
	unlink(s->conf.socket_path);
	assert_int_equal(rmdir(s->folder), 0);
	free(s);
	return 0;
}

static void start(struct scene *s, enum conf_mi_format format)
{
	s->conf.mi_format = format;
	assert_int_equal(dialog_end_new(&s->ends, s->loop, &s->config), 0);
}

static void end(struct scene *s, const char *dialog_id)
{
	const struct dialog_end_call call = {
		.call_id = SPAN("c1@x"),
		.dialog_id = span_of(dialog_id),
	};

	dialog_end(s->ends, &call);
}

static uint64_t count_of(const struct scene *s, enum dialog_outcome outcome)
{
	return dialog_end_counts(s->ends).outcomes[outcome];
}

/* Run until the proxy has the next request, which is this one. */
static void hear(struct scene *s, const char *expected)
{
	unsigned before = s->count;
	const char *at;

	while (s->count == before)
		assert_int_equal(loop_run(s->loop), 0);
	at = strstr(s->heard, expected);
	if (!at || strlen(at) != strlen(expected))
		fail_msg("expected %s, heard: %s", expected, s->heard);
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

/* Run until nothing is open any more. */
static void settle(struct scene *s)
{
	struct timer *poll;

	assert_int_equal(timer_new(&poll, s->loop, stop_loop, s->loop), 0);
	timer_start_every(poll, US_PER_MS);
	while (dialog_end_counts(s->ends).waiting > 0)
		assert_int_equal(loop_run(s->loop), 0);
	timer_free(poll);
}

/* Everything came to this. */
static void expect(struct scene *s, enum dialog_outcome outcome, unsigned times)
{
	settle(s);
	assert_int_equal(count_of(s, outcome), times);
}

static void test_a_decimal_is_ended_by_its_did(void **state)
{
	struct scene *s = *state;

	start(s, CONF_MI_AUTO);
	end(s, "9329077222918");
	hear(s, DID);
	assert_string_equal(s->id, "fffffffe");
	assert_int_equal(dialog_end_counts(s->ends).waiting, 1);
	say(s, OK);
	expect(s, DIALOG_OUTCOME_ENDED, 1);
	assert_int_equal(dialog_end_counts(s->ends).requested, 1);
}

static void test_what_is_not_found_by_its_did_is_ended_by_call_id(void **state)
{
	struct scene *s = *state;

	start(s, CONF_MI_AUTO);
	end(s, "9329077222918");
	hear(s, DID);
	say(s, NOT_FOUND);
	hear(s, CALL_ID);
	say(s, OK);
	expect(s, DIALOG_OUTCOME_ENDED, 1);
	/* That is remembered, until it fails. */
	end(s, "9329077222918");
	hear(s, CALL_ID);
	say(s, NOT_FOUND);
	hear(s, DID);
	say(s, NOT_FOUND);
	expect(s, DIALOG_OUTCOME_NOT_FOUND, 1);
	end(s, "9329077222918");
	hear(s, DID);
	say(s, OK);
	expect(s, DIALOG_OUTCOME_ENDED, 2);
}

static void test_a_shared_call_id_ends_nothing(void **state)
{
	const struct dialog_end_call call = {
		.call_id = SPAN("c1@x"),
		.dialog_id = SPAN("9329077222918"),
		.call_id_is_shared = true,
	};
	struct scene *s = *state;

	start(s, CONF_MI_AUTO);
	dialog_end(s->ends, &call);
	hear(s, DID);
	say(s, NOT_FOUND);
	expect(s, DIALOG_OUTCOME_NOT_FOUND, 1);
	assert_int_equal(s->count, 1);
}

static void test_a_pair_is_asked_of_kamailio_first(void **state)
{
	struct scene *s = *state;

	start(s, CONF_MI_AUTO);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, OK);
	expect(s, DIALOG_OUTCOME_ENDED, 1);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, NOT_FOUND);
	expect(s, DIALOG_OUTCOME_NOT_FOUND, 1);
	assert_int_equal(s->count, 2);
}

static void test_a_pair_is_asked_as_text_when_json_is_not_known(void **state)
{
	struct scene *s = *state;

	start(s, CONF_MI_AUTO);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, "500 command not available\n");
	hear(s, TEXT);
	say(s, "200 OK\n");
	expect(s, DIALOG_OUTCOME_ENDED, 1);
	/* From now on text comes first. */
	end(s, "3078:1789");
	hear(s, TEXT);
	say(s, "404 Requested Dialog not found\n");
	expect(s, DIALOG_OUTCOME_NOT_FOUND, 1);
	end(s, "3078:1789");
	hear(s, TEXT);
	say(s, "500 Operation failed\n");
	expect(s, DIALOG_OUTCOME_REFUSED, 1);
}

static void test_a_pair_is_asked_as_text_when_json_gets_no_answer(void **state)
{
	struct scene *s = *state;

	s->config.answer_timeout_us = SOON_US;
	start(s, CONF_MI_AUTO);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	hear(s, TEXT);
	say(s, "200 OK\n");
	expect(s, DIALOG_OUTCOME_ENDED, 1);
}

static void test_a_proxy_that_was_exchanged_is_found_again(void **state)
{
	struct scene *s = *state;

	s->config.answer_timeout_us = SOON_US;
	start(s, CONF_MI_AUTO);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, "what?");
	hear(s, TEXT);
	say(s, "200 OK");
	expect(s, DIALOG_OUTCOME_ENDED, 1);
	/* Kamailio in its place says nothing to a text. */
	end(s, "3078:1789");
	hear(s, TEXT);
	hear(s, KAMAILIO);
	say(s, OK);
	expect(s, DIALOG_OUTCOME_ENDED, 2);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, OK);
	expect(s, DIALOG_OUTCOME_ENDED, 3);
	/* And back. */
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, "400 Bad\n");
	hear(s, TEXT);
	say(s, "200 OK");
	expect(s, DIALOG_OUTCOME_ENDED, 4);
}

static void test_a_format_that_is_set_is_the_only_one(void **state)
{
	struct scene *s = *state;

	start(s, CONF_MI_KAMAILIO);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, "200 OK");
	expect(s, DIALOG_OUTCOME_GARBAGE, 1);
	s->ends = dialog_end_free(s->ends);
	start(s, CONF_MI_TEXT);
	end(s, "3078:1789");
	hear(s, TEXT);
	say(s, "{\"error\": {\"code\": -32700}, \"id\": null}");
	expect(s, DIALOG_OUTCOME_GARBAGE, 1);
	s->ends = dialog_end_free(s->ends);
	start(s, CONF_MI_OPENSIPS);
	end(s, "2172:408256006");
	hear(s, DID);
	say(s, OK);
	expect(s, DIALOG_OUTCOME_ENDED, 1);
}

static void test_an_error_is_final(void **state)
{
	struct scene *s = *state;

	start(s, CONF_MI_AUTO);
	end(s, "9329077222918");
	hear(s, DID);
	say(s, "{\"error\": {\"code\": 500, \"message\": \"no\"}, "
	       "\"id\": \"%s\"}");
	expect(s, DIALOG_OUTCOME_REFUSED, 1);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, "{\"error\": {\"code\": -32700, \"message\": \"what?\"}, "
	       "\"id\": null}");
	expect(s, DIALOG_OUTCOME_REFUSED, 2);
}

static void test_garbage_ends_nothing_and_harms_nothing(void **state)
{
	struct scene *s = *state;

	s->config.answer_timeout_us = SOON_US;
	start(s, CONF_MI_AUTO);
	end(s, "9329077222918");
	hear(s, DID);
	say(s, "\xff\xfe{");
	expect(s, DIALOG_OUTCOME_GARBAGE, 1);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, "[]");
	hear(s, TEXT);
	expect(s, DIALOG_OUTCOME_GARBAGE, 2);
	end(s, "9329077222918");
	hear(s, DID);
	say(s, OK);
	expect(s, DIALOG_OUTCOME_ENDED, 1);
}

static void test_silence_has_an_end(void **state)
{
	struct scene *s = *state;

	s->config.answer_timeout_us = SOON_US;
	start(s, CONF_MI_AUTO);
	end(s, "9329077222918");
	hear(s, DID);
	expect(s, DIALOG_OUTCOME_SILENT, 1);
	/* Too late. */
	say(s, OK);
	end(s, "9329077222918");
	hear(s, DID);
	expect(s, DIALOG_OUTCOME_SILENT, 2);
	assert_int_equal(count_of(s, DIALOG_OUTCOME_ENDED), 0);
	assert_int_equal(dialog_end_counts(s->ends).late, 1);
}

static void test_an_answer_to_somebody_else_is_dropped(void **state)
{
	struct scene *s = *state;

	start(s, CONF_MI_AUTO);
	end(s, "9329077222918");
	hear(s, DID);
	say(s, "{\"result\": \"OK\", \"id\": \"00000000\"}");
	say(s, "{\"result\": \"OK\", \"id\": 5}");
	say(s, NOT_FOUND);
	hear(s, CALL_ID);
	assert_int_equal(dialog_end_counts(s->ends).late, 2);
	say(s, OK);
	expect(s, DIALOG_OUTCOME_ENDED, 1);
}

static void test_a_proxy_without_a_socket_costs_nothing(void **state)
{
	struct scene *s = *state;

	proxy_stops(s);
	start(s, CONF_MI_AUTO);
	end(s, "9329077222918"); /* nobody has the socket open */
	assert_int_equal(count_of(s, DIALOG_OUTCOME_UNREACHABLE), 1);
	unlink(s->conf.socket_path);
	end(s, "3078:1789");
	assert_int_equal(count_of(s, DIALOG_OUTCOME_UNREACHABLE), 2);
	/* It is back. */
	proxy_starts(s);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, OK);
	expect(s, DIALOG_OUTCOME_ENDED, 1);
}

static void test_what_is_no_dialog_id_is_not_asked_for(void **state)
{
	struct scene *s = *state;

	start(s, CONF_MI_AUTO);
	end(s, "x");
	end(s, "1:2:3");
	end(s, "\"]}");
	assert_int_equal(count_of(s, DIALOG_OUTCOME_INVALID), 3);
	assert_int_equal(dialog_end_counts(s->ends).waiting, 0);
	assert_int_equal(s->count, 0);
}

/* Something of ours fills the proxy's socket, which is not read from. */
static void fill(struct scene *s)
{
	struct sockaddr_un to;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	s->watch = watch_free(s->watch);
	assert_int_equal(unix_address(s->conf.socket_path, &to), 0);
	while (sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1)
		;
	assert_int_equal(errno, EAGAIN);
	close(fd);
}

static void test_a_full_socket_is_tried_again(void **state)
{
	struct scene *s = *state;
	char byte;

	start(s, CONF_MI_AUTO);
	fill(s);
	end(s, "9329077222918");
	end(s, "9329077222918");
	assert_int_equal(dialog_end_counts(s->ends).waiting, 2);
	while (recv(s->proxy, &byte, 1, MSG_DONTWAIT) == 1)
		;
	listen_again(s);
	s->answers_all = true;
	expect(s, DIALOG_OUTCOME_ENDED, 2);
}

static void test_a_socket_that_stays_full_is_given_up(void **state)
{
	struct scene *s = *state;

	s->config.wait_timeout_us = SOON_US;
	start(s, CONF_MI_AUTO);
	fill(s);
	for (int i = 0; i < 100; i++)
		end(s, "9329077222918");
	expect(s, DIALOG_OUTCOME_SILENT, 100);
}

static void
test_ten_thousand_at_once_are_ended_one_after_the_other(void **state)
{
	struct scene *s = *state;

	start(s, CONF_MI_AUTO);
	for (int i = 0; i < DIALOG_END_MAX_OPEN; i++)
		end(s, i % 2 ? "3078:1789" : "9329077222918");
	assert_int_equal(dialog_end_counts(s->ends).waiting,
			 DIALOG_END_MAX_OPEN);
	end(s, "3078:1789");
	assert_int_equal(count_of(s, DIALOG_OUTCOME_NO_ROOM), 1);
	s->answers_all = true;
	expect(s, DIALOG_OUTCOME_ENDED, DIALOG_END_MAX_OPEN);
	assert_int_equal(s->count, DIALOG_END_MAX_OPEN);
}

static void test_a_proxy_that_knows_text_alone_ends_many_too(void **state)
{
	struct scene *s = *state;

	start(s, CONF_MI_AUTO);
	for (int i = 0; i < 100; i++)
		end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, "500 what?");
	for (int i = 0; i < 100; i++) {
		hear(s, TEXT);
		say(s, "200 OK\n");
	}
	expect(s, DIALOG_OUTCOME_ENDED, 100);
	assert_int_equal(s->count, 101);
}

static void test_a_proxy_that_hangs_holds_up_nobody_for_long(void **state)
{
	struct scene *s = *state;

	s->config.answer_timeout_us = SOON_US;
	s->config.wait_timeout_us = 5 * SOON_US;
	start(s, CONF_MI_AUTO);
	end(s, "3078:1789");
	hear(s, KAMAILIO);
	say(s, OK);
	settle(s);
	s->watch = watch_free(s->watch);
	for (int i = 0; i < 1000; i++)
		end(s, "3078:1789");
	expect(s, DIALOG_OUTCOME_SILENT, 1000);
	/* It goes on, with all that has come to it at once. */
	s->answers_all = true;
	listen_again(s);
	end(s, "3078:1789");
	expect(s, DIALOG_OUTCOME_ENDED, 2);
	assert_int_equal(dialog_end_counts(s->ends).late, s->count - 2);
}

static void test_a_socket_of_ours_that_cannot_be_made_is_told(void **state)
{
	struct scene *s = *state;

	memset(s->conf.socket_path, 'x', 200);
	s->conf.socket_path[200] = '\0';
	assert_int_equal(dialog_end_new(&s->ends, s->loop, &s->config),
			 -ENAMETOOLONG);
	snprintf(s->conf.socket_path, sizeof(s->conf.socket_path), "%s/proxy",
		 s->folder);
	s->config.path = s->conf.socket_path;
	assert_int_equal(dialog_end_new(&s->ends, s->loop, &s->config),
			 -EADDRINUSE);
	assert_null(s->ends);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_a_decimal_is_ended_by_its_did),
		T(test_what_is_not_found_by_its_did_is_ended_by_call_id),
		T(test_a_shared_call_id_ends_nothing),
		T(test_a_pair_is_asked_of_kamailio_first),
		T(test_a_pair_is_asked_as_text_when_json_is_not_known),
		T(test_a_pair_is_asked_as_text_when_json_gets_no_answer),
		T(test_a_proxy_that_was_exchanged_is_found_again),
		T(test_a_format_that_is_set_is_the_only_one),
		T(test_an_error_is_final),
		T(test_garbage_ends_nothing_and_harms_nothing),
		T(test_silence_has_an_end),
		T(test_an_answer_to_somebody_else_is_dropped),
		T(test_a_proxy_without_a_socket_costs_nothing),
		T(test_what_is_no_dialog_id_is_not_asked_for),
		T(test_a_full_socket_is_tried_again),
		T(test_a_socket_that_stays_full_is_given_up),
		T(test_ten_thousand_at_once_are_ended_one_after_the_other),
		T(test_a_proxy_that_knows_text_alone_ends_many_too),
		T(test_a_proxy_that_hangs_holds_up_nobody_for_long),
		T(test_a_socket_of_ours_that_cannot_be_made_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
