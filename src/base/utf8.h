#pragma once
/** @file base/utf8.h  UTF-8, strictly (RFC 3629) */
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/**
 * Decode one character.
 *
 * @return its length in bytes (1 to 4), or 0 if what stands there is no UTF-8:
 *         an overlong form, a surrogate, a value over U+10FFFF, a piece
 */
size_t utf8_decode(struct span s, uint32_t *ret_code);
