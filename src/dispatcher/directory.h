#pragma once
/**
 * @file dispatcher/directory.h  Which relay has which call
 *
 * A call is all sessions under one call-id; every leg of a call goes to the
 * call's relay. A session is found as the relay finds it: by its from-tag; by a
 * from-tag that is a known callee tag; by a to-tag that is its from-tag (what
 * the callee sends); by a to-tag that is a known callee tag (a transfer has
 * replaced the caller). A session that ended by itself is kept as expired until
 * the SIP proxy removes it. No I/O, no clock, no log.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"

#define DIRECTORY_MAX_SESSIONS 2000000
#define DIRECTORY_MAX_TO_TAGS 32 /* of one session: a fork's branches */

struct directory;
struct directory_call;
struct directory_session;

/**
 * A dialog's leg, as a request or a report names it.
 *
 * What is sent to relays is numbered. A relay takes requests in that order, but
 * its replies come in another one: an update is answered at once, a remove when
 * the last counters are read.
 */
struct directory_leg {
	struct span call_id;
	struct span from_tag;  /* empty in a report: whichever */
	struct span to_tag;    /* may be empty */
	struct span dialog_id; /* may be empty */
	struct span from_uri, to_uri;
	uint64_t answered_us; /* UNIX time, when this answers it; 0: not */
	uint64_t order;       /* of the update that was sent; 0: a report */
	uint64_t sent_us;
};

struct directory_counts {
	size_t calls, sessions, expired;
};

/** A session that is being dropped; it is gone after this call. */
typedef void directory_drop_h(const struct directory_session *session,
			      void *arg);

/** What is to be kept of a session has changed, or it is being dropped. */
struct directory_changes {
	void (*changed)(struct directory_session *session, void *arg);
	void (*dropped)(const struct directory_session *session, void *arg);
};

/** @return 0 or -ENOMEM */
int directory_new(struct directory **ret);
/** Who is told of changes from now on. */
void directory_set_changes(struct directory *directory,
			   const struct directory_changes *changes, void *arg);
struct directory *directory_free(struct directory *directory);

struct directory_counts directory_count(const struct directory *directory);

/** The call with this call-id, or NULL. */
struct directory_call *directory_find(const struct directory *directory,
				      struct span call_id);
const struct ip_addr *directory_call_relay(const struct directory_call *call);
/** Does its relay still have something of it, or may it have? */
bool directory_call_is_live(const struct directory_call *call);

/** A call's session, or NULL. */
struct directory_session *directory_find_session(struct directory_call *call,
						 struct span from_tag,
						 struct span to_tag);
bool directory_session_is_expired(const struct directory_session *session);
/** Expired, but perhaps begun anew since: its relay knows. */
bool directory_session_is_in_doubt(const struct directory_session *session);
/** A remove of it was sent to its relay over an earlier link than this one; its
 * record comes as `expired`. */
bool directory_session_was_removed(const struct directory_session *session);
/** When the last update of it was sent to the relay; 0: none was. */
uint64_t directory_session_asked_us(const struct directory_session *session);
const struct ip_addr *
directory_session_relay(const struct directory_session *session);
struct span directory_session_call_id(const struct directory_session *session);
struct span
directory_session_dialog_id(const struct directory_session *session);
/** When its relay went down last, though it may be up again; 0: never. */
uint64_t
directory_session_down_since_us(const struct directory_session *session);
/** What the dispatcher itself knows of it, as the statistics of a session
 * without streams; its to-tag is the one that came last. */
struct session_statistics;
void directory_session_statistics(const struct directory_session *session,
				  struct session_statistics *ret);

/**
 * The relay has a session for this leg: add it, or renew what is known of it
 * (a new to-tag, a dialog id that was not known, expired no more).
 *
 * A call with nothing live moves to this relay. A live one of another relay
 * stays where it is.
 *
 * @return 0, -EEXIST (live on another relay), -ENOSPC (too many sessions), or
 *         -ENOMEM
 */
