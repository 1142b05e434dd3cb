#include "session/port_pool.h"

#include <errno.h>

#include "test.h"

static void test_a_range_gives_its_whole_pairs_in_order(void **state)
{
	struct port_pool *pool;
	uint16_t rtp;
	bool early;

	(void)state;
	assert_int_equal(port_pool_new(&pool, 50000, 50005, 10), 0);
	assert_int_equal(port_pool_size(pool), 2);
	assert_int_equal(port_pool_take(pool, 0, &rtp, &early), 0);
	assert_int_equal(rtp, 50000);
	assert_false(early);
	assert_int_equal(port_pool_take(pool, 0, &rtp, &early), 0);
	assert_int_equal(rtp, 50002);
	assert_int_equal(port_pool_take(pool, 0, &rtp, &early), -EAGAIN);
	assert_int_equal(port_pool_free_count(pool), 0);
	port_pool_free(pool);
}

static void test_a_range_without_a_pair_is_refused(void **state)
{
	struct port_pool *pool = NULL;

	(void)state;
	assert_int_equal(port_pool_new(&pool, 50000, 50001, 10), -EINVAL);
	assert_int_equal(port_pool_new(&pool, 50001, 50003, 10), -EINVAL);
	assert_int_equal(port_pool_new(&pool, 50002, 50000, 10), -EINVAL);
	assert_int_equal(port_pool_new(&pool, 65000, 65537, 10), -EINVAL);
	assert_null(pool);
}

static void test_the_highest_port_can_be_used(void **state)
{
	struct port_pool *pool;
	uint16_t rtp;
	bool early;

	(void)state;
	assert_int_equal(port_pool_new(&pool, 65534, 65536, 10), 0);
	assert_int_equal(port_pool_take(pool, 0, &rtp, &early), 0);
	assert_int_equal(rtp, 65534);
	port_pool_free(pool);
}

static void
test_pair_that_has_not_rested_is_taken_last_and_said_so(void **state)
{
	struct port_pool *pool;
	uint16_t rtp;
	bool early;

	(void)state;
	assert_int_equal(port_pool_new(&pool, 50000, 50004, /* rest_us= */ 10),
			 0);
	assert_int_equal(port_pool_take(pool, 0, &rtp, &early), 0);
	port_pool_put(pool, 5, rtp);
	assert_int_equal(port_pool_take(pool, 6, &rtp, &early), 0);
	assert_int_equal(rtp, 50002);
	assert_false(early);
	assert_int_equal(port_pool_take(pool, 14, &rtp, &early), 0);
	assert_int_equal(rtp, 50000);
	assert_true(early);
	port_pool_put(pool, 20, rtp);
	assert_int_equal(port_pool_take(pool, 30, &rtp, &early), 0);
	assert_false(early);
	port_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_range_gives_its_whole_pairs_in_order),
		cmocka_unit_test(test_a_range_without_a_pair_is_refused),
		cmocka_unit_test(test_the_highest_port_can_be_used),
		cmocka_unit_test(
			test_pair_that_has_not_rested_is_taken_last_and_said_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
