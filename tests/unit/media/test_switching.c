/* Streams that go into the kernel and come back in the middle of traffic, with
 * the real engine: each packet arrives once, in order, where it belongs, and
 * from the port that it is expected from. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include "media/media.h"
#include "network_scene.h"

#define PACKETS 300
#define ROUNDS 10
#define RTP_LEN 172
#define RELAY "192.0.2.1"
#define PHONES "192.0.2.2"

struct phone {
	struct endpoint at;
	int fd;
	uint16_t sent, heard; /* the latest sequence numbers */
};

struct scene {
	struct network net;
	struct media *media;
	struct media_session *session;
	struct media_stream *stream;
	struct endpoint port[PARTY_COUNT]; /* that the party sends to */
	struct media_snapshot final;
	bool closed;
};

static struct endpoint at(const char *ip, uint16_t port)
{
	struct endpoint ep = {.port = port};

	assert_int_equal(ip_parse(span_of(ip), &ep.ip), 0);
	return ep;
}

static struct phone open_phone(const struct network *net, uint16_t port)
{
	struct phone phone = {.at = at(PHONES, port)};
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(&phone.at, &address);

	assert_int_equal(setns(net->there, CLONE_NEWNET), 0);
	phone.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setns(net->here, CLONE_NEWNET), 0);
	assert_true(phone.fd >= 0);
	assert_int_equal(bind(phone.fd, (struct sockaddr *)&address, len), 0);
	return phone;
}

static void start(struct scene *s, enum media_forwarding forwarding)
{
	const struct media_config config = {
		.worker_count = 1,
		.learning = {.settle_us = 3600 * US_PER_S,
			     .rebind_silence_us = 200000,
			     .rtcp_forget_us = 60 * US_PER_S,
			     .probation_packets = 4},
		.engine = {.forwarding = forwarding,
			   .interfaces = "",
			   .port_first = 50000,
			   .port_end = 51000,
			   .lease_us = 30 * US_PER_S},
	};

	memset(s, 0, sizeof(*s));
	network_enter(&s->net);
	network_connect(&s->net, "mp0");
	run_in(s->net.here, "ip addr add " RELAY "/24 dev mp0");
	run_in(s->net.there, "ip addr add " PHONES "/24 dev peer;"
			     "ethtool -K peer gro on tx off >/dev/null");
	assert_int_equal(media_new(&s->media, &config), 0);
	if (strcmp(media_engine_name(s->media), "userspace") == 0) {
		print_message("the kernel takes no program\n");
		skip();
	}
}

static void end(struct scene *s)
{
	media_free(s->media);
	network_leave(&s->net);
}

static void open_stream(struct scene *s, unsigned round,
			const struct phone *caller, const struct phone *callee)
{
	struct media_port_pair pairs[PARTY_COUNT];

	assert_int_equal(media_session_new(&s->session, s->media), 0);
	for (unsigned party = 0; party < PARTY_COUNT; party++) {
		s->port[party] =
			at(RELAY, (uint16_t)(50000 + 4 * round + 2 * party));
		assert_int_equal(media_port_pair_open(
					 s->media, &s->port[party].ip,
					 s->port[party].port, &pairs[party]),
				 0);
	}
	assert_int_equal(media_stream_new(&s->stream, s->session, pairs,
					  MEDIA_FORMAT_RTP),
			 0);
	media_stream_set_sdp(s->stream, PARTY_CALLER, &caller->at);
	media_stream_set_sdp(s->stream, PARTY_CALLEE, &callee->at);
	media_stream_open(s->stream);
	s->closed = false;
}

static void note_closed(const struct media_snapshot *final, void *arg)
{
	struct scene *s = arg;

	s->final = *final;
	s->closed = true;
}

static void close_stream(struct scene *s)
{
	media_stream_close(s->stream, note_closed, s);
	while (!s->closed) {
		struct pollfd p = {.fd = media_event_fd(s->media),
				   .events = POLLIN};

		assert_int_equal(poll(&p, 1, DEADLINE_US / US_PER_MS), 1);
		media_dispatch(s->media);
	}
	s->session = media_session_free(s->session);
}

static void say(const struct scene *s, struct phone *phone, enum party party)
{
	uint8_t packet[RTP_LEN] = {0x80, 8};
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(&s->port[party], &address);
	uint16_t seq = ++phone->sent;

	packet[2] = (uint8_t)(seq >> 8);
	packet[3] = (uint8_t)seq;
	packet[11] = (uint8_t)(party + 1);
	assert_int_equal(sendto(phone->fd, packet, RTP_LEN, 0,
				(struct sockaddr *)&address, len),
			 RTP_LEN);
}

/* What has arrived: from the relay's port of this party, and right after what
 * was heard before. */
static void hear(const struct scene *s, struct phone *phone, enum party party)
{
	uint8_t packet[RTP_LEN];
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	struct endpoint from;

	while (recvfrom(phone->fd, packet, RTP_LEN, MSG_DONTWAIT,
			(struct sockaddr *)&address, &len) == RTP_LEN) {
		from = endpoint_from_sockaddr(&address);
		assert_true(endpoint_equal(&from, &s->port[party]));
		assert_int_equal(packet[11], party_other(party) + 1);
		assert_int_equal(packet[2] << 8 | packet[3],
				 (uint16_t)(phone->heard + 1));
		phone->heard++;
	}
}

