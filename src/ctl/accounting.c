/**
 * @file ctl/accounting.c  mediaproxy accounting: what becomes of the records
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "ctl/pages.h"
#include "ctl/show.h"
#include "version.h"

#define COMMAND "accounting"
#define PATH "/api/v1/accounting"
#define DEFAULT_LIMIT 100
#define MAX_LIMIT 1000000

static const char help[] =
	"Usage: mediaproxy accounting [OPTION]...\n"
	"       mediaproxy accounting list [OPTION]... [BACKEND]\n"
	"       mediaproxy accounting retry [OPTION]... [BACKEND]\n"
	"       mediaproxy accounting export [OPTION]... [BACKEND]\n"
	"\n"
	"Show what the backends of accounting do: whether they take records, "
	"how many wait\n"
	"on disk for them, and how many they have refused for good. Those are "
	"set aside:\n"
	"\n"
	"  list      which they are, newest first, and why\n"
	"  retry     try them again, once the reason is gone\n"
	"  export    write their records to standard output, a line of JSON "
	"each\n"
	"\n"
	"  --limit N          list: at most so many (default 100)\n"
	"  --before SEQ       list: only what stands before this one, the "
	"\"seq\" of\n"
	"                     --json\n"
	"  --record ID        retry: this record alone\n"
	"  --all              export: every record that is kept, delivered or "
	"not\n"
	"  --runtime-dir DIR  where media-dispatcher.ctl is "
	"(default " DEFAULT_RUNTIME_DIR ")\n"
	"  --socket PATH      ask at this control socket\n"
	"  --json             print the dispatcher's JSON, for programs\n"
	"\n"
	"Examples:\n"
	"  mediaproxy accounting\n"
	"  mediaproxy accounting list radius\n"
	"  mediaproxy accounting retry radius\n"
	"  mediaproxy accounting export --all > records.jsonl\n";

struct accounting_command {
	struct api_options o;
	const char *action;  /* "" for none */
	const char *backend; /* NULL: all */
	const char *limit_text, *before_text, *record;
	bool all;
	struct pages pages;
	uint64_t limit;
};

/* What an action has of the options, as usage errors say it. */
static int check_options(const struct accounting_command *c)
{
	const struct {
		const char *option, *action;
		bool is_given;
	} options[] = {
		{"--limit", "list", c->limit_text != NULL},
		{"--before", "list", c->before_text != NULL},
		{"--record", "retry", c->record != NULL},
		{"--all", "export", c->all},
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].is_given &&
		    strcmp(options[i].action, c->action) != 0)
			return ctl_usage_error(
				COMMAND, "%s is an option of \"%s\"",
				options[i].option, options[i].action);
	if (c->all && c->backend)
		return ctl_usage_error(COMMAND,
				       "--all has every record, whatever "
				       "became of it at \"%s\"",
				       c->backend);
	return CTL_OK;
}

static int read_words(struct accounting_command *c, int argc, char **argv)
{
	static const char *const actions[] = {"list", "retry", "export"};
	int count = argc - optind;

	if (count == 0)
		return check_options(c);
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(argv[optind], actions[i]) == 0)
			c->action = actions[i];
	if (c->action[0] == '\0')
		return ctl_usage_error(COMMAND,
				       "\"%s\" is none of list, retry and "
				       "export",
				       argv[optind]);
	if (count > 2)
		return ctl_usage_error(COMMAND, "\"%s\" is one word too many",
				       argv[optind + 2]);
	c->backend = count > 1 ? argv[optind + 1] : NULL;
	if (c->backend && c->backend[0] == '\0')
		return ctl_usage_error(COMMAND, "the backend's name is empty");
	return check_options(c);
}

/* @return 0 to go on, or an exit status + 1 */
static int read_command_line(struct accounting_command *c, int argc,
			     char **argv)
{
	const struct api_more_option more[] = {
		{.name = "limit", .value = &c->limit_text},
		{.name = "before", .value = &c->before_text},
		{.name = "record", .value = &c->record},
		{.name = "all", .flag = &c->all},
	};
	int rc;

	c->o.more = more;
	c->o.more_count = ARRAY_SIZE(more);
	rc = api_read_options(COMMAND, help, argc, argv, &c->o);
	if (rc > 0)
		return rc;
	rc = read_words(c, argc, argv);
	if (rc != CTL_OK)
		return rc + 1;
	if (c->limit_text && !ctl_number(COMMAND, "--limit", c->limit_text, 1,
					 MAX_LIMIT, &c->limit))
		return CTL_USAGE + 1;
	if (c->before_text && !ctl_number(COMMAND, "--before", c->before_text,
					  1, INT64_MAX, &c->pages.before))
		return CTL_USAGE + 1;
	return 0;
}

