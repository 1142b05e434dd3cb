#include "accounting/database/writer.h"

#include <errno.h>
#include <stdio.h>

#include "accounting/database/reason.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "proto/json_read.h"

struct writer {
	const struct driver *driver;
	struct dburi uri;
	const struct conf_database *names;
	struct connection *connection;
	struct key_widths widths;
	struct key key;
	bool ready;    /* connected, and the statements fit the table */
	bool together; /* in a transaction with others */
	bool told;     /* that there is no table, and how to make it */
};

static int errno_of(enum fault fault)
{
	switch (fault) {
	case FAULT_NONE:
		return 0;
	case FAULT_NO_TABLE:
		return -ENOENT;
	case FAULT_DENIED:
		return -EACCES;
	case FAULT_LATER:
		return -EAGAIN;
	case FAULT_LOST:
		return -ENOTCONN;
	case FAULT_DUPLICATE:
	case FAULT_TEXT:
	case FAULT_NULL:
	case FAULT_OTHER:
		break;
	}
	return -EIO;
}

/* Is it of one record, as far as we can tell? */
static bool is_of_record(enum fault fault)
{
	return fault == FAULT_DUPLICATE || fault == FAULT_TEXT ||
	       fault == FAULT_OTHER;
}

int writer_new(struct writer **ret_writer, const struct driver *driver,
	       const struct dburi *uri, const struct conf_database *names)
{
	struct writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->driver = driver;
	w->uri = *uri;
	w->names = names;
	*ret_writer = w;
	return 0;
}

static void disconnect(struct writer *w)
{
	w->driver->close(w->connection);
	w->connection = NULL;
	w->ready = false;
}

struct writer *writer_free(struct writer *w)
{
	if (!w)
		return NULL;
	disconnect(w);
	key_done(&w->key);
	explicit_bzero(w->uri.password, sizeof(w->uri.password));
	free(w);
	return NULL;
}

static const struct dialect *dialect_of(const struct writer *w)
{
	return w->driver->dialect(w->connection);
}

static enum fault connect_to(struct writer *w, struct buf *why)
{
	enum fault fault = w->driver->open(&w->connection, &w->uri, why);

	for (size_t i = 0; fault == FAULT_NONE && i < 2; i++) {
		const char *sql = dialect_of(w)->session[i];

		if (sql)
			fault = w->driver->run(w->connection, sql, why);
	}
	if (fault == FAULT_NONE)
		return FAULT_NONE;
	disconnect(w);
	/* Whatever it is, it is not of a record. */
	return is_of_record(fault) ? FAULT_LOST : fault;
}

struct definition {
	struct buf table, index;
};

static void definition_done(struct definition *definition)
{
	buf_done(&definition->table);
	buf_done(&definition->index);
}

static enum fault run_definition(struct writer *w,
				 const struct definition *definition,
				 struct buf *why)
{
	bool rolls_back = dialect_of(w)->create_rolls_back;
	enum fault fault = FAULT_NONE;

	if (rolls_back)
		fault = w->driver->begin(w->connection, why);
	if (fault == FAULT_NONE)
		fault = w->driver->run(w->connection, definition->table.data,
				       why);
	if (fault == FAULT_NONE && definition->index.len > 0)
		fault = w->driver->run(w->connection, definition->index.data,
				       why);
	if (!rolls_back)
		return fault;
	if (fault == FAULT_NONE)
		fault = w->driver->commit(w->connection, why);
	if (fault != FAULT_NONE)
		w->driver->rollback(w->connection);
	return fault;
}

/* Once, until there is a table. */
static void tell(struct writer *w, const struct definition *definition,
		 const struct buf *why)
{
	CLEANUP(buf_done) struct buf reason = {0};
	CLEANUP(buf_done) struct buf sql = {0};

	if (w->told)
		return;
	w->told = true;
	reason_add(&reason, buf_span(why), w->uri.password);
	buf_printf(&sql, "%s;", definition->table.data);
	if (definition->index.len > 0)
		buf_printf(&sql, " %s;", definition->index.data);
	log_error("accounting waits for the table %s, which cannot be made: "
		  "%s. Let somebody with the rights CREATE and ALTER run: %s",
		  w->names->sessions_table, reason.data ? reason.data : "",
		  sql.data ? sql.data : "");
}

/* Without its index it does as well, but slower. */
static void tell_incomplete(const struct writer *w, const struct buf *why)
{
	CLEANUP(buf_done) struct buf reason = {0};

	reason_add(&reason, buf_span(why), w->uri.password);
	log_warning("accounting uses the table %s, whose making ended in: %s",
		    w->names->sessions_table, reason.data ? reason.data : "");
}

