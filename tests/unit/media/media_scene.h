#pragma once
/**
 * @file tests/unit/media/media_scene.h  A relay on loopback and two phones
 *
 * Real sockets, real workers. Tests wait for facts by poll() with a deadline.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "media/media.h"
#include "media/socket.h"

#include "test.h"

#define DEADLINE_MS 10000
#define LONG_US 3600000000u /* settle_us: rank 3 never opens in a test */
#define SHORT_US 1u         /* it opens with the answer */

struct phone {
	struct endpoint at[COMPONENT_COUNT];
	int fd[COMPONENT_COUNT];
};

struct call {
	struct media *media;
	struct media_session *session;
	struct media_stream *stream;
	struct media_port_pair pairs[PARTY_COUNT];
	struct phone phones[PARTY_COUNT];
	struct media_snapshot final;
	bool closed;
};

static inline struct ip_addr loopback(int family)
{
	struct ip_addr ip;

	assert_int_equal(
		ip_parse(family == AF_INET ? SPAN("127.0.0.1") : SPAN("::1"),
			 &ip),
		0);
	return ip;
}

static inline struct media *start_media_forgetting(uint64_t settle_us,
						   uint64_t rtcp_forget_us)
{
	const struct media_config config = {
		.worker_count = 2,
		.engine.forwarding = FORWARDING_USERSPACE,
		.learning = {.mode = LEARNING_SAFE,
			     .settle_us = settle_us,
			     .rebind_silence_us = 200000,
			     .rtcp_forget_us = rtcp_forget_us,
			     .probation_packets = 4},
	};
	struct media *media;

	assert_int_equal(media_new(&media, &config), 0);
	return media;
}

static inline struct media *start_media(uint64_t settle_us)
{
	return start_media_forgetting(settle_us, 60000000);
}

/* Other programs may hold ports: take the next ones then. */
static inline void open_pair(struct media *media, int family,
			     struct media_port_pair *ret)
{
	static uint16_t port = 20000;
	struct ip_addr ip = loopback(family);
	int err;

	do {
		port = (uint16_t)(port < 32000 ? port + 2 : 20000);
		err = media_port_pair_open(media, &ip, port, ret);
	} while (err == -EADDRINUSE);
	assert_int_equal(err, 0);
}

/* A pair of the media's is as good as a phone's sockets. */
static inline struct phone open_phone(struct media *media, int family)
{
	struct media_port_pair pair;
	struct phone phone;

	open_pair(media, family, &pair);
	for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
		phone.fd[i] = pair.fd[i];
		phone.at[i] = pair.local;
	}
	phone.at[COMPONENT_RTCP].port++;
	return phone;
}

static inline void close_phone(struct media *media, struct phone *phone)
{
	struct media_port_pair pair = {.local = phone->at[0]};

	memcpy(pair.fd, phone->fd, sizeof(pair.fd));
	media_port_pair_close(media, &pair);
}

static inline struct endpoint
relay_port(const struct call *call, enum party party, enum component component)
{
	struct endpoint ep = call->pairs[party].local;

	if (component == COMPONENT_RTCP)
		ep.port++;
	return ep;
}

static inline void start_stream(struct call *call, int family)
{
	for (unsigned i = 0; i < PARTY_COUNT; i++)
		open_pair(call->media, family, &call->pairs[i]);
	assert_int_equal(media_stream_new(&call->stream, call->session,
					  call->pairs, MEDIA_FORMAT_RTP),
			 0);
}

/* An answered call; both phones are where their SDP says. */
static inline void start_call_on(struct call *call, int family,
				 struct media *media)
{
	*call = (struct call){.media = media};
	assert_int_equal(media_session_new(&call->session, call->media), 0);
	start_stream(call, family);
	for (enum party party = 0; party < PARTY_COUNT; party++) {
		call->phones[party] = open_phone(call->media, family);
		media_stream_set_sdp(call->stream, party,
				     &call->phones[party].at[COMPONENT_RTP]);
	}
	media_stream_open(call->stream);
}

static inline void start_call_settling(struct call *call, int family,
				       uint64_t settle_us)
{
	start_call_on(call, family, start_media(settle_us));
}

static inline void start_call(struct call *call, int family)
{
	start_call_settling(call, family, LONG_US);
}

static inline void note_closed(const struct media_snapshot *final, void *arg)
{
	struct call *call = arg;

	call->final = *final;
	call->closed = true;
}

