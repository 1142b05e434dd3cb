#include "accounting/spool.h"

#include <stdlib.h>
#include <string.h>

/* A place is never given again, since cursors point to it: SQLite gives the
 * next one behind the largest, and the last record is never deleted. */
int spool_open(struct store_db *db)
{
	return store_exec(db, "CREATE TABLE IF NOT EXISTS records ("
			      " seq INTEGER PRIMARY KEY,"
			      " record_id BLOB NOT NULL UNIQUE,"
			      " call_id BLOB NOT NULL,"
			      " from_tag BLOB NOT NULL,"
			      " to_tag BLOB NOT NULL,"
			      " answered INTEGER NOT NULL,"
			      " stored_us INTEGER NOT NULL,"
			      " json BLOB NOT NULL);"
			      "CREATE INDEX IF NOT EXISTS records_call_id"
			      " ON records (call_id);"
			      "CREATE TABLE IF NOT EXISTS cursors ("
			      " backend TEXT PRIMARY KEY,"
			      " seq INTEGER NOT NULL);"
			      "CREATE TABLE IF NOT EXISTS set_aside ("
			      " seq INTEGER NOT NULL,"
			      " backend TEXT NOT NULL,"
			      " reason TEXT NOT NULL,"
			      " since_us INTEGER NOT NULL,"
			      " retry INTEGER NOT NULL DEFAULT 0,"
			      " PRIMARY KEY (seq, backend)) WITHOUT ROWID;");
}

/* One number. */
static int ask(sqlite3_stmt *s, int64_t *ret)
{
	int r = store_step(s);

	if (r == SQLITE_ROW) {
		*ret = sqlite3_column_int64(s, 0);
		sqlite3_reset(s);
		return SQLITE_OK;
	}
	return r == SQLITE_DONE ? SQLITE_NOTFOUND : r;
}

int spool_add(struct store_db *db, const struct record *record, int64_t now_us,
	      int64_t *ret_seq)
{
	sqlite3_stmt *s = store_statement(
		db, "INSERT INTO records (record_id, call_id, from_tag, to_tag,"
		    " answered, stored_us, json)"
		    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
		    " ON CONFLICT (record_id) DO NOTHING RETURNING seq");
	int r;

	store_bind_bytes(s, 1, record->record_id);
	store_bind_bytes(s, 2, record->call_id);
	store_bind_bytes(s, 3, record->from_tag);
	store_bind_bytes(s, 4, record->to_tag);
	store_bind_i64(s, 5, record->has_start_time);
	store_bind_i64(s, 6, now_us);
	store_bind_bytes(s, 7, record->json);
	r = ask(s, ret_seq);
	if (r == SQLITE_NOTFOUND)
		*ret_seq = 0;
	return r == SQLITE_NOTFOUND ? SQLITE_OK : r;
}

int spool_last(struct store_db *db, int64_t *ret)
{
	return ask(store_statement(db,
				   "SELECT coalesce(max(seq), 0) FROM records"),
		   ret);
}

int spool_cursor(struct store_db *db, const char *backend, int64_t *ret)
{
	sqlite3_stmt *s = store_statement(
		db, "SELECT seq FROM cursors WHERE backend = ?1");
	int r;

	store_bind_text(s, 1, span_of(backend));
	r = ask(s, ret);
	if (r != SQLITE_NOTFOUND)
		return r;
	r = spool_last(db, ret);
	return r == SQLITE_OK ? spool_set_cursor(db, backend, *ret) : r;
}

int spool_set_cursor(struct store_db *db, const char *backend, int64_t seq)
{
	sqlite3_stmt *s = store_statement(
		db, "INSERT INTO cursors VALUES (?1, ?2)"
		    " ON CONFLICT (backend) DO UPDATE SET seq = ?2");

	store_bind_text(s, 1, span_of(backend));
	store_bind_i64(s, 2, seq);
	return store_run(s);
}

/* Reading for backends */

/* The columns of all statements that read records. */
#define RECORD_COLUMNS                                                         \
	"r.seq, r.json, r.record_id, r.call_id, r.from_tag, r.to_tag, "        \
	"r.answered"

static int take_record(sqlite3_stmt *s, struct record *ret)
{
	const struct record record = {
		.seq = sqlite3_column_int64(s, 0),
		.json = store_column(s, 1),
		.record_id = store_column(s, 2),
		.call_id = store_column(s, 3),
		.from_tag = store_column(s, 4),
		.to_tag = store_column(s, 5),
		.has_start_time = sqlite3_column_int(s, 6) != 0,
	};

	return record_dup(ret, &record) < 0 ? SQLITE_NOMEM : SQLITE_OK;
}

