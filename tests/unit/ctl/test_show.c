#include "base/cleanup.h"

#include <string.h>

#include "ctl/api.h"
#include "ctl/show.h"
#include "test.h"

static json_t *parse(const char *text)
{
	json_t *value = json_loads(text, 0, NULL);

	assert_non_null(value);
	return value;
}

static void test_a_dispatcher_shows_its_relays_as_a_table(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *summary = parse(
		"{\"relays\": [{\"ip\": \"10.0.0.1\", \"version\": \"5.0.0\","
		" \"status\": \"active\", \"uptime\": 90061,"
		" \"session_count\": 12, \"stream_count\": {\"audio\": 12,"
		" \"video\": 0}, \"bps_relayed\": 1234567.0,"
		" \"engine\": \"xdp+tc\"},"
		" {\"status\": \"error\", \"ip\": \"10.0.0.2\"}],"
		" \"sessions\": 12, \"uptime\": 5}");

	(void)state;
	show_summary(&out, summary);
	json_decref(summary);
	assert_string_equal(
		out.data,
		"Dispatcher\n"
		"  sessions  12\n"
		"  uptime    00:00:05\n"
		"\n"
		"Relay     Status  Version       Uptime  Sessions     Traffic"
		"  Engine  Streams\n"
		"10.0.0.1  active  5.0.0    1d 01:01:01        12  1.2 Mbit/s"
		"  xdp+tc  audio 12\n"
		"10.0.0.2  error\n");
}

static void test_a_dispatcher_without_relays_says_what_that_means(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *summary = parse("{\"relays\": [], \"sessions\": 0}");

	(void)state;
	show_summary(&out, summary);
	json_decref(summary);
	assert_non_null(strstr(out.data, "No relay is connected"));
}

static void test_a_relay_shows_all_that_it_says(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *summary =
		parse("{\"ip\": \"10.0.0.1\", \"uptime\": 61,"
		      " \"bps_relayed\": 78400.0, \"drops\": {\"a\": 0,"
		      " \"b\": 3}, \"newer\": true, \"list\": [1]}");

	(void)state;
	show_summary(&out, summary);
	json_decref(summary);
	assert_string_equal(out.data, "Relay\n"
				      "  ip           10.0.0.1\n"
				      "  uptime       00:01:01\n"
				      "  bps_relayed  78.4 kbit/s\n"
				      "  drops        b 3\n"
				      "  newer        yes\n");
}

#define INTERFACES                                                             \
	"\"interfaces\": [{\"name\": \"lo\", \"engine\": \"userspace\","       \
	" \"reason\": \"loopback\"}, {\"name\": \"eth0\", \"engine\": \"tc\"," \
	" \"reason\": \"forwarding = tc\"}]"
#define INTERFACES_SHOWN                                                       \
	"\n"                                                                   \
	"Interface  Engine     Why\n"                                          \
	"lo         userspace  loopback\n"                                     \
	"eth0       tc         forwarding = tc\n"

static void test_a_relays_interfaces_stand_in_a_table_below(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *summary =
		parse("{\"engine\": \"tc\", \"engine_reason\": \"forwarding"
		      " = auto\", " INTERFACES ", \"flows\": 4, \"kernel\":"
		      " {\"up_ttl\": 0, \"up_mtu\": 7, \"up_lease\": 1}}");

	(void)state;
	show_summary(&out, summary);
	json_decref(summary);
	assert_string_equal(
		out.data,
		"Relay\n"
		"  engine         tc\n"
		"  engine_reason  forwarding = auto\n"
		"  flows          4\n"
		"  kernel         up_mtu 7, up_lease 1\n" INTERFACES_SHOWN);
}

static void test_what_forwards_has_its_reasons_flows_and_counters(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *status = parse(
		"{\"forwarding\": \"tc\", \"applied\": true,"
		" \"engine\": \"tc\", \"reason\": \"r\\u001b\", " INTERFACES
		", \"flows\": 4, \"destinations\": 2,"
		" \"hops\": 1, \"kernel\": {\"up_mtu\": 7}}");

	(void)state;
	show_forwarding(&out, status);
	json_decref(status);
	assert_string_equal(
		out.data,
		"forwarding = tc; engine tc (r\\x1b)\n" INTERFACES_SHOWN "\n"
		"4 flows installed, to 2 addresses by 1 next "
		"hops\n"
		"not forwarded there: up_mtu 7\n");
}

