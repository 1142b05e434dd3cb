/** The table of all sessions: finding them, updating, removing, judging
 * silence. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "session/internal.h"

#define REJECTED_KEPT_US (32 * US_PER_S)

int sessions_new(struct sessions **ret, const struct sessions_config *config,
		 struct media *media, const struct session_handlers *handlers,
		 void *arg)
{
	struct sessions *sessions = calloc(1, sizeof(*sessions));
	int r;

	if (!sessions)
		return -ENOMEM;
	sessions->config = *config;
	sessions->limits = (struct silence_limits){config->stream_timeout_us,
						   config->on_hold_timeout_us};
	sessions->media = media;
	sessions->handlers = *handlers;
	sessions->arg = arg;
	sessions->next_id = 1;
	sessions->over_limit_log = LOG_LIMIT(10, 10 * US_PER_S);
	list_init(&sessions->list);
	list_init(&sessions->dying);
	list_init(&sessions->kept);
	r = hash_init(&sessions->table);
	if (r == 0)
		r = port_pool_new(&sessions->ports, config->port_first,
				  config->port_end, config->port_rest_us);
	if (r == 0)
		r = own_ports_new(&sessions->own_ports, config->port_first,
				  config->port_end);
	if (r < 0) {
		sessions_free(sessions);
		return r;
	}
	*ret = sessions;
	return 0;
}

struct sessions *sessions_free(struct sessions *sessions)
{
	struct session_time never = {0};

	if (!sessions)
		return NULL;
	list_for_each_safe (link, &sessions->list) {
		struct session *session = list_item(link, struct session, link);

		session->silent = true;
		session_kill(session, SESSION_END_SHUTDOWN, &never);
	}
	list_for_each_safe (link, &sessions->dying)
		list_item(link, struct session, link)->silent = true;
	while (!list_empty(&sessions->dying)) {
		struct pollfd ready = {.fd = media_event_fd(sessions->media),
				       .events = POLLIN};

		poll(&ready, 1, /* ms= */ 100);
		media_dispatch(sessions->media);
	}
	sessions_forget_kept(sessions);
	port_pool_free(sessions->ports);
	free(sessions->own_ports);
	hash_done(&sessions->table);
	for (size_t i = 0; i < sessions->type_count; i++)
		free(sessions->types[i].type);
	free(sessions->types);
	free(sessions);
	return NULL;
}

/* Does a session go with these tags, and does the From tag mean its caller?
 * Better matches have lower numbers; 0 is none. */
static int match_tags(const struct session *session, struct span from_tag,
		      struct span to_tag, bool *ret_from_caller)
{
	struct span caller_tag = span_of(session->from_tag);

	*ret_from_caller = true;
	if (span_equal(caller_tag, from_tag))
		return 1;
	*ret_from_caller = false;
	if (session_has_callee_tag(session, from_tag))
		return 2;
	if (to_tag.len > 0 && span_equal(caller_tag, to_tag))
		return 3;
	/* A transfer replaced the caller: the callee's tag stayed. */
	*ret_from_caller = true;
	if (to_tag.len > 0 && session_has_callee_tag(session, to_tag))
		return 4;
	return 0;
}

static struct session *find(const struct sessions *sessions,
			    struct span call_id, struct span from_tag,
			    struct span to_tag, bool *ret_from_caller)
{
	struct hash_node *node = hash_first(
		&sessions->table, hash_span(&sessions->table, call_id));
	struct session *best = NULL;
	int best_match = 5;

	for (; node; node = hash_next(node)) {
		struct session *session = hash_item(node, struct session, node);
		bool from_caller;
		int match;

		if (!span_equal(session_call_id(session), call_id))
			continue;
		match = match_tags(session, from_tag, to_tag, &from_caller);
		if (match == 0 || match >= best_match)
			continue;
		best = session;
		best_match = match;
		*ret_from_caller = from_caller;
	}
	return best;
}

static void log_started(const struct session *session,
			const struct update *update,
			const struct session_ports *ports)
{
	CLEANUP(buf_done) struct buf line = {0};
	char text[ADDR_TEXT_SIZE];

	for (size_t i = 0; i < update->stream_count; i++)
		buf_printf(&line, "%s%.*s %s port %u", i ? ", " : "",
			   SPAN_ARG(update->streams[i].type),
			   endpoint_format(&update->streams[i].sdp, text),
			   ports->ports[i]);
	log_info("[%s] session started: %s to %s, from tag %s, %s",
		 session->call_id, session->from_uri, session->to_uri,
		 session->from_tag, line.data ? line.data : "no streams");
}

