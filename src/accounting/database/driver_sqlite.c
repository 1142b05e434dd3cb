/* SQLite, by its own library. The file is made if it is not there. */
#include <ctype.h>
#include <errno.h>
#include <sqlite3.h>

#include "accounting/database/driver.h"
#include "base/cleanup.h"

#define BUSY_TIMEOUT_MS 5000

enum { INSERT, FIND, FIND_NULL, STATEMENT_COUNT };

struct connection {
	sqlite3 *handle;
	const struct dialect *dialect;
	sqlite3_stmt *statements[STATEMENT_COUNT];
};

static enum fault fault_of(const struct connection *c, struct buf *ret_why)
{
	int code = sqlite3_extended_errcode(c->handle);
	const char *message = sqlite3_errmsg(c->handle);
	/* A missing table has no code of its own. */
	bool no_table = code == SQLITE_ERROR &&
			strncmp(message, "no such table", 13) == 0;
	enum fault fault =
		dialect_fault(c->dialect, no_table ? "42S02" : "", code);

	/* The plain code, where the extended one says nothing more. */
	if (fault == FAULT_OTHER)
		fault = dialect_fault(c->dialect, "", code & 0xff);
	buf_printf(ret_why, "[%d] %s", code, message);
	return fault;
}

static int sqlite_check(const struct dburi *uri, struct buf *ret_why)
{
	return 0;
}

static void finalize(struct connection *c)
{
	for (size_t i = 0; i < STATEMENT_COUNT; i++) {
		sqlite3_finalize(c->statements[i]);
		c->statements[i] = NULL;
	}
}

static void sqlite_close(struct connection *c)
{
	if (!c)
		return;
	finalize(c);
	sqlite3_close(c->handle);
	free(c);
}

static enum fault sqlite_run(struct connection *c, const char *sql,
			     struct buf *ret_why)
{
	return sqlite3_exec(c->handle, sql, NULL, NULL, NULL) == SQLITE_OK
		       ? FAULT_NONE
		       : fault_of(c, ret_why);
}

static enum fault sqlite_open(struct connection **ret_connection,
			      const struct dburi *uri, struct buf *ret_why)
{
	struct connection *c = calloc(1, sizeof(*c));
	enum fault fault = FAULT_NONE;

	if (!c) {
		buf_printf(ret_why, "no memory");
		return FAULT_LATER;
	}
	c->dialect = dialect_find("sqlite");
	if (sqlite3_open_v2(uri->database, &c->handle,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_EXRESCODE,
			    NULL) != SQLITE_OK)
		fault = fault_of(c, ret_why);
	/* Whatever journal the file has, since others may use it too. */
	if (fault == FAULT_NONE) {
		sqlite3_busy_timeout(c->handle, BUSY_TIMEOUT_MS);
		fault = sqlite_run(c, "pragma synchronous = full", ret_why);
	}
	if (fault != FAULT_NONE) {
		sqlite_close(c);
		return fault;
	}
	*ret_connection = c;
	return FAULT_NONE;
}

static const struct dialect *sqlite_dialect(const struct connection *c)
{
	return c->dialect;
}

