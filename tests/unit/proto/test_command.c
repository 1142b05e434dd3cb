#include "proto/command.h"

#include <stdio.h>
#include <stdlib.h>

#include "requests.h"
#include "test.h"

static struct command_reader *reader_of(void **state)
{
	return *state;
}

static int setup(void **state)
{
	return command_reader_new((struct command_reader **)state,
				  COMMAND_FORM_SOCKET);
}

static int setup_link(void **state)
{
	return command_reader_new((struct command_reader **)state,
				  COMMAND_FORM_LINK);
}

static int teardown(void **state)
{
	command_reader_free(*state);
	return 0;
}

static void assert_span(struct span s, const char *expected)
{
	assert_int_equal(s.len, strlen(expected));
	assert_memory_equal(s.ptr, expected, s.len);
}

static void assert_header(void **state, const char *name, const char *expected)
{
	assert_span(command_header(command_reader_command(*state), name),
		    expected);
}

static size_t header_count(void **state)
{
	return command_reader_command(*state)->header_count;
}

static void test_a_request_ends_with_the_empty_line(void **state)
{
	struct command_reader *reader = reader_of(state);

	assert_true(command_reader_idle(reader));
	assert_int_equal(FEED(reader, "remove\r\n"), COMMAND_MORE);
	assert_false(command_reader_idle(reader));
	assert_int_equal(FEED(reader, "call_id: a@b\r\n"), COMMAND_MORE);
	assert_int_equal(FEED(reader, "from_tag: x\r\n"), COMMAND_MORE);
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_DONE);
	assert_true(command_reader_idle(reader));
	assert_span(command_reader_command(reader)->name, "remove");
	assert_int_equal(header_count(state), 2);
	assert_header(state, "call_id", "a@b");
	assert_header(state, "from_tag", "x");
	assert_header(state, "to_tag", "");
}

static void test_an_empty_value_is_dropped(void **state)
{
	assert_int_equal(FEED(reader_of(state),
			      "remove\r\nto_tag: \r\ncall_id: a\r\n\r\n"),
			 COMMAND_DONE);
	assert_int_equal(header_count(state), 1);
	assert_header(state, "to_tag", "");
}

static void test_a_value_may_hold_the_separator(void **state)
{
	assert_int_equal(
		FEED(reader_of(state), "update\r\nuser_agent: a: b: c\r\n\r\n"),
		COMMAND_DONE);
	assert_header(state, "user_agent", "a: b: c");
}

/* docs/protocols.md: a phone's folded User-Agent, as Kamailio 5.6.3 passes it on. */
static void test_a_folded_sip_header_sets_no_header_of_ours(void **state)
{
	assert_int_equal(FEED(reader_of(state),
			      "update\r\ncall_id: real@x\r\n"
			      "user_agent: Evil\r\n call_id: victim@x\r\n"
			      "\tmedia_relay: 6.6.6.6\r\n"
			      "media: audio:10.0.0.1:5000:sendrecv:ice=no\r\n"
			      "\r\n"),
			 COMMAND_DONE);
	assert_int_equal(header_count(state), 3);
	assert_header(state, "call_id", "real@x");
	assert_header(state, "media_relay", "");
	assert_header(state, "user_agent",
		      "Evil call_id: victim@x media_relay: 6.6.6.6");
	assert_header(state, "media", "audio:10.0.0.1:5000:sendrecv:ice=no");
}

static void test_a_line_folded_below_an_empty_value_is_its_value(void **state)
{
	assert_int_equal(FEED(reader_of(state),
			      "update\r\ncall_id: a\r\nuser_agent: \r\n"
			      "  \t Phone\r\n\r\n"),
			 COMMAND_DONE);
	assert_header(state, "call_id", "a");
	assert_header(state, "user_agent", "Phone");
}

static void test_a_folded_line_of_blanks_adds_nothing(void **state)
{
	assert_int_equal(
		FEED(reader_of(state), "update\r\ncall_id: a\r\n \t \r\n\r\n"),
		COMMAND_DONE);
	assert_header(state, "call_id", "a");
}

static void test_a_header_that_comes_twice_never_changes_the_first(void **state)
{
	struct command_reader *reader = reader_of(state);

	assert_int_equal(FEED(reader, "update\r\ncall_id: first\r\n"
				      "type: request\r\ncall_id: second\r\n"
				      "from_tag: x\r\n\r\n"),
			 COMMAND_BAD);
	assert_string_equal(command_reader_why(reader), "a header comes twice");
	assert_header(state, "call_id", "first");
	assert_int_equal(header_count(state), 2);
}