static void await_heard(const struct scene *s, struct phone *phone,
			enum party party, uint16_t seq)
{
	uint64_t until_us = clock_mono_us() + DEADLINE_US;

	while (hear(s, phone, party), phone->heard != seq) {
		assert_true(clock_mono_us() < until_us);
		poll(NULL, 0, 1);
	}
}

static void pause_us(unsigned us)
{
	const struct timespec t = {.tv_nsec = us * 1000};

	(void)nanosleep(&t, NULL);
}

/* A packet each way, each third of a millisecond. */
static void talk(const struct scene *s, struct phone *caller,
		 struct phone *callee, unsigned count)
{
	while (count-- > 0) {
		say(s, caller, PARTY_CALLER);
		say(s, callee, PARTY_CALLEE);
		hear(s, callee, PARTY_CALLEE);
		hear(s, caller, PARTY_CALLER);
		pause_us(300);
	}
}

static void assert_final(const struct scene *s, enum party party,
			 uint64_t packets)
{
	const struct media_counters *c = &s->final.from[party][COMPONENT_RTP];

	assert_int_equal(c->packets, packets);
	assert_int_equal(c->bytes, packets * (RTP_LEN + 28));
	assert_true(c->kernel_packets > 0);
	assert_true(c->kernel_packets < packets);
	for (unsigned why = 0; why < DROP_COUNT; why++)
		assert_int_equal(c->drops[why], 0);
}

static void confirm(enum media_forwarding forwarding)
{
	struct scene s;

	start(&s, forwarding);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct phone caller = open_phone(&s.net, 4000);
		struct phone callee = open_phone(&s.net, 4002);

		open_stream(&s, round, &caller, &callee);
		talk(&s, &caller, &callee, PACKETS);
		await_heard(&s, &callee, PARTY_CALLEE, PACKETS);
		await_heard(&s, &caller, PARTY_CALLER, PACKETS);
		close_stream(&s);
		assert_final(&s, PARTY_CALLER, PACKETS);
		assert_final(&s, PARTY_CALLEE, PACKETS);
		close(caller.fd);
		close(callee.fd);
	}
	end(&s);
}

/* Once the new phone has something, the old one has all that it gets. */
static void follow(const struct scene *s, struct phone *before,
		   struct phone *after)
{
	struct pollfd p = {.fd = after->fd, .events = POLLIN};
	bool has_some = poll(&p, 1, 0) == 1;

	hear(s, before, PARTY_CALLEE);
	if (!has_some)
		return;
	if (after->heard == 0)
		after->heard = before->heard;
	hear(s, after, PARTY_CALLEE);
}

/* The callee's new phone goes on where the old one stops. What the caller sends
 * meanwhile arrives at the one up to some packet, at the other from there on.
 */
static void move(enum media_forwarding forwarding)
{
	struct scene s;

	start(&s, forwarding);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct phone caller = open_phone(&s.net, 4000);
		struct phone before = open_phone(&s.net, 4002);
		struct phone after = open_phone(&s.net, 4004);

		open_stream(&s, round, &caller, &before);
		talk(&s, &caller, &before, PACKETS);
		await_heard(&s, &caller, PARTY_CALLER, PACKETS);
		media_stream_set_sdp(s.stream, PARTY_CALLEE, &after.at);
		for (unsigned i = 0; i < PACKETS; i++) {
			say(&s, &caller, PARTY_CALLER);
			follow(&s, &before, &after);
			pause_us(100);
		}
		await_heard(&s, &after, PARTY_CALLEE, 2 * PACKETS);
		after.sent = before.sent;
		talk(&s, &caller, &after, PACKETS);
		await_heard(&s, &after, PARTY_CALLEE, 3 * PACKETS);
		await_heard(&s, &caller, PARTY_CALLER, 2 * PACKETS);
		close_stream(&s);
		assert_final(&s, PARTY_CALLER, 3 * PACKETS);
		assert_final(&s, PARTY_CALLEE, 2 * PACKETS);
		close(caller.fd);
		close(before.fd);
		close(after.fd);
	}
	end(&s);
}

static void test_no_packet_is_lost_or_overtaken_on_the_way_into_tc(void **state)
{
	(void)state;
	confirm(FORWARDING_TC);
}

static void
test_no_packet_is_lost_or_overtaken_on_the_way_into_xdp(void **state)
{
	(void)state;
	confirm(FORWARDING_XDP);
}

static void test_new_sdp_turns_the_packets_of_tc_once(void **state)
{
	(void)state;
	move(FORWARDING_TC);
}

static void test_new_sdp_turns_the_packets_of_xdp_once(void **state)
{
	(void)state;
	move(FORWARDING_XDP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_no_packet_is_lost_or_overtaken_on_the_way_into_tc),
		cmocka_unit_test(
			test_no_packet_is_lost_or_overtaken_on_the_way_into_xdp),
		cmocka_unit_test(test_new_sdp_turns_the_packets_of_tc_once),
		cmocka_unit_test(test_new_sdp_turns_the_packets_of_xdp_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
