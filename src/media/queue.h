#pragma once
/**
 * @file media/queue.h  Handing items from one thread to another
 *
 * Any thread pushes, one thread takes everything at once, neither ever waits
 * (push retries its exchange only when another push came between). The links
 * live inside the items, so a push cannot fail.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct queue_link {
	struct queue_link *next;
};

struct queue {
	_Atomic(struct queue_link *) newest;
};

/** @return true if it was empty: the taker has to be woken */
static inline bool queue_push(struct queue *q, struct queue_link *link)
{
	struct queue_link *newest =
		atomic_load_explicit(&q->newest, memory_order_relaxed);

	do {
		link->next = newest;
	} while (!atomic_compare_exchange_weak_explicit(
		&q->newest, &newest, link, memory_order_acq_rel,
		memory_order_relaxed));
	return newest == NULL;
}

static inline bool queue_has_items(const struct queue *q)
{
	return atomic_load_explicit(&q->newest, memory_order_relaxed) != NULL;
}

/** All items, the oldest first, linked by next; NULL if there is none. */
static inline struct queue_link *queue_take_all(struct queue *q)
{
	struct queue_link *newest = atomic_exchange_explicit(
		&q->newest, NULL, memory_order_acq_rel);
	struct queue_link *oldest = NULL;

	while (newest) {
		struct queue_link *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}
