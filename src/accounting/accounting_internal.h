#pragma once
/**
 * @file accounting/accounting_internal.h  What accounting.c and show.c share
 *
 * accounting.c takes records and has the backends; show.c is what people see of
 * them.
 */
#include "accounting/accounting.h"
#include "accounting/backends.h"
#include "accounting/delivery.h"
#include "accounting/spool.h"
#include "base/clock.h"
#include "base/log.h"

#define ACCOUNTING_MAX_BACKENDS 8

struct accounting_backend {
	const struct backend *backend;
	void *state; /* NULL: the thread has it */
	int64_t cursor;
	struct delivery_thread *thread;
};

struct accounting {
	struct store *store;
	const char *store_path;
	const struct backend_config *config;
	struct timer *prune_timer; /* NULL: stopping */
	size_t backend_count;
	struct accounting_backend backends[ACCOUNTING_MAX_BACKENDS];
	uint64_t id_base, last_id; /* for records without an id */
	int64_t last_seq;
	struct log_limit unreadable_limit;
	int64_t pruned_to; /* where pruning goes on; 0: from the oldest */
	struct {
		uint64_t stored, repeated, unreadable, lost, forgotten;
	} counts;
};