static void test_a_twin_is_found_even_if_its_value_is_folded(void **state)
{
	assert_int_equal(FEED(reader_of(state),
			      "update\r\ncall_id: first\r\ncall_id: \r\n"
			      "\tsecond\r\n\r\n"),
			 COMMAND_BAD);
	assert_header(state, "call_id", "first");
}

static void test_an_empty_twin_is_dropped(void **state)
{
	assert_int_equal(FEED(reader_of(state),
			      "update\r\nmedia_relay: \r\n"
			      "media_relay: 10.0.0.1\r\nmedia_relay: \r\n\r\n"),
			 COMMAND_DONE);
	assert_header(state, "media_relay", "10.0.0.1");
	assert_int_equal(header_count(state), 1);
}

static void test_names_match_exactly(void **state)
{
	assert_int_equal(FEED(reader_of(state),
			      "update\r\nCall_id: a\r\ncall_id : b\r\n"
			      "x-new: c\r\n\r\n"),
			 COMMAND_DONE);
	assert_header(state, "call_id", "");
	assert_header(state, "Call_id", "a");
	assert_header(state, "call_id ", "b");
	assert_header(state, "x-new", "c");
}

static void test_what_is_no_header_makes_the_request_bad(void **state)
{
	static const char *const lines[] = {
		"update\r\ncall_id\r\n\r\n",
		"update\r\ncall_id:a\r\n\r\n",
		"update\r\n: a\r\n\r\n",
		"update\r\n folded: into nothing\r\n\r\n",
		" update\r\ncall_id: a\r\n\r\n",
		"update\r\ncall_id: a\r\n\rx\r\n\r\n",
	};
	struct command_reader *reader = reader_of(state);

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(feed(reader, span_of(lines[i])), COMMAND_BAD);
		assert_true(command_reader_why(reader)[0] != '\0');
		/* The next one is not touched by it. */
		assert_int_equal(FEED(reader, "remove\r\ncall_id: z\r\n\r\n"),
				 COMMAND_DONE);
		assert_header(state, "call_id", "z");
		assert_int_equal(header_count(state), 1);
		assert_string_equal(command_reader_why(reader), "");
	}
}

static void test_a_folded_line_after_a_fault_changes_nothing(void **state)
{
	assert_int_equal(FEED(reader_of(state),
			      "update\r\ncall_id: a\r\nnonsense\r\n more\r\n"
			      "from_tag: b\r\n\r\n"),
			 COMMAND_BAD);
	assert_header(state, "call_id", "a");
	assert_header(state, "from_tag", "");
}

static void test_raw_bytes_are_kept(void **state)
{
	struct span value = SPAN("\xff\0\x80 \n \r x");
	struct command_reader *reader = reader_of(state);
	struct span line = SPAN("user_agent: \xff\0\x80 \n \r x");
	struct span seen;

	assert_int_equal(FEED(reader, "update\r\n"), COMMAND_MORE);
	assert_int_equal(command_reader_line(reader, line, false),
			 COMMAND_MORE);
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_DONE);
	seen = command_header(command_reader_command(reader), "user_agent");
	assert_true(span_equal(seen, value));
}

static void test_empty_lines_between_requests_mean_nothing(void **state)
{
	struct command_reader *reader = reader_of(state);

	assert_int_equal(FEED(reader, "\r\n\r\n"), COMMAND_MORE);
	assert_true(command_reader_idle(reader));
	assert_int_equal(FEED(reader, "summary\r\n\r\n"), COMMAND_DONE);
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_MORE);
}

static void test_a_line_that_is_too_long_is_bad_to_the_empty_line(void **state)
{
	struct command_reader *reader = reader_of(state);

	assert_int_equal(FEED(reader, "update\r\ncall_id: a\r\n"),
			 COMMAND_MORE);
	assert_int_equal(command_reader_line(reader, (struct span){0},
					     /* too_long= */ true),
			 COMMAND_MORE);
	assert_int_equal(FEED(reader, "from_tag: b\r\n"), COMMAND_MORE);
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_BAD);
	assert_header(state, "call_id", "a");
	assert_header(state, "from_tag", "");
	assert_span(command_reader_command(reader)->name, "update");
}

static void test_a_command_line_that_is_too_long_begins_a_request(void **state)
{
	struct command_reader *reader = reader_of(state);

	assert_int_equal(command_reader_line(reader, (struct span){0}, true),
			 COMMAND_MORE);
	assert_false(command_reader_idle(reader));
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_BAD);
	assert_int_equal(command_reader_command(reader)->name.len, 0);
}

