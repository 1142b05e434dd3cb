#include "link/relay_records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/disk.h"
#include "base/clock.h"
#include "base/log.h"
#include "test.h"

#define LIMIT_US (20 * US_PER_S)
#define OWNER "10.0.0.1:25060"
#define MS US_PER_MS

/* The records of one dispatcher over the disk of disk.h, and what the test's
 * link has written to its connections. */
struct scene {
	struct loop *loop;
	struct store *store;
	struct relay_record_file *file;
	struct relay_records *records;
	struct relay_records_config config;
	char folder[64], path[160];
	bool in_memory_alone, is_up, acks_at_once;
	size_t max_waiting;
	int failing;
	struct buf wire; /* "1 2 | 3 ": a bar for each connection */
	int next_number; /* acks_at_once: what comes next */
};

static struct scene scene;

static void link_writes(void *arg)
{
	struct span id, json;
	char copy[RELAY_RECORD_MAX_ID];

	(void)arg;
	while (scene.is_up && relay_records_next(scene.records, &id, &json)) {
		assert_true(span_starts_with(json, SPAN("{\"n\": ")));
		snprintf(copy, sizeof(copy), "%.*s", SPAN_ARG(id));
		relay_records_sent(scene.records);
		if (!scene.acks_at_once) {
			buf_printf(&scene.wire, "%s ", copy);
			continue;
		}
		assert_int_equal(atoi(copy), scene.next_number);
		scene.next_number++;
		relay_records_acked(scene.records, span_of(copy));
	}
}

static void told_failing(bool is_failing, const char *why, void *arg)
{
	(void)why;
	(void)arg;
	scene.failing += is_failing;
}

static void open_store(const char *path)
{
	const struct store_config config = {
		.loop = scene.loop,
		.path = path,
		.max_waiting = scene.max_waiting,
		.failing = told_failing,
	};
	struct buf why = {0};

	assert_int_equal(store_open(&scene.store, &config, &why), 0);
	assert_int_equal(relay_record_file_new(&scene.file, scene.store, &why),
			 0);
	buf_done(&why);
}

static void start(void)
{
	scene.config.loop = scene.loop;
	scene.config.file = scene.file;
	scene.config.owner = scene.config.label = OWNER;
	scene.config.more = link_writes;
	assert_int_equal(relay_records_new(&scene.records, &scene.config), 0);
}

/* As the relay does it. */
static void stop(void)
{
	scene.is_up = false;
	scene.records = relay_records_free(scene.records);
	scene.file = relay_record_file_free(scene.file);
	scene.store = store_free(scene.store, US_PER_S);
}

static int setup(void **state)
{
	(void)state;
	memset(&scene, 0, sizeof(scene));
	strcpy(scene.folder, "/tmp/mediaproxy-test.XXXXXX");
	assert_non_null(mkdtemp(scene.folder));
	snprintf(scene.path, sizeof(scene.path), "%s/relay.db", scene.folder);
	scene.config.max_records = 2048;
	scene.config.max_bytes = 8 << 20;
	disk_install();
	assert_int_equal(loop_new(&scene.loop), 0);
	open_store(scene.path);
	start();
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	disk_set_full(false);
	disk_set_stalled(false);
	stop();
	loop_free(scene.loop);
	disk_uninstall();
	buf_done(&scene.wire);
	snprintf(command, sizeof(command), "rm -rf %s", scene.folder);
	return system(command);
}

static int setup_without_disk(void **state)
{
	setup(state);
	stop();
	start();
	return 0;
}

static struct span number(int n)
{
	static char text[16];

	snprintf(text, sizeof(text), "%d", n);
	return span_of(text);
}

static struct span record(int n)
{
	static char text[512];

	snprintf(text, sizeof(text),
		 "{\"n\": %d, \"padding\": \"%0200d\", \"record_id\": \"%d\"}",
		 n, 0, n);
	return span_of(text);
}

static void add(int first, int last)
{
	for (int n = first; n <= last; n++)
		relay_records_add(scene.records, number(n), record(n));
	link_writes(NULL);
}

static void add_sent(int n)
{
	relay_records_add_sent(scene.records, number(n), record(n));
}

