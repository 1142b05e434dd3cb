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

static void answer_version(const struct management_api *api,
			   struct http_request *http)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct json_writer w = json_writer_over(&out);

	json_object_begin(&w, NULL);
	if (api->handlers.name)
		json_text(&w, "name", api->handlers.name);
	json_text(&w, "version", MEDIAPROXY_VERSION);
	json_object_end(&w);
	answer_json(http, 200, &out);
}

static void request_finished(struct management_request *request)
{
	struct management_api *api = request->owner;

	if (request->out.len == 0 && !buf_failed(&request->out))
		answer_error(request->http, 503, "no answer");
	else
		answer_json(request->http, 200, &request->out);
	api->open--;
	request_free(request);
}

static void ask(struct management_api *api, struct http_request *http,
		enum request_form form, management_request_h *handler)
{
	const char *call_id = http_parameter(http, "call_id");
	struct management_request *request;

	if (api->open >= MAX_OPEN) {
		answer_error(http, 503, "too many requests are open");
		return;
	}
	request = request_new(form, request_finished, api);
	if (!request || (call_id && handler == api->handlers.sessions &&
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
	handler(request, api->arg);
}

static void put_forwarding(struct management_api *api,
			   struct http_request *http)
{
	CLEANUP(buf_done) struct buf why = {0};
	int r = api->handlers.set_forwarding(http_body(http), &why, api->arg);

	if (r < 0)
		answer_error(http, r == -EINVAL ? 400 : 503,
			     why.data ? why.data : "out of memory");
	else
		ask(api, http, REQUEST_OBJECT, api->handlers.forwarding);
}

static void forwarding(struct management_api *api, struct http_request *http)
{
	const char *method = http_method(http);

	if (strcmp(method, "GET") == 0)
		ask(api, http, REQUEST_OBJECT, api->handlers.forwarding);
	else if (strcmp(method, "PUT") == 0)
		put_forwarding(api, http);
	else
		answer_error(http, 405, "only GET and PUT are allowed here");
}

static void api_request(struct http_request *http, void *arg)
{
	struct management_api *api = arg;
	const char *path = http_path(http);
	bool summary = strcmp(path, "/api/v1/summary") == 0;
	bool sessions = strcmp(path, "/api/v1/sessions") == 0;
	bool version = strcmp(path, "/api/v1/version") == 0;

	if (api->handlers.forwarding && strcmp(path, "/api/v1/forwarding") == 0)
		forwarding(api, http);
	else if (!summary && !sessions && !version)
		answer_error(http, 404, "no such path");
	else if (strcmp(http_method(http), "GET") != 0)
		answer_error(http, 405, "only GET is allowed here");
	else if (version)
		answer_version(api, http);
	else if (sessions)
		ask(api, http, REQUEST_ARRAY, api->handlers.sessions);
	else
		ask(api, http,
		    api->handlers.facts ? REQUEST_RELAYS : REQUEST_OBJECT,
		    api->handlers.summary);
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
