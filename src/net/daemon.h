#pragma once
/**
 * @file net/daemon.h  How both daemons start: options, config.ini, log,
 * background
 *
 * The options are those of MediaProxy 4, and --check. A start that fails says
 * why in one line and exits 1, also to the terminal of whoever started it in
 * the background.
 */
#include <stdbool.h>

#include "conf/conf.h"
#include "net/tls.h"

struct daemon {
	const char *name; /* "media-relay" */
	enum conf_daemon kind;
	bool foreground, systemd, debug, check;
	char config_dir[CONF_MAX_TEXT], runtime_dir[CONF_MAX_TEXT];
	char config_file[CONF_MAX_TEXT + 16];
	struct conf *conf;
};

/**
 * Read the command line and config.ini, set up the log.
 *
 * @param ret_exit  On false: the status to exit with at once (--version,
 * --help, or a mistake, which was printed)
 * @return whether to go on; daemon->check says that only checks are wanted
 */
bool daemon_prepare(struct daemon *daemon, int argc, char **argv,
		    int *ret_exit);

/** Free what prepare made, and remove the pid file. */
void daemon_done(struct daemon *daemon);

/**
 * Load certificates for links: "relay" or "dispatcher".
 *
 * @return 0, or -EINVAL after logging why
 */
int daemon_load_tls(const struct daemon *daemon,
		    const struct passport *passport, struct tls_context **ret);

/**
 * Go to the background unless told otherwise; runtime folder, pid file.
 *
 * @return 0, or negative errno after logging why (a second start is -EEXIST)
 */
int daemon_start(struct daemon *daemon);

/**
 * The start is over: log the status as a line `NAME VERSION ready: ...`, tell
 * whoever waits, and from now on log to syslog when in the background.
 */
void daemon_ready(const struct daemon *daemon, const char *status);

/** Switch debug logging on, or back to log_level. For SIGUSR1, by
 * loop_on_signal(); arg: the daemon. */
void daemon_toggle_debug(int signal_number, void *arg);

/** Write CONFIG_DIR/NAME into a path; an absolute name stays as it is. */
void daemon_config_path(const struct daemon *daemon, const char *name,
			char path[static CONF_MAX_TEXT * 2]);

/** Write RUNTIME_DIR/NAME into a path; an absolute name stays as it is. */
void daemon_runtime_path(const struct daemon *daemon, const char *name,
			 char path[static CONF_MAX_TEXT * 2]);
