/** What becomes of final records: on a disk that a test can fill, stop and pull
 * the plug of. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../store/disk.h"
#include "accounting/spool.h"
#include "base/clock.h"
#include "rig.h"
#include "test.h"

/* One relay, one proxy. */
struct scene {
	struct rig rig;
	struct rig_end *relay, *proxy;
};

static bool is_up(void *arg)
{
	struct rig *rig = arg;
	struct relay_peer *peer = relay_peers_next(rig->peers, NULL);

	return peer && relay_peer_state(peer) == RELAY_PEER_ACTIVE;
}

/* A relay that keeps its records until they are acknowledged. */
static struct rig_end *dial_keeper(struct rig *rig, const char *sessions)
{
	struct rig_end *end = rig_dial(rig, "127.0.0.2");
	unsigned long seq;

	rig_say(end, "ping {\"name\": \"media-relay\", \"version\": \"5\", "
		     "\"features\": [\"paged\", \"ack\"]}");
	seq = rig_expect_request(end, "sessions");
	rig_expect(end, "pong");
	rig_say(end, "%lu {\"sessions\": %s, \"next\": 0}", seq, sessions);
	rig_until(rig, is_up, rig);
	return end;
}

static int setup(void **state)
{
	static struct scene scene;

	disk_install();
	rig_init(&scene.rig);
	*state = &scene;
	return 0;
}

static void begin(struct scene *s)
{
	rig_start(&s->rig);
	s->relay = dial_keeper(&s->rig, "[]");
	s->proxy = rig_proxy(&s->rig);
}

static int teardown(void **state)
{
	struct scene *s = *state;

	disk_set_full(false);
	disk_set_stalled(false);
	rig_end_free(s->relay);
	rig_end_free(s->proxy);
	rig_done(&s->rig);
	disk_uninstall();
	return 0;
}

static void make_call(struct scene *s, const char *call_id)
{
	rig_update(s->proxy, call_id, "f", "");
	rig_say(s->relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s->relay, "update"));
	rig_expect(s->proxy, "127.0.0.2 40000");
}

#define RECORD                                                                 \
	"{\"call_id\": \"%s\", \"from_tag\": \"f\", \"start_time\": 1.0, "     \
	"\"record_id\": \"%s\"}"

static void remove_call(struct scene *s, const char *call_id, const char *id)
{
	rig_remove(s->proxy, call_id, "f");
	rig_say(s->relay, "%lu " RECORD, rig_expect_request(s->relay, "remove"),
		call_id, id);
}

/* The relay has no such session. */
static void remove_unknown(struct scene *s, const char *call_id)
{
	rig_remove(s->proxy, call_id, "f");
	rig_say(s->relay, "%lu error", rig_expect_request(s->relay, "remove"));
	rig_expect(s->proxy, "error");
}

static void expect_ack(struct scene *s, const char *id)
{
	char line[64];

	snprintf(line, sizeof(line), "ack %s", id);
	rig_expect(s->relay, line);
}

/* How many records with this id a power failure would leave; NULL: any. */
static int count_durable(struct scene *s, const char *id)
{
	char copy[128];
	struct store_db *db;
	struct delivery batch[64];
	size_t count = 0;
	int found = 0;

	snprintf(copy, sizeof(copy), "%s/durable.db", s->rig.folder);
	disk_write_durable(s->rig.store_path, copy);
	assert_int_equal(store_reader_open(&db, copy), 0);
	assert_int_equal(spool_read(db, 0, batch, 64, &count), SQLITE_OK);
	for (size_t i = 0; i < count; i++)
		found += !id ||
			 span_equal(batch[i].record.record_id, span_of(id));
	spool_batch_done(batch, count);
	store_reader_close(db);
	unlink(copy);
	snprintf(copy, sizeof(copy), "%s/durable.db-wal", s->rig.folder);
	unlink(copy);
	snprintf(copy, sizeof(copy), "%s/durable.db-shm", s->rig.folder);
	unlink(copy);
	return found;
}

static void test_what_was_answered_is_there_after_a_power_failure(void **state)
{
	struct scene *s = *state;
	char call_id[16], id[16];

	begin(s);
	for (int i = 0; i < 50; i++) {
		snprintf(call_id, sizeof(call_id), "c%d", i);
		snprintf(id, sizeof(id), "r%d", i);
		make_call(s, call_id);
		remove_call(s, call_id, id);
		rig_expect(s->proxy, "removed");
		assert_int_equal(count_durable(s, id), 1);
		expect_ack(s, id);
	}
	assert_int_equal(count_durable(s, NULL), 50);
}

