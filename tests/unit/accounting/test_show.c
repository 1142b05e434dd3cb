#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/disk.h"
#include "accounting/backends.h"
#include "base/clock.h"
#include "base/log.h"
#include "scene.h"
#include "test.h"

/* Accounting with two backends of the test's own: it has the table of backends
 * in the place of accounting/backends.c. */

static int begin_backend(void **ret_state, const struct backend_config *config,
			 struct buf *ret_why)
{
	(void)config;
	(void)ret_why;
	*ret_state = NULL;
	return 0;
}

static int deliver_all(void *state, struct delivery *batch, size_t count,
		       struct buf *ret_why)
{
	(void)state;
	(void)ret_why;
	for (size_t i = 0; i < count; i++)
		batch[i].outcome = DELIVERY_DONE;
	return 0;
}

static int be_down(void *state, struct delivery *batch, size_t count,
		   struct buf *ret_why)
{
	(void)state;
	(void)batch;
	(void)count;
	buf_printf(ret_why, "nobody \"there\"");
	return -ECONNREFUSED;
}

static void end_backend(void *state)
{
	(void)state;
}

static const struct backend good = {.name = "good",
				    .batch = 10,
				    .start = begin_backend,
				    .deliver = deliver_all,
				    .stop = end_backend};
static const struct backend down = {.name = "down",
				    .batch = 10,
				    .start = begin_backend,
				    .deliver = be_down,
				    .stop = end_backend};

const struct backend *backend_find(struct span name)
{
	return span_equal(name, SPAN("good")) ? &good : &down;
}

struct stage {
	struct scene scene;
	struct conf conf;
	struct backend_config config;
	struct accounting *accounting;
	int rows, err, retried_err;
	int64_t retried;
	bool shown, is_retried;
	char first[2048], last[2048], why[256];
};

static struct stage stage;

/* With threads: backends deliver. */
static void begin(bool threads)
{
	struct buf why = {0};

	assert_int_equal(accounting_new(&stage.accounting, stage.scene.loop,
					stage.scene.store, stage.scene.path,
					&stage.config, &why),
			 0);
	scene_start(&stage.scene);
	if (threads)
		assert_int_equal(accounting_start(stage.accounting), 0);
	buf_done(&why);
}

static int setup(void **state)
{
	(void)state;
	memset(&stage, 0, sizeof(stage));
	scene_init(&stage.scene);
	strcpy(stage.conf.dispatcher.accounting, "good, down");
	stage.conf.accounting.history_time_us = 3600 * US_PER_S;
	stage.conf.accounting.history_mib = 100;
	stage.config = (struct backend_config){&stage.conf, stage.scene.folder,
					       stage.scene.folder};
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

static void set_aside(const char *backend, int64_t seq)
{
	assert_int_equal(spool_set_aside(store_db(stage.scene.store), backend,
					 seq, "too \"long\"", 7 * US_PER_S),
			 SQLITE_OK);
}

static void row(const struct span *text, int err, const char *why, void *arg)
{
	(void)arg;
	if (!text) {
		stage.err = err;
		snprintf(stage.why, sizeof(stage.why), "%s", why);
		stage.shown = true;
		return;
	}
	snprintf(stage.last, sizeof(stage.last), "%.*s", SPAN_ARG(*text));
	if (stage.rows++ == 0)
		strcpy(stage.first, stage.last);
}

static bool is_shown(void *arg)
{
	(void)arg;
	return stage.shown;
}

static int show(struct accounting_query query)
{
	stage.rows = 0;
	stage.shown = false;
	assert_int_equal(accounting_show(stage.accounting, &query, row, NULL),
			 0);
	scene_until(&stage.scene, is_shown, NULL);
	return stage.rows;
}

static const char *show_status(void)
{
	stage.rows = 0;
	stage.shown = false;
	assert_int_equal(accounting_show_status(stage.accounting, row, NULL),
			 0);
	scene_until(&stage.scene, is_shown, NULL);
	assert_int_equal(stage.rows, 1);
	assert_int_equal(stage.err, 0);
	return stage.first;
}

static void retried(int err, int64_t count, void *arg)
{
	(void)arg;
	stage.retried_err = err;
	stage.retried = count;
	stage.is_retried = true;
}

static bool retry_is_over(void *arg)
{
	(void)arg;
	return stage.is_retried;
}

static int64_t retry(const char *backend, const char *record_id)
{
	stage.is_retried = false;
	assert_int_equal(accounting_retry(stage.accounting, span_of(backend),
					  span_of(record_id), retried, NULL),
			 0);
	scene_until(&stage.scene, retry_is_over, NULL);
	assert_int_equal(stage.retried_err, 0);
	return stage.retried;
}

static void test_what_was_set_aside_is_shown_with_the_reason(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 3);
	set_aside("good", 2);
	begin(false);
	assert_int_equal(
		show((struct accounting_query){.aside = true, .max = 10}), 1);
	assert_string_equal(
		stage.first,
		"{\"seq\": 2, \"stored\": 7.0, \"backend\": \"good\", "
		"\"reason\": \"too \\\"long\\\"\", \"retry\": false, "
		"\"record\": {\"call_id\": \"c2\", \"from_tag\": \"f\", "
		"\"to_tag\": \"t\", \"start_time\": 1.5, \"streams\": [], "
		"\"record_id\": \"r2\"}}");
	assert_int_equal(show((struct accounting_query){.aside = true,
							.backend = SPAN("down"),
							.max = 10}),
			 0);
}

