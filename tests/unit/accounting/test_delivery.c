#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../store/disk.h"
#include "accounting/delivery.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "scene.h"
#include "test.h"

/* A backend that does what the test says, and notes what it was given. */
struct taker {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool down, hangs, hanging, stopped, interims_fail, refuses;
	int refused_seq, later_seq; /* 0: none */
	int taken[4096];            /* seq, in order */
	int count, interims, calls;
};

static struct taker taker = {.lock = PTHREAD_MUTEX_INITIALIZER,
			     .changed = PTHREAD_COND_INITIALIZER};

static int take(void *state, struct delivery *batch, size_t count,
		struct buf *ret_why)
{
	int err = 0;

	(void)state;
	pthread_mutex_lock(&taker.lock);
	taker.calls++;
	while (taker.hangs) {
		taker.hanging = true;
		pthread_cond_wait(&taker.changed, &taker.lock);
	}
	for (size_t i = 0; i < count && err == 0; i++) {
		int seq = (int)batch[i].record.seq;

		if (taker.down || seq == taker.later_seq) {
			buf_printf(ret_why, "nobody is there");
			err = -ECONNREFUSED;
		} else if (taker.refuses || seq == taker.refused_seq) {
			batch[i].outcome = DELIVERY_REFUSED;
			strcpy(batch[i].reason, "not this one");
		} else {
			taker.taken[taker.count++] = seq;
			batch[i].outcome = DELIVERY_DONE;
		}
	}
	pthread_mutex_unlock(&taker.lock);
	return err;
}

static int take_interim(void *state, const struct record *record,
			struct buf *ret_why)
{
	int err;

	(void)state;
	(void)record;
	(void)ret_why;
	pthread_mutex_lock(&taker.lock);
	taker.interims++;
	err = taker.interims_fail ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&taker.lock);
	/* A server that does not answer, or is far away. */
	usleep(20000);
	return err;
}

static void stop(void *state)
{
	(void)state;
	pthread_mutex_lock(&taker.lock);
	taker.stopped = true;
	pthread_mutex_unlock(&taker.lock);
}

static const struct backend test_backend = {
	.name = "test",
	.batch = 10,
	.deliver = take,
	.interim = take_interim,
	.stop = stop,
};

static void set(bool *flag, bool value)
{
	pthread_mutex_lock(&taker.lock);
	*flag = value;
	pthread_cond_broadcast(&taker.changed);
	pthread_mutex_unlock(&taker.lock);
}

static int get(const int *number)
{
	int value;

	pthread_mutex_lock(&taker.lock);
	value = *number;
	pthread_mutex_unlock(&taker.lock);
	return value;
}

struct stage {
	struct scene scene;
	struct delivery_thread *thread;
	struct delivery_status status;
	int wanted;
};

static struct stage stage;

static void begin(void)
{
	struct delivery_config config = {
		.backend = &test_backend,
		.store = stage.scene.store,
		.store_path = stage.scene.path,
		.random = 1,
	};

	assert_int_equal(spool_cursor(store_db(stage.scene.store), "test",
				      &config.cursor),
			 SQLITE_OK);
	scene_start(&stage.scene);
	assert_int_equal(delivery_start(&stage.thread, &config), 0);
}

static void end(void)
{
	stage.thread = delivery_free(stage.thread, 5 * US_PER_S);
}

static int setup(void **state)
{
	(void)state;
	memset(&stage, 0, sizeof(stage));
	taker.down = taker.hangs = taker.hanging = taker.stopped = false;
	taker.interims_fail = taker.refuses = false;
	taker.refused_seq = taker.later_seq = 0;
	taker.count = taker.interims = taker.calls = 0;
	scene_init(&stage.scene);
	assert_int_equal(
		spool_set_cursor(store_db(stage.scene.store), "test", 0), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	end();
	scene_done(&stage.scene);
	return 0;
}

static bool has_taken(void *arg)
{
	(void)arg;
	return get(&taker.count) >= stage.wanted;
}

static void until_taken(int count)
{
	stage.wanted = count;
	scene_until(&stage.scene, has_taken, NULL);
	assert_int_equal(get(&taker.count), count);
}

static bool is_down(void *arg)
{
	(void)arg;
	delivery_read_status(stage.thread, &stage.status);
	return stage.status.is_down;
}

static bool has_settled(void *arg)
{
	(void)arg;
	delivery_read_status(stage.thread, &stage.status);
	return stage.status.cursor >= stage.wanted;
}

static void until_settled(int cursor)
{
	stage.wanted = cursor;
	scene_until(&stage.scene, has_settled, NULL);
}

static void assert_taken_in_order(int first, int count)
{
	assert_int_equal(get(&taker.count), count);
	for (int i = 0; i < count; i++)
		assert_int_equal(taker.taken[i], first + i);
}

static void test_all_that_waits_is_delivered_in_order(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 95);
	begin();
	until_taken(95);
	until_settled(95);
	assert_taken_in_order(1, 95);
	assert_int_equal(stage.status.delivered, 95);
}

