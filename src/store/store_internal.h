#pragma once
/**
 * @file store/store_internal.h  What the files of this folder share
 *
 * store.c has the jobs and their two threads; database.c opens and closes
 * connections; statement.c has their prepared statements.
 */
#include "store/store.h"

#define STORE_MAX_STATEMENTS 64

struct store_db {
	sqlite3 *handle;
	size_t statement_count;
	struct {
		const char *sql;
		sqlite3_stmt *statement;
	} statements[STORE_MAX_STATEMENTS];
};

/** What a connection is for. */
enum store_db_use {
	STORE_DB_WRITER,
	STORE_DB_READER,  /* reads, and copies the log into the file */
	STORE_DB_STRANGER /* reads alone */
};

/** Open a connection. @param ret  Set on failure too: it has the reason, and
 * is to be closed. @return 0 or an error of SQLite */
int store_db_open(struct store_db **ret, const char *path,
		  enum store_db_use use);
struct store_db *store_db_close(struct store_db *db);

/** Does this error say that the file is no database (any more)? */
bool store_is_damage(int error);
/** Set a damaged file aside with its log. @return 0 or negative errno */
int store_set_aside(const char *path, struct buf *ret_why);