/* One line where a message changed something. */
static void log_change(const struct session *session, bool was_answered)
{
	CLEANUP(buf_done) struct buf line = {0};
	char text[ADDR_TEXT_SIZE];

	for (size_t i = 0; i < session->answered->count; i++) {
		const struct stream *stream =
			session->answered->slots[i].stream;

		if (!stream)
			continue;
		buf_printf(&line, "; %s %s", stream->type,
			   stream_status_name(stream_status(stream)));
		for (int p = 0; p < PARTY_COUNT; p++)
			buf_printf(&line, " %s %s", party_name((enum party)p),
				   endpoint_format(&stream->sdp[p], text));
	}
	log_info("[%s] session %s%s", session->call_id,
		 was_answered ? "changed" : "answered",
		 line.data ? line.data : "");
}

static void note_refused(struct session *session, const char *why,
			 const struct session_time *now)
{
	signals_note(&session->signals, &(struct signal){.at_us = now->mono_us,
							 .kind = SIGNAL_REFUSED,
							 .why = why});
}

static int refuse(struct sessions *sessions, int error)
{
	sessions->counts.refused++;
	return error;
}

/* A new session that could not be filled never was: no line, no record. */
static void undo_session(struct session *session,
			 const struct session_time *now)
{
	session->silent = true;
	session_kill(session, SESSION_END_REMOVED, now);
}

/* A reply with a to-tag is final: the phone was picked up. So is the ACK that
 * answers a late offer; a PRACK or an UPDATE comes while it rings. */
static bool is_pick_up(const struct session *session,
		       const struct update *update)
{
	const struct exchange *last = session->answered;

	if (update->to_tag.len == 0 || update->is_reply)
		return update->to_tag.len > 0;
	return last && last->facts.offer_in_reply &&
	       update->cseq == last->facts.offer.cseq &&
	       transaction_equal(last->facts.answer, last->facts.offer);
}

/* From now on silence counts. */
static void session_picked_up(struct session *session,
			      const struct session_time *now)
{
	session->answered_wall_us = now->wall_us;
	signals_note(&session->signals,
		     &(struct signal){.at_us = now->mono_us,
				      .kind = SIGNAL_PICK_UP});
	list_for_each (link, &session->streams)
		list_item(link, struct stream, link)->since_us = now->mono_us;
}

int sessions_update(struct sessions *sessions, const struct update *update,
		    unsigned owner, bool allow_new,
		    const struct session_time *now, struct session_ports *ret,
		    const char **ret_why)
{
	struct session_ports ports = {
		.ip = *addresses_name(sessions->config.addresses)};
	struct session *session;
	unsigned changes;
	bool from_caller = true;
	bool was_answered, is_new;
	enum party sender;
	int r;

	sessions->now_us = now->mono_us;
	*ret_why = "out of memory";
	session = find(sessions, update->call_id, update->from_tag,
		       update->to_tag, &from_caller);
	is_new = !session;
	if (is_new && update->stream_count == 0)
		return -ENODATA;
	if (is_new && !allow_new) {
		*ret_why = "the relay takes no new calls";
		return -ESHUTDOWN;
	}
	sender = from_caller != update->is_reply ? PARTY_CALLER : PARTY_CALLEE;
	if (negotiate_check(sessions, session, update, sender, ret_why) < 0) {
		if (session)
			note_refused(session, *ret_why, now);
		return refuse(sessions, -EINVAL);
	}
	if (is_new && session_new(&session, sessions, update, owner, now) < 0)
		return refuse(sessions, -ENOMEM);

	changes = session->changes;
	was_answered = session->start_mono_us != 0;
	r = 0;
	if (update->stream_count > 0)
		r = negotiate(session, update, sender, now, &ports, ret_why);
	if (r == 0)
		r = session_note(session, update, sender, from_caller);
	if (r < 0) {
		if (is_new)
			undo_session(session, now);
		else
			note_refused(session, *ret_why, now);
		return refuse(sessions, r);
	}
	if (session->start_mono_us != 0 && session->answered_wall_us == 0 &&
	    is_pick_up(session, update))
		session_picked_up(session, now);
	if (is_new)
		log_started(session, update, &ports);
	if (session->answered && session->changes != changes)
		log_change(session, was_answered);
	*ret = ports;
	return 0;
}