static enum fault create_table(struct writer *w, struct buf *why)
{
	CLEANUP(definition_done) struct definition definition = {0};
	CLEANUP(buf_done) struct buf create_why = {0};
	enum fault made, fault;

	dialect_create_table(&definition.table, dialect_of(w), w->names);
	dialect_create_index(&definition.index, dialect_of(w), w->names);
	buf_reset(why);
	if (buf_failed(&definition.table) || buf_failed(&definition.index))
		return FAULT_LATER;
	made = run_definition(w, &definition, &create_why);
	if (made == FAULT_LOST || made == FAULT_LATER) {
		buf_add(why, buf_span(&create_why));
		return made;
	}
	/* Whether we made it, or somebody else just now. */
	fault = w->driver->prepare(w->connection, w->names, &w->widths, why);
	if (fault == FAULT_NO_TABLE) {
		tell(w, &definition, &create_why);
		buf_reset(why);
		buf_printf(why, "there is no table %s, and it cannot be made: ",
			   w->names->sessions_table);
		buf_add(why, buf_span(&create_why));
	}
	if (fault == FAULT_NONE && made == FAULT_NONE)
		log_info("accounting made the table %s",
			 w->names->sessions_table);
	if (fault == FAULT_NONE && made != FAULT_NONE)
		tell_incomplete(w, &create_why);
	return fault;
}

static enum fault get_ready(struct writer *w, struct buf *why)
{
	enum fault fault = FAULT_NONE;

	if (w->connection && w->driver->is_stale(w->connection))
		disconnect(w);
	if (!w->connection)
		fault = connect_to(w, why);
	if (fault != FAULT_NONE || w->ready)
		return fault;
	fault = w->driver->prepare(w->connection, w->names, &w->widths, why);
	if (fault == FAULT_NO_TABLE)
		fault = create_table(w, why);
	w->ready = fault == FAULT_NONE;
	if (w->ready)
		w->told = false;
	return fault;
}

struct search {
	const struct record *record;
	size_t rows;
	bool found;
};

/* A row of the original's has no record_id, and its info may be anything. */
static bool has_record_id(struct span info, struct span record_id)
{
	CLEANUP(json_freep) json_t *object = NULL;
	const json_t *value;

	if (record_id.len == 0 || info.len > RECORD_MAX_BYTES)
		return false;
	object = json_loadb(info.ptr ? info.ptr : "", info.len, JSON_ALLOW_NUL,
			    NULL);
	value = json_object_get(object, "record_id");
	return json_is_string(value) &&
	       span_equal(span_make(json_string_value(value),
				    json_string_length(value)),
			  record_id);
}

static void take_row(struct span info, void *arg)
{
	struct search *search = arg;

	search->rows++;
	if (!search->found)
		search->found = span_equal(info, search->record->json) ||
				has_record_id(info, search->record->record_id);
}

/* Write the record as the number-th of its key. ret_taken: another one is. */
static enum fault write_as(struct writer *w, const struct record *record,
			   enum charset charset, unsigned number,
			   bool *ret_taken, struct buf *why)
{
	struct search search = {.record = record};
	enum fault fault;

	*ret_taken = false;
	if (key_make(&w->key, record, &w->widths, charset, number) < 0) {
		buf_printf(why, "no memory");
		return FAULT_LATER;
	}
	fault = w->driver->find(w->connection, &w->key, take_row, &search, why);
	if (fault != FAULT_NONE || search.found)
		return fault;
	*ret_taken = search.rows > 0 &&
		     (w->key.has_to_tag || dialect_of(w)->null_is_key);
	if (*ret_taken)
		return FAULT_NONE;
	fault = w->driver->insert(w->connection, &w->key, record->json, why);
	if (fault != FAULT_NULL)
		return fault;
	/* All that we have values for are given: it is a column of theirs. */
	return w->key.has_to_tag ? FAULT_DENIED : FAULT_OTHER;
}

static enum fault write_row(struct writer *w, const struct record *record,
			    enum charset charset, struct buf *why)
{
	bool again = false;

	for (unsigned number = 1; number <= KEY_LAST_NUMBER;) {
		bool taken;
		enum fault fault =
			write_as(w, record, charset, number, &taken, why);

		if (fault == FAULT_NONE && !taken)
			return FAULT_NONE;
		if (fault != FAULT_NONE &&
		    (fault != FAULT_DUPLICATE || w->together))
			return fault;
		/* A duplicate that was not there to be found: somebody wrote it
		 * in between, so look once more; or the index makes fewer
		 * differences than `=` does. */
		if (fault == FAULT_DUPLICATE && !again) {
			again = true;
			buf_reset(why);
			continue;
		}
		again = false;
		number++;
		if (number <= KEY_LAST_NUMBER)
			buf_reset(why);
	}
	if (why->len == 0)
		buf_printf(why, "too many sessions with this call-id and tags");
	return FAULT_OTHER;
}

