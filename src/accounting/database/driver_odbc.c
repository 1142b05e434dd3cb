/* Every database but SQLite, by unixODBC and the vendor's driver. Texts go as
 * UTF-16 to servers of Unicode, since what a driver takes plain characters for
 * depends on the driver and the locale. */
#include <errno.h>
#include <sql.h>
#include <sqlext.h>

#include "accounting/database/driver.h"
#include "accounting/database/odbc_setup.h"
#include "accounting/database/odbc_string.h"
#include "base/cleanup.h"
#include "base/utf8.h"

#define LOGIN_TIMEOUT_S 10
#define QUERY_TIMEOUT_S 60
#define CHUNK_BYTES 16384

enum { INSERT, FIND, FIND_NULL, STATEMENT_COUNT };

/* A value that is bound, for as long as its statement runs. */
struct parameter {
	struct buf bytes;
	SQLLEN len;
};

struct connection {
	SQLHENV env;
	SQLHDBC dbc;
	const struct dialect *dialect;
	SQLHSTMT statements[STATEMENT_COUNT];
	struct parameter parameters[4];
	bool broken;
};

static SQLCHAR *sql_text(const char *text)
{
	return (SQLCHAR *)(uintptr_t)text;
}

/* The first record whose code says something, and what the first one says. */
static enum fault fault_of(const struct connection *c, SQLSMALLINT type,
			   SQLHANDLE handle, struct buf *ret_why)
{
	enum fault fault = FAULT_OTHER;

	for (SQLSMALLINT i = 1; i <= 4 && fault == FAULT_OTHER; i++) {
		SQLCHAR state[6] = "";
		SQLCHAR message[1024] = "";
		SQLINTEGER native = 0;
		SQLSMALLINT len;

		if (!SQL_SUCCEEDED(SQLGetDiagRec(type, handle, i, state,
						 &native, message,
						 sizeof(message), &len)))
			break;
		fault = dialect_fault(c->dialect, (const char *)state, native);
		if (fault == FAULT_DUPLICATE &&
		    dialect_is_of_id(c->dialect,
				     span_of((const char *)message)))
			fault = FAULT_DENIED;
		if (i == 1)
			buf_printf(ret_why, "[%s, %d] %s", state, (int)native,
				   message);
	}
	return fault;
}

/* One text of diagnostics for both: succeeded, or why not. */
static enum fault judge(const struct connection *c, SQLHSTMT s, SQLRETURN r,
			struct buf *ret_why)
{
	return SQL_SUCCEEDED(r) || r == SQL_NO_DATA
		       ? FAULT_NONE
		       : fault_of(c, SQL_HANDLE_STMT, s, ret_why);
}

static void free_statements(struct connection *c)
{
	for (size_t i = 0; i < STATEMENT_COUNT; i++) {
		if (c->statements[i])
			SQLFreeHandle(SQL_HANDLE_STMT, c->statements[i]);
		c->statements[i] = SQL_NULL_HANDLE;
	}
}

static void odbc_close(struct connection *c)
{
	if (!c)
		return;
	free_statements(c);
	for (size_t i = 0; i < ARRAY_SIZE(c->parameters); i++)
		buf_done(&c->parameters[i].bytes);
	if (c->dbc) {
		SQLDisconnect(c->dbc);
		SQLFreeHandle(SQL_HANDLE_DBC, c->dbc);
	}
	if (c->env)
		SQLFreeHandle(SQL_HANDLE_ENV, c->env);
	free(c);
}

static enum fault dial(struct connection *c, const struct dburi *uri,
		       struct buf *ret_why)
{
	CLEANUP(buf_done) struct buf string = {0};
	const char *driver = "";
	SQLSMALLINT len;
	SQLRETURN r;

	if (uri->scheme != DBURI_ODBC)
		driver = odbc_setup_driver(c->env, uri->scheme);
	if (!driver) {
		buf_printf(ret_why, "its ODBC driver has gone: %s",
			   odbc_string_package(uri->scheme));
		return FAULT_LOST;
	}
	odbc_string_make(&string, uri, driver);
	if (buf_failed(&string))
		return FAULT_LATER;
	SQLSetConnectAttr(c->dbc, SQL_ATTR_LOGIN_TIMEOUT,
			  (SQLPOINTER)LOGIN_TIMEOUT_S, 0);
	r = SQLDriverConnect(c->dbc, NULL, sql_text(string.data),
			     (SQLSMALLINT)string.len, NULL, 0, &len,
			     SQL_DRIVER_NOPROMPT);
	if (string.data)
		explicit_bzero(string.data, string.len);
	return SQL_SUCCEEDED(r) ? FAULT_NONE
				: fault_of(c, SQL_HANDLE_DBC, c->dbc, ret_why);
}

