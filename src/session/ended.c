/** The sessions that ended last, for `mediaproxy explain`. They are in no table
 * of living ones, have no ports, and count as destroyed. */
#include <stdlib.h>
#include <string.h>

#include "session/internal.h"

static size_t text_bytes(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

/* About: what callers can make large. */
static size_t bytes_of(const struct session *session)
{
	size_t bytes =
		sizeof(*session) + text_bytes(session->call_id) +
		text_bytes(session->from_tag) + text_bytes(session->from_uri) +
		text_bytes(session->to_uri) + text_bytes(session->dialog_id) +
		text_bytes(session->username) +
		session->signals.size * sizeof(struct signal);

	for (int i = 0; i < PARTY_COUNT; i++)
		bytes += text_bytes(session->user_agent[i]);
	for (size_t i = 0; i < session->tag_count; i++)
		bytes += text_bytes(session->tags[i]);
	list_for_each (link, &session->streams) {
		const struct stream *stream =
			list_item(link, struct stream, link);

		bytes += sizeof(*stream) + text_bytes(stream->type);
		bytes += stream->history ? sizeof(*stream->history) : 0;
	}
	return bytes;
}

static void forget_oldest(struct sessions *sessions)
{
	struct session *oldest =
		list_item(list_first(&sessions->kept), struct session, link);

	sessions->kept_count--;
	sessions->kept_bytes -= oldest->kept_bytes;
	session_destroy(oldest);
}

void session_keep(struct session *session)
{
	struct sessions *sessions = session->sessions;

	session->media = media_session_free(session->media);
	session->is_kept = true;
	session->kept_bytes = bytes_of(session);
	sessions->counts.destroyed++;
	list_for_each (link, &session->streams)
		sessions->counts.streams_destroyed++;
	list_del(&session->link);
	list_add_tail(&sessions->kept, &session->link);
	sessions->kept_count++;
	sessions->kept_bytes += session->kept_bytes;
	while (sessions->kept_count > SESSIONS_KEPT ||
	       sessions->kept_bytes > SESSIONS_KEPT_BYTES)
		forget_oldest(sessions);
}

void sessions_forget_kept(struct sessions *sessions)
{
	while (sessions->kept_count > 0)
		forget_oldest(sessions);
}
