#include "base/json.h"

#include <math.h>

#include "base/cleanup.h"
#include "test.h"

#define FRESH                                                                  \
	CLEANUP(buf_done) struct buf out = {0};                                \
	struct json_writer w = json_writer_over(&out)

static void writes(struct span value, const char *expected)
{
	FRESH;

	json_span(&w, NULL, value);
	assert_string_equal(out.data, expected);
}

static void writes_float(double value, const char *expected)
{
	FRESH;

	json_float(&w, NULL, value);
	assert_string_equal(out.data, expected);
}

static void test_strings_are_escaped_as_python_does(void **state)
{
	(void)state;
	writes(SPAN(""), "\"\"");
	writes(SPAN("plain ~ /"), "\"plain ~ /\"");
	writes(SPAN("\"\\\b\f\n\r\t"), "\"\\\"\\\\\\b\\f\\n\\r\\t\"");
	writes(SPAN("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\\u007f\"");
	writes(SPAN("\xc3\xa4\xe2\x82\xac"), "\"\\u00e4\\u20ac\"");
}

static void test_characters_over_the_bmp_are_surrogate_pairs(void **state)
{
	(void)state;
	writes(SPAN("\xf0\x9f\x98\x80"), "\"\\ud83d\\ude00\"");
	writes(SPAN("\xf0\x90\x80\x80"), "\"\\ud800\\udc00\"");
	writes(SPAN("\xf4\x8f\xbf\xbf"), "\"\\udbff\\udfff\"");
}

static void test_bytes_that_are_no_utf8_are_shown_one_by_one(void **state)
{
	(void)state;
	writes(SPAN("\x80\xff"), "\"\\u0080\\u00ff\"");
	writes(SPAN("a\xe2\x82z"), "\"a\\u00e2\\u0082z\"");
	/* a surrogate, an overlong slash, a piece at the end */
	writes(SPAN("\xed\xa0\x80"), "\"\\u00ed\\u00a0\\u0080\"");
	writes(SPAN("\xc0\xaf"), "\"\\u00c0\\u00af\"");
	writes(SPAN("\xf0\x9f\x98"), "\"\\u00f0\\u009f\\u0098\"");
}

/* The expected texts are what json.dumps() of Python 3.11 writes. */
static void test_floats_are_written_as_python_does(void **state)
{
	(void)state;
	writes_float(1795340335.934527, "1795340335.934527");
	writes_float(78400.0, "78400.0");
	writes_float(0.31355834007263184, "0.31355834007263184");
	writes_float(0.0, "0.0");
	writes_float(-0.0, "-0.0");
	writes_float(1.0, "1.0");
	writes_float(-1.5, "-1.5");
	writes_float(0.1, "0.1");
	writes_float(0.0001, "0.0001");
	writes_float(0.00001, "1e-05");
	writes_float(3.3333333333333333e-06, "3.3333333333333333e-06");
	writes_float(0.30000000000000004, "0.30000000000000004");
	writes_float(123456789.125, "123456789.125");
	writes_float(999999999999999.9, "999999999999999.9");
	writes_float(1e15, "1000000000000000.0");
	writes_float(9999999999999998.0, "9999999999999998.0");
	writes_float(1e16, "1e+16");
	writes_float(1.2345678901234568e17, "1.2345678901234568e+17");
	writes_float(1e300, "1e+300");
	writes_float(5e-324, "5e-324");
}

static void test_floats_that_are_no_numbers_are_null(void **state)
{
	(void)state;
	writes_float((double)NAN, "null");
	writes_float((double)INFINITY, "null");
	writes_float((double)-INFINITY, "null");
}

static void test_integers_reach_from_end_to_end(void **state)
{
	FRESH;

	(void)state;
	json_array_begin(&w, NULL);
	json_i64(&w, NULL, INT64_MIN);
	json_i64(&w, NULL, INT64_MAX);
	json_u64(&w, NULL, UINT64_MAX);
	json_u64(&w, NULL, 0);
	json_array_end(&w);
	assert_string_equal(out.data, "[-9223372036854775808, "
				      "9223372036854775807, "
				      "18446744073709551615, 0]");
}

static void test_members_are_separated_as_python_does(void **state)
{
	FRESH;

	(void)state;
	json_object_begin(&w, NULL);
	json_text(&w, "a", "x");
	json_null(&w, "b\"");
	json_object_begin(&w, "c");
	json_object_end(&w);
	json_array_begin(&w, "d");
	json_bool(&w, NULL, true);
	json_object_begin(&w, NULL);
	json_i64(&w, "e", -1);
	json_object_end(&w);
	json_array_begin(&w, NULL);
	json_array_end(&w);
	json_bool(&w, NULL, false);
	json_array_end(&w);
	json_raw(&w, "f", SPAN("[1]"));
	json_object_end(&w);
	assert_string_equal(out.data,
			    "{\"a\": \"x\", \"b\\\"\": null, \"c\": {}, "
			    "\"d\": [true, {\"e\": -1}, [], false], "
			    "\"f\": [1]}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings_are_escaped_as_python_does),
		cmocka_unit_test(
			test_characters_over_the_bmp_are_surrogate_pairs),
		cmocka_unit_test(
			test_bytes_that_are_no_utf8_are_shown_one_by_one),
		cmocka_unit_test(test_floats_are_written_as_python_does),
		cmocka_unit_test(test_floats_that_are_no_numbers_are_null),
		cmocka_unit_test(test_integers_reach_from_end_to_end),
		cmocka_unit_test(test_members_are_separated_as_python_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
