#include "dispatcher/directory_disk.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "dispatcher/directory_internal.h"

struct directory_disk {
	struct store *store;
	struct directory *directory;
	uint64_t wall_offset_us; /* to the monotonic clock */
	size_t unreadable;
	struct log_limit limit;
	uint64_t failed;
};

#define TEXT_COUNT 7
enum text {
	TEXT_RELAY,
	TEXT_CALL_ID,
	TEXT_FROM_TAG,
	TEXT_TO_TAGS,
	TEXT_DIALOG_ID,
	TEXT_FROM_URI,
	TEXT_TO_URI
};

/* A session as it is written. */
struct row {
	struct directory_disk *disk;
	int64_t id, answered_us, expired_us;
	size_t len[TEXT_COUNT];
	char texts[];
};

static int make_table(struct store_db *db)
{
	return store_exec(db, "CREATE TABLE IF NOT EXISTS sessions ("
			      " id INTEGER PRIMARY KEY,"
			      " relay TEXT NOT NULL,"
			      " call_id BLOB NOT NULL,"
			      " from_tag BLOB NOT NULL,"
			      " to_tags BLOB NOT NULL,"
			      " dialog_id BLOB NOT NULL,"
			      " from_uri BLOB NOT NULL,"
			      " to_uri BLOB NOT NULL,"
			      " answered_us INTEGER NOT NULL,"
			      " expired_us INTEGER NOT NULL)");
}

/* Tags, each behind its length in two bytes */

static void write_tags(const struct directory_session *session, struct buf *out)
{
	list_for_each (link, &session->to_tags) {
		const struct directory_to_tag *tag =
			list_item(link, const struct directory_to_tag, link);

		if (tag->len > UINT16_MAX)
			continue;
		buf_char(out, (char)(tag->len >> 8));
		buf_char(out, (char)(tag->len & 0xff));
		buf_add(out, span_make(tag->text, tag->len));
	}
}

static void read_tags(struct directory_session *session, struct span tags)
{
	while (tags.len >= 2) {
		size_t len = (size_t)(unsigned char)tags.ptr[0] << 8 |
			     (unsigned char)tags.ptr[1];

		if (len > tags.len - 2)
			return;
		directory_session_add_tag(session,
					  span_make(tags.ptr + 2, len));
		tags = span_make(tags.ptr + 2 + len, tags.len - 2 - len);
	}
}

/* Writing */

static int write_row(struct store_db *db, void *arg)
{
	const struct row *row = arg;
	const char *at = row->texts;
	sqlite3_stmt *s = store_statement(
		db, "INSERT OR REPLACE INTO sessions VALUES"
		    " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");

	store_bind_i64(s, 1, row->id);
	for (int i = 0; i < TEXT_COUNT; i++) {
		struct span text = span_make(at, row->len[i]);

		if (i == TEXT_RELAY)
			store_bind_text(s, 2 + i, text);
		else
			store_bind_bytes(s, 2 + i, text);
		at += row->len[i];
	}
	store_bind_i64(s, 9, row->answered_us);
	store_bind_i64(s, 10, row->expired_us);
	return store_run(s);
}

static int delete_row(struct store_db *db, void *arg)
{
	const struct row *row = arg;
	sqlite3_stmt *s =
		store_statement(db, "DELETE FROM sessions WHERE id = ?1");

	store_bind_i64(s, 1, row->id);
	return store_run(s);
}

static void row_written(int err, void *arg)
{
	struct row *row = arg;
	struct directory_disk *disk = row->disk;
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	free(row);
	if (err == 0)
		return;
	disk->failed++;
	if (log_limit_allows(&disk->limit, clock_mono_us(), &suppressed))
		log_error("what is known of a session cannot be kept on disk: "
			  "%s%s",
			  strerror(-err), log_left_out(suppressed, left_out));
}

static struct row *make_row(struct directory_disk *disk,
			    const struct directory_session *session)
{
	CLEANUP(buf_done) struct buf tags = {0};
	char ip[ADDR_TEXT_SIZE];
	struct span texts[TEXT_COUNT];
	struct row *row;
	size_t len = 0;
	char *at;

	write_tags(session, &tags);
	texts[TEXT_RELAY] = span_of(ip_format(&session->call->relay->ip, ip));
	texts[TEXT_CALL_ID] = directory_session_call_id(session);
	texts[TEXT_FROM_TAG] = directory_session_from_tag(session);
	texts[TEXT_TO_TAGS] = buf_span(&tags);
	texts[TEXT_DIALOG_ID] = directory_session_dialog_id(session);
	texts[TEXT_FROM_URI] =
		span_make(session->from_uri, session->from_uri_len);
	texts[TEXT_TO_URI] = span_make(session->to_uri, session->to_uri_len);
	for (int i = 0; i < TEXT_COUNT; i++)
		len += texts[i].len;
	row = buf_failed(&tags) ? NULL : malloc(sizeof(*row) + len);
	if (!row)
		return NULL;
	*row = (struct row){
		.disk = disk,
		.id = (int64_t)session->id,
		.answered_us = (int64_t)session->answered_us,
		.expired_us = session->expired ? (int64_t)(session->expired_us +
							   disk->wall_offset_us)
					       : 0,
	};
	at = row->texts;
	for (int i = 0; i < TEXT_COUNT; i++) {
		row->len[i] = texts[i].len;
		if (texts[i].len > 0)
			memcpy(at, texts[i].ptr, texts[i].len);
		at += texts[i].len;
	}
	return row;
}

