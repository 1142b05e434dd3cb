#pragma once
/**
 * @file dispatcher/interims.h  Telling backends of the calls that are up
 *
 * Every interim_interval each relay is asked for its sessions, page by page,
 * and each that was answered is reported to the backends that want to hear of
 * it. A relay that is still answering the last time is not asked again. Nothing
 * is kept: the final record is what counts.
 */
#include "accounting/accounting.h"
#include "link/relay_peers.h"
#include "net/loop.h"

struct interims;

/**
 * @param interval_us  0: never
 * @param peers        freed, with all that is asked, before the interims
 * @return 0 or -ENOMEM
 */
int interims_new(struct interims **ret, struct loop *loop, uint64_t interval_us,
		 struct relay_peers *peers, struct accounting *accounting);
/** Ask no more; what is asked may still be answered. */
void interims_stop(struct interims *interims);
/** @return NULL */
struct interims *interims_free(struct interims *interims);
