#pragma once
/**
 * @file link/link.h  What both ends of a link between dispatcher and relay
 * share
 *
 * The relay dials out; the dispatcher commands, the relay replies by sequence
 * number. What is new between ours is negotiated: the relay's first line is
 * `ping {json}` with its name, version and features; the dispatcher's
 * `sessions` has a header `features`. Who announces nothing gets the
 * original's protocol and nothing else. Pure.
 */
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

#define LINK_DEFAULT_PORT 25060
#define LINK_MAX_RELAY_LINE (4u << 20) /* what a relay writes */
#define LINK_MAX_DISPATCHER_LINE 16384 /* what a dispatcher writes */

/** What one side can do beyond the original's protocol; bits of a set. */
enum link_feature {
	/** `sessions` may be asked with the header `scope: own`: only the
	 * sessions that came from this dispatcher. */
	LINK_FEATURE_SCOPE = 1 << 0,
	/** The objects of `sessions` have the key "dialog_id". */
	LINK_FEATURE_DIALOG_ID = 1 << 1,
	/** `sessions` with the header `page: CURSOR` (0: from the beginning) is
	 * answered by {"sessions": [...], "next": CURSOR}, 0 at the end. */
	LINK_FEATURE_PAGED = 1 << 2,
	/** Final records (the reply to `remove`, and `expired`) have a
	 * "record_id". The relay keeps each until the dispatcher says `ack ID`,
	 * and sends it again, as `expired`, on the next connection. When all
	 * that waited for a new connection has been written it says
	 * `caught-up`. */
	LINK_FEATURE_ACK = 1 << 3,
	/** `explain` with the header `call_id` is answered by an array of
	 * stories, as the relay's control channel has them. */
	LINK_FEATURE_EXPLAIN = 1 << 4
};

/** All that this version can do. */
#define LINK_FEATURES_OURS                                                     \
	((unsigned)LINK_FEATURE_SCOPE | (unsigned)LINK_FEATURE_DIALOG_ID |     \
	 (unsigned)LINK_FEATURE_PAGED | (unsigned)LINK_FEATURE_ACK |           \
	 (unsigned)LINK_FEATURE_EXPLAIN)

/** Write a set as words with a space between: the value of `features`. */
void link_features_encode(struct buf *out, unsigned features);

/** Read words with spaces or commas between; unknown words are skipped. */
unsigned link_features_decode(struct span text);

/** What a relay says of itself in its first line. */
struct link_hello {
	char name[64];    /* "media-relay" */
	char version[64]; /* "5.0.0-dev" */
	unsigned features;
};

/** Write the JSON object behind `ping `: name, version, features (a list). */
void link_hello_encode(struct buf *out, const struct link_hello *hello);

/**
 * Read it. Unknown keys are skipped, long texts cut.
 *
 * @return 0, or -EBADMSG if it is not a JSON object
 */
int link_hello_decode(struct span json, struct link_hello *ret);
