#include "media_scene.h"

#define STRANGER_SSRC 0xabcdu

/* A socket at another address of loopback's network: no IP of the party. */
static int open_stranger(const char *ip)
{
	struct endpoint at = {0};
	int fd;

	assert_int_equal(ip_parse(span_of(ip), &at.ip), 0);
	fd = media_socket_open(&at, 0, false);
	assert_true(fd >= 0);
	return fd;
}

static void stranger_says(struct call *call, int fd, uint16_t seq)
{
	struct endpoint to = relay_port(call, PARTY_CALLER, COMPONENT_RTP);
	uint8_t packet[RTP_LEN];

	make_rtp(packet, STRANGER_SSRC, seq);
	send_to(fd, &to, packet, RTP_LEN);
}

static struct media_counters from_caller(const struct call *call)
{
	struct media_snapshot snapshot;

	media_stream_read(call->stream, &snapshot);
	return snapshot.from[PARTY_CALLER][COMPONENT_RTP];
}

static void
test_a_stranger_beside_the_remote_is_dropped_and_counted(void **state)
{
	struct call call;
	int fd;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	fd = open_stranger("127.0.0.66");
	say_rtp(&call, PARTY_CALLER, 1);
	hear_rtp(&call, PARTY_CALLEE, 1, 1);
	for (uint16_t i = 0; i < 20; i++)
		stranger_says(&call, fd, i);
	await_drops(&call, PARTY_CALLER, DROP_NOT_THE_REMOTE, 20);
	assert_nothing_to_hear(&call, PARTY_CALLEE, COMPONENT_RTP);

	/* and nothing of the callee's goes there */
	say_rtp(&call, PARTY_CALLEE, 1);
	hear_rtp(&call, PARTY_CALLER, 2, 1);
	assert_int_equal(recv(fd, &(char){0}, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
	end_call(&call);
}

static void
test_a_stranger_before_the_answer_is_dropped_and_counted(void **state)
{
	struct call call = {.media = start_media(SHORT_US)};
	int fd = open_stranger("127.0.0.66");

	(void)state;
	assert_int_equal(media_session_new(&call.session, call.media), 0);
	start_stream(&call, AF_INET);
	for (enum party party = 0; party < PARTY_COUNT; party++)
		call.phones[party] = open_phone(call.media, AF_INET);
	for (uint16_t i = 0; i < 20; i++)
		stranger_says(&call, fd, i);
	await_drops(&call, PARTY_CALLER, DROP_NOT_OPEN, 20);
	close(fd);
	end_call(&call);
}

static void test_what_is_held_of_a_candidate_is_forwarded_in_order(void **state)
{
	struct media_counters caller;
	struct call call;
	int fd;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	fd = open_stranger("127.0.0.66");
	for (uint16_t i = 1; i <= 4; i++)
		stranger_says(&call, fd, i);
	for (uint16_t i = 1; i <= 4; i++)
		hear_rtp(&call, PARTY_CALLEE, STRANGER_SSRC, i);
	close_stream(&call);
	caller = call.final.from[PARTY_CALLER][COMPONENT_RTP];
	assert_int_equal(caller.rule, RULE_PROVED);
	assert_int_equal(caller.packets, 4);
	assert_int_equal(caller.drops[DROP_NOT_PROVED], 0);
	close(fd);
	end_call(&call);
}

static void
test_at_most_eight_packets_are_held_and_the_rest_counted(void **state)
{
	struct call call;
	int fd;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	fd = open_stranger("127.0.0.66");
	for (uint16_t i = 0; i < 20; i++)
		stranger_says(&call, fd, 7); /* proves nothing */
	await_drops(&call, PARTY_CALLER, DROP_NOT_PROVED, 12);
	assert_nothing_to_hear(&call, PARTY_CALLEE, COMPONENT_RTP);
	close_stream(&call);
	assert_int_equal(call.final.from[PARTY_CALLER][COMPONENT_RTP]
				 .drops[DROP_NOT_PROVED],
			 20);
	close(fd);
	end_call(&call);
}

static void
test_what_a_candidate_sent_is_dropped_when_the_party_comes(void **state)
{
	struct call call;
	int fd;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	fd = open_stranger("127.0.0.66");
	for (uint16_t i = 1; i <= 3; i++)
		stranger_says(&call, fd, i);
	say_rtp(&call, PARTY_CALLER, 1);
	hear_rtp(&call, PARTY_CALLEE, 1, 1);
	await_drops(&call, PARTY_CALLER, DROP_NOT_PROVED, 3);
	assert_nothing_to_hear(&call, PARTY_CALLEE, COMPONENT_RTP);
	close(fd);
	end_call(&call);
}

static void
test_what_is_held_is_dropped_when_the_stream_is_rejected(void **state)
{
	struct call call;
	int fd;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	fd = open_stranger("127.0.0.66");
	stranger_says(&call, fd, 1);
	stranger_says(&call, fd, 2);
	let_worker_finish(&call);
	media_stream_set_forwarding(call.stream, false);
	await_drops(&call, PARTY_CALLER, DROP_NOT_PROVED, 2);
	media_stream_set_forwarding(call.stream, true);
	close(fd);
	end_call(&call);
}

static void test_a_lone_packet_is_forwarded_when_no_rival_came(void **state)
{
	struct endpoint to;
	struct call call;
	int fd;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	fd = open_stranger("127.0.0.66");
	to = relay_port(&call, PARTY_CALLER, COMPONENT_RTP);
	send_to(fd, &to, "\0\1t38", 5);
	hear(&call, PARTY_CALLEE, COMPONENT_RTP, "\0\1t38", 5);
	say_rtp(&call, PARTY_CALLEE, 1);
	wait_readable(fd); /* it is the remote now */
	close_stream(&call);
	assert_int_equal(call.final.from[PARTY_CALLER][COMPONENT_RTP].rule,
			 RULE_PROVED);
	close(fd);
	end_call(&call);
}

static void
test_the_party_takes_its_call_back_from_a_proved_stranger(void **state)
{
	struct call call;
	int fd;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	fd = open_stranger("127.0.0.66");
	for (uint16_t i = 1; i <= 4; i++)
		stranger_says(&call, fd, i);
	for (uint16_t i = 1; i <= 4; i++)
		hear_rtp(&call, PARTY_CALLEE, STRANGER_SSRC, i);
	say_rtp(&call, PARTY_CALLER, 9);
	hear_rtp(&call, PARTY_CALLEE, 1, 9);
	say_rtp(&call, PARTY_CALLEE, 1);
	hear_rtp(&call, PARTY_CALLER, 2, 1);
	stranger_says(&call, fd, 5);
	await_drops(&call, PARTY_CALLER, DROP_NOT_THE_REMOTE, 1);
	close(fd);
	end_call(&call);
}

static void test_new_sdp_is_in_force_for_the_next_packet(void **state)
{
	struct media_counters caller;
	struct phone moved;
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	say_rtp(&call, PARTY_CALLER, 1);
	hear_rtp(&call, PARTY_CALLEE, 1, 1);
	moved = open_phone(call.media, AF_INET);
	media_stream_set_sdp(call.stream, PARTY_CALLER,
			     &moved.at[COMPONENT_RTP]);
	caller = from_caller(&call);
	assert_false(ip_is_set(&caller.remote.ip));
	assert_int_equal(caller.rule, RULE_NONE);
	say_rtp(&call, PARTY_CALLER, 2); /* still the old phone */
	await_drops(&call, PARTY_CALLER, DROP_NOT_OPEN, 1);

	close_phone(call.media, &call.phones[PARTY_CALLER]);
	call.phones[PARTY_CALLER] = moved;
	say_rtp(&call, PARTY_CALLEE, 1);
	hear_rtp(&call, PARTY_CALLER, 2, 1);
	say_rtp(&call, PARTY_CALLER, 3);
	hear_rtp(&call, PARTY_CALLEE, 1, 3);
	end_call(&call);
}

static void
test_what_one_stream_learned_serves_the_next_even_when_it_ended(void **state)
{
	struct call call;
	int fd;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	fd = open_stranger("127.0.0.66");
	for (uint16_t i = 1; i <= 4; i++)
		stranger_says(&call, fd, i);
	for (uint16_t i = 1; i <= 4; i++)
		hear_rtp(&call, PARTY_CALLEE, STRANGER_SSRC, i);
	close_stream(&call);

	call.closed = false;
	start_stream(&call, AF_INET); /* T.38 takes over: not answered yet */
	media_stream_set_sdp(call.stream, PARTY_CALLEE,
			     &call.phones[PARTY_CALLEE].at[COMPONENT_RTP]);
	stranger_says(&call, fd, 1);
	hear_rtp(&call, PARTY_CALLEE, STRANGER_SSRC, 1);
	close_stream(&call);
	assert_int_equal(call.final.from[PARTY_CALLER][COMPONENT_RTP].rule,
			 RULE_KNOWN_IP);
	close(fd);
	end_call(&call);
}

static void test_the_signalling_address_may_be_told_at_any_time(void **state)
{
	struct ip_addr signalling;
	struct call call;
	int fd;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	fd = open_stranger("127.0.0.66");
	assert_int_equal(ip_parse(SPAN("127.0.0.66"), &signalling), 0);
	media_session_set_signalling(call.session, PARTY_CALLER, &signalling);
	stranger_says(&call, fd, 1);
	hear_rtp(&call, PARTY_CALLEE, STRANGER_SSRC, 1);
	close(fd);
	end_call(&call);
}

static void test_an_rtcp_remote_is_shown_until_it_is_forgotten(void **state)
{
	const struct media_counters *rtcp;
	struct media_snapshot snapshot;
	struct call call;

	(void)state;
	start_call_on(&call, AF_INET, start_media_forgetting(LONG_US, 1));
	say(&call, PARTY_CALLER, COMPONENT_RTCP, "rtcp", 4);
	hear(&call, PARTY_CALLEE, COMPONENT_RTCP, "rtcp", 4);
	rtcp = &snapshot.from[PARTY_CALLER][COMPONENT_RTCP];

	/* The callee's packet asks where to send to, and finds it out; it goes
	 * to the SDP's next port then. */
	say(&call, PARTY_CALLEE, COMPONENT_RTCP, "rtcp", 4);
	hear(&call, PARTY_CALLER, COMPONENT_RTCP, "rtcp", 4);
	close_stream(&call);
	snapshot = call.final;
	assert_int_equal(rtcp->packets, 1);
	assert_int_equal(rtcp->rule, RULE_NONE);
	assert_false(ip_is_set(&rtcp->remote.ip));
	end_call(&call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_stranger_beside_the_remote_is_dropped_and_counted),
		cmocka_unit_test(
			test_a_stranger_before_the_answer_is_dropped_and_counted),
		cmocka_unit_test(
			test_what_is_held_of_a_candidate_is_forwarded_in_order),
		cmocka_unit_test(
			test_at_most_eight_packets_are_held_and_the_rest_counted),
		cmocka_unit_test(
			test_what_a_candidate_sent_is_dropped_when_the_party_comes),
		cmocka_unit_test(
			test_what_is_held_is_dropped_when_the_stream_is_rejected),
		cmocka_unit_test(
			test_a_lone_packet_is_forwarded_when_no_rival_came),
		cmocka_unit_test(
			test_the_party_takes_its_call_back_from_a_proved_stranger),
		cmocka_unit_test(test_new_sdp_is_in_force_for_the_next_packet),
		cmocka_unit_test(
			test_what_one_stream_learned_serves_the_next_even_when_it_ended),
		cmocka_unit_test(
			test_the_signalling_address_may_be_told_at_any_time),
		cmocka_unit_test(
			test_an_rtcp_remote_is_shown_until_it_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
