#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accounting/accounting_internal.h"
#include "base/cleanup.h"

static const char *describe(int err)
{
	switch (err) {
	case 0:
		return "";
	case -ENOMEM:
		return "out of memory";
	case -ENOSPC:
		return "too many wait for the disk";
	case -ESHUTDOWN:
		return "the dispatcher stops";
	default:
		return "the disk";
	}
}

/* The summary */

static void write_backend(struct accounting *accounting,
			  const struct accounting_backend *entry,
			  const int64_t *aside, struct json_writer *w)
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
	if (aside)
		json_i64(w, "aside", *aside);
	json_u64(w, "failures", status.failures);
	if (entry->backend->interim) {
		json_u64(w, "interims", status.interims);
		json_u64(w, "interims_dropped", status.interims_dropped);
	}
	json_object_end(w);
}

/* aside: one number for each backend, or NULL: it is not known. */
static void write_status(struct accounting *accounting, const int64_t *aside,
			 struct json_writer *w)
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
		write_backend(accounting, &accounting->backends[i],
			      aside ? &aside[i] : NULL, w);
	json_array_end(w);
	json_object_end(w);
}

void accounting_write(struct accounting *accounting, struct json_writer *w)
{
	write_status(accounting, NULL, w);
}

bool accounting_has_backend(const struct accounting *accounting,
			    struct span name)
{
	for (size_t i = 0; i < accounting->backend_count; i++)
		if (span_equal(name,
			       span_of(accounting->backends[i].backend->name)))
			return true;
	return false;
}

void accounting_write_names(const struct accounting *accounting,
			    struct buf *out)
{
	for (size_t i = 0; i < accounting->backend_count; i++)
		buf_printf(out, "%s%s", i > 0 ? ", " : "",
			   accounting->backends[i].backend->name);
}

/* The status, with what only the disk knows */

struct counting {
	struct accounting *accounting;
	accounting_row_h *row;
	void *arg;
	int64_t aside[ACCOUNTING_MAX_BACKENDS];
};

/* On the reader's thread: of the backends only what never changes. */
static int count_aside(struct store_db *db, void *arg)
{
	struct counting *counting = arg;
	const struct accounting *accounting = counting->accounting;
	int r = SQLITE_OK;

	for (size_t i = 0; i < accounting->backend_count && r == SQLITE_OK; i++)
		r = spool_count_aside(db, accounting->backends[i].backend->name,
				      &counting->aside[i]);
	return r;
}

static void aside_counted(int err, void *arg)
{
	struct counting *counting = arg;
	CLEANUP(buf_done) struct buf out = {0};
	struct json_writer w = json_writer_over(&out);
	struct span row;

	json_object_begin(&w, NULL);
	write_status(counting->accounting, err == 0 ? counting->aside : NULL,
		     &w);
	json_object_end(&w);
	row = buf_span(&out);
	if (!buf_failed(&out))
		counting->row(&row, 0, NULL, counting->arg);
	err = buf_failed(&out) ? -ENOMEM : 0;
	counting->row(NULL, err, describe(err), counting->arg);
	free(counting);
}

int accounting_show_status(struct accounting *accounting, accounting_row_h *row,
			   void *arg)
{
	struct counting *counting = calloc(1, sizeof(*counting));

	if (!counting)
		return -ENOMEM;
	counting->accounting = accounting;
	counting->row = row;
	counting->arg = arg;
	/* Whoever asks about a disk that hangs is not to hang as well. */
	if (store_is_failing(accounting->store))
		aside_counted(-EIO, counting);
	else
		store_ask(accounting->store, count_aside, aside_counted,
			  counting);
	return 0;
}

/* Rows */

struct showing {
	accounting_row_h *row;
	void *arg;
	struct spool_query query;
	char *call_id, *backend; /* what the query points to */
	struct buf rows;         /* a line of JSON each */
	char why[160];           /* it could not be read */
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
	size_t start = showing->rows.len;

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
	/* A relay may have written line ends between members. */
	for (size_t i = start; i < showing->rows.len; i++)
		if (showing->rows.data[i] == '\n')
			showing->rows.data[i] = ' ';
	buf_char(&showing->rows, '\n');
}

static int read_rows(struct store_db *db, void *arg)
{
	struct showing *showing = arg;

	int r;

	buf_reset(&showing->rows);
	r = spool_show(db, &showing->query, add_row, showing);
	if (r != SQLITE_OK)
		snprintf(showing->why, sizeof(showing->why), "%s (%d)",
			 store_why(db), r);
	return r;
}

static void rows_read(int err, void *arg)
{
	struct showing *showing = arg;
	struct span rest = buf_span(&showing->rows);
	struct span row;

	if (buf_failed(&showing->rows))
		err = -ENOMEM;
	while (err == 0 && span_cut(&rest, '\n', &row))
		showing->row(&row, 0, NULL, showing->arg);
	showing->row(NULL, err, showing->why[0] ? showing->why : describe(err),
		     showing->arg);
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
		.max_bytes = query->max_bytes,
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
	const struct accounting *accounting = r->accounting;
	struct span backend = span_make(r->backend, r->backend_len);
	struct span record_id = span_make(r->record_id, r->record_id_len);
	int64_t total = 0, count = 0;
	int rc = SQLITE_OK;

	/* What nobody would try is not marked and not counted. */
	for (size_t i = 0; i < accounting->backend_count && rc == SQLITE_OK;
	     i++) {
		struct span name =
			span_of(accounting->backends[i].backend->name);

		if (backend.len > 0 && !span_equal(backend, name))
			continue;
		rc = spool_retry(db, name, record_id, &count);
		total += rc == SQLITE_OK ? count : 0;
	}
	r->count = total;
	return rc;
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
