#pragma once
/**
 * @file media/stream.h  What media has of a stream, inside this folder
 *
 * Each field says whose it is. "worker": only the stream's worker touches it
 * once the stream is live. "control": only the control thread. What both touch
 * is atomic: settings go to the worker and numbers come back without a lock,
 * and without waking anybody: a setting matters only when the next packet
 * comes, and is read then.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "media/flow.h"
#include "media/held.h"
#include "media/history.h"
#include "media/ice.h"
#include "media/latch.h"
#include "media/learning.h"
#include "media/limit.h"
#include "media/media.h"
#include "media/queue.h"

struct worker;

/** What the control thread says of a stream. */
struct stream_settings {
	struct endpoint sdp[PARTY_COUNT];
	uint32_t sdp_version[PARTY_COUNT]; /* one more for each other address */
	uint64_t changed_us[PARTY_COUNT];  /* when */
	uint64_t opened_us;                /* the answer; 0: not yet */
	uint64_t resumed_us;               /* SDP ended a hold; 0: never */
	bool forwarding, ice;
};

/** A remote as it is shown. */
struct shown_remote {
	struct endpoint endpoint;
	uint32_t sdp_version; /* learned under this one */
	uint8_t rule;
};

/** Numbers of one component of one party. Writer: the worker; all relaxed. */
struct shown_counters {
	_Atomic uint64_t packets, bytes;
	_Atomic uint64_t first_media_us, last_media_us;
	_Atomic uint64_t drops[DROP_COUNT];
	_Atomic int payload_type;
	struct latch remote;
	_Atomic uint64_t remote_words[LATCH_WORDS(struct shown_remote)];
};

/** One socket: what one party sends to, for RTP or RTCP. */
struct port {
	struct media_stream *stream; /* never changes */
	enum party party;            /* never changes */
	enum component component;    /* never changes */
	int fd;                      /* never changes while live */
	/* worker: */
	uint32_t rxq_dropped; /* the kernel's count at the last look */
	uint32_t served_turn; /* of the worker's loop */
	uint8_t burst;        /* expect more than one packet at a time */
	bool sdp_usable;
	bool refuses_segments; /* sends nothing by UDP_SEGMENT */
	uint8_t tos;           /* with keeps_tos: what it sends with */
	struct endpoint sdp;   /* of this component */
	struct learning learning;
	struct held held;
	struct list
		timer; /* in the worker's list while somebody proves himself */
	uint64_t timer_us;
	struct limit_bucket packet_limit, byte_limit; /* of the remote */
	uint64_t limited_until_us;   /* over one of them: no flow till then */
	struct limit_others *others; /* from the first packet of one on */
	struct flow flow;
	/* both: */
	struct shown_counters shown;
	struct history history; /* writer: the worker */
	bool shows_remote;      /* worker: is one shown at present? */
};

/** What the control thread has to say to a stream's worker; bits. */
enum stream_notes {
	STREAM_LOOK = 1, /* at the settings, though no packet comes */
	STREAM_CLOSE = 2,
	STREAM_LIMIT = 4 /* ports are over_limit */
};

/** How much of a port the kernel has had, once a second. */
struct limit_watch {
	uint64_t read_us;
	struct {
		uint64_t packets, bytes; /* at the last look */
		struct limit_bucket packet_limit, byte_limit;
	} ports[PARTY_COUNT * COMPONENT_COUNT];
};

struct media_stream {
	struct media_session *session; /* never changes */
	struct worker *worker;         /* never changes */
	enum media_format format;      /* never changes */
	struct port ports[PARTY_COUNT][COMPONENT_COUNT];
	struct ip_addr local[PARTY_COUNT]; /* never changes */
	uint64_t began_us;                 /* never changes */
	/* control -> worker; version 0: not live yet, hands off */
	struct latch settings_latch;
	_Atomic uint64_t settings_words[LATCH_WORDS(struct stream_settings)];
	/* worker: */
	uint32_t applied; /* version of the settings */
	struct stream_settings settings;
	struct list in_session; /* worker's list of those that had packets */
	/* of ICE streams, from the first STUN on; NULL: none */
	struct ice *ice[COMPONENT_COUNT];
	bool finishing; /* to be closed when its flows are back */
	/* control: */
	struct stream_settings wanted;
	struct list in_media;
	bool closing;
	struct limit_watch *limit_watch; /* once it had a flow */
	media_closed_h *closed;
	void *closed_arg;
	/* both: */
	_Atomic unsigned flows; /* ports whose flow is not FLOW_NONE */
	_Atomic unsigned notes; /* enum stream_notes; in the queue if any */
	_Atomic unsigned over_limit; /* ports, one bit each, for the worker */
	/* in the worker's queue of notes, then in that of the closed ones: */
	struct queue_link link;
};

/** Remotes of ended streams that a party's new streams may come from. */
#define SESSION_ENDED_IPS 4

struct media_session {
	struct worker *worker; /* never changes */
	/* control: */
	struct media *media;
	unsigned stream_count; /* that are not freed */
	bool released;         /* to be freed with its last stream */
	/* control -> worker: */
	struct latch signalling_latch[PARTY_COUNT];
	_Atomic uint64_t
		signalling_words[PARTY_COUNT][LATCH_WORDS(struct ip_addr)];
	/* worker: */
	struct list streams;
	struct learning_known ended[PARTY_COUNT][SESSION_ENDED_IPS];
	uint8_t ended_next[PARTY_COUNT];
};

_Static_assert(LATCH_WORDS(struct stream_settings) <= 2 * LATCH_MOST,
	       "a latch copies by way of LATCH_MOST words");
_Static_assert(sizeof(struct media_stream) < 5120,
	       "a one-stream session has to stay under 8 kB in all");

/* worker: */

/** Take over what the control thread has set since the last time. */
void media_stream_apply_settings(struct media_stream *stream);

/** What the control thread found over the limit leaves the kernel. */
void media_stream_apply_limits(struct media_stream *stream);

/** The stream had a packet: its remotes serve the others of its session. */
void media_stream_join_session(struct media_stream *stream);

/** It ends: leave the session, but leave the remotes' addresses there. */
void media_stream_leave_session(struct media_stream *stream);

#define STREAM_KNOWN_MAX 64

/** What learning wants to know about a component. known: of STREAM_KNOWN_MAX */
struct learning_facts media_stream_facts(struct port *c,
					 const struct learning_config *config,
					 struct learning_known *known,
					 uint64_t now_us);

/** Show the remote as it is now. */
void media_port_show_remote(struct port *c);

/** A time as the history has it; rounded up, so that what followed an answer is
 * not told before it. */
static inline uint32_t media_history_ms(const struct port *c, uint64_t us)
{
	uint64_t began_us = c->stream->began_us;

	return us > began_us ? (uint32_t)((us - began_us + 999) / 1000) : 0;
}

/** Add to a number of which this thread is the only writer. */
static inline void count_up(_Atomic uint64_t *counter, uint64_t by)
{
	uint64_t was = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, was + by, memory_order_relaxed);
}

static inline uint64_t count_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline const struct port *media_port_other_const(const struct port *c)
{
	return &c->stream->ports[party_other(c->party)][c->component];
}

static inline struct port *media_port_other(struct port *c)
{
	return &c->stream->ports[party_other(c->party)][c->component];
}
