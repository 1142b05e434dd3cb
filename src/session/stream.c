/** One stream of a session: its ports, its place at the media, its status. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "session/diagnosis.h"
#include "session/internal.h"

/* Bind a pair for each party. A pair that another program holds goes back to
 * rest and the next one is tried, each pair of the pool once at most. */
static int open_pair(struct sessions *sessions, const struct ip_addr *ip,
		     uint64_t now_us, struct media_port_pair *ret,
		     const char **ret_why)
{
	for (size_t left = port_pool_free_count(sessions->ports); left > 0;
	     left--) {
		uint16_t rtp;
		bool early;
		int r;

		r = port_pool_take(sessions->ports, now_us, &rtp, &early);
		if (r < 0)
			break;
		r = media_port_pair_open(sessions->media, ip, rtp, ret);
		if (r == 0) {
			sessions->counts.ports_taken++;
			sessions->counts.ports_early += early;
			return 0;
		}
		port_pool_put(sessions->ports, now_us, rtp);
		if (r != -EADDRINUSE) {
			*ret_why =
				r == -EMFILE || r == -ENFILE
					? "no file descriptors left"
					: "the relay's address cannot be bound";
			return r;
		}
		sessions->counts.ports_skipped++;
	}
	*ret_why = "no port pair of port_range is free";
	return -EADDRNOTAVAIL;
}

static void return_pair(struct sessions *sessions, uint64_t now_us,
			const struct endpoint *local)
{
	port_pool_put(sessions->ports, now_us, local->port);
	sessions->counts.ports_returned++;
}

/* Of one pool, whatever the addresses: a port's number alone tells streams
 * apart (own_ports.c), and in the kernel, too. */
static int open_pairs(struct sessions *sessions,
		      const struct ip_addr local[static PARTY_COUNT],
		      uint64_t now_us,
		      struct media_port_pair pairs[static PARTY_COUNT],
		      const char **ret_why)
{
	int r = open_pair(sessions, &local[PARTY_CALLER], now_us,
			  &pairs[PARTY_CALLER], ret_why);

	if (r < 0)
		return r;
	r = open_pair(sessions, &local[PARTY_CALLEE], now_us,
		      &pairs[PARTY_CALLEE], ret_why);
	if (r < 0) {
		media_port_pair_close(sessions->media, &pairs[PARTY_CALLER]);
		return_pair(sessions, now_us, &pairs[PARTY_CALLER].local);
	}
	return r;
}

static struct stream_type_count *count_of(struct sessions *sessions,
					  const char *type)
{
	for (size_t i = 0; i < sessions->type_count; i++)
		if (strcmp(sessions->types[i].type, type) == 0)
			return &sessions->types[i];
	return NULL;
}

/* The types are few; what a peer invents beyond 32 of them is not shown. */
static void count_type(struct sessions *sessions, const char *type, bool up)
{
	struct stream_type_count *count = count_of(sessions, type);
	struct stream_type_count *more;

	if (!count && up && sessions->type_count < 32) {
		more = realloc(sessions->types,
			       (sessions->type_count + 1) * sizeof(*more));
		if (!more)
			return;
		sessions->types = more;
		count = &more[sessions->type_count];
		*count = (struct stream_type_count){.type = strdup(type)};
		if (!count->type)
			return;
		sessions->type_count++;
	}
	if (count && up)
		count->live++;
	else if (count && count->live > 0)
		count->live--;
}

int stream_new(struct stream **ret, struct session *session,
	       const struct media_line *line, enum party offerer,
	       const struct ip_addr local[static PARTY_COUNT],
	       const struct session_time *now, const char **ret_why)
{
	struct sessions *sessions = session->sessions;
	struct media_port_pair pairs[PARTY_COUNT];
	struct stream *stream;
	int r;

	stream = calloc(1, sizeof(*stream) + line->type.len + 1);
	if (!stream) {
		*ret_why = "out of memory";
		return -ENOMEM;
	}
	memcpy(stream->type, line->type.ptr, line->type.len);
	list_init(&stream->link);
	stream->session = session;
	stream->offered_us = now->mono_us;
	stream->since_us = now->mono_us;

	r = open_pairs(sessions, local, now->mono_us, pairs, ret_why);
	if (r < 0)
		goto fail;
	r = media_stream_new(&stream->media, session->media, pairs,
			     span_equal(line->type, SPAN("image"))
				     ? MEDIA_FORMAT_UDPTL
				     : MEDIA_FORMAT_RTP);
	if (r < 0) {
		*ret_why = "out of memory";
		for (int i = 0; i < PARTY_COUNT; i++) {
			media_port_pair_close(sessions->media, &pairs[i]);
			return_pair(sessions, now->mono_us, &pairs[i].local);
		}
		goto fail;
	}
	for (int i = 0; i < PARTY_COUNT; i++)
		stream->local[i] = pairs[i].local;
	own_ports_add(sessions->own_ports, stream);
	stream_set_sdp(stream, offerer, &line->sdp, now->mono_us);
	list_add_tail(&session->streams, &stream->link);
	sessions->counts.streams_created++;
	count_type(sessions, stream->type, true);
	*ret = stream;
	return 0;
fail:
	free(stream);
	return r;
}

struct stream *stream_free(struct stream *stream)
{
	if (!stream)
		return NULL;
	list_del(&stream->link);
	if (!stream->session->is_kept)
		stream->session->sessions->counts.streams_destroyed++;
	free(stream->history);
	free(stream);
	return NULL;
}

