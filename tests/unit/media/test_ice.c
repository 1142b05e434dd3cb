/* Whose checks succeeded, and where packets go then. */
#include <errno.h>
#include <stdio.h>

#include "ice_scene.h"

static struct ice_scene s;

/* ---- checks ---- */

static void test_two_agents_behind_nats_meet_through_us(void **state)
{
	(void)state;
	ice_begin(&s);
	/* Neither SDP can be used, and nobody has asked on the other side. */
	assert_goes_nowhere(ice_ask(&s, PARTY_CALLER, CALLER, 1),
			    DROP_NO_DESTINATION);
	assert_goes_to(ice_ask(&s, PARTY_CALLEE, CALLEE, 2), CALLER);
	assert_goes_to(ice_answer(&s, PARTY_CALLER, CALLER, 2), CALLEE);
	assert_ice_remote(&s, PARTY_CALLEE, CALLEE);
	assert_ice_remote(&s, PARTY_CALLER, "none");
	assert_goes_to(ice_ask(&s, PARTY_CALLER, CALLER, 1), CALLEE);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 1), CALLER);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
}

static void test_an_ice_lite_agent_never_asks_and_is_valid(void **state)
{
	(void)state;
	ice_begin(&s);
	s.facts.port[PARTY_CALLEE].sdp_usable = true;
	ice_check(&s, PARTY_CALLER, CALLER, CALLEE_SDP, 1, GENERATION);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
	assert_ice_remote(&s, PARTY_CALLEE, CALLEE_SDP);
}

static void test_without_integrity_nobody_becomes_valid(void **state)
{
	const struct ice_words bare_request = {.id = 9, .no_integrity = true};
	const struct ice_words bare_response = {
		.class = STUN_SUCCESS_RESPONSE, .id = 10, .no_integrity = true};

	(void)state;
	ice_begin(&s);
	ice_ask(&s, PARTY_CALLEE, CALLEE, 1);
	assert_goes_to(ice_say(&s, PARTY_CALLER, CALLER, bare_request), CALLEE);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 9), CALLER);
	assert_ice_remote(&s, PARTY_CALLER, "none");
	ice_ask(&s, PARTY_CALLEE, CALLEE, 1);
	assert_goes_to(ice_ask(&s, PARTY_CALLER, CALLER, 10), CALLEE);
	assert_goes_to(ice_say(&s, PARTY_CALLEE, CALLEE, bare_response),
		       CALLER);
	assert_ice_remote(&s, PARTY_CALLER, "none");
}

static void test_a_response_that_nobody_waits_for_goes_nowhere(void **state)
{
	(void)state;
	ice_connect(&s);
	assert_goes_nowhere(ice_answer(&s, PARTY_CALLEE, CALLEE, 99),
			    DROP_STUN_REFUSED);
	ice_ask(&s, PARTY_CALLER, CALLER, 4);
	/* From the wrong side, and from where it was not sent to. */
	assert_goes_nowhere(ice_answer(&s, PARTY_CALLER, CALLER, 4),
			    DROP_STUN_REFUSED);
	assert_goes_nowhere(ice_answer(&s, PARTY_CALLEE, ATTACKER, 4),
			    DROP_STUN_REFUSED);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 4), CALLER);
}

static void test_it_goes_to_exactly_the_source_that_asked(void **state)
{
	(void)state;
	ice_connect(&s);
	assert_goes_to(ice_ask(&s, PARTY_CALLER, CALLER_B, 4), CALLEE);
	assert_goes_to(ice_ask(&s, PARTY_CALLER, CALLER_ROAMING, 5), CALLEE);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 5), CALLER_ROAMING);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 4), CALLER_B);
}

static void test_a_response_comes_within_40_seconds(void **state)
{
	(void)state;
	ice_connect(&s);
	ice_ask(&s, PARTY_CALLER, CALLER, 4);
	ice_wait(&s, ICE_TRANSACTION_US - 1000000u);
	ice_ask(&s, PARTY_CALLER, CALLER, 4); /* a retransmission renews it */
	ice_wait(&s, ICE_TRANSACTION_US);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 4), CALLER);
	ice_wait(&s, 1000);
	assert_goes_nowhere(ice_answer(&s, PARTY_CALLEE, CALLEE, 4),
			    DROP_STUN_REFUSED);
}

