#include "media/flow.h"

#include "base/clock.h"
#include "base/log.h"
#include "media/internal.h"
#include "media/path.h"
#include "media/stream.h"

static const char *state_name(enum flow_state state)
{
	static const char *const names[] = {
		[FLOW_NONE] = "none",         [FLOW_ASKED] = "asked",
		[FLOW_READY] = "ready",       [FLOW_ON] = "on",
		[FLOW_SETTLING] = "settling",
	};

	return names[state];
}

static struct engine *engine_of(const struct worker *w)
{
	return atomic_load_explicit(&w->media->engine, memory_order_acquire);
}

static void enter(struct port *port, enum flow_state state)
{
	char text[ADDR_TEXT_SIZE];

	log_debug("flow of %s: %s -> %s",
		  endpoint_format(&port->flow.item.local, text),
		  state_name(port->flow.state), state_name(state));
	port->flow.state = (uint8_t)state;
}

void flow_init(struct port *port, const struct endpoint *local)
{
	struct engine *engine = engine_of(port->stream->worker);
	struct engine_item *item = &port->flow.item;

	item->local = *local;
	list_init(&item->in_way);
	list_init(&item->in_watched);
	if (engine)
		engine->ops->reset(engine, &item->local);
}

/* Both remotes are settled, nothing is held back, and the times of the first
 * packets are known: the kernel notes only the latest. What is over its limit
 * stays here, where the rest of it is dropped. */
static bool is_wanted(const struct port *port)
{
	const struct media_stream *stream = port->stream;
	const struct port *other = media_port_other_const(port);

	return stream->settings.forwarding && !stream->finishing &&
	       ip_is_set(&port->learning.remote.ip) &&
	       ip_is_set(&other->learning.remote.ip) &&
	       stream->local[PARTY_CALLER].family ==
		       stream->local[PARTY_CALLEE].family &&
	       port->held.count == 0 &&
	       port->stream->worker->now_us >= port->limited_until_us &&
	       (port->component == COMPONENT_RTCP ||
		count_read(&port->shown.first_media_us) != 0);
}

static bool is_as_asked(const struct port *port)
{
	const struct port *other = media_port_other_const(port);

	return is_wanted(port) &&
	       endpoint_equal(&port->flow.remote, &port->learning.remote) &&
	       endpoint_equal(&port->flow.destination, &other->learning.remote);
}

static void ask(struct engine *engine, struct port *port)
{
	const struct worker *w = port->stream->worker;
	const struct port *other = media_port_other_const(port);
	struct flow *flow = &port->flow;

	flow->remote = port->learning.remote;
	flow->destination = other->learning.remote;
	flow->item.destination = flow->destination;
	flow->item.source = port->stream->local[other->party];
	flow->item.silence_us = port->component == COMPONENT_RTCP
					? w->learning->rtcp_forget_us
					: 0;
	enter(port, FLOW_ASKED);
	/* Before the settings are looked at for the last time: see
	 * stream.c: publish(). */
	atomic_fetch_add(&port->stream->flows, 1);
	engine->ops->ask(engine, &flow->item);
}

static void settle(struct engine *engine, struct port *port)
{
	enter(port, FLOW_SETTLING);
	engine->ops->settle(engine, &port->flow.item);
}

static void take_back(struct engine *engine, struct port *port)
{
	switch ((enum flow_state)port->flow.state) {
	case FLOW_ON:
		engine->ops->del(engine, &port->flow.item);
		settle(engine, port);
		break;
	case FLOW_READY:
		settle(engine, port);
		break;
	case FLOW_ASKED: /* when the answer comes */
	case FLOW_SETTLING:
	case FLOW_NONE:
		break;
	}
}

/* The socket has just been read empty. What comes between the last look and
 * now is served right after, before the next packet is due. */
static void install(struct worker *w, struct engine *engine, struct port *port)
{
	const struct port *other = media_port_other_const(port);
	struct engine_flow flow = {
		.remote = port->learning.remote,
		.source = other->flow.item.local,
		.is_udptl = port->stream->format == MEDIA_FORMAT_UDPTL,
		.stun_up = port->stream->settings.ice,
		.heard_us = port->learning.heard_us,
	};

	engine->ops->add(engine, &port->flow.item, &flow);
	enter(port, FLOW_ON);
	history_handed(&port->history, media_history_ms(port, w->now_us));
	/* New settings may have come since the last look: flow_pause() was too
	 * early for this flow then. */
	if (latch_version(&port->stream->settings_latch) !=
	    port->stream->applied)
		media_stream_apply_settings(port->stream);
	path_serve(w, port);
}

/* A flood fills the socket as fast as we read: then it waits for its end. */
#define READS_MOST 4

static void try_install(struct worker *w, struct engine *engine,
			struct port *port)
{
	for (unsigned i = 0; i < READS_MOST; i++) {
		bool empty = path_drain(w, port);

		/* What was read may have changed anything. */
		if (port->flow.state != FLOW_READY)
			return;
		if (!is_as_asked(port)) {
			take_back(engine, port);
			return;
		}
		if (empty) {
			install(w, engine, port);
			return;
		}
	}
}

static void ask_if_wanted(struct engine *engine, struct port *port)
{
	if (port->flow.state == FLOW_NONE && is_wanted(port) &&
	    atomic_load_explicit(&engine->forwards, memory_order_relaxed))
		ask(engine, port);
}

