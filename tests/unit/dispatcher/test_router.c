/** What becomes of a request: through the proxy socket to fake relays and back.
 */
#include "dispatcher/router.h"

#include <stdio.h>

#include "base/clock.h"
#include "rig.h"
#include "test.h"

#define RECORD "{\"call_id\": \"c1\", \"from_tag\": \"f1\"}"

/* One relay, one proxy, and a call c1/f1 on that relay. */
struct scene {
	struct rig rig;
	struct rig_end *relay, *proxy;
};

static void set_up_with(struct scene *scene, const char *sessions)
{
	rig_start(&scene->rig);
	scene->relay = rig_relay(&scene->rig, "127.0.0.2", sessions);
	scene->proxy = rig_proxy(&scene->rig);
}

static void set_up(struct scene *scene)
{
	set_up_with(scene, "[]");
}

static void make_call(struct scene *scene)
{
	rig_update(scene->proxy, "c1", "f1", "");
	rig_say(scene->relay, "%lu 127.0.0.2 40000",
		rig_expect_request(scene->relay, "update"));
	rig_expect(scene->proxy, "127.0.0.2 40000");
}

static void tear_down(struct scene *scene)
{
	rig_end_free(scene->relay);
	rig_end_free(scene->proxy);
	rig_done(&scene->rig);
}

static void
test_an_update_goes_to_the_relay_and_its_ports_come_back(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.2\r\n");
	rig_say(s.relay, "%lu 127.0.0.2 40000",
		rig_expect_request_with(s.relay, "update",
					"media_relay: 127.0.0.2"));
	rig_expect(s.proxy, "127.0.0.2 40000");
	assert_int_equal(directory_count(s.rig.directory).sessions, 1);
	tear_down(&s);
}

static void test_a_removed_call_is_forgotten_and_its_record_taken(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	rig_remove(s.proxy, "c1", "f1");
	rig_say(s.relay, "%lu " RECORD,
		rig_expect_request_with(s.relay, "remove", "call_id: c1"));
	rig_expect(s.proxy, "removed");
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	assert_int_equal(router_counters(s.rig.router)->records, 1);
	rig_remove(s.proxy, "c1", "f1");
	rig_expect(s.proxy, "error");
	rig_expect_nothing(s.relay);
	tear_down(&s);
}

static void test_a_call_without_relays_is_an_error_at_once(void **state)
{
	struct rig_end *proxy;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_start(&rig);
	proxy = rig_proxy(&rig);
	rig_update(proxy, "c1", "f1", "");
	rig_expect(proxy, "error");
	assert_int_equal(
		router_counters(&*rig.router)->refused[REFUSAL_NO_RELAY], 1);
	rig_end_free(proxy);
	rig_done(&rig);
}

static void test_the_preferred_relay_gets_the_call(void **state)
{
	struct rig_end *other;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	for (int i = 0; i < 8; i++) {
		char call_id[16];

		snprintf(call_id, sizeof(call_id), "c%d", i);
		rig_update(s.proxy, call_id, "f", "media_relay: 127.0.0.3\r\n");
		rig_say(other, "%lu 127.0.0.3 40000",
			rig_expect_request(other, "update"));
		rig_expect(s.proxy, "127.0.0.3 40000");
	}
	rig_expect_nothing(s.relay);
	rig_end_free(other);
	tear_down(&s);
}

