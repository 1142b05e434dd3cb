#include "media/ice_message.h"

#include <errno.h>
#include <string.h>

/* No agent sends half as many. */
#define ATTRIBUTES_MOST 48

#define SHA1_LEN 20
#define SHA256_LEN_LEAST 16
#define SHA256_LEN_MOST 32
#define ROLE_CONFLICT 487

uint32_t ice_hash(struct span bytes)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < bytes.len; i++)
		hash = (hash ^ (uint8_t)bytes.ptr[i]) * 16777619u;
	return hash;
}

/* USERNAME is "theirs:mine", so the two directions of one generation differ in
 * the order of the ufrags alone. */
static uint32_t generation_of(struct span username)
{
	struct span left;

	if (!span_cut(&username, ':', &left))
		return ice_hash(username);
	return ice_hash(left) + ice_hash(username);
}

static bool is_role_conflict(struct span value)
{
	const uint8_t *p = (const uint8_t *)value.ptr;

	return value.len >= 4 && p[2] * 100 + p[3] == ROLE_CONFLICT;
}

static void read_attribute(struct ice_message *m,
			   const struct stun_attribute *a)
{
	switch (a->type) {
	case STUN_ATTRIBUTE_USERNAME:
		m->generation = generation_of(a->value);
		break;
	case STUN_ATTRIBUTE_ERROR_CODE:
		m->role_conflict = is_role_conflict(a->value);
		break;
	case STUN_ATTRIBUTE_MESSAGE_INTEGRITY:
		m->integrity = m->integrity || a->value.len == SHA1_LEN;
		break;
	case STUN_ATTRIBUTE_MESSAGE_INTEGRITY_SHA256:
		m->integrity =
			m->integrity || (a->value.len >= SHA256_LEN_LEAST &&
					 a->value.len <= SHA256_LEN_MOST &&
					 a->value.len % 4 == 0);
		break;
	default:
		break;
	}
}

int ice_message_read(struct ice_message *ret, const void *data, size_t len)
{
	struct ice_message m = {0};
	struct stun_message stun;
	struct stun_attribute a;

	if (stun_decode(&stun, data, len) < 0 ||
	    stun.method != STUN_METHOD_BINDING)
		return -EBADMSG;
	m.class = stun.class;
	memcpy(m.id, stun.transaction_id, sizeof(m.id));
	for (unsigned i = 0; stun_next_attribute(&stun.attributes, &a); i++) {
		if (i == ATTRIBUTES_MOST)
			return -EBADMSG;
		read_attribute(&m, &a);
	}
	if (cursor_failed(&stun.attributes))
		return -EBADMSG;
	*ret = m;
	return 0;
}