static void ack(int first, int last)
{
	for (int n = first; n <= last; n++)
		relay_records_acked(scene.records, number(n));
	link_writes(NULL);
}

static void up(bool acks)
{
	scene.is_up = true;
	relay_records_up(scene.records, acks);
	link_writes(NULL);
}

static void down(void)
{
	scene.is_up = false;
	relay_records_down(scene.records);
	buf_add(&scene.wire, SPAN("| "));
}

static const char *wire(void)
{
	return scene.wire.len > 0 ? scene.wire.data : "";
}

static struct relay_records_counts counts(void)
{
	struct relay_records_counts now;

	relay_records_count(scene.records, &now);
	return now;
}

/* Waiting for facts */

static bool (*wanted)(void);
static uint64_t give_up_us;

static void look(void *arg)
{
	(void)arg;
	if ((wanted && wanted()) || loop_now_us(scene.loop) > give_up_us)
		loop_stop(scene.loop);
}

static void run(bool (*holds)(void), uint64_t limit_us)
{
	struct timer *timer;

	wanted = holds;
	give_up_us = clock_mono_us() + limit_us;
	assert_int_equal(timer_new(&timer, scene.loop, look, NULL), 0);
	timer_start_every(timer, MS);
	assert_int_equal(loop_run(scene.loop), 0);
	timer_free(timer);
}

static void run_until(bool (*holds)(void))
{
	run(holds, LIMIT_US);
	assert_true(holds());
}

static void run_for(uint64_t us)
{
	run(NULL, us);
}

static int rows_wanted;

static bool has_rows(void)
{
	return (int)counts().on_disk == rows_wanted;
}

static void wait_for_rows(int rows)
{
	rows_wanted = rows;
	run_until(has_rows);
}

/* How many records a file has that a power failure has left. */
static int rows_left(char path[static 160])
{
	static int copies;
	struct store_db *db;
	sqlite3_stmt *s;
	int rows = -1;

	snprintf(path, 160, "%s/left%d.db", scene.folder, copies++);
	disk_write_durable(scene.path, path);
	assert_int_equal(store_reader_open(&db, path), 0);
	s = store_statement(db, "SELECT count(*) FROM records");
	if (store_step(s) == SQLITE_ROW)
		rows = sqlite3_column_int(s, 0);
	store_reader_close(db);
	return rows;
}

static int rows_durable(void)
{
	char path[160];

	return rows_left(path);
}

/* Killed, with what is on disk now, and started again. */
static void kill_and_start(void)
{
	char path[160];

	rows_left(path);
	stop();
	snprintf(scene.path, sizeof(scene.path), "%s", path);
	open_store(path);
	start();
	buf_reset(&scene.wire);
}

static bool is_empty(void)
{
	return relay_records_empty(scene.records);
}

static void test_what_is_acknowledged_is_forgotten(void **state)
{
	(void)state;
	up(/* acks= */ true);
	add(1, 3);
	assert_string_equal(wire(), "1 2 3 ");
	assert_int_equal(counts().waiting, 3);
	ack(2, 2);
	ack(1, 1);
	assert_int_equal(counts().waiting, 1);
	assert_int_equal(counts().acked, 2);
	ack(1, 1);
	ack(99, 99);
	assert_int_equal(counts().acks_unknown, 2);
	down();
	up(true);
	assert_string_equal(wire(), "1 2 3 | 3 ");
	assert_int_equal(counts().resent, 1);
	ack(3, 3);
	run_until(is_empty);
}

static void test_what_is_not_is_sent_again_in_order(void **state)
{
	(void)state;
	up(true);
	add(1, 2);
	add_sent(3); /* it was the reply to a remove */
	add(4, 5);
	assert_string_equal(wire(), "1 2 4 5 ");
	ack(2, 2);
	down();
	add(6, 6);
	up(true);
	add(7, 7);
	assert_string_equal(wire(), "1 2 4 5 | 1 3 4 5 6 7 ");
	assert_int_equal(counts().resent, 4);
	assert_int_equal(counts().sent, 4 + 6);
}

