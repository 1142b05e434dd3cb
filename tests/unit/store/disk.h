#pragma once
/**
 * @file tests/unit/store/disk.h  A disk under SQLite that a test can fill, stop
 * and pull the plug of
 *
 * A VFS over the default one. It keeps what was synced apart from what was only
 * written: after a power failure nothing else is there. Files are small in
 * tests, so a sync simply takes a copy.
 */
#include <stdbool.h>
#include <stddef.h>

/** Put it under every file that is opened from now on. */
void disk_install(void);
void disk_uninstall(void);

/** Writes fail as on a full disk. */
void disk_set_full(bool is_full);
/** A sync does not come back until this is taken back. */
void disk_set_stalled(bool is_stalled);
/** How many syncs there were. */
size_t disk_syncs(void);

/** What is on disk after a power failure, written to other files: for a file
 * PATH and its log. Nothing for what was never synced. */
void disk_write_durable(const char *path, const char *to);
