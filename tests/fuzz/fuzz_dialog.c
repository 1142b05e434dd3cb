/** @file tests/fuzz/fuzz_dialog.c  A SIP proxy's answer, and a dialog id */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/dialog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All that an id becomes is as long as it may be, and is read back as it was.
 */
static void try_id(struct span text)
{
	char did[DIALOG_DID_SIZE];
	struct buf request = {0};
	struct dialog_id id;

	if (dialog_id_decode(text, &id) < 0)
		return;
	if (strlen(dialog_did_format(&id, did)) >= sizeof(did))
		abort();
	for (int form = DIALOG_FORM_DID; form <= DIALOG_FORM_TEXT; form++)
		dialog_request_encode(&request, (enum dialog_form)form, 1, &id,
				      text);
	buf_done(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_make(data, size);
	struct dialog_answer answer;

	try_id(text);
	dialog_answer_decode(text, &answer);
	if (strlen(answer.reason) >= sizeof(answer.reason))
		abort();
	/* Whoever says nothing of a dialog has ended none. */
	if (answer.verdict == DIALOG_ENDED && answer.is_json &&
	    answer.to == DIALOG_TO_ANYBODY)
		abort();
	return 0;
}
