#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "link/relay_records_internal.h"

#define WRITE_AFTER_US (100 * US_PER_MS)
/* So it is handed to the disk within 150 ms, which has 50 to write it. */
#define LOOK_EVERY_US (50 * US_PER_MS)
/* On their way into the file; a disk that stands still must not take all. */
#define MAX_SPILLING_BYTES (256u << 20)

/* What is left is on disk, or is lost with the disk. */
static void free_list(struct list *head)
{
	list_for_each_safe (link, head)
		free(list_item(link, struct record, link));
}

static void records_done(struct relay_records *records)
{
	free_list(&records->memory);
	free_list(&records->spilling);
	free_list(&records->forgotten);
	hash_done(&records->by_record_id);
	buf_done(&records->sent);
	timer_free(records->look);
	timer_free(records->retry);
	free(records);
}

void relay_records_job_over(struct relay_records *records)
{
	if (--records->jobs == 0 && records->closing)
		records_done(records);
}

static size_t size_of(const struct record *record)
{
	return record->record_id_len + record->json_len;
}

/* A record, and its places */

struct record *relay_records_make(struct relay_records *records,
				  struct span record_id, struct span json)
{
	struct record *record =
		calloc(1, sizeof(*record) + record_id.len + json.len);

	if (!record)
		return NULL;
	list_init(&record->link);
	record->records = records;
	record->record_id_len = record_id.len;
	record->json_len = json.len;
	if (record_id.len > 0)
		memcpy(record->text, record_id.ptr, record_id.len);
	if (json.len > 0)
		memcpy(record->text + record_id.len, json.ptr, json.len);
	record->added_us = loop_now_us(records->loop);
	hash_add(&records->by_record_id, &record->node,
		 hash_span(&records->by_record_id, record_id));
	return record;
}

struct record *relay_records_find(const struct relay_records *records,
				  struct span record_id)
{
	struct hash_node *node =
		hash_first(&records->by_record_id,
			   hash_span(&records->by_record_id, record_id));

	while (node &&
	       !span_equal(record_id,
			   record_id_of(hash_item(node, struct record, node))))
		node = hash_next(node);
	return node ? hash_item(node, struct record, node) : NULL;
}

void relay_records_leave(struct record *record)
{
	struct relay_records *records = record->records;

	if (record->place == IN_MEMORY) {
		if (records->unsent == &record->link)
			records->unsent = record->link.next;
		records->memory_count--;
		records->memory_bytes -= size_of(record);
	} else if (record->place == SPILLING) {
		records->spilling_count--;
		records->spilling_bytes -= size_of(record);
	}
	list_del(&record->link);
	record->place = NOWHERE;
}

void relay_records_discard(struct record *record)
{
	relay_records_leave(record);
	hash_del(&record->records->by_record_id, &record->node);
	free(record);
}

static void log_lost(struct relay_records *records, struct span json,
		     const char *why)
{
	/* The log is the last place where this call can still be found. */
	log_error("dispatcher %s will not get this record, %s: %.*s",
		  records->label, why, SPAN_ARG(json));
	records->counts.dropped++;
}

void relay_records_drop(struct record *record, const char *why)
{
	if (!record->logged)
		log_lost(record->records, json_of(record), why);
	relay_records_discard(record);
}

static bool is_behind(const struct relay_records *records)
{
	return records->unread || records->reading ||
	       !list_empty(&records->spilling);
}

void relay_records_refill_and_tell(struct relay_records *records)
{
	relay_records_refill(records);
	if (records->up)
		records->more(records->arg);
}

static void write_all(struct relay_records *records)
{
	if (!records->store)
		return;
	list_for_each_safe (link, &records->memory)
		relay_records_write(list_item(link, struct record, link));
}

/* The dispatcher has it, or was sent it and acknowledges nothing. The row may
 * still be on its way: the store works in order. */
static void forget(struct record *record)
{
	struct relay_records *records = record->records;

	relay_records_leave(record);
	if (!record->on_disk && !record->writing && record->id > 0) {
		relay_records_discard(record);
		return;
	}
	record->place = FORGOTTEN;
	list_add_tail(&records->forgotten, &record->link);
	relay_records_delete(record);
}

/* Keeping */

void relay_records_keep(struct record *record)
{
	struct relay_records *records = record->records;

	record->place = IN_MEMORY;
	list_add_tail(&records->memory, &record->link);
	if (records->unsent == &records->memory)
		records->unsent = &record->link;
	records->memory_count++;
	records->memory_bytes += size_of(record);
	records->cursor = record->id;
	if (!records->store || record->on_disk || record->writing)
		return;
	if (!records->up)
		relay_records_write(record);
	else if (!timer_is_running(records->look))
		timer_start(records->look, LOOK_EVERY_US);
}

