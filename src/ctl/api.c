/** @file ctl/api.c */
#include "ctl/api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "net/http_client.h"

#define TIMEOUT_S 10

static bool is_nobody(int error)
{
	return error == -ENOENT || error == -ECONNREFUSED;
}

/* Sets *ret_path to the socket that was asked last. */
static int ask(const struct api_target *target, const char *path,
	       char ret_path[static 512], int *ret_status, struct buf *ret_body)
{
	static const char *const names[] = {"media-dispatcher.ctl",
					    "media-relay.ctl"};
	int rc = -ENOENT;

	if (target->socket) {
		(void)snprintf(ret_path, 512, "%s", target->socket);
		return http_get_unix(target->socket, "GET", path,
				     span_make(NULL, 0), TIMEOUT_S, ret_status,
				     ret_body);
	}
	for (size_t i = 0; i < ARRAY_SIZE(names) && is_nobody(rc); i++) {
		(void)snprintf(ret_path, 512, "%s/%s", target->runtime_dir,
			       names[i]);
		rc = http_get_unix(ret_path, "GET", path, span_make(NULL, 0),
				   TIMEOUT_S, ret_status, ret_body);
	}
	return rc;
}

/* {"error": "..."}, or something that is not from us. */
static int refused(const char *command, const char *socket, int status,
		   const char *path, json_t **answer)
{
	const char *why = json_string_value(json_object_get(*answer, "error"));

	(void)ctl_fail(command, "%s answers %d to %s: %s", socket, status, path,
		       why ? why : "no reason given");
	json_decref(*answer);
	*answer = NULL;
	return CTL_FAILED;
}

int api_get(const char *command, const struct api_target *target,
	    const char *path, json_t **ret)
{
	CLEANUP(buf_done) struct buf body = {0};
	json_error_t error;
	char socket[512];
	int status = 0;
	int rc = ask(target, path, socket, &status, &body);

	if (is_nobody(rc) && !target->socket)
		return ctl_fail(command,
				"nobody listens at %s/media-dispatcher.ctl or "
				"media-relay.ctl: is a daemon running here?",
				target->runtime_dir);
	if (rc < 0)
		return ctl_fail_to_reach(command, socket, rc);
	*ret = json_loadb(body.data ? body.data : "", body.len, JSON_ALLOW_NUL,
			  &error);
	if (status != 200)
		return refused(command, socket, status, path, ret);
	if (!*ret)
		return ctl_fail(command, "%s answers what is not JSON: %s",
				socket, error.text);
	return CTL_OK;
}

const char *api_text(const json_t *object, const char *key,
		     char text[static 64])
{
	const json_t *value = json_object_get(object, key);

	text[0] = '\0';
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		return json_string_value(value);
	case JSON_INTEGER:
		(void)snprintf(text, 64, "%" JSON_INTEGER_FORMAT,
			       json_integer_value(value));
		break;
	case JSON_REAL:
		(void)snprintf(text, 64, "%.1f", json_real_value(value));
		break;
	case JSON_TRUE:
		return "yes";
	case JSON_FALSE:
		return "no";
	default:
		break;
	}
	return text;
}

void api_format_duration(struct buf *out, double seconds)
{
	unsigned long s = seconds > 0 ? (unsigned long)seconds : 0;

	if (s >= 86400)
		buf_printf(out, "%lud ", s / 86400);
	buf_printf(out, "%02lu:%02lu:%02lu", s / 3600 % 24, s / 60 % 60,
		   s % 60);
}

void api_format_rate(struct buf *out, double bits_per_second)
{
	if (bits_per_second < 1e3)
		buf_printf(out, "%.0f bit/s", bits_per_second);
	else if (bits_per_second < 1e6)
		buf_printf(out, "%.1f kbit/s", bits_per_second / 1e3);
	else if (bits_per_second < 1e9)
		buf_printf(out, "%.1f Mbit/s", bits_per_second / 1e6);
	else
		buf_printf(out, "%.2f Gbit/s", bits_per_second / 1e9);
}