static void
test_a_known_call_stays_on_its_relay_whatever_is_preferred(void **state)
{
	struct rig_end *other;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	rig_say(s.relay, "%lu 127.0.0.2 40002",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40002");
	/* Another leg of the same call as well. */
	rig_update(s.proxy, "c1", "f2", "media_relay: 127.0.0.3\r\n");
	rig_say(s.relay, "%lu 127.0.0.2 40004",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40004");
	rig_expect_nothing(other);
	rig_end_free(other);
	tear_down(&s);
}

static void test_a_known_call_whose_relay_is_gone_is_an_error(void **state)
{
	struct rig_end *other;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_end_close(s.relay);
	rig_update(s.proxy, "c1", "f1", "");
	rig_expect(s.proxy, "error");
	rig_expect_nothing(other);
	/* It is not forgotten, and the relay that comes back has it. */
	rig_end_free(s.relay);
	s.relay = rig_relay(&s.rig, "127.0.0.2",
			    "[{\"call_id\": \"c1\", \"from_tag\": \"f1\"}]");
	make_call(&s);
	rig_end_free(other);
	tear_down(&s);
}

static void test_an_error_of_a_relay_takes_a_new_call_to_the_next(void **state)
{
	struct rig_end *other;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	rig_say(other, "%lu error", rig_expect_request(other, "update"));
	rig_say(s.relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40000");
	assert_int_equal(router_counters(s.rig.router)->failovers, 1);
	rig_end_free(other);
	tear_down(&s);
}

static void test_each_relay_is_asked_once_and_then_it_is_an_error(void **state)
{
	struct rig_end *other;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	rig_say(other, "%lu error", rig_expect_request(other, "update"));
	rig_say(s.relay, "%lu error", rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "error");
	rig_expect_nothing(other);
	rig_expect_nothing(s.relay);
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	rig_end_free(other);
	tear_down(&s);
}

static void
test_a_halting_relay_gets_no_new_calls_until_it_reconnects(void **state)
{
	struct rig_end *other;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	rig_say(other, "%lu halting", rig_expect_request(other, "update"));
	rig_say(s.relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40000");
	rig_expect_nothing(other); /* a ping does not change it */
	rig_update(s.proxy, "c2", "f1", "media_relay: 127.0.0.3\r\n");
	rig_say(s.relay, "%lu 127.0.0.2 40002",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40002");

	rig_end_free(other);
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_update(s.proxy, "c3", "f1", "media_relay: 127.0.0.3\r\n");
	rig_say(other, "%lu 127.0.0.3 40000",
		rig_expect_request(other, "update"));
	rig_expect(s.proxy, "127.0.0.3 40000");
	rig_end_free(other);
	tear_down(&s);
}

static void
test_a_relay_that_disconnects_in_the_middle_fails_over_at_once(void **state)
{
	struct rig_end *other;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	rig_expect_request(other, "update");
	rig_end_close(other);
	rig_say(s.relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40000");
	rig_end_free(other);
	tear_down(&s);
}

static void
test_a_second_connection_of_a_relay_fails_the_first_ones_requests_over(
	void **state)
{
	struct rig_end *first, *second;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	first = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	rig_expect_request(first, "update");
	second = rig_dial(&s.rig, "127.0.0.3");
	rig_expect_closed(first);
	rig_say(s.relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40000");
	rig_end_free(first);
	rig_end_free(second);
	tear_down(&s);
}

static void
test_a_slow_relay_is_passed_over_and_its_late_session_removed(void **state)
{
	struct rig_end *slow;
	unsigned long seq;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	s.rig.conf.dispatcher.failover_timeout_us = 5 * US_PER_MS;
	set_up(&s);
	slow = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	seq = rig_expect_request(slow, "update");
	rig_say(s.relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40000");

	rig_say(slow, "%lu 127.0.0.3 40000", seq);
	seq = rig_expect_request_with(slow, "remove", "call_id: c1");
	rig_say(slow, "%lu " RECORD, seq);
	rig_expect_nothing(slow);
	assert_int_equal(router_counters(s.rig.router)->records, 0);
	assert_int_equal(router_counters(s.rig.router)->late_sessions, 1);
	assert_int_equal(directory_count(s.rig.directory).sessions, 1);
	rig_end_free(slow);
	tear_down(&s);
}

static void test_a_slow_relay_may_still_answer_if_no_other_can(void **state)
{
	struct rig_end *slow;
	unsigned long seq;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	s.rig.conf.dispatcher.failover_timeout_us = 5 * US_PER_MS;
	set_up(&s);
	slow = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	seq = rig_expect_request(slow, "update");
	rig_say(s.relay, "%lu error", rig_expect_request(s.relay, "update"));
	rig_expect_nothing(s.relay);
	rig_say(slow, "%lu 127.0.0.3 40000", seq);
	rig_expect(s.proxy, "127.0.0.3 40000");
	rig_expect_nothing(slow);
	rig_end_free(slow);
	tear_down(&s);
}

static void
test_no_answer_in_time_is_an_error_and_a_late_session_removed(void **state)
{
	unsigned long seq;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	s.rig.conf.dispatcher.answer_timeout_us = 5 * US_PER_MS;
	set_up(&s);
	rig_update(s.proxy, "c1", "f1", "");
	rig_expect(s.proxy, "error");
	seq = rig_expect_request(s.relay, "update");
	rig_say(s.relay, "%lu 127.0.0.2 40000", seq);
	rig_expect_request_with(s.relay, "remove", "from_tag: f1");
	assert_int_equal(directory_count(s.rig.directory).sessions, 0);
	assert_int_equal(
		router_counters(s.rig.router)->refused[REFUSAL_TIMEOUT], 1);
	tear_down(&s);
}

static void
test_a_late_reply_to_a_known_calls_update_removes_nothing(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	s.rig.conf.dispatcher.answer_timeout_us = 5 * US_PER_MS;
	set_up_with(&s, "[" RECORD "]");
	rig_update(s.proxy, "c1", "f1", "");
	rig_expect(s.proxy, "error");
	rig_say(s.relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s.relay, "update"));
	rig_expect_nothing(s.relay);
	assert_int_equal(directory_count(s.rig.directory).sessions, 1);
	tear_down(&s);
}

static void test_a_late_reply_to_remove_is_still_a_record(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	s.rig.conf.dispatcher.answer_timeout_us = 5 * US_PER_MS;
	set_up_with(&s, "[" RECORD "]");
	rig_remove(s.proxy, "c1", "f1");
	rig_expect(s.proxy, "error");
	rig_say(s.relay, "%lu " RECORD, rig_expect_request(s.relay, "remove"));
	rig_expect_nothing(s.relay);
	assert_int_equal(router_counters(s.rig.router)->late_records, 1);
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	tear_down(&s);
}

static void test_a_session_whose_proxy_is_gone_is_removed(void **state)
{
	unsigned long seq;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_update(s.proxy, "c1", "f1", "");
	seq = rig_expect_request(s.relay, "update");
	rig_end_close(s.proxy);
	rig_until_proxies(&s.rig, 0);
	rig_say(s.relay, "%lu 127.0.0.2 40000", seq);
	rig_expect_request_with(s.relay, "remove", "call_id: c1");
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	tear_down(&s);
}

static void test_a_second_leg_whose_proxy_is_gone_is_removed_alone(void **state)
{
	unsigned long seq;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	rig_update(s.proxy, "c1", "f2", "");
	seq = rig_expect_request(s.relay, "update");
	rig_end_close(s.proxy);
	rig_until_proxies(&s.rig, 0);
	rig_say(s.relay, "%lu 127.0.0.2 40002", seq);
	rig_expect_request_with(s.relay, "remove", "from_tag: f2");
	assert_int_equal(directory_count(s.rig.directory).sessions, 1);
	tear_down(&s);
}

static void
test_a_remove_is_carried_out_although_its_proxy_is_gone(void **state)
{
	unsigned long seq;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	rig_remove(s.proxy, "c1", "f1");
	seq = rig_expect_request(s.relay, "remove");
	rig_end_close(s.proxy);
	rig_until_proxies(&s.rig, 0);
	rig_say(s.relay, "%lu " RECORD, seq);
	rig_expect_nothing(s.relay);
	assert_int_equal(router_counters(s.rig.router)->records, 1);
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	tear_down(&s);
}

static void
test_requests_of_a_call_that_looks_for_its_relay_wait_for_it(void **state)
{
	struct rig_end *other, *proxy2;
	unsigned long seq;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	proxy2 = rig_proxy(&s.rig);
	rig_update(s.proxy, "c1", "f1", "media_relay: 127.0.0.3\r\n");
	seq = rig_expect_request(other, "update");
	/* The same call over another connection, with another wish. */
	rig_update(proxy2, "c1", "f1", "media_relay: 127.0.0.2\r\n");
	rig_until_proxies(&s.rig, 2);
	rig_expect_nothing(s.relay);
	rig_say(other, "%lu 127.0.0.3 40000", seq);
	rig_expect(s.proxy, "127.0.0.3 40000");
	rig_say(other, "%lu 127.0.0.3 40000",
		rig_expect_request(other, "update"));
	rig_expect(proxy2, "127.0.0.3 40000");
	rig_expect_nothing(s.relay);
	rig_end_free(proxy2);
	rig_end_free(other);
	tear_down(&s);
}

static void
test_whoever_waited_for_a_call_in_vain_looks_for_a_relay_himself(void **state)
{
	struct rig_end *proxy2;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	proxy2 = rig_proxy(&s.rig);
	rig_update(s.proxy, "c1", "f1", "");
	rig_update(proxy2, "c1", "f1", "");
	rig_say(s.relay, "%lu error", rig_expect_request(s.relay, "update"));
	rig_say(s.relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s.relay, "update"));
	/* Which of the two came first is not known. */
	rig_until_proxies(&s.rig, 2);
	const char *one = rig_hear(s.proxy), *two = rig_hear(proxy2);

	assert_true((strcmp(one, "error") == 0) != (strcmp(two, "error") == 0));
	rig_end_free(proxy2);
	tear_down(&s);
}

static void test_none_is_never_said_to_a_message_with_media(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_update(s.proxy, "c1", "f1", "");
	rig_say(s.relay, "%lu None", rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "error");
	rig_say(s.proxy, "update\r\ntype: request\r\ncall_id: c1\r\ncseq: "
			 "1\r\nfrom_tag: f1\r\n");
	rig_say(s.relay, "%lu None", rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "None");
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	tear_down(&s);
}

static void test_a_reply_that_is_no_list_of_ports_is_an_error(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_update(s.proxy, "c1", "f1", "");
	rig_say(s.relay, "%lu host.example.com 40000",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "error");
	rig_update(s.proxy, "c1", "f1", "");
	rig_say(s.relay, "%lu 10.0.0.1 40000 x",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "error");
	rig_update(s.proxy, "c1", "f1", "");
	rig_say(s.relay, "%lu 2001:db8::1 40000 0",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "2001:db8::1 40000 0");
	tear_down(&s);
}

static void
test_an_expired_session_is_removed_without_asking_the_relay(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	rig_say(s.relay, "expired " RECORD);
	rig_expect_nothing(s.relay);
	assert_int_equal(directory_count(s.rig.directory).expired, 1);
	rig_remove(s.proxy, "c1", "f1");
	rig_expect(s.proxy, "removed");
	rig_expect_nothing(s.relay);
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	tear_down(&s);
}

static void
test_a_session_that_expires_while_it_is_removed_is_removed(void **state)
{
	unsigned long seq;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	rig_remove(s.proxy, "c1", "f1");
	seq = rig_expect_request(s.relay, "remove");
	rig_say(s.relay, "expired " RECORD "\r\n%lu error", seq);
	rig_expect(s.proxy, "removed");
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	tear_down(&s);
}

static void
test_expired_from_a_relay_that_does_not_have_the_call_is_dropped(void **state)
{
	struct rig_end *other;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_say(other, "expired " RECORD);
	rig_expect_nothing(other);
	assert_int_equal(directory_count(s.rig.directory).expired, 0);
	assert_int_equal(s.rig.events.expired_foreign, 1);
	rig_end_free(other);
	tear_down(&s);
}

static void test_what_relays_list_is_known_after_a_restart(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	rig_start(&s.rig);
	s.relay = rig_relay(&s.rig, "127.0.0.2",
			    "[{\"call_id\": \"c1\", \"from_tag\": \"f1\", "
			    "\"to_tag\": \"t1\", \"dialog_id\": \"1:2\"}]");
	s.proxy = rig_proxy(&s.rig);
	/* The callee hangs up. */
	rig_remove(s.proxy, "c1", "t1");
	rig_say(s.relay, "%lu " RECORD, rig_expect_request(s.relay, "remove"));
	rig_expect(s.proxy, "removed");
	tear_down(&s);
}

static void
test_a_session_that_its_relay_does_not_list_any_more_is_lost(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	rig_end_free(s.relay);
	s.relay = rig_relay(&s.rig, "127.0.0.2", "[]");
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	assert_int_equal(s.rig.events.lost_sessions, 1);
	tear_down(&s);
}

static void test_a_list_that_cannot_be_read_drops_nothing(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	rig_end_free(s.relay);
	s.relay = rig_relay(&s.rig, "127.0.0.2", "[{\"call_id\"");
	assert_int_equal(directory_count(s.rig.directory).calls, 1);
	rig_end_free(s.relay);
	s.relay = rig_relay(&s.rig, "127.0.0.2", "error");
	assert_int_equal(directory_count(s.rig.directory).calls, 1);
	tear_down(&s);
}

static void
test_what_is_open_when_the_dispatcher_stops_is_an_error(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_update(s.proxy, "c1", "f1", "");
	rig_expect_request(s.relay, "update");
	router_stop(s.rig.router);
	rig_expect(s.proxy, "error");
	rig_update(s.proxy, "c2", "f1", "");
	rig_expect(s.proxy, "error");
	tear_down(&s);
}

static void test_a_list_may_come_in_pages(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	rig_start(&s.rig);
	s.relay = rig_dial(&s.rig, "127.0.0.2");
	s.proxy = rig_proxy(&s.rig);
	rig_say(s.relay,
		"%lu {\"sessions\": [{\"call_id\": \"c0\", \"from_tag\": "
		"\"f\"}, " RECORD "], \"next\": 7}",
		rig_expect_request_with(s.relay, "sessions", "page: 0"));
	rig_say(s.relay,
		"%lu {\"sessions\": [{\"call_id\": \"c2\", \"from_tag\": "
		"\"f\"}], \"next\": 0}",
		rig_expect_request_with(s.relay, "sessions", "page: 7"));
	rig_expect_nothing(s.relay);
	assert_int_equal(directory_count(s.rig.directory).sessions, 3);

	/* Next time one of them is gone, and one cannot be read. */
	rig_end_free(s.relay);
	s.relay = rig_dial(&s.rig, "127.0.0.2");
	rig_say(s.relay, "%lu {\"sessions\": [" RECORD "], \"next\": 9}",
		rig_expect_request_with(s.relay, "sessions", "page: 0"));
	rig_say(s.relay, "%lu error",
		rig_expect_request_with(s.relay, "sessions", "page: 9"));
	rig_expect_nothing(s.relay);
	assert_int_equal(directory_count(s.rig.directory).sessions, 3);
	rig_end_free(s.relay);
	s.relay = rig_relay(&s.rig, "127.0.0.2",
			    "{\"sessions\": [" RECORD "], \"next\": 0}");
	assert_int_equal(directory_count(s.rig.directory).sessions, 1);
	tear_down(&s);
}

static void
test_a_session_that_is_removed_between_two_pages_is_not_lost(void **state)
{
	unsigned long page, remove;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s);
	rig_end_free(s.relay);
	s.relay = rig_dial(&s.rig, "127.0.0.2");
	rig_say(s.relay,
		"%lu {\"sessions\": [{\"call_id\": \"c0\", \"from_tag\": "
		"\"f\"}], \"next\": 7}",
		rig_expect_request(s.relay, "sessions"));
	page = rig_expect_request(s.relay, "sessions");
	rig_remove(s.proxy, "c1", "f1");
	remove = rig_expect_request(s.relay, "remove");
	rig_say(s.relay, "%lu {\"sessions\": [], \"next\": 0}", page);
	rig_expect_nothing(s.relay);
	assert_int_equal(s.rig.events.lost_sessions, 0);
	rig_say(s.relay, "%lu " RECORD, remove);
	rig_expect(s.proxy, "removed");
	assert_int_equal(directory_count(s.rig.directory).sessions, 1);

	/* A remove that was sent before the first page came is one, too. But
	 * after it what is not listed is lost, removed or not. */
	rig_end_free(s.relay);
	s.relay = rig_dial(&s.rig, "127.0.0.2");
	page = rig_expect_request(s.relay, "sessions");
	rig_remove(s.proxy, "c0", "f");
	rig_expect_request(s.relay, "remove");
	rig_say(s.relay, "%lu []", page);
	rig_expect_nothing(s.relay);
	assert_int_equal(s.rig.events.lost_sessions, 0);
	rig_end_free(s.relay);
	s.relay = rig_relay(&s.rig, "127.0.0.2", "[]");
	assert_int_equal(s.rig.events.lost_sessions, 1);
	assert_int_equal(directory_count(s.rig.directory).calls, 0);
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
		T(test_an_update_goes_to_the_relay_and_its_ports_come_back),
		T(test_a_removed_call_is_forgotten_and_its_record_taken),
		T(test_a_call_without_relays_is_an_error_at_once),
		T(test_the_preferred_relay_gets_the_call),
		T(test_a_known_call_stays_on_its_relay_whatever_is_preferred),
		T(test_a_known_call_whose_relay_is_gone_is_an_error),
		T(test_an_error_of_a_relay_takes_a_new_call_to_the_next),
		T(test_each_relay_is_asked_once_and_then_it_is_an_error),
		T(test_a_halting_relay_gets_no_new_calls_until_it_reconnects),
		T(test_a_relay_that_disconnects_in_the_middle_fails_over_at_once),
		T(test_a_second_connection_of_a_relay_fails_the_first_ones_requests_over),
		T(test_a_slow_relay_is_passed_over_and_its_late_session_removed),
		T(test_a_slow_relay_may_still_answer_if_no_other_can),
		T(test_no_answer_in_time_is_an_error_and_a_late_session_removed),
		T(test_a_late_reply_to_a_known_calls_update_removes_nothing),
		T(test_a_late_reply_to_remove_is_still_a_record),
		T(test_a_session_whose_proxy_is_gone_is_removed),
		T(test_a_second_leg_whose_proxy_is_gone_is_removed_alone),
		T(test_a_remove_is_carried_out_although_its_proxy_is_gone),
		T(test_requests_of_a_call_that_looks_for_its_relay_wait_for_it),
		T(test_whoever_waited_for_a_call_in_vain_looks_for_a_relay_himself),
		T(test_none_is_never_said_to_a_message_with_media),
		T(test_a_reply_that_is_no_list_of_ports_is_an_error),
		T(test_an_expired_session_is_removed_without_asking_the_relay),
		T(test_a_session_that_expires_while_it_is_removed_is_removed),
		T(test_expired_from_a_relay_that_does_not_have_the_call_is_dropped),
		T(test_what_relays_list_is_known_after_a_restart),
		T(test_a_session_that_its_relay_does_not_list_any_more_is_lost),
		T(test_a_list_that_cannot_be_read_drops_nothing),
		T(test_a_list_may_come_in_pages),
		T(test_a_session_that_is_removed_between_two_pages_is_not_lost),
		T(test_what_is_open_when_the_dispatcher_stops_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
