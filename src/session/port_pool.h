#pragma once
/**
 * @file session/port_pool.h  UDP port pairs for media streams
 *
 * A pair is an even port for RTP and the next one for RTCP (RFC 3550, section
 * 11). A returned pair rests for a while, so that late packets of an old call
 * cannot leak into a new one. Opens no sockets. One pool per loop; no locking.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct port_pool;

/**
 * Create a pool of the pairs inside [first, end).
 *
 * @param ret_pool  Set on success; the caller owns the pool
 * @param end       One past the last port that may be used; up to 65536
 * @param rest_us   How long a returned pair rests, in microseconds
 * @return 0, -EINVAL if the range holds no pair, or -ENOMEM
 */
int port_pool_new(struct port_pool **ret_pool, uint32_t first, uint32_t end,
		  uint64_t rest_us);

/** Free a pool; NULL is fine. @return always NULL */
struct port_pool *port_pool_free(struct port_pool *pool);

/**
 * Take the pair that rested longest.
 *
 * @param ret_early  Set to whether it had not rested long enough
 * @return 0, or -EAGAIN if no pair is free
 */
int port_pool_take(struct port_pool *pool, uint64_t now_us, uint16_t *ret_rtp,
		   bool *ret_early);

/** Give back a pair handed out by port_pool_take(). */
void port_pool_put(struct port_pool *pool, uint64_t now_us, uint16_t rtp);

/** How many pairs there are, and how many of them are free, rested or not. */
size_t port_pool_size(const struct port_pool *pool);
size_t port_pool_free_count(const struct port_pool *pool);
