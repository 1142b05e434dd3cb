#pragma once
/**
 * @file tests/unit/accounting/scene.h  A store in a folder of its own, and
 * records to put into it
 */
#include <stdbool.h>

#include "accounting/accounting.h"
#include "accounting/spool.h"
#include "store/store.h"

#define SCENE_MAX_WAITING 100 /* jobs of the store */

struct scene {
	struct loop *loop;
	struct store *store;
	struct timer *limit, *look;
	bool (*fact)(void *arg);
	void *fact_arg;
	char folder[64], path[96];
};

/** Open the store in a new folder, on the disk of ../store/disk.h. */
void scene_init(struct scene *scene);
/** Begin to work. */
void scene_start(struct scene *scene);
/** Close the store, and open it again as after a restart. */
void scene_restart(struct scene *scene);
void scene_done(struct scene *scene);

/** Run the loop until it is so; the test fails after 20 s. */
void scene_until(struct scene *scene, bool (*fact)(void *arg), void *arg);
/** Run it for a while. */
void scene_run(struct scene *scene, uint64_t us);

/** The JSON of a record with this call-id and record_id. */
const char *record_json(char *to, size_t size, const char *call_id,
			const char *record_id);
/** A record without further texts, for spool_add(). */
struct record record_make(const char *call_id, const char *record_id,
			  const char *json);
/** Put records c1, c2, ... with ids r1, r2, ... into the spool, by the store's
 * connection, before scene_start(). */
void scene_fill(struct scene *scene, int first, int last);
