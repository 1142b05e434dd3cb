#pragma once
/**
 * @file dispatcher/record.h  The door of accounting
 *
 * Every final record of a session passes here once: the reply to `remove` and
 * `expired`. Backends come behind this door.
 */
#include "base/addr.h"
#include "base/span.h"

/**
 * Take a final record.
 *
 * @param relay  where it comes from
 * @param json   the session's statistics; not parsed yet
 */
void record_finished(const struct ip_addr *relay, struct span json);
