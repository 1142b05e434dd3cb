#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "link/relay_records_internal.h"

/* A read that is under way may have seen its row yet. */
static void bury(struct record *record)
{
	if (record->gone && !record->writing && !record->records->reading)
		relay_records_discard(record);
}

/* Into the file */

static int insert_row(struct store_db *db, void *arg)
{
	const struct record *record = arg;

	return relay_record_insert(db, record->records->owner, record->id,
				   record_id_of(record), json_of(record));
}

static const char *why_not_written(int err)
{
	return err == -ENOSPC      ? "too many wait for the disk"
	       : err == -ESHUTDOWN ? "the relay stops and the disk cannot be "
				     "written"
				   : "it cannot be written to the disk";
}

static void row_inserted(int err, void *arg)
{
	struct record *record = arg;
	struct relay_records *records = record->records;

	record->writing = false;
	if (err == 0) {
		record->on_disk = true;
		records->counts.on_disk++;
	}
	if (record->place == FORGOTTEN) {
		bury(record);
	} else if (records->closing) {
		if (err < 0)
			relay_records_drop(record, why_not_written(err));
		else
			relay_records_discard(record);
	} else if (record->place == SPILLING && err < 0) {
		relay_records_drop(record, why_not_written(err));
	} else if (record->place == SPILLING) {
		records->unread = records->unread_again = true;
		relay_records_discard(record);
		relay_records_refill_and_tell(records);
	} else if (err < 0) {
		/* It is in memory, and is tried again. */
		timer_start(records->retry, RELAY_RECORDS_RETRY_US);
	}
	relay_records_job_over(records);
}

void relay_records_write(struct record *record)
{
	struct relay_records *records = record->records;

	if (!records->store || record->on_disk || record->writing)
		return;
	record->writing = true;
	records->jobs++;
	store_submit(records->store, insert_row, row_inserted, record);
}

static int delete_row(struct store_db *db, void *arg)
{
	struct record *record = arg;

	return relay_record_delete(db, record->records->owner, record->id,
				   record_id_of(record), &record->deleted);
}

static void row_deleted(int err, void *arg)
{
	struct record *record = arg;
	struct relay_records *records = record->records;

	record->deleting = false;
	if (err == 0) {
		records->counts.on_disk -= record->deleted;
		/* It was known by its record_id alone. */
		if (record->id == 0 && record->deleted > 0)
			records->counts.acked++;
		else if (record->id == 0)
			records->counts.acks_unknown++;
		record->gone = true;
		bury(record);
	} else if (!records->closing) {
		timer_start(records->retry, RELAY_RECORDS_RETRY_US);
	}
	relay_records_job_over(records);
}

void relay_records_delete(struct record *record)
{
	if (record->deleting || record->gone)
		return;
	record->deleting = true;
	record->records->jobs++;
	store_submit(record->records->store, delete_row, row_deleted, record);
}

/* Back from the file */

struct reading {
	struct relay_records *records;
	struct relay_record_batch batch;
};

static bool was_sent_here(struct relay_records *records, int64_t id)
{
	const size_t size = sizeof(id);
	int64_t sent = 0;

	while (records->sent_at + size <= records->sent.len) {
		memcpy(&sent, records->sent.data + records->sent_at, size);
		if (sent >= id)
			break;
		records->sent_at += size;
	}
	return sent == id;
}

/* @return false if there is no memory for it */
static bool take_row(struct relay_records *records, int64_t id,
		     struct span record_id, struct span json)
{
	struct record *record = relay_records_find(records, record_id);

	if (!record) {
		record = relay_records_make(records, record_id, json);
		if (!record)
			return false;
		record->id = id;
		record->on_disk = true;
		record->sent = was_sent_here(records, id);
		relay_records_keep(record);
	} else if (record->place == SPILLING) {
		/* Its row is written, and we are not told yet. */
		relay_records_unspill(record);
	}
	records->cursor = id;
	return true;
}

static bool take_batch(struct relay_records *records,
		       const struct relay_record_batch *batch)
{
	const char *at = batch->bytes.data;

	for (size_t i = 0; i < batch->count; i++) {
		struct span record_id =
			span_make(at, batch->rows[i].record_id_len);
		struct span json =
			span_make(at + record_id.len, batch->rows[i].json_len);

		if (!take_row(records, batch->rows[i].id, record_id, json))
			return false;
		at += record_id.len + json.len;
	}
	return true;
}

static int read_rows(struct store_db *db, void *arg)
{
	struct reading *reading = arg;

	return relay_record_read(db, &reading->batch);
}

static void rows_read(int err, void *arg)
{
	struct reading *reading = arg;
	struct relay_records *records = reading->records;
	uint64_t suppressed;

	records->reading = false;
	if (err == 0 && !records->closing) {
		if (take_batch(records, &reading->batch) &&
		    reading->batch.is_last && !records->unread_again)
			records->unread = false;
		list_for_each_safe (link, &records->forgotten)
			bury(list_item(link, struct record, link));
		relay_records_refill_and_tell(records);
	} else if (!records->closing) {
		if (log_limit_allows(&records->log_read,
				     loop_now_us(records->loop), &suppressed))
			log_error("records for dispatcher %s cannot be read "
				  "from the disk; they stay there for now",
				  records->label);
		timer_start(records->retry, RELAY_RECORDS_RETRY_US);
	}
	buf_done(&reading->batch.bytes);
	free(reading);
	relay_records_job_over(records);
}

void relay_records_read(struct relay_records *records, size_t max)
{
	struct reading *reading = calloc(1, sizeof(*reading));

	if (!reading) {
		timer_start(records->retry, RELAY_RECORDS_RETRY_US);
		return;
	}
	reading->records = records;
	reading->batch.owner = records->owner;
	reading->batch.after = records->cursor;
	reading->batch.max = max;
	records->reading = true;
	records->unread_again = false;
	records->jobs++;
	store_ask(records->store, read_rows, rows_read, reading);
}
