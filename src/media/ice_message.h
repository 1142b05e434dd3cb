#pragma once
/**
 * @file media/ice_message.h  What ICE needs to know of a STUN message
 *
 * Pure; bounded work, whatever the attributes say.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "proto/stun.h"

/** What matters of a STUN message. */
struct ice_message {
	enum stun_class class;
	uint8_t id[STUN_TRANSACTION_ID_LEN];
	bool integrity; /* an attribute that claims it */
	bool role_conflict;
	uint32_t generation;
};

/**
 * Read a message.
 *
 * @return 0, or -EBADMSG: no message of the method Binding, an attribute that
 * is longer than what is left, or more attributes than any agent sends
 */
int ice_message_read(struct ice_message *ret, const void *data, size_t len);

/** FNV-1a, for what nobody gains from a collision. */
uint32_t ice_hash(struct span bytes);
