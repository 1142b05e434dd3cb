#include "proto/dialog.h"

#include <errno.h>

#include "test.h"

static void expect_did(const char *text, const char *did)
{
	char found[DIALOG_DID_SIZE];
	struct dialog_id id;

	assert_int_equal(dialog_id_decode(span_of(text), &id), 0);
	assert_string_equal(dialog_did_format(&id, found), did);
}

static void test_a_decimal_of_opensips_becomes_its_did(void **state)
{
	(void)state;
	expect_did("9329077222918", "c78.60e75581");
	expect_did("3848290697217", "083.1");
	expect_did("0", "0.0");
	expect_did("4294967296", "1.0");
	expect_did("18446744073709551615", "ffffffff.ffffffff");
}

static void test_a_pair_names_the_same_dialog_as_its_decimal(void **state)
{
	struct dialog_id pair, decimal;

	(void)state;
	assert_int_equal(dialog_id_decode(SPAN("2172:408256006"), &pair), 0);
	assert_int_equal(dialog_id_decode(SPAN("9329077222918"), &decimal), 0);
	assert_int_equal(pair.h_entry, decimal.h_entry);
	assert_int_equal(pair.h_id, decimal.h_id);
	assert_true(pair.is_pair);
	assert_false(decimal.is_pair);
	expect_did("2172:408256006", "c78.60e75581");
}

static void test_what_is_no_dialog_id_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		"1:",
		":1",
		"1:2:3",
		"-1",
		"+1",
		" 1",
		"1 ",
		"1:2 ",
		"1: 2",
		"0x10",
		"c78.60e75581",
		"1.5",
		"18446744073709551616",
		"4294967296:1",
		"1:4294967296",
		"1\n:2",
	};
	struct dialog_id id = {.h_id = 77};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(dialog_id_decode(span_of(bad[i]), &id),
				 -EBADMSG);
	assert_int_equal(dialog_id_decode(SPAN("1\0:2"), &id), -EBADMSG);
	assert_int_equal(id.h_id, 77);
}

static void expect_request(enum dialog_form form, uint32_t number,
			   const char *dialog, const char *call_id,
			   const char *expected)
{
	struct buf out = {0};
	struct dialog_id id;

	assert_int_equal(dialog_id_decode(span_of(dialog), &id), 0);
	dialog_request_encode(&out, form, number, &id, span_of(call_id));
	assert_false(buf_failed(&out));
	assert_string_equal(out.data, expected);
	buf_done(&out);
}

static void test_each_proxy_is_asked_in_its_own_words(void **state)
{
	(void)state;
	expect_request(DIALOG_FORM_DID, 0x990660cd, "9329077222918", "c@x",
		       "{\"jsonrpc\": \"2.0\", \"id\": \"990660cd\", "
		       "\"method\": \"dlg_end_dlg\", "
		       "\"params\": [\"c78.60e75581\"]}");
	expect_request(DIALOG_FORM_CALL_ID, 0xa, "9329077222918", "c@x",
		       "{\"jsonrpc\": \"2.0\", \"id\": \"0000000a\", "
		       "\"method\": \"dlg_end_dlg\", \"params\": [\"c@x\"]}");
	expect_request(DIALOG_FORM_KAMAILIO, 0xffffffff, "3078:4294967295",
		       "c@x",
		       "{\"jsonrpc\": \"2.0\", \"id\": \"ffffffff\", "
		       "\"method\": \"dlg.end_dlg\", "
		       "\"params\": [3078, 4294967295]}");
	expect_request(DIALOG_FORM_TEXT, 1, "3078:1789", "c@x",
		       ":dlg_end_dlg:\n3078\n1789\n\n");
}

static void test_a_call_id_cannot_leave_its_string(void **state)
{
	(void)state;
	expect_request(DIALOG_FORM_CALL_ID, 1, "1", "a\"], \"x\": [\"\\\n\x7f",
		       "{\"jsonrpc\": \"2.0\", \"id\": \"00000001\", "
		       "\"method\": \"dlg_end_dlg\", "
		       "\"params\": [\"a\\\"], \\\"x\\\": "
		       "[\\\"\\\\\\n\\u007f\"]}");
}

static struct dialog_answer decode(const char *text)
{
	struct dialog_answer answer;

	dialog_answer_decode(span_of(text), &answer);
	return answer;
}

static void test_a_result_with_our_number_is_a_dialog_that_ended(void **state)
{
	static const char *const good[] = {
		"{\"result\": \"OK\", \"id\": \"990660cd\"}",
		"{\"jsonrpc\":\"2.0\",\"result\":{},\"id\":\"990660cd\"}",
		"{\"result\":null,\"id\":\"990660cd\"}\n",
		"{\"result\":[],\"error\":null,\"id\":\"990660cd\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct dialog_answer answer = decode(good[i]);

		assert_int_equal(answer.verdict, DIALOG_ENDED);
		assert_int_equal(answer.to, DIALOG_TO_NUMBER);
		assert_int_equal(answer.number, 0x990660cd);
		assert_true(answer.is_json);
	}
}

