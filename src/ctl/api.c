/** @file ctl/api.c */
#include "ctl/api.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "net/http_client.h"

#define TIMEOUT_S 10
/* What stands for itself in a query (RFC 3986, section 2.3). */
#define UNRESERVED                                                             \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

static bool is_nobody(int error)
{
	return error == -ENOENT || error == -ECONNREFUSED;
}

/* One question, and where its answer came from. */
struct question {
	const char *method, *path;
	struct span body;
	char socket[512]; /* that was asked last */
	int status;
	struct buf answer;
};

static void question_done(struct question *q)
{
	buf_done(&q->answer);
}

static int ask_one(struct question *q)
{
	return http_get_unix(q->socket, q->method, q->path, q->body, TIMEOUT_S,
			     &q->status, &q->answer);
}

static int ask(struct question *q, const struct api_target *target)
{
	static const char *const names[] = {"media-dispatcher.ctl",
					    "media-relay.ctl"};
	size_t end = target->dispatcher_only ? 1 : ARRAY_SIZE(names);
	int rc = -ENOENT;

	if (target->socket) {
		(void)snprintf(q->socket, sizeof(q->socket), "%s",
			       target->socket);
		return ask_one(q);
	}
	for (size_t i = target->relay_only; i < end && is_nobody(rc); i++) {
		(void)snprintf(q->socket, sizeof(q->socket), "%s/%s",
			       target->runtime_dir, names[i]);
		rc = ask_one(q);
	}
	return rc;
}

/* {"error": "..."}, or something that is not from us. */
static int refused(const char *command, const struct question *q,
		   json_t **answer)
{
	const char *why = json_string_value(json_object_get(*answer, "error"));

	(void)ctl_fail(command, "%s answers %d to %s: %s", q->socket, q->status,
		       q->path, why ? why : "no reason given");
	json_decref(*answer);
	*answer = NULL;
	return CTL_FAILED;
}

static int ask_for_json(const char *command, struct question *q,
			const struct api_target *target, json_t **ret)
{
	json_error_t error;
	int rc = ask(q, target);

	if (is_nobody(rc) && !target->socket && !target->relay_only &&
	    !target->dispatcher_only)
		return ctl_fail(command,
				"nobody listens at %s/media-dispatcher.ctl or "
				"media-relay.ctl: is a daemon running here?",
				target->runtime_dir);
	if (rc < 0)
		return ctl_fail_to_reach(command, q->socket, rc);
	*ret = json_loadb(q->answer.data ? q->answer.data : "", q->answer.len,
			  JSON_ALLOW_NUL, &error);
	if (q->status != 200)
		return refused(command, q, ret);
	if (!*ret)
		return ctl_fail(command, "%s answers what is not JSON: %s",
				q->socket, error.text);
	return CTL_OK;
}

int api_get(const char *command, const struct api_target *target,
	    const char *path, json_t **ret)
{
	CLEANUP(question_done)
	struct question q = {.method = "GET", .path = path};

	return ask_for_json(command, &q, target, ret);
}

int api_put(const char *command, const struct api_target *target,
	    const char *path, const json_t *body, json_t **ret)
{
	char text[1024];
	size_t len = json_dumpb(body, text, sizeof(text), 0);
	CLEANUP(question_done)
	struct question q = {
		.method = "PUT", .path = path, .body = span_make(text, len)};

	if (len == 0 || len > sizeof(text))
		return ctl_fail(command, "cannot write JSON");
	return ask_for_json(command, &q, target, ret);
}

void api_add_parameter(struct buf *path, const char *name, const char *value)
{
	bool is_first = !path->data || !strchr(path->data, '?');

	buf_printf(path, "%c%s=", is_first ? '?' : '&', name);
	for (const char *c = value; *c; c++)
		if (strchr(UNRESERVED, *c))
			buf_char(path, *c);
		else
			buf_printf(path, "%%%02X", (unsigned char)*c);
}

/* What getopt_long() gives for the first of the options that not every
 * subcommand has. */
#define FIRST_MORE 256

static void take_more(const struct api_options *o, int c)
{
	const struct api_more_option *option = &o->more[c - FIRST_MORE];

	if (option->value)
		*option->value = optarg;
	else
		*option->flag = true;
}

/* @return 0 to go on, or an exit status + 1 */
static int take_option(const char *command, const char *help, int argc,
		       char **argv, int c, struct api_options *o)
{
	switch (c) {
	case 's':
		o->target.socket = optarg;
		return 0;
	case 'r':
		o->target.runtime_dir = optarg;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case 'h':
		(void)fputs(help, stdout);
		return CTL_OK + 1;
	default:
		if (c < FIRST_MORE)
			return ctl_bad_option(command, argc, argv) + 1;
		take_more(o, c);
		return 0;
	}
}

int api_read_options(const char *command, const char *help, int argc,
		     char **argv, struct api_options *o)
{
	struct option options[5 + API_MAX_MORE_OPTIONS] = {
		{"socket", required_argument, NULL, 's'},
		{"runtime-dir", required_argument, NULL, 'r'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
	};
	int rc = 0;
	int c;

	for (size_t i = 0; i < o->more_count; i++)
		options[4 + i] = (struct option){
			.name = o->more[i].name,
			.has_arg = o->more[i].value ? required_argument
						    : no_argument,
			.val = FIRST_MORE + (int)i,
		};
	opterr = 0;
	while (rc == 0 &&
	       (c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		rc = take_option(command, help, argc, argv, c, o);
	return rc;
}

int api_print_text(const char *command, const struct buf *text)
{
	if (buf_failed(text))
		return ctl_fail(command, "out of memory");
	(void)fwrite(text->data, 1, text->len, stdout);
	return CTL_OK;
}

int api_print_json(const char *command, const json_t *value)
{
	if (json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0)
		return ctl_fail(command, "cannot write JSON");
	(void)fputc('\n', stdout);
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
	/* A daemon may say any number. */
	bool sane = seconds > 0 && seconds < 1e15;
	unsigned long s = sane ? (unsigned long)seconds : 0;

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
