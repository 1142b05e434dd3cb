/** @file ctl/bench_load.c */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "ctl/bench.h"
#include "ctl/proxy.h"

#define REPLY_TIMEOUT_US (10 * US_PER_S)

/* A worker of the SIP proxy: one request in flight. */
struct worker {
	int fd; /* -1: lost */
	bool idle;
	enum bench_step step;
	bool failed; /* this call */
	uint64_t asked_us;
	char call_id[48], from_tag[24], to_tag[24];
	struct buf request;
	char reply[PROXY_MAX_REPLY];
	size_t reply_len;
};

struct bench {
	const struct bench_options *options;
	struct bench_result *result;
	uint64_t prefix; /* no other run has it */
	uint64_t start_us, started, until_us;
	size_t busy; /* workers in a call */
	struct worker *workers;
	struct pollfd *polls;
};

const char *bench_step_name(enum bench_step step)
{
	static const char *const names[] = {"update request", "update reply",
					    "remove"};

	return names[step];
}

/* utime + stime, and the name. The name stands in brackets and may hold
 * anything, brackets too. @return microseconds, or 0 */
static double cpu_us_of(pid_t pid, char name[static 32])
{
	unsigned long user = 0, system = 0;
	char path[64], text[1024], *end, *start;
	FILE *file;
	size_t len;

	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	len = fread(text, 1, sizeof(text) - 1, file);
	(void)fclose(file);
	text[len] = '\0';
	start = strchr(text, '(');
	end = strrchr(text, ')');
	if (!start || !end || end < start ||
	    sscanf(end + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
		   &user, &system) != 2)
		return 0;
	(void)snprintf(name, 32, "%.*s", (int)(end - start - 1), start + 1);
	return (double)(user + system) * US_PER_S /
	       (double)sysconf(_SC_CLK_TCK);
}

static void lose(struct bench *bench, struct worker *worker)
{
	close(worker->fd);
	worker->fd = -1;
	bench->polls[worker - bench->workers].fd = -1;
	bench->result->lost_connections++;
	if (!worker->idle) {
		bench->result->failed_calls++;
		bench->busy--;
	}
	worker->idle = true;
}

static void write_request(struct bench *bench, struct worker *worker)
{
	const struct bench_options *o = bench->options;
	const struct proxy_call names = {
		.call_id = worker->call_id,
		.from_tag = worker->from_tag,
		.to_tag = worker->to_tag,
		.from_uri = "caller@bench",
		.to_uri = "callee@bench",
	};
	bool is_reply = worker->step == BENCH_ANSWER;
	char media[128];
	int len = snprintf(media, sizeof(media), "audio:%s:%d:sendrecv:ice=no",
			   o->ip, is_reply ? 20000 : 10000);

	buf_reset(&worker->request);
	if (worker->step == BENCH_REMOVE)
		proxy_write_remove(&worker->request, &names);
	else
		proxy_write_update(&worker->request, &names, is_reply, o->ip,
				   span_make(media, (size_t)len));
}

/* The request is smaller than any socket buffer: it goes out at once, or the
 * dispatcher does not read at all. */
static void ask(struct bench *bench, struct worker *worker)
{
	struct span request;

	write_request(bench, worker);
	request = buf_span(&worker->request);
	worker->reply_len = 0;
	worker->asked_us = clock_mono_us();
	if (buf_failed(&worker->request) ||
	    send(worker->fd, request.ptr, request.len, MSG_NOSIGNAL) !=
		    (ssize_t)request.len)
		lose(bench, worker);
}

static bool wants_more(const struct bench *bench, uint64_t now_us)
{
	if (bench->options->calls > 0)
		return bench->started < bench->options->calls;
	return now_us < bench->until_us;
}

/* When the next call may begin. */
static uint64_t due_us(const struct bench *bench)
{
	return bench->options->rate == 0
		       ? 0
		       : bench->start_us + bench->started * US_PER_S /
						   bench->options->rate;
}

