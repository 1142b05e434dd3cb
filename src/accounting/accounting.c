#include "accounting/accounting.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "accounting/accounting_internal.h"
#include "base/cleanup.h"
#include "base/log.h"

#define UNREADABLE_SHOWN 1000 /* bytes, in the log */
#define PRUNE_EVERY_US (10 * US_PER_S)
#define PRUNE_RECORDS 2000 /* in one transaction, which others wait for */

/* Taking a record */

struct taking {
	struct accounting *accounting;
	accounting_taken_h *taken;
	void *arg;
	struct record record;
	char record_id[ACCOUNTING_ID_SIZE];
	int64_t now_us, seq;
};

static void log_lost(const struct record *record, const char *why)
{
	/* The log is the last place where this call can still be found. */
	log_error("[%.*s] this record is kept nowhere else, %s: %.*s",
		  SPAN_ARG(record->call_id), why, SPAN_ARG(record->json));
}

/* What a relay writes decides how often. */
static void log_unreadable(struct accounting *accounting,
			   const struct ip_addr *relay, struct span json,
			   const char *why)
{
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];
	char ip[ADDR_TEXT_SIZE];

	accounting->counts.unreadable++;
	if (json.len > UNREADABLE_SHOWN)
		json.len = UNREADABLE_SHOWN;
	if (log_limit_allows(&accounting->unreadable_limit, clock_mono_us(),
			     &suppressed))
		log_error("relay %s: a final record is not taken, %s: %.*s%s",
			  ip_format(relay, ip), why, SPAN_ARG(json),
			  log_left_out(suppressed, left_out));
}

static int write_record(struct store_db *db, void *arg)
{
	struct taking *taking = arg;

	return spool_add(db, &taking->record, taking->now_us, &taking->seq);
}

static void record_written(int err, void *arg)
{
	struct taking *taking = arg;
	struct accounting *accounting = taking->accounting;

	if (err < 0) {
		accounting->counts.lost++;
		log_lost(&taking->record,
			 err == -ENOSPC      ? "too many wait for the disk"
			 : err == -ESHUTDOWN ? "the dispatcher stops and the "
					       "disk takes nothing"
					     : "it cannot be written");
	} else if (taking->seq == 0) {
		accounting->counts.repeated++;
	} else {
		accounting->counts.stored++;
		accounting->last_seq = taking->seq;
		for (size_t i = 0; i < accounting->backend_count; i++)
			if (accounting->backends[i].thread)
				delivery_wake(accounting->backends[i].thread);
	}
	taking->taken(err, taking->record_id, taking->arg);
	record_done(&taking->record);
	free(taking);
}

/* An id that goes into a line of ours, and that the relay will know again. */
static bool is_good_id(struct span id)
{
	if (id.len == 0 || id.len >= ACCOUNTING_ID_SIZE)
		return false;
	for (size_t i = 0; i < id.len; i++)
		if (id.ptr[i] <= ' ' || id.ptr[i] > '~')
			return false;
	return true;
}

void accounting_make_id(struct accounting *accounting,
			char to[static ACCOUNTING_ID_SIZE])
{
	snprintf(to, ACCOUNTING_ID_SIZE, "d%016" PRIx64 "-%" PRIx64,
		 accounting->id_base, ++accounting->last_id);
}

struct completing {
	struct accounting *accounting;
	const struct ip_addr *relay;
	struct taking *ret;
};

/* The same object, with what a relay of MediaProxy 4 does not say at its end.
 */
static void add_members(struct buf *out, struct span json, const char *id,
			const struct ip_addr *relay)
{
	char ip[ADDR_TEXT_SIZE];

	while (json.len > 0 && json.ptr[json.len - 1] != '}')
		json.len--;
	buf_add(out, span_make(json.ptr, json.len - 1));
	buf_printf(out, ", \"record_id\": \"%s\", \"relay\": \"%s\"}", id,
		   ip_format(relay, ip));
}

static void complete(const struct record *record, void *arg)
{
	struct completing *completing = arg;
	struct taking *taking = calloc(1, sizeof(*taking));
	CLEANUP(buf_done) struct buf json = {0};
	struct record whole = *record;

	if (!taking)
		return;
	if (is_good_id(record->record_id)) {
		snprintf(taking->record_id, sizeof(taking->record_id), "%.*s",
			 SPAN_ARG(record->record_id));
	} else {
		accounting_make_id(completing->accounting, taking->record_id);
		add_members(&json, record->json, taking->record_id,
			    completing->relay);
		whole.json = buf_span(&json);
	}
	whole.record_id = span_of(taking->record_id);
	taking->accounting = completing->accounting;
	if (buf_failed(&json) || record_dup(&taking->record, &whole) < 0)
		free(taking);
	else
		completing->ret = taking;
}

