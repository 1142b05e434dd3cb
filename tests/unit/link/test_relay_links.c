#include "link/relay_links.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/resolver.h"
#include "test.h"

#define MS US_PER_MS
#define MAX_CONNECTIONS 8

/* Names are looked up here: the links are given what a test has set. */

struct resolver {
	int unused;
};

static struct resolver fake_resolver;
static struct ip_addr fake_addresses[4];
static size_t fake_count;
static bool fake_incomplete;
static struct {
	resolver_h *handler;
	void *arg;
} fake_query;
static unsigned fake_lookups;
static struct loop *loop;

int resolver_new(struct resolver **ret, struct loop *on)
{
	(void)on;
	*ret = &fake_resolver;
	return 0;
}

struct resolver *resolver_free(struct resolver *resolver)
{
	(void)resolver;
	return NULL;
}

static void fake_answer(void *arg)
{
	(void)arg;
	fake_query.handler(fake_addresses, fake_count, !fake_incomplete,
			   fake_count ? NULL : "no such name", fake_query.arg);
}

int resolver_lookup(struct resolver *resolver, const char *name,
		    resolver_h *handler, void *arg, struct resolver_query **ret)
{
	(void)resolver;
	assert_string_equal(name, "dispatcher.example.com");
	fake_query.handler = handler;
	fake_query.arg = arg;
	fake_lookups++;
	*ret = (struct resolver_query *)&fake_query;
	return loop_defer(loop, fake_answer, NULL);
}

/* A dispatcher on every address of the host, in this process. */

struct connection {
	struct conn *conn;
	struct ip_addr local;
	struct buf seen; /* its lines, a newline after each */
	bool closed;
};

static struct {
	struct listener *listener;
	struct endpoint at;
	size_t count;
	struct connection connections[MAX_CONNECTIONS];
	bool answers;       /* pings by pong */
	bool answers_first; /* ... the first of each connection alone */
} dispatcher;

static struct relay_links *links;
static struct relay_links_config config;
static struct conf_host_list hosts;
static struct relay_request requests[16];
static size_t request_count;
static struct buf commands; /* what the handler was given */
static bool closed;

static void on_line(struct conn *conn, struct span line, bool too_long,
		    void *arg)
{
	struct connection *c = arg;

	assert_false(too_long);
	buf_add(&c->seen, line);
	buf_char(&c->seen, '\n');
	if ((dispatcher.answers && span_starts_with(line, SPAN("ping"))) ||
	    (dispatcher.answers_first &&
	     span_starts_with(line, SPAN("ping {"))))
		conn_write(conn, SPAN("pong\r\n"));
}

static void on_closed(struct conn *conn, const char *why, void *arg)
{
	struct connection *c = arg;

	(void)conn;
	(void)why;
	c->conn = NULL;
	c->closed = true;
}

static void on_accept(int fd, const struct endpoint *peer, void *arg)
{
	static const struct conn_handlers handlers = {NULL, on_line, on_closed};
	static const struct conn_limits limits = {
		.max_line = 8 << 20,
		.pause_reading_at = 64 << 20,
		.close_at = 128 << 20,
	};
	struct connection *c = &dispatcher.connections[dispatcher.count++];
	struct sockaddr_storage local;
	socklen_t len = sizeof(local);

	(void)peer;
	(void)arg;
	assert_true(dispatcher.count <= MAX_CONNECTIONS);
	assert_int_equal(getsockname(fd, (void *)&local, &len), 0);
	c->local = endpoint_from_sockaddr(&local).ip;
	assert_int_equal(
		conn_accept(&c->conn, loop, fd, NULL, &limits, &handlers, c),
		0);
}

static void dispatcher_listen(void)
{
	assert_int_equal(listener_new_tcp(&dispatcher.listener, loop,
					  &dispatcher.at, on_accept, NULL),
			 0);
	dispatcher.at.port = listener_address(dispatcher.listener).port;
}

static void dispatcher_says(size_t connection, const char *text)
{
	conn_write(dispatcher.connections[connection].conn, span_of(text));
}

static void dispatcher_hangs_up(size_t connection)
{
	struct connection *c = &dispatcher.connections[connection];

	conn_close(c->conn);
	c->conn = NULL;
}

static bool has_seen(size_t connection, const char *text)
{
	const struct buf *seen = &dispatcher.connections[connection].seen;

	return seen->len > 0 && strstr(seen->data, text);
}