static void ask_dialect(struct connection *c)
{
	char name[128] = "";
	SQLSMALLINT len;

	if (SQL_SUCCEEDED(SQLGetInfo(c->dbc, SQL_DBMS_NAME, name, sizeof(name),
				     &len)))
		c->dialect = dialect_of_server(name);
}

static enum fault odbc_open(struct connection **ret_connection,
			    const struct dburi *uri, struct buf *ret_why)
{
	struct connection *c = calloc(1, sizeof(*c));
	enum fault fault = FAULT_LATER;

	if (!c)
		return FAULT_LATER;
	/* Of a data source it is known when the server says what it is. */
	c->dialect = dialect_find(uri->scheme == DBURI_ODBC
					  ? "ansi"
					  : dburi_scheme_name(uri->scheme));
	c->env = odbc_setup_env();
	if (c->env &&
	    SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_DBC, c->env, &c->dbc)))
		fault = dial(c, uri, ret_why);
	if (fault != FAULT_NONE) {
		odbc_close(c);
		return fault;
	}
	if (uri->scheme == DBURI_ODBC)
		ask_dialect(c);
	*ret_connection = c;
	return FAULT_NONE;
}

static const struct dialect *odbc_dialect(const struct connection *c)
{
	return c->dialect;
}

static bool odbc_is_stale(struct connection *c)
{
	return c->broken;
}

static enum fault make_statement(struct connection *c, SQLHSTMT *ret,
				 struct buf *ret_why)
{
	if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_STMT, c->dbc, ret)))
		return fault_of(c, SQL_HANDLE_DBC, c->dbc, ret_why);
	/* MariaDB's driver would write it into the text of the statement; it
	 * has READ_TIMEOUT. Drivers that have none say so, and nobody minds. */
	if (strcmp(c->dialect->name, "mysql") != 0)
		SQLSetStmtAttr(*ret, SQL_ATTR_QUERY_TIMEOUT,
			       (SQLPOINTER)QUERY_TIMEOUT_S, 0);
	return FAULT_NONE;
}

static enum fault odbc_run(struct connection *c, const char *sql,
			   struct buf *ret_why)
{
	SQLHSTMT s;
	enum fault fault = make_statement(c, &s, ret_why);

	if (fault != FAULT_NONE)
		return fault;
	fault = judge(c, s, SQLExecDirect(s, sql_text(sql), SQL_NTS), ret_why);
	SQLFreeHandle(SQL_HANDLE_STMT, s);
	return fault;
}

/* What has no width, a text of PostgreSQL say, has none here that would fit
 * into an index; then it is the usual one. */
static size_t column_width(SQLHSTMT s, SQLUSMALLINT column, size_t usual)
{
	SQLCHAR name[128];
	SQLSMALLINT len, type, digits, nullable;
	SQLULEN width = 0;

	if (!SQL_SUCCEEDED(SQLDescribeCol(s, column, name, sizeof(name), &len,
					  &type, &width, &digits, &nullable)))
		return usual;
	return width >= 16 && width <= 2000 ? width : usual;
}

/* PostgreSQL's driver would write the digits of the bytes into a text. */
static enum fault check_info(const struct connection *c, SQLHSTMT s,
			     struct buf *ret_why)
{
	SQLCHAR name[128];
	SQLSMALLINT len, type, digits, nullable;
	SQLULEN width;

	if (strcmp(c->dialect->name, "postgres") != 0 ||
	    !SQL_SUCCEEDED(SQLDescribeCol(s, 4, name, sizeof(name), &len, &type,
					  &width, &digits, &nullable)) ||
	    type == SQL_BINARY || type == SQL_VARBINARY ||
	    type == SQL_LONGVARBINARY)
		return FAULT_NONE;
	buf_printf(ret_why, "the column %s is no bytea", name);
	return FAULT_DENIED;
}

static enum fault look(struct connection *c, const struct conf_database *names,
		       struct key_widths *ret_widths, struct buf *ret_why)
{
	CLEANUP(buf_done) struct buf sql = {0};
	SQLHSTMT s;
	enum fault fault = make_statement(c, &s, ret_why);

	if (fault != FAULT_NONE)
		return fault;
	dialect_look(&sql, names);
	fault = buf_failed(&sql)
			? FAULT_LATER
			: judge(c, s,
				SQLExecDirect(s, sql_text(sql.data), SQL_NTS),
				ret_why);
	if (fault == FAULT_NONE)
		*ret_widths = (struct key_widths){
			column_width(s, 1, KEY_CALL_ID_WIDTH),
			column_width(s, 2, KEY_TAG_WIDTH),
			column_width(s, 3, KEY_TAG_WIDTH),
		};
	if (fault == FAULT_NONE)
		fault = check_info(c, s, ret_why);
	SQLFreeHandle(SQL_HANDLE_STMT, s);
	return fault;
}

