/** What a session says about itself: statistics, and the line when it ends. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "session/internal.h"

static int64_t whole_seconds(uint64_t from_us, uint64_t to_us)
{
	return to_us > from_us ? (int64_t)((to_us - from_us) / US_PER_S) : 0;
}

static uint64_t first_media_us(const struct media_snapshot *media)
{
	uint64_t caller =
		media->from[PARTY_CALLER][COMPONENT_RTP].first_media_us;
	uint64_t callee =
		media->from[PARTY_CALLEE][COMPONENT_RTP].first_media_us;

	if (caller == 0 || callee == 0)
		return caller + callee;
	return caller < callee ? caller : callee;
}

static double wall_time(uint64_t wall_us)
{
	return (double)wall_us / (double)US_PER_S;
}

const char *session_end_name(enum session_end end)
{
	static const char *const names[] = {
		[SESSION_END_REMOVED] = "removed",
		[SESSION_END_TIMEOUT] = "timeout",
		[SESSION_END_ICE] = "unselected ICE candidate",
		[SESSION_END_UNANSWERED] = "unanswered",
		[SESSION_END_NO_STREAM] = "no stream",
		[SESSION_END_SHUTDOWN] = "relay stopped",
	};

	return names[end];
}

struct ip_addr session_relay_ip(const struct session *session)
{
	return *addresses_name(session->sessions->config.addresses);
}

static bool in_kernel(const struct media_snapshot *media)
{
	uint64_t packets = 0;

	for (int party = 0; party < PARTY_COUNT; party++)
		for (int i = 0; i < COMPONENT_COUNT; i++)
			packets += media->from[party][i].kernel_packets;
	return packets > 0;
}

/* What the relay has now, if the kernel forwarded any of the session. */
const char *session_engine(const struct session *session)
{
	list_for_each (link, &session->streams) {
		struct media_snapshot media;

		stream_read(list_item(link, struct stream, link), &media);
		if (in_kernel(&media))
			return media_engine_name(session->sessions->media);
	}
	return media_forwarding_name(FORWARDING_USERSPACE);
}

static void fill_drops(const struct media_counters *rtp,
		       const struct media_counters *rtcp,
		       struct stream_party_statistics *ret)
{
	_Static_assert((int)DROP_COUNT <= STATISTICS_MAX_DROPS,
		       "a record has room for every reason");
	for (int i = 0; i < DROP_COUNT; i++)
		ret->drops[i] = (struct drop_statistics){
			media_drop_name((enum media_drop)i),
			rtp->drops[i] + rtcp->drops[i],
		};
	ret->drop_count = DROP_COUNT;
}

static void fill_party(const struct stream *stream,
		       const struct media_snapshot *media, enum party party,
		       struct stream_party_statistics *ret)
{
	const struct media_counters *rtp = &media->from[party][COMPONENT_RTP];
	const struct media_counters *rtcp = &media->from[party][COMPONENT_RTCP];
	const struct addresses *addresses =
		stream->session->sessions->config.addresses;

	ret->payload_type = rtp->packets > 0 ? rtp->payload_type : CODEC_NONE;
	for (int i = 0; i < COMPONENT_COUNT; i++)
		ret->component[i] = (struct component_statistics){
			.packets = media->from[party][i].packets,
			.bytes = media->from[party][i].bytes,
			.kernel_packets = media->from[party][i].kernel_packets,
		};
	ret->local = stream->local[party];
	ret->local.ip = *addresses_shown(addresses, &stream->local[party].ip);
	ret->sdp = stream->sdp[party];
	ret->remote = rtp->remote;
	ret->asymmetric = stream->asymmetric[party];
	fill_drops(rtp, rtcp, ret);
}

static void fill_stream(const struct stream *stream, uint64_t now_us,
			struct stream_statistics *ret)
{
	const struct session *session = stream->session;
	struct media_snapshot media;
	uint64_t first_us;

	stream_read(stream, &media);
	first_us = first_media_us(&media);
	*ret = (struct stream_statistics){
		.media_type = span_of(stream->type),
		.status = stream_status(stream),
		.timeout_wait_s =
			(uint32_t)(stream->timeout_wait_us / US_PER_S),
		.has_times = true,
		.start_s = whole_seconds(session->start_mono_us,
					 stream->answered_us),
	};
	if (stream->state == STREAM_STATE_ENDED)
		now_us = stream->ended_us;
	ret->end_s = stream->answered_us == 0
			     ? ret->start_s
			     : whole_seconds(session->start_mono_us, now_us);
	if (first_us > 0) {
		ret->has_post_dial_delay = true;
		ret->post_dial_delay_s =
			first_us > stream->offered_us
				? (double)(first_us - stream->offered_us) /
					  (double)US_PER_S
				: 0;
	}
	for (int i = 0; i < PARTY_COUNT; i++)
		fill_party(stream, &media, (enum party)i, &ret->party[i]);
}

