#include "media_scene.h"

static const int families[] = {AF_INET, AF_INET6};

static void test_rtp_and_rtcp_go_both_ways_in_both_families(void **state)
{
	(void)state;
	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		struct call call;

		start_call(&call, families[f]);
		for (enum component c = 0; c < COMPONENT_COUNT; c++) {
			say(&call, PARTY_CALLER, c, "from the caller", 15);
			hear(&call, PARTY_CALLEE, c, "from the caller", 15);
			say(&call, PARTY_CALLEE, c, "from the callee", 15);
			hear(&call, PARTY_CALLER, c, "from the callee", 15);
		}
		end_call(&call);
	}
}

static void test_datagrams_of_any_length_arrive_byte_for_byte(void **state)
{
	static const size_t lengths[] = {0, 1, 2, 12, 1472, 9000, 65000, 0};
	static uint8_t data[65000];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		struct call call;

		start_call(&call, families[f]);
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			say(&call, PARTY_CALLER, COMPONENT_RTP, data,
			    lengths[i]);
			hear(&call, PARTY_CALLEE, COMPONENT_RTP, data,
			     lengths[i]);
		}
		end_call(&call);
	}
}

static void test_order_is_kept_through_many_batches(void **state)
{
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	for (uint16_t burst = 0; burst < 20; burst++) {
		for (uint16_t i = 0; i < 100; i++)
			say_rtp(&call, PARTY_CALLER,
				(uint16_t)(burst * 100 + i));
		for (uint16_t i = 0; i < 100; i++)
			hear_rtp(&call, PARTY_CALLEE, 1,
				 (uint16_t)(burst * 100 + i));
	}
	end_call(&call);
}

static void test_the_final_counters_are_exact(void **state)
{
	const unsigned overhead[] = {28, 48};

	(void)state;
	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		const struct media_counters *from;
		struct media_totals totals;
		struct call call;

		start_call(&call, families[f]);
		for (uint16_t i = 0; i < 33; i++) {
			say_rtp(&call, PARTY_CALLER, i);
			hear_rtp(&call, PARTY_CALLEE, 1, i);
		}
		say(&call, PARTY_CALLEE, COMPONENT_RTCP, "", 0);
		hear(&call, PARTY_CALLER, COMPONENT_RTCP, "", 0);
		close_stream(&call);

		from = call.final.from[PARTY_CALLER];
		assert_int_equal(from[COMPONENT_RTP].packets, 33);
		assert_int_equal(from[COMPONENT_RTP].bytes,
				 33 * (RTP_LEN + overhead[f]));
		assert_int_equal(from[COMPONENT_RTP].payload_type, 8);
		assert_int_equal(from[COMPONENT_RTP].rule, RULE_SDP);
		assert_true(from[COMPONENT_RTP].first_media_us > 0);
		assert_true(from[COMPONENT_RTP].last_media_us >=
			    from[COMPONENT_RTP].first_media_us);
		assert_true(endpoint_equal(
			&from[COMPONENT_RTP].remote,
			&call.phones[PARTY_CALLER].at[COMPONENT_RTP]));
		assert_int_equal(from[COMPONENT_RTCP].packets, 0);
		assert_int_equal(from[COMPONENT_RTCP].payload_type, -1);
		from = call.final.from[PARTY_CALLEE];
		assert_int_equal(from[COMPONENT_RTP].packets, 0);
		assert_int_equal(from[COMPONENT_RTP].first_media_us, 0);
		assert_int_equal(from[COMPONENT_RTCP].packets, 1);
		assert_int_equal(from[COMPONENT_RTCP].bytes, overhead[f]);

		media_read_totals(call.media, &totals);
		assert_int_equal(totals.packets, 34);
		assert_int_equal(totals.bytes,
				 33 * (RTP_LEN + overhead[f]) + overhead[f]);
		end_call(&call);
	}
}

static void
test_what_arrived_before_the_close_is_forwarded_and_counted(void **state)
{
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	for (uint16_t i = 0; i < 10; i++)
		say_rtp(&call, PARTY_CALLER, i);
	close_stream(&call);
	assert_int_equal(call.final.from[PARTY_CALLER][COMPONENT_RTP].packets,
			 10);
	for (uint16_t i = 0; i < 10; i++)
		hear_rtp(&call, PARTY_CALLEE, 1, i);
	end_call(&call);
}

