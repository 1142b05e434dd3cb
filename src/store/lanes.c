/** The store's two threads: the writer with its transactions, and the reader,
 * which also copies the log into the file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "store/store_internal.h"

/* The log is copied into the file from this size on (pages of 4 KiB), and if
 * the reader does not get to it, by the writer itself. */
#define LOG_PAGES_SOFT 4000
#define LOG_PAGES_HARD 32768
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 1000

void lane_finish(struct store *store, struct job_list *jobs)
{
	bool was_empty = !store->finished.first;

	job_list_move(&store->finished, jobs);
	/* A full pipe wakes the loop as well. */
	if (was_empty && write(store->pipe[1], "", 1) < 0)
		return;
}

/* The writer */

/* Does the error concern the file, and not this one job? Then all that wait are
 * tried again later. */
static bool concerns_all(struct store_db *db, int error)
{
	switch (error & 0xff) {
	case SQLITE_FULL:
	case SQLITE_IOERR:
	case SQLITE_NOMEM:
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_PROTOCOL:
	case SQLITE_INTERRUPT:
		return true;
	default:
		return sqlite3_get_autocommit(db->handle) != 0;
	}
}

static int run_transaction(struct store_db *db, struct job *first)
{
	int r = store_exec(db, "BEGIN IMMEDIATE");

	for (struct job *job = first; job && r == SQLITE_OK; job = job->next) {
		int error = job->work(db, job->arg);

		job->err = error == SQLITE_OK ? 0 : -EIO;
		if (error != SQLITE_OK && concerns_all(db, error))
			r = error;
	}
	if (r == SQLITE_OK)
		r = store_exec(db, "COMMIT");
	return r;
}

static void note_failure(struct store *store, struct store_db *db, int error)
{
	pthread_mutex_lock(&store->lock);
	snprintf(store->why, sizeof(store->why), "%s (%d)", store_why(db),
		 error);
	store->counts.failures++;
	/* The loop is to know at once: whoever waits for a commit is told. */
	if (!atomic_exchange(&store->failed, true) &&
	    write(store->pipe[1], "", 1) < 0)
		store->counts.failures++;
	pthread_mutex_unlock(&store->lock);
	if (!sqlite3_get_autocommit(db->handle))
		store_exec(db, "ROLLBACK");
}

/* @return false: it is time to give up */
static bool wait_before_retry(struct store *store, unsigned ms)
{
	uint64_t until_us = clock_mono_us() + ms * US_PER_MS;
	const struct timespec nap = {.tv_nsec = 10 * 1000 * 1000};
	bool go_on = true;

	while (go_on && clock_mono_us() < until_us) {
		nanosleep(&nap, NULL);
		pthread_mutex_lock(&store->lock);
		go_on = !store->stopping || clock_mono_us() < store->give_up_us;
		pthread_mutex_unlock(&store->lock);
	}
	return go_on;
}

static void run_batch(struct store *store, struct job_list *jobs)
{
	struct store_db *db = store->writer.db;
	unsigned retry_ms = RETRY_MIN_MS;
	int r;

	atomic_store(&store->busy_since_us, clock_mono_us());
	while ((r = run_transaction(db, jobs->first)) != SQLITE_OK) {
		note_failure(store, db, r);
		if (!wait_before_retry(store, retry_ms)) {
			for (struct job *job = jobs->first; job;
			     job = job->next)
				job->err = -ESHUTDOWN;
			break;
		}
		retry_ms = retry_ms * 2 < RETRY_MAX_MS ? retry_ms * 2
						       : RETRY_MAX_MS;
	}
	atomic_store(&store->busy_since_us, 0);
	if (r == SQLITE_OK)
		atomic_store(&store->failed, false);
}

static size_t count_jobs(const struct job_list *jobs)
{
	size_t count = 0;

	for (const struct job *job = jobs->first; job; job = job->next)
		count++;
	return count;
}

