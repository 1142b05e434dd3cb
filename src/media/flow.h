#pragma once
/**
 * @file media/flow.h  A port's flow on its way into the engine and back
 *
 * Each port of a stream may have one flow: what its party sends, confirmed on
 * both sides. The stream's worker alone moves it from state to state; the
 * engine answers by way of the worker's queue. So no packet is ever between
 * two minds: the flow is installed when the socket has been read empty, and
 * from the moment it is taken back packets come up again.
 *
 * Worker only, but for what says otherwise.
 */
#include <stdbool.h>

#include "media/engine.h"
#include "media/media.h"

struct port;
struct worker;
struct media_stream;

/** Where a flow is. One function, flow.c: enter(), changes it. */
enum flow_state {
	FLOW_NONE,    /* userspace forwards */
	FLOW_ASKED,   /* the engine looks for the way */
	FLOW_READY,   /* the way is known; the socket has to be read empty */
	FLOW_ON,      /* the engine forwards */
	FLOW_SETTLING /* taken back: what is on its way counts still */
};

struct flow {
	struct engine_item item;
	uint8_t state; /* enum flow_state */
	/* as it was asked for: */
	struct endpoint remote, destination;
};

/** The port is opened at this address; its counters in the engine begin at 0.
 * Control, before the stream is live. */
void flow_init(struct port *port, const struct endpoint *local);

/** Packets of the port were served: is there a flow to be installed? */
void flow_consider(struct worker *worker, struct port *port);

/** What the engine has to say of the port's flow. */
void flow_news(struct worker *worker, struct port *port, unsigned news);

/** A remote or a setting changed: take back the port's flow if it is no longer
 * what it was. */
void flow_review(struct worker *worker, struct port *port);

/** New SDP was published: from now on packets come up, so that none goes where
 * they went before. Control. */
void flow_pause(const struct media_stream *stream);

/** After flow_pause(), whatever became of the remotes: take all flows of the
 * stream back. */
void flow_take_back_all(struct worker *worker, struct media_stream *stream);

/** Take all flows of a stream back, since it closes. @return whether none is
 * left: otherwise ask again at the next news */
bool flow_all_back(struct worker *worker, struct media_stream *stream);

/** Let learning know what the engine has heard meanwhile, on all ports of the
 * stream. To be called before a packet is judged. */
void flow_sync(struct worker *worker, struct media_stream *stream);

/** The sums of packets, bytes and drops over a stream's ports. Control. */
void flow_read_stream(const struct media_stream *stream,
		      struct engine_counters *ret);

/** Add what the engine has counted. Control. */
void flow_read(const struct port *port, struct media_counters *counters);