static void test_after_a_restart_it_goes_on_where_it_was(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 20);
	begin();
	until_taken(20);
	end();
	assert_true(taker.stopped);
	scene_restart(&stage.scene);
	scene_fill(&stage.scene, 21, 25);
	begin();
	until_taken(25);
	assert_taken_in_order(1, 25);
}

static void test_a_backend_that_is_down_loses_nothing(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 25);
	taker.down = true;
	begin();
	scene_until(&stage.scene, is_down, NULL);
	assert_string_equal(stage.status.why, "nobody is there");
	assert_int_equal(stage.status.cursor, 0);
	set(&taker.down, false);
	until_taken(25);
	until_settled(25);
	assert_taken_in_order(1, 25);
	assert_false(stage.status.is_down);
	assert_int_equal(stage.status.why[0], '\0');
}

static void test_a_backend_that_stays_down_is_asked_less_and_less(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 1);
	taker.down = true;
	begin();
	/* At 0, about 0.5 and about 1.5 s. */
	scene_run(&stage.scene, 2 * US_PER_S);
	assert_in_range(get(&taker.calls), 2, 4);
	/* Whoever asks for a retry need not wait. */
	set(&taker.down, false);
	delivery_retry(stage.thread);
	until_taken(1);
}

static void test_a_refused_record_is_set_aside_and_holds_up_none(void **state)
{
	int64_t count = 0;

	(void)state;
	scene_fill(&stage.scene, 1, 30);
	taker.refused_seq = 7;
	begin();
	until_taken(29);
	until_settled(30);
	assert_int_equal(stage.status.set_aside, 1);
	end();
	scene_restart(&stage.scene);
	assert_int_equal(
		spool_count_aside(store_db(stage.scene.store), "test", &count),
		SQLITE_OK);
	assert_int_equal(count, 1);

	/* Asked to, it is tried again, once. */
	taker.refused_seq = 0;
	assert_int_equal(spool_retry(store_db(stage.scene.store), SPAN(""),
				     SPAN(""), &count),
			 SQLITE_OK);
	begin();
	until_taken(30);
	assert_int_equal(taker.taken[29], 7);
	end();
	scene_restart(&stage.scene);
	assert_int_equal(
		spool_count_aside(store_db(stage.scene.store), "test", &count),
		SQLITE_OK);
	assert_int_equal(count, 0);
	begin();
}

static int lines_of(const char *path)
{
	FILE *file = fopen(path, "r");
	int lines = 0;
	int c;

	assert_non_null(file);
	while ((c = getc(file)) != EOF)
		lines += c == '\n';
	fclose(file);
	return lines;
}

static void test_a_backend_that_refuses_all_fills_no_log(void **state)
{
	char path[128];
	int before = dup(STDERR_FILENO);
	FILE *log;

	(void)state;
	snprintf(path, sizeof(path), "%s/log", stage.scene.folder);
	log = fopen(path, "w");
	assert_non_null(log);
	dup2(fileno(log), STDERR_FILENO);
	log_set_level(LOG_LEVEL_ERROR);
	scene_fill(&stage.scene, 1, 500);
	taker.refuses = true;
	begin();
	until_settled(500);
	log_set_level(LOG_LEVEL_ERROR + 1);
	dup2(before, STDERR_FILENO);
	close(before);
	fclose(log);
	assert_int_equal(stage.status.set_aside, 500);
	assert_in_range(lines_of(path), 1, 30);
}

static void test_what_was_settled_before_a_failure_counts(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 10);
	taker.later_seq = 6;
	begin();
	until_settled(5);
	assert_taken_in_order(1, 5);
	pthread_mutex_lock(&taker.lock);
	taker.later_seq = 0;
	pthread_mutex_unlock(&taker.lock);
	until_taken(10);
	assert_taken_in_order(1, 10);
}

static bool hangs(void *arg)
{
	bool hanging;

	(void)arg;
	pthread_mutex_lock(&taker.lock);
	hanging = taker.hanging;
	pthread_mutex_unlock(&taker.lock);
	return hanging;
}

static int add_one(struct store_db *db, void *arg)
{
	const struct record record = record_make("c", "new", "{}");
	int64_t seq;

	(void)arg;
	return spool_add(db, &record, 1, &seq);
}

static void added(int err, void *arg)
{
	(void)arg;
	assert_int_equal(err, 0);
	delivery_wake(stage.thread);
}

static int write_something(struct store_db *db, void *arg)
{
	(void)arg;
	return spool_set_cursor(db, "other", 1);
}

static void written(int err, void *arg)
{
	(void)arg;
	assert_int_equal(err, 0);
}

