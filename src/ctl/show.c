/** @file ctl/show.c */
#include "ctl/show_internal.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/api.h"
#include "ctl/table.h"

double show_number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

json_int_t show_integer(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* "audio 3, video 1": the members that are neither zero nor false. */
static void add_counts(struct buf *out, const json_t *counts)
{
	const char *key, *separator = "";
	json_t *value;

	json_object_foreach((json_t *)counts, key, value)
	{
		char text[64];

		if ((json_is_number(value) && json_number_value(value) == 0) ||
		    json_is_false(value) || json_is_array(value) ||
		    json_is_object(value))
			continue;
		buf_printf(out, "%s%s %s", separator, key,
			   api_text(counts, key, text));
		separator = ", ";
	}
}

const char *show_buf(const struct buf *buf)
{
	return buf->data ? buf->data : "";
}

static void add_relay_row(struct table *table, const json_t *relay)
{
	CLEANUP(buf_done) struct buf uptime = {0};
	CLEANUP(buf_done) struct buf streams = {0};
	CLEANUP(buf_done) struct buf rate = {0};
	char text[5][64];
	bool silent = !json_object_get(relay, "uptime");

	if (!silent) {
		api_format_duration(&uptime, show_number(relay, "uptime"));
		add_counts(&streams, json_object_get(relay, "stream_count"));
		api_format_rate(&rate, show_number(relay, "bps_relayed"));
	}
	table_cell(table, "%s", api_text(relay, "ip", text[0]));
	table_cell(table, "%s", api_text(relay, "status", text[1]));
	table_cell(table, "%s", api_text(relay, "version", text[2]));
	table_cell(table, "%s", show_buf(&uptime));
	table_cell(table, "%s", api_text(relay, "session_count", text[3]));
	table_cell(table, "%s", show_buf(&rate));
	table_cell(table, "%s", api_text(relay, "engine", text[4]));
	table_cell(table, "%s", show_buf(&streams));
}

static int longest_key(const json_t *object)
{
	const char *key;
	json_t *value;
	int longest = 0;

	json_object_foreach((json_t *)object, key,
			    value) if (!json_is_array(value) &&
				       (int)strlen(key) > longest) longest =
		(int)strlen(key);
	return longest;
}

/* All other members, one a line; of objects what is not zero. */
static void add_members(struct buf *out, const json_t *object)
{
	int width = longest_key(object) + 2;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value)
	{
		CLEANUP(buf_done) struct buf line = {0};
		char text[64];

		if (json_is_array(value))
			continue;
		if (strcmp(key, "uptime") == 0)
			api_format_duration(&line, json_number_value(value));
		else if (strcmp(key, "bps_relayed") == 0)
			api_format_rate(&line, json_number_value(value));
		else if (json_is_object(value))
			add_counts(&line, value);
		else
			buf_add(&line, span_of(api_text(object, key, text)));
		buf_add(out, SPAN("  "));
		table_safe_text(out, key, 0);
		buf_printf(out, "%*s", width - (int)strlen(key), "");
		table_safe_text(out, line.len ? line.data : "-", 0);
		buf_char(out, '\n');
	}
}

/* A table with an empty line before it, if there are any. */
static void add_interfaces(struct buf *out, const json_t *object)
{
	static const struct table_column columns[] = {
		{"Interface", false, 0},
		{"Engine", false, 0},
		{"Why", false, 0},
	};
	const json_t *interfaces = json_object_get(object, "interfaces");
	struct table table;
	json_t *interface;
	size_t i;

	if (json_array_size(interfaces) == 0)
		return;
	buf_char(out, '\n');
	table_init(&table, columns, ARRAY_SIZE(columns));
	json_array_foreach(interfaces, i, interface)
	{
		char text[3][64];

		table_cell(&table, "%s", api_text(interface, "name", text[0]));
		table_cell(&table, "%s",
			   api_text(interface, "engine", text[1]));
		table_cell(&table, "%s",
			   api_text(interface, "reason", text[2]));
	}
	table_write(&table, out);
	table_done(&table);
}

static void show_dispatcher(struct buf *out, const json_t *summary,
			    const json_t *relays)
{
	static const struct table_column columns[] = {
		{"Relay", false, 0},    {"Status", false, 0},
		{"Version", false, 20}, {"Uptime", true, 0},
		{"Sessions", true, 0},  {"Traffic", true, 0},
		{"Engine", false, 20},  {"Streams", false, 40},
	};
	struct table table;
	json_t *relay;
	size_t i;

	buf_add(out, SPAN("Dispatcher\n"));
	add_members(out, summary);
	buf_char(out, '\n');
	if (json_array_size(relays) == 0) {
		buf_add(out, SPAN("No relay is connected: calls go on without "
				  "media relay.\n"));
		return;
	}
	table_init(&table, columns, ARRAY_SIZE(columns));
	json_array_foreach(relays, i, relay) add_relay_row(&table, relay);
	table_write(&table, out);
	table_done(&table);
}

