#include <stdlib.h>

#include "ctl/distribution.h"
#include "test.h"

static struct distribution d;

static int start_empty(void **state)
{
	(void)state;
	d = (struct distribution){0};
	return 0;
}

static void test_without_values_every_percentile_is_zero(void **state)
{
	(void)state;
	assert_int_equal(distribution_percentile(&d, 50), 0);
	assert_int_equal(distribution_percentile(&d, 100), 0);
}

static void test_one_value_is_every_percentile(void **state)
{
	(void)state;
	distribution_add(&d, 123456789);
	assert_int_equal(distribution_percentile(&d, 0), 123456789);
	assert_int_equal(distribution_percentile(&d, 50), 123456789);
	assert_int_equal(distribution_percentile(&d, 99), 123456789);
	assert_int_equal(d.min, 123456789);
	assert_int_equal(d.max, 123456789);
}

static void test_percentiles_are_the_nearest_rank(void **state)
{
	(void)state;
	for (uint64_t value = 100; value > 0; value--)
		distribution_add(&d, value);
	assert_int_equal(distribution_percentile(&d, 0), 1);
	assert_int_equal(distribution_percentile(&d, 1), 1);
	assert_int_equal(distribution_percentile(&d, 50), 50);
	assert_int_equal(distribution_percentile(&d, 50.5), 51);
	assert_int_equal(distribution_percentile(&d, 99), 99);
	assert_int_equal(distribution_percentile(&d, 100), 100);
	assert_int_equal(d.count, 100);
	assert_true(d.sum > 5049.9 && d.sum < 5050.1);
}

static void test_large_values_are_at_most_one_percent_too_high(void **state)
{
	(void)state;
	for (uint64_t value = 1; value < UINT64_MAX / 3; value *= 3) {
		uint64_t found;

		d = (struct distribution){0};
		distribution_add(&d, 0);
		distribution_add(&d, value);
		distribution_add(&d, value);
		distribution_add(&d, UINT64_MAX);
		found = distribution_percentile(&d, 50);
		assert_true(found >= value);
		assert_true(found - value <= value / 100);
	}
	assert_int_equal(distribution_percentile(&d, 100), UINT64_MAX);
}

static void test_a_percentile_is_never_over_the_most(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++)
		distribution_add(&d, 1000);
	distribution_add(&d, 1001);
	assert_int_equal(distribution_percentile(&d, 99), 1001);
	assert_int_equal(distribution_percentile(&d, 100), 1001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			test_without_values_every_percentile_is_zero,
			start_empty),
		cmocka_unit_test_setup(test_one_value_is_every_percentile,
				       start_empty),
		cmocka_unit_test_setup(test_percentiles_are_the_nearest_rank,
				       start_empty),
		cmocka_unit_test_setup(
			test_large_values_are_at_most_one_percent_too_high,
			start_empty),
		cmocka_unit_test_setup(test_a_percentile_is_never_over_the_most,
				       start_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
