#include "base/cleanup.h"

#include <stdlib.h>
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

static json_t *history(void)
{
	(void)setenv("TZ", "UTC", 1);
	return parse(
		"[{\"seq\": 9, \"stored\": 1790000000.0, \"record\": {"
		"\"call_id\": \"new\", \"from_uri\": \"alice@a\","
		" \"to_uri\": \"bob@b\", \"start_time\": 1500000000.5,"
		" \"duration\": 61, \"timed_out\": false,"
		" \"end_time\": 1600000000.5, \"end_reason\": \"no stream\","
		" \"relay\": \"10.0.0.1\","
		" \"streams\": [" STREAM("audio") ", " STREAM(
			"video") "]}},"
				 " {\"seq\": 8, \"stored\": 1700000000.0, "
				 "\"record\": {"
				 "\"call_id\": \"original\", \"from_uri\": "
				 "\"c\","
				 " \"to_uri\": \"d\", \"start_time\": "
				 "1500000000.5,"
				 " \"duration\": 3, \"timed_out\": true,"
				 " \"streams\": [" STREAM(
					 "image") "]}},"
						  " {\"seq\": 7, \"stored\": "
						  "1700000000.0, \"record\": {"
						  "\"call_id\": "
						  "\"rang\\u001b[2J\", "
						  "\"start_time\": null,"
						  " \"duration\": 0, "
						  "\"streams\": []}}]");
}

static void test_the_history_has_a_line_for_each_call(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *rows = history();

	(void)state;
	show_history(&out, rows);
	json_decref(rows);
	assert_string_equal(
		out.data,
		"Ended                Call-ID      From     To      Duration  "
		"How        Relay     Streams                                 "
		"  Packets\n"
		"2020-09-13 12:26:40  new          alice@a  bob@b   00:01:01  "
		"no stream  10.0.0.1  audio G711u / G711a, video G711u / G711a"
		"  66 / 68\n"
		"2017-07-14 02:40:03  original     c        d       00:00:03  "
		"timeout              image G711u / G711a                     "
		"  33 / 34\n"
		"2023-11-14 22:13:20  rang\\x1b[2J                  no answer  "
		"removed                                                      "
		"    0 / 0\n");
}

static void test_the_history_of_a_call_has_a_line_for_each_stream(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *rows = history();

	(void)state;
	json_array_remove(rows, 1);
	show_history_streams(&out, rows);
	json_decref(rows);
	assert_string_equal(
		out.data,
		"Ended                Call-ID      From     To      Duration  "
		"How        Relay     Media  Status  Codecs         Caller    "
		"      Callee   Packets\n"
		"2020-09-13 12:26:40  new          alice@a  bob@b   00:01:01  "
		"no stream  10.0.0.1  audio  active  G711u / G711a  10.88.1.2:"
		"5000  Unknown  33 / 34\n"
		"                                                             "
		"                     video  active  G711u / G711a  10.88.1.2:"
		"5000  Unknown  33 / 34\n"
		"2023-11-14 22:13:20  rang\\x1b[2J                  no answer  "
		"removed\n");
}

static void test_accounting_says_who_is_down_and_why(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *status = parse(
		"{\"accounting\": {\"disk_failing\": false,"
		" \"disk_bytes\": 1572864, \"stored\": 12, \"lost\": 1,"
		" \"backends\": [{\"name\": \"database\","
		" \"state\": \"up\", \"waiting\": 0, \"delivered\": 12,"
		" \"set_aside\": 0, \"aside\": 2}, {\"name\": \"radius\","
		" \"state\": \"down\", \"why\": \"no\\u0007answer\","
		" \"down_for\": 3661, \"waiting\": 4, \"delivered\": 8}]}}");

	(void)state;
	show_accounting(&out, status);
	json_decref(status);
	assert_string_equal(
		out.data,
		"Disk     in order, 1.5 MiB\n"
		"Records  12 stored since the start, 1 lost\n"
		"\n"
		"Backend   State  Waiting  Delivered  Set aside  Down for  "
		"Why\n"
		"database  up           0         12          2\n"
		"radius    down         4          8          ?  01:01:01  "
		"no\\x07answer\n");
}