static void spill(struct record *record)
{
	struct relay_records *records = record->records;

	if (records->spilling_bytes > MAX_SPILLING_BYTES) {
		relay_records_drop(record, "too many wait for the disk");
		return;
	}
	if (record->sent)
		buf_add(&records->sent,
			span_make(&record->id, sizeof(record->id)));
	record->place = SPILLING;
	list_add_tail(&records->spilling, &record->link);
	records->spilling_count++;
	records->spilling_bytes += size_of(record);
	relay_records_write(record); /* it may be gone now */
}

void relay_records_unspill(struct record *record)
{
	relay_records_leave(record);
	relay_records_keep(record);
}

static bool is_full(const struct relay_records *records)
{
	return records->memory_count >= records->max_records ||
	       records->memory_bytes >= records->max_bytes;
}

/* Without a file: the oldest gives way. */
static void drop_oldest(struct relay_records *records)
{
	struct list *first;

	while ((first = list_first(&records->memory)) &&
	       (records->memory_count > records->max_records ||
		records->memory_bytes > records->max_bytes))
		relay_records_drop(list_item(first, struct record, link),
				   "too many wait");
}

static int64_t next_id(struct relay_records *records)
{
	records->last_id = records->file
				   ? relay_record_file_next_id(records->file)
				   : records->last_id + 1;
	return records->last_id;
}

static void add(struct relay_records *records, struct span record_id,
		struct span json, bool sent)
{
	struct record *record = relay_records_make(records, record_id, json);

	if (!record) {
		log_lost(records, json, "out of memory");
		return;
	}
	record->id = next_id(records);
	record->sent = sent;
	if (records->store && (is_behind(records) || is_full(records)))
		spill(record);
	else
		relay_records_keep(record);
	if (!records->store)
		drop_oldest(records);
}

void relay_records_add(struct relay_records *records, struct span record_id,
		       struct span json)
{
	add(records, record_id, json, /* sent= */ false);
}

void relay_records_add_sent(struct relay_records *records,
			    struct span record_id, struct span json)
{
	add(records, record_id, json, /* sent= */ true);
}

/* Take what is behind into memory, while there is room. */
void relay_records_refill(struct relay_records *records)
{
	size_t batch = records->max_records / 8;
	struct list *first;

	if (batch > RELAY_RECORD_BATCH || batch == 0)
		batch = batch == 0 ? 1 : RELAY_RECORD_BATCH;
	while (records->up && !records->reading &&
	       records->memory_count + batch <= records->max_records &&
	       records->memory_bytes < records->max_bytes) {
		if (records->unread) {
			relay_records_read(records, batch);
			return;
		}
		first = list_first(&records->spilling);
		if (!first)
			return;
		/* It need not wait for the disk. */
		relay_records_unspill(list_item(first, struct record, link));
	}
}

/* Time */

static void on_look(void *arg)
{
	struct relay_records *records = arg;
	uint64_t now_us = loop_now_us(records->loop);
	bool again = false;

	list_for_each_safe (link, &records->memory) {
		struct record *record = list_item(link, struct record, link);

		if (now_us - record->added_us >= WRITE_AFTER_US)
			relay_records_write(record);
		else
			again = true;
	}
	if (again)
		timer_start(records->look, LOOK_EVERY_US);
}

static void on_retry(void *arg)
{
	struct relay_records *records = arg;

	on_look(records);
	list_for_each_safe (link, &records->forgotten)
		relay_records_delete(list_item(link, struct record, link));
	relay_records_refill(records);
}

/* The link's side */

void relay_records_up(struct relay_records *records, bool acks)
{
	records->up = true;
	records->acks = acks;
	records->backlog_end = next_id(records);
	relay_records_refill(records);
}

static void not_sent(struct list *head)
{
	list_for_each (link, head) {
		struct record *record = list_item(link, struct record, link);

		record->was_sent |= record->sent;
		record->sent = false;
	}
}

void relay_records_down(struct relay_records *records)
{
	records->up = records->acks = false;
	not_sent(&records->memory);
	not_sent(&records->spilling);
	records->unsent = records->memory.next;
	buf_reset(&records->sent);
	records->sent_at = 0;
	timer_stop(records->look);
	write_all(records);
}

static struct record *first_unsent(const struct relay_records *records)
{
	struct list *at = records->unsent;

	while (at != &records->memory &&
	       list_item(at, struct record, link)->sent)
		at = at->next;
	return at == &records->memory ? NULL
				      : list_item(at, struct record, link);
}