static int status(struct accounting_command *c)
{
	CLEANUP(buf_done) struct buf text = {0};
	json_auto_t *answer = NULL;
	int rc = api_get(COMMAND, &c->o.target, PATH, &answer);

	if (rc != CTL_OK)
		return rc;
	if (c->o.json)
		return api_print_json(COMMAND, answer);
	show_accounting(&text, answer);
	return api_print_text(COMMAND, &text);
}

static void show_list(struct buf *out, const struct accounting_command *c,
		      const json_t *rows)
{
	size_t count = json_array_size(rows);

	if (count == 0) {
		buf_add(out, SPAN("Nothing is set aside.\n"));
		return;
	}
	show_set_aside(out, rows);
	buf_printf(out, "\n%zu set aside", count);
	if (count >= c->limit)
		buf_printf(out, "; older ones: --before %llu",
			   (unsigned long long)c->pages.before);
	buf_char(out, '\n');
}

static int list(struct accounting_command *c)
{
	CLEANUP(buf_done) struct buf text = {0};
	json_auto_t *rows = NULL;
	int rc;

	c->pages.left = c->limit;
	rc = pages_all(&c->pages, &rows);
	if (rc != CTL_OK)
		return rc;
	if (c->o.json)
		return api_print_json(COMMAND, rows);
	show_list(&text, c, rows);
	return api_print_text(COMMAND, &text);
}

static int retry(struct accounting_command *c)
{
	json_auto_t *body = json_object();
	json_auto_t *answer = NULL;
	json_int_t count;
	int rc;

	if ((c->backend && json_object_set_new(body, "backend",
					       json_string(c->backend)) < 0) ||
	    (c->record && json_object_set_new(body, "record_id",
					      json_string(c->record)) < 0))
		return ctl_usage_error(COMMAND, "what is given is no UTF-8");
	rc = api_put(COMMAND, &c->o.target, PATH "/retry", body, &answer);
	if (rc != CTL_OK)
		return rc;
	if (c->o.json)
		return api_print_json(COMMAND, answer);
	count = json_integer_value(json_object_get(answer, "retried"));
	if (count == 0)
		(void)puts("Nothing is set aside that could be tried again.");
	else
		(void)printf("%" JSON_INTEGER_FORMAT " record%s tried again.\n",
			     count, count == 1 ? " is" : "s are");
	return CTL_OK;
}

/* A record that two backends have set aside stands in two rows, one after the
 * other. */
static int print_records(const json_t *page, json_int_t *last_seq)
{
	json_t *row;
	size_t i;

	json_array_foreach(page, i, row)
	{
		json_int_t seq =
			json_integer_value(json_object_get(row, "seq"));

		if (seq == *last_seq)
			continue;
		*last_seq = seq;
		if (json_dumpf(json_object_get(row, "record"), stdout,
			       JSON_ENSURE_ASCII) < 0 ||
		    putchar('\n') == EOF)
			return ctl_fail(COMMAND, "cannot write the records");
	}
	return CTL_OK;
}

static int export(struct accounting_command *c)
{
	json_int_t last_seq = 0;
	bool more = true;

	if (c->all)
		c->pages.path = "/api/v1/history";
	c->pages.left = UINT64_MAX;
	while (more) {
		json_auto_t *page = NULL;
		int rc = pages_next(&c->pages, &page);

		if (rc == CTL_OK)
			rc = print_records(page, &last_seq);
		if (rc != CTL_OK)
			return rc;
		more = json_array_size(page) > 0;
	}
	/* A file that lacks its end must not look like all of them. */
	if (fflush(stdout) != 0)
		return ctl_fail(COMMAND, "cannot write the records");
	return CTL_OK;
}

int ctl_accounting(int argc, char **argv)
{
	struct accounting_command c = {
		.o.target = {.runtime_dir = DEFAULT_RUNTIME_DIR,
			     .dispatcher_only = true},
		.action = "",
		.limit = DEFAULT_LIMIT,
		.pages = {.command = COMMAND,
			  .path = PATH "/set-aside",
			  .name = "backend"},
	};
	int rc = read_command_line(&c, argc, argv);

	if (rc > 0)
		return rc - 1;
	c.pages.target = &c.o.target;
	c.pages.value = c.backend;
	if (strcmp(c.action, "list") == 0)
		return list(&c);
	if (strcmp(c.action, "retry") == 0)
		return retry(&c);
	if (strcmp(c.action, "export") == 0)
		return export(&c);
	return status(&c);
}