int sessions_remove(struct sessions *sessions, const struct removal *removal,
		    const struct session_time *now, session_removed_h *handler,
		    void *arg)
{
	bool from_caller;
	struct session *session =
		find(sessions, removal->call_id, removal->from_tag,
		     removal->to_tag, &from_caller);

	sessions->now_us = now->mono_us;
	if (!session)
		return -ENOENT;
	session->removed = handler;
	session->removed_arg = arg;
	session_kill(session, SESSION_END_REMOVED, now);
	return 0;
}

/* While only a 183 has answered, the call rings, maybe in silence: it has the
 * time of one that nobody answered. */
static struct silence_limits limits_of(const struct session *session)
{
	uint64_t ringing_us = session->sessions->config.unanswered_timeout_us;
	struct silence_limits limits = session->sessions->limits;

	if (session->answered_wall_us != 0)
		return limits;
	if (limits.stream_timeout_us < ringing_us)
		limits.stream_timeout_us = ringing_us;
	if (limits.on_hold_timeout_us < ringing_us)
		limits.on_hold_timeout_us = ringing_us;
	return limits;
}

/* A line when it begins; the record has how much it was. */
static void check_limits(const struct session *session, struct stream *stream,
			 const struct media_snapshot *media, uint64_t now_us)
{
	struct log_limit *limit = &session->sessions->over_limit_log;

	media_stream_check_limits(stream->media, media, now_us);
	for (int i = 0; i < PARTY_COUNT; i++) {
		uint64_t dropped =
			media->from[i][COMPONENT_RTP].drops[DROP_OVER_LIMIT] +
			media->from[i][COMPONENT_RTCP].drops[DROP_OVER_LIMIT];
		bool is_over = dropped > stream->over_limit_drops[i];
		char left_out[LOG_LEFT_OUT_SIZE];
		uint64_t suppressed;

		if (is_over && !stream->over_limit[i] &&
		    log_limit_allows(limit, now_us, &suppressed))
			log_warning("[%s] the %s sends more %s than "
				    "max_stream_packets or max_stream_bytes "
				    "allows: the rest is dropped%s",
				    session->call_id, party_name((enum party)i),
				    stream->type,
				    log_left_out(suppressed, left_out));
		stream->over_limit[i] = is_over;
		stream->over_limit_drops[i] = dropped;
	}
}

static void judge_stream(struct session *session, struct stream *stream,
			 uint64_t now_us)
{
	struct silence_limits limits = limits_of(session);
	struct silence_facts facts = {
		.on_hold = stream_on_hold(stream),
		.ice = stream->ice,
		.since_us = stream->since_us,
	};
	struct media_snapshot media;
	enum stream_status status;
	uint64_t wait_us;

	stream_read(stream, &media);
	stream_note_asymmetric(stream, &media);
	for (int i = 0; i < PARTY_COUNT; i++) {
		uint64_t last_us = media.from[i][COMPONENT_RTP].last_media_us;

		if (last_us > facts.last_media_us)
			facts.last_media_us = last_us;
	}
	check_limits(session, stream, &media, now_us);
	facts.had_media = facts.last_media_us > 0;
	if (!silence_ends_stream(&facts, &limits, now_us, &status, &wait_us))
		return;
	stream->timeout_wait_us = wait_us;
	log_info("[%s] %s stream ended: %s", session->call_id, stream->type,
		 stream_status_name(status));
	stream_end(stream, status, now_us);
}

/* A fork may accept what another one rejected, as long as its 200 may come
 * (RFC 3261: 64 * T1). Then the ports of a rejected stream are free. */
static void judge_rejected(const struct session *session, struct stream *stream,
			   uint64_t now_us)
{
	if (session->answered_wall_us != 0 &&
	    now_us - stream->since_us >= REJECTED_KEPT_US)
		stream_end(stream, STREAM_REJECTED, now_us);
}

/* Its last stream has ended by silence. With ICE the phones may talk to each
 * other, whatever else was offered and rejected, or closed before. */
static enum session_end end_of_silent(const struct session *session)
{
	bool ice = false;

	list_for_each (link, &session->streams) {
		const struct stream *stream =
			list_item(link, struct stream, link);

		switch (stream_status(stream)) {
		case STREAM_UNSELECTED_ICE:
			ice = true;
			break;
		case STREAM_REJECTED:
		case STREAM_CLOSED:
			break;
		default:
			return SESSION_END_TIMEOUT;
		}
	}
	return ice ? SESSION_END_ICE : SESSION_END_TIMEOUT;
}

