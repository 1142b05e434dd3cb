#pragma once
/**
 * @file ctl/api.h  Asking a daemon on this host over its control socket
 */
#include <jansson.h>

#include "base/buf.h"

struct api_target {
	const char *socket;      /* NULL: look in the runtime folder */
	const char *runtime_dir; /* media-dispatcher.ctl first, then
				    media-relay.ctl */
};

/**
 * GET a path and read the answer. What goes wrong is printed.
 *
 * @return CTL_OK or CTL_FAILED
 */
int api_get(const char *command, const struct api_target *target,
	    const char *path, json_t **ret);

/** A member as text: strings as they are, numbers and booleans written out,
 * else "". */
const char *api_text(const json_t *object, const char *key,
		     char text[static 64]);

/* How people read numbers. */
void api_format_duration(struct buf *out, double seconds); /* "1d 02:03:04" */
void api_format_rate(struct buf *out,
		     double bits_per_second); /* "78.4 kbit/s" */
