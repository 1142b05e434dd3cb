#pragma once
/**
 * @file accounting/database/dialect.h  Where the vendors' SQL differs: one
 * table
 *
 * And the text of every statement, made from it. Names of tables and columns
 * are letters, digits and _ (the configuration takes no others) and are not
 * quoted, so that each server folds their case as it does for everybody.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "conf/conf.h"

/** What an error means for a delivery. */
enum fault {
	FAULT_NONE,
	FAULT_DUPLICATE, /* the unique index has these values already */
	FAULT_TEXT,      /* a text that a column of this table cannot hold */
	FAULT_NULL,      /* no value for a column that has to have one: the
			    to_tag, or a column of theirs */
	FAULT_NO_TABLE,
	FAULT_DENIED, /* no permission, wrong password, read-only; or a
			 table that is not like ours */
	FAULT_LATER,  /* locked, full, shutting down: the connection lives */
	FAULT_LOST,   /* the connection is gone, or never came to be */
	FAULT_OTHER   /* unknown: perhaps of the one record */
};

/* How much of Unicode the columns of keys can hold. */
enum charset {
	CHARSET_UTF8,
	CHARSET_UTF8_3, /* no characters of four bytes: MySQL's utf8 */
	CHARSET_ASCII
};

/** An error's code: the first row that fits says what it means. */
struct fault_code {
	const char *state; /* how the SQLSTATE begins; NULL: any */
	long native;       /* the server's own; 0: any */
	enum fault fault;
};

struct dialect {
	const char *name;
	const char *servers;     /* SQL_DBMS_NAME, a list; NULL: never */
	const char *id;          /* what follows the word `id` */
	const char *text_suffix; /* after varchar(N) */
	const char *nullable;    /* of a column that may be NULL */
	const char *blob;
	const char *options;             /* at the end of CREATE TABLE */
	const char *session[2];          /* on each new connection */
	const struct fault_code *faults; /* ends with FAULT_NONE */
	enum charset charset; /* where the columns' own is not known better */
	const char *primary_key; /* how its duplicates are told from those of
				    the unique index; NULL: by their code */
	bool index_in_table;     /* a statement for it would need more rights */
	bool create_rolls_back;
	bool null_is_key; /* (a, b, NULL) can stand in the index once */
};

/** By scheme: mysql, postgres, sqlite, mssql, sybase, firebird, maxdb; and
 * `ansi` for what is none of them. Never NULL for those. */
const struct dialect *dialect_find(const char *name);

/** By what a server calls itself (SQL_DBMS_NAME); `ansi` if unknown. */
const struct dialect *dialect_of_server(const char *dbms_name);

enum fault dialect_fault(const struct dialect *dialect, const char *state,
			 long native);

/** Is it the id that is a duplicate? Then the next ids are taken already, as
 * when a table was copied without its counter, and no record is to blame.
 * @param message  Of an error that is FAULT_DUPLICATE */
bool dialect_is_of_id(const struct dialect *dialect, struct span message);

void dialect_create_table(struct buf *out, const struct dialect *dialect,
			  const struct conf_database *names);
/** Empty where it is in the table's definition. */
void dialect_create_index(struct buf *out, const struct dialect *dialect,
			  const struct conf_database *names);
/** No rows ever: it tells whether the table is there and what it is like. */
void dialect_look(struct buf *out, const struct conf_database *names);
void dialect_insert(struct buf *out, const struct conf_database *names);
/** The info of the rows of a key; without a to_tag those where it is NULL. */
void dialect_find_rows(struct buf *out, const struct conf_database *names,
		       bool has_to_tag);
