#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "disk.h"
#include "store/store.h"
#include "test.h"

#define LIMIT_US (20 * US_PER_S)

/* A store in a folder of its own, on the disk of disk.h. */
struct scene {
	struct loop *loop;
	struct store *store;
	struct timer *limit;
	char folder[64], path[96];
	int done, wanted;      /* jobs; the loop stops at wanted */
	int last_err, errs[4]; /* of the first jobs */
	int failing, told;
	char why[128];
};

static struct scene scene;

static void limit_reached(void *arg)
{
	(void)arg;
	fail_msg("not done in time");
}

static void told_failing(bool is_failing, const char *why, void *arg)
{
	(void)arg;
	scene.told++;
	scene.failing = is_failing;
	snprintf(scene.why, sizeof(scene.why), "%s", why);
}

static int add_row(struct store_db *db, void *arg)
{
	sqlite3_stmt *s =
		store_statement(db, "INSERT INTO rows (n) VALUES (?1)");

	store_bind_i64(s, 1, (int)(intptr_t)arg);
	return store_run(s);
}

static void job_done(int err, void *arg)
{
	(void)arg;
	scene.last_err = err;
	if (scene.done < 4)
		scene.errs[scene.done] = err;
	if (++scene.done == scene.wanted)
		loop_stop(scene.loop);
}

static void open_store(size_t max_waiting)
{
	const struct store_config config = {
		.loop = scene.loop,
		.path = scene.path,
		.max_waiting = max_waiting,
		.failing = told_failing,
	};
	struct buf why = {0};

	assert_int_equal(store_open(&scene.store, &config, &why), 0);
	assert_int_equal(store_exec(store_db(scene.store),
				    "CREATE TABLE IF NOT EXISTS rows "
				    "(n INTEGER PRIMARY KEY)"),
			 SQLITE_OK);
	assert_int_equal(store_start(scene.store), 0);
	buf_done(&why);
}

static int setup(void **state)
{
	(void)state;
	memset(&scene, 0, sizeof(scene));
	strcpy(scene.folder, "/tmp/mediaproxy-test.XXXXXX");
	assert_non_null(mkdtemp(scene.folder));
	snprintf(scene.path, sizeof(scene.path), "%s/store.db", scene.folder);
	disk_install();
	assert_int_equal(loop_new(&scene.loop), 0);
	assert_int_equal(
		timer_new(&scene.limit, scene.loop, limit_reached, NULL), 0);
	open_store(0);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	disk_set_full(false);
	disk_set_stalled(false);
	store_free(scene.store, US_PER_S);
	timer_free(scene.limit);
	loop_free(scene.loop);
	disk_uninstall();
	snprintf(command, sizeof(command), "rm -rf %s", scene.folder);
	return system(command);
}

/* Run the loop until so many more jobs are done. */
static void run_until_done(int count)
{
	scene.wanted = scene.done + count;
	timer_start(scene.limit, LIMIT_US);
	assert_int_equal(loop_run(scene.loop), 0);
	timer_stop(scene.limit);
	assert_int_equal(scene.done, scene.wanted);
}

static void stop_loop(void *arg)
{
	(void)arg;
	loop_stop(scene.loop);
}

static void run_for(uint64_t us)
{
	struct timer *timer;

	assert_int_equal(timer_new(&timer, scene.loop, stop_loop, NULL), 0);
	timer_start(timer, us);
	assert_int_equal(loop_run(scene.loop), 0);
	timer_free(timer);
}

static void submit(int n)
{
	store_submit(scene.store, add_row, job_done, (void *)(intptr_t)n);
}

/* How many rows a file has that was written by disk_write_durable(). */
static int rows_on_disk(void)
{
	struct store_db *db;
	sqlite3_stmt *s;
	char path[160];
	int rows = -1;

	snprintf(path, sizeof(path), "%s/durable.db", scene.folder);
	disk_write_durable(scene.path, path);
	if (store_reader_open(&db, path) < 0)
		return -1;
	s = store_statement(db, "SELECT count(*) FROM rows");
	if (store_step(s) == SQLITE_ROW)
		rows = sqlite3_column_int(s, 0);
	store_reader_close(db);
	return rows;
}

