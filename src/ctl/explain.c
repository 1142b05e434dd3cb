/**
 * @file ctl/explain.c  mediaproxy explain: what happened to a call
 */
#include <getopt.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/api.h"
#include "ctl/ctl.h"
#include "ctl/show.h"
#include "ctl/table.h"
#include "version.h"

#define COMMAND "explain"

static const char help[] =
	"Usage: mediaproxy explain [OPTION]... CALL-ID\n"
	"\n"
	"Tell what happened to a call, in the order of time: what its SDP "
	"said, whose media\n"
	"was taken by which rule, whose was refused and why. The last lines "
	"say for each\n"
	"direction whether one party hears the other, and if not, why.\n"
	"A dispatcher asks its relays. Each remembers the last 1,000 calls "
	"that have ended,\n"
	"until it is restarted.\n"
	"\n"
	"  --runtime-dir DIR  where media-dispatcher.ctl or media-relay.ctl "
	"is\n"
	"                     (default " DEFAULT_RUNTIME_DIR ")\n"
	"  --socket PATH      ask at this control socket\n"
	"  --json             print the daemon's JSON, for programs\n"
	"\n"
	"Examples:\n"
	"  mediaproxy explain 3848276298220188511@example.com\n"
	"  mediaproxy explain --json CALL-ID | jq -r "
	"'.[].diagnosis[]?.verdict'\n";

/* @return 0 to go on, or an exit status + 1 */
static int read_command_line(int argc, char **argv, struct api_options *o,
			     const char **ret_call_id)
{
	int rc = api_read_options(COMMAND, help, argc, argv, o);

	if (rc > 0)
		return rc;
	if (optind == argc || argv[optind][0] == '\0')
		return ctl_usage_error(COMMAND, "which call? Its call-id is "
						"needed") +
		       1;
	if (argc - optind > 1)
		return ctl_usage_error(COMMAND, "\"%s\" is one word too many",
				       argv[optind + 1]) +
		       1;
	*ret_call_id = argv[optind];
	return 0;
}

/* A dispatcher puts one of these in the place of a relay that did not say. */
static bool is_silent_relay(const json_t *item)
{
	return !json_object_get(item, "call_id");
}

static size_t add_stories(struct buf *out, const json_t *items)
{
	size_t told = 0;
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		if (is_silent_relay(item))
			continue;
		if (told++ > 0)
			buf_char(out, '\n');
		show_story(out, item);
	}
	return told;
}

static void add_silent(struct buf *out, const json_t *items, const char *before)
{
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		char text[64];

		if (!is_silent_relay(item))
			continue;
		buf_printf(out, "%sRelay ", before);
		table_safe_text(out, api_text(item, "ip", text), 0);
		buf_add(out, SPAN(" did not answer, or is too old to be asked "
				  "from here: ask on its own host"));
	}
}

static int say_unknown(const char *call_id, const json_t *items)
{
	CLEANUP(buf_done) struct buf why = {0};

	buf_add(&why, SPAN("no call with call-id "));
	table_safe_text(&why, call_id, 0);
	buf_add(&why, SPAN(" is known. A relay remembers the last 1,000 that "
			   "have ended; \"mediaproxy history\" has their "
			   "records"));
	add_silent(&why, items, ". ");
	return ctl_fail(COMMAND, "%s", why.data ? why.data : "out of memory");
}

int ctl_explain(int argc, char **argv)
{
	struct api_options o = {.target = {.runtime_dir = DEFAULT_RUNTIME_DIR}};
	CLEANUP(buf_done) struct buf path = {0}, text = {0};
	json_auto_t *items = NULL;
	const char *call_id = NULL;
	int rc = read_command_line(argc, argv, &o, &call_id);

	if (rc > 0)
		return rc - 1;
	buf_add(&path, SPAN("/api/v1/explain"));
	api_add_parameter(&path, "call_id", call_id);
	if (buf_failed(&path))
		return ctl_fail(COMMAND, "out of memory");
	rc = api_get(COMMAND, &o.target, path.data, &items);
	if (rc != CTL_OK)
		return rc;
	if (!json_is_array(items))
		return ctl_fail(COMMAND, "the daemon answers with what is no "
					 "list of stories");
	if (o.json && (rc = api_print_json(COMMAND, items)) != CTL_OK)
		return rc;
	if (add_stories(&text, items) == 0)
		return say_unknown(call_id, items);
	/* What is told may not be all. */
	add_silent(&text, items, "\n");
	if (text.len > 0 && text.data[text.len - 1] != '\n')
		buf_char(&text, '\n');
	return o.json ? CTL_OK : api_print_text(COMMAND, &text);
}
