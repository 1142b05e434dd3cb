#include <stdio.h>
#include <string.h>

#include "scene.h"
#include "test.h"

static int setup(void **state)
{
	static struct scene scene;

	scene_init(&scene);
	*state = &scene;
	return 0;
}

static int teardown(void **state)
{
	scene_done(*state);
	return 0;
}

static struct store_db *db_of(void **state)
{
	const struct scene *scene = *state;

	return store_db(scene->store);
}

static int64_t last(struct store_db *db)
{
	int64_t seq = -1;

	assert_int_equal(spool_last(db, &seq), SQLITE_OK);
	return seq;
}

static void test_a_record_is_kept_once_whatever_it_says(void **state)
{
	struct store_db *db = db_of(state);
	struct record record = record_make("call", "id", "{\"n\": 1}");
	int64_t seq;

	assert_int_equal(spool_add(db, &record, 7, &seq), SQLITE_OK);
	assert_int_equal(seq, 1);
	record.json = SPAN("{\"n\": 2}");
	assert_int_equal(spool_add(db, &record, 8, &seq), SQLITE_OK);
	assert_int_equal(seq, 0);
	assert_int_equal(last(db), 1);
}

static void test_texts_come_back_byte_for_byte(void **state)
{
	struct store_db *db = db_of(state);
	struct record record = {
		.record_id = SPAN("r"),
		.call_id = SPAN("a\0b'\"\\\xff\xf0\x9f\x98\x80"),
		.from_tag = SPAN(""),
		.to_tag = SPAN("\0"),
		.json = SPAN("{\"x\": \"'; DROP TABLE records; --\"}"),
	};
	struct delivery delivery;
	size_t count;
	int64_t seq;

	assert_int_equal(spool_add(db, &record, 1, &seq), SQLITE_OK);
	assert_int_equal(spool_read(db, 0, &delivery, 1, &count), SQLITE_OK);
	assert_int_equal(count, 1);
	assert_int_equal(delivery.record.seq, seq);
	assert_false(delivery.record.has_start_time);
	assert_true(span_equal(delivery.record.call_id, record.call_id));
	assert_true(span_equal(delivery.record.from_tag, record.from_tag));
	assert_true(span_equal(delivery.record.to_tag, record.to_tag));
	assert_true(span_equal(delivery.record.json, record.json));
	spool_batch_done(&delivery, 1);
}

static void test_records_are_read_in_order_behind_a_place(void **state)
{
	struct store_db *db = db_of(state);
	struct delivery batch[4];
	size_t count;

	scene_fill(*state, 1, 10);
	assert_int_equal(spool_read(db, 3, batch, 4, &count), SQLITE_OK);
	assert_int_equal(count, 4);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(batch[i].record.seq, 4 + i);
	spool_batch_done(batch, count);
	assert_int_equal(spool_read(db, 10, batch, 4, &count), SQLITE_OK);
	assert_int_equal(count, 0);
}

static void test_a_new_backend_begins_behind_what_is_there(void **state)
{
	struct store_db *db = db_of(state);
	int64_t seq;

	scene_fill(*state, 1, 3);
	assert_int_equal(spool_cursor(db, "new", &seq), SQLITE_OK);
	assert_int_equal(seq, 3);
	scene_fill(*state, 4, 5);
	assert_int_equal(spool_cursor(db, "new", &seq), SQLITE_OK);
	assert_int_equal(seq, 3);
	assert_int_equal(spool_set_cursor(db, "new", 4), SQLITE_OK);
	assert_int_equal(spool_cursor(db, "new", &seq), SQLITE_OK);
	assert_int_equal(seq, 4);
}

static int64_t count_aside(struct store_db *db, const char *backend)
{
	int64_t count = -1;

	assert_int_equal(spool_count_aside(db, backend, &count), SQLITE_OK);
	return count;
}

