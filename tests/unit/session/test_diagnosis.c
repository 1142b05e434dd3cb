/* Who hears whom, and why not: each typical case. */
#include "session/diagnosis.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "test.h"

static struct endpoint at(const char *ip, uint16_t port)
{
	struct endpoint ep = {.port = port};

	assert_int_equal(ip_parse(span_of(ip), &ep.ip), 0);
	return ep;
}

#define NOW (100 * US_PER_S)

/* An answered call in which the caller was heard just now. */
static struct diagnosis_facts a_fine_call(void)
{
	return (struct diagnosis_facts){
		.speaker = PARTY_CALLER,
		.type = "audio",
		.answered = true,
		.sdp = {at("198.51.100.7", 4000), at("203.0.113.9", 6000)},
		.local = at("192.0.2.20", 50000),
		.listener_is_reachable = true,
		.from = {.packets = 512,
			 .first_media_us = NOW - 20 * US_PER_S,
			 .last_media_us = NOW - 20000,
			 .remote = at("198.51.100.7", 4000),
			 .rule = RULE_SDP},
		.began_us = NOW - 30 * US_PER_S,
		.now_us = NOW,
	};
}

/* Nothing came of the caller. */
static struct diagnosis_facts a_silent_call(void)
{
	struct diagnosis_facts f = a_fine_call();

	f.from = (struct media_counters){.payload_type = -1};
	return f;
}

static void assert_says(const struct diagnosis_facts *f,
			enum diagnosis diagnosis, const char *text)
{
	CLEANUP(buf_done) struct buf out = {0};

	assert_string_equal(diagnosis_name(diagnose(f)),
			    diagnosis_name(diagnosis));
	diagnosis_write(&out, f);
	assert_string_equal(out.data, text);
}

static void test_all_is_well(void **state)
{
	struct diagnosis_facts f = a_fine_call();

	(void)state;
	assert_says(&f, DIAGNOSIS_FINE,
		    "audio: the callee hears the caller: 512 packets from "
		    "198.51.100.7:4000, exactly the address in its SDP");
	f.speaker = PARTY_CALLEE;
	f.ended = true;
	f.from.rule = RULE_KNOWN_IP;
	f.from.remote = f.sdp[PARTY_CALLEE];
	assert_says(&f, DIAGNOSIS_FINE,
		    "audio: the caller heard the callee: 512 packets from "
		    "203.0.113.9:6000, an IP address that is known for it");
}

/* Strangers may flood: who is heard is heard. */
static void test_refused_strangers_do_not_make_a_call_one_way(void **state)
{
	struct diagnosis_facts f = a_fine_call();

	(void)state;
	f.refused_source = at("203.0.113.66", 1);
	f.refused_packets = 100000;
	f.refused_last_us = NOW;
	f.from.drops[DROP_NOT_THE_REMOTE] = 100000;
	assert_int_equal(diagnose(&f), DIAGNOSIS_FINE);
}

static void test_an_asymmetric_phone_is_named(void **state)
{
	struct diagnosis_facts f = a_fine_call();

	(void)state;
	f.from.remote = at("198.51.100.7", 4444);
	f.from.rule = RULE_KNOWN_IP;
	assert_says(&f, DIAGNOSIS_FINE,
		    "audio: the callee hears the caller: 512 packets from "
		    "198.51.100.7:4444, an IP address that is known for it; an "
		    "asymmetric phone: its SDP says 198.51.100.7:4000");
}

static void test_what_is_asymmetric(void **state)
{
	const struct endpoint public = at("198.51.100.7", 4000);
	const struct endpoint private = at("10.0.0.5", 4000);
	const struct endpoint other = at("203.0.113.9", 4000);
	const struct endpoint port = at("10.0.0.5", 4001);
	const struct endpoint none = {0};

	(void)state;
	assert_false(diagnosis_is_asymmetric(&public, &public));
	assert_true(diagnosis_is_asymmetric(&public, &other));
	/* A NAT: what it maps to says nothing of the phone. */
	assert_false(diagnosis_is_asymmetric(&private, &other));
	assert_true(diagnosis_is_asymmetric(&private, &port));
	assert_false(diagnosis_is_asymmetric(&none, &other));
	assert_false(diagnosis_is_asymmetric(&public, &none));
}

static void test_what_was_lost_at_the_relay_is_said(void **state)
{
	struct diagnosis_facts f = a_fine_call();

	(void)state;
	f.from.drops[DROP_NO_DESTINATION] = 5;
	f.from.drops[DROP_SEND_FAILED] = 1;
	f.from.drops[DROP_SEND_FULL] = 2;
	f.from.drops[DROP_RECEIVE_FULL] = 3;
	assert_says(&f, DIAGNOSIS_FINE,
		    "audio: the callee hears the caller: 512 packets from "
		    "198.51.100.7:4000, exactly the address in its SDP; 5 "
		    "before had nowhere to go yet; 1 could not be sent; the "
		    "relay, which is too "
		    "busy, lost 5 packets");
	/* Many, but that is over: the callee has spoken. */
	f.from.drops[DROP_NO_DESTINATION] = 5000;
	assert_int_equal(diagnose(&f), DIAGNOSIS_FINE);
}

