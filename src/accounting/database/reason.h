#pragma once
/**
 * @file accounting/database/reason.h  What a driver says, as people may read it
 *
 * One line, and without the password.
 */
#include "base/buf.h"

/** Add a message; every occurrence of the password becomes ***. */
void reason_add(struct buf *out, struct span message, const char *password);
