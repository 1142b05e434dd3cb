#include "accounting/radius_attributes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "test.h"

#define STREAM(type, start, end, codec, delay, in, out, local)                 \
	"{\"media_type\": \"" type "\", \"status\": \"closed\", "              \
	"\"caller_codec\": \"" codec "\", \"callee_codec\": \"GSM\", "         \
	"\"start_time\": " #start ", \"end_time\": " #end ", "                 \
	"\"post_dial_delay\": " #delay ", \"caller_bytes\": " #in ", "         \
	"\"callee_bytes\": " #out ", \"caller_local\": \"" local "\"}"

static const char *const names[RADIUS_NAME_COUNT] = {
	[RADIUS_USER_NAME] = "User-Name",
	[RADIUS_NAS_IP_ADDRESS] = "NAS-IP-Address",
	[RADIUS_ACCT_STATUS_TYPE] = "Acct-Status-Type",
	[RADIUS_ACCT_DELAY_TIME] = "Acct-Delay-Time",
	[RADIUS_ACCT_INPUT_OCTETS] = "Acct-Input-Octets",
	[RADIUS_ACCT_OUTPUT_OCTETS] = "Acct-Output-Octets",
	[RADIUS_ACCT_SESSION_ID] = "Acct-Session-Id",
	[RADIUS_ACCT_SESSION_TIME] = "Acct-Session-Time",
	[RADIUS_ACCT_INPUT_GIGAWORDS] = "Acct-Input-Gigawords",
	[RADIUS_ACCT_OUTPUT_GIGAWORDS] = "Acct-Output-Gigawords",
	[RADIUS_NAS_IPV6_ADDRESS] = "NAS-IPv6-Address",
	[RADIUS_SIP_FROM_TAG] = "Sip-From-Tag",
	[RADIUS_SIP_TO_TAG] = "Sip-To-Tag",
	[RADIUS_MEDIA_CODECS] = "Media-Codecs",
	[RADIUS_MEDIA_INFO] = "Media-Info",
	[RADIUS_SIP_USER_AGENTS] = "Sip-User-Agents",
	[RADIUS_SIP_APPLICATIONS] = "Sip-Applications",
};

static bool is_number(enum radius_name name)
{
	return name >= RADIUS_ACCT_STATUS_TYPE &&
	       name <= RADIUS_ACCT_OUTPUT_GIGAWORDS &&
	       name != RADIUS_ACCT_SESSION_ID;
}

/* "Name=value" with a newline behind each. */
static void print(const struct radius_attribute *attribute, struct buf *out)
{
	char text[ADDR_TEXT_SIZE];
	uint32_t number;

	buf_printf(out, "%s=", names[attribute->name]);
	if (is_number(attribute->name)) {
		assert_int_equal(attribute->len, 4);
		memcpy(&number, attribute->value, 4);
		buf_printf(out, "%u", ntohl(number));
	} else if (attribute->name == RADIUS_NAS_IP_ADDRESS) {
		assert_int_equal(attribute->len, 4);
		buf_printf(out, "%s",
			   inet_ntop(AF_INET, attribute->value, text,
				     sizeof(text)));
	} else if (attribute->name == RADIUS_NAS_IPV6_ADDRESS) {
		assert_int_equal(attribute->len, 16);
		buf_printf(out, "%s",
			   inet_ntop(AF_INET6, attribute->value, text,
				     sizeof(text)));
	} else {
		buf_add(out, span_make(attribute->value, attribute->len));
	}
	buf_char(out, '\n');
}

static void check(const char *json, const char *expected)
{
	CLEANUP(buf_done) struct buf found = {0};
	struct radius_attributes list;

	assert_int_equal(radius_attributes_of(&list, span_of(json)), 0);
	for (size_t i = 0; i < list.count; i++)
		print(&list.items[i], &found);
	buf_char(&found, '\0');
	assert_string_equal(found.data, expected);
}

