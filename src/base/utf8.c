#include "base/utf8.h"

size_t utf8_decode(struct span s, uint32_t *ret_code)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *b = (const uint8_t *)s.ptr;
	uint32_t code;
	size_t len;

	if (s.len == 0)
		return 0;
	if (b[0] < 0x80) {
		*ret_code = b[0];
		return 1;
	}
	len = b[0] >> 5 == 0x06 ? 2 : b[0] >> 4 == 0x0e ? 3 : 4;
	if (b[0] < 0xc0 || b[0] > 0xf4 || s.len < len)
		return 0;

	code = b[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (b[i] & 0x3fu);
	}
	if (code < smallest[len] || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000))
		return 0;
	*ret_code = code;
	return len;
}
