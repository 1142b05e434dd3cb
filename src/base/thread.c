#include "base/thread.h"

#include <signal.h>
#include <time.h>

#include "base/clock.h"

int thread_start(pthread_t *ret, const char *name, size_t stack_bytes,
		 void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int error = pthread_attr_init(&attr);

	if (error)
		return -error;
	if (stack_bytes > 0)
		pthread_attr_setstacksize(&attr, stack_bytes);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(ret, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
#ifdef __linux__
	if (!error)
		pthread_setname_np(*ret, name);
#endif
	return -error;
}

void thread_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attributes);
	pthread_condattr_destroy(&attributes);
}

bool thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock,
		      uint64_t until_us)
{
	const struct timespec until = {
		.tv_sec = (time_t)(until_us / US_PER_S),
		.tv_nsec = (long)(until_us % US_PER_S) * 1000,
	};

	return pthread_cond_timedwait(cond, lock, &until) == 0;
}
