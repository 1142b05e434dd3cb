#pragma once
/**
 * @file management/request.h  A question of a management client, and its answer
 *
 * Text protocol and API ask the daemon the same two questions, `summary` and
 * `sessions`, through the same handlers; the API has more, of which each daemon
 * has some. The daemon answers with JSON objects, now or later, and need not
 * care for the form that the client wants, nor whether the client is still
 * there. What is written goes straight into the answer; there is no other copy.
 */
#include <stdbool.h>
#include <stdint.h>

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
	/** One item for each session with the call-id that is asked for. */
	management_request_h *explain;
	/** What forwards, one item; NULL: there is no such path. A relay. */
	management_request_h *forwarding;
	/** Change it, as the JSON of a client says; `forwarding` answers then.
	 * @param ret_why  Appended to on failure, for people
	 * @return 0, -EINVAL if it is not what is allowed, or the error for
	 * which it cannot be done */
	int (*set_forwarding)(struct span json, struct buf *ret_why, void *arg);
	/** Records; NULL: there are no such paths. A dispatcher. One item for
	 * each record, one for the state of accounting, one for each record
	 * that was set aside, one for how many are tried again. */
	management_request_h *history, *accounting, *set_aside, *retry;
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

/** A parameter of the query, NULL if it is not there. Valid until the handler
 * of this request returns, as what follows. */
const char *management_request_parameter(struct management_request *request,
					 const char *name);

/**
 * A parameter that is a whole number.
 *
 * @param ret  Untouched where it is not there
 * @return 0, or -EINVAL: the request was answered with what is allowed
 */
int management_request_number(struct management_request *request,
			      const char *name, uint64_t min, uint64_t max,
			      uint64_t *ret);

/** What a client of the API sent with the question. */
struct span management_request_body(const struct management_request *request);

/** Is anybody there to read it? If not: still finish it, but spare the work. */
bool management_request_is_wanted(const struct management_request *request);

/** Send the answer; the request is gone then. */
void management_request_finish(struct management_request *request);

/** Instead of that, for a question that the API alone has: answer with a status
 * of HTTP and {"error": why}. */
void management_request_refuse(struct management_request *request, int status,
			       const char *why);
