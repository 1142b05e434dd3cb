#pragma once
/**
 * @file tests/unit/ctl/world.h  Subcommands as they are called: arguments in,
 * exit status and output out
 */
#include "net/http_server.h"
#include "net/loop.h"

struct world {
	char folder[64], output[128];
	char text[8192]; /* what the last command printed, both ways */

	/* The daemons that are asked; commands then run in a thread. */
	struct loop *loop;
	struct http_server *dispatcher, *relay;
	struct timer *guard;
	bool hung;
	int done[2];
	int argc, status;
	char **argv;
	int (*command)(int argc, char **argv);
};

/* For cmocka: *state is a struct world. */
int make_world(void **state);
int end_world(void **state);

/** Run a command, and the loop meanwhile. @return its exit status */
int run(struct world *w, int (*command)(int, char **), char **argv);

#define RUN(w, command, ...)                                                   \
	run(w, command, (char *[]){"command", __VA_ARGS__, NULL})

/** Answer at a socket of this name in the folder. */
void serve(struct world *w, struct http_server **ret, const char *name,
	   http_request_h *handler, void *arg);

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)
