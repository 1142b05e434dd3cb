#include "proto/update.h"

#include <errno.h>
#include <stdio.h>

#include "requests.h"
#include "test.h"

static struct command_reader *reader;
static struct update update;
static const char *why;

static int setup(void **state)
{
	(void)state;
	why = NULL;
	memset(&update, 0, sizeof(update));
	return command_reader_new(&reader, COMMAND_FORM_SOCKET);
}

static int teardown(void **state)
{
	(void)state;
	reader = command_reader_free(reader);
	return 0;
}

static void assert_span(struct span s, const char *expected)
{
	assert_int_equal(s.len, strlen(expected));
	assert_memory_equal(s.ptr, expected, s.len);
}

static void assert_ip(const struct ip_addr *ip, const char *expected)
{
	char text[ADDR_TEXT_SIZE];

	assert_string_equal(ip_format(ip, text), expected);
}

/* An update with these headers instead of the usual ones. */
static int decode(const char *headers)
{
	char text[COMMAND_MAX_LINE];
	int len = snprintf(text, sizeof(text), "update\r\n%s\r\n", headers);

	assert_int_equal(feed(reader, span_make(text, (size_t)len)),
			 COMMAND_DONE);
	return update_decode(command_reader_command(reader), &update, &why);
}

#define USUAL "type: request\r\ncall_id: a\r\ncseq: 1\r\nfrom_tag: t\r\n"

/* As the mediaproxy module of OpenSIPS 3.x writes it. */
static void test_a_request_of_opensips_is_read(void **state)
{
	(void)state;
	assert_int_equal(decode("type: request\r\n"
				"dialog_id: 9329077222918\r\n"
				"call_id: 0b1c@10.0.0.1\r\n"
				"cseq: 102\r\n"
				"from_uri: alice@example.com\r\n"
				"to_uri: bob@example.com\r\n"
				"from_tag: ftag1\r\n"
				"to_tag: \r\n"
				"user_agent: Phone 1.0 (a: b)\r\n"
				"signaling_ip: 10.0.0.9\r\n"
				"media_relay: 10.88.0.1\r\n"
				"media: audio:10.0.0.1:5000:sendrecv:ice=no,"
				"video:10.0.0.1:5002:sendonly:ice=yes\r\n"),
			 0);
	assert_false(update.is_reply);
	assert_int_equal(update.cseq, 102);
	assert_span(update.dialog_id, "9329077222918");
	assert_span(update.call_id, "0b1c@10.0.0.1");
	assert_span(update.from_uri, "alice@example.com");
	assert_span(update.to_uri, "bob@example.com");
	assert_span(update.from_tag, "ftag1");
	assert_int_equal(update.to_tag.len, 0);
	assert_span(update.user_agent, "Phone 1.0 (a: b)");
	assert_span(update.media_relay, "10.88.0.1");
	assert_ip(&update.signaling_ip, "10.0.0.9");
	assert_false(ip_is_set(&update.destination_ip));
	assert_string_equal(update.username, "");
	assert_true(update.has_media);
	assert_int_equal(update.stream_count, 2);
	assert_span(update.streams[0].type, "audio");
	assert_ip(&update.streams[0].sdp.ip, "10.0.0.1");
	assert_int_equal(update.streams[0].sdp.port, 5000);
	assert_int_equal(update.streams[0].direction, DIRECTION_SENDRECV);
	assert_false(update.streams[0].ice);
	assert_span(update.streams[1].type, "video");
	assert_int_equal(update.streams[1].sdp.port, 5002);
	assert_int_equal(update.streams[1].direction, DIRECTION_SENDONLY);
	assert_true(update.streams[1].ice);
}

/* As the module of Kamailio 5.6 writes it. */
static void test_a_reply_of_kamailio_is_read(void **state)
{
	(void)state;
	assert_int_equal(
		decode("type: reply\r\n"
		       "dialog_id: 3078:1789\r\n"
		       "call_id: a@b\r\n"
		       "cseq: 1\r\n"
		       "from_uri: alice@example.com\r\n"
		       "to_uri: bob@example.com\r\n"
		       "from_tag: ftag1\r\n"
		       "to_tag: ttag1\r\n"
		       "user_agent: UA-Callee 2.0\r\n"
		       "signaling_ip: source_destination\r\n"
		       "media_relay: \r\n"
		       "media: image:10.0.0.2:4000:sendrecv:ice=no\r\n"),
		0);
	assert_true(update.is_reply);
	assert_span(update.to_tag, "ttag1");
	assert_span(update.dialog_id, "3078:1789");
	assert_false(ip_is_set(&update.signaling_ip));
	assert_span(update.streams[0].type, "image");
}

