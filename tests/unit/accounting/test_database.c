/* The backend `database` with SQLite, in a folder of its own. */
#include <errno.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "accounting/backend.h"
#include "accounting/database/writer.h"
#include "base/cleanup.h"
#include "test.h"

#define MAX_RECORDS 64

struct scene {
	char folder[64], path[128];
	struct conf *conf;
	void *backend;
	struct delivery batch[MAX_RECORDS];
	size_t count;
	struct buf why;
	char json[MAX_RECORDS][256];
	size_t jsons;
};

static void start(struct scene *scene)
{
	struct backend_config config = {.conf = scene->conf};

	assert_int_equal(
		database_backend.start(&scene->backend, &config, &scene->why),
		0);
}

static void restart(struct scene *scene)
{
	database_backend.stop(scene->backend);
	start(scene);
}

static int make_scene(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct conf_database *names;

	snprintf(scene->folder, sizeof(scene->folder), "%s",
		 "/tmp/mp-database-XXXXXX");
	if (!mkdtemp(scene->folder))
		return -1;
	snprintf(scene->path, sizeof(scene->path), "%s/x.db", scene->folder);
	scene->conf = calloc(1, sizeof(*scene->conf));
	names = &scene->conf->database;
	snprintf(names->dburi, sizeof(names->dburi), "sqlite://%s",
		 scene->path);
	strcpy(names->sessions_table, "media_sessions");
	strcpy(names->callid_column, "call_id");
	strcpy(names->fromtag_column, "from_tag");
	strcpy(names->totag_column, "to_tag");
	strcpy(names->info_column, "info");
	start(scene);
	*state = scene;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	return remove(path);
}

