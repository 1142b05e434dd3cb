/** @file tests/fuzz/fuzz_stun.c  A STUN message and its attributes */
#include <stdlib.h>

#include "proto/stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* RFC 8489, figure 3. */
static unsigned type_of(const struct stun_message *m)
{
	unsigned class = (unsigned)m->class;
	unsigned method = m->method;

	return (method & 0x00f) | (class & 1) << 4 | (method & 0x070) << 1 |
	       (class & 2) << 7 | (method & 0xf80) << 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stun_message message;
	struct stun_attribute attribute;
	struct cursor at;
	size_t bytes = 0;

	if (stun_decode(&message, data, size) < 0)
		return 0;
	if (type_of(&message) != (unsigned)(data[0] << 8 | data[1]))
		abort();
	if (message.transaction_id != data + 8 ||
	    message.attributes.left != size - STUN_HEADER_LEN)
		abort();
	at = message.attributes;
	while (stun_next_attribute(&at, &attribute)) {
		const uint8_t *value = (const uint8_t *)attribute.value.ptr;

		if (value < data + STUN_HEADER_LEN + 4 ||
		    value + attribute.value.len > data + size)
			abort();
		if (!stun_has_attribute(&message, attribute.type))
			abort();
		bytes += 4 + (attribute.value.len + 3) / 4 * 4;
	}
	if (!cursor_failed(&at) && bytes != size - STUN_HEADER_LEN)
		abort();
	return 0;
}
