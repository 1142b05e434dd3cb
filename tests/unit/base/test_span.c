#include "base/span.h"

#include <errno.h>
#include <stdlib.h>

#include "test.h"

static void test_cut_splits_at_the_first_separator(void **state)
{
	struct span rest = SPAN("a: b: c");
	struct span head;

	(void)state;
	assert_true(span_cut(&rest, ':', &head));
	assert_true(span_equal(head, SPAN("a")));
	assert_true(span_equal(rest, SPAN(" b: c")));
}

static void test_cut_without_a_separator_changes_nothing(void **state)
{
	struct span rest = SPAN("abc");
	struct span head = SPAN("before");

	(void)state;
	assert_false(span_cut(&rest, ':', &head));
	assert_true(span_equal(rest, SPAN("abc")));
	assert_true(span_equal(head, SPAN("before")));
}

static void test_cut_last_splits_at_the_last_separator(void **state)
{
	struct span rest = SPAN("2001:db8::1:5000");
	struct span tail;

	(void)state;
	assert_true(span_cut_last(&rest, ':', &tail));
	assert_true(span_equal(rest, SPAN("2001:db8::1")));
	assert_true(span_equal(tail, SPAN("5000")));
}

static void test_numbers_are_digits_alone_within_the_limit(void **state)
{
	uint64_t value = 7;

	(void)state;
	assert_int_equal(span_to_u64(SPAN("65535"), 65535, &value), 0);
	assert_int_equal(value, 65535);
	assert_int_equal(span_to_u64(SPAN("65536"), 65535, &value), -ERANGE);
	assert_int_equal(span_to_u64(SPAN("-1"), 65535, &value), -EINVAL);
	assert_int_equal(span_to_u64(SPAN(" 1"), 65535, &value), -EINVAL);
	assert_int_equal(span_to_u64(SPAN(""), 65535, &value), -EINVAL);
	assert_int_equal(span_to_u64(SPAN("9"), 5, &value), -ERANGE);
	assert_int_equal(span_to_u64(SPAN("99999999999999999999999"),
				     UINT64_MAX, &value),
			 -ERANGE);
	assert_int_equal(value, 65535);
}

static void test_a_copy_keeps_inner_zero_bytes(void **state)
{
	char *copy = span_dup(span_make("a\0b", 3));

	(void)state;
	assert_non_null(copy);
	assert_memory_equal(copy, "a\0b\0", 4);
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_splits_at_the_first_separator),
		cmocka_unit_test(test_cut_without_a_separator_changes_nothing),
		cmocka_unit_test(test_cut_last_splits_at_the_last_separator),
		cmocka_unit_test(
			test_numbers_are_digits_alone_within_the_limit),
		cmocka_unit_test(test_a_copy_keeps_inner_zero_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
