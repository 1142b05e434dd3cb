#include "base/list.h"

#include "test.h"

struct item {
	int number;
	struct list link;
};

static void fill(struct list *head, struct item *items, int count)
{
	list_init(head);
	for (int i = 0; i < count; i++) {
		items[i].number = i;
		list_add_tail(head, &items[i].link);
	}
}

static void test_items_keep_the_order_in_which_they_came(void **state)
{
	struct list head;
	struct item items[3];
	int next = 0;

	(void)state;
	fill(&head, items, 3);
	assert_ptr_equal(list_first(&head), &items[0].link);
	list_for_each (link, &head)
		assert_int_equal(list_item(link, struct item, link)->number,
				 next++);
	assert_int_equal(next, 3);
}

static void test_deleting_a_link_twice_does_no_harm(void **state)
{
	struct list head;
	struct item items[3];

	(void)state;
	fill(&head, items, 3);
	list_del(&items[1].link);
	list_del(&items[1].link);
	assert_true(list_empty(&items[1].link));
	assert_ptr_equal(items[0].link.next, &items[2].link);
	list_del(&items[0].link);
	list_del(&items[2].link);
	assert_true(list_empty(&head));
	assert_null(list_first(&head));
}

static void test_the_current_link_may_be_deleted_on_the_way(void **state)
{
	struct list head;
	struct item items[4];
	int seen = 0;

	(void)state;
	fill(&head, items, 4);
	list_for_each_safe (link, &head) {
		seen++;
		if (list_item(link, struct item, link)->number % 2 == 0)
			list_del(link);
	}
	assert_int_equal(seen, 4);
	assert_ptr_equal(list_first(&head), &items[1].link);
	assert_ptr_equal(items[1].link.next, &items[3].link);
	assert_ptr_equal(items[3].link.next, &head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_items_keep_the_order_in_which_they_came),
		cmocka_unit_test(test_deleting_a_link_twice_does_no_harm),
		cmocka_unit_test(
			test_the_current_link_may_be_deleted_on_the_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
