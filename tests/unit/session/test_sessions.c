/**
 * Sessions over a real media engine on loopback. No packet is sent: ports,
 * states and records are what is looked at. Time is the test's own.
 */
#include "session/session.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/command.h"
#include "test.h"

#define STREAM_TIMEOUT_S 90
#define HOLD_TIMEOUT_S 7200
#define UNANSWERED_S 600

struct world {
	struct media *media;
	struct sessions *sessions;
	struct command_reader *reader;
	struct session_time now;
	unsigned expired;
	struct buf record; /* of the session that ended last */
	enum session_end end;
};

static void note_end(const struct session_final *final, struct world *world)
{
	struct json_writer w = json_writer_over(&world->record);

	buf_reset(&world->record);
	statistics_encode(&w, NULL, final->statistics, STATISTICS_EXPIRED);
	world->end = final->end;
}

static void expired(const struct session_final *final, void *arg)
{
	struct world *world = arg;

	note_end(final, world);
	world->expired++;
}

static void removed(const struct session_final *final, void *arg)
{
	note_end(final, arg);
}

static int begin_with(void **state, uint32_t port_first, uint32_t port_end)
{
	static struct world world;
	struct media_config media = {
		.worker_count = 1,
		.learning = {.settle_us = 300000,
			     .rebind_silence_us = 200000,
			     .rtcp_forget_us = 60 * US_PER_S,
			     .probation_packets = 4},
	};
	struct sessions_config config = {
		.port_first = port_first,
		.port_end = port_end,
		.port_rest_us = 5 * US_PER_S,
		.stream_timeout_us = STREAM_TIMEOUT_S * US_PER_S,
		.on_hold_timeout_us = HOLD_TIMEOUT_S * US_PER_S,
		.unanswered_timeout_us = UNANSWERED_S * US_PER_S,
	};
	struct session_handlers handlers = {.expired = expired};

	log_set_level(LOG_LEVEL_ERROR);
	world = (struct world){.now = {1000 * US_PER_S, 1700000000 * US_PER_S}};
	assert_int_equal(ip_parse(SPAN("127.0.0.1"), &config.local_ip), 0);
	assert_int_equal(media_new(&world.media, &media), 0);
	assert_int_equal(sessions_new(&world.sessions, &config, world.media,
				      &handlers, &world),
			 0);
	assert_int_equal(command_reader_new(&world.reader, COMMAND_FORM_SOCKET),
			 0);
	*state = &world;
	return 0;
}

static int begin(void **state)
{
	return begin_with(state, 42000, 42200);
}

static int begin_with_two_pairs(void **state)
{
	return begin_with(state, 42300, 42304);
}

static int begin_with_three_pairs(void **state)
{
	return begin_with(state, 42310, 42316);
}

/* Let the media finish what it closes. */
static void settle(struct world *world)
{
	struct session_counts counts;

	for (int tries = 0; tries < 200; tries++) {
		struct pollfd ready = {.fd = media_event_fd(world->media),
				       .events = POLLIN};

		sessions_count(world->sessions, &counts);
		if (counts.ending == 0 && counts.streams_closing == 0)
			return;
		poll(&ready, 1, 50);
		sessions_dispatch(world->sessions, &world->now);
	}
	fail_msg("media did not finish");
}

static int end(void **state)
{
	struct world *world = *state;
	struct session_counts counts;
	struct media_totals totals;

	sessions_end_all(world->sessions, &world->now);
	settle(world);
	sessions_count(world->sessions, &counts);
	media_read_totals(world->media, &totals);
	sessions_free(world->sessions);
	media_free(world->media);
	command_reader_free(world->reader);
	buf_done(&world->record);
	return counts.created != counts.destroyed ||
	       counts.streams_created != counts.streams_destroyed ||
	       counts.ports_taken != counts.ports_returned ||
	       counts.ports_free != counts.ports_total ||
	       totals.sockets_opened != totals.sockets_closed;
}

static void pass(struct world *world, uint64_t seconds)
{
	world->now.mono_us += seconds * US_PER_S;
	world->now.wall_us += seconds * US_PER_S;
}

static void feed(struct world *world, const char *name, const char *value)
{
	char line[1024];

	snprintf(line, sizeof(line), "%s: %s", name, value);
	assert_int_equal(
		command_reader_line(world->reader, span_of(line), false),
		COMMAND_MORE);
}