static void test_who_acknowledges_nothing_gets_each_once(void **state)
{
	(void)state;
	add(1, 3);
	up(/* acks= */ false);
	add(4, 4);
	assert_string_equal(wire(), "1 2 3 4 ");
	assert_true(is_empty());
	down();
	up(false);
	assert_string_equal(wire(), "1 2 3 4 | ");
	run_for(50 * MS);
	wait_for_rows(0);
	assert_int_equal(rows_durable(), 0);
}

static void test_the_backlog_is_what_waited_for_the_link(void **state)
{
	(void)state;
	up(true);
	assert_true(relay_records_caught_up(scene.records));
	down();
	add(1, 2);
	scene.is_up = true;
	relay_records_up(scene.records, true);
	assert_false(relay_records_caught_up(scene.records));
	relay_records_add(scene.records, number(3), record(3));
	relay_records_sent(scene.records);
	assert_false(relay_records_caught_up(scene.records));
	relay_records_sent(scene.records);
	assert_true(relay_records_caught_up(scene.records));
	link_writes(NULL);
	assert_string_equal(wire(), "| 3 ");
}

static bool all_came(void)
{
	return scene.next_number > 10000 && is_empty();
}

static bool none_is_on_its_way(void)
{
	return counts().on_disk == 10000 && counts().waiting <= 2048;
}

static void test_ten_thousand_need_little_memory_and_arrive_once(void **state)
{
	(void)state;
	add(1, 10000);
	run_until(none_is_on_its_way);
	assert_int_equal(counts().waiting, 2048);
	assert_int_equal(relay_records_total(scene.records), 10000);
	scene.acks_at_once = true;
	scene.next_number = 1;
	up(true);
	assert_false(relay_records_caught_up(scene.records));
	run_until(all_came);
	assert_true(relay_records_caught_up(scene.records));
	assert_int_equal(scene.next_number, 10001);
	assert_int_equal(counts().sent, 10000);
	assert_int_equal(counts().acked, 10000);
	assert_int_equal(counts().acks_unknown, 0);
	wait_for_rows(0);
	assert_int_equal(rows_durable(), 0);
}

static void test_as_many_go_to_who_acknowledges_nothing(void **state)
{
	(void)state;
	scene.acks_at_once = true; /* they are unknown then */
	scene.next_number = 1;
	add(1, 10000);
	up(false);
	run_until(all_came);
	assert_int_equal(counts().sent, 10000);
	wait_for_rows(0);
}

static bool has_taken_the_last(void)
{
	return strstr(wire(), " 500 ");
}

static void test_a_backlog_waits_for_acknowledgements(void **state)
{
	(void)state;
	relay_records_free(scene.records);
	scene.config.max_records = 80;
	start();
	add(1, 500);
	up(true);
	run_for(100 * MS);
	/* So many are on their way, and no more. */
	assert_true(counts().sent <= 80);
	for (int n = 1; n <= 500; n++) {
		ack(n, n);
		if (n % 40 == 0)
			run_for(20 * MS);
	}
	run_until(has_taken_the_last);
	run_until(is_empty);
	assert_int_equal(counts().sent, 500);
}

static void test_killed_after_a_moment_all_are_there(void **state)
{
	(void)state;
	up(true);
	/* Those that come right after a look are seen latest. */
	add(1, 10);
	run_for(5 * MS);
	add(11, 20);
	add_sent(21);
	run_for(190 * MS);
	assert_int_equal(rows_durable(), 21);
	kill_and_start();
	assert_int_equal(relay_records_total(scene.records), 21);
	up(true);
	run_for(50 * MS);
	assert_string_equal(wire(), "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 "
				    "18 19 20 21 ");
	ack(1, 21);
	wait_for_rows(0);
	assert_true(is_empty());
}

static void test_killed_while_the_link_is_down_all_are_there(void **state)
{
	(void)state;
	up(true);
	add(1, 5);
	down();
	add(6, 10);
	wait_for_rows(10);
	kill_and_start();
	add(11, 11); /* behind the others */
	up(true);
	run_for(50 * MS);
	assert_string_equal(wire(), "1 2 3 4 5 6 7 8 9 10 11 ");
}

