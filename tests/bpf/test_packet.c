/** @file tests/bpf/test_packet.c  bpf/packet.h in user space: exact clocks, and
 * frames that the kernel gives no program */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "bpf/packet.h"
#include "frame_spec.h"

#define INTERVAL FLOW_BUCKET_INTERVAL_NS

static void test_a_bucket_holds_exactly_a_burst(void **state)
{
	__u64 now = 1000 * INTERVAL + 1, full = 0;

	(void)state;
	for (unsigned i = 0; i < FLOW_BUCKET_BURST; i++)
		assert_true(bucket_take(&full, now));
	for (unsigned i = 0; i < 1000; i++)
		assert_false(bucket_take(&full, now));
}

static void test_a_bucket_gets_one_packet_for_each_interval(void **state)
{
	__u64 now = 1000 * INTERVAL, full = 0;

	(void)state;
	while (bucket_take(&full, now))
		;
	for (unsigned i = 0; i < 100; i++) {
		assert_false(bucket_take(&full, now + INTERVAL - 1));
		now += INTERVAL;
		assert_true(bucket_take(&full, now));
		assert_false(bucket_take(&full, now));
	}
	/* Unused for long: a burst, and no more. */
	now += 1000 * INTERVAL;
	for (unsigned i = 0; i < FLOW_BUCKET_BURST; i++)
		assert_true(bucket_take(&full, now));
	assert_false(bucket_take(&full, now));
}

static void test_a_bucket_works_at_boot_and_at_the_end_of_time(void **state)
{
	__u64 full = 0, now = UINT64_MAX - 1000 * INTERVAL;

	(void)state;
	assert_true(bucket_take(&full, 0));
	assert_int_equal(full, INTERVAL);
	assert_true(bucket_take(&full, now));
	assert_int_equal(full, now + INTERVAL);
	full = UINT64_MAX;
	assert_false(bucket_take(&full, 1));
}

/* In memory of exactly the size, for the address sanitizer. */
static void test_no_byte_behind_a_frame_is_read(void **state)
{
	static const uint8_t payload[24] = {0x80};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct frame_spec spec = {.family = i % 2 ? 6 : 4,
					  .tagged = i / 2,
					  .tci = 5,
					  .ttl = 9,
					  .payload = payload,
					  .payload_len = sizeof(payload)};
		uint8_t whole[FRAME_MOST];
		size_t len = frame_spec_build(&spec, whole);

		for (size_t cut = 0; cut <= len; cut++) {
			uint8_t *memory = malloc(2 + cut);
			struct flow_counters c = {0};
			struct frame f;
			enum frame_kind kind;

			assert_non_null(memory);
			memcpy(memory + 2, whole, cut);
			/* The rest is elsewhere (TC), or nowhere (XDP). */
			kind = frame_read(&f, memory + 2, memory + 2 + cut,
					  (__u32)len);
			if (kind == FRAME_UDP4 || kind == FRAME_UDP6) {
				media_note(&c, 0, &f, 1);
				(void)bucket_of(&f, 1);
			}
			assert_true((kind >= FRAME_UDP4) ==
				    (cut >= len - sizeof(payload)));
			kind = frame_read(&f, memory + 2, memory + 2 + cut,
					  (__u32)cut);
			assert_true((kind >= FRAME_UDP4) == (cut == len));
			free(memory);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_bucket_holds_exactly_a_burst),
		cmocka_unit_test(
			test_a_bucket_gets_one_packet_for_each_interval),
		cmocka_unit_test(
			test_a_bucket_works_at_boot_and_at_the_end_of_time),
		cmocka_unit_test(test_no_byte_behind_a_frame_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
