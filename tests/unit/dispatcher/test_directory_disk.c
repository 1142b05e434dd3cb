/** A dispatcher that was restarted, or killed, knows its calls. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../store/disk.h"
#include "base/clock.h"
#include "rig.h"
#include "test.h"

struct scene {
	struct rig rig;
	struct rig_end *relay, *proxy;
};

static void begin(struct scene *s, const char *sessions)
{
	s->relay = rig_relay(&s->rig, "127.0.0.2", sessions);
	s->proxy = rig_proxy(&s->rig);
}

static int setup(void **state)
{
	static struct scene scene;

	disk_install();
	rig_init(&scene.rig);
	rig_start(&scene.rig);
	begin(&scene, "[]");
	*state = &scene;
	return 0;
}

static void end(struct scene *s)
{
	rig_end_free(s->relay);
	rig_end_free(s->proxy);
}

static int teardown(void **state)
{
	struct scene *s = *state;

	end(s);
	rig_done(&s->rig);
	disk_uninstall();
	return 0;
}

static void make_call(struct scene *s, const char *call_id, const char *more)
{
	rig_update(s->proxy, call_id, "f", more);
	rig_say(s->relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s->relay, "update"));
	rig_expect(s->proxy, "127.0.0.2 40000");
}

static struct directory_session *find(struct scene *s, const char *call_id,
				      const char *from_tag, const char *to_tag)
{
	struct directory_call *call =
		directory_find(s->rig.directory, span_of(call_id));

	return call ? directory_find_session(call, span_of(from_tag),
					     span_of(to_tag))
		    : NULL;
}

static void restart(struct scene *s)
{
	end(s);
	rig_restart(&s->rig);
	s->relay = NULL;
	s->proxy = rig_proxy(&s->rig);
}

static void test_a_call_is_known_after_a_restart(void **state)
{
	struct scene *s = *state;
	struct directory_session *session;

	make_call(s, "c1", "");
	make_call(s, "c1", "to_tag: t\r\n");
	restart(s);
	session = find(s, "c1", "f", "");
	assert_non_null(session);
	assert_false(directory_session_is_expired(session));
	assert_true(
		span_equal(directory_session_dialog_id(session), SPAN("1:2")));
	/* By its callee, too. */
	assert_ptr_equal(find(s, "c1", "t", "f"), session);
	/* Its relay is not back yet. */
	rig_remove(s->proxy, "c1", "f");
	rig_expect(s->proxy, "error");
	s->relay = rig_relay(&s->rig, "127.0.0.2",
			     "[{\"call_id\": \"c1\", \"from_tag\": \"f\"}]");
	rig_remove(s->proxy, "c1", "f");
	rig_say(s->relay, "%lu {\"call_id\": \"c1\", \"from_tag\": \"f\"}",
		rig_expect_request(s->relay, "remove"));
	rig_expect(s->proxy, "removed");
	restart(s);
	assert_int_equal(directory_count(s->rig.directory).sessions, 0);
}

static bool has_expired(void *arg)
{
	const struct rig *rig = arg;

	return directory_count(rig->directory).expired == 1;
}

static void
test_an_expired_call_waits_for_its_remove_over_a_restart(void **state)
{
	struct scene *s = *state;

	make_call(s, "c1", "");
	rig_say(s->relay, "expired {\"call_id\": \"c1\", \"from_tag\": \"f\"}");
	rig_until(&s->rig, has_expired, &s->rig);
	restart(s);
	assert_int_equal(directory_count(s->rig.directory).expired, 1);
	rig_remove(s->proxy, "c1", "f");
	rig_expect(s->proxy, "removed");
	restart(s);
	assert_int_equal(directory_count(s->rig.directory).sessions, 0);
}

static bool has_lost(void *arg)
{
	const struct rig *rig = arg;

	return rig->events.lost_sessions == 1;
}

static void test_a_call_that_was_lost_meanwhile_is_accounted(void **state)
{
	struct scene *s = *state;

	make_call(s, "c1", "");
	restart(s);
	s->relay = rig_relay(&s->rig, "127.0.0.2", "[]");
	rig_until(&s->rig, has_lost, &s->rig);
	assert_int_equal(directory_count(s->rig.directory).sessions, 0);
	restart(s);
	assert_int_equal(directory_count(s->rig.directory).sessions, 0);
}