static void
test_a_call_has_its_attributes_in_the_order_of_the_original(void **state)
{
	(void)state;
	check("{\"call_id\": \"call-01@example.com\", \"from_tag\": \"f1\", "
	      "\"to_tag\": \"t1\", \"start_time\": 1795340335.9, "
	      "\"duration\": 61, \"caller_ua\": \"A 1.0\", "
	      "\"callee_ua\": \"B 2.0\", \"username\": null, "
	      "\"streams\": [" STREAM(
		      "video", 0, 61, "H263", 2.9, 100, 10,
		      "10.88.0.1:40000") ", " STREAM("audio", 0, 61, "G711a",
						     1.5, 20, 2,
						     "10.88.0.1:40004") "], "
									"\"time"
									"d_"
									"out\":"
									" false"
									"}",
	      "Acct-Status-Type=3\n"
	      "User-Name=mediaproxy@default\n"
	      "Acct-Session-Id=call-01@example.com\n"
	      "Acct-Session-Time=61\n"
	      "Acct-Input-Octets=120\n"
	      "Acct-Output-Octets=12\n"
	      "Sip-From-Tag=f1\n"
	      "Sip-To-Tag=t1\n"
	      "NAS-IP-Address=10.88.0.1\n"
	      "Sip-User-Agents=A 1.0+B 2.0\n"
	      "Sip-Applications=audio, video\n"
	      "Media-Codecs=H263, G711a\n"
	      "Acct-Delay-Time=2\n");
}

static void test_what_is_missing_or_of_another_type_is_left_out(void **state)
{
	(void)state;
	check("{}", "Acct-Status-Type=3\n"
		    "User-Name=mediaproxy@default\n"
		    "Acct-Input-Octets=0\n"
		    "Acct-Output-Octets=0\n");
	check("{\"call_id\": 1, \"from_tag\": [], \"to_tag\": null, "
	      "\"duration\": \"x\", \"caller_ua\": {}, \"username\": false, "
	      "\"relay\": 7, \"timed_out\": 1, \"streams\": {\"a\": 1}}",
	      "Acct-Status-Type=3\n"
	      "User-Name=mediaproxy@default\n"
	      "Acct-Input-Octets=0\n"
	      "Acct-Output-Octets=0\n");
	check("{\"streams\": [1, null, [], {\"media_type\": 5, "
	      "\"caller_bytes\": \"9\", \"callee_bytes\": -4, "
	      "\"caller_local\": 1, \"post_dial_delay\": -2.5}]}",
	      "Acct-Status-Type=3\n"
	      "User-Name=mediaproxy@default\n"
	      "Acct-Input-Octets=0\n"
	      "Acct-Output-Octets=0\n"
	      "Acct-Delay-Time=0\n");
}

static void test_no_object_gives_no_attributes(void **state)
{
	static const char *const texts[] = {
		"", "[]", "1", "{\"a\"", "{}x", "{\"a\": \"\xff\"}"};
	struct radius_attributes list;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(radius_attributes_of(&list, span_of(texts[i])),
				 -EBADMSG);
}

static void test_bytes_over_four_gib_have_their_high_words(void **state)
{
	(void)state;
	check("{\"streams\": [" STREAM(
		      "audio", 0, 1, "GSM", null, 4294967295, 4294967295,
		      "10.0.0.1:2") ", " STREAM("audio", 0, 1, "GSM", null, 1,
						0, "10.0.0.1:2") "]}",
	      "Acct-Status-Type=3\n"
	      "User-Name=mediaproxy@default\n"
	      "Acct-Input-Octets=0\n"
	      "Acct-Output-Octets=4294967295\n"
	      "Acct-Input-Gigawords=1\n"
	      "NAS-IP-Address=10.0.0.1\n"
	      "Sip-Applications=audio\n"
	      "Media-Codecs=GSM, GSM\n");
}

