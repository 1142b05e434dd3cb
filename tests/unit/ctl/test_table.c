#include "base/cleanup.h"
#include "ctl/table.h"
#include "test.h"

static const struct table_column columns[] = {
	{"Name", false, 8}, {"Count", true, 0}, {"Note", false, 0}};

static void test_columns_are_as_wide_as_their_widest_cell(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct table table;

	(void)state;
	table_init(&table, columns, ARRAY_SIZE(columns));
	table_cell(&table, "%s", "a");
	table_cell(&table, "%d", 1234567);
	table_cell(&table, "%s", "x");
	table_cell(&table, "%s", "abcdef");
	table_cell(&table, "%d", 5);
	table_cell(&table, "%s", "");
	table_write(&table, &out);
	table_done(&table);
	assert_string_equal(out.data, "Name      Count  Note\n"
				      "a       1234567  x\n"
				      "abcdef        5\n");
}

static void test_long_cells_are_cut_and_say_so(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct table table;

	(void)state;
	table_init(&table, columns, 1);
	table_cell(&table, "%s", "12345678");
	table_cell(&table, "%s", "123456789");
	/* Characters count, not bytes. */
	table_cell(&table, "%s",
		   "\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4"
		   "\u00e4");
	table_cell(&table, "%s",
		   "\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4"
		   "\u00e4\u00e4");
	table_write(&table, &out);
	table_done(&table);
	assert_string_equal(out.data,
			    "Name\n"
			    "12345678\n"
			    "12345...\n"
			    "\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\n"
			    "\u00e4\u00e4\u00e4\u00e4\u00e4...\n");
}

static void test_words_of_strangers_cannot_move_the_cursor(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};

	(void)state;
	table_safe_text(&out,
			"a\033[2Jb\r\n\x7f"
			"\xc2\x9b"
			"\xff"
			"\xe2\x80\xae"
			"c",
			0);
	assert_string_equal(out.data, "a\\x1b[2Jb\\x0d\\x0a\\x7f\\xc2\\x9b\\xff"
				      "\\xe2\\x80\\xae"
				      "c");
}

static void test_an_incomplete_row_is_left_out(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct table table;

	(void)state;
	table_init(&table, columns, 2);
	table_cell(&table, "a");
	table_cell(&table, "1");
	table_cell(&table, "b");
	table_write(&table, &out);
	table_done(&table);
	assert_string_equal(out.data, "Name  Count\n"
				      "a         1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns_are_as_wide_as_their_widest_cell),
		cmocka_unit_test(test_long_cells_are_cut_and_say_so),
		cmocka_unit_test(
			test_words_of_strangers_cannot_move_the_cursor),
		cmocka_unit_test(test_an_incomplete_row_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
