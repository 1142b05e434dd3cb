#pragma once
/**
 * @file net/http_client.h  A blocking HTTP client for the operator's command
 * (libcurl)
 */
#include "base/buf.h"
#include "base/span.h"

/**
 * Ask a daemon over its UNIX socket.
 *
 * @param path        e.g. "/api/v1/summary"
 * @param ret_status  The HTTP status
 * @param ret_body    Appended to
 * @return 0, -ECONNREFUSED or -ENOENT (nobody there), -EACCES, -ETIMEDOUT, or
 * -EIO
 */
int http_get_unix(const char *socket_path, const char *method, const char *path,
		  struct span body, unsigned timeout_s, int *ret_status,
		  struct buf *ret_body);