static void test_what_was_acknowledged_is_there_too(void **state)
{
	struct scene *s = *state;

	begin(s);
	rig_say(s->relay, "expired " RECORD, "c", "r1");
	expect_ack(s, "r1");
	assert_int_equal(count_durable(s, "r1"), 1);
}

static void test_a_stalled_disk_costs_an_error_and_no_record(void **state)
{
	struct scene *s = *state;

	s->rig.conf.dispatcher.commit_timeout_us = 50 * US_PER_MS;
	begin(s);
	make_call(s, "c1");
	disk_set_stalled(true);
	remove_call(s, "c1", "r1");
	rig_expect(s->proxy, "error");
	assert_int_equal(router_counters(s->rig.router)->refused[REFUSAL_DISK],
			 1);
	/* Calls go on meanwhile. */
	make_call(s, "c2");
	disk_set_stalled(false);
	expect_ack(s, "r1");
	assert_int_equal(count_durable(s, "r1"), 1);
	remove_call(s, "c2", "r2");
	rig_expect(s->proxy, "removed");
	expect_ack(s, "r2");
}

static bool is_failing(void *arg)
{
	const struct rig *rig = arg;

	return accounting_is_failing(rig->records.accounting);
}

static void test_on_a_full_disk_nobody_waits_and_nothing_is_lost(void **state)
{
	struct scene *s = *state;

	begin(s);
	make_call(s, "c1");
	make_call(s, "c2");
	disk_set_full(true);
	rig_say(s->relay, "expired " RECORD, "c0", "r0");
	rig_until(&s->rig, is_failing, &s->rig);
	/* commit_timeout is a minute here. */
	remove_call(s, "c1", "r1");
	rig_expect(s->proxy, "error");
	disk_set_full(false);
	expect_ack(s, "r0");
	expect_ack(s, "r1");
	assert_int_equal(count_durable(s, NULL), 2);
	remove_call(s, "c2", "r2");
	rig_expect(s->proxy, "removed");
	expect_ack(s, "r2");
}

static void test_a_relay_that_keeps_no_records_gets_no_ack(void **state)
{
	struct scene *s = *state;

	rig_start(&s->rig);
	s->relay = rig_relay(&s->rig, "127.0.0.2", "[]");
	s->proxy = rig_proxy(&s->rig);
	make_call(s, "c1");
	rig_remove(s->proxy, "c1", "f");
	rig_say(s->relay, "%lu {\"call_id\": \"c1\", \"from_tag\": \"f\"}",
		rig_expect_request(s->relay, "remove"));
	rig_expect(s->proxy, "removed");
	rig_expect_nothing(s->relay);
	assert_int_equal(count_durable(s, NULL), 1);
}

static void test_a_record_that_comes_twice_is_kept_once(void **state)
{
	struct scene *s = *state;

	begin(s);
	make_call(s, "c1");
	remove_call(s, "c1", "r1");
	rig_expect(s->proxy, "removed");
	expect_ack(s, "r1");
	rig_say(s->relay, "expired " RECORD, "c1", "r1");
	expect_ack(s, "r1");
	assert_int_equal(count_durable(s, NULL), 1);
}

static void
test_a_record_of_a_call_on_another_relay_is_dropped_and_told(void **state)
{
	struct scene *s = *state;
	struct rig_end *other;

	begin(s);
	other = rig_relay(&s->rig, "127.0.0.3",
			  "[{\"call_id\": \"c1\", \"from_tag\": \"f\"}]");
	rig_say(s->relay, "expired " RECORD, "c1", "r1");
	expect_ack(s, "r1");
	assert_int_equal(count_durable(s, NULL), 0);
	assert_int_equal(s->rig.events.expired_foreign, 1);
	rig_end_free(other);
}

/* A link that breaks before the reply to a remove */

static bool has_no_peer(void *arg)
{
	struct rig *rig = arg;

	return relay_peers_next(rig->peers, NULL) == NULL;
}

static void break_link(struct scene *s)
{
	rig_end_close(s->relay);
	rig_until(&s->rig, has_no_peer, &s->rig);
	rig_end_free(s->relay);
}

