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

static void stream_encode(struct json_writer *w,
			  const struct stream_statistics *s)
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
	if (s->has_post_dial_delay)
		json_float(w, "post_dial_delay", s->post_dial_delay_s);
	else
		json_null(w, "post_dial_delay");
	json_u64(w, "caller_bytes", caller->bytes);
	json_u64(w, "callee_bytes", callee->bytes);
	json_u64(w, "caller_packets", caller->packets);
	json_u64(w, "callee_packets", callee->packets);
	endpoint_or_unknown(w, "caller_local", &caller->local);
	endpoint_or_unknown(w, "callee_local", &callee->local);
	endpoint_or_unknown(w, "caller_remote", &caller->remote);
	endpoint_or_unknown(w, "callee_remote", &callee->remote);
	json_object_end(w);
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
		break;
	case STATISTICS_REMOVE:
		text_or_null(w, "dialog_id", s->dialog_id);
		json_bool(w, "timed_out", s->timed_out);
		break;
	case STATISTICS_EXPIRED:
		json_bool(w, "timed_out", s->timed_out);
		text_or_null(w, "dialog_id", s->dialog_id);
		json_bool(w, "all_streams_ice", s->all_streams_ice);
		break;
	}
}

void statistics_encode(struct json_writer *w, const char *key,
		       const struct session_statistics *s,
		       enum statistics_use use)
{
	json_object_begin(w, key);
	json_span(w, "call_id", s->call_id);
	json_span(w, "from_tag", s->from_tag);
	json_span(w, "from_uri", s->from_uri);
	text_or_null(w, "to_tag", s->to_tag);
	json_span(w, "to_uri", s->to_uri);
	if (s->has_start_time)
		json_float(w, "start_time", s->start_time);
	else
		json_null(w, "start_time");
	json_i64(w, "duration", s->duration_s);
	text_or_unknown(w, "caller_ua", s->user_agent[PARTY_CALLER]);
	text_or_unknown(w, "callee_ua", s->user_agent[PARTY_CALLEE]);
	text_or_null(w, "username", s->username);
	json_array_begin(w, "streams");
	for (size_t i = 0; i < s->stream_count; i++)
		stream_encode(w, &s->streams[i]);
	json_array_end(w);
	encode_use(w, s, use);
	json_object_end(w);
}