static void test_a_conflict_of_roles_is_told_other_errors_wait(void **state)
{
	const struct ice_words conflict = {
		.class = STUN_ERROR_RESPONSE, .id = 4, .role_conflict = true};

	(void)state;
	ice_begin(&s);
	s.facts.port[PARTY_CALLEE].sdp_usable = true;
	ice_ask(&s, PARTY_CALLEE, CALLEE, 1);
	assert_goes_to_both(ice_ask(&s, PARTY_CALLER, CALLER, 4), CALLEE,
			    CALLEE_SDP);
	/* The wrong one of the two says no first. */
	assert_goes_nowhere(ice_fail(&s, PARTY_CALLEE, CALLEE_SDP, 4),
			    DROP_STUN_REFUSED);
	assert_goes_to(ice_say(&s, PARTY_CALLEE, CALLEE, conflict), CALLER);
	ice_connect(&s);
	ice_ask(&s, PARTY_CALLER, CALLER, 5);
	assert_goes_to(ice_fail(&s, PARTY_CALLEE, CALLEE, 5), CALLER);
}

static void test_keepalives_of_valid_sources_pass(void **state)
{
	const struct ice_words keepalive = {.class = STUN_INDICATION};

	(void)state;
	ice_connect(&s);
	assert_goes_to(ice_say(&s, PARTY_CALLER, CALLER, keepalive), CALLEE);
	assert_goes_nowhere(ice_say(&s, PARTY_CALLER, ATTACKER, keepalive),
			    DROP_STUN_REFUSED);
	assert_goes_nowhere(ice_say(&s, PARTY_CALLER, CALLER_B, keepalive),
			    DROP_STUN_REFUSED);
}

/* ---- strangers ---- */

static void test_two_strangers_do_not_take_a_call_of_two_parties(void **state)
{
	(void)state;
	ice_begin(&s);
	ice_ask(&s, PARTY_CALLEE, CALLEE, 1);
	ice_ask(&s, PARTY_CALLEE, ATTACKER_B, 2);
	/* Their request reaches the party alone, whose agent refuses it. */
	assert_goes_to(ice_ask(&s, PARTY_CALLER, ATTACKER, 3), CALLEE);
	assert_goes_nowhere(ice_answer(&s, PARTY_CALLEE, ATTACKER_B, 3),
			    DROP_STUN_REFUSED);
	assert_goes_to(ice_fail(&s, PARTY_CALLEE, CALLEE, 3), ATTACKER);
	assert_ice_remote(&s, PARTY_CALLER, "none");
}

static void test_strangers_wait_for_the_answer_to_settle(void **state)
{
	(void)state;
	ice_begin(&s);
	s.facts.port[PARTY_CALLEE].is_open = false;
	ice_ask(&s, PARTY_CALLEE, CALLEE_ROAMING, 1);
	assert_goes_nowhere(ice_ask(&s, PARTY_CALLER, CALLER, 2),
			    DROP_NO_DESTINATION);
	s.facts.port[PARTY_CALLEE].is_open = true;
	assert_goes_to(ice_ask(&s, PARTY_CALLER, CALLER, 2), CALLEE_ROAMING);
}

static void test_a_party_at_an_unknown_address_is_as_good(void **state)
{
	(void)state;
	ice_begin(&s);
	ice_ask(&s, PARTY_CALLEE, CALLEE_ROAMING, 1);
	ice_check(&s, PARTY_CALLER, CALLER, CALLEE_ROAMING, 2, GENERATION);
	ice_check(&s, PARTY_CALLEE, CALLEE_ROAMING, CALLER, 3, GENERATION);
	assert_int_equal(ice_remote(&s.ice, PARTY_CALLEE)->validity,
			 ICE_STRONG);
	/* And now the caller's, too, on the word of one who is. */
	ice_check(&s, PARTY_CALLER, CALLER, CALLEE_ROAMING, 4, GENERATION);
	assert_int_equal(ice_remote(&s.ice, PARTY_CALLER)->validity,
			 ICE_STRONG);
}

static void test_what_rests_on_strangers_ends_when_a_party_speaks(void **state)
{
	(void)state;
	ice_begin(&s);
	ice_ask(&s, PARTY_CALLEE, ATTACKER_B, 1);
	ice_check(&s, PARTY_CALLER, ATTACKER, ATTACKER_B, 2, GENERATION);
	assert_ice_remote(&s, PARTY_CALLER, ATTACKER);
	assert_int_equal(ice_send(&s, PARTY_CALLER, ATTACKER), ICE_MEDIA_HEAR);
	ice_ask(&s, PARTY_CALLER, CALLER, 3);
	assert_ice_remote(&s, PARTY_CALLER, "none");
	assert_int_equal(ice_send(&s, PARTY_CALLER, CALLER), ICE_MEDIA_LEARN);
}

