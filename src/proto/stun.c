#include "proto/stun.h"

#include <errno.h>

int stun_decode(struct stun_message *ret, const void *data, size_t len)
{
	struct cursor in = cursor_over(data, len);
	struct stun_message m = {0};
	uint16_t type = cursor_be16(&in);
	uint16_t body_len = cursor_be16(&in);
	uint32_t cookie = cursor_be32(&in);

	m.transaction_id = cursor_bytes(&in, STUN_TRANSACTION_ID_LEN);
	if (cursor_failed(&in) || type >> 14 != 0 ||
	    cookie != STUN_MAGIC_COOKIE || body_len % 4 != 0 ||
	    body_len != cursor_left(&in))
		return -EBADMSG;

	/* The two bits of the class lie between those of the method. */
	m.class = (enum stun_class)((type >> 7 & 2) | (type >> 4 & 1));
	m.method = (uint16_t)((type & 0x000f) | (type >> 1 & 0x0070) |
			      (type >> 2 & 0x0f80));
	m.attributes = in;
	*ret = m;
	return 0;
}

bool stun_next_attribute(struct cursor *attributes, struct stun_attribute *ret)
{
	struct stun_attribute a;
	const uint8_t *value;
	uint16_t len;

	if (cursor_left(attributes) == 0)
		return false;
	a.type = cursor_be16(attributes);
	len = cursor_be16(attributes);
	value = cursor_bytes(attributes, len);
	cursor_skip(attributes, -len & 3u);
	if (cursor_failed(attributes))
		return false;

	a.value = span_make(value, len);
	*ret = a;
	return true;
}

bool stun_has_attribute(const struct stun_message *message, uint16_t type)
{
	struct cursor attributes = message->attributes;
	struct stun_attribute a;

	while (stun_next_attribute(&attributes, &a)) {
		if (a.type == type)
			return true;
	}
	return false;
}