static void test_what_was_told_done_is_there_after_a_power_failure(void **state)
{
	(void)state;
	for (int n = 1; n <= 5; n++) {
		submit(n);
		run_until_done(1);
		assert_int_equal(scene.last_err, 0);
		assert_int_equal(rows_on_disk(), n);
	}
}

static void test_jobs_of_one_turn_share_a_sync(void **state)
{
	struct store_counts counts;
	size_t before;

	(void)state;
	submit(1);
	run_until_done(1);
	before = disk_syncs();
	for (int n = 2; n <= 1000; n++)
		submit(n);
	run_until_done(999);
	assert_int_equal(disk_syncs() - before, 1);
	assert_int_equal(rows_on_disk(), 1000);
	store_count(scene.store, &counts);
	assert_int_equal(counts.commits, 2);
	assert_int_equal(counts.waiting, 0);
}

static void test_a_job_that_fails_spoils_no_other(void **state)
{
	(void)state;
	submit(1);
	submit(1); /* the key is taken */
	submit(2);
	run_until_done(3);
	assert_int_equal(scene.errs[0], 0);
	assert_int_equal(scene.errs[1], -EIO);
	assert_int_equal(scene.errs[2], 0);
	assert_int_equal(rows_on_disk(), 2);
}

static void test_a_full_disk_is_told_and_nothing_is_lost(void **state)
{
	(void)state;
	disk_set_full(true);
	submit(1);
	run_for(300 * US_PER_MS);
	assert_int_equal(scene.done, 0);
	assert_true(store_is_failing(scene.store));
	assert_true(scene.failing);
	assert_non_null(strstr(scene.why, "full"));
	submit(2);
	disk_set_full(false);
	run_until_done(2);
	assert_int_equal(scene.last_err, 0);
	run_for(300 * US_PER_MS);
	assert_false(store_is_failing(scene.store));
	assert_false(scene.failing);
	assert_int_equal(scene.told, 2);
	assert_int_equal(rows_on_disk(), 2);
}

static void test_a_disk_that_does_not_answer_is_told(void **state)
{
	(void)state;
	disk_set_stalled(true);
	submit(1);
	run_for(1600 * US_PER_MS);
	assert_int_equal(scene.done, 0);
	assert_true(store_is_failing(scene.store));
	assert_true(scene.failing);
	disk_set_stalled(false);
	run_until_done(1);
	assert_int_equal(scene.last_err, 0);
	assert_int_equal(rows_on_disk(), 1);
}

static void test_too_many_jobs_are_refused(void **state)
{
	struct store_counts counts;

	(void)state;
	store_free(scene.store, US_PER_S);
	open_store(/* max_waiting= */ 2);
	disk_set_stalled(true);
	submit(1);
	run_for(10 * US_PER_MS); /* the writer has it */
	submit(2);
	submit(3);
	run_until_done(1);
	assert_int_equal(scene.last_err, -ENOSPC);
	disk_set_stalled(false);
	run_until_done(2);
	assert_int_equal(scene.last_err, 0);
	store_count(scene.store, &counts);
	assert_int_equal(counts.refused, 1);
	assert_int_equal(rows_on_disk(), 2);
}

static int add_column(struct store_db *db, void *arg)
{
	(void)arg;
	return store_exec(db, "ALTER TABLE rows ADD COLUMN b");
}

static int add_blob(struct store_db *db, void *arg)
{
	sqlite3_stmt *s = store_statement(
		db, "INSERT INTO rows VALUES (NULL, zeroblob(16777216))");

	(void)arg;
	return store_run(s);
}

/* An operator's own look, or copy, of a large file. */
static void test_a_reader_that_takes_long_holds_up_no_commit(void **state)
{
	struct store_db *db;
	uint64_t before_us;

	(void)state;
	store_submit(scene.store, add_column, job_done, NULL);
	run_until_done(1);
	assert_int_equal(store_reader_open(&db, scene.path), 0);
	assert_int_equal(store_exec(db, "BEGIN; SELECT count(*) FROM rows"),
			 SQLITE_OK);
	/* More than the log is to have. */
	for (int i = 0; i < 9; i++) {
		store_submit(scene.store, add_blob, job_done, NULL);
		run_until_done(1);
	}
	before_us = clock_mono_us();
	for (int i = 0; i < 3; i++) {
		submit(i + 1000);
		run_until_done(1);
	}
	assert_true(clock_mono_us() - before_us < 10 * US_PER_S);
	store_reader_close(db);
}