static void test_and_when_a_party_sends_media_without_a_check(void **state)
{
	(void)state;
	ice_begin(&s);
	ice_ask(&s, PARTY_CALLEE, ATTACKER_B, 1);
	ice_check(&s, PARTY_CALLER, ATTACKER, ATTACKER_B, 2, GENERATION);
	assert_int_equal(ice_send(&s, PARTY_CALLER, CALLER), ICE_MEDIA_LEARN);
	assert_ice_remote(&s, PARTY_CALLER, "none");
}

static void test_strangers_do_not_make_the_parties_checks_old(void **state)
{
	(void)state;
	ice_begin(&s);
	ice_ask(&s, PARTY_CALLEE, CALLEE_ROAMING, 1);
	ice_ask(&s, PARTY_CALLEE, ATTACKER_B, 2);
	ice_check(&s, PARTY_CALLER, CALLER, CALLEE_ROAMING, 3, GENERATION);
	/* One more of the strangers' own, as if it were a restart. */
	ice_ask(&s, PARTY_CALLEE, ATTACKER_B, 4);
	ice_ask_anew(&s, PARTY_CALLER, ATTACKER, 5, 99);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, ATTACKER_B, 5), ATTACKER);
	assert_int_equal(s.ice.generation, GENERATION);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
}

static void test_a_stranger_is_too_late_once_the_party_has_spoken(void **state)
{
	(void)state;
	ice_begin(&s);
	ice_ask(&s, PARTY_CALLEE, ATTACKER_B, 1);
	assert_goes_to(ice_ask(&s, PARTY_CALLER, CALLER_ROAMING, 2),
		       ATTACKER_B);
	ice_ask(&s, PARTY_CALLEE, CALLEE, 3);
	assert_goes_nowhere(ice_answer(&s, PARTY_CALLEE, ATTACKER_B, 2),
			    DROP_STUN_REFUSED);
}

static void test_a_response_from_a_place_that_was_not_asked(void **state)
{
	(void)state;
	ice_connect(&s);
	/* Valid as the other one is: but this request went to one alone. */
	ice_check(&s, PARTY_CALLEE, CALLEE_ROAMING, CALLER, 4, GENERATION);
	ice_ask(&s, PARTY_CALLER, CALLER, 5);
	assert_goes_nowhere(ice_answer(&s, PARTY_CALLEE, CALLEE, 5),
			    DROP_STUN_REFUSED);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE_ROAMING, 5), CALLER);
}

static void test_each_has_a_share_of_the_requests_that_wait(void **state)
{
	(void)state;
	ice_connect(&s);
	ice_ask(&s, PARTY_CALLER, CALLER_B, 4);
	for (uint32_t i = 0; i < ICE_STRANGER_BURST; i++) {
		ice_wait(&s, 1000);
		ice_ask(&s, PARTY_CALLER, ATTACKER, 100 + i);
		ice_ask(&s, PARTY_CALLER, ATTACKER_B, 200 + i);
	}
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 4), CALLER_B);
	ice_wait(&s, 10000000);
	ice_ask(&s, PARTY_CALLER, CALLER_ROAMING, 5);
	for (uint32_t i = 0; i < 2 * ICE_TRANSACTIONS; i++) {
		ice_wait(&s, 1000);
		ice_ask(&s, PARTY_CALLER, CALLER_B, 300 + i);
	}
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 5), CALLER_ROAMING);
}

static void test_a_request_is_not_played_again_from_elsewhere(void **state)
{
	(void)state;
	ice_connect(&s);
	ice_ask(&s, PARTY_CALLER, CALLER, 4);
	assert_goes_nowhere(ice_ask(&s, PARTY_CALLER, ATTACKER, 4),
			    DROP_STUN_REFUSED);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 4), CALLER);
	/* Nor long after. */
	ice_wait(&s, 10 * ICE_TRANSACTION_US);
	assert_goes_nowhere(ice_ask(&s, PARTY_CALLER, ATTACKER, 4),
			    DROP_STUN_REFUSED);
}

