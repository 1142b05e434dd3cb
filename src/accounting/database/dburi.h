#pragma once
/**
 * @file accounting/database/dburi.h  Which database: the value of [Database]
 * dburi
 *
 *     scheme://user:password@host[:port]/database[?name=value&...]
 *     sqlite:///path                  the path is absolute
 *     odbc:DSN[;UID=...;PWD=...]      a data source of odbc.ini
 *
 * As SQLObject reads it: %XX in every part, an IPv6 address in brackets. Of
 * the parameters we know unix_socket (mysql) and sslmode (postgres); others,
 * such as charset, have no meaning here and are ignored.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "conf/conf.h"

enum dburi_scheme {
	DBURI_MYSQL,
	DBURI_POSTGRES,
	DBURI_SQLITE,
	DBURI_MSSQL,
	DBURI_SYBASE,
	DBURI_FIREBIRD,
	DBURI_MAXDB,
	DBURI_ODBC
};

struct dburi {
	enum dburi_scheme scheme;
	/* Decoded; empty: not given. None holds a NUL. */
	char user[CONF_MAX_TEXT], password[CONF_MAX_TEXT];
	char host[CONF_MAX_TEXT];
	uint16_t port;                /* 0: the usual one */
	char database[CONF_MAX_TEXT]; /* the path of SQLite, the DSN of ODBC */
	char attributes[CONF_MAX_TEXT]; /* of odbc: what follows the DSN */
	char unix_socket[CONF_MAX_TEXT], sslmode[CONF_MAX_TEXT];
};

/**
 * Read a dburi.
 *
 * @param ret_why  On failure what is wrong, without a word of the dburi
 *                 itself: a password may be anywhere in one that is wrong
 * @return 0 or -EINVAL
 */
int dburi_parse(struct dburi *ret, struct span text, struct buf *ret_why);

/** As a dburi begins. */
const char *dburi_scheme_name(enum dburi_scheme scheme);