int accounting_take(struct accounting *accounting, const struct ip_addr *relay,
		    struct span json, accounting_taken_h *taken, void *arg)
{
	struct completing completing = {accounting, relay, NULL};
	int err = record_decode(json, complete, &completing);

	if (err == 0 && !completing.ret)
		err = -ENOMEM;
	if (err < 0) {
		log_unreadable(accounting, relay, json,
			       err == -ENOMEM ? "out of memory"
					      : "it is unreadable");
		return err;
	}
	completing.ret->taken = taken;
	completing.ret->arg = arg;
	completing.ret->now_us = (int64_t)clock_wall_us();
	store_submit(accounting->store, write_record, record_written,
		     completing.ret);
	return 0;
}

bool accounting_is_failing(const struct accounting *accounting)
{
	return store_is_failing(accounting->store);
}

bool accounting_wants_interims(const struct accounting *accounting)
{
	for (size_t i = 0; i < accounting->backend_count; i++)
		if (accounting->backends[i].backend->interim)
			return true;
	return false;
}

void accounting_interim(struct accounting *accounting, struct span json)
{
	for (size_t i = 0; i < accounting->backend_count; i++)
		if (accounting->backends[i].thread)
			delivery_interim(accounting->backends[i].thread, json);
}

/* The history's bounds */

struct pruning {
	struct accounting *accounting;
	struct spool_limits limits;
	struct spool_pruned pruned;
};

static void prune(void *arg);

static int prune_records(struct store_db *db, void *arg)
{
	struct pruning *pruning = arg;

	return spool_prune(db, &pruning->limits, &pruning->pruned);
}

static void records_pruned(int err, void *arg)
{
	struct pruning *pruning = arg;
	struct accounting *accounting = pruning->accounting;

	accounting->pruned_to = 0;
	if (err == 0) {
		accounting->counts.forgotten += (uint64_t)pruning->pruned.count;
		accounting->pruned_to = pruning->pruned.next;
	}
	free(pruning);
	if (accounting->prune_timer)
		timer_start(accounting->prune_timer, accounting->pruned_to > 0
							     ? 10 * US_PER_MS
							     : PRUNE_EVERY_US);
}

static int64_t delivered_seq(struct accounting *accounting)
{
	int64_t seq = accounting->last_seq;

	for (size_t i = 0; i < accounting->backend_count; i++) {
		struct delivery_status status;

		if (!accounting->backends[i].thread)
			return 0;
		delivery_read_status(accounting->backends[i].thread, &status);
		if (status.cursor < seq)
			seq = status.cursor;
	}
	return seq;
}

static void prune(void *arg)
{
	struct accounting *accounting = arg;
	const struct conf_accounting *conf =
		&accounting->config->conf->accounting;
	struct pruning *pruning = calloc(1, sizeof(*pruning));

	if (!pruning) {
		timer_start(accounting->prune_timer, PRUNE_EVERY_US);
		return;
	}
	pruning->accounting = accounting;
	pruning->limits = (struct spool_limits){
		.delivered_seq = delivered_seq(accounting),
		.stored_after_us =
			(int64_t)(clock_wall_us() - conf->history_time_us),
		.max_bytes = (int64_t)conf->history_mib << 20,
		.after = accounting->pruned_to,
		.max_records = PRUNE_RECORDS,
	};
	store_submit_later(accounting->store, prune_records, records_pruned,
			   pruning);
}

/* Start and stop */

static int start_backend(struct accounting *accounting, struct span name,
			 struct buf *ret_why)
{
	struct accounting_backend *entry =
		&accounting->backends[accounting->backend_count];
	CLEANUP(buf_done) struct buf why = {0};
	int err = -EINVAL;

	entry->backend = backend_find(name);
	if (entry->backend)
		err = entry->backend->start(&entry->state, accounting->config,
					    &why);
	else
		buf_printf(&why, "this version has no such backend");
	if (err < 0) {
		buf_printf(ret_why, "accounting %.*s: %s", SPAN_ARG(name),
			   why.data ? why.data : strerror(-err));
		return err;
	}
	accounting->backend_count++;
	return 0;
}

static int start_backends(struct accounting *accounting, struct buf *ret_why)
{
	struct span names =
		span_of(accounting->config->conf->dispatcher.accounting);
	struct span name;
	int err = 0;

	while (err == 0 && names.len > 0) {
		if (!span_cut(&names, ',', &name)) {
			name = names;
			names.len = 0;
		}
		err = start_backend(accounting, span_trim(name), ret_why);
	}
	return err;
}