static void test_an_error_after_a_success_takes_it_back(void **state)
{
	(void)state;
	ice_connect(&s);
	ice_ask(&s, PARTY_CALLER, ATTACKER, 4);
	/* With the callee's address forged; then its agent answers itself. */
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 4), ATTACKER);
	assert_int_equal(ice_send(&s, PARTY_CALLER, ATTACKER), ICE_MEDIA_HEAR);
	ice_fail(&s, PARTY_CALLEE, CALLEE, 4);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
	assert_int_equal(ice_send(&s, PARTY_CALLER, ATTACKER),
			 ICE_MEDIA_REFUSE);
}

static void test_who_said_no_does_not_say_yes(void **state)
{
	(void)state;
	ice_connect(&s);
	ice_ask(&s, PARTY_CALLER, ATTACKER, 4);
	assert_goes_to(ice_fail(&s, PARTY_CALLEE, CALLEE, 4), ATTACKER);
	/* With the callee's address forged. */
	assert_goes_nowhere(ice_answer(&s, PARTY_CALLEE, CALLEE, 4),
			    DROP_STUN_REFUSED);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
	assert_int_equal(ice_send(&s, PARTY_CALLER, ATTACKER),
			 ICE_MEDIA_REFUSE);
	/* Asked again, the agent may. */
	ice_ask(&s, PARTY_CALLER, CALLER, 5);
	ice_fail(&s, PARTY_CALLEE, CALLEE, 5);
	ice_ask(&s, PARTY_CALLER, CALLER, 5);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 5), CALLER);
}

/* The nominated address in a second offer, and the same passwords. */
static void test_a_neighbour_says_yes_to_nobody(void **state)
{
	(void)state;
	ice_connect(&s);
	s.sdp[PARTY_CALLEE] = endpoint("10.0.0.8:6000");
	ice_sdp_changed(&s.ice, PARTY_CALLEE);
	/* Behind the callee's NAT. */
	ice_ask(&s, PARTY_CALLEE, "198.51.100.99:6666", 4);
	assert_goes_to(ice_ask_anew(&s, PARTY_CALLER, ATTACKER, 5, 99), CALLEE);
	assert_goes_nowhere(
		ice_answer(&s, PARTY_CALLEE, "198.51.100.99:6666", 5),
		DROP_STUN_REFUSED);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
}

static void test_no_more_bytes_to_an_unproven_source_than_from_it(void **state)
{
	const struct ice_words small = {.id = 1, .len = 48};
	const struct ice_words large = {.id = 2, .len = 1000};

	(void)state;
	ice_begin(&s);
	ice_say(&s, PARTY_CALLEE, CALLEE, small);
	assert_goes_nowhere(ice_say(&s, PARTY_CALLER, CALLER, large),
			    DROP_NO_DESTINATION);
	assert_goes_to(ice_say(&s, PARTY_CALLER, CALLER, small), CALLEE);
	assert_goes_nowhere(ice_say(&s, PARTY_CALLER, CALLER, small),
			    DROP_NO_DESTINATION);
}

static void test_headers_are_bytes_too(void **state)
{
	const struct ice_words small = {.id = 1, .len = 20};
	const struct ice_words large = {.id = 2, .len = 90};

	(void)state;
	/* In IPv6 90 bytes are 138, and two times 20 are 136. */
	ice_begin(&s);
	for (unsigned i = 0; i < 2; i++)
		ice_say(&s, PARTY_CALLEE, "2001:db8::7:6000", small);
	assert_goes_nowhere(ice_say(&s, PARTY_CALLER, CALLER, large),
			    DROP_NO_DESTINATION);
	ice_say(&s, PARTY_CALLEE, "2001:db8::7:6000", small);
	assert_goes_to(ice_say(&s, PARTY_CALLER, CALLER, large),
		       "2001:db8::7:6000");
}

static void test_a_storm_of_strangers_pushes_out_nobody_else(void **state)
{
	char source[ADDR_TEXT_SIZE];
	unsigned passed = 0;

	(void)state;
	ice_connect(&s);
	ice_ask(&s, PARTY_CALLER, CALLER_B, 4);
	for (unsigned i = 0; i < 5000; i++) {
		struct ice_verdict v;

		snprintf(source, sizeof(source), "192.0.2.%u:%u", i % 250 + 1,
			 1024 + i);
		v = ice_ask(&s, PARTY_CALLER, source, 1000 + i);
		passed += v.count > 0;
		ice_wait(&s, 100);
	}
	assert_in_range(passed, 1, 100);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 4), CALLER_B);
	assert_goes_to(ice_ask(&s, PARTY_CALLER, CALLER, 5), CALLEE);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 5), CALLER);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
}

