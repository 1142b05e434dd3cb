#pragma once
/**
 * @file dispatcher/dialog_forms.h  In which form to ask which SIP proxy to end
 * a dialog
 *
 * The form of the dialog id tells OpenSIPS 3 (one decimal) from the others;
 * whether two decimals are Kamailio's or an older OpenSIPS's only shows when it
 * is asked. What worked is remembered, and forgotten when it fails, so that a
 * proxy that was exchanged is found again. Facts in, verdict out.
 */
#include <stdbool.h>

#include "conf/conf.h"
#include "proto/dialog.h"

/** What came of asking. */
enum dialog_outcome {
	DIALOG_OUTCOME_ENDED,
	DIALOG_OUTCOME_NOT_FOUND,   /* the proxy has no such dialog any more */
	DIALOG_OUTCOME_REFUSED,     /* another error */
	DIALOG_OUTCOME_GARBAGE,     /* an answer that cannot be read */
	DIALOG_OUTCOME_SILENT,      /* no answer in time */
	DIALOG_OUTCOME_UNREACHABLE, /* nothing could be sent */
	DIALOG_OUTCOME_INVALID,     /* the dialog id cannot be read */
	DIALOG_OUTCOME_NO_ROOM      /* too many wait already, or no memory */
};
#define DIALOG_OUTCOME_COUNT (DIALOG_OUTCOME_NO_ROOM + 1)

struct dialog_forms {
	enum conf_mi_format format;
	struct {
		unsigned preferred; /* which of the two forms is first */
		bool is_known;      /* it has worked */
	} memory[2];                /* for decimals and for pairs */
};

/** Whom a dialog is asked for by. */
struct dialog_target {
	struct dialog_id id;
	bool by_call_id; /* its Call-ID means no other dialog that is up */
};

/** The form to begin with. */
enum dialog_form dialog_forms_first(const struct dialog_forms *forms,
				    const struct dialog_target *target);

/**
 * Does each answer tell whose it is? If not, or not yet, only one request may
 * be under way.
 */
bool dialog_forms_are_numbered(const struct dialog_forms *forms,
			       const struct dialog_target *target,
			       enum dialog_form form);

/** Remember what came of asking in this form. */
void dialog_forms_learn(struct dialog_forms *forms,
			const struct dialog_target *target,
			enum dialog_form form, enum dialog_outcome outcome);

/**
 * Is it worth asking in another form, after this outcome of the first one?
 *
 * @param ret  Set if it is
 */
bool dialog_forms_second(const struct dialog_forms *forms,
			 const struct dialog_target *target,
			 enum dialog_form first, enum dialog_outcome outcome,
			 enum dialog_form *ret);
