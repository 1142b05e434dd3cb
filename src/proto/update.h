#pragma once
/**
 * @file proto/update.h  What `update` and `remove` say, with types
 *
 * Decoded and checked once, by dispatcher and relay alike. Spans point into the
 * command. No I/O; the only allocation is jansson's, for a JSON signaling_ip.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"
#include "proto/command.h"

#define UPDATE_MAX_STREAMS 64
#define UPDATE_MAX_USERNAME 256

/** a= direction of an m= line (RFC 4566), as its sender sees it. */
enum direction {
	DIRECTION_SENDRECV,
	DIRECTION_SENDONLY,
	DIRECTION_RECVONLY,
	DIRECTION_INACTIVE
};

/** One stream of the `media` header: type:ip:port:direction:key=value... */
struct media_line {
	struct span type;
	struct endpoint sdp; /* port 0: disabled; 0.0.0.0 or ::: hold */
	enum direction direction;
	bool ice;
};

struct update {
	bool is_reply;
	uint32_t cseq;
	struct span call_id, from_tag, to_tag; /* to_tag may be empty */
	struct span from_uri, to_uri, user_agent, dialog_id;
	struct span media_relay;     /* empty: no preference */
	struct ip_addr signaling_ip; /* of who sent the message; may be unset */
	struct ip_addr destination_ip; /* of the other side; may be unset */
	char username[UPDATE_MAX_USERNAME]; /* from the JSON form, cut; "": none
					     */
	bool has_media;                     /* was there a media header? */
	size_t stream_count;
	struct media_line streams[UPDATE_MAX_STREAMS];
};

/**
 * Decode the headers of an update.
 *
 * @param ret_why  On error: the reason for the log, static text
 * @return 0 or -EBADMSG
 */
int update_decode(const struct command *command, struct update *ret,
		  const char **ret_why);

/**
 * Decode a `media` header. An IPv6 address may hold colons: the type is read
 * from the front; port, direction and parameters from the back.
 *
 * @return 0 or -EBADMSG
 */
int media_lines_decode(struct span value,
		       struct media_line ret[UPDATE_MAX_STREAMS],
		       size_t *ret_count);

struct removal {
	struct span call_id, from_tag, to_tag;
};

/** Decode the headers of a remove. @return 0 or -EBADMSG */
int removal_decode(const struct command *command, struct removal *ret,
		   const char **ret_why);