static void start_call(struct bench *bench, struct worker *worker)
{
	uint64_t number = bench->started++;

	(void)snprintf(worker->call_id, sizeof(worker->call_id),
		       "%016llx-%llu@bench", (unsigned long long)bench->prefix,
		       (unsigned long long)number);
	(void)snprintf(worker->from_tag, sizeof(worker->from_tag), "f%llu",
		       (unsigned long long)number);
	(void)snprintf(worker->to_tag, sizeof(worker->to_tag), "t%llu",
		       (unsigned long long)number);
	worker->step = BENCH_OFFER;
	worker->failed = false;
	if (worker->idle)
		bench->busy++;
	worker->idle = false;
	ask(bench, worker);
}

static void end_call(struct bench *bench, struct worker *worker,
		     uint64_t now_us)
{
	if (worker->failed)
		bench->result->failed_calls++;
	else
		bench->result->calls++;
	if (wants_more(bench, now_us) && now_us >= due_us(bench)) {
		start_call(bench, worker);
		return;
	}
	worker->idle = true;
	bench->busy--;
}

/* Workers that are idle take the calls whose time has come. @return how long to
 * wait for the next one, in ms */
static int start_due(struct bench *bench)
{
	uint64_t now_us = clock_mono_us();
	uint64_t next_us;

	for (size_t i = 0; i < bench->options->connections; i++) {
		struct worker *worker = &bench->workers[i];

		if (worker->idle && worker->fd >= 0 &&
		    wants_more(bench, now_us) && now_us >= due_us(bench))
			start_call(bench, worker);
	}
	next_us = due_us(bench);
	if (!wants_more(bench, now_us) || next_us > now_us + US_PER_S)
		return 1000;
	return next_us > now_us ? (int)((next_us - now_us) / US_PER_MS) + 1 : 1;
}

static bool is_good(enum bench_step step, const struct proxy_reply *reply)
{
	if (step == BENCH_REMOVE)
		return reply->kind == PROXY_REPLY_REMOVED;
	return reply->kind == PROXY_REPLY_PORTS && reply->count == 1 &&
	       reply->ports[0] != 0;
}

static void reply_came(struct bench *bench, struct worker *worker,
		       struct span line)
{
	struct bench_result *result = bench->result;
	uint64_t now_us = clock_mono_us();
	struct proxy_reply reply;

	distribution_add(&result->latency_us[worker->step],
			 now_us - worker->asked_us);
	proxy_reply_decode(line, &reply);
	if (!is_good(worker->step, &reply)) {
		result->errors[worker->step]++;
		worker->failed = true;
	}
	if (worker->step == BENCH_REMOVE) {
		end_call(bench, worker, now_us);
		return;
	}
	/* A refused offer left nothing behind; a refused answer did. */
	worker->step = worker->failed ? BENCH_REMOVE : worker->step + 1;
	ask(bench, worker);
}

static void readable(struct bench *bench, struct worker *worker)
{
	size_t room = sizeof(worker->reply) - worker->reply_len;
	ssize_t n =
		recv(worker->fd, worker->reply + worker->reply_len, room, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose(bench, worker);
		return;
	}
	worker->reply_len += (size_t)n;
	if (worker->reply_len >= 2 &&
	    memcmp(worker->reply + worker->reply_len - 2, "\r\n", 2) == 0)
		reply_came(bench, worker,
			   span_make(worker->reply, worker->reply_len - 2));
	else if (worker->reply_len == sizeof(worker->reply))
		lose(bench, worker);
}

static void lose_silent(struct bench *bench)
{
	uint64_t now_us = clock_mono_us();

	for (size_t i = 0; i < bench->options->connections; i++) {
		struct worker *worker = &bench->workers[i];

		if (!worker->idle && worker->fd >= 0 &&
		    now_us - worker->asked_us > REPLY_TIMEOUT_US)
			lose(bench, worker);
	}
}