void spool_batch_done(struct delivery *batch, size_t count)
{
	for (size_t i = 0; i < count; i++)
		record_done(&batch[i].record);
}

static int read_batch(sqlite3_stmt *s, struct delivery *batch,
		      size_t *ret_count)
{
	size_t count = 0;
	int r;

	while ((r = store_step(s)) == SQLITE_ROW) {
		batch[count] = (struct delivery){0};
		r = take_record(s, &batch[count].record);
		if (r != SQLITE_OK)
			break;
		count++;
	}
	if (r != SQLITE_DONE) {
		sqlite3_reset(s);
		spool_batch_done(batch, count);
		return r;
	}
	*ret_count = count;
	return SQLITE_OK;
}

int spool_read(struct store_db *db, int64_t after, struct delivery *batch,
	       size_t max, size_t *ret_count)
{
	sqlite3_stmt *s = store_statement(
		db, "SELECT " RECORD_COLUMNS " FROM records r"
		    " WHERE r.seq > ?1 ORDER BY r.seq LIMIT ?2");

	store_bind_i64(s, 1, after);
	store_bind_i64(s, 2, (int64_t)max);
	return read_batch(s, batch, ret_count);
}

int spool_read_retries(struct store_db *db, const char *backend, int64_t after,
		       struct delivery *batch, size_t max, size_t *ret_count)
{
	sqlite3_stmt *s = store_statement(
		db, "SELECT " RECORD_COLUMNS " FROM set_aside a"
		    " JOIN records r ON r.seq = a.seq"
		    " WHERE a.backend = ?1 AND a.retry AND a.seq > ?2"
		    " ORDER BY a.seq LIMIT ?3");

	store_bind_text(s, 1, span_of(backend));
	store_bind_i64(s, 2, after);
	store_bind_i64(s, 3, (int64_t)max);
	return read_batch(s, batch, ret_count);
}

/* What was set aside */

int spool_set_aside(struct store_db *db, const char *backend, int64_t seq,
		    const char *reason, int64_t now_us)
{
	sqlite3_stmt *s = store_statement(
		db, "INSERT INTO set_aside (seq, backend, reason, since_us)"
		    " VALUES (?1, ?2, ?3, ?4) ON CONFLICT (seq, backend)"
		    " DO UPDATE SET reason = ?3, retry = 0");

	store_bind_i64(s, 1, seq);
	store_bind_text(s, 2, span_of(backend));
	store_bind_text(s, 3, span_of(reason));
	store_bind_i64(s, 4, now_us);
	return store_run(s);
}

int spool_take_back(struct store_db *db, const char *backend, int64_t seq)
{
	sqlite3_stmt *s = store_statement(
		db, "DELETE FROM set_aside WHERE seq = ?1 AND backend = ?2");

	store_bind_i64(s, 1, seq);
	store_bind_text(s, 2, span_of(backend));
	return store_run(s);
}

int spool_retry(struct store_db *db, struct span backend, struct span record_id,
		int64_t *ret_count)
{
	sqlite3_stmt *s = store_statement(
		db, "UPDATE set_aside SET retry = 1"
		    " WHERE (?1 = '' OR backend = ?1)"
		    " AND (?2 = x'' OR seq = (SELECT seq FROM records"
		    "  WHERE record_id = ?2))");
	int r;

	store_bind_text(s, 1, backend);
	store_bind_bytes(s, 2, record_id);
	r = store_run(s);
	if (r == SQLITE_OK)
		*ret_count = sqlite3_changes(sqlite3_db_handle(s));
	return r;
}

int spool_count_aside(struct store_db *db, const char *backend, int64_t *ret)
{
	sqlite3_stmt *s = store_statement(
		db, "SELECT count(*) FROM set_aside WHERE backend = ?1");

	store_bind_text(s, 1, span_of(backend));
	return ask(s, ret);
}

/* Forgetting */

static int used_bytes(struct store_db *db, int64_t *ret)
{
	int64_t pages = 0, unused = 0, size = 0;
	int r = ask(store_statement(db, "PRAGMA page_count"), &pages);

	if (r == SQLITE_OK)
		r = ask(store_statement(db, "PRAGMA freelist_count"), &unused);
	if (r == SQLITE_OK)
		r = ask(store_statement(db, "PRAGMA page_size"), &size);
	*ret = (pages - unused) * size;
	return r;
}

/* The next records, whether they may go or not. */
struct prune_range {
	int64_t count, last, newest_us;
};

static int next_range(struct store_db *db, const struct spool_limits *limits,
		      struct prune_range *ret)
{
	sqlite3_stmt *s = store_statement(
		db, "SELECT count(*), max(seq), max(stored_us) FROM"
		    " (SELECT seq, stored_us FROM records"
		    "  WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)");
	int r;

