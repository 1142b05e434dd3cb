#include "learning_scene.h"

/* ---- after confirmation ---- */

static void test_after_confirmation_only_the_remote_is_heard(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SDP_ADDRESS, rtp(1));
	assert_dropped(sent(&s, SIGNALLING_SOURCE, rtp(2)),
		       DROP_NOT_THE_REMOTE);
	assert_dropped(sent(&s, STRANGER, single(PACKET_DTLS)),
		       DROP_NOT_THE_REMOTE);
	assert_dropped(sent(&s, STRANGER, stun()), DROP_NOT_THE_REMOTE);
	assert_verdict(sent(&s, SDP_ADDRESS, single(PACKET_DTLS)),
		       LEARNING_HEAR);
	assert_verdict(sent(&s, SDP_ADDRESS, stun()), LEARNING_HEAR);
}

static void test_new_sdp_makes_the_old_remote_a_stranger(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SDP_ADDRESS, rtp(1));
	new_sdp(&s, "198.51.100.7:8000");
	assert_remote(&s, "none");
	/* Its IP address is that of the SDP, and yet: */
	assert_dropped(sent(&s, SDP_ADDRESS, rtp(2)), DROP_NOT_OPEN);
	assert_confirmed(sent(&s, "198.51.100.7:8000", rtp(1)), RULE_SDP);
	assert_dropped(sent(&s, SDP_ADDRESS, rtp(3)), DROP_NOT_THE_REMOTE);
}

static void
test_a_replaced_remote_may_prove_itself_after_settle_time(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SIGNALLING_SOURCE, rtp(1));
	new_sdp(&s, "198.51.100.7:8000");
	wait_us(&s, SETTLE - 1);
	assert_dropped(sent(&s, SIGNALLING_SOURCE, rtp(2)), DROP_NOT_OPEN);
	wait_us(&s, 1);
	prove(&s, SIGNALLING_SOURCE, 3);
	assert_int_equal(s.l.rank, RANK_STRANGER);
}

static void test_a_replaced_remote_that_new_sdp_names_is_rank_1(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SIGNALLING_SOURCE, rtp(1));
	new_sdp(&s, SIGNALLING_SOURCE);
	assert_confirmed(sent(&s, SIGNALLING_SOURCE, rtp(2)), RULE_SDP);
}

static void
test_a_replaced_remote_is_itself_again_when_its_sdp_comes_back(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	s.config.mode = LEARNING_STRICT;
	sent(&s, SIGNALLING_SOURCE, rtp(1));
	new_sdp(&s, "198.51.100.200:9000"); /* music on hold */
	assert_confirmed(sent(&s, "198.51.100.200:9000", rtp_of(9, 1)),
			 RULE_SDP);
	assert_dropped(sent(&s, SIGNALLING_SOURCE, rtp(2)),
		       DROP_NOT_THE_REMOTE);
	new_sdp(&s, SDP_ADDRESS);
	assert_dropped(sent(&s, "198.51.100.200:9000", rtp_of(9, 2)),
		       DROP_STRICT);
	assert_confirmed(sent(&s, SIGNALLING_SOURCE, rtp(3)), RULE_KNOWN_IP);
}

static void test_new_sdp_drops_what_candidates_had_proved(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	for (uint16_t seq = 1; seq <= 3; seq++)
		sent(&s, STRANGER, rtp(seq));
	new_sdp(&s, "198.51.100.7:8000");
	assert_false(learning_is_waiting(&s.l));
	wait_us(&s, SETTLE);
	assert_verdict(sent(&s, STRANGER, rtp(4)), LEARNING_HOLD);
}

/* ---- rebinding ---- */

static void
test_the_same_ssrc_goes_on_from_a_new_address_after_silence(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SDP_ADDRESS, rtp(100));
	wait_us(&s, SILENCE - 1);
	assert_dropped(sent(&s, STRANGER, rtp(101)), DROP_NOT_THE_REMOTE);
	wait_us(&s, 1);
	assert_confirmed(sent(&s, STRANGER, rtp(102)), RULE_REBIND);
	assert_remote(&s, STRANGER);
	assert_verdict(sent(&s, STRANGER, rtp(103)), LEARNING_HEAR);
	/* and the address in the SDP takes the call back */
	assert_confirmed(sent(&s, SDP_ADDRESS, rtp(104)), RULE_SDP);
}

