#include "world.h"

#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

static void guard_fired(void *arg)
{
	struct world *w = arg;

	w->hung = true;
	loop_stop(w->loop);
}

int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->folder, "/tmp/test-commands-XXXXXX");
	if (!mkdtemp(w->folder) || loop_new(&w->loop) < 0 ||
	    timer_new(&w->guard, w->loop, guard_fired, w) < 0 ||
	    pipe(w->done) < 0)
		return -1;
	timer_start(w->guard, 20000000);
	(void)snprintf(w->output, sizeof(w->output), "%s/output", w->folder);
	*state = w;
	return 0;
}

int end_world(void **state)
{
	struct world *w = *state;
	char command[128];

	http_server_free(w->dispatcher);
	http_server_free(w->relay);
	timer_free(w->guard);
	loop_free(w->loop);
	close(w->done[0]);
	close(w->done[1]);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", w->folder);
	free(w);
	return system(command);
}

static void read_output(struct world *w)
{
	FILE *file = fopen(w->output, "r");
	size_t len;

	assert_non_null(file);
	len = fread(w->text, 1, sizeof(w->text) - 1, file);
	w->text[len] = '\0';
	fclose(file);
}

/* Run a command with its output in a file. */
static void run_here(struct world *w)
{
	int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
	int file = open(w->output, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	fflush(NULL);
	dup2(file, STDOUT_FILENO);
	dup2(file, STDERR_FILENO);
	optind = 1;
	w->status = w->command(w->argc, w->argv);
	fflush(NULL);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	close(file);
}

static void *run_in_thread(void *arg)
{
	struct world *w = arg;

	run_here(w);
	(void)!write(w->done[1], "x", 1);
	return NULL;
}

static void command_is_done(int fd, void *arg)
{
	struct world *w = arg;
	char byte;

	(void)!read(fd, &byte, 1);
	loop_stop(w->loop);
}

int run(struct world *w, int (*command)(int, char **), char **argv)
{
	struct watch *watch;
	pthread_t thread;

	w->command = command;
	w->argv = argv;
	for (w->argc = 0; argv[w->argc];)
		w->argc++;
	assert_int_equal(
		watch_new(&watch, w->loop, w->done[0], command_is_done, w), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_in_thread, w), 0);
	assert_int_equal(loop_run(w->loop), 0);
	pthread_join(thread, NULL);
	watch_free(watch);
	assert_false(w->hung);
	read_output(w);
	return w->status;
}

void serve(struct world *w, struct http_server **ret, const char *name,
	   http_request_h *handler, void *arg)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", w->folder, name);
	assert_int_equal(http_server_new_unix(ret, w->loop, path, 0600,
					      (gid_t)-1, handler, arg),
			 0);
}
