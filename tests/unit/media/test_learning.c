#include "learning_scene.h"

/* ---- ranks ---- */

static void
test_the_address_in_the_sdp_is_confirmed_by_its_first_packet(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	assert_confirmed(sent(&s, SDP_ADDRESS, rtp(1)), RULE_SDP);
	assert_remote(&s, SDP_ADDRESS);
	assert_verdict(sent(&s, SDP_ADDRESS, rtp(2)), LEARNING_HEAR);
}

static void
test_another_port_of_the_ip_in_the_sdp_is_confirmed_at_once(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	assert_confirmed(sent(&s, SDP_IP_OTHER_PORT, rtp(1)), RULE_KNOWN_IP);
}

static void test_the_signalling_ip_is_confirmed_at_once(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	assert_confirmed(sent(&s, SIGNALLING_SOURCE, rtp(1)), RULE_KNOWN_IP);
}

static void test_ranks_1_and_2_are_confirmed_before_the_answer_too(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	s.facts.opened_us = 0;
	assert_confirmed(sent(&s, SIGNALLING_SOURCE, rtp(1)), RULE_KNOWN_IP);
	assert_confirmed(sent(&s, SDP_ADDRESS, rtp(1)), RULE_SDP);
}

static void test_any_packet_of_rank_1_or_2_but_stun_confirms(void **state)
{
	const struct packet_facts packets[] = {
		rtp(1),
		rtcp(1),
		single(PACKET_DTLS),
		single(PACKET_ZRTP),
		udptl(1),
		single(PACKET_EMPTY),
		single(PACKET_TURN_CHANNEL),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
		struct scene s;

		start(&s, COMPONENT_RTP);
		assert_confirmed(sent(&s, SDP_ADDRESS, packets[i]), RULE_SDP);
	}
}

static void test_the_remote_of_another_stream_is_known(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	s.known[s.known_count++] =
		(struct learning_known){endpoint(STRANGER).ip, RANK_PROVED_IP};
	s.facts.known_count = s.known_count;
	s.facts.opened_us = 0;
	assert_confirmed(sent(&s, STRANGER, rtp(1)), RULE_KNOWN_IP);
}

static void
test_an_ip_that_is_known_in_two_ways_has_the_better_rank(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	s.known[1] =
		(struct learning_known){endpoint(STRANGER).ip, RANK_KNOWN_IP};
	s.known[2] =
		(struct learning_known){endpoint(STRANGER).ip, RANK_PROVED_IP};
	s.facts.known_count = 3;
	assert_confirmed(sent(&s, STRANGER, rtp(1)), RULE_KNOWN_IP);
	assert_int_equal(s.l.rank, RANK_KNOWN_IP);
}

static void test_rank_1_replaces_rank_2_at_any_time(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	assert_confirmed(sent(&s, SIGNALLING_SOURCE, rtp(1)), RULE_KNOWN_IP);
	wait_us(&s, 3600000000u);
	sent(&s, SIGNALLING_SOURCE, rtp(2));
	assert_confirmed(sent(&s, SDP_ADDRESS, rtp(1)), RULE_SDP);
	assert_remote(&s, SDP_ADDRESS);
}

static void test_rank_2_replaces_a_proved_stranger_at_any_time(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	prove(&s, STRANGER, 1);
	wait_us(&s, 3600000000u);
	sent(&s, STRANGER, rtp(5));
	assert_confirmed(sent(&s, SIGNALLING_SOURCE, rtp_of(9, 1)),
			 RULE_KNOWN_IP);
	assert_dropped(sent(&s, STRANGER, rtp(6)), DROP_NOT_THE_REMOTE);
}

static void test_an_equal_or_worse_rank_replaces_nobody(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SIGNALLING_SOURCE, rtp(1));
	assert_dropped(sent(&s, SDP_IP_OTHER_PORT, rtp_of(9, 1)),
		       DROP_NOT_THE_REMOTE);
	assert_dropped(sent(&s, STRANGER, rtp_of(9, 1)), DROP_NOT_THE_REMOTE);
	assert_remote(&s, SIGNALLING_SOURCE);
}