static bool are_too_many_waiting(void *arg)
{
	struct store_counts counts;

	(void)arg;
	store_count(stage.scene.store, &counts);
	return counts.waiting >= SCENE_MAX_WAITING;
}

static bool is_nobody_waiting(void *arg)
{
	struct store_counts counts;

	(void)arg;
	store_count(stage.scene.store, &counts);
	return counts.waiting == 0;
}

static void
test_what_is_set_aside_while_too_many_wait_is_set_aside(void **state)
{
	int64_t count = 0;

	(void)state;
	scene_fill(&stage.scene, 1, 20);
	taker.refused_seq = 7;
	taker.hangs = true;
	begin();
	scene_until(&stage.scene, hangs, NULL);
	disk_set_stalled(true);
	for (int i = 0; i < SCENE_MAX_WAITING; i++)
		store_submit(stage.scene.store, write_something, written, NULL);
	scene_until(&stage.scene, are_too_many_waiting, NULL);
	set(&taker.hangs, false);
	until_taken(19);
	until_settled(20);
	disk_set_stalled(false);
	scene_until(&stage.scene, is_nobody_waiting, NULL);
	/* The next one moves the cursor past it. */
	store_submit(stage.scene.store, add_one, added, NULL);
	until_taken(20);
	until_settled(21);
	end();
	scene_restart(&stage.scene);
	assert_int_equal(
		spool_count_aside(store_db(stage.scene.store), "test", &count),
		SQLITE_OK);
	assert_int_equal(count, 1);
	begin();
}

static void test_a_new_record_is_delivered_at_once(void **state)
{
	(void)state;
	begin();
	store_submit(stage.scene.store, add_one, added, NULL);
	until_taken(1);
}

static void test_calls_that_are_up_are_reported_while_it_is_up(void **state)
{
	(void)state;
	begin();
	delivery_interim(stage.thread, SPAN("{\"call_id\": \"a\"}"));
	delivery_interim(stage.thread, SPAN("no json"));
	scene_run(&stage.scene, 100 * US_PER_MS);
	assert_int_equal(get(&taker.interims), 1);
}

static void report_many(void)
{
	for (int i = 0; i < 500; i++)
		delivery_interim(stage.thread, SPAN("{\"call_id\": \"a\"}"));
}

static void test_calls_that_are_up_hold_up_no_final_record(void **state)
{
	(void)state;
	begin();
	report_many();
	store_submit(stage.scene.store, add_one, added, NULL);
	until_taken(1);
	assert_in_range(get(&taker.interims), 0, 50);
}

static void
test_a_server_that_takes_no_reports_is_not_asked_for_each(void **state)
{
	(void)state;
	taker.interims_fail = true;
	begin();
	report_many();
	scene_run(&stage.scene, US_PER_S);
	assert_in_range(get(&taker.interims), 1, 3);
	assert_false(is_down(NULL));
	assert_int_equal(stage.status.interims_dropped, 500);
}

static bool has_stopped(void *arg)
{
	bool stopped;

	(void)arg;
	pthread_mutex_lock(&taker.lock);
	stopped = taker.stopped;
	pthread_mutex_unlock(&taker.lock);
	return stopped;
}

static void test_a_backend_that_hangs_holds_up_no_stop(void **state)
{
	uint64_t before_us = clock_mono_us();

	(void)state;
	scene_fill(&stage.scene, 1, 1);
	taker.hangs = true;
	begin();
	scene_until(&stage.scene, hangs, NULL);
	stage.thread = delivery_free(stage.thread, 100 * US_PER_MS);
	assert_true(clock_mono_us() - before_us < 10 * US_PER_S);
	/* Left behind, it ends by itself, and touches no store. */
	scene_restart(&stage.scene);
	set(&taker.hangs, false);
	scene_until(&stage.scene, has_stopped, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_all_that_waits_is_delivered_in_order),
		TEST(test_after_a_restart_it_goes_on_where_it_was),
		TEST(test_a_backend_that_is_down_loses_nothing),
		TEST(test_a_backend_that_stays_down_is_asked_less_and_less),
		TEST(test_a_refused_record_is_set_aside_and_holds_up_none),
		TEST(test_a_backend_that_refuses_all_fills_no_log),
		TEST(test_what_was_settled_before_a_failure_counts),
		TEST(test_what_is_set_aside_while_too_many_wait_is_set_aside),
		TEST(test_a_new_record_is_delivered_at_once),
		TEST(test_calls_that_are_up_are_reported_while_it_is_up),
		TEST(test_calls_that_are_up_hold_up_no_final_record),
		TEST(test_a_server_that_takes_no_reports_is_not_asked_for_each),
		TEST(test_a_backend_that_hangs_holds_up_no_stop),
	};

	log_set_level(LOG_LEVEL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
