#include "base/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "test.h"

/* The server runs in the test's thread, the client in another one. */
struct world {
	char folder[64], path[128];
	struct loop *loop;
	struct http_server *server;
	struct timer *guard; /* a test that hangs fails instead */
	bool hung;
	struct http_request *kept; /* a request that is answered later */
	int requests;
	char seen[512]; /* what the last request said */
};

struct client {
	struct world *world;
	const char *method, *path;
	struct span body;
	int rc, status;
	struct buf answer;
	pthread_t thread;
};

static void guard_fired(void *arg)
{
	struct world *world = arg;

	world->hung = true;
	loop_stop(world->loop);
}

static int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->folder, "/tmp/test-http-XXXXXX");
	if (!mkdtemp(w->folder) || loop_new(&w->loop) < 0 ||
	    timer_new(&w->guard, w->loop, guard_fired, w) < 0)
		return -1;
	(void)snprintf(w->path, sizeof(w->path), "%s/api.ctl", w->folder);
	timer_start(w->guard, 10000000);
	*state = w;
	return 0;
}

static int end_world(void **state)
{
	struct world *w = *state;

	http_server_free(w->server);
	timer_free(w->guard);
	loop_free(w->loop);
	(void)unlink(w->path);
	(void)rmdir(w->folder);
	free(w);
	return 0;
}

static void serve(struct world *w, http_request_h *handler)
{
	assert_int_equal(http_server_new_unix(&w->server, w->loop, w->path,
					      0600, (gid_t)-1, handler, w),
			 0);
}

static void client_is_done(void *arg)
{
	struct world *w = arg;

	loop_stop(w->loop);
}

/* The client tells the loop by a pipe that it has its answer. */
static int done_pipe[2];

static void *run_client(void *arg)
{
	struct client *c = arg;

	c->rc = http_get_unix(c->world->path, c->method, c->path, c->body, 5,
			      &c->status, &c->answer);
	(void)!write(done_pipe[1], "x", 1);
	return NULL;
}

static void done_pipe_readable(int fd, void *arg)
{
	char byte;

	(void)!read(fd, &byte, 1);
	client_is_done(arg);
}

static void request(struct world *w, struct client *c)
{
	struct watch *watch;

	c->world = w;
	assert_int_equal(pipe(done_pipe), 0);
	assert_int_equal(
		watch_new(&watch, w->loop, done_pipe[0], done_pipe_readable, w),
		0);
	assert_int_equal(pthread_create(&c->thread, NULL, run_client, c), 0);
	assert_int_equal(loop_run(w->loop), 0);
	pthread_join(c->thread, NULL);
	watch_free(watch);
	close(done_pipe[0]);
	close(done_pipe[1]);
	assert_false(w->hung);
}

static void echo(struct http_request *request, void *arg)
{
	struct world *w = arg;
	const char *value = http_parameter(request, "name");

	w->requests++;
	(void)snprintf(w->seen, sizeof(w->seen), "%s %s %s %.*s",
		       http_method(request), http_path(request),
		       value ? value : "-", SPAN_ARG(http_body(request)));
	http_answer(request, 200, "text/plain", span_of(w->seen));
}

static void
test_a_request_reaches_the_handler_and_its_answer_the_client(void **state)
{
	struct client c = {.method = "GET",
			   .path = "/api/v1/a%20b?name=x%26y+z&other=1"};

	serve(*state, echo);
	request(*state, &c);
	assert_int_equal(c.rc, 0);
	assert_int_equal(c.status, 200);
	assert_string_equal(c.answer.data, "GET /api/v1/a b x&y z ");
	buf_done(&c.answer);
}

static void test_a_body_is_handed_on(void **state)
{
	struct client c = {
		.method = "POST", .path = "/x", .body = SPAN("{\"a\": 1}")};

	serve(*state, echo);
	request(*state, &c);
	assert_int_equal(c.rc, 0);
	assert_string_equal(c.answer.data, "POST /x - {\"a\": 1}");
	buf_done(&c.answer);
}

static void test_a_body_over_the_limit_never_reaches_the_handler(void **state)
{
	struct world *w = *state;
	static char large[65537];
	struct client c = {
		.method = "POST", .path = "/x", .body = {large, sizeof(large)}};

	memset(large, 'x', sizeof(large));
	serve(w, echo);
	request(w, &c);
	assert_true(c.rc < 0 || c.status == 413 || c.status == 400);
	assert_int_equal(w->requests, 0);
	buf_done(&c.answer);
}