static void test_numbers_that_do_not_fit_are_the_largest_that_do(void **state)
{
	(void)state;
	check("{\"duration\": 5000000000, \"streams\": ["
	      "{\"caller_bytes\": 9223372036854775807, \"callee_bytes\": "
	      "1e300}, {\"caller_bytes\": 9223372036854775807}, "
	      "{\"caller_bytes\": 9223372036854775807}]}",
	      "Acct-Status-Type=3\n"
	      "User-Name=mediaproxy@default\n"
	      "Acct-Session-Time=4294967295\n"
	      "Acct-Input-Octets=4294967295\n"
	      "Acct-Output-Octets=4294967295\n"
	      "Acct-Input-Gigawords=4294967295\n"
	      "Acct-Output-Gigawords=4294967295\n");
}

#define HEAD                                                                   \
	"Acct-Status-Type=3\nUser-Name=mediaproxy@default\n"                   \
	"Acct-Input-Octets=0\nAcct-Output-Octets=0\n"

static void
test_the_relay_is_what_the_record_says_or_where_the_caller_sent(void **state)
{
	(void)state;
	check("{\"relay\": \"192.0.2.1\", \"streams\": [{\"caller_local\": "
	      "\"10.0.0.1:4000\"}]}",
	      HEAD "NAS-IP-Address=192.0.2.1\n");
	check("{\"relay\": \"2001:db8::1\"}",
	      HEAD "NAS-IPv6-Address=2001:db8::1\n");
	check("{\"relay\": \"relay.example\", \"streams\": "
	      "[{\"caller_local\": \"[2001:db8::2]:40000\"}]}",
	      HEAD "NAS-IPv6-Address=2001:db8::2\n");
	check("{\"relay\": \"0.0.0.0\", \"streams\": "
	      "[{\"caller_local\": \"2001:db8::2:40000\"}]}",
	      HEAD "NAS-IPv6-Address=2001:db8::2\n");
	check("{\"streams\": [{\"caller_local\": \"Unknown\"}, "
	      "{\"caller_local\": \"10.0.0.1:4000\"}]}",
	      HEAD);
}

static void test_only_streams_that_lasted_are_applications(void **state)
{
	(void)state;
	check("{\"streams\": ["
	      "{\"media_type\": \"video\", \"start_time\": 2, \"end_time\": "
	      "2.0}, "
	      "{\"media_type\": \"message\", \"start_time\": null, "
	      "\"end_time\": null}, "
	      "{\"media_type\": \"image\", \"start_time\": 2, \"end_time\": "
	      "3}, "
	      "{\"media_type\": \"audio\", \"start_time\": 2, \"end_time\": "
	      "null}, "
	      "{\"media_type\": \"image\", \"start_time\": 0, \"end_time\": "
	      "3}]}",
	      HEAD "Sip-Applications=audio, image\n");
}

static void test_media_info_tells_a_timeout_from_ice(void **state)
{
	(void)state;
	check("{\"timed_out\": true}", HEAD "Media-Info=timeout\n");
	check("{\"timed_out\": true, \"all_streams_ice\": false}",
	      HEAD "Media-Info=timeout\n");
	check("{\"timed_out\": true, \"all_streams_ice\": true}",
	      HEAD "Media-Info=ICE session\n");
	check("{\"timed_out\": false, \"all_streams_ice\": false}", HEAD);
}

static void
test_the_delay_is_that_of_the_first_stream_that_has_one(void **state)
{
	(void)state;
	check("{\"streams\": [{\"post_dial_delay\": null}, "
	      "{\"post_dial_delay\": 7.99}, {\"post_dial_delay\": 1}]}",
	      HEAD "Acct-Delay-Time=7\n");
}

static void test_a_user_of_the_proxy_is_the_user(void **state)
{
	(void)state;
	check("{\"username\": \"alice@example.com\"}",
	      "Acct-Status-Type=3\nUser-Name=alice@example.com\n"
	      "Acct-Input-Octets=0\nAcct-Output-Octets=0\n");
	check("{\"username\": \"\"}", HEAD);
}

