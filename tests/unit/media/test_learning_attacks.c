/*
 * Ways to break the rules of learning that somebody has thought of. Each test
 * is what an attacker does who sees none of the call's packets.
 */
#include <stdio.h>

#include "learning_scene.h"
#include "media/held.h"

#define PHONE                                                                  \
	"203.0.113.77:9000" /* of rank 3: its address is known nowhere         \
			     */

static void is_known(struct scene *s, const char *source,
		     enum learning_rank rank)
{
	s->known[s->known_count++] =
		(struct learning_known){endpoint(source).ip, (uint8_t)rank};
	s->facts.known_count = s->known_count;
}

/* A phone that sends no RTCP, or on the port of RTP: one packet to its RTCP
 * port made a stranger the remote there, who was sent reports on the call. */
static void test_only_its_rtcp_proves_a_stranger_on_the_rtcp_port(void **state)
{
	const struct packet_facts packets[] = {
		single(PACKET_DTLS), single(PACKET_ZRTP), udptl(1),
		single(PACKET_EMPTY), single(PACKET_OTHER)};

	(void)state;
	for (unsigned has_rtp = 0; has_rtp < 2; has_rtp++)
		for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
			struct scene s;

			start(&s, COMPONENT_RTCP);
			s.facts.has_rtp_ssrc = has_rtp;
			s.facts.rtp_ssrc = RTP_SSRC + 1;
			assert_dropped(sent(&s, STRANGER, packets[i]),
				       DROP_NOT_PROVED);
			for (uint16_t seq = 0; seq < 10; seq++)
				assert_dropped(sent(&s, STRANGER, rtp(seq)),
					       DROP_NOT_PROVED);
			assert_false(learning_is_waiting(&s.l));
		}
}

/* It had proved itself on the port of a video that the phone does not send. */
static void
test_who_proved_himself_elsewhere_takes_no_remote_that_did_so_here(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	prove(&s, PHONE, 1);
	is_known(&s, PHONE, RANK_PROVED_IP);
	is_known(&s, STRANGER, RANK_PROVED_IP);
	assert_dropped(sent(&s, STRANGER, rtp_of(9, 1)), DROP_NOT_THE_REMOTE);
	wait_us(&s, SILENCE);
	assert_dropped(sent(&s, STRANGER, rtp_of(9, 2)), DROP_NOT_THE_REMOTE);
	assert_remote(&s, PHONE);
}

/* Both as they are, of one party: the stranger was first at both. */
static void test_the_party_takes_rtcp_back_with_its_rtp(void **state)
{
	struct scene rtp_port, rtcp_port;

	(void)state;
	start(&rtp_port, COMPONENT_RTP);
	prove(&rtp_port, STRANGER, 1);
	start(&rtcp_port, COMPONENT_RTCP);
	rtcp_port.facts.has_rtp_ssrc = true;
	rtcp_port.facts.rtp_ssrc = RTP_SSRC;
	assert_confirmed(sent(&rtcp_port, STRANGER, rtcp(RTP_SSRC)),
			 RULE_PROVED);
	assert_false(learning_follow_rtp(&rtcp_port.l, &rtp_port.l));

	assert_confirmed(sent(&rtp_port, SIGNALLING_SOURCE, rtp_of(7, 1)),
			 RULE_KNOWN_IP);
	assert_true(learning_follow_rtp(&rtcp_port.l, &rtp_port.l));
	assert_remote(&rtcp_port, "none");
	assert_dropped(sent(&rtcp_port, STRANGER, rtcp(7 + 1)),
		       DROP_NOT_PROVED);
}

static void test_rtcp_that_is_the_partys_own_stays_with_it(void **state)
{
	static const char *const sources[] = {SDP_ADDRESS, SDP_IP_OTHER_PORT,
					      SIGNALLING_SOURCE};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		struct scene rtp_port, rtcp_port;

		start(&rtcp_port, COMPONENT_RTCP);
		sent(&rtcp_port, sources[i], rtcp(RTP_SSRC));
		start(&rtp_port, COMPONENT_RTP);
		assert_false(learning_follow_rtp(&rtcp_port.l, &rtp_port.l));
		prove(&rtp_port, PHONE, 1); /* its RTP from elsewhere */
		assert_false(learning_follow_rtp(&rtcp_port.l, &rtp_port.l));
		sent(&rtp_port, SDP_ADDRESS, rtp(9));
		assert_false(learning_follow_rtp(&rtcp_port.l, &rtp_port.l));
		assert_remote(&rtcp_port, sources[i]);
	}
}

/* What remains: a stranger among strangers. docs/threat-model.md says so. */
static void
test_a_phone_that_is_known_nowhere_cannot_take_its_call_back(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	prove(&s, STRANGER, 1);
	for (uint16_t seq = 1; seq < 100; seq++) {
		assert_dropped(sent(&s, PHONE, rtp_of(9, seq)),
			       DROP_NOT_THE_REMOTE);
		wait_us(&s, 20000);
	}
	assert_confirmed(sent(&s, SIGNALLING_SOURCE, rtp_of(9, 100)),
			 RULE_KNOWN_IP);
}

/* More of them than there are places, and more often than the phone. */
static void test_a_spray_from_many_sources_does_not_stop_a_proof(void **state)
{
	const struct packet_facts packets[] = {single(PACKET_OTHER),
					       single(PACKET_DTLS), udptl(7),
					       rtcp(1), stun()};
	char source[ADDR_TEXT_SIZE];
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	for (uint16_t seq = 1; seq <= 3; seq++) {
		assert_verdict(sent(&s, PHONE, rtp(seq)), LEARNING_HOLD);
		for (unsigned i = 0; i < 200; i++) {
			snprintf(source, sizeof(source), "192.0.2.66:%u",
				 1024 + i);
			sent(&s, source, packets[i % ARRAY_SIZE(packets)]);
			wait_us(&s, 100);
		}
	}
	assert_confirmed(sent(&s, PHONE, rtp(4)), RULE_PROVED);
}

