#include "link/relay_record_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

struct owner {
	struct owner *next;
	size_t count; /* when the file was opened */
	bool adopted;
	char name[ADDR_TEXT_SIZE];
};

struct relay_record_file {
	struct store *store;
	int64_t last_id;
	struct owner *owners;
};

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, "
	"owner TEXT NOT NULL, record_id BLOB NOT NULL, json BLOB NOT NULL);"
	"CREATE INDEX IF NOT EXISTS records_of_owner ON records (owner, id);"
	"CREATE INDEX IF NOT EXISTS records_by_record_id "
	"ON records (owner, record_id);";

static int load_owners(struct relay_record_file *f, struct store_db *db)
{
	sqlite3_stmt *s = store_statement(
		db, "SELECT owner, count(*) FROM records GROUP BY owner");
	int r;

	while ((r = store_step(s)) == SQLITE_ROW) {
		struct span name = store_column(s, 0);
		struct owner *owner = calloc(1, sizeof(*owner));

		if (!owner)
			return SQLITE_NOMEM;
		snprintf(owner->name, sizeof(owner->name), "%.*s",
			 SPAN_ARG(name));
		owner->count = (size_t)sqlite3_column_int64(s, 1);
		owner->next = f->owners;
		f->owners = owner;
	}
	return r == SQLITE_DONE ? SQLITE_OK : r;
}

static int load(struct relay_record_file *f, struct store_db *db)
{
	sqlite3_stmt *s;
	int r = store_exec(db, schema);

	if (r != SQLITE_OK)
		return r;
	s = store_statement(db, "SELECT max(id) FROM records");
	r = store_step(s);
	if (r != SQLITE_ROW)
		return r;
	f->last_id = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	return load_owners(f, db);
}

int relay_record_file_new(struct relay_record_file **ret, struct store *store,
			  struct buf *ret_why)
{
	struct relay_record_file *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->store = store;
	if (load(f, store_db(store)) != SQLITE_OK) {
		buf_printf(ret_why, "%s", store_why(store_db(store)));
		relay_record_file_free(f);
		return -EIO;
	}
	r = store_start(store);
	if (r < 0) {
		buf_printf(ret_why, "%s", strerror(-r));
		relay_record_file_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

struct relay_record_file *relay_record_file_free(struct relay_record_file *f)
{
	if (!f)
		return NULL;
	for (struct owner *owner = f->owners, *next; owner; owner = next) {
		next = owner->next;
		free(owner);
	}
	free(f);
	return NULL;
}

struct store *relay_record_file_store(const struct relay_record_file *f)
{
	return f->store;
}

int64_t relay_record_file_next_id(struct relay_record_file *f)
{
	return ++f->last_id;
}

size_t relay_record_file_adopt(struct relay_record_file *f, const char *owner)
{
	for (struct owner *o = f->owners; o; o = o->next) {
		if (strcmp(o->name, owner) != 0)
			continue;
		o->adopted = true;
		return o->count;
	}
	return 0;
}

size_t relay_record_file_strangers(const struct relay_record_file *f,
				   struct buf *ret_names)
{
	const char *before = "";
	size_t count = 0;

	for (const struct owner *o = f->owners; o; o = o->next) {
		if (o->adopted)
			continue;
		count += o->count;
		if (ret_names)
			buf_printf(ret_names, "%s%s (%zu)", before, o->name,
				   o->count);
		before = ", ";
	}
	return count;
}

/* Work on the store's threads */

int relay_record_insert(struct store_db *db, const char *owner, int64_t id,
			struct span record_id, struct span json)
{
	/* A commit that failed may have come through all the same. */
	sqlite3_stmt *s = store_statement(
		db, "INSERT OR REPLACE INTO records (id, owner, record_id, "
		    "json) VALUES (?1, ?2, ?3, ?4)");

	store_bind_i64(s, 1, id);
	store_bind_text(s, 2, span_of(owner));
	store_bind_bytes(s, 3, record_id);
	store_bind_bytes(s, 4, json);
	return store_run(s);
}

int relay_record_delete(struct store_db *db, const char *owner, int64_t id,
			struct span record_id, size_t *ret_deleted)
{
	sqlite3_stmt *s;
	int r;

	if (id > 0) {
		s = store_statement(db, "DELETE FROM records WHERE id = ?1");
		store_bind_i64(s, 1, id);
	} else {
		s = store_statement(db, "DELETE FROM records WHERE owner = ?1 "
					"AND record_id = ?2");
		store_bind_text(s, 1, span_of(owner));
		store_bind_bytes(s, 2, record_id);
	}
	r = store_run(s);
	if (r == SQLITE_OK)
		*ret_deleted = (size_t)sqlite3_changes(sqlite3_db_handle(s));
	return r;
}

int relay_record_read(struct store_db *db, struct relay_record_batch *batch)
{
	sqlite3_stmt *s = store_statement(
		db, "SELECT id, record_id, json FROM records "
		    "WHERE owner = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
	int r;

	buf_reset(&batch->bytes);
	batch->count = 0;
	store_bind_text(s, 1, span_of(batch->owner));
	store_bind_i64(s, 2, batch->after);
	store_bind_i64(s, 3, (int64_t)batch->max);
	while ((r = store_step(s)) == SQLITE_ROW) {
		struct span record_id = store_column(s, 1);
		struct span json;

		batch->rows[batch->count].id = sqlite3_column_int64(s, 0);
		batch->rows[batch->count].record_id_len = record_id.len;
		buf_add(&batch->bytes, record_id);
		json = store_column(s, 2);
		batch->rows[batch->count].json_len = json.len;
		buf_add(&batch->bytes, json);
		batch->count++;
		if (batch->bytes.len >= RELAY_RECORD_BATCH_BYTES)
			break;
	}
	batch->is_last = r == SQLITE_DONE && batch->count < batch->max;
	if (r == SQLITE_ROW)
		sqlite3_reset(s);
	if (buf_failed(&batch->bytes))
		return SQLITE_NOMEM;
	return r == SQLITE_ROW || r == SQLITE_DONE ? SQLITE_OK : r;
}
