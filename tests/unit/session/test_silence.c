#include "session/silence.h"

#include "base/clock.h"
#include "test.h"

static const struct silence_limits limits = {90 * US_PER_S, 7200 * US_PER_S};

/* Judge at now_s; -1 if the stream goes on, else the status it ends with. */
static int judge(struct silence_facts facts, uint64_t now_s)
{
	enum stream_status status;
	uint64_t wait_us;

	facts.had_media = facts.last_media_us > 0;
	if (!silence_ends_stream(&facts, &limits, now_s * US_PER_S, &status,
				 &wait_us))
		return -1;
	assert_int_equal(wait_us, facts.on_hold ? limits.on_hold_timeout_us
						: limits.stream_timeout_us);
	return (int)status;
}

static void test_without_media_it_ends_a_timeout_after_the_answer(void **state)
{
	struct silence_facts facts = {.since_us = 100 * US_PER_S};

	(void)state;
	assert_int_equal(judge(facts, 189), -1);
	assert_int_equal(judge(facts, 190), STREAM_NO_TRAFFIC_TIMEOUT);
}

static void test_media_that_stops_ends_it_as_conntrack_timeout(void **state)
{
	struct silence_facts facts = {.since_us = 100 * US_PER_S,
				      .last_media_us = 500 * US_PER_S};

	(void)state;
	assert_int_equal(judge(facts, 589), -1);
	assert_int_equal(judge(facts, 590), STREAM_CONNTRACK_TIMEOUT);
}

static void
test_early_media_does_not_shorten_the_time_after_the_answer(void **state)
{
	struct silence_facts facts = {.since_us = 100 * US_PER_S,
				      .last_media_us = 50 * US_PER_S};

	(void)state;
	assert_int_equal(judge(facts, 189), -1);
	assert_int_equal(judge(facts, 190), STREAM_CONNTRACK_TIMEOUT);
}

static void
test_on_hold_the_longer_time_counts_from_the_last_packet(void **state)
{
	struct silence_facts facts = {.on_hold = true,
				      .since_us = 100 * US_PER_S,
				      .last_media_us = 1000 * US_PER_S};

	(void)state;
	assert_int_equal(judge(facts, 8199), -1);
	assert_int_equal(judge(facts, 8200), STREAM_ON_HOLD_TIMEOUT);
}

static void test_resuming_starts_the_clock_anew(void **state)
{
	struct silence_facts facts = {.since_us = 5000 * US_PER_S,
				      .last_media_us = 1000 * US_PER_S};

	(void)state;
	assert_int_equal(judge(facts, 5089), -1);
	assert_int_equal(judge(facts, 5090), STREAM_CONNTRACK_TIMEOUT);
}

static void test_media_newer_than_the_clock_ends_nothing(void **state)
{
	struct silence_facts facts = {.since_us = 1 * US_PER_S,
				      .last_media_us = 1000 * US_PER_S};

	(void)state;
	assert_int_equal(judge(facts, 999), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_without_media_it_ends_a_timeout_after_the_answer),
		cmocka_unit_test(
			test_media_that_stops_ends_it_as_conntrack_timeout),
		cmocka_unit_test(
			test_early_media_does_not_shorten_the_time_after_the_answer),
		cmocka_unit_test(
			test_on_hold_the_longer_time_counts_from_the_last_packet),
		cmocka_unit_test(test_resuming_starts_the_clock_anew),
		cmocka_unit_test(test_media_newer_than_the_clock_ends_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
