#include "session/port_pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct idle_pair {
	uint64_t ready_us;
	uint16_t rtp;
};

/* The ring stays sorted by ready_us, since all pairs rest equally long and the
 * caller's clock never runs backwards. So only the head needs a look. */
struct port_pool {
	uint64_t rest_us;
	uint32_t head, count, size;
	struct idle_pair ring[];
};

int port_pool_new(struct port_pool **ret_pool, uint32_t first, uint32_t end,
		  uint64_t rest_us)
{
	struct port_pool *pool;
	uint32_t size;

	first += first % 2;
	if (end > 65536 || first >= end || end - first < 2)
		return -EINVAL;
	size = (end - first) / 2;
	pool = calloc(1, sizeof(*pool) + size * sizeof(pool->ring[0]));
	if (!pool)
		return -ENOMEM;

	pool->rest_us = rest_us;
	pool->size = size;
	for (uint32_t i = 0; i < size; i++)
		port_pool_put(pool, 0, (uint16_t)(first + 2 * i));
	/* What was never used needs no rest. */
	for (uint32_t i = 0; i < size; i++)
		pool->ring[i].ready_us = 0;
	*ret_pool = pool;
	return 0;
}

struct port_pool *port_pool_free(struct port_pool *pool)
{
	free(pool);
	return NULL;
}

int port_pool_take(struct port_pool *pool, uint64_t now_us, uint16_t *ret_rtp,
		   bool *ret_early)
{
	const struct idle_pair *oldest = &pool->ring[pool->head];

	if (pool->count == 0)
		return -EAGAIN;

	*ret_rtp = oldest->rtp;
	*ret_early = oldest->ready_us > now_us;
	pool->head = (pool->head + 1) % pool->size;
	pool->count--;
	return 0;
}

void port_pool_put(struct port_pool *pool, uint64_t now_us, uint16_t rtp)
{
	uint32_t tail = (pool->head + pool->count) % pool->size;

	assert(pool->count < pool->size);
	pool->ring[tail] = (struct idle_pair){now_us + pool->rest_us, rtp};
	pool->count++;
}

size_t port_pool_size(const struct port_pool *pool)
{
	return pool->size;
}

size_t port_pool_free_count(const struct port_pool *pool)
{
	return pool->count;
}
