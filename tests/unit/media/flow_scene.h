#pragma once
/**
 * @file tests/unit/media/flow_scene.h  A call whose flows go to a fake engine
 *
 * What "the engine forwards" is only counted; what the test sends to a socket
 * is what comes up.
 */
#include "fake_engine.h"
#include "media/internal.h"
#include "media_scene.h"

#define REBIND_US 20000u
#define IP4_LEN (RTP_LEN + 28)

#define AWAIT(condition)                                                       \
	do {                                                                   \
		uint64_t until_ = clock_mono_us() + DEADLINE_MS * US_PER_MS;   \
                                                                               \
		while (!(condition)) {                                         \
			assert_true(clock_mono_us() < until_);                 \
			poll(NULL, 0, 1);                                      \
		}                                                              \
	} while (0)

struct scene {
	struct fake_engine *engine;
	struct call call;
	uint16_t seq[PARTY_COUNT];
};

static inline struct media *start_media_with(struct fake_engine *engine,
					     uint64_t settle_us,
					     uint64_t rtcp_forget_us)
{
	const struct media_config config = {
		.worker_count = 2,
		.engine.forwarding = FORWARDING_USERSPACE,
		.learning = {.mode = LEARNING_SAFE,
			     .settle_us = settle_us,
			     .rebind_silence_us = REBIND_US,
			     .rtcp_forget_us = rtcp_forget_us,
			     .probation_packets = 4},
	};
	struct media *media;

	assert_int_equal(media_new(&media, &config), 0);
	media_use_engine(media, &engine->engine);
	return media;
}

static inline void start_scene_with(struct scene *s, int family,
				    enum media_format format,
				    uint64_t settle_us, uint64_t rtcp_forget_us)
{
	struct call *call = &s->call;

	*s = (struct scene){.engine = fake_engine_new()};
	call->media = start_media_with(s->engine, settle_us, rtcp_forget_us);
	assert_int_equal(media_session_new(&call->session, call->media), 0);
	for (unsigned i = 0; i < PARTY_COUNT; i++)
		open_pair(call->media, family, &call->pairs[i]);
	assert_int_equal(media_stream_new(&call->stream, call->session,
					  call->pairs, format),
			 0);
	for (enum party party = 0; party < PARTY_COUNT; party++) {
		call->phones[party] = open_phone(call->media, family);
		media_stream_set_sdp(call->stream, party,
				     &call->phones[party].at[COMPONENT_RTP]);
	}
	media_stream_open(call->stream);
}

static inline void start_scene(struct scene *s, int family)
{
	start_scene_with(s, family, MEDIA_FORMAT_RTP, LONG_US, 60000000);
}

static inline void end_scene(struct scene *s)
{
	end_call(&s->call);
}

/* ---- packets ---- */

/* To the socket, and through userspace. */
static inline void pass_rtp(struct scene *s, enum party party)
{
	uint16_t seq = ++s->seq[party];

	say_rtp(&s->call, party, seq);
	hear_rtp(&s->call, party_other(party), (uint32_t)party + 1, seq);
}

static inline void pass_rtcp(struct scene *s, enum party party)
{
	static const uint8_t report[] = {0x80, 201, 0, 1, 0, 0, 0, 1};

	say(&s->call, party, COMPONENT_RTCP, report, sizeof(report));
	hear(&s->call, party_other(party), COMPONENT_RTCP, report,
	     sizeof(report));
}

/* So many that the engine forwards. */
static inline void engine_forwards(struct scene *s, enum party party,
				   unsigned count)
{
	struct endpoint local = relay_port(&s->call, party, COMPONENT_RTP);

	while (count-- > 0)
		assert_true(fake_forward(
			s->engine, &local,
			&s->call.phones[party].at[COMPONENT_RTP],
			(uint32_t)party + 1, ++s->seq[party], IP4_LEN));
}

/* ---- flows ---- */

static inline struct fake_port flow_of(struct scene *s, enum party party,
				       enum component component)
{
	struct endpoint local = relay_port(&s->call, party, component);

	return fake_port_of(s->engine, &local);
}

static inline void await_request(struct scene *s, enum party party,
				 enum component component,
				 enum fake_request request)
{
	AWAIT(flow_of(s, party, component).request == request);
}

static inline void await_installed(struct scene *s, enum party party,
				   enum component component)
{
	AWAIT(flow_of(s, party, component).installed);
}

static inline bool is_installed(struct scene *s, enum party party)
{
	return flow_of(s, party, COMPONENT_RTP).installed;
}

static inline void answer(struct scene *s, enum party party,
			  enum component component)
{
	struct endpoint local = relay_port(&s->call, party, component);

	fake_answer(s->engine, &local);
}

/* Both parties' RTP is confirmed, and both have a flow, or ask for it. */
static inline void talk(struct scene *s)
{
	pass_rtp(s, PARTY_CALLER);
	pass_rtp(s, PARTY_CALLEE);
	pass_rtp(s, PARTY_CALLER);
}

static inline void install_rtp(struct scene *s)
{
	talk(s);
	await_installed(s, PARTY_CALLER, COMPONENT_RTP);
	await_installed(s, PARTY_CALLEE, COMPONENT_RTP);
}

static inline void install_rtcp(struct scene *s)
{
	pass_rtcp(s, PARTY_CALLER);
	pass_rtcp(s, PARTY_CALLEE);
	pass_rtcp(s, PARTY_CALLER);
	await_installed(s, PARTY_CALLER, COMPONENT_RTCP);
	await_installed(s, PARTY_CALLEE, COMPONENT_RTCP);
}

static inline void assert_flow(struct scene *s, enum party party,
			       enum component component)
{
	struct fake_port port = flow_of(s, party, component);
	const struct call *call = &s->call;
	struct endpoint source =
		relay_port(call, party_other(party), component);

	assert_true(port.installed);
	assert_true(endpoint_equal(&port.flow.remote,
				   &call->phones[party].at[component]));
	assert_true(endpoint_equal(
		&port.destination,
		&call->phones[party_other(party)].at[component]));
	assert_true(endpoint_equal(&port.flow.source, &source));
	assert_true(ip_equal(&port.source, &source.ip));
}
