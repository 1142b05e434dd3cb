#pragma once
/**
 * @file bench/tool.h  What the programs of the rate measurement share
 *
 * They are short-lived and started by bench/run.py: what goes wrong ends them,
 * with one line on standard error.
 */
#include <stdint.h>

#include "packet.h"

#define NS_PER_S 1000000000ull

/** Print the program's name, what, and errno; exit 1. */
_Noreturn void tool_fail(const char *what);

/** A number of the command line; exits 2 if it is not one of [min, max]. */
uint32_t tool_number(const char *text, uint32_t min, uint32_t max);

/** Run on this CPU alone. */
void tool_pin(uint32_t cpu);

/** Move this process into a network namespace of `ip netns`; NULL: stay. */
void tool_enter(const char *netns);

/** End with the process that started this one, however that ends. */
void tool_end_with_parent(void);

/** The index of an interface of this namespace. */
uint32_t tool_interface(const char *name);

/** The address of an interface of this namespace. */
void tool_own_mac(uint8_t ret[static 6], const char *interface);

/** An address as text; exits if it is none. */
void tool_read_mac(uint8_t ret[static 6], const char *text);

uint64_t tool_now_ns(void);
void tool_sleep_until(uint64_t mono_ns);

struct bpf_program;

/** Have an XDP program run at an interface until standard input ends; print
 * "ok" once it does. */
void tool_run_xdp(const struct bpf_program *program, const char *interface);

/**
 * Read flows, each a line "source-ip port destination-ip port".
 *
 * @param flows  Gets exactly count of them; exits if they are not there
 */
void tool_read_flows(struct packet_flow *flows, uint32_t count);
