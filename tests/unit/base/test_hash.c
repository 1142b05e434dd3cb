#include "base/hash.h"

#include <stdbool.h>
#include <string.h>

#include "test.h"

#define ITEMS 1000

struct item {
	struct hash_node node;
	int number;
	bool seen;
};

static struct item items[ITEMS];

static struct item *find(const struct hash_table *table, uint64_t hash,
			 int number)
{
	for (struct hash_node *node = hash_first(table, hash); node;
	     node = hash_next(node)) {
		struct item *item = hash_item(node, struct item, node);

		assert_int_equal(node->hash, hash);
		if (item->number == number)
			return item;
	}
	return NULL;
}

static uint64_t hash_number(const struct hash_table *table, int number)
{
	return hash_span(table, span_make(&number, sizeof(number)));
}

static void fill(struct hash_table *table)
{
	memset(items, 0, sizeof(items));
	assert_int_equal(hash_init(table), 0);
	for (int i = 0; i < ITEMS; i++) {
		items[i].number = i;
		hash_add(table, &items[i].node, hash_number(table, i));
	}
}

static void test_every_item_is_found_after_the_table_has_grown(void **state)
{
	struct hash_table table;
	size_t first_size;

	(void)state;
	assert_int_equal(hash_init(&table), 0);
	first_size = table.size;
	assert_null(hash_first(&table, 0));
	hash_done(&table);

	fill(&table);
	assert_int_equal(table.count, ITEMS);
	assert_true(table.size >= ITEMS);
	assert_true(table.size > first_size);
	for (int i = 0; i < ITEMS; i++)
		assert_ptr_equal(find(&table, hash_number(&table, i), i),
				 &items[i]);
	assert_null(find(&table, hash_number(&table, ITEMS), ITEMS));
	hash_done(&table);
}

static void
test_items_of_one_hash_are_all_found_and_deleted_singly(void **state)
{
	struct hash_table table;
	struct item other = {.number = 200};

	(void)state;
	memset(items, 0, sizeof(items));
	assert_int_equal(hash_init(&table), 0);
	for (int i = 0; i < 200; i++) {
		items[i].number = i;
		hash_add(&table, &items[i].node, 42);
	}
	/* It shares the bucket and not the hash. */
	hash_add(&table, &other.node, 42 + ((uint64_t)1 << 60));
	for (int i = 0; i < 200; i++)
		assert_ptr_equal(find(&table, 42, i), &items[i]);
	assert_null(find(&table, 42, 200));

	hash_del(&table, &items[0].node);
	hash_del(&table, &items[100].node);
	hash_del(&table, &items[199].node);
	assert_int_equal(table.count, 198);
	assert_null(find(&table, 42, 0));
	assert_null(find(&table, 42, 100));
	assert_null(find(&table, 42, 199));
	assert_ptr_equal(find(&table, 42, 101), &items[101]);
	assert_ptr_equal(find(&table, other.node.hash, 200), &other);
	hash_done(&table);
}

static void test_items_may_be_deleted_while_iterating(void **state)
{
	struct hash_table table;
	int seen = 0;

	(void)state;
	fill(&table);
	hash_for_each_safe (node, &table) {
		struct item *item = hash_item(node, struct item, node);

		assert_false(item->seen);
		item->seen = true;
		seen++;
		if (item->number % 3 != 0) {
			hash_del(&table, node);
			memset(node, 0xff, sizeof(*node));
		}
	}
	assert_int_equal(seen, ITEMS);
	assert_int_equal(table.count, 334);
	for (int i = 0; i < ITEMS; i++)
		assert_ptr_equal(find(&table, hash_number(&table, i), i),
				 i % 3 == 0 ? &items[i] : NULL);
	hash_for_each_safe (node, &table)
		hash_del(&table, node);
	assert_int_equal(table.count, 0);
	hash_done(&table);
}

static void test_two_tables_hash_differently(void **state)
{
	struct hash_table a;
	struct hash_table b;

	(void)state;
	assert_int_equal(hash_init(&a), 0);
	assert_int_equal(hash_init(&b), 0);
	assert_int_equal(hash_span(&a, SPAN("call")),
			 hash_span(&a, SPAN("call")));
	assert_int_not_equal(hash_span(&a, SPAN("call")),
			     hash_span(&b, SPAN("call")));
	hash_done(&a);
	hash_done(&b);
}

/* As CPython 3.11 hashes bytes with PYTHONHASHSEED=0, that is with a zero key.
 */
static void test_the_hash_is_siphash_1_3(void **state)
{
	const struct hash_table table = {0};
	char row[64];

	(void)state;
	for (int i = 0; i < 64; i++)
		row[i] = (char)i;
	assert_true(hash_span(&table, SPAN("a")) == 0x407448d2b89b1813);
	assert_true(hash_span(&table, SPAN("1234567")) == 0xa33d651594fdae81);
	assert_true(hash_span(&table, SPAN("12345678")) == 0x3489982430560a87);
	assert_true(hash_span(&table, SPAN("123456789")) == 0x0fbc0f0007965fcf);
	assert_true(hash_span(&table, SPAN("call-01@example.com")) ==
		    0xba10974514ab945f);
	assert_true(hash_span(&table, span_make(row, 64)) ==
		    0x75e05fd5bbc870c6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_every_item_is_found_after_the_table_has_grown),
		cmocka_unit_test(
			test_items_of_one_hash_are_all_found_and_deleted_singly),
		cmocka_unit_test(test_items_may_be_deleted_while_iterating),
		cmocka_unit_test(test_two_tables_hash_differently),
		cmocka_unit_test(test_the_hash_is_siphash_1_3),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
