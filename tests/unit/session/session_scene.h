#pragma once
/**
 * @file tests/unit/session/session_scene.h
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
	struct addresses *addresses;
	struct sessions *sessions;
	struct command_reader *reader;
	struct session_time now;
	unsigned expired;
	struct buf record; /* of the session that ended last */
	enum session_end end;
};

static inline void note_end(const struct session_final *final,
			    struct world *world)
{
	struct json_writer w = json_writer_over(&world->record);

	buf_reset(&world->record);
	statistics_encode(&w, NULL, final->statistics, STATISTICS_EXPIRED);
	world->end = final->end;
}

static inline void expired(const struct session_final *final, void *arg)
{
	struct world *world = arg;

	note_end(final, world);
	world->expired++;
}

static inline void removed(const struct session_final *final, void *arg)
{
	note_end(final, arg);
}

static inline struct ip_addr ip_of(const char *text)
{
	struct ip_addr ip = {0};

	if (ip_parse(span_of(text), &ip) < 0)
		fail_msg("no address: %s", text);
	return ip;
}

static inline int begin_with(void **state, uint32_t port_first,
			     uint32_t port_end,
			     const struct local_address *list, size_t count)
{
	static struct world world;
	struct media_config media = {
		.worker_count = 1,
		.engine.forwarding = FORWARDING_USERSPACE,
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

	assert_int_equal(ip_network_parse(SPAN("203.0.113.128/25"),
					  &media.learning.denied[0]),
			 0);
	media.learning.denied_count = 1;
	log_set_level(LOG_LEVEL_ERROR);
	world = (struct world){.now = {1000 * US_PER_S, 1700000000 * US_PER_S}};
	assert_int_equal(addresses_new(&world.addresses, list, count), 0);
	config.addresses = world.addresses;
	assert_int_equal(media_new(&world.media, &media), 0);
	assert_int_equal(sessions_new(&world.sessions, &config, world.media,
				      &handlers, &world),
			 0);
	assert_int_equal(command_reader_new(&world.reader, COMMAND_FORM_SOCKET),
			 0);
	*state = &world;
	return 0;
}

static inline int begin_with_ports(void **state, uint32_t first, uint32_t end)
{
	const struct local_address loopback = {.ip = ip_of("127.0.0.1")};

	return begin_with(state, first, end, &loopback, 1);
}

static inline int begin(void **state)
{
	return begin_with_ports(state, 42000, 42200);
}

static inline int begin_with_two_pairs(void **state)
{
	return begin_with_ports(state, 42300, 42304);
}

static inline int begin_with_three_pairs(void **state)
{
	return begin_with_ports(state, 42310, 42316);
}

/* Let the media finish what it closes. */
static inline void settle(struct world *world)
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

static inline int end(void **state)
{
	struct world *world = *state;
	struct session_counts counts;
	struct media_totals totals;

	sessions_end_all(world->sessions, &world->now);
	settle(world);
	sessions_count(world->sessions, &counts);
	media_read_totals(world->media, &totals);
	sessions_free(world->sessions);
	addresses_free(world->addresses);
	media_free(world->media);
	command_reader_free(world->reader);
	buf_done(&world->record);
	return counts.created != counts.destroyed ||
	       counts.streams_created != counts.streams_destroyed ||
	       counts.ports_taken != counts.ports_returned ||
	       counts.ports_free != counts.ports_total ||
	       totals.sockets_opened != totals.sockets_closed;
}

static inline void pass(struct world *world, uint64_t seconds)
{
	world->now.mono_us += seconds * US_PER_S;
	world->now.wall_us += seconds * US_PER_S;
}

static inline void feed(struct world *world, const char *name,
			const char *value)
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
	const char *signalling; /* NULL: unknown */
};

static const char *why __attribute__((unused)); /* of the last message */

/* Send a message; the result, and the ports in ret. */
static inline int send_to(struct world *world, struct message m,
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
	if (m.signalling)
		feed(world, "signaling_ip", m.signalling);
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
static inline struct session_ports say(struct world *world, struct message m)
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
#define A_ICE "audio:127.0.0.1:5000:sendrecv:ice=yes"
#define A_ICE_MOVED "audio:127.0.0.1:5100:sendrecv:ice=yes"
#define A_ICE_HELD "audio:127.0.0.1:5000:sendonly:ice=yes"
#define B_ICE "audio:127.0.0.1:6000:sendrecv:ice=yes"
#define A_FAX "image:127.0.0.1:5000:sendrecv:ice=no"
#define B_FAX "image:127.0.0.1:6000:sendrecv:ice=no"

static inline size_t living(const struct world *world)
{
	struct session_counts counts;

	sessions_count(world->sessions, &counts);
	return counts.sessions;
}

static inline size_t ports_in_use(struct world *world)
{
	struct session_counts counts;

	settle(world);
	sessions_count(world->sessions, &counts);
	return (size_t)(counts.ports_taken - counts.ports_returned);
}

static inline void remove_call(struct world *world, const char *from_tag)
{
	struct removal removal = {SPAN("call-1"), span_of(from_tag), SPAN("")};

	assert_int_equal(sessions_remove(world->sessions, &removal, &world->now,
					 removed, world),
			 0);
	settle(world);
}

static inline void assert_record_has(const struct world *world,
				     const char *text)
{
	if (!world->record.data || !strstr(world->record.data, text))
		fail_msg("'%s' is not in the record %s", text,
			 world->record.data ? world->record.data : "");
}

static inline void assert_record_lacks(const struct world *world,
				       const char *text)
{
	assert_non_null(world->record.data);
	if (strstr(world->record.data, text))
		fail_msg("'%s' is in the record %s", text, world->record.data);
}

/* The caller's packets go to the port that is written into the callee's SDP. */
static inline void assert_record_has_local(const struct world *world,
					   const char *party, unsigned port)
{
	char text[64];

	snprintf(text, sizeof(text), "\"%s_local\": \"127.0.0.1:%u\"", party,
		 port);
	assert_record_has(world, text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
