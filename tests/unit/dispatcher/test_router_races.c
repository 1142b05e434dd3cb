/** Requests that overtake each other, and what is undone. */
#include "dispatcher/router.h"

#include "base/clock.h"
#include "rig.h"
#include "test.h"

#define RECORD "{\"call_id\": \"c1\", \"from_tag\": \"f1\"}"

/* Two relays, a proxy, and a call c1/f1 on the first relay. */
struct scene {
	struct rig rig;
	struct rig_end *relay, *other, *proxy;
};

static void make_call(struct scene *s)
{
	rig_update(s->proxy, "c1", "f1", "media_relay: 127.0.0.2\r\n");
	rig_say(s->relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s->relay, "update"));
	rig_expect(s->proxy, "127.0.0.2 40000");
}

static void set_up(struct scene *s)
{
	rig_start(&s->rig);
	s->relay = rig_relay(&s->rig, "127.0.0.2", "[]");
	s->other = rig_relay(&s->rig, "127.0.0.3", "[]");
	s->proxy = rig_proxy(&s->rig);
	make_call(s);
}

static void tear_down(struct scene *s)
{
	rig_end_free(s->relay);
	rig_end_free(s->other);
	rig_end_free(s->proxy);
	rig_done(&s->rig);
}

/* The call is known: its relay is asked, whichever is preferred. */
static void expect_known(struct scene *s)
{
	rig_update(s->proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	rig_say(s->relay, "%lu 127.0.0.2 40002",
		rig_expect_request(s->relay, "update"));
	rig_expect(s->proxy, "127.0.0.2 40002");
	rig_expect_nothing(s->other);
}

static void expect_removed(struct scene *s)
{
	rig_remove(s->proxy, "c1", "f1");
	rig_say(s->relay, "%lu " RECORD,
		rig_expect_request(s->relay, "remove"));
	rig_expect(s->proxy, "removed");
	assert_int_equal(directory_count(s->rig.directory).calls, 0);
}

static void
test_a_record_that_comes_after_a_newer_update_leaves_its_call(void **state)
{
	unsigned long remove, update;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_remove(s.proxy, "c1", "f1");
	remove = rig_expect_request(s.relay, "remove");
	rig_update(s.proxy, "c1", "f1", "");
	update = rig_expect_request(s.relay, "update");
	rig_say(s.relay, "%lu 127.0.0.2 40004", update);
	rig_expect_nothing(s.relay);
	rig_say(s.relay, "%lu " RECORD, remove);
	rig_expect(s.proxy, "removed");
	rig_expect(s.proxy, "127.0.0.2 40004");
	assert_int_equal(directory_count(s.rig.directory).sessions, 1);
	assert_int_equal(directory_count(s.rig.directory).expired, 0);
	expect_known(&s);
	expect_removed(&s);
	tear_down(&s);
}

static void
test_a_record_that_comes_before_the_newer_updates_reply_does_too(void **state)
{
	unsigned long remove, update;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_remove(s.proxy, "c1", "f1");
	remove = rig_expect_request(s.relay, "remove");
	rig_update(s.proxy, "c1", "f1", "");
	update = rig_expect_request(s.relay, "update");
	rig_say(s.relay, "%lu " RECORD, remove);
	rig_expect(s.proxy, "removed");
	/* A third request meanwhile does not look for a relay of its own. */
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	rig_say(s.relay, "%lu 127.0.0.2 40004", update);
	rig_expect(s.proxy, "127.0.0.2 40004");
	rig_say(s.relay, "%lu 127.0.0.2 40004",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40004");
	rig_expect_nothing(s.other);
	assert_int_equal(directory_count(s.rig.directory).expired, 0);
	expect_removed(&s);
	tear_down(&s);
}

static void
test_an_update_that_fails_after_the_remove_leaves_nothing_live(void **state)
{
	unsigned long remove, update;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_remove(s.proxy, "c1", "f1");
	remove = rig_expect_request(s.relay, "remove");
	rig_update(s.proxy, "c1", "f1", "");
	update = rig_expect_request(s.relay, "update");
	rig_say(s.relay, "%lu " RECORD "\r\n%lu error", remove, update);
	rig_expect(s.proxy, "removed");
	rig_expect(s.proxy, "error");
	/* It waits for the proxy's remove, like all that ended by itself. */
	assert_int_equal(directory_count(s.rig.directory).expired, 1);
	rig_remove(s.proxy, "c1", "f1");
	rig_say(s.relay, "%lu error", rig_expect_request(s.relay, "remove"));
	rig_expect(s.proxy, "removed");
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	tear_down(&s);
}

static void
test_a_reply_to_an_older_update_does_not_outlive_the_remove(void **state)
{
	unsigned long remove, update;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_update(s.proxy, "c1", "f1", "");
	update = rig_expect_request(s.relay, "update");
	rig_remove(s.proxy, "c1", "f1");
	remove = rig_expect_request(s.relay, "remove");
	rig_say(s.relay, "%lu 127.0.0.2 40000\r\n%lu " RECORD, update, remove);
	rig_expect(s.proxy, "127.0.0.2 40000");
	rig_expect(s.proxy, "removed");
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	tear_down(&s);
}

static void
test_expired_after_a_newer_update_leaves_the_new_session_live(void **state)
{
	unsigned long update;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	s.rig.doubt_us = 60 * US_PER_S;
	set_up(&s);
	rig_update(s.proxy, "c1", "f1", "");
	update = rig_expect_request(s.relay, "update");
	rig_say(s.relay, "%lu 127.0.0.2 40004\r\nexpired " RECORD, update);
	rig_expect(s.proxy, "127.0.0.2 40004");
	rig_expect_nothing(s.relay);
	/* The relay is asked, since only it knows. */
	expect_known(&s);
	assert_int_equal(directory_count(s.rig.directory).expired, 0);
	expect_removed(&s);
	tear_down(&s);
}

static void
test_a_session_in_doubt_that_has_expired_is_removed_all_the_same(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	s.rig.doubt_us = 60 * US_PER_S;
	set_up(&s);
	rig_say(s.relay, "expired " RECORD);
	rig_expect_nothing(s.relay);
	assert_int_equal(directory_count(s.rig.directory).expired, 1);
	rig_remove(s.proxy, "c1", "f1");
	rig_say(s.relay, "%lu error", rig_expect_request(s.relay, "remove"));
	rig_expect(s.proxy, "removed");
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	assert_int_equal(directory_count(s.rig.directory).expired, 0);
	tear_down(&s);
}

static void say_in_dialog(struct rig_end *proxy, const char *type,
			  const char *from_tag, const char *to_tag)
{
	rig_say(proxy,
		"update\r\ntype: %s\r\ncall_id: c1\r\ncseq: 9\r\n"
		"from_tag: %s\r\nto_tag: %s\r\n"
		"media: audio:10.0.0.1:5000:sendrecv:ice=no\r\n",
		type, from_tag, to_tag);
}

static void
test_a_late_request_of_a_transferred_call_does_not_remove_it(void **state)
{
	struct rig_end *proxy2;
	unsigned long update;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	say_in_dialog(s.proxy, "reply", "f1", "t1");
	rig_say(s.relay, "%lu 127.0.0.2 40002",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40002");
	proxy2 = rig_proxy(&s.rig);
	say_in_dialog(proxy2, "request", "new", "t1");
	update = rig_expect_request(s.relay, "update");
	rig_end_close(proxy2);
	rig_until_proxies(&s.rig, 1);
	rig_say(s.relay, "%lu 127.0.0.2 40004", update);
	rig_expect_nothing(s.relay);
	assert_int_equal(directory_count(s.rig.directory).sessions, 1);
	expect_removed(&s);
	rig_end_free(proxy2);
	tear_down(&s);
}

static void
test_what_is_said_in_a_dialog_that_is_not_known_is_never_undone(void **state)
{
	struct rig_end *proxy2;
	unsigned long update;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	proxy2 = rig_proxy(&s.rig);
	/* A tag that this dispatcher never heard of, and a call besides. */
	say_in_dialog(proxy2, "request", "x", "y");
	update = rig_expect_request(s.relay, "update");
	rig_end_close(proxy2);
	rig_until_proxies(&s.rig, 1);
	rig_say(s.relay, "%lu 127.0.0.2 40004", update);
	rig_expect_nothing(s.relay);
	assert_int_equal(router_counters(s.rig.router)->late_sessions, 0);
	rig_end_free(proxy2);
	tear_down(&s);
}

static void
test_a_late_session_is_not_removed_from_whoever_asked_again(void **state)
{
	struct rig_end *proxy2;
	unsigned long first, second;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	proxy2 = rig_proxy(&s.rig);
	rig_update(proxy2, "c1", "f2", "");
	first = rig_expect_request(s.relay, "update");
	rig_update(s.proxy, "c1", "f2", "");
	second = rig_expect_request(s.relay, "update");
	rig_end_close(proxy2);
	rig_until_proxies(&s.rig, 1);
	rig_say(s.relay, "%lu 127.0.0.2 40004\r\n%lu 127.0.0.2 40004", first,
		second);
	rig_expect(s.proxy, "127.0.0.2 40004");
	rig_expect_nothing(s.relay);
	assert_int_equal(directory_count(s.rig.directory).sessions, 2);
	rig_end_free(proxy2);
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_record_that_comes_after_a_newer_update_leaves_its_call),
		cmocka_unit_test(
			test_a_record_that_comes_before_the_newer_updates_reply_does_too),
		cmocka_unit_test(
			test_an_update_that_fails_after_the_remove_leaves_nothing_live),
		cmocka_unit_test(
			test_a_reply_to_an_older_update_does_not_outlive_the_remove),
		cmocka_unit_test(
			test_expired_after_a_newer_update_leaves_the_new_session_live),
		cmocka_unit_test(
			test_a_session_in_doubt_that_has_expired_is_removed_all_the_same),
		cmocka_unit_test(
			test_a_late_request_of_a_transferred_call_does_not_remove_it),
		cmocka_unit_test(
			test_what_is_said_in_a_dialog_that_is_not_known_is_never_undone),
		cmocka_unit_test(
			test_a_late_session_is_not_removed_from_whoever_asked_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
