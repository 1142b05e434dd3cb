#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/disk.h"
#include "base/clock.h"
#include "base/log.h"
#include "scene.h"
#include "test.h"

/* Accounting without backends: what comes in is kept and shown. */
struct stage {
	struct scene scene;
	struct conf conf;
	struct backend_config config;
	struct accounting *accounting;
	struct ip_addr relay;
	int taken, errs[8];
	char ids[8][ACCOUNTING_ID_SIZE];
	int rows;
	bool shown;
	char row[1024];
};

static struct stage stage;

static void begin(void)
{
	struct buf why = {0};

	assert_int_equal(accounting_new(&stage.accounting, stage.scene.loop,
					stage.scene.store, stage.scene.path,
					&stage.config, &why),
			 0);
	scene_start(&stage.scene);
	assert_int_equal(accounting_start(stage.accounting), 0);
	buf_done(&why);
}

static int setup(void **state)
{
	(void)state;
	memset(&stage, 0, sizeof(stage));
	scene_init(&stage.scene);
	stage.conf.accounting.history_time_us = 3600 * US_PER_S;
	stage.conf.accounting.history_mib = 100;
	stage.config = (struct backend_config){&stage.conf, stage.scene.folder,
					       stage.scene.folder};
	assert_int_equal(ip_parse(SPAN("10.0.0.9"), &stage.relay), 0);
	begin();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	disk_set_full(false);
	accounting_stop(stage.accounting, US_PER_S);
	scene_done(&stage.scene);
	accounting_free(stage.accounting);
	return 0;
}

static void taken(int err, const char *record_id, void *arg)
{
	(void)arg;
	strcpy(stage.ids[stage.taken], record_id);
	stage.errs[stage.taken++] = err;
}

static int take(const char *json)
{
	return accounting_take(stage.accounting, &stage.relay, span_of(json),
			       taken, NULL);
}

static bool all_taken(void *arg)
{
	return stage.taken == *(int *)arg;
}

static void until_taken(int count)
{
	scene_until(&stage.scene, all_taken, &count);
}

static void row(const struct span *text, int err, const char *why, void *arg)
{
	(void)arg;
	(void)why;
	assert_int_equal(err, 0);
	if (!text) {
		stage.shown = true;
		return;
	}
	stage.rows++;
	snprintf(stage.row, sizeof(stage.row), "%.*s", SPAN_ARG(*text));
}

static bool is_shown(void *arg)
{
	(void)arg;
	return stage.shown;
}

static void show(const char *call_id)
{
	const struct accounting_query query = {.call_id = span_of(call_id),
					       .max = 10};

	stage.rows = 0;
	stage.shown = false;
	assert_int_equal(accounting_show(stage.accounting, &query, row, NULL),
			 0);
	scene_until(&stage.scene, is_shown, NULL);
}

static void test_a_record_is_on_disk_when_it_is_said_to_be_taken(void **state)
{
	char copy[128];
	struct store_db *db;
	struct delivery delivery;
	size_t count = 0;

	(void)state;
	assert_int_equal(take("{\"call_id\": \"a\", \"record_id\": \"x-1\"}"),
			 0);
	assert_int_equal(stage.taken, 0);
	until_taken(1);
	assert_int_equal(stage.errs[0], 0);
	assert_string_equal(stage.ids[0], "x-1");
	snprintf(copy, sizeof(copy), "%s/durable.db", stage.scene.folder);
	disk_write_durable(stage.scene.path, copy);
	assert_int_equal(store_reader_open(&db, copy), 0);
	assert_int_equal(spool_read(db, 0, &delivery, 1, &count), SQLITE_OK);
	assert_int_equal(count, 1);
	assert_true(span_equal(delivery.record.call_id, SPAN("a")));
	spool_batch_done(&delivery, 1);
	store_reader_close(db);
}

static void test_a_record_that_comes_again_is_taken_once(void **state)
{
	(void)state;
	take("{\"call_id\": \"a\", \"record_id\": \"x-1\"}");
	take("{\"call_id\": \"a\", \"record_id\": \"x-1\", \"more\": 1}");
	until_taken(2);
	assert_int_equal(stage.errs[1], 0);
	show("a");
	assert_int_equal(stage.rows, 1);
}

static void test_a_record_without_an_id_gets_one_and_its_relay(void **state)
{
	(void)state;
	take("{\"call_id\": \"a\"}");
	take("{\"call_id\": \"b\", \"record_id\": \"bad\\nid\"} ");
	until_taken(2);
	assert_string_not_equal(stage.ids[0], stage.ids[1]);
	show("a");
	assert_int_equal(stage.rows, 1);
	assert_non_null(strstr(stage.row, ", \"relay\": \"10.0.0.9\"}"));
	assert_non_null(strstr(stage.row, stage.ids[0]));
	show("b");
	assert_non_null(strstr(stage.row, stage.ids[1]));
}

static void test_what_is_no_record_is_refused_at_once(void **state)
{
	(void)state;
	assert_int_equal(take("[]"), -EBADMSG);
	assert_int_equal(take("{\"call_id\": 1}"), -EBADMSG);
	assert_int_equal(take("{\"call_id\": \"a\""), -EBADMSG);
	assert_int_equal(stage.taken, 0);
}

static void test_a_full_disk_keeps_records_waiting(void **state)
{
	(void)state;
	disk_set_full(true);
	take("{\"call_id\": \"a\", \"record_id\": \"x-1\"}");
	scene_run(&stage.scene, 200 * US_PER_MS);
	assert_int_equal(stage.taken, 0);
	assert_true(accounting_is_failing(stage.accounting));
	disk_set_full(false);
	until_taken(1);
	assert_int_equal(stage.errs[0], 0);
}

static void test_the_history_outlives_a_restart(void **state)
{
	(void)state;
	take("{\"call_id\": \"a\", \"record_id\": \"x-1\"}");
	until_taken(1);
	accounting_stop(stage.accounting, US_PER_S);
	scene_restart(&stage.scene);
	accounting_free(stage.accounting);
	begin();
	show("");
	assert_int_equal(stage.rows, 1);
}

static void test_an_unknown_backend_is_refused_by_name(void **state)
{
	struct buf why = {0};

	(void)state;
	strcpy(stage.conf.dispatcher.accounting, "nonsense");
	assert_int_equal(accounting_check(&stage.config, &why), -EINVAL);
	assert_non_null(strstr(why.data, "nonsense"));
	buf_done(&why);
}

static void ignore_row(const struct span *text, int err, const char *why,
		       void *arg)
{
	(void)why;
	(void)text;
	(void)err;
	*(bool *)arg = true;
}

static void test_what_is_asked_is_answered_at_the_end_too(void **state)
{
	const struct accounting_query query = {.max = 10};
	bool answered = false;

	(void)state;
	assert_int_equal(accounting_show(stage.accounting, &query, ignore_row,
					 &answered),
			 0);
	accounting_stop(stage.accounting, US_PER_S);
	scene_restart(&stage.scene);
	assert_true(answered);
	accounting_free(stage.accounting);
	begin();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_a_record_is_on_disk_when_it_is_said_to_be_taken),
		TEST(test_a_record_that_comes_again_is_taken_once),
		TEST(test_a_record_without_an_id_gets_one_and_its_relay),
		TEST(test_what_is_no_record_is_refused_at_once),
		TEST(test_a_full_disk_keeps_records_waiting),
		TEST(test_the_history_outlives_a_restart),
		TEST(test_an_unknown_backend_is_refused_by_name),
		TEST(test_what_is_asked_is_answered_at_the_end_too),
	};

	log_set_level(LOG_LEVEL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
