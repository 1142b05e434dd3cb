#include "accounting/delivery.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accounting/spool.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/thread.h"

#define RETRY_MIN_US (500 * US_PER_MS)
#define RETRY_MAX_US (60 * US_PER_S)
#define MAX_INTERIMS 10000

/* Behind each batch: so many times as long as it took, and how long at most. */
#define PAUSE_FACTOR 2
#define PAUSE_MAX_US US_PER_S

struct interim {
	struct list link;
	size_t len;
	char json[];
};

struct delivery_thread {
	const struct backend *backend;
	void *state;
	struct store *store;
	struct store_db *db;
	char *path;
	struct delivery *batch;

	/* Of the thread alone. */
	int64_t cursor, retry_cursor;
	int64_t backlog; /* behind the last batch */
	uint64_t retry_us, random;
	bool interim_failed;
	struct log_limit refused_limit;

	pthread_t thread;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t wake, left;
	bool has_work, retry_asked, stopping, abandoned, ended;
	struct list interims;
	size_t interim_count;
	struct delivery_status status;
};

/* What a batch did, on its way to the disk. */
struct outcome {
	int64_t seq;
	bool refused;
	bool was_aside;
	char *reason;
};

struct outcomes {
	const char *backend;
	int64_t cursor; /* 0: it stays */
	int64_t now_us;
	size_t count;
	struct outcome list[];
};

static int write_outcomes(struct store_db *db, void *arg)
{
	const struct outcomes *outcomes = arg;
	int r = SQLITE_OK;

	for (size_t i = 0; i < outcomes->count && r == SQLITE_OK; i++) {
		const struct outcome *outcome = &outcomes->list[i];

		if (outcome->refused)
			r = spool_set_aside(db, outcomes->backend, outcome->seq,
					    outcome->reason, outcomes->now_us);
		else if (outcome->was_aside)
			r = spool_take_back(db, outcomes->backend,
					    outcome->seq);
	}
	/* Last: it never passes what could not be set aside. */
	if (r == SQLITE_OK && outcomes->cursor > 0)
		r = spool_set_cursor(db, outcomes->backend, outcomes->cursor);
	return r;
}

static void outcomes_written(int err, void *arg)
{
	struct outcomes *outcomes = arg;

	/* Without it the batch comes again after a restart. */
	(void)err;
	for (size_t i = 0; i < outcomes->count; i++)
		free(outcomes->list[i].reason);
	free(outcomes);
}

static void add_outcome(struct outcomes *outcomes,
			const struct delivery *delivery, bool was_aside)
{
	bool refused = delivery->outcome == DELIVERY_REFUSED;

	if (!refused && !was_aside)
		return;
	outcomes->list[outcomes->count++] = (struct outcome){
		.seq = delivery->record.seq,
		.refused = refused,
		.was_aside = was_aside,
		.reason = strdup(refused ? delivery->reason : ""),
	};
}

/* All of them, with their reasons, are in `mediaproxy accounting list`. */
static void log_refused(struct delivery_thread *thread,
			const struct delivery *delivery)
{
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	if (delivery->outcome == DELIVERY_REFUSED &&
	    log_limit_allows(&thread->refused_limit, clock_mono_us(),
			     &suppressed))
		log_error("[%.*s] accounting %s refuses this record for good, "
			  "it is set aside: %s%s",
			  SPAN_ARG(delivery->record.call_id),
			  thread->backend->name, delivery->reason,
			  log_left_out(suppressed, left_out));
}

/* Take what is settled at the head of the batch: what follows a record that is
 * still to be delivered comes again with it.
 * @return how many */
