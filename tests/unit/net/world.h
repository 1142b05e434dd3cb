#pragma once
/** @file tests/unit/net/world.h  A loop and the connections of a test on it */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/conn.h"
#include "net/loop.h"
#include "test.h"

/* One end, and what happened to it. */
struct end {
	struct world *world;
	struct conn *conn;
	int ready, closed, lines, too_long;
	struct buf text; /* the lines, each with a `|` after it */
	char why[512];

	/* What its line handler does beside */
	int pause_after, close_after; /* so many lines; 0: never */
	bool echo;
	size_t answer_bytes;
};

struct world {
	struct loop *loop;
	struct timer *watchdog;
	const int *counter; /* loop_run() ends when it reaches the target */
	int target;
	bool timed_out;
};

static inline void world_check(struct world *world)
{
	if (world->counter && *world->counter >= world->target)
		loop_stop(world->loop);
}

static inline void world_timed_out(void *arg)
{
	struct world *world = arg;

	world->timed_out = true;
	loop_stop(world->loop);
}

static inline void world_init(struct world *world)
{
	*world = (struct world){0};
	assert_int_equal(loop_new(&world->loop), 0);
	assert_int_equal(timer_new(&world->watchdog, world->loop,
				   world_timed_out, world),
			 0);
}

static inline void world_done(struct world *world)
{
	timer_free(world->watchdog);
	loop_free(world->loop);
}

/** Run until a counter has a value; false after ten seconds. */
static inline bool world_wait(struct world *world, const int *counter,
			      int target)
{
	world->counter = counter;
	world->target = target;
	world->timed_out = false;
	if (*counter < target) {
		timer_start(world->watchdog, 10 * US_PER_S);
		loop_run(world->loop);
		timer_stop(world->watchdog);
	}
	world->counter = NULL;
	return !world->timed_out;
}

static inline void world_turn_over(void *arg)
{
	loop_stop(arg);
}

/** Some turns of the loop, for what must not happen. */
static inline void world_turns(struct world *world, int count)
{
	for (int i = 0; i < count; i++) {
		assert_int_equal(
			loop_defer(world->loop, world_turn_over, world->loop),
			0);
		loop_run(world->loop);
	}
}

static inline void end_ready(struct conn *conn, void *arg)
{
	struct end *end = arg;

	(void)conn;
	end->ready++;
	world_check(end->world);
}

static inline void end_answer(struct end *end, struct span line)
{
	static const char block[4096];
	size_t left = end->answer_bytes;

	if (end->echo) {
		conn_write(end->conn, line);
		conn_write(end->conn, SPAN("\r\n"));
	}
	while (left > 0) {
		size_t len = left < sizeof(block) ? left : sizeof(block);

		conn_write(end->conn, span_make(block, len));
		left -= len;
	}
}

static inline void end_line(struct conn *conn, struct span line, bool too_long,
			    void *arg)
{
	struct end *end = arg;

	assert_ptr_equal(conn, end->conn);
	end->lines++;
	end->too_long += too_long;
	buf_add(&end->text, line);
	buf_char(&end->text, '|');
	end_answer(end, line);
	if (end->lines == end->pause_after)
		conn_pause(conn);
	if (end->lines == end->close_after) {
		conn_close(conn);
		end->conn = NULL;
	}
	world_check(end->world);
}

static inline void end_closed(struct conn *conn, const char *why, void *arg)
{
	struct end *end = arg;

	assert_ptr_equal(conn, end->conn);
	end->conn = NULL;
	end->closed++;
	snprintf(end->why, sizeof(end->why), "%s", why);
	world_check(end->world);
}

static const struct conn_handlers end_handlers = {end_ready, end_line,
						  end_closed};

static inline void end_done(struct end *end)
{
	if (end->conn)
		conn_close(end->conn);
	buf_done(&end->text);
	*end = (struct end){.world = end->world};
}

#define assert_text(end, expected)                                             \
	assert_string_equal((end)->text.data, expected)
