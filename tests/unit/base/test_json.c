#include "base/json.h"

#include <math.h>

#include "base/cleanup.h"
#include "test.h"

static struct buf out;
static struct json_writer w;

static int setup(void **state)
{
	(void)state;
	out = (struct buf){0};
	w = json_writer_over(&out);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_done(&out);
	return 0;
}

static void test_members_are_separated_as_python_does(void **state)
{
	(void)state;
	json_object_begin(&w, NULL);
	json_text(&w, "a", "x");
	json_i64(&w, "b", -5);
	json_array_begin(&w, "c");
	json_u64(&w, NULL, UINT64_MAX);
	json_bool(&w, NULL, true);
	json_nothing(&w, NULL);
	json_array_end(&w);
	json_object_begin(&w, "d");
	json_object_end(&w);
	json_raw(&w, "e", SPAN("[1]"));
	json_object_end(&w);
	assert_string_equal(out.data,
			    "{\"a\": \"x\", \"b\": -5, \"c\": "
			    "[18446744073709551615, true, null], \"d\": {}, "
			    "\"e\": [1]}");
}

static void test_text_is_ascii_with_escapes(void **state)
{
	(void)state;
	json_text(&w, NULL,
		  "\"\\\n\r\t\b\f\x01\x7f/ \xc3\xa4 \xf0\x9f\x93\x9e");
	assert_string_equal(out.data,
			    "\"\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u007f/ \\u00e4 "
			    "\\ud83d\\udcde\"");
}

static void test_bytes_that_are_no_utf8_are_shown_one_by_one(void **state)
{
	/* a lone byte, an overlong slash, a surrogate, a piece at the end */
	static const char bytes[] = "\xff \xc0\xaf \xed\xa0\x80 \xe2\x82";

	(void)state;
	json_span(&w, NULL, span_make(bytes, sizeof(bytes) - 1));
	assert_string_equal(out.data, "\"\\u00ff \\u00c0\\u00af "
				      "\\u00ed\\u00a0\\u0080 \\u00e2\\u0082\"");
}

static void test_a_null_byte_is_kept(void **state)
{
	(void)state;
	json_span(&w, NULL, span_make("a\0b", 3));
	assert_string_equal(out.data, "\"a\\u0000b\"");
}

static void test_a_float_reads_back_and_looks_like_one(void **state)
{
	static const struct {
		double value;
		const char *text;
	} floats[] = {
		{0, "0.0"},
		{78400, "78400.0"},
		{0.1, "0.1"},
		{-2.5, "-2.5"},
		{NAN, "null"},
		{INFINITY, "null"},
		{1.0 / 3, "0.3333333333333333"},
		{1795340335.934527, "1795340335.934527"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(floats); i++) {
		buf_reset(&out);
		w = json_writer_over(&out);
		json_float(&w, NULL, floats[i].value);
		assert_string_equal(out.data, floats[i].text);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_members_are_separated_as_python_does),
		TEST(test_text_is_ascii_with_escapes),
		TEST(test_bytes_that_are_no_utf8_are_shown_one_by_one),
		TEST(test_a_null_byte_is_kept),
		TEST(test_a_float_reads_back_and_looks_like_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