static void test_an_error_has_its_code_and_its_message(void **state)
{
	struct dialog_answer answer = decode(
		"{\"jsonrpc\": \"2.0\", \"error\": {\"code\": 500, "
		"\"message\": \"Operation failed\"}, \"id\": \"0000000a\"}");

	(void)state;
	assert_int_equal(answer.verdict, DIALOG_REFUSED);
	assert_int_equal(answer.code, 500);
	assert_string_equal(answer.reason, "Operation failed");
	assert_int_equal(answer.number, 10);
	answer = decode("{\"error\": {\"code\": 404, \"message\": "
			"\"Requested Dialog not found\"}, "
			"\"id\": \"0000000a\"}");
	assert_int_equal(answer.verdict, DIALOG_NOT_FOUND);
	/* A method that is not found is not a dialog that is not found. */
	answer = decode("{\"error\": {\"code\": -32601, \"message\": "
			"\"Method not found\"}, \"id\": \"0000000a\"}");
	assert_int_equal(answer.verdict, DIALOG_REFUSED);
	assert_int_equal(answer.code, -32601);
	answer = decode("{\"error\": {\"code\": 99999999999}}");
	assert_int_equal(answer.verdict, DIALOG_REFUSED);
	assert_int_equal(answer.code, 0);
	assert_int_equal(answer.to, DIALOG_TO_ANYBODY);
}

static void test_an_id_that_is_none_of_ours_is_nobodys(void **state)
{
	static const char *const other[] = {
		"{\"result\": 1, \"id\": 5}",
		"{\"result\": 1, \"id\": \"\"}",
		"{\"result\": 1, \"id\": \"990660c\"}",
		"{\"result\": 1, \"id\": \"990660cd0\"}",
		"{\"result\": 1, \"id\": \"990660CD\"}",
		"{\"result\": 1, \"id\": \"0x0660cd\"}",
		"{\"error\": {\"code\": 404}, \"id\": [\"990660cd\"]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		assert_int_equal(decode(other[i]).to, DIALOG_TO_NOBODY);
	/* It might be anybody's, so it ends nobody's dialog. */
	assert_int_equal(decode("{\"result\": 1}").verdict, DIALOG_GARBAGE);
	assert_int_equal(decode("{\"result\": 1, \"id\": null}").verdict,
			 DIALOG_GARBAGE);
}

static void test_a_text_has_a_status_and_a_reason(void **state)
{
	struct dialog_answer answer = decode("200 OK\n");

	(void)state;
	assert_int_equal(answer.verdict, DIALOG_ENDED);
	assert_int_equal(answer.to, DIALOG_TO_ANYBODY);
	assert_false(answer.is_json);
	assert_int_equal(decode("200 OK").verdict, DIALOG_ENDED);
	assert_int_equal(decode("200").verdict, DIALOG_ENDED);
	assert_int_equal(decode("202 Accepted\r\n").verdict, DIALOG_ENDED);
	answer = decode("404 Requested Dialog not found\n\n");
	assert_int_equal(answer.verdict, DIALOG_NOT_FOUND);
	assert_string_equal(answer.reason, "Requested Dialog not found");
	answer = decode("500 command 'x' not available\nmore\n");
	assert_int_equal(answer.verdict, DIALOG_REFUSED);
	assert_int_equal(answer.code, 500);
	assert_string_equal(answer.reason, "command 'x' not available");
}

static void test_anything_else_is_garbage(void **state)
{
	static const char *const garbage[] = {
		"",
		"\n",
		"OK",
		"2000 OK",
		"20 OK",
		" 200 OK",
		"2x0 OK",
		"{",
		"{}",
		"[]",
		"null",
		"5",
		"\"200 OK\"",
		"{\"id\": \"990660cd\"}",
		"{\"error\": 404, \"id\": \"990660cd\"}",
		"{\"result\": 1, \"id\": \"990660cd\"} x",
		"\xff\xfe",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++)
		assert_int_equal(decode(garbage[i]).verdict, DIALOG_GARBAGE);
	assert_string_equal(decode("who are you?\n").reason, "who are you?\n");
}

static void test_a_long_reason_is_cut(void **state)
{
	struct dialog_answer answer;
	char text[4096];

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "500 ", 4);
	dialog_answer_decode(span_make(text, sizeof(text)), &answer);
	assert_int_equal(answer.verdict, DIALOG_REFUSED);
	assert_int_equal(strlen(answer.reason), DIALOG_REASON_SIZE - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_decimal_of_opensips_becomes_its_did),
		cmocka_unit_test(
			test_a_pair_names_the_same_dialog_as_its_decimal),
		cmocka_unit_test(test_what_is_no_dialog_id_is_refused),
		cmocka_unit_test(test_each_proxy_is_asked_in_its_own_words),
		cmocka_unit_test(test_a_call_id_cannot_leave_its_string),
		cmocka_unit_test(
			test_a_result_with_our_number_is_a_dialog_that_ended),
		cmocka_unit_test(test_an_error_has_its_code_and_its_message),
		cmocka_unit_test(test_an_id_that_is_none_of_ours_is_nobodys),
		cmocka_unit_test(test_a_text_has_a_status_and_a_reason),
		cmocka_unit_test(test_anything_else_is_garbage),
		cmocka_unit_test(test_a_long_reason_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
