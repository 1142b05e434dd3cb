#include "base/cursor.h"

#include "test.h"

static const uint8_t bytes[] = {0x01, 0xff, 0x02, 0xfe, 0xdc, 0xba, 0x98};

static void test_numbers_are_big_endian(void **state)
{
	struct cursor c = cursor_over(bytes, sizeof(bytes));

	(void)state;
	assert_int_equal(cursor_u8(&c), 0x01);
	assert_int_equal(cursor_be16(&c), 0xff02);
	assert_int_equal(cursor_be32(&c), 0xfedcba98);
	assert_int_equal(cursor_left(&c), 0);
	assert_false(cursor_failed(&c));
}

static void test_after_a_short_read_everything_reads_as_zero(void **state)
{
	struct cursor c = cursor_over(bytes, 3);

	(void)state;
	assert_int_equal(cursor_be16(&c), 0x01ff);
	assert_int_equal(cursor_be16(&c), 0);
	assert_true(cursor_failed(&c));
	/* One byte was there; it is not given out any more. */
	assert_int_equal(cursor_u8(&c), 0);
	assert_int_equal(cursor_left(&c), 0);
	assert_null(cursor_bytes(&c, 0));
	cursor_skip(&c, 0);
	assert_true(cursor_failed(&c));
}

static void test_a_word_that_is_half_there_reads_as_zero(void **state)
{
	struct cursor c = cursor_over(bytes, 3);

	(void)state;
	assert_int_equal(cursor_be32(&c), 0);
	assert_true(cursor_failed(&c));
}

static void test_bytes_are_taken_and_skipped_within_the_limit(void **state)
{
	struct cursor c = cursor_over(bytes, sizeof(bytes));

	(void)state;
	cursor_skip(&c, 2);
	assert_ptr_equal(cursor_bytes(&c, 4), bytes + 2);
	assert_int_equal(cursor_left(&c), 1);
	assert_ptr_equal(cursor_bytes(&c, 0), bytes + 6);
	assert_false(cursor_failed(&c));
	cursor_skip(&c, SIZE_MAX);
	assert_true(cursor_failed(&c));
}

static void test_nothing_reads_as_zero(void **state)
{
	struct cursor c = cursor_over(bytes, 0);

	(void)state;
	assert_false(cursor_failed(&c));
	assert_int_equal(cursor_u8(&c), 0);
	assert_true(cursor_failed(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_are_big_endian),
		cmocka_unit_test(
			test_after_a_short_read_everything_reads_as_zero),
		cmocka_unit_test(test_a_word_that_is_half_there_reads_as_zero),
		cmocka_unit_test(
			test_bytes_are_taken_and_skipped_within_the_limit),
		cmocka_unit_test(test_nothing_reads_as_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
