#pragma once
/**
 * @file ctl/bench.h  The load of `mediaproxy bench signalling`
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/distribution.h"

#define BENCH_MAX_PIDS 16

struct bench_options {
	char socket[512];
	uint64_t connections;
	uint64_t seconds;
	uint64_t calls; /* 0: by time */
	uint64_t rate;  /* calls a second; 0: as many as there can be */
	const char *ip;
	size_t pid_count;
	pid_t pids[BENCH_MAX_PIDS];
	bool json;
};

/** The three requests of a call. */
enum bench_step { BENCH_OFFER, BENCH_ANSWER, BENCH_REMOVE };
#define BENCH_STEPS 3

const char *bench_step_name(enum bench_step step);

struct bench_cpu {
	char name[32]; /* "" if the process is not there */
	double us_per_call;
};

struct bench_result {
	uint64_t calls;        /* that went through all three */
	uint64_t failed_calls; /* one of the three was refused, or never
				  answered */
	uint64_t lost_connections;
	uint64_t errors[BENCH_STEPS];
	double seconds, calls_per_second;
	struct distribution latency_us[BENCH_STEPS];
	struct bench_cpu cpu[BENCH_MAX_PIDS];
};

/**
 * Run it to its end, or until *stop.
 *
 * @param ret  All zero before
 * @return 0, or negative errno if not even one connection could be made
 */
int bench_signalling(const struct bench_options *options,
		     const volatile sig_atomic_t *stop,
		     struct bench_result *ret);