static void
test_the_ip_of_a_thrown_out_stranger_gives_way_elsewhere_too(void **state)
{
	struct scene s;

	/* It proved itself at RTP, so its IP was known when RTCP came. */
	(void)state;
	start(&s, COMPONENT_RTCP);
	s.known[s.known_count++] =
		(struct learning_known){endpoint(STRANGER).ip, RANK_PROVED_IP};
	s.facts.known_count = s.known_count;
	assert_confirmed(sent(&s, STRANGER, rtcp(7)), RULE_KNOWN_IP);
	assert_confirmed(sent(&s, SIGNALLING_SOURCE, rtcp(8)), RULE_KNOWN_IP);
}

static void test_another_port_of_a_proved_stranger_is_no_better(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	prove(&s, STRANGER, 1);
	s.known[s.known_count++] =
		(struct learning_known){endpoint(STRANGER).ip, RANK_PROVED_IP};
	s.facts.known_count = s.known_count;
	assert_dropped(sent(&s, "192.0.2.66:9999", rtp_of(9, 1)),
		       DROP_NOT_THE_REMOTE);
}

/* ---- when rank 3 opens ---- */

static void test_a_stranger_is_dropped_before_the_answer(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	s.facts.opened_us = 0;
	for (uint16_t seq = 1; seq < 20; seq++) {
		assert_dropped(sent(&s, STRANGER, rtp(seq)), DROP_NOT_OPEN);
		wait_us(&s, 20000);
	}
}

static void
test_a_stranger_is_dropped_until_settle_time_after_the_answer(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	s.facts.now_us = OPENED;
	assert_dropped(sent(&s, STRANGER, rtp(1)), DROP_NOT_OPEN);
	s.facts.now_us = OPENED + SETTLE - 1;
	assert_dropped(sent(&s, STRANGER, rtp(2)), DROP_NOT_OPEN);
	s.facts.now_us = OPENED + SETTLE;
	assert_verdict(sent(&s, STRANGER, rtp(3)), LEARNING_HOLD);
}

static void test_rank_3_stays_closed_once_rank_1_or_2_came(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	s.facts.now_us = OPENED + 1;
	sent(&s, SIGNALLING_SOURCE, rtp(1));
	wait_us(&s, 10 * SETTLE);
	for (uint16_t seq = 100; seq < 120; seq++)
		assert_dropped(sent(&s, STRANGER, rtp_of(9, seq)),
			       DROP_NOT_THE_REMOTE);
}

static void test_strict_has_no_rank_3(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	s.config.mode = LEARNING_STRICT;
	for (uint16_t seq = 1; seq < 20; seq++)
		assert_dropped(sent(&s, STRANGER, rtp(seq)), DROP_STRICT);
	assert_confirmed(sent(&s, SIGNALLING_SOURCE, rtp(1)), RULE_KNOWN_IP);
	wait_us(&s, SILENCE);
	assert_dropped(sent(&s, STRANGER, rtp(2)), DROP_NOT_THE_REMOTE);
}

/* ---- proof ---- */

static void test_four_rtp_packets_in_sequence_prove_a_stranger(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	prove(&s, STRANGER, 65534);
	assert_remote(&s, STRANGER);
	assert_false(learning_is_waiting(&s.l));
}

static void test_the_sequence_may_advance_by_16_but_not_by_17(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, STRANGER, rtp(1));
	sent(&s, STRANGER, rtp(17));
	sent(&s, STRANGER, rtp(33));
	assert_confirmed(sent(&s, STRANGER, rtp(49)), RULE_PROVED);

	start(&s, COMPONENT_RTP);
	sent(&s, STRANGER, rtp(1));
	sent(&s, STRANGER, rtp(2));
	sent(&s, STRANGER, rtp(3));
	assert_verdict(sent(&s, STRANGER, rtp(20)), LEARNING_HOLD);
	sent(&s, STRANGER, rtp(21));
	sent(&s, STRANGER, rtp(22));
	assert_confirmed(sent(&s, STRANGER, rtp(23)), RULE_PROVED);
}

