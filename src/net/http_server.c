/** @file net/http_server.c */
#include "net/http_server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "net/listener.h"
#include "net/loop_event.h"

#define MAX_BODY_BYTES 65536
#define MAX_HEADER_BYTES 16384
#define TIMEOUT_S 30
#define PAUSE_US (100 * US_PER_MS)

struct http_server {
	struct evhttp *http;
	struct evconnlistener *acceptor; /* belongs to http */
	struct listener *listener;       /* owns socket and file */
	struct timer *pause;
	http_request_h *handler;
	void *arg;
	struct list requests; /* not answered yet */
};

struct http_request {
	struct list link;
	struct evhttp_request *request; /* NULL once the server is gone */
	char *path;
	struct evkeyvalq query;
};

static void request_free(struct http_request *request)
{
	list_del(&request->link);
	evhttp_clear_headers(&request->query);
	free(request->path);
	free(request);
}

static const char *method_name(enum evhttp_cmd_type type)
{
	switch (type) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_HEAD:
		return "HEAD";
	case EVHTTP_REQ_PUT:
		return "PUT";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	default:
		return "";
	}
}

/* @return 0, -EINVAL for a target that is none, or -ENOMEM */
static int decode_target(struct http_request *ret,
			 const struct evhttp_request *request)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	const char *query = uri ? evhttp_uri_get_query(uri) : NULL;
	size_t len = 0;

	/* First, since it makes an empty list in any case. */
	if (evhttp_parse_query_str(query ? query : "", &ret->query) < 0)
		return -EINVAL;
	if (!path || path[0] != '/')
		return -EINVAL;
	ret->path = evhttp_uridecode(path, /* plus is a space: */ 0, &len);
	if (!ret->path)
		return -ENOMEM;
	if (strlen(ret->path) != len) /* %00 */
		return -EINVAL;
	return 0;
}

static void request_came(struct evhttp_request *evrequest, void *arg)
{
	struct http_server *server = arg;
	struct http_request *request = calloc(1, sizeof(*request));
	int rc;

	if (!request) {
		evhttp_send_error(evrequest, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	list_init(&request->link);
	rc = decode_target(request, evrequest);
	if (rc < 0) {
		request_free(request);
		evhttp_send_error(evrequest,
				  rc == -EINVAL ? HTTP_BADREQUEST
						: HTTP_SERVUNAVAIL,
				  NULL);
		return;
	}
	request->request = evrequest;
	list_add_tail(&server->requests, &request->link);
	server->handler(request, server->arg);
}

static void pause_is_over(void *arg)
{
	struct http_server *server = arg;

	(void)evconnlistener_enable(server->acceptor);
}

/* No descriptor or no memory for a connection: it waits in the backlog. */
static void accept_failed(struct evconnlistener *acceptor, void *arg)
{
	struct http_server *server = arg;

	(void)evconnlistener_disable(acceptor);
	timer_start(server->pause, PAUSE_US);
}

/* listener.h makes the socket; evhttp accepts on it by itself. */
static int start_accepting(struct http_server *server, struct loop *loop)
{
	server->acceptor = evconnlistener_new(
		loop_event_base(loop), NULL, NULL, LEV_OPT_CLOSE_ON_EXEC,
		/* it listens already: */ 0,
		listener_descriptor(server->listener));
	if (!server->acceptor)
		return -ENOMEM;
	if (!evhttp_bind_listener(server->http, server->acceptor)) {
		evconnlistener_free(server->acceptor);
		return -ENOMEM;
	}
	evconnlistener_set_error_cb(server->acceptor, accept_failed);
	return 0;
}

int http_server_new_unix(struct http_server **ret, struct loop *loop,
			 const char *path, mode_t mode, gid_t group,
			 http_request_h *handler, void *arg)
{
	struct http_server *server = calloc(1, sizeof(*server));
	int rc = -ENOMEM;

	if (!server)
		return -ENOMEM;
	list_init(&server->requests);
	server->handler = handler;
	server->arg = arg;
	server->http = evhttp_new(loop_event_base(loop));
	if (server->http)
		rc = timer_new(&server->pause, loop, pause_is_over, server);
	if (rc == 0)
		rc = listener_new_unix(&server->listener, loop, path, mode,
				       group, /* handler: evhttp */ NULL, NULL);
	if (rc == 0) {
		evhttp_set_max_body_size(server->http, MAX_BODY_BYTES);
		evhttp_set_max_headers_size(server->http, MAX_HEADER_BYTES);
		evhttp_set_timeout(server->http, TIMEOUT_S);
		evhttp_set_allowed_methods(
			server->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST |
					      EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
					      EVHTTP_REQ_DELETE);
		evhttp_set_gencb(server->http, request_came, server);
		rc = start_accepting(server, loop);
	}
	if (rc < 0) {
		http_server_free(server);
		return rc;
	}
	*ret = server;
	return 0;
}

/* Requests that nobody has answered yet stay the handler's: http_answer() then
 * only frees them. evhttp frees its own part with the connection, unless the
 * connection has gone before. */
static void forget_requests(struct http_server *server)
{
	list_for_each_safe (link, &server->requests) {
		struct http_request *request =
			list_item(link, struct http_request, link);

		if (!evhttp_request_get_connection(request->request))
			evhttp_request_free(request->request);
		request->request = NULL;
		list_del(&request->link);
	}
}

struct http_server *http_server_free(struct http_server *server)
{
	if (!server)
		return NULL;
	forget_requests(server);
	if (server->http)
		evhttp_free(server->http);
	listener_free(server->listener);
	timer_free(server->pause);
	free(server);
	return NULL;
}

const char *http_method(const struct http_request *request)
{
	return request->request ? method_name(evhttp_request_get_command(
					  request->request))
				: "";
}

const char *http_path(const struct http_request *request)
{
	return request->path;
}

struct span http_body(const struct http_request *request)
{
	struct evbuffer *in =
		request->request
			? evhttp_request_get_input_buffer(request->request)
			: NULL;

	if (!in)
		return span_make(NULL, 0);
	return span_make(evbuffer_pullup(in, -1), evbuffer_get_length(in));
}

const char *http_parameter(struct http_request *request, const char *name)
{
	return evhttp_find_header(&request->query, name);
}

void http_answer(struct http_request *request, int status,
		 const char *content_type, struct span body)
{
	struct evhttp_request *evrequest = request->request;
	struct evbuffer *out;

	request_free(request);
	if (!evrequest)
		return;
	out = evbuffer_new();
	if (!out || evbuffer_add(out, body.ptr, body.len) < 0) {
		evhttp_send_error(evrequest, HTTP_SERVUNAVAIL, NULL);
	} else {
		(void)evhttp_add_header(
			evhttp_request_get_output_headers(evrequest),
			"Content-Type", content_type);
		/* Where the client is gone, this only frees the request. */
		evhttp_send_reply(evrequest, status, NULL, out);
	}
	if (out)
		evbuffer_free(out);
}
