#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "test.h"

static char said[4096];

/* Run a statement with standard error in a pipe; `said` is what came out. */
#define SAY(statement)                                                         \
	do {                                                                   \
		int pipe_[2], saved_ = dup(STDERR_FILENO);                     \
		ssize_t len_;                                                  \
                                                                               \
		assert_int_equal(pipe2(pipe_, O_NONBLOCK), 0);                 \
		dup2(pipe_[1], STDERR_FILENO);                                 \
		statement;                                                     \
		dup2(saved_, STDERR_FILENO);                                   \
		len_ = read(pipe_[0], said, sizeof(said) - 1);                 \
		said[len_ > 0 ? len_ : 0] = '\0';                              \
		close(pipe_[0]);                                               \
		close(pipe_[1]);                                               \
		close(saved_);                                                 \
	} while (0)

static void test_a_line_has_time_level_and_text(void **state)
{
	int fields[7], end = 0;

	(void)state;
	SAY(log_info("[%s] session started", "a@b"));
	assert_int_equal(sscanf(said,
				"%4d-%2d-%2d %2d:%2d:%2d.%3d INFO [a@b] "
				"session started%n",
				&fields[0], &fields[1], &fields[2], &fields[3],
				&fields[4], &fields[5], &fields[6], &end),
			 7);
	assert_string_equal(said + end, "\n");
}

static void test_nobodys_words_make_a_line_of_ours(void **state)
{
	(void)state;
	SAY(log_info("[%s]", "x\r\nERROR \x1b[31m \xff \xc2\x85 \xe2\x80\xa8"));
	assert_non_null(strstr(said, "[x\\x0d\\x0aERROR \\x1b[31m \\xff "
				     "\\xc2\\x85 \\xe2\\x80\\xa8]\n"));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
}

static void test_valid_utf8_stays_readable(void **state)
{
	(void)state;
	SAY(log_info("%s", "J\xc3\xbcrgen"));
	assert_non_null(strstr(said, "J\xc3\xbcrgen"));
}

static void test_what_is_below_the_level_is_not_written(void **state)
{
	(void)state;
	SAY(log_debug("quiet"));
	assert_string_equal(said, "");
	log_set_level(LOG_LEVEL_DEBUG);
	SAY(log_debug("loud"));
	assert_non_null(strstr(said, "DEBUG loud\n"));
	log_set_level(LOG_LEVEL_ERROR);
	SAY(log_warning("quiet"));
	assert_string_equal(said, "");
	log_set_level(LOG_LEVEL_INFO);
}

static void test_a_limit_allows_a_burst_and_counts_the_rest(void **state)
{
	struct log_limit limit = LOG_LIMIT(2, 100);
	uint64_t suppressed = 99;

	(void)state;
	assert_true(log_limit_allows(&limit, 1000, &suppressed));
	assert_int_equal(suppressed, 0);
	assert_true(log_limit_allows(&limit, 1001, &suppressed));
	for (uint64_t now_us = 1002; now_us < 1100; now_us++)
		assert_false(log_limit_allows(&limit, now_us, &suppressed));
	assert_true(log_limit_allows(&limit, 1100, &suppressed));
	assert_int_equal(suppressed, 98);
	assert_true(log_limit_allows(&limit, 1101, &suppressed));
	assert_int_equal(suppressed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_has_time_level_and_text),
		cmocka_unit_test(test_nobodys_words_make_a_line_of_ours),
		cmocka_unit_test(test_valid_utf8_stays_readable),
		cmocka_unit_test(test_what_is_below_the_level_is_not_written),
		cmocka_unit_test(
			test_a_limit_allows_a_burst_and_counts_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
