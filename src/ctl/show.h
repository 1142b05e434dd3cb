#pragma once
/**
 * @file ctl/show.h  The daemons' JSON as text for people
 *
 * Pure. What is missing or of another type is shown as empty: an older or newer
 * daemon is no reason to fail.
 */
#include <jansson.h>

#include "base/buf.h"

/** The summary of a relay, or of a dispatcher with its relays. */
void show_summary(struct buf *out, const json_t *summary);

/** What a relay forwards with, and why: its interfaces, flows and counters. */
void show_forwarding(struct buf *out, const json_t *forwarding);

/**
 * A line for each stream of each session.
 *
 * @param filter  Only sessions whose call-id, caller or callee contains it;
 * NULL: all
 */
void show_sessions(struct buf *out, const json_t *sessions, const char *filter);

/** Does a session's call-id, caller or callee contain the filter? */
bool show_session_matches(const json_t *session, const char *filter);

/** A call's story: signalling, decisions, and the diagnosis. Times are local.
 */
void show_story(struct buf *out, const json_t *story);

/* Records: rows of the API, {"seq", "stored", "record": {...}} */

/** A line for each record; times are local. */
void show_history(struct buf *out, const json_t *rows);

/** A line for each stream of each record, with the remotes. */
void show_history_streams(struct buf *out, const json_t *rows);

/** What the backends of accounting do, and the disk. */
void show_accounting(struct buf *out, const json_t *status);

/** What backends have refused, and why. */
void show_set_aside(struct buf *out, const json_t *rows);