int directory_add(struct directory *directory, const struct ip_addr *relay,
		  const struct directory_leg *leg);

/** An update of it is being sent to its relay. */
void directory_asked(struct directory_session *session, uint64_t order,
		     uint64_t now_us);

/** A remove of it is being sent to its relay. An update that is sent later, and
 * succeeds, has made it anew: then it is none of its own. */
void directory_removing(struct directory_session *session, uint64_t order);

/**
 * It ended by itself; it waits for the SIP proxy's remove.
 *
 * @param in_doubt  An update may have begun it anew at the relay: it counts as
 *                  live there until the relay says otherwise
 */
void directory_expire(struct directory *directory,
		      struct directory_session *session, uint64_t now_us,
		      bool in_doubt);

/**
 * The relay has removed it, or has no such session.
 *
 * It is dropped, unless an update that was sent after the remove has made it
 * anew; where such an update has no success yet, it is expired, in doubt.
 *
 * @param order  of the remove
 */
void directory_removed(struct directory *directory,
		       struct directory_session *session, uint64_t order,
		       uint64_t now_us);

/** Its relay has not listed it over this link, and has not been judged yet. */
bool directory_session_is_unlisted(const struct directory_session *session);

/**
 * The relay has no such session, that it has not listed: its record comes, or
 * it is lost, which is known when the relay is judged. Nobody removes it any
 * more.
 */
void directory_removed_unlisted(struct directory_session *session);

/** Drop a session, and its call with the last one. */
void directory_remove(struct directory *directory,
		      struct directory_session *session);

/* A relay's link is up: its list of sessions replaces what was known. Begin
 * comes before all that is sent over the link; from then to the end
 * directory_add() marks what is still there. */
void directory_sync_begin(struct directory *directory,
			  const struct ip_addr *relay);
/** The list has come, and the records that waited: what is in neither is lost
 * at judge_at_us, if the link stays up until then. */
void directory_sync_caught_up(struct directory *directory,
			      const struct ip_addr *relay,
			      uint64_t judge_at_us);
/** A relay for which that time has come. @param ret_at_us  Set if there is
 * none: when it comes for the next one; 0: for none */
bool directory_sync_due(const struct directory *directory, uint64_t now_us,
			struct ip_addr *ret_relay, uint64_t *ret_at_us);
/** Drop what the relay did not list. Expired sessions stay, and those that it
 * was told to remove over this link: their records come. @return how many */
size_t directory_sync_end(struct directory *directory,
			  const struct ip_addr *relay, directory_drop_h *drop,
			  void *arg);

/**
 * Know a session again that was kept on disk. Its relay counts as down since
 * now_us, until its link is up.
 *
 * @param expired_us  when it expired; 0: it has not
 * @param ret         for the tags that follow; until the next change
 * @return 0, -EEXIST, or as directory_add()
 */
int directory_restore(struct directory *directory, const struct ip_addr *relay,
		      const struct directory_leg *leg, uint64_t id,
		      uint64_t expired_us, uint64_t now_us,
		      struct directory_session **ret);

/** The relay's link is up: its calls are not forgotten. */
void directory_relay_up(struct directory *directory,
			const struct ip_addr *relay);
void directory_relay_down(struct directory *directory,
			  const struct ip_addr *relay, uint64_t now_us);

/** A relay that was given up. */
typedef void directory_dead_relay_h(const struct ip_addr *relay,
				    size_t sessions, void *arg);

/**
 * Forget expired sessions that nobody removed, and the calls of relays that
 * have been gone for too long.
 *
 * @param drop  Called for each session of such a relay; may be NULL
 * @param dead  Called for each such relay that had sessions; may be NULL
 * @return how many expired sessions were forgotten
 */
size_t directory_sweep(struct directory *directory, uint64_t now_us,
		       uint64_t expired_after_us, uint64_t dead_after_us,
		       directory_drop_h *drop, directory_dead_relay_h *dead,
		       void *arg);
