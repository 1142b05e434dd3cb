#pragma once
/**
 * @file proto/stun.h  STUN messages (RFC 8489, sections 5 and 14)
 *
 * Enough to pass them on: is it STUN, of which class, method and transaction,
 * and a walk over the attributes. Integrity is checked by the agents at both
 * ends.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/span.h"

#define STUN_HEADER_LEN 20
#define STUN_TRANSACTION_ID_LEN 12
#define STUN_MAGIC_COOKIE 0x2112A442u

#define STUN_METHOD_BINDING 0x001

#define STUN_ATTRIBUTE_USERNAME 0x0006
#define STUN_ATTRIBUTE_MESSAGE_INTEGRITY 0x0008
#define STUN_ATTRIBUTE_ERROR_CODE 0x0009
#define STUN_ATTRIBUTE_MESSAGE_INTEGRITY_SHA256 0x001C
#define STUN_ATTRIBUTE_PRIORITY 0x0024
#define STUN_ATTRIBUTE_USE_CANDIDATE 0x0025
#define STUN_ATTRIBUTE_FINGERPRINT 0x8028
#define STUN_ATTRIBUTE_ICE_CONTROLLED 0x8029
#define STUN_ATTRIBUTE_ICE_CONTROLLING 0x802A

enum stun_class {
	STUN_REQUEST,
	STUN_INDICATION,
	STUN_SUCCESS_RESPONSE,
	STUN_ERROR_RESPONSE
};

struct stun_message {
	enum stun_class class;
	uint16_t method;
	const uint8_t *transaction_id; /* STUN_TRANSACTION_ID_LEN bytes */
	struct cursor attributes;
};

/**
 * Decode the header of a datagram that is one STUN message.
 *
 * Pointers stay in the datagram.
 *
 * @return 0, or -EBADMSG: the first two bits or the magic cookie say that it is
 * not STUN, or the length is no multiple of 4 or not the datagram's
 */
int stun_decode(struct stun_message *ret, const void *data, size_t len);

struct stun_attribute {
	uint16_t type;
	struct span value; /* without its padding */
};

/**
 * Take the next attribute.
 *
 * @param attributes  A copy of stun_message.attributes, moved on
 * @return false at the end, or when an attribute is longer than what is left
 *         (cursor_failed() tells the two apart)
 */
bool stun_next_attribute(struct cursor *attributes, struct stun_attribute *ret);

/** Is there an attribute of this type? */
bool stun_has_attribute(const struct stun_message *message, uint16_t type);