static enum fault prepare_one(struct connection *c, const struct buf *sql,
			      SQLHSTMT *ret, struct buf *ret_why)
{
	enum fault fault;

	if (buf_failed(sql))
		return FAULT_LATER;
	fault = make_statement(c, ret, ret_why);
	if (fault != FAULT_NONE)
		return fault;
	return judge(c, *ret, SQLPrepare(*ret, sql_text(sql->data), SQL_NTS),
		     ret_why);
}

static enum fault odbc_prepare(struct connection *c,
			       const struct conf_database *names,
			       struct key_widths *ret_widths,
			       struct buf *ret_why)
{
	CLEANUP(buf_done) struct buf insert = {0};
	CLEANUP(buf_done) struct buf find = {0};
	CLEANUP(buf_done) struct buf find_null = {0};
	enum fault fault;

	free_statements(c);
	fault = look(c, names, ret_widths, ret_why);
	dialect_insert(&insert, names);
	dialect_find_rows(&find, names, true);
	dialect_find_rows(&find_null, names, false);
	if (fault == FAULT_NONE)
		fault = prepare_one(c, &insert, &c->statements[INSERT],
				    ret_why);
	if (fault == FAULT_NONE)
		fault = prepare_one(c, &find, &c->statements[FIND], ret_why);
	if (fault == FAULT_NONE)
		fault = prepare_one(c, &find_null, &c->statements[FIND_NULL],
				    ret_why);
	return fault;
}

static void add_unit(struct buf *out, uint32_t unit)
{
	SQLWCHAR wide = (SQLWCHAR)unit;

	buf_add(out, span_make(&wide, sizeof(wide)));
}

static void add_utf16(struct buf *out, struct span text)
{
	while (text.len > 0) {
		uint32_t code = 0;
		size_t len = utf8_decode(text, &code);

		if (code >= 0x10000) {
			add_unit(out, 0xd800 + ((code - 0x10000) >> 10));
			add_unit(out, 0xdc00 + ((code - 0x10000) & 0x3ff));
		} else {
			add_unit(out, code);
		}
		len = len ? len : 1;
		text = span_make(text.ptr + len, text.len - len);
	}
}

static SQLRETURN bind_parameter(SQLHSTMT s, SQLUSMALLINT at,
				struct parameter *p, SQLSMALLINT c_type,
				SQLSMALLINT sql_type, size_t width)
{
	return SQLBindParameter(s, at, SQL_PARAM_INPUT, c_type, sql_type,
				width ? width : 1, 0, p->bytes.data,
				(SQLLEN)p->bytes.len, &p->len);
}

/* @param text  NULL: it is NULL */
static SQLRETURN bind_text(struct connection *c, SQLHSTMT s, SQLUSMALLINT at,
			   const struct buf *text)
{
	struct parameter *p = &c->parameters[at - 1];
	bool wide = c->dialect->charset != CHARSET_ASCII;
	size_t width;

	buf_reset(&p->bytes);
	if (text && wide)
		add_utf16(&p->bytes, buf_span(text));
	else if (text)
		buf_add(&p->bytes, buf_span(text));
	width = p->bytes.len / (wide ? sizeof(SQLWCHAR) : 1);
	/* Never a null pointer, which some take for NULL. */
	buf_add(&p->bytes, span_make("\0", 2));
	if (buf_failed(&p->bytes))
		return SQL_ERROR;
	p->bytes.len -= 2;
	p->len = text ? (SQLLEN)p->bytes.len : SQL_NULL_DATA;
	return bind_parameter(s, at, p, wide ? SQL_C_WCHAR : SQL_C_CHAR,
			      wide ? SQL_WVARCHAR : SQL_VARCHAR, width);
}

static SQLRETURN bind_info(struct connection *c, SQLHSTMT s, SQLUSMALLINT at,
			   struct span info)
{
	struct parameter *p = &c->parameters[at - 1];
	/* PostgreSQL's driver may take the other for a large object. */
	bool bytea = strcmp(c->dialect->name, "postgres") == 0;

	buf_reset(&p->bytes);
	buf_add(&p->bytes, info);
	if (buf_failed(&p->bytes))
		return SQL_ERROR;
	p->len = (SQLLEN)p->bytes.len;
	return bind_parameter(s, at, p, SQL_C_BINARY,
			      bytea ? SQL_VARBINARY : SQL_LONGVARBINARY,
			      info.len);
}

