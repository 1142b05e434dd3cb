#pragma once
/**
 * @file session/session.h  The sessions of a relay
 *
 * A session is one call: call-id and from-tag, with its caller and its callee.
 * Updates change it, a remove or a timeout ends it. Time is passed in. Logs one
 * line for each thing that happened to a call, all starting `[call-id]`; sends
 * nothing: what has to go out comes through the handlers. One table per relay,
 * control thread only.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/json.h"
#include "media/media.h"
#include "proto/statistics.h"
#include "proto/update.h"
#include "session/addresses.h"

struct sessions;
struct session;

struct sessions_config {
	struct addresses *addresses; /* ours; live longer than the sessions */
	uint32_t port_first,
		port_end; /* pairs inside [first, end); end up to 65536 */
	uint64_t port_rest_us;
	uint64_t stream_timeout_us, on_hold_timeout_us, unanswered_timeout_us;
	/* What record ids begin with: random, so that no other run of a relay
	 * has the same. */
	uint64_t record_base[2];
};

/** Time as a session needs it: for timeouts, and for records. */
struct session_time {
	uint64_t mono_us, wall_us;
};

/** Why a session ended. Shown in the log line and in the record. */
enum session_end {
	SESSION_END_REMOVED,
	SESSION_END_TIMEOUT, /* its last stream fell silent, or stayed on hold
				too long */
	SESSION_END_ICE,     /* the media of its last streams flows elsewhere */
	SESSION_END_UNANSWERED, /* no answer within unanswered_timeout */
	SESSION_END_NO_STREAM,  /* every stream rejected or closed */
	SESSION_END_SHUTDOWN    /* the relay stops */
};

/** What a handler is told of a session that ended; it lives for the call only.
 */
struct session_final {
	const struct session_statistics *statistics;
	enum session_end end;
	unsigned owner; /* as given to sessions_update() */
};

struct session_handlers {
	/** A session ended by itself or by sessions_end_all(): report it as
	 * expired. */
	void (*expired)(const struct session_final *final, void *arg);
};

/** The streams of one message, as ports. Text for the reply is the caller's
 * work. */
struct session_ports {
	struct ip_addr ip;
	size_t count;
	uint16_t ports[UPDATE_MAX_STREAMS]; /* 0: rejected, closed, one too many
					     */
};

int sessions_new(struct sessions **ret, const struct sessions_config *config,
		 struct media *media, const struct session_handlers *handlers,
		 void *arg);
/** Sessions that are left are dropped without a report. NULL is fine. @return
 * NULL */
struct sessions *sessions_free(struct sessions *sessions);

/**
 * Take an update.
 *
 * @param owner      Who sent it: whom an expired session is reported to
 * @param allow_new  false while draining: a call that is not known is refused
 * @param ret_why    On error: the reason, for the log; static text
 * @return 0; -ENODATA: no media for a call that has none (`None`); -ESHUTDOWN:
 * draining and not known (`halting`); -EADDRNOTAVAIL: no free ports, or no
 * address on this host; -EINVAL: an address that is refused, or of a family
 * that we do not have; -EMFILE, -ENOMEM, ... Nothing has changed then.
 */
int sessions_update(struct sessions *sessions, const struct update *update,
		    unsigned owner, bool allow_new,
		    const struct session_time *now, struct session_ports *ret,
		    const char **ret_why);

typedef void session_removed_h(const struct session_final *final, void *arg);

/**
 * End a session. The handler gets its final statistics, from media_dispatch(),
 * or at once if no stream is open.
 *
 * @return 0 or -ENOENT
 */
int sessions_remove(struct sessions *sessions, const struct removal *removal,
		    const struct session_time *now, session_removed_h *handler,
		    void *arg);

/** Take what the media workers have finished: call it when media_event_fd() is
 * readable. Handlers of sessions that ended run from here. */
void sessions_dispatch(struct sessions *sessions,
		       const struct session_time *now);

/** Judge silence and timeouts; call it about once a second. */
void sessions_tick(struct sessions *sessions, const struct session_time *now);

/** End all (the relay stops); each is reported by the expired handler. */
void sessions_end_all(struct sessions *sessions,
		      const struct session_time *now);

/**
 * Tell what happened to a call, as `mediaproxy explain` shows it: an object for
 * each session with this call-id, the oldest first, the latest 20 at most. The
 * last ended sessions are among them.
 *
 * @param w  In an array
 * @return how many
 */
size_t sessions_explain(const struct sessions *sessions, struct span call_id,
			uint64_t now_us, struct json_writer *w);

struct session_counts {
	size_t sessions; /* now, not counting those that are ending */
	size_t ending;   /* waiting for their final counters */
	uint64_t created, destroyed;
	uint64_t streams_created, streams_destroyed;
	size_t streams_closing; /* waiting for their final counters */
	uint64_t ports_taken, ports_returned; /* pairs */
	uint64_t ports_early;                 /* taken before they had rested */
	uint64_t ports_skipped;               /* held by another program */
	size_t ports_total, ports_free;
	uint64_t refused; /* updates that were answered by `error` */
};

void sessions_count(const struct sessions *sessions,
		    struct session_counts *ret);

/** The number of live streams for each media type, as members of a JSON object.
 */
void sessions_write_stream_count(const struct sessions *sessions,
				 struct json_writer *w);

/**
 * Walk the sessions for `sessions`, page by page.
 *
 * @param cursor  0 at first; set to where to go on, 0 at the end
 * @param owner   only those of this owner, or -1 for all
 * @param max     how many at most in this page
 * @param visit   returns false when the page is full: this session is its last
 */
typedef bool session_visit_h(const struct session_statistics *statistics,
			     void *arg);
void sessions_visit(const struct sessions *sessions, uint64_t *cursor,
		    int owner, size_t max, const struct session_time *now,
		    session_visit_h *visit, void *arg);
