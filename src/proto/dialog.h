#pragma once
/**
 * @file proto/dialog.h  Ending a dialog at the SIP proxy: the words for it
 *
 * The module mediaproxy names a dialog in another form than the proxy's own
 * management interface takes, and each proxy has another interface: OpenSIPS 3
 * and Kamailio take JSON-RPC 2.0 in datagrams, older OpenSIPS a text of its
 * own. docs/protocols.md has the forms. No I/O; the only allocations are those
 * of the buffer and of jansson.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

/** A dialog in the proxy's memory: the slot of its hash table, and its number
 * there. */
struct dialog_id {
	uint32_t h_entry, h_id;
	bool is_pair; /* came as "h_entry:h_id", not as one decimal */
};

/**
 * Read the dialog_id of an update: one decimal, h_entry * 2^32 + h_id, or two
 * decimals with a colon between.
 *
 * @return 0 or -EBADMSG
 */
int dialog_id_decode(struct span text, struct dialog_id *ret);

#define DIALOG_DID_SIZE 18

/** The DID of OpenSIPS 3: the hexadecimal digits of each number in reverse
 * order, a dot between. @return text */
const char *dialog_did_format(const struct dialog_id *id,
			      char text[static DIALOG_DID_SIZE]);

enum dialog_form {
	DIALOG_FORM_DID,      /* OpenSIPS 3: dlg_end_dlg with the DID */
	DIALOG_FORM_CALL_ID,  /* OpenSIPS 3: dlg_end_dlg with the Call-ID */
	DIALOG_FORM_KAMAILIO, /* dlg.end_dlg with two integers */
	DIALOG_FORM_TEXT      /* OpenSIPS 1 and 2: the text :dlg_end_dlg: */
};

/** For the log: what is called, and with what. */
const char *dialog_form_name(enum dialog_form form);

/**
 * Write the datagram that ends a dialog.
 *
 * @param number   becomes the "id", as 8 hexadecimal digits; the text form has
 *                 none
 * @param call_id  for DIALOG_FORM_CALL_ID
 */
void dialog_request_encode(struct buf *out, enum dialog_form form,
			   uint32_t number, const struct dialog_id *id,
			   struct span call_id);

enum dialog_verdict {
	DIALOG_ENDED,
	DIALOG_NOT_FOUND, /* 404: the proxy has no such dialog */
	DIALOG_REFUSED,   /* another error, with code and reason */
	DIALOG_GARBAGE    /* neither JSON-RPC nor text with a status */
};

/** Whose answer it is. */
enum dialog_answer_to {
	DIALOG_TO_NUMBER, /* of the request with this number */
	DIALOG_TO_NOBODY, /* its "id" is none of ours */
	DIALOG_TO_ANYBODY /* it does not say */
};

#define DIALOG_REASON_SIZE 128

struct dialog_answer {
	enum dialog_verdict verdict;
	enum dialog_answer_to to;
	uint32_t number;
	bool is_json;
	int code;                        /* 0: there is none */
	char reason[DIALOG_REASON_SIZE]; /* cut; of garbage its beginning */
};

/** Read an answer. Whatever it is, there is a verdict. */
void dialog_answer_decode(struct span datagram, struct dialog_answer *ret);
