#pragma once
/**
 * @file accounting/database/odbc_setup.h  What odbcinst.ini and odbc.ini have
 */
#include <sql.h>

#include "accounting/database/dburi.h"

/** An environment of ODBC 3 (for SQLFreeHandle), or SQL_NULL_HANDLE. */
SQLHENV odbc_setup_env(void);

/** The name of the installed driver for a scheme, or NULL. */
const char *odbc_setup_driver(SQLHENV env, enum dburi_scheme scheme);

/** Is there a driver, or the data source, for it? As driver.h's check(). */
int odbc_setup_check(const struct dburi *uri, struct buf *ret_why);
