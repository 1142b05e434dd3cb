#include "proto/statistics.h"

#include <stdio.h>

const char *stream_status_name(enum stream_status status)
{
	switch (status) {
	case STREAM_ACTIVE:
		return "active";
	case STREAM_ON_HOLD:
		return "on hold";
	case STREAM_CLOSED:
		return "closed";
	case STREAM_REJECTED:
		return "rejected";
	case STREAM_NO_TRAFFIC_TIMEOUT:
		return "no-traffic timeout";
	case STREAM_ON_HOLD_TIMEOUT:
		return "on hold timeout";
	case STREAM_CONNTRACK_TIMEOUT:
		return "conntrack timeout";
	case STREAM_UNSELECTED_ICE:
		return "unselected ICE candidate";
	}
	return "closed";
}

const char *codec_name(int payload_type, char text[static CODEC_TEXT_SIZE])
{
	/* The static payload types of RFC 3551, under the original's names. */
	static const char *const names[] = {
		[0] = "G711u", [1] = "1016",  [2] = "G721",  [3] = "GSM",
		[4] = "G723",  [5] = "DVI4",  [6] = "DVI4",  [7] = "LPC",
		[8] = "G711a", [9] = "G722",  [10] = "L16",  [11] = "L16",
		[14] = "MPA",  [15] = "G728", [18] = "G729", [25] = "CelB",
		[26] = "JPEG", [28] = "nv",   [31] = "H261", [32] = "MPV",
		[33] = "MP2T", [34] = "H263",
	};
	const char *name = "Unknown";

	if (payload_type < 0) {
		snprintf(text, CODEC_TEXT_SIZE, "%s", name);
		return text;
	}
	if (payload_type < (int)(sizeof(names) / sizeof(names[0])) &&
	    names[payload_type]) {
		snprintf(text, CODEC_TEXT_SIZE, "%s", names[payload_type]);
		return text;
	}
	if (payload_type > 95)
		name = "Dynamic";
	snprintf(text, CODEC_TEXT_SIZE, "%s(%d)", name, payload_type);
	return text;
}

static void text_or_null(struct json_writer *w, const char *key,
			 struct span value)
{
	if (value.len == 0)
		json_null(w, key);
	else
		json_span(w, key, value);
}

static void text_or_unknown(struct json_writer *w, const char *key,
			    struct span value)
{
	json_span(w, key, value.len == 0 ? SPAN("Unknown") : value);
}

static void endpoint_or_unknown(struct json_writer *w, const char *key,
				const struct endpoint *ep)
{
	char text[ADDR_TEXT_SIZE];

	json_text(w, key,
		  ip_is_set(&ep->ip) ? endpoint_format(ep, text) : "Unknown");
}

static void seconds_or_null(struct json_writer *w, const char *key, bool has,
			    int64_t value)
{
	if (has)
		json_i64(w, key, value);
	else
		json_null(w, key);
}

static void time_or_null(struct json_writer *w, const char *key, bool has,
			 double value)
{
	if (has)
		json_float(w, key, value);
	else
		json_null(w, key);
}

static uint64_t packets_of(const struct stream_party_statistics *party)
{
	return party->component[COMPONENT_RTP].packets +
	       party->component[COMPONENT_RTCP].packets;
}

static uint64_t bytes_of(const struct stream_party_statistics *party)
{
	return party->component[COMPONENT_RTP].bytes +
	       party->component[COMPONENT_RTCP].bytes;
}

#define KEY_SIZE 64

/* "caller_rtp_bytes", "callee_dropped_not_open" */
static const char *party_key(enum party party, const char *what,
			     const char *which, char key[static KEY_SIZE])
{
	snprintf(key, KEY_SIZE, "%s_%s_%s", party_name(party), what, which);
	return key;
}

static void component_encode(struct json_writer *w, enum party party,
			     const char *component,
			     const struct component_statistics *s)
{
	char key[KEY_SIZE];

	json_u64(w, party_key(party, component, "packets", key), s->packets);
	json_u64(w, party_key(party, component, "bytes", key), s->bytes);
	json_u64(w, party_key(party, component, "kernel_packets", key),
		 s->kernel_packets);
}

/* What the original does not say of a party. */
static void party_encode(struct json_writer *w, enum party party,
			 const struct stream_party_statistics *s)
{
	char key[KEY_SIZE];

	endpoint_or_unknown(w,
			    party == PARTY_CALLER ? "caller_sdp" : "callee_sdp",
			    &s->sdp);
	if (s->asymmetric)
		json_u64(w,
			 party == PARTY_CALLER ? "caller_asymmetric"
					       : "callee_asymmetric",
			 1);
	component_encode(w, party, "rtp", &s->component[COMPONENT_RTP]);
	component_encode(w, party, "rtcp", &s->component[COMPONENT_RTCP]);
	for (size_t i = 0; i < s->drop_count; i++)
		if (s->drops[i].packets > 0)
			json_u64(w,
				 party_key(party, "dropped", s->drops[i].reason,
					   key),
				 s->drops[i].packets);
}

