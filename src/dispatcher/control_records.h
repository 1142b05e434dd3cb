#pragma once
/**
 * @file dispatcher/control_records.h  What people and programs may ask about
 * the records: the history, the state of accounting, what backends refused
 *
 * Each takes a request of the API and answers it later, from the disk, at the
 * latest when the store is freed; by then nothing else of the dispatcher is
 * needed.
 */
#include "accounting/accounting.h"
#include "management/request.h"

/** Parameters: call_id, before, limit. */
void control_show_history(struct accounting *accounting,
			  struct management_request *request);

/** Parameters: backend, before, limit. */
void control_show_set_aside(struct accounting *accounting,
			    struct management_request *request);

void control_show_accounting(struct accounting *accounting,
			     struct management_request *request);

/** Body: {"backend": ..., "record_id": ...}, both as wanted, or nothing. */
void control_retry(struct accounting *accounting,
		   struct management_request *request);
