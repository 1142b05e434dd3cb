#pragma once
/**
 * @file link/session_report.h  What a relay's JSON says of its sessions
 *
 * Reads the statistics in the replies to `sessions` and `remove` and in
 * `expired`, as far as the dispatcher's directory needs them. One object at a
 * time, each of a bounded size, so that a long text costs little memory.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define SESSION_REPORT_MAX_BYTES (4u << 20) /* of one object */

struct session_report {
	struct span call_id, from_tag;
	struct span to_tag, dialog_id; /* empty: null or not there */
	struct span record_id;         /* of a final record of ours */
	bool has_start_time;
	bool timed_out;
	bool was_removed;     /* it was the reply to a remove */
	bool all_streams_ice; /* of `expired`: each was a candidate of ICE that
				 was not selected */
	struct span json;     /* the object, as it came */
};

/** The report lives for this call only. */
typedef void session_report_h(const struct session_report *report, void *arg);

/**
 * Read one object.
 *
 * @return 0, or -EBADMSG if it is no object with a call_id (the handler was
 *         not called then)
 */
int session_report_decode(struct span json, session_report_h *handler,
			  void *arg);

/**
 * Read an array of objects, call by call.
 *
 * @return 0, or -EBADMSG: the objects before the fault have been handled
 */
int session_reports_decode(struct span json, session_report_h *handler,
			   void *arg);

/**
 * Take a page of `sessions` apart: {"sessions": [...], "next": CURSOR}, as our
 * relay writes it. The array is not looked into.
 *
 * @param ret_next  The cursor of the next page; 0: this is the last one
 * @return 0 or -EBADMSG
 */
int session_page_split(struct span json, struct span *ret_array,
		       uint64_t *ret_next);
