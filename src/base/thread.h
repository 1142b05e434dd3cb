#pragma once
/**
 * @file base/thread.h  Threads beside the control thread
 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Begin a thread that gets no signals: those are the loop's.
 *
 * @param name         at most 15 characters, for `top -H` and debuggers
 * @param stack_bytes  0: the system's default
 * @return 0 or negative errno
 */
int thread_start(pthread_t *ret, const char *name, size_t stack_bytes,
		 void *(*run)(void *), void *arg);

/** A condition whose waits go by clock_mono_us(). */
void thread_cond_init(pthread_cond_t *cond);

/** Wait until it is signalled, or until that time. The lock is held. @return
 * false: the time has come */
bool thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock,
		      uint64_t until_us);
