/** @file net/loop.c */
#include "net/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "net/loop_event.h"

struct loop {
	struct event_base *base;
	struct list tasks; /* of loop_task: what runs at the end of this turn */
	struct list signals; /* of signal_watch */
	uint64_t now_us;     /* 0: not read in this turn */
	unsigned lingering;  /* how many loop_free() waits for */
	bool running, stopped;
};

struct timer {
	struct event event;
	uint64_t interval_us; /* 0: once */
	timer_h *handler;
	void *arg;
};

struct watch {
	struct event event;
	watch_h *handler;
	void *arg;
};

struct signal_watch {
	struct list link;
	struct event event;
	int number;
	loop_signal_h *handler;
	void *arg;
};

/* A deferred call of somebody who has no task of his own. */
struct deferred_call {
	struct loop_task task;
	timer_h *handler;
	void *arg;
};

/* With the changelist, the write event that an output buffer switches on and
 * off within one turn costs no system call. It demands that no descriptor is
 * watched under two numbers (dup); ours never are. */
static struct event_base *make_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base;

	if (!config)
		return NULL;
	event_config_set_flag(
		config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER |
				EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

int loop_new(struct loop **ret)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	list_init(&loop->tasks);
	list_init(&loop->signals);
	loop->base = make_base();
	if (!loop->base) {
		free(loop);
		return -ENOMEM;
	}
	/* A peer that is gone is an error of write(), not the end of us. */
	signal(SIGPIPE, SIG_IGN);
	*ret = loop;
	return 0;
}

/* Only what is there now: what these calls defer again waits for the next turn.
 */
static void run_tasks(struct loop *loop)
{
	struct list now;

	if (list_empty(&loop->tasks))
		return;
	list_init(&now);
	now.next = loop->tasks.next;
	now.prev = loop->tasks.prev;
	now.next->prev = now.prev->next = &now;
	list_init(&loop->tasks);

	while (!list_empty(&now)) {
		struct loop_task *task =
			list_item(now.next, struct loop_task, link);

		list_del(&task->link);
		task->handler(task->arg);
	}
}

static int run_turn(struct loop *loop)
{
	int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;
	int r;

	if (!list_empty(&loop->tasks))
		flags |= EVLOOP_NONBLOCK;
	loop->now_us = 0;
	loop->running = true;
	r = event_base_loop(loop->base, flags);
	run_tasks(loop);
	loop->running = false;
	return r < 0 ? -EIO : 0;
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	run_tasks(loop);
	while (loop->lingering > 0 || !list_empty(&loop->tasks)) {
		if (run_turn(loop) < 0)
			break;
	}
	list_for_each_safe (link, &loop->signals) {
		struct signal_watch *watch =
			list_item(link, struct signal_watch, link);

		event_del(&watch->event);
		free(watch);
	}
	event_base_free(loop->base);
	free(loop);
	return NULL;
}

int loop_run(struct loop *loop)
{
	int r = 0;

	while (!loop->stopped && r == 0)
		r = run_turn(loop);
	loop->stopped = false;
	return r;
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
}

uint64_t loop_now_us(const struct loop *loop)
{
	if (!loop->running)
		return clock_mono_us();
	if (loop->now_us == 0)
		((struct loop *)loop)->now_us = clock_mono_us();
	return loop->now_us;
}

struct event_base *loop_event_base(struct loop *loop)
{
	return loop->base;
}

void loop_linger(struct loop *loop, bool on)
{
	loop->lingering += on ? 1u : -1u;
}

struct timeval loop_timeval(uint64_t delay_us)
{
	return (struct timeval){(time_t)(delay_us / US_PER_S),
				(suseconds_t)(delay_us % US_PER_S)};
}

/* Timers */

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
	struct timer *timer = arg;

	(void)fd;
	(void)what;
	if (timer->interval_us > 0) {
		struct timeval tv = loop_timeval(timer->interval_us);

		event_add(&timer->event, &tv);
	}
	timer->handler(timer->arg);
}

int timer_new(struct timer **ret, struct loop *loop, timer_h *handler,
	      void *arg)
{
	struct timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		return -ENOMEM;
	timer->handler = handler;
	timer->arg = arg;
	evtimer_assign(&timer->event, loop->base, timer_fired, timer);
	*ret = timer;
	return 0;
}

struct timer *timer_free(struct timer *timer)
{
	if (timer)
		event_del(&timer->event);
	free(timer);
	return NULL;
}

static void start_timer(struct timer *timer, uint64_t delay_us,
			uint64_t interval_us)
{
	struct timeval tv = loop_timeval(delay_us);

	/* First out: one that has fired in this turn and waits for its call
	 * must not be called. */
	event_del(&timer->event);
	timer->interval_us = interval_us;
	event_add(&timer->event, &tv);
}

void timer_start(struct timer *timer, uint64_t delay_us)
{
	start_timer(timer, delay_us, 0);
}

void timer_start_every(struct timer *timer, uint64_t interval_us)
{
	start_timer(timer, interval_us, interval_us);
}

void timer_stop(struct timer *timer)
{
	if (timer)
		event_del(&timer->event);
}

bool timer_is_running(const struct timer *timer)
{
	return event_pending(&timer->event, EV_TIMEOUT, NULL) != 0;
}

/* Descriptors */

static void watch_fired(evutil_socket_t fd, short what, void *arg)
{
	struct watch *watch = arg;

	(void)what;
	watch->handler(fd, watch->arg);
}

int watch_new(struct watch **ret, struct loop *loop, int fd, watch_h *handler,
	      void *arg)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->handler = handler;
	watch->arg = arg;
	event_assign(&watch->event, loop->base, fd, EV_READ | EV_PERSIST,
		     watch_fired, watch);
	if (event_add(&watch->event, NULL) < 0) {
		free(watch);
		return -ENOMEM;
	}
	*ret = watch;
	return 0;
}

struct watch *watch_free(struct watch *watch)
{
	if (watch)
		event_del(&watch->event);
	free(watch);
	return NULL;
}

/* Signals */

static void signal_came(evutil_socket_t number, short what, void *arg)
{
	struct signal_watch *watch = arg;

	(void)what;
	watch->handler(number, watch->arg);
}

int loop_on_signal(struct loop *loop, int signal_number, loop_signal_h *handler,
		   void *arg)
{
	struct signal_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->number = signal_number;
	watch->handler = handler;
	watch->arg = arg;
	evsignal_assign(&watch->event, loop->base, signal_number, signal_came,
			watch);
	if (event_add(&watch->event, NULL) < 0) {
		free(watch);
		return -ENOMEM;
	}
	list_add_tail(&loop->signals, &watch->link);
	return 0;
}

/* The end of a turn */

void loop_task_init(struct loop_task *task, struct loop *loop, timer_h *handler,
		    void *arg)
{
	list_init(&task->link);
	task->loop = loop;
	task->handler = handler;
	task->arg = arg;
}

void loop_task_start(struct loop_task *task)
{
	if (list_empty(&task->link))
		list_add_tail(&task->loop->tasks, &task->link);
}

void loop_task_stop(struct loop_task *task)
{
	list_del(&task->link);
}

static void run_deferred_call(void *arg)
{
	struct deferred_call *call = arg;
	timer_h *handler = call->handler;
	void *handler_arg = call->arg;

	free(call);
	handler(handler_arg);
}

int loop_defer(struct loop *loop, timer_h *handler, void *arg)
{
	struct deferred_call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;
	call->handler = handler;
	call->arg = arg;
	loop_task_init(&call->task, loop, run_deferred_call, call);
	loop_task_start(&call->task);
	return 0;
}