struct message {
	bool reply;
	unsigned cseq;
	const char *from_tag, *to_tag; /* NULL: "caller", none */
	const char *call_id;           /* NULL: "call-1" */
	const char *media;
};

static const char *why; /* of the last message */

/* Send a message; the result, and the ports in ret. */
static int send_to(struct world *world, struct message m,
		   struct session_ports *ret)
{
	struct update update;
	char cseq[16];

	snprintf(cseq, sizeof(cseq), "%u", m.cseq);
	command_reader_line(world->reader, SPAN("update"), false);
	feed(world, "type", m.reply ? "reply" : "request");
	feed(world, "call_id", m.call_id ? m.call_id : "call-1");
	feed(world, "cseq", cseq);
	feed(world, "from_tag", m.from_tag ? m.from_tag : "caller");
	feed(world, "from_uri", "alice@example.com");
	feed(world, "to_uri", "bob@example.com");
	if (m.to_tag)
		feed(world, "to_tag", m.to_tag);
	if (m.media)
		feed(world, "media", m.media);
	assert_int_equal(command_reader_line(world->reader, SPAN(""), false),
			 COMMAND_DONE);
	assert_int_equal(update_decode(command_reader_command(world->reader),
				       &update, &why),
			 0);
	return sessions_update(world->sessions, &update, 0, true, &world->now,
			       ret, &why);
}

/* Send a message that has to work. */
static struct session_ports say(struct world *world, struct message m)
{
	struct session_ports ports = {0};
	int r = send_to(world, m, &ports);

	if (r != 0)
		fail_msg("refused with %d: %s", r, why);
	return ports;
}

#define REQUEST(cseq_, ...)                                                    \
	say(world, (struct message){.cseq = (cseq_), __VA_ARGS__})
#define FORK_REPLY(cseq_, tag_, ...)                                           \
	say(world, (struct message){.cseq = (cseq_),                           \
				    .reply = true,                             \
				    .to_tag = (tag_),                          \
				    __VA_ARGS__})
#define REPLY(cseq_, ...) FORK_REPLY(cseq_, "callee", __VA_ARGS__)
#define CALLEE_REQUEST(cseq_, ...)                                             \
	say(world, (struct message){.cseq = (cseq_),                           \
				    .from_tag = "callee",                      \
				    .to_tag = "caller",                        \
				    __VA_ARGS__})
#define CALLER_REPLY(cseq_, ...)                                               \
	say(world, (struct message){.cseq = (cseq_),                           \
				    .reply = true,                             \
				    .from_tag = "callee",                      \
				    .to_tag = "caller",                        \
				    __VA_ARGS__})

#define A "audio:127.0.0.1:5000:sendrecv:ice=no"
#define A_HELD "audio:127.0.0.1:5000:sendonly:ice=no"
#define A_MOVED "audio:127.0.0.1:5100:sendrecv:ice=no"
#define A_OFF "audio:127.0.0.1:0:sendrecv:ice=no"
#define B "audio:127.0.0.1:6000:sendrecv:ice=no"
#define B_RECVONLY "audio:127.0.0.1:6000:recvonly:ice=no"
#define B_MOVED "audio:127.0.0.1:6100:sendrecv:ice=no"
#define B_OFF "audio:127.0.0.1:0:sendrecv:ice=no"
#define AV "video:127.0.0.1:5002:sendrecv:ice=no"
#define BV "video:127.0.0.1:6002:sendrecv:ice=no"
#define BV_OFF "video:127.0.0.1:0:sendrecv:ice=no"
#define A_FAX "image:127.0.0.1:5000:sendrecv:ice=no"
#define B_FAX "image:127.0.0.1:6000:sendrecv:ice=no"

static size_t living(const struct world *world)
{
	struct session_counts counts;

	sessions_count(world->sessions, &counts);
	return counts.sessions;
}

static size_t ports_in_use(struct world *world)
{
	struct session_counts counts;

	settle(world);
	sessions_count(world->sessions, &counts);
	return (size_t)(counts.ports_taken - counts.ports_returned);
}

