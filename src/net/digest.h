#pragma once
/**
 * @file net/digest.h  MD5, for the one protocol here that demands it (RADIUS,
 * RFC 2865 and 2866). Nothing of ours is to rest on it.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define DIGEST_MD5_SIZE 16

/**
 * The MD5 of some pieces in a row.
 *
 * @return 0, -ENOMEM, or -ENOTSUP where OpenSSL gives none (FIPS)
 */
int digest_md5(const struct span *pieces, size_t count,
	       uint8_t ret[static DIGEST_MD5_SIZE]);
