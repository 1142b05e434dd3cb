#include "proto/rtp.h"

#include <errno.h>
#include <string.h>

#include "test.h"

static const uint8_t packet[] = {
	0x80, 0x88, 0x12, 0x34,       /* marker, payload type 8, sequence */
	0x00, 0x00, 0x00, 0xa0,       /* timestamp */
	0xde, 0xad, 0xbe, 0xef, 0xd5, /* SSRC, a byte of payload */
};

static void test_the_fixed_header_is_read(void **state)
{
	struct cursor in = cursor_over(packet, sizeof(packet));
	struct rtp_header h;

	(void)state;
	assert_int_equal(rtp_header_decode(&h, &in), 0);
	assert_true(h.marker);
	assert_false(h.padding);
	assert_false(h.extension);
	assert_int_equal(h.payload_type, 8);
	assert_int_equal(h.seq, 0x1234);
	assert_int_equal(h.timestamp, 0xa0);
	assert_int_equal(h.ssrc, 0xdeadbeef);
	assert_int_equal(cursor_left(&in), 1);
}

static void test_every_short_packet_is_refused(void **state)
{
	struct rtp_header h = {.seq = 77};

	(void)state;
	for (size_t len = 0; len < 12; len++) {
		struct cursor in = cursor_over(packet, len);

		assert_int_equal(rtp_header_decode(&h, &in), -EBADMSG);
		assert_int_equal(h.seq, 77);
	}
}

static void test_only_version_2_is_rtp(void **state)
{
	uint8_t other[sizeof(packet)];
	struct rtp_header h;

	(void)state;
	memcpy(other, packet, sizeof(packet));
	for (unsigned version = 0; version < 4; version++) {
		struct cursor in = cursor_over(other, sizeof(other));

		other[0] = (uint8_t)(version << 6);
		assert_int_equal(rtp_header_decode(&h, &in),
				 version == 2 ? 0 : -EBADMSG);
	}
}

static void test_csrc_list_and_extension_have_to_be_there(void **state)
{
	const uint8_t whole[] = {
		0x91, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, /* one CSRC, X */
		1,    2,    3, 4,                         /* the CSRC */
		0xbe, 0xde, 0, 2, 1, 1, 1, 1, 2, 2, 2, 2, /* 2 words */
		9,                                        /* payload */
	};
	struct rtp_header h;

	(void)state;
	for (size_t len = 0; len <= sizeof(whole); len++) {
		struct cursor in = cursor_over(whole, len);
		int err = rtp_header_decode(&h, &in);

		assert_int_equal(err, len < sizeof(whole) - 1 ? -EBADMSG : 0);
		if (err == 0)
			assert_int_equal(cursor_left(&in),
					 len - (sizeof(whole) - 1));
	}
	assert_int_equal(h.csrc_count, 1);
	assert_true(h.extension);
}

static void test_padding_is_between_one_and_all_of_the_payload(void **state)
{
	static const struct {
		uint8_t payload[3];
		size_t len;
		int err;
		uint8_t padding;
	} cases[] = {
		{{0, 0, 1}, 3, 0, 1},        {{0, 0, 3}, 3, 0, 3},
		{{0, 0, 4}, 3, -EBADMSG, 0}, {{0, 0, 0}, 3, -EBADMSG, 0},
		{{0}, 0, -EBADMSG, 0},
	};
	struct rtp_header h = {.padding = true};
	uint8_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cursor in = cursor_over(cases[i].payload, cases[i].len);

		len = 0;
		assert_int_equal(rtp_padding_len(&h, &in, &len), cases[i].err);
		assert_int_equal(len, cases[i].padding);
	}
	h.padding = false;
	len = 9;
	assert_int_equal(rtp_padding_len(&h, &(struct cursor){0}, &len), 0);
	assert_int_equal(len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_fixed_header_is_read),
		cmocka_unit_test(test_every_short_packet_is_refused),
		cmocka_unit_test(test_only_version_2_is_rtp),
		cmocka_unit_test(test_csrc_list_and_extension_have_to_be_there),
		cmocka_unit_test(
			test_padding_is_between_one_and_all_of_the_payload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