static void remove_call(struct world *world, const char *from_tag)
{
	struct removal removal = {SPAN("call-1"), span_of(from_tag), SPAN("")};

	assert_int_equal(sessions_remove(world->sessions, &removal, &world->now,
					 removed, world),
			 0);
	settle(world);
}

static void assert_record_has(const struct world *world, const char *text)
{
	if (!world->record.data || !strstr(world->record.data, text))
		fail_msg("'%s' is not in the record %s", text,
			 world->record.data ? world->record.data : "");
}

static void assert_record_lacks(const struct world *world, const char *text)
{
	assert_non_null(world->record.data);
	if (strstr(world->record.data, text))
		fail_msg("'%s' is in the record %s", text, world->record.data);
}

/* The caller's packets go to the port that is written into the callee's SDP. */
static void assert_record_has_local(const struct world *world,
				    const char *party, unsigned port)
{
	char text[64];

	snprintf(text, sizeof(text), "\"%s_local\": \"127.0.0.1:%u\"", party,
		 port);
	assert_record_has(world, text);
}

static void test_offer_and_answer_get_the_ports_of_the_two_sides(void **state)
{
	struct world *world = *state;
	struct session_ports offer = REQUEST(1, .media = A);
	struct session_ports answer = REPLY(1, .media = B);

	assert_int_equal(offer.count, 1);
	assert_int_equal(answer.count, 1);
	assert_int_not_equal(offer.ports[0], answer.ports[0]);
	assert_int_equal(offer.ports[0] % 2, 0);
	assert_int_equal(ports_in_use(world), 2);
	pass(world, 3);
	remove_call(world, "caller");
	assert_record_has(world, "\"duration\": 3");
	assert_record_has_local(world, "callee", offer.ports[0]);
	assert_record_has_local(world, "caller", answer.ports[0]);
	assert_record_has(world, "\"status\": \"closed\"");
	assert_record_has(world, "\"to_tag\": \"callee\"");
	assert_record_has(world, "\"timed_out\": false");
	assert_int_equal(living(world), 0);
}