static int count_rows(struct store_db *db, void *arg)
{
	sqlite3_stmt *s = store_statement(db, "SELECT count(*) FROM rows");
	int r = store_step(s);

	if (r != SQLITE_ROW)
		return r;
	*(int *)arg = sqlite3_column_int(s, 0);
	sqlite3_reset(s);
	return SQLITE_OK;
}

static void
test_a_question_is_answered_while_the_disk_stands_still(void **state)
{
	int rows = -1;

	(void)state;
	submit(1);
	run_until_done(1);
	disk_set_stalled(true);
	submit(2);
	run_for(10 * US_PER_MS);
	store_ask(scene.store, count_rows, job_done, &rows);
	run_until_done(1);
	assert_int_equal(rows, 1);
	disk_set_stalled(false);
	run_until_done(1);
}

static void test_all_is_written_before_it_closes(void **state)
{
	(void)state;
	for (int n = 1; n <= 100; n++)
		submit(n);
	scene.store = store_free(scene.store, US_PER_S);
	assert_int_equal(scene.done, 100);
	assert_int_equal(scene.last_err, 0);
	assert_int_equal(rows_on_disk(), 100);
}

static void test_a_disk_that_stays_full_ends_jobs_at_the_end(void **state)
{
	(void)state;
	disk_set_full(true);
	submit(1);
	scene.store = store_free(scene.store, 100 * US_PER_MS);
	assert_int_equal(scene.done, 1);
	assert_int_equal(scene.last_err, -ESHUTDOWN);
}

static void test_a_second_process_is_refused(void **state)
{
	const struct store_config config = {.loop = scene.loop,
					    .path = scene.path};
	struct store *other;
	struct buf why = {0};
	pid_t child;
	int status;

	(void)state;
	/* Locks are a process's. */
	child = fork();
	if (child == 0)
		_exit(store_open(&other, &config, &why) == -EBUSY ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_a_damaged_file_is_set_aside(void **state)
{
	const struct store_config config = {.loop = scene.loop,
					    .path = scene.path};
	struct buf why = {0};
	FILE *file;

	(void)state;
	scene.store = store_free(scene.store, US_PER_S);
	file = fopen(scene.path, "w");
	assert_non_null(file);
	for (int i = 0; i < 1000; i++)
		fputs("no database at all ", file);
	fclose(file);
	assert_int_equal(store_open(&scene.store, &config, &why), 0);
	assert_non_null(strstr(why.data, "damaged: it was set aside"));
	buf_done(&why);
}

static void
test_the_log_is_copied_into_the_file_beside_the_commits(void **state)
{
	struct store_counts counts;

	(void)state;
	for (int turn = 0; turn < 40; turn++) {
		for (int n = 0; n < 2000; n++)
			submit(turn * 2000 + n);
		run_until_done(2000);
	}
	store_count(scene.store, &counts);
	/* 80,000 rows are under a megabyte; the log alone would be 40 times
	 * its pages. */
	assert_true(counts.bytes < 16u << 20);
	assert_int_equal(rows_on_disk(), 80000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_what_was_told_done_is_there_after_a_power_failure),
		TEST(test_jobs_of_one_turn_share_a_sync),
		TEST(test_a_job_that_fails_spoils_no_other),
		TEST(test_a_full_disk_is_told_and_nothing_is_lost),
		TEST(test_a_disk_that_does_not_answer_is_told),
		TEST(test_too_many_jobs_are_refused),
		TEST(test_a_reader_that_takes_long_holds_up_no_commit),
		TEST(test_a_question_is_answered_while_the_disk_stands_still),
		TEST(test_all_is_written_before_it_closes),
		TEST(test_a_disk_that_stays_full_ends_jobs_at_the_end),
		TEST(test_a_second_process_is_refused),
		TEST(test_a_damaged_file_is_set_aside),
		TEST(test_the_log_is_copied_into_the_file_beside_the_commits),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
