#include "store/store_internal.h"

#include <stdlib.h>

sqlite3_stmt *store_statement(struct store_db *db, const char *sql)
{
	size_t i = 0;

	while (i < db->statement_count && db->statements[i].sql != sql)
		i++;
	if (i == db->statement_count) {
		sqlite3_stmt *made;

		if (i == STORE_MAX_STATEMENTS)
			return NULL;
		if (sqlite3_prepare_v3(db->handle, sql, -1,
				       SQLITE_PREPARE_PERSISTENT, &made,
				       NULL) != SQLITE_OK)
			return NULL;
		db->statements[i].sql = sql;
		db->statements[i].statement = made;
		db->statement_count++;
	}
	sqlite3_reset(db->statements[i].statement);
	sqlite3_clear_bindings(db->statements[i].statement);
	return db->statements[i].statement;
}

/* SQLite takes a null pointer for NULL, which is something else than nothing.
 */
static const char *pointer(struct span bytes)
{
	return bytes.ptr ? bytes.ptr : "";
}

void store_bind_bytes(sqlite3_stmt *s, int at, struct span bytes)
{
	if (s)
		sqlite3_bind_blob64(s, at, pointer(bytes), bytes.len,
				    SQLITE_STATIC);
}

void store_bind_text(sqlite3_stmt *s, int at, struct span text)
{
	if (s)
		sqlite3_bind_text64(s, at, pointer(text), text.len,
				    SQLITE_STATIC, SQLITE_UTF8);
}

void store_bind_i64(sqlite3_stmt *s, int at, int64_t value)
{
	if (s)
		sqlite3_bind_int64(s, at, value);
}

struct span store_column(sqlite3_stmt *s, int at)
{
	const void *bytes = sqlite3_column_blob(s, at);

	return span_make(bytes, (size_t)sqlite3_column_bytes(s, at));
}

int store_step(sqlite3_stmt *s)
{
	int r = s ? sqlite3_step(s) : SQLITE_ERROR;

	/* A statement that is left in the middle of its rows would hold the
	 * transaction open. */
	if (r != SQLITE_ROW && s)
		sqlite3_reset(s);
	return r;
}

int store_run(sqlite3_stmt *s)
{
	int r = store_step(s);

	if (r == SQLITE_ROW) {
		sqlite3_reset(s);
		return SQLITE_OK;
	}
	return r == SQLITE_DONE ? SQLITE_OK : r;
}

int store_exec(struct store_db *db, const char *sql)
{
	return sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
}