static void test_killed_after_the_acknowledgement_none_is_there(void **state)
{
	(void)state;
	up(true);
	add(1, 10);
	ack(1, 5); /* never written */
	run_for(240 * MS);
	assert_int_equal(counts().on_disk, 5);
	ack(6, 10);
	wait_for_rows(0);
	kill_and_start();
	assert_int_equal(relay_records_total(scene.records), 0);
	assert_true(is_empty());
}

static void test_an_ack_may_come_before_the_row_is_written(void **state)
{
	(void)state;
	disk_set_stalled(true);
	add(1, 10); /* the link is down: they go to the disk */
	run_for(20 * MS);
	add(11, 20);
	run_for(20 * MS);
	up(true);
	ack(1, 20);
	assert_true(is_empty());
	disk_set_stalled(false);
	run_for(100 * MS);
	wait_for_rows(0);
	assert_int_equal(rows_durable(), 0);
}

static void start_with_little_memory(void)
{
	relay_records_free(scene.records);
	scene.config.max_records = 8;
	start();
}

static void test_a_disk_that_stands_still_holds_up_nothing(void **state)
{
	(void)state;
	start_with_little_memory();
	disk_set_stalled(true);
	add(1, 30);
	run_for(20 * MS);
	scene.acks_at_once = true;
	scene.next_number = 1;
	up(true);
	run_for(100 * MS);
	assert_int_equal(scene.next_number, 31);
	assert_true(is_empty());
	disk_set_stalled(false);
	run_for(100 * MS);
	wait_for_rows(0);
}

static bool is_told(void)
{
	return scene.failing > 0;
}

static void test_a_full_disk_is_told_and_loses_nothing(void **state)
{
	(void)state;
	disk_set_full(true);
	add(1, 3000); /* more than memory is to have */
	run_until(is_told);
	assert_int_equal(counts().dropped, 0);
	assert_int_equal(counts().waiting, 3000);
	disk_set_full(false);
	wait_for_rows(3000);
	assert_int_equal(counts().waiting, 2048);
	assert_int_equal(scene.failing, 1);
	kill_and_start();
	assert_int_equal(relay_records_total(scene.records), 3000);
}

static void test_what_the_store_refuses_goes_to_the_log(void **state)
{
	(void)state;
	stop();
	scene.max_waiting = 20;
	scene.config.max_records = 10;
	open_store(scene.path);
	start();
	disk_set_stalled(true);
	add(1, 100);
	run_for(50 * MS);
	/* Ten in memory, and as many as the store takes at once. */
	assert_int_equal(counts().dropped, 100 - 20);
	assert_int_equal(counts().waiting, 20);
	disk_set_stalled(false);
	wait_for_rows(20);
}

static void test_the_end_writes_what_is_not_acknowledged(void **state)
{
	(void)state;
	up(true);
	add(1, 3);
	ack(2, 2);
	stop();
	assert_int_equal(rows_durable(), 2);
	open_store(scene.path);
	start();
	buf_reset(&scene.wire);
	up(true);
	run_for(50 * MS);
	assert_string_equal(wire(), "1 3 ");
}

static void test_an_end_on_a_full_disk_leaves_nothing_behind(void **state)
{
	(void)state;
	disk_set_full(true);
	add(1, 3000);
	run_until(is_told);
	up(true);
	ack(1, 10);
	scene.is_up = false;
	scene.records = relay_records_free(scene.records);
	scene.file = relay_record_file_free(scene.file);
	scene.store = store_free(scene.store, 50 * MS);
}

static void test_a_spilled_reply_is_not_sent_twice_on_one_link(void **state)
{
	(void)state;
	start_with_little_memory();
	up(true);
	add(1, 8); /* full */
	add_sent(9);
	add(10, 10);
	add_sent(11);
	wait_for_rows(3);
	assert_string_equal(wire(), "1 2 3 4 5 6 7 8 ");
	ack(1, 8);
	run_for(50 * MS);
	assert_string_equal(wire(), "1 2 3 4 5 6 7 8 10 ");
	down();
	up(true);
	run_for(50 * MS);
	assert_string_equal(wire(), "1 2 3 4 5 6 7 8 10 | 9 10 11 ");
}

