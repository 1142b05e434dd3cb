/* The table of next hops: who shares an entry, and when it may become another
 * one. What the kernel would read is what the table writes. */
#include <stdlib.h>
#include <string.h>

#include "media/kernel/hop_table.h"

#include "test.h"

struct kernel {
	struct flow_hop hops[FLOW_HOPS];
	unsigned writes;
};

static void write_hop(uint16_t index, const struct flow_hop *hop, void *arg)
{
	struct kernel *kernel = arg;

	kernel->hops[index] = *hop;
	kernel->writes++;
}

static struct hop_table *new_table(struct kernel *kernel)
{
	struct hop_table *table;

	memset(kernel, 0, sizeof(*kernel));
	assert_int_equal(hop_table_new(&table, write_hop, kernel), 0);
	return table;
}

/* Hops differ by number, in all places. */
static struct flow_hop hop_of(unsigned number)
{
	struct flow_hop hop = {.ifindex = 7, .mtu = 1500, .device = 3};

	memcpy(hop.dst_mac, &number, sizeof(number));
	return hop;
}

static uint16_t take(struct hop_table *table, unsigned number, uint64_t now_us)
{
	struct flow_hop hop = hop_of(number);

	return hop_table_take(table, &hop, now_us);
}

static void assert_counts(const struct hop_table *table, uint32_t used,
			  uint32_t resting, uint64_t full)
{
	struct hop_table_counts counts;

	hop_table_count(table, &counts);
	assert_int_equal(counts.used, used);
	assert_int_equal(counts.resting, resting);
	assert_int_equal(counts.full, full);
}

static void test_the_hop_that_leads_nowhere_cannot_be_gone(void **state)
{
	static struct kernel kernel;
	struct hop_table *table = new_table(&kernel);

	(void)state;
	assert_int_equal(kernel.writes, 1);
	assert_int_equal(kernel.hops[FLOW_HOP_NOWHERE].mtu, 0);
	assert_int_equal(kernel.hops[FLOW_HOP_NOWHERE].device,
			 FLOW_DEVICE_NONE);
	assert_counts(table, 0, 0, 0);
	hop_table_put(table, FLOW_HOP_UP, 0);
	hop_table_put(table, FLOW_HOP_NOWHERE, 0);
	assert_counts(table, 0, 0, 0);
	hop_table_free(table);
	hop_table_free(NULL);
}

static void test_equal_hops_share_an_entry_and_others_do_not(void **state)
{
	static struct kernel kernel;
	struct hop_table *table = new_table(&kernel);
	struct flow_hop hop = hop_of(1);
	uint16_t first = take(table, 1, 0);

	(void)state;
	assert_true(first >= FLOW_HOP_FIRST);
	assert_int_equal(take(table, 1, 0), first);
	assert_int_equal(kernel.writes, 2);
	assert_memory_equal(&kernel.hops[first], &hop, sizeof(hop));
	assert_int_not_equal(take(table, 2, 0), first);
	hop.vlan = 5;
	assert_int_not_equal(hop_table_take(table, &hop, 0), first);
	assert_counts(table, 3, 0, 0);
	hop_table_free(table);
}

static void test_an_entry_is_used_until_its_last_user_left(void **state)
{
	static struct kernel kernel;
	struct hop_table *table = new_table(&kernel);
	uint16_t index = take(table, 1, 0);

	(void)state;
	take(table, 1, 0);
	hop_table_put(table, index, 0);
	assert_counts(table, 1, 0, 0);
	hop_table_put(table, index, 0);
	assert_counts(table, 0, 1, 0);
	hop_table_free(table);
}

static void test_an_equal_hop_takes_the_entry_out_of_its_rest(void **state)
{
	static struct kernel kernel;
	struct hop_table *table = new_table(&kernel);
	uint16_t index = take(table, 1, 0);

	(void)state;
	hop_table_put(table, index, 0);
	assert_int_equal(take(table, 1, HOP_REST_US - 1), index);
	assert_counts(table, 1, 0, 0);
	assert_int_equal(kernel.writes, 2);
	/* It rests anew, from its new last user on. */
	hop_table_put(table, index, HOP_REST_US - 1);
	take(table, 2, 2 * HOP_REST_US - 2);
	assert_counts(table, 1, 1, 0);
	take(table, 2, 2 * HOP_REST_US - 1);
	assert_counts(table, 1, 0, 0);
	hop_table_free(table);
}