static size_t settle(struct delivery_thread *thread, size_t count,
		     bool was_aside)
{
	struct outcomes *outcomes =
		calloc(1, sizeof(*outcomes) + count * sizeof(struct outcome));
	size_t settled = 0;
	uint64_t refused = 0;

	if (!outcomes)
		return 0;
	outcomes->backend = thread->backend->name;
	outcomes->now_us = (int64_t)clock_wall_us();
	while (settled < count &&
	       thread->batch[settled].outcome != DELIVERY_LATER) {
		const struct delivery *delivery = &thread->batch[settled++];

		add_outcome(outcomes, delivery, was_aside);
		log_refused(thread, delivery);
		refused += delivery->outcome == DELIVERY_REFUSED;
	}
	if (settled > 0) {
		int64_t last = thread->batch[settled - 1].record.seq;

		if (was_aside)
			thread->retry_cursor = last;
		else
			thread->cursor = outcomes->cursor = last;
	}
	pthread_mutex_lock(&thread->lock);
	thread->status.cursor = thread->cursor;
	thread->status.delivered += settled - refused;
	thread->status.set_aside += refused;
	/* Once abandoned, there is no store any more. */
	if (settled > 0 && !thread->abandoned) {
		store_submit_from_thread(thread->store, write_outcomes,
					 outcomes_written, outcomes);
		outcomes = NULL;
	}
	pthread_mutex_unlock(&thread->lock);
	if (outcomes)
		outcomes_written(0, outcomes);
	return settled;
}

/* Down and up again */

static uint64_t next_random(struct delivery_thread *thread)
{
	uint64_t x = thread->random | 1;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return thread->random = x;
}

/* Twice as long each time, and never for all dispatchers at the same moment. */
static uint64_t next_wait_us(struct delivery_thread *thread)
{
	uint64_t wait_us = thread->retry_us;

	thread->retry_us =
		wait_us * 2 < RETRY_MAX_US ? wait_us * 2 : RETRY_MAX_US;
	return wait_us * 3 / 4 + next_random(thread) % (wait_us / 2);
}

static void went_down(struct delivery_thread *thread, const char *why)
{
	bool is_news;

	pthread_mutex_lock(&thread->lock);
	is_news = !thread->status.is_down ||
		  strncmp(thread->status.why, why,
			  sizeof(thread->status.why) - 1) != 0;
	if (!thread->status.is_down)
		thread->status.down_since_us = clock_mono_us();
	thread->status.is_down = true;
	thread->status.failures++;
	snprintf(thread->status.why, sizeof(thread->status.why), "%s", why);
	pthread_mutex_unlock(&thread->lock);
	if (is_news)
		log_error("accounting %s is down, records wait on disk: %s",
			  thread->backend->name, why);
}

static void came_up(struct delivery_thread *thread)
{
	uint64_t since_us = 0;
	bool was_down;

	thread->retry_us = RETRY_MIN_US;
	pthread_mutex_lock(&thread->lock);
	was_down = thread->status.is_down;
	since_us = thread->status.down_since_us;
	thread->status.is_down = false;
	thread->status.why[0] = '\0';
	pthread_mutex_unlock(&thread->lock);
	if (was_down)
		log_info("accounting %s takes records again, after %.1f s",
			 thread->backend->name,
			 (double)(clock_mono_us() - since_us) /
				 (double)US_PER_S);
}

/* The work */

static int read_next(struct delivery_thread *thread, size_t *ret_count,
		     bool *ret_was_aside)
{
	int r = spool_read_retries(thread->db, thread->backend->name,
				   thread->retry_cursor, thread->batch,
				   thread->backend->batch, ret_count);

	*ret_was_aside = true;
	if (r != SQLITE_OK || *ret_count > 0)
		return r;
	*ret_was_aside = false;
	return spool_read(thread->db, thread->cursor, thread->batch,
			  thread->backend->batch, ret_count);
}

/* How long to leave the machine to the calls behind a batch. Records that wait
 * can wait, unless they become more. */
static uint64_t pause_us(struct delivery_thread *thread, size_t count,
			 uint64_t took_us)
{
	int64_t before = thread->backlog;
	int64_t last = thread->cursor;

	(void)spool_last(thread->db, &last);
	thread->backlog = last - thread->cursor;
	if (count == thread->backend->batch && thread->backlog > before)
		return 0;
	took_us *= PAUSE_FACTOR;
	return took_us < PAUSE_MAX_US ? took_us : PAUSE_MAX_US;
}

/* @param ret_wait_us  How long to wait then; 0: until there is something to do
 * @return whether to go on at once */
