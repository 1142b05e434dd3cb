#include "dispatcher/directory.h"

#include <errno.h>
#include <stdio.h>

#include "test.h"

static struct ip_addr ip(const char *text)
{
	struct ip_addr ip;

	assert_int_equal(ip_parse(span_of(text), &ip), 0);
	return ip;
}

static struct directory_leg leg(const char *call_id, const char *from_tag,
				const char *to_tag)
{
	return (struct directory_leg){
		.call_id = span_of(call_id),
		.from_tag = span_of(from_tag),
		.to_tag = span_of(to_tag),
	};
}

static struct directory *with(const char *relay, const char *call_id,
			      const char *from_tag, const char *to_tag)
{
	struct directory_leg l = leg(call_id, from_tag, to_tag);
	struct ip_addr at = ip(relay);
	struct directory *d;

	assert_int_equal(directory_new(&d), 0);
	assert_int_equal(directory_add(d, &at, &l), 0);
	return d;
}

static void add(struct directory *d, const char *relay, const char *call_id,
		const char *from_tag, const char *to_tag, int expected)
{
	struct directory_leg l = leg(call_id, from_tag, to_tag);
	struct ip_addr at = ip(relay);

	assert_int_equal(directory_add(d, &at, &l), expected);
}

static struct directory_session *find(struct directory *d, const char *call_id,
				      const char *from_tag, const char *to_tag)
{
	struct directory_call *call = directory_find(d, span_of(call_id));

	return call ? directory_find_session(call, span_of(from_tag),
					     span_of(to_tag))
		    : NULL;
}

static void test_a_call_is_found_with_its_relay(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "f", "");
	struct ip_addr relay = ip("10.0.0.1");

	(void)state;
	assert_non_null(directory_find(d, SPAN("c1")));
	assert_true(ip_equal(
		directory_call_relay(directory_find(d, SPAN("c1"))), &relay));
	assert_null(directory_find(d, SPAN("c2")));
	directory_free(d);
}

static void
test_a_callee_is_found_by_its_own_tag_and_by_the_callers(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "caller", "");

	(void)state;
	assert_null(find(d, "c1", "callee", ""));
	add(d, "10.0.0.1", "c1", "caller", "callee", 0);
	assert_int_equal(directory_count(d).sessions, 1);
	assert_ptr_equal(find(d, "c1", "callee", ""),
			 find(d, "c1", "caller", ""));
	assert_ptr_equal(find(d, "c1", "other", "caller"),
			 find(d, "c1", "caller", ""));
	assert_null(find(d, "c1", "other", "another"));
	directory_free(d);
}

static void test_what_the_callee_sends_makes_no_second_session(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "caller", "callee");

	(void)state;
	add(d, "10.0.0.1", "c1", "callee", "caller", 0);
	assert_int_equal(directory_count(d).sessions, 1);
	directory_free(d);
}

static void
test_a_transfer_that_replaces_the_caller_makes_no_second_session(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "alice", "");

	(void)state;
	add(d, "10.0.0.1", "c1", "alice", "bob", 0);
	add(d, "10.0.0.1", "c1", "carol", "bob", 0);
	assert_int_equal(directory_count(d).sessions, 1);
	assert_ptr_equal(find(d, "c1", "carol", "bob"),
			 find(d, "c1", "alice", ""));
	/* Carol is no callee: what Dave says to her is another matter. */
	assert_null(find(d, "c1", "dave", "carol"));
	assert_null(find(d, "c1", "carol", ""));
	directory_free(d);
}

static void
test_a_session_fits_by_the_same_order_of_rules_as_at_the_relay(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "alice", "bob");

	(void)state;
	/* A spiral: the callee of one is the caller of the other. */
	add(d, "10.0.0.1", "c1", "carol", "", 0);
	assert_ptr_equal(find(d, "c1", "bob", "carol"),
			 find(d, "c1", "alice", ""));
	assert_ptr_equal(find(d, "c1", "carol", "bob"),
			 find(d, "c1", "carol", ""));
	directory_free(d);
}

