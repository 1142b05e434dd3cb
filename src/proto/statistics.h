#pragma once
/**
 * @file proto/statistics.h  The statistics of a session as JSON
 *
 * The text that is accounted, shown by `sessions` and sent by `remove` and
 * `expired`. Key names, their order and separators are those of MediaProxy 4,
 * since billing scripts read them. What is new in a record comes after them,
 * and is text, number or null inside a stream: CDRTool prints every value that
 * it finds there, and dies of an object. docs/accounting.md has the whole list.
 * Encoding only.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/json.h"
#include "base/span.h"
#include "proto/party.h"

enum stream_status {
	STREAM_ACTIVE,
	STREAM_ON_HOLD,
	STREAM_CLOSED,
	STREAM_REJECTED,
	STREAM_NO_TRAFFIC_TIMEOUT, /* "no-traffic timeout": never any media */
	STREAM_ON_HOLD_TIMEOUT,
	STREAM_CONNTRACK_TIMEOUT, /* media flowed, then fell silent */
	STREAM_UNSELECTED_ICE
};

const char *stream_status_name(enum stream_status status);

#define CODEC_NONE (-1) /* no media yet: "Unknown" */
#define CODEC_TEXT_SIZE 24

/** The name of an RTP payload type, as the original writes it. */
const char *codec_name(int payload_type, char text[static CODEC_TEXT_SIZE]);

struct component_statistics {
	uint64_t packets, bytes; /* forwarded; of whole IP packets */
	uint64_t kernel_packets; /* those of `packets` that the kernel had */
};

/** Packets of a party that were not forwarded, for one reason. */
struct drop_statistics {
	const char *reason; /* a word with underscores */
	uint64_t packets;
};

#define STATISTICS_MAX_DROPS 16

struct stream_party_statistics {
	int payload_type; /* or CODEC_NONE */
	struct component_statistics component[COMPONENT_COUNT];
	struct endpoint local;
	struct endpoint sdp;    /* unset: "Unknown" */
	struct endpoint remote; /* unset: "Unknown" */
	bool asymmetric;        /* it sent from elsewhere than its SDP says */
	size_t drop_count;
	struct drop_statistics drops[STATISTICS_MAX_DROPS];
};

struct stream_statistics {
	struct span media_type;
	enum stream_status status;
	uint32_t timeout_wait_s;
	bool has_times; /* false: start_time and end_time are null */
	int64_t start_s, end_s;
	bool has_post_dial_delay;
	double post_dial_delay_s;
	struct stream_party_statistics party[PARTY_COUNT];
};

struct session_statistics {
	struct span call_id, from_tag, from_uri;
	struct span to_tag; /* empty: null */
	struct span to_uri;
	bool has_start_time;
	double start_time; /* UNIX time */
	int64_t duration_s;
	struct span user_agent[PARTY_COUNT]; /* empty: "Unknown" */
	struct span username;                /* empty: null */
	struct span dialog_id;               /* empty: null */
	bool timed_out, all_streams_ice;
	bool has_answered_time;
	double answered_time; /* UNIX time: picked up, so no 183 */
	struct ip_addr relay; /* as others see it */
	const char *engine;   /* what forwarded */
	/* of a record alone: */
	struct span record_id; /* of this session, and of no other ever */
	double end_time;       /* UNIX time */
	const char *end_reason;
	size_t stream_count;
	const struct stream_statistics *streams;
};

/** What the keys of a record mean; the original's have no number: 1. */
#define STATISTICS_SCHEMA 2

/** Where the statistics go decides which keys follow "streams". */
enum statistics_use {
	STATISTICS_SESSIONS, /* the original's keys alone */
	/* for our own dispatcher: "dialog_id", "answered_time", "relay",
	 * "engine" */
	STATISTICS_SESSIONS_NEW,
	/* records: "dialog_id", "timed_out", and all that is new */
	STATISTICS_REMOVE,
	/* "timed_out", "dialog_id", "all_streams_ice", and all that is new */
	STATISTICS_EXPIRED
};

/** Write one session as an object (key as in base/json.h). */
void statistics_encode(struct json_writer *w, const char *key,
		       const struct session_statistics *s,
		       enum statistics_use use);
