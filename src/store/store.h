#pragma once
/**
 * @file store/store.h  What has to survive: an SQLite file with one writer
 *
 * The control thread hands in jobs and goes on. A thread of the store's runs
 * all jobs that wait in one transaction, so that many share one fsync (group
 * commit; WAL, synchronous=FULL), and their handlers are called from the loop
 * when it is on disk. Jobs that are handed in during one turn of the loop are
 * committed together or not at all. Questions run on a second thread, beside
 * the writer. While the disk is full or stalled, jobs wait; when too many do,
 * new ones are refused.
 */
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"
#include "net/loop.h"

struct store;

/** A connection to the file, of one thread, with its prepared statements. */
struct store_db;

/**
 * Work inside a transaction of the writer, or on the reader.
 *
 * It may run more than once, when a commit fails; it changes nothing but the
 * database and, last, its own results in arg.
 *
 * @return 0 or an error of SQLite (a primary or extended result code)
 */
typedef int store_work_h(struct store_db *db, void *arg);

/** The job is over: on the loop, once for each job, and never from inside
 * store_submit(). err: 0, -EIO (the work failed), -ENOSPC (too many wait),
 * -ESHUTDOWN. arg is the handler's to free. */
typedef void store_done_h(int err, void *arg);

struct store_config {
	struct loop *loop;
	const char *path;   /* its folder is there */
	bool set_aside;     /* it is known to be damaged: begin a new one */
	size_t max_waiting; /* jobs; 0: 200000 */
	/** The file cannot be written, or can again. On the loop. May be NULL.
	 */
	void (*failing)(bool is_failing, const char *why, void *arg);
	void *arg;
};

/**
 * Open or make the file, on the calling thread, which waits. A file that is
 * damaged is set aside as PATH.damaged-TIME, and a new one is made.
 *
 * @param ret_why  On failure, and when a file was set aside: a line for people
 * @return 0, -EBUSY (another process has it), or negative errno
 */
int store_open(struct store **ret, const struct store_config *config,
	       struct buf *ret_why);

/** Does this error of SQLite say that the file is damaged? Not all of it is
 * looked at when it is opened; see set_aside. */
bool store_is_damage(int error);

/** The writer's connection, before store_start() alone: to make tables, and to
 * load what was stored. */
struct store_db *store_db(struct store *store);

/** Begin to work. @return 0 or negative errno */
int store_start(struct store *store);

/**
 * Hand in a job. On the loop's thread.
 *
 * @param done  always called
 */
void store_submit(struct store *store, store_work_h *work, store_done_h *done,
		  void *arg);

/**
 * The same for what nobody waits for: it is committed with the next job that
 * somebody does, or a tenth of a second later.
 */
void store_submit_later(struct store *store, store_work_h *work,
			store_done_h *done, void *arg);

/** store_submit_later() from any other thread. done is called on the loop. It
 * is not refused for want of room: threads hand in what became of what was on
 * disk before, and that has its bounds. */
void store_submit_from_thread(struct store *store, store_work_h *work,
			      store_done_h *done, void *arg);

/** Ask something: work runs on the reader's thread, beside the writer, and sees
 * what was committed. */
void store_ask(struct store *store, store_work_h *work, store_done_h *done,
	       void *arg);

/** Can the file not be written at present? Then nothing handed in now will be
 * on disk soon. */
bool store_is_failing(const struct store *store);

struct store_counts {
	size_t waiting;    /* jobs, now */
	uint64_t jobs;     /* done */
	uint64_t commits;  /* transactions */
	uint64_t failures; /* of commits, which were tried again */
	uint64_t refused;  /* jobs, because too many waited */
	uint64_t bytes;    /* of the file and its log */
};
void store_count(struct store *store, struct store_counts *ret);

/**
 * Finish all jobs, wait for them for up to grace_us, and close. All handlers
 * have been called then; jobs that could not be done get -ESHUTDOWN.
 *
 * @return NULL
 */
struct store *store_free(struct store *store, uint64_t grace_us);

/** A connection of the calling thread's own, read only. @return 0 or negative
 * errno */
int store_reader_open(struct store_db **ret, const char *path);
struct store_db *store_reader_close(struct store_db *db);

/* Statements */

/**
 * A prepared statement, from the connection's cache: reset, without bindings.
 *
 * @param sql  A literal: it is found again by its address
 * @return NULL on failure; store_step() and store_run() take it and fail
 */
sqlite3_stmt *store_statement(struct store_db *db, const char *sql);
/** Bind bytes as a BLOB; empty: a BLOB of no bytes. Not copied. */
void store_bind_bytes(sqlite3_stmt *s, int at, struct span bytes);
/** Bind as TEXT. Not copied. */
void store_bind_text(sqlite3_stmt *s, int at, struct span text);
void store_bind_i64(sqlite3_stmt *s, int at, int64_t value);
/** A column's bytes, valid until the next step. */
struct span store_column(sqlite3_stmt *s, int at);
/** Run a statement that gives no rows. @return 0 or an error of SQLite */
int store_run(sqlite3_stmt *s);
/** The next row. @return SQLITE_ROW, SQLITE_DONE, or an error */
int store_step(sqlite3_stmt *s);
/** Run SQL without parameters. @return 0 or an error of SQLite */
int store_exec(struct store_db *db, const char *sql);
/** What the last error was, for people. */
const char *store_why(struct store_db *db);