static void test_the_longest_line_fits(void **state)
{
	struct command_reader *reader = reader_of(state);
	char line[COMMAND_MAX_LINE + 1];

	memset(line, 'x', sizeof(line));
	memcpy(line, "call_id: ", 9);
	FEED(reader, "update\r\n");
	command_reader_line(reader, span_make(line, COMMAND_MAX_LINE), false);
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_DONE);
	assert_int_equal(
		command_header(command_reader_command(reader), "call_id").len,
		COMMAND_MAX_LINE - 9);

	FEED(reader, "update\r\n");
	command_reader_line(reader, span_make(line, COMMAND_MAX_LINE + 1),
			    false);
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_BAD);
}

static void test_folding_makes_no_line_over_the_limit(void **state)
{
	struct command_reader *reader = reader_of(state);
	char line[10000];

	memset(line, ' ', sizeof(line));
	memset(line + 1, 'x', sizeof(line) - 1);
	FEED(reader, "update\r\ncall_id: a\r\n");
	command_reader_line(reader, span_make(line, sizeof(line)), false);
	command_reader_line(reader, span_make(line, sizeof(line)), false);
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_BAD);
}

static void test_a_request_has_limits_of_bytes_and_headers(void **state)
{
	struct command_reader *reader = reader_of(state);
	char line[COMMAND_MAX_LINE];

	FEED(reader, "update\r\n");
	for (int i = 0; i < COMMAND_MAX_HEADERS; i++) {
		int len = snprintf(line, sizeof(line), "name%d: v", i);

		command_reader_line(reader, span_make(line, (size_t)len),
				    false);
	}
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_DONE);
	assert_int_equal(header_count(state), COMMAND_MAX_HEADERS);

	FEED(reader, "update\r\n");
	for (int i = 0; i <= COMMAND_MAX_HEADERS; i++) {
		int len = snprintf(line, sizeof(line), "name%d: v", i);

		command_reader_line(reader, span_make(line, (size_t)len),
				    false);
	}
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_BAD);
	assert_string_equal(command_reader_why(reader), "too many headers");

	FEED(reader, "update\r\n");
	memset(line, 'x', sizeof(line));
	for (int i = 0; i < COMMAND_MAX_BYTES / COMMAND_MAX_LINE + 1; i++) {
		memcpy(line, "n0: ", 4);
		line[1] = (char)('0' + i);
		command_reader_line(reader, span_make(line, sizeof(line)),
				    false);
	}
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_BAD);
	assert_string_equal(command_reader_why(reader),
			    "the request is too long");
}

static void test_headers_stay_right_while_the_text_grows(void **state)
{
	struct command_reader *reader = reader_of(state);
	char line[512], name[32];

	FEED(reader, "update\r\n");
	for (int i = 0; i < 60; i++) {
		int len = snprintf(line, sizeof(line), "name%d: %0400d", i, i);

		command_reader_line(reader, span_make(line, (size_t)len),
				    false);
	}
	assert_int_equal(FEED(reader, "\r\n"), COMMAND_DONE);
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "name%d", i);
		snprintf(line, sizeof(line), "%0400d", i);
		assert_header(state, name, line);
	}
	assert_span(command_reader_command(reader)->name, "update");
}

static void test_the_link_form_carries_a_sequence_number(void **state)
{
	struct command_reader *reader = reader_of(state);

	assert_int_equal(FEED(reader, "update 17\r\ncall_id: a\r\n\r\n"),
			 COMMAND_DONE);
	assert_span(command_reader_command(reader)->name, "update");
	assert_int_equal(command_reader_command(reader)->seq, 17);
	assert_int_equal(FEED(reader, "summary 18446744073709551615\r\n\r\n"),
			 COMMAND_DONE);
	assert_true(command_reader_command(reader)->seq == UINT64_MAX);
}

static void test_the_link_form_needs_a_sequence_number(void **state)
{
	static const char *const lines[] = {
		"update\r\n\r\n",     "update \r\n\r\n",
		"update -1\r\n\r\n",  "update 1 2\r\n\r\n",
		"update x17\r\n\r\n", "update 18446744073709551616\r\n\r\n",
		" 17\r\n\r\n",
	};
	struct command_reader *reader = reader_of(state);

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(feed(reader, span_of(lines[i])), COMMAND_BAD);
		assert_int_equal(command_reader_command(reader)->name.len, 0);
	}
}

static void test_a_bad_request_of_the_link_can_be_answered(void **state)
{
	struct command_reader *reader = reader_of(state);

	assert_int_equal(FEED(reader, "update 17\r\ncall_id: a\r\nbad\r\n\r\n"),
			 COMMAND_BAD);
	assert_span(command_reader_command(reader)->name, "update");
	assert_int_equal(command_reader_command(reader)->seq, 17);
}

