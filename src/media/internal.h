#pragma once
/** @file media/internal.h  struct media, for the files of the control thread */
#include "base/list.h"
#include "media/worker.h"

struct media {
	struct learning_config learning; /* never changes: workers read it */
	struct queue done;               /* from the workers */
	int done_fd;
	/* control: */
	struct list streams; /* all that are not freed */
	uint64_t streams_created, streams_destroyed;
	uint64_t sockets_opened;
	uint64_t sockets_closed; /* by pairs and at the end; workers have theirs
				  */
	unsigned worker_count;
	struct worker workers[];
};

/** Free a stream that its worker has let go. */
void media_stream_free(struct media *media, struct media_stream *stream);

/** Free a session that is released and has no stream left. */
void media_session_unref(struct media_session *session);
