#include "base/buf.h"

#include "base/cleanup.h"
#include "test.h"

static void test_a_text_grows_and_ends_in_a_nul_at_every_length(void **state)
{
	CLEANUP(buf_done) struct buf buf = {0};

	(void)state;
	for (size_t i = 0; i < 3000; i++) {
		buf_char(&buf, (char)('a' + i % 26));
		assert_int_equal(buf.len, i + 1);
		assert_int_equal(buf.data[i], 'a' + i % 26);
		assert_int_equal(buf.data[i + 1], '\0');
	}
	for (size_t i = 0; i < 3000; i++)
		assert_int_equal(buf.data[i], 'a' + i % 26);
}

static void test_printf_fits_exactly_at_every_length(void **state)
{
	(void)state;
	for (int len = 250; len < 260; len++) {
		CLEANUP(buf_done) struct buf buf = {0};

		buf_printf(&buf, "%*s|", len, "x");
		assert_int_equal(buf.len, len + 1);
		assert_int_equal(buf.data[len - 1], 'x');
		assert_string_equal(buf.data + len, "|");
	}
}

static void test_zero_bytes_are_kept_and_nothing_adds_nothing(void **state)
{
	CLEANUP(buf_done) struct buf buf = {0};

	(void)state;
	buf_add(&buf, span_make(NULL, 0));
	assert_null(buf.data);
	buf_add(&buf, SPAN("a\0b"));
	buf_add(&buf, SPAN(""));
	assert_int_equal(buf.len, 3);
	assert_memory_equal(buf.data, "a\0b\0", 4);
	assert_true(span_equal(buf_span(&buf), SPAN("a\0b")));
}

static void test_the_first_failure_sticks_until_reset(void **state)
{
	CLEANUP(buf_done) struct buf buf = {0};

	(void)state;
	buf_add(&buf, SPAN("kept"));
	/* More than any memory: the bytes are never looked at. */
	buf_add(&buf, span_make("x", SIZE_MAX / 2 + 1));
	assert_true(buf_failed(&buf));
	buf_add(&buf, SPAN("more"));
	buf_printf(&buf, "%d", 5);
	assert_string_equal(buf.data, "kept");
	assert_int_equal(buf.len, 4);

	buf_reset(&buf);
	assert_false(buf_failed(&buf));
	assert_int_equal(buf.len, 0);
	assert_string_equal(buf.data, "");
	buf_add(&buf, SPAN("new"));
	assert_string_equal(buf.data, "new");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_text_grows_and_ends_in_a_nul_at_every_length),
		cmocka_unit_test(test_printf_fits_exactly_at_every_length),
		cmocka_unit_test(
			test_zero_bytes_are_kept_and_nothing_adds_nothing),
		cmocka_unit_test(test_the_first_failure_sticks_until_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
