#include "proto/stun.h"

#include <errno.h>
#include <string.h>

#include "test.h"

/* The sample request of RFC 5769, section 2.1. */
static const uint8_t request[] = {
	0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01,
	0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10,
	0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20, 0x63, 0x6c,
	0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff,
	0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36,
	0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76,
	0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c,
	0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49,
	0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
};

static void test_the_sample_request_is_read(void **state)
{
	static const uint16_t types[] = {0x8022, 0x0024, 0x8029,
					 0x0006, 0x0008, 0x8028};
	struct stun_message m;
	struct stun_attribute a;
	struct cursor at;

	(void)state;
	assert_int_equal(stun_decode(&m, request, sizeof(request)), 0);
	assert_int_equal(m.class, STUN_REQUEST);
	assert_int_equal(m.method, STUN_METHOD_BINDING);
	assert_ptr_equal(m.transaction_id, request + 8);
	at = m.attributes;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_true(stun_next_attribute(&at, &a));
		assert_int_equal(a.type, types[i]);
		if (a.type == STUN_ATTRIBUTE_USERNAME)
			assert_true(span_equal(a.value, SPAN("evtj:h6vY")));
	}
	assert_false(stun_next_attribute(&at, &a));
	assert_false(cursor_failed(&at));
	assert_true(stun_has_attribute(&m, STUN_ATTRIBUTE_MESSAGE_INTEGRITY));
	assert_false(stun_has_attribute(&m, STUN_ATTRIBUTE_USE_CANDIDATE));
}

static void test_class_and_method_are_taken_apart(void **state)
{
	static const struct {
		uint8_t type[2];
		enum stun_class class;
		uint16_t method;
	} types[] = {
		{{0x00, 0x01}, STUN_REQUEST, 0x001},
		{{0x00, 0x11}, STUN_INDICATION, 0x001},
		{{0x01, 0x01}, STUN_SUCCESS_RESPONSE, 0x001},
		{{0x01, 0x11}, STUN_ERROR_RESPONSE, 0x001},
		{{0x00, 0x17}, STUN_INDICATION, 0x007}, /* TURN Data */
		{{0x3e, 0xef}, STUN_REQUEST, 0xfff},
	};
	uint8_t data[STUN_HEADER_LEN] = {0, 0, 0, 0, 0x21, 0x12, 0xa4, 0x42};
	struct stun_message m;

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		memcpy(data, types[i].type, 2);
		assert_int_equal(stun_decode(&m, data, sizeof(data)), 0);
		assert_int_equal(m.class, types[i].class);
		assert_int_equal(m.method, types[i].method);
		assert_int_equal(cursor_left(&m.attributes), 0);
	}
}

static void test_what_is_no_stun_is_refused(void **state)
{
	uint8_t data[sizeof(request) + 4] = {0};
	struct stun_message m;

	(void)state;
	for (size_t len = 0; len < sizeof(request); len++)
		assert_int_equal(stun_decode(&m, request, len), -EBADMSG);
	memcpy(data, request, sizeof(request));
	assert_int_equal(stun_decode(&m, data, sizeof(data)), -EBADMSG);
	data[3] += 4;
	assert_int_equal(stun_decode(&m, data, sizeof(data)), 0);
	data[3] += 1; /* no multiple of 4 */
	assert_int_equal(stun_decode(&m, data, sizeof(data)), -EBADMSG);
	data[3] -= 1;
	data[0] |= 0x40;
	assert_int_equal(stun_decode(&m, data, sizeof(data)), -EBADMSG);
	data[0] = 0;
	data[7] ^= 1; /* the cookie */
	assert_int_equal(stun_decode(&m, data, sizeof(data)), -EBADMSG);
}

static void
test_an_odd_length_is_refused_though_it_is_the_datagrams(void **state)
{
	const uint8_t data[STUN_HEADER_LEN + 2] = {0,    1,    0,    2,
						   0x21, 0x12, 0xa4, 0x42};
	struct stun_message m;

	(void)state;
	assert_int_equal(stun_decode(&m, data, sizeof(data)), -EBADMSG);
}

static void test_an_attribute_ends_inside_its_message(void **state)
{
	static const struct {
		uint8_t attributes[8];
		size_t len;
	} cases[] = {
		{{0, 6, 0, 1}, 4},             /* no value */
		{{0, 6, 0, 5, 1, 2, 3, 4}, 8}, /* a byte too few */
		{{0, 6, 0xff, 0xff, 1, 2, 3, 4}, 8},
		{{0, 6, 0, 1, 1}, 5}, /* its padding is missing */
		{{0, 6, 0}, 3},       /* no whole head */
	};
	struct stun_attribute a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cursor at =
			cursor_over(cases[i].attributes, cases[i].len);

		assert_false(stun_next_attribute(&at, &a));
		assert_true(cursor_failed(&at));
		assert_false(stun_next_attribute(&at, &a));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_sample_request_is_read),
		cmocka_unit_test(test_class_and_method_are_taken_apart),
		cmocka_unit_test(test_what_is_no_stun_is_refused),
		cmocka_unit_test(
			test_an_odd_length_is_refused_though_it_is_the_datagrams),
		cmocka_unit_test(test_an_attribute_ends_inside_its_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