static SQLRETURN bind_key(struct connection *c, SQLHSTMT s,
			  const struct key *key)
{
	SQLRETURN r = bind_text(c, s, 1, &key->call_id);

	return SQL_SUCCEEDED(r) ? bind_text(c, s, 2, &key->from_tag) : r;
}

/* What was bound, and why that did not go. */
static enum fault judge_run(struct connection *c, SQLHSTMT s, SQLRETURN r,
			    struct buf *ret_why)
{
	enum fault fault = judge(c, s, r, ret_why);

	for (size_t i = 0; i < ARRAY_SIZE(c->parameters); i++)
		if (buf_failed(&c->parameters[i].bytes))
			fault = FAULT_LATER;
	SQLFreeStmt(s, SQL_CLOSE);
	return fault;
}

static enum fault odbc_insert(struct connection *c, const struct key *key,
			      struct span info, struct buf *ret_why)
{
	SQLHSTMT s = c->statements[INSERT];
	SQLRETURN r = bind_key(c, s, key);

	if (SQL_SUCCEEDED(r))
		r = bind_text(c, s, 3, key->has_to_tag ? &key->to_tag : NULL);
	if (SQL_SUCCEEDED(r))
		r = bind_info(c, s, 4, info);
	if (SQL_SUCCEEDED(r))
		r = SQLExecute(s);
	return judge_run(c, s, r, ret_why);
}

static SQLRETURN read_info(SQLHSTMT s, struct buf *info)
{
	char chunk[CHUNK_BYTES];
	SQLLEN left;
	SQLRETURN r;

	buf_reset(info);
	while (SQL_SUCCEEDED(r = SQLGetData(s, 1, SQL_C_BINARY, chunk,
					    sizeof(chunk), &left))) {
		if (left == SQL_NULL_DATA)
			break;
		buf_add(info,
			span_make(chunk,
				  left == SQL_NO_TOTAL || left > CHUNK_BYTES
					  ? CHUNK_BYTES
					  : (size_t)left));
		if (r == SQL_SUCCESS)
			break;
	}
	return r;
}

static enum fault odbc_find(struct connection *c, const struct key *key,
			    row_info_h *handler, void *arg, struct buf *ret_why)
{
	CLEANUP(buf_done) struct buf info = {0};
	SQLHSTMT s = c->statements[key->has_to_tag ? FIND : FIND_NULL];
	SQLRETURN r = bind_key(c, s, key);
	enum fault fault;

	if (SQL_SUCCEEDED(r) && key->has_to_tag)
		r = bind_text(c, s, 3, &key->to_tag);
	if (SQL_SUCCEEDED(r))
		r = SQLExecute(s);
	while (SQL_SUCCEEDED(r) && SQL_SUCCEEDED(r = SQLFetch(s)) &&
	       SQL_SUCCEEDED(r = read_info(s, &info)) && !buf_failed(&info))
		handler(buf_span(&info), arg);
	fault = judge_run(c, s, r, ret_why);
	return buf_failed(&info) ? FAULT_LATER : fault;
}

static bool set_autocommit(struct connection *c, SQLULEN value)
{
	return SQL_SUCCEEDED(SQLSetConnectAttr(c->dbc, SQL_ATTR_AUTOCOMMIT,
					       (SQLPOINTER)value, 0));
}

static enum fault odbc_begin(struct connection *c, struct buf *ret_why)
{
	return set_autocommit(c, SQL_AUTOCOMMIT_OFF)
		       ? FAULT_NONE
		       : fault_of(c, SQL_HANDLE_DBC, c->dbc, ret_why);
}

static enum fault odbc_commit(struct connection *c, struct buf *ret_why)
{
	if (!SQL_SUCCEEDED(SQLEndTran(SQL_HANDLE_DBC, c->dbc, SQL_COMMIT)))
		return fault_of(c, SQL_HANDLE_DBC, c->dbc, ret_why);
	c->broken |= !set_autocommit(c, SQL_AUTOCOMMIT_ON);
	return FAULT_NONE;
}

/* Autocommit would commit what could not be taken back. */
static void odbc_rollback(struct connection *c)
{
	c->broken |= !SQL_SUCCEEDED(SQLEndTran(SQL_HANDLE_DBC, c->dbc,
					       SQL_ROLLBACK)) ||
		     !set_autocommit(c, SQL_AUTOCOMMIT_ON);
}

const struct driver driver_odbc = {
	.check = odbc_setup_check,
	.open = odbc_open,
	.close = odbc_close,
	.dialect = odbc_dialect,
	.is_stale = odbc_is_stale,
	.run = odbc_run,
	.prepare = odbc_prepare,
	.insert = odbc_insert,
	.find = odbc_find,
	.begin = odbc_begin,
	.commit = odbc_commit,
	.rollback = odbc_rollback,
};