static void test_a_record_that_two_backends_refused_is_on_one_page(void **state)
{
	struct accounting_query query = {.aside = true, .max = 1};

	(void)state;
	scene_fill(&stage.scene, 1, 3);
	for (int64_t seq = 1; seq <= 3; seq++) {
		set_aside("good", seq);
		set_aside("down", seq);
	}
	begin(false);
	for (query.before = 4; query.before > 1; query.before--)
		assert_int_equal(show(query), 2);
	assert_int_equal(show(query), 0);
}

static void test_a_page_ends_when_it_has_enough_bytes(void **state)
{
	struct accounting_query query = {.max = 10, .max_bytes = 1};

	(void)state;
	scene_fill(&stage.scene, 1, 5);
	begin(false);
	assert_int_equal(show(query), 1);
	query.max_bytes = 200; /* of records of about 100 */
	assert_int_equal(show(query), 2);
	assert_non_null(strstr(stage.first, "\"c5\""));
	query.max_bytes = 0;
	assert_int_equal(show(query), 5);
}

static void test_a_row_is_one_line_whatever_the_relay_wrote(void **state)
{
	struct record record = record_make("c", "r", "{\n\"a\":\n1}");
	int64_t seq;

	(void)state;
	assert_int_equal(
		spool_add(store_db(stage.scene.store), &record, 0, &seq),
		SQLITE_OK);
	begin(false);
	assert_int_equal(show((struct accounting_query){.max = 10}), 1);
	assert_string_equal(stage.first, "{\"seq\": 1, \"stored\": 0.0, "
					 "\"record\": { \"a\": 1}}");
}

static void test_what_cannot_be_read_says_why(void **state)
{
	(void)state;
	begin(false);
	assert_int_equal(
		store_exec(store_db(stage.scene.store), "DROP TABLE records"),
		SQLITE_OK);
	assert_int_equal(show((struct accounting_query){.max = 10}), 0);
	assert_int_equal(stage.err, -EIO);
	assert_non_null(strstr(stage.why, "no such table: records"));
}

static void test_the_status_counts_what_is_set_aside_now(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 3);
	set_aside("good", 1);
	set_aside("good", 2);
	begin(false);
	assert_non_null(strstr(show_status(), "{\"accounting\": {"));
	assert_non_null(strstr(stage.first, "{\"name\": \"good\", "));
	assert_non_null(strstr(stage.first, "\"aside\": 2"));
	assert_non_null(strstr(stage.first, "\"aside\": 0"));
}

static bool down_is_down(void *arg)
{
	(void)arg;
	return strstr(show_status(), "\"state\": \"down\", \"why\": \"nobody "
				     "\\\"there\\\"\", \"down_for\": ") != NULL;
}

static void test_the_status_says_which_backend_is_down_and_why(void **state)
{
	(void)state;
	begin(true);
	accounting_stop(stage.accounting, US_PER_S);
	/* Cursors are there now: these are new to both. */
	scene_restart(&stage.scene);
	scene_fill(&stage.scene, 1, 3);
	accounting_free(stage.accounting);
	begin(true);
	for (int i = 0; i < 1000 && !down_is_down(NULL); i++)
		scene_run(&stage.scene, 5 * US_PER_MS);
	assert_true(down_is_down(NULL));
	assert_non_null(strstr(stage.first, "\"waiting\": 3"));
}