static void stream_encode(struct json_writer *w,
			  const struct stream_statistics *s, bool detailed)
{
	const struct stream_party_statistics *caller = &s->party[PARTY_CALLER];
	const struct stream_party_statistics *callee = &s->party[PARTY_CALLEE];
	char text[CODEC_TEXT_SIZE];

	json_object_begin(w, NULL);
	json_span(w, "media_type", s->media_type);
	json_text(w, "status", stream_status_name(s->status));
	json_u64(w, "timeout_wait", s->timeout_wait_s);
	json_text(w, "caller_codec", codec_name(caller->payload_type, text));
	json_text(w, "callee_codec", codec_name(callee->payload_type, text));
	seconds_or_null(w, "start_time", s->has_times, s->start_s);
	seconds_or_null(w, "end_time", s->has_times, s->end_s);
	time_or_null(w, "post_dial_delay", s->has_post_dial_delay,
		     s->post_dial_delay_s);
	json_u64(w, "caller_bytes", bytes_of(caller));
	json_u64(w, "callee_bytes", bytes_of(callee));
	json_u64(w, "caller_packets", packets_of(caller));
	json_u64(w, "callee_packets", packets_of(callee));
	endpoint_or_unknown(w, "caller_local", &caller->local);
	endpoint_or_unknown(w, "callee_local", &callee->local);
	endpoint_or_unknown(w, "caller_remote", &caller->remote);
	endpoint_or_unknown(w, "callee_remote", &callee->remote);
	for (int i = 0; detailed && i < PARTY_COUNT; i++)
		party_encode(w, (enum party)i, &s->party[i]);
	json_object_end(w);
}

static void encode_answered_time(struct json_writer *w,
				 const struct session_statistics *s)
{
	time_or_null(w, "answered_time", s->has_answered_time,
		     s->answered_time);
}

static void encode_relay(struct json_writer *w,
			 const struct session_statistics *s)
{
	char text[ADDR_TEXT_SIZE];

	json_text(w, "relay", ip_format(&s->relay, text));
	json_text(w, "engine", s->engine);
}

/* What is new in a record, after all that the original has. */
static void encode_record(struct json_writer *w,
			  const struct session_statistics *s)
{
	json_span(w, "record_id", s->record_id);
	json_u64(w, "schema", STATISTICS_SCHEMA);
	encode_answered_time(w, s);
	json_float(w, "end_time", s->end_time);
	encode_relay(w, s);
	json_text(w, "end_reason", s->end_reason);
}

static void encode_use(struct json_writer *w,
		       const struct session_statistics *s,
		       enum statistics_use use)
{
	switch (use) {
	case STATISTICS_SESSIONS:
		break;
	case STATISTICS_SESSIONS_NEW:
		text_or_null(w, "dialog_id", s->dialog_id);
		encode_answered_time(w, s);
		encode_relay(w, s);
		break;
	case STATISTICS_REMOVE:
		text_or_null(w, "dialog_id", s->dialog_id);
		json_bool(w, "timed_out", s->timed_out);
		encode_record(w, s);
		break;
	case STATISTICS_EXPIRED:
		json_bool(w, "timed_out", s->timed_out);
		text_or_null(w, "dialog_id", s->dialog_id);
		json_bool(w, "all_streams_ice", s->all_streams_ice);
		encode_record(w, s);
		break;
	}
}

void statistics_encode(struct json_writer *w, const char *key,
		       const struct session_statistics *s,
		       enum statistics_use use)
{
	bool detailed = use == STATISTICS_REMOVE || use == STATISTICS_EXPIRED;

	json_object_begin(w, key);
	json_span(w, "call_id", s->call_id);
	json_span(w, "from_tag", s->from_tag);
	json_span(w, "from_uri", s->from_uri);
	text_or_null(w, "to_tag", s->to_tag);
	json_span(w, "to_uri", s->to_uri);
	time_or_null(w, "start_time", s->has_start_time, s->start_time);
	json_i64(w, "duration", s->duration_s);
	text_or_unknown(w, "caller_ua", s->user_agent[PARTY_CALLER]);
	text_or_unknown(w, "callee_ua", s->user_agent[PARTY_CALLEE]);
	text_or_null(w, "username", s->username);
	json_array_begin(w, "streams");
	for (size_t i = 0; i < s->stream_count; i++)
		stream_encode(w, &s->streams[i], detailed);
	json_array_end(w);
	encode_use(w, s, use);
	json_object_end(w);
}