static void test_a_reply_that_waits_for_the_disk_is_sent_again(void **state)
{
	(void)state;
	start_with_little_memory();
	up(true);
	disk_set_stalled(true);
	add(1, 8);
	add_sent(9);
	down();
	up(true);
	ack(1, 8);
	assert_string_equal(wire(), "1 2 3 4 5 6 7 8 | 1 2 3 4 5 6 7 8 9 ");
}

static void test_an_ack_finds_what_is_on_disk_alone(void **state)
{
	(void)state;
	start_with_little_memory();
	up(true);
	add(1, 8);
	add_sent(9);
	add_sent(10);
	wait_for_rows(2);
	ack(9, 9);
	ack(77, 77);
	wait_for_rows(1);
	assert_int_equal(counts().acked, 1);
	/* The one that is acknowledged while it is read stays away, too. */
	ack(1, 8);
	ack(10, 10);
	run_until(is_empty);
	wait_for_rows(0);
	assert_int_equal(counts().acks_unknown, 1);
	assert_int_equal(counts().acked, 10);
	assert_string_equal(wire(), "1 2 3 4 5 6 7 8 ");
}

static void test_others_keep_their_records(void **state)
{
	struct buf names = {0};

	(void)state;
	add(1, 4);
	wait_for_rows(4);
	stop();
	open_store(scene.path);
	scene.config.loop = scene.loop;
	scene.config.file = scene.file;
	scene.config.owner = "10.0.0.2:25060";
	assert_int_equal(relay_records_new(&scene.records, &scene.config), 0);
	assert_int_equal(relay_record_file_strangers(scene.file, &names), 4);
	assert_string_equal(names.data, OWNER " (4)");
	buf_done(&names);
	assert_true(is_empty());
	add(5, 5);
	up(true);
	ack(5, 5);
	run_for(50 * MS);
	assert_string_equal(wire(), "5 ");
	assert_int_equal(rows_durable(), 4);
}

static void test_without_a_disk_the_oldest_gives_way(void **state)
{
	(void)state;
	relay_records_free(scene.records);
	scene.config.max_records = 2;
	start();
	add(1, 3);
	assert_int_equal(counts().dropped, 1);
	assert_int_equal(counts().waiting, 2);
	up(true);
	assert_true(relay_records_caught_up(scene.records));
	down();
	up(true);
	ack(2, 2);
	down();
	up(true);
	assert_string_equal(wire(), "2 3 | 2 3 | 3 ");
}

/* Anything, in any order */

#define MOST 2000

enum fate { UNKNOWN, SENT, ACKED };

/* What has to be true, while the disk stands still, links go up and down and
 * relays are started again. */
static struct {
	uint64_t random;
	int count;
	enum fate fates[MOST + 1]; /* SENT: on the present link */
	size_t wire_at;            /* read so far */
	int last;                  /* number on the present link */
} model;

static int chance(int of)
{
	model.random =
		model.random * 6364136223846793005ull + 1442695040888963407ull;
	return (int)((model.random >> 33) % (unsigned)of);
}

static void read_wire(void)
{
	int n, len;

	while (model.wire_at < scene.wire.len &&
	       sscanf(scene.wire.data + model.wire_at, "%d %n", &n, &len) > 0) {
		assert_true(n > model.last);
		assert_int_equal(model.fates[n], UNKNOWN);
		model.fates[n] = SENT;
		model.last = n;
		model.wire_at += (size_t)len;
	}
}

static void forget_link(void)
{
	read_wire();
	if (scene.is_up)
		down();
	model.wire_at = scene.wire.len;
	model.last = 0;
	for (int n = 1; n <= model.count; n++)
		if (model.fates[n] == SENT)
			model.fates[n] = UNKNOWN;
}

static void ack_some(void)
{
	int from = 1 + chance(model.count + 1);
	int most = chance(20);

	for (int n = from; n <= model.count && most > 0; n++, most--) {
		if (model.fates[n] != SENT)
			continue;
		ack(n, n);
		model.fates[n] = ACKED;
	}
}

