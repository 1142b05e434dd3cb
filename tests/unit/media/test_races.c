/* The control thread changes and ends streams in the middle of traffic. What
 * this is about shows under the sanitizers. */
#include <pthread.h>

#include "media_scene.h"

#define ROUNDS 500

struct traffic {
	_Atomic uint16_t port; /* the caller's relay port now; 0: stop */
	int fd[2];             /* the caller's phone, and a stranger */
};

static void *send_all_the_time(void *arg)
{
	struct traffic *traffic = arg;
	struct endpoint to = {.ip = loopback(AF_INET)};
	uint8_t packet[RTP_LEN];
	uint16_t seq = 0;

	while ((to.port = traffic->port)) {
		struct sockaddr_storage address;
		socklen_t len = endpoint_to_sockaddr(&to, &address);

		make_rtp(packet, 1, seq++);
		for (unsigned i = 0; i < 2; i++)
			sendto(traffic->fd[i], packet, RTP_LEN, 0,
			       (struct sockaddr *)&address, len);
	}
	return NULL;
}

static void change_everything(struct call *call, unsigned round)
{
	struct endpoint other = call->phones[PARTY_CALLER].at[COMPONENT_RTP];
	struct ip_addr signalling = other.ip;
	struct media_snapshot snapshot;
	struct media_totals totals;

	signalling.bytes[3] = (uint8_t)(round % 2 ? 66 : 67);
	for (unsigned i = 0; i < 20; i++) {
		other.port = (uint16_t)(other.port ^ (i % 3));
		media_stream_set_sdp(call->stream, PARTY_CALLER, &other);
		media_session_set_signalling(call->session, PARTY_CALLER,
					     &signalling);
		media_stream_set_forwarding(call->stream, i % 2);
		media_stream_read(call->stream, &snapshot);
		media_read_totals(call->media, &totals);
	}
}

static void test_streams_change_and_end_in_the_middle_of_traffic(void **state)
{
	struct endpoint stranger = {0};
	struct traffic traffic;
	uint64_t packets = 0;
	struct call call;
	pthread_t thread;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	assert_int_equal(ip_parse(SPAN("127.0.0.66"), &stranger.ip), 0);
	traffic.fd[0] = call.phones[PARTY_CALLER].fd[COMPONENT_RTP];
	traffic.fd[1] = media_socket_open(&stranger, 0, false);
	traffic.port = call.pairs[PARTY_CALLER].local.port;
	assert_int_equal(
		pthread_create(&thread, NULL, send_all_the_time, &traffic), 0);

	wait_readable(call.phones[PARTY_CALLEE].fd[COMPONENT_RTP]);
	for (unsigned round = 0; round < ROUNDS; round++) {
		change_everything(&call, round);
		close_stream(&call);
		packets += call.final.from[PARTY_CALLER][COMPONENT_RTP].packets;
		call.closed = false;
		start_stream(&call, AF_INET);
		traffic.port = call.pairs[PARTY_CALLER].local.port;
		media_stream_set_sdp(
			call.stream, PARTY_CALLEE,
			&call.phones[PARTY_CALLEE].at[COMPONENT_RTP]);
		media_stream_open(call.stream);
	}
	traffic.port = 0;
	pthread_join(thread, NULL);
	assert_true(packets > 0);
	close(traffic.fd[1]);
	end_call(&call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_streams_change_and_end_in_the_middle_of_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