static void test_what_is_optional_may_be_missing(void **state)
{
	(void)state;
	assert_int_equal(decode(USUAL), 0);
	assert_false(update.has_media);
	assert_int_equal(update.stream_count, 0);
	assert_false(ip_is_set(&update.signaling_ip));
	assert_int_equal(update.dialog_id.len, 0);
	assert_int_equal(update.media_relay.len, 0);
}

static void test_bad_updates_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"type: request\r\ncseq: 1\r\nfrom_tag: t\r\n",
		"type: request\r\ncall_id: a\r\ncseq: 1\r\n",
		"type: request\r\ncall_id: a\r\nfrom_tag: t\r\n",
		"call_id: a\r\ncseq: 1\r\nfrom_tag: t\r\n",
		"type: Request\r\ncall_id: a\r\ncseq: 1\r\nfrom_tag: t\r\n",
		"type: request\r\ncall_id: a\r\ncseq: -1\r\nfrom_tag: t\r\n",
		"type: request\r\ncall_id: a\r\ncseq: +1\r\nfrom_tag: t\r\n",
		"type: request\r\ncall_id: a\r\ncseq: 1x\r\nfrom_tag: t\r\n",
		"type: request\r\ncall_id: a\r\ncseq: 4294967296\r\n"
		"from_tag: t\r\n",
		USUAL "media: x\r\n",
		USUAL "media: audio:10.0.0.1:65536:sendrecv:ice=no\r\n",
		USUAL "signaling_ip: proxy.example.com\r\n",
		USUAL "signaling_ip: 10.0.0.256\r\n",
		USUAL "signaling_ip: {\r\n",
		USUAL "signaling_ip: {\"signaling_ip\": 5}\r\n",
		USUAL "signaling_ip: {\"username\": [\"a\"]}\r\n",
		USUAL "signaling_ip: {} trailing\r\n",
		USUAL "signaling_ip: {\"username\": \"a\\u0000b\"}\r\n",
		USUAL "signaling_ip: {\"username\": \"a\", "
		      "\"username\": \"b\"}\r\n",
		USUAL "signaling_ip: {\"username\": \"\xff\"}\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		update.cseq = 77;
		why = NULL;
		assert_int_equal(decode(bad[i]), -EBADMSG);
		assert_non_null(why);
		assert_int_equal(update.cseq, 77); /* untouched */
	}
}

static void test_the_largest_cseq_is_read(void **state)
{
	(void)state;
	assert_int_equal(decode("type: request\r\ncall_id: a\r\n"
				"cseq: 4294967295\r\nfrom_tag: t\r\n"),
			 0);
	assert_true(update.cseq == UINT32_MAX);
}

static void test_a_signaling_ip_of_json_names_both_sides(void **state)
{
	(void)state;
	assert_int_equal(
		decode(USUAL "signaling_ip: {\"signaling_ip\": \"10.0.0.1\", "
			     "\"destination_ip\": \"2001:db8::1\", "
			     "\"username\": \"alice@example.com\"}\r\n"),
		0);
	assert_ip(&update.signaling_ip, "10.0.0.1");
	assert_ip(&update.destination_ip, "2001:db8::1");
	assert_string_equal(update.username, "alice@example.com");
}

static void test_a_host_name_in_json_is_no_address(void **state)
{
	(void)state;
	assert_int_equal(
		decode(USUAL "signaling_ip: {\"signaling_ip\": \"10.0.0.1\", "
			     "\"destination_ip\": \"example.com\", "
			     "\"username\": null, \"more\": 1}\r\n"),
		0);
	assert_ip(&update.signaling_ip, "10.0.0.1");
	assert_false(ip_is_set(&update.destination_ip));
	assert_string_equal(update.username, "");
}

static void test_both_words_for_the_original_addresses_are_known(void **state)
{
	(void)state;
	assert_int_equal(decode(USUAL "signaling_ip: src_dst\r\n"), 0);
	assert_false(ip_is_set(&update.signaling_ip));
	assert_int_equal(decode(USUAL "signaling_ip: source_destination\r\n"),
			 0);
	assert_false(ip_is_set(&update.signaling_ip));
}