static void add_one(void)
{
	int n = ++model.count;

	if (scene.is_up && chance(3) == 0) {
		add_sent(n);
		model.fates[n] = SENT;
	} else {
		add(n, n);
	}
}

static void do_anything(void)
{
	switch (chance(12)) {
	case 0:
		if (scene.is_up)
			forget_link();
		else
			up(true);
		break;
	case 1:
		disk_set_stalled(chance(2));
		break;
	case 2:
		disk_set_full(chance(2));
		break;
	case 3:
	case 4:
		run_for((unsigned)chance(8) * MS);
		break;
	case 5:
		if (chance(8) > 0)
			break;
		disk_set_stalled(false);
		disk_set_full(false);
		forget_link();
		stop();
		open_store(scene.path);
		start();
		break;
	case 6:
	case 7:
	case 8:
		ack_some();
		break;
	default:
		for (int i = chance(12); i > 0 && model.count < MOST; i--)
			add_one();
	}
	read_wire();
}

static void check_what_is_left(void)
{
	int left = 0;

	disk_set_stalled(false);
	disk_set_full(false);
	if (!scene.is_up)
		up(true);
	for (int i = 0; i < 200; i++) {
		run_for(2 * MS);
		read_wire();
		ack_some();
	}
	forget_link();
	up(true);
	do {
		run_for(5 * MS);
		read_wire();
		left = 0;
		for (int n = 1; n <= model.count; n++) {
			if (model.fates[n] == SENT) {
				ack(n, n);
				model.fates[n] = ACKED;
				left++;
			}
		}
	} while (left > 0);
	run_until(is_empty);
	for (int n = 1; n <= model.count; n++)
		assert_int_equal(model.fates[n], ACKED);
	assert_int_equal(counts().dropped, 0);
	wait_for_rows(0);
	assert_int_equal(rows_durable(), 0);
}

static void test_whatever_happens_none_is_lost_or_doubled(void **state)
{
	for (unsigned seed = 1; seed <= 8; seed++) {
		memset(&model, 0, sizeof(model));
		model.random = seed;
		teardown(state);
		setup(state);
		relay_records_free(scene.records);
		scene.config.max_records = 8 + seed * 2;
		start();
		for (int i = 0; i < 400; i++)
			do_anything();
		check_what_is_left();
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_WITHOUT_DISK(name)                                                \
	cmocka_unit_test_setup_teardown(name, setup_without_disk, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_acknowledged_is_forgotten),
		TEST_WITHOUT_DISK(test_what_is_acknowledged_is_forgotten),
		TEST(test_what_is_not_is_sent_again_in_order),
		TEST_WITHOUT_DISK(test_what_is_not_is_sent_again_in_order),
		TEST(test_who_acknowledges_nothing_gets_each_once),
		TEST(test_the_backlog_is_what_waited_for_the_link),
		TEST(test_ten_thousand_need_little_memory_and_arrive_once),
		TEST(test_as_many_go_to_who_acknowledges_nothing),
		TEST(test_a_backlog_waits_for_acknowledgements),
		TEST(test_killed_after_a_moment_all_are_there),
		TEST(test_killed_while_the_link_is_down_all_are_there),
		TEST(test_killed_after_the_acknowledgement_none_is_there),
		TEST(test_an_ack_may_come_before_the_row_is_written),
		TEST(test_a_disk_that_stands_still_holds_up_nothing),
		TEST(test_a_full_disk_is_told_and_loses_nothing),
		TEST(test_what_the_store_refuses_goes_to_the_log),
		TEST(test_the_end_writes_what_is_not_acknowledged),
		TEST(test_an_end_on_a_full_disk_leaves_nothing_behind),
		TEST(test_a_spilled_reply_is_not_sent_twice_on_one_link),
		TEST(test_a_reply_that_waits_for_the_disk_is_sent_again),
		TEST(test_an_ack_finds_what_is_on_disk_alone),
		TEST(test_others_keep_their_records),
		TEST_WITHOUT_DISK(test_without_a_disk_the_oldest_gives_way),
		TEST(test_whatever_happens_none_is_lost_or_doubled),
	};

	log_set_level(LOG_LEVEL_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
