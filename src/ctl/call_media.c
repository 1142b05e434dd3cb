/** @file ctl/call_media.c */
#include "ctl/call_media.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cursor.h"
#include "base/hash.h"

#define PORT_ATTEMPTS 100
#define LAST_PACKETS_US (1 * US_PER_S)
#define RTCP_FIRST_TICK 5
#define RTCP_EVERY_TICKS 50
#define MAX_PACKET 512

#define RTP_HEADER_BYTES 12
#define PROBE_BYTES 20
#define PROBE_MAGIC 0x4d504331u /* "MPC1" */
#define RTCP_BYTES 72

struct leg {
	int fd;
	struct endpoint relay; /* port 0: nowhere */
};

/* A stream: a leg for each party and component, and a flow for each sender. */
struct stream {
	struct leg legs[PARTY_COUNT][COMPONENT_COUNT];
	struct call_flow flows[PARTY_COUNT][COMPONENT_COUNT];
	uint32_t ssrc[PARTY_COUNT];
	uint16_t first_seq[PARTY_COUNT];
};

struct call_media {
	size_t stream_count;
	uint32_t ticks; /* so many RTP packets each way */
	struct pollfd *polls;
	struct stream streams[];
};

static int bind_udp(const struct ip_addr *ip, uint16_t port)
{
	struct endpoint at = {.ip = *ip, .port = port};
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(&at, &address);
	CLEANUP(closep) int fd = socket(address.ss_family, SOCK_DGRAM, 0);

	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    bind(fd, (struct sockaddr *)&address, len) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return 0;
	return endpoint_from_sockaddr(&address).port;
}

/* An even port and the next one. The kernel chooses; what does not fit is
 * given back. */
static int open_pair(const struct ip_addr *ip, struct leg legs[COMPONENT_COUNT])
{
	for (int attempt = 0; attempt < PORT_ATTEMPTS; attempt++) {
		CLEANUP(closep) int rtp = bind_udp(ip, 0);
		CLEANUP(closep) int rtcp = -1;
		uint16_t port;

		if (rtp < 0)
			return rtp;
		port = port_of(rtp);
		if (port % 2 != 0)
			continue;
		rtcp = bind_udp(ip, (uint16_t)(port + 1));
		if (rtcp < 0)
			continue;
		legs[COMPONENT_RTP].fd = TAKE_FD(rtp);
		legs[COMPONENT_RTCP].fd = TAKE_FD(rtcp);
		return 0;
	}
	return -EADDRINUSE;
}

/* Everything may be found twice and by its index alone. */
static struct leg *leg_at(struct call_media *media, size_t i)
{
	struct stream *stream =
		&media->streams[i / (PARTY_COUNT * COMPONENT_COUNT)];
	size_t rest = i % (PARTY_COUNT * COMPONENT_COUNT);

	return &stream->legs[rest / COMPONENT_COUNT][rest % COMPONENT_COUNT];
}

static size_t leg_count(const struct call_media *media)
{
	return media->stream_count * PARTY_COUNT * COMPONENT_COUNT;
}

static int init_stream(struct call_media *media, size_t i,
		       const struct ip_addr *ip, struct hash_table *random)
{
	struct stream *stream = &media->streams[i];

	for (int party = 0; party < PARTY_COUNT; party++) {
		char name[2] = {(char)i, (char)party};
		uint64_t value =
			hash_span(random, span_make(name, sizeof(name)));
		int rc = open_pair(ip, stream->legs[party]);

		if (rc < 0)
			return rc;
		stream->ssrc[party] = (uint32_t)value;
		stream->first_seq[party] = (uint16_t)(value >> 32);
		for (int c = 0; c < COMPONENT_COUNT; c++) {
			struct call_flow *flow = &stream->flows[party][c];

			flow->seen = calloc(media->ticks + 1, 1);
			if (!flow->seen)
				return -ENOMEM;
		}
	}
	return 0;
}

