#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/store_internal.h"

/* synchronous=FULL: a commit that came back is on disk. The log is copied into
 * the file by the reader's thread, not by a commit that somebody waits for. */
static const char *const pragmas[] = {
	[STORE_DB_WRITER] = "PRAGMA journal_mode = WAL;"
			    "PRAGMA synchronous = FULL;"
			    "PRAGMA wal_autocheckpoint = 0;"
			    "PRAGMA journal_size_limit = 67108864;"
			    "PRAGMA cache_size = -4096;"
			    "PRAGMA temp_store = MEMORY;",
	[STORE_DB_READER] = "PRAGMA wal_autocheckpoint = 0;"
			    "PRAGMA query_only = ON;"
			    "PRAGMA cache_size = -1024;"
			    "PRAGMA temp_store = MEMORY;",
	[STORE_DB_STRANGER] = "PRAGMA wal_autocheckpoint = 0;"
			      "PRAGMA query_only = ON;"
			      "PRAGMA cache_size = -1024;",
};

int store_db_open(struct store_db **ret, const char *path,
		  enum store_db_use use)
{
	struct store_db *db = calloc(1, sizeof(*db));
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
	int r;

	*ret = db;
	if (!db)
		return SQLITE_NOMEM;
	if (use == STORE_DB_WRITER)
		flags |= SQLITE_OPEN_CREATE;
	r = sqlite3_open_v2(path, &db->handle, flags, NULL);
	if (r != SQLITE_OK)
		return r;
	sqlite3_extended_result_codes(db->handle, 1);
	sqlite3_busy_timeout(db->handle, STORE_BUSY_MS);
	r = store_exec(db, pragmas[use]);
	if (r != SQLITE_OK)
		return r;
	/* A look at the tables finds out whether it is a database at all. */
	return store_exec(db, "SELECT count(*) FROM sqlite_master");
}

struct store_db *store_db_close(struct store_db *db)
{
	if (!db)
		return NULL;
	for (size_t i = 0; i < db->statement_count; i++)
		sqlite3_finalize(db->statements[i].statement);
	sqlite3_close_v2(db->handle);
	free(db);
	return NULL;
}

int store_reader_open(struct store_db **ret, const char *path)
{
	struct store_db *db;

	if (store_db_open(&db, path, STORE_DB_STRANGER) != SQLITE_OK) {
		store_db_close(db);
		return -EIO;
	}
	*ret = db;
	return 0;
}

struct store_db *store_reader_close(struct store_db *db)
{
	return store_db_close(db);
}

const char *store_why(struct store_db *db)
{
	return db && db->handle ? sqlite3_errmsg(db->handle) : "out of memory";
}

bool store_is_damage(int error)
{
	int primary = error & 0xff;

	return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
}

int store_set_aside(const char *path, struct buf *ret_why)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	uint64_t now_s = clock_wall_us() / US_PER_S;
	char from[4096], to[4096];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
		snprintf(to, sizeof(to), "%s.damaged-%" PRIu64 "%s", path,
			 now_s, suffixes[i]);
		if (rename(from, to) < 0 && errno != ENOENT) {
			int err = -errno;

			buf_printf(ret_why,
				   "%s is damaged and cannot be set aside: %s",
				   path, strerror(-err));
			return err;
		}
	}
	buf_printf(ret_why,
		   "%s is damaged: it was set aside as %s.damaged-%" PRIu64
		   ", and a new one is begun",
		   path, path, now_s);
	return 0;
}
