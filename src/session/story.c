/** What happened to a call as JSON: its sentences, and which party hears the
 * other. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "session/diagnosis.h"
#include "session/story.h"

/* Of a call with more, the latest are told. */
#define STORY_STREAMS 16

/* To the millisecond: nothing here is more exact, and they are in this order.
 */
static void write_seconds(struct json_writer *w, const char *key, uint64_t us)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%.3f",
			   (double)(us / US_PER_MS) / 1000);

	json_raw(w, key, span_make(text, (size_t)len));
}

static void write_endpoint(struct json_writer *w, const char *key,
			   const struct endpoint *ep)
{
	char text[ADDR_TEXT_SIZE];

	if (ip_is_set(&ep->ip))
		json_text(w, key, endpoint_format(ep, text));
	else
		json_null(w, key);
}

static void write_event(struct json_writer *w, const struct event *event)
{
	json_object_begin(w, NULL);
	write_seconds(w, "at", event->at_us);
	if (event->until_us != event->at_us)
		write_seconds(w, "until", event->until_us);
	json_text(w, "event", event->what);
	if (event->stream)
		json_text(w, "media_type", event->stream);
	if (event->reason)
		json_text(w, "reason", event->reason);
	if (ip_is_set(&event->source.ip))
		write_endpoint(w, "address", &event->source);
	if (event->packets > 0)
		json_u64(w, "packets", event->packets);
	json_text(w, "text", event->text);
	json_object_end(w);
}

static void write_party(struct json_writer *w, const struct stream *stream,
			const struct media_snapshot *media, enum party party)
{
	const struct media_counters *rtp = &media->from[party][COMPONENT_RTP];

	json_object_begin(w, party_name(party));
	write_endpoint(w, "sdp", &stream->sdp[party]);
	write_endpoint(w, "remote", &rtp->remote);
	json_text(w, "rule", learning_rule_name(rtp->rule));
	json_bool(w, "asymmetric",
		  stream->asymmetric[party] ||
			  (!stream->ice &&
			   diagnosis_is_asymmetric(&stream->reach[party],
						   &rtp->remote)));
	json_u64(w, "packets", rtp->packets);
	json_object_end(w);
}

static void write_stream(struct json_writer *w, const struct stream *stream)
{
	struct media_snapshot media;

	stream_read(stream, &media);
	json_object_begin(w, NULL);
	json_text(w, "media_type", stream->type);
	json_text(w, "status", stream_status_name(stream_status(stream)));
	for (enum party p = 0; p < PARTY_COUNT; p++)
		write_party(w, stream, &media, p);
	json_object_end(w);
}

/* The source that most packets of this party were refused of. */
static void find_refused(const struct stream *stream, enum party party,
			 struct diagnosis_facts *facts)
{
	struct history_facts h;

	if (!stream_read_history(stream, party, COMPONENT_RTP, &h))
		return;
	for (unsigned i = 0; i < HISTORY_REFUSALS; i++) {
		const struct history_entry *e = &h.refused[i];
		struct endpoint source = history_source(e);

		if (e->kind == HISTORY_NONE || !ip_is_set(&source.ip) ||
		    e->count <= facts->refused_packets)
			continue;
		facts->refused_source = source;
		facts->refused_why = (enum media_drop)e->reason;
		facts->refused_packets = e->count;
		facts->refused_last_us =
			stream->offered_us + e->last_ms * US_PER_MS;
	}
}

static struct diagnosis_facts facts_of(const struct stream *stream,
				       enum party speaker, uint64_t now_us)
{
	const struct sessions *sessions = stream->session->sessions;
	enum party listener = party_other(speaker);
	bool ended = stream->state == STREAM_STATE_ENDED;
	struct diagnosis_facts facts = {
		.speaker = speaker,
		.type = stream->type,
		.answered = stream->answered_us != 0,
		.ice = stream->ice,
		.rejected = stream_status(stream) == STREAM_REJECTED,
		.ended = ended,
		.local = {*addresses_shown(sessions->config.addresses,
					   &stream->local[speaker].ip),
			  stream->local[speaker].port},
		.began_us = stream->session->began_us,
		.now_us = ended ? stream->ended_us : now_us,
	};
	struct media_snapshot media;

