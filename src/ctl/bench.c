/**
 * @file ctl/bench.c  mediaproxy bench signalling: how many calls a second are
 * set up
 *
 * Each connection does what a worker of a SIP proxy does: one request in
 * flight, one call after the other, each an offer, an answer and a remove. One
 * thread and poll(), so that it costs little beside the daemons. It measures
 * and asserts nothing.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "ctl/bench.h"
#include "ctl/ctl.h"
#include "ctl/table.h"
#include "version.h"

#define MAX_CONNECTIONS 1024
#define MAX_CALLS 1000000000
#define MAX_SECONDS 86400

static const char help[] =
	"Usage: mediaproxy bench signalling [OPTION]...\n"
	"\n"
	"Set up and end calls as fast as the dispatcher of this host answers, "
	"each by\n"
	"update request, update reply and remove, without media. Prints calls "
	"a "
	"second, the\n"
	"percentiles of the time each of the three took, and errors. Not for a "
	"system with\n"
	"customers: the calls take ports and are accounted.\n"
	"\n"
	"  --dispatcher-socket PATH  default RUNTIME_DIR/dispatcher.sock\n"
	"  --runtime-dir DIR         default " DEFAULT_RUNTIME_DIR "\n"
	"  --connections N           so many at once (default 8)\n"
	"  --seconds S               how long (default 10)\n"
	"  --calls N                 so many calls instead, however long it "
	"takes\n"
	"  --rate N                  so many calls a second, where there are "
	"connections for\n"
	"                            them; default: as many as there can be\n"
	"  --ip ADDRESS              of both phones, in their SDP (default "
	"192.0.2.1)\n"
	"  --pid PID[,PID...]        also say how much CPU these processes "
	"(dispatcher and\n"
	"                            relay) used for a call; needs /proc\n"
	"  --json                    print the result as JSON\n"
	"\n"
	"Examples:\n"
	"  mediaproxy bench signalling --calls 100000\n"
	"  mediaproxy bench signalling --seconds 30 --pid "
	"\"$(pgrep -d, media-)\"\n";

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static bool read_pids(char *text, struct bench_options *o)
{
	struct span rest = span_of(text), head;
	bool last = false;

	while (!last) {
		uint64_t pid;

		last = !span_cut(&rest, ',', &head);
		if (last)
			head = rest;
		if (o->pid_count == BENCH_MAX_PIDS ||
		    span_to_u64(span_trim(head), INT32_MAX, &pid) < 0) {
			(void)ctl_usage_error("bench",
					      "--pid %s: at most %d process "
					      "ids, commas between",
					      text, BENCH_MAX_PIDS);
			return false;
		}
		o->pids[o->pid_count++] = (pid_t)pid;
	}
	return true;
}

/* @return 0 to go on, or an exit status + 1 */
static int read_options(int argc, char **argv, struct bench_options *o)
{
	static const struct option options[] = {
		{"dispatcher-socket", required_argument, NULL, 'd'},
		{"runtime-dir", required_argument, NULL, 'r'},
		{"connections", required_argument, NULL, 'c'},
		{"seconds", required_argument, NULL, 's'},
		{"calls", required_argument, NULL, 'n'},
		{"rate", required_argument, NULL, 'R'},
		{"ip", required_argument, NULL, 'i'},
		{"pid", required_argument, NULL, 'p'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	const char *socket = NULL, *runtime_dir = DEFAULT_RUNTIME_DIR;
	struct ip_addr ip;
	bool ok = true;
	int c;

	opterr = 0;
	while (ok && (c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			socket = optarg;
			break;
		case 'r':
			runtime_dir = optarg;
			break;
		case 'c':
			ok = ctl_number("bench", "--connections", optarg, 1,
					MAX_CONNECTIONS, &o->connections);
			break;
		case 's':
			ok = ctl_number("bench", "--seconds", optarg, 1,
					MAX_SECONDS, &o->seconds);
			break;
		case 'n':
			ok = ctl_number("bench", "--calls", optarg, 1,
					MAX_CALLS, &o->calls);
			break;
		case 'R':
			ok = ctl_number("bench", "--rate", optarg, 1, MAX_CALLS,
					&o->rate);
			break;
		case 'i':
			o->ip = optarg;
			break;
		case 'p':
			ok = read_pids(optarg, o);
			break;
		case 'j':
			o->json = true;
			break;
		case 'h':
			(void)fputs(help, stdout);
			return CTL_OK + 1;
		default:
			return ctl_bad_option("bench", argc, argv) + 1;
		}
	}
	if (!ok)
		return CTL_USAGE + 1;
	if (ip_parse(span_of(o->ip), &ip) < 0)
		return ctl_usage_error("bench", "--ip %s is no address",
				       o->ip) +
		       1;
	if (socket)
		(void)snprintf(o->socket, sizeof(o->socket), "%s", socket);
	else
		(void)snprintf(o->socket, sizeof(o->socket),
			       "%s/dispatcher.sock", runtime_dir);
	return 0;
}

static const double percents[] = {50, 90, 99};

static void print_latencies(const struct bench_result *r)
{
	static const struct table_column columns[] = {
		{"Request", false, 0}, {"Answers", true, 0},
		{"p50 (ms)", true, 0}, {"p90", true, 0},
		{"p99", true, 0},      {"max", true, 0},
		{"Errors", true, 0},
	};
	struct buf text = {0};
	struct table table;

	table_init(&table, columns, ARRAY_SIZE(columns));
	for (int step = 0; step < BENCH_STEPS; step++) {
		const struct distribution *d = &r->latency_us[step];

		table_cell(&table, "%s",
			   bench_step_name((enum bench_step)step));
		table_cell(&table, "%llu", (unsigned long long)d->count);
		for (size_t i = 0; i < ARRAY_SIZE(percents); i++)
			table_cell(&table, "%.3f",
				   (double)distribution_percentile(
					   d, percents[i]) /
					   US_PER_MS);
		table_cell(&table, "%.3f", (double)d->max / US_PER_MS);
		table_cell(&table, "%llu", (unsigned long long)r->errors[step]);
	}
	table_write(&table, &text);
	(void)fputs(text.data ? text.data : "", stdout);
	table_done(&table);
	buf_done(&text);
}

static void print_cpu(const struct bench_options *o,
		      const struct bench_result *r)
{
	double total = 0;

	for (size_t i = 0; i < o->pid_count; i++) {
		(void)printf("CPU  %-16s (%ld): %.1f us a call\n",
			     r->cpu[i].name, (long)o->pids[i],
			     r->cpu[i].us_per_call);
		total += r->cpu[i].us_per_call;
	}
	if (o->pid_count > 1)
		(void)printf("CPU  together: %.1f us a call\n", total);
}

static const char *const json_keys[BENCH_STEPS] = {"update_request",
						   "update_reply", "remove"};

static void print_json(const struct bench_options *o,
		       const struct bench_result *r)
{
	struct buf text = {0};
	struct json_writer w = json_writer_over(&text);

	json_object_begin(&w, NULL);
	json_u64(&w, "connections", o->connections);
	json_u64(&w, "calls", r->calls);
	json_float(&w, "seconds", r->seconds);
	json_float(&w, "calls_per_second", r->calls_per_second);
	json_u64(&w, "failed_calls", r->failed_calls);
	json_u64(&w, "lost_connections", r->lost_connections);
	for (int step = 0; step < BENCH_STEPS; step++) {
		const struct distribution *d = &r->latency_us[step];

		json_object_begin(&w, json_keys[step]);
		json_u64(&w, "answers", d->count);
		json_u64(&w, "errors", r->errors[step]);
		json_u64(&w, "p50_us", distribution_percentile(d, 50));
		json_u64(&w, "p90_us", distribution_percentile(d, 90));
		json_u64(&w, "p99_us", distribution_percentile(d, 99));
		json_u64(&w, "max_us", d->max);
		json_object_end(&w);
	}
	json_array_begin(&w, "cpu");
	for (size_t i = 0; i < o->pid_count; i++) {
		json_object_begin(&w, NULL);
		json_i64(&w, "pid", o->pids[i]);
		json_text(&w, "name", r->cpu[i].name);
		json_float(&w, "us_per_call", r->cpu[i].us_per_call);
		json_object_end(&w);
	}
	json_array_end(&w);
	json_object_end(&w);
	(void)printf("%s\n", text.data ? text.data : "{}");
	buf_done(&text);
}

static void print_text(const struct bench_options *o,
		       const struct bench_result *r)
{
	(void)printf("%llu calls on %llu connections in %.2f s: %.0f calls/s\n",
		     (unsigned long long)r->calls,
		     (unsigned long long)o->connections, r->seconds,
		     r->calls_per_second);
	if (r->failed_calls || r->lost_connections)
		(void)printf("%llu calls failed, %llu connections were lost\n",
			     (unsigned long long)r->failed_calls,
			     (unsigned long long)r->lost_connections);
	(void)fputc('\n', stdout);
	print_latencies(r);
	if (o->pid_count > 0)
		(void)fputc('\n', stdout);
	print_cpu(o, r);
}

static int run_and_print(const struct bench_options *o)
{
	struct sigaction action = {.sa_handler = on_interrupt};
	struct bench_result *result = calloc(1, sizeof(*result));
	int rc;

	if (!result)
		return ctl_fail("bench", "out of memory");
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	rc = bench_signalling(o, &interrupted, result);
	if (rc < 0) {
		free(result);
		return ctl_fail_to_reach("bench", o->socket, rc);
	}
	if (o->json)
		print_json(o, result);
	else
		print_text(o, result);
	rc = result->calls > 0 && result->failed_calls == 0 &&
			     result->lost_connections == 0
		     ? CTL_OK
		     : CTL_FAILED;
	free(result);
	return rc;
}

int ctl_bench(int argc, char **argv)
{
	struct bench_options o = {
		.connections = 8, .seconds = 10, .ip = "192.0.2.1"};
	int rc = read_options(argc, argv, &o);

	if (rc > 0)
		return rc - 1;
	if (optind == argc || strcmp(argv[optind], "signalling") != 0)
		return ctl_usage_error("bench",
				       "what is to be measured? There is "
				       "\"signalling\"");
	if (argc - optind > 1)
		return ctl_usage_error("bench", "\"%s\" is one word too many",
				       argv[optind + 1]);
	return run_and_print(&o);
}
