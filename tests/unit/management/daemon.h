#pragma once
/**
 * @file tests/unit/management/daemon.h  A loop, a daemon that answers when it
 * is told to, and clients on raw sockets
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "management/request.h"
#include "net/loop.h"
#include "test.h"

#define MAX_ASKED 64

struct daemon_world {
	struct loop *loop;
	struct timer *watchdog;
	bool timed_out;
	/* The questions that are not answered yet, in the order they came. */
	struct management_request *asked[MAX_ASKED];
	size_t asked_count;
	size_t answer_bytes; /* answer sessions at once, with this much */
};

static inline void world_timed_out(void *arg)
{
	struct daemon_world *world = arg;

	world->timed_out = true;
	loop_stop(world->loop);
}

static inline void world_init(struct daemon_world *world)
{
	*world = (struct daemon_world){0};
	log_set_level(LOG_LEVEL_ERROR);
	assert_int_equal(loop_new(&world->loop), 0);
	assert_int_equal(timer_new(&world->watchdog, world->loop,
				   world_timed_out, world),
			 0);
}

static inline void world_done(struct daemon_world *world)
{
	timer_free(world->watchdog);
	loop_free(world->loop);
}

static inline void world_turn_over(void *arg)
{
	loop_stop(arg);
}

static inline void world_turns(struct daemon_world *world, int count)
{
	for (int i = 0; i < count; i++) {
		assert_int_equal(
			loop_defer(world->loop, world_turn_over, world->loop),
			0);
		loop_run(world->loop);
	}
}

/** Run until a condition holds; it fails the test after ten seconds. */
#define world_wait(world, condition)                                           \
	do {                                                                   \
		(world)->timed_out = false;                                    \
		timer_start((world)->watchdog, 10 * US_PER_S);                 \
		while (!(condition) && !(world)->timed_out)                    \
			world_turns(world, 1);                                 \
		timer_stop((world)->watchdog);                                 \
		if ((world)->timed_out)                                        \
			fail_msg("%s does not come true", #condition);         \
	} while (0)

static inline void daemon_asked(struct management_request *request, void *arg)
{
	struct daemon_world *world = arg;

	assert_true(world->asked_count < MAX_ASKED);
	world->asked[world->asked_count++] = request;
}

static inline void daemon_item(struct management_request *request,
			       const char *name)
{
	struct json_writer *w = management_request_item(request);

	json_object_begin(w, NULL);
	json_text(w, "name", name);
	json_object_end(w);
}

/** Answer the question at this place with one item. */
static inline void daemon_answer(struct daemon_world *world, size_t i,
				 const char *name)
{
	struct management_request *request = world->asked[i];

	assert_true(i < world->asked_count);
	memmove(&world->asked[i], &world->asked[i + 1],
		(world->asked_count - i - 1) * sizeof(world->asked[0]));
	world->asked_count--;
	daemon_item(request, name);
	management_request_finish(request);
}

static inline void daemon_sessions(struct management_request *request,
				   void *arg)
{
	struct daemon_world *world = arg;
	char text[1001];

	memset(text, 's', 1000);
	text[1000] = '\0';
	for (size_t len = 0; len < world->answer_bytes; len += 1000)
		daemon_item(request, text);
	management_request_finish(request);
}

/* A client and what it has received. */
struct client {
	struct daemon_world *world;
	int fd;
	struct buf text;
	bool closed;
};

static inline void client_init(struct client *client,
			       struct daemon_world *world,
			       const struct sockaddr *to, socklen_t len)
{
	*client = (struct client){.world = world};
	client->fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(client->fd >= 0);
	assert_int_equal(connect(client->fd, to, len), 0);
	fcntl(client->fd, F_SETFL, O_NONBLOCK);
}

static inline void client_done(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	buf_done(&client->text);
}

static inline void client_say(struct client *client, const char *text)
{
	ssize_t len = (ssize_t)strlen(text);

	assert_int_equal(send(client->fd, text, (size_t)len, MSG_NOSIGNAL),
			 len);
}

/* Take what is there. @return always true */
static inline bool client_read(struct client *client)
{
	char piece[65536];
	ssize_t n;

	while ((n = read(client->fd, piece, sizeof(piece))) > 0)
		buf_add(&client->text, span_make(piece, (size_t)n));
	if (n == 0 || (n < 0 && errno != EAGAIN))
		client->closed = true;
	return true;
}

/** Wait for exactly this text, and forget it. */
static inline void client_hears(struct client *client, const char *text)
{
	world_wait(client->world,
		   client_read(client) && client->text.len >= strlen(text));
	assert_string_equal(client->text.data, text);
	buf_reset(&client->text);
}

/** Nothing is said in some turns of the loop. */
static inline void client_hears_nothing(struct client *client)
{
	world_turns(client->world, 5);
	client_read(client);
	assert_int_equal(client->text.len, 0);
	assert_false(client->closed);
}

static inline void client_is_closed(struct client *client)
{
	world_wait(client->world, client_read(client) && client->closed);
}
