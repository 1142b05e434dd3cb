#include "base/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/bench.h"
#include "test.h"

#define CONNECTIONS 2

/* A dispatcher that gives every request of a kind the same reply. */
struct server {
	char folder[64];
	struct bench_options options;
	int listening;
	const char *replies[BENCH_STEPS];
	int requests[BENCH_STEPS];
	pthread_t thread;
};

static int make_server(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct server *s = calloc(1, sizeof(*s));

	strcpy(s->folder, "/tmp/test-bench-XXXXXX");
	if (!mkdtemp(s->folder))
		return -1;
	(void)snprintf(s->options.socket, sizeof(s->options.socket), "%s/sock",
		       s->folder);
	s->options.connections = CONNECTIONS;
	s->options.ip = "192.0.2.1";
	s->options.calls = 10;
	s->replies[BENCH_OFFER] = "10.0.0.1 40002\r\n";
	s->replies[BENCH_ANSWER] = "10.0.0.1 40000\r\n";
	s->replies[BENCH_REMOVE] = "removed\r\n";
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.100s",
		       s->options.socket);
	s->listening = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(s->listening, (struct sockaddr *)&address, sizeof(address)) <
		    0 ||
	    listen(s->listening, CONNECTIONS) < 0)
		return -1;
	*state = s;
	return 0;
}

static int end_server(void **state)
{
	struct server *s = *state;

	close(s->listening);
	(void)unlink(s->options.socket);
	(void)rmdir(s->folder);
	free(s);
	return 0;
}

static enum bench_step step_of(const char *request)
{
	if (strncmp(request, "remove", 6) == 0)
		return BENCH_REMOVE;
	return strstr(request, "type: reply") ? BENCH_ANSWER : BENCH_OFFER;
}

/* One request at a time and one packet for each, as a local socket gives
 * them. @return whether the client is still there */
static bool serve_one(struct server *s, int fd)
{
	char request[2048];
	ssize_t n = read(fd, request, sizeof(request) - 1);
	enum bench_step step;
	const char *reply;

	if (n <= 0)
		return false;
	request[n] = '\0';
	step = step_of(request);
	s->requests[step]++;
	reply = s->replies[step];
	return reply && write(fd, reply, strlen(reply)) > 0;
}

static void *serve(void *arg)
{
	struct server *s = arg;
	struct pollfd polls[CONNECTIONS];
	int open = CONNECTIONS;

	for (int i = 0; i < CONNECTIONS; i++)
		polls[i] =
			(struct pollfd){.fd = accept(s->listening, NULL, NULL),
					.events = POLLIN};
	while (open > 0 && poll(polls, CONNECTIONS, 5000) > 0) {
		for (int i = 0; i < CONNECTIONS; i++) {
			if (!polls[i].revents || serve_one(s, polls[i].fd))
				continue;
			close(polls[i].fd);
			polls[i].fd = -1;
			open--;
		}
	}
	return NULL;
}

static struct bench_result *run(struct server *s)
{
	struct bench_result *result = calloc(1, sizeof(*result));
	volatile sig_atomic_t stop = 0;

	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
	assert_int_equal(bench_signalling(&s->options, &stop, result), 0);
	pthread_join(s->thread, NULL);
	return result;
}

static void test_every_call_is_three_requests(void **state)
{
	struct server *s = *state;
	CLEANUP(freep) struct bench_result *result = run(s);

	assert_int_equal(result->calls, 10);
	assert_int_equal(result->failed_calls, 0);
	assert_int_equal(result->lost_connections, 0);
	assert_true(result->calls_per_second > 0);
	for (int step = 0; step < BENCH_STEPS; step++) {
		assert_int_equal(s->requests[step], 10);
		assert_int_equal(result->latency_us[step].count, 10);
		assert_int_equal(result->errors[step], 0);
	}
}

static void
test_refused_answers_are_errors_and_their_calls_are_removed(void **state)
{
	struct server *s = *state;
	CLEANUP(freep) struct bench_result *result = NULL;

	s->replies[BENCH_ANSWER] = "error\r\n";
	result = run(s);
	assert_int_equal(result->calls, 0);
	assert_int_equal(result->failed_calls, 10);
	assert_int_equal(result->errors[BENCH_ANSWER], 10);
	assert_int_equal(s->requests[BENCH_REMOVE], 10);
}

static void test_a_rejected_stream_is_an_error(void **state)
{
	struct server *s = *state;
	CLEANUP(freep) struct bench_result *result = NULL;

	s->replies[BENCH_OFFER] = "10.0.0.1 0\r\n";
	result = run(s);
	assert_int_equal(result->calls, 0);
	assert_int_equal(result->errors[BENCH_OFFER], 10);
}

static void test_lost_connections_end_the_run(void **state)
{
	struct server *s = *state;
	CLEANUP(freep) struct bench_result *result = NULL;

	s->replies[BENCH_REMOVE] = NULL; /* closes */
	result = run(s);
	assert_int_equal(result->calls, 0);
	assert_int_equal(result->lost_connections, CONNECTIONS);
	assert_int_equal(result->failed_calls, CONNECTIONS);
}

static void test_nobody_there_is_an_error(void **state)
{
	struct server *s = *state;
	CLEANUP(freep)
	struct bench_result *result = calloc(1, sizeof(*result));
	struct bench_options options = s->options;
	volatile sig_atomic_t stop = 0;

	(void)strcat(options.socket, "-not");
	assert_int_equal(bench_signalling(&options, &stop, result), -ENOENT);
}

#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(name, make_server, end_server)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_every_call_is_three_requests),
		CASE(test_refused_answers_are_errors_and_their_calls_are_removed),
		CASE(test_a_rejected_stream_is_an_error),
		CASE(test_lost_connections_end_the_run),
		CASE(test_nobody_there_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