static void test_nothing_arrives(void **state)
{
	struct diagnosis_facts f = a_silent_call();

	(void)state;
	assert_says(&f, DIAGNOSIS_NOTHING_CAME,
		    "audio: the callee hears nothing: nothing ever came from "
		    "the caller to 192.0.2.20:50000 (its SDP says "
		    "198.51.100.7:4000): it sends nothing, sends it elsewhere, "
		    "or a firewall is on the way");
	f.sdp[PARTY_CALLER] = (struct endpoint){0};
	assert_says(&f, DIAGNOSIS_NOTHING_CAME,
		    "audio: the callee hears nothing: nothing ever came from "
		    "the caller to 192.0.2.20:50000: it sends nothing, sends "
		    "it elsewhere, or a firewall is on the way");
	/* Then the phone is not to blame. */
	f.local_is_gone = true;
	assert_says(&f, DIAGNOSIS_NOTHING_CAME,
		    "audio: the callee hears nothing: nothing ever came from "
		    "the caller to 192.0.2.20:50000: the relay's address for "
		    "it, 192.0.2.20:50000, is not on this host any more");
}

static void test_it_comes_from_somebody_who_is_refused(void **state)
{
	struct diagnosis_facts f = a_silent_call();

	(void)state;
	f.sdp[PARTY_CALLER] = at("10.0.0.5", 4000);
	f.refused_source = at("203.0.113.9", 40000);
	f.refused_why = DROP_NOT_PROVED;
	f.refused_packets = 512;
	f.refused_last_us = NOW;
	assert_says(&f, DIAGNOSIS_WRONG_SOURCE,
		    "audio: the callee hears nothing: 512 packets from "
		    "203.0.113.9:40000 refused as not_proved (it "
		    "proved by nothing that it is the party); nothing ever "
		    "came from the caller's SDP address 10.0.0.5:4000");
}

static void test_it_moved_and_is_refused_since(void **state)
{
	struct diagnosis_facts f = a_fine_call();

	(void)state;
	f.from.last_media_us = NOW - 10 * US_PER_S;
	f.refused_source = at("203.0.113.9", 40000);
	f.refused_why = DROP_NOT_THE_REMOTE;
	f.refused_packets = 450;
	f.refused_last_us = NOW - 20000;
	assert_says(&f, DIAGNOSIS_WRONG_SOURCE,
		    "audio: the callee hears nothing since 20.000: 450 packets "
		    "from 203.0.113.9:40000 refused as "
		    "not_the_remote (another source is the confirmed one)");
	/* A stranger of long ago has nothing to do with it. */
	f.refused_last_us = NOW - 15 * US_PER_S;
	assert_says(&f, DIAGNOSIS_FELL_SILENT,
		    "audio: the callee hears nothing since 20.000: nothing "
		    "more came from the caller, after 512 packets from "
		    "198.51.100.7:4000");
	f.local_is_gone = true;
	assert_says(&f, DIAGNOSIS_FELL_SILENT,
		    "audio: the callee hears nothing since 20.000: nothing "
		    "more came from the caller, after 512 packets from "
		    "198.51.100.7:4000: the relay's address for it, "
		    "192.0.2.20:50000, is not on this host any more");
}

static void test_it_has_nowhere_to_go(void **state)
{
	struct diagnosis_facts f = a_silent_call();

	(void)state;
	f.from.drops[DROP_NO_DESTINATION] = 300;
	f.from.last_media_us = NOW;
	f.sdp[PARTY_CALLEE] = at("10.0.0.5", 6000);
	f.listener_is_reachable = false;
	assert_says(&f, DIAGNOSIS_NO_DESTINATION,
		    "audio: the callee hears nothing: 300 packets of the "
		    "caller had nowhere to go, since nothing ever came from "
		    "the callee, and its SDP says 10.0.0.5:6000, a private "
		    "address out of routable_private_ranges");
	f.sdp[PARTY_CALLEE] = (struct endpoint){0};
	assert_says(&f, DIAGNOSIS_NO_DESTINATION,
		    "audio: the callee hears nothing: 300 packets of the "
		    "caller had nowhere to go, since nothing ever came from "
		    "the callee, and its SDP gives no address");
}

static void test_the_kernel_refuses_to_send_it(void **state)
{
	struct diagnosis_facts f = a_silent_call();

	(void)state;
	f.from.drops[DROP_SEND_FAILED] = 300;
	f.from.last_media_us = NOW;
	assert_says(&f, DIAGNOSIS_NOT_SENT,
		    "audio: the callee hears nothing: 300 packets of the "
		    "caller could not be sent to the callee: unreachable, "
		    "filtered, or too big");
}

