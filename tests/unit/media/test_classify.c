#include "media/classify.h"

#include <string.h>

#include "media/held.h"
#include "media/learning.h"

#include "test.h"

static void test_rtp_has_a_sequence_an_ssrc_and_a_payload_type(void **state)
{
	const uint8_t packet[] = {0x80, 0x88, 0x12, 0x34, 0,    0,  0,
				  1,    0xde, 0xad, 0xbe, 0xef, 'a'};
	struct packet_facts p = packet_read(packet, sizeof(packet));

	(void)state;
	assert_int_equal(p.kind, PACKET_RTP);
	assert_true(p.has_seq);
	assert_true(p.has_ssrc);
	assert_false(p.single);
	assert_int_equal(p.payload_type, 8);
	assert_int_equal(p.seq, 0x1234);
	assert_int_equal(p.ssrc, 0xdeadbeef);
}

static void test_keepalives_and_comfort_noise_speak_for_themselves(void **state)
{
	uint8_t packet[13] = {0x80, 0, 0, 1};

	(void)state;
	assert_true(packet_read(packet, 12).single); /* RTP without payload */
	assert_false(packet_read(packet, 13).single);
	packet[1] = 13;
	assert_true(packet_read(packet, 13).single);
	packet[1] = 19;
	assert_true(packet_read(packet, 13).single);
	assert_true(packet_read(NULL, 0).single);
	assert_true(packet_read("\r\n", 2).single);
	assert_true(packet_read("\0\0\0\0", 4).single);
}

static void test_rtcp_has_its_senders_ssrc_and_proves_nothing_else(void **state)
{
	const uint8_t packet[] = {0x80, 201, 0, 1, 0, 0, 0, 9};
	struct packet_facts p = packet_read(packet, sizeof(packet));

	(void)state;
	assert_int_equal(p.kind, PACKET_RTCP);
	assert_true(p.has_ssrc);
	assert_int_equal(p.ssrc, 9);
	assert_false(p.has_seq);
	assert_false(p.single);
	assert_int_equal(p.payload_type, -1);
}

static void test_stun_has_no_facts_at_all(void **state)
{
	const uint8_t packet[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
	struct packet_facts p = packet_read(packet, sizeof(packet));

	(void)state;
	assert_int_equal(p.kind, PACKET_STUN);
	assert_false(p.single || p.has_seq || p.has_ssrc);
	assert_int_equal(p.payload_type, -1);
}

static void test_udptl_has_a_sequence(void **state)
{
	const uint8_t packet[] = {0, 7, 1, 2, 3};
	struct packet_facts p = packet_read(packet, sizeof(packet));

	(void)state;
	assert_int_equal(p.kind, PACKET_OTHER);
	assert_true(p.has_seq);
	assert_true(p.single);
	assert_int_equal(p.seq, 7);
}

static void
test_rtp_that_is_cut_short_has_no_ssrc_to_prove_itself_by(void **state)
{
	/* says that 15 CSRCs follow */
	const uint8_t packet[16] = {0x8f, 0};
	struct packet_facts p = packet_read(packet, sizeof(packet));

	(void)state;
	assert_int_equal(p.kind, PACKET_RTP);
	assert_false(p.has_ssrc || p.has_seq || p.single);
}

static void hold(struct held *held, struct held_budget *budget, uint8_t byte)
{
	const struct endpoint source = {.port = byte};
	const struct packet_facts facts = {0};

	held_add(held, budget, &source, &facts, &byte, 1, byte);
}

static void test_on_a_stream_of_t38_all_but_stun_is_udptl(void **state)
{
	/* sequence numbers that look like DTLS, RTP, RTCP, ZRTP, and a TURN
	 * channel */
	static const uint8_t firsts[] = {0x14, 0x80, 0x81, 0x10, 0x40};

	(void)state;
	for (size_t i = 0; i < sizeof(firsts); i++) {
		uint8_t packet[40] = {firsts[i], 0xc8, 0xfe, 0xfd};
		struct packet_facts p =
			packet_read_udptl(packet, sizeof(packet));

		assert_int_equal(p.kind, PACKET_OTHER);
		assert_true(p.has_seq);
		assert_int_equal(p.seq, firsts[i] << 8 | 0xc8);
		assert_int_equal(p.payload_type, -1);
	}
	assert_int_equal(packet_read_udptl("", 0).kind, PACKET_EMPTY);
}

static void test_the_latest_eight_are_held_in_order(void **state)
{
	struct held_budget budget = {0};
	struct held held = {0};

	(void)state;
	for (uint8_t i = 1; i <= 11; i++)
		hold(&held, &budget, i);
	for (uint8_t i = 4; i <= 11; i++) {
		struct held_packet *packet = held_take(&held);

		assert_int_equal(packet->data[0], i);
		assert_int_equal(packet->arrived_us, i);
		held_packet_free(packet, &budget);
	}
	assert_null(held_take(&held));
	assert_int_equal(budget.bytes, 0);
}

static void test_what_is_held_is_bounded_in_bytes_over_all(void **state)
{
	static uint8_t large[HELD_MOST_LEN];
	static struct held held[3000];
	struct held_budget budget = {0};
	const struct endpoint source = {0};
	const struct packet_facts facts = {0};
	unsigned lost = 0;

	(void)state;
	for (unsigned i = 0; i < 3000; i++)
		lost += held_add(&held[i], &budget, &source, &facts, large,
				 sizeof(large), 1);
	assert_int_equal(lost,
			 3000 - HELD_MOST_BYTES / (sizeof(struct held_packet) +
						   sizeof(large)));
	assert_true(budget.bytes <= HELD_MOST_BYTES);
	for (unsigned i = 0; i < 3000; i++)
		lost += held_clear(&held[i], &budget);
	assert_int_equal(lost, 3000);
	assert_int_equal(budget.bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_rtp_has_a_sequence_an_ssrc_and_a_payload_type),
		cmocka_unit_test(
			test_keepalives_and_comfort_noise_speak_for_themselves),
		cmocka_unit_test(
			test_rtcp_has_its_senders_ssrc_and_proves_nothing_else),
		cmocka_unit_test(test_stun_has_no_facts_at_all),
		cmocka_unit_test(test_udptl_has_a_sequence),
		cmocka_unit_test(test_on_a_stream_of_t38_all_but_stun_is_udptl),
		cmocka_unit_test(
			test_rtp_that_is_cut_short_has_no_ssrc_to_prove_itself_by),
		cmocka_unit_test(test_the_latest_eight_are_held_in_order),
		cmocka_unit_test(
			test_what_is_held_is_bounded_in_bytes_over_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