int call_media_new(struct call_media **ret, const struct ip_addr *ip,
		   size_t streams, unsigned packets)
{
	struct hash_table random;
	struct call_media *media =
		calloc(1, sizeof(*media) + streams * sizeof(media->streams[0]));
	int rc;

	if (!media)
		return -ENOMEM;
	media->stream_count = streams;
	media->ticks = packets;
	media->polls = calloc(leg_count(media), sizeof(media->polls[0]));
	for (size_t i = 0; i < leg_count(media); i++)
		leg_at(media, i)->fd = -1;
	/* The table's random key is all that is wanted of it. */
	rc = media->polls ? hash_init(&random) : -ENOMEM;
	if (rc == 0) {
		for (size_t i = 0; i < streams && rc == 0; i++)
			rc = init_stream(media, i, ip, &random);
		hash_done(&random);
	}
	if (rc < 0) {
		call_media_free(media);
		return rc;
	}
	for (size_t i = 0; i < leg_count(media); i++)
		media->polls[i] = (struct pollfd){.fd = leg_at(media, i)->fd,
						  .events = POLLIN};
	*ret = media;
	return 0;
}

struct call_media *call_media_free(struct call_media *media)
{
	if (!media)
		return NULL;
	for (size_t i = 0; i < leg_count(media); i++)
		closep(&leg_at(media, i)->fd);
	for (size_t i = 0; i < media->stream_count; i++)
		for (int party = 0; party < PARTY_COUNT; party++)
			for (int c = 0; c < COMPONENT_COUNT; c++)
				free(media->streams[i].flows[party][c].seen);
	free(media->polls);
	free(media);
	return NULL;
}

uint16_t call_media_port(const struct call_media *media, size_t stream,
			 enum party party)
{
	return port_of(media->streams[stream].legs[party][COMPONENT_RTP].fd);
}

void call_media_set_relay(struct call_media *media, size_t stream,
			  enum party party, const struct endpoint *rtp)
{
	struct leg *legs = media->streams[stream].legs[party];

	legs[COMPONENT_RTP].relay = *rtp;
	legs[COMPONENT_RTCP].relay = *rtp;
	if (rtp->port != 0)
		legs[COMPONENT_RTCP].relay.port = (uint16_t)(rtp->port + 1);
}

/* Writing big-endian, as cursor.h reads. */
static void put_be(uint8_t **at, uint64_t value, unsigned bytes)
{
	while (bytes-- > 0)
		*(*at)++ = (uint8_t)(value >> (8 * bytes));
}

/* Who sent a packet: which stream, party and component. */
static uint32_t flow_id(size_t stream, enum party from, enum component c)
{
	return (uint32_t)(stream << 2 | (size_t)from << 1 | (size_t)c);
}

static void put_probe(uint8_t **at, uint32_t id, uint32_t number,
		      uint64_t now_us)
{
	put_be(at, PROBE_MAGIC, 4);
	put_be(at, id, 4);
	put_be(at, number, 4);
	put_be(at, now_us, 8);
}

/* RFC 3550, section 5.1; payload type 0 is G.711 u-law. */
static size_t make_rtp(uint8_t *packet, const struct stream *stream,
		       enum party from, uint32_t id, uint32_t number,
		       uint64_t now_us)
{
	uint8_t *at = packet;

	put_be(&at, 0x80, 1);
	put_be(&at, 0, 1);
	put_be(&at, (uint16_t)(stream->first_seq[from] + number), 2);
	put_be(&at, 160u * number, 4);
	put_be(&at, stream->ssrc[from], 4);
	put_probe(&at, id, number, now_us);
	while (at < packet + CALL_PACKET_BYTES) {
		*at = (uint8_t)(number + (size_t)(at - packet));
		at++;
	}
	return CALL_PACKET_BYTES;
}

/* A compound packet (RFC 3550, section 6): sender report, CNAME, and an
 * APP packet with the probe. */
