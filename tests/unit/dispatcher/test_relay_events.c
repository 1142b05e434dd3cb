/** Which sessions that ended by themselves are ended at the SIP proxy. */
#include "dispatcher/relay_events.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "rig.h"
#include "test.h"

#define LEG "\"call_id\": \"c1\", \"from_tag\": \"f1\""
#define TALKED ", \"start_time\": 1.5, \"dialog_id\": \"1:2\""
#define TIMED_OUT ", \"timed_out\": true"

/* One relay, one proxy, and nobody at the proxy's management interface: what
 * is asked for shows in the counters. */
struct scene {
	struct rig rig;
	struct conf_opensips conf;
	struct dialog_end *dialogs;
	struct rig_end *relay, *proxy;
};

static void set_up(struct scene *s)
{
	char path[96];

	rig_start(&s->rig);
	snprintf(path, sizeof(path), "%s/mi", s->rig.folder);
	snprintf(s->conf.socket_path, sizeof(s->conf.socket_path), "%s/none",
		 s->rig.folder);
	assert_int_equal(
		dialog_end_new(&s->dialogs, s->rig.loop,
			       &(struct dialog_end_config){.proxy = &s->conf,
							   .path = path,
							   .mode = 0600,
							   .group = (gid_t)-1}),
		0);
	s->rig.events.dialogs = s->dialogs;
	s->relay = rig_relay(&s->rig, "127.0.0.2", "[]");
	s->proxy = rig_proxy(&s->rig);
}

static void make_call(struct scene *s, const char *from_tag)
{
	rig_update(s->proxy, "c1", from_tag, "");
	rig_say(s->relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s->relay, "update"));
	rig_expect(s->proxy, "127.0.0.2 40000");
}

static void expire(struct scene *s, const char *members)
{
	rig_say(s->relay, "expired {%s}", members);
	rig_expect_nothing(s->relay);
}

/* So many were asked for, none of which was reached. */
static void expect_asked(struct scene *s, unsigned count)
{
	struct dialog_end_counters c = dialog_end_counts(s->dialogs);

	assert_int_equal(c.requested, count);
	assert_int_equal(c.outcomes[DIALOG_OUTCOME_UNREACHABLE], count);
}

static void tear_down(struct scene *s)
{
	rig_end_free(s->relay);
	rig_end_free(s->proxy);
	s->rig.events.dialogs = dialog_end_free(s->dialogs);
	rig_done(&s->rig);
}

static void test_a_call_that_expired_is_ended_once(void **state)
{
	struct scene s = {0};

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s, "f1");
	expire(&s, LEG TALKED TIMED_OUT);
	expect_asked(&s, 1);
	/* The relay was not sure that we had it. */
	expire(&s, LEG TALKED TIMED_OUT);
	expect_asked(&s, 1);
	/* It came back, and fell silent again. */
	make_call(&s, "f1");
	expire(&s, LEG TALKED TIMED_OUT);
	expect_asked(&s, 2);
	tear_down(&s);
}

static void test_a_call_that_is_not_known_here_is_ended_too(void **state)
{
	struct scene s = {0};

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	expire(&s, LEG TALKED TIMED_OUT);
	expect_asked(&s, 1);
	tear_down(&s);
}

static void test_a_call_of_another_relay_is_not_ended(void **state)
{
	struct rig_end *other;
	struct scene s = {0};

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	make_call(&s, "f1");
	other = rig_relay(&s.rig, "127.0.0.3", "[]");
	rig_say(other, "expired {" LEG TALKED TIMED_OUT "}");
	rig_expect_nothing(other);
	expect_asked(&s, 0);
	rig_end_free(other);
	tear_down(&s);
}

static void test_what_has_no_dialog_or_no_answer_is_not_ended(void **state)
{
	struct scene s = {0};

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	expire(&s, LEG TIMED_OUT ", \"start_time\": 1.5");
	expire(&s, LEG TIMED_OUT ", \"start_time\": 1.5, \"dialog_id\": null");
	expire(&s, LEG TIMED_OUT ", \"dialog_id\": \"1:2\"");
	expire(&s,
	       LEG TIMED_OUT ", \"start_time\": null, \"dialog_id\": \"1:2\"");
	expire(&s, LEG TALKED TIMED_OUT ", \"all_streams_ice\": true");
	expect_asked(&s, 0);
	expire(&s, LEG TALKED TIMED_OUT ", \"all_streams_ice\": false");
	expect_asked(&s, 1);
	tear_down(&s);
}

static void test_a_call_that_may_have_begun_anew_is_not_ended(void **state)
{
	struct scene s = {0};

	(void)state;
	rig_init(&s.rig);
	s.rig.doubt_us = 60 * US_PER_S;
	set_up(&s);
	make_call(&s, "f1");
	expire(&s, LEG TALKED TIMED_OUT);
	expect_asked(&s, 0);
	/* Its relay stops: then nothing is begun anew. */
	expire(&s, LEG TALKED ", \"timed_out\": false");
	expect_asked(&s, 1);
	tear_down(&s);
}

static void
test_without_a_way_to_the_proxy_calls_expire_all_the_same(void **state)
{
	struct scene s = {0};

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	s.rig.events.dialogs = NULL;
	make_call(&s, "f1");
	expire(&s, LEG TALKED TIMED_OUT);
	assert_int_equal(directory_count(s.rig.directory).expired, 1);
	expect_asked(&s, 0);
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_call_that_expired_is_ended_once),
		cmocka_unit_test(
			test_a_call_that_is_not_known_here_is_ended_too),
		cmocka_unit_test(test_a_call_of_another_relay_is_not_ended),
		cmocka_unit_test(
			test_what_has_no_dialog_or_no_answer_is_not_ended),
		cmocka_unit_test(
			test_a_call_that_may_have_begun_anew_is_not_ended),
		cmocka_unit_test(
			test_without_a_way_to_the_proxy_calls_expire_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
