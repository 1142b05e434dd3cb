/* ICE at real sockets: where checks, responses and media go, and its flows. */
#include "media/socket.h"

#include "flow_scene.h"

#define CHECK_LEN 60

/* A message with USERNAME and MESSAGE-INTEGRITY, whatever that is worth. */
static void make_check(uint8_t p[static CHECK_LEN], uint16_t type, uint8_t id,
		       const char user[static 9])
{
	static const uint8_t cookie[] = {0x21, 0x12, 0xa4, 0x42};

	memset(p, 0, CHECK_LEN);
	p[0] = (uint8_t)(type >> 8);
	p[1] = (uint8_t)type;
	p[3] = 40;
	memcpy(p + 4, cookie, sizeof(cookie));
	p[8] = id;
	p[21] = 0x06; /* USERNAME */
	p[23] = 9;
	memcpy(p + 24, user, 9);
	p[37] = 0x08; /* MESSAGE-INTEGRITY */
	p[39] = 20;
}

#define REQUEST 0x0001
#define SUCCESS 0x0101

/* From a socket to a party's port. */
static void say_check(struct scene *s, enum party party, int fd, uint16_t type,
		      uint8_t id, const char *user)
{
	struct endpoint to = relay_port(&s->call, party, COMPONENT_RTP);
	uint8_t packet[CHECK_LEN];

	make_check(packet, type, id, user);
	send_to(fd, &to, packet, CHECK_LEN);
}

/* What came to a socket is such a message. */
static void hear_check(int fd, uint16_t type, uint8_t id)
{
	uint8_t got[256];

	wait_readable(fd);
	assert_int_equal(recv(fd, got, sizeof(got), 0), CHECK_LEN);
	assert_int_equal(got[0] << 8 | got[1], type);
	assert_int_equal(got[8], id);
}

static int rtp_fd(const struct scene *s, enum party party)
{
	return s->call.phones[party].fd[COMPONENT_RTP];
}

/* The caller's check from another port than its SDP says succeeds. */
static struct phone connect_elsewhere(struct scene *s, const char *user,
				      uint8_t id)
{
	struct phone elsewhere = open_phone(s->call.media, AF_INET);

	say_check(s, PARTY_CALLER, elsewhere.fd[0], REQUEST, id, user);
	hear_check(rtp_fd(s, PARTY_CALLEE), REQUEST, id);
	say_check(s, PARTY_CALLEE, rtp_fd(s, PARTY_CALLEE), SUCCESS, id, user);
	hear_check(elsewhere.fd[0], SUCCESS, id);
	return elsewhere;
}

static void start_ice(struct scene *s)
{
	start_scene(s, AF_INET);
	media_stream_set_ice(s->call.stream, true);
}

static struct media_counters caller_now(struct scene *s)
{
	struct media_snapshot snapshot;

	media_stream_read(s->call.stream, &snapshot);
	return snapshot.from[PARTY_CALLER][COMPONENT_RTP];
}

static void say_from(struct scene *s, int fd, uint16_t seq)
{
	struct endpoint to = relay_port(&s->call, PARTY_CALLER, COMPONENT_RTP);
	uint8_t packet[RTP_LEN];

	make_rtp(packet, PARTY_CALLER + 1, seq);
	send_to(fd, &to, packet, sizeof(packet));
}

static void hear_at(int fd, uint16_t seq)
{
	uint8_t wanted[RTP_LEN], got[RTP_LEN];

	make_rtp(wanted, PARTY_CALLEE + 1, seq);
	wait_readable(fd);
	assert_int_equal(recv(fd, got, sizeof(got), 0), RTP_LEN);
	assert_memory_equal(got, wanted, RTP_LEN);
}

static void test_who_was_checked_is_the_remote(void **state)
{
	struct media_counters now;
	struct phone elsewhere;
	struct scene s;

	(void)state;
	start_ice(&s);
	elsewhere = connect_elsewhere(&s, "abcd:efgh", 1);
	AWAIT(caller_now(&s).rule == RULE_ICE);
	now = caller_now(&s);
	assert_true(endpoint_equal(&now.remote, &elsewhere.at[0]));
	/* STUN is no media. */
	assert_int_equal(caller_now(&s).first_media_us, 0);
	assert_nothing_to_hear(&s.call, PARTY_CALLER, COMPONENT_RTP);
	say_from(&s, elsewhere.fd[0], 1);
	hear_rtp(&s.call, PARTY_CALLEE, PARTY_CALLER + 1, 1);
	/* Not even the address in the SDP is heard beside it. */
	say_from(&s, rtp_fd(&s, PARTY_CALLER), 2);
	await_drops(&s.call, PARTY_CALLER, DROP_NOT_THE_REMOTE, 1);
	say_rtp(&s.call, PARTY_CALLEE, 1);
	hear_at(elsewhere.fd[0], 1);
	close_phone(s.call.media, &elsewhere);
	end_scene(&s);
}

