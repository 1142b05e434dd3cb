#include "proto/statistics.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "test.h"

static struct endpoint endpoint(const char *ip, uint16_t port)
{
	struct endpoint ep = {.port = port};

	assert_int_equal(ip_parse(span_of(ip), &ep.ip), 0);
	return ep;
}

static void assert_encodes(const struct session_statistics *s,
			   enum statistics_use use, const char *expected)
{
	struct buf out = {0};
	struct json_writer w = json_writer_over(&out);

	statistics_encode(&w, NULL, s, use);
	assert_false(buf_failed(&out));
	assert_string_equal(out.data, expected);
	buf_done(&out);
}

/* The example of docs/protocols.md, section 3. */
#define EXAMPLE_STREAM                                                         \
	"{\"call_id\": \"call-01@example.com\", \"from_tag\": \"ftag1\", "     \
	"\"from_uri\": \"alice@example.com\", \"to_tag\": \"ttag1\", "         \
	"\"to_uri\": \"bob@example.com\", \"start_time\": "                    \
	"1795340335.934527, \"duration\": 3, \"caller_ua\": "                  \
	"\"UA-Caller 1.0\", \"callee_ua\": \"UA-Callee 2.0\", "                \
	"\"username\": null, \"streams\": [{\"media_type\": \"audio\", "       \
	"\"status\": \"closed\", \"timeout_wait\": 0, \"caller_codec\": "      \
	"\"G711u\", \"callee_codec\": \"G711a\", \"start_time\": 0, "          \
	"\"end_time\": 3, \"post_dial_delay\": 0.31355834007263184, "          \
	"\"caller_bytes\": 6168, \"callee_bytes\": 6168, "                     \
	"\"caller_packets\": 33, \"callee_packets\": 33, \"caller_local\": "   \
	"\"10.88.0.1:40000\", \"callee_local\": \"10.88.0.1:40002\", "         \
	"\"caller_remote\": \"10.88.1.2:5000\", \"callee_remote\": "           \
	"\"10.88.2.2:6000\""
#define EXAMPLE EXAMPLE_STREAM "}]"

static struct stream_statistics example_stream(void)
{
	return (struct stream_statistics){
		.media_type = SPAN("audio"),
		.status = STREAM_CLOSED,
		.has_times = true,
		.end_s = 3,
		.has_post_dial_delay = true,
		.post_dial_delay_s = 0.31355834007263184,
		.party = {[PARTY_CALLER] =
				  {.payload_type = 0,
				   .component = {{30, 6000, 28}, {3, 168, 0}},
				   .local = endpoint("10.88.0.1", 40000),
				   .remote = endpoint("10.88.1.2", 5000),
				   .sdp = endpoint("192.168.1.2", 5000)},
			  [PARTY_CALLEE] = {.payload_type = 8,
					    .component = {{33, 6168, 0}},
					    .local = endpoint("10.88.0.1",
							      40002),
					    .remote = endpoint("10.88.2.2",
							       6000)}},
	};
}

static struct session_statistics
example(const struct stream_statistics *streams, size_t count)
{
	return (struct session_statistics){
		.call_id = SPAN("call-01@example.com"),
		.from_tag = SPAN("ftag1"),
		.from_uri = SPAN("alice@example.com"),
		.to_tag = SPAN("ttag1"),
		.to_uri = SPAN("bob@example.com"),
		.has_start_time = true,
		.start_time = 1795340335.934527,
		.duration_s = 3,
		.user_agent = {SPAN("UA-Caller 1.0"), SPAN("UA-Callee 2.0")},
		.dialog_id = SPAN("3078:1789"),
		.has_answered_time = true,
		.answered_time = 1795340336.5,
		.relay = endpoint("10.88.0.1", 0).ip,
		.engine = "tc",
		.record_id = SPAN("00ff-1a"),
		.end_time = 1795340339.25,
		.end_reason = "removed",
		.stream_count = count,
		.streams = streams,
	};
}

