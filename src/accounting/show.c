#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "accounting/accounting_internal.h"
#include "base/cleanup.h"

/* The summary */

static void write_backend(struct accounting *accounting,
			  const struct accounting_backend *entry,
			  struct json_writer *w)
{
	struct delivery_status status = {.cursor = entry->cursor};

	if (entry->thread)
		delivery_read_status(entry->thread, &status);
	json_object_begin(w, NULL);
	json_text(w, "name", entry->backend->name);
	json_text(w, "state", status.is_down ? "down" : "up");
	if (status.is_down) {
		json_text(w, "why", status.why);
		json_u64(w, "down_for",
			 (clock_mono_us() - status.down_since_us) / US_PER_S);
	}
	json_i64(w, "waiting",
		 accounting->last_seq > status.cursor
			 ? accounting->last_seq - status.cursor
			 : 0);
	json_u64(w, "delivered", status.delivered);
	json_u64(w, "set_aside", status.set_aside);
	json_u64(w, "failures", status.failures);
	if (entry->backend->interim) {
		json_u64(w, "interims", status.interims);
		json_u64(w, "interims_dropped", status.interims_dropped);
	}
	json_object_end(w);
}

void accounting_write(struct accounting *accounting, struct json_writer *w)
{
	struct store_counts store;

	store_count(accounting->store, &store);
	json_object_begin(w, "accounting");
	json_bool(w, "disk_failing", store_is_failing(accounting->store));
	json_u64(w, "disk_bytes", store.bytes);
	json_u64(w, "disk_waiting", store.waiting);
	json_u64(w, "disk_commits", store.commits);
	json_u64(w, "disk_failures", store.failures);
	json_u64(w, "disk_refused", store.refused);
	json_u64(w, "stored", accounting->counts.stored);
	json_u64(w, "repeated", accounting->counts.repeated);
	json_u64(w, "unreadable", accounting->counts.unreadable);
	json_u64(w, "lost", accounting->counts.lost);
	json_u64(w, "forgotten", accounting->counts.forgotten);
	json_array_begin(w, "backends");
	for (size_t i = 0; i < accounting->backend_count; i++)
		write_backend(accounting, &accounting->backends[i], w);
	json_array_end(w);
	json_object_end(w);
}

/* Rows */

struct showing {
	accounting_row_h *row;
	void *arg;
	struct spool_query query;
	char *call_id, *backend; /* what the query points to */
	struct buf rows;         /* a line of JSON each */
};

static void free_showing(struct showing *showing)
{
	buf_done(&showing->rows);
	free(showing->call_id);
	free(showing->backend);
	free(showing);
}

static void add_row(const struct spool_row *row, void *arg)
{
	struct showing *showing = arg;
	struct json_writer w = json_writer_over(&showing->rows);

	json_object_begin(&w, NULL);
	json_i64(&w, "seq", row->seq);
	json_float(&w, "stored", (double)row->stored_us / (double)US_PER_S);
	if (row->backend.len > 0) {
		json_span(&w, "backend", row->backend);
		json_span(&w, "reason", row->reason);
		json_bool(&w, "retry", row->retry);
	}
	json_raw(&w, "record", row->json);
	json_object_end(&w);
	buf_char(&showing->rows, '\n');
}

static int read_rows(struct store_db *db, void *arg)
{
	struct showing *showing = arg;

	buf_reset(&showing->rows);
	return spool_show(db, &showing->query, add_row, showing);
}

static void rows_read(int err, void *arg)
{
	struct showing *showing = arg;
	struct span rest = buf_span(&showing->rows);
	struct span row;

	if (buf_failed(&showing->rows))
		err = -ENOMEM;
	while (err == 0 && span_cut(&rest, '\n', &row))
		showing->row(&row, 0, showing->arg);
	showing->row(NULL, err, showing->arg);
	free_showing(showing);
}

int accounting_show(struct accounting *accounting,
		    const struct accounting_query *query, accounting_row_h *row,
		    void *arg)
{
	struct showing *showing = calloc(1, sizeof(*showing));

	if (!showing)
		return -ENOMEM;
	showing->row = row;
	showing->arg = arg;
	showing->call_id = span_dup(query->call_id);
	showing->backend = span_dup(query->backend);
	showing->query = (struct spool_query){
		.call_id = span_make(showing->call_id, query->call_id.len),
		.backend = span_make(showing->backend, query->backend.len),
		.aside = query->aside,
		.before = query->before,
		.max = query->max,
	};
	if (!showing->call_id || !showing->backend) {
		free_showing(showing);
		return -ENOMEM;
	}
	store_ask(accounting->store, read_rows, rows_read, showing);
	return 0;
}

/* Trying again */

struct retrying {
	struct accounting *accounting;
	accounting_retried_h *retried;
	void *arg;
	char *backend, *record_id;
	size_t backend_len, record_id_len;
	int64_t count;
};

static int mark_retries(struct store_db *db, void *arg)
{
	struct retrying *r = arg;

	return spool_retry(db, span_make(r->backend, r->backend_len),
			   span_make(r->record_id, r->record_id_len),
			   &r->count);
}

static void retries_marked(int err, void *arg)
{
	struct retrying *r = arg;
	struct accounting *accounting = r->accounting;

	for (size_t i = 0; i < accounting->backend_count && err == 0; i++)
		if (accounting->backends[i].thread)
			delivery_retry(accounting->backends[i].thread);
	r->retried(err, r->count, r->arg);
	free(r->backend);
	free(r->record_id);
	free(r);
}

int accounting_retry(struct accounting *accounting, struct span backend,
		     struct span record_id, accounting_retried_h *retried,
		     void *arg)
{
	struct retrying *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	*r = (struct retrying){
		.accounting = accounting,
		.retried = retried,
		.arg = arg,
		.backend = span_dup(backend),
		.record_id = span_dup(record_id),
		.backend_len = backend.len,
		.record_id_len = record_id.len,
	};
	if (!r->backend || !r->record_id) {
		free(r->backend);
		free(r->record_id);
		free(r);
		return -ENOMEM;
	}
	store_submit(accounting->store, mark_retries, retries_marked, r);
	return 0;
}
