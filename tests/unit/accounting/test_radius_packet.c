#include "accounting/radius_packet.h"

#include "base/cleanup.h"
#include "net/digest.h"
#include "test.h"

#define SECRET SPAN("xyzzy5461")

static const struct radius_code codes[RADIUS_NAME_COUNT] = {
	[RADIUS_USER_NAME] = {.type = 1},
	[RADIUS_ACCT_STATUS_TYPE] = {.type = 40},
	[RADIUS_SIP_FROM_TAG] = {.vendor = 0x1234, .type = 7},
};

static struct radius_request request_of(const struct radius_attributes *list)
{
	struct radius_request request;

	assert_int_equal(
		radius_request_encode(&request, list, codes, 0x42, SECRET), 0);
	return request;
}

static void test_a_request_is_what_the_standard_says(void **state)
{
	static const struct radius_attributes list = {
		.count = 2,
		.items = {{RADIUS_ACCT_STATUS_TYPE, 4, {0, 0, 0, 3}},
			  {RADIUS_USER_NAME, 2, {'m', 'p'}}}};
	/* By another implementation: MD5 over it with zeros for its own place,
	 * and the secret. */
	static const uint8_t expected[] = {
		0x04, 0x42, 0x00, 0x1e, 0x3f, 0xf9, 0xcf, 0x17, 0x95, 0x05,
		0x9c, 0x2d, 0x6c, 0x29, 0x0c, 0xd4, 0xc7, 0xac, 0x52, 0xaa,
		0x28, 0x06, 0x00, 0x00, 0x00, 0x03, 0x01, 0x04, 'm',  'p'};
	struct radius_request request = request_of(&list);

	(void)state;
	assert_int_equal(request.len, sizeof(expected));
	assert_memory_equal(request.bytes, expected, sizeof(expected));
}

static void
test_a_vendors_attribute_is_wrapped_and_cut_to_its_room(void **state)
{
	struct radius_attributes list = {.count = 1};
	struct radius_request request;

	(void)state;
	list.items[0].name = RADIUS_SIP_FROM_TAG;
	list.items[0].len = 253;
	memset(list.items[0].value, 'x', 253);
	request = request_of(&list);
	assert_int_equal(request.len, 20 + 255);
	assert_memory_equal(request.bytes + 20, "\x1a\xff\0\0\x12\x34\x07\xf9x",
			    9);
}

static void test_the_longest_request_fits(void **state)
{
	struct radius_attributes list = {.count = RADIUS_NAME_COUNT};

	(void)state;
	for (size_t i = 0; i < RADIUS_NAME_COUNT; i++) {
		bool text = i == RADIUS_USER_NAME ||
			    i == RADIUS_ACCT_SESSION_ID ||
			    i >= RADIUS_SIP_FROM_TAG;

		list.items[i].name = (enum radius_name)i;
		list.items[i].len = text ? 253 : 16;
	}
	assert_true(request_of(&list).len <= RADIUS_MAX_PACKET);
}

/* An answer to the request, signed. */
static size_t answer(uint8_t bytes[static 64],
		     const struct radius_request *request, uint8_t code,
		     struct span secret)
{
	static const uint8_t proxy_state[] = {33, 4, 'a', 'b'};
	struct span pieces[] = {
		span_make(bytes, 4), span_make(request->bytes + 4, 16),
		span_make(proxy_state, sizeof(proxy_state)), secret};

	memcpy(bytes, (const uint8_t[]){code, request->bytes[1], 0, 24}, 4);
	memcpy(bytes + 20, proxy_state, sizeof(proxy_state));
	assert_int_equal(digest_md5(pieces, 4, bytes + 4), 0);
	return 24;
}

static enum radius_answer judge(const struct radius_request *request,
				const uint8_t *bytes, size_t len)
{
	return radius_response_judge(request, span_make(bytes, len), SECRET);
}

static void test_a_signed_response_is_taken(void **state)
{
	const struct radius_attributes nothing = {0};
	struct radius_request request = request_of(&nothing);
	uint8_t bytes[64] = {0};
	size_t len = answer(bytes, &request, 5, SECRET);

	(void)state;
	assert_int_equal(judge(&request, bytes, len), RADIUS_ANSWER_TAKEN);
	/* Padding is no part of it. */
	assert_int_equal(judge(&request, bytes, len + 9), RADIUS_ANSWER_TAKEN);
}

static void
test_a_response_of_another_secret_or_request_is_not_taken(void **state)
{
	const struct radius_attributes nothing = {0};
	struct radius_request request = request_of(&nothing);
	uint8_t bytes[64] = {0};
	size_t len = answer(bytes, &request, 5, SPAN("another"));

	(void)state;
	assert_int_equal(judge(&request, bytes, len), RADIUS_ANSWER_FORGED);
	len = answer(bytes, &request, 5, SECRET);
	bytes[23] ^= 1;
	assert_int_equal(judge(&request, bytes, len), RADIUS_ANSWER_FORGED);
	len = answer(bytes, &request, 3, SECRET);
	assert_int_equal(judge(&request, bytes, len), RADIUS_ANSWER_OTHER);
	len = answer(bytes, &request, 5, SECRET);
	bytes[1]++;
	assert_int_equal(judge(&request, bytes, len), RADIUS_ANSWER_STRAY);
}

static void test_pieces_are_no_response(void **state)
{
	const struct radius_attributes nothing = {0};
	struct radius_request request = request_of(&nothing);
	uint8_t bytes[64] = {0};
	size_t len = answer(bytes, &request, 5, SECRET);

	(void)state;
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(judge(&request, bytes, cut),
				 RADIUS_ANSWER_STRAY);
	bytes[3] = 19;
	assert_int_equal(judge(&request, bytes, len), RADIUS_ANSWER_STRAY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_is_what_the_standard_says),
		cmocka_unit_test(
			test_a_vendors_attribute_is_wrapped_and_cut_to_its_room),
		cmocka_unit_test(test_the_longest_request_fits),
		cmocka_unit_test(test_a_signed_response_is_taken),
		cmocka_unit_test(
			test_a_response_of_another_secret_or_request_is_not_taken),
		cmocka_unit_test(test_pieces_are_no_response),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
