#pragma once
/**
 * @file ctl/pages.h  Rows that a dispatcher gives page by page, newest first
 *
 * Each page stands before the last "seq" of the one before it, so nothing is
 * missed or doubled while records come and go.
 */
#include <stdint.h>

#include "ctl/api.h"

struct pages {
	const char *command;
	const struct api_target *target;
	const char *path;
	const char *name, *value; /* a parameter; value NULL: none */
	uint64_t before;          /* 0: from the newest */
	uint64_t left;            /* records that are still wanted */
};

/** @return CTL_OK and an array, an empty one at the end; or CTL_FAILED */
int pages_next(struct pages *pages, json_t **ret);

/** All that is wanted, in one array. */
int pages_all(struct pages *pages, json_t **ret);