/* Waiting for facts */

static bool (*wanted)(void);
static uint64_t give_up_us;
static bool gave_up;

static void look(void *arg)
{
	(void)arg;
	gave_up = loop_now_us(loop) > give_up_us;
	if (wanted() || gave_up)
		loop_stop(loop);
}

/* Run the loop until it holds. @return false if it did not come within 5 s */
static bool run_until(bool (*holds)(void))
{
	struct timer *timer;

	wanted = holds;
	gave_up = false;
	give_up_us = clock_mono_us() + 5 * US_PER_S;
	assert_int_equal(timer_new(&timer, loop, look, NULL), 0);
	timer_start_every(timer, MS);
	assert_int_equal(loop_run(loop), 0);
	timer_free(timer);
	return !gave_up;
}

static struct relay_links_counts counts(void)
{
	struct relay_links_counts now;

	relay_links_count(links, &now);
	return now;
}

static bool is_up(void)
{
	return counts().up == 1;
}

static bool two_are_up(void)
{
	return counts().up == 2;
}

static bool is_down(void)
{
	return counts().up == 0;
}

static bool has_request(void)
{
	return request_count > 0;
}

static bool greeting_seen(void)
{
	return dispatcher.count > 0 && has_seen(0, "\n");
}

static bool is_closed(void)
{
	return closed;
}

static void on_command(const struct relay_request *request,
		       const struct command *command, void *arg)
{
	assert_ptr_equal(arg, &requests);
	assert_true(request_count < 16);
	requests[request_count++] = *request;
	buf_printf(&commands, "%.*s", SPAN_ARG(command->name));
	for (size_t i = 0; i < command->header_count; i++)
		buf_printf(&commands, " %.*s=%.*s",
			   SPAN_ARG(command->headers[i].name),
			   SPAN_ARG(command->headers[i].value));
	buf_char(&commands, '\n');
}

static void on_links_closed(void *arg)
{
	(void)arg;
	closed = true;
}

