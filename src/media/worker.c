#include "media/worker.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "media/path.h"
#include "media/receive.h"

#define EVENTS_MAX 64
#define STACK_BYTES (512u * 1024)

/* While packets come one after the other, turns begin at least this far apart,
 * so that each moves several: waking up costs more than a packet does. The
 * first packet after a pause is never kept waiting. */
#define GATHER_US 200

/* ---- the thread ---- */

void worker_count_drop(struct worker *w, struct port *c, enum media_drop why,
		       uint64_t count)
{
	count_up(&c->shown.drops[why], count);
	count_up(&w->drops[why], count);
}

/* All wait equally long, and the clock never runs backwards: so the list stays
 * sorted. A quarter of settle_us is how late a confirmation may come. */
static uint64_t timer_interval_us(const struct worker *w)
{
	uint64_t quarter = w->learning->settle_us / 4;

	return quarter > US_PER_MS ? quarter : US_PER_MS;
}

void worker_arm(struct worker *w, struct port *c)
{
	if (!list_empty(&c->timer))
		return;
	c->timer_us = w->now_us + timer_interval_us(w);
	list_add_tail(&w->timers, &c->timer);
}

static bool has_mail(const struct worker *w)
{
	return w->notes_left || w->news_left || queue_has_items(&w->notes) ||
	       queue_has_items(&w->news);
}

static int wait_ms(const struct worker *w)
{
	const struct list *first = list_first(&w->timers);
	const struct port *c;

	if (has_mail(w))
		return 0;
	if (!first)
		return -1;
	c = list_item(first, struct port, timer);
	if (c->timer_us <= w->now_us)
		return 0;
	return (int)((c->timer_us - w->now_us + US_PER_MS - 1) / US_PER_MS);
}

static void run_timers(struct worker *w)
{
	struct list *first;

	while ((first = list_first(&w->timers))) {
		struct port *c = list_item(first, struct port, timer);

		if (c->timer_us > w->now_us)
			return;
		list_del(&c->timer);
		path_settle(w, c);
	}
}

static void close_sockets(struct worker *w, struct media_stream *stream)
{
	for (unsigned party = 0; party < PARTY_COUNT; party++)
		for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
			struct port *c = &stream->ports[party][i];

			/* Closing does not take it out of the set while
			 * another process, just forked, still has it. */
			epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
			close(c->fd);
			c->fd = -1;
		}
	count_up(&w->sockets_closed, PARTY_COUNT * COMPONENT_COUNT);
}

static void finish_stream(struct worker *w, struct media_stream *stream)
{
	path_finish(w, stream);
	close_sockets(w, stream);
	media_stream_leave_session(stream);
	if (queue_push(w->done, &stream->link))
		eventfd_write(w->done_fd, 1);
}

static void close_stream(struct worker *w, struct media_stream *stream)
{
	/* One that never went live has no sockets of its own. */
	if (latch_version(&stream->settings_latch) == 0) {
		if (queue_push(w->done, &stream->link))
			eventfd_write(w->done_fd, 1);
		return;
	}
	if (flow_all_back(w, stream))
		finish_stream(w, stream);
}

static struct queue_link *take_one(struct queue *queue,
				   struct queue_link **left)
{
	struct queue_link *link;

	if (!*left)
		*left = queue_take_all(queue);
	link = *left;
	if (link)
		*left = link->next;
	return link;
}

/* A few in each turn: thousands of sessions may end at once, and those that go
 * on must not wait for all of them. */
static void read_notes(struct worker *w)
{
	for (unsigned i = 0; i < CLOSE_PER_TURN; i++) {
		struct queue_link *link = take_one(&w->notes, &w->notes_left);
		struct media_stream *stream;
		unsigned notes;

		if (!link)
			return;
		stream = container_of(link, struct media_stream, link);
		notes = atomic_exchange(&stream->notes, 0);
		if (notes & STREAM_LIMIT)
			media_stream_apply_limits(stream);
		if (notes & STREAM_CLOSE)
			close_stream(w, stream);
		else if (latch_version(&stream->settings_latch) !=
			 stream->applied)
			media_stream_apply_settings(stream);
	}
}

static void read_news(struct worker *w)
{
	for (unsigned i = 0; i < NEWS_PER_TURN; i++) {
		struct queue_link *link = take_one(&w->news, &w->news_left);
		struct engine_item *item;
		struct port *port;

		if (!link)
			return;
		item = container_of(link, struct engine_item, to_worker);
		port = container_of(item, struct port, flow.item);
		flow_news(w, port, engine_item_news(item));
		if (port->stream->finishing &&
		    atomic_load(&port->stream->flows) == 0)
			finish_stream(w, port->stream);
	}
}

