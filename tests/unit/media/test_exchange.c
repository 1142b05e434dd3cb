/* What two threads hand to each other: queue.h and latch.h. */
#include <pthread.h>

#include "base/cleanup.h"
#include "media/latch.h"
#include "media/queue.h"

#include "test.h"

#define ITEMS 20000
#define PUSHERS 2
#define STORES 100000u

struct item {
	struct queue_link link;
	unsigned pusher, number;
};

static struct queue queue;
static struct item items[PUSHERS][ITEMS];

static void
test_an_empty_queue_says_when_the_taker_has_to_be_woken(void **state)
{
	struct queue q = {NULL};
	struct queue_link a, b;

	(void)state;
	assert_null(queue_take_all(&q));
	assert_true(queue_push(&q, &a));
	assert_false(queue_push(&q, &b));
	assert_ptr_equal(queue_take_all(&q), &a);
	assert_ptr_equal(a.next, &b);
	assert_null(b.next);
	assert_true(queue_push(&q, &b));
}

static void *push_all(void *arg)
{
	struct item *mine = arg;

	for (unsigned i = 0; i < ITEMS; i++)
		queue_push(&queue, &mine[i].link);
	return NULL;
}

static void
test_every_item_comes_once_and_in_the_order_of_its_pusher(void **state)
{
	pthread_t threads[PUSHERS];
	unsigned next[PUSHERS] = {0};
	unsigned left = PUSHERS * ITEMS;

	(void)state;
	for (unsigned p = 0; p < PUSHERS; p++) {
		for (unsigned i = 0; i < ITEMS; i++)
			items[p][i] = (struct item){.pusher = p, .number = i};
		assert_int_equal(
			pthread_create(&threads[p], NULL, push_all, items[p]),
			0);
	}
	while (left > 0) {
		struct queue_link *link = queue_take_all(&queue);

		for (; link; link = link->next, left--) {
			const struct item *item =
				container_of(link, struct item, link);

			assert_int_equal(item->number, next[item->pusher]++);
		}
	}
	for (unsigned p = 0; p < PUSHERS; p++)
		pthread_join(threads[p], NULL);
	assert_null(queue_take_all(&queue));
}

struct value {
	uint64_t number, inverse, twice;
	uint32_t tail;
};

static struct latch latch;
static _Atomic uint64_t words[LATCH_WORDS(struct value)];

static void *store_all(void *arg)
{
	(void)arg;
	for (uint64_t i = 1; i <= STORES; i++) {
		struct value v = {i, ~i, 2 * i, (uint32_t)i};

		latch_store(&latch, words, &v, sizeof(v));
	}
	return NULL;
}

static void test_a_latch_gives_whole_values_that_never_go_back(void **state)
{
	struct value v = {.number = 7};
	uint64_t before = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(latch_load(&latch, words, &v, sizeof(v)), 0);
	assert_int_equal(v.number, 0);
	assert_int_equal(pthread_create(&thread, NULL, store_all, NULL), 0);
	while (before < STORES) {
		uint32_t version = latch_load(&latch, words, &v, sizeof(v));

		assert_int_equal(v.number, version);
		assert_true(v.number >= before);
		if (version > 0) {
			assert_int_equal(v.inverse, ~v.number);
			assert_int_equal(v.twice, 2 * v.number);
			assert_int_equal(v.tail, (uint32_t)v.number);
		}
		before = v.number;
	}
	pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_an_empty_queue_says_when_the_taker_has_to_be_woken),
		cmocka_unit_test(
			test_every_item_comes_once_and_in_the_order_of_its_pusher),
		cmocka_unit_test(
			test_a_latch_gives_whole_values_that_never_go_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
