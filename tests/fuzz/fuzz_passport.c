/** @file tests/fuzz/fuzz_passport.c  A passport, and a subject that it is held
 * against */
#include <stdint.h>
#include <stdlib.h>

#include "conf/passport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input: a passport, a newline, the values of O and CN and a newline
 * between. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = span_make(data, size);
	struct span text = rest;
	struct span o = SPAN("");
	struct subject_attribute subject[2] = {{"O", o}, {"CN", o}};
	static struct passport passport;

	if (span_cut(&rest, '\n', &text)) {
		if (span_cut(&rest, '\n', &o))
			subject[0].value = o;
		subject[1].value = rest;
	}
	if (passport_parse(text, &passport) < 0)
		return 0;
	if (passport.count > PASSPORT_MAX_CHECKS)
		abort();
	for (size_t i = 0; i < passport.count; i++) {
		const char *value = passport.checks[i].value;

		if (value < passport.text ||
		    value + strlen(value) >=
			    passport.text + sizeof(passport.text))
			abort();
	}
	/* Nobody passes a check without the attribute. */
	if (passport.count > 0 && passport_matches(&passport, NULL, 0))
		abort();
	(void)passport_matches(&passport, subject, 2);
	return 0;
}
