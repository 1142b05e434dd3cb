#pragma once
/**
 * @file accounting/accounting.h  Final records: onto the disk at once, and from
 * there to every backend
 *
 * A record is taken when it is on disk: only then is a `remove` answered, or a
 * relay told to forget it. Each backend of `accounting = ...` has a thread of
 * its own that delivers from there. Delivered records stay for a while, as the
 * history. Control thread only.
 */
#include "accounting/backend.h"
#include "base/addr.h"
#include "base/json.h"
#include "net/loop.h"
#include "store/store.h"

struct accounting;

/**
 * Make the tables and the backends. Before store_start().
 *
 * @param store_path  of the store; backends' threads read it by themselves
 * @param config      lives as long as the accounting
 * @param ret_why     On failure one line for people
 * @return 0, -EINVAL (a backend cannot be what the configuration says),
 *         -EBADMSG (the store's file is damaged), or negative errno
 */
int accounting_new(struct accounting **ret, struct loop *loop,
		   struct store *store, const char *store_path,
		   const struct backend_config *config, struct buf *ret_why);

/** Check the backends of a configuration without a store. @return 0 or
 * -EINVAL */
int accounting_check(const struct backend_config *config, struct buf *ret_why);

/** Begin to deliver; after store_start(). @return 0 or negative errno */
int accounting_start(struct accounting *accounting);

#define ACCOUNTING_ID_SIZE 65 /* of a record_id, with its NUL */

/** An id for a record that the dispatcher makes itself. */
void accounting_make_id(struct accounting *accounting,
			char to[static ACCOUNTING_ID_SIZE]);

/** The record is on disk (0), or is not and has gone to the log. */
typedef void accounting_taken_h(int err, const char *record_id, void *arg);

/**
 * Take a final record. What is handed to the store in the same turn of the loop
 * is committed with it.
 *
 * @param relay  Where it comes from
 * @param json   The statistics; a record_id is given to one that has none
 * @param taken  Called once, later, unless this fails
 * @return 0, -EBADMSG (it is no record), or -ENOMEM; it is in the log then
 */
int accounting_take(struct accounting *accounting, const struct ip_addr *relay,
		    struct span json, accounting_taken_h *taken, void *arg);

/** Can nothing be written at present? */
bool accounting_is_failing(const struct accounting *accounting);

/** Does a backend want to hear of calls that are up? */
bool accounting_wants_interims(const struct accounting *accounting);
/** The statistics of a call that is up. */
void accounting_interim(struct accounting *accounting, struct span json);

/** For the summary: the member "accounting". */
void accounting_write(struct accounting *accounting, struct json_writer *w);

/** What to show. Texts are copied. */
struct accounting_query {
	struct span call_id; /* empty: every call */
	bool aside;          /* only what backends have set aside */
	struct span backend; /* of those, for this one; empty: any */
	int64_t before;      /* older than this place; 0: from the newest */
	int64_t max;         /* records */
	size_t max_bytes;    /* enough when they have so many; 0: any number */
};

/** One row as a JSON object; for this call only. The last call has NULL:
 * err says whether all rows were there, and why, one line, if they were not. */
typedef void accounting_row_h(const struct span *row, int err, const char *why,
			      void *arg);

/** @return 0 or -ENOMEM; else the handler is called later, and at last with
 * NULL */
int accounting_show(struct accounting *accounting,
		    const struct accounting_query *query, accounting_row_h *row,
		    void *arg);

/**
 * One row, {"accounting": {...}}: what accounting_write() writes, and "aside"
 * of each backend, how many records are set aside for it now. That is on the
 * disk; without the disk it is left out.
 *
 * @return 0 or -ENOMEM, as accounting_show()
 */
int accounting_show_status(struct accounting *accounting, accounting_row_h *row,
			   void *arg);

/** Is a backend of this name configured? */
bool accounting_has_backend(const struct accounting *accounting,
			    struct span name);
/** The names of those that are, ", " between. */
void accounting_write_names(const struct accounting *accounting,
			    struct buf *out);

/** What was marked is on disk (0), or why it is not. */
typedef void accounting_retried_h(int err, int64_t count, void *arg);
/** Have what was set aside for configured backends tried again. backend,
 * record_id: empty for all. @return 0 or -ENOMEM; else the handler is called */
int accounting_retry(struct accounting *accounting, struct span backend,
		     struct span record_id, accounting_retried_h *retried,
		     void *arg);

/** End the backends' threads, waiting for grace_us at most. Before
 * store_free(), which still calls handlers from here. */
void accounting_stop(struct accounting *accounting, uint64_t grace_us);
struct accounting *accounting_free(struct accounting *accounting);
