#pragma once
/**
 * @file dispatcher/directory_disk.h  The directory on disk: a dispatcher that
 * was restarted knows its calls before their relays tell
 *
 * Each change of a session is handed to the store, which nobody waits for: what
 * was lost with a crash is told by the relay, when its link is up again. A
 * session that is dropped in the turn in which its record comes goes from the
 * disk together with the record's coming, so that it is accounted once.
 */
#include "dispatcher/directory.h"
#include "store/store.h"

struct directory_disk;

/**
 * Load what is there, and follow the directory's changes from now on. Before
 * store_start().
 *
 * @param directory  freed before the store
 * @param now_us     monotonic, as the directory's times are
 * @return 0, -EBADMSG (the file is damaged), or negative errno, with a line for
 *         people in ret_why
 */
int directory_disk_open(struct directory_disk **ret, struct store *store,
			struct directory *directory, uint64_t now_us,
			struct buf *ret_why);
/** After store_free(), whose last handlers are ours. @return NULL */
struct directory_disk *directory_disk_free(struct directory_disk *disk);

/** How many sessions could not be read. */
size_t directory_disk_unreadable(const struct directory_disk *disk);
