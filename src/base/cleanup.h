#pragma once
/**
 * @file base/cleanup.h  Locals that free themselves
 *
 *     CLEANUP(freep) char *text = strdup(name);
 *     *ret_text = TAKE_PTR(text);
 */
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

/** Hand a pointer on: the value, and NULL is left behind. */
#define TAKE_PTR(ptr)                                                          \
	({                                                                     \
		__typeof__(ptr) taken_ = (ptr);                                \
		(ptr) = NULL;                                                  \
		taken_;                                                        \
	})

/** Hand a file descriptor on: the value, and -1 is left behind. */
#define TAKE_FD(fd)                                                            \
	({                                                                     \
		int taken_ = (fd);                                             \
		(fd) = -1;                                                     \
		taken_;                                                        \
	})

static inline void freep(void *ptr_to_ptr)
{
	free(*(void **)ptr_to_ptr);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member)                                        \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))