static void test_bytes_of_any_kind_stay_what_they_are(void **state)
{
	struct radius_attributes list;

	(void)state;
	assert_int_equal(
		radius_attributes_of(&list, SPAN("{\"from_tag\": "
						 "\"a\\u0000\\n\\\"'%s\"}")),
		0);
	assert_int_equal(list.items[4].name, RADIUS_SIP_FROM_TAG);
	assert_int_equal(list.items[4].len, 7);
	assert_memory_equal(list.items[4].value, "a\0\n\"'%s", 7);
}

static void test_a_long_value_is_cut_between_characters(void **state)
{
	static const struct {
		const char *tail;
		uint8_t len;
	} cases[] = {
		{"abcdef", 253},                    /* at the limit itself */
		{"ab\xc3\xa9", 252 + 1},            /* é lies behind it */
		{"\xc3\xa9zzzz", 253},              /* ... ends there */
		{"z\xc3\xa9zzz", 252},              /* ... lies across */
		{"\xf0\x9f\x98\x80zz", 251},        /* four bytes across */
		{"z\xe2\x82\xac\xe2\x82\xac", 252}, /* three */
	};
	char json[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct radius_attributes list;
		int len = snprintf(json, sizeof(json),
				   "{\"call_id\": \"%0251d%s\"}", 0,
				   cases[i].tail);

		assert_int_equal(radius_attributes_of(
					 &list, span_make(json, (size_t)len)),
				 0);
		assert_int_equal(list.items[2].name, RADIUS_ACCT_SESSION_ID);
		assert_int_equal(list.items[2].len, cases[i].len);
	}
}

static void test_what_is_no_utf8_is_cut_at_the_limit(void **state)
{
	(void)state;
	assert_int_equal(radius_cut(SPAN("\x80\x80\x80\x80\x80\x80"), 5), 5);
	assert_int_equal(radius_cut(SPAN("ab"), 2), 2);
	assert_int_equal(radius_cut(SPAN(""), 2), 0);
}

static void test_a_thousand_streams_fit(void **state)
{
	CLEANUP(buf_done) struct buf json = {0};
	struct radius_attributes list;

	(void)state;
	buf_printf(&json, "{\"streams\": [{}");
	for (unsigned i = 0; i < 1000; i++)
		buf_printf(&json,
			   ", {\"media_type\": \"m%03u\", \"start_time\": 0, "
			   "\"end_time\": 1, \"caller_codec\": \"GSM\"}",
			   999 - i);
	buf_printf(&json, "]}");
	assert_int_equal(radius_attributes_of(&list, buf_span(&json)), 0);
	assert_int_equal(list.count, 6);
	assert_int_equal(list.items[4].len, 253);
	assert_memory_equal(list.items[4].value, "m000, m001, ", 12);
	assert_int_equal(list.items[5].len, 253);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_call_has_its_attributes_in_the_order_of_the_original),
		cmocka_unit_test(
			test_what_is_missing_or_of_another_type_is_left_out),
		cmocka_unit_test(test_no_object_gives_no_attributes),
		cmocka_unit_test(
			test_bytes_over_four_gib_have_their_high_words),
		cmocka_unit_test(
			test_numbers_that_do_not_fit_are_the_largest_that_do),
		cmocka_unit_test(
			test_the_relay_is_what_the_record_says_or_where_the_caller_sent),
		cmocka_unit_test(
			test_only_streams_that_lasted_are_applications),
		cmocka_unit_test(test_media_info_tells_a_timeout_from_ice),
		cmocka_unit_test(
			test_the_delay_is_that_of_the_first_stream_that_has_one),
		cmocka_unit_test(test_a_user_of_the_proxy_is_the_user),
		cmocka_unit_test(test_bytes_of_any_kind_stay_what_they_are),
		cmocka_unit_test(test_a_long_value_is_cut_between_characters),
		cmocka_unit_test(test_what_is_no_utf8_is_cut_at_the_limit),
		cmocka_unit_test(test_a_thousand_streams_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