	store_bind_i64(s, 1, limits->after);
	store_bind_i64(s, 2, limits->delivered_seq);
	store_bind_i64(s, 3, limits->max_records);
	r = store_step(s);
	if (r != SQLITE_ROW)
		return r == SQLITE_DONE ? SQLITE_ERROR : r;
	*ret = (struct prune_range){
		.count = sqlite3_column_int64(s, 0),
		.last = sqlite3_column_int64(s, 1),
		.newest_us = sqlite3_column_int64(s, 2),
	};
	sqlite3_reset(s);
	return SQLITE_OK;
}

int spool_prune(struct store_db *db, const struct spool_limits *limits,
		struct spool_pruned *ret)
{
	struct prune_range range = {0};
	int64_t bytes = 0;
	int r = used_bytes(db, &bytes);
	bool too_much = bytes > limits->max_bytes;
	sqlite3_stmt *s;

	if (r == SQLITE_OK)
		r = next_range(db, limits, &range);
	if (r != SQLITE_OK)
		return r;
	s = store_statement(db, "DELETE FROM records"
				" WHERE seq > ?1 AND seq <= ?2"
				" AND seq < (SELECT max(seq) FROM records)"
				" AND (stored_us < ?3 OR ?4)"
				" AND NOT EXISTS (SELECT 1 FROM set_aside a"
				"  WHERE a.seq = records.seq)");
	store_bind_i64(s, 1, limits->after);
	store_bind_i64(s, 2, range.last);
	store_bind_i64(s, 3, limits->stored_after_us);
	store_bind_i64(s, 4, too_much);
	r = store_run(s);
	if (r != SQLITE_OK)
		return r;
	ret->count = sqlite3_changes(sqlite3_db_handle(s));
	/* They were stored in this order: behind a young one all are. */
	ret->next = range.count == limits->max_records &&
				    (too_much ||
				     range.newest_us < limits->stored_after_us)
			    ? range.last
			    : 0;
	return SQLITE_OK;
}

/* For people */

static sqlite3_stmt *show_records(struct store_db *db,
				  const struct spool_query *query)
{
	sqlite3_stmt *s = store_statement(
		db, query->call_id.len > 0
			    ? "SELECT seq, stored_us, json, '', '', 0"
			      " FROM records WHERE call_id = ?1 AND seq < ?2"
			      " ORDER BY seq DESC"
			    : "SELECT seq, stored_us, json, '', '', 0"
			      " FROM records WHERE ?1 = x'' AND seq < ?2"
			      " ORDER BY seq DESC");

	store_bind_bytes(s, 1, query->call_id);
	return s;
}

static sqlite3_stmt *show_aside(struct store_db *db,
				const struct spool_query *query)
{
	sqlite3_stmt *s = store_statement(
		db, "SELECT a.seq, a.since_us, r.json, a.backend, a.reason,"
		    " a.retry FROM set_aside a JOIN records r ON r.seq = a.seq"
		    " WHERE (?1 = '' OR a.backend = ?1) AND a.seq < ?2"
		    " ORDER BY a.seq DESC, a.backend");

	store_bind_text(s, 1, query->backend);
	return s;
}

/* What was shown so far. */
struct shown {
	int64_t records, last_seq;
	size_t bytes;
};

static bool is_enough(const struct spool_query *query,
		      const struct shown *shown)
{
	return shown->records >= query->max ||
	       (query->max_bytes > 0 && shown->bytes >= query->max_bytes);
}

int spool_show(struct store_db *db, const struct spool_query *query,
	       spool_row_h *handler, void *arg)
{
	sqlite3_stmt *s =
		query->aside ? show_aside(db, query) : show_records(db, query);
	struct shown shown = {0};
	int r;

	store_bind_i64(s, 2, query->before > 0 ? query->before : INT64_MAX);
	while ((r = store_step(s)) == SQLITE_ROW) {
		const struct spool_row row = {
			.seq = sqlite3_column_int64(s, 0),
			.stored_us = sqlite3_column_int64(s, 1),
			.json = store_column(s, 2),
			.backend = store_column(s, 3),
			.reason = store_column(s, 4),
			.retry = sqlite3_column_int(s, 5) != 0,
		};

		if (row.seq != shown.last_seq && is_enough(query, &shown)) {
			sqlite3_reset(s);
			return SQLITE_OK;
		}
		shown.records += row.seq != shown.last_seq;
		shown.last_seq = row.seq;
		shown.bytes += row.json.len;
		handler(&row, arg);
	}
	return r == SQLITE_DONE ? SQLITE_OK : r;
}