void show_summary(struct buf *out, const json_t *summary)
{
	const json_t *relays = json_object_get(summary, "relays");

	if (json_is_array(relays)) {
		show_dispatcher(out, summary, relays);
		return;
	}
	buf_add(out, SPAN("Relay\n"));
	add_members(out, summary);
	add_interfaces(out, summary);
}

void show_forwarding(struct buf *out, const json_t *forwarding)
{
	CLEANUP(buf_done) struct buf kernel = {0};
	char text[3][64];

	buf_add(out, SPAN("forwarding = "));
	table_safe_text(out, api_text(forwarding, "forwarding", text[0]), 0);
	buf_add(out, SPAN("; engine "));
	table_safe_text(out, api_text(forwarding, "engine", text[1]), 0);
	buf_add(out, SPAN(" ("));
	table_safe_text(out, api_text(forwarding, "reason", text[2]), 0);
	buf_add(out, SPAN(")\n"));
	add_interfaces(out, forwarding);
	buf_printf(out,
		   "\n%" JSON_INTEGER_FORMAT " flows installed, to "
		   "%" JSON_INTEGER_FORMAT " addresses by %" JSON_INTEGER_FORMAT
		   " next hops\n",
		   show_integer(forwarding, "flows"),
		   show_integer(forwarding, "destinations"),
		   show_integer(forwarding, "hops"));
	add_counts(&kernel, json_object_get(forwarding, "kernel"));
	if (kernel.len == 0)
		return;
	buf_add(out, SPAN("not forwarded there: "));
	table_safe_text(out, kernel.data, 0);
	buf_char(out, '\n');
}

static bool contains(const json_t *session, const char *key, const char *part)
{
	const char *text = json_string_value(json_object_get(session, key));

	return text && strstr(text, part) != NULL;
}

bool show_session_matches(const json_t *session, const char *filter)
{
	return !filter || contains(session, "call_id", filter) ||
	       contains(session, "from_uri", filter) ||
	       contains(session, "to_uri", filter);
}

static void add_session_cells(struct table *table, const json_t *session)
{
	CLEANUP(buf_done) struct buf duration = {0};
	char text[3][64];

	if (json_object_get(session, "duration"))
		api_format_duration(&duration,
				    show_number(session, "duration"));
	table_cell(table, "%s", api_text(session, "call_id", text[0]));
	table_cell(table, "%s", api_text(session, "from_uri", text[1]));
	table_cell(table, "%s", api_text(session, "to_uri", text[2]));
	table_cell(table, "%s",
		   json_is_null(json_object_get(session, "start_time"))
			   ? "not yet"
			   : show_buf(&duration));
}

void show_stream_cells(struct table *table, const json_t *stream)
{
	char text[6][64];

	table_cell(table, "%s", api_text(stream, "media_type", text[0]));
	table_cell(table, "%s", api_text(stream, "status", text[1]));
	table_cell(table, "%s / %s", api_text(stream, "caller_codec", text[2]),
		   api_text(stream, "callee_codec", text[3]));
	table_cell(table, "%s", api_text(stream, "caller_remote", text[4]));
	table_cell(table, "%s", api_text(stream, "callee_remote", text[5]));
	table_cell(table, "%" JSON_INTEGER_FORMAT " / %" JSON_INTEGER_FORMAT,
		   show_integer(stream, "caller_packets"),
		   show_integer(stream, "callee_packets"));
}

void show_empty_cells(struct table *table, int count)
{
	for (int i = 0; i < count; i++)
		table_cell(table, "%s", "");
}

static void add_session(struct table *table, const json_t *session)
{
	const json_t *streams = json_object_get(session, "streams");
	json_t *stream;
	size_t i;

	add_session_cells(table, session);
	if (json_array_size(streams) == 0)
		show_empty_cells(table, SHOW_STREAM_CELLS);
	json_array_foreach(streams, i, stream)
	{
		if (i > 0)
			show_empty_cells(table, 4);
		show_stream_cells(table, stream);
	}
}

void show_sessions(struct buf *out, const json_t *sessions, const char *filter)
{
	static const struct table_column columns[] = {
		{"Call-ID", false, 32}, {"From", false, 28},
		{"To", false, 28},      {"Duration", true, 0},
		{"Media", false, 12},   {"Status", false, 0},
		{"Codecs", false, 24},  {"Caller", false, 0},
		{"Callee", false, 0},   {"Packets", true, 0},
	};
	struct table table;
	json_t *session;
	size_t i, shown = 0;

	table_init(&table, columns, ARRAY_SIZE(columns));
	json_array_foreach(sessions, i, session)
	{
		if (!show_session_matches(session, filter))
			continue;
		add_session(&table, session);
		shown++;
	}
	if (shown > 0) {
		table_write(&table, out);
		buf_char(out, '\n');
	}
	table_done(&table);
	buf_printf(out, "%zu session%s", shown, shown == 1 ? "" : "s");
	if (shown < json_array_size(sessions))
		buf_printf(out, " of %zu", json_array_size(sessions));
	buf_char(out, '\n');
}
