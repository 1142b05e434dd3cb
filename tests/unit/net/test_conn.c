#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/listener.h"
#include "world.h"

/* A connection of ours on one end of a socket pair; the test holds the other.
 */
struct pair {
	struct world world;
	struct end end;
	int peer;
};

static void pair_init_with(struct pair *pair, const struct conn_limits *limits)
{
	int fds[2];

	*pair = (struct pair){0};
	world_init(&pair->world);
	pair->end.world = &pair->world;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	pair->peer = fds[1];
	fcntl(pair->peer, F_SETFL, O_NONBLOCK);
	assert_int_equal(conn_accept(&pair->end.conn, pair->world.loop, fds[0],
				     NULL, limits, &end_handlers, &pair->end),
			 0);
}

static void pair_init(struct pair *pair)
{
	pair_init_with(pair, &(struct conn_limits){.max_line = 1000});
}

static void pair_done(struct pair *pair)
{
	if (pair->peer >= 0)
		close(pair->peer);
	end_done(&pair->end);
	world_done(&pair->world);
}

static void send_text(struct pair *pair, const char *text)
{
	ssize_t len = (ssize_t)strlen(text);

	assert_int_equal(write(pair->peer, text, (size_t)len), len);
}

/* What the peer can read now. @return its length */
static size_t receive(struct pair *pair, char *text, size_t size)
{
	ssize_t n = read(pair->peer, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

static void test_ready_comes_from_the_loop_and_before_any_line(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	send_text(&pair, "one\r\n");
	assert_int_equal(pair.end.ready, 0);
	assert_true(world_wait(&pair.world, &pair.end.lines, 1));
	assert_int_equal(pair.end.ready, 1);
	assert_string_equal(conn_peer_name(pair.end.conn), "unix");
	assert_false(ip_is_set(&conn_peer(pair.end.conn)->ip));
	pair_done(&pair);
}

static void test_many_lines_in_one_read_come_in_order(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	send_text(&pair, "a\r\n\r\nccc\r\n d\r\n");
	assert_true(world_wait(&pair.world, &pair.end.lines, 4));
	assert_text(&pair.end, "a||ccc| d|");
	pair_done(&pair);
}

static void test_a_line_may_come_byte_by_byte(void **state)
{
	const char *text = "hello\r\nw\r\n";
	struct pair pair;

	(void)state;
	pair_init(&pair);
	for (size_t i = 0; i < strlen(text); i++) {
		assert_int_equal(write(pair.peer, text + i, 1), 1);
		world_turns(&pair.world, 3);
	}
	assert_int_equal(pair.end.lines, 2);
	assert_text(&pair.end, "hello|w|");
	pair_done(&pair);
}

static void test_a_bare_cr_or_lf_is_data(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	send_text(&pair, "a\nb\rc\r\r\n\n\r\n");
	assert_true(world_wait(&pair.world, &pair.end.lines, 2));
	assert_text(&pair.end, "a\nb\rc\r|\n|");
	pair_done(&pair);
}

static void test_zero_bytes_are_data(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	assert_int_equal(write(pair.peer, "a\0b\r\n", 5), 5);
	assert_true(world_wait(&pair.world, &pair.end.lines, 1));
	assert_int_equal(pair.end.text.len, 4);
	assert_memory_equal(pair.end.text.data, "a\0b|", 4);
	pair_done(&pair);
}

static void send_filler(struct pair *pair, size_t len)
{
	char block[1000];

	memset(block, 'x', sizeof(block));
	while (len > 0) {
		size_t part = len < sizeof(block) ? len : sizeof(block);
		ssize_t n = write(pair->peer, block, part);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			world_turns(&pair->world, 2);
			continue;
		}
		len -= (size_t)n;
	}
}

static void test_a_line_of_exactly_the_limit_is_a_line(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	send_filler(&pair, 1000);
	world_turns(&pair.world, 3);
	send_text(&pair, "\r");
	world_turns(&pair.world, 3);
	send_text(&pair, "\n");
	assert_true(world_wait(&pair.world, &pair.end.lines, 1));
	assert_int_equal(pair.end.too_long, 0);
	assert_int_equal(pair.end.text.len, 1001);
	pair_done(&pair);
}

static void
test_a_line_one_over_the_limit_is_reported_without_its_text(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	send_filler(&pair, 1001);
	send_text(&pair, "\r\nnext\r\n");
	assert_true(world_wait(&pair.world, &pair.end.lines, 2));
	assert_int_equal(pair.end.too_long, 1);
	assert_text(&pair.end, "|next|");
	pair_done(&pair);
}

/* A CR that is the last byte of what is dropped still counts. */
static void
test_a_megabyte_without_an_end_is_swallowed_up_to_its_crlf(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	send_filler(&pair, 1000 * 1000);
	send_text(&pair, "\n\r");
	world_turns(&pair.world, 5);
	assert_int_equal(pair.end.lines, 0);
	send_text(&pair, "\nnext\r\n");
	assert_true(world_wait(&pair.world, &pair.end.lines, 2));
	assert_int_equal(pair.end.too_long, 1);
	assert_text(&pair.end, "|next|");
	pair_done(&pair);
}

static void
test_a_pause_in_the_middle_of_buffered_lines_holds_the_rest(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	pair.end.pause_after = 2;
	send_text(&pair, "1\r\n2\r\n3\r\n4\r\n");
	assert_true(world_wait(&pair.world, &pair.end.lines, 2));
	send_text(&pair, "5\r\n");
	world_turns(&pair.world, 5);
	assert_int_equal(pair.end.lines, 2);

	conn_resume(pair.end.conn);
	assert_int_equal(pair.end.lines, 2);
	assert_true(world_wait(&pair.world, &pair.end.lines, 5));
	assert_text(&pair.end, "1|2|3|4|5|");
	pair_done(&pair);
}

static void test_what_arrives_during_a_pause_waits_in_the_kernel(void **state)
{
	char block[4096] = {0};
	struct pair pair;
	ssize_t total = 0;
	ssize_t n;

	(void)state;
	pair_init(&pair);
	assert_true(world_wait(&pair.world, &pair.end.ready, 1));
	conn_pause(pair.end.conn);
	for (int i = 0; i < 1000; i++) {
		n = write(pair.peer, block, sizeof(block));
		if (n > 0)
			total += n;
		world_turns(&pair.world, 1);
	}
	assert_int_equal(n, -1);
	assert_int_equal(errno, EAGAIN);
	assert_true(total < 1000 * 1000);
	pair_done(&pair);
}

static void test_a_pause_holds_back_the_end_of_the_peer_too(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	pair.end.pause_after = 1;
	send_text(&pair, "1\r\n2\r\n");
	assert_true(world_wait(&pair.world, &pair.end.lines, 1));
	close(pair.peer);
	pair.peer = -1;
	world_turns(&pair.world, 5);
	assert_int_equal(pair.end.closed, 0);
	conn_resume(pair.end.conn);
	assert_true(world_wait(&pair.world, &pair.end.closed, 1));
	assert_text(&pair.end, "1|2|");
	pair_done(&pair);
}

static void test_a_peer_that_is_gone_is_known_during_a_pause(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	assert_true(world_wait(&pair.world, &pair.end.ready, 1));
	conn_pause(pair.end.conn);
	assert_false(conn_peer_is_gone(pair.end.conn));
	shutdown(pair.peer, SHUT_WR);
	assert_false(conn_peer_is_gone(pair.end.conn));
	close(pair.peer);
	pair.peer = -1;
	assert_true(conn_peer_is_gone(pair.end.conn));
	assert_int_equal(pair.end.closed, 0);
	pair_done(&pair);
}

static void test_the_last_lines_are_handled_before_closed_is_told(void **state)
{
	struct pair pair;

	(void)state;
	pair_init(&pair);
	send_text(&pair, "1\r\n2\r\nhalf");
	close(pair.peer);
	pair.peer = -1;
	assert_true(world_wait(&pair.world, &pair.end.closed, 1));
	assert_text(&pair.end, "1|2|");
	assert_string_equal(pair.end.why, "closed by peer");
	pair_done(&pair);
}

static void test_a_peer_that_has_sent_all_still_gets_its_answers(void **state)
{
	char text[100];
	struct pair pair;

	(void)state;
	pair_init(&pair);
	pair.end.echo = true;
	send_text(&pair, "1\r\n2\r\n");
	shutdown(pair.peer, SHUT_WR);
	assert_true(world_wait(&pair.world, &pair.end.closed, 1));
	world_turns(&pair.world, 5);
	receive(&pair, text, sizeof(text));
	assert_string_equal(text, "1\r\n2\r\n");
	pair_done(&pair);
}

static void
test_closing_in_the_middle_of_buffered_lines_ends_the_calls(void **state)
{
	char text[100];
	struct pair pair;

	(void)state;
	pair_init(&pair);
	pair.end.close_after = 2;
	pair.end.echo = true;
	send_text(&pair, "1\r\n2\r\n3\r\n");
	assert_true(world_wait(&pair.world, &pair.end.lines, 2));
	world_turns(&pair.world, 5);
	assert_int_equal(pair.end.lines, 2);
	assert_int_equal(pair.end.closed, 0);
	receive(&pair, text, sizeof(text));
	assert_string_equal(text, "1\r\n2\r\n");
	assert_int_equal(read(pair.peer, text, 1), 0);
	pair_done(&pair);
}

static void test_a_connection_closed_before_it_was_ready_is_gone(void **state)
{
	char text[100];
	struct pair pair;

	(void)state;
	pair_init(&pair);
	conn_write(pair.end.conn, SPAN("bye\r\n"));
	conn_close(pair.end.conn);
	pair.end.conn = NULL;
	world_turns(&pair.world, 5);
	assert_int_equal(pair.end.ready, 0);
	receive(&pair, text, sizeof(text));
	assert_string_equal(text, "bye\r\n");
	assert_int_equal(read(pair.peer, text, 1), 0);
	pair_done(&pair);
}

static void test_writes_of_one_turn_leave_together(void **state)
{
	char text[100];
	struct pair pair;

	(void)state;
	pair_init(&pair);
	assert_true(world_wait(&pair.world, &pair.end.ready, 1));
	conn_write(pair.end.conn, SPAN("a"));
	conn_write(pair.end.conn, SPAN("b"));
	assert_int_equal(conn_pending(pair.end.conn), 2);
	assert_int_equal(receive(&pair, text, sizeof(text)), 0);
	world_turns(&pair.world, 2);
	assert_int_equal(receive(&pair, text, sizeof(text)), 2);
	assert_int_equal(conn_pending(pair.end.conn), 0);
	pair_done(&pair);
}

static size_t drain(struct pair *pair)
{
	char block[65536];
	size_t total = 0;
	size_t n;

	do {
		n = receive(pair, block, sizeof(block));
		total += n;
		world_turns(&pair->world, 2);
	} while (n > 0);
	return total;
}

static void test_a_peer_that_does_not_read_is_not_read_from(void **state)
{
	const struct conn_limits limits = {.max_line = 100,
					   .pause_reading_at = 500000,
					   .close_at = 100000000};
	struct pair pair;

	(void)state;
	pair_init_with(&pair, &limits);
	pair.end.answer_bytes = 300000;
	/* The kernel takes some; the line that passes the mark is the last. */
	for (int i = 0; i < 10; i++)
		send_text(&pair, "give\r\n");
	world_turns(&pair.world, 20);
	assert_in_range(pair.end.lines, 2, 4);
	assert_true(conn_pending(pair.end.conn) > 250000);

	assert_int_equal(drain(&pair), 3000000);
	assert_int_equal(pair.end.lines, 10);
	assert_int_equal(conn_pending(pair.end.conn), 0);
	pair_done(&pair);
}

static void test_a_peer_that_never_reads_is_closed(void **state)
{
	const struct conn_limits limits = {.max_line = 100,
					   .pause_reading_at = 500000,
					   .close_at = 1000000};
	struct pair pair;

	(void)state;
	pair_init_with(&pair, &limits);
	pair.end.answer_bytes = 2000000;
	send_text(&pair, "give\r\ngive\r\n");
	assert_true(world_wait(&pair.world, &pair.end.closed, 1));
	assert_int_equal(pair.end.lines, 1);
	assert_non_null(strstr(pair.end.why, "too slow, 1"));
	assert_non_null(strstr(pair.end.why, "bytes unread"));
	pair_done(&pair);
}

static void test_too_slow_is_told_from_the_loop(void **state)
{
	static const char block[2000];
	const struct conn_limits limits = {.close_at = 1000};
	struct pair pair;

	(void)state;
	pair_init_with(&pair, &limits);
	assert_true(world_wait(&pair.world, &pair.end.ready, 1));
	conn_pause(pair.end.conn);
	conn_write(pair.end.conn, span_make(block, sizeof(block)));
	assert_int_equal(pair.end.closed, 0);
	assert_true(world_wait(&pair.world, &pair.end.closed, 1));
	assert_string_equal(pair.end.why, "too slow, 2000 bytes unread");
	pair_done(&pair);
}

/* TCP: a dialled connection and what the listener made of it */

struct tcp {
	struct world world;
	struct listener *listener;
	struct end server, client;
};

static void accepted(int fd, const struct endpoint *peer, void *arg)
{
	struct tcp *tcp = arg;

	assert_true(ip_is_set(&peer->ip));
	assert_int_equal(conn_accept(&tcp->server.conn, tcp->world.loop, fd,
				     NULL, NULL, &end_handlers, &tcp->server),
			 0);
}

static const struct endpoint loopback = {
	.ip = {.bytes = {127, 0, 0, 1}, .family = AF_INET}};

static void tcp_init(struct tcp *tcp)
{
	*tcp = (struct tcp){0};
	world_init(&tcp->world);
	tcp->server.world = tcp->client.world = &tcp->world;
	assert_int_equal(listener_new_tcp(&tcp->listener, tcp->world.loop,
					  &loopback, accepted, tcp),
			 0);
}

static void tcp_dial(struct tcp *tcp)
{
	struct endpoint to = listener_address(tcp->listener);

	assert_int_equal(conn_dial(&tcp->client.conn, tcp->world.loop, &to,
				   NULL, NULL, &end_handlers, &tcp->client),
			 0);
}

static void tcp_done(struct tcp *tcp)
{
	end_done(&tcp->server);
	end_done(&tcp->client);
	listener_free(tcp->listener);
	world_done(&tcp->world);
}

static void test_what_is_written_before_the_connect_arrives(void **state)
{
	struct tcp tcp;

	(void)state;
	tcp_init(&tcp);
	tcp_dial(&tcp);
	conn_write(tcp.client.conn, SPAN("early\r\n"));
	assert_int_equal(conn_pending(tcp.client.conn), 7);
	assert_true(world_wait(&tcp.world, &tcp.server.lines, 1));
	assert_text(&tcp.server, "early|");
	assert_int_equal(tcp.client.ready, 1);
	assert_non_null(strstr(conn_peer_name(tcp.client.conn), "127.0.0.1:"));
	tcp_done(&tcp);
}

static void test_a_refused_connect_is_told_from_the_loop(void **state)
{
	struct tcp tcp;

	(void)state;
	tcp_init(&tcp);
	struct endpoint to = listener_address(tcp.listener);
	tcp.listener = listener_free(tcp.listener);
	assert_int_equal(conn_dial(&tcp.client.conn, tcp.world.loop, &to, NULL,
				   NULL, &end_handlers, &tcp.client),
			 0);
	assert_int_equal(tcp.client.closed, 0);
	assert_true(world_wait(&tcp.world, &tcp.client.closed, 1));
	assert_string_equal(tcp.client.why, "connection refused");
	assert_int_equal(tcp.client.ready, 0);
	tcp_done(&tcp);
}

static void test_a_dial_can_be_given_up(void **state)
{
	struct tcp tcp;

	(void)state;
	tcp_init(&tcp);
	tcp_dial(&tcp);
	conn_close(tcp.client.conn);
	tcp.client.conn = NULL;
	world_turns(&tcp.world, 5);
	assert_int_equal(tcp.client.ready + tcp.client.closed, 0);
	tcp_done(&tcp);
}

static void connect_to(int fd, const struct tcp *tcp)
{
	struct endpoint to = listener_address(tcp->listener);
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(&to, &address);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
}

static void test_a_reset_says_so(void **state)
{
	struct linger linger = {.l_onoff = 1};
	struct tcp tcp;
	int fd;

	(void)state;
	tcp_init(&tcp);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	connect_to(fd, &tcp);
	assert_true(world_wait(&tcp.world, &tcp.server.ready, 1));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
	assert_true(world_wait(&tcp.world, &tcp.server.closed, 1));
	assert_string_equal(tcp.server.why, "connection reset");
	tcp_done(&tcp);
}

static void test_a_close_flushes_megabytes_while_the_loop_is_freed(void **state)
{
	static const char block[65536];
	struct tcp tcp;

	(void)state;
	tcp_init(&tcp);
	tcp_dial(&tcp);
	assert_true(world_wait(&tcp.world, &tcp.server.ready, 1));
	for (int i = 0; i < 64; i++)
		conn_write(tcp.server.conn, span_make(block, sizeof(block)));
	conn_write(tcp.server.conn, SPAN("\r\nend\r\n"));
	conn_close(tcp.server.conn);
	tcp.server.conn = NULL;
	assert_true(world_wait(&tcp.world, &tcp.client.closed, 1));
	assert_text(&tcp.client, "|end|");
	assert_int_equal(tcp.client.too_long, 1);
	tcp_done(&tcp);
}

/* The peer goes on sending while we close: no reset may eat what it has not
 * got yet. */
static void test_a_close_loses_nothing_while_the_peer_still_sends(void **state)
{
	static char block[65536];
	const int small = 4096;
	size_t total = 0;
	struct tcp tcp;
	ssize_t n;
	int fd;

	(void)state;
	tcp_init(&tcp);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	connect_to(fd, &tcp);
	tcp.server.answer_bytes = 200000;
	tcp.server.close_after = 1;
	for (int i = 0; i < 100; i++)
		assert_int_equal(write(fd, "give\r\n", 6), 6);
	assert_true(world_wait(&tcp.world, &tcp.server.lines, 1));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while ((n = read(fd, block, sizeof(block))) != 0) {
		if (n < 0)
			assert_int_equal(errno, EAGAIN);
		else
			total += (size_t)n;
		if (total < 100000)
			send(fd, "more\r\n", 6, MSG_NOSIGNAL);
		world_turns(&tcp.world, 1);
	}
	assert_int_equal(total, 200000);
	close(fd);
	tcp_done(&tcp);
}

static void test_no_descriptor_is_left_behind(void **state)
{
	int before = open("/dev/null", O_RDONLY);
	int after;

	(void)state;
	close(before);
	for (int i = 0; i < 20; i++) {
		struct tcp tcp;

		tcp_init(&tcp);
		tcp_dial(&tcp);
		assert_true(world_wait(&tcp.world, &tcp.server.ready, 1));
		tcp_done(&tcp);
	}
	after = open("/dev/null", O_RDONLY);
	close(after);
	assert_int_equal(after, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_ready_comes_from_the_loop_and_before_any_line),
		cmocka_unit_test(test_many_lines_in_one_read_come_in_order),
		cmocka_unit_test(test_a_line_may_come_byte_by_byte),
		cmocka_unit_test(test_a_bare_cr_or_lf_is_data),
		cmocka_unit_test(test_zero_bytes_are_data),
		cmocka_unit_test(test_a_line_of_exactly_the_limit_is_a_line),
		cmocka_unit_test(
			test_a_line_one_over_the_limit_is_reported_without_its_text),
		cmocka_unit_test(
			test_a_megabyte_without_an_end_is_swallowed_up_to_its_crlf),
		cmocka_unit_test(
			test_a_pause_in_the_middle_of_buffered_lines_holds_the_rest),
		cmocka_unit_test(
			test_what_arrives_during_a_pause_waits_in_the_kernel),
		cmocka_unit_test(
			test_a_pause_holds_back_the_end_of_the_peer_too),
		cmocka_unit_test(
			test_a_peer_that_is_gone_is_known_during_a_pause),
		cmocka_unit_test(
			test_the_last_lines_are_handled_before_closed_is_told),
		cmocka_unit_test(
			test_a_peer_that_has_sent_all_still_gets_its_answers),
		cmocka_unit_test(
			test_closing_in_the_middle_of_buffered_lines_ends_the_calls),
		cmocka_unit_test(
			test_a_connection_closed_before_it_was_ready_is_gone),
		cmocka_unit_test(test_writes_of_one_turn_leave_together),
		cmocka_unit_test(
			test_a_peer_that_does_not_read_is_not_read_from),
		cmocka_unit_test(test_a_peer_that_never_reads_is_closed),
		cmocka_unit_test(test_too_slow_is_told_from_the_loop),
		cmocka_unit_test(
			test_what_is_written_before_the_connect_arrives),
		cmocka_unit_test(test_a_refused_connect_is_told_from_the_loop),
		cmocka_unit_test(test_a_dial_can_be_given_up),
		cmocka_unit_test(test_a_reset_says_so),
		cmocka_unit_test(
			test_a_close_flushes_megabytes_while_the_loop_is_freed),
		cmocka_unit_test(
			test_a_close_loses_nothing_while_the_peer_still_sends),
		cmocka_unit_test(test_no_descriptor_is_left_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
