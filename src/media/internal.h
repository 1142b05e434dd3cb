#pragma once
/** @file media/internal.h  struct media, for the files of the control thread */
#include "base/list.h"
#include "media/engine.h"
#include "media/worker.h"

struct media {
	/* Set once, or never: written by the control thread, read by all. */
	_Atomic(struct engine *) engine;
	struct learning_config learning; /* never changes: workers read it */
	struct queue done;               /* from the workers */
	int done_fd;
	/* control: */
	struct media_engine_config engine_config;
	struct engine_counters kernel; /* sums of streams that are freed */
	char engine_reason[MEDIA_REASON_SIZE]; /* why there is none */
	struct list streams;                   /* all that are not freed */
	uint64_t streams_created, streams_destroyed;
	uint64_t sockets_opened;
	uint64_t sockets_closed; /* by pairs and at the end; workers have theirs
				  */
	unsigned worker_count;
	struct worker workers[];
};

/** Have confirmed flows forwarded by this engine, which media_free() closes.
 * Before there are streams, once. Control. */
void media_use_engine(struct media *media, struct engine *engine);

/** Free a stream that its worker has let go. */
void media_stream_free(struct media *media, struct media_stream *stream);

/** Free a session that is released and has no stream left. */
void media_session_unref(struct media_session *session);