static void test_a_flood_meets_a_bucket_here_too(void **state)
{
	struct endpoint at = {0}, to;
	struct phone elsewhere;
	struct scene s;
	uint8_t packet[RTP_LEN];
	int fd;

	(void)state;
	start_ice(&s);
	elsewhere = connect_elsewhere(&s, "abcd:efgh", 1);
	AWAIT(caller_now(&s).rule == RULE_ICE);
	assert_int_equal(ip_parse(SPAN("127.0.0.66"), &at.ip), 0);
	assert_true((fd = media_socket_open(&at, 0, false)) >= 0);
	to = relay_port(&s.call, PARTY_CALLER, COMPONENT_RTP);
	for (unsigned i = 0; i < 200; i++) {
		make_rtp(packet, 0xabcd, (uint16_t)i);
		send_to(fd, &to, packet, RTP_LEN);
	}
	AWAIT(caller_now(&s).drops[DROP_NOT_THE_REMOTE] +
		      caller_now(&s).drops[DROP_FLOOD] ==
	      200);
	assert_in_range(caller_now(&s).drops[DROP_FLOOD], 50, 168);
	say_from(&s, elsewhere.fd[0], 1);
	hear_rtp(&s.call, PARTY_CALLEE, PARTY_CALLER + 1, 1);
	close(fd);
	close_phone(s.call.media, &elsewhere);
	end_scene(&s);
}

static void test_an_unmatched_response_is_counted(void **state)
{
	struct scene s;

	(void)state;
	start_ice(&s);
	say_check(&s, PARTY_CALLEE, rtp_fd(&s, PARTY_CALLEE), SUCCESS, 9,
		  "abcd:efgh");
	await_drops(&s.call, PARTY_CALLEE, DROP_STUN_REFUSED, 1);
	assert_nothing_to_hear(&s.call, PARTY_CALLER, COMPONENT_RTP);
	end_scene(&s);
}

static void install_both(struct scene *s, int caller_fd)
{
	say_from(s, caller_fd, 10);
	hear_rtp(&s->call, PARTY_CALLEE, PARTY_CALLER + 1, 10);
	say_rtp(&s->call, PARTY_CALLEE, 10);
	hear_at(caller_fd, 10);
	await_installed(s, PARTY_CALLER, COMPONENT_RTP);
	await_installed(s, PARTY_CALLEE, COMPONENT_RTP);
}

static void test_its_flows_let_stun_come_up(void **state)
{
	struct phone elsewhere;
	struct scene s;

	(void)state;
	start_ice(&s);
	elsewhere = connect_elsewhere(&s, "abcd:efgh", 1);
	install_both(&s, elsewhere.fd[0]);
	for (enum party p = 0; p < PARTY_COUNT; p++)
		assert_true(flow_of(&s, p, COMPONENT_RTP).flow.stun_up);
	/* Without ICE from now on, they are taken back, and others come. */
	media_stream_set_ice(s.call.stream, false);
	AWAIT(flow_of(&s, PARTY_CALLER, COMPONENT_RTP).dels == 1);
	install_both(&s, elsewhere.fd[0]);
	for (enum party p = 0; p < PARTY_COUNT; p++)
		assert_false(flow_of(&s, p, COMPONENT_RTP).flow.stun_up);
	close_phone(s.call.media, &elsewhere);
	end_scene(&s);
}

static void test_new_sdp_cuts_nothing_and_the_new_pair_takes_over(void **state)
{
	struct phone before, after;
	struct endpoint moved;
	struct scene s;

	(void)state;
	start_ice(&s);
	before = connect_elsewhere(&s, "abcd:efgh", 1);
	install_both(&s, before.fd[0]);
	moved = s.call.phones[PARTY_CALLER].at[COMPONENT_RTCP];
	media_stream_set_sdp(s.call.stream, PARTY_CALLER, &moved);
	say_rtp(&s.call, PARTY_CALLEE, 11);
	hear_at(before.fd[0], 11);
	say_from(&s, before.fd[0], 11);
	hear_rtp(&s.call, PARTY_CALLEE, PARTY_CALLER + 1, 11);
	AWAIT(caller_now(&s).rule == RULE_ICE);

	after = connect_elsewhere(&s, "ijkl:efgh", 2);
	say_rtp(&s.call, PARTY_CALLEE, 12);
	hear_at(after.fd[0], 12);
	say_from(&s, after.fd[0], 13);
	hear_rtp(&s.call, PARTY_CALLEE, PARTY_CALLER + 1, 13);
	say_from(&s, before.fd[0], 14);
	await_drops(&s.call, PARTY_CALLER, DROP_NOT_THE_REMOTE, 1);
	close_phone(s.call.media, &before);
	close_phone(s.call.media, &after);
	end_scene(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_was_checked_is_the_remote),
		cmocka_unit_test(test_a_flood_meets_a_bucket_here_too),
		cmocka_unit_test(test_an_unmatched_response_is_counted),
		cmocka_unit_test(test_its_flows_let_stun_come_up),
		cmocka_unit_test(
			test_new_sdp_cuts_nothing_and_the_new_pair_takes_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
