#include "accounting/radius_packet.h"

#include <string.h>

#include "net/digest.h"

#define CODE_ACCOUNTING_REQUEST 4
#define CODE_ACCOUNTING_RESPONSE 5
#define TYPE_VENDOR_SPECIFIC 26
#define VENDOR_OVERHEAD 6 /* the vendor, and type and length inside */
#define AUTHENTICATOR_AT 4

/* So put() needs no test for room: eight attributes are texts, all others
 * numbers and addresses of at most 16 bytes. */
_Static_assert(RADIUS_HEADER_SIZE + 8 * 255 + (RADIUS_NAME_COUNT - 8) * 24 <=
		       RADIUS_MAX_PACKET,
	       "an Accounting-Request may be too long");

static void put_u8(struct radius_request *out, size_t value)
{
	out->bytes[out->len++] = (uint8_t)value;
}

static void put(struct radius_request *out,
		const struct radius_attribute *attribute,
		struct radius_code code)
{
	size_t len = attribute->len;

	if (code.vendor)
		len = radius_cut(span_make(attribute->value, len),
				 RADIUS_MAX_VALUE - VENDOR_OVERHEAD);
	if (code.vendor) {
		put_u8(out, TYPE_VENDOR_SPECIFIC);
		put_u8(out, 2 + VENDOR_OVERHEAD + len);
		for (int shift = 24; shift >= 0; shift -= 8)
			put_u8(out, code.vendor >> shift);
	}
	put_u8(out, code.type);
	put_u8(out, 2 + len);
	memcpy(out->bytes + out->len, attribute->value, len);
	out->len += len;
}

int radius_request_encode(struct radius_request *ret,
			  const struct radius_attributes *attributes,
			  const struct radius_code *codes, uint8_t id,
			  struct span secret)
{
	uint8_t *bytes = ret->bytes;

	/* The authenticator is the digest of a packet that has zeros in its
	 * place. */
	memset(bytes, 0, RADIUS_HEADER_SIZE);
	ret->len = RADIUS_HEADER_SIZE;
	for (size_t i = 0; i < attributes->count; i++)
		put(ret, &attributes->items[i],
		    codes[attributes->items[i].name]);
	bytes[0] = CODE_ACCOUNTING_REQUEST;
	bytes[1] = id;
	bytes[2] = (uint8_t)(ret->len >> 8);
	bytes[3] = (uint8_t)ret->len;
	return digest_md5(
		(const struct span[]){span_make(bytes, ret->len), secret}, 2,
		bytes + AUTHENTICATOR_AT);
}

static bool is_genuine(const struct radius_request *request,
		       struct span response, struct span secret)
{
	uint8_t expected[DIGEST_MD5_SIZE];
	const struct span pieces[] = {
		span_make(response.ptr, AUTHENTICATOR_AT),
		span_make(request->bytes + AUTHENTICATOR_AT, DIGEST_MD5_SIZE),
		span_make(response.ptr + RADIUS_HEADER_SIZE,
			  response.len - RADIUS_HEADER_SIZE),
		secret,
	};

	return digest_md5(pieces, 4, expected) == 0 &&
	       memcmp(expected, response.ptr + AUTHENTICATOR_AT,
		      sizeof(expected)) == 0;
}

enum radius_answer radius_response_judge(const struct radius_request *request,
					 struct span datagram,
					 struct span secret)
{
	const uint8_t *bytes = (const uint8_t *)datagram.ptr;
	size_t len;

	if (datagram.len < RADIUS_HEADER_SIZE)
		return RADIUS_ANSWER_STRAY;
	len = (size_t)bytes[2] << 8 | bytes[3];
	/* What follows the length that it says is padding. */
	if (len < RADIUS_HEADER_SIZE || len > datagram.len ||
	    bytes[1] != request->bytes[1])
		return RADIUS_ANSWER_STRAY;
	if (!is_genuine(request, span_make(bytes, len), secret))
		return RADIUS_ANSWER_FORGED;
	return bytes[0] == CODE_ACCOUNTING_RESPONSE ? RADIUS_ANSWER_TAKEN
						    : RADIUS_ANSWER_OTHER;
}