static void test_a_path_with_a_zero_byte_is_a_bad_request(void **state)
{
	struct world *w = *state;
	struct client c = {.method = "GET", .path = "/api%00/v1"};

	serve(w, echo);
	request(w, &c);
	assert_int_equal(c.rc, 0);
	assert_int_equal(c.status, 400);
	assert_int_equal(w->requests, 0);
	buf_done(&c.answer);
}

static void answer_kept(void *arg)
{
	struct world *w = arg;

	http_answer(w->kept, 503, "text/plain", SPAN("later"));
}

static void keep_and_answer_later(struct http_request *request, void *arg)
{
	struct world *w = arg;

	w->kept = request;
	assert_int_equal(loop_defer(w->loop, answer_kept, w), 0);
}

static void test_an_answer_may_come_later(void **state)
{
	struct client c = {.method = "GET", .path = "/"};

	serve(*state, keep_and_answer_later);
	request(*state, &c);
	assert_int_equal(c.rc, 0);
	assert_int_equal(c.status, 503);
	assert_string_equal(c.answer.data, "later");
	buf_done(&c.answer);
}

static void keep(struct http_request *request, void *arg)
{
	struct world *w = arg;

	w->kept = request;
	loop_stop(w->loop);
}

static int send_by_hand(const struct world *w, const char *text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, w->path);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

/* A few turns, in which the server can notice what happened. */
static void run_some_turns(struct world *w)
{
	for (int i = 0; i < 5; i++) {
		assert_int_equal(loop_defer(w->loop, stop_loop, w->loop), 0);
		assert_int_equal(loop_run(w->loop), 0);
	}
}

static void test_a_client_that_has_gone_does_not_matter(void **state)
{
	struct world *w = *state;
	int fd;

	serve(w, keep);
	fd = send_by_hand(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(loop_run(w->loop), 0);
	assert_false(w->hung);
	assert_non_null(w->kept);
	close(fd);
	run_some_turns(w);
	http_answer(w->kept, 200, "text/plain", SPAN("nobody"));
	run_some_turns(w);
}

static void test_a_server_may_end_before_its_answers(void **state)
{
	struct world *w = *state;
	int fd;

	serve(w, keep);
	fd = send_by_hand(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(loop_run(w->loop), 0);
	w->server = http_server_free(w->server);
	assert_string_equal(http_path(w->kept), "/");
	http_answer(w->kept, 200, "text/plain", SPAN("nobody"));
	close(fd);
}

static void
test_a_server_and_its_client_may_both_end_before_the_answer(void **state)
{
	struct world *w = *state;
	int fd;

	serve(w, keep);
	fd = send_by_hand(w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(loop_run(w->loop), 0);
	close(fd);
	run_some_turns(w);
	w->server = http_server_free(w->server);
	http_answer(w->kept, 200, "text/plain", SPAN("nobody"));
}

static void test_the_socket_has_its_mode_and_goes_with_the_server(void **state)
{
	struct world *w = *state;
	struct stat st;

	serve(w, echo);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	w->server = http_server_free(w->server);
	assert_int_equal(stat(w->path, &st), -1);
}

static void test_the_client_tells_nobody_from_no_right(void **state)
{
	struct world *w = *state;
	struct buf answer = {0};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int status, fd;

	assert_int_equal(http_get_unix(w->path, "GET", "/", span_make(NULL, 0),
				       1, &status, &answer),
			 -ENOENT);
	/* A socket file on which nobody listens. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(address.sun_path, w->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	close(fd);
	assert_int_equal(http_get_unix(w->path, "GET", "/", span_make(NULL, 0),
				       1, &status, &answer),
			 -ECONNREFUSED);
	buf_done(&answer);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_request_reaches_the_handler_and_its_answer_the_client),
		CASE(test_a_body_is_handed_on),
		CASE(test_a_body_over_the_limit_never_reaches_the_handler),
		CASE(test_a_path_with_a_zero_byte_is_a_bad_request),
		CASE(test_an_answer_may_come_later),
		CASE(test_a_client_that_has_gone_does_not_matter),
		CASE(test_a_server_may_end_before_its_answers),
		CASE(test_a_server_and_its_client_may_both_end_before_the_answer),
		CASE(test_the_socket_has_its_mode_and_goes_with_the_server),
		CASE(test_the_client_tells_nobody_from_no_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