static size_t make_rtcp(uint8_t *packet, const struct stream *stream,
			enum party from, uint32_t id, uint32_t number,
			uint64_t now_us)
{
	uint32_t ssrc = stream->ssrc[from];
	uint8_t *at = packet;

	put_be(&at, 0x80c80006, 4); /* SR, 28 bytes */
	put_be(&at, ssrc, 4);
	put_be(&at, now_us / US_PER_S, 4);
	put_be(&at, 0, 4);
	put_be(&at, 160u * (uint32_t)stream->flows[from][COMPONENT_RTP].sent,
	       4);
	put_be(&at, stream->flows[from][COMPONENT_RTP].sent, 4);
	put_be(&at, 160 * stream->flows[from][COMPONENT_RTP].sent, 4);
	put_be(&at, 0x81ca0002, 4); /* SDES, 12 bytes */
	put_be(&at, ssrc, 4);
	put_be(&at, 0x01017400, 4); /* CNAME "t", end */
	put_be(&at, 0x80cc0007, 4); /* APP, 32 bytes */
	put_be(&at, ssrc, 4);
	put_be(&at, 0x6d70726f, 4); /* "mpro" */
	put_probe(&at, id, number, now_us);
	return (size_t)(at - packet);
}

static void send_packet(struct stream *stream, size_t index, enum party from,
			enum component c)
{
	struct call_flow *flow = &stream->flows[from][c];
	const struct leg *leg = &stream->legs[from][c];
	uint32_t number = (uint32_t)flow->sent;
	uint32_t id = flow_id(index, from, c);
	struct sockaddr_storage to;
	uint8_t packet[MAX_PACKET];
	socklen_t to_len;
	size_t len;

	if (leg->relay.port == 0)
		return;
	to_len = endpoint_to_sockaddr(&leg->relay, &to);
	len = c == COMPONENT_RTP ? make_rtp(packet, stream, from, id, number,
					    clock_mono_us())
				 : make_rtcp(packet, stream, from, id, number,
					     clock_mono_us());
	if (sendto(leg->fd, packet, len, 0, (struct sockaddr *)&to, to_len) < 0)
		flow->unsent++;
	else
		flow->sent++;
}

static void send_tick(struct call_media *media, uint32_t tick)
{
	bool rtcp = tick % RTCP_EVERY_TICKS == RTCP_FIRST_TICK;

	for (size_t i = 0; i < media->stream_count; i++) {
		for (int party = 0; party < PARTY_COUNT; party++) {
			enum party from = (enum party)party;

			send_packet(&media->streams[i], i, from, COMPONENT_RTP);
			if (rtcp)
				send_packet(&media->streams[i], i, from,
					    COMPONENT_RTCP);
		}
	}
}

/* Does everything behind the probe look as it was made? */
static bool is_whole(const uint8_t *packet, size_t len, enum component c,
		     uint32_t number)
{
	if (c == COMPONENT_RTCP)
		return len == RTCP_BYTES;
	if (len != CALL_PACKET_BYTES)
		return false;
	for (size_t i = RTP_HEADER_BYTES + PROBE_BYTES; i < len; i++)
		if (packet[i] != (uint8_t)(number + i))
			return false;
	return true;
}

static void count_packet(struct call_flow *flow, uint32_t number,
			 uint64_t sent_us, uint64_t now_us)
{
	if (flow->seen[number]) {
		flow->duplicated++;
		return;
	}
	flow->seen[number] = 1;
	flow->received++;
	if (number + 1 < flow->highest)
		flow->out_of_order++;
	else
		flow->highest = number + 1;
	distribution_add(&flow->delay_us,
			 now_us > sent_us ? now_us - sent_us : 0);
}

