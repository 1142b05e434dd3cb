#pragma once
/**
 * @file proto/statistics.h  The statistics of a session as JSON
 *
 * The text that is accounted, shown by `sessions` and sent by `remove` and
 * `expired`. Key names, their order and separators are those of MediaProxy 4,
 * since billing scripts read them. Encoding only.
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

struct stream_party_statistics {
	int payload_type; /* or CODEC_NONE */
	uint64_t packets, bytes;
	struct endpoint local;
	struct endpoint remote; /* unset: "Unknown" */
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
	size_t stream_count;
	const struct stream_statistics *streams;
};

/** Where the statistics go decides which keys follow "streams". */
enum statistics_use {
	STATISTICS_SESSIONS,     /* the original's keys alone */
	STATISTICS_SESSIONS_NEW, /* ... and "dialog_id", for our own dispatcher
				  */
	STATISTICS_REMOVE,       /* "dialog_id", "timed_out" */
	STATISTICS_EXPIRED /* "timed_out", "dialog_id", "all_streams_ice" */
};

/** Write one session as an object (key as in base/json.h). */
void statistics_encode(struct json_writer *w, const char *key,
		       const struct session_statistics *s,
		       enum statistics_use use);
