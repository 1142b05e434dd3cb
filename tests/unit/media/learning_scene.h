#pragma once
/** @file tests/unit/media/learning_scene.h  One component, and who sends to it
 */
#include "base/cleanup.h"
#include "media/learning.h"

#include "test.h"

/* Documentation addresses (RFC 5737), and a phone behind NAT that writes its
 * private address into the SDP. */
#define SDP_ADDRESS "198.51.100.7:5000"
#define SDP_IP_OTHER_PORT "198.51.100.7:6000"
#define SIGNALLING "203.0.113.9"
#define SIGNALLING_SOURCE "203.0.113.9:7000"
#define STRANGER "192.0.2.66:1024"
#define STRANGER_B "192.0.2.67:1024"
#define START 10000000u
#define OPENED (START + 1000u)
#define SETTLE 300000u
#define SILENCE 200000u
#define FORGET 60000000u
#define RTP_SSRC 0x11223344u

struct scene {
	struct learning_config config;
	struct learning l;
	struct endpoint sdp;
	struct learning_known known[4];
	size_t known_count;
	struct learning_facts facts;
};

static inline struct endpoint endpoint(const char *text)
{
	struct span ip = span_of(text);
	struct span port;
	struct endpoint ep;
	uint64_t number;

	assert_true(span_cut_last(&ip, ':', &port));
	assert_int_equal(ip_parse(ip, &ep.ip), 0);
	assert_int_equal(span_to_u64(port, 65535, &number), 0);
	ep.port = (uint16_t)number;
	return ep;
}

static inline struct ip_addr address(const char *text)
{
	struct ip_addr ip;

	assert_int_equal(ip_parse(span_of(text), &ip), 0);
	return ip;
}

/* An answered call, settled long ago, in which the party was never heard. */
static inline void start(struct scene *s, enum component component)
{
	*s = (struct scene){
		.config = {.mode = LEARNING_SAFE,
			   .settle_us = SETTLE,
			   .rebind_silence_us = SILENCE,
			   .rtcp_forget_us = FORGET,
			   .probation_packets = 4},
		.sdp = endpoint(SDP_ADDRESS),
	};
	s->known[s->known_count++] =
		(struct learning_known){address(SIGNALLING), RANK_KNOWN_IP};
	s->facts = (struct learning_facts){
		.config = &s->config,
		.sdp = &s->sdp,
		.known = s->known,
		.known_count = s->known_count,
		.opened_us = OPENED,
		.now_us = OPENED + SETTLE,
	};
	learning_init(&s->l, component);
}

static inline void wait_us(struct scene *s, uint64_t us)
{
	s->facts.now_us += us;
}

static inline void new_sdp(struct scene *s, const char *address)
{
	struct endpoint before = s->sdp;

	s->sdp = endpoint(address);
	learning_sdp_changed(&s->l, &before, &s->sdp, s->facts.now_us);
}

static inline struct packet_facts rtp(uint16_t seq)
{
	return (struct packet_facts){.kind = PACKET_RTP,
				     .has_seq = true,
				     .has_ssrc = true,
				     .ssrc = RTP_SSRC,
				     .seq = seq};
}

static inline struct packet_facts rtp_of(uint32_t ssrc, uint16_t seq)
{
	struct packet_facts p = rtp(seq);

	p.ssrc = ssrc;
	return p;
}

static inline struct packet_facts single(enum packet_kind kind)
{
	return (struct packet_facts){
		.kind = kind, .single = true, .payload_type = -1};
}

static inline struct packet_facts udptl(uint16_t seq)
{
	struct packet_facts p = single(PACKET_OTHER);

	p.has_seq = true;
	p.seq = seq;
	return p;
}

static inline struct packet_facts rtcp(uint32_t ssrc)
{
	return (struct packet_facts){.kind = PACKET_RTCP,
				     .has_ssrc = true,
				     .ssrc = ssrc,
				     .payload_type = -1};
}

static inline struct packet_facts stun(void)
{
	return (struct packet_facts){.kind = PACKET_STUN, .payload_type = -1};
}

static inline struct learning_decision sent(struct scene *s, const char *source,
					    struct packet_facts packet)
{
	struct endpoint from = endpoint(source);

	return learning_judge(&s->l, &s->facts, &from, &packet);
}

#define assert_verdict(decision, expected)                                     \
	assert_string_equal(learning_verdict_name((decision).verdict),         \
			    learning_verdict_name(expected))

#define assert_confirmed(decision, expected)                                   \
	do {                                                                   \
		struct learning_decision d_ = (decision);                      \
		assert_verdict(d_, LEARNING_CONFIRM);                          \
		assert_string_equal(learning_rule_name(d_.rule),               \
				    learning_rule_name(expected));             \
	} while (0)

#define assert_dropped(decision, expected)                                     \
	do {                                                                   \
		struct learning_decision d_ = (decision);                      \
		assert_verdict(d_, LEARNING_DROP);                             \
		assert_string_equal(media_drop_name(d_.drop),                  \
				    media_drop_name(expected));                \
	} while (0)

static inline void assert_remote(const struct scene *s, const char *expected)
{
	char text[ADDR_TEXT_SIZE];

	assert_string_equal(endpoint_format(&s->l.remote, text), expected);
}

static inline void prove(struct scene *s, const char *source, uint16_t seq)
{
	for (uint16_t i = 0; i < 3; i++) {
		assert_verdict(sent(s, source, rtp((uint16_t)(seq + i))),
			       LEARNING_HOLD);
		wait_us(s, 20000);
	}
	assert_confirmed(sent(s, source, rtp((uint16_t)(seq + 3))),
			 RULE_PROVED);
}
