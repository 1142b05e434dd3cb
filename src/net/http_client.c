/** @file net/http_client.c */
#include "net/http_client.h"

#include <curl/curl.h>
#include <errno.h>

#include "base/cleanup.h"

/* The sessions of a busy relay take tens of megabytes; more is no answer. */
#define MAX_BODY_BYTES (512u << 20)

static void curl_easy_freep(CURL **p)
{
	curl_easy_cleanup(*p);
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
	struct buf *body = arg;

	(void)size; /* always 1 */
	if (body->len + count > MAX_BODY_BYTES)
		return 0;
	buf_add(body, span_make(data, count));
	return buf_failed(body) ? 0 : count;
}

static int error_code(CURL *curl, CURLcode code)
{
	long os_errno = 0;

	if (code == CURLE_OK)
		return 0;
	if (code == CURLE_OPERATION_TIMEDOUT)
		return -ETIMEDOUT;
	if (code == CURLE_OUT_OF_MEMORY)
		return -ENOMEM;
	if (code != CURLE_COULDNT_CONNECT)
		return -EIO;
	(void)curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
	return os_errno > 0 ? -(int)os_errno : -ECONNREFUSED;
}

static bool set_options(CURL *curl, const char *socket_path, const char *method,
			const char *url, struct span body, unsigned timeout_s,
			struct buf *ret_body)
{
	bool ok =
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path) ==
			CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http") ==
			CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)timeout_s) ==
			CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body) ==
			CURLE_OK &&
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret_body) == CURLE_OK;

	if (ok && body.len > 0)
		ok = curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
				      (curl_off_t)body.len) == CURLE_OK &&
		     curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.ptr) ==
			     CURLE_OK;
	return ok && curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method) ==
			     CURLE_OK;
}

int http_get_unix(const char *socket_path, const char *method, const char *path,
		  struct span body, unsigned timeout_s, int *ret_status,
		  struct buf *ret_body)
{
	CLEANUP(curl_easy_freep) CURL *curl = curl_easy_init();
	CLEANUP(buf_done) struct buf url = {0};
	long status = 0;
	int rc;

	if (!curl)
		return -ENOMEM;
	buf_printf(&url, "http://localhost%s", path);
	if (buf_failed(&url) ||
	    !set_options(curl, socket_path, method, url.data, body, timeout_s,
			 ret_body))
		return -ENOMEM;
	rc = error_code(curl, curl_easy_perform(curl));
	if (rc < 0)
		return rc;
	if (curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) !=
	    CURLE_OK)
		return -EIO;
	*ret_status = (int)status;
	return 0;
}
