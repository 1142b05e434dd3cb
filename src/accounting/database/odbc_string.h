#pragma once
/**
 * @file accounting/database/odbc_string.h  The connection string of ODBC, and
 * which driver a scheme needs
 *
 * A value stands in braces, in which } is doubled, so that none can begin an
 * attribute of its own.
 */
#include "accounting/database/dburi.h"

/** The names that a scheme's driver may have in odbcinst.ini, the best first;
 * ends with NULL. None for SQLite and odbc:DSN. */
const char *const *odbc_string_drivers(enum dburi_scheme scheme);

/** For people: what to install when none of them is there. */
const char *odbc_string_package(enum dburi_scheme scheme);

/**
 * Write the string.
 *
 * @param driver  The name of the driver; not used for odbc:DSN
 */
void odbc_string_make(struct buf *out, const struct dburi *uri,
		      const char *driver);
