#pragma once
/**
 * @file net/loop_event.h  The inside of a loop, for the modules of net/ alone
 */
#include <event2/event.h>
#include <sys/time.h>

#include "net/loop.h"

/** The event base of a loop, for what libevent does itself (evhttp,
 * bufferevents). */
struct event_base *loop_event_base(struct loop *loop);

/**
 * Something still writes its last bytes (true) or is done (false): loop_free()
 * waits for it, so whoever calls this has a deadline of its own.
 */
void loop_linger(struct loop *loop, bool on);

/** What libevent takes. */
struct timeval loop_timeval(uint64_t delay_us);