static void test_a_storm_of_known_addresses_stops_no_valid_source(void **state)
{
	char source[ADDR_TEXT_SIZE];

	(void)state;
	ice_connect(&s);
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(source, sizeof(source), "203.0.113.9:%u", 20000 + i);
		ice_ask(&s, PARTY_CALLER, source, 1000 + i);
	}
	assert_goes_to(ice_ask(&s, PARTY_CALLER, CALLER, 5), CALLEE);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 5), CALLER);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
	/* Strangers have their share of the table all the same. */
	assert_goes_to(ice_ask(&s, PARTY_CALLER, CALLER_ROAMING, 6), CALLEE);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, CALLEE, 6), CALLER_ROAMING);
}

/* ---- media ---- */

static void test_media_of_valid_sources_alone_is_heard(void **state)
{
	(void)state;
	ice_begin(&s);
	assert_int_equal(ice_send(&s, PARTY_CALLER, CALLER), ICE_MEDIA_LEARN);
	ice_connect(&s);
	assert_int_equal(ice_send(&s, PARTY_CALLER, CALLER), ICE_MEDIA_HEAR);
	assert_int_equal(ice_send(&s, PARTY_CALLER, CALLER_B),
			 ICE_MEDIA_REFUSE);
	assert_int_equal(ice_send(&s, PARTY_CALLER, ATTACKER),
			 ICE_MEDIA_REFUSE);
}

static void test_before_media_the_last_acknowledged_is_sent_to(void **state)
{
	(void)state;
	ice_connect(&s);
	ice_wait(&s, 1000);
	ice_check(&s, PARTY_CALLER, CALLER_B, CALLEE, 4, GENERATION);
	assert_ice_remote(&s, PARTY_CALLER, CALLER_B);
}

static void test_after_that_who_sent_media_last_is_sent_to(void **state)
{
	(void)state;
	ice_connect(&s);
	ice_wait(&s, 20000);
	ice_send(&s, PARTY_CALLER, CALLER);
	ice_check(&s, PARTY_CALLER, CALLER_ROAMING, CALLEE, 4, GENERATION);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
	/* Both at once: both are heard, and nothing flaps. */
	assert_int_equal(ice_send(&s, PARTY_CALLER, CALLER_ROAMING),
			 ICE_MEDIA_HEAR);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
	ice_wait(&s, ICE_MOVE_US);
	assert_int_equal(ice_send(&s, PARTY_CALLER, CALLER_ROAMING),
			 ICE_MEDIA_HEAR);
	assert_ice_remote(&s, PARTY_CALLER, CALLER_ROAMING);
	/* And back, as soon as the other one has fallen silent. */
	ice_wait(&s, ICE_MOVE_US);
	assert_int_equal(ice_send(&s, PARTY_CALLER, CALLER), ICE_MEDIA_HEAR);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
}

static void test_a_muted_phone_in_another_network_is_followed(void **state)
{
	(void)state;
	ice_connect(&s);
	ice_wait(&s, 1000);
	ice_send(&s, PARTY_CALLER, CALLER);
	ice_wait(&s, ICE_SILENT_US);
	ice_check(&s, PARTY_CALLER, CALLER_ROAMING, CALLEE, 4, GENERATION);
	assert_ice_remote(&s, PARTY_CALLER, CALLER_ROAMING);
}

static void test_a_rebinding_takes_the_place_of_the_silent_one(void **state)
{
	struct endpoint moved = endpoint("192.0.2.11:9000");

	(void)state;
	ice_connect(&s);
	for (unsigned i = 0; i < 3 * ICE_SOURCES; i++) {
		moved.port++;
		ice_wait(&s, 250000);
		ice_rebound(&s.ice, &s.facts, PARTY_CALLER, &moved,
			    RANK_STRANGER);
		ice_settle(&s);
		assert_true(endpoint_equal(
			&ice_remote(&s.ice, PARTY_CALLER)->endpoint, &moved));
	}
	/* However often: strangers have their share of the table. */
	assert_goes_to(ice_ask(&s, PARTY_CALLER, CALLER_ROAMING, 6), CALLEE);
}

/* ---- restart, transfer ---- */

