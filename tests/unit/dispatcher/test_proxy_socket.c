/** The socket that SIP proxies speak to: order, bounds, bad input. */
#include "dispatcher/proxy_socket.h"

#include <stdio.h>
#include <stdlib.h>

#include "rig.h"
#include "test.h"

struct scene {
	struct rig rig;
	struct rig_end *relay, *proxy;
};

static void set_up(struct scene *s)
{
	rig_start(&s->rig);
	s->relay = rig_relay(&s->rig, "127.0.0.2", "[]");
	s->proxy = rig_proxy(&s->rig);
}

static void tear_down(struct scene *s)
{
	rig_end_free(s->relay);
	rig_end_free(s->proxy);
	rig_done(&s->rig);
}

/* The connection is as good as before. */
static void expect_service(struct scene *s)
{
	rig_update(s->proxy, "service", "f", "");
	rig_say(s->relay, "%lu 127.0.0.2 50000",
		rig_expect_request(s->relay, "update"));
	rig_expect(s->proxy, "127.0.0.2 50000");
}

static void test_replies_keep_the_order_of_the_requests(void **state)
{
	unsigned long seq[3];
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_update(s.proxy, "c0", "f", "");
	rig_update(s.proxy, "c1", "f", "");
	rig_remove(s.proxy, "unknown", "f");
	rig_update(s.proxy, "c2", "f", "");
	for (int i = 0; i < 3; i++)
		seq[i] = rig_expect_request(s.relay, "update");
	rig_say(s.relay, "%lu 127.0.0.2 40004", seq[2]);
	rig_say(s.relay, "%lu 127.0.0.2 40002", seq[1]);
	rig_expect_nothing(s.relay);
	assert_int_equal(s.proxy->count, 0);
	rig_say(s.relay, "%lu 127.0.0.2 40000", seq[0]);
	rig_expect(s.proxy, "127.0.0.2 40000");
	rig_expect(s.proxy, "127.0.0.2 40002");
	rig_expect(s.proxy, "error");
	rig_expect(s.proxy, "127.0.0.2 40004");
	tear_down(&s);
}

static void test_a_slow_relay_holds_back_only_its_connection(void **state)
{
	struct rig_end *slow, *proxy2;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	slow = rig_relay(&s.rig, "127.0.0.3", "[]");
	proxy2 = rig_proxy(&s.rig);
	rig_update(s.proxy, "c0", "f", "media_relay: 127.0.0.3\r\n");
	rig_expect_request(slow, "update");
	for (int i = 0; i < 3; i++) {
		rig_update(proxy2, "c1", "f", "media_relay: 127.0.0.2\r\n");
		rig_say(s.relay, "%lu 127.0.0.2 40000",
			rig_expect_request(s.relay, "update"));
		rig_expect(proxy2, "127.0.0.2 40000");
	}
	assert_int_equal(s.proxy->count, 0);
	rig_end_free(slow);
	rig_end_free(proxy2);
	tear_down(&s);
}

static void
test_so_many_requests_of_a_connection_are_open_and_no_more(void **state)
{
	const int total = 3 * PROXY_MAX_OPEN_REQUESTS;
	struct scene s;
	char text[64];

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	for (int i = 0; i < total; i++) {
		snprintf(text, sizeof(text), "c%d", i);
		rig_update(s.proxy, text, "f", "");
	}
	for (int i = 0; i < PROXY_MAX_OPEN_REQUESTS; i++) {
		snprintf(text, sizeof(text), "call_id: c%d", i);
		assert_int_equal(
			rig_expect_request_with(s.relay, "update", text),
			i + 2);
	}
	rig_expect_nothing(s.relay);
	assert_int_equal(proxy_socket_counters(s.rig.proxy)->paused, 1);
	for (int i = 0; i < PROXY_MAX_OPEN_REQUESTS; i++)
		rig_say(s.relay, "%d 127.0.0.2 40000", i + 2);
	for (int i = PROXY_MAX_OPEN_REQUESTS; i < total; i++)
		rig_say(s.relay, "%lu 127.0.0.2 40000",
			rig_expect_request(s.relay, "update"));
	for (int i = 0; i < total; i++)
		rig_expect(s.proxy, "127.0.0.2 40000");
	tear_down(&s);
}

static bool is_undone(void *arg)
{
	const struct scene *s = arg;

	return router_counters(s->rig.router)->late_sessions ==
	       PROXY_MAX_OPEN_REQUESTS;
}

static void
test_a_proxy_that_closes_while_not_read_from_leaves_no_session(void **state)
{
	struct scene s;
	char text[64];

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	for (int i = 0; i <= PROXY_MAX_OPEN_REQUESTS; i++) {
		snprintf(text, sizeof(text), "c%d", i);
		rig_update(s.proxy, text, "f", "");
	}
	for (int i = 0; i < PROXY_MAX_OPEN_REQUESTS; i++)
		rig_expect_request(s.relay, "update");
	assert_int_equal(proxy_socket_counters(s.rig.proxy)->paused, 1);
	rig_end_close(s.proxy);
	/* Some turns of the loop, after which it is closed. */
	rig_expect_nothing(s.relay);
	for (int i = 0; i < PROXY_MAX_OPEN_REQUESTS; i++)
		rig_say(s.relay, "%d 127.0.0.2 40000", i + 2);
	rig_until(&s.rig, is_undone, &s);
	assert_int_equal(directory_count(s.rig.directory).sessions, 0);
	tear_down(&s);
}

