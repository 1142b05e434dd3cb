/** @file ctl/show_story.c  What happened to a call, as text */
#include "ctl/show_internal.h"

#include "base/cleanup.h"
#include "ctl/api.h"

static void add_text(struct buf *out, const json_t *object, const char *key)
{
	char text[64];

	table_safe_text(out, api_text(object, key, text), 0);
}

static void add_head(struct buf *out, const json_t *story)
{
	char time[SHOW_TIME_SIZE];
	bool ended = json_is_string(json_object_get(story, "end_reason"));

	add_text(out, story, "call_id");
	buf_add(out, SPAN("  "));
	add_text(out, story, "from_uri");
	buf_add(out, SPAN(" -> "));
	add_text(out, story, "to_uri");
	buf_add(out, SPAN("\nrelay "));
	add_text(out, story, "relay");
	buf_add(out, SPAN(", engine "));
	add_text(out, story, "engine");
	buf_printf(out, ", began %s, %s %.1f s",
		   show_local_time(show_number(story, "began"), time),
		   ended ? "ended after" : "up for",
		   show_number(story, "duration"));
	if (ended) {
		buf_add(out, SPAN(": "));
		add_text(out, story, "end_reason");
	}
	buf_add(out, SPAN("\n\n"));
}

static void add_event(struct buf *out, const json_t *event)
{
	buf_printf(out, "%10.3f  ", show_number(event, "at"));
	add_text(out, event, "text");
	if (json_object_get(event, "until"))
		buf_printf(out, ", until %.3f", show_number(event, "until"));
	buf_char(out, '\n');
}

void show_story(struct buf *out, const json_t *story)
{
	const json_t *events = json_object_get(story, "events");
	const json_t *diagnosis = json_object_get(story, "diagnosis");
	json_int_t skipped = show_integer(story, "streams_not_told");
	json_t *item;
	size_t i;

	add_head(out, story);
	if (skipped > 0)
		buf_printf(out,
			   "            %" JSON_INTEGER_FORMAT
			   " older streams are not told\n",
			   skipped);
	json_array_foreach(events, i, item) add_event(out, item);
	if (json_array_size(diagnosis) > 0)
		buf_char(out, '\n');
	json_array_foreach(diagnosis, i, item)
	{
		add_text(out, item, "text");
		buf_char(out, '\n');
	}
}
