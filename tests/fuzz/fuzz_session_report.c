/** @file tests/fuzz/fuzz_session_report.c  A relay's statistics, as its
 * dispatcher reads them and passes them on */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "link/session_report.h"
#include "management/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_report(const struct session_report *report, void *arg)
{
	const struct span *whole = arg;

	if (report->call_id.len == 0 || report->json.ptr < whole->ptr ||
	    report->json.ptr + report->json.len > whole->ptr + whole->len ||
	    report->json.len < 2)
		abort();
}

/* Whatever jansson reads, the scanner finds the end of. */
static void check_scan(struct span text)
{
	struct span rest = text, value;
	json_error_t error;
	json_t *json =
		json_loadb(text.ptr, text.len,
			   JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, &error);

	if (json_scan_value(&rest, &value) == 0) {
		if (value.len == 0 || value.ptr < text.ptr ||
		    value.ptr + value.len != rest.ptr ||
		    rest.ptr + rest.len != text.ptr + text.len)
			abort();
		if (json && value.ptr + value.len != text.ptr + error.position)
			abort();
	}
	json_decref(json);
}

/* The array of a page lies inside it. */
static void check_page(struct span text)
{
	struct span array;
	uint64_t next;

	if (session_page_split(text, &array, &next) < 0)
		return;
	if (array.ptr < text.ptr ||
	    array.ptr + array.len >= text.ptr + text.len)
		abort();
	(void)session_reports_decode(array, on_report, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_make(data, size);

	(void)session_report_decode(text, on_report, &text);
	(void)session_reports_decode(text, on_report, &text);
	check_page(text);
	check_scan(text);
	return 0;
}
