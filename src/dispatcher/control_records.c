#include <jansson.h>

#include "dispatcher/control_records.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

#define DEFAULT_LIMIT 100
#define MAX_LIMIT 1000
/* A page ends behind the record that fills it, so it has one at least. */
#define PAGE_BYTES (4u << 20)

static void refuse_for_memory(struct management_request *request)
{
	management_request_refuse(request, 503, "out of memory");
}

/* Rows */

static void row_read(const struct span *row, int err, const char *why,
		     void *arg)
{
	struct management_request *request = arg;

	if (row)
		json_raw(management_request_item(request), NULL, *row);
	else if (err == 0)
		management_request_finish(request);
	else
		management_request_refuse(request, 503, why);
}

static void show_rows(struct accounting *accounting,
		      struct management_request *request,
		      struct accounting_query *query)
{
	uint64_t limit = DEFAULT_LIMIT;
	uint64_t before = 0;

	if (management_request_number(request, "limit", 1, MAX_LIMIT, &limit) <
		    0 ||
	    management_request_number(request, "before", 1, INT64_MAX,
				      &before) < 0)
		return;
	query->max = (int64_t)limit;
	query->before = (int64_t)before;
	query->max_bytes = PAGE_BYTES;
	if (accounting_show(accounting, query, row_read, request) < 0)
		refuse_for_memory(request);
}

void control_show_history(struct accounting *accounting,
			  struct management_request *request)
{
	struct accounting_query query = {
		.call_id = span_of(
			management_request_parameter(request, "call_id"))};

	show_rows(accounting, request, &query);
}

void control_show_set_aside(struct accounting *accounting,
			    struct management_request *request)
{
	struct accounting_query query = {
		.aside = true,
		.backend = span_of(
			management_request_parameter(request, "backend"))};

	show_rows(accounting, request, &query);
}

void control_show_accounting(struct accounting *accounting,
			     struct management_request *request)
{
	if (accounting_show_status(accounting, row_read, request) < 0)
		refuse_for_memory(request);
}

/* Trying again */

static void retry_is_on_disk(int err, int64_t count, void *arg)
{
	struct management_request *request = arg;
	struct json_writer *w;

	if (err < 0) {
		management_request_refuse(request, 503,
					  err == -ESHUTDOWN
						  ? "the dispatcher stops"
						  : "it cannot be written to "
						    "the disk");
		return;
	}
	w = management_request_item(request);
	json_object_begin(w, NULL);
	json_i64(w, "retried", count);
	json_object_end(w);
	management_request_finish(request);
}

static void refuse_backend(const struct accounting *accounting,
			   struct management_request *request)
{
	CLEANUP(buf_done) struct buf why = {0};
	size_t start;

	buf_printf(&why, "no such backend is configured; there is ");
	start = why.len;
	accounting_write_names(accounting, &why);
	if (why.len == start)
		buf_printf(&why, "none");
	management_request_refuse(request, 400,
				  why.data ? why.data : "out of memory");
}

/* An empty text is as wrong as an unknown one: it is not to mean "all". */
static void retry(struct accounting *accounting,
		  struct management_request *request, const char *backend,
		  const char *record_id)
{
	if (backend && !accounting_has_backend(accounting, span_of(backend)))
		refuse_backend(accounting, request);
	else if (record_id && record_id[0] == '\0')
		management_request_refuse(request, 400, "record_id is empty");
	else if (accounting_retry(accounting, span_of(backend),
				  span_of(record_id), retry_is_on_disk,
				  request) < 0)
		refuse_for_memory(request);
}

void control_retry(struct accounting *accounting,
		   struct management_request *request)
{
	struct span body = management_request_body(request);
	const char *backend = NULL, *record_id = NULL;
	json_error_t error;
	json_t *json;

	if (body.len == 0)
		body = SPAN("{}");
	json = json_loadb(body.ptr, body.len, 0, &error);
	/* Strict, for a key that is written wrong. */
	if (!json || json_unpack_ex(json, &error, 0, "{s?s, s?s !}", "backend",
				    &backend, "record_id", &record_id) < 0)
		management_request_refuse(
			request, 400,
			"the body is to be {\"backend\": \"...\", "
			"\"record_id\": \"...\"}; both may be left out");
	else
		retry(accounting, request, backend, record_id);
	json_decref(json);
}
