/**
 * @file ctl/history.c  mediaproxy history: the calls that have ended
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "ctl/pages.h"
#include "ctl/show.h"
#include "ctl/table.h"
#include "version.h"

#define COMMAND "history"
#define DEFAULT_LIMIT 20
#define MAX_LIMIT 1000000

static const char help[] =
	"Usage: mediaproxy history [OPTION]... [CALL-ID]\n"
	"\n"
	"List the calls that have ended, newest first: when and how, the "
	"codecs of their\n"
	"streams, and how many packets of caller and callee were relayed. "
	"With CALL-ID:\n"
	"that call alone, with a line for each stream and where its media "
	"came from.\n"
	"The dispatcher keeps them for [Accounting] history_time.\n"
	"\n"
	"  --limit N          at most so many (default 20)\n"
	"  --before SEQ       only what stands before this one, the \"seq\" of "
	"--json\n"
	"  --runtime-dir DIR  where media-dispatcher.ctl is "
	"(default " DEFAULT_RUNTIME_DIR ")\n"
	"  --socket PATH      ask at this control socket\n"
	"  --json             print the dispatcher's JSON, for programs\n"
	"\n"
	"Examples:\n"
	"  mediaproxy history\n"
	"  mediaproxy history 3848276298220188511@example.com\n"
	"  mediaproxy history --limit 1000 --json | jq -r "
	"'.[].record.call_id'\n";

struct history {
	struct api_options o;
	const char *limit_text, *before_text;
	struct pages pages;
	uint64_t limit;
};

/* @return 0 to go on, or an exit status + 1 */
static int read_command_line(struct history *h, int argc, char **argv)
{
	const struct api_more_option more[] = {
		{.name = "limit", .value = &h->limit_text},
		{.name = "before", .value = &h->before_text},
	};
	int rc;

	h->o.more = more;
	h->o.more_count = ARRAY_SIZE(more);
	rc = api_read_options(COMMAND, help, argc, argv, &h->o);
	if (rc > 0)
		return rc;
	if (argc - optind > 1)
		return ctl_usage_error(COMMAND, "\"%s\" is one word too many",
				       argv[optind + 1]) +
		       1;
	if (optind < argc && argv[optind][0] == '\0')
		return ctl_usage_error(COMMAND, "the call-id is empty") + 1;
	h->pages.value = optind < argc ? argv[optind] : NULL;
	if (h->limit_text && !ctl_number(COMMAND, "--limit", h->limit_text, 1,
					 MAX_LIMIT, &h->limit))
		return CTL_USAGE + 1;
	if (h->before_text && !ctl_number(COMMAND, "--before", h->before_text,
					  1, INT64_MAX, &h->pages.before))
		return CTL_USAGE + 1;
	h->pages.left = h->limit;
	return 0;
}

static void say_nothing_there(struct buf *out, const struct history *h)
{
	buf_add(out, SPAN("No record of a call"));
	if (h->pages.value) {
		buf_add(out, SPAN(" with call-id "));
		table_safe_text(out, h->pages.value, 0);
	}
	if (h->before_text)
		buf_printf(out, " before %s", h->before_text);
	buf_add(out, SPAN(" is kept.\n"));
}

static void show(struct buf *out, const struct history *h, const json_t *rows)
{
	size_t count = json_array_size(rows);

	if (count == 0) {
		say_nothing_there(out, h);
		return;
	}
	if (h->pages.value)
		show_history_streams(out, rows);
	else
		show_history(out, rows);
	buf_printf(out, "\n%zu record%s", count, count == 1 ? "" : "s");
	if (count >= h->limit)
		buf_printf(out, "; older ones: --before %llu",
			   (unsigned long long)h->pages.before);
	buf_char(out, '\n');
}

int ctl_history(int argc, char **argv)
{
	struct history h = {
		.o.target = {.runtime_dir = DEFAULT_RUNTIME_DIR,
			     .dispatcher_only = true},
		.limit = DEFAULT_LIMIT,
		.pages = {.command = COMMAND,
			  .path = "/api/v1/history",
			  .name = "call_id"},
	};
	CLEANUP(buf_done) struct buf text = {0};
	json_auto_t *rows = NULL;
	int rc = read_command_line(&h, argc, argv);

	if (rc > 0)
		return rc - 1;
	h.pages.target = &h.o.target;
	rc = pages_all(&h.pages, &rows);
	if (rc != CTL_OK)
		return rc;
	if (h.o.json)
		return api_print_json(COMMAND, rows);
	show(&text, &h, rows);
	return api_print_text(COMMAND, &text);
}