/* Whoever took a backend out of the configuration is to know what it leaves. */
static void warn_of_others(const struct accounting *accounting,
			   struct store_db *db)
{
	sqlite3_stmt *s = store_statement(
		db, "SELECT backend, seq FROM cursors WHERE seq < ?1");

	store_bind_i64(s, 1, accounting->last_seq);
	while (store_step(s) == SQLITE_ROW) {
		struct span backend = store_column(s, 0);

		if (!accounting_has_backend(accounting, backend))
			log_warning("accounting %.*s is not configured any "
				    "more; up to %lld records were not "
				    "delivered to it and are forgotten with "
				    "the history",
				    SPAN_ARG(backend),
				    (long long)(accounting->last_seq -
						sqlite3_column_int64(s, 1)));
	}
}

static int open_spool(struct accounting *accounting, struct buf *ret_why)
{
	struct store_db *db = store_db(accounting->store);
	int r = spool_open(db);

	if (r == SQLITE_OK)
		r = spool_last(db, &accounting->last_seq);
	for (size_t i = 0; i < accounting->backend_count && r == SQLITE_OK; i++)
		r = spool_cursor(db, accounting->backends[i].backend->name,
				 &accounting->backends[i].cursor);
	if (r != SQLITE_OK) {
		buf_printf(ret_why, "%s: %s", accounting->store_path,
			   store_why(db));
		return store_is_damage(r) ? -EBADMSG : -EIO;
	}
	warn_of_others(accounting, db);
	return 0;
}

int accounting_new(struct accounting **ret, struct loop *loop,
		   struct store *store, const char *store_path,
		   const struct backend_config *config, struct buf *ret_why)
{
	struct accounting *accounting = calloc(1, sizeof(*accounting));
	int err;

	if (!accounting)
		return -ENOMEM;
	accounting->store = store;
	accounting->store_path = store_path;
	accounting->config = config;
	accounting->unreadable_limit = LOG_LIMIT(20, 10 * US_PER_S);
	(void)!getrandom(&accounting->id_base, sizeof(accounting->id_base), 0);
	err = start_backends(accounting, ret_why);
	if (err == 0)
		err = open_spool(accounting, ret_why);
	if (err == 0)
		err = timer_new(&accounting->prune_timer, loop, prune,
				accounting);
	if (err < 0) {
		accounting_free(accounting);
		return err;
	}
	*ret = accounting;
	return 0;
}

int accounting_check(const struct backend_config *config, struct buf *ret_why)
{
	struct accounting accounting = {.config = config};
	int err = start_backends(&accounting, ret_why);

	for (size_t i = 0; i < accounting.backend_count; i++)
		accounting.backends[i].backend->stop(
			accounting.backends[i].state);
	return err;
}

int accounting_start(struct accounting *accounting)
{
	for (size_t i = 0; i < accounting->backend_count; i++) {
		struct accounting_backend *entry = &accounting->backends[i];
		const struct delivery_config config = {
			.backend = entry->backend,
			.state = entry->state,
			.store = accounting->store,
			.store_path = accounting->store_path,
			.cursor = entry->cursor,
			.random = accounting->id_base + i,
		};
		int err = delivery_start(&entry->thread, &config);

		if (err < 0)
			return err;
	}
	timer_start(accounting->prune_timer, PRUNE_EVERY_US);
	return 0;
}

void accounting_stop(struct accounting *accounting, uint64_t grace_us)
{
	uint64_t until_us = clock_mono_us() + grace_us;

	if (!accounting)
		return;
	accounting->prune_timer = timer_free(accounting->prune_timer);
	for (size_t i = 0; i < accounting->backend_count; i++)
		if (accounting->backends[i].thread)
			delivery_stop(accounting->backends[i].thread);
	for (size_t i = 0; i < accounting->backend_count; i++) {
		struct accounting_backend *entry = &accounting->backends[i];
		uint64_t now_us = clock_mono_us();

		if (!entry->thread)
			continue;
		entry->thread = delivery_free(
			entry->thread,
			until_us > now_us ? until_us - now_us : 0);
		entry->state = NULL; /* the thread's, until its end */
	}
}

struct accounting *accounting_free(struct accounting *accounting)
{
	if (!accounting)
		return NULL;
	accounting_stop(accounting, 0);
	for (size_t i = 0; i < accounting->backend_count; i++)
		if (accounting->backends[i].state)
			accounting->backends[i].backend->stop(
				accounting->backends[i].state);
	free(accounting);
	return NULL;
}