static bool is_failing(void *arg)
{
	return accounting_is_failing(arg);
}

static void
test_while_the_disk_fails_the_status_is_there_without_counts(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 1);
	set_aside("good", 1);
	begin(false);
	disk_set_full(true);
	stage.is_retried = false;
	accounting_retry(stage.accounting, SPAN(""), SPAN(""), retried, NULL);
	scene_until(&stage.scene, is_failing, stage.accounting);
	assert_non_null(strstr(show_status(), "\"disk_failing\": true"));
	assert_null(strstr(stage.first, "\"aside\""));
	disk_set_full(false);
	scene_until(&stage.scene, retry_is_over, NULL);
}

static void test_only_configured_backends_try_again(void **state)
{
	(void)state;
	scene_fill(&stage.scene, 1, 3);
	for (int64_t seq = 1; seq <= 3; seq++)
		set_aside("good", seq);
	set_aside("down", 3);
	set_aside("gone", 3);
	begin(false);
	assert_int_equal(retry("", "r9"), 0);
	assert_int_equal(retry("down", "r1"), 0);
	assert_int_equal(retry("", "r3"), 2);
	assert_int_equal(retry("good", ""), 3);
	assert_int_equal(retry("", ""), 4);
	assert_int_equal(show((struct accounting_query){.aside = true,
							.backend = SPAN("gone"),
							.max = 10}),
			 1);
	assert_non_null(strstr(stage.first, "\"retry\": false"));
}

static void test_what_is_tried_again_with_success_is_not_aside(void **state)
{
	struct accounting_query query = {
		.aside = true, .backend = SPAN("good"), .max = 10};

	(void)state;
	scene_fill(&stage.scene, 1, 3);
	set_aside("good", 2);
	begin(true);
	assert_int_equal(show(query), 1);
	assert_int_equal(retry("good", "r2"), 1);
	for (int i = 0; i < 1000 && show(query) > 0; i++)
		scene_run(&stage.scene, 5 * US_PER_MS);
	assert_int_equal(stage.rows, 0);
}

static void test_backends_are_known_by_name(void **state)
{
	struct buf names = {0};

	(void)state;
	begin(false);
	accounting_write_names(stage.accounting, &names);
	assert_string_equal(names.data, "good, down");
	assert_true(accounting_has_backend(stage.accounting, SPAN("down")));
	assert_false(accounting_has_backend(stage.accounting, SPAN("gone")));
	assert_false(accounting_has_backend(stage.accounting, SPAN("")));
	buf_done(&names);
}

static void test_all_that_was_asked_is_answered_at_the_end(void **state)
{
	const struct accounting_query query = {.max = 10};

	(void)state;
	begin(false);
	assert_int_equal(accounting_show(stage.accounting, &query, row, NULL),
			 0);
	assert_int_equal(accounting_retry(stage.accounting, SPAN(""), SPAN(""),
					  retried, NULL),
			 0);
	assert_int_equal(accounting_show_status(stage.accounting, row, NULL),
			 0);
	accounting_stop(stage.accounting, US_PER_S);
	scene_restart(&stage.scene);
	assert_true(stage.shown);
	assert_true(stage.is_retried);
	accounting_free(stage.accounting);
	begin(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_what_was_set_aside_is_shown_with_the_reason),
		TEST(test_a_record_that_two_backends_refused_is_on_one_page),
		TEST(test_a_page_ends_when_it_has_enough_bytes),
		TEST(test_a_row_is_one_line_whatever_the_relay_wrote),
		TEST(test_what_cannot_be_read_says_why),
		TEST(test_the_status_counts_what_is_set_aside_now),
		TEST(test_the_status_says_which_backend_is_down_and_why),
		TEST(test_while_the_disk_fails_the_status_is_there_without_counts),
		TEST(test_only_configured_backends_try_again),
		TEST(test_what_is_tried_again_with_success_is_not_aside),
		TEST(test_backends_are_known_by_name),
		TEST(test_all_that_was_asked_is_answered_at_the_end),
	};

	log_set_level(LOG_LEVEL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
