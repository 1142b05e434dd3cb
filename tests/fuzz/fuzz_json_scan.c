/**
 * @file tests/fuzz/fuzz_json_scan.c  What relays send as JSON, in answers of
 * management
 *
 * Held against jansson: what it takes, the scanner takes too.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "management/json_scan.h"
#include "management/request_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void finished(struct management_request *request)
{
	json_t *json = json_loadb(request->out.data, request->out.len, 0, NULL);

	/* Whatever a relay sent, the answer is one array on one line. jansson
	 * refuses some values that are JSON, a NUL in a string for one. */
	if (memchr(request->out.data, '\n', request->out.len) ||
	    request->out.data[0] != '[' ||
	    request->out.data[request->out.len - 1] != ']')
		abort();
	json_decref(json);
	request_free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_make(data, size);
	struct span rest = text;
	struct span value;
	struct management_request *request =
		request_new(REQUEST_ARRAY, finished, &rest);
	json_t *json =
		json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
	bool taken = json_scan_value(&rest, &value) == 0 &&
		     json_scan_blanks(rest).len == 0;
	size_t depth = 0;

	for (size_t i = 0; i < size; i++)
		depth += data[i] == '[' || data[i] == '{';
	/* jansson takes a NUL for the end. */
	if (json && !taken && depth <= JSON_SCAN_MAX_DEPTH &&
	    !memchr(data, '\0', size))
		abort();
	json_decref(json);
	if (!request)
		return 0;
	(void)management_request_add_array(request, text);
	(void)management_request_add_object(request, text);
	management_request_finish(request);
	return 0;
}