static bool deliver_batch(struct delivery_thread *thread, uint64_t *ret_wait_us)
{
	CLEANUP(buf_done) struct buf why = {0};
	uint64_t began_us = clock_mono_us();
	size_t count = 0;
	size_t settled;
	bool was_aside;
	int err;

	*ret_wait_us = 0;
	if (read_next(thread, &count, &was_aside) != SQLITE_OK) {
		went_down(thread, store_why(thread->db));
		*ret_wait_us = next_wait_us(thread);
		return false;
	}
	if (count == 0)
		return false;
	err = thread->backend->deliver(thread->state, thread->batch, count,
				       &why);
	settled = settle(thread, count, was_aside);
	spool_batch_done(thread->batch, count);
	if (err == 0 && settled > 0) {
		came_up(thread);
		*ret_wait_us =
			pause_us(thread, count, clock_mono_us() - began_us);
		return *ret_wait_us == 0;
	}
	went_down(thread, why.data ? why.data : strerror(err < 0 ? -err : EIO));
	if (settled > 0)
		thread->retry_us = RETRY_MIN_US;
	*ret_wait_us = next_wait_us(thread);
	return false;
}

static void copy_interim(const struct record *record, void *arg)
{
	struct delivery_thread *thread = arg;
	CLEANUP(buf_done) struct buf why = {0};

	/* The next one is due soon: a failure is only counted. */
	if (thread->backend->interim(thread->state, record, &why) < 0) {
		thread->interim_failed = true;
		pthread_mutex_lock(&thread->lock);
		thread->status.interims_dropped++;
		pthread_mutex_unlock(&thread->lock);
	}
}

/* Final records go before. Behind a report that failed the others are dropped:
 * each would wait for the server as long, and the final records with it. */
static void report_interims(struct delivery_thread *thread)
{
	struct list *first;

	thread->interim_failed = false;
	pthread_mutex_lock(&thread->lock);
	while (!thread->has_work && (first = list_first(&thread->interims))) {
		struct interim *interim =
			list_item(first, struct interim, link);

		list_del(first);
		thread->interim_count--;
		if (thread->stopping || thread->status.is_down ||
		    thread->interim_failed) {
			thread->status.interims_dropped++;
		} else {
			thread->status.interims++;
			pthread_mutex_unlock(&thread->lock);
			(void)record_decode(
				span_make(interim->json, interim->len),
				copy_interim, thread);
			pthread_mutex_lock(&thread->lock);
		}
		free(interim);
	}
	pthread_mutex_unlock(&thread->lock);
}

/* Wait for new records, or for the time to try again. @return false: stop */
static bool rest(struct delivery_thread *thread, uint64_t wait_us)
{
	uint64_t until_us = clock_mono_us() + wait_us;
	bool is_time = false;
	bool go_on;

	pthread_mutex_lock(&thread->lock);
	while (!thread->stopping && !thread->retry_asked && !is_time) {
		if (wait_us > 0)
			is_time = !thread_cond_wait(&thread->wake,
						    &thread->lock, until_us);
		else if (thread->has_work || !list_empty(&thread->interims))
			break;
		else
			pthread_cond_wait(&thread->wake, &thread->lock);
	}
	thread->has_work = false;
	if (thread->retry_asked) {
		thread->retry_asked = false;
		thread->retry_cursor = 0;
	}
	go_on = !thread->stopping;
	pthread_mutex_unlock(&thread->lock);
	return go_on;
}

static bool is_stopping(struct delivery_thread *thread)
{
	bool stopping;

	pthread_mutex_lock(&thread->lock);
	stopping = thread->stopping;
	pthread_mutex_unlock(&thread->lock);
	return stopping;
}

static void free_thread(struct delivery_thread *thread)
{
	list_for_each_safe (link, &thread->interims) {
		free(list_item(link, struct interim, link));
	}
	pthread_cond_destroy(&thread->wake);
	pthread_cond_destroy(&thread->left);
	pthread_mutex_destroy(&thread->lock);
	free(thread->batch);
	free(thread->path);
	free(thread);
}

