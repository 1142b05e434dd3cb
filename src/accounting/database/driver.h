#pragma once
/**
 * @file accounting/database/driver.h  One connection to one database, by SQLite
 * or by ODBC
 *
 * What deliveries need of a database, and no more. A function that fails adds
 * to ret_why what the database said, with its code; what the fault means is
 * dialect.h's matter. One thread uses a connection.
 */
#include "accounting/database/dburi.h"
#include "accounting/database/dialect.h"
#include "accounting/database/keys.h"

struct connection;

/** The info of a row, for this call only. */
typedef void row_info_h(struct span info, void *arg);

struct driver {
	/**
	 * Is there what a connection needs? Connects to nobody.
	 *
	 * @param ret_why  If not, what is missing, and what to install
	 * @return 0, -EINVAL, or -ENOMEM
	 */
	int (*check)(const struct dburi *uri, struct buf *ret_why);

	enum fault (*open)(struct connection **ret_connection,
			   const struct dburi *uri, struct buf *ret_why);
	/** NULL is fine. */
	void (*close)(struct connection *connection);

	/** Known once it is open. */
	const struct dialect *(*dialect)(const struct connection *connection);

	/** Is it still the database of its name? Cheap; by SQLite only: a
	 * server says so itself. */
	bool (*is_stale)(struct connection *connection);

	/** Run a statement that gives no rows. */
	enum fault (*run)(struct connection *connection, const char *sql,
			  struct buf *ret_why);

	/** Look at the table, and ready the statements for it. */
	enum fault (*prepare)(struct connection *connection,
			      const struct conf_database *names,
			      struct key_widths *ret_widths,
			      struct buf *ret_why);

	/* For these, prepare() has succeeded. */
	enum fault (*insert)(struct connection *connection,
			     const struct key *key, struct span info,
			     struct buf *ret_why);
	enum fault (*find)(struct connection *connection, const struct key *key,
			   row_info_h *handler, void *arg, struct buf *ret_why);

	enum fault (*begin)(struct connection *connection, struct buf *ret_why);
	enum fault (*commit)(struct connection *connection,
			     struct buf *ret_why);
	/** What it cannot take back the next deliveries find. */
	void (*rollback)(struct connection *connection);
};

extern const struct driver driver_sqlite;
extern const struct driver driver_odbc;
