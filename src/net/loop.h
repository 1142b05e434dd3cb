#pragma once
/**
 * @file net/loop.h  The event loop of a control thread: timers, signals,
 * descriptors
 *
 * libevent behind our names. One loop, one thread; nothing here is thread-safe.
 * A handler may free any object, its own included.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct loop;
struct timer;
struct watch;

/** @return 0 or -ENOMEM */
int loop_new(struct loop **ret);
/** All timers, watches and connections on it are freed before. Waits for
 * connections that were closed and still write their last bytes (2 s at most).
 * @return NULL */
struct loop *loop_free(struct loop *loop);
/** Run until loop_stop(). @return 0 or -EIO */
int loop_run(struct loop *loop);
/** Leave loop_run() at the end of this turn. */
void loop_stop(struct loop *loop);
/** Monotonic time, read once a turn. */
uint64_t loop_now_us(const struct loop *loop);

typedef void timer_h(void *arg);

/** A timer that does not run yet. @return 0 or -ENOMEM */
int timer_new(struct timer **ret, struct loop *loop, timer_h *handler,
	      void *arg);
struct timer *timer_free(struct timer *timer);
/** Once, after the delay; a running timer begins anew. */
void timer_start(struct timer *timer, uint64_t delay_us);
/** Again and again. */
void timer_start_every(struct timer *timer, uint64_t interval_us);
void timer_stop(struct timer *timer);
bool timer_is_running(const struct timer *timer);

/** Call the handler whenever the descriptor is readable (level-triggered). */
typedef void watch_h(int fd, void *arg);
int watch_new(struct watch **ret, struct loop *loop, int fd, watch_h *handler,
	      void *arg);
/** The descriptor stays open. @return NULL */
struct watch *watch_free(struct watch *watch);

/** Call the handler, in the loop, for a signal. */
typedef void loop_signal_h(int signal_number, void *arg);
int loop_on_signal(struct loop *loop, int signal_number, loop_signal_h *handler,
		   void *arg);

/**
 * Call a handler at the end of this turn, when no other handler is running: the
 * place to free an object that somebody up the stack may still look at.
 *
 * @return 0 or -ENOMEM
 */
int loop_defer(struct loop *loop, timer_h *handler, void *arg);

/**
 * A call at the end of this turn that needs no memory, since its object holds
 * it. Initialize once, start as often as wanted (a started one stays as it is).
 */
struct loop_task {
	struct list link;
	struct loop *loop;
	timer_h *handler;
	void *arg;
};

void loop_task_init(struct loop_task *task, struct loop *loop, timer_h *handler,
		    void *arg);
void loop_task_start(struct loop_task *task);
void loop_task_stop(struct loop_task *task);
