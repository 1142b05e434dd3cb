/** The sentences of a story: what signalling said, and what media decided about
 * the senders. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "session/diagnosis.h"
#include "session/story.h"

uint64_t story_time_us(const struct story *story, uint64_t us)
{
	return us > story->session->began_us ? us - story->session->began_us
					     : 0;
}

static struct event *room_for_one(struct story *story)
{
	if (story->count == story->size) {
		size_t size = story->size ? 2 * story->size : 32;
		struct event *more =
			realloc(story->events, size * sizeof(*more));

		if (!more)
			return &story->nowhere;
		story->events = more;
		story->size = size;
	}
	return &story->events[story->count++];
}

/* Valid until the next one is added. */
static struct event *add(struct story *story, uint64_t at_us, const char *what)
{
	struct event *event = room_for_one(story);

	*event = (struct event){.at_us = at_us,
				.until_us = at_us,
				.number = story->count,
				.what = what};
	return event;
}

static void say(struct event *event, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Appends; what has no room is cut. */
static void say(struct event *event, const char *format, ...)
{
	size_t len = strlen(event->text);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(event->text + len, sizeof(event->text) - len, format,
			args);
	va_end(args);
}

/* ---- signalling ---- */

static const char *direction_text(uint8_t direction)
{
	switch ((enum direction)direction) {
	case DIRECTION_SENDONLY:
		return ", sendonly";
	case DIRECTION_RECVONLY:
		return ", recvonly";
	case DIRECTION_INACTIVE:
		return ", inactive";
	case DIRECTION_SENDRECV:
		break;
	}
	return "";
}

static const char *address_note(const struct signal *signal)
{
	if (signal->is_usable)
		return "";
	return ip_is_private(&signal->sdp.ip)
		       ? " (private: nothing is sent there "
			 "before it speaks)"
		       : " (nothing is sent there before it "
			 "speaks)";
}

static void tell_line(struct story *story, const struct signal *signal)
{
	bool is_offer = signal->kind == SIGNAL_OFFER;
	struct event *event = add(story, story_time_us(story, signal->at_us),
				  is_offer ? "offer" : "answer");
	const char *party = party_name((enum party)signal->sender);
	char sdp[ADDR_TEXT_SIZE];

	event->source = signal->sdp;
	if (signal->sdp.port == 0) {
		say(event, "%s %s %s (port 0)", party,
		    is_offer ? "offers to disable" : "rejects", signal->type);
		return;
	}
	say(event, "%s %s %s at %s%s%s", party, is_offer ? "offers" : "answers",
	    signal->type, endpoint_format(&signal->sdp, sdp),
	    direction_text(signal->direction), signal->ice ? ", ICE" : "");
	say(event, "%s",
	    ip_is_unspecified(&signal->sdp.ip) ? " (hold)"
					       : address_note(signal));
}

static void tell_signal(struct story *story, const struct signal *signal)
{
	uint64_t at_us = story_time_us(story, signal->at_us);

	switch ((enum signal_kind)signal->kind) {
	case SIGNAL_OFFER:
	case SIGNAL_ANSWER:
		tell_line(story, signal);
		break;
	case SIGNAL_PICK_UP:
		say(add(story, at_us, "pick_up"), "the call is picked up");
		break;
	case SIGNAL_REFUSED:
		say(add(story, at_us, "refused"),
		    "a message of the SIP proxy is refused: %s", signal->why);
		break;
	}
}

static void tell_signals(struct story *story)
{
	const struct signals *signals = &story->session->signals;
	size_t count = signals_count(signals);

	for (size_t i = 0; i < count; i++)
		tell_signal(story, &signals->list[i]);
	if (signals->noted > count)
		say(add(story,
			story_time_us(story,
				      signals->list[SIGNALS_FIRST - 1].at_us),
			"not_kept"),
		    "%" PRIu64 " messages that followed are not remembered",
		    (uint64_t)(signals->noted - count));
}

/* ---- media ---- */

/* A component of a party, as sentences begin. */
struct speaker {
	const struct stream *stream;
	enum party party;
	enum component component;
	char name[64]; /* "caller audio RTP" */
};

static struct event *add_of(struct story *story, const struct speaker *who,
			    uint64_t at_ms, const char *what)
{
	uint64_t began_us = story_time_us(story, who->stream->offered_us);
	struct event *event = add(story, began_us + at_ms * US_PER_MS, what);

	event->stream = who->stream->type;
	return event;
}

static void tell_decision(struct story *story, const struct speaker *who,
			  const struct history_entry *entry)
{
	static const char *const words[] = {
		[HISTORY_CONFIRMED] = "confirmed",
		[HISTORY_REPLACED] = "replaced",
		[HISTORY_FORGOTTEN] = "forgotten",
	};
	struct event *event =
		add_of(story, who, entry->first_ms, words[entry->kind]);
	char source[ADDR_TEXT_SIZE];

	event->source = history_source(entry);
	endpoint_format(&event->source, source);
	switch ((enum history_kind)entry->kind) {
	case HISTORY_CONFIRMED:
		event->reason =
			learning_rule_name((enum learning_rule)entry->reason);
		say(event, "%s from %s confirmed: %s", who->name, source,
		    diagnosis_rule_text((enum learning_rule)entry->reason));
		if (entry->count > 0)
			say(event,
			    ", %.3f s after the last from the one before",
			    (double)entry->count / 1000);
		break;
	case HISTORY_REPLACED:
		say(event, "%s from %s is not the party any more: new SDP",
		    who->name, source);
		break;
	default:
		say(event,
		    "%s was silent for rtcp_silence: its address is "
		    "forgotten",
		    who->name);
	}
}

static void tell_decisions(struct story *story, const struct speaker *who,
			   const struct history_facts *h)
{
	unsigned kept = h->counts.decisions < HISTORY_DECISIONS
				? h->counts.decisions
				: HISTORY_DECISIONS;

	for (unsigned i = 1; i <= kept; i++)
		tell_decision(story, who,
			      &h->decided[(h->counts.decisions - i) %
					  HISTORY_DECISIONS]);
	if (h->counts.decisions > kept)
		say(add_of(story, who, 0, "not_kept"),
		    "%s: the %u decisions before the last %u are not "
		    "remembered",
		    who->name, h->counts.decisions - kept, kept);
}

static void tell_refusal(struct story *story, const struct speaker *who,
			 const struct history_entry *entry)
{
	bool held = entry->kind == HISTORY_HELD;
	struct event *event =
		add_of(story, who, entry->first_ms, held ? "held" : "refused");
	enum media_drop drop = (enum media_drop)entry->reason;
	const char *why = diagnosis_drop_text(drop);
	char source[ADDR_TEXT_SIZE], number[40];

	event->until_us += (entry->last_ms - entry->first_ms) * US_PER_MS;
	event->source = history_source(entry);
	event->packets = entry->count;
	say(event, "%s ", who->name);
	if (ip_is_set(&event->source.ip))
		say(event, "from %s ", endpoint_format(&event->source, source));
	if (held) {
		say(event, "held until it proves itself: %s",
		    diagnosis_packets(entry->count, number));
		return;
	}
	event->reason = media_drop_name(drop);
	say(event, "refused, %s: %s", diagnosis_packets(entry->count, number),
	    event->reason);
	if (why)
		say(event, " (%s)", why);
}

static void tell_kernel(struct story *story, const struct speaker *who,
			const struct history_facts *h)
{
	struct event *event;

	if (h->counts.handed == 0)
		return;
	event = add_of(story, who, h->handed_ms, "kernel");
	say(event, "%s: the kernel forwards it", who->name);
	if (h->counts.handed > 1)
		say(event, ", for the first of %u times", h->counts.handed);
}

static void tell_silence(struct story *story, const struct speaker *who,
			 const struct history_facts *h)
{
	uint64_t ms = h->silence_to_ms - h->silence_from_ms;
	struct event *event;

	if (h->counts.silences == 0)
		return;
	event = add_of(story, who, h->silence_from_ms, "silent");
	event->until_us += ms * US_PER_MS;
	say(event, "%s falls silent for %.1f s", who->name, (double)ms / 1000);
	if (h->counts.silences > 1)
		say(event, ", the last of %u times", h->counts.silences);
}

static void tell_history(struct story *story, const struct speaker *who,
			 const struct history_facts *h)
{
	uint32_t latest_ms = 0;

	tell_decisions(story, who, h);
	for (unsigned i = 0; i < HISTORY_REFUSALS; i++) {
		if (h->refused[i].kind == HISTORY_NONE)
			continue;
		tell_refusal(story, who, &h->refused[i]);
		if (h->refused[i].last_ms > latest_ms)
			latest_ms = h->refused[i].last_ms;
	}
	if (h->counts.pushed_out > 0)
		say(add_of(story, who, latest_ms, "not_kept"),
		    "%s: %u more refusals of others are not remembered",
		    who->name, h->counts.pushed_out);
	tell_kernel(story, who, h);
	tell_silence(story, who, h);
}

static void tell_media(struct story *story, const struct speaker *who,
		       const struct media_counters *rtp)
{
	struct event *event;

	if (rtp->first_media_us == 0)
		return;
	event = add(story, story_time_us(story, rtp->first_media_us),
		    "first_media");
	event->stream = who->stream->type;
	say(event, "%s: the first media", who->name);
	if (story->now_us < rtp->last_media_us + DIAGNOSIS_SILENCE_US)
		return;
	event = add(story, story_time_us(story, rtp->last_media_us),
		    "last_media");
	event->stream = who->stream->type;
	say(event, "%s: the last media", who->name);
}

static void tell_components(struct story *story, const struct stream *stream,
			    const struct media_snapshot *media)
{
	for (enum party p = 0; p < PARTY_COUNT; p++)
		for (enum component c = 0; c < COMPONENT_COUNT; c++) {
			struct speaker who = {stream, p, c, ""};
			struct history_facts history;

			(void)snprintf(who.name, sizeof(who.name),
				       "%s %.16s %s", party_name(p),
				       stream->type,
				       c == COMPONENT_RTP ? "RTP" : "RTCP");
			if (!stream_read_history(stream, p, c, &history))
				say(add_of(story, &who, 0, "not_kept"),
				    "%s: its decisions cannot be had",
				    who.name);
			tell_history(story, &who, &history);
			if (c == COMPONENT_RTP)
				tell_media(story, &who, &media->from[p][c]);
		}
}

static void tell_stream(struct story *story, const struct stream *stream)
{
	struct media_snapshot media;
	struct event *event;

	stream_read(stream, &media);
	tell_components(story, stream, &media);
	if (stream->state != STREAM_STATE_ENDED)
		return;
	event = add(story, story_time_us(story, stream->ended_us),
		    "stream_ended");
	event->stream = stream->type;
	say(event, "the %.16s stream ends: %s", stream->type,
	    stream_status_name(stream->final_status));
}

/* ---- all of it ---- */

/* To the millisecond, as media has its times; signalling was added first. */
static int compare(const void *a_ptr, const void *b_ptr)
{
	const struct event *a = a_ptr, *b = b_ptr;
	uint64_t a_ms = a->at_us / US_PER_MS, b_ms = b->at_us / US_PER_MS;

	if (a_ms != b_ms)
		return a_ms < b_ms ? -1 : 1;
	return a->number < b->number ? -1 : 1;
}

void story_tell(struct story *story, size_t skip)
{
	const struct session *session = story->session;

	tell_signals(story);
	list_for_each (link, &session->streams)
		if (skip > 0)
			skip--;
		else
			tell_stream(story,
				    list_item(link, struct stream, link));
	if (session->dead)
		say(add(story, story_time_us(story, session->ended_us),
			"ended"),
		    "the call ends: %s", session_end_name(session->end));
	if (story->count > 0)
		qsort(story->events, story->count, sizeof(story->events[0]),
		      compare);
}