static void test_the_record_of_a_remove_comes_over_the_next_link(void **state)
{
	struct scene *s = *state;

	begin(s);
	make_call(s, "c1");
	rig_remove(s->proxy, "c1", "f");
	rig_expect_request(s->relay, "remove");
	break_link(s);
	rig_expect(s->proxy, "error");
	s->relay = dial_keeper(&s->rig, "[]");
	/* It is in no list, but it is not lost: its record comes. */
	rig_say(s->relay, "expired " RECORD, "c1", "r1");
	rig_say(s->relay, "caught-up");
	expect_ack(s, "r1");
	rig_expect_nothing(s->relay);
	assert_int_equal(count_durable(s, NULL), 1);
	assert_int_equal(s->rig.events.lost_sessions, 0);
	/* Who removed it asks no more: nothing waits for a remove. */
	assert_int_equal(directory_count(s->rig.directory).sessions, 0);
}

/* A phone is asked for its password: the proxy removes what the first INVITE
 * made, and the second one makes it anew. */
static void test_a_remove_of_earlier_is_none_of_what_was_made_anew(void **state)
{
	struct scene *s = *state;

	begin(s);
	make_call(s, "c1");
	rig_remove(s->proxy, "c1", "f");
	rig_expect_request(s->relay, "remove");
	break_link(s);
	rig_expect(s->proxy, "error");
	s->relay = dial_keeper(&s->rig,
			       "[{\"call_id\": \"c1\", \"from_tag\": \"f\"}]");
	rig_say(s->relay, "caught-up");
	make_call(s, "c1");
	rig_say(s->relay, "expired " RECORD, "c1", "r1");
	expect_ack(s, "r1");
	assert_int_equal(directory_count(s->rig.directory).expired, 1);
	rig_remove(s->proxy, "c1", "f");
	rig_expect(s->proxy, "removed");
}

static bool has_lost(void *arg)
{
	const struct rig *rig = arg;

	return rig->events.lost_sessions == 1 &&
	       directory_count(rig->directory).sessions == 0;
}