/* What comes from one party settles the way of both. A flow that waited for a
 * packet of its own would leave a party that falls silent now unwatched. */
void flow_consider(struct worker *w, struct port *port)
{
	struct engine *engine = engine_of(w);

	if (!engine)
		return;
	ask_if_wanted(engine, port);
	ask_if_wanted(engine, media_port_other(port));
	if (port->flow.state == FLOW_READY && !w->installing) {
		w->installing = true;
		try_install(w, engine, port);
		w->installing = false;
	}
}

/* Nothing is on its way: what the kernel noted goes to where the worker notes
 * it, and the next flow of this port begins anew. */
static void settled(struct worker *w, struct engine *engine, struct port *port)
{
	struct engine_counters counters;

	engine->ops->read(engine, &port->flow.item.local, w->now_us, &counters);
	if (counters.media_us > count_read(&port->shown.last_media_us)) {
		atomic_store_explicit(&port->shown.last_media_us,
				      counters.media_us, memory_order_relaxed);
		if (counters.payload_type >= 0)
			atomic_store_explicit(&port->shown.payload_type,
					      counters.payload_type,
					      memory_order_relaxed);
	}
	enter(port, FLOW_NONE);
	atomic_fetch_sub(&port->stream->flows, 1);
}

void flow_news(struct worker *w, struct port *port, unsigned news)
{
	struct engine *engine = engine_of(w);

	if (!engine)
		return;
	if (latch_version(&port->stream->settings_latch) !=
	    port->stream->applied)
		media_stream_apply_settings(port->stream);
	flow_sync(w, port->stream);
	if (news & ENGINE_ANSWERED) {
		enter(port, FLOW_READY);
		if (is_as_asked(port))
			flow_consider(w, port);
		else
			take_back(engine, port);
	}
	if (news & ENGINE_SILENT && port->flow.state == FLOW_ON)
		path_forget(w, port);
	if (news & ENGINE_SETTLED)
		settled(w, engine, port);
}

void flow_review(struct worker *w, struct port *port)
{
	struct engine *engine = engine_of(w);

	if (!engine || port->flow.state == FLOW_NONE || is_as_asked(port))
		return;
	flow_sync(w, port->stream);
	take_back(engine, port);
}

void flow_pause(const struct media_stream *stream)
{
	struct engine *engine = engine_of(stream->worker);
	const struct port *all = &stream->ports[0][0];

	if (!engine || atomic_load(&stream->flows) == 0)
		return;
	for (unsigned i = 0; i < PARTY_COUNT * COMPONENT_COUNT; i++)
		engine->ops->pause(engine, &all[i].flow.item.local);
}

void flow_take_back_all(struct worker *w, struct media_stream *stream)
{
	struct port *all = &stream->ports[0][0];
	struct engine *engine = engine_of(w);

	for (unsigned i = 0; engine && i < PARTY_COUNT * COMPONENT_COUNT; i++)
		take_back(engine, &all[i]);
}

bool flow_all_back(struct worker *w, struct media_stream *stream)
{
	stream->finishing = true;
	if (!engine_of(w))
		return true;
	flow_take_back_all(w, stream);
	return atomic_load(&stream->flows) == 0;
}

void flow_sync(struct worker *w, struct media_stream *stream)
{
	struct port *all = &stream->ports[0][0];
	struct engine *engine = engine_of(w);

	if (!engine ||
	    atomic_load_explicit(&stream->flows, memory_order_relaxed) == 0)
		return;
	for (unsigned i = 0; i < PARTY_COUNT * COMPONENT_COUNT; i++) {
		struct port *port = &all[i];
		struct engine_counters c;

		/* Not what an earlier remote sent. */
		if (port->flow.state < FLOW_ON ||
		    !endpoint_equal(&port->flow.remote, &port->learning.remote))
			continue;
		engine->ops->read(engine, &port->flow.item.local, w->now_us,
				  &c);
		learning_hear_from_engine(
			&port->learning,
			&(struct learning_heard){
				.heard_us = c.heard_us,
				.has_ssrc = c.has_ssrc,
				.has_udptl_seq = c.has_udptl_seq,
				.seq = c.seq,
				.ssrc = c.ssrc,
			});
	}
}

void flow_read_stream(const struct media_stream *stream,
		      struct engine_counters *ret)
{
	const struct engine *engine = engine_of(stream->worker);
	const struct port *all = &stream->ports[0][0];
	struct engine_counters sum = {0};

	for (unsigned i = 0; engine && i < PARTY_COUNT * COMPONENT_COUNT; i++) {
		struct engine_counters c;

		engine->ops->read(engine, &all[i].flow.item.local,
				  /* now_us= */ 0, &c);
		sum.packets += c.packets;
		sum.bytes += c.bytes;
		sum.dropped += c.dropped;
	}
	*ret = sum;
}

void flow_read(const struct port *port, struct media_counters *counters)
{
	const struct engine *engine = engine_of(port->stream->worker);
	struct engine_counters c;

	if (!engine)
		return;
	engine->ops->read(engine, &port->flow.item.local, clock_mono_us(), &c);
	counters->packets += c.packets;
	counters->bytes += c.bytes;
	counters->kernel_packets = c.packets;
	counters->drops[DROP_FLOOD] += c.dropped;
	if (c.media_us == 0 || c.media_us < counters->last_media_us)
		return;
	counters->last_media_us = c.media_us;
	if (c.payload_type >= 0)
		counters->payload_type = c.payload_type;
}