static void test_what_was_set_aside_is_tried_again_when_asked(void **state)
{
	struct store_db *db = db_of(state);
	struct delivery batch[4];
	size_t count;
	int64_t marked;

	scene_fill(*state, 1, 3);
	assert_int_equal(spool_set_aside(db, "db", 1, "too long", 1), 0);
	assert_int_equal(spool_set_aside(db, "db", 2, "too wide", 1), 0);
	assert_int_equal(spool_set_aside(db, "radius", 2, "no", 1), 0);
	assert_int_equal(spool_read_retries(db, "db", 0, batch, 4, &count), 0);
	assert_int_equal(count, 0);

	assert_int_equal(spool_retry(db, SPAN("db"), SPAN("r2"), &marked), 0);
	assert_int_equal(marked, 1);
	assert_int_equal(spool_read_retries(db, "db", 0, batch, 4, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(batch[0].record.seq, 2);
	spool_batch_done(batch, count);

	assert_int_equal(spool_take_back(db, "db", 2), SQLITE_OK);
	assert_int_equal(count_aside(db, "db"), 1);
	assert_int_equal(count_aside(db, "radius"), 1);
	assert_int_equal(spool_retry(db, SPAN(""), SPAN(""), &marked), 0);
	assert_int_equal(marked, 2);
}

static struct spool_pruned prune_from(struct store_db *db, int64_t after,
				      int64_t delivered, int64_t after_us,
				      int64_t max_bytes)
{
	const struct spool_limits limits = {
		.delivered_seq = delivered,
		.stored_after_us = after_us,
		.max_bytes = max_bytes,
		.after = after,
		.max_records = 4,
	};
	struct spool_pruned pruned = {-1, -1};

	assert_int_equal(spool_prune(db, &limits, &pruned), SQLITE_OK);
	return pruned;
}

static int64_t prune(struct store_db *db, int64_t delivered, int64_t after_us,
		     int64_t max_bytes)
{
	return prune_from(db, 0, delivered, after_us, max_bytes).count;
}

static void
test_old_records_go_when_all_have_them_and_nobody_refused(void **state)
{
	struct store_db *db = db_of(state);

	scene_fill(*state, 1, 10); /* stored at 1, 2, ... */
	assert_int_equal(spool_set_aside(db, "db", 2, "no", 1), SQLITE_OK);
	assert_int_equal(prune(db, 5, 4, 1 << 30), 2);   /* 1 and 3 */
	assert_int_equal(prune(db, 5, 100, 1 << 30), 2); /* 4 and 5 */
	assert_int_equal(prune(db, 5, 100, 1 << 30), 0);
	assert_int_equal(prune(db, 10, 100, 1 << 30), 3);
	/* The last one stays, whose place the next one follows. */
	assert_int_equal(prune(db, 10, 100, 1 << 30), 1);
	assert_int_equal(last(db), 10);
}

static void expect_pruned(struct spool_pruned pruned, int64_t count,
			  int64_t next)
{
	assert_int_equal(pruned.count, count);
	assert_int_equal(pruned.next, next);
}

/* A backend that refuses each record must not make the others' way longer. */
static void test_pruning_goes_on_behind_what_was_set_aside(void **state)
{
	struct store_db *db = db_of(state);

	scene_fill(*state, 1, 12);
	for (int seq = 1; seq <= 6; seq++)
		assert_int_equal(spool_set_aside(db, "db", seq, "no", 1),
				 SQLITE_OK);
	expect_pruned(prune_from(db, 0, 12, 11, 1 << 30), 0, 4);
	expect_pruned(prune_from(db, 4, 12, 11, 1 << 30), 2, 8);
	/* The next ones are too young, but for two. */
	expect_pruned(prune_from(db, 8, 12, 11, 1 << 30), 2, 0);
	expect_pruned(prune_from(db, 8, 12, 0, 1), 1, 0);
}

static void test_records_go_when_they_take_too_much(void **state)
{
	struct store_db *db = db_of(state);

	scene_fill(*state, 1, 10);
	assert_int_equal(prune(db, 10, 0, 1 << 30), 0);
	assert_int_equal(prune(db, 10, 0, 1), 4);
	/* A place is never given again. */
	while (prune(db, 10, 0, 1) > 0)
		;
	scene_fill(*state, 11, 11);
	assert_int_equal(last(db), 11);
}

struct shown {
	int count;
	int64_t seq[8];
	char reason[16];
};

static void note_row(const struct spool_row *row, void *arg)
{
	struct shown *shown = arg;

	shown->seq[shown->count++] = row->seq;
	snprintf(shown->reason, sizeof(shown->reason), "%.*s",
		 SPAN_ARG(row->reason));
}

static void test_the_history_is_shown_newest_first(void **state)
{
	struct store_db *db = db_of(state);
	struct spool_query query = {.max = 3};
	struct shown shown = {0};

	scene_fill(*state, 1, 5);
	assert_int_equal(spool_show(db, &query, note_row, &shown), SQLITE_OK);
	assert_int_equal(shown.count, 3);
	assert_int_equal(shown.seq[0], 5);
	query.before = 3;
	assert_int_equal(spool_show(db, &query, note_row, &shown), SQLITE_OK);
	assert_int_equal(shown.count, 5);
	assert_int_equal(shown.seq[4], 1);
	query = (struct spool_query){.call_id = SPAN("c2"), .max = 9};
	assert_int_equal(spool_show(db, &query, note_row, &shown), SQLITE_OK);
	assert_int_equal(shown.count, 6);
	assert_int_equal(shown.seq[5], 2);
	assert_int_equal(spool_set_aside(db, "db", 4, "no", 1), SQLITE_OK);
	query = (struct spool_query){.aside = true, .max = 9};
	assert_int_equal(spool_show(db, &query, note_row, &shown), SQLITE_OK);
	assert_int_equal(shown.count, 7);
	assert_int_equal(shown.seq[6], 4);
	assert_string_equal(shown.reason, "no");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_a_record_is_kept_once_whatever_it_says),
		TEST(test_texts_come_back_byte_for_byte),
		TEST(test_records_are_read_in_order_behind_a_place),
		TEST(test_a_new_backend_begins_behind_what_is_there),
		TEST(test_what_was_set_aside_is_tried_again_when_asked),
		TEST(test_old_records_go_when_all_have_them_and_nobody_refused),
		TEST(test_pruning_goes_on_behind_what_was_set_aside),
		TEST(test_records_go_when_they_take_too_much),
		TEST(test_the_history_is_shown_newest_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