static void test_a_standing_sequence_proves_nothing(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	for (unsigned i = 0; i < 50; i++)
		assert_verdict(sent(&s, STRANGER, rtp(7)), LEARNING_HOLD);
}

static void test_the_proof_is_of_one_ssrc(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	for (uint16_t seq = 0; seq < 40; seq++)
		assert_verdict(sent(&s, STRANGER, rtp_of(seq % 2, seq)),
			       LEARNING_HOLD);
}

static void test_the_proof_is_of_one_source(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	for (uint16_t seq = 0; seq < 3; seq++) {
		assert_verdict(sent(&s, STRANGER, rtp(seq)), LEARNING_HOLD);
		assert_verdict(sent(&s, STRANGER_B, rtp(seq)), LEARNING_HOLD);
	}
	assert_confirmed(sent(&s, STRANGER_B, rtp(3)), RULE_PROVED);
	assert_dropped(sent(&s, STRANGER, rtp_of(9, 3)), DROP_NOT_THE_REMOTE);
}

static void test_a_spray_of_single_packets_does_not_stop_a_proof(void **state)
{
	static const char *const spray[] = {"192.0.2.70:1", "192.0.2.70:2",
					    "192.0.2.70:3"};
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	for (uint16_t seq = 0; seq < 3; seq++) {
		assert_verdict(sent(&s, STRANGER, rtp(seq)), LEARNING_HOLD);
		wait_us(&s, 20000);
		sent(&s, spray[seq], rtp_of(seq, 1));
	}
	assert_confirmed(sent(&s, STRANGER, rtp(3)), RULE_PROVED);
}

static void
test_one_packet_of_other_kinds_proves_after_settle_time(void **state)
{
	struct packet_facts comfort_noise = rtp(1);
	const struct packet_facts packets[] = {
		single(PACKET_DTLS),  single(PACKET_ZRTP), udptl(0),
		single(PACKET_EMPTY), comfort_noise,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
		struct packet_facts packet = packets[i];
		struct scene s;

		packet.single = true;
		start(&s, COMPONENT_RTP);
		assert_verdict(sent(&s, STRANGER, packet), LEARNING_HOLD);
		assert_true(learning_is_waiting(&s.l));
		wait_us(&s, SETTLE - 1);
		assert_false(learning_tick(&s.l, &s.facts));
		wait_us(&s, 1);
		assert_true(learning_tick(&s.l, &s.facts));
		assert_remote(&s, STRANGER);
		assert_int_equal(s.l.rule, RULE_PROVED);
		assert_int_equal(s.l.rank, RANK_STRANGER);
	}
}

static void
test_a_rival_within_settle_time_spoils_the_single_packet(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, STRANGER, single(PACKET_DTLS));
	wait_us(&s, SETTLE - 1);
	assert_verdict(sent(&s, STRANGER_B, single(PACKET_DTLS)),
		       LEARNING_HOLD);
	for (unsigned i = 0; i < 4; i++) {
		wait_us(&s, SETTLE / 2);
		assert_false(learning_tick(&s.l, &s.facts));
	}
	/* Neither has it; who speaks again, alone, gets it. */
	assert_verdict(sent(&s, STRANGER, single(PACKET_DTLS)), LEARNING_HOLD);
	wait_us(&s, SETTLE);
	assert_true(learning_tick(&s.l, &s.facts));
	assert_remote(&s, STRANGER);
}

static void
test_a_later_packet_of_the_lone_candidate_confirms_without_a_tick(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, STRANGER, udptl(0));
	wait_us(&s, SETTLE);
	assert_confirmed(sent(&s, STRANGER, udptl(1)), RULE_PROVED);
}

static void test_plain_rtp_does_not_speak_for_itself_by_one_packet(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, STRANGER, rtp(1));
	wait_us(&s, SETTLE);
	assert_false(learning_tick(&s.l, &s.facts));
}