	stream_read(stream, &media);
	for (enum party p = 0; p < PARTY_COUNT; p++) {
		facts.hold[p] = stream->hold[p];
		facts.direction[p] = (enum direction)stream->direction[p];
		facts.sdp[p] = stream->sdp[p];
	}
	facts.from = media.from[speaker][COMPONENT_RTP];
	facts.local_is_gone =
		!ended && !addresses_is_here(sessions->config.addresses,
					     &stream->local[speaker].ip);
	facts.remote_is_ours =
		endpoint_equal(&stream->reach[speaker], &facts.from.remote);
	facts.listener_is_reachable =
		ip_is_set(&media.from[listener][COMPONENT_RTP].remote.ip) ||
		media_may_send_to(sessions->media, &stream->reach[listener],
				  &stream->local[listener].ip);
	find_refused(stream, speaker, &facts);
	return facts;
}

static void write_diagnosis(struct json_writer *w, const struct stream *stream,
			    enum party speaker, uint64_t now_us)
{
	struct diagnosis_facts facts = facts_of(stream, speaker, now_us);
	CLEANUP(buf_done) struct buf text = {0};

	diagnosis_write(&text, &facts);
	json_object_begin(w, NULL);
	json_text(w, "media_type", stream->type);
	json_text(w, "from", party_name(speaker));
	json_text(w, "verdict", diagnosis_name(diagnose(&facts)));
	json_text(w, "text", text.data ? text.data : "");
	json_object_end(w);
}

static void write_head(struct json_writer *w, const struct session *session,
		       uint64_t until_us)
{
	struct ip_addr relay = session_relay_ip(session);
	char text[ADDR_TEXT_SIZE];

	json_span(w, "call_id", session_call_id(session));
	json_text(w, "from_tag", session->from_tag);
	json_text(w, "from_uri", session->from_uri);
	json_text(w, "to_uri", session->to_uri);
	json_text(w, "relay", ip_format(&relay, text));
	json_text(w, "engine", session_engine(session));
	write_seconds(w, "began", session->began_wall_us);
	write_seconds(w, "duration", until_us);
	if (session->dead)
		json_text(w, "end_reason", session_end_name(session->end));
	else
		json_null(w, "end_reason");
}

static size_t count_streams(const struct session *session)
{
	size_t count = 0;

	list_for_each (link, &session->streams)
		count++;
	return count;
}

void session_write_story(const struct session *session, uint64_t now_us,
			 struct json_writer *w)
{
	size_t count = count_streams(session);
	size_t skip = count > STORY_STREAMS ? count - STORY_STREAMS : 0;
	size_t i = 0;
	struct story story = {
		.session = session,
		.now_us = session->dead ? session->ended_us : now_us,
	};

	story_tell(&story, skip);
	json_object_begin(w, NULL);
	write_head(w, session, story_time_us(&story, story.now_us));
	json_u64(w, "streams_not_told", skip);
	json_array_begin(w, "streams");
	list_for_each (link, &session->streams)
		if (i++ >= skip)
			write_stream(w, list_item(link, struct stream, link));
	json_array_end(w);
	json_array_begin(w, "events");
	for (size_t e = 0; e < story.count; e++)
		write_event(w, &story.events[e]);
	json_array_end(w);
	json_array_begin(w, "diagnosis");
	i = 0;
	list_for_each (link, &session->streams) {
		const struct stream *stream =
			list_item(link, struct stream, link);

		for (enum party p = 0; i >= skip && p < PARTY_COUNT; p++)
			write_diagnosis(w, stream, p, story.now_us);
		i++;
	}
	json_array_end(w);
	json_object_end(w);
	free(story.events);
}
