#pragma once
/**
 * @file management/request.h  A question of a management client, and its answer
 *
 * Text protocol and API ask the daemon the same two questions, `summary` and
 * `sessions`, through the same handlers; the API has one more for a relay. The
 * daemon answers with JSON objects, now or later, and need not care for the
 * form that the client wants, nor whether the client is still there. What is
 * written goes straight into the answer; there is no other copy.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/span.h"

struct management_request;

/** A question. Write items, then call management_request_finish() once. */
typedef void management_request_h(struct management_request *request,
				  void *arg);

struct management_handlers {
	const char *name; /* of the daemon, for `version` in the API; or NULL */
	/** One item for each relay; a relay: for itself. */
	management_request_h *summary;
	/** One item for each session. */
	management_request_h *sessions;
	/** What forwards, one item; NULL: there is no such path. A relay. */
	management_request_h *forwarding;
	/** Change it, as the JSON of a client says; `forwarding` answers then.
	 * @param ret_why  Appended to on failure, for people
	 * @return 0, -EINVAL if it is not what is allowed, or the error for
	 * which it cannot be done */
	int (*set_forwarding)(struct span json, struct buf *ret_why, void *arg);
	/** The dispatcher's own facts: members of the object that the API
	 * answers for `summary`, beside "relays". A relay has NULL here: then
	 * its one item is the answer. */
	void (*facts)(struct json_writer *w, void *arg);
};

/**
 * The writer for the next item: write one value, with key NULL, or nothing.
 *
 * @return valid until the next call with this request
 */
struct json_writer *management_request_item(struct management_request *request);

/**
 * Add all objects of a JSON array, as a relay sent it. It is checked on the
 * way, since a relay's fault must not spoil the whole answer.
 *
 * @return 0, or -EBADMSG: what came before the fault has been added
 */
int management_request_add_array(struct management_request *request,
				 struct span json);

/** The same for one JSON object. @return 0, or -EBADMSG: nothing was added */
int management_request_add_object(struct management_request *request,
				  struct span json);

/** Does the client want the session with this call-id? For those who write
 * sessions by management_request_item(). */
bool management_request_wants(const struct management_request *request,
			      struct span call_id);

/** Is anybody there to read it? If not: still finish it, but spare the work. */
bool management_request_is_wanted(const struct management_request *request);

/** Send the answer; the request is gone then. */
void management_request_finish(struct management_request *request);