static void test_a_keepalive_does_not_make_the_ssrc_forgotten(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SDP_ADDRESS, rtp(100));
	sent(&s, SDP_ADDRESS, udptl(0)); /* four bytes of zero */
	wait_us(&s, SILENCE);
	assert_dropped(sent(&s, SDP_IP_OTHER_PORT, udptl(1)),
		       DROP_NOT_THE_REMOTE);
	assert_confirmed(sent(&s, STRANGER, rtp(101)), RULE_REBIND);
}

static void test_another_ssrc_does_not_rebind(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SDP_ADDRESS, rtp(100));
	wait_us(&s, 10 * SILENCE);
	assert_dropped(sent(&s, STRANGER, rtp_of(RTP_SSRC + 1, 101)),
		       DROP_NOT_THE_REMOTE);
}

static void test_a_far_or_old_sequence_does_not_rebind(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SDP_ADDRESS, rtp(100));
	sent(&s, SDP_ADDRESS, rtp(99)); /* reordered: 100 stays the highest */
	wait_us(&s, 10 * SILENCE);
	assert_dropped(sent(&s, STRANGER, rtp(100)), DROP_NOT_THE_REMOTE);
	assert_dropped(sent(&s, STRANGER, rtp(90)), DROP_NOT_THE_REMOTE);
	assert_dropped(sent(&s, STRANGER, rtp(100 + LEARNING_REBIND_STEP + 1)),
		       DROP_NOT_THE_REMOTE);
	assert_confirmed(sent(&s, STRANGER, rtp(100 + LEARNING_REBIND_STEP)),
			 RULE_REBIND);
}

static void
test_after_a_hold_a_known_ip_comes_back_with_another_ssrc(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SIGNALLING_SOURCE, rtp(100));
	wait_us(&s, 10 * SILENCE);
	assert_dropped(sent(&s, SIGNALLING ":7001", rtp_of(5, 1)),
		       DROP_NOT_THE_REMOTE);
	s.facts.resumed_us = s.facts.now_us;
	assert_dropped(sent(&s, STRANGER, rtp_of(5, 1)), DROP_NOT_THE_REMOTE);
	assert_dropped(sent(&s, STRANGER, stun()), DROP_NOT_THE_REMOTE);
	/* a stranger that proved itself elsewhere in the session */
	s.known[s.known_count++] =
		(struct learning_known){address("192.0.2.66"), RANK_PROVED_IP};
	s.facts.known_count = s.known_count;
	assert_dropped(sent(&s, STRANGER, rtp_of(5, 1)), DROP_NOT_THE_REMOTE);
	assert_confirmed(sent(&s, SIGNALLING ":7001", rtp_of(5, 2)),
			 RULE_KNOWN_IP);
	/* once: it has been heard since */
	wait_us(&s, 10 * SILENCE);
	assert_dropped(sent(&s, SIGNALLING ":7002", rtp_of(6, 1)),
		       DROP_NOT_THE_REMOTE);
}

static void
test_after_a_hold_a_phone_that_proved_itself_comes_back(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	prove(&s, STRANGER, 1);
	s.known[s.known_count++] =
		(struct learning_known){address("192.0.2.66"), RANK_PROVED_IP};
	s.facts.known_count = s.known_count;
	wait_us(&s, SILENCE);
	assert_dropped(sent(&s, "192.0.2.66:1025", rtp_of(5, 1)),
		       DROP_NOT_THE_REMOTE);
	s.facts.resumed_us = s.facts.now_us;
	assert_confirmed(sent(&s, "192.0.2.66:1025", rtp_of(5, 2)),
			 RULE_KNOWN_IP);
}

static void
test_after_a_hold_a_remote_that_speaks_keeps_its_stream(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SIGNALLING_SOURCE, rtp(100));
	wait_us(&s, SILENCE - 2);
	s.facts.resumed_us = s.facts.now_us;
	wait_us(&s, 1); /* it was heard a moment ago, and is not silent */
	assert_dropped(sent(&s, SIGNALLING ":7001", rtp_of(5, 1)),
		       DROP_NOT_THE_REMOTE);
	assert_verdict(sent(&s, SIGNALLING_SOURCE, rtp(101)), LEARNING_HEAR);
	wait_us(&s, 10 * SILENCE);
	assert_dropped(sent(&s, SIGNALLING ":7001", rtp_of(5, 1)),
		       DROP_NOT_THE_REMOTE);
}

static void test_stun_of_the_remote_does_not_break_its_silence(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SDP_ADDRESS, rtp(100));
	wait_us(&s, SILENCE);
	assert_verdict(sent(&s, SDP_ADDRESS, stun()), LEARNING_HEAR);
	assert_confirmed(sent(&s, STRANGER, rtp(101)), RULE_REBIND);
}

