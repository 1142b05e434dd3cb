#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/loop.h"
#include "test.h"

struct record {
	struct loop *loop;
	struct timer *timer, *other;
	struct watch *watch;
	int calls, stop_at;
	uint64_t at_us[8];
};

static void note_call(struct record *record)
{
	if (record->calls < 8)
		record->at_us[record->calls] = loop_now_us(record->loop);
	if (++record->calls == record->stop_at)
		loop_stop(record->loop);
}

static void note(void *arg)
{
	note_call(arg);
}

static void test_a_timer_fires_once_and_not_too_early(void **state)
{
	struct record record = {.stop_at = 1};
	uint64_t start;

	(void)state;
	assert_int_equal(loop_new(&record.loop), 0);
	assert_int_equal(timer_new(&record.timer, record.loop, note, &record),
			 0);
	assert_false(timer_is_running(record.timer));
	start = clock_mono_us();
	timer_start(record.timer, 3000);
	assert_true(timer_is_running(record.timer));
	assert_int_equal(loop_run(record.loop), 0);
	assert_false(timer_is_running(record.timer));
	assert_true(record.at_us[0] >= start + 3000);
	timer_free(record.timer);
	loop_free(record.loop);
}

static void test_a_repeating_timer_fires_until_it_is_stopped(void **state)
{
	struct record record = {.stop_at = 3};
	struct record end = {.stop_at = 1};

	(void)state;
	assert_int_equal(loop_new(&record.loop), 0);
	end.loop = record.loop;
	assert_int_equal(timer_new(&record.timer, record.loop, note, &record),
			 0);
	assert_int_equal(timer_new(&end.timer, end.loop, note, &end), 0);
	timer_start_every(record.timer, 1000);
	loop_run(record.loop);
	assert_true(timer_is_running(record.timer));
	timer_stop(record.timer);
	timer_start(end.timer, 5000);
	loop_run(record.loop);
	assert_int_equal(record.calls, 3);
	timer_free(record.timer);
	timer_free(end.timer);
	loop_free(record.loop);
}

static void free_both(void *arg)
{
	struct record *record = arg;

	record->timer = timer_free(record->timer);
	record->other = timer_free(record->other);
	note_call(record);
}

/* Both are due in the same turn; the first call frees the other as well. */
static void
test_a_handler_may_free_its_own_timer_and_one_that_is_due(void **state)
{
	struct record record = {.stop_at = 1};
	uint64_t until;

	(void)state;
	assert_int_equal(loop_new(&record.loop), 0);
	timer_new(&record.timer, record.loop, free_both, &record);
	timer_new(&record.other, record.loop, free_both, &record);
	timer_start(record.timer, 100);
	timer_start(record.other, 100);
	until = clock_mono_us() + 2000;
	while (clock_mono_us() < until)
		;
	loop_run(record.loop);
	assert_int_equal(record.calls, 1);
	loop_free(record.loop);
}

static void defer_again(void *arg)
{
	struct record *record = arg;

	note_call(record);
	if (record->calls < record->stop_at)
		assert_int_equal(loop_defer(record->loop, defer_again, record),
				 0);
}

static void test_deferred_calls_come_at_the_end_of_turns(void **state)
{
	struct record record = {.stop_at = 3};

	(void)state;
	assert_int_equal(loop_new(&record.loop), 0);
	assert_int_equal(loop_defer(record.loop, defer_again, &record), 0);
	assert_int_equal(record.calls, 0);
	loop_run(record.loop);
	assert_int_equal(record.calls, 3);
	loop_free(record.loop);
}

static void test_what_is_deferred_runs_before_the_loop_is_freed(void **state)
{
	struct record record = {0};

	(void)state;
	assert_int_equal(loop_new(&record.loop), 0);
	loop_defer(record.loop, note, &record);
	loop_free(record.loop);
	assert_int_equal(record.calls, 1);
}

static void wait_for_the_clock(void *arg)
{
	struct record *record = arg;
	uint64_t before = loop_now_us(record->loop);
	uint64_t until = clock_mono_us() + 500;

	while (clock_mono_us() < until)
		;
	assert_int_equal(loop_now_us(record->loop), before);
	loop_stop(record->loop);
}

static void test_the_time_stands_still_within_a_turn(void **state)
{
	struct record record = {0};
	uint64_t before = clock_mono_us();

	(void)state;
	assert_int_equal(loop_new(&record.loop), 0);
	loop_defer(record.loop, wait_for_the_clock, &record);
	loop_run(record.loop);
	assert_true(loop_now_us(record.loop) >= before + 500);
	loop_free(record.loop);
}

static void turn_over(void *arg)
{
	loop_stop(arg);
}

static void readable(int fd, void *arg)
{
	struct record *record = arg;
	char c;

	assert_int_equal(read(fd, &c, 1), 1);
	note_call(record);
	if (record->calls == 2)
		record->watch = watch_free(record->watch);
}

static void
test_a_watch_is_called_while_there_is_something_to_read(void **state)
{
	struct record record = {.stop_at = 2};
	int fds[2];

	(void)state;
	assert_int_equal(loop_new(&record.loop), 0);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "abc", 3), 3);
	assert_int_equal(watch_new(&record.watch, record.loop, fds[0], readable,
				   &record),
			 0);
	loop_run(record.loop);
	assert_int_equal(record.calls, 2);
	assert_null(record.watch);
	/* Freed: nobody looks at the third byte. */
	loop_defer(record.loop, turn_over, record.loop);
	loop_run(record.loop);
	assert_int_equal(record.calls, 2);
	close(fds[0]);
	close(fds[1]);
	loop_free(record.loop);
}

static void got_signal(int number, void *arg)
{
	assert_int_equal(number, SIGUSR1);
	note_call(arg);
}

static void test_a_signal_is_handled_in_the_loop(void **state)
{
	struct record record = {.stop_at = 1};

	(void)state;
	assert_int_equal(loop_new(&record.loop), 0);
	assert_int_equal(
		loop_on_signal(record.loop, SIGUSR1, got_signal, &record), 0);
	raise(SIGUSR1);
	assert_int_equal(record.calls, 0);
	loop_run(record.loop);
	assert_int_equal(record.calls, 1);
	loop_free(record.loop);
}

static void test_writing_to_nobody_does_not_end_the_process(void **state)
{
	struct loop *loop;
	int fds[2];

	(void)state;
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	assert_int_equal(write(fds[1], "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	close(fds[1]);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_timer_fires_once_and_not_too_early),
		cmocka_unit_test(
			test_a_repeating_timer_fires_until_it_is_stopped),
		cmocka_unit_test(
			test_a_handler_may_free_its_own_timer_and_one_that_is_due),
		cmocka_unit_test(test_deferred_calls_come_at_the_end_of_turns),
		cmocka_unit_test(
			test_what_is_deferred_runs_before_the_loop_is_freed),
		cmocka_unit_test(test_the_time_stands_still_within_a_turn),
		cmocka_unit_test(
			test_a_watch_is_called_while_there_is_something_to_read),
		cmocka_unit_test(test_a_signal_is_handled_in_the_loop),
		cmocka_unit_test(
			test_writing_to_nobody_does_not_end_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
