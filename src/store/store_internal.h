#pragma once
/**
 * @file store/store_internal.h  What the files of this folder share
 *
 * store.c has the loop's side: jobs that are handed in and their handlers;
 * lanes.c has the two threads that do them; database.c opens and closes
 * connections; statement.c has their prepared statements.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "store/store.h"

#define STORE_MAX_STATEMENTS 64

/* Readers and the writer do not shut each other out; only a checkpoint may, for
 * a moment. */
#define STORE_BUSY_MS 10000

struct store_db {
	sqlite3 *handle;
	size_t statement_count;
	struct {
		const char *sql;
		sqlite3_stmt *statement;
	} statements[STORE_MAX_STATEMENTS];
};

/** What a connection is for. */
enum store_db_use {
	STORE_DB_WRITER,
	STORE_DB_READER,  /* reads, and copies the log into the file */
	STORE_DB_STRANGER /* reads alone */
};

/** Open a connection. @param ret  Set on failure too: it has the reason, and
 * is to be closed. @return 0 or an error of SQLite */
int store_db_open(struct store_db **ret, const char *path,
		  enum store_db_use use);
struct store_db *store_db_close(struct store_db *db);

/** Set a damaged file aside with its log. @return 0 or negative errno */
int store_set_aside(const char *path, struct buf *ret_why);

struct job {
	struct job *next;
	store_work_h *work;
	store_done_h *done;
	void *arg;
	bool is_urgent; /* somebody waits for it */
	int err;
};

struct job_list {
	struct job *first, **end;
};

/* A thread with the jobs that wait for it. */
struct lane {
	struct store *store;
	struct store_db *db;
	pthread_t thread;
	bool running; /* the thread was begun */
	bool ended;   /* it has left; under the lock */
	pthread_cond_t wake;
	struct job_list jobs; /* under the lock */
	uint64_t due_us;      /* by when they are to be begun; the writer's */
};

struct store {
	struct loop *loop;
	char *path;
	size_t max_waiting;
	void (*failing)(bool is_failing, const char *why, void *arg);
	void *arg;
	int lock_fd;
	int pipe[2];
	struct watch *watch;
	struct timer *look;
	struct loop_task flush;
	struct job_list turn; /* handed in during this turn; of the loop */
	bool is_told_failing; /* of the loop */

	pthread_mutex_t lock; /* for what follows, and the lanes' lists */
	struct job_list finished;
	bool stopping;
	uint64_t give_up_us; /* stopping: no retry after that */
	char why[160];       /* of the last failure */
	struct store_counts counts;
	pthread_cond_t left; /* a lane has ended */

	atomic_bool failed;             /* the last commit; of the writer */
	_Atomic uint64_t busy_since_us; /* the writer's batch; 0: idle */
	atomic_int log_pages;
	atomic_bool log_is_copied; /* but for what came meanwhile */
	struct lane writer, reader;
};

static inline void job_list_init(struct job_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static inline void job_list_add(struct job_list *list, struct job *job)
{
	job->next = NULL;
	*list->end = job;
	list->end = &job->next;
}

static inline void job_list_move(struct job_list *to, struct job_list *from)
{
	if (!from->first)
		return;
	*to->end = from->first;
	to->end = from->end;
	job_list_init(from);
}

/** Hand jobs that are done back to the loop. The lock is held. */
void lane_finish(struct store *store, struct job_list *jobs);
/** Begin both threads. @return 0 or negative errno */
int lanes_start(struct store *store);
/** End them. @return false: one hangs past the grace, with jobs in its hands */
bool lanes_stop(struct store *store, uint64_t grace_us);