static void
test_a_rejected_stream_forwards_nothing_until_it_is_accepted(void **state)
{
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	media_stream_set_forwarding(call.stream, false);
	say_rtp(&call, PARTY_CALLER, 1);
	await_drops(&call, PARTY_CALLER, DROP_NOT_FORWARDING, 1);
	assert_nothing_to_hear(&call, PARTY_CALLEE, COMPONENT_RTP);
	media_stream_set_forwarding(call.stream, true);
	say_rtp(&call, PARTY_CALLER, 2);
	hear_rtp(&call, PARTY_CALLEE, 1, 2);
	end_call(&call);
}

static void
test_without_a_destination_packets_are_counted_and_media_is_noted(void **state)
{
	const struct endpoint none = {0};
	struct media_snapshot now;
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	media_stream_set_sdp(call.stream, PARTY_CALLEE, &none);
	say_rtp(&call, PARTY_CALLER, 1);
	await_drops(&call, PARTY_CALLER, DROP_NO_DESTINATION, 1);
	media_stream_read(call.stream, &now);
	assert_int_equal(now.from[PARTY_CALLER][COMPONENT_RTP].packets, 0);
	assert_true(now.from[PARTY_CALLER][COMPONENT_RTP].last_media_us > 0);
	end_call(&call);
}

/* RTCP may come on the port of RTP (RFC 5761), and a phone may go on with it
 * after its media ended. */
static void test_rtcp_and_stun_are_forwarded_and_are_no_media(void **state)
{
	static const uint8_t rtcp[] = {0x80, 201, 0, 1, 1, 2, 3, 4};
	static const uint8_t stun[] = {0,    1, 0, 0,  0x21, 0x12, 0xa4,
				       0x42, 1, 2, 3,  4,    5,    6,
				       7,    8, 9, 10, 11,   12};
	struct media_snapshot now;
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	say(&call, PARTY_CALLER, COMPONENT_RTP, rtcp, sizeof(rtcp));
	hear(&call, PARTY_CALLEE, COMPONENT_RTP, rtcp, sizeof(rtcp));
	say(&call, PARTY_CALLER, COMPONENT_RTP, stun, sizeof(stun));
	hear(&call, PARTY_CALLEE, COMPONENT_RTP, stun, sizeof(stun));
	say_rtp(&call, PARTY_CALLEE, 1);
	hear_rtp(&call, PARTY_CALLER, PARTY_CALLEE + 1, 1);
	close_stream(&call);
	now = call.final;
	assert_int_equal(now.from[PARTY_CALLER][COMPONENT_RTP].packets, 2);
	assert_int_equal(now.from[PARTY_CALLER][COMPONENT_RTP].last_media_us,
			 0);
	assert_true(now.from[PARTY_CALLEE][COMPONENT_RTP].last_media_us > 0);
	end_call(&call);
}

static void test_what_the_kernel_refuses_is_counted_as_failed(void **state)
{
	struct endpoint broadcast = {.port = 9};
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	/* Broadcast of loopback's network: sendmsg() says EACCES. */
	assert_int_equal(ip_parse(SPAN("127.255.255.255"), &broadcast.ip), 0);
	media_stream_set_sdp(call.stream, PARTY_CALLEE, &broadcast);
	for (uint16_t i = 0; i < 5; i++)
		say_rtp(&call, PARTY_CALLER, i);
	await_drops(&call, PARTY_CALLER, DROP_SEND_FAILED, 5);
	end_call(&call);
}

/* IPv6 has room for a little more than IPv4 can take. */
static void
test_one_message_that_fails_does_not_take_the_others_along(void **state)
{
	static uint8_t too_large[65520];
	struct call call;

	(void)state;
	call = (struct call){.media = start_media(LONG_US)};
	assert_int_equal(media_session_new(&call.session, call.media), 0);
	open_pair(call.media, AF_INET6, &call.pairs[PARTY_CALLER]);
	open_pair(call.media, AF_INET, &call.pairs[PARTY_CALLEE]);
	assert_int_equal(media_stream_new(&call.stream, call.session,
					  call.pairs, MEDIA_FORMAT_RTP),
			 0);
	call.phones[PARTY_CALLER] = open_phone(call.media, AF_INET6);
	call.phones[PARTY_CALLEE] = open_phone(call.media, AF_INET);
	for (enum party party = 0; party < PARTY_COUNT; party++)
		media_stream_set_sdp(call.stream, party,
				     &call.phones[party].at[COMPONENT_RTP]);

	for (uint16_t i = 0; i < 100; i++) {
		say_rtp(&call, PARTY_CALLER, i);
		say(&call, PARTY_CALLER, COMPONENT_RTP, too_large,
		    sizeof(too_large));
		say_rtp(&call, PARTY_CALLER, i);
		hear_rtp(&call, PARTY_CALLEE, 1, i);
		hear_rtp(&call, PARTY_CALLEE, 1, i);
	}
	await_drops(&call, PARTY_CALLER, DROP_SEND_FAILED, 100);
	end_call(&call);
}