static void
test_new_sdp_cuts_nothing_until_a_check_of_the_new_pair_succeeds(void **state)
{
	(void)state;
	ice_connect(&s);
	ice_wait(&s, 1000);
	ice_send(&s, PARTY_CALLEE, CALLEE);
	s.sdp[PARTY_CALLEE] = endpoint("198.51.100.200:6000");
	s.facts.port[PARTY_CALLEE].sdp_usable = true;
	ice_sdp_changed(&s.ice, PARTY_CALLEE);
	assert_ice_remote(&s, PARTY_CALLEE, CALLEE);
	assert_int_equal(ice_send(&s, PARTY_CALLEE, CALLEE), ICE_MEDIA_HEAR);
	/* The new phone is asked, too, and the old one refuses: not told. */
	assert_goes_to_both(ice_ask_anew(&s, PARTY_CALLER, CALLER, 10, 88),
			    CALLEE, "198.51.100.200:6000");
	assert_goes_nowhere(ice_fail(&s, PARTY_CALLEE, CALLEE, 10),
			    DROP_STUN_REFUSED);
	assert_goes_to(ice_answer(&s, PARTY_CALLEE, "198.51.100.200:6000", 10),
		       CALLER);
	assert_ice_remote(&s, PARTY_CALLEE, "198.51.100.200:6000");
}

/* A transfer to a phone at CALLEE_ROAMING that has checked its pair. */
static void transfer(void)
{
	ice_connect(&s);
	ice_wait(&s, 1000);
	ice_send(&s, PARTY_CALLEE, CALLEE);
	s.sdp[PARTY_CALLEE] = endpoint("10.0.0.8:6000");
	ice_sdp_changed(&s.ice, PARTY_CALLEE);
	ice_wait(&s, 20000);
	ice_send(&s, PARTY_CALLEE, CALLEE);
	ice_check(&s, PARTY_CALLEE, CALLEE_ROAMING, CALLER, 10, 88);
	assert_ice_remote(&s, PARTY_CALLEE, CALLEE_ROAMING);
}

/* Two forks ring and are checked; the first one answers. */
static void test_a_fork_that_was_checked_before_may_answer(void **state)
{
	(void)state;
	transfer();
	ice_wait(&s, 20000);
	ice_send(&s, PARTY_CALLEE, CALLEE_ROAMING);
	s.sdp[PARTY_CALLEE] = endpoint("10.0.0.7:6000");
	ice_sdp_changed(&s.ice, PARTY_CALLEE);
	ice_wait(&s, 20000);
	ice_check(&s, PARTY_CALLEE, CALLEE, CALLER, 11, GENERATION);
	assert_ice_remote(&s, PARTY_CALLEE, CALLEE);
	ice_wait(&s, 20000);
	assert_int_equal(ice_send(&s, PARTY_CALLEE, CALLEE), ICE_MEDIA_HEAR);
	assert_int_equal(ice_send(&s, PARTY_CALLEE, CALLEE_ROAMING),
			 ICE_MEDIA_REFUSE);
}

static void test_the_old_phone_is_heard_until_the_new_one_speaks(void **state)
{
	(void)state;
	transfer();
	ice_wait(&s, 20000);
	assert_int_equal(ice_send(&s, PARTY_CALLEE, CALLEE), ICE_MEDIA_HEAR);
	assert_ice_remote(&s, PARTY_CALLEE, CALLEE_ROAMING);
	assert_int_equal(ice_send(&s, PARTY_CALLEE, CALLEE_ROAMING),
			 ICE_MEDIA_HEAR);
	assert_int_equal(ice_send(&s, PARTY_CALLEE, CALLEE), ICE_MEDIA_REFUSE);
	/* A check with the old password brings it back into the table, but not
	 * into the call. */
	ice_check(&s, PARTY_CALLEE, CALLEE, CALLER, 11, GENERATION);
	ice_wait(&s, 10 * ICE_OLD_US);
	assert_int_equal(ice_send(&s, PARTY_CALLEE, CALLEE), ICE_MEDIA_REFUSE);
	assert_ice_remote(&s, PARTY_CALLEE, CALLEE_ROAMING);
}

static void test_and_no_longer_than_a_while(void **state)
{
	(void)state;
	transfer();
	ice_wait(&s, ICE_OLD_US);
	assert_int_equal(ice_send(&s, PARTY_CALLEE, CALLEE), ICE_MEDIA_REFUSE);
}

