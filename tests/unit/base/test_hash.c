#include "base/hash.h"

#include "test.h"

#define MANY 5000

struct item {
	struct hash_node node;
	unsigned number;
};

static void test_what_is_added_is_found_until_it_is_deleted(void **state)
{
	static struct item items[MANY];
	struct hash_table table;

	(void)state;
	assert_int_equal(hash_init(&table), 0);
	for (unsigned i = 0; i < MANY; i++) {
		items[i].number = i;
		hash_add(&table, &items[i].node, i * 7919ull);
	}
	assert_int_equal(table.count, MANY);
	for (unsigned i = 0; i < MANY; i += 2)
		hash_del(&table, &items[i].node);
	assert_int_equal(table.count, MANY / 2);
	for (unsigned i = 0; i < MANY; i++) {
		struct hash_node *node = hash_first(&table, i * 7919ull);

		if (i % 2 == 0)
			assert_null(node);
		else
			assert_ptr_equal(hash_item(node, struct item, node),
					 &items[i]);
	}
	hash_done(&table);
}

static void test_items_of_one_hash_are_all_found(void **state)
{
	struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 4}};
	struct item other = {.number = 8};
	struct hash_table table;
	unsigned found = 0;

	(void)state;
	assert_int_equal(hash_init(&table), 0);
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		hash_add(&table, &items[i].node, 5);
	/* The same bucket, another hash. */
	hash_add(&table, &other.node, 5 + (uint64_t)table.size);
	for (struct hash_node *node = hash_first(&table, 5); node;
	     node = hash_next(node))
		found += hash_item(node, struct item, node)->number;
	assert_int_equal(found, 7);
	hash_done(&table);
}

static void test_a_walk_may_delete_where_it_stands(void **state)
{
	static struct item items[MANY];
	struct hash_table table;
	unsigned seen = 0;

	(void)state;
	assert_int_equal(hash_init(&table), 0);
	for (unsigned i = 0; i < MANY; i++)
		hash_add(&table, &items[i].node, i % 1000);
	hash_for_each_safe (node, &table) {
		hash_del(&table, node);
		seen++;
	}
	assert_int_equal(seen, MANY);
	assert_int_equal(table.count, 0);
	hash_done(&table);
}

static void test_two_tables_hash_one_key_differently(void **state)
{
	struct hash_table a, b;
	struct span key = SPAN("3c26701f@phone.example.com");

	(void)state;
	assert_int_equal(hash_init(&a), 0);
	assert_int_equal(hash_init(&b), 0);
	assert_true(hash_span(&a, key) == hash_span(&a, key));
	assert_true(hash_span(&a, key) != hash_span(&b, key));
	assert_true(hash_span(&a, SPAN("a")) != hash_span(&a, SPAN("b")));
	/* Of every length, so of every tail. */
	for (size_t i = 1; i < key.len; i++)
		assert_true(hash_span(&a, span_make(key.ptr, i)) !=
			    hash_span(&a, span_make(key.ptr, i - 1)));
	hash_done(&a);
	hash_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_what_is_added_is_found_until_it_is_deleted),
		cmocka_unit_test(test_items_of_one_hash_are_all_found),
		cmocka_unit_test(test_a_walk_may_delete_where_it_stands),
		cmocka_unit_test(test_two_tables_hash_one_key_differently),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
