/** @file ctl/show_records.c  Records, and what becomes of them */
#include "ctl/show_internal.h"

#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "ctl/api.h"

const char *show_local_time(double unix_time, char text[static SHOW_TIME_SIZE])
{
	time_t seconds = 0;
	struct tm tm;

	/* What a stranger's relay calls a time may be any number. */
	if (unix_time > 0 && unix_time < 1e12)
		seconds = (time_t)unix_time;
	text[0] = '\0';
	if (seconds > 0 && localtime_r(&seconds, &tm))
		(void)strftime(text, SHOW_TIME_SIZE, "%Y-%m-%d %H:%M:%S", &tm);
	return text;
}

/* Records of MediaProxy 4 do not say it. */
static double ended_at(const json_t *row, const json_t *record)
{
	double end = show_number(record, "end_time");
	double start = show_number(record, "start_time");

	if (end > 0)
		return end;
	return start > 0 ? start + show_number(record, "duration")
			 : show_number(row, "stored");
}

static const char *how_it_ended(const json_t *record, char text[static 64])
{
	const char *reason = api_text(record, "end_reason", text);

	if (reason[0] != '\0')
		return reason;
	return json_is_true(json_object_get(record, "timed_out")) ? "timeout"
								  : "removed";
}

/* Ended, call-id, from, to, duration, how, relay */
#define CALL_CELLS 7
static void add_call_cells(struct table *table, const json_t *row,
			   const json_t *record)
{
	CLEANUP(buf_done) struct buf duration = {0};
	char text[5][64], time[SHOW_TIME_SIZE];

	if (show_number(record, "start_time") > 0)
		api_format_duration(&duration, show_number(record, "duration"));
	else
		buf_printf(&duration, "no answer");
	table_cell(table, "%s", show_local_time(ended_at(row, record), time));
	table_cell(table, "%s", api_text(record, "call_id", text[0]));
	table_cell(table, "%s", api_text(record, "from_uri", text[1]));
	table_cell(table, "%s", api_text(record, "to_uri", text[2]));
	table_cell(table, "%s", show_buf(&duration));
	table_cell(table, "%s", how_it_ended(record, text[3]));
	table_cell(table, "%s", api_text(record, "relay", text[4]));
}

/* All streams of a record in two cells. */
static void add_stream_sums(struct table *table, const json_t *streams)
{
	CLEANUP(buf_done) struct buf names = {0};
	json_int_t caller = 0, callee = 0;
	json_t *stream;
	size_t i;

	json_array_foreach(streams, i, stream)
	{
		char text[3][64];

		buf_printf(&names, "%s%s %s / %s", i > 0 ? ", " : "",
			   api_text(stream, "media_type", text[0]),
			   api_text(stream, "caller_codec", text[1]),
			   api_text(stream, "callee_codec", text[2]));
		caller += show_integer(stream, "caller_packets");
		callee += show_integer(stream, "callee_packets");
	}
	table_cell(table, "%s", show_buf(&names));
	table_cell(table, "%" JSON_INTEGER_FORMAT " / %" JSON_INTEGER_FORMAT,
		   caller, callee);
}

void show_history(struct buf *out, const json_t *rows)
{
	static const struct table_column columns[] = {
		{"Ended", false, 0},   {"Call-ID", false, 32},
		{"From", false, 28},   {"To", false, 28},
		{"Duration", true, 0}, {"How", false, 20},
		{"Relay", false, 0},   {"Streams", false, 40},
		{"Packets", true, 0},
	};
	struct table table;
	json_t *row;
	size_t i;

	table_init(&table, columns, ARRAY_SIZE(columns));
	json_array_foreach(rows, i, row)
	{
		const json_t *record = json_object_get(row, "record");

		add_call_cells(&table, row, record);
		add_stream_sums(&table, json_object_get(record, "streams"));
	}
	table_write(&table, out);
	table_done(&table);
}

static void add_call(struct table *table, const json_t *row)
{
	const json_t *record = json_object_get(row, "record");
	const json_t *streams = json_object_get(record, "streams");
	json_t *stream;
	size_t i;

	add_call_cells(table, row, record);
	if (json_array_size(streams) == 0)
		show_empty_cells(table, SHOW_STREAM_CELLS);
	json_array_foreach(streams, i, stream)
	{
		if (i > 0)
			show_empty_cells(table, CALL_CELLS);
		show_stream_cells(table, stream);
	}
}