static void judge_session(struct session *session,
			  const struct session_time *now)
{
	const struct sessions *sessions = session->sessions;
	uint64_t idle_us = now->mono_us - session->changed_us;
	bool had_live = session_any_stream_in(session, STREAM_STATE_LIVE);

	list_for_each_safe (link, &session->streams) {
		struct stream *stream = list_item(link, struct stream, link);

		if (stream->state == STREAM_STATE_LIVE)
			judge_stream(session, stream, now->mono_us);
		else if (stream->state == STREAM_STATE_REJECTED)
			judge_rejected(session, stream, now->mono_us);
	}
	if (session_any_stream_in(session, STREAM_STATE_LIVE)) {
		/* A re-INVITE that nobody answered keeps no ports for ever. */
		if (session->open &&
		    idle_us >= sessions->config.unanswered_timeout_us)
			exchange_drop_open(session, now->mono_us);
	} else if (had_live) {
		session_kill(session, end_of_silent(session), now);
	} else if (!session->answered) {
		if (idle_us < sessions->config.unanswered_timeout_us)
			return;
		session_kill(session, SESSION_END_UNANSWERED, now);
	} else if (idle_us >= (session->open
				       ? sessions->config.unanswered_timeout_us
				       : sessions->config.stream_timeout_us)) {
		session_kill(session, SESSION_END_NO_STREAM, now);
	}
}

void sessions_dispatch(struct sessions *sessions,
		       const struct session_time *now)
{
	sessions->now_us = now->mono_us;
	media_dispatch(sessions->media);
}

void sessions_tick(struct sessions *sessions, const struct session_time *now)
{
	sessions->now_us = now->mono_us;
	list_for_each_safe (link, &sessions->list)
		judge_session(list_item(link, struct session, link), now);
}

void sessions_end_all(struct sessions *sessions, const struct session_time *now)
{
	sessions->now_us = now->mono_us;
	list_for_each_safe (link, &sessions->list)
		session_kill(list_item(link, struct session, link),
			     SESSION_END_SHUTDOWN, now);
}

static size_t count_in(const struct list *list, struct span call_id)
{
	size_t count = 0;

	list_for_each (link, list) {
		const struct session *session =
			list_item(link, struct session, link);

		count += span_equal(session_call_id(session), call_id);
	}
	return count;
}

/* What a caller can make as long as he likes has to fit a link's line. */
#define STORIES_MOST 20

size_t sessions_explain(const struct sessions *sessions, struct span call_id,
			uint64_t now_us, struct json_writer *w)
{
	const struct list *lists[] = {&sessions->kept, &sessions->dying,
				      &sessions->list};
	size_t count = 0, skip;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		count += count_in(lists[i], call_id);
	skip = count > STORIES_MOST ? count - STORIES_MOST : 0;
	count -= skip;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		list_for_each (link, lists[i]) {
			const struct session *session =
				list_item(link, struct session, link);

			if (!span_equal(session_call_id(session), call_id))
				continue;
			if (skip > 0)
				skip--;
			else
				session_write_story(session, now_us, w);
		}
	return count;
}

void sessions_count(const struct sessions *sessions, struct session_counts *ret)
{
	*ret = sessions->counts;
	ret->sessions = sessions->table.count;
	ret->ending = 0;
	list_for_each (link, &sessions->dying)
		ret->ending++;
	ret->ports_total = port_pool_size(sessions->ports);
	ret->ports_free = port_pool_free_count(sessions->ports);
}

void sessions_write_stream_count(const struct sessions *sessions,
				 struct json_writer *w)
{
	for (size_t i = 0; i < sessions->type_count; i++)
		if (sessions->types[i].live > 0)
			json_u64(w, sessions->types[i].type,
				 sessions->types[i].live);
}

void sessions_visit(const struct sessions *sessions, uint64_t *cursor,
		    int owner, size_t max, const struct session_time *now,
		    session_visit_h *visit, void *arg)
{
	uint64_t from = *cursor;
	size_t visited = 0;
	bool more = true;

	*cursor = 0;
	list_for_each (link, &sessions->list) {
		const struct session *session =
			list_item(link, struct session, link);
		struct session_statistics statistics;
		struct stream_statistics *streams;

		if (session->id < from ||
		    (owner >= 0 && session->owner != (unsigned)owner))
			continue;
		if (!more || visited == max) {
			*cursor = session->id;
			return;
		}
		if (session_statistics_fill(session, now->mono_us, &statistics,
					    &streams) < 0)
			continue;
		more = visit(&statistics, arg);
		free(streams);
		visited++;
	}
}