static bool sqlite_is_stale(struct connection *c)
{
	int moved = 0;

	sqlite3_file_control(c->handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
	return moved != 0;
}

/* SQLite keeps to no width; others that read the table may. */
static size_t declared_width(sqlite3_stmt *look, int column, size_t usual)
{
	const char *type = sqlite3_column_decltype(look, column);
	const char *width = type ? strchr(type, '(') : NULL;
	unsigned long n = width && isdigit((unsigned char)width[1])
				  ? strtoul(width + 1, NULL, 10)
				  : 0;

	return n >= 16 && n <= 65535 ? n : usual;
}

static enum fault prepare_one(struct connection *c, const char *sql,
			      sqlite3_stmt **ret, struct buf *ret_why)
{
	return sqlite3_prepare_v3(c->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
				  ret, NULL) == SQLITE_OK
		       ? FAULT_NONE
		       : fault_of(c, ret_why);
}

static enum fault look(struct connection *c, const struct conf_database *names,
		       struct key_widths *ret_widths, struct buf *ret_why)
{
	CLEANUP(buf_done) struct buf sql = {0};
	sqlite3_stmt *statement = NULL;
	enum fault fault;

	dialect_look(&sql, names);
	if (buf_failed(&sql))
		return FAULT_LATER;
	fault = prepare_one(c, sql.data, &statement, ret_why);
	if (fault == FAULT_NONE)
		*ret_widths = (struct key_widths){
			declared_width(statement, 0, KEY_CALL_ID_WIDTH),
			declared_width(statement, 1, KEY_TAG_WIDTH),
			declared_width(statement, 2, KEY_TAG_WIDTH),
		};
	sqlite3_finalize(statement);
	return fault;
}

static enum fault sqlite_prepare(struct connection *c,
				 const struct conf_database *names,
				 struct key_widths *ret_widths,
				 struct buf *ret_why)
{
	CLEANUP(buf_done) struct buf insert = {0};
	CLEANUP(buf_done) struct buf find = {0};
	CLEANUP(buf_done) struct buf find_null = {0};
	enum fault fault = look(c, names, ret_widths, ret_why);

	finalize(c);
	dialect_insert(&insert, names);
	dialect_find_rows(&find, names, true);
	dialect_find_rows(&find_null, names, false);
	if (buf_failed(&insert) || buf_failed(&find) || buf_failed(&find_null))
		return FAULT_LATER;
	if (fault == FAULT_NONE)
		fault = prepare_one(c, insert.data, &c->statements[INSERT],
				    ret_why);
	if (fault == FAULT_NONE)
		fault = prepare_one(c, find.data, &c->statements[FIND],
				    ret_why);
	if (fault == FAULT_NONE)
		fault = prepare_one(c, find_null.data,
				    &c->statements[FIND_NULL], ret_why);
	return fault;
}

/* SQLite takes a null pointer for NULL, which is something else than nothing.
 */
static const char *pointer(struct span bytes)
{
	return bytes.ptr ? bytes.ptr : "";
}

static void bind_key(sqlite3_stmt *s, const struct key *key)
{
	const struct buf *texts[] = {&key->call_id, &key->from_tag,
				     &key->to_tag};

	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	for (int i = 0; i < (key->has_to_tag ? 3 : 2); i++) {
		struct span text = buf_span(texts[i]);

		sqlite3_bind_text64(s, i + 1, pointer(text), text.len,
				    SQLITE_STATIC, SQLITE_UTF8);
	}
}

static enum fault sqlite_insert(struct connection *c, const struct key *key,
				struct span info, struct buf *ret_why)
{
	sqlite3_stmt *s = c->statements[INSERT];
	enum fault fault = FAULT_NONE;

	bind_key(s, key);
	sqlite3_bind_blob64(s, 4, pointer(info), info.len, SQLITE_STATIC);
	if (sqlite3_step(s) != SQLITE_DONE)
		fault = fault_of(c, ret_why);
	sqlite3_reset(s);
	return fault;
}

static enum fault sqlite_find(struct connection *c, const struct key *key,
			      row_info_h *handler, void *arg,
			      struct buf *ret_why)
{
	sqlite3_stmt *s = c->statements[key->has_to_tag ? FIND : FIND_NULL];
	enum fault fault = FAULT_NONE;
	int r;

	bind_key(s, key);
	while ((r = sqlite3_step(s)) == SQLITE_ROW) {
		const void *bytes = sqlite3_column_blob(s, 0);

		handler(span_make(bytes, (size_t)sqlite3_column_bytes(s, 0)),
			arg);
	}
	if (r != SQLITE_DONE)
		fault = fault_of(c, ret_why);
	sqlite3_reset(s);
	return fault;
}

static enum fault sqlite_begin(struct connection *c, struct buf *ret_why)
{
	return sqlite_run(c, "begin immediate", ret_why);
}

static enum fault sqlite_commit(struct connection *c, struct buf *ret_why)
{
	return sqlite_run(c, "commit", ret_why);
}

static void sqlite_rollback(struct connection *c)
{
	if (!sqlite3_get_autocommit(c->handle))
		sqlite3_exec(c->handle, "rollback", NULL, NULL, NULL);
}

const struct driver driver_sqlite = {
	.check = sqlite_check,
	.open = sqlite_open,
	.close = sqlite_close,
	.dialect = sqlite_dialect,
	.is_stale = sqlite_is_stale,
	.run = sqlite_run,
	.prepare = sqlite_prepare,
	.insert = sqlite_insert,
	.find = sqlite_find,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
};
