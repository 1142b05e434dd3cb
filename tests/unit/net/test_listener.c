#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/listener.h"
#include "net/loop.h"
#include "test.h"

struct setup {
	struct loop *loop;
	struct listener *listener;
	struct timer *watchdog;
	int accepted;
	struct endpoint peer;
	bool free_in_handler;
	char folder[64], path[100];
};

static void timed_out(void *arg)
{
	(void)arg;
	fail_msg("nobody was accepted");
}

static int setup(void **state)
{
	struct setup *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	assert_int_equal(loop_new(&s->loop), 0);
	assert_int_equal(timer_new(&s->watchdog, s->loop, timed_out, s), 0);
	snprintf(s->folder, sizeof(s->folder), "/tmp/mp-test-listener-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->path, sizeof(s->path), "%s/socket", s->folder);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct setup *s = *state;

	listener_free(s->listener);
	timer_free(s->watchdog);
	loop_free(s->loop);
	unlink(s->path);
	rmdir(s->folder);
	free(s);
	return 0;
}

static void accepted(int fd, const struct endpoint *peer, void *arg)
{
	struct setup *s = arg;

	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	s->accepted++;
	s->peer = *peer;
	if (s->free_in_handler)
		s->listener = listener_free(s->listener);
	loop_stop(s->loop);
}

static void turn_over(void *arg)
{
	loop_stop(arg);
}

static void run(struct setup *s)
{
	timer_start(s->watchdog, 10 * US_PER_S);
	loop_run(s->loop);
	timer_stop(s->watchdog);
}

static struct endpoint at(const char *ip)
{
	struct endpoint ep = {0};

	if (ip)
		assert_int_equal(ip_parse(span_of(ip), &ep.ip), 0);
	return ep;
}

static int listen_tcp(struct setup *s, const char *ip)
{
	struct endpoint where = at(ip);

	return listener_new_tcp(&s->listener, s->loop, &where, accepted, s);
}

static int listen_unix(struct setup *s, mode_t mode)
{
	return listener_new_unix(&s->listener, s->loop, s->path, mode,
				 (gid_t)-1, accepted, s);
}

/* @return a socket, or -1 with errno */
static int dial_tcp(const char *ip, uint16_t port)
{
	struct endpoint to = at(ip);
	struct sockaddr_storage address;
	socklen_t len;
	int fd;

	to.port = port;
	len = endpoint_to_sockaddr(&to, &address);
	fd = socket(address.ss_family, SOCK_STREAM, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, len) == 0)
		return fd;
	close(fd);
	return -1;
}

static struct sockaddr_un unix_address(const struct setup *s)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", s->path);
	return address;
}

