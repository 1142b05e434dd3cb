#pragma once
/**
 * @file accounting/radius_attributes.h  What an Accounting-Request says about a
 * record
 *
 * From the JSON of a session to a list of attributes, in the order of
 * docs/protocols.md, section 6. Nothing is read, sent or looked up here: which
 * number an attribute has on the wire is the dictionary's word
 * (accounting/radius_config.h).
 */
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

#define RADIUS_MAX_VALUE 253

enum radius_name {
	RADIUS_USER_NAME,
	RADIUS_NAS_IP_ADDRESS,
	RADIUS_ACCT_STATUS_TYPE,
	RADIUS_ACCT_DELAY_TIME,
	RADIUS_ACCT_INPUT_OCTETS,
	RADIUS_ACCT_OUTPUT_OCTETS,
	RADIUS_ACCT_SESSION_ID,
	RADIUS_ACCT_SESSION_TIME,
	RADIUS_ACCT_INPUT_GIGAWORDS,
	RADIUS_ACCT_OUTPUT_GIGAWORDS,
	RADIUS_NAS_IPV6_ADDRESS,
	RADIUS_SIP_FROM_TAG,
	RADIUS_SIP_TO_TAG,
	RADIUS_MEDIA_CODECS,
	RADIUS_MEDIA_INFO,
	RADIUS_SIP_USER_AGENTS,
	RADIUS_SIP_APPLICATIONS,
	RADIUS_NAME_COUNT
};

struct radius_attribute {
	enum radius_name name;
	uint8_t len;
	uint8_t value[RADIUS_MAX_VALUE]; /* as on the wire; no NUL behind it */
};

struct radius_attributes {
	size_t count;
	struct radius_attribute items[RADIUS_NAME_COUNT];
};

/**
 * Read the JSON of a session, ended or not. What is missing, or of another type
 * than ours, is left out or counts as nothing: a relay of another version may
 * have written it.
 *
 * @return 0, -EBADMSG if it is no JSON object, or -ENOMEM
 */
int radius_attributes_of(struct radius_attributes *ret, struct span json);

/** The length of the longest beginning of text that has at most max bytes and
 * does not end inside a character of UTF-8. */
size_t radius_cut(struct span text, size_t max);
