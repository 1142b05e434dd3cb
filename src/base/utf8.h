#pragma once
/** @file base/utf8.h  UTF-8, strictly (RFC 3629) */
#include <stdbool.h>
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

bool utf8_is_valid(struct span s);

/**
 * Write a text as it comes back from JSON (base/json.h): a byte that is no
 * UTF-8 becomes the character of its number, two bytes long.
 *
 * @param ret  Room for twice the bytes
 * @return how many were written
 */
size_t utf8_repair(struct span s, char *ret);