static bool has_lost_one(void *arg)
{
	return ((const struct rig *)arg)->events.lost_sessions == 1;
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

static void run_for(struct scene *s, uint64_t us)
{
	struct timer *timer;

	assert_int_equal(timer_new(&timer, s->rig.loop, stop_loop, s->rig.loop),
			 0);
	timer_start(timer, us);
	assert_int_equal(loop_run(s->rig.loop), 0);
	timer_free(timer);
}

struct counting {
	struct scene *s;
	int wanted;
};

static bool has_records(void *arg)
{
	const struct counting *counting = arg;

	return count_durable(counting->s, NULL) >= counting->wanted;
}

static void until_records(struct scene *s, int count)
{
	struct counting counting = {s, count};

	rig_until(&s->rig, has_records, &counting);
}

static void
test_a_session_that_its_relay_lost_is_accounted_with_what_is_known(void **state)
{
	struct scene *s = *state;
	struct store_db *db;
	struct delivery delivery;
	size_t count;

	begin(s);
	make_call(s, "c1");
	break_link(s);
	s->relay = dial_keeper(&s->rig, "[]");
	assert_int_equal(directory_count(s->rig.directory).sessions, 1);
	rig_say(s->relay, "caught-up");
	rig_until(&s->rig, has_lost, &s->rig);
	until_records(s, 1);
	run_for(s, 20 * US_PER_MS);
	rig_expect_nothing(s->relay); /* it has no such record */
	assert_int_equal(store_reader_open(&db, s->rig.store_path), 0);
	assert_int_equal(spool_read(db, 0, &delivery, 1, &count), SQLITE_OK);
	assert_int_equal(count, 1);
	assert_true(span_equal(delivery.record.call_id, SPAN("c1")));
	assert_non_null(memmem(delivery.record.json.ptr,
			       delivery.record.json.len, "a@example.com", 13));
	assert_non_null(memmem(delivery.record.json.ptr,
			       delivery.record.json.len, "lost by its relay",
			       17));
	spool_batch_done(&delivery, 1);
	store_reader_close(db);
}

/* The relay lists no session that is ending, and does not wait for its last
 * counters before it says that it has caught up. */
static void
test_a_record_that_comes_just_behind_the_list_is_the_only_one(void **state)
{
	struct scene *s = *state;

	s->rig.doubt_us = 500 * US_PER_MS;
	begin(s);
	make_call(s, "c1");
	make_call(s, "c2");
	break_link(s);
	s->relay = dial_keeper(&s->rig, "[]");
	rig_say(s->relay, "caught-up");
	rig_expect_nothing(s->relay);
	rig_say(s->relay, "expired " RECORD, "c1", "r1");
	expect_ack(s, "r1");
	assert_int_equal(s->rig.events.lost_sessions, 0);
	rig_until(&s->rig, has_lost_one, &s->rig);
	until_records(s, 2);
	assert_int_equal(count_durable(s, "r1"), 1);
	assert_int_equal(count_durable(s, NULL), 2); /* and c2's */
}

static void
test_a_remove_of_what_its_relay_has_lost_costs_no_record(void **state)
{
	struct scene *s = *state;

	s->rig.doubt_us = 300 * US_PER_MS;
	begin(s);
	make_call(s, "c1");
	make_call(s, "c2");
	break_link(s);
	s->relay = dial_keeper(&s->rig, "[]");
	rig_say(s->relay, "caught-up");
	remove_unknown(s, "c1");
	remove_unknown(s, "c2");
	/* One was just ending. */
	rig_say(s->relay, "expired " RECORD, "c2", "r2");
	expect_ack(s, "r2");
	rig_until(&s->rig, has_lost, &s->rig);
	until_records(s, 2);
	assert_int_equal(count_durable(s, NULL), 2);
}

static double number_of(const struct record *record, const char *key)
{
	json_t *json = json_loadb(record->json.ptr, record->json.len, 0, NULL);
	double value = json_number_value(json_object_get(json, key));

	json_decref(json);
	return value;
}

static void test_a_lost_session_ended_when_its_relay_went(void **state)
{
	struct scene *s = *state;
	struct store_db *db;
	struct delivery delivery;
	double gone;
	size_t count;

	begin(s);
	make_call(s, "c1");
	gone = (double)clock_wall_us() / (double)US_PER_S;
	break_link(s);
	run_for(s, 1500 * US_PER_MS);
	s->relay = dial_keeper(&s->rig, "[]");
	rig_say(s->relay, "caught-up");
	rig_until(&s->rig, has_lost, &s->rig);
	until_records(s, 1);
	assert_int_equal(store_reader_open(&db, s->rig.store_path), 0);
	assert_int_equal(spool_read(db, 0, &delivery, 1, &count), SQLITE_OK);
	assert_int_equal(count, 1);
	assert_true(number_of(&delivery.record, "end_time") < gone + 1);
	spool_batch_done(&delivery, 1);
	store_reader_close(db);
}

static void test_a_link_that_breaks_again_has_lost_nothing_yet(void **state)
{
	struct scene *s = *state;

	s->rig.doubt_us = 100 * US_PER_MS;
	begin(s);
	make_call(s, "c1");
	break_link(s);
	s->relay = dial_keeper(&s->rig, "[]");
	rig_say(s->relay, "caught-up");
	rig_expect_nothing(s->relay);
	break_link(s);
	s->relay = rig_dial(&s->rig, "127.0.0.2");
	run_for(s, 300 * US_PER_MS);
	assert_int_equal(s->rig.events.lost_sessions, 0);
	assert_int_equal(directory_count(s->rig.directory).sessions, 1);
}

static void test_a_reply_that_is_no_record_is_an_error(void **state)
{
	struct scene *s = *state;

	begin(s);
	make_call(s, "c1");
	rig_remove(s->proxy, "c1", "f");
	rig_say(s->relay, "%lu {\"call_id\": 7}",
		rig_expect_request(s->relay, "remove"));
	rig_expect(s->proxy, "error");
	assert_int_equal(count_durable(s, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_what_was_answered_is_there_after_a_power_failure),
		TEST(test_what_was_acknowledged_is_there_too),
		TEST(test_a_stalled_disk_costs_an_error_and_no_record),
		TEST(test_on_a_full_disk_nobody_waits_and_nothing_is_lost),
		TEST(test_a_relay_that_keeps_no_records_gets_no_ack),
		TEST(test_a_record_that_comes_twice_is_kept_once),
		TEST(test_a_record_of_a_call_on_another_relay_is_dropped_and_told),
		TEST(test_the_record_of_a_remove_comes_over_the_next_link),
		TEST(test_a_remove_of_earlier_is_none_of_what_was_made_anew),
		TEST(test_a_session_that_its_relay_lost_is_accounted_with_what_is_known),
		TEST(test_a_record_that_comes_just_behind_the_list_is_the_only_one),
		TEST(test_a_remove_of_what_its_relay_has_lost_costs_no_record),
		TEST(test_a_lost_session_ended_when_its_relay_went),
		TEST(test_a_link_that_breaks_again_has_lost_nothing_yet),
		TEST(test_a_reply_that_is_no_record_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