static void test_bad_requests_are_errors_and_the_connection_stays(void **state)
{
	static const char *const bad[] = {
		"what\r\ncall_id: c\r\n",
		"update\r\ntype: request\r\ncseq: 1\r\nfrom_tag: f\r\n",
		"update\r\nno header here\r\n",
		"update\r\ntype: request\r\ncall_id: c\r\ncseq: x\r\nfrom_tag: "
		"f\r\n",
		"update\r\ntype: request\r\ncall_id: c\r\ncseq: 1\r\nfrom_tag: "
		"f\r\nmedia: audio:host.example.com:5000:sendrecv:ice=no\r\n",
		"update\r\ntype: request\r\ncall_id: c\r\ncall_id: d\r\ncseq: "
		"1\r\nfrom_tag: f\r\n",
		"update\r\ntype: request\r\ncall_id: c\xff\r\ncseq: "
		"1\r\nfrom_tag: f\r\n",
		"update\r\ntype: request\r\ncall_id: c\r\ncseq: 1\r\nfrom_tag: "
		"f\r\nuser_agent: \xc0\xaf\r\n",
		"remove\r\nfrom_tag: f\r\n",
	};
	const size_t count = sizeof(bad) / sizeof(bad[0]);
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	for (size_t i = 0; i < count; i++) {
		rig_say(s.proxy, "%s", bad[i]);
		rig_expect(s.proxy, "error");
	}
	assert_int_equal(
		router_counters(s.rig.router)->refused[REFUSAL_BAD_REQUEST],
		count);
	rig_expect_nothing(s.relay);
	expect_service(&s);
	tear_down(&s);
}

static void
test_a_line_that_is_too_long_is_an_error_and_the_connection_stays(void **state)
{
	char *line = malloc(1000001);
	struct scene s;

	(void)state;
	assert_non_null(line);
	memset(line, 'x', 1000000);
	line[1000000] = '\0';
	rig_init(&s.rig);
	set_up(&s);
	rig_say(s.proxy, "update\r\ncall_id: c\r\nuser_agent: %s\r\n", line);
	rig_expect(s.proxy, "error");
	line[COMMAND_MAX_LINE - 12] = '\0';
	rig_say(s.proxy,
		"update\r\ntype: request\r\ncall_id: c\r\ncseq: 1\r\nfrom_tag: "
		"f\r\nmedia: audio:10.0.0.1:5000:sendrecv:ice=no\r\n"
		"user_agent: %s\r\n",
		line);
	rig_say(s.relay, "%lu 127.0.0.2 40000",
		rig_expect_request(s.relay, "update"));
	rig_expect(s.proxy, "127.0.0.2 40000");
	expect_service(&s);
	free(line);
	tear_down(&s);
}

static void
test_a_folded_header_of_a_caller_becomes_no_header_of_ours(void **state)
{
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	rig_say(s.proxy,
		"update\r\ntype: request\r\ncall_id: c\r\ncseq: 1\r\nfrom_tag: "
		"f\r\nmedia: audio:10.0.0.1:5000:sendrecv:ice=no\r\n"
		"user_agent: Evil\r\n media_relay: 6.6.6.6\r\n");
	rig_say(s.relay, "%lu 127.0.0.2 40000",
		rig_expect_request_with(
			s.relay, "update",
			"user_agent: Evil media_relay: 6.6.6.6"));
	rig_expect(s.proxy, "127.0.0.2 40000");
	tear_down(&s);
}

static void test_connections_are_limited(void **state)
{
	struct rig_end *extra;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	s.rig.conf.dispatcher.max_proxy_connections = 1;
	set_up(&s);
	rig_until_proxies(&s.rig, 1);
	extra = rig_proxy(&s.rig);
	rig_expect_closed(extra);
	rig_end_free(extra);
	expect_service(&s);
	assert_int_equal(proxy_socket_counters(s.rig.proxy)->refused, 1);
	tear_down(&s);
}

static void test_half_a_request_leaves_nothing(void **state)
{
	struct rig_end *half;
	struct scene s;

	(void)state;
	rig_init(&s.rig);
	set_up(&s);
	half = rig_proxy(&s.rig);
	rig_say(half, "update\r\ncall_id: c");
	rig_until_proxies(&s.rig, 2);
	rig_end_free(half);
	rig_until_proxies(&s.rig, 1);
	expect_service(&s);
	tear_down(&s);
}

static void test_the_only_proxy_group_gets_the_socket(void **state)
{
	const gid_t none = (gid_t)-1;
	struct proxy_access access;

	(void)state;
	access = proxy_access_choose(100, none);
	assert_int_equal(access.group, 100);
	assert_int_equal(access.mode, 0660);
	assert_false(access.open_to_all);
	access = proxy_access_choose(none, 101);
	assert_int_equal(access.group, 101);
	access = proxy_access_choose(100, 101);
	assert_int_equal(access.group, none);
	assert_int_equal(access.mode, 0666);
	assert_true(access.open_to_all);
	access = proxy_access_choose(none, none);
	assert_int_equal(access.mode, 0666);
	assert_true(access.open_to_all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
		T(test_replies_keep_the_order_of_the_requests),
		T(test_a_slow_relay_holds_back_only_its_connection),
		T(test_so_many_requests_of_a_connection_are_open_and_no_more),
		T(test_a_proxy_that_closes_while_not_read_from_leaves_no_session),
		T(test_bad_requests_are_errors_and_the_connection_stays),
		T(test_a_line_that_is_too_long_is_an_error_and_the_connection_stays),
		T(test_a_folded_header_of_a_caller_becomes_no_header_of_ours),
		T(test_connections_are_limited),
		T(test_half_a_request_leaves_nothing),
		T(test_the_only_proxy_group_gets_the_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
