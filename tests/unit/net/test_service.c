#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/service.h"
#include "test.h"

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test-service-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[128];

	(void)state;
	service_remove_pid_file();
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

static pid_t read_pid(void)
{
	char path[128];
	long pid = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/media-relay.pid", folder);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fscanf(file, "%ld", &pid) != 1)
		pid = 0;
	fclose(file);
	return (pid_t)pid;
}

static void test_a_runtime_folder_is_made_with_those_above_it(void **state)
{
	char path[128];
	struct stat st;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/a/b", folder);
	assert_int_equal(service_make_runtime_dir(path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(service_make_runtime_dir(path), 0);
	assert_int_equal(service_make_runtime_dir("/dev/null/x"), -ENOTDIR);
}

static void test_a_pid_file_holds_our_pid_until_it_is_removed(void **state)
{
	pid_t other = 0;

	(void)state;
	assert_int_equal(service_pid_file(folder, "media-relay", &other), 0);
	assert_int_equal(read_pid(), getpid());
	service_remove_pid_file();
	assert_int_equal(read_pid(), 0);
}

static void test_a_stale_pid_file_is_taken_over(void **state)
{
	char path[128];
	pid_t other = 0;
	FILE *file;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/media-relay.pid", folder);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "1234567890\n");
	fclose(file);
	assert_int_equal(service_pid_file(folder, "media-relay", &other), 0);
	assert_int_equal(read_pid(), getpid());
}

/* Run in a child, since its exit status is what counts. */
static int child_status(int (*body)(void))
{
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	if (child == 0)
		_exit(body());
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int start_a_second_one(void)
{
	pid_t other = 0;

	if (service_pid_file(folder, "media-relay", &other) != -EEXIST)
		return 1;
	return other == getppid() ? 0 : 2;
}

static void test_a_second_start_is_refused_and_told_the_pid(void **state)
{
	pid_t other = 0;

	(void)state;
	assert_int_equal(service_pid_file(folder, "media-relay", &other), 0);
	assert_int_equal(child_status(start_a_second_one), 0);
	assert_int_equal(read_pid(), getpid());
}

static int daemonize_well(void)
{
	pid_t other;

	if (service_daemonize() < 0)
		return 3;
	if (service_pid_file(folder, "media-relay", &other) < 0)
		return 4;
	service_ready("test");
	/* The test reads the pid file that we leave. */
	return 5;
}

static int daemonize_and_fail(void)
{
	if (service_daemonize() < 0)
		return 3;
	return 1;
}

static void test_the_parent_exits_0_when_the_daemon_is_ready(void **state)
{
	(void)state;
	assert_int_equal(child_status(daemonize_well), 0);
	assert_true(read_pid() > 0);
	assert_int_not_equal(read_pid(), getpid());
}

static void test_the_parent_exits_1_when_the_daemon_dies(void **state)
{
	(void)state;
	assert_int_equal(child_status(daemonize_and_fail), 1);
}

static int raise_to_the_hard_limit(void)
{
	struct rlimit low = {.rlim_cur = 64, .rlim_max = 0}, now;

	if (getrlimit(RLIMIT_NOFILE, &now) < 0)
		return 1;
	low.rlim_max = now.rlim_max < 256 ? now.rlim_max : 256;
	if (setrlimit(RLIMIT_NOFILE, &low) < 0)
		return 2;
	if (service_raise_open_files(32) != 64)
		return 3;
	if (service_raise_open_files(128) != 128)
		return 4;
	return service_raise_open_files(0) == low.rlim_max ? 0 : 5;
}

static void
test_the_limit_of_open_files_is_raised_and_never_lowered(void **state)
{
	(void)state;
	assert_int_equal(child_status(raise_to_the_hard_limit), 0);
}

static void test_groups_are_found_by_name(void **state)
{
	(void)state;
	assert_int_equal(service_group("root"), 0);
	assert_int_equal(service_group("no such group"), (gid_t)-1);
}

static void test_the_default_address_is_a_real_one_or_none(void **state)
{
	struct ip_addr ip = {.family = 99};

	(void)state;
	if (net_default_address(&ip) == 0) {
		assert_true(ip_is_set(&ip));
		assert_false(ip_is_loopback(&ip));
		assert_false(ip_is_unspecified(&ip));
	} else {
		assert_false(ip_is_set(&ip));
	}
}

#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_runtime_folder_is_made_with_those_above_it),
		CASE(test_a_pid_file_holds_our_pid_until_it_is_removed),
		CASE(test_a_stale_pid_file_is_taken_over),
		CASE(test_a_second_start_is_refused_and_told_the_pid),
		CASE(test_the_parent_exits_0_when_the_daemon_is_ready),
		CASE(test_the_parent_exits_1_when_the_daemon_dies),
		CASE(test_the_limit_of_open_files_is_raised_and_never_lowered),
		CASE(test_groups_are_found_by_name),
		CASE(test_the_default_address_is_a_real_one_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