/* A table in which all entries are in use but for those that the test put. */
static void fill(struct hop_table *table)
{
	for (unsigned i = FLOW_HOP_FIRST; i < FLOW_HOPS; i++)
		assert_true(take(table, i, 0) >= FLOW_HOP_FIRST);
}

static void test_a_full_table_leads_nowhere_and_counts_it(void **state)
{
	static struct kernel kernel;
	struct hop_table *table = new_table(&kernel);

	(void)state;
	fill(table);
	assert_counts(table, FLOW_HOPS - FLOW_HOP_FIRST, 0, 0);
	assert_int_equal(take(table, FLOW_HOPS, 0), FLOW_HOP_NOWHERE);
	assert_int_equal(take(table, FLOW_HOPS, 0), FLOW_HOP_NOWHERE);
	assert_counts(table, FLOW_HOPS - FLOW_HOP_FIRST, 0, 2);
	/* What is there can be shared still. */
	assert_true(take(table, 77, 0) >= FLOW_HOP_FIRST);
	hop_table_free(table);
}

static void
test_an_entry_becomes_another_one_only_when_it_has_rested(void **state)
{
	static struct kernel kernel;
	struct hop_table *table = new_table(&kernel);
	struct flow_hop before = hop_of(77), after = hop_of(FLOW_HOPS);
	uint16_t index;

	(void)state;
	fill(table);
	index = take(table, 77, 0);
	hop_table_put(table, index, 0);
	hop_table_put(table, index, 1000);
	assert_int_equal(take(table, FLOW_HOPS, 1000 + HOP_REST_US - 1),
			 FLOW_HOP_NOWHERE);
	assert_memory_equal(&kernel.hops[index], &before, sizeof(before));
	assert_int_equal(take(table, FLOW_HOPS, 1000 + HOP_REST_US), index);
	assert_memory_equal(&kernel.hops[index], &after, sizeof(after));
	assert_counts(table, FLOW_HOPS - FLOW_HOP_FIRST, 0, 1);
	/* The old hop is a new one now. */
	assert_int_equal(take(table, 77, 1000 + HOP_REST_US), FLOW_HOP_NOWHERE);
	hop_table_free(table);
}

#define ROUNDS 20000
#define NUMBERS 64

/* The kernel may read any entry that has users, and for the rest after. */
static void test_an_entry_never_changes_while_somebody_may_read_it(void **state)
{
	static struct kernel kernel;
	struct hop_table *table = new_table(&kernel);
	uint16_t index[NUMBERS] = {0};
	unsigned users[NUMBERS] = {0};
	uint64_t read_until_us[NUMBERS] = {0};
	uint64_t now_us = 0;
	unsigned seed = 1;

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned n = (unsigned)rand_r(&seed) % NUMBERS;

		now_us += (unsigned)rand_r(&seed) % (HOP_REST_US / 8);
		if (rand_r(&seed) % 2 && users[n] > 0) {
			hop_table_put(table, index[n], now_us);
			if (--users[n] == 0)
				read_until_us[n] = now_us + HOP_REST_US;
		} else {
			index[n] = take(table, n + 1, now_us);
			users[n]++;
		}
		for (n = 0; n < NUMBERS; n++) {
			struct flow_hop hop = hop_of(n + 1);

			if (users[n] > 0 || read_until_us[n] > now_us)
				assert_memory_equal(&kernel.hops[index[n]],
						    &hop, sizeof(hop));
		}
	}
	hop_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_the_hop_that_leads_nowhere_cannot_be_gone),
		cmocka_unit_test(
			test_equal_hops_share_an_entry_and_others_do_not),
		cmocka_unit_test(
			test_an_entry_is_used_until_its_last_user_left),
		cmocka_unit_test(
			test_an_equal_hop_takes_the_entry_out_of_its_rest),
		cmocka_unit_test(test_a_full_table_leads_nowhere_and_counts_it),
		cmocka_unit_test(
			test_an_entry_becomes_another_one_only_when_it_has_rested),
		cmocka_unit_test(
			test_an_entry_never_changes_while_somebody_may_read_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
