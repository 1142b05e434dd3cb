#include "base/utf8.h"

#include "base/cleanup.h"
#include "test.h"

static void test_the_ends_of_each_length_are_taken(void **state)
{
	static const struct {
		struct span text;
		uint32_t code;
	} good[] = {
		{{"\x00", 1}, 0},
		{{"\x7f", 1}, 0x7f},
		{{"\xc2\x80", 2}, 0x80},
		{{"\xdf\xbf", 2}, 0x7ff},
		{{"\xe0\xa0\x80", 3}, 0x800},
		{{"\xed\x9f\xbf", 3}, 0xd7ff},
		{{"\xee\x80\x80", 3}, 0xe000},
		{{"\xef\xbf\xbf", 3}, 0xffff},
		{{"\xf0\x90\x80\x80", 4}, 0x10000},
		{{"\xf4\x8f\xbf\xbf", 4}, 0x10ffff},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint32_t code = 1;

		assert_int_equal(utf8_decode(good[i].text, &code),
				 good[i].text.len);
		assert_int_equal(code, good[i].code);
	}
}

static void test_only_the_first_character_is_looked_at(void **state)
{
	uint32_t code;

	(void)state;
	assert_int_equal(utf8_decode(SPAN("\xc3\xa4\xff"), &code), 2);
	assert_int_equal(utf8_decode(SPAN("a\xff"), &code), 1);
}

static void test_what_is_no_utf8_is_refused_and_sets_nothing(void **state)
{
	static const struct span bad[] = {
		{"", 0},
		{"\x80", 1}, /* a continuation alone */
		{"\xbf", 1},
		{"\xc2", 1}, /* pieces */
		{"\xe2\x82", 2},
		{"\xf0\x9f\x98", 3},
		{"\xc2\x41", 2}, /* no continuation */
		{"\xe2\x82\xc0", 3},
		{"\xf0\x9f\x98\x00", 4},
		{"\xc0\x80", 2}, /* overlong */
		{"\xc1\xbf", 2},
		{"\xe0\x9f\xbf", 3},
		{"\xf0\x8f\xbf\xbf", 4},
		{"\xed\xa0\x80", 3}, /* surrogates */
		{"\xed\xbf\xbf", 3},
		{"\xf4\x90\x80\x80", 4}, /* over U+10FFFF */
		{"\xf5\x80\x80\x80", 4},
		{"\xf8\x88\x80\x80\x80", 5},
		{"\xff", 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint32_t code = 12345;

		if (utf8_decode(bad[i], &code) != 0)
			fail_msg("took number %zu", i);
		assert_int_equal(code, 12345);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_ends_of_each_length_are_taken),
		cmocka_unit_test(test_only_the_first_character_is_looked_at),
		cmocka_unit_test(
			test_what_is_no_utf8_is_refused_and_sets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