static void *run(void *arg)
{
	struct delivery_thread *thread = arg;
	uint64_t wait_us = 0;
	bool abandoned;

	do {
		do
			report_interims(thread);
		while (!is_stopping(thread) && deliver_batch(thread, &wait_us));
	} while (!is_stopping(thread) && rest(thread, wait_us));
	thread->backend->stop(thread->state);
	store_reader_close(thread->db);
	pthread_mutex_lock(&thread->lock);
	thread->ended = true;
	abandoned = thread->abandoned;
	pthread_cond_broadcast(&thread->left);
	pthread_mutex_unlock(&thread->lock);
	if (abandoned) {
		pthread_detach(pthread_self());
		free_thread(thread);
	}
	return NULL;
}

/* For the control thread */

void delivery_wake(struct delivery_thread *thread)
{
	pthread_mutex_lock(&thread->lock);
	thread->has_work = true;
	pthread_cond_signal(&thread->wake);
	pthread_mutex_unlock(&thread->lock);
}

void delivery_retry(struct delivery_thread *thread)
{
	pthread_mutex_lock(&thread->lock);
	thread->retry_asked = true;
	pthread_cond_signal(&thread->wake);
	pthread_mutex_unlock(&thread->lock);
}

void delivery_interim(struct delivery_thread *thread, struct span json)
{
	struct interim *interim = NULL;

	if (!thread->backend->interim)
		return;
	interim = malloc(sizeof(*interim) + json.len);
	if (interim) {
		interim->len = json.len;
		memcpy(interim->json, json.ptr, json.len);
	}
	pthread_mutex_lock(&thread->lock);
	if (interim && thread->interim_count < MAX_INTERIMS) {
		list_add_tail(&thread->interims, &interim->link);
		thread->interim_count++;
		interim = NULL;
		pthread_cond_signal(&thread->wake);
	} else {
		thread->status.interims_dropped++;
	}
	pthread_mutex_unlock(&thread->lock);
	free(interim);
}

void delivery_read_status(struct delivery_thread *thread,
			  struct delivery_status *ret)
{
	pthread_mutex_lock(&thread->lock);
	*ret = thread->status;
	pthread_mutex_unlock(&thread->lock);
}

int delivery_start(struct delivery_thread **ret,
		   const struct delivery_config *config)
{
	struct delivery_thread *thread = calloc(1, sizeof(*thread));
	int err = -ENOMEM;

	if (!thread)
		return -ENOMEM;
	thread->backend = config->backend;
	thread->state = config->state;
	thread->store = config->store;
	thread->cursor = thread->status.cursor = config->cursor;
	thread->retry_us = RETRY_MIN_US;
	thread->random = config->random;
	thread->refused_limit = LOG_LIMIT(20, 10 * US_PER_S);
	list_init(&thread->interims);
	pthread_mutex_init(&thread->lock, NULL);
	thread_cond_init(&thread->wake);
	thread_cond_init(&thread->left);
	thread->batch = calloc(config->backend->batch, sizeof(*thread->batch));
	thread->path = strdup(config->store_path);
	if (thread->batch && thread->path)
		err = store_reader_open(&thread->db, thread->path);
	if (err == 0)
		err = thread_start(&thread->thread, config->backend->name, 0,
				   run, thread);
	if (err < 0) {
		store_reader_close(thread->db);
		free_thread(thread);
		return err;
	}
	*ret = thread;
	return 0;
}

void delivery_stop(struct delivery_thread *thread)
{
	pthread_mutex_lock(&thread->lock);
	thread->stopping = true;
	pthread_cond_signal(&thread->wake);
	pthread_mutex_unlock(&thread->lock);
}

struct delivery_thread *delivery_free(struct delivery_thread *thread,
				      uint64_t grace_us)
{
	uint64_t until_us = clock_mono_us() + grace_us;
	const char *name;
	bool ended;

	if (!thread)
		return NULL;
	name = thread->backend->name;
	delivery_stop(thread);
	pthread_mutex_lock(&thread->lock);
	while (!thread->ended &&
	       thread_cond_wait(&thread->left, &thread->lock, until_us))
		;
	ended = thread->ended;
	/* From then on it is its own, and may be gone at once. */
	thread->abandoned = !ended;
	pthread_mutex_unlock(&thread->lock);
	if (!ended) {
		log_warning("accounting %s does not come back: it is left "
			    "behind, its records are on disk",
			    name);
		return NULL;
	}
	pthread_join(thread->thread, NULL);
	free_thread(thread);
	return NULL;
}