/* What a record has at the end of each stream's object, and of its own. */
#define NEW_IN_STREAM                                                          \
	"\"caller_sdp\": \"192.168.1.2:5000\", "                               \
	"\"caller_rtp_packets\": 30, \"caller_rtp_bytes\": 6000, "             \
	"\"caller_rtp_kernel_packets\": 28, \"caller_rtcp_packets\": 3, "      \
	"\"caller_rtcp_bytes\": 168, \"caller_rtcp_kernel_packets\": 0, "      \
	"\"callee_sdp\": \"Unknown\", "                                        \
	"\"callee_rtp_packets\": 33, \"callee_rtp_bytes\": 6168, "             \
	"\"callee_rtp_kernel_packets\": 0, \"callee_rtcp_packets\": 0, "       \
	"\"callee_rtcp_bytes\": 0, \"callee_rtcp_kernel_packets\": 0"
#define NEW_IN_RECORD                                                          \
	"\"record_id\": \"00ff-1a\", \"schema\": 2, "                          \
	"\"answered_time\": 1795340336.5, \"end_time\": 1795340339.25, "       \
	"\"relay\": \"10.88.0.1\", \"engine\": \"tc\", "                       \
	"\"end_reason\": \"removed\""
#define RECORD_EXAMPLE EXAMPLE_STREAM ", " NEW_IN_STREAM "}]"

static void test_the_example_comes_out_byte_for_byte(void **state)
{
	struct stream_statistics stream = example_stream();
	struct session_statistics s = example(&stream, 1);

	(void)state;
	assert_encodes(&s, STATISTICS_SESSIONS, EXAMPLE "}");
}

static void test_each_use_adds_its_keys_in_order(void **state)
{
	struct stream_statistics stream = example_stream();
	struct session_statistics s = example(&stream, 1);

	(void)state;
	assert_encodes(&s, STATISTICS_SESSIONS_NEW,
		       EXAMPLE ", \"dialog_id\": \"3078:1789\", "
			       "\"answered_time\": 1795340336.5, "
			       "\"relay\": \"10.88.0.1\", "
			       "\"engine\": \"tc\"}");
	assert_encodes(&s, STATISTICS_REMOVE,
		       RECORD_EXAMPLE ", \"dialog_id\": \"3078:1789\", "
				      "\"timed_out\": false, " NEW_IN_RECORD
				      "}");
	s.timed_out = true;
	s.all_streams_ice = true;
	s.dialog_id = (struct span){0};
	assert_encodes(&s, STATISTICS_EXPIRED,
		       RECORD_EXAMPLE
		       ", \"timed_out\": true, \"dialog_id\": null, "
		       "\"all_streams_ice\": true, " NEW_IN_RECORD "}");
}

static char *encode_text(const struct session_statistics *s,
			 enum statistics_use use)
{
	struct buf out = {0};
	struct json_writer w = json_writer_over(&out);

	statistics_encode(&w, NULL, s, use);
	assert_false(buf_failed(&out));
	return out.data;
}

static void test_only_reasons_that_dropped_something_are_named(void **state)
{
	struct stream_statistics stream = example_stream();
	struct session_statistics s = example(&stream, 1);
	struct stream_party_statistics *callee = &stream.party[PARTY_CALLEE];
	char *text;

	(void)state;
	callee->drops[0] = (struct drop_statistics){"not_the_remote", 0};
	callee->drops[1] = (struct drop_statistics){"not_open", 7};
	callee->drops[2] = (struct drop_statistics){"send_full", UINT64_MAX};
	callee->drop_count = 3;
	text = encode_text(&s, STATISTICS_EXPIRED);
	assert_non_null(strstr(
		text, "\"callee_rtcp_kernel_packets\": 0, "
		      "\"callee_dropped_not_open\": 7, "
		      "\"callee_dropped_send_full\": 18446744073709551615}]"));
	assert_null(strstr(text, "not_the_remote"));
	assert_null(strstr(text, "caller_dropped"));
	free(text);
	assert_encodes(&s, STATISTICS_SESSIONS, EXAMPLE "}");
}

