#include "proto/rtcp.h"

#include <errno.h>

#include "test.h"

static void test_sender_of_the_first_packet_is_read(void **state)
{
	/* A receiver report of no source, and an SDES behind it. */
	const uint8_t compound[] = {
		0x80, 201, 0, 1, 0xca, 0xfe, 0xba, 0xbe, 0x81, 202,
		0,    2,   1, 2, 3,    4,    0,    0,    0,    0,
	};
	struct cursor in = cursor_over(compound, sizeof(compound));
	struct rtcp_header h;

	(void)state;
	assert_int_equal(rtcp_header_decode(&h, &in), 0);
	assert_int_equal(h.type, RTCP_RECEIVER_REPORT);
	assert_int_equal(h.count, 0);
	assert_int_equal(h.len, 8);
	assert_int_equal(h.sender_ssrc, 0xcafebabe);
	assert_int_equal(cursor_left(&in), sizeof(compound) - 8);
}

static void test_what_is_no_rtcp_is_refused(void **state)
{
	static const struct {
		uint8_t data[12];
		size_t len;
		int err;
	} cases[] = {
		{{0x80, 200, 0, 2, 1, 2, 3, 4}, 12, 0},
		{{0x80, 200, 0, 1, 1, 2, 3, 4}, 8, 0},
		{{0x81, 207, 0, 1, 1, 2, 3, 4}, 8, 0},
		{{0x80, 200, 0, 2, 1, 2, 3, 4}, 11, -EBADMSG}, /* too short */
		{{0x80, 200, 0, 1, 1, 2, 3}, 7, -EBADMSG},
		{{0x80, 203, 0, 0, 1, 2, 3, 4}, 8, -EBADMSG}, /* no sender */
		{{0x40, 200, 0, 1, 1, 2, 3, 4}, 8, -EBADMSG}, /* version 1 */
		{{0x80, 191, 0, 1, 1, 2, 3, 4}, 8, -EBADMSG}, /* no type */
		{{0x80, 224, 0, 1, 1, 2, 3, 4}, 8, -EBADMSG},
		{{0}, 0, -EBADMSG},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cursor in = cursor_over(cases[i].data, cases[i].len);
		struct rtcp_header h = {.type = 1};

		assert_int_equal(rtcp_header_decode(&h, &in), cases[i].err);
		if (cases[i].err)
			assert_int_equal(h.type, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sender_of_the_first_packet_is_read),
		cmocka_unit_test(test_what_is_no_rtcp_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
