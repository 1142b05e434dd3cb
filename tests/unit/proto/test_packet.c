#include "proto/packet.h"

#include <errno.h>
#include <string.h>

#include "test.h"

struct sample {
	uint8_t data[20];
	size_t len;
	enum packet_kind kind;
};

static const struct sample samples[] = {
	{{0}, 0, PACKET_EMPTY},
	{{0}, 1, PACKET_OTHER}, /* keepalives */
	{{0}, 4, PACKET_OTHER},
	{{'\r', '\n', '\r', '\n'}, 4, PACKET_OTHER},
	/* STUN has to be STUN: T.38 begins with sequence number 0. */
	{{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, 20, PACKET_STUN},
	{{1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, 20, PACKET_STUN},
	{{4, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, 20, PACKET_OTHER},
	{{0, 0, 1, 0xc0, 0, 0, 0}, 7, PACKET_OTHER},
	{{3, 0xff, 1, 0xc0, 0, 0, 0}, 20, PACKET_OTHER},
	{{0x10, 0, 0, 1, 'Z', 'R', 'T', 'P'}, 20, PACKET_ZRTP},
	{{0x13, 0, 0, 1, 'Z', 'R', 'T', 'P'}, 20, PACKET_ZRTP},
	{{0x10, 0, 0, 1, 'Z', 'R', 'T', 'Q'}, 20, PACKET_OTHER},
	{{0x10, 0, 0, 1, 'Z', 'R', 'T', 'P'}, 11, PACKET_OTHER},
	{{22, 0xfe, 0xff}, 13, PACKET_DTLS},
	{{20, 0xfe, 0xfd}, 20, PACKET_DTLS},
	{{31, 0xfe, 0xfd}, 20, PACKET_DTLS},
	{{22, 0xfe, 0xfd}, 12, PACKET_OTHER},
	{{22, 3, 1}, 20, PACKET_OTHER}, /* TLS, or UDPTL */
	{{19, 0xfe, 0xfd}, 20, PACKET_OTHER},
	{{0x2f, 1, 2, 3}, 4, PACKET_DTLS}, /* DTLS 1.3 */
	{{63, 0}, 20, PACKET_DTLS},
	{{64, 0, 0, 0}, 4, PACKET_TURN_CHANNEL},
	{{79, 0, 0, 0}, 4, PACKET_TURN_CHANNEL},
	{{64, 0, 0}, 3, PACKET_OTHER},
	{{80}, 20, PACKET_OTHER},
	{{127}, 20, PACKET_OTHER},
	{{0x80, 0}, 12, PACKET_RTP},
	{{0x80, 0}, 11, PACKET_OTHER},
	{{0xbf, 0x7f}, 20, PACKET_RTP},
	{{0x80, 63}, 20, PACKET_RTP},
	{{0x80, 64}, 20, PACKET_RTCP}, /* 192 */
	{{0x80, 200}, 8, PACKET_RTCP},
	{{0x80, 200}, 7, PACKET_OTHER},
	{{0x80, 223}, 8, PACKET_RTCP},
	{{0x80, 224}, 20, PACKET_RTP},
	{{0x80, 96}, 20, PACKET_RTP},
	{{0xc0, 0}, 20, PACKET_OTHER},
	{{0xff}, 20, PACKET_OTHER},
};

static void test_each_datagram_is_of_its_kind(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *s = &samples[i];
		enum packet_kind kind = packet_classify(s->data, s->len);

		if (kind != s->kind)
			fail_msg("sample %zu is %s, should be %s", i,
				 packet_kind_name(kind),
				 packet_kind_name(s->kind));
	}
}

static void test_every_kind_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(packet_kind_name(PACKET_RTP), "RTP");
	assert_string_equal(packet_kind_name(PACKET_OTHER), "other");
	for (int i = 0; i < PACKET_KIND_COUNT; i++)
		for (int j = 0; j < i; j++)
			assert_string_not_equal(
				packet_kind_name((enum packet_kind)i),
				packet_kind_name((enum packet_kind)j));
}

static void test_udptl_begins_with_its_sequence_number(void **state)
{
	const uint8_t data[] = {0x12, 0x34, 1, 0};
	uint16_t seq = 7;

	(void)state;
	assert_int_equal(udptl_seq(data, 2, &seq), -EBADMSG);
	assert_int_equal(seq, 7);
	assert_int_equal(udptl_seq(data, sizeof(data), &seq), 0);
	assert_int_equal(seq, 0x1234);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_datagram_is_of_its_kind),
		cmocka_unit_test(test_every_kind_has_a_name),
		cmocka_unit_test(test_udptl_begins_with_its_sequence_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
