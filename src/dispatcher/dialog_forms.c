#include "dispatcher/dialog_forms.h"

struct choice {
	size_t count;
	enum dialog_form forms[2]; /* in the order of trying, where nothing is
				      remembered */
};

static struct choice choose(const struct dialog_forms *forms,
			    const struct dialog_target *target)
{
	enum conf_mi_format format = forms->format;

	if (format == CONF_MI_KAMAILIO)
		return (struct choice){1, {DIALOG_FORM_KAMAILIO}};
	if (format == CONF_MI_TEXT)
		return (struct choice){1, {DIALOG_FORM_TEXT}};
	if (format == CONF_MI_AUTO && target->id.is_pair)
		return (struct choice){
			2, {DIALOG_FORM_KAMAILIO, DIALOG_FORM_TEXT}};
	return (struct choice){target->by_call_id ? 2 : 1,
			       {DIALOG_FORM_DID, DIALOG_FORM_CALL_ID}};
}

enum dialog_form dialog_forms_first(const struct dialog_forms *forms,
				    const struct dialog_target *target)
{
	struct choice choice = choose(forms, target);
	unsigned preferred = forms->memory[target->id.is_pair].preferred;

	return choice.forms[preferred < choice.count ? preferred : 0];
}

/* An OpenSIPS that is asked for a DID or a Call-ID knows JSON-RPC. */
static bool is_opensips(enum dialog_form form)
{
	return form == DIALOG_FORM_DID || form == DIALOG_FORM_CALL_ID;
}

bool dialog_forms_are_numbered(const struct dialog_forms *forms,
			       const struct dialog_target *target,
			       enum dialog_form form)
{
	if (form == DIALOG_FORM_TEXT)
		return false;
	return is_opensips(form) || choose(forms, target).count == 1 ||
	       forms->memory[target->id.is_pair].is_known;
}

/* A proxy that looked for the dialog has understood the form; only OpenSIPS
 * looks for what it did not understand too. */
static bool has_worked(enum dialog_form form, enum dialog_outcome outcome)
{
	return outcome == DIALOG_OUTCOME_ENDED ||
	       (outcome == DIALOG_OUTCOME_NOT_FOUND && !is_opensips(form));
}

void dialog_forms_learn(struct dialog_forms *forms,
			const struct dialog_target *target,
			enum dialog_form form, enum dialog_outcome outcome)
{
	struct choice choice = choose(forms, target);
	unsigned index = choice.count == 2 && choice.forms[1] == form;

	if (has_worked(form, outcome)) {
		forms->memory[target->id.is_pair].preferred = index;
		forms->memory[target->id.is_pair].is_known = true;
	} else if (outcome != DIALOG_OUTCOME_REFUSED &&
		   forms->memory[target->id.is_pair].preferred == index) {
		forms->memory[target->id.is_pair].preferred = 0;
		forms->memory[target->id.is_pair].is_known = false;
	}
}

bool dialog_forms_second(const struct dialog_forms *forms,
			 const struct dialog_target *target,
			 enum dialog_form first, enum dialog_outcome outcome,
			 enum dialog_form *ret)
{
	struct choice choice = choose(forms, target);
	bool is_worth_it = is_opensips(first)
				   ? outcome == DIALOG_OUTCOME_NOT_FOUND
				   : outcome == DIALOG_OUTCOME_GARBAGE ||
					     outcome == DIALOG_OUTCOME_SILENT;

	if (choice.count < 2 || !is_worth_it)
		return false;
	*ret = choice.forms[choice.forms[0] == first];
	return true;
}