/* Notes and news come last: events of this turn may be of a stream that one
 * closes.
 * @return whether there were packets */
static bool run_turn(struct worker *w, const struct epoll_event *events,
		     int count)
{
	bool woken = false;
	eventfd_t ignored;

	for (int i = 0; i < count; i++) {
		struct port *c = events[i].data.ptr;

		if (!c)
			woken = true;
		else if (latch_version(&c->stream->settings_latch) > 0)
			path_serve(w, c);
	}
	run_timers(w);
	if (woken)
		eventfd_read(w->wake_fd, &ignored);
	read_notes(w);
	read_news(w);
	return count > woken;
}

static void sleep_until(uint64_t time_us)
{
	struct timespec t = {
		.tv_sec = (time_t)(time_us / US_PER_S),
		.tv_nsec = (long)(time_us % US_PER_S * 1000),
	};

	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void *run(void *arg)
{
	struct epoll_event events[EVENTS_MAX];
	struct worker *w = arg;
	bool gather = false;

	/* The default, 50 us, is much beside GATHER_US. */
	(void)prctl(PR_SET_TIMERSLACK, 1000ul);
	while (!atomic_load_explicit(&w->stop, memory_order_acquire)) {
		uint64_t before_us = w->now_us;
		int count;

		if (gather)
			sleep_until(before_us + GATHER_US);
		count = epoll_wait(w->epoll_fd, events, EVENTS_MAX, wait_ms(w));
		w->now_us = clock_mono_us();
		w->turn++;
		gather = run_turn(w, events, count) && count < EVENTS_MAX &&
			 !w->notes_left && !w->news_left &&
			 w->now_us - before_us < 2 * GATHER_US;
	}
	return NULL;
}

/* ---- the control thread ---- */

int worker_watch(struct worker *w, struct media_stream *stream)
{
	struct port *all = &stream->ports[0][0];
	unsigned count = PARTY_COUNT * COMPONENT_COUNT;

	for (unsigned i = 0; i < count; i++) {
		struct epoll_event event = {.events = EPOLLIN,
					    .data.ptr = &all[i]};
		int error;

		if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, all[i].fd, &event) ==
		    0)
			continue;
		error = errno;
		while (i-- > 0)
			epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, all[i].fd, NULL);
		return -error;
	}
	return 0;
}

static void wake(struct worker *w)
{
	eventfd_write(w->wake_fd, 1);
}

void worker_note(struct worker *w, struct media_stream *stream, unsigned notes)
{
	if (atomic_fetch_or(&stream->notes, notes) == 0 &&
	    queue_push(&w->notes, &stream->link))
		wake(w);
}

void worker_news(struct worker *w, struct engine_item *item)
{
	if (queue_push(&w->news, &item->to_worker))
		wake(w);
}

static int open_fds(struct worker *w)
{
	struct epoll_event event = {.events = EPOLLIN};

	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll_fd < 0)
		return -errno;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd < 0)
		return -errno;
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->wake_fd, &event) < 0)
		return -errno;
	return 0;
}

static int start_thread(struct worker *w, unsigned index)
{
	char name[16];
	int r;

	snprintf(name, sizeof(name), "media-%u", index);
	r = thread_start(&w->thread, name, STACK_BYTES, run, w);
	w->started = r == 0;
	return r;
}

int worker_start(struct worker *w, unsigned index)
{
	void *slots;
	int err;

	w->epoll_fd = -1;
	w->wake_fd = -1;
	list_init(&w->timers);
	slots = mmap(NULL, (size_t)BATCH_MAX * BATCH_SLOT,
		     PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (slots == MAP_FAILED)
		return -ENOMEM;
	w->batch.slots = slots;
	/* Small packets touch one page of each slot, not a huge one. */
	madvise(slots, (size_t)BATCH_MAX * BATCH_SLOT, MADV_NOHUGEPAGE);
	receive_init_batch(&w->batch, w->keeps_tos);

	err = open_fds(w);
	if (err < 0)
		return err;
	return start_thread(w, index);
}

void worker_stop(struct worker *w)
{
	if (!w->started)
		return;
	atomic_store_explicit(&w->stop, true, memory_order_release);
	wake(w);
	pthread_join(w->thread, NULL);
	w->started = false;
}

void worker_done(struct worker *w)
{
	closep(&w->epoll_fd);
	closep(&w->wake_fd);
	w->epoll_fd = -1;
	w->wake_fd = -1;
	if (w->batch.slots)
		munmap(w->batch.slots, (size_t)BATCH_MAX * BATCH_SLOT);
	w->batch.slots = NULL;
}