/* What does not fit into memory is told by the relay after a restart. */
static void session_changed(struct directory_session *session, void *arg)
{
	struct directory_disk *disk = arg;
	struct row *row = make_row(disk, session);

	if (row)
		store_submit_later(disk->store, write_row, row_written, row);
}

static void session_dropped(const struct directory_session *session, void *arg)
{
	struct directory_disk *disk = arg;
	struct row *row = malloc(sizeof(*row));

	if (!row)
		return;
	*row = (struct row){.disk = disk, .id = (int64_t)session->id};
	store_submit_later(disk->store, delete_row, row_written, row);
}

/* Loading */

/* A time of the monotonic clock, even one from before it began. */
static uint64_t monotonic(const struct directory_disk *disk, int64_t wall_us)
{
	if (wall_us <= 0)
		return 0;
	return (uint64_t)wall_us > disk->wall_offset_us
		       ? (uint64_t)wall_us - disk->wall_offset_us
		       : 1;
}

static int take_row(struct directory_disk *disk, sqlite3_stmt *s,
		    uint64_t now_us)
{
	const struct directory_leg leg = {
		.call_id = store_column(s, 1 + TEXT_CALL_ID),
		.from_tag = store_column(s, 1 + TEXT_FROM_TAG),
		.dialog_id = store_column(s, 1 + TEXT_DIALOG_ID),
		.from_uri = store_column(s, 1 + TEXT_FROM_URI),
		.to_uri = store_column(s, 1 + TEXT_TO_URI),
		.answered_us = (uint64_t)sqlite3_column_int64(s, 8),
	};
	uint64_t expired_us = monotonic(disk, sqlite3_column_int64(s, 9));
	struct directory_session *session;
	struct ip_addr relay;
	int err;

	if (expired_us > now_us)
		expired_us = now_us;
	if (leg.call_id.len == 0 ||
	    ip_parse(store_column(s, 1 + TEXT_RELAY), &relay) < 0)
		return -EBADMSG;
	err = directory_restore(disk->directory, &relay, &leg,
				(uint64_t)sqlite3_column_int64(s, 0),
				expired_us, now_us, &session);
	if (err == 0)
		read_tags(session, store_column(s, 1 + TEXT_TO_TAGS));
	return err;
}

static int load(struct directory_disk *disk, uint64_t now_us)
{
	sqlite3_stmt *s = store_statement(
		store_db(disk->store),
		"SELECT * FROM sessions ORDER BY expired_us, id");
	int r;

	while ((r = store_step(s)) == SQLITE_ROW)
		if (take_row(disk, s, now_us) < 0)
			disk->unreadable++;
	return r == SQLITE_DONE ? SQLITE_OK : r;
}

int directory_disk_open(struct directory_disk **ret, struct store *store,
			struct directory *directory, uint64_t now_us,
			struct buf *ret_why)
{
	static const struct directory_changes changes = {session_changed,
							 session_dropped};
	struct directory_disk *disk = calloc(1, sizeof(*disk));
	int r;

	if (!disk)
		return -ENOMEM;
	disk->store = store;
	disk->directory = directory;
	disk->wall_offset_us = clock_wall_us() - now_us;
	disk->limit = LOG_LIMIT(5, 60 * US_PER_S);
	r = make_table(store_db(store));
	if (r == SQLITE_OK)
		r = load(disk, now_us);
	if (r != SQLITE_OK) {
		buf_printf(ret_why, "the session directory: %s",
			   store_why(store_db(store)));
		free(disk);
		return store_is_damage(r) ? -EBADMSG : -EIO;
	}
	directory_set_changes(directory, &changes, disk);
	*ret = disk;
	return 0;
}

struct directory_disk *directory_disk_free(struct directory_disk *disk)
{
	free(disk);
	return NULL;
}

size_t directory_disk_unreadable(const struct directory_disk *disk)
{
	return disk->unreadable;
}