static void test_who_fell_silent_keeps_no_place_from_a_rival(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	for (uint16_t seq = 1; seq <= 2; seq++) {
		sent(&s, "192.0.2.70:1", rtp_of(1, seq));
		sent(&s, "192.0.2.70:2", rtp_of(2, seq));
		sent(&s, "192.0.2.70:3", rtp_of(3, seq));
	}
	wait_us(&s, SETTLE);
	/* Neither was alone; the first may not be forgotten for the second. */
	sent(&s, "192.0.2.70:4", single(PACKET_DTLS));
	sent(&s, STRANGER, single(PACKET_DTLS));
	wait_us(&s, SETTLE);
	assert_false(learning_tick(&s.l, &s.facts));
	assert_remote(&s, "none");
}

static void test_of_equals_the_one_that_came_last_keeps_its_place(void **state)
{
	struct scene s;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, "192.0.2.70:1", rtp_of(1, 1));
	wait_us(&s, 1000);
	sent(&s, "192.0.2.70:2", rtp_of(2, 1));
	wait_us(&s, 1000);
	sent(&s, "192.0.2.70:3", rtp_of(3, 1));
	wait_us(&s, 1000);
	sent(&s, PHONE, rtp_of(4, 1));
	wait_us(&s, 1000);
	sent(&s, "192.0.2.70:4", rtp_of(5, 1));
	for (uint16_t seq = 2; seq <= 3; seq++)
		assert_verdict(sent(&s, PHONE, rtp_of(4, seq)), LEARNING_HOLD);
	assert_confirmed(sent(&s, PHONE, rtp_of(4, 4)), RULE_PROVED);
}

/* SSRC and sequence number of a party that is active, and of one that is
 * silent: 32 bits and a window of 3000 in 65536. */
static void test_a_guess_of_the_ssrc_moves_nobody(void **state)
{
	struct scene s;
	uint32_t guess = 1;

	(void)state;
	start(&s, COMPONENT_RTP);
	sent(&s, SIGNALLING_SOURCE, rtp(1000));
	for (unsigned i = 0; i < 100000; i++) {
		guess = guess * 1664525 + 1013904223;
		if (guess == RTP_SSRC)
			continue;
		wait_us(&s, 20000);
		assert_dropped(sent(&s, STRANGER,
				    rtp_of(guess, (uint16_t)(guess >> 8))),
			       DROP_NOT_THE_REMOTE);
	}
	/* Right, but the party speaks. */
	sent(&s, SIGNALLING_SOURCE, rtp(1001));
	wait_us(&s, SILENCE - 1);
	for (unsigned seq = 0; seq < 65536; seq++)
		assert_dropped(sent(&s, STRANGER, rtp((uint16_t)seq)),
			       DROP_NOT_THE_REMOTE);
	assert_remote(&s, SIGNALLING_SOURCE);
}

static void test_stun_changes_nothing_however_often_it_comes(void **state)
{
	struct scene s;
	struct learning before;

	(void)state;
	start(&s, COMPONENT_RTP);
	before = s.l;
	for (unsigned i = 0; i < 100; i++) {
		sent(&s, STRANGER, stun());
		sent(&s, SDP_ADDRESS, stun());
		wait_us(&s, SETTLE);
		assert_false(learning_tick(&s.l, &s.facts));
	}
	assert_memory_equal(&before, &s.l, sizeof(before));
}

/* What is held of strangers has a bound that all ports share. Datagrams as
 * large as can be would use it up, and leave none for a phone. */
static void test_large_datagrams_are_not_held(void **state)
{
	static const uint8_t data[65507];
	const struct endpoint source = endpoint(STRANGER);
	const struct packet_facts facts = rtp(1);
	struct held_budget budget = {0};
	struct held held = {0};

	(void)state;
	assert_int_equal(held_add(&held, &budget, &source, &facts, data,
				  sizeof(data), START),
			 1);
	assert_int_equal(held.count, 0);
	assert_int_equal(budget.bytes, 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(held_add(&held, &budget, &source, &facts, data,
					  1500, START),
				 0);
	assert_in_range(budget.bytes, 8 * 1500, 8 * 2000);
	held_clear(&held, &budget);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_only_its_rtcp_proves_a_stranger_on_the_rtcp_port),
		cmocka_unit_test(
			test_who_proved_himself_elsewhere_takes_no_remote_that_did_so_here),
		cmocka_unit_test(test_the_party_takes_rtcp_back_with_its_rtp),
		cmocka_unit_test(
			test_rtcp_that_is_the_partys_own_stays_with_it),
		cmocka_unit_test(
			test_a_phone_that_is_known_nowhere_cannot_take_its_call_back),
		cmocka_unit_test(
			test_a_spray_from_many_sources_does_not_stop_a_proof),
		cmocka_unit_test(
			test_who_fell_silent_keeps_no_place_from_a_rival),
		cmocka_unit_test(
			test_of_equals_the_one_that_came_last_keeps_its_place),
		cmocka_unit_test(test_a_guess_of_the_ssrc_moves_nobody),
		cmocka_unit_test(
			test_stun_changes_nothing_however_often_it_comes),
		cmocka_unit_test(test_large_datagrams_are_not_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