#define STREAM(type)                                                           \
	"{\"media_type\": \"" type "\", \"status\": \"active\","               \
	" \"caller_codec\": \"G711u\", \"callee_codec\": \"G711a\","           \
	" \"caller_packets\": 33, \"callee_packets\": 34,"                     \
	" \"caller_remote\": \"10.88.1.2:5000\","                              \
	" \"callee_remote\": \"Unknown\"}"

static json_t *two_sessions(void)
{
	return parse("[{\"call_id\": \"one\", \"from_uri\": \"alice@a\","
		     " \"to_uri\": \"bob@b\", \"start_time\": 1.5,"
		     " \"duration\": 3,"
		     " \"streams\": [" STREAM("audio") ", " STREAM(
			     "video") "]},"
				      " {\"call_id\": \"two\", \"from_uri\": "
				      "\"carol@c\","
				      " \"to_uri\": \"dave@d\", "
				      "\"start_time\": null,"
				      " \"duration\": 0, \"streams\": []}]");
}

static void test_sessions_have_a_line_for_each_stream(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *sessions = two_sessions();

	(void)state;
	show_sessions(&out, sessions, NULL);
	json_decref(sessions);
	assert_string_equal(
		out.data,
		"Call-ID  From     To      Duration  Media  Status  Codecs"
		"         Caller          Callee   Packets\n"
		"one      alice@a  bob@b   00:00:03  audio  active  G711u / "
		"G711a  10.88.1.2:5000  Unknown  33 / 34\n"
		"                                    video  active  G711u / "
		"G711a  10.88.1.2:5000  Unknown  33 / 34\n"
		"two      carol@c  dave@d   not yet\n"
		"\n"
		"2 sessions\n");
}

static void test_a_filter_leaves_the_sessions_that_have_it(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *sessions = two_sessions();

	(void)state;
	show_sessions(&out, sessions, "dave");
	assert_non_null(strstr(out.data, "two"));
	assert_null(strstr(out.data, "one"));
	assert_non_null(strstr(out.data, "1 session of 2\n"));
	buf_reset(&out);
	show_sessions(&out, sessions, "nobody");
	json_decref(sessions);
	assert_string_equal(out.data, "0 sessions of 2\n");
}

static void test_what_is_missing_or_strange_is_no_reason_to_fail(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *strange = parse("[{}, 5, {\"streams\": 7, \"call_id\": 9},"
				" {\"streams\": [null, {}]}]");
	json_t *object = parse("{\"relays\": [1, null, {\"ip\": []}]}");

	(void)state;
	show_sessions(&out, strange, NULL);
	show_sessions(&out, object, "x");
	show_summary(&out, object);
	show_summary(&out, strange);
	show_forwarding(&out, strange);
	show_forwarding(&out, object);
	assert_false(buf_failed(&out));
	json_decref(strange);
	json_decref(object);
}

static void test_rates_have_a_unit_that_fits(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};

	(void)state;
	api_format_rate(&out, 0);
	buf_char(&out, ' ');
	api_format_rate(&out, 78400);
	buf_char(&out, ' ');
	api_format_rate(&out, 2.5e9);
	assert_string_equal(out.data, "0 bit/s 78.4 kbit/s 2.50 Gbit/s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_dispatcher_shows_its_relays_as_a_table),
		cmocka_unit_test(
			test_a_dispatcher_without_relays_says_what_that_means),
		cmocka_unit_test(test_a_relay_shows_all_that_it_says),
		cmocka_unit_test(
			test_a_relays_interfaces_stand_in_a_table_below),
		cmocka_unit_test(
			test_what_forwards_has_its_reasons_flows_and_counters),
		cmocka_unit_test(test_sessions_have_a_line_for_each_stream),
		cmocka_unit_test(
			test_a_filter_leaves_the_sessions_that_have_it),
		cmocka_unit_test(
			test_what_is_missing_or_strange_is_no_reason_to_fail),
		cmocka_unit_test(test_rates_have_a_unit_that_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
