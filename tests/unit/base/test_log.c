#include "base/log.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/span.h"
#include "test.h"

static char written[8192];

/* Standard error goes to a file while the line is written. */
#define CAPTURE(statement)                                                     \
	do {                                                                   \
		FILE *file_ = tmpfile();                                       \
		int stderr_ = dup(STDERR_FILENO);                              \
		ssize_t len_;                                                  \
                                                                               \
		assert_non_null(file_);                                        \
		dup2(fileno(file_), STDERR_FILENO);                            \
		statement;                                                     \
		dup2(stderr_, STDERR_FILENO);                                  \
		close(stderr_);                                                \
		len_ = pread(fileno(file_), written, sizeof(written) - 1, 0);  \
		assert_true(len_ >= 0);                                        \
		written[len_] = '\0';                                          \
		fclose(file_);                                                 \
	} while (0)

/* What follows "2026-11-22 13:17:32.123 ". */
static const char *behind_the_time(void)
{
	static const char form[] = "dddd-dd-dd dd:dd:dd.ddd ";

	for (size_t i = 0; form[i]; i++) {
		if (form[i] == 'd')
			assert_true(isdigit((unsigned char)written[i]));
		else
			assert_int_equal(written[i], form[i]);
	}
	return written + strlen(form);
}

static void test_a_line_has_time_level_and_text(void **state)
{
	(void)state;
	CAPTURE(log_info("[%s] started", "call-1"));
	assert_string_equal(behind_the_time(), "INFO [call-1] started\n");
	CAPTURE(log_error("x"));
	assert_string_equal(behind_the_time(), "ERROR x\n");
	CAPTURE(log_warning("x"));
	assert_string_equal(behind_the_time(), "WARNING x\n");
}

static void test_lines_under_the_level_are_not_written(void **state)
{
	(void)state;
	assert_int_equal(log_get_level(), LOG_LEVEL_INFO);
	CAPTURE(log_debug("x"));
	assert_string_equal(written, "");
	log_set_level(LOG_LEVEL_DEBUG);
	CAPTURE(log_debug("x"));
	assert_string_equal(behind_the_time(), "DEBUG x\n");
	log_set_level(LOG_LEVEL_ERROR);
	CAPTURE(log_warning("x"));
	assert_string_equal(written, "");
	log_set_level(LOG_LEVEL_INFO);
}

static void shows(const char *text, const char *expected)
{
	char line[256];

	CAPTURE(log_info("%s", text));
	snprintf(line, sizeof(line), "INFO %s\n", expected);
	assert_string_equal(behind_the_time(), line);
}

static void test_nobodys_words_make_a_line_of_ours(void **state)
{
	(void)state;
	shows("a\r\n2026-01-01 ERROR forged", "a\\x0d\\x0a2026-01-01 ERROR "
					      "forged");
	shows("\x1b[31mred\x7f\t", "\\x1b[31mred\\x7f\\x09");
	/* C1 controls, and the separators of lines in Unicode */
	shows("\xc2\x85|\xc2\x9b|\xc2\xa0", "\\xc2\\x85|\\xc2\\x9b|\xc2\xa0");
	shows("\xe2\x80\xa8\xe2\x80\xa9", "\\xe2\\x80\\xa8\\xe2\\x80\\xa9");
}

static void test_utf8_is_shown_and_what_is_none_is_escaped(void **state)
{
	(void)state;
	shows("Zo\xc3\xab \xf0\x9f\x98\x80", "Zo\xc3\xab \xf0\x9f\x98\x80");
	shows("\xff\xc3(\xe2\x82", "\\xff\\xc3(\\xe2\\x82");
	shows("100 %s %n", "100 %s %n");
}

static void test_a_long_line_is_written_whole(void **state)
{
	char text[5001];

	(void)state;
	memset(text, 'x', 5000);
	text[5000] = '\0';
	CAPTURE(log_info("%s", text));
	assert_int_equal(strlen(behind_the_time()), 5 + 5000 + 1);
}

static void test_a_pipe_that_nobody_reads_stops_nobody(void **state)
{
	int stderr_copy = dup(STDERR_FILENO);
	char text[4096];
	ssize_t len;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	while (write(fds[1], text, sizeof(text)) > 0)
		;
	assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0); /* blocking */
	dup2(fds[1], STDERR_FILENO);
	log_info("lost");
	log_info("lost too");
	while (read(fds[0], text, sizeof(text)) > 0)
		;
	log_info("written");
	dup2(stderr_copy, STDERR_FILENO);
	len = read(fds[0], text, sizeof(text) - 1);
	close(stderr_copy);
	close(fds[0]);
	close(fds[1]);
	assert_true(len > 0);
	text[len] = '\0';
	assert_non_null(strstr(text, "(2 lines before this one could not be "
				     "written) INFO written\n"));
}

static void test_a_limit_lets_a_burst_through_and_counts_the_rest(void **state)
{
	struct log_limit limit = LOG_LIMIT(2, 100);
	uint64_t left_out = 99;

	(void)state;
	assert_true(log_limit_allows(&limit, 1000, &left_out));
	assert_int_equal(left_out, 0);
	assert_true(log_limit_allows(&limit, 1001, &left_out));
	for (uint64_t now = 1002; now < 1100; now++)
		assert_false(log_limit_allows(&limit, now, &left_out));
	assert_int_equal(left_out, 0);

	assert_true(log_limit_allows(&limit, 1100, &left_out));
	assert_int_equal(left_out, 98);
	assert_true(log_limit_allows(&limit, 1101, &left_out));
	assert_int_equal(left_out, 0);
	assert_false(log_limit_allows(&limit, 1199, &left_out));
	assert_true(log_limit_allows(&limit, 5000, &left_out));
	assert_int_equal(left_out, 1);
}

static void test_a_limit_works_from_the_first_microsecond(void **state)
{
	struct log_limit limit = LOG_LIMIT(1, 100);
	uint64_t left_out;

	(void)state;
	assert_true(log_limit_allows(&limit, 0, &left_out));
	assert_false(log_limit_allows(&limit, 99, &left_out));
	assert_true(log_limit_allows(&limit, 100, &left_out));
	assert_int_equal(left_out, 1);
}

static void test_what_was_left_out_is_said_only_if_there_is_some(void **state)
{
	char text[LOG_LEFT_OUT_SIZE];

	(void)state;
	assert_string_equal(log_left_out(0, text), "");
	assert_string_equal(log_left_out(7, text), " (7 such lines left out)");
	assert_string_equal(log_left_out(UINT64_MAX, text),
			    " (18446744073709551615 such lines left out)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_has_time_level_and_text),
		cmocka_unit_test(test_lines_under_the_level_are_not_written),
		cmocka_unit_test(test_nobodys_words_make_a_line_of_ours),
		cmocka_unit_test(
			test_utf8_is_shown_and_what_is_none_is_escaped),
		cmocka_unit_test(test_a_long_line_is_written_whole),
		cmocka_unit_test(test_a_pipe_that_nobody_reads_stops_nobody),
		cmocka_unit_test(
			test_a_limit_lets_a_burst_through_and_counts_the_rest),
		cmocka_unit_test(test_a_limit_works_from_the_first_microsecond),
		cmocka_unit_test(
			test_what_was_left_out_is_said_only_if_there_is_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
