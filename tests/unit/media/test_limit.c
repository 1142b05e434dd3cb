#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/flow_abi.h"
#include "media/limit.h"

#include "test.h"

#define NOW (5000 * US_PER_S)
#define BURST FLOW_BUCKET_BURST

static struct endpoint endpoint(const char *ip, uint16_t port)
{
	struct endpoint ep = {.port = port};

	assert_int_equal(ip_parse(span_of(ip), &ep.ip), 0);
	return ep;
}

/* How many of 10,000 packets at once pass. */
static unsigned at_once(struct limit_others *others,
			const struct limit_source *who, uint64_t now_us)
{
	unsigned passed = 0;

	for (unsigned i = 0; i < 10000; i++)
		passed += limit_take(others, who, now_us);
	return passed;
}

/* ---- the remote ---- */

static void test_a_rate_lets_through_what_it_says(void **state)
{
	const uint64_t rates[] = {1, 7, 50, 20000, 25000000, 4000000000};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		struct limit_rate rate = limit_rate_of(rates[i]);
		struct limit_bucket bucket = {0};
		uint64_t step = rates[i] < 100 ? 1 : rates[i] / 100;
		uint64_t passed = 0;

		/* ten seconds, offered three times as much */
		for (uint64_t us = 0; us < 10 * US_PER_S;
		     us += step * US_PER_S / rates[i] / 3)
			if (!limit_is_over(&bucket, NOW + us)) {
				limit_use(&bucket, &rate, NOW + us, step);
				passed += step;
			}
		/* and a second's worth at the beginning */
		assert_in_range(passed, rates[i] * 1094 / 100,
				rates[i] * 1106 / 100 + 2 * step);
	}
}

static void test_what_stays_below_the_rate_is_never_over(void **state)
{
	struct limit_rate rate = limit_rate_of(20000);
	struct limit_bucket bucket = {0};

	(void)state;
	for (uint64_t us = 0; us < 100 * US_PER_S; us += 1000) {
		assert_false(limit_is_over(&bucket, NOW + us));
		limit_use(&bucket, &rate, NOW + us, 19);
	}
}

static void test_a_bucket_is_full_again_after_a_second(void **state)
{
	struct limit_rate rate = limit_rate_of(100);
	struct limit_bucket bucket = {0};

	(void)state;
	limit_use(&bucket, &rate, NOW, 101);
	assert_true(limit_is_over(&bucket, NOW));
	assert_false(limit_is_over(&bucket, NOW + 10 * US_PER_MS));
	limit_use(&bucket, &rate, NOW + 2 * US_PER_S, 100);
	assert_false(limit_is_over(&bucket, NOW + 2 * US_PER_S));
}

static void test_no_limit_is_never_over(void **state)
{
	struct limit_rate rate = limit_rate_of(0);
	struct limit_bucket bucket = {0};

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		limit_use(&bucket, &rate, NOW, UINT32_MAX);
	assert_false(limit_is_over(&bucket, NOW));
}

/* ---- others ---- */

static void test_a_stranger_is_looked_at_now_and_then(void **state)
{
	const struct endpoint source = endpoint("192.0.2.66", 1024);
	const struct limit_source who = {.source = &source};
	struct limit_others others = {0};

	(void)state;
	assert_int_equal(at_once(&others, &who, NOW), BURST);
	assert_int_equal(at_once(&others, &who, NOW + 19999), 0);
	assert_int_equal(at_once(&others, &who, NOW + 20000), 1);
	assert_int_equal(at_once(&others, &who, NOW + US_PER_S), BURST);
}

static void test_while_the_remote_is_wanted_it_may_be_a_video(void **state)
{
	const struct endpoint source = endpoint("192.0.2.66", 1024);
	const struct limit_source who = {.source = &source, .is_wanted = true};
	struct limit_others others = {0};

	(void)state;
	for (uint64_t us = 0; us < 2 * US_PER_S; us += 200)
		assert_true(limit_take(&others, &who, NOW + us));
	assert_in_range(at_once(&others, &who, NOW + 2 * US_PER_S), BURST - 1,
			BURST);
	/* and the flood is over when the remote is there */
	assert_in_range(at_once(&others,
				&(struct limit_source){.source = &source},
				NOW + 2 * US_PER_S),
			0, BURST);
}

static void test_strangers_empty_neither_stun_nor_known_addresses(void **state)
{
	const struct endpoint party = endpoint("198.51.100.7", 5000);
	struct limit_others others = {0};

	(void)state;
	for (uint16_t port = 1; port < 1000; port++) {
		const struct endpoint source = endpoint("192.0.2.66", port);

		at_once(&others, &(struct limit_source){.source = &source},
			NOW);
	}
	assert_int_equal(at_once(&others,
				 &(struct limit_source){.source = &party,
							.is_stun = true},
				 NOW),
			 BURST);
	assert_int_equal(at_once(&others,
				 &(struct limit_source){.source = &party,
							.is_known = true},
				 NOW),
			 BURST);
	assert_int_equal(at_once(&others,
				 &(struct limit_source){.source = &party,
							.is_known = true,
							.is_stun = true},
				 NOW),
			 BURST);
	assert_int_equal(
		at_once(&others, &(struct limit_source){.source = &party}, NOW),
		0);
}

static void test_sources_are_in_all_classes(void **state)
{
	struct limit_others others = {0};
	unsigned passed = 0;

	(void)state;
	for (uint16_t port = 1; port < 1000; port++) {
		const struct endpoint source = endpoint("2001:db8::66", port);

		passed +=
			at_once(&others,
				&(struct limit_source){.source = &source}, NOW);
	}
	assert_int_equal(passed, LIMIT_CLASSES * BURST);
}

/* Buckets have a clock of 32 bits: it wraps every 71 minutes. */
static void test_a_bucket_of_long_ago_is_full(void **state)
{
	const struct endpoint source = endpoint("192.0.2.66", 1024);
	const struct limit_source who = {.source = &source};

	(void)state;
	for (uint64_t later = US_PER_S; later < (1ull << 34);
	     later += 100 * US_PER_S + 7) {
		struct limit_others others = {0};

		at_once(&others, &who, NOW);
		assert_in_range(at_once(&others, &who, NOW + later), 1, BURST);
	}
	for (uint64_t now = (1ull << 32) - US_PER_S;
	     now < (1ull << 32) + US_PER_S; now += 10001) {
		struct limit_others others = {0};

		assert_in_range(at_once(&others, &who, now), BURST - 1, BURST);
		assert_int_equal(at_once(&others, &who, now + 10), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_rate_lets_through_what_it_says),
		cmocka_unit_test(test_what_stays_below_the_rate_is_never_over),
		cmocka_unit_test(test_a_bucket_is_full_again_after_a_second),
		cmocka_unit_test(test_no_limit_is_never_over),
		cmocka_unit_test(test_a_stranger_is_looked_at_now_and_then),
		cmocka_unit_test(
			test_while_the_remote_is_wanted_it_may_be_a_video),
		cmocka_unit_test(
			test_strangers_empty_neither_stun_nor_known_addresses),
		cmocka_unit_test(test_sources_are_in_all_classes),
		cmocka_unit_test(test_a_bucket_of_long_ago_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
