/** One call: how it is made, what it remembers, how it dies. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "session/internal.h"

struct span session_call_id(const struct session *session)
{
	return span_make(session->call_id, session->call_id_len);
}

void session_destroy(struct session *session)
{
	struct sessions *sessions = session->sessions;

	list_for_each_safe (link, &session->streams)
		stream_free(list_item(link, struct stream, link));
	media_session_free(session->media);
	list_del(&session->link);
	signals_done(&session->signals);
	free(session->open);
	free(session->crossed);
	free(session->answered);
	free(session->call_id);
	free(session->from_tag);
	free(session->from_uri);
	free(session->to_uri);
	free(session->dialog_id);
	free(session->username);
	for (int i = 0; i < PARTY_COUNT; i++)
		free(session->user_agent[i]);
	for (size_t i = 0; i < session->tag_count; i++)
		free(session->tags[i]);
	if (!session->is_kept)
		sessions->counts.destroyed++;
	free(session);
}

int session_new(struct session **ret, struct sessions *sessions,
		const struct update *update, unsigned owner,
		const struct session_time *now)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return -ENOMEM;
	session->sessions = sessions;
	list_init(&session->link);
	list_init(&session->streams);
	session->owner = owner;
	session->began_us = now->mono_us;
	session->began_wall_us = now->wall_us;
	session->changed_us = now->mono_us;
	session->call_id = span_dup(update->call_id);
	session->call_id_len = update->call_id.len;
	session->from_tag = span_dup(update->from_tag);
	session->from_uri = span_dup(update->from_uri);
	session->to_uri = span_dup(update->to_uri);
	sessions->counts.created++;
	if (!session->call_id || !session->from_tag || !session->from_uri ||
	    !session->to_uri ||
	    media_session_new(&session->media, sessions->media) < 0) {
		session_destroy(session);
		return -ENOMEM;
	}
	session->id = sessions->next_id++;
	list_add_tail(&sessions->list, &session->link);
	hash_add(&sessions->table, &session->node,
		 hash_span(&sessions->table, update->call_id));
	*ret = session;
	return 0;
}

bool session_has_callee_tag(const struct session *session, struct span tag)
{
	for (size_t i = 0; i < session->tag_count; i++)
		if (span_equal(span_of(session->tags[i]), tag))
			return true;
	return false;
}

/* The tag becomes the latest one; with too many forks the oldest is forgotten.
 */
static int note_callee_tag(struct session *session, struct span tag)
{
	size_t at = 0;
	char *copy;

	if (tag.len == 0)
		return 0;
	while (at < session->tag_count &&
	       !span_equal(span_of(session->tags[at]), tag))
		at++;
	if (at < session->tag_count) {
		copy = session->tags[at];
	} else {
		copy = span_dup(tag);
		if (!copy)
			return -ENOMEM;
		if (session->tag_count < SESSION_MAX_CALLEE_TAGS) {
			session->tag_count++;
		} else {
			at = 0;
			free(session->tags[0]);
		}
	}
	for (; at + 1 < session->tag_count; at++)
		session->tags[at] = session->tags[at + 1];
	session->tags[session->tag_count - 1] = copy;
	return 0;
}

static int replace_text(char **text, struct span with)
{
	char *copy;

	if (with.len == 0 || span_equal(span_of(*text), with))
		return 0;
	copy = span_dup(with);
	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static void note_signalling(struct session *session, enum party party,
			    const struct ip_addr *ip)
{
	if (!ip_is_set(ip) || ip_equal(&session->signalling[party], ip))
		return;
	session->signalling[party] = *ip;
	media_session_set_signalling(session->media, party, ip);
}

int session_note(struct session *session, const struct update *update,
		 enum party sender, bool from_caller)
{
	struct span callee_tag =
		from_caller ? update->to_tag : update->from_tag;

	note_signalling(session, sender, &update->signaling_ip);
	note_signalling(session, party_other(sender), &update->destination_ip);
	if (note_callee_tag(session, callee_tag) < 0 ||
	    replace_text(&session->user_agent[sender], update->user_agent) <
		    0 ||
	    replace_text(&session->dialog_id, update->dialog_id) < 0 ||
	    replace_text(&session->username, span_of(update->username)) < 0)
		return -ENOMEM;
	return 0;
}

bool session_any_stream_in(const struct session *session,
			   enum stream_state state)
{
	list_for_each (link, &session->streams)
		if (list_item(link, struct stream, link)->state == state)
			return true;
	return false;
}

/* Once for each session: whoever gets its record twice sees that it is one. */
static void give_record_id(struct session *session)
{
	struct sessions *sessions = session->sessions;
	const uint64_t *base = sessions->config.record_base;

	snprintf(session->record_id, sizeof(session->record_id),
		 "%016" PRIx64 "%016" PRIx64 "-%" PRIx64, base[0], base[1],
		 ++sessions->record_count);
}

/* The last step: all counters are final. */
static void finish(struct session *session)
{
	struct sessions *sessions = session->sessions;
	struct stream_statistics *streams = NULL;
	struct session_statistics statistics;
	struct session_final final = {
		.statistics = &statistics,
		.end = session->end,
		.owner = session->owner,
	};

	if (session->silent) {
		session_destroy(session);
		return;
	}
	give_record_id(session);
	session_log_ended(session);
	if (session_statistics_fill(session, session->ended_us, &statistics,
				    &streams) < 0)
		log_error("[%s] record lost: out of memory", session->call_id);
	else if (session->removed)
		session->removed(&final, session->removed_arg);
	else
		sessions->handlers.expired(&final, sessions->arg);
	free(streams);
	session_keep(session);
}

void session_stream_closed(struct session *session)
{
	assert(session->closing_streams > 0);
	session->closing_streams--;
	if (session->dead && session->closing_streams == 0)
		finish(session);
}

void session_kill(struct session *session, enum session_end end,
		  const struct session_time *now)
{
	struct sessions *sessions = session->sessions;

	session->dead = true;
	session->end = end;
	session->ended_us = now->mono_us;
	session->ended_wall_us = now->wall_us;
	hash_del(&sessions->table, &session->node);
	list_del(&session->link);
	list_add_tail(&sessions->dying, &session->link);
	free(session->open);
	session->open = NULL;
	free(session->crossed);
	session->crossed = NULL;
	free(session->answered);
	session->answered = NULL;
	list_for_each_safe (link, &session->streams) {
		struct stream *stream = list_item(link, struct stream, link);

		stream_end(stream,
			   stream->state == STREAM_STATE_REJECTED
				   ? STREAM_REJECTED
				   : STREAM_CLOSED,
			   now->mono_us);
	}
	if (session->closing_streams == 0)
		finish(session);
}