void show_history_streams(struct buf *out, const json_t *rows)
{
	static const struct table_column columns[] = {
		{"Ended", false, 0},   {"Call-ID", false, 32},
		{"From", false, 28},   {"To", false, 28},
		{"Duration", true, 0}, {"How", false, 20},
		{"Relay", false, 0},   {"Media", false, 12},
		{"Status", false, 0},  {"Codecs", false, 24},
		{"Caller", false, 0},  {"Callee", false, 0},
		{"Packets", true, 0},
	};
	struct table table;
	json_t *row;
	size_t i;

	table_init(&table, columns, ARRAY_SIZE(columns));
	json_array_foreach(rows, i, row) add_call(&table, row);
	table_write(&table, out);
	table_done(&table);
}

/* Accounting */

static void add_backend(struct table *table, const json_t *backend)
{
	CLEANUP(buf_done) struct buf down = {0};
	char text[6][64];

	if (json_object_get(backend, "down_for"))
		api_format_duration(&down, show_number(backend, "down_for"));
	table_cell(table, "%s", api_text(backend, "name", text[0]));
	table_cell(table, "%s", api_text(backend, "state", text[1]));
	table_cell(table, "%s", api_text(backend, "waiting", text[2]));
	table_cell(table, "%s", api_text(backend, "delivered", text[3]));
	/* Without the disk nobody knows it. */
	table_cell(table, "%s",
		   json_object_get(backend, "aside")
			   ? api_text(backend, "aside", text[4])
			   : "?");
	table_cell(table, "%s", show_buf(&down));
	table_cell(table, "%s", api_text(backend, "why", text[5]));
}

static void add_backends(struct buf *out, const json_t *backends)
{
	static const struct table_column columns[] = {
		{"Backend", false, 0},  {"State", false, 0},
		{"Waiting", true, 0},   {"Delivered", true, 0},
		{"Set aside", true, 0}, {"Down for", true, 0},
		{"Why", false, 0},
	};
	struct table table;
	json_t *backend;
	size_t i;

	if (json_array_size(backends) == 0) {
		buf_add(out, SPAN("No backend is configured ([Dispatcher] "
				  "accounting): records are kept for "
				  "\"mediaproxy\nhistory\" alone.\n"));
		return;
	}
	table_init(&table, columns, ARRAY_SIZE(columns));
	json_array_foreach(backends, i, backend) add_backend(&table, backend);
	table_write(&table, out);
	table_done(&table);
}

void show_accounting(struct buf *out, const json_t *status)
{
	const json_t *accounting = json_object_get(status, "accounting");
	bool failing =
		json_is_true(json_object_get(accounting, "disk_failing"));

	buf_printf(out, "Disk     %s, %.1f MiB",
		   failing ? "cannot be written" : "in order",
		   show_number(accounting, "disk_bytes") / (1 << 20));
	if (failing || show_integer(accounting, "disk_waiting") > 0)
		buf_printf(out, ", %" JSON_INTEGER_FORMAT " writes wait",
			   show_integer(accounting, "disk_waiting"));
	buf_printf(out,
		   "\nRecords  %" JSON_INTEGER_FORMAT
		   " stored since the start, %" JSON_INTEGER_FORMAT " lost\n\n",
		   show_integer(accounting, "stored"),
		   show_integer(accounting, "lost"));
	add_backends(out, json_object_get(accounting, "backends"));
}

static void add_refused(struct table *table, const json_t *row)
{
	const json_t *record = json_object_get(row, "record");
	char text[4][64], time[SHOW_TIME_SIZE];

	table_cell(table, "%s",
		   show_local_time(show_number(row, "stored"), time));
	table_cell(table, "%s", api_text(row, "backend", text[0]));
	table_cell(table, "%s", api_text(record, "record_id", text[1]));
	table_cell(table, "%s", api_text(record, "call_id", text[2]));
	table_cell(table, "%s",
		   json_is_true(json_object_get(row, "retry"))
			   ? "waits to be tried again"
			   : api_text(row, "reason", text[3]));
}

void show_set_aside(struct buf *out, const json_t *rows)
{
	static const struct table_column columns[] = {
		{"Set aside", false, 0}, {"Backend", false, 0},
		{"Record", false, 0},    {"Call-ID", false, 32},
		{"Why", false, 0},
	};
	struct table table;
	json_t *row;
	size_t i;

	table_init(&table, columns, ARRAY_SIZE(columns));
	json_array_foreach(rows, i, row) add_refused(&table, row);
	table_write(&table, out);
	table_done(&table);
}
