#pragma once
/**
 * @file store/store_internal.h  What the files of this folder share
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

/** Open a connection. @return 0 or an error of SQLite; then ret_db holds the
 * reason, if it is set, and is to be closed all the same */
int store_db_open(struct store_db **ret_db, const char *path, bool read_only);
struct store_db *store_db_close(struct store_db *db);
