#include "base/cleanup.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl/proxy.h"
#include "proto/command.h"
#include "test.h"

static const struct proxy_call names = {
	.call_id = "id@host",
	.from_tag = "f1",
	.to_tag = "t1",
	.from_uri = "a@x",
	.to_uri = "b@y",
};

/* Read what was written as the dispatcher does. */
static const struct command *read_back(struct command_reader *reader,
				       struct span text)
{
	enum command_status status = COMMAND_MORE;
	struct span line;

	while (text.len > 0) {
		assert_int_equal(status, COMMAND_MORE);
		assert_true(span_cut(&text, '\n', &line));
		assert_true(span_ends_with(line, SPAN("\r")));
		line.len--;
		status = command_reader_line(reader, line, false);
	}
	assert_int_equal(status, COMMAND_DONE);
	return command_reader_command(reader);
}

static void test_an_offer_reads_back_as_one(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct command_reader *reader;
	struct update update;
	const char *why;

	(void)state;
	assert_int_equal(command_reader_new(&reader, COMMAND_FORM_SOCKET), 0);
	proxy_write_update(&out, &names, false, "192.0.2.1",
			   SPAN("audio:192.0.2.1:5000:sendrecv:ice=no"));
	assert_int_equal(
		update_decode(read_back(reader, buf_span(&out)), &update, &why),
		0);
	assert_false(update.is_reply);
	assert_true(span_equal(update.call_id, SPAN("id@host")));
	assert_true(span_equal(update.from_tag, SPAN("f1")));
	assert_int_equal(update.to_tag.len, 0);
	assert_int_equal(update.stream_count, 1);
	assert_int_equal(update.streams[0].sdp.port, 5000);
	assert_true(ip_is_set(&update.signaling_ip));
	command_reader_free(reader);
}

static void test_an_answer_has_the_callees_tag(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct command_reader *reader;
	struct update update;
	const char *why;

	(void)state;
	assert_int_equal(command_reader_new(&reader, COMMAND_FORM_SOCKET), 0);
	proxy_write_update(&out, &names, true, "192.0.2.2",
			   SPAN("audio:192.0.2.2:6000:sendrecv:ice=no"));
	assert_int_equal(
		update_decode(read_back(reader, buf_span(&out)), &update, &why),
		0);
	assert_true(update.is_reply);
	assert_true(span_equal(update.to_tag, SPAN("t1")));
	command_reader_free(reader);
}

static void test_a_remove_names_the_call(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct command_reader *reader;
	struct removal removal;
	const char *why;

	(void)state;
	assert_int_equal(command_reader_new(&reader, COMMAND_FORM_SOCKET), 0);
	proxy_write_remove(&out, &names);
	assert_int_equal(removal_decode(read_back(reader, buf_span(&out)),
					&removal, &why),
			 0);
	assert_true(span_equal(removal.call_id, SPAN("id@host")));
	assert_true(span_equal(removal.to_tag, SPAN("t1")));
	command_reader_free(reader);
}

static void test_replies_are_told_apart(void **state)
{
	struct proxy_reply reply;
	char ip[ADDR_TEXT_SIZE];

	(void)state;
	proxy_reply_decode(SPAN("10.0.0.1 40000 0 65534"), &reply);
	assert_int_equal(reply.kind, PROXY_REPLY_PORTS);
	assert_string_equal(ip_format(&reply.ip, ip), "10.0.0.1");
	assert_int_equal(reply.count, 3);
	assert_int_equal(reply.ports[0], 40000);
	assert_int_equal(reply.ports[1], 0);
	assert_int_equal(reply.ports[2], 65534);
	proxy_reply_decode(SPAN("2001:db8::1 40000"), &reply);
	assert_int_equal(reply.kind, PROXY_REPLY_PORTS);
	proxy_reply_decode(SPAN("removed"), &reply);
	assert_int_equal(reply.kind, PROXY_REPLY_REMOVED);
	proxy_reply_decode(SPAN("error"), &reply);
	assert_int_equal(reply.kind, PROXY_REPLY_ERROR);
	proxy_reply_decode(SPAN("None"), &reply);
	assert_int_equal(reply.kind, PROXY_REPLY_NONE);
}

static void test_what_is_no_reply_is_strange(void **state)
{
	static const char *const lines[] = {
		"",          "Removed",        "10.0.0.1",
		"10.0.0.1 ", "10.0.0.1 65536", "10.0.0.1 1  2",
		"host 4000", "10.0.0.1 -1",    "error 1"};
	struct proxy_reply reply;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		proxy_reply_decode(span_of(lines[i]), &reply);
		assert_int_equal(reply.kind, PROXY_REPLY_STRANGE);
	}
}

static void test_too_many_ports_are_no_reply(void **state)
{
	CLEANUP(buf_done) struct buf line = {0};
	struct proxy_reply reply;

	(void)state;
	buf_add(&line, SPAN("10.0.0.1"));
	for (int i = 0; i < UPDATE_MAX_STREAMS; i++)
		buf_add(&line, SPAN(" 4000"));
	proxy_reply_decode(buf_span(&line), &reply);
	assert_int_equal(reply.kind, PROXY_REPLY_PORTS);
	buf_add(&line, SPAN(" 4000"));
	proxy_reply_decode(buf_span(&line), &reply);
	assert_int_equal(reply.kind, PROXY_REPLY_STRANGE);
}

static void test_asking_ends_with_the_reply_or_a_reason(void **state)
{
	char reply[PROXY_MAX_REPLY];
	size_t len = 0;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(write(fds[1], "removed\r\n", 9), 9);
	assert_int_equal(proxy_ask(fds[0], SPAN("x\r\n"), 1000, reply, &len),
			 0);
	assert_string_equal(reply, "removed");
	assert_int_equal(len, 7);
	assert_int_equal(proxy_ask(fds[0], SPAN("x\r\n"), 1, reply, &len),
			 -ETIMEDOUT);
	close(fds[1]);
	assert_true(proxy_ask(fds[0], SPAN("x\r\n"), 1000, reply, &len) < 0);
	close(fds[0]);
	assert_int_equal(proxy_connect("/nonexistent/socket", false, fds),
			 -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_offer_reads_back_as_one),
		cmocka_unit_test(test_an_answer_has_the_callees_tag),
		cmocka_unit_test(test_a_remove_names_the_call),
		cmocka_unit_test(test_replies_are_told_apart),
		cmocka_unit_test(test_what_is_no_reply_is_strange),
		cmocka_unit_test(test_too_many_ports_are_no_reply),
		cmocka_unit_test(test_asking_ends_with_the_reply_or_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