static void test_a_flood_at_one_stream_does_not_starve_another(void **state)
{
	struct call flooded;
	struct call quiet;

	(void)state;
	start_call(&flooded, AF_INET);
	quiet = (struct call){.media = flooded.media};
	quiet.session = flooded.session; /* so both are on one worker */
	start_stream(&quiet, AF_INET);
	for (enum party party = 0; party < PARTY_COUNT; party++) {
		quiet.phones[party] = open_phone(quiet.media, AF_INET);
		media_stream_set_sdp(quiet.stream, party,
				     &quiet.phones[party].at[COMPONENT_RTP]);
	}
	for (uint16_t i = 0; i < 100; i++) {
		for (uint16_t j = 0; j < 200; j++)
			say_rtp(&flooded, PARTY_CALLER, j);
		say_rtp(&quiet, PARTY_CALLER, i);
		hear_rtp(&quiet, PARTY_CALLEE, 1, i);
	}
	close_stream(&quiet);
	assert_int_equal(quiet.final.from[PARTY_CALLER][COMPONENT_RTP].packets,
			 100);
	for (unsigned i = 0; i < PARTY_COUNT; i++)
		close_phone(quiet.media, &quiet.phones[i]);
	end_call(&flooded);
}

static uint64_t sum_from_caller(const struct media_snapshot *snapshot)
{
	const struct media_counters *from =
		&snapshot->from[PARTY_CALLER][COMPONENT_RTP];
	uint64_t sum = from->packets;

	for (unsigned why = 0; why < DROP_COUNT; why++)
		sum += from->drops[why];
	return sum;
}

#define OVERFLOW 5000 /* more than any receive buffer that we ask for */

static void test_what_the_receive_buffer_drops_is_counted(void **state)
{
	const struct media_counters *from;
	uint64_t deadline;
	struct call call;

	(void)state;
	call = (struct call){.media = start_media(LONG_US)};
	assert_int_equal(media_session_new(&call.session, call.media), 0);
	for (enum party party = 0; party < PARTY_COUNT; party++) {
		call.phones[party] = open_phone(call.media, AF_INET);
		open_pair(call.media, AF_INET, &call.pairs[party]);
	}
	for (uint16_t i = 0; i < OVERFLOW; i++) /* nobody reads yet */
		say_rtp(&call, PARTY_CALLER, i);
	assert_int_equal(media_stream_new(&call.stream, call.session,
					  call.pairs, MEDIA_FORMAT_RTP),
			 0);
	deadline = clock_mono_us() + DEADLINE_MS * US_PER_MS;
	do {
		poll(NULL, 0, 1);
		media_stream_read(call.stream, &call.final);
		from = &call.final.from[PARTY_CALLER][COMPONENT_RTP];
		assert_true(clock_mono_us() < deadline);
	} while (sum_from_caller(&call.final) < OVERFLOW);
	assert_true(from->drops[DROP_RECEIVE_FULL] > 0);
	assert_int_equal(sum_from_caller(&call.final), OVERFLOW);
	end_call(&call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_rtp_and_rtcp_go_both_ways_in_both_families),
		cmocka_unit_test(
			test_datagrams_of_any_length_arrive_byte_for_byte),
		cmocka_unit_test(test_order_is_kept_through_many_batches),
		cmocka_unit_test(test_the_final_counters_are_exact),
		cmocka_unit_test(
			test_what_arrived_before_the_close_is_forwarded_and_counted),
		cmocka_unit_test(
			test_a_rejected_stream_forwards_nothing_until_it_is_accepted),
		cmocka_unit_test(
			test_without_a_destination_packets_are_counted_and_media_is_noted),
		cmocka_unit_test(
			test_what_the_kernel_refuses_is_counted_as_failed),
		cmocka_unit_test(
			test_one_message_that_fails_does_not_take_the_others_along),
		cmocka_unit_test(
			test_a_flood_at_one_stream_does_not_starve_another),
		cmocka_unit_test(
			test_rtcp_and_stun_are_forwarded_and_are_no_media),
		cmocka_unit_test(test_what_the_receive_buffer_drops_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