static void test_an_asymmetric_phone_is_named_in_a_record(void **state)
{
	struct stream_statistics stream = example_stream();
	struct session_statistics s = example(&stream, 1);
	char *text;

	(void)state;
	stream.party[PARTY_CALLEE].asymmetric = true;
	text = encode_text(&s, STATISTICS_REMOVE);
	assert_non_null(strstr(text, "\"callee_sdp\": \"Unknown\", "
				     "\"callee_asymmetric\": 1, "
				     "\"callee_rtp_packets\": 33"));
	assert_null(strstr(text, "caller_asymmetric"));
	free(text);
	text = encode_text(&s, STATISTICS_SESSIONS);
	assert_null(strstr(text, "asymmetric"));
	free(text);
}

static void test_the_record_of_a_call_that_nobody_answered(void **state)
{
	struct session_statistics s = example(NULL, 0);
	char *text;

	(void)state;
	s.has_answered_time = false;
	s.end_reason = "unanswered";
	text = encode_text(&s, STATISTICS_EXPIRED);
	assert_non_null(
		strstr(text, "\"answered_time\": null, \"end_time\": "));
	assert_non_null(strstr(text, "\"end_reason\": \"unanswered\"}"));
	free(text);
}

static void test_the_record_of_a_usual_call_is_short(void **state)
{
	struct stream_statistics stream = example_stream();
	struct session_statistics s = example(&stream, 1);
	struct endpoint longest =
		endpoint("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", 65534);
	char *text;

	(void)state;
	s.record_id = SPAN("0123456789abcdef0123456789abcdef-123456789");
	for (int i = 0; i < PARTY_COUNT; i++) {
		struct stream_party_statistics *party = &stream.party[i];

		party->local = party->sdp = party->remote = longest;
		for (int c = 0; c < COMPONENT_COUNT; c++)
			party->component[c] = (struct component_statistics){
				123456, 12345678, 123456};
	}
	text = encode_text(&s, STATISTICS_EXPIRED);
	assert_in_range(strlen(text), 1000, 2000);
	free(text);
}

/* SESSION_MAX_STREAMS of them, as a loop of re-INVITEs makes. */
static void test_the_record_of_very_many_streams_stays_readable(void **state)
{
	static struct stream_statistics streams[512];
	struct session_statistics s = example(streams, ARRAY_SIZE(streams));
	char *text;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
		streams[i] = example_stream();
	text = encode_text(&s, STATISTICS_REMOVE);
	/* What a relay may write at most. */
	assert_in_range(strlen(text), 0, 4u << 20);
	assert_non_null(strstr(text, NEW_IN_RECORD "}"));
	free(text);
}

static void test_what_is_not_known_is_null_or_unknown(void **state)
{
	struct stream_statistics stream = {
		.media_type = SPAN("video"),
		.party = {{.payload_type = CODEC_NONE},
			  {.payload_type = CODEC_NONE}},
	};
	struct session_statistics s = {
		.call_id = SPAN("c"),
		.from_tag = SPAN("f"),
		.stream_count = 1,
		.streams = &stream,
	};

	(void)state;
	assert_encodes(
		&s, STATISTICS_SESSIONS,
		"{\"call_id\": \"c\", \"from_tag\": \"f\", \"from_uri\": "
		"\"\", \"to_tag\": null, \"to_uri\": \"\", \"start_time\": "
		"null, \"duration\": 0, \"caller_ua\": \"Unknown\", "
		"\"callee_ua\": \"Unknown\", \"username\": null, "
		"\"streams\": [{\"media_type\": \"video\", \"status\": "
		"\"active\", \"timeout_wait\": 0, \"caller_codec\": "
		"\"Unknown\", \"callee_codec\": \"Unknown\", "
		"\"start_time\": null, \"end_time\": null, "
		"\"post_dial_delay\": null, \"caller_bytes\": 0, "
		"\"callee_bytes\": 0, \"caller_packets\": 0, "
		"\"callee_packets\": 0, \"caller_local\": \"Unknown\", "
		"\"callee_local\": \"Unknown\", \"caller_remote\": "
		"\"Unknown\", \"callee_remote\": \"Unknown\"}]}");
}