static int run(struct bench *bench, const volatile sig_atomic_t *stop)
{
	size_t n = bench->options->connections;
	uint64_t check_us = clock_mono_us() + US_PER_S;

	bench->start_us = clock_mono_us();
	while (true) {
		int wait_ms = start_due(bench);
		int ready;

		if (bench->busy == 0 && (bench->options->rate == 0 ||
					 bench->result->lost_connections >= n ||
					 !wants_more(bench, clock_mono_us())))
			return 0;
		ready = poll(bench->polls, (nfds_t)n,
			     bench->options->rate > 0 ? wait_ms : 1000);

		if (ready < 0 && errno != EINTR)
			return -errno;
		if (*stop) {
			/* Calls under way are still ended. */
			bench->until_us = 0;
			if (bench->options->calls > 0)
				bench->started = bench->options->calls;
		}
		for (size_t i = 0; i < n && ready > 0; i++) {
			if (!bench->polls[i].revents)
				continue;
			ready--;
			readable(bench, &bench->workers[i]);
		}
		if (clock_mono_us() > check_us) {
			lose_silent(bench);
			check_us = clock_mono_us() + US_PER_S;
		}
	}
}

static int connect_all(struct bench *bench)
{
	for (size_t i = 0; i < bench->options->connections; i++) {
		struct worker *worker = &bench->workers[i];
		int rc = proxy_connect(bench->options->socket, true,
				       &worker->fd);

		if (rc < 0)
			return rc;
		bench->polls[i] =
			(struct pollfd){.fd = worker->fd, .events = POLLIN};
	}
	return 0;
}

static int prepare(struct bench *bench)
{
	struct hash_table random;

	bench->workers =
		calloc(bench->options->connections, sizeof(struct worker));
	if (!bench->workers)
		return -ENOMEM;
	for (size_t i = 0; i < bench->options->connections; i++) {
		bench->workers[i].fd = -1;
		bench->workers[i].idle = true;
	}
	bench->polls =
		calloc(bench->options->connections, sizeof(struct pollfd));
	if (!bench->polls || hash_init(&random) < 0)
		return -ENOMEM;
	bench->prefix = hash_span(&random, SPAN("bench"));
	hash_done(&random);
	return connect_all(bench);
}

static void clean_up(struct bench *bench)
{
	for (size_t i = 0; bench->workers && i < bench->options->connections;
	     i++) {
		closep(&bench->workers[i].fd);
		buf_done(&bench->workers[i].request);
	}
	free(bench->workers);
	free(bench->polls);
}

static int measure(struct bench *bench, const volatile sig_atomic_t *stop)
{
	const struct bench_options *o = bench->options;
	struct bench_result *result = bench->result;
	double cpu_us[BENCH_MAX_PIDS] = {0};
	uint64_t start_us;
	int rc;

	for (size_t i = 0; i < o->pid_count; i++)
		cpu_us[i] = cpu_us_of(o->pids[i], result->cpu[i].name);
	start_us = clock_mono_us();
	bench->until_us = start_us + o->seconds * US_PER_S;
	rc = run(bench, stop);
	if (rc < 0)
		return rc;
	result->seconds = (double)(clock_mono_us() - start_us) / US_PER_S;
	if (result->seconds > 0)
		result->calls_per_second =
			(double)result->calls / result->seconds;
	for (size_t i = 0; i < o->pid_count && result->calls > 0; i++)
		result->cpu[i].us_per_call =
			(cpu_us_of(o->pids[i], result->cpu[i].name) -
			 cpu_us[i]) /
			(double)result->calls;
	return 0;
}

int bench_signalling(const struct bench_options *options,
		     const volatile sig_atomic_t *stop,
		     struct bench_result *ret)
{
	struct bench bench = {.options = options, .result = ret};
	int rc = prepare(&bench);

	if (rc == 0)
		rc = measure(&bench, stop);
	clean_up(&bench);
	return rc;
}