static void take_packet(struct call_media *media, size_t leg_index,
			const uint8_t *packet, size_t len,
			const struct endpoint *source)
{
	size_t stream = leg_index / (PARTY_COUNT * COMPONENT_COUNT);
	size_t rest = leg_index % (PARTY_COUNT * COMPONENT_COUNT);
	enum party from = party_other((enum party)(rest / COMPONENT_COUNT));
	enum component c = (enum component)(rest % COMPONENT_COUNT);
	struct call_flow *flow = &media->streams[stream].flows[from][c];
	struct cursor in = cursor_over(packet, len);
	uint32_t magic, id, number;
	uint64_t sent_us;

	cursor_skip(&in, c == COMPONENT_RTP ? RTP_HEADER_BYTES
					    : RTCP_BYTES - PROBE_BYTES);
	magic = cursor_be32(&in);
	id = cursor_be32(&in);
	number = cursor_be32(&in);
	sent_us = (uint64_t)cursor_be32(&in) << 32;
	sent_us |= cursor_be32(&in);
	if (!endpoint_equal(source, &leg_at(media, leg_index)->relay))
		flow->misrouted++;
	else if (cursor_failed(&in) || magic != PROBE_MAGIC ||
		 id != flow_id(stream, from, c) || number >= flow->sent ||
		 !is_whole(packet, len, c, number))
		flow->damaged++;
	else
		count_packet(flow, number, sent_us, clock_mono_us());
}

static void receive_all(struct call_media *media, size_t leg_index)
{
	int fd = leg_at(media, leg_index)->fd;

	for (;;) {
		struct sockaddr_storage from = {0};
		socklen_t from_len = sizeof(from);
		uint8_t packet[MAX_PACKET];
		struct endpoint source;
		ssize_t n = recvfrom(fd, packet, sizeof(packet), 0,
				     (struct sockaddr *)&from, &from_len);

		if (n < 0 && errno == ECONNREFUSED)
			continue; /* an ICMP error for what was sent */
		if (n < 0)
			return;
		source = endpoint_from_sockaddr(&from);
		take_packet(media, leg_index, packet, (size_t)n, &source);
	}
}

/* Receive until then, or a moment longer: to spin for the last millisecond
 * would take the processor from what is measured. */
static int receive_until(struct call_media *media, uint64_t until_us)
{
	uint64_t now_us = clock_mono_us();
	int timeout_ms = 0, ready;

	if (until_us > now_us)
		timeout_ms =
			(int)((until_us - now_us + US_PER_MS - 1) / US_PER_MS);
	ready = poll(media->polls, (nfds_t)leg_count(media), timeout_ms);
	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	for (size_t i = 0; i < leg_count(media) && ready > 0; i++)
		if (media->polls[i].revents)
			receive_all(media, i);
	return 0;
}

static bool has_all(const struct call_media *media)
{
	for (size_t i = 0; i < media->stream_count; i++) {
		for (int party = 0; party < PARTY_COUNT; party++) {
			for (int c = 0; c < COMPONENT_COUNT; c++) {
				const struct call_flow *flow =
					&media->streams[i].flows[party][c];

				if (flow->received < flow->sent)
					return false;
			}
		}
	}
	return true;
}

int call_media_run(struct call_media *media, const volatile sig_atomic_t *stop)
{
	uint64_t start_us = clock_mono_us(), end_us;
	int rc = 0;

	for (uint32_t tick = 0; tick < media->ticks && !*stop; tick++) {
		uint64_t due_us = start_us + (uint64_t)tick * CALL_INTERVAL_US;

		while (rc == 0 && !*stop && clock_mono_us() < due_us)
			rc = receive_until(media, due_us);
		if (rc < 0)
			return rc;
		send_tick(media, tick);
	}
	end_us = clock_mono_us() + LAST_PACKETS_US;
	while (rc == 0 && !has_all(media) && clock_mono_us() < end_us)
		rc = receive_until(media, end_us);
	return rc;
}

const struct call_flow *call_media_flow(const struct call_media *media,
					size_t stream, enum party from,
					enum component component)
{
	return &media->streams[stream].flows[from][component];
}

bool call_media_is_complete(const struct call_media *media)
{
	for (size_t i = 0; i < media->stream_count; i++) {
		for (int party = 0; party < PARTY_COUNT; party++) {
			for (int c = 0; c < COMPONENT_COUNT; c++) {
				const struct call_flow *flow =
					&media->streams[i].flows[party][c];

				if (flow->sent == 0 ||
				    flow->received != flow->sent ||
				    flow->damaged || flow->misrouted ||
				    flow->unsent || flow->duplicated)
					return false;
			}
		}
	}
	return true;
}
