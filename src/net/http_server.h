#pragma once
/**
 * @file net/http_server.h  HTTP for the control channel (libevent's evhttp)
 *
 * Small requests and JSON answers on a UNIX socket. Limits: a body of 64 KiB,
 * headers of 16 KiB, 30 s without a byte; GET, HEAD, POST, PUT and DELETE. A
 * target that is no path, or that hides a zero byte, is answered 400 without
 * the handler. Without descriptors or memory, accepting pauses for 100 ms.
 *
 * A handler may answer later: the request stays until http_answer(), also when
 * the client has gone or the server was freed meanwhile.
 */
#include <sys/types.h>

#include "base/span.h"
#include "net/loop.h"

struct http_server;
struct http_request;

/** Answer now or later by http_answer(), exactly once. */
typedef void http_request_h(struct http_request *request, void *arg);

/** Serve on a UNIX socket (as listener_new_unix). @return 0 or negative errno
 */
int http_server_new_unix(struct http_server **ret, struct loop *loop,
			 const char *path, mode_t mode, gid_t group,
			 http_request_h *handler, void *arg);
struct http_server *http_server_free(struct http_server *server);

const char *http_method(const struct http_request *request); /* "GET", ... */
const char *
http_path(const struct http_request *request); /* decoded, without the query */
struct span http_body(const struct http_request *request);
/** A parameter of the query, decoded, or NULL. Valid while the request is. */
const char *http_parameter(struct http_request *request, const char *name);

/** Send the answer and end the request. A client that is gone does not matter.
 * content_type: e.g. "application/json" */
void http_answer(struct http_request *request, int status,
		 const char *content_type, struct span body);