static void test_udptl_goes_on_from_another_port_of_the_same_ip(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SDP_ADDRESS, udptl(10));
	assert_dropped(sent(&s, SDP_IP_OTHER_PORT, udptl(11)),
		       DROP_NOT_THE_REMOTE);
	wait_us(&s, SILENCE);
	assert_dropped(sent(&s, STRANGER, udptl(11)), DROP_NOT_THE_REMOTE);
	assert_dropped(sent(&s, SDP_IP_OTHER_PORT, udptl(10)),
		       DROP_NOT_THE_REMOTE);
	assert_confirmed(sent(&s, SDP_IP_OTHER_PORT, udptl(11)), RULE_REBIND);
}

static void test_rtcp_follows_its_rtp_to_a_known_ip(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTCP);
	s.facts.has_rtp_ssrc = true;
	s.facts.rtp_ssrc = RTP_SSRC;
	sent(&s, SDP_ADDRESS, rtcp(RTP_SSRC));
	wait_us(&s, SILENCE);
	assert_dropped(sent(&s, STRANGER, rtcp(RTP_SSRC)), DROP_NOT_THE_REMOTE);
	s.known[s.known_count++] =
		(struct learning_known){endpoint(STRANGER).ip, RANK_PROVED_IP};
	s.facts.known_count = s.known_count;
	assert_dropped(sent(&s, STRANGER, rtcp(7)), DROP_NOT_THE_REMOTE);
	assert_confirmed(sent(&s, STRANGER, rtcp(RTP_SSRC)), RULE_REBIND);
}

/* ---- STUN ---- */

static void test_stun_confirms_nobody(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	for (unsigned i = 0; i < 20; i++) {
		assert_verdict(sent(&s, SDP_ADDRESS, stun()), LEARNING_PASS);
		assert_verdict(sent(&s, SIGNALLING_SOURCE, stun()),
			       LEARNING_PASS);
		assert_dropped(sent(&s, STRANGER, stun()), DROP_NOT_PROVED);
		wait_us(&s, SETTLE);
		assert_false(learning_tick(&s.l, &s.facts));
	}
	assert_remote(&s, "none");
	s.config.mode = LEARNING_FIRST_PACKET;
	assert_dropped(sent(&s, STRANGER, stun()), DROP_NOT_PROVED);
	assert_remote(&s, "none");
}

static void test_stun_of_a_known_address_passes_beside_the_remote(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SDP_ADDRESS, rtp(1));
	assert_verdict(sent(&s, SIGNALLING_SOURCE, stun()), LEARNING_PASS);
	assert_remote(&s, SDP_ADDRESS);
}

/* ---- RTCP ---- */

static void test_a_silent_rtcp_remote_is_forgotten(void **state)
{
	struct scene s;
	struct endpoint sdp = endpoint(SDP_ADDRESS);

	(void)state;
	start(&s, COMPONENT_RTCP);
	sent(&s, SIGNALLING_SOURCE, rtcp(1));
	wait_us(&s, FORGET - 1);
	assert_ptr_equal(learning_destination(&s.l, &s.config, &sdp, true,
					      s.facts.now_us),
			 &s.l.remote);
	wait_us(&s, 1);
	assert_ptr_equal(learning_destination(&s.l, &s.config, &sdp, true,
					      s.facts.now_us),
			 &sdp);
	assert_confirmed(sent(&s, SIGNALLING_SOURCE, rtcp(1)), RULE_KNOWN_IP);
}

static void test_a_silent_rtp_remote_is_kept(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SIGNALLING_SOURCE, rtp(1));
	wait_us(&s, 100ull * FORGET);
	assert_ptr_equal(learning_destination(&s.l, &s.config, &s.sdp, true,
					      s.facts.now_us),
			 &s.l.remote);
}

static void test_rtcp_is_expected_on_the_port_after_the_sdps(void **state)
{
	struct endpoint sdp = endpoint(SDP_ADDRESS);
	struct endpoint none = {0};
	struct endpoint last = endpoint("198.51.100.7:65535");
	struct endpoint hold = endpoint("0.0.0.0:5000");
	struct endpoint rtcp_sdp = learning_component_sdp(&sdp, COMPONENT_RTCP);
	struct endpoint got;

	(void)state;
	assert_int_equal(rtcp_sdp.port, 5001);
	got = learning_component_sdp(&last, COMPONENT_RTCP);
	assert_true(endpoint_equal(&got, &none));
	got = learning_component_sdp(&hold, COMPONENT_RTP);
	assert_true(endpoint_equal(&got, &none));
	got = learning_component_sdp(&none, COMPONENT_RTCP);
	assert_true(endpoint_equal(&got, &none));
}

