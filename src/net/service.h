#pragma once
/**
 * @file net/service.h  Being a daemon: background, pid file, runtime folder, systemd, limits
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/** Make the runtime folder (0755) if it is not there. @return 0 or negative errno */
int service_make_runtime_dir(const char *path);

/**
 * Go to the background: fork, setsid, null descriptors. The parent waits until
 * service_ready() or the child's end, and exits 0 or 1 accordingly.
 */
int service_daemonize(void);

/** Write and lock RUNTIME_DIR/NAME.pid. @return 0, -EEXIST if another one runs
 * (its pid in ret_pid), or negative errno */
int service_pid_file(const char *runtime_dir, const char *name, pid_t *ret_pid);
void service_remove_pid_file(void);

/** Tell the parent of service_daemonize() and systemd that we are up. */
void service_ready(const char *status);
/** Tell systemd that we are going down. */
void service_stopping(void);

/** Raise RLIMIT_NOFILE as far as it may. @return what it is now */
uint64_t service_raise_open_files(uint64_t wanted);

/** Look up a group. @return its id or (gid_t)-1 */
gid_t service_group(const char *name);