static void
test_a_retransmission_gets_the_same_ports_and_answers_nothing(void **state)
{
	struct world *world = *state;
	struct session_ports first = REQUEST(1, .media = A);
	struct session_ports again = REQUEST(1, .media = A);

	assert_int_equal(first.ports[0], again.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
	remove_call(world, "caller");
	assert_record_has(world, "\"start_time\": null");
	assert_record_has(world, "\"streams\": []");
}

static void
test_183_and_200_keep_the_ports_and_a_fork_moves_the_callee(void **state)
{
	struct world *world = *state;
	struct session_ports early, final, other;

	REQUEST(1, .media = A);
	early = say(world,
		    (struct message){.cseq = 1, .reply = true, .media = B});
	other = FORK_REPLY(1, "fork-2", .media = B_MOVED);
	final = REPLY(1, .media = B);
	assert_int_equal(early.ports[0], final.ports[0]);
	assert_int_equal(early.ports[0], other.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
}

static void test_a_late_offer_is_answered_by_the_ack(void **state)
{
	struct world *world = *state;
	struct session_ports offer = REPLY(1, .media = B);
	struct session_ports ack = REQUEST(1, .to_tag = "callee", .media = A);

	assert_int_not_equal(offer.ports[0], ack.ports[0]);
	remove_call(world, "caller");
	assert_record_has(world, "\"media_type\": \"audio\"");
}

static void test_hold_and_resume_keep_the_ports(void **state)
{
	struct world *world = *state;
	struct session_ports first = REQUEST(1, .media = A);
	struct session_ports held, resumed;

	REPLY(1, .media = B);
	held = REQUEST(2, .to_tag = "callee", .media = A_HELD);
	REPLY(2, .media = B_RECVONLY);
	resumed = REQUEST(3, .to_tag = "callee", .media = A);
	REPLY(3, .media = B);
	assert_int_equal(held.ports[0], first.ports[0]);
	assert_int_equal(resumed.ports[0], first.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
}

static void test_all_forms_of_hold_outlive_the_stream_timeout(void **state)
{
	static const char *const forms[] = {
		A_HELD,
		"audio:127.0.0.1:5000:inactive:ice=no",
		"audio:0.0.0.0:5000:sendrecv:ice=no",
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		REQUEST(1, .media = A);
		REPLY(1, .media = B);
		REQUEST(2, .to_tag = "callee", .media = forms[i]);
		REPLY(2, .media = B_RECVONLY);
		pass(world, STREAM_TIMEOUT_S + 1);
		sessions_tick(world->sessions, &world->now);
		assert_int_equal(living(world), 1);
		pass(world, HOLD_TIMEOUT_S);
		sessions_tick(world->sessions, &world->now);
		settle(world);
		assert_int_equal(living(world), 0);
		assert_record_has(world, "\"status\": \"on hold timeout\"");
		assert_record_has(world, "\"timeout_wait\": 7200");
		assert_record_has(world, "\"timed_out\": true");
	}
}

static void test_the_answerer_may_hold_too(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	REQUEST(2, .to_tag = "callee", .media = A);
	REPLY(2, .media = "audio:127.0.0.1:6000:inactive:ice=no");
	pass(world, STREAM_TIMEOUT_S + 1);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	REQUEST(3, .to_tag = "callee", .media = A);
	REPLY(3, .media = B);
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 0);
}

static void test_a_stream_offered_on_hold_is_on_hold(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A_HELD);
	REPLY(1, .media = B_RECVONLY);
	pass(world, STREAM_TIMEOUT_S + 1);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
}

static void test_silence_before_the_answer_ends_nothing(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	pass(world, STREAM_TIMEOUT_S * 2);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	pass(world, UNANSWERED_S);
	sessions_tick(world->sessions, &world->now);
	settle(world);
	assert_int_equal(living(world), 0);
	assert_int_equal(world->expired, 1);
	assert_int_equal(world->end, SESSION_END_UNANSWERED);
	assert_record_has(world, "\"start_time\": null");
}

static void test_silence_from_the_answer_on_ends_the_session(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	pass(world, STREAM_TIMEOUT_S * 2);
	REPLY(1, .media = B);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	settle(world);
	assert_int_equal(living(world), 0);
	assert_int_equal(world->expired, 1);
	assert_record_has(world, "\"status\": \"no-traffic timeout\"");
	assert_record_has(world, "\"timeout_wait\": 90");
}

static void test_a_new_address_in_a_reinvite_makes_a_new_stream(void **state)
{
	struct world *world = *state;
	struct session_ports first = REQUEST(1, .media = A);
	struct session_ports moved;

	REPLY(1, .media = B);
	moved = REQUEST(2, .to_tag = "callee", .media = A_MOVED);
	assert_int_not_equal(moved.ports[0], first.ports[0]);
	/* both flow until the answer comes */
	assert_int_equal(ports_in_use(world), 4);
	REPLY(2, .media = B);
	assert_int_equal(ports_in_use(world), 2);
	remove_call(world, "caller");
	assert_record_has(world, "\"streams\": [{\"media_type\": \"audio\"");
	assert_record_has(world, "}, {\"media_type\": \"audio\"");
}

static void
test_a_rejected_reinvite_followed_by_another_keeps_the_live_stream(void **state)
{
	struct world *world = *state;
	struct session_ports first = REQUEST(1, .media = A);
	struct session_ports back;

	REPLY(1, .media = B);
	REQUEST(2, .to_tag = "callee", .media = A_MOVED); /* 488 */
	back = REQUEST(3, .to_tag = "callee", .media = A);
	assert_int_equal(back.ports[0], first.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
	REPLY(3, .media = B);
	remove_call(world, "caller");
	assert_record_lacks(world, "}, {\"media_type\"");
}

static void test_after_a_rejected_reinvite_the_callee_may_offer(void **state)
{
	struct world *world = *state;
	struct session_ports first, offer;

	REQUEST(1, .media = A);
	first = REPLY(1, .media = B);
	REQUEST(2, .to_tag = "callee", .media = A_MOVED); /* 491 */
	offer = CALLEE_REQUEST(1, .media = B);
	assert_int_equal(offer.ports[0], first.ports[0]);
	CALLER_REPLY(1, .media = A);
	assert_int_equal(ports_in_use(world), 2);
}

static void test_a_reinvite_of_the_callee_moves_its_side(void **state)
{
	struct world *world = *state;
	struct session_ports offer, answer;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	offer = CALLEE_REQUEST(1, .media = B_MOVED);
	answer = CALLER_REPLY(1, .media = A);
	assert_int_not_equal(offer.ports[0], answer.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
}

static void test_streams_are_added_rejected_and_removed(void **state)
{
	struct world *world = *state;
	struct session_ports two, answer, off;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	two = REQUEST(2, .to_tag = "callee", .media = A "," AV);
	answer = REPLY(2, .media = B "," BV_OFF);
	assert_int_equal(two.count, 2);
	assert_true(two.ports[1] != 0);
	assert_int_equal(answer.ports[1], 0);
	REQUEST(3, .to_tag = "callee", .media = A "," AV);
	REPLY(3, .media = B "," BV);
	assert_int_equal(ports_in_use(world), 4);
	off = REQUEST(4, .to_tag = "callee",
		      .media = A ",video:127.0.0.1:0:sendrecv:ice=no");
	assert_int_equal(off.ports[1], 0);
	assert_int_equal(ports_in_use(world), 4);
	REPLY(4, .media = B "," BV_OFF);
	assert_int_equal(ports_in_use(world), 2);
	remove_call(world, "caller");
	assert_record_has(world, "\"status\": \"rejected\"");
}

static void test_a_rejected_stream_has_no_port_in_a_retransmission(void **state)
{
	struct world *world = *state;
	struct session_ports again;

	REQUEST(1, .media = A "," AV);
	REPLY(1, .media = B "," BV_OFF);
	again = REQUEST(1, .media = A "," AV);
	assert_true(again.ports[0] != 0);
	assert_int_equal(again.ports[1], 0);
}

static void
test_a_disabled_stream_stays_so_whatever_the_answer_says(void **state)
{
	struct world *world = *state;
	struct session_ports answer;

	REQUEST(1, .media = A "," AV);
	REPLY(1, .media = B "," BV);
	REQUEST(2, .to_tag = "callee",
		.media = A ",video:127.0.0.1:0:sendrecv:ice=no");
	answer = REPLY(2, .media = B "," BV);
	assert_int_equal(answer.ports[1], 0);
	assert_int_equal(ports_in_use(world), 2);
}

static void test_a_fork_may_accept_what_another_one_rejected(void **state)
{
	struct world *world = *state;
	struct session_ports first, second;

	REQUEST(1, .media = A "," AV);
	first = FORK_REPLY(1, "fork-1", .media = B "," BV_OFF);
	second = FORK_REPLY(1, "fork-2", .media = B_MOVED "," BV);
	assert_int_equal(first.ports[1], 0);
	assert_true(second.ports[1] != 0);
	remove_call(world, "caller");
	assert_record_lacks(world, "rejected");
}

static void test_extra_and_missing_lines_of_an_answer(void **state)
{
	struct world *world = *state;
	struct session_ports answer;

	REQUEST(1, .media = A "," AV);
	answer = REPLY(1, .media = B "," BV "," BV);
	assert_int_equal(answer.count, 3);
	assert_true(answer.ports[1] != 0);
	assert_int_equal(answer.ports[2], 0);
	answer = REPLY(1, .media = B);
	assert_int_equal(answer.count, 1);
}

static void
test_a_session_with_every_stream_rejected_ends_by_itself(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B_OFF);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	settle(world);
	assert_int_equal(living(world), 0);
	assert_int_equal(world->end, SESSION_END_NO_STREAM);
	assert_int_equal(ports_in_use(world), 0);
}

static void test_a_switch_to_t38_and_back(void **state)
{
	struct world *world = *state;
	struct session_ports audio = REQUEST(1, .media = A);
	struct session_ports fax, back;

	REPLY(1, .media = B);
	fax = CALLEE_REQUEST(1, .media = B_FAX);
	CALLER_REPLY(1, .media = A_FAX);
	assert_int_not_equal(fax.ports[0], audio.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
	back = REQUEST(2, .to_tag = "callee", .media = A);
	REPLY(2, .media = B);
	assert_int_equal(back.count, 1);
	remove_call(world, "callee");
	assert_record_has(world, "\"media_type\": \"image\"");
}

static void
test_several_from_tags_under_one_call_id_are_several_sessions(void **state)
{
	struct world *world = *state;
	struct session_ports first = REQUEST(1, .media = A);
	struct session_ports second =
		REQUEST(1, .from_tag = "looped", .media = A);

	assert_int_not_equal(first.ports[0], second.ports[0]);
	assert_int_equal(living(world), 2);
	remove_call(world, "looped");
	assert_int_equal(living(world), 1);
	remove_call(world, "caller");
	assert_int_equal(living(world), 0);
}

static void test_a_bye_of_the_callee_finds_the_session(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	remove_call(world, "callee");
	assert_int_equal(living(world), 0);
}

static void test_a_transfer_may_replace_the_caller(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	REQUEST(1, .from_tag = "successor", .to_tag = "callee",
		.media = A_MOVED);
	assert_int_equal(living(world), 1);
}

static void test_a_call_without_media_is_none_and_makes_nothing(void **state)
{
	struct world *world = *state;
	struct session_ports ports;

	assert_int_equal(send_to(world, (struct message){.cseq = 1}, &ports),
			 -ENODATA);
	assert_int_equal(living(world), 0);
	REQUEST(1, .media = A);
	assert_int_equal(
		say(world, (struct message){.cseq = 1, .reply = true}).count,
		0);
}

static void test_addresses_that_are_refused_make_no_session(void **state)
{
	static const char *const bad[] = {
		"audio:169.254.1.1:5000:sendrecv:ice=no",
		"audio:169.254.169.254:80:sendrecv:ice=no",
		"audio:224.0.0.1:5000:sendrecv:ice=no",
		"audio:255.255.255.255:5000:sendrecv:ice=no",
		"audio:2001:db8::1:5000:sendrecv:ice=no",
		"audio:::ffff:224.0.0.1:5000:sendrecv:ice=no",
	};
	struct world *world = *state;
	struct session_ports ports;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
			send_to(world,
				(struct message){.cseq = 1, .media = bad[i]},
				&ports),
			-EINVAL);
	assert_int_equal(living(world), 0);
	assert_int_equal(ports_in_use(world), 0);
}

static void test_a_range_that_runs_out_gives_every_port_back(void **state)
{
	struct world *world = *state;
	struct session_ports ports;

	assert_int_equal(send_to(world,
				 (struct message){.cseq = 1, .media = A "," AV},
				 &ports),
			 -EADDRNOTAVAIL);
	assert_int_equal(living(world), 0);
	assert_int_equal(ports_in_use(world), 0);
	REQUEST(2, .media = A);
	assert_int_equal(ports_in_use(world), 2);
	/* a re-INVITE that cannot be served leaves the call as it is */
	REPLY(2, .media = B);
	assert_int_equal(send_to(world,
				 (struct message){.cseq = 3,
						  .to_tag = "callee",
						  .media = A_MOVED},
				 &ports),
			 -EADDRNOTAVAIL);
	assert_int_equal(ports_in_use(world), 2);
	assert_int_equal(living(world), 1);
}

static void test_half_a_stream_is_given_back_too(void **state)
{
	struct world *world = *state;
	struct session_ports ports;

	assert_int_equal(send_to(world,
				 (struct message){.cseq = 1, .media = A "," AV},
				 &ports),
			 -EADDRNOTAVAIL);
	assert_int_equal(ports_in_use(world), 0);
}

static void test_sdp_that_names_our_own_port_changes_nothing(void **state)
{
	struct world *world = *state;
	struct session_ports offer = REQUEST(1, .media = A);
	struct session_ports answer = REPLY(1, .media = B);
	struct session_ports again;
	char media[64];

	snprintf(media, sizeof(media), "audio:127.0.0.1:%u:sendrecv:ice=no",
		 answer.ports[0]);
	again = REPLY(1, .media = media);
	assert_int_equal(again.ports[0], answer.ports[0]);
	snprintf(media, sizeof(media), "audio:127.0.0.1:%u:sendrecv:ice=no",
		 offer.ports[0]);
	again = REQUEST(2, .to_tag = "callee", .media = media);
	assert_int_equal(again.ports[0], offer.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
}

static void
test_an_unanswered_reinvite_gives_its_ports_back_in_time(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B_RECVONLY);
	REQUEST(2, .to_tag = "callee", .media = A_HELD);
	REPLY(2, .media = B_RECVONLY);
	REQUEST(3, .to_tag = "callee", .media = A_MOVED);
	assert_int_equal(ports_in_use(world), 4);
	pass(world, UNANSWERED_S);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(ports_in_use(world), 2);
	assert_int_equal(living(world), 1);
}

static void test_a_loop_of_reinvites_is_bounded(void **state)
{
	struct world *world = *state;
	struct session_ports ports;
	unsigned cseq = 1;
	int r = 0;

	REQUEST(cseq, .media = A);
	REPLY(cseq, .media = B);
	while (r == 0 && cseq < 2000) {
		cseq++;
		r = send_to(world,
			    (struct message){.cseq = cseq,
					     .to_tag = "callee",
					     .media = cseq % 2 ? A : A_MOVED},
			    &ports);
		if (r == 0)
			REPLY(cseq, .media = B);
		settle(world);
		pass(world, 6);
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(living(world), 1);
}

static void count_session(const struct session_statistics *statistics,
			  void *arg)
{
	unsigned *count = arg;

	(void)statistics;
	(*count)++;
}

static void test_sessions_are_visited_page_by_page_and_by_owner(void **state)
{
	struct world *world = *state;
	uint64_t cursor = 0;
	unsigned count = 0;
	unsigned pages = 0;

	for (unsigned i = 0; i < 25; i++) {
		char call_id[16];

		snprintf(call_id, sizeof(call_id), "call-%u", i);
		REQUEST(1, .call_id = call_id, .media = A);
	}
	do {
		sessions_visit(world->sessions, &cursor, 0, 10, &world->now,
			       count_session, &count);
		pages++;
	} while (cursor != 0);
	assert_int_equal(count, 25);
	assert_int_equal(pages, 3);
	sessions_visit(world->sessions, &cursor, 7, 10, &world->now,
		       count_session, &count);
	assert_int_equal(count, 25);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_offer_and_answer_get_the_ports_of_the_two_sides),
		TEST(test_a_retransmission_gets_the_same_ports_and_answers_nothing),
		TEST(test_183_and_200_keep_the_ports_and_a_fork_moves_the_callee),
		TEST(test_a_late_offer_is_answered_by_the_ack),
		TEST(test_hold_and_resume_keep_the_ports),
		TEST(test_all_forms_of_hold_outlive_the_stream_timeout),
		TEST(test_the_answerer_may_hold_too),
		TEST(test_a_stream_offered_on_hold_is_on_hold),
		TEST(test_a_rejected_stream_has_no_port_in_a_retransmission),
		TEST(test_a_disabled_stream_stays_so_whatever_the_answer_says),
		cmocka_unit_test_setup_teardown(
			test_half_a_stream_is_given_back_too,
			begin_with_three_pairs, end),
		TEST(test_silence_before_the_answer_ends_nothing),
		TEST(test_silence_from_the_answer_on_ends_the_session),
		TEST(test_a_new_address_in_a_reinvite_makes_a_new_stream),
		TEST(test_a_rejected_reinvite_followed_by_another_keeps_the_live_stream),
		TEST(test_after_a_rejected_reinvite_the_callee_may_offer),
		TEST(test_a_reinvite_of_the_callee_moves_its_side),
		TEST(test_streams_are_added_rejected_and_removed),
		TEST(test_a_fork_may_accept_what_another_one_rejected),
		TEST(test_extra_and_missing_lines_of_an_answer),
		TEST(test_a_session_with_every_stream_rejected_ends_by_itself),
		TEST(test_a_switch_to_t38_and_back),
		TEST(test_several_from_tags_under_one_call_id_are_several_sessions),
		TEST(test_a_bye_of_the_callee_finds_the_session),
		TEST(test_a_transfer_may_replace_the_caller),
		TEST(test_a_call_without_media_is_none_and_makes_nothing),
		TEST(test_addresses_that_are_refused_make_no_session),
		cmocka_unit_test_setup_teardown(
			test_a_range_that_runs_out_gives_every_port_back,
			begin_with_two_pairs, end),
		TEST(test_sdp_that_names_our_own_port_changes_nothing),
		TEST(test_an_unanswered_reinvite_gives_its_ports_back_in_time),
		TEST(test_a_loop_of_reinvites_is_bounded),
		TEST(test_sessions_are_visited_page_by_page_and_by_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