static void test_accounting_says_that_the_disk_fails(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *status = parse("{\"accounting\": {\"disk_failing\": true,"
			       " \"disk_bytes\": 0, \"disk_waiting\": 7,"
			       " \"backends\": []}}");

	(void)state;
	show_accounting(&out, status);
	json_decref(status);
	assert_non_null(strstr(out.data, "Disk     cannot be written, 0.0 MiB, "
					 "7 writes wait\n"));
	assert_non_null(strstr(out.data, "No backend is configured"));
}

static void test_what_is_set_aside_has_its_reason(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *rows =
		parse("[{\"seq\": 2, \"stored\": 1500000000.0,"
		      " \"backend\": \"radius\", \"reason\": \"too\\nlong\","
		      " \"retry\": false, \"record\": {\"record_id\": \"r-2\","
		      " \"call_id\": \"c2\"}}, {\"seq\": 1,"
		      " \"backend\": \"radius\", \"reason\": \"x\","
		      " \"retry\": true, \"record\": {\"record_id\": \"r-1\","
		      " \"call_id\": \"c1\"}}]");

	(void)state;
	(void)setenv("TZ", "UTC", 1);
	show_set_aside(&out, rows);
	json_decref(rows);
	assert_string_equal(
		out.data,
		"Set aside            Backend  Record  Call-ID  Why\n"
		"2017-07-14 02:40:00  radius   r-2     c2       too\\x0along\n"
		"                     radius   r-1     c1       waits to be "
		"tried again\n");
}

static void test_a_summary_leaves_out_what_is_no_count(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *summary = parse(
		"{\"accounting\": {\"disk_failing\": false, \"stored\": 3,"
		" \"backends\": [{}], \"more\": {}}}");

	(void)state;
	show_summary(&out, summary);
	json_decref(summary);
	assert_string_equal(out.data, "Relay\n  accounting  stored 3\n");
}

static void test_what_is_missing_or_strange_is_no_reason_to_fail(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	json_t *strange = parse("[{}, 5, {\"streams\": 7, \"call_id\": 9},"
				" {\"streams\": [null, {}]}]");
	json_t *object = parse("{\"relays\": [1, null, {\"ip\": []}],"
			       " \"accounting\": {\"backends\": [1, {}]}}");
	json_t *times = parse("[{\"record\": {\"start_time\": -1e300,"
			      " \"duration\": 1e300, \"end_time\": 1e300}},"
			      " {\"record\": {\"end_time\": \"now\"}}]");

	(void)state;
	show_sessions(&out, strange, NULL);
	show_sessions(&out, object, "x");
	show_summary(&out, object);
	show_summary(&out, strange);
	show_forwarding(&out, strange);
	show_forwarding(&out, object);
	show_history(&out, strange);
	show_history_streams(&out, strange);
	show_history_streams(&out, times);
	show_set_aside(&out, strange);
	show_accounting(&out, strange);
	show_accounting(&out, object);
	json_decref(times);
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
		cmocka_unit_test(test_the_history_has_a_line_for_each_call),
		cmocka_unit_test(
			test_the_history_of_a_call_has_a_line_for_each_stream),
		cmocka_unit_test(test_accounting_says_who_is_down_and_why),
		cmocka_unit_test(test_accounting_says_that_the_disk_fails),
		cmocka_unit_test(test_what_is_set_aside_has_its_reason),
		cmocka_unit_test(test_a_summary_leaves_out_what_is_no_count),
		cmocka_unit_test(
			test_what_is_missing_or_strange_is_no_reason_to_fail),
		cmocka_unit_test(test_rates_have_a_unit_that_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