/* ---- destinations ---- */

static void test_nothing_is_sent_to_a_candidate(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, STRANGER, rtp(1));
	assert_ptr_equal(learning_destination(&s.l, &s.config, &s.sdp, true,
					      s.facts.now_us),
			 &s.sdp);
	assert_null(learning_destination(&s.l, &s.config, &s.sdp, false,
					 s.facts.now_us));
}

static bool usable(const struct learning_config *config, const char *sdp,
		   const char *local)
{
	struct endpoint ep = endpoint(sdp);
	struct ip_addr ip = address(local);

	return learning_sdp_is_usable(config, &ep, &ip);
}

static void
test_the_sdp_is_a_destination_only_where_it_is_routable(void **state)
{
	static struct learning_config config;
	const struct learning_config *none = &config;
	struct learning_config ranges = {.range_count = 1};
	struct learning_config own = {.own_first = 5000, .own_end = 6000};

	(void)state;
	assert_int_equal(
		ip_network_parse(SPAN("10.1.0.0/16"), &ranges.ranges[0]), 0);
	assert_true(usable(none, "198.51.100.7:5000", "192.0.2.1"));
	assert_false(usable(none, "10.1.2.3:5000", "192.0.2.1"));
	assert_false(usable(none, "10.1.2.3:5000", "10.1.0.1"));
	assert_true(usable(&ranges, "10.1.2.3:5000", "192.0.2.1"));
	assert_false(usable(&ranges, "10.2.2.3:5000", "192.0.2.1"));
	assert_false(usable(none, "127.0.0.1:5000", "192.0.2.1"));
	assert_true(usable(none, "127.0.0.1:5000", "127.0.0.2"));
	assert_false(usable(none, "198.51.100.7:0", "192.0.2.1"));
	assert_false(usable(none, "0.0.0.0:5000", "192.0.2.1"));
	assert_false(usable(none, "224.0.0.1:5000", "192.0.2.1"));
	assert_false(usable(none, "255.255.255.255:5000", "192.0.2.1"));
	assert_false(usable(none, "169.254.169.254:80", "192.0.2.1"));
	assert_false(usable(none, "100.100.100.200:80", "192.0.2.1"));
	assert_false(usable(none, "[fe80::1]:5000", "2001:db8::1"));
	/* The same relay again, but not what else listens there. */
	assert_true(usable(&own, "10.1.0.1:5000", "10.1.0.1"));
	assert_true(usable(&own, "10.1.0.1:5999", "10.1.0.1"));
	assert_false(usable(&own, "10.1.0.1:4999", "10.1.0.1"));
	assert_false(usable(&own, "10.1.0.1:6000", "10.1.0.1"));
	assert_false(usable(&own, "10.1.0.2:5000", "10.1.0.1"));
	/* Calls have our addresses in turn. */
	own.own[own.own_count++] = address("10.1.0.2");
	assert_true(usable(&own, "10.1.0.2:5000", "10.1.0.1"));
	assert_false(usable(&own, "10.1.0.2:4999", "10.1.0.1"));
	assert_false(usable(&own, "10.1.0.3:5000", "10.1.0.1"));
	assert_true(usable(none, "[2001:db8::7]:5000", "2001:db8::1"));
	assert_false(usable(none, "[2001:db8::7]:5000", "192.0.2.1"));
}

static void test_a_source_that_is_no_destination_is_never_a_remote(void **state)
{
	static const char *const sources[] = {
		"127.0.0.1:5000", "169.254.1.1:5000", "224.0.0.1:5000",
		"0.0.0.0:5000",   "198.51.100.7:0",   "100.100.100.200:80"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		struct scene s;

		start(&s, COMPONENT_RTP);
		s.config.mode = LEARNING_FIRST_PACKET;
		assert_dropped(sent(&s, sources[i], rtp(1)),
			       DROP_NOT_THE_REMOTE);
	}
}

