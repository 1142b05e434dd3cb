#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>

#include "media_scene.h"

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void count_closed(const struct media_snapshot *final, void *arg)
{
	unsigned *left = arg;

	(void) final;
	(*left)--;
}

#define ROUNDS 5
#define AT_ONCE 200 /* four sockets each, below the usual limit of 1024 */

static void
test_a_thousand_streams_leave_no_file_descriptor_behind(void **state)
{
	static struct media_session *sessions[AT_ONCE];
	static struct media_stream *streams[AT_ONCE];
	unsigned at_first = open_fds();
	struct media *media = start_media(LONG_US);
	struct media_totals totals;
	unsigned running = open_fds();

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned left = AT_ONCE;

		for (unsigned i = 0; i < AT_ONCE; i++) {
			struct media_port_pair pairs[PARTY_COUNT];

			open_pair(media, AF_INET, &pairs[PARTY_CALLER]);
			open_pair(media, AF_INET, &pairs[PARTY_CALLEE]);
			assert_int_equal(media_session_new(&sessions[i], media),
					 0);
			assert_int_equal(media_stream_new(&streams[i],
							  sessions[i], pairs,
							  MEDIA_FORMAT_RTP),
					 0);
		}
		assert_int_equal(open_fds(), running + 4 * AT_ONCE);
		for (unsigned i = 0; i < AT_ONCE; i++)
			media_stream_close(streams[i], count_closed, &left);
		while (left > 0) {
			wait_readable(media_event_fd(media));
			media_dispatch(media);
		}
		assert_int_equal(open_fds(), running);
		for (unsigned i = 0; i < AT_ONCE; i++)
			media_session_free(sessions[i]);
	}
	media_read_totals(media, &totals);
	assert_int_equal(totals.streams_created, ROUNDS * AT_ONCE);
	assert_int_equal(totals.streams_destroyed, ROUNDS * AT_ONCE);
	assert_int_equal(totals.sockets_opened, 4 * ROUNDS * AT_ONCE);
	assert_int_equal(totals.sockets_closed, 4 * ROUNDS * AT_ONCE);
	media_free(media);
	assert_int_equal(open_fds(), at_first);
}

static void test_freeing_the_media_closes_what_is_open(void **state)
{
	unsigned at_first = open_fds();
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	for (uint16_t i = 0; i < 100; i++)
		say_rtp(&call, PARTY_CALLER, i); /* in the middle of traffic */
	for (unsigned i = 0; i < PARTY_COUNT; i++)
		close_phone(call.media, &call.phones[i]);
	media_session_free(call.session);
	media_free(call.media);
	assert_int_equal(open_fds(), at_first);
}

static void test_closed_streams_that_nobody_dispatched_are_freed(void **state)
{
	unsigned at_first = open_fds();
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	media_stream_close(call.stream, note_closed, &call);
	wait_readable(media_event_fd(call.media));
	for (unsigned i = 0; i < PARTY_COUNT; i++)
		close_phone(call.media, &call.phones[i]);
	media_session_free(call.session);
	media_free(call.media);
	assert_false(call.closed);
	assert_int_equal(open_fds(), at_first);
}

static void
test_a_stream_that_cannot_be_watched_leaves_its_sockets_alone(void **state)
{
	struct media *media = start_media(LONG_US);
	struct media_port_pair pairs[PARTY_COUNT];
	struct media_session *session;
	struct media_stream *stream = NULL;
	struct media_totals totals;
	int good;

	(void)state;
	assert_int_equal(media_session_new(&session, media), 0);
	open_pair(media, AF_INET, &pairs[PARTY_CALLER]);
	open_pair(media, AF_INET, &pairs[PARTY_CALLEE]);
	good = pairs[PARTY_CALLEE].fd[COMPONENT_RTCP];
	pairs[PARTY_CALLEE].fd[COMPONENT_RTCP] = -1; /* no socket for epoll */
	assert_int_equal(
		media_stream_new(&stream, session, pairs, MEDIA_FORMAT_RTP),
		-ENOMEM);
	assert_null(stream);
	pairs[PARTY_CALLEE].fd[COMPONENT_RTCP] = good;

	/* What was made of it goes by way of the worker. */
	wait_readable(media_event_fd(media));
	media_dispatch(media);
	media_read_totals(media, &totals);
	assert_int_equal(totals.streams_created, totals.streams_destroyed);
	assert_int_equal(totals.sockets_closed, 0);
	assert_int_equal(
		media_stream_new(&stream, session, pairs, MEDIA_FORMAT_RTP), 0);
	media_session_free(session);
	media_free(media);
}

