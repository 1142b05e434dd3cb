/* The backend `database` of accounting/backend.h: which database, by which
 * driver. What is written there, and how, is writer.h's. */
#include <errno.h>

#include "accounting/backend.h"
#include "accounting/database/writer.h"
#include "base/cleanup.h"

#define BATCH 500

static int database_start(void **ret_state, const struct backend_config *config,
			  struct buf *ret_why)
{
	const struct conf_database *conf = &config->conf->database;
	CLEANUP(buf_done) struct buf why = {0};
	const struct driver *driver;
	struct writer *writer = NULL;
	struct dburi uri;
	int err = dburi_parse(&uri, span_of(conf->dburi), &why);

	if (err == 0) {
		driver = uri.scheme == DBURI_SQLITE ? &driver_sqlite
						    : &driver_odbc;
		err = driver->check(&uri, &why);
	}
	if (err == 0)
		err = writer_new(&writer, driver, &uri, conf);
	explicit_bzero(uri.password, sizeof(uri.password));
	if (err < 0) {
		buf_printf(ret_why, "[Database] dburi: %s",
			   why.len > 0 ? why.data : "no memory");
		return err;
	}
	*ret_state = writer;
	return 0;
}

static int database_deliver(void *state, struct delivery *batch, size_t count,
			    struct buf *ret_why)
{
	size_t waiting = 0;

	/* A call that nobody answered has no row, as ever. */
	for (size_t i = 0; i < count; i++) {
		if (!batch[i].record.has_start_time)
			batch[i].outcome = DELIVERY_DONE;
		waiting += batch[i].outcome == DELIVERY_LATER;
	}
	return waiting > 0 ? writer_write(state, batch, count, ret_why) : 0;
}

static void database_stop(void *state)
{
	writer_free(state);
}

const struct backend database_backend = {
	.name = "database",
	.section = "Database",
	.batch = BATCH,
	.start = database_start,
	.deliver = database_deliver,
	.stop = database_stop,
};