static void test_callers_words_stay_inside_their_string(void **state)
{
	struct session_statistics s = example(NULL, 0);

	(void)state;
	s.call_id = SPAN("a\", \"x\": \"\0\xff\r\n");
	s.username = SPAN("\xe2\x82\xac");
	assert_encodes(
		&s, STATISTICS_SESSIONS,
		"{\"call_id\": \"a\\\", \\\"x\\\": "
		"\\\"\\u0000\\u00ff\\r\\n\", \"from_tag\": \"ftag1\", "
		"\"from_uri\": \"alice@example.com\", \"to_tag\": \"ttag1\", "
		"\"to_uri\": \"bob@example.com\", \"start_time\": "
		"1795340335.934527, \"duration\": 3, \"caller_ua\": "
		"\"UA-Caller 1.0\", \"callee_ua\": \"UA-Callee 2.0\", "
		"\"username\": \"\\u20ac\", \"streams\": []}");
}

static void test_counters_have_64_bits(void **state)
{
	struct stream_statistics stream = example_stream();
	struct session_statistics s = example(&stream, 1);
	struct buf out = {0};
	struct json_writer w = json_writer_over(&out);

	(void)state;
	stream.party[PARTY_CALLER].component[COMPONENT_RTP].bytes =
		UINT64_MAX - 168;
	statistics_encode(&w, NULL, &s, STATISTICS_SESSIONS);
	assert_non_null(
		strstr(out.data, "\"caller_bytes\": 18446744073709551615, "));
	buf_done(&out);
}

static void test_every_status_has_the_word_of_the_original(void **state)
{
	static const char *const words[] = {
		[STREAM_ACTIVE] = "active",
		[STREAM_ON_HOLD] = "on hold",
		[STREAM_CLOSED] = "closed",
		[STREAM_REJECTED] = "rejected",
		[STREAM_NO_TRAFFIC_TIMEOUT] = "no-traffic timeout",
		[STREAM_ON_HOLD_TIMEOUT] = "on hold timeout",
		[STREAM_CONNTRACK_TIMEOUT] = "conntrack timeout",
		[STREAM_UNSELECTED_ICE] = "unselected ICE candidate",
	};

	(void)state;
	for (int i = STREAM_ACTIVE; i <= STREAM_UNSELECTED_ICE; i++)
		assert_string_equal(stream_status_name((enum stream_status)i),
				    words[i]);
}

static void test_codecs_have_the_names_of_the_original(void **state)
{
	static const struct {
		int payload_type;
		const char *name;
	} codecs[] = {
		{CODEC_NONE, "Unknown"},
		{0, "G711u"},
		{1, "1016"},
		{2, "G721"},
		{3, "GSM"},
		{4, "G723"},
		{5, "DVI4"},
		{6, "DVI4"},
		{7, "LPC"},
		{8, "G711a"},
		{9, "G722"},
		{10, "L16"},
		{11, "L16"},
		{12, "Unknown(12)"},
		{13, "Unknown(13)"},
		{14, "MPA"},
		{15, "G728"},
		{16, "Unknown(16)"},
		{18, "G729"},
		{25, "CelB"},
		{26, "JPEG"},
		{27, "Unknown(27)"},
		{28, "nv"},
		{31, "H261"},
		{32, "MPV"},
		{33, "MP2T"},
		{34, "H263"},
		{35, "Unknown(35)"},
		{95, "Unknown(95)"},
		{96, "Dynamic(96)"},
		{127, "Dynamic(127)"},
	};
	char text[CODEC_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++)
		assert_string_equal(codec_name(codecs[i].payload_type, text),
				    codecs[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_example_comes_out_byte_for_byte),
		cmocka_unit_test(test_each_use_adds_its_keys_in_order),
		cmocka_unit_test(
			test_only_reasons_that_dropped_something_are_named),
		cmocka_unit_test(test_an_asymmetric_phone_is_named_in_a_record),
		cmocka_unit_test(
			test_the_record_of_a_call_that_nobody_answered),
		cmocka_unit_test(test_the_record_of_a_usual_call_is_short),
		cmocka_unit_test(
			test_the_record_of_very_many_streams_stays_readable),
		cmocka_unit_test(test_what_is_not_known_is_null_or_unknown),
		cmocka_unit_test(test_callers_words_stay_inside_their_string),
		cmocka_unit_test(test_counters_have_64_bits),
		cmocka_unit_test(
			test_every_status_has_the_word_of_the_original),
		cmocka_unit_test(test_codecs_have_the_names_of_the_original),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
