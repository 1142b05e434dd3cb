#include "management/request.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "management/json_scan.h"
#include "management/request_internal.h"
#include "net/http_server.h"

struct management_request *
request_new(enum request_form form, request_finished_h *finished, void *owner)
{
	struct management_request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	list_init(&request->link);
	request->form = form;
	request->finished_h = finished;
	request->owner = owner;
	request->writer = json_writer_over(&request->out);
	if (form == REQUEST_RELAYS)
		json_object_begin(&request->writer, NULL);
	if (form == REQUEST_RELAYS || form == REQUEST_ARRAY)
		json_array_begin(&request->writer,
				 form == REQUEST_RELAYS ? "relays" : NULL);
	request->item_start = request->out.len;
	return request;
}

struct management_request *request_free(struct management_request *request)
{
	if (!request)
		return NULL;
	list_del(&request->link);
	buf_done(&request->out);
	buf_done(&request->call_id_json);
	free((char *)request->call_id.ptr);
	free(request);
	return NULL;
}

int request_set_call_id(struct management_request *request, struct span call_id)
{
	struct json_writer w = json_writer_over(&request->call_id_json);
	char *copy = span_dup(call_id);

	if (!copy)
		return -ENOMEM;
	request->call_id = span_make(copy, call_id.len);
	/* As a member of an object: `"call_id": "..."`. It can stand nowhere
	 * else in an object, since a quote inside a string is escaped. */
	json_span(&w, "call_id", call_id);
	return buf_failed(&request->call_id_json) ? -ENOMEM : 0;
}

void request_detach(struct management_request *request)
{
	list_del(&request->link);
	request->finished_h = NULL;
	request->owner = NULL;
	request->http = NULL;
	/* A failed buffer takes nothing more. */
	buf_done(&request->out);
	request->out.failed = true;
	if (request->finished)
		request_free(request);
}

static void end_item(struct management_request *request)
{
	if (request->form == REQUEST_LINES &&
	    request->out.len > request->item_start)
		buf_add(&request->out, SPAN("\r\n"));
	request->item_start = request->out.len;
}

struct json_writer *management_request_item(struct management_request *request)
{
	end_item(request);
	if (request->form == REQUEST_LINES || request->form == REQUEST_OBJECT)
		request->writer = json_writer_over(&request->out);
	return &request->writer;
}

static bool is_filtered_out(const struct management_request *request,
			    struct span item)
{
	const struct buf *member = &request->call_id_json;

	return member->len > 0 &&
	       !memmem(item.ptr, item.len, member->data, member->len);
}

/* Line ends between members are JSON, but not for the form of lines. */
static void add_without_line_ends(struct buf *out, struct span item)
{
	size_t start = out->len;

	buf_add(out, item);
	for (size_t i = start; i < out->len; i++)
		if (out->data[i] == '\r' || out->data[i] == '\n')
			out->data[i] = ' ';
}

static void add_item(struct management_request *request, struct span item)
{
	if (is_filtered_out(request, item))
		return;
	json_raw(management_request_item(request), NULL, SPAN(""));
	add_without_line_ends(&request->out, item);
}

int management_request_add_object(struct management_request *request,
				  struct span json)
{
	struct span item;

	json = json_scan_blanks(json);
	if (!span_starts_with(json, SPAN("{")) ||
	    json_scan_value(&json, &item) < 0 || json_scan_blanks(json).len > 0)
		return -EBADMSG;
	add_item(request, item);
	return 0;
}

int management_request_add_array(struct management_request *request,
				 struct span json)
{
	struct span item;

	json = json_scan_blanks(json);
	if (!span_starts_with(json, SPAN("[")))
		return -EBADMSG;
	json = json_scan_blanks(span_make(json.ptr + 1, json.len - 1));
	if (!span_starts_with(json, SPAN("]"))) {
		for (bool more = true; more;) {
			json = json_scan_blanks(json);
			if (!span_starts_with(json, SPAN("{")) ||
			    json_scan_value(&json, &item) < 0)
				return -EBADMSG;
			add_item(request, item);
			json = json_scan_blanks(json);
			more = span_starts_with(json, SPAN(","));
			if (more)
				json = span_make(json.ptr + 1, json.len - 1);
		}
	}
	if (!span_starts_with(json, SPAN("]")))
		return -EBADMSG;
	json = span_make(json.ptr + 1, json.len - 1);
	return json_scan_blanks(json).len > 0 ? -EBADMSG : 0;
}

bool management_request_wants(const struct management_request *request,
			      struct span call_id)
{
	return !request->call_id.ptr || span_equal(request->call_id, call_id);
}

bool management_request_is_wanted(const struct management_request *request)
{
	return request->finished_h != NULL;
}

const char *management_request_parameter(struct management_request *request,
					 const char *name)
{
	return request->http ? http_parameter(request->http, name) : NULL;
}

int management_request_number(struct management_request *request,
			      const char *name, uint64_t min, uint64_t max,
			      uint64_t *ret)
{
	const char *text = management_request_parameter(request, name);
	CLEANUP(buf_done) struct buf why = {0};
	uint64_t value;

	if (!text)
		return 0;
	if (span_to_u64(span_of(text), max, &value) == 0 && value >= min) {
		*ret = value;
		return 0;
	}
	buf_printf(&why, "%s: a whole number from %llu to %llu is needed", name,
		   (unsigned long long)min, (unsigned long long)max);
	management_request_refuse(request, 400,
				  why.data ? why.data : "out of memory");
	return -EINVAL;
}

struct span management_request_body(const struct management_request *request)
{
	return request->http ? http_body(request->http) : span_make(NULL, 0);
}

void management_request_refuse(struct management_request *request, int status,
			       const char *why)
{
	struct json_writer w = json_writer_over(&request->out);

	if (!request->finished_h) {
		request_free(request);
		return;
	}
	buf_reset(&request->out);
	json_object_begin(&w, NULL);
	json_text(&w, "error", why);
	json_object_end(&w);
	request->status = status;
	request->finished = true;
	request->finished_h(request);
}

void management_request_finish(struct management_request *request)
{
	if (!request->finished_h) {
		request_free(request);
		return;
	}
	end_item(request);
	if (request->form == REQUEST_LINES)
		buf_add(&request->out, SPAN("\r\n"));
	if (request->form == REQUEST_ARRAY || request->form == REQUEST_RELAYS)
		json_array_end(&request->writer);
	if (request->form == REQUEST_RELAYS) {
		request->handlers->facts(&request->writer,
					 request->handlers_arg);
		json_object_end(&request->writer);
	}
	request->finished = true;
	request->finished_h(request);
}