static void test_a_pair_is_refused_whole_when_either_port_is_taken(void **state)
{
	struct media *media = start_media(LONG_US);
	struct ip_addr ip = loopback(AF_INET);

	(void)state;
	for (unsigned taken = 0; taken < COMPONENT_COUNT; taken++) {
		struct media_port_pair pair, again;
		struct media_totals before, after;
		unsigned fds;

		open_pair(media, AF_INET, &pair);
		close(pair.fd[1 - taken]); /* the other one is free now */
		fds = open_fds();
		media_read_totals(media, &before);
		assert_int_equal(media_port_pair_open(media, &ip,
						      pair.local.port, &again),
				 -EADDRINUSE);
		media_read_totals(media, &after);
		assert_int_equal(open_fds(), fds);
		assert_int_equal(after.sockets_opened, before.sockets_opened);
		close(pair.fd[taken]);
		assert_int_equal(media_port_pair_open(media, &ip,
						      pair.local.port, &again),
				 0);
		media_port_pair_close(media, &again);
	}
	media_free(media);
}

static void test_an_odd_port_makes_no_pair(void **state)
{
	struct media *media = start_media(LONG_US);
	struct ip_addr ip = loopback(AF_INET);
	struct media_port_pair pair;

	(void)state;
	assert_int_equal(media_port_pair_open(media, &ip, 20001, &pair),
			 -EINVAL);
	assert_int_equal(media_port_pair_open(media, &ip, 0, &pair), -EINVAL);
	media_free(media);
}

static void test_an_address_of_another_host_is_refused(void **state)
{
	struct media *media = start_media(LONG_US);
	struct media_port_pair pair;
	struct ip_addr ip;

	(void)state;
	assert_int_equal(ip_parse(SPAN("192.0.2.1"), &ip), 0);
	assert_int_equal(media_port_pair_open(media, &ip, 20000, &pair),
			 -EADDRNOTAVAIL);
	media_free(media);
}

static int get_option(int fd, int level, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
	return value;
}

static void test_sockets_are_shared_with_nobody_and_never_block(void **state)
{
	struct media *media = start_media(LONG_US);
	struct media_port_pair pair;

	(void)state;
	open_pair(media, AF_INET6, &pair);
	for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
		int fd = pair.fd[i];

		assert_int_equal(get_option(fd, SOL_SOCKET, SO_REUSEADDR), 0);
		assert_int_equal(get_option(fd, SOL_SOCKET, SO_REUSEPORT), 0);
		assert_int_equal(get_option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	media_port_pair_close(media, &pair);
	media_free(media);
}

/* A line of a thread's status, "Name: ..." or "SigBlk: ...", as text. */
static void read_status(const char *task, const char *format, char text[64])
{
	char path[300], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", task);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, format, text) == 1)
			break;
	fclose(file);
}

static void
test_there_is_a_named_worker_without_signals_for_each_core(void **state)
{
	const struct media_config config = {.engine.forwarding =
						    FORWARDING_USERSPACE};
	struct media_totals totals;
	unsigned workers = 0;
	struct media *media;
	struct dirent *task;
	cpu_set_t cores;
	DIR *dir;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(cores), &cores), 0);
	assert_int_equal(media_new(&media, &config), 0);
	media_read_totals(media, &totals);
	assert_int_equal(totals.worker_count, CPU_COUNT(&cores));

	dir = opendir("/proc/self/task");
	while ((task = readdir(dir))) {
		char name[64] = "", blocked[64] = "";

		if (task->d_name[0] == '.')
			continue;
		read_status(task->d_name, "Name: %63s", name);
		if (strncmp(name, "media-", 6) != 0)
			continue;
		workers++;
		read_status(task->d_name, "SigBlk: %63s", blocked);
		/* all but SIGKILL and SIGSTOP; the C library keeps some, too */
		assert_int_equal(strtoull(blocked, NULL, 16) | 0x180000000u,
				 0xfffffffffffbfeffu);
	}
	closedir(dir);
	assert_int_equal(workers, CPU_COUNT(&cores));
	media_free(media);
}

static void test_names_of_drops_are_all_there_and_differ(void **state)
{
	(void)state;
	for (enum media_drop a = 0; a < DROP_COUNT; a++)
		for (enum media_drop b = 0; b < a; b++)
			assert_string_not_equal(media_drop_name(a),
						media_drop_name(b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_thousand_streams_leave_no_file_descriptor_behind),
		cmocka_unit_test(test_freeing_the_media_closes_what_is_open),
		cmocka_unit_test(
			test_closed_streams_that_nobody_dispatched_are_freed),
		cmocka_unit_test(
			test_a_stream_that_cannot_be_watched_leaves_its_sockets_alone),
		cmocka_unit_test(
			test_a_pair_is_refused_whole_when_either_port_is_taken),
		cmocka_unit_test(test_an_odd_port_makes_no_pair),
		cmocka_unit_test(test_an_address_of_another_host_is_refused),
		cmocka_unit_test(
			test_sockets_are_shared_with_nobody_and_never_block),
		cmocka_unit_test(
			test_there_is_a_named_worker_without_signals_for_each_core),
		cmocka_unit_test(test_names_of_drops_are_all_there_and_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