static int free_scene(void **state)
{
	struct scene *scene = *state;

	database_backend.stop(scene->backend);
	nftw(scene->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	buf_done(&scene->why);
	free(scene->conf);
	free(scene);
	return 0;
}

/* A record of an answered call; its JSON has what a row is found by. */
static struct record *add(struct scene *scene, const char *record_id,
			  struct span call_id, struct span to_tag)
{
	struct record *record = &scene->batch[scene->count++].record;
	char *json = scene->json[scene->jsons++ % MAX_RECORDS];

	snprintf(json, sizeof(scene->json[0]),
		 "{\"call_id\": \"...\", \"record_id\": \"%s\"}", record_id);
	*record = (struct record){
		.record_id = span_of(record_id),
		.call_id = call_id,
		.from_tag = SPAN("from"),
		.to_tag = to_tag,
		.has_start_time = true,
		.json = span_of(json),
	};
	return record;
}

static int deliver(struct scene *scene)
{
	int err;

	buf_reset(&scene->why);
	for (size_t i = 0; i < scene->count; i++)
		scene->batch[i].outcome = DELIVERY_LATER;
	err = database_backend.deliver(scene->backend, scene->batch,
				       scene->count, &scene->why);
	scene->count = 0;
	return err;
}

/* All of the batch. */
static void deliver_well(struct scene *scene)
{
	size_t count = scene->count;

	if (deliver(scene) != 0)
		fail_msg("%s", scene->why.data);
	for (size_t i = 0; i < count; i++)
		if (scene->batch[i].outcome != DELIVERY_DONE)
			fail_msg("%zu: %s", i, scene->batch[i].reason);
}

static void deliver_one(struct scene *scene, const char *record_id,
			struct span call_id, struct span to_tag)
{
	add(scene, record_id, call_id, to_tag);
	deliver_well(scene);
}

/* Run SQL as somebody else; the first column of the rows, joined by spaces. */
static void run(const struct scene *scene, const char *sql, struct buf *ret)
{
	sqlite3 *db;
	sqlite3_stmt *s;
	const char *rest = sql;
	int r = SQLITE_OK;

	assert_int_equal(sqlite3_open(scene->path, &db), SQLITE_OK);
	while (*rest && r == SQLITE_OK) {
		r = sqlite3_prepare_v2(db, rest, -1, &s, &rest);
		while (r == SQLITE_OK && s && sqlite3_step(s) == SQLITE_ROW) {
			const char *text =
				(const char *)sqlite3_column_text(s, 0);

			buf_printf(ret, "%s%s", ret->len ? " " : "",
				   text ? text : "NULL");
		}
		if (r == SQLITE_OK)
			r = sqlite3_finalize(s);
	}
	if (r != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void change(const struct scene *scene, const char *sql)
{
	CLEANUP(buf_done) struct buf rows = {0};

	run(scene, sql, &rows);
}

static void assert_rows(const struct scene *scene, const char *sql,
			const char *expected)
{
	CLEANUP(buf_done) struct buf rows = {0};

	run(scene, sql, &rows);
	assert_string_equal(rows.data ? rows.data : "", expected);
}

#define COUNT "select count(*) from media_sessions"
#define TO_TAGS "select to_tag from media_sessions order by id"

static void test_the_table_and_its_index_are_made_on_first_use(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(access(scene->path, F_OK), -1);
	deliver_one(scene, "1", SPAN("call"), SPAN("to"));
	assert_rows(scene,
		    "select id || call_id || from_tag || to_tag || info from "
		    "media_sessions",
		    "1callfromto{\"call_id\": \"...\", \"record_id\": \"1\"}");
	assert_rows(scene, "select typeof(info) from media_sessions", "blob");
	assert_rows(scene,
		    "select name from sqlite_master where type = 'index'",
		    "media_sessions_callid_idx");
}

static void test_a_call_that_was_not_answered_has_no_row(void **state)
{
	struct scene *scene = *state;

	add(scene, "1", SPAN("a"), SPAN(""))->has_start_time = false;
	deliver_well(scene);
	assert_int_equal(access(scene->path, F_OK), -1);
	add(scene, "1", SPAN("a"), SPAN(""))->has_start_time = false;
	add(scene, "2", SPAN("b"), SPAN("to"));
	deliver_well(scene);
	assert_rows(scene, "select call_id from media_sessions", "b");
}

static void test_names_of_the_configuration_are_used(void **state)
{
	struct scene *scene = *state;

	strcpy(scene->conf->database.sessions_table, "cdr");
	strcpy(scene->conf->database.callid_column, "c");
	strcpy(scene->conf->database.info_column, "i");
	deliver_one(scene, "1", SPAN("call"), SPAN("to"));
	assert_rows(scene, "select c from cdr where i is not null", "call");
	assert_rows(scene,
		    "select name from sqlite_master where type = 'index'",
		    "cdr_callid_idx");
}

static void test_a_table_of_the_original_keeps_its_rows(void **state)
{
	struct scene *scene = *state;

	change(scene,
	       "create table media_sessions (id integer primary key, call_id "
	       "varchar(255) not null, from_tag varchar(64) not null, to_tag "
	       "varchar(64), info text); insert into media_sessions values "
	       "(7, 'call', 'from', 'to', '{\"call_id\": \"call\"}'), "
	       "(8, 'call', 'from', 'x', 'no JSON'), "
	       "(9, 'call', 'from', 'y', null)");
	deliver_one(scene, "1", SPAN("call"), SPAN("to"));
	deliver_one(scene, "2", SPAN("call"), SPAN("x"));
	deliver_one(scene, "3", SPAN("call"), SPAN("y"));
	deliver_one(scene, "1", SPAN("call"), SPAN("to"));
	assert_rows(scene, TO_TAGS, "to x y to;2 x;2 y;2");
}

static void test_the_same_record_is_stored_once(void **state)
{
	struct scene *scene = *state;

	add(scene, "1", SPAN("call"), SPAN("to"));
	add(scene, "1", SPAN("call"), SPAN("to"));
	deliver_well(scene);
	deliver_one(scene, "1", SPAN("call"), SPAN("to"));
	restart(scene);
	deliver_one(scene, "1", SPAN("call"), SPAN("to"));
	assert_rows(scene, COUNT, "1");
}

static void test_a_record_is_known_by_its_id_not_by_its_text(void **state)
{
	struct scene *scene = *state;

	add(scene, "1", SPAN("call"), SPAN("to"));
	add(scene, "2", SPAN("call"), SPAN("to"));
	deliver_well(scene);
	change(scene,
	       "update media_sessions set info = '{\"record_id\":\"2\"}' where "
	       "to_tag = 'to;2'; update media_sessions set info = "
	       "'{\"record_id\": \"22\"}' where to_tag = 'to'");
	deliver_one(scene, "2", SPAN("call"), SPAN("to"));
	assert_rows(scene, TO_TAGS, "to to;2");
	deliver_one(scene, "1", SPAN("call"), SPAN("to"));
	assert_rows(scene, TO_TAGS, "to to;2 to;3");
}

static void test_another_session_of_the_same_key_gets_a_number(void **state)
{
	struct scene *scene = *state;

	for (int repeated = 0; repeated < 2; repeated++) {
		add(scene, "1", SPAN("call"), SPAN("to"));
		add(scene, "2", SPAN("call"), SPAN("to"));
		add(scene, "3", SPAN("call"), SPAN("to"));
		deliver_well(scene);
		assert_rows(scene, TO_TAGS, "to to;2 to;3");
		restart(scene);
	}
}

static void test_without_a_to_tag_it_is_null_and_looked_for_first(void **state)
{
	struct scene *scene = *state;

	for (int repeated = 0; repeated < 2; repeated++) {
		deliver_one(scene, "1", SPAN("call"), SPAN(""));
		add(scene, "2", SPAN("call"), SPAN(""));
		add(scene, "1", SPAN("call"), SPAN(""));
		deliver_well(scene);
		assert_rows(scene, TO_TAGS, "NULL NULL");
		restart(scene);
	}
}

static void
test_more_sessions_of_a_key_than_numbers_are_told_by_their_id(void **state)
{
	struct scene *scene = *state;
	char ids[120][8];

	for (int repeated = 0; repeated < 2; repeated++)
		for (int i = 0; i < 102; i++) {
			snprintf(ids[i], sizeof(ids[i]), "r%d", i);
			deliver_one(scene, ids[i], SPAN("call"), SPAN("to"));
		}
	assert_rows(scene, COUNT, "102");
	assert_rows(scene,
		    "select count(*) from media_sessions where to_tag glob "
		    "'to;[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]"
		    "[0-9a-f][0-9a-f]'",
		    "3");
}

static void test_awkward_texts_are_stored_and_found_again(void **state)
{
	static char longest[10000];
	struct scene *scene = *state;
	const struct span texts[] = {
		SPAN("\xf0\x9f\x98\x80"),
		SPAN("a\0b"),
		SPAN("'; drop table media_sessions; --"),
		SPAN("\"`\\%_?"),
		SPAN("\xff\xfe\xc3"),
		span_make(longest, sizeof(longest)),
	};

	memset(longest, 'x', sizeof(longest));
	for (int repeated = 0; repeated < 2; repeated++) {
		for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
			add(scene, "1", texts[i], texts[i])->from_tag =
				texts[i];
		deliver_well(scene);
		assert_rows(scene, COUNT, "6");
		restart(scene);
	}
	assert_rows(scene,
		    "select max(length(call_id)) || '/' || "
		    "max(length(from_tag)) || '/' || max(length(to_tag)) from "
		    "media_sessions",
		    "255/64/64");
	assert_rows(scene,
		    "select call_id from media_sessions where call_id like "
		    "'a%'",
		    "a\\x00b");
}

static void test_widths_are_those_of_the_table(void **state)
{
	struct scene *scene = *state;

	change(scene,
	       "create table media_sessions (id integer primary key, call_id "
	       "varchar(20) not null, from_tag text, to_tag text, info blob)");
	deliver_one(scene, "1", SPAN("123456789012345678901"), SPAN("to"));
	assert_rows(scene, "select length(call_id) from media_sessions", "20");
}

/* The reason stands in the second delivery. */
static void deliver_second_refused(struct scene *scene)
{
	add(scene, "1", SPAN("a"), SPAN("to"));
	add(scene, "2", SPAN("bad"), SPAN("to"));
	add(scene, "3", SPAN("c"), SPAN("to"));
	assert_int_equal(deliver(scene), 0);
	assert_int_equal(scene->batch[0].outcome, DELIVERY_DONE);
	assert_int_equal(scene->batch[1].outcome, DELIVERY_REFUSED);
	assert_int_equal(scene->batch[2].outcome, DELIVERY_DONE);
}

static void
test_one_bad_record_is_refused_and_the_others_are_stored(void **state)
{
	struct scene *scene = *state;

	change(scene,
	       "create table media_sessions (id integer primary key, call_id "
	       "varchar(255) check (call_id <> 'bad'), from_tag, to_tag, "
	       "info)");
	deliver_second_refused(scene);
	assert_non_null(strstr(scene->batch[1].reason, "CHECK"));
	assert_rows(scene, "select call_id from media_sessions order by id",
		    "a c");
}

static void test_an_index_that_is_stricter_than_our_key_refuses(void **state)
{
	struct scene *scene = *state;

	change(scene,
	       "create table media_sessions (id integer primary key, call_id, "
	       "from_tag unique, to_tag, info)");
	add(scene, "1", SPAN("a"), SPAN("to"));
	add(scene, "2", SPAN("b"), SPAN("to"));
	assert_int_equal(deliver(scene), 0);
	assert_int_equal(scene->batch[0].outcome, DELIVERY_DONE);
	assert_int_equal(scene->batch[1].outcome, DELIVERY_REFUSED);
	assert_non_null(strstr(scene->batch[1].reason, "UNIQUE"));
}

static void
test_a_table_without_our_columns_is_down_and_refuses_nothing(void **state)
{
	struct scene *scene = *state;

	change(scene, "create table media_sessions (id integer)");
	add(scene, "1", SPAN("a"), SPAN("to"));
	assert_int_equal(deliver(scene), -EIO);
	assert_int_equal(scene->batch[0].outcome, DELIVERY_LATER);
	assert_non_null(strstr(scene->why.data, "no such column"));
	change(scene, "drop table media_sessions");
	deliver_one(scene, "1", SPAN("a"), SPAN("to"));
}

static void test_a_table_that_was_dropped_is_made_again(void **state)
{
	struct scene *scene = *state;

	deliver_one(scene, "1", SPAN("a"), SPAN("to"));
	change(scene, "drop table media_sessions");
	add(scene, "2", SPAN("b"), SPAN("to"));
	assert_int_equal(deliver(scene), -ENOENT);
	assert_int_equal(scene->batch[0].outcome, DELIVERY_LATER);
	deliver_one(scene, "2", SPAN("b"), SPAN("to"));
	assert_rows(scene, "select call_id from media_sessions", "b");
}

static void test_a_file_that_was_removed_is_made_again(void **state)
{
	struct scene *scene = *state;

	deliver_one(scene, "1", SPAN("a"), SPAN("to"));
	assert_int_equal(unlink(scene->path), 0);
	deliver_one(scene, "2", SPAN("b"), SPAN("to"));
	assert_rows(scene, "select call_id from media_sessions", "b");
}

static void test_a_folder_that_is_not_there_is_down_until_it_is(void **state)
{
	struct scene *scene = *state;
	char away[128];

	snprintf(away, sizeof(away), "%s.away", scene->folder);
	assert_int_equal(rename(scene->folder, away), 0);
	add(scene, "1", SPAN("a"), SPAN("to"));
	assert_int_equal(deliver(scene), -ENOTCONN);
	assert_non_null(strstr(scene->why.data, "unable to open"));
	assert_int_equal(rename(away, scene->folder), 0);
	deliver_one(scene, "1", SPAN("a"), SPAN("to"));
}

static void test_what_is_no_database_is_down(void **state)
{
	struct scene *scene = *state;
	FILE *file = fopen(scene->path, "w");

	for (int i = 0; i < 100; i++)
		fputs("this is a text, and no database at all\n", file);
	fclose(file);
	add(scene, "1", SPAN("a"), SPAN("to"));
	assert_int_equal(deliver(scene), -ENOTCONN);
	assert_non_null(strstr(scene->why.data, "not a database"));
}

static void test_a_dburi_that_is_wrong_does_not_start(void **state)
{
	struct scene *scene = *state;
	struct backend_config config = {.conf = scene->conf};
	CLEANUP(buf_done) struct buf why = {0};
	void *backend = NULL;

	strcpy(scene->conf->database.dburi, "oracle://u:hush@h/d");
	assert_int_equal(database_backend.start(&backend, &config, &why),
			 -EINVAL);
	assert_null(backend);
	assert_non_null(strstr(why.data, "[Database] dburi: the scheme"));
	assert_null(strstr(why.data, "hush"));
}

/* A server that has no transactions for definitions, and whose second one
 * fails. */
static enum fault run_no_index(struct connection *c, const char *sql,
			       struct buf *ret_why)
{
	if (!strstr(sql, "index"))
		return driver_sqlite.run(c, sql, ret_why);
	buf_printf(ret_why, "no right to make an index");
	return FAULT_DENIED;
}

static const struct dialect *dialect_of_no_index(const struct connection *c)
{
	static const struct fault_code no_faults[] = {{NULL, 0, FAULT_NONE}};
	static const struct dialect plain = {
		.name = "plain",
		.id = "integer primary key",
		.blob = "blob",
		.faults = no_faults,
		.charset = CHARSET_ASCII,
		.null_is_key = true,
	};

	return &plain;
}

/* A driver that is SQLite's, but whose next commit is done and not answered:
 * the connection broke in between. */
static enum fault commit_and_lose(struct connection *c, struct buf *ret_why)
{
	assert_int_equal(driver_sqlite.commit(c, ret_why), FAULT_NONE);
	buf_printf(ret_why, "the connection broke, by hush");
	return FAULT_LOST;
}

static void write_with(struct scene *scene, const struct driver *driver,
		       int expected)
{
	CLEANUP(buf_done) struct buf why = {0};
	struct dburi uri = {.scheme = DBURI_SQLITE, .password = "hush"};
	struct writer *writer;

	strcpy(uri.database, scene->path);
	assert_int_equal(
		writer_new(&writer, driver, &uri, &scene->conf->database), 0);
	for (int i = 0; i < 3; i++)
		scene->batch[i].outcome = DELIVERY_LATER;
	assert_int_equal(writer_write(writer, scene->batch, 3, &why), expected);
	for (int i = 0; i < 3; i++)
		assert_int_equal(scene->batch[i].outcome,
				 expected ? DELIVERY_LATER : DELIVERY_DONE);
	if (expected)
		assert_non_null(strstr(why.data, "the connection broke, by "
						 "***"));
	writer_free(writer);
}

static void
test_a_commit_whose_answer_was_lost_is_not_stored_twice(void **state)
{
	struct driver losing = driver_sqlite;
	struct scene *scene = *state;

	deliver_one(scene, "0", SPAN("call"), SPAN("to"));
	add(scene, "1", SPAN("call"), SPAN("to"));
	add(scene, "2", SPAN("call"), SPAN("to"));
	add(scene, "3", SPAN("call"), SPAN(""));
	losing.commit = commit_and_lose;
	write_with(scene, &losing, -ENOTCONN);
	assert_rows(scene, COUNT, "4");
	write_with(scene, &driver_sqlite, 0);
	assert_rows(scene, TO_TAGS, "to to;2 to;3 NULL");
}

static void test_a_table_without_its_index_is_used(void **state)
{
	struct driver lame = driver_sqlite;
	struct scene *scene = *state;

	lame.run = run_no_index;
	lame.dialect = dialect_of_no_index;
	add(scene, "1", SPAN("call"), SPAN(""));
	add(scene, "2", SPAN("call"), SPAN(""));
	add(scene, "1", SPAN("call"), SPAN(""));
	write_with(scene, &lame, 0);
	/* As servers have it for which NULL is a key. */
	assert_rows(scene, TO_TAGS, "NULL ;2");
}

static void test_a_database_that_is_locked_is_tried_later(void **state)
{
	struct scene *scene = *state;
	sqlite3 *other;

	deliver_one(scene, "1", SPAN("a"), SPAN("to"));
	assert_int_equal(sqlite3_open(scene->path, &other), SQLITE_OK);
	sqlite3_exec(other, "begin exclusive", NULL, NULL, NULL);
	add(scene, "2", SPAN("b"), SPAN("to"));
	add(scene, "3", SPAN("c"), SPAN("to"));
	assert_int_equal(deliver(scene), -EAGAIN);
	assert_int_equal(scene->batch[0].outcome, DELIVERY_LATER);
	assert_non_null(strstr(scene->why.data, "locked"));
	sqlite3_exec(other, "rollback", NULL, NULL, NULL);
	sqlite3_close(other);
	deliver_one(scene, "2", SPAN("b"), SPAN("to"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_scene, free_scene)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_table_and_its_index_are_made_on_first_use),
		TEST(test_a_call_that_was_not_answered_has_no_row),
		TEST(test_names_of_the_configuration_are_used),
		TEST(test_a_table_of_the_original_keeps_its_rows),
		TEST(test_the_same_record_is_stored_once),
		TEST(test_a_record_is_known_by_its_id_not_by_its_text),
		TEST(test_another_session_of_the_same_key_gets_a_number),
		TEST(test_without_a_to_tag_it_is_null_and_looked_for_first),
		TEST(test_more_sessions_of_a_key_than_numbers_are_told_by_their_id),
		TEST(test_awkward_texts_are_stored_and_found_again),
		TEST(test_widths_are_those_of_the_table),
		TEST(test_one_bad_record_is_refused_and_the_others_are_stored),
		TEST(test_an_index_that_is_stricter_than_our_key_refuses),
		TEST(test_a_table_without_our_columns_is_down_and_refuses_nothing),
		TEST(test_a_table_that_was_dropped_is_made_again),
		TEST(test_a_file_that_was_removed_is_made_again),
		TEST(test_a_folder_that_is_not_there_is_down_until_it_is),
		TEST(test_what_is_no_database_is_down),
		TEST(test_a_dburi_that_is_wrong_does_not_start),
		TEST(test_a_commit_whose_answer_was_lost_is_not_stored_twice),
		TEST(test_a_table_without_its_index_is_used),
		TEST(test_a_database_that_is_locked_is_tried_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