static void test_rtcp_proves_itself_by_the_ssrc_of_confirmed_rtp(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTCP);
	assert_dropped(sent(&s, STRANGER, rtcp(RTP_SSRC)), DROP_NOT_PROVED);
	s.facts.has_rtp_ssrc = true;
	s.facts.rtp_ssrc = RTP_SSRC;
	assert_dropped(sent(&s, STRANGER, rtcp(RTP_SSRC + 1)), DROP_NOT_PROVED);
	assert_confirmed(sent(&s, STRANGER, rtcp(RTP_SSRC)), RULE_PROVED);
}

static void test_a_candidate_that_falls_silent_is_forgotten(void **state)
{
	struct scene s;
	struct endpoint stranger = endpoint(STRANGER);

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, STRANGER, rtp(1));
	sent(&s, STRANGER, rtp(2));
	sent(&s, STRANGER, rtp(3));
	assert_true(learning_is_candidate(&s.l, &stranger));
	wait_us(&s, LEARNING_CANDIDATE_US);
	assert_false(learning_tick(&s.l, &s.facts));
	assert_false(learning_is_candidate(&s.l, &stranger));
	assert_false(learning_is_waiting(&s.l));
	assert_verdict(sent(&s, STRANGER, rtp(4)), LEARNING_HOLD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_the_address_in_the_sdp_is_confirmed_by_its_first_packet),
		cmocka_unit_test(
			test_another_port_of_the_ip_in_the_sdp_is_confirmed_at_once),
		cmocka_unit_test(test_the_signalling_ip_is_confirmed_at_once),
		cmocka_unit_test(
			test_ranks_1_and_2_are_confirmed_before_the_answer_too),
		cmocka_unit_test(
			test_any_packet_of_rank_1_or_2_but_stun_confirms),
		cmocka_unit_test(test_the_remote_of_another_stream_is_known),
		cmocka_unit_test(
			test_an_ip_that_is_known_in_two_ways_has_the_better_rank),
		cmocka_unit_test(test_rank_1_replaces_rank_2_at_any_time),
		cmocka_unit_test(
			test_rank_2_replaces_a_proved_stranger_at_any_time),
		cmocka_unit_test(test_an_equal_or_worse_rank_replaces_nobody),
		cmocka_unit_test(
			test_the_ip_of_a_thrown_out_stranger_gives_way_elsewhere_too),
		cmocka_unit_test(
			test_another_port_of_a_proved_stranger_is_no_better),
		cmocka_unit_test(test_a_stranger_is_dropped_before_the_answer),
		cmocka_unit_test(
			test_a_stranger_is_dropped_until_settle_time_after_the_answer),
		cmocka_unit_test(
			test_rank_3_stays_closed_once_rank_1_or_2_came),
		cmocka_unit_test(test_strict_has_no_rank_3),
		cmocka_unit_test(
			test_four_rtp_packets_in_sequence_prove_a_stranger),
		cmocka_unit_test(
			test_the_sequence_may_advance_by_16_but_not_by_17),
		cmocka_unit_test(test_a_standing_sequence_proves_nothing),
		cmocka_unit_test(test_the_proof_is_of_one_ssrc),
		cmocka_unit_test(test_the_proof_is_of_one_source),
		cmocka_unit_test(
			test_a_spray_of_single_packets_does_not_stop_a_proof),
		cmocka_unit_test(
			test_one_packet_of_other_kinds_proves_after_settle_time),
		cmocka_unit_test(
			test_a_rival_within_settle_time_spoils_the_single_packet),
		cmocka_unit_test(
			test_a_later_packet_of_the_lone_candidate_confirms_without_a_tick),
		cmocka_unit_test(
			test_plain_rtp_does_not_speak_for_itself_by_one_packet),
		cmocka_unit_test(
			test_rtcp_proves_itself_by_the_ssrc_of_confirmed_rtp),
		cmocka_unit_test(
			test_a_candidate_that_falls_silent_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
