#include "accounting/database/odbc_setup.h"

#include <errno.h>
#include <sqlext.h>
#include <strings.h>

#include "accounting/database/odbc_string.h"

SQLHENV odbc_setup_env(void)
{
	SQLHENV env;

	if (!SQL_SUCCEEDED(
		    SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &env)))
		return SQL_NULL_HANDLE;
	SQLSetEnvAttr(env, SQL_ATTR_ODBC_VERSION, (SQLPOINTER)SQL_OV_ODBC3, 0);
	return env;
}

static bool is_installed(SQLHENV env, const char *wanted)
{
	SQLCHAR name[256], attributes[1024];
	SQLSMALLINT len;
	SQLUSMALLINT which = SQL_FETCH_FIRST;

	while (SQL_SUCCEEDED(SQLDrivers(env, which, name, sizeof(name), &len,
					attributes, sizeof(attributes),
					&len))) {
		if (strcasecmp((const char *)name, wanted) == 0)
			return true;
		which = SQL_FETCH_NEXT;
	}
	return false;
}

static bool is_data_source(SQLHENV env, const char *wanted)
{
	SQLCHAR name[256], description[256];
	SQLSMALLINT len;
	SQLUSMALLINT which = SQL_FETCH_FIRST;

	while (SQL_SUCCEEDED(SQLDataSources(env, which, name, sizeof(name),
					    &len, description,
					    sizeof(description), &len))) {
		if (strcasecmp((const char *)name, wanted) == 0)
			return true;
		which = SQL_FETCH_NEXT;
	}
	return false;
}

const char *odbc_setup_driver(SQLHENV env, enum dburi_scheme scheme)
{
	const char *const *names = odbc_string_drivers(scheme);

	while (*names && !is_installed(env, *names))
		names++;
	return *names;
}

/* Braces or not, the driver of MariaDB trims its values. */
static int check_password(const struct dburi *uri, struct buf *ret_why)
{
	struct span password = span_of(uri->password);

	if (uri->scheme != DBURI_MYSQL ||
	    span_equal(password, span_trim(password)))
		return 0;
	buf_printf(ret_why,
		   "the password %s a space, which the ODBC drivers of MySQL "
		   "leave out: set another one",
		   password.ptr[0] == ' ' ? "begins with" : "ends in");
	return -EINVAL;
}

int odbc_setup_check(const struct dburi *uri, struct buf *ret_why)
{
	SQLHENV env = odbc_setup_env();
	int err = 0;

	if (!env)
		return -ENOMEM;
	if (uri->scheme == DBURI_ODBC) {
		if (!is_data_source(env, uri->database)) {
			buf_printf(ret_why,
				   "there is no data source %s in odbc.ini",
				   uri->database);
			err = -EINVAL;
		}
	} else if (!odbc_setup_driver(env, uri->scheme)) {
		buf_printf(ret_why,
			   "there is no ODBC driver \"%s\" in odbcinst.ini: %s",
			   odbc_string_drivers(uri->scheme)[0],
			   odbc_string_package(uri->scheme));
		err = -EINVAL;
	} else {
		err = check_password(uri, ret_why);
	}
	SQLFreeHandle(SQL_HANDLE_ENV, env);
	return err;
}