static void test_new_sessions_do_not_take_the_place_of_old_ones(void **state)
{
	struct scene *s = *state;

	make_call(s, "c1", "");
	make_call(s, "c2", "");
	restart(s);
	s->relay = rig_relay(&s->rig, "127.0.0.2",
			     "[{\"call_id\": \"c1\", \"from_tag\": \"f\"}, "
			     "{\"call_id\": \"c2\", \"from_tag\": \"f\"}]");
	make_call(s, "c3", "");
	restart(s);
	assert_int_equal(directory_count(s->rig.directory).sessions, 3);
}

static bool is_written(void *arg)
{
	struct store_counts counts;

	store_count(((struct rig *)arg)->store, &counts);
	return counts.waiting == 0;
}

static void test_a_session_and_its_record_change_the_disk_together(void **state)
{
	struct scene *s = *state;
	size_t before;

	make_call(s, "c1", "");
	rig_until(&s->rig, is_written, &s->rig);
	before = disk_syncs();
	rig_remove(s->proxy, "c1", "f");
	rig_say(s->relay, "%lu {\"call_id\": \"c1\", \"from_tag\": \"f\"}",
		rig_expect_request(s->relay, "remove"));
	rig_expect(s->proxy, "removed");
	assert_int_equal(disk_syncs() - before, 1);
	/* Both are in that one commit, or the session would be back. */
	restart(s);
	assert_int_equal(directory_count(s->rig.directory).sessions, 0);
}

/* Behind its first pages, which alone are read when it is opened. */
static void damage(const char *path)
{
	static const char garbage[4096] = "no page";
	FILE *file = fopen(path, "r+");
	long len;

	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	len = ftell(file);
	assert_true(len > 20 * 4096);
	for (long at = 12 * 4096; at < len; at += 4096) {
		assert_int_equal(fseek(file, at, SEEK_SET), 0);
		assert_int_equal(fwrite(garbage, 4096, 1, file), 1);
	}
	fclose(file);
}

static void
test_a_file_that_is_damaged_inside_is_told_and_set_aside(void **state)
{
	struct scene *s = *state;
	struct directory *directory;
	struct directory_disk *disk;
	struct store *store;
	struct buf why = {0};
	struct store_config config = {.loop = s->rig.loop};
	char path[128];

	snprintf(path, sizeof(path), "%s/other.db", s->rig.folder);
	config.path = path;
	assert_int_equal(store_open(&store, &config, &why), 0);
	assert_int_equal(directory_new(&directory), 0);
	assert_int_equal(directory_disk_open(&disk, store, directory, 1, &why),
			 0);
	assert_int_equal(
		store_exec(store_db(store),
			   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL"
			   " SELECT i + 1 FROM n WHERE i < 3000)"
			   " INSERT INTO sessions SELECT i, '10.0.0.1',"
			   " randomblob(16), x'61', x'', x'', x'', x'', 0, 0"
			   " FROM n"),
		SQLITE_OK);
	directory_free(directory);
	store_free(store, 0);
	directory_disk_free(disk);
	damage(path);

	assert_int_equal(store_open(&store, &config, &why), 0);
	assert_int_equal(directory_new(&directory), 0);
	assert_int_equal(directory_disk_open(&disk, store, directory, 1, &why),
			 -EBADMSG);
	directory_free(directory);
	store_free(store, 0);

	config.set_aside = true;
	assert_int_equal(directory_new(&directory), 0);
	assert_int_equal(store_open(&store, &config, &why), 0);
	assert_non_null(strstr(why.data, "damaged: it was set aside"));
	assert_int_equal(directory_disk_open(&disk, store, directory, 1, &why),
			 0);
	assert_int_equal(directory_count(directory).sessions, 0);
	directory_free(directory);
	store_free(store, 0);
	directory_disk_free(disk);
	buf_done(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_a_call_is_known_after_a_restart),
		TEST(test_an_expired_call_waits_for_its_remove_over_a_restart),
		TEST(test_a_call_that_was_lost_meanwhile_is_accounted),
		TEST(test_new_sessions_do_not_take_the_place_of_old_ones),
		TEST(test_a_session_and_its_record_change_the_disk_together),
		TEST(test_a_file_that_is_damaged_inside_is_told_and_set_aside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