static int dial_unix(const struct setup *s)
{
	struct sockaddr_un to = unix_address(s);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* A socket file that nobody listens on any more. */
static void leave_stale_file(const struct setup *s)
{
	struct sockaddr_un address = unix_address(s);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	close(fd);
}

static void test_a_tcp_client_is_accepted_with_its_address(void **state)
{
	struct setup *s = *state;
	struct endpoint where;
	int fd;

	assert_int_equal(listen_tcp(s, "127.0.0.1"), 0);
	where = listener_address(s->listener);
	assert_true(where.port != 0);
	fd = dial_tcp("127.0.0.1", where.port);
	assert_true(fd >= 0);
	run(s);
	assert_int_equal(s->accepted, 1);
	assert_true(ip_is_loopback(&s->peer.ip));
	close(fd);
}

static void
test_no_address_listens_on_ipv4_and_where_there_is_on_ipv6(void **state)
{
	struct setup *s = *state;
	uint16_t port;
	int fd;

	assert_int_equal(listen_tcp(s, NULL), 0);
	port = listener_address(s->listener).port;
	fd = dial_tcp("127.0.0.1", port);
	assert_true(fd >= 0);
	run(s);
	/* A mapped address is its IPv4 address. */
	assert_int_equal(s->peer.ip.family, AF_INET);
	close(fd);

	fd = dial_tcp("::1", port);
	if (fd < 0)
		return; /* no IPv6 on this machine */
	run(s);
	assert_int_equal(s->peer.ip.family, AF_INET6);
	assert_int_equal(s->accepted, 2);
	close(fd);
}

static void test_a_port_in_use_is_said(void **state)
{
	struct setup *s = *state;
	struct listener *second = NULL;
	struct endpoint where;

	assert_int_equal(listen_tcp(s, "127.0.0.1"), 0);
	where = listener_address(s->listener);
	assert_int_equal(
		listener_new_tcp(&second, s->loop, &where, accepted, s),
		-EADDRINUSE);
	assert_null(second);
}

static void test_a_unix_socket_has_the_mode_that_was_asked_for(void **state)
{
	struct setup *s = *state;
	mode_t before = umask(0);
	struct stat st;
	int fd;

	assert_int_equal(listen_unix(s, 0640), 0);
	assert_int_equal(umask(before), 0);
	assert_int_equal(stat(s->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	fd = dial_unix(s);
	assert_true(fd >= 0);
	run(s);
	assert_int_equal(s->accepted, 1);
	assert_false(ip_is_set(&s->peer.ip));
	close(fd);
}

static void test_a_stale_socket_file_is_replaced(void **state)
{
	struct setup *s = *state;
	int fd;

	leave_stale_file(s);
	assert_int_equal(listen_unix(s, 0600), 0);
	fd = dial_unix(s);
	assert_true(fd >= 0);
	close(fd);
}

static void test_a_socket_that_somebody_answers_on_is_left_alone(void **state)
{
	struct setup *s = *state;
	struct listener *second = NULL;
	int fd;

	assert_int_equal(listen_unix(s, 0600), 0);
	assert_int_equal(listener_new_unix(&second, s->loop, s->path, 0600,
					   (gid_t)-1, accepted, s),
			 -EADDRINUSE);
	assert_null(second);
	fd = dial_unix(s);
	assert_true(fd >= 0);
	close(fd);
}

static void test_a_file_that_is_no_socket_is_left_alone(void **state)
{
	struct setup *s = *state;
	int fd = open(s->path, O_WRONLY | O_CREAT, 0600);
	struct stat st;

	close(fd);
	assert_int_equal(listen_unix(s, 0600), -ENOTSOCK);
	assert_int_equal(stat(s->path, &st), 0);
}

static void
test_the_file_goes_with_the_listener_but_not_a_successors(void **state)
{
	struct setup *s = *state;
	struct stat st;

	assert_int_equal(listen_unix(s, 0600), 0);
	s->listener = listener_free(s->listener);
	assert_int_equal(stat(s->path, &st), -1);

	assert_int_equal(listen_unix(s, 0600), 0);
	/* Rename first, so that the new file cannot get the old inode. */
	char aside[120];
	snprintf(aside, sizeof(aside), "%s.old", s->path);
	assert_int_equal(rename(s->path, aside), 0);
	leave_stale_file(s);
	s->listener = listener_free(s->listener);
	assert_int_equal(stat(s->path, &st), 0);
	unlink(aside);
}

static void test_a_path_that_is_too_long_is_refused(void **state)
{
	struct setup *s = *state;
	char path[200];

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(listener_new_unix(&s->listener, s->loop, path, 0600,
					   (gid_t)-1, accepted, s),
			 -ENAMETOOLONG);
}

static void test_a_handler_may_free_its_listener(void **state)
{
	struct setup *s = *state;
	int first;
	int second;

	assert_int_equal(listen_unix(s, 0600), 0);
	s->free_in_handler = true;
	first = dial_unix(s);
	second = dial_unix(s);
	run(s);
	assert_int_equal(s->accepted, 1);
	assert_null(s->listener);
	close(first);
	close(second);
}

static void
test_without_descriptors_it_pauses_and_the_client_waits(void **state)
{
	struct setup *s = *state;
	struct rlimit before;
	struct rlimit none;
	int fd;

	assert_int_equal(listen_unix(s, 0600), 0);
	fd = dial_unix(s);
	assert_true(fd >= 0);
	/* This turn ends at once, and the accept in it fails. */
	getrlimit(RLIMIT_NOFILE, &before);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int i = 0; i < 100; i++) {
		loop_defer(s->loop, turn_over, s->loop);
		loop_run(s->loop);
	}
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(s->accepted, 0);
	assert_int_equal(listener_pauses(s->listener), 1);
	run(s);
	assert_int_equal(s->accepted, 1);
	close(fd);
}

#define WITH_SETUP(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SETUP(test_a_tcp_client_is_accepted_with_its_address),
		WITH_SETUP(
			test_no_address_listens_on_ipv4_and_where_there_is_on_ipv6),
		WITH_SETUP(test_a_port_in_use_is_said),
		WITH_SETUP(test_a_unix_socket_has_the_mode_that_was_asked_for),
		WITH_SETUP(test_a_stale_socket_file_is_replaced),
		WITH_SETUP(
			test_a_socket_that_somebody_answers_on_is_left_alone),
		WITH_SETUP(test_a_file_that_is_no_socket_is_left_alone),
		WITH_SETUP(
			test_the_file_goes_with_the_listener_but_not_a_successors),
		WITH_SETUP(test_a_path_that_is_too_long_is_refused),
		WITH_SETUP(test_a_handler_may_free_its_listener),
		WITH_SETUP(
			test_without_descriptors_it_pauses_and_the_client_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