static void test_a_restart_of_the_same_phones_changes_no_remote(void **state)
{
	(void)state;
	ice_connect(&s);
	ice_wait(&s, 1000);
	ice_send(&s, PARTY_CALLER, CALLER);
	ice_check(&s, PARTY_CALLER, CALLER, CALLEE, 10, 88);
	ice_check(&s, PARTY_CALLEE, CALLEE, CALLER, 11, 88);
	assert_ice_remote(&s, PARTY_CALLER, CALLER);
	assert_ice_remote(&s, PARTY_CALLEE, CALLEE);
	assert_goes_to(ice_ask_anew(&s, PARTY_CALLER, CALLER, 12, 88), CALLEE);
}

static void test_new_sdp_that_speaks_without_a_check_is_learned(void **state)
{
	(void)state;
	ice_connect(&s);
	s.sdp[PARTY_CALLEE] = endpoint("198.51.100.200:6000");
	assert_int_equal(ice_send(&s, PARTY_CALLEE, "198.51.100.200:6000"),
			 ICE_MEDIA_REFUSE);
	ice_sdp_changed(&s.ice, PARTY_CALLEE);
	assert_int_equal(ice_send(&s, PARTY_CALLEE, "198.51.100.200:6000"),
			 ICE_MEDIA_LEARN);
}

/* ---- messages ---- */

static size_t put_header(uint8_t *p, uint16_t type, size_t body)
{
	static const uint8_t rest[] = {0x21, 0x12, 0xa4, 0x42, 'a', 'b',
				       'c',  'd',  'e',  'f',  'g', 'h',
				       'i',  'j',  'k',  'l'};

	p[0] = (uint8_t)(type >> 8);
	p[1] = (uint8_t)type;
	p[2] = (uint8_t)(body >> 8);
	p[3] = (uint8_t)body;
	memcpy(p + 4, rest, sizeof(rest));
	return STUN_HEADER_LEN;
}

static size_t put_attribute(uint8_t *p, uint16_t type, const void *value,
			    size_t len)
{
	p[0] = (uint8_t)(type >> 8);
	p[1] = (uint8_t)type;
	p[2] = (uint8_t)(len >> 8);
	p[3] = (uint8_t)len;
	memset(p + 4, 0, (len + 3) / 4 * 4);
	memcpy(p + 4, value, len);
	return 4 + (len + 3) / 4 * 4;
}

static uint32_t generation_of(const char *username)
{
	uint8_t packet[128];
	struct ice_message m;
	size_t len =
		put_attribute(packet + STUN_HEADER_LEN, STUN_ATTRIBUTE_USERNAME,
			      username, strlen(username));

	len += put_header(packet, 0x0001, len);
	assert_int_equal(ice_message_read(&m, packet, len), 0);
	return m.generation;
}

static void test_a_generation_is_the_same_in_both_directions(void **state)
{
	(void)state;
	assert_int_equal(generation_of("abcd:efgh"),
			 generation_of("efgh:abcd"));
	assert_int_not_equal(generation_of("abcd:efgh"),
			     generation_of("abcd:efgi"));
}

static int read_one(uint16_t type, uint16_t attribute, const void *value,
		    size_t len, struct ice_message *ret)
{
	uint8_t packet[256];
	size_t body =
		put_attribute(packet + STUN_HEADER_LEN, attribute, value, len);

	put_header(packet, type, body);
	return ice_message_read(ret, packet, STUN_HEADER_LEN + body);
}

static void test_integrity_and_role_conflict_are_read(void **state)
{
	const uint8_t conflict[] = {0, 0, 4, 87, 'R'};
	const uint8_t refused[] = {0, 0, 4, 1};
	const uint8_t digest[32] = {0};
	struct ice_message m;

	(void)state;
	assert_int_equal(read_one(0x0101, 0x0008, digest, 20, &m), 0);
	assert_true(m.integrity);
	assert_int_equal(m.class, STUN_SUCCESS_RESPONSE);
	assert_int_equal(read_one(0x0101, 0x0008, digest, 19, &m), 0);
	assert_false(m.integrity);
	assert_int_equal(read_one(0x0101, 0x001c, digest, 32, &m), 0);
	assert_true(m.integrity);
	assert_int_equal(read_one(0x0101, 0x001c, digest, 12, &m), 0);
	assert_false(m.integrity);
	assert_int_equal(read_one(0x0111, 0x0009, conflict, 5, &m), 0);
	assert_true(m.role_conflict);
	assert_int_equal(read_one(0x0111, 0x0009, refused, 4, &m), 0);
	assert_false(m.role_conflict);
	assert_int_equal(read_one(0x0111, 0x0009, refused, 2, &m), 0);
	assert_false(m.role_conflict);
}