bool relay_records_next(struct relay_records *records,
			struct span *ret_record_id, struct span *ret_json)
{
	const struct record *record = first_unsent(records);

	if (!record)
		return false;
	*ret_record_id = record_id_of(record);
	*ret_json = json_of(record);
	return true;
}

void relay_records_sent(struct relay_records *records)
{
	struct record *record = first_unsent(records);

	records->unsent = record->link.next;
	records->counts.sent++;
	records->counts.resent += record->was_sent;
	if (records->acks) {
		record->sent = true;
		return;
	}
	forget(record);
	relay_records_refill(records);
}

void relay_records_acked(struct relay_records *records, struct span record_id)
{
	struct record *record = relay_records_find(records, record_id);

	if (record && record->place != FORGOTTEN) {
		records->counts.acked++;
		forget(record);
		relay_records_refill(records);
		return;
	}
	/* On disk alone: sent before it was spilled, or by the relay that ran
	 * before this one. */
	if (!record && (records->unread || records->reading) &&
	    record_id.len <= RELAY_RECORD_MAX_ID)
		record = relay_records_make(records, record_id, SPAN(""));
	else
		record = NULL;
	if (record)
		forget(record);
	else
		records->counts.acks_unknown++;
}

bool relay_records_caught_up(const struct relay_records *records)
{
	const struct record *next = first_unsent(records);
	struct list *spilling = list_first(&records->spilling);

	if (next)
		return next->id > records->backlog_end;
	if (records->cursor > records->backlog_end)
		return true;
	return !records->unread && !records->reading &&
	       (!spilling || list_item(spilling, struct record, link)->id >
				     records->backlog_end);
}

bool relay_records_empty(const struct relay_records *records)
{
	return records->memory_count == 0 && !is_behind(records);
}

size_t relay_records_total(const struct relay_records *records)
{
	size_t total = records->counts.on_disk + records->spilling_count;

	list_for_each (link, &records->memory)
		total += !list_item(link, struct record, link)->on_disk;
	return total;
}

void relay_records_count(const struct relay_records *records,
			 struct relay_records_counts *ret)
{
	*ret = records->counts;
	ret->waiting = records->memory_count + records->spilling_count;
}

/* For its owner */

int relay_records_new(struct relay_records **ret,
		      const struct relay_records_config *config)
{
	struct relay_records *records = calloc(1, sizeof(*records));

	if (!records)
		return -ENOMEM;
	records->file = config->file;
	records->loop = config->loop;
	records->max_records = config->max_records;
	records->max_bytes = config->max_bytes;
	records->more = config->more;
	records->arg = config->arg;
	records->log_read = LOG_LIMIT(1, 600 * US_PER_S);
	snprintf(records->owner, sizeof(records->owner), "%s", config->owner);
	snprintf(records->label, sizeof(records->label), "%s", config->label);
	list_init(&records->memory);
	list_init(&records->spilling);
	list_init(&records->forgotten);
	records->unsent = &records->memory;
	if (hash_init(&records->by_record_id) < 0 ||
	    timer_new(&records->look, config->loop, on_look, records) < 0 ||
	    timer_new(&records->retry, config->loop, on_retry, records) < 0) {
		records_done(records);
		return -ENOMEM;
	}
	if (records->file) {
		records->store = relay_record_file_store(records->file);
		records->counts.on_disk =
			relay_record_file_adopt(records->file, records->owner);
		records->unread = records->counts.on_disk > 0;
	}
	*ret = records;
	return 0;
}

static void write_to_log(struct list *head)
{
	list_for_each (link, head) {
		struct record *record = list_item(link, struct record, link);

		if (record->on_disk || record->logged)
			continue;
		log_lost(record->records, json_of(record),
			 "unless the disk can be written again before the "
			 "relay has stopped");
		record->logged = true;
	}
}

struct relay_records *relay_records_free(struct relay_records *records)
{
	if (!records)
		return NULL;
	records->closing = true;
	records->up = false;
	records->file = NULL;
	records->look = timer_free(records->look);
	records->retry = timer_free(records->retry);
	/* A store whose disk stands still may never come back to us. */
	if (records->store && store_is_failing(records->store)) {
		write_to_log(&records->memory);
		write_to_log(&records->spilling);
	}
	records->jobs++; /* ours: it lives to the end of this function */
	list_for_each_safe (link, &records->memory) {
		struct record *record = list_item(link, struct record, link);

		if (!records->store)
			relay_records_drop(record, "the relay stops");
		else if (record->on_disk)
			relay_records_discard(record);
		else
			relay_records_write(record);
	}
	relay_records_job_over(records);
	return NULL;
}
