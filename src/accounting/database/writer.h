#pragma once
/**
 * @file accounting/database/writer.h  Records into the table, each once
 *
 * Connects by itself, makes the table if there is none, and writes batches. A
 * record that is in the table already, by its record_id, is done; another
 * session with the same call-id and tags gets its own row (keys.h). That is
 * looked at before each insert, so everything may be repeated: after a crash,
 * after a commit whose answer was lost, on engines without transactions, and in
 * a table that lost its unique index.
 */
#include "accounting/backend.h"
#include "accounting/database/driver.h"

struct writer;

/**
 * @param names  Of table and columns; lives as long as the writer
 * @return 0 or -ENOMEM
 */
int writer_new(struct writer **ret_writer, const struct driver *driver,
	       const struct dburi *uri, const struct conf_database *names);

/** Disconnect and free; NULL is fine. @return always NULL */
struct writer *writer_free(struct writer *writer);

/**
 * Write those of a batch that are DELIVERY_LATER; as backend.h's deliver().
 *
 * @param ret_why  On failure one line, without the password
 * @return 0, or -ENOTCONN, -EACCES, -ENOENT (no table), -EAGAIN or -EIO
 */
int writer_write(struct writer *writer, struct delivery *batch, size_t count,
		 struct buf *ret_why);
