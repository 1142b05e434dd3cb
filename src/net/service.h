#pragma once
/**
 * @file net/service.h  Being a daemon: background, pid file, runtime folder,
 * systemd, limits
 *
 * A process is one service: what these functions remember (the pipe to the
 * waiting parent, the locked pid file) is the process's own. Call them from the
 * main thread.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"

/** Make the runtime folder (0755), and those above it, if it is not there.
 * @return 0 or negative errno (-ENOTDIR: something else has the name) */
int service_make_runtime_dir(const char *path);

/** Make the folder for what has to survive, and those above it, if it is not
 * there: 0750, since it has who called whom. @return the same */
int service_make_state_dir(const char *path);

/**
 * Go to the background: fork, setsid, null descriptors. The parent waits until
 * service_ready() or the child's end, and exits 0 or 1 accordingly; it never
 * returns.
 *
 * Standard error stays open until service_ready(), so that a failed start can
 * say why. The working folder stays too: relative paths keep their meaning.
 * Call it before threads and event loops are made.
 *
 * @return 0 in the child, or negative errno in the parent if it could not fork
 */
int service_daemonize(void);

/** Write and lock RUNTIME_DIR/NAME.pid; after service_daemonize(). @return 0,
 * -EEXIST if another one runs (its pid in ret_pid, 0 if it cannot be read), or
 * negative errno */
int service_pid_file(const char *runtime_dir, const char *name, pid_t *ret_pid);
void service_remove_pid_file(void);

/** Tell the parent of service_daemonize() and systemd that we are up. */
void service_ready(const char *status);
/** Tell systemd that we are going down. */
void service_stopping(void);

/**
 * Raise RLIMIT_NOFILE: the soft limit up to the hard one, and the hard one too
 * where we may, up to fs.nr_open. It is never lowered.
 *
 * @param wanted  Enough for us; 0: as much as the hard limit gives
 * @return what the soft limit is now
 */
uint64_t service_raise_open_files(uint64_t wanted);

/** Look up a group. @return its id or (gid_t)-1 */
gid_t service_group(const char *name);

/**
 * The local address that the default route would use: IPv4 first, then IPv6.
 * Nothing is sent.
 *
 * @param ret  Unset if there is no default route
 * @return 0, or -ENETUNREACH if there is none
 */
int net_default_address(struct ip_addr *ret);