static inline void wait_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
}

static inline void close_stream(struct call *call)
{
	media_stream_close(call->stream, note_closed, call);
	while (!call->closed) {
		wait_readable(media_event_fd(call->media));
		media_dispatch(call->media);
	}
}

/* Everything that the session's worker had to do before is done: it has closed
 * another stream twice since. */
static inline void let_worker_finish(struct call *call)
{
	int family = call->pairs[0].local.ip.family;

	for (unsigned turn = 0; turn < 2; turn++) {
		struct call other = {.media = call->media,
				     .session = call->session};

		start_stream(&other, family);
		close_stream(&other);
	}
}

/* The last check of each test: what was made is gone. */
static inline void end_call(struct call *call)
{
	struct media_totals totals;

	if (!call->closed)
		close_stream(call);
	media_session_free(call->session);
	for (unsigned i = 0; i < PARTY_COUNT; i++)
		close_phone(call->media, &call->phones[i]);
	media_read_totals(call->media, &totals);
	assert_int_equal(totals.streams_created, totals.streams_destroyed);
	assert_int_equal(totals.sockets_opened, totals.sockets_closed);
	media_free(call->media);
}

static inline void send_to(int fd, const struct endpoint *to, const void *data,
			   size_t len)
{
	struct sockaddr_storage address;
	socklen_t size = endpoint_to_sockaddr(to, &address);
	ssize_t n = sendto(fd, data, len, 0, (struct sockaddr *)&address, size);

	assert_int_equal(n, len);
}

/* From a party's phone to the relay. */
static inline void say(struct call *call, enum party party,
		       enum component component, const void *data, size_t len)
{
	struct endpoint to = relay_port(call, party, component);

	send_to(call->phones[party].fd[component], &to, data, len);
}

/* At a party's phone: exactly this, from the relay's port of that party. */
static inline void hear(struct call *call, enum party party,
			enum component component, const void *data, size_t len)
{
	static uint8_t got[65536];
	struct endpoint expected = relay_port(call, party, component);
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	struct endpoint from;
	ssize_t n;

	wait_readable(call->phones[party].fd[component]);
	n = recvfrom(call->phones[party].fd[component], got, sizeof(got), 0,
		     (struct sockaddr *)&address, &size);
	assert_int_equal(n, len);
	assert_memory_equal(got, data, len);
	from = endpoint_from_sockaddr(&address);
	assert_true(endpoint_equal(&from, &expected));
}

static inline void assert_nothing_to_hear(struct call *call, enum party party,
					  enum component component)
{
	char byte;

	assert_int_equal(
		recv(call->phones[party].fd[component], &byte, 1, MSG_DONTWAIT),
		-1);
	assert_int_equal(errno, EAGAIN);
}

#define RTP_LEN 172

static inline void make_rtp(uint8_t packet[static RTP_LEN], uint32_t ssrc,
			    uint16_t seq)
{
	memset(packet, (uint8_t)seq, RTP_LEN);
	packet[0] = 0x80;
	packet[1] = 8; /* G711a */
	packet[2] = (uint8_t)(seq >> 8);
	packet[3] = (uint8_t)seq;
	for (unsigned i = 0; i < 4; i++)
		packet[8 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
}

static inline void say_rtp(struct call *call, enum party party, uint16_t seq)
{
	uint8_t packet[RTP_LEN];

	make_rtp(packet, (uint32_t)party + 1, seq);
	say(call, party, COMPONENT_RTP, packet, RTP_LEN);
}

static inline void hear_rtp(struct call *call, enum party party, uint32_t ssrc,
			    uint16_t seq)
{
	uint8_t packet[RTP_LEN];

	make_rtp(packet, ssrc, seq);
	hear(call, party, COMPONENT_RTP, packet, RTP_LEN);
}

/* Ask again until a drop counter has come this far. */
static inline void await_drops(struct call *call, enum party party,
			       enum media_drop why, uint64_t count)
{
	uint64_t deadline = clock_mono_us() + DEADLINE_MS * US_PER_MS;
	struct media_snapshot snapshot;

	do {
		media_stream_read(call->stream, &snapshot);
		assert_true(clock_mono_us() < deadline);
		poll(NULL, 0, 1);
	} while (snapshot.from[party][COMPONENT_RTP].drops[why] < count);
	assert_int_equal(snapshot.from[party][COMPONENT_RTP].drops[why], count);
}
