#include <errno.h>

#include "ctl/call_media.h"
#include "test.h"

#define PACKETS 7 /* 120 ms; the RTCP packet is sent with the sixth */

static struct ip_addr loopback;

/* Without a relay: each party sends to the other's own ports. */
static struct call_media *back_to_back(size_t streams)
{
	struct call_media *media;

	assert_int_equal(ip_parse(SPAN("127.0.0.1"), &loopback), 0);
	assert_int_equal(call_media_new(&media, &loopback, streams, PACKETS),
			 0);
	for (size_t i = 0; i < streams; i++) {
		struct endpoint caller = {
			loopback, call_media_port(media, i, PARTY_CALLER)};
		struct endpoint callee = {
			loopback, call_media_port(media, i, PARTY_CALLEE)};

		call_media_set_relay(media, i, PARTY_CALLER, &callee);
		call_media_set_relay(media, i, PARTY_CALLEE, &caller);
	}
	return media;
}

static void test_ports_are_even_and_different(void **state)
{
	struct call_media *media = back_to_back(2);

	(void)state;
	assert_int_equal(call_media_port(media, 0, PARTY_CALLER) % 2, 0);
	assert_int_equal(call_media_port(media, 1, PARTY_CALLEE) % 2, 0);
	assert_int_not_equal(call_media_port(media, 0, PARTY_CALLER),
			     call_media_port(media, 0, PARTY_CALLEE));
	call_media_free(media);
}

static void test_all_that_arrives_is_counted_once(void **state)
{
	struct call_media *media = back_to_back(2);
	volatile sig_atomic_t stop = 0;

	(void)state;
	assert_int_equal(call_media_run(media, &stop), 0);
	assert_true(call_media_is_complete(media));
	for (size_t i = 0; i < 2; i++) {
		const struct call_flow *rtp =
			call_media_flow(media, i, PARTY_CALLEE, COMPONENT_RTP);
		const struct call_flow *rtcp =
			call_media_flow(media, i, PARTY_CALLER, COMPONENT_RTCP);

		assert_int_equal(rtp->sent, PACKETS);
		assert_int_equal(rtp->received, PACKETS);
		assert_int_equal(rtp->duplicated, 0);
		assert_int_equal(rtp->out_of_order, 0);
		assert_int_equal(rtp->delay_us.count, PACKETS);
		assert_int_equal(rtcp->sent, 1);
		assert_int_equal(rtcp->received, 1);
	}
	call_media_free(media);
}

static void test_packets_from_elsewhere_do_not_count(void **state)
{
	struct call_media *media = back_to_back(1);
	struct endpoint elsewhere = {loopback, 2};
	volatile sig_atomic_t stop = 0;
	const struct call_flow *flow;

	(void)state;
	/* The callee expects its packets from another port than the caller's,
	 * and sends its own there, where nobody is. */
	call_media_set_relay(media, 0, PARTY_CALLEE, &elsewhere);
	assert_int_equal(call_media_run(media, &stop), 0);
	assert_false(call_media_is_complete(media));
	flow = call_media_flow(media, 0, PARTY_CALLER, COMPONENT_RTP);
	assert_int_equal(flow->sent, PACKETS);
	assert_int_equal(flow->received, 0);
	assert_int_equal(flow->misrouted, PACKETS);
	flow = call_media_flow(media, 0, PARTY_CALLEE, COMPONENT_RTP);
	assert_int_equal(flow->received, 0);
	call_media_free(media);
}

static void test_crossed_streams_are_noticed(void **state)
{
	struct call_media *media = back_to_back(2);
	volatile sig_atomic_t stop = 0;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct endpoint caller = {
			loopback, call_media_port(media, 1 - i, PARTY_CALLER)};
		struct endpoint callee = {
			loopback, call_media_port(media, 1 - i, PARTY_CALLEE)};

		call_media_set_relay(media, i, PARTY_CALLER, &callee);
		call_media_set_relay(media, i, PARTY_CALLEE, &caller);
	}
	assert_int_equal(call_media_run(media, &stop), 0);
	assert_false(call_media_is_complete(media));
	assert_int_equal(
		call_media_flow(media, 0, PARTY_CALLER, COMPONENT_RTP)->damaged,
		PACKETS);
	call_media_free(media);
}

static void test_a_stopped_call_is_not_complete(void **state)
{
	struct call_media *media = back_to_back(1);
	volatile sig_atomic_t stop = 1;

	(void)state;
	assert_int_equal(call_media_run(media, &stop), 0);
	assert_false(call_media_is_complete(media));
	call_media_free(media);
}

static void test_an_address_that_is_not_ours_is_an_error(void **state)
{
	struct call_media *media;
	struct ip_addr ip;

	(void)state;
	assert_int_equal(ip_parse(SPAN("192.0.2.1"), &ip), 0);
	assert_int_equal(call_media_new(&media, &ip, 1, PACKETS),
			 -EADDRNOTAVAIL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports_are_even_and_different),
		cmocka_unit_test(test_all_that_arrives_is_counted_once),
		cmocka_unit_test(test_packets_from_elsewhere_do_not_count),
		cmocka_unit_test(test_crossed_streams_are_noticed),
		cmocka_unit_test(test_a_stopped_call_is_not_complete),
		cmocka_unit_test(test_an_address_that_is_not_ours_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
