#pragma once
/**
 * @file dispatcher/records.h  The door of accounting
 *
 * Every final record of a session passes here: the reply to `remove`,
 * `expired`, and what is known of a session that its relay has lost. When it is
 * on disk, a relay of ours is told that it may forget it.
 */
#include "accounting/accounting.h"
#include "base/addr.h"
#include "base/span.h"
#include "link/relay_peers.h"

struct records {
	struct accounting *accounting;
	struct relay_peers *peers; /* NULL: nobody can be told */
};

/** A record is on disk (0), or is not: err, and it is in the log. */
typedef void records_taken_h(int err, void *arg);

/**
 * Take a final record.
 *
 * @param relay  where it comes from
 * @param json   the session's statistics
 * @param taken  called later, once; NULL: nobody waits
 * @return 0 or negative errno: the handler will not be called
 */
int records_take(struct records *records, const struct ip_addr *relay,
		 struct span json, records_taken_h *taken, void *arg);

/** Take a record that the dispatcher has made itself, of a session of this
 * relay, which is told nothing of it. @return 0 or negative errno */
int records_take_own(struct records *records, const struct ip_addr *relay,
		     struct span json);

/** A record that is not to be accounted: only tell its relay to forget it. */
void records_drop(struct records *records, const struct ip_addr *relay,
		  struct span record_id);
