#pragma once
/**
 * @file conf/passport.h  A passport: checks on the subject of a peer's
 * certificate
 *
 * "AN:value[, AN:value...]" over O, OU, CN, C, L, ST, EMAIL; `*` at the
 * beginning or the end of a value is a wildcard; a comma in a value is written
 * `\,`; "None" checks nothing. Pure.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

#define PASSPORT_MAX_CHECKS 16
#define PASSPORT_MAX_TEXT 1024

struct passport {
	size_t count; /* 0: no check */
	struct {
		char attribute[8];           /* "O", "CN", ... */
		char *value;                 /* points into text */
		bool any_prefix, any_suffix; /* it began or ended with a `*` */
	} checks[PASSPORT_MAX_CHECKS];
	char text[PASSPORT_MAX_TEXT];
};

/** Read a passport. Do not copy the struct afterwards. @return 0 or -EINVAL */
int passport_parse(struct span text, struct passport *ret);

/** One attribute of a certificate's subject. */
struct subject_attribute {
	const char *name; /* "O", "CN", ... */
	struct span value;
};

/** Does the subject have, for every check, an attribute with a matching value?
 */
bool passport_matches(const struct passport *passport,
		      const struct subject_attribute *subject, size_t count);