static void test_two_from_tags_are_two_sessions_of_one_call(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "one", "");

	(void)state;
	add(d, "10.0.0.1", "c1", "two", "", 0);
	assert_int_equal(directory_count(d).sessions, 2);
	assert_int_equal(directory_count(d).calls, 1);
	directory_remove(d, find(d, "c1", "one", ""));
	assert_null(find(d, "c1", "one", ""));
	assert_non_null(find(d, "c1", "two", ""));
	directory_remove(d, find(d, "c1", "two", ""));
	assert_int_equal(directory_count(d).calls, 0);
	assert_null(directory_find(d, SPAN("c1")));
	directory_free(d);
}

static void test_a_live_call_stays_on_its_relay(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "f", "");
	struct ip_addr relay = ip("10.0.0.1");

	(void)state;
	add(d, "10.0.0.2", "c1", "f", "", -EEXIST);
	assert_true(ip_equal(
		directory_call_relay(directory_find(d, SPAN("c1"))), &relay));
	directory_free(d);
}

static void test_an_expired_call_may_begin_again_on_another_relay(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "f", "");
	struct ip_addr relay = ip("10.0.0.2");

	(void)state;
	directory_expire(d, find(d, "c1", "f", ""), 5, false);
	assert_false(directory_call_is_live(directory_find(d, SPAN("c1"))));
	add(d, "10.0.0.2", "c1", "f", "", 0);
	assert_true(ip_equal(
		directory_call_relay(directory_find(d, SPAN("c1"))), &relay));
	assert_false(directory_session_is_expired(find(d, "c1", "f", "")));
	assert_int_equal(directory_count(d).expired, 0);
	directory_free(d);
}

static void count_drop(const struct directory_session *session, void *arg)
{
	assert_true(
		span_equal(directory_session_call_id(session), SPAN("gone")));
	++*(int *)arg;
}

static void
test_a_list_drops_what_is_not_in_it_but_no_expired_ones(void **state)
{
	struct directory *d = with("10.0.0.1", "gone", "f", "");
	struct ip_addr relay = ip("10.0.0.1");
	int dropped = 0;

	(void)state;
	add(d, "10.0.0.1", "still", "f", "", 0);
	add(d, "10.0.0.1", "expired", "f", "", 0);
	add(d, "10.0.0.2", "elsewhere", "f", "", 0);
	directory_expire(d, find(d, "expired", "f", ""), 5, false);

	directory_sync_begin(d, &relay);
	add(d, "10.0.0.1", "still", "f", "", 0);
	add(d, "10.0.0.1", "new", "f", "t", 0);
	assert_int_equal(directory_sync_end(d, &relay, count_drop, &dropped),
			 1);
	assert_int_equal(dropped, 1);
	assert_null(directory_find(d, SPAN("gone")));
	assert_non_null(find(d, "still", "f", ""));
	assert_non_null(find(d, "expired", "f", ""));
	assert_non_null(find(d, "elsewhere", "f", ""));
	assert_non_null(find(d, "new", "t", ""));
	directory_free(d);
}

static void test_a_list_of_call_ids_alone_keeps_every_session(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "one", "");
	struct ip_addr relay = ip("10.0.0.1");

	(void)state;
	add(d, "10.0.0.1", "c1", "two", "", 0);
	directory_sync_begin(d, &relay);
	add(d, "10.0.0.1", "c1", "", "", 0);
	add(d, "10.0.0.1", "c2", "", "", 0);
	assert_int_equal(directory_sync_end(d, &relay, NULL, NULL), 0);
	assert_int_equal(directory_count(d).sessions, 3);
	/* Of c2 no tag is known, so any fits. */
	assert_non_null(find(d, "c2", "whichever", ""));
	directory_free(d);
}

static void test_expired_sessions_are_forgotten_in_time(void **state)
{
	struct directory *d = with("10.0.0.1", "old", "f", "");

	(void)state;
	add(d, "10.0.0.1", "young", "f", "", 0);
	directory_expire(d, find(d, "old", "f", ""), 100, false);
	directory_expire(d, find(d, "young", "f", ""), 150, false);
	assert_int_equal(directory_sweep(d, 199, 100, 1000, NULL, NULL, NULL),
			 0);
	assert_int_equal(directory_sweep(d, 200, 100, 1000, NULL, NULL, NULL),
			 1);
	assert_null(directory_find(d, SPAN("old")));
	assert_non_null(directory_find(d, SPAN("young")));
	directory_free(d);
}