static void *write_jobs(void *arg)
{
	struct lane *lane = arg;
	struct store *store = lane->store;
	struct job_list jobs;
	size_t count;

	job_list_init(&jobs);
	pthread_mutex_lock(&store->lock);
	while (lane->jobs.first || !store->stopping) {
		if (!lane->jobs.first) {
			pthread_cond_wait(&lane->wake, &store->lock);
			continue;
		}
		if (lane->due_us > clock_mono_us() && !store->stopping) {
			thread_cond_wait(&lane->wake, &store->lock,
					 lane->due_us);
			continue;
		}
		job_list_move(&jobs, &lane->jobs);
		pthread_mutex_unlock(&store->lock);
		run_batch(store, &jobs);
		count = count_jobs(&jobs);
		pthread_mutex_lock(&store->lock);
		store->counts.jobs += count;
		store->counts.waiting -= count;
		store->counts.commits++;
		lane_finish(store, &jobs);
	}
	lane->ended = true;
	pthread_cond_broadcast(&store->left);
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

/*
 * Called by SQLite behind each commit. A log that is used again from its
 * beginning needs no new blocks of the disk, which makes a sync twice as dear.
 * For that all of it has to be in the file: the reader copies the bulk, and
 * what has come meanwhile is copied here. Neither waits for anybody: whoever
 * reads for long, such as a copy that an operator takes, has the log grow, and
 * holds up no commit.
 */
static int log_grew(void *arg, sqlite3 *handle, const char *name, int pages)
{
	struct store *store = arg;

	atomic_store(&store->log_pages, pages);
	if (atomic_exchange(&store->log_is_copied, false) ||
	    pages >= LOG_PAGES_HARD)
		sqlite3_wal_checkpoint_v2(
			handle, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	else if (pages >= LOG_PAGES_SOFT)
		pthread_cond_signal(&store->reader.wake);
	return SQLITE_OK;
}

/* The reader */

static void copy_log(struct store *store)
{
	if (atomic_exchange(&store->log_pages, 0) < LOG_PAGES_SOFT)
		return;
	sqlite3_wal_checkpoint_v2(store->reader.db->handle, NULL,
				  SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	atomic_store(&store->log_is_copied, true);
}

static void *answer_questions(void *arg)
{
	struct lane *lane = arg;
	struct store *store = lane->store;
	struct job_list one;
	struct job *job;

	job_list_init(&one);
	pthread_mutex_lock(&store->lock);
	while (lane->jobs.first || !store->stopping) {
		job = lane->jobs.first;
		if (!job && atomic_load(&store->log_pages) < LOG_PAGES_SOFT) {
			pthread_cond_wait(&lane->wake, &store->lock);
			continue;
		}
		if (job) {
			lane->jobs.first = job->next;
			if (!job->next)
				lane->jobs.end = &lane->jobs.first;
		}
		pthread_mutex_unlock(&store->lock);
		if (job)
			job->err = job->work(lane->db, job->arg) == SQLITE_OK
					   ? 0
					   : -EIO;
		copy_log(store);
		pthread_mutex_lock(&store->lock);
		if (job) {
			job_list_add(&one, job);
			lane_finish(store, &one);
		}
	}
	lane->ended = true;
	pthread_cond_broadcast(&store->left);
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

/* Begin and end */

static int start_lane(struct lane *lane, const char *name, void *(*run)(void *))
{
	int err = thread_start(&lane->thread, name, 0, run, lane);

	lane->running = err == 0;
	return err;
}

int lanes_start(struct store *store)
{
	int err = start_lane(&store->reader, "store-reader", answer_questions);

	sqlite3_wal_hook(store->writer.db->handle, log_grew, store);
	return err < 0 ? err
		       : start_lane(&store->writer, "store-writer", write_jobs);
}

static bool is_working(const struct lane *lane)
{
	return lane->running && !lane->ended;
}

bool lanes_stop(struct store *store, uint64_t grace_us)
{
	uint64_t until_us = clock_mono_us() + grace_us;
	bool ended = true;

	pthread_mutex_lock(&store->lock);
	store->stopping = true;
	store->give_up_us = until_us;
	pthread_cond_signal(&store->writer.wake);
	pthread_cond_signal(&store->reader.wake);
	/* A little longer than the writer tries. */
	while (ended &&
	       (is_working(&store->writer) || is_working(&store->reader)))
		ended = thread_cond_wait(&store->left, &store->lock,
					 until_us + US_PER_S);
	pthread_mutex_unlock(&store->lock);
	if (!ended)
		return false;
	if (store->writer.running)
		pthread_join(store->writer.thread, NULL);
	if (store->reader.running)
		pthread_join(store->reader.thread, NULL);
	return true;
}