static void test_source_and_destination_may_stand_together(void **state)
{
	(void)state;
	assert_int_equal(decode(USUAL "signaling_ip: 10.0.0.1_2001:db8::2\r\n"),
			 0);
	assert_ip(&update.signaling_ip, "10.0.0.1");
	assert_ip(&update.destination_ip, "2001:db8::2");
	assert_int_equal(decode(USUAL "signaling_ip: 10.0.0.1_\r\n"), -EBADMSG);
	assert_int_equal(decode(USUAL "signaling_ip: _10.0.0.1\r\n"), -EBADMSG);
	assert_int_equal(decode(USUAL "signaling_ip: 10.0.0.1_host\r\n"),
			 -EBADMSG);
}

static void test_a_username_is_cut_where_a_character_ends(void **state)
{
	char text[1024];

	(void)state;
	snprintf(text, sizeof(text),
		 USUAL "signaling_ip: {\"username\": \"%0255d\"}\r\n", 0);
	assert_int_equal(decode(text), 0);
	assert_int_equal(strlen(update.username), 255);
	snprintf(text, sizeof(text),
		 USUAL "signaling_ip: {\"username\": \"%0256d\"}\r\n", 0);
	assert_int_equal(decode(text), 0);
	assert_int_equal(strlen(update.username), 255);
	/* Three bytes of which the last one has no room. */
	snprintf(text, sizeof(text),
		 USUAL "signaling_ip: {\"username\": \"%0253d\u20ac\"}\r\n", 0);
	assert_int_equal(decode(text), 0);
	assert_int_equal(strlen(update.username), 253);
	snprintf(text, sizeof(text),
		 USUAL "signaling_ip: {\"username\": \"%0252d\u20ac\"}\r\n", 0);
	assert_int_equal(decode(text), 0);
	assert_string_equal(update.username + 252, "\u20ac");
}

static void test_media_lines_are_read_from_both_ends(void **state)
{
	static const struct {
		const char *text, *type, *ip;
		uint16_t port;
		enum direction direction;
		bool ice;
	} lines[] = {
		{"audio:10.0.0.1:5000:sendrecv:ice=no", "audio", "10.0.0.1",
		 5000, DIRECTION_SENDRECV, false},
		{"audio:2001:db8::1:5000:sendonly:ice=yes", "audio",
		 "2001:db8::1", 5000, DIRECTION_SENDONLY, true},
		{"video:[2001:db8::1]:5000:recvonly:ice=no", "video",
		 "2001:db8::1", 5000, DIRECTION_RECVONLY, false},
		{"audio:::1:5000:sendrecv:ice=no", "audio", "::1", 5000,
		 DIRECTION_SENDRECV, false},
		{"audio::::5000:sendrecv:ice=no", "audio", "::", 5000,
		 DIRECTION_SENDRECV, false},
		{"audio:::ffff:10.0.0.1:5000:inactive:ice=no", "audio",
		 "10.0.0.1", 5000, DIRECTION_INACTIVE, false},
		{"image:0.0.0.0:0:inactive:ice=no", "image", "0.0.0.0", 0,
		 DIRECTION_INACTIVE, false},
		{"text:10.0.0.1:65535:sendrecv:a=b:ice=yes:c=d=e:f=", "text",
		 "10.0.0.1", 65535, DIRECTION_SENDRECV, true},
		{"audio:10.0.0.1:1:sendrecv:other=x", "audio", "10.0.0.1", 1,
		 DIRECTION_SENDRECV, false},
	};
	struct media_line line[UPDATE_MAX_STREAMS];
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(media_lines_decode(span_of(lines[i].text),
						    line, &count),
				 0);
		assert_int_equal(count, 1);
		assert_span(line[0].type, lines[i].type);
		assert_ip(&line[0].sdp.ip, lines[i].ip);
		assert_int_equal(line[0].sdp.port, lines[i].port);
		assert_int_equal(line[0].direction, lines[i].direction);
		assert_int_equal(line[0].ice, lines[i].ice);
	}
}