static void count_dead(const struct ip_addr *relay, size_t sessions, void *arg)
{
	struct ip_addr dead = ip("10.0.0.1");

	assert_true(ip_equal(relay, &dead));
	*(size_t *)arg += sessions;
}

static void test_calls_of_a_relay_that_stays_away_are_forgotten(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "f", "");
	struct ip_addr relay = ip("10.0.0.1");
	size_t forgotten = 0;

	(void)state;
	add(d, "10.0.0.2", "c2", "f", "", 0);
	directory_relay_down(d, &relay, 1000);
	directory_sweep(d, 1999, 10, 1000, NULL, count_dead, &forgotten);
	assert_non_null(directory_find(d, SPAN("c1")));
	directory_sweep(d, 2000, 10, 1000, NULL, count_dead, &forgotten);
	assert_int_equal(forgotten, 1);
	assert_null(directory_find(d, SPAN("c1")));
	assert_non_null(directory_find(d, SPAN("c2")));
	directory_free(d);
}

static void test_a_relay_that_comes_back_keeps_its_calls(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "f", "");
	struct ip_addr relay = ip("10.0.0.1");

	(void)state;
	directory_relay_down(d, &relay, 1000);
	directory_relay_up(d, &relay);
	directory_sweep(d, 999999, 10, 1000, NULL, count_dead, NULL);
	assert_non_null(directory_find(d, SPAN("c1")));
	directory_free(d);
}

static void test_the_dialog_id_is_kept_once_it_is_known(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "f", "");
	struct directory_leg l = leg("c1", "f", "t");
	struct ip_addr relay = ip("10.0.0.1");

	(void)state;
	l.dialog_id = SPAN("3078:1789");
	assert_int_equal(directory_add(d, &relay, &l), 0);
	l.dialog_id = (struct span){0};
	assert_int_equal(directory_add(d, &relay, &l), 0);
	assert_true(
		span_equal(directory_session_dialog_id(find(d, "c1", "f", "")),
			   SPAN("3078:1789")));
	directory_free(d);
}

static void test_to_tags_of_a_session_are_bounded(void **state)
{
	struct directory *d = with("10.0.0.1", "c1", "f", "");
	char tag[16];

	(void)state;
	for (int i = 0; i <= DIRECTORY_MAX_TO_TAGS; i++) {
		snprintf(tag, sizeof(tag), "t%d", i);
		add(d, "10.0.0.1", "c1", "f", tag, 0);
	}
	assert_non_null(find(d, "c1", "t31", ""));
	assert_null(find(d, "c1", "t32", ""));
	directory_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_call_is_found_with_its_relay),
		cmocka_unit_test(
			test_a_callee_is_found_by_its_own_tag_and_by_the_callers),
		cmocka_unit_test(
			test_what_the_callee_sends_makes_no_second_session),
		cmocka_unit_test(
			test_a_transfer_that_replaces_the_caller_makes_no_second_session),
		cmocka_unit_test(
			test_a_session_fits_by_the_same_order_of_rules_as_at_the_relay),
		cmocka_unit_test(
			test_two_from_tags_are_two_sessions_of_one_call),
		cmocka_unit_test(test_a_live_call_stays_on_its_relay),
		cmocka_unit_test(
			test_an_expired_call_may_begin_again_on_another_relay),
		cmocka_unit_test(
			test_a_list_drops_what_is_not_in_it_but_no_expired_ones),
		cmocka_unit_test(
			test_a_list_of_call_ids_alone_keeps_every_session),
		cmocka_unit_test(test_expired_sessions_are_forgotten_in_time),
		cmocka_unit_test(
			test_calls_of_a_relay_that_stays_away_are_forgotten),
		cmocka_unit_test(test_a_relay_that_comes_back_keeps_its_calls),
		cmocka_unit_test(test_the_dialog_id_is_kept_once_it_is_known),
		cmocka_unit_test(test_to_tags_of_a_session_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
