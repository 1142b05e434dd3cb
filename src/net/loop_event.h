#pragma once
/**
 * @file net/loop_event.h  The inside of a loop, for the modules of net/ alone
 */
#include <event2/event.h>
#include <sys/time.h>

#include "base/list.h"
#include "net/loop.h"

/** The event base of a loop, for what libevent does itself (evhttp,
 * bufferevents). */
struct event_base *loop_event_base(struct loop *loop);

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

/**
 * Something still writes its last bytes (true) or is done (false): loop_free()
 * waits for it, so whoever calls this has a deadline of its own.
 */
void loop_linger(struct loop *loop, bool on);

/** What libevent takes. */
struct timeval loop_timeval(uint64_t delay_us);
