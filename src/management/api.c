#include "management/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "management/request_internal.h"
#include "net/http_server.h"
#include "version.h"

#define MAX_OPEN 64
#define SOCKET_MODE 0660

struct management_api {
	struct management_handlers handlers;
	void *arg;
	struct http_server *server;
	struct list requests;
	unsigned open;
};

static void answer_json(struct http_request *http, int status,
			const struct buf *json)
{
	if (buf_failed(json))
		http_answer(http, 503, "application/json",
			    SPAN("{\"error\": \"out of memory\"}"));
	else
		http_answer(http, status, "application/json", buf_span(json));
}

static void answer_error(struct http_request *http, int status, const char *why)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct json_writer w = json_writer_over(&out);

	json_object_begin(&w, NULL);
	json_text(&w, "error", why);
	json_object_end(&w);
	answer_json(http, status, &out);
}

static void request_finished(struct management_request *request)
{
	struct management_api *api = request->owner;

	if (request->out.len == 0 && !buf_failed(&request->out))
		answer_error(request->http, 503, "no answer");
	else
		answer_json(request->http,
			    request->status ? request->status : 200,
			    &request->out);
	api->open--;
	request_free(request);
}

/* What the API answers by itself */

static void answer_version(struct management_request *request, void *arg)
{
	const char *name = request->handlers->name;
	struct json_writer *w = management_request_item(request);

	(void)arg;
	json_object_begin(w, NULL);
	if (name)
		json_text(w, "name", name);
	json_text(w, "version", MEDIAPROXY_VERSION);
	json_object_end(w);
	management_request_finish(request);
}

static void put_forwarding(struct management_request *request, void *arg)
{
	const struct management_handlers *handlers = request->handlers;
	CLEANUP(buf_done) struct buf why = {0};
	int r = handlers->set_forwarding(management_request_body(request), &why,
					 arg);

	if (r < 0)
		management_request_refuse(request, r == -EINVAL ? 400 : 503,
					  why.data ? why.data
						   : "out of memory");
	else
		handlers->forwarding(request, arg);
}

/* Paths */

struct route {
	const char *path, *method;
	enum request_form form;
	management_request_h *handler; /* NULL: this daemon has it not */
};

static void ask(struct management_api *api, struct http_request *http,
		const struct route *route)
{
	const char *call_id = http_parameter(http, "call_id");
	struct management_request *request;

	if (api->open >= MAX_OPEN) {
		answer_error(http, 503, "too many requests are open");
		return;
	}
	request = request_new(route->form, request_finished, api);
	if (!request || (call_id && route->handler == api->handlers.sessions &&
			 request_set_call_id(request, span_of(call_id)) < 0)) {
		request_free(request);
		answer_error(http, 503, "out of memory");
		return;
	}
	request->http = http;
	request->handlers = &api->handlers;
	request->handlers_arg = api->arg;
	list_add_tail(&api->requests, &request->link);
	api->open++;
	route->handler(request, api->arg);
}

/* "only GET and PUT are allowed here", or that there is nothing here. */
static void refuse(struct http_request *http, const struct route *routes,
		   size_t count)
{
	CLEANUP(buf_done) struct buf why = {0};
	int allowed = 0;

	for (size_t i = 0; i < count; i++)
		if (routes[i].handler &&
		    strcmp(routes[i].path, http_path(http)) == 0)
			buf_printf(&why, "%s %s", allowed++ ? " and" : "only",
				   routes[i].method);
	buf_printf(&why, " %s allowed here", allowed > 1 ? "are" : "is");
	if (allowed == 0)
		answer_error(http, 404, "no such path");
	else
		answer_error(http, 405, why.data ? why.data : "out of memory");
}

static void api_request(struct http_request *http, void *arg)
{
	struct management_api *api = arg;
	const struct management_handlers *h = &api->handlers;
	const struct route routes[] = {
		{"/api/v1/version", "GET", REQUEST_OBJECT, answer_version},
		{"/api/v1/summary", "GET",
		 h->facts ? REQUEST_RELAYS : REQUEST_OBJECT, h->summary},
		{"/api/v1/sessions", "GET", REQUEST_ARRAY, h->sessions},
		{"/api/v1/explain", "GET", REQUEST_ARRAY, h->explain},
		{"/api/v1/forwarding", "GET", REQUEST_OBJECT, h->forwarding},
		{"/api/v1/forwarding", "PUT", REQUEST_OBJECT,
		 h->set_forwarding ? put_forwarding : NULL},
		{"/api/v1/history", "GET", REQUEST_ARRAY, h->history},
		{"/api/v1/accounting", "GET", REQUEST_OBJECT, h->accounting},
		{"/api/v1/accounting/set-aside", "GET", REQUEST_ARRAY,
		 h->set_aside},
		{"/api/v1/accounting/retry", "PUT", REQUEST_OBJECT, h->retry},
	};

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!routes[i].handler ||
		    strcmp(http_path(http), routes[i].path) != 0 ||
		    strcmp(http_method(http), routes[i].method) != 0)
			continue;
		ask(api, http, &routes[i]);
		return;
	}
	refuse(http, routes, ARRAY_SIZE(routes));
}

int management_api_new(struct management_api **ret, struct loop *loop,
		       const char *path,
		       const struct management_handlers *handlers, void *arg)
{
	struct management_api *api = calloc(1, sizeof(*api));
	int r;

	if (!api)
		return -ENOMEM;
	api->handlers = *handlers;
	api->arg = arg;
	list_init(&api->requests);
	r = http_server_new_unix(&api->server, loop, path, SOCKET_MODE,
				 (gid_t)-1, api_request, api);
	if (r < 0) {
		free(api);
		return r;
	}
	*ret = api;
	return 0;
}

struct management_api *management_api_free(struct management_api *api)
{
	if (!api)
		return NULL;
	list_for_each_safe (link, &api->requests) {
		struct management_request *request =
			list_item(link, struct management_request, link);
		struct http_request *http = request->http;

		request_detach(request);
		answer_error(http, 503, "the daemon stops");
	}
	http_server_free(api->server);
	free(api);
	return NULL;
}