static void test_a_denied_network_is_neither_heard_nor_sent_to(void **state)
{
	static const char *const sources[] = {
		"198.51.100.7:5000", /* even exactly as in the SDP */
		"198.51.100.7:6000", "[2001:db8:66::1]:5000",
		"[::ffff:198.51.100.7]:5000"};
	const enum learning_mode modes[] = {LEARNING_SAFE, LEARNING_STRICT,
					    LEARNING_FIRST_PACKET};
	struct ip_network denied[2];

	(void)state;
	assert_int_equal(ip_network_parse(SPAN("198.51.100.0/29"), &denied[0]),
			 0);
	assert_int_equal(ip_network_parse(SPAN("2001:db8:66::/48"), &denied[1]),
			 0);
	for (size_t i = 0; i < ARRAY_SIZE(sources) * ARRAY_SIZE(modes); i++) {
		struct scene s;

		start(&s, COMPONENT_RTP);
		s.config.mode = modes[i / ARRAY_SIZE(sources)];
		memcpy(s.config.denied, denied, sizeof(denied));
		s.config.denied_count = 2;
		for (uint16_t seq = 1; seq < 10; seq++)
			assert_dropped(sent(&s,
					    sources[i % ARRAY_SIZE(sources)],
					    rtp(seq)),
				       DROP_NOT_THE_REMOTE);
		assert_false(usable(&s.config, SDP_ADDRESS, "192.0.2.1"));
		assert_true(usable(&s.config, "198.51.100.8:1", "192.0.2.1"));
	}
}

/* ---- first-packet ---- */

static void test_first_packet_takes_whoever_comes_first(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	s.config.mode = LEARNING_FIRST_PACKET;
	s.facts.opened_us = 0;
	assert_confirmed(sent(&s, STRANGER, rtp(1)), RULE_FIRST_PACKET);
	assert_dropped(sent(&s, SDP_ADDRESS, rtp_of(9, 1)),
		       DROP_NOT_THE_REMOTE);
	assert_remote(&s, STRANGER);
}

static void
test_first_packet_does_not_let_a_replaced_remote_back_at_once(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	s.config.mode = LEARNING_FIRST_PACKET;
	sent(&s, STRANGER, rtp(1));
	new_sdp(&s, "198.51.100.7:8000");
	assert_dropped(sent(&s, STRANGER, rtp(2)), DROP_NOT_OPEN);
	assert_confirmed(sent(&s, STRANGER_B, rtp(3)), RULE_FIRST_PACKET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_after_confirmation_only_the_remote_is_heard),
		cmocka_unit_test(test_new_sdp_makes_the_old_remote_a_stranger),
		cmocka_unit_test(
			test_a_replaced_remote_may_prove_itself_after_settle_time),
		cmocka_unit_test(
			test_a_replaced_remote_that_new_sdp_names_is_rank_1),
		cmocka_unit_test(
			test_a_replaced_remote_is_itself_again_when_its_sdp_comes_back),
		cmocka_unit_test(test_new_sdp_drops_what_candidates_had_proved),
		cmocka_unit_test(
			test_the_same_ssrc_goes_on_from_a_new_address_after_silence),
		cmocka_unit_test(
			test_a_keepalive_does_not_make_the_ssrc_forgotten),
		cmocka_unit_test(test_another_ssrc_does_not_rebind),
		cmocka_unit_test(test_a_far_or_old_sequence_does_not_rebind),
		cmocka_unit_test(
			test_after_a_hold_a_known_ip_comes_back_with_another_ssrc),
		cmocka_unit_test(
			test_after_a_hold_a_phone_that_proved_itself_comes_back),
		cmocka_unit_test(
			test_after_a_hold_a_remote_that_speaks_keeps_its_stream),
		cmocka_unit_test(
			test_stun_of_the_remote_does_not_break_its_silence),
		cmocka_unit_test(
			test_udptl_goes_on_from_another_port_of_the_same_ip),
		cmocka_unit_test(test_rtcp_follows_its_rtp_to_a_known_ip),
		cmocka_unit_test(test_stun_confirms_nobody),
		cmocka_unit_test(
			test_stun_of_a_known_address_passes_beside_the_remote),
		cmocka_unit_test(test_a_silent_rtcp_remote_is_forgotten),
		cmocka_unit_test(test_a_silent_rtp_remote_is_kept),
		cmocka_unit_test(
			test_rtcp_is_expected_on_the_port_after_the_sdps),
		cmocka_unit_test(test_nothing_is_sent_to_a_candidate),
		cmocka_unit_test(
			test_the_sdp_is_a_destination_only_where_it_is_routable),
		cmocka_unit_test(
			test_a_source_that_is_no_destination_is_never_a_remote),
		cmocka_unit_test(
			test_a_denied_network_is_neither_heard_nor_sent_to),
		cmocka_unit_test(test_first_packet_takes_whoever_comes_first),
		cmocka_unit_test(
			test_first_packet_does_not_let_a_replaced_remote_back_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
