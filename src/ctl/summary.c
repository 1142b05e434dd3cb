/**
 * @file ctl/summary.c  mediaproxy summary and mediaproxy sessions
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/api.h"
#include "ctl/ctl.h"
#include "ctl/show.h"
#include "version.h"

#define TARGET_HELP                                                            \
	"  --runtime-dir DIR  where the daemons' sockets are: "                \
	"media-dispatcher.ctl is\n"                                            \
	"                     asked, or media-relay.ctl where there is no\n"   \
	"                     dispatcher (default " DEFAULT_RUNTIME_DIR ")\n"  \
	"  --socket PATH      ask at this control socket\n"                    \
	"  --json             print the daemon's JSON, for programs\n"

static const char summary_help[] =
	"Usage: mediaproxy summary [OPTION]...\n"
	"\n"
	"Show what the dispatcher of this host and its relays are doing, or "
	"the relay of\n"
	"this host.\n"
	"\n" TARGET_HELP "\n"
	"Examples:\n"
	"  mediaproxy summary\n"
	"  mediaproxy summary --socket " DEFAULT_RUNTIME_DIR
	"/media-relay.ctl\n"
	"  mediaproxy summary --json | jq .sessions\n";

static const char sessions_help[] =
	"Usage: mediaproxy sessions [OPTION]... [TEXT]\n"
	"\n"
	"List the calls that are going on, with a line for each stream: its "
	"codecs, where\n"
	"the media of both parties comes from, and how many packets of the "
	"caller and of\n"
	"the callee were relayed. With TEXT: only calls that have it in "
	"call-id, caller or\n"
	"callee.\n"
	"\n" TARGET_HELP "\n"
	"Examples:\n"
	"  mediaproxy sessions\n"
	"  mediaproxy sessions alice@example.com\n"
	"  mediaproxy sessions --json | jq -r '.[].call_id'\n";

int ctl_summary(int argc, char **argv)
{
	struct api_options o = {.target.runtime_dir = DEFAULT_RUNTIME_DIR};
	CLEANUP(buf_done) struct buf text = {0};
	json_auto_t *summary = NULL;
	int rc = api_read_options("summary", summary_help, argc, argv, &o);

	if (rc > 0)
		return rc - 1;
	if (optind < argc)
		return ctl_usage_error("summary", "\"%s\" is one word too many",
				       argv[optind]);
	rc = api_get("summary", &o.target, "/api/v1/summary", &summary);
	if (rc != CTL_OK)
		return rc;
	if (o.json)
		return api_print_json("summary", summary);
	show_summary(&text, summary);
	return api_print_text("summary", &text);
}

/* Leave only those that match. */
static void filter_sessions(json_t *sessions, const char *filter)
{
	for (size_t i = json_array_size(sessions); i-- > 0;)
		if (!show_session_matches(json_array_get(sessions, i), filter))
			(void)json_array_remove(sessions, i);
}

int ctl_sessions(int argc, char **argv)
{
	struct api_options o = {.target.runtime_dir = DEFAULT_RUNTIME_DIR};
	CLEANUP(buf_done) struct buf text = {0};
	json_auto_t *sessions = NULL;
	const char *filter;
	int rc = api_read_options("sessions", sessions_help, argc, argv, &o);

	if (rc > 0)
		return rc - 1;
	filter = optind < argc ? argv[optind] : NULL;
	if (argc - optind > 1)
		return ctl_usage_error("sessions",
				       "\"%s\" is one word too many",
				       argv[optind + 1]);
	rc = api_get("sessions", &o.target, "/api/v1/sessions", &sessions);
	if (rc != CTL_OK)
		return rc;
	if (o.json) {
		filter_sessions(sessions, filter);
		return api_print_json("sessions", sessions);
	}
	show_sessions(&text, sessions, filter);
	return api_print_text("sessions", &text);
}
