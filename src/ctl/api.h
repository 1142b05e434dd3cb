#pragma once
/**
 * @file ctl/api.h  Asking a daemon on this host over its control socket
 */
#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"

struct api_target {
	const char *socket;      /* NULL: look in the runtime folder */
	const char *runtime_dir; /* media-dispatcher.ctl first, then
				    media-relay.ctl */
	bool relay_only;         /* media-relay.ctl alone */
	bool dispatcher_only;    /* media-dispatcher.ctl alone */
};

/** An option that not every subcommand has. */
struct api_more_option {
	const char *name;
	const char **value; /* set to what is given with it; or NULL: */
	bool *flag;         /* it is given */
};
#define API_MAX_MORE_OPTIONS 8

/** What the subcommands have in common that show what a daemon says. */
struct api_options {
	struct api_target target;
	bool json;
	const struct api_more_option *more;
	size_t more_count;
};

/**
 * Read --socket, --runtime-dir, --json and --help, and what more there is;
 * optind is behind them.
 *
 * @return 0 to go on, or an exit status + 1
 */
int api_read_options(const char *command, const char *help, int argc,
		     char **argv, struct api_options *ret);

/**
 * GET a path and read the answer. What goes wrong is printed.
 *
 * @return CTL_OK or CTL_FAILED
 */
int api_get(const char *command, const struct api_target *target,
	    const char *path, json_t **ret);

/** The same for a PUT of some JSON, up to 1 KiB. */
int api_put(const char *command, const struct api_target *target,
	    const char *path, const json_t *body, json_t **ret);

/** Add a parameter to a path, with what it needs of escapes. */
void api_add_parameter(struct buf *path, const char *name, const char *value);

/** Print what a daemon said, as JSON or as text. @return CTL_OK or CTL_FAILED
 */
int api_print_json(const char *command, const json_t *value);
int api_print_text(const char *command, const struct buf *text);

/** A member as text: strings as they are, numbers and booleans written out,
 * else "". */
const char *api_text(const json_t *object, const char *key,
		     char text[static 64]);

/* How people read numbers. */
void api_format_duration(struct buf *out, double seconds); /* "1d 02:03:04" */
void api_format_rate(struct buf *out,
		     double bits_per_second); /* "78.4 kbit/s" */
