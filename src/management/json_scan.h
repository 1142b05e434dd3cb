#pragma once
/**
 * @file management/json_scan.h  Finding where JSON values end (RFC 8259)
 *
 * Strict, in one pass, without allocation: for long texts of others that are
 * passed on as they are. Pure.
 */
#include <errno.h>

#include "base/span.h"

#define JSON_SCAN_MAX_DEPTH 16

/**
 * Cut one value off the front, with the blanks before it.
 *
 * @param rest       In: the text; out: what follows the value
 * @param ret_value  The value alone
 * @return 0, or -EBADMSG (nothing is changed)
 */
int json_scan_value(struct span *rest, struct span *ret_value);

/** Without blanks (space, tab, CR, LF) at the front. */
struct span json_scan_blanks(struct span text);