static void test_the_stream_is_rejected(void **state)
{
	struct diagnosis_facts f = a_silent_call();

	(void)state;
	f.rejected = true;
	f.from.drops[DROP_NOT_FORWARDING] = 10;
	assert_says(&f, DIAGNOSIS_REJECTED,
		    "audio: the callee hears nothing: the answer rejected the "
		    "stream");
}

static void test_ice_has_chosen_another_way(void **state)
{
	struct diagnosis_facts f = a_silent_call();

	(void)state;
	f.ice = true;
	assert_says(&f, DIAGNOSIS_ELSEWHERE,
		    "audio: the callee hears nothing here: with ICE the phones "
		    "may have chosen a way without the relay, since nothing "
		    "came from the caller");
	/* Its STUN was passed on, and counted. */
	f.from.packets = 14;
	f.from.bytes = 14 * 148;
	assert_int_equal(diagnose(&f), DIAGNOSIS_ELSEWHERE);
	f = a_fine_call();
	f.ice = true;
	/* The SDP names one candidate of many. */
	f.from.remote = at("198.51.100.7", 4444);
	f.from.rule = RULE_KNOWN_IP;
	assert_says(&f, DIAGNOSIS_FINE,
		    "audio: the callee hears the caller: 512 packets from "
		    "198.51.100.7:4444, an IP address that is known for it");
}

static void test_nobody_has_answered(void **state)
{
	struct diagnosis_facts f = a_silent_call();

	(void)state;
	f.answered = false;
	assert_says(&f, DIAGNOSIS_NOT_ANSWERED,
		    "audio: the callee hears nothing: the offer has no answer "
		    "yet");
	/* Early media is media. */
	f = a_fine_call();
	f.answered = false;
	assert_int_equal(diagnose(&f), DIAGNOSIS_FINE);
}

static void test_a_party_holds(void **state)
{
	struct diagnosis_facts f = a_silent_call();

	(void)state;
	f.hold[PARTY_CALLEE] = true;
	f.direction[PARTY_CALLEE] = DIRECTION_SENDONLY;
	f.direction[PARTY_CALLER] = DIRECTION_RECVONLY;
	assert_says(&f, DIAGNOSIS_ON_HOLD,
		    "audio: the callee hears nothing: the callee put the "
		    "stream on hold (the SDP of the caller says recvonly, that "
		    "of the callee sendonly)");
	/* Music on hold is heard. */
	f.speaker = PARTY_CALLEE;
	f.from = a_fine_call().from;
	assert_int_equal(diagnose(&f), DIAGNOSIS_FINE);
}

static void test_sdp_alone_says_that_nothing_is_sent(void **state)
{
	struct diagnosis_facts f = a_silent_call();

	(void)state;
	f.direction[PARTY_CALLER] = DIRECTION_RECVONLY;
	assert_int_equal(diagnose(&f), DIAGNOSIS_ON_HOLD);
	f.direction[PARTY_CALLER] = DIRECTION_INACTIVE;
	assert_int_equal(diagnose(&f), DIAGNOSIS_ON_HOLD);
	/* Who only sends is to be heard. */
	f.direction[PARTY_CALLER] = DIRECTION_SENDONLY;
	assert_int_equal(diagnose(&f), DIAGNOSIS_NOTHING_CAME);
	f.direction[PARTY_CALLER] = DIRECTION_SENDRECV;
	f.direction[PARTY_CALLEE] = DIRECTION_SENDONLY;
	assert_int_equal(diagnose(&f), DIAGNOSIS_ON_HOLD);
}

static void test_every_reason_has_words_or_speaks_for_itself(void **state)
{
	(void)state;
	for (enum media_drop why = 0; why < DROP_COUNT; why++)
		assert_string_not_equal(media_drop_name(why), "unknown");
	for (enum learning_rule rule = RULE_SDP; rule <= RULE_FIRST_PACKET;
	     rule++)
		assert_string_not_equal(diagnosis_rule_text(rule),
					learning_rule_name(rule));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_well),
		cmocka_unit_test(
			test_refused_strangers_do_not_make_a_call_one_way),
		cmocka_unit_test(test_an_asymmetric_phone_is_named),
		cmocka_unit_test(test_what_is_asymmetric),
		cmocka_unit_test(test_what_was_lost_at_the_relay_is_said),
		cmocka_unit_test(test_nothing_arrives),
		cmocka_unit_test(test_it_comes_from_somebody_who_is_refused),
		cmocka_unit_test(test_it_moved_and_is_refused_since),
		cmocka_unit_test(test_it_has_nowhere_to_go),
		cmocka_unit_test(test_the_kernel_refuses_to_send_it),
		cmocka_unit_test(test_the_stream_is_rejected),
		cmocka_unit_test(test_ice_has_chosen_another_way),
		cmocka_unit_test(test_nobody_has_answered),
		cmocka_unit_test(test_a_party_holds),
		cmocka_unit_test(test_sdp_alone_says_that_nothing_is_sent),
		cmocka_unit_test(
			test_every_reason_has_words_or_speaks_for_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