/* With a text that the columns cannot hold, once more with the next smaller
 * character set that makes a difference to it. */
static enum fault write_record(struct writer *w, const struct record *record,
			       struct buf *why)
{
	enum charset charset = dialect_of(w)->charset;

	for (;;) {
		enum charset used = charset;
		enum fault fault = write_row(w, record, charset, why);

		if (fault != FAULT_TEXT || w->together)
			return fault;
		while (charset < CHARSET_ASCII &&
		       !key_depends_on_charset(record, used, charset))
			charset++;
		if (!key_depends_on_charset(record, used, charset))
			return FAULT_OTHER;
		buf_reset(why);
	}
}

static enum fault write_together(struct writer *w, struct delivery *batch,
				 size_t count, struct buf *why)
{
	enum fault fault = w->driver->begin(w->connection, why);

	w->together = true;
	for (size_t i = 0; i < count && fault == FAULT_NONE; i++)
		if (batch[i].outcome == DELIVERY_LATER)
			fault = write_record(w, &batch[i].record, why);
	w->together = false;
	if (fault == FAULT_NONE)
		fault = w->driver->commit(w->connection, why);
	if (fault != FAULT_NONE) {
		w->driver->rollback(w->connection);
		return fault;
	}
	for (size_t i = 0; i < count; i++)
		if (batch[i].outcome == DELIVERY_LATER)
			batch[i].outcome = DELIVERY_DONE;
	return FAULT_NONE;
}

static void refuse(const struct writer *w, struct delivery *delivery,
		   const struct buf *why)
{
	CLEANUP(buf_done) struct buf line = {0};

	reason_add(&line, buf_span(why), w->uri.password);
	delivery->outcome = DELIVERY_REFUSED;
	snprintf(delivery->reason, sizeof(delivery->reason), "%s",
		 line.len > 0 ? line.data : "the database does not say why");
}

static enum fault write_each(struct writer *w, struct delivery *batch,
			     size_t count, struct buf *why)
{
	for (size_t i = 0; i < count; i++) {
		CLEANUP(buf_done) struct buf record_why = {0};
		enum fault fault;

		if (batch[i].outcome != DELIVERY_LATER)
			continue;
		fault = write_record(w, &batch[i].record, &record_why);
		if (is_of_record(fault)) {
			/* Of it alone, if the table still answers. */
			fault = w->driver->prepare(w->connection, w->names,
						   &w->widths, why);
			if (fault == FAULT_NONE) {
				refuse(w, &batch[i], &record_why);
				continue;
			}
		}
		if (fault != FAULT_NONE) {
			buf_add(why, buf_span(&record_why));
			return fault;
		}
		batch[i].outcome = DELIVERY_DONE;
	}
	return FAULT_NONE;
}

static enum fault write_batch(struct writer *w, struct delivery *batch,
			      size_t count, struct buf *why)
{
	size_t waiting = 0;
	enum fault fault;

	for (size_t i = 0; i < count; i++)
		waiting += batch[i].outcome == DELIVERY_LATER;
	fault = get_ready(w, why);
	if (fault != FAULT_NONE)
		return fault;
	if (waiting > 1) {
		fault = write_together(w, batch, count, why);
		if (!is_of_record(fault))
			return fault;
		buf_reset(why);
		/* If what could not be taken back were committed now, it would
		 * be found again, so nothing is lost by going on. */
		fault = get_ready(w, why);
		if (fault != FAULT_NONE)
			return fault;
	}
	return write_each(w, batch, count, why);
}

int writer_write(struct writer *w, struct delivery *batch, size_t count,
		 struct buf *ret_why)
{
	CLEANUP(buf_done) struct buf why = {0};
	enum fault fault = write_batch(w, batch, count, &why);

	if (fault == FAULT_NONE)
		return 0;
	buf_printf(&why, "%s", why.len == 0 ? "no memory" : "");
	buf_printf(ret_why, "%s %s%s%s: ", dburi_scheme_name(w->uri.scheme),
		   w->uri.host, w->uri.host[0] ? "/" : "", w->uri.database);
	reason_add(ret_why, buf_span(&why), w->uri.password);
	if (fault == FAULT_NO_TABLE)
		w->ready = false;
	else if (fault != FAULT_LATER)
		disconnect(w);
	return errno_of(fault);
}
