#pragma once
/**
 * @file media/latch.h  A small struct that one thread writes and others read
 *
 * A seqlock with two copies: the writer fills the one that nobody reads and
 * then turns to it. So neither side ever waits for the other: a writer that is
 * preempted in the middle leaves the old value readable, and a reader tries
 * again only when the writer finished twice meanwhile. All accesses are atomic,
 * so there is no data race in the sense of C.
 *
 *     struct latch latch; _Atomic uint64_t words[LATCH_WORDS(struct thing)];
 */
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/** Words that two copies of a type take. */
#define LATCH_WORDS(type) (2 * ((sizeof(type) + 7) / 8))

/** The largest value, in words. */
#define LATCH_MOST 16

struct latch {
	_Atomic uint32_t version; /* 0: never written */
};

static inline uint32_t latch_version(const struct latch *latch)
{
	return atomic_load_explicit(&latch->version, memory_order_acquire);
}

/** One writer at a time. */
static inline void latch_store(struct latch *latch, _Atomic uint64_t *words,
			       const void *value, size_t size)
{
	uint32_t version =
		atomic_load_explicit(&latch->version, memory_order_relaxed) + 1;
	size_t count = (size + 7) / 8;
	uint64_t copy[LATCH_MOST] = {0};

	memcpy(copy, value, size);
	words += (version & 1) * count;
	/* Release keeps these behind the turn to the other copy before. */
	for (size_t i = 0; i < count; i++)
		atomic_store_explicit(&words[i], copy[i], memory_order_release);
	atomic_store_explicit(&latch->version, version, memory_order_release);
}

/** @return the version read; zeros if nothing was ever written */
static inline uint32_t latch_load(const struct latch *latch,
				  const _Atomic uint64_t *words, void *ret,
				  size_t size)
{
	size_t count = (size + 7) / 8;
	uint64_t copy[LATCH_MOST] = {0};
	uint32_t version;

	do {
		const _Atomic uint64_t *from;

		version = latch_version(latch);
		from = words + (version & 1) * count;
		for (size_t i = 0; i < count; i++)
			copy[i] = atomic_load_explicit(&from[i],
						       memory_order_acquire);
	} while (atomic_load_explicit(&latch->version, memory_order_relaxed) !=
		 version);
	memcpy(ret, copy, size);
	return version;
}