static int fill_streams(const struct session *session, uint64_t now_us,
			struct stream_statistics **ret, size_t *ret_count)
{
	struct stream_statistics *streams;
	size_t count = 0;

	list_for_each (link, &session->streams)
		count++;
	streams = calloc(count + 1, sizeof(*streams));
	if (!streams)
		return -ENOMEM;
	count = 0;
	list_for_each (link, &session->streams) {
		const struct stream *stream =
			list_item(link, struct stream, link);

		if (stream->was_answered)
			fill_stream(stream, now_us, &streams[count++]);
	}
	*ret = streams;
	*ret_count = count;
	return 0;
}

int session_statistics_fill(const struct session *session, uint64_t now_us,
			    struct session_statistics *ret,
			    struct stream_statistics **ret_streams)
{
	struct stream_statistics *streams;
	size_t count;

	if (session->dead)
		now_us = session->ended_us;
	if (fill_streams(session, now_us, &streams, &count) < 0)
		return -ENOMEM;
	*ret = (struct session_statistics){
		.call_id = session_call_id(session),
		.from_tag = span_of(session->from_tag),
		.from_uri = span_of(session->from_uri),
		.to_uri = span_of(session->to_uri),
		.has_start_time = session->start_mono_us != 0,
		.start_time = wall_time(session->start_wall_us),
		.username = span_of(session->username),
		.dialog_id = span_of(session->dialog_id),
		.timed_out = session->dead &&
			     (session->end == SESSION_END_TIMEOUT ||
			      session->end == SESSION_END_UNANSWERED),
		.all_streams_ice =
			session->dead && session->end == SESSION_END_ICE,
		.has_answered_time = session->answered_wall_us != 0,
		.answered_time = wall_time(session->answered_wall_us),
		.relay = session_relay_ip(session),
		.engine = session_engine(session),
		.record_id = span_of(session->record_id),
		.end_time = wall_time(session->ended_wall_us),
		.end_reason = session_end_name(session->end),
		.stream_count = count,
		.streams = streams,
	};
	if (ret->has_start_time)
		ret->duration_s = whole_seconds(session->start_mono_us, now_us);
	if (session->tag_count > 0)
		ret->to_tag = span_of(session->tags[session->tag_count - 1]);
	for (int i = 0; i < PARTY_COUNT; i++)
		ret->user_agent[i] = span_of(session->user_agent[i]);
	*ret_streams = streams;
	return 0;
}

static void add_party(struct buf *out, const struct stream *stream,
		      const struct media_snapshot *media, enum party party)
{
	const struct media_counters *rtp = &media->from[party][COMPONENT_RTP];
	const struct media_counters *rtcp = &media->from[party][COMPONENT_RTCP];
	char local[ADDR_TEXT_SIZE], sdp[ADDR_TEXT_SIZE], remote[ADDR_TEXT_SIZE];
	uint64_t dropped = 0;

	for (int i = 0; i < DROP_COUNT; i++)
		dropped += rtp->drops[i] + rtcp->drops[i];
	buf_printf(out, ", %s local %s sdp %s remote %s", party_name(party),
		   endpoint_format(&stream->local[party], local),
		   endpoint_format(&stream->sdp[party], sdp),
		   endpoint_format(&rtp->remote, remote));
	buf_printf(out, " %" PRIu64 " packets (%" PRIu64 " dropped)",
		   rtp->packets + rtcp->packets, dropped);
}

void session_log_ended(const struct session *session)
{
	CLEANUP(buf_done) struct buf line = {0};
	struct ip_addr relay = session_relay_ip(session);
	char ip[ADDR_TEXT_SIZE];

	list_for_each (link, &session->streams) {
		const struct stream *stream =
			list_item(link, struct stream, link);
		struct media_snapshot media;

		stream_read(stream, &media);
		buf_printf(&line, "; %s %s", stream->type,
			   stream_status_name(stream_status(stream)));
		for (int i = 0; i < PARTY_COUNT; i++)
			add_party(&line, stream, &media, (enum party)i);
	}
	log_info("[%s] session ended: %s, after %" PRId64
		 " s, relay %s, engine %s%s",
		 session->call_id, session_end_name(session->end),
		 session->start_mono_us ? whole_seconds(session->start_mono_us,
							session->ended_us)
					: 0,
		 ip_format(&relay, ip), session_engine(session),
		 line.data ? line.data : "");
}