static void links_start(const char *host)
{
	const struct relay_links_handlers handlers = {on_command};

	hosts.count = 1;
	snprintf(hosts.hosts[0].name, sizeof(hosts.hosts[0].name), "%s", host);
	hosts.hosts[0].port = dispatcher.at.port;
	assert_int_equal(relay_links_new(&links, &config, &handlers, &requests),
			 0);
}

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR + 1);
	request_count = fake_lookups = 0;
	fake_count = 0;
	closed = false;
	memset(&dispatcher, 0, sizeof(dispatcher));
	dispatcher.answers = true;
	if (loop_new(&loop) < 0 ||
	    ip_parse(SPAN("0.0.0.0"), &dispatcher.at.ip) < 0)
		return -1;
	dispatcher_listen();
	config = (struct relay_links_config){
		.loop = loop,
		.dispatchers = &hosts,
		.hello = {"media-relay", "5.0.0", LINK_FEATURES_OURS},
		.dns_check_interval_us = 3600 * US_PER_S,
		.keepalive_interval_us = 3600 * US_PER_S,
		.reconnect_delay_us = 2 * MS,
		.first_reconnect_us = 1 * MS,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	links = relay_links_free(links);
	for (size_t i = 0; i < dispatcher.count; i++) {
		if (dispatcher.connections[i].conn)
			conn_close(dispatcher.connections[i].conn);
		buf_done(&dispatcher.connections[i].seen);
	}
	listener_free(dispatcher.listener);
	loop_free(loop);
	buf_done(&commands);
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

/* The tests */

static void test_first_line_says_who_we_are(void **state)
{
	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	assert_true(has_seen(0, "ping {\"name\": \"media-relay\", \"version\": "
				"\"5.0.0\", \"features\": ["));
	assert_int_equal(counts().connected, 1);
	assert_int_equal(counts().known, 1);
	assert_int_equal(counts().failed, 0);
	assert_non_null(strstr(relay_links_owner_name(links, 0), "127.0.0.1:"));
}

static void test_link_is_not_up_before_the_dispatcher_speaks(void **state)
{
	(void)state;
	dispatcher.answers = false;
	links_start("127.0.0.1");
	assert_true(run_until(greeting_seen));
	assert_int_equal(counts().up, 0);
	/* It may refuse us yet: no record is written before it speaks. */
	relay_links_expired(links, 0, SPAN("r"), SPAN("{\"n\": 1}"));
	assert_int_equal(counts().records_waiting, 1);
	dispatcher_says(0, "sessions 1\r\n\r\n");
	assert_true(run_until(has_request));
	assert_int_equal(counts().up, 1);
	assert_int_equal(counts().records_waiting, 0);
	assert_int_equal(counts().records_sent, 1);
}

static bool reply_seen(void)
{
	return has_seen(0, "18 ");
}

static void test_commands_come_and_replies_go(void **state)
{
	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	dispatcher_says(0, "update 17\r\ncall_id: a@b\r\nto_tag: \r\n"
			   "from_tag: t\r\n\r\npong\r\nsummary 18\r\n\r\n");
	assert_true(run_until(has_request));
	assert_int_equal(request_count, 2);
	assert_string_equal(commands.data, "update call_id=a@b from_tag=t\n"
					   "summary\n");
	assert_int_equal(requests[0].owner, 0);
	assert_true(requests[0].seq == 17 && requests[1].seq == 18);
	assert_int_equal(
		relay_links_reply(links, &requests[0], SPAN("10.0.0.1 40000")),
		0);
	assert_int_equal(relay_links_reply(links, &requests[1], SPAN("{}")), 0);
	assert_true(run_until(reply_seen));
	assert_true(has_seen(0, "\n17 10.0.0.1 40000\n18 {}\n"));
	assert_int_equal(counts().commands, 2);
}

static void test_a_bad_command_is_answered_if_it_can_be(void **state)
{
	static char line[LINK_MAX_DISPATCHER_LINE + 3];

	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	dispatcher_says(0, "nonsense\r\ncall_id: a\r\n\r\n"
			   "update 16\r\nno header\r\n\r\n"
			   "update 17\r\nuser_agent: ");
	memset(line, 'x', LINK_MAX_DISPATCHER_LINE);
	memcpy(line + LINK_MAX_DISPATCHER_LINE, "\r\n", 3);
	dispatcher_says(0, line);
	dispatcher_says(0, "\r\nsummary 18\r\n\r\n");
	assert_true(run_until(has_request));
	assert_int_equal(relay_links_reply(links, &requests[0], SPAN("{}")), 0);
	assert_true(run_until(reply_seen));
	assert_true(has_seen(0, "}\n16 error\n17 error\n18 {}\n"));
	assert_int_equal(counts().commands_bad, 3);
	assert_int_equal(counts().commands, 1);
}

static void test_a_reply_over_the_limit_becomes_error(void **state)
{
	static char text[LINK_MAX_RELAY_LINE];

	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	dispatcher_says(0, "sessions 18\r\n\r\n");
	assert_true(run_until(has_request));
	memset(text, 'x', sizeof(text));
	assert_int_equal(relay_links_reply(links, &requests[0],
					   span_make(text, sizeof(text))),
			 0);
	assert_true(run_until(reply_seen));
	assert_true(has_seen(0, "\n18 error\n"));
}

static bool second_is_up(void)
{
	return counts().connected == 2;
}

static void test_three_pings_without_a_pong_end_the_link(void **state)
{
	const struct buf *seen = &dispatcher.connections[0].seen;

	(void)state;
	config.keepalive_interval_us = 2 * MS;
	dispatcher.answers = false;
	dispatcher.answers_first = true;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	assert_true(run_until(is_down));
	assert_int_equal(counts().lost, 1);
	assert_true(has_seen(0, "}\nping\nping\nping\n"));
	assert_int_equal(strlen(strstr(seen->data, "}\n")),
			 strlen("}\nping\nping\nping\n"));
	assert_true(run_until(second_is_up));
}

static bool ten_pings_seen(void)
{
	return has_seen(0, "ping\nping\nping\nping\nping\nping\nping\nping\n"
			   "ping\nping\n");
}

static void test_pongs_keep_the_link(void **state)
{
	(void)state;
	config.keepalive_interval_us = 2 * MS;
	links_start("127.0.0.1");
	assert_true(run_until(ten_pings_seen));
	assert_int_equal(counts().lost, 0);
	assert_int_equal(dispatcher.count, 1);
}

static bool three_have_failed(void)
{
	return counts().failed >= 3;
}

static void
test_a_dispatcher_that_is_away_is_dialled_until_it_comes(void **state)
{
	(void)state;
	dispatcher.listener = listener_free(dispatcher.listener);
	links_start("127.0.0.1");
	assert_true(run_until(three_have_failed));
	assert_int_equal(counts().up, 0);
	assert_int_equal(counts().lost, 0);
	dispatcher_listen();
	assert_true(run_until(is_up));
}

static bool both_records_seen(void)
{
	return has_seen(1, "{\"n\": 3}\n");
}

static void test_records_wait_for_their_dispatcher(void **state)
{
	(void)state;
	config.max_records = 2;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	dispatcher.listener = listener_free(dispatcher.listener);
	dispatcher_hangs_up(0);
	assert_true(run_until(is_down));
	relay_links_expired(links, 0, SPAN("r"), SPAN("{\"n\": 1}"));
	relay_links_expired(links, 0, SPAN("r"), SPAN("{\"n\": 2}"));
	assert_int_equal(counts().records_dropped, 0);
	relay_links_expired(links, 0, SPAN("r"), SPAN("{\"n\": 3}"));
	assert_int_equal(counts().records_dropped, 1); /* the oldest */
	assert_int_equal(counts().records_waiting, 2);
	dispatcher_listen();
	assert_true(run_until(both_records_seen));
	assert_true(has_seen(1, "\nexpired {\"n\": 2}\nexpired {\"n\": 3}\n"));
	assert_false(has_seen(1, "{\"n\": 1}"));
	assert_int_equal(counts().records_waiting, 0);
	assert_int_equal(counts().records_sent, 2);
}

static bool first_record_seen(void)
{
	return has_seen(0, "expired {\"n\": 1}\n");
}

static bool has_two_requests(void)
{
	return request_count >= 2;
}

static int raw_server, raw_fd;

static bool raw_accepts(void)
{
	raw_fd = accept(raw_server, NULL, NULL);
	return raw_fd >= 0;
}

/* A dispatcher that dies in the turn of the loop in which a record is written:
 * a socket without the loop's knowledge. */
static void links_start_raw(const char *says)
{
	const int on = 1;
	struct sockaddr_storage address;
	socklen_t len;

	dispatcher.listener = listener_free(dispatcher.listener);
	raw_server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	len = endpoint_to_sockaddr(&dispatcher.at, &address);
	setsockopt(raw_server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(raw_server, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(raw_server, 1), 0);
	links_start("127.0.0.1");
	assert_true(run_until(raw_accepts));
	assert_int_equal(send(raw_fd, says, strlen(says), MSG_NOSIGNAL),
			 (int)strlen(says));
	assert_true(run_until(is_up));
}

static void raw_dies(void)
{
	const struct linger reset = {.l_onoff = 1};

	close(raw_server);
	setsockopt(raw_fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(raw_fd);
}

static void test_a_record_outlives_a_connection_that_just_broke(void **state)
{
	(void)state;
	links_start_raw("pong\r\n");
	raw_dies();
	relay_links_expired(links, 0, SPAN("r"), SPAN("{\"n\": 1}"));
	assert_int_equal(counts().records_waiting, 1);
	assert_int_equal(counts().records_sent, 0);
	dispatcher_listen();
	assert_true(run_until(first_record_seen));
	assert_int_equal(counts().records_sent, 1);
}

static void test_so_does_one_that_was_a_reply(void **state)
{
	(void)state;
	links_start_raw("sessions 1\r\n\r\nremove 2\r\ncall_id: a\r\n\r\n");
	assert_true(run_until(has_two_requests));
	raw_dies();
	relay_links_removed(links, &requests[1], SPAN("r"), SPAN("{}"),
			    SPAN("{\"n\": 1}"));
	assert_int_equal(counts().records_waiting, 1);
	dispatcher_listen();
	assert_true(run_until(first_record_seen));
	assert_int_equal(counts().records_sent, 1);
}

static void test_a_reply_goes_to_the_connection_that_asked_alone(void **state)
{
	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	dispatcher_says(0, "remove 17\r\ncall_id: a\r\n\r\n");
	assert_true(run_until(has_request));
	/* Half a request, which the next connection must not go on with. */
	dispatcher_says(0, "remove 18\r\ncall_id: half\r\n");
	dispatcher_hangs_up(0);
	assert_true(run_until(second_is_up));
	assert_int_equal(relay_links_reply(links, &requests[0], SPAN("{}")),
			 -ENOTCONN);
	assert_int_equal(counts().replies_lost, 1);
	request_count = 0;
	dispatcher_says(1, "remove 17\r\ncall_id: a\r\n\r\n");
	assert_true(run_until(has_request));
	assert_int_equal(requests[0].owner, 0);
	assert_true(requests[0].seq == 17);
	assert_string_equal(commands.data,
			    "remove call_id=a\nremove call_id=a\n");
	assert_int_equal(relay_links_reply(links, &requests[0], SPAN("{}")), 0);
	assert_false(has_seen(0, "17 {}"));
}

static void test_features_are_those_of_the_present_connection(void **state)
{
	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	assert_false(relay_links_has_feature(links, 0, LINK_FEATURE_SCOPE));
	dispatcher_says(0, "sessions 1\r\nfeatures: scope new-thing\r\n\r\n");
	assert_true(run_until(has_request));
	assert_true(relay_links_has_feature(links, 0, LINK_FEATURE_SCOPE));
	assert_false(relay_links_has_feature(links, 0, LINK_FEATURE_DIALOG_ID));
	dispatcher_hangs_up(0);
	assert_true(run_until(second_is_up));
	assert_false(relay_links_has_feature(links, 0, LINK_FEATURE_SCOPE));
	assert_false(relay_links_has_feature(links, 99, LINK_FEATURE_SCOPE));
}

static void set_addresses(const char *first, const char *second)
{
	fake_count = 0;
	if (first)
		ip_parse(span_of(first), &fake_addresses[fake_count++]);
	if (second)
		ip_parse(span_of(second), &fake_addresses[fake_count++]);
}

static unsigned lookups_before;

static bool looked_up_again(void)
{
	return fake_lookups >= lookups_before + 2;
}

static void wait_for_lookup(void)
{
	lookups_before = fake_lookups;
	assert_true(run_until(looked_up_again));
}

static void test_every_address_of_a_name_is_dialled(void **state)
{
	(void)state;
	config.dns_check_interval_us = 2 * MS;
	set_addresses("127.0.0.1", "127.0.0.2");
	links_start("dispatcher.example.com");
	assert_true(run_until(two_are_up));
	assert_non_null(strstr(relay_links_owner_name(links, 1),
			       " (dispatcher.example.com)"));

	/* A name server that is down ends nothing. */
	set_addresses(NULL, NULL);
	wait_for_lookup();
	assert_true(counts().lookups_failed > 0);
	assert_int_equal(counts().up, 2);
	assert_int_equal(counts().lost, 0);

	/* Nor does one that answers in part. */
	set_addresses("127.0.0.2", NULL);
	fake_incomplete = true;
	wait_for_lookup();
	assert_int_equal(counts().up, 2);
	assert_int_equal(counts().lost, 0);
	fake_incomplete = false;

	/* An address that vanishes is hung up on ... */
	set_addresses("127.0.0.2", NULL);
	assert_true(run_until(is_up));
	assert_int_equal(counts().known, 1);
	assert_non_null(strstr(relay_links_owner_name(links, 1), "127.0.0.2:"));

	/* ... and is the same owner when it comes back. */
	set_addresses("127.0.0.2", "127.0.0.1");
	assert_true(run_until(two_are_up));
	assert_int_equal(dispatcher.count, 3);
	dispatcher_says(2, "summary 5\r\n\r\n");
	assert_true(run_until(has_request));
	assert_int_equal(requests[0].owner, 0);
	assert_non_null(strstr(relay_links_owner_name(links, 0), "127.0.0.1:"));
}

static void test_a_name_that_is_not_found_is_asked_for_soon(void **state)
{
	(void)state;
	links_start("dispatcher.example.com"); /* checked once an hour */
	wait_for_lookup();
	set_addresses("127.0.0.1", NULL);
	assert_true(run_until(is_up));
}

static void test_closing_sends_what_waits(void **state)
{
	(void)state;
	config.first_reconnect_us = 50 * MS;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	dispatcher_hangs_up(0);
	assert_true(run_until(is_down));
	relay_links_expired(links, 0, SPAN("r"), SPAN("{\"n\": 3}"));
	relay_links_close(links, 3600 * US_PER_S, on_links_closed, NULL);
	assert_false(closed);
	assert_true(run_until(is_closed));
	assert_int_equal(counts().records_dropped, 0);
	assert_int_equal(counts().up, 0);
	assert_true(run_until(both_records_seen));
}

static void test_closing_waits_no_longer_than_its_grace(void **state)
{
	(void)state;
	dispatcher.listener = listener_free(dispatcher.listener);
	links_start("127.0.0.1");
	assert_true(run_until(three_have_failed));
	relay_links_expired(links, 0, SPAN("r"), SPAN("{\"n\": 3}"));
	relay_links_close(links, 20 * MS, on_links_closed, NULL);
	assert_true(run_until(is_closed));
	assert_int_equal(counts().records_waiting, 1);
}

static void
test_closing_does_not_wait_for_an_address_that_has_gone(void **state)
{
	(void)state;
	config.dns_check_interval_us = 2 * MS;
	set_addresses("127.0.0.1", "127.0.0.2");
	links_start("dispatcher.example.com");
	assert_true(run_until(two_are_up));
	set_addresses("127.0.0.2", NULL);
	assert_true(run_until(is_up));
	relay_links_expired(links, 0, SPAN("r"), SPAN("{\"n\": 3}"));
	relay_links_close(links, 3600 * US_PER_S, on_links_closed, NULL);
	assert_true(run_until(is_closed));
}

static void test_a_record_of_nobody_is_counted(void **state)
{
	(void)state;
	links_start("127.0.0.1");
	relay_links_expired(links, 7, SPAN("r"), SPAN("{}"));
	assert_int_equal(counts().records_dropped, 1);
	assert_string_equal(relay_links_owner_name(links, 7), "unknown");
}

static bool flood_is_over(void)
{
	return has_seen(0, "{\"n\": \"last\"}\n");
}

static void test_a_flood_of_records_arrives_whole(void **state)
{
	static char text[2000];
	size_t lines = 0;

	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 3000; i++)
		relay_links_expired(links, 0, SPAN("r"),
				    span_make(text, sizeof(text)));
	relay_links_expired(links, 0, SPAN("r"), SPAN("{\"n\": \"last\"}"));
	assert_true(counts().records_waiting > 0);
	assert_true(run_until(flood_is_over));
	for (size_t i = 0; i < dispatcher.connections[0].seen.len; i++)
		lines += dispatcher.connections[0].seen.data[i] == '\n';
	assert_int_equal(lines, 1 + 3000 + 1);
	assert_int_equal(counts().records_waiting, 0);
	assert_int_equal(counts().lost, 0);
}

/* Dispatchers that acknowledge */

static bool caught_up_seen(void)
{
	return has_seen(dispatcher.count - 1, "caught-up\n");
}

static void dispatcher_acknowledges(size_t connection)
{
	dispatcher_says(connection, "sessions 1\r\nfeatures: ack\r\n\r\n");
}

static void test_caught_up_comes_at_once_where_nothing_waits(void **state)
{
	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	dispatcher_acknowledges(0);
	assert_true(run_until(caught_up_seen));
	dispatcher_says(0, "sessions 2\r\nfeatures: ack\r\n\r\n");
	relay_links_expired(links, 0, SPAN("a"), SPAN("{\"n\": 1}"));
	assert_true(run_until(first_record_seen));
	assert_true(has_seen(0, "caught-up\nexpired {\"n\": 1}\n"));
	assert_null(strstr(
		strstr(dispatcher.connections[0].seen.data, "caught-up") + 1,
		"caught-up"));
	assert_int_equal(counts().records_waiting, 1);
	dispatcher_says(0, "ack a\r\nack a\r\nsummary 3\r\n\r\n");
	request_count = 0;
	assert_true(run_until(has_request));
	assert_int_equal(counts().records_waiting, 0);
	assert_int_equal(counts().records_acked, 1);
	assert_int_equal(counts().acks_unknown, 1);
	assert_int_equal(counts().commands_bad, 0);
}

static void test_all_that_is_not_acknowledged_comes_again(void **state)
{
	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	dispatcher_acknowledges(0);
	assert_true(run_until(caught_up_seen));
	dispatcher_says(0, "remove 17\r\ncall_id: a\r\n\r\n"
			   "remove 18\r\ncall_id: b\r\n\r\n");
	request_count = 0;
	assert_true(run_until(has_request));
	relay_links_expired(links, 0, SPAN("a"), SPAN("{\"n\": 1}"));
	relay_links_removed(links, &requests[0], SPAN("b"),
			    SPAN("{\"n\": 2, \"record_id\": \"b\"}"),
			    SPAN("{\"n\": 2, \"e\": 1}"));
	assert_true(run_until(first_record_seen));
	assert_true(has_seen(0, "\n17 {\"n\": 2, \"record_id\": \"b\"}\n"));
	dispatcher_hangs_up(0);
	assert_true(run_until(is_down));
	/* Its connection is gone before the counters came. */
	relay_links_removed(links, &requests[1], SPAN("c"), SPAN("{}"),
			    SPAN("{\"n\": 3}"));
	assert_true(run_until(is_up));
	dispatcher_acknowledges(1);
	relay_links_expired(links, 0, SPAN("d"), SPAN("{\"n\": 4}"));
	assert_true(run_until(caught_up_seen));
	assert_true(has_seen(1, "\nexpired {\"n\": 1}\n"
				"expired {\"n\": 2, \"e\": 1}\n"
				"expired {\"n\": 3}\n"
				"expired {\"n\": 4}\ncaught-up\n"));
	assert_int_equal(counts().records_resent, 2);
	assert_int_equal(counts().records_dropped, 0);
}

static void test_who_announces_nothing_sees_nothing_new(void **state)
{
	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	relay_links_expired(links, 0, SPAN("a"), SPAN("{\"n\": 0}"));
	relay_links_expired(links, 0, SPAN("b"), SPAN("{\"n\": 1}"));
	assert_int_equal(counts().records_waiting, 2);
	assert_int_equal(counts().records_sent, 0);
	/* It never asks for sessions. */
	assert_true(run_until(first_record_seen));
	assert_true(has_seen(0, "\nexpired {\"n\": 0}\n"
				"expired {\"n\": 1}\n"));
	dispatcher_says(0, "remove 18\r\ncall_id: a\r\n\r\n");
	request_count = 0;
	assert_true(run_until(has_request));
	relay_links_removed(links, &requests[0], SPAN("c"), SPAN("{\"n\": 2}"),
			    SPAN("{}"));
	assert_true(run_until(reply_seen));
	assert_true(has_seen(0, "\n18 {\"n\": 2}\n"));
	assert_false(caught_up_seen());
	assert_int_equal(counts().records_waiting, 0);
}

static void test_closing_waits_for_acknowledgements(void **state)
{
	(void)state;
	links_start("127.0.0.1");
	assert_true(run_until(is_up));
	dispatcher_acknowledges(0);
	assert_true(run_until(caught_up_seen));
	relay_links_expired(links, 0, SPAN("a"), SPAN("{\"n\": 1}"));
	relay_links_close(links, 3600 * US_PER_S, on_links_closed, NULL);
	assert_true(run_until(first_record_seen));
	assert_false(closed);
	dispatcher_says(0, "ack a\r\n");
	assert_true(run_until(is_closed));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_first_line_says_who_we_are),
		TEST(test_link_is_not_up_before_the_dispatcher_speaks),
		TEST(test_commands_come_and_replies_go),
		TEST(test_a_bad_command_is_answered_if_it_can_be),
		TEST(test_a_reply_over_the_limit_becomes_error),
		TEST(test_three_pings_without_a_pong_end_the_link),
		TEST(test_pongs_keep_the_link),
		TEST(test_a_dispatcher_that_is_away_is_dialled_until_it_comes),
		TEST(test_records_wait_for_their_dispatcher),
		TEST(test_a_record_outlives_a_connection_that_just_broke),
		TEST(test_so_does_one_that_was_a_reply),
		TEST(test_a_reply_goes_to_the_connection_that_asked_alone),
		TEST(test_features_are_those_of_the_present_connection),
		TEST(test_every_address_of_a_name_is_dialled),
		TEST(test_a_name_that_is_not_found_is_asked_for_soon),
		TEST(test_closing_sends_what_waits),
		TEST(test_closing_waits_no_longer_than_its_grace),
		TEST(test_closing_does_not_wait_for_an_address_that_has_gone),
		TEST(test_a_record_of_nobody_is_counted),
		TEST(test_a_flood_of_records_arrives_whole),
		TEST(test_caught_up_comes_at_once_where_nothing_waits),
		TEST(test_all_that_is_not_acknowledged_comes_again),
		TEST(test_who_announces_nothing_sees_nothing_new),
		TEST(test_closing_waits_for_acknowledgements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
