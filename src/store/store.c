#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"
#include "store/store_internal.h"

#define DEFAULT_MAX_WAITING 200000
/* The log is copied into the file from this size on (pages of 4 KiB), and if
 * the reader does not get to it, by the writer itself. */
#define LOG_PAGES_SOFT 1000
#define LOG_PAGES_HARD 32768
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 1000
#define STALLED_US US_PER_S
#define LOOK_EVERY_US (250 * US_PER_MS)

struct job {
	struct job *next;
	store_work_h *work;
	store_done_h *done;
	void *arg;
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
	struct timer *look, *flush;
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
	struct lane writer, reader;
};

static void list_init_jobs(struct job_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_append(struct job_list *list, struct job *job)
{
	job->next = NULL;
	*list->end = job;
	list->end = &job->next;
}

static void list_move(struct job_list *to, struct job_list *from)
{
	if (!from->first)
		return;
	*to->end = from->first;
	to->end = from->end;
	list_init_jobs(from);
}

/* From the threads back to the loop */

/* Under the lock. */
static void finish(struct store *store, struct job_list *jobs)
{
	bool was_empty = !store->finished.first;

	list_move(&store->finished, jobs);
	/* A full pipe wakes the loop as well. */
	if (was_empty && write(store->pipe[1], "", 1) < 0)
		return;
}

static void tell_failing(struct store *store)
{
	bool is_failing = store_is_failing(store);
	char why[sizeof(store->why)];

	if (is_failing == store->is_told_failing)
		return;
	store->is_told_failing = is_failing;
	pthread_mutex_lock(&store->lock);
	memcpy(why, store->why, sizeof(why));
	pthread_mutex_unlock(&store->lock);
	if (is_failing && !atomic_load(&store->failed))
		snprintf(why, sizeof(why), "the disk does not answer");
	if (store->failing)
		store->failing(is_failing, why, store->arg);
}

static void call_handlers(struct store *store)
{
	struct job_list jobs;
	struct job *job;

	list_init_jobs(&jobs);
	pthread_mutex_lock(&store->lock);
	list_move(&jobs, &store->finished);
	pthread_mutex_unlock(&store->lock);
	while ((job = jobs.first)) {
		jobs.first = job->next;
		job->done(job->err, job->arg);
		free(job);
	}
}

static void jobs_finished(int fd, void *arg)
{
	struct store *store = arg;
	char bytes[64];

	while (read(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
		;
	tell_failing(store);
	call_handlers(store);
}

static void look(void *arg)
{
	tell_failing(arg);
}

bool store_is_failing(const struct store *store)
{
	uint64_t since_us = atomic_load(&store->busy_since_us);

	return atomic_load(&store->failed) ||
	       (since_us > 0 && clock_mono_us() - since_us > STALLED_US);
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

	list_init_jobs(&jobs);
	pthread_mutex_lock(&store->lock);
	while (lane->jobs.first || !store->stopping) {
		if (!lane->jobs.first) {
			pthread_cond_wait(&lane->wake, &store->lock);
			continue;
		}
		list_move(&jobs, &lane->jobs);
		pthread_mutex_unlock(&store->lock);
		run_batch(store, &jobs);
		count = count_jobs(&jobs);
		pthread_mutex_lock(&store->lock);
		store->counts.jobs += count;
		store->counts.waiting -= count;
		store->counts.commits++;
		finish(store, &jobs);
	}
	lane->ended = true;
	pthread_cond_broadcast(&store->left);
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

/* Called by SQLite behind each commit. */
static int log_grew(void *arg, sqlite3 *handle, const char *name, int pages)
{
	struct store *store = arg;

	atomic_store(&store->log_pages, pages);
	if (pages >= LOG_PAGES_HARD)
		sqlite3_wal_checkpoint_v2(
			handle, name, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
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
}

static void *answer_questions(void *arg)
{
	struct lane *lane = arg;
	struct store *store = lane->store;
	struct job_list one;
	struct job *job;

	list_init_jobs(&one);
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
			list_append(&one, job);
			finish(store, &one);
		}
	}
	lane->ended = true;
	pthread_cond_broadcast(&store->left);
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

/* Handing in */

static struct job *make_job(store_work_h *work, store_done_h *done, void *arg)
{
	struct job *job = malloc(sizeof(*job));

	if (!job)
		return NULL;
	*job = (struct job){.work = work, .done = done, .arg = arg};
	return job;
}

/* Under the lock: room in the queue, or the job is over. */
static void admit(struct store *store, struct job_list *jobs)
{
	struct job_list refused;
	struct job *job;

	list_init_jobs(&refused);
	while ((job = jobs->first)) {
		jobs->first = job->next;
		if (store->counts.waiting < store->max_waiting &&
		    !store->writer.ended) {
			store->counts.waiting++;
			list_append(&store->writer.jobs, job);
			continue;
		}
		job->err = store->writer.ended ? -ESHUTDOWN : -ENOSPC;
		store->counts.refused++;
		list_append(&refused, job);
	}
	list_init_jobs(jobs);
	finish(store, &refused);
	pthread_cond_signal(&store->writer.wake);
}

static void end_turn(void *arg)
{
	struct store *store = arg;

	if (!store->turn.first)
		return;
	pthread_mutex_lock(&store->lock);
	admit(store, &store->turn);
	pthread_mutex_unlock(&store->lock);
}

void store_submit(struct store *store, store_work_h *work, store_done_h *done,
		  void *arg)
{
	struct job *job = make_job(work, done, arg);
	bool is_first = !store->turn.first;

	if (!job) {
		/* The one case in which the handler comes at once. */
		done(-ENOMEM, arg);
		return;
	}
	list_append(&store->turn, job);
	if (is_first)
		timer_start(store->flush, 0);
}

void store_submit_from_thread(struct store *store, store_work_h *work,
			      store_done_h *done, void *arg)
{
	struct job *job = make_job(work, done, arg);
	struct job_list one;

	if (!job) {
		done(-ENOMEM, arg);
		return;
	}
	list_init_jobs(&one);
	list_append(&one, job);
	pthread_mutex_lock(&store->lock);
	admit(store, &one);
	pthread_mutex_unlock(&store->lock);
}

void store_ask(struct store *store, store_work_h *work, store_done_h *done,
	       void *arg)
{
	struct job *job = make_job(work, done, arg);

	if (!job) {
		done(-ENOMEM, arg);
		return;
	}
	pthread_mutex_lock(&store->lock);
	list_append(&store->reader.jobs, job);
	pthread_cond_signal(&store->reader.wake);
	pthread_mutex_unlock(&store->lock);
}

void store_count(struct store *store, struct store_counts *ret)
{
	char path[4096];
	struct stat file;
	uint64_t bytes = 0;

	if (stat(store->path, &file) == 0)
		bytes = (uint64_t)file.st_size;
	snprintf(path, sizeof(path), "%s-wal", store->path);
	if (stat(path, &file) == 0)
		bytes += (uint64_t)file.st_size;
	pthread_mutex_lock(&store->lock);
	*ret = store->counts;
	pthread_mutex_unlock(&store->lock);
	ret->bytes = bytes;
}

/* Opening and closing */

/* Two daemons with one file would tell each other's stories. */
static int lock_file(struct store *store, struct buf *ret_why)
{
	char path[4096];
	int err = 0;

	snprintf(path, sizeof(path), "%s.lock", store->path);
	store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (store->lock_fd < 0)
		err = -errno;
	else if (lockf(store->lock_fd, F_TLOCK, 0) < 0)
		err = errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
	if (err == -EBUSY)
		buf_printf(ret_why, "%s is used by another process",
			   store->path);
	else if (err < 0)
		buf_printf(ret_why, "%s: %s", path, strerror(-err));
	return err;
}

static int open_writer(struct store *store, struct buf *ret_why)
{
	int r = store_db_open(&store->writer.db, store->path, STORE_DB_WRITER);

	if (store_is_damage(r)) {
		store->writer.db = store_db_close(store->writer.db);
		if (store_set_aside(store->path, ret_why) < 0)
			return -EIO;
		r = store_db_open(&store->writer.db, store->path,
				  STORE_DB_WRITER);
	}
	if (r != SQLITE_OK) {
		buf_printf(ret_why, "%s: %s", store->path,
			   store_why(store->writer.db));
		return -EIO;
	}
	sqlite3_wal_hook(store->writer.db->handle, log_grew, store);
	return 0;
}

static int open_pipe(struct store *store)
{
	if (pipe(store->pipe) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(store->pipe); i++) {
		fcntl(store->pipe[i], F_SETFL, O_NONBLOCK);
		fcntl(store->pipe[i], F_SETFD, FD_CLOEXEC);
	}
	return watch_new(&store->watch, store->loop, store->pipe[0],
			 jobs_finished, store);
}

int store_open(struct store **ret, const struct store_config *config,
	       struct buf *ret_why)
{
	struct store *store = calloc(1, sizeof(*store));
	int err;

	if (!store)
		return -ENOMEM;
	store->loop = config->loop;
	store->max_waiting =
		config->max_waiting ? config->max_waiting : DEFAULT_MAX_WAITING;
	store->failing = config->failing;
	store->arg = config->arg;
	store->lock_fd = store->pipe[0] = store->pipe[1] = -1;
	store->writer.store = store->reader.store = store;
	list_init_jobs(&store->turn);
	list_init_jobs(&store->finished);
	list_init_jobs(&store->writer.jobs);
	list_init_jobs(&store->reader.jobs);
	pthread_mutex_init(&store->lock, NULL);
	thread_cond_init(&store->left);
	thread_cond_init(&store->writer.wake);
	thread_cond_init(&store->reader.wake);
	store->path = strdup(config->path);
	err = store->path ? 0 : -ENOMEM;
	if (err == 0)
		err = lock_file(store, ret_why);
	if (err == 0)
		err = open_writer(store, ret_why);
	if (err == 0)
		err = open_pipe(store);
	if (err == 0)
		err = timer_new(&store->look, store->loop, look, store);
	if (err == 0)
		err = timer_new(&store->flush, store->loop, end_turn, store);
	if (err < 0) {
		store_free(store, 0);
		return err;
	}
	*ret = store;
	return 0;
}

struct store_db *store_db(struct store *store)
{
	return store->writer.db;
}

static int start_lane(struct lane *lane, const char *name, void *(*run)(void *))
{
	int err = thread_start(&lane->thread, name, 0, run, lane);

	lane->running = err == 0;
	return err;
}

int store_start(struct store *store)
{
	int err = store_db_open(&store->reader.db, store->path,
				STORE_DB_READER) == SQLITE_OK
			  ? 0
			  : -EIO;

	if (err == 0)
		err = start_lane(&store->reader, "store-reader",
				 answer_questions);
	if (err == 0)
		err = start_lane(&store->writer, "store-writer", write_jobs);
	if (err == 0)
		timer_start_every(store->look, LOOK_EVERY_US);
	return err;
}

static bool is_working(const struct lane *lane)
{
	return lane->running && !lane->ended;
}

/* @return whether both threads have ended */
static bool stop_lanes(struct store *store, uint64_t grace_us)
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

/* Of a lane whose thread has ended, or was never begun. */
static void drop_jobs(struct store *store, struct job_list *jobs)
{
	pthread_mutex_lock(&store->lock);
	for (struct job *job = jobs->first; job; job = job->next)
		job->err = -ESHUTDOWN;
	list_move(&store->finished, jobs);
	pthread_mutex_unlock(&store->lock);
}

struct store *store_free(struct store *store, uint64_t grace_us)
{
	if (!store)
		return NULL;
	end_turn(store);
	watch_free(store->watch);
	timer_free(store->look);
	timer_free(store->flush);
	if (!stop_lanes(store, grace_us)) {
		/* A thread hangs in the disk with some of the jobs in its
		 * hands: both are left to the end of the process. */
		call_handlers(store);
		return NULL;
	}
	drop_jobs(store, &store->turn);
	drop_jobs(store, &store->writer.jobs);
	drop_jobs(store, &store->reader.jobs);
	call_handlers(store);
	store_db_close(store->reader.db);
	store_db_close(store->writer.db);
	closep(&store->pipe[0]);
	closep(&store->pipe[1]);
	closep(&store->lock_fd);
	pthread_cond_destroy(&store->left);
	pthread_cond_destroy(&store->writer.wake);
	pthread_cond_destroy(&store->reader.wake);
	pthread_mutex_destroy(&store->lock);
	free(store->path);
	free(store);
	return NULL;
}