bool stream_read_history(const struct stream *stream, enum party party,
			 enum component component, struct history_facts *ret)
{
	*ret = (struct history_facts){0};
	if (stream->media)
		return media_stream_read_history(stream->media, party,
						 component, ret);
	if (stream->history)
		*ret = stream->history->of[party][component];
	return stream->history != NULL;
}

/* Without memory the story of the call is shorter. */
static void keep_history(struct stream *stream)
{
	struct stream_history *history = calloc(1, sizeof(*history));

	if (!history)
		return;
	for (enum party p = 0; p < PARTY_COUNT; p++)
		for (enum component c = 0; c < COMPONENT_COUNT; c++)
			(void)stream_read_history(stream, p, c,
						  &history->of[p][c]);
	stream->history = history;
}

void stream_note_asymmetric(struct stream *stream,
			    const struct media_snapshot *media)
{
	char sdp[ADDR_TEXT_SIZE], remote[ADDR_TEXT_SIZE];

	/* There the SDP names one candidate of many. */
	if (stream->ice)
		return;
	for (enum party p = 0; p < PARTY_COUNT; p++) {
		const struct media_counters *rtp =
			&media->from[p][COMPONENT_RTP];

		if (stream->asymmetric[p] ||
		    !diagnosis_is_asymmetric(&stream->reach[p], &rtp->remote))
			continue;
		stream->asymmetric[p] = true;
		log_info("[%s] asymmetric %s: the SDP of its %s says %s, its "
			 "media comes from %s",
			 stream->session->call_id, party_name(p), stream->type,
			 endpoint_format(&stream->sdp[p], sdp),
			 endpoint_format(&rtp->remote, remote));
	}
}

static void stream_closed(const struct media_snapshot *final, void *arg)
{
	struct stream *stream = arg;
	struct session *session = stream->session;

	stream_note_asymmetric(stream, final);
	keep_history(stream);
	stream->final = *final;
	stream->media = NULL;
	session->sessions->counts.streams_closing--;
	own_ports_del(session->sessions->own_ports, stream);
	for (int i = 0; i < PARTY_COUNT; i++)
		return_pair(session->sessions, session->sessions->now_us,
			    &stream->local[i]);
	if (!stream->was_answered)
		stream_free(stream);
	session_stream_closed(session);
}

void stream_end(struct stream *stream, enum stream_status status,
		uint64_t now_us)
{
	if (stream->state == STREAM_STATE_ENDED)
		return;
	if (stream->was_answered)
		stream->session->changes++;
	stream->state = STREAM_STATE_ENDED;
	stream->final_status = status;
	stream->ended_us = now_us;
	stream->session->closing_streams++;
	stream->session->sessions->counts.streams_closing++;
	count_type(stream->session->sessions, stream->type, false);
	media_stream_close(stream->media, stream_closed, stream);
}

bool stream_on_hold(const struct stream *stream)
{
	return stream->hold[PARTY_CALLER] || stream->hold[PARTY_CALLEE];
}

enum stream_status stream_status(const struct stream *stream)
{
	switch (stream->state) {
	case STREAM_STATE_REJECTED:
		return STREAM_REJECTED;
	case STREAM_STATE_ENDED:
		return stream->final_status;
	case STREAM_STATE_OFFERED:
	case STREAM_STATE_LIVE:
		break;
	}
	return stream_on_hold(stream) ? STREAM_ON_HOLD : STREAM_ACTIVE;
}

void stream_read(const struct stream *stream, struct media_snapshot *ret)
{
	if (stream->media)
		media_stream_read(stream->media, ret);
	else
		*ret = stream->final;
}

void stream_set_sdp(struct stream *stream, enum party party,
		    const struct endpoint *sdp, uint64_t now_us)
{
	if (sdp->port == 0 || ip_is_unspecified(&sdp->ip) ||
	    endpoint_equal(&stream->sdp[party], sdp) ||
	    own_ports_lead_back(stream->session, sdp))
		return;
	stream->sdp[party] = *sdp;
	stream->since_us = now_us;
	if (stream->state == STREAM_STATE_LIVE)
		stream->session->changes++;
	stream->reach[party] = own_ports_reach(stream->session->sessions, sdp);
	media_stream_set_sdp(stream->media, party, &stream->reach[party]);
}

void stream_accept(struct stream *stream, uint64_t now_us)
{
	if (stream->state == STREAM_STATE_LIVE)
		return;
	if (stream->state == STREAM_STATE_REJECTED)
		media_stream_set_forwarding(stream->media, true);
	stream->state = STREAM_STATE_LIVE;
	stream->session->changes++;
	if (stream->answered_us == 0)
		stream->answered_us = now_us;
	stream->was_answered = true;
	stream->since_us = now_us;
	media_stream_open(stream->media);
}

void stream_reject(struct stream *stream, uint64_t now_us)
{
	if (stream->state == STREAM_STATE_REJECTED)
		return;
	stream->state = STREAM_STATE_REJECTED;
	stream->since_us = now_us;
	stream->session->changes++;
	stream->was_answered = true;
	media_stream_set_forwarding(stream->media, false);
}

void stream_set_ice(struct stream *stream, bool ice)
{
	if (stream->ice == ice)
		return;
	stream->ice = ice;
	stream->session->changes++;
	media_stream_set_ice(stream->media, ice);
}

void stream_set_hold(struct stream *stream, enum party party, bool hold,
		     uint64_t now_us)
{
	if (stream->hold[party] == hold)
		return;
	stream->hold[party] = hold;
	stream->session->changes++;
	stream->since_us = now_us;
	if (!hold)
		media_stream_resume(stream->media);
}
