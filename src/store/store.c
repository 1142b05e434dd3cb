#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"
#include "store/store_internal.h"

#define DEFAULT_MAX_WAITING 200000
#define STALLED_US US_PER_S
#define LATER_US (100 * US_PER_MS)
#define LOOK_EVERY_US (250 * US_PER_MS)

/* From the threads back to the loop */

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

	job_list_init(&jobs);
	pthread_mutex_lock(&store->lock);
	job_list_move(&jobs, &store->finished);
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

/* Handing in */

static struct job *make_job(store_work_h *work, store_done_h *done, void *arg,
			    bool is_urgent)
{
	struct job *job = malloc(sizeof(*job));

	if (!job)
		return NULL;
	*job = (struct job){
		.work = work, .done = done, .arg = arg, .is_urgent = is_urgent};
	return job;
}

/* Under the lock: room in the queue, or the job is over. */
static void admit(struct store *store, struct job_list *jobs,
		  size_t max_waiting)
{
	struct lane *writer = &store->writer;
	uint64_t due_us = clock_mono_us() + LATER_US;
	bool wakes = !writer->jobs.first;
	struct job_list refused;
	struct job *job;

	if (wakes)
		writer->due_us = due_us;
	job_list_init(&refused);
	while ((job = jobs->first)) {
		jobs->first = job->next;
		if (store->counts.waiting < max_waiting && !writer->ended) {
			store->counts.waiting++;
			if (job->is_urgent)
				writer->due_us = 0;
			job_list_add(&writer->jobs, job);
			continue;
		}
		job->err = writer->ended ? -ESHUTDOWN : -ENOSPC;
		store->counts.refused++;
		job_list_add(&refused, job);
	}
	job_list_init(jobs);
	lane_finish(store, &refused);
	if (wakes || writer->due_us == 0)
		pthread_cond_signal(&writer->wake);
}

static void end_turn(void *arg)
{
	struct store *store = arg;

	if (!store->turn.first)
		return;
	pthread_mutex_lock(&store->lock);
	admit(store, &store->turn, store->max_waiting);
	pthread_mutex_unlock(&store->lock);
}

static void submit(struct store *store, store_work_h *work, store_done_h *done,
		   void *arg, bool is_urgent)
{
	struct job *job = make_job(work, done, arg, is_urgent);
	bool is_first = !store->turn.first;

	if (!job) {
		/* The one case in which the handler comes at once. */
		done(-ENOMEM, arg);
		return;
	}
	job_list_add(&store->turn, job);
	if (is_first)
		loop_task_start(&store->flush);
}

void store_submit(struct store *store, store_work_h *work, store_done_h *done,
		  void *arg)
{
	submit(store, work, done, arg, /* is_urgent= */ true);
}

void store_submit_later(struct store *store, store_work_h *work,
			store_done_h *done, void *arg)
{
	submit(store, work, done, arg, /* is_urgent= */ false);
}

void store_submit_from_thread(struct store *store, store_work_h *work,
			      store_done_h *done, void *arg)
{
	struct job *job = make_job(work, done, arg, /* is_urgent= */ false);
	struct job_list one;

	if (!job) {
		done(-ENOMEM, arg);
		return;
	}
	job_list_init(&one);
	job_list_add(&one, job);
	pthread_mutex_lock(&store->lock);
	admit(store, &one, SIZE_MAX);
	pthread_mutex_unlock(&store->lock);
}

void store_ask(struct store *store, store_work_h *work, store_done_h *done,
	       void *arg)
{
	struct job *job = make_job(work, done, arg, /* is_urgent= */ true);

	if (!job) {
		done(-ENOMEM, arg);
		return;
	}
	pthread_mutex_lock(&store->lock);
	job_list_add(&store->reader.jobs, job);
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

static int open_writer(struct store *store, bool set_aside, struct buf *ret_why)
{
	int r = set_aside ? SQLITE_CORRUPT
			  : store_db_open(&store->writer.db, store->path,
					  STORE_DB_WRITER);

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
	loop_task_init(&store->flush, store->loop, end_turn, store);
	store->lock_fd = store->pipe[0] = store->pipe[1] = -1;
	store->writer.store = store->reader.store = store;
	job_list_init(&store->turn);
	job_list_init(&store->finished);
	job_list_init(&store->writer.jobs);
	job_list_init(&store->reader.jobs);
	pthread_mutex_init(&store->lock, NULL);
	thread_cond_init(&store->left);
	thread_cond_init(&store->writer.wake);
	thread_cond_init(&store->reader.wake);
	store->path = strdup(config->path);
	err = store->path ? 0 : -ENOMEM;
	if (err == 0)
		err = lock_file(store, ret_why);
	if (err == 0)
		err = open_writer(store, config->set_aside, ret_why);
	if (err == 0)
		err = open_pipe(store);
	if (err == 0)
		err = timer_new(&store->look, store->loop, look, store);
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

int store_start(struct store *store)
{
	int err = store_db_open(&store->reader.db, store->path,
				STORE_DB_READER) == SQLITE_OK
			  ? 0
			  : -EIO;

	if (err == 0)
		err = lanes_start(store);
	if (err == 0)
		timer_start_every(store->look, LOOK_EVERY_US);
	return err;
}

/* Of a lane whose thread has ended, or was never begun. */
static void drop_jobs(struct store *store, struct job_list *jobs)
{
	pthread_mutex_lock(&store->lock);
	for (struct job *job = jobs->first; job; job = job->next)
		job->err = -ESHUTDOWN;
	job_list_move(&store->finished, jobs);
	pthread_mutex_unlock(&store->lock);
}

struct store *store_free(struct store *store, uint64_t grace_us)
{
	if (!store)
		return NULL;
	end_turn(store);
	watch_free(store->watch);
	timer_free(store->look);
	loop_task_stop(&store->flush);
	if (!lanes_stop(store, grace_us)) {
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
