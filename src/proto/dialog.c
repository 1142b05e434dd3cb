#include "proto/dialog.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "proto/json_read.h"

#define STATUS_NOT_FOUND 404

/* Dialog ids */

int dialog_id_decode(struct span text, struct dialog_id *ret)
{
	struct span rest = text, first;
	uint64_t h_entry, h_id;

	if (!span_cut(&rest, ':', &first)) {
		if (span_to_u64(text, UINT64_MAX, &h_id) < 0)
			return -EBADMSG;
		*ret = (struct dialog_id){.h_entry = (uint32_t)(h_id >> 32),
					  .h_id = (uint32_t)h_id};
		return 0;
	}
	if (span_to_u64(first, UINT32_MAX, &h_entry) < 0 ||
	    span_to_u64(rest, UINT32_MAX, &h_id) < 0)
		return -EBADMSG;
	*ret = (struct dialog_id){.h_entry = (uint32_t)h_entry,
				  .h_id = (uint32_t)h_id,
				  .is_pair = true};
	return 0;
}

/* @return where the text ends */
static char *reversed_hex(uint32_t number, char *text)
{
	do {
		*text++ = "0123456789abcdef"[number & 0xf];
		number >>= 4;
	} while (number > 0);
	return text;
}

const char *dialog_did_format(const struct dialog_id *id,
			      char text[static DIALOG_DID_SIZE])
{
	char *end = reversed_hex(id->h_entry, text);

	*end++ = '.';
	end = reversed_hex(id->h_id, end);
	*end = '\0';
	return text;
}

/* Requests */

const char *dialog_form_name(enum dialog_form form)
{
	static const char *const names[] = {
		[DIALOG_FORM_DID] = "dlg_end_dlg with the dialog's id",
		[DIALOG_FORM_CALL_ID] = "dlg_end_dlg with the Call-ID",
		[DIALOG_FORM_KAMAILIO] = "dlg.end_dlg",
		[DIALOG_FORM_TEXT] = "dlg_end_dlg as text",
	};

	return names[form];
}

static void write_params(struct json_writer *w, enum dialog_form form,
			 const struct dialog_id *id, struct span call_id)
{
	char did[DIALOG_DID_SIZE];

	json_array_begin(w, "params");
	if (form == DIALOG_FORM_DID) {
		json_text(w, NULL, dialog_did_format(id, did));
	} else if (form == DIALOG_FORM_CALL_ID) {
		json_span(w, NULL, call_id);
	} else {
		/* As strings Kamailio does not find them. */
		json_u64(w, NULL, id->h_entry);
		json_u64(w, NULL, id->h_id);
	}
	json_array_end(w);
}

void dialog_request_encode(struct buf *out, enum dialog_form form,
			   uint32_t number, const struct dialog_id *id,
			   struct span call_id)
{
	struct json_writer w = json_writer_over(out);
	char number_text[9];

	if (form == DIALOG_FORM_TEXT) {
		buf_printf(out, ":dlg_end_dlg:\n%u\n%u\n\n",
			   (unsigned)id->h_entry, (unsigned)id->h_id);
		return;
	}
	snprintf(number_text, sizeof(number_text), "%08x", (unsigned)number);
	json_object_begin(&w, NULL);
	json_text(&w, "jsonrpc", "2.0");
	json_text(&w, "id", number_text);
	json_text(&w, "method",
		  form == DIALOG_FORM_KAMAILIO ? "dlg.end_dlg" : "dlg_end_dlg");
	write_params(&w, form, id, call_id);
	json_object_end(&w);
}

/* Answers */

static void keep_reason(struct dialog_answer *answer, struct span reason)
{
	snprintf(answer->reason, sizeof(answer->reason), "%.*s",
		 SPAN_ARG(reason));
}

static bool hex_number(struct span text, uint32_t *ret)
{
	uint32_t number = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c >= '0' && c <= '9')
			number = number << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			number = number << 4 | (uint32_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret = number;
	return text.len == 8;
}

static void decode_id(const json_t *id, struct dialog_answer *ret)
{
	if (!id || json_is_null(id)) {
		ret->to = DIALOG_TO_ANYBODY;
		return;
	}
	ret->to = DIALOG_TO_NOBODY;
	if (json_is_string(id) &&
	    hex_number(span_make(json_string_value(id), json_string_length(id)),
		       &ret->number))
		ret->to = DIALOG_TO_NUMBER;
}

static void decode_error(const json_t *error, struct dialog_answer *ret)
{
	const json_t *message = json_object_get(error, "message");
	json_int_t code = json_integer_value(json_object_get(error, "code"));

	if (code >= INT_MIN && code <= INT_MAX)
		ret->code = (int)code;
	ret->verdict = ret->code == STATUS_NOT_FOUND ? DIALOG_NOT_FOUND
						     : DIALOG_REFUSED;
	if (json_is_string(message))
		keep_reason(ret, span_make(json_string_value(message),
					   json_string_length(message)));
}

/* An error may come without an id, from a proxy that could not read ours; a
 * result without one is no answer to anything. */
static void decode_json(const json_t *response, struct dialog_answer *ret)
{
	const json_t *error = json_object_get(response, "error");

	ret->is_json = true;
	decode_id(json_object_get(response, "id"), ret);
	if (json_is_object(error))
		decode_error(error, ret);
	else if (json_object_get(response, "result") &&
		 ret->to != DIALOG_TO_ANYBODY)
		ret->verdict = DIALOG_ENDED;
}

/* "200 OK", "404 ...": three digits, and then a blank or the end of the line.
 */
static void decode_text(struct span text, struct dialog_answer *ret)
{
	struct span rest = text, line, status;
	uint64_t code;

	if (!span_cut(&rest, '\n', &line))
		line = text;
	if (!span_cut(&line, ' ', &status)) {
		status = line;
		line.len = 0;
	}
	if (status.len != 3 || span_to_u64(status, 999, &code) < 0)
		return;
	ret->code = (int)code;
	keep_reason(ret, span_trim(line));
	if (code / 100 == 2)
		ret->verdict = DIALOG_ENDED;
	else
		ret->verdict = code == STATUS_NOT_FOUND ? DIALOG_NOT_FOUND
							: DIALOG_REFUSED;
}

void dialog_answer_decode(struct span datagram, struct dialog_answer *ret)
{
	CLEANUP(json_freep)
	json_t *response =
		json_loadb(datagram.ptr, datagram.len, JSON_ALLOW_NUL, NULL);

	*ret = (struct dialog_answer){
		.verdict = DIALOG_GARBAGE,
		.to = DIALOG_TO_ANYBODY,
	};
	if (json_is_object(response))
		decode_json(response, ret);
	else if (!response)
		decode_text(datagram, ret);
	if (ret->verdict == DIALOG_GARBAGE)
		keep_reason(ret, datagram);
}
