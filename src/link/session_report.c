#include "link/session_report.h"

#include <errno.h>

#include "base/cleanup.h"
#include "proto/json_read.h"

/* A call_id alone is what a relay of MediaProxy 4 writes when its reply would
 * be too long. */
static int report(const json_t *object, struct span json,
		  session_report_h *handler, void *arg)
{
	struct session_report r = {
		.call_id = json_member_text(object, "call_id"),
		.from_tag = json_member_text(object, "from_tag"),
		.to_tag = json_member_text(object, "to_tag"),
		.dialog_id = json_member_text(object, "dialog_id"),
		.record_id = json_member_text(object, "record_id"),
		.has_start_time =
			json_is_number(json_object_get(object, "start_time")),
		.timed_out = json_is_true(json_object_get(object, "timed_out")),
		.was_removed =
			span_equal(json_member_text(object, "end_reason"),
				   SPAN("removed")),
		.all_streams_ice = json_is_true(
			json_object_get(object, "all_streams_ice")),
		.json = json,
	};

	if (r.call_id.len == 0)
		return -EBADMSG;
	handler(&r, arg);
	return 0;
}

int session_report_decode(struct span json, session_report_h *handler,
			  void *arg)
{
	CLEANUP(json_freep) json_t *object = NULL;

	if (json.len > SESSION_REPORT_MAX_BYTES)
		return -EBADMSG;
	object = json_loadb(json.ptr, json.len, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(object))
		return -EBADMSG;
	return report(object, json, handler, arg);
}

static void skip(struct span *text, size_t len)
{
	text->ptr += len;
	text->len -= len;
}

static void skip_space(struct span *text)
{
	while (text->len > 0 && strchr(" \t\r\n", text->ptr[0]) &&
	       text->ptr[0] != '\0')
		skip(text, 1);
}

/* Take one character after white space, if it is that one. */
static bool take(struct span *text, char c)
{
	skip_space(text);
	if (text->len == 0 || text->ptr[0] != c)
		return false;
	skip(text, 1);
	return true;
}

/* Decode the object at the beginning of the text and skip it. */
static int take_object(struct span *text, session_report_h *handler, void *arg)
{
	CLEANUP(json_freep) json_t *object = NULL;
	size_t len = text->len;
	json_error_t error;
	size_t used;

	skip_space(text);
	if (text->len == 0 || text->ptr[0] != '{')
		return -EBADMSG;
	len = text->len;
	if (len > SESSION_REPORT_MAX_BYTES)
		len = SESSION_REPORT_MAX_BYTES;
	object = json_loadb(text->ptr, len,
			    JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, &error);
	if (!json_is_object(object) || error.position <= 0)
		return -EBADMSG;
	used = (size_t)error.position;
	if (used > text->len || text->ptr[used - 1] != '}' ||
	    report(object, span_make(text->ptr, used), handler, arg) < 0)
		return -EBADMSG;
	skip(text, used);
	return 0;
}

int session_reports_decode(struct span json, session_report_h *handler,
			   void *arg)
{
	struct span text = json;

	if (!take(&text, '['))
		return -EBADMSG;
	if (!take(&text, ']')) {
		do {
			if (take_object(&text, handler, arg) < 0)
				return -EBADMSG;
		} while (take(&text, ','));
		if (!take(&text, ']'))
			return -EBADMSG;
	}
	skip_space(&text);
	return text.len == 0 ? 0 : -EBADMSG;
}

int session_page_split(struct span json, struct span *ret_array,
		       uint64_t *ret_next)
{
	const struct span begin = SPAN("{\"sessions\": ");
	const struct span middle = SPAN(", \"next\": ");
	struct span rest = json;
	struct span digits;
	uint64_t next;

	if (!span_starts_with(rest, begin) ||
	    !span_cut_last(&rest, ' ', &digits))
		return -EBADMSG;
	/* The blank before the number is cut off, and is of the middle. */
	rest.len++;
	if (!span_ends_with(rest, middle) || !span_ends_with(digits, SPAN("}")))
		return -EBADMSG;
	digits.len--;
	if (rest.len < begin.len + middle.len ||
	    span_to_u64(digits, UINT64_MAX, &next) < 0)
		return -EBADMSG;
	*ret_array = span_make(rest.ptr + begin.len,
			       rest.len - begin.len - middle.len);
	*ret_next = next;
	return 0;
}
