#include "accounting/database/keys.h"

#include "base/cleanup.h"
#include "test.h"

static const struct key_widths usual = {KEY_CALL_ID_WIDTH, KEY_TAG_WIDTH,
					KEY_TAG_WIDTH};

static struct record record_of(struct span call_id, struct span to_tag)
{
	return (struct record){
		.record_id = SPAN("id"),
		.call_id = call_id,
		.from_tag = SPAN("from"),
		.to_tag = to_tag,
	};
}

static void assert_call_id(struct span call_id, enum charset charset,
			   const char *expected)
{
	CLEANUP(key_done) struct key key = {0};
	struct record record = record_of(call_id, SPAN("to"));

	assert_int_equal(key_make(&key, &record, &usual, charset, 1), 0);
	assert_string_equal(key.call_id.data, expected);
}

static void test_what_no_column_holds_is_written_byte_by_byte(void **state)
{
	assert_call_id(SPAN("a\0b"), CHARSET_UTF8, "a\\x00b");
	assert_call_id(SPAN("a\xff\xc3"), CHARSET_UTF8, "a\\xff\\xc3");
	assert_call_id(SPAN("\xed\xa0\x80"), CHARSET_UTF8, "\\xed\\xa0\\x80");
	assert_call_id(SPAN("'\"\\;--"), CHARSET_UTF8, "'\"\\;--");
}

static void test_a_smaller_charset_has_more_of_that(void **state)
{
	struct span text = SPAN("e\xc3\xa9\xf0\x9f\x98\x80");

	assert_call_id(text, CHARSET_UTF8, "e\xc3\xa9\xf0\x9f\x98\x80");
	assert_call_id(text, CHARSET_UTF8_3, "e\xc3\xa9\\xf0\\x9f\\x98\\x80");
	assert_call_id(text, CHARSET_ASCII, "e\\xc3\\xa9\\xf0\\x9f\\x98\\x80");
}

static void test_a_charset_matters_only_to_a_text_that_needs_it(void **state)
{
	struct record plain = record_of(SPAN("a\xff"), SPAN("b"));
	struct record accent = record_of(SPAN("a"), SPAN("\xc3\xa9"));

	assert_false(
		key_depends_on_charset(&plain, CHARSET_UTF8, CHARSET_ASCII));
	assert_false(
		key_depends_on_charset(&accent, CHARSET_UTF8, CHARSET_UTF8_3));
	assert_true(
		key_depends_on_charset(&accent, CHARSET_UTF8_3, CHARSET_ASCII));
}

static void test_a_text_that_fits_is_not_cut(void **state)
{
	char text[KEY_CALL_ID_WIDTH * 2 + 1] = "";

	for (size_t i = 0; i < KEY_CALL_ID_WIDTH; i++)
		memcpy(text + 2 * i, "\xc3\xa9", 2);
	assert_call_id(span_of(text), CHARSET_UTF8, text);
}

static void test_a_long_text_is_cut_and_ends_in_its_hash(void **state)
{
	CLEANUP(key_done) struct key key = {0};
	char text[10000];
	struct record record =
		record_of(span_make(text, sizeof(text)), SPAN("to"));

	memset(text, 'x', sizeof(text));
	text[0] = 'a';
	assert_int_equal(key_make(&key, &record, &usual, CHARSET_UTF8, 1), 0);
	assert_int_equal(key.call_id.len, KEY_CALL_ID_WIDTH);
	assert_memory_equal(key.call_id.data, text, KEY_CALL_ID_WIDTH - 9);
	assert_string_equal(key.call_id.data + KEY_CALL_ID_WIDTH - 9,
			    "~bab2c2dc");
}

/* "foobar" is bf9cf968 on the page of its authors. */
static void test_the_hash_is_fnv_1a_of_the_text_as_it_was(void **state)
{
	const struct key_widths narrow = {16, 5, 12};
	CLEANUP(key_done) struct key key = {0};
	struct record record = record_of(SPAN("c"), SPAN("\xff\xff\xff\xff"));

	record.from_tag = SPAN("foobar");
	assert_int_equal(key_make(&key, &record, &narrow, CHARSET_UTF8, 1), 0);
	assert_string_equal(key.from_tag.data, "~bf9cf968");
	assert_string_equal(key.to_tag.data, "\\xf~e3160fb1");
}

static void assert_to_tag(struct span to_tag, unsigned number,
			  const char *expected)
{
	CLEANUP(key_done) struct key key = {0};
	struct record record = record_of(SPAN("c"), to_tag);

	assert_int_equal(key_make(&key, &record, &usual, CHARSET_UTF8, number),
			 0);
	assert_int_equal(key.has_to_tag, expected != NULL);
	if (expected)
		assert_string_equal(key.to_tag.data, expected);
}

static void test_later_sessions_have_their_number_after_the_to_tag(void **state)
{
	assert_to_tag(SPAN("t"), 1, "t");
	assert_to_tag(SPAN("t"), 2, "t;2");
	assert_to_tag(SPAN("t"), 99, "t;99");
	assert_to_tag(SPAN(""), 1, NULL);
	assert_to_tag(SPAN(""), 2, ";2");
}

static void test_the_last_number_is_the_hash_of_the_record_id(void **state)
{
	assert_to_tag(SPAN("t"), KEY_LAST_NUMBER, "t;37386ae0");
}

static void
test_the_number_fits_after_a_to_tag_that_fills_its_column(void **state)
{
	CLEANUP(key_done) struct key key = {0};
	char tag[KEY_TAG_WIDTH + 1] = "";
	struct record record;

	memset(tag, 't', KEY_TAG_WIDTH);
	record = record_of(SPAN("c"), span_of(tag));
	assert_int_equal(key_make(&key, &record, &usual, CHARSET_UTF8, 1), 0);
	assert_string_equal(key.to_tag.data, tag);
	assert_int_equal(key_make(&key, &record, &usual, CHARSET_UTF8, 2), 0);
	assert_int_equal(key.to_tag.len, KEY_TAG_WIDTH);
	assert_memory_equal(key.to_tag.data, tag, KEY_TAG_WIDTH - 2 - 9);
	assert_int_equal(key.to_tag.data[KEY_TAG_WIDTH - 2 - 9], '~');
	assert_string_equal(key.to_tag.data + KEY_TAG_WIDTH - 2, ";2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_what_no_column_holds_is_written_byte_by_byte),
		cmocka_unit_test(test_a_smaller_charset_has_more_of_that),
		cmocka_unit_test(
			test_a_charset_matters_only_to_a_text_that_needs_it),
		cmocka_unit_test(test_a_text_that_fits_is_not_cut),
		cmocka_unit_test(test_a_long_text_is_cut_and_ends_in_its_hash),
		cmocka_unit_test(test_the_hash_is_fnv_1a_of_the_text_as_it_was),
		cmocka_unit_test(
			test_later_sessions_have_their_number_after_the_to_tag),
		cmocka_unit_test(
			test_the_last_number_is_the_hash_of_the_record_id),
		cmocka_unit_test(
			test_the_number_fits_after_a_to_tag_that_fills_its_column),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
