#include "dispatcher/relay_choice.h"

#include "test.h"

static struct ip_addr ip(const char *text)
{
	struct ip_addr ip;

	assert_int_equal(ip_parse(span_of(text), &ip), 0);
	return ip;
}

/* Three relays that all take calls. */
static void make_relays(struct relay_fact relays[3])
{
	static const char *const addresses[] = {"10.0.0.1", "10.0.0.2",
						"10.0.0.3"};

	for (int i = 0; i < 3; i++)
		relays[i] = (struct relay_fact){
			.ip = ip(addresses[i]), .active = true, .prompt = true};
}

static const struct ip_addr nobody;

static void test_without_relays_none_is_chosen(void **state)
{
	(void)state;
	assert_true(relay_choose(NULL, 0, &nobody, 7) == RELAY_CHOICE_NONE);
}

static void test_each_active_relay_has_its_turn(void **state)
{
	struct relay_fact relays[3];

	(void)state;
	make_relays(relays);
	for (uint64_t random = 0; random < 9; random++)
		assert_int_equal(relay_choose(relays, 3, &nobody, random),
				 random % 3);
}

static void
test_the_preferred_relay_is_taken_whatever_the_dice_say(void **state)
{
	struct ip_addr preferred = ip("10.0.0.2");
	struct relay_fact relays[3];

	(void)state;
	make_relays(relays);
	for (uint64_t random = 0; random < 9; random++)
		assert_int_equal(relay_choose(relays, 3, &preferred, random),
				 1);
}

static void
test_a_preferred_relay_that_takes_no_calls_is_passed_over(void **state)
{
	struct ip_addr preferred = ip("10.0.0.2");
	struct relay_fact relays[3];

	(void)state;
	make_relays(relays);
	relays[1].active = false;
	assert_int_equal(relay_choose(relays, 3, &preferred, 0), 0);
	assert_int_equal(relay_choose(relays, 3, &preferred, 1), 2);
}

static void test_a_relay_is_tried_once(void **state)
{
	struct ip_addr preferred = ip("10.0.0.2");
	struct relay_fact relays[3];

	(void)state;
	make_relays(relays);
	relays[1].tried = true;
	assert_int_equal(relay_choose(relays, 3, &preferred, 0), 0);
	relays[0].tried = true;
	relays[2].tried = true;
	assert_true(relay_choose(relays, 3, &preferred, 0) ==
		    RELAY_CHOICE_NONE);
}

static void
test_a_slow_relay_is_taken_only_if_no_prompt_one_is_left(void **state)
{
	struct relay_fact relays[3];

	(void)state;
	make_relays(relays);
	relays[0].prompt = false;
	relays[1].prompt = false;
	for (uint64_t random = 0; random < 9; random++)
		assert_int_equal(relay_choose(relays, 3, &nobody, random), 2);
	relays[2].active = false;
	for (uint64_t random = 0; random < 8; random++)
		assert_int_equal(relay_choose(relays, 3, &nobody, random),
				 random % 2);
}

static void test_a_slow_relay_that_is_preferred_is_taken_first(void **state)
{
	struct ip_addr preferred = ip("10.0.0.2");
	struct relay_fact relays[3];

	(void)state;
	make_relays(relays);
	relays[1].prompt = false;
	for (uint64_t random = 0; random < 9; random++)
		assert_int_equal(relay_choose(relays, 3, &preferred, random),
				 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_relays_none_is_chosen),
		cmocka_unit_test(test_each_active_relay_has_its_turn),
		cmocka_unit_test(
			test_the_preferred_relay_is_taken_whatever_the_dice_say),
		cmocka_unit_test(
			test_a_preferred_relay_that_takes_no_calls_is_passed_over),
		cmocka_unit_test(test_a_relay_is_tried_once),
		cmocka_unit_test(
			test_a_slow_relay_is_taken_only_if_no_prompt_one_is_left),
		cmocka_unit_test(
			test_a_slow_relay_that_is_preferred_is_taken_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
