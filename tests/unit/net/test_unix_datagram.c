#include "net/unix_datagram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/unix_file.h"
#include "test.h"

struct setup {
	struct loop *loop;
	struct unix_datagram *ours;
	struct timer *watchdog;
	char folder[64], path[100], other_path[100];
	char heard[64];
	size_t heard_len;
	int count;
};

static void timed_out(void *arg)
{
	(void)arg;
	fail_msg("no datagram came");
}

static int setup(void **state)
{
	struct setup *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	assert_int_equal(loop_new(&s->loop), 0);
	assert_int_equal(timer_new(&s->watchdog, s->loop, timed_out, s), 0);
	snprintf(s->folder, sizeof(s->folder), "/tmp/mp-test-datagram-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->path, sizeof(s->path), "%s/ours", s->folder);
	snprintf(s->other_path, sizeof(s->other_path), "%s/other", s->folder);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct setup *s = *state;

	unix_datagram_free(s->ours);
	timer_free(s->watchdog);
	loop_free(s->loop);
	unlink(s->path);
	unlink(s->other_path);
	assert_int_equal(rmdir(s->folder), 0);
	free(s);
	return 0;
}

static void heard(struct span datagram, void *arg)
{
	struct setup *s = arg;

	snprintf(s->heard, sizeof(s->heard), "%.*s", SPAN_ARG(datagram));
	s->heard_len = datagram.len;
	s->count++;
	loop_stop(s->loop);
}

static int make_ours(struct setup *s, mode_t mode)
{
	return unix_datagram_new(&s->ours, s->loop, s->path, mode, (gid_t)-1,
				 heard, s);
}

static int make_other(const struct setup *s)
{
	struct sockaddr_un at;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(unix_address(s->other_path, &at), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void run(struct setup *s)
{
	timer_start(s->watchdog, 10 * US_PER_S);
	loop_run(s->loop);
	timer_stop(s->watchdog);
}

static void test_who_gets_a_datagram_can_answer_it(void **state)
{
	struct setup *s = *state;
	struct sockaddr_un from;
	socklen_t len = sizeof(from);
	char text[16];
	int other;

	assert_int_equal(make_ours(s, 0600), 0);
	other = make_other(s);
	assert_int_equal(
		unix_datagram_send(s->ours, s->other_path, SPAN("hello")), 0);
	assert_int_equal(recvfrom(other, text, sizeof(text), 0,
				  (struct sockaddr *)&from, &len),
			 5);
	assert_string_equal(from.sun_path, s->path);
	assert_int_equal(
		sendto(other, "yes", 3, 0, (struct sockaddr *)&from, len), 3);
	run(s);
	assert_string_equal(s->heard, "yes");
	assert_int_equal(sendto(other, "", 0, 0, (struct sockaddr *)&from, len),
			 0);
	run(s);
	assert_int_equal(s->heard_len, 0);
	assert_int_equal(s->count, 2);
	close(other);
}

static void test_who_is_not_there_is_told_from_who_is_full(void **state)
{
	struct setup *s = *state;
	char long_path[200];
	int err = 0;
	int other;

	assert_int_equal(make_ours(s, 0600), 0);
	assert_int_equal(unix_datagram_send(s->ours, s->other_path, SPAN("x")),
			 -ENOENT);
	other = make_other(s);
	for (int i = 0; i < 100000 && err == 0; i++)
		err = unix_datagram_send(s->ours, s->other_path, SPAN("x"));
	assert_int_equal(err, -EAGAIN);
	close(other);
	assert_int_equal(unix_datagram_send(s->ours, s->other_path, SPAN("x")),
			 -ECONNREFUSED);
	memset(long_path, 'x', sizeof(long_path));
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(unix_datagram_send(s->ours, long_path, SPAN("x")),
			 -ENAMETOOLONG);
}

static void test_a_stale_file_is_replaced_and_a_used_one_is_not(void **state)
{
	struct setup *s = *state;
	struct unix_datagram *second = NULL;
	struct stat st;

	assert_int_equal(make_ours(s, 0660), 0);
	assert_int_equal(stat(s->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(unix_datagram_new(&second, s->loop, s->path, 0660,
					   (gid_t)-1, heard, s),
			 -EADDRINUSE);
	s->ours = unix_datagram_free(s->ours);
	assert_int_equal(access(s->path, F_OK), -1);

	close(make_other(s));
	assert_int_equal(rename(s->other_path, s->path), 0);
	assert_int_equal(make_ours(s, 0600), 0);
}

static void test_a_file_that_is_no_socket_stays(void **state)
{
	struct setup *s = *state;
	FILE *file = fopen(s->path, "w");

	assert_non_null(file);
	fclose(file);
	assert_int_equal(make_ours(s, 0600), -ENOTSOCK);
	assert_int_equal(access(s->path, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_who_gets_a_datagram_can_answer_it, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_who_is_not_there_is_told_from_who_is_full, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_a_stale_file_is_replaced_and_a_used_one_is_not,
			setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_file_that_is_no_socket_stays, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