static void test_messages_that_no_agent_sends_are_refused(void **state)
{
	uint8_t packet[1024] = {0};
	struct ice_message m;
	size_t len = STUN_HEADER_LEN;

	(void)state;
	/* Allocate, of TURN. */
	put_header(packet, 0x0003, 0);
	assert_int_equal(ice_message_read(&m, packet, len), -EBADMSG);
	put_header(packet, 0x0001, 0);
	assert_int_equal(ice_message_read(&m, packet, len), 0);
	/* An attribute that is longer than the message. */
	put_header(packet, 0x0001, 8);
	put_attribute(packet + len, 0x8022, "abcd", 4);
	packet[len + 3] = 5;
	assert_int_equal(ice_message_read(&m, packet, len + 8), -EBADMSG);
	/* Hundreds of empty ones. */
	put_header(packet, 0x0001, 800);
	for (unsigned i = 0; i < 200; i++)
		put_attribute(packet + len + 4u * i, 0x8022, "", 0);
	assert_int_equal(ice_message_read(&m, packet, len + 800), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_agents_behind_nats_meet_through_us),
		cmocka_unit_test(
			test_an_ice_lite_agent_never_asks_and_is_valid),
		cmocka_unit_test(test_without_integrity_nobody_becomes_valid),
		cmocka_unit_test(
			test_a_response_that_nobody_waits_for_goes_nowhere),
		cmocka_unit_test(test_it_goes_to_exactly_the_source_that_asked),
		cmocka_unit_test(test_a_response_comes_within_40_seconds),
		cmocka_unit_test(
			test_a_conflict_of_roles_is_told_other_errors_wait),
		cmocka_unit_test(test_keepalives_of_valid_sources_pass),
		cmocka_unit_test(
			test_two_strangers_do_not_take_a_call_of_two_parties),
		cmocka_unit_test(test_strangers_wait_for_the_answer_to_settle),
		cmocka_unit_test(test_a_party_at_an_unknown_address_is_as_good),
		cmocka_unit_test(
			test_what_rests_on_strangers_ends_when_a_party_speaks),
		cmocka_unit_test(
			test_and_when_a_party_sends_media_without_a_check),
		cmocka_unit_test(
			test_strangers_do_not_make_the_parties_checks_old),
		cmocka_unit_test(
			test_a_stranger_is_too_late_once_the_party_has_spoken),
		cmocka_unit_test(
			test_a_response_from_a_place_that_was_not_asked),
		cmocka_unit_test(
			test_each_has_a_share_of_the_requests_that_wait),
		cmocka_unit_test(
			test_a_request_is_not_played_again_from_elsewhere),
		cmocka_unit_test(test_an_error_after_a_success_takes_it_back),
		cmocka_unit_test(test_who_said_no_does_not_say_yes),
		cmocka_unit_test(test_a_neighbour_says_yes_to_nobody),
		cmocka_unit_test(
			test_a_fork_that_was_checked_before_may_answer),
		cmocka_unit_test(
			test_no_more_bytes_to_an_unproven_source_than_from_it),
		cmocka_unit_test(test_headers_are_bytes_too),
		cmocka_unit_test(
			test_a_storm_of_strangers_pushes_out_nobody_else),
		cmocka_unit_test(
			test_a_storm_of_known_addresses_stops_no_valid_source),
		cmocka_unit_test(test_media_of_valid_sources_alone_is_heard),
		cmocka_unit_test(
			test_before_media_the_last_acknowledged_is_sent_to),
		cmocka_unit_test(
			test_after_that_who_sent_media_last_is_sent_to),
		cmocka_unit_test(
			test_a_muted_phone_in_another_network_is_followed),
		cmocka_unit_test(
			test_a_rebinding_takes_the_place_of_the_silent_one),
		cmocka_unit_test(
			test_new_sdp_cuts_nothing_until_a_check_of_the_new_pair_succeeds),
		cmocka_unit_test(
			test_the_old_phone_is_heard_until_the_new_one_speaks),
		cmocka_unit_test(test_and_no_longer_than_a_while),
		cmocka_unit_test(
			test_a_restart_of_the_same_phones_changes_no_remote),
		cmocka_unit_test(
			test_new_sdp_that_speaks_without_a_check_is_learned),
		cmocka_unit_test(
			test_a_generation_is_the_same_in_both_directions),
		cmocka_unit_test(test_integrity_and_role_conflict_are_read),
		cmocka_unit_test(test_messages_that_no_agent_sends_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
