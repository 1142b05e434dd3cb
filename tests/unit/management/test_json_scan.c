#include "management/json_scan.h"

#include <string.h>

#include "test.h"

static void test_a_value_is_cut_off_and_the_rest_stays(void **state)
{
	struct span rest = SPAN(" \r\n{\"a\": [1, \"]}\"]} , 2");
	struct span value;

	(void)state;
	assert_int_equal(json_scan_value(&rest, &value), 0);
	assert_true(span_equal(value, SPAN("{\"a\": [1, \"]}\"]}")));
	assert_true(span_equal(rest, SPAN(" , 2")));
}

static void test_what_is_json_is_taken_whole(void **state)
{
	static const char *const good[] = {
		"{}",
		"[]",
		"[ ]",
		"{ }",
		"null",
		"true",
		"false",
		"0",
		"-0.5e+10",
		"1E5",
		"12.25",
		"\"\"",
		"\"\\u00e4\\n\\\\\\\"\\/\"",
		"\"\xc3\xa4\"",
		"[[[[]]]]",
		"{\"a\":{\"b\":[1,2,{}]},\"c\":null}",
		"[1 , 2\t,\r\n3 ]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct span rest = span_of(good[i]);
		struct span value;

		if (json_scan_value(&rest, &value) < 0 || rest.len > 0)
			fail_msg("did not take %s", good[i]);
	}
}

static void test_what_is_no_json_is_refused_and_nothing_changes(void **state)
{
	static const char *const bad[] = {
		"",         " ",         "{",           "[",
		"}",        "[1,]",      "[,1]",        "{\"a\"}",
		"{\"a\":}", "{a:1}",     "{\"a\":1,}",  "{1:2}",
		"\"",       "\"\\x\"",   "\"\\u00g0\"", "\"\\u00",
		"\"a\nb\"", "\"a\x01\"", "\"\xff\"",    "\"\xc3\"",
		"nul",      "tru",       "-",           "1.",
		".5",       "1e",        "+1",          "'a'",
		"[1 2]",    "{\"a\" 1}", "[}",          "{]",
		"\"\\",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct span rest = span_of(bad[i]);
		struct span value = SPAN("before");

		if (json_scan_value(&rest, &value) != -EBADMSG)
			fail_msg("took %s", bad[i]);
		assert_int_equal(rest.len, strlen(bad[i]));
		assert_true(span_equal(value, SPAN("before")));
	}
}

static void test_sixteen_levels_are_the_deepest(void **state)
{
	char text[64] = "";
	struct span rest;
	struct span value;

	(void)state;
	memset(text, '[', 16);
	memset(text + 16, ']', 16);
	rest = span_make(text, 32);
	assert_int_equal(json_scan_value(&rest, &value), 0);
	memset(text, '[', 17);
	memset(text + 17, ']', 17);
	rest = span_make(text, 34);
	assert_int_equal(json_scan_value(&rest, &value), -EBADMSG);
}

static void test_a_long_row_of_brackets_does_not_eat_the_stack(void **state)
{
	static char text[1 << 20];
	struct span rest = span_make(text, sizeof(text));
	struct span value;

	(void)state;
	memset(text, '[', sizeof(text));
	assert_int_equal(json_scan_value(&rest, &value), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_value_is_cut_off_and_the_rest_stays),
		cmocka_unit_test(test_what_is_json_is_taken_whole),
		cmocka_unit_test(
			test_what_is_no_json_is_refused_and_nothing_changes),
		cmocka_unit_test(test_sixteen_levels_are_the_deepest),
		cmocka_unit_test(
			test_a_long_row_of_brackets_does_not_eat_the_stack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