static void test_what_is_encoded_reads_back(void **state)
{
	const struct command_header headers[] = {
		{SPAN("type"), SPAN("request")},
		{SPAN("to_tag"), SPAN("")},
		{SPAN("user_agent"), SPAN("a\xff\0b: c")},
	};
	struct command_reader *reader = reader_of(state);
	struct buf out = {0};
	struct span seen;

	command_encode(&out, SPAN("update"), 17, headers, 3);
	assert_true(span_equal(buf_span(&out),
			       SPAN("update 17\r\ntype: request\r\n"
				    "user_agent: a\xff\0b: c\r\n\r\n")));
	assert_int_equal(feed(reader, buf_span(&out)), COMMAND_DONE);
	seen = command_header(command_reader_command(reader), "user_agent");
	assert_true(span_equal(seen, headers[2].value));
	buf_done(&out);
}

/* The largest request that a SIP proxy may send, with what a dispatcher adds.
 */
static void test_the_largest_request_can_be_passed_on(void **state)
{
	static char value[COMMAND_MAX_LINE - 4];
	const size_t rest = COMMAND_MAX_BYTES - strlen("update\r\n") -
			    3 * (COMMAND_MAX_LINE + 2) - strlen("n3: \r\n");
	const struct command_header headers[] = {
		{SPAN("n0"), span_make(value, sizeof(value))},
		{SPAN("n1"), span_make(value, sizeof(value))},
		{SPAN("n2"), span_make(value, sizeof(value))},
		{SPAN("n3"), span_make(value, rest)},
		{SPAN("n4"), SPAN("dispatcher")},
	};
	struct command_reader *reader = reader_of(state);
	struct buf out = {0};

	assert_true(rest < sizeof(value));
	memset(value, 'x', sizeof(value));
	command_encode(&out, SPAN("update"), UINT64_MAX, headers, 5);
	assert_true(out.len > COMMAND_MAX_BYTES);
	assert_int_equal(feed(reader, buf_span(&out)), COMMAND_DONE);
	assert_int_equal(header_count(state), 5);
	buf_done(&out);
}

static void test_no_value_becomes_two_lines(void **state)
{
	const struct command_header header = {SPAN("user_agent"),
					      SPAN("a\r\ncall_id: b\r\n")};
	struct buf out = {0};

	(void)state;
	command_encode(&out, SPAN("update"), 1, &header, 1);
	assert_true(span_equal(
		buf_span(&out),
		SPAN("update 1\r\nuser_agent: a call_id: b \r\n\r\n")));
	buf_done(&out);
}

#define SOCKET_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define LINK_TEST(name)                                                        \
	cmocka_unit_test_setup_teardown(name, setup_link, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOCKET_TEST(test_a_request_ends_with_the_empty_line),
		SOCKET_TEST(test_an_empty_value_is_dropped),
		SOCKET_TEST(test_a_value_may_hold_the_separator),
		SOCKET_TEST(test_a_folded_sip_header_sets_no_header_of_ours),
		SOCKET_TEST(
			test_a_line_folded_below_an_empty_value_is_its_value),
		SOCKET_TEST(test_a_folded_line_of_blanks_adds_nothing),
		SOCKET_TEST(
			test_a_header_that_comes_twice_never_changes_the_first),
		SOCKET_TEST(test_a_twin_is_found_even_if_its_value_is_folded),
		SOCKET_TEST(test_an_empty_twin_is_dropped),
		SOCKET_TEST(test_names_match_exactly),
		SOCKET_TEST(test_what_is_no_header_makes_the_request_bad),
		SOCKET_TEST(test_a_folded_line_after_a_fault_changes_nothing),
		SOCKET_TEST(test_raw_bytes_are_kept),
		SOCKET_TEST(test_empty_lines_between_requests_mean_nothing),
		SOCKET_TEST(
			test_a_line_that_is_too_long_is_bad_to_the_empty_line),
		SOCKET_TEST(
			test_a_command_line_that_is_too_long_begins_a_request),
		SOCKET_TEST(test_the_longest_line_fits),
		SOCKET_TEST(test_folding_makes_no_line_over_the_limit),
		SOCKET_TEST(test_a_request_has_limits_of_bytes_and_headers),
		SOCKET_TEST(test_headers_stay_right_while_the_text_grows),
		LINK_TEST(test_the_link_form_carries_a_sequence_number),
		LINK_TEST(test_the_link_form_needs_a_sequence_number),
		LINK_TEST(test_a_bad_request_of_the_link_can_be_answered),
		LINK_TEST(test_what_is_encoded_reads_back),
		LINK_TEST(test_the_largest_request_can_be_passed_on),
		cmocka_unit_test(test_no_value_becomes_two_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