static void test_malformed_media_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		",",
		":",
		"audio",
		"audio:10.0.0.1",
		"audio:10.0.0.1:5000",
		"audio:10.0.0.1:5000:sendrecv",
		"audio:10.0.0.1:5000:ice=no",
		"audio:10.0.0.1:5000:sendrecv:ice=maybe",
		"audio:10.0.0.1:5000:sendrecv:ice=no:ice=yes",
		"audio:10.0.0.1:5000:sendrecv:=no",
		"audio:10.0.0.1:5000:sendrecv:ice=no:",
		"audio:10.0.0.1:5000:sendrecv::ice=no",
		"audio:10.0.0.1:5000:SENDRECV:ice=no",
		"audio:10.0.0.1:65536:sendrecv:ice=no",
		"audio:10.0.0.1:-1:sendrecv:ice=no",
		"audio:10.0.0.1::sendrecv:ice=no",
		"audio::5000:sendrecv:ice=no",
		"audio:host.example.com:5000:sendrecv:ice=no",
		"audio:fe80::1%eth0:5000:sendrecv:ice=no",
		"audio:10.0.0.1 :5000:sendrecv:ice=no",
		":10.0.0.1:5000:sendrecv:ice=no",
		"au dio:10.0.0.1:5000:sendrecv:ice=no",
		"au\"dio:10.0.0.1:5000:sendrecv:ice=no",
		"a1234567890123456789012345678901x:10.0.0.1:5:sendrecv:ice=no",
		"audio:10.0.0.1:5000:sendrecv:ice=no,",
		",audio:10.0.0.1:5000:sendrecv:ice=no",
		"a:1.1.1.1:5:sendrecv:ice=no, a:1.1.1.1:7:sendrecv:a=",
		"audio:None:5000:sendrecv:ice=no",
	};
	struct media_line line[UPDATE_MAX_STREAMS];
	size_t count = 99;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (media_lines_decode(span_of(bad[i]), line, &count) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(count, 99);
	}
}

static void test_there_are_at_most_so_many_streams(void **state)
{
	static const char one[] = "audio:10.0.0.1:5000:sendrecv:ice=no";
	struct media_line line[UPDATE_MAX_STREAMS];
	struct buf text = {0};
	size_t count;

	(void)state;
	for (int i = 0; i < UPDATE_MAX_STREAMS; i++)
		buf_printf(&text, "%s%s", i ? "," : "", one);
	assert_int_equal(media_lines_decode(buf_span(&text), line, &count), 0);
	assert_int_equal(count, UPDATE_MAX_STREAMS);
	buf_printf(&text, ",%s", one);
	assert_int_equal(media_lines_decode(buf_span(&text), line, &count),
			 -EBADMSG);
	buf_done(&text);
}

static void test_a_removal_needs_call_id_and_from_tag(void **state)
{
	struct removal removal;
	const struct command *command = command_reader_command(reader);

	(void)state;
	FEED(reader,
	     "remove\r\ncall_id: a\r\nfrom_tag: b\r\nto_tag: c\r\n\r\n");
	assert_int_equal(removal_decode(command, &removal, &why), 0);
	assert_span(removal.call_id, "a");
	assert_span(removal.from_tag, "b");
	assert_span(removal.to_tag, "c");

	FEED(reader, "remove\r\ncall_id: a\r\nfrom_tag: b\r\nto_tag: \r\n\r\n");
	assert_int_equal(removal_decode(command, &removal, &why), 0);
	assert_int_equal(removal.to_tag.len, 0);

	FEED(reader, "remove\r\nfrom_tag: b\r\n\r\n");
	assert_int_equal(removal_decode(command, &removal, &why), -EBADMSG);
	assert_string_equal(why, "no call_id");
	FEED(reader, "remove\r\ncall_id: a\r\nfrom_tag: \r\n\r\n");
	assert_int_equal(removal_decode(command, &removal, &why), -EBADMSG);
	assert_string_equal(why, "no from_tag");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_request_of_opensips_is_read),
		TEST(test_a_reply_of_kamailio_is_read),
		TEST(test_what_is_optional_may_be_missing),
		TEST(test_bad_updates_are_refused),
		TEST(test_the_largest_cseq_is_read),
		TEST(test_a_signaling_ip_of_json_names_both_sides),
		TEST(test_a_host_name_in_json_is_no_address),
		TEST(test_both_words_for_the_original_addresses_are_known),
		TEST(test_source_and_destination_may_stand_together),
		TEST(test_a_username_is_cut_where_a_character_ends),
		TEST(test_media_lines_are_read_from_both_ends),
		TEST(test_malformed_media_is_refused),
		TEST(test_there_are_at_most_so_many_streams),
		TEST(test_a_removal_needs_call_id_and_from_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
