#pragma once
/**
 * @file management/request_internal.h  Requests, as text.c and api.c make them
 */
#include "base/list.h"
#include "management/request.h"

enum request_form {
	REQUEST_LINES,  /* each item on a line, then an empty line */
	REQUEST_ARRAY,  /* a JSON array */
	REQUEST_OBJECT, /* the one item */
	REQUEST_RELAYS  /* {"relays": [items], facts} */
};

/** It is finished: send request->out, then request_free(). */
typedef void request_finished_h(struct management_request *request);

struct management_request {
	struct list link; /* its maker's */
	enum request_form form;
	struct buf out;
	struct json_writer writer;
	size_t item_start;   /* in out */
	struct span call_id; /* the filter, owned; empty: all */
	struct buf call_id_json;
	bool finished;
	const struct management_handlers *handlers; /* for facts */
	void *handlers_arg;
	request_finished_h
		*finished_h; /* NULL: nobody is interested any more */
	void *owner;         /* text: the client; API: the api */
	void *http;          /* API: struct http_request */
	int status;          /* API: refused with this; 0: answered */
	bool closes;         /* text: the connection ends with it */
};

/** @return NULL without memory */
struct management_request *
request_new(enum request_form form, request_finished_h *finished, void *owner);

/** Only sessions with this call-id. @return 0 or -ENOMEM */
int request_set_call_id(struct management_request *request,
			struct span call_id);

/** The client is gone: the daemon's answer will lead nowhere. It leaves the
 * maker's list, and is freed when it is finished (now, if it is already). */
void request_detach(struct management_request *request);

struct management_request *request_free(struct management_request *request);
