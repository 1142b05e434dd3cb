#pragma once
/**
 * @file ctl/ctl.h  What the subcommands of `mediaproxy` share
 *
 * A subcommand is one function that reads its own arguments, prints, and
 * returns the exit status. Blocking calls and one thread: it is a command, not
 * a daemon.
 */
#include <stdbool.h>
#include <stdint.h>

/* Exit statuses, the same for every subcommand. */
enum {
	CTL_OK = 0,
	CTL_FAILED = 1, /* it was tried and did not work */
	CTL_USAGE = 2   /* the command line was wrong; nothing was tried */
};

/** One subcommand. argv[0] is its own name. */
struct ctl_command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary; /* one line for the list */
};

int ctl_certs(int argc, char **argv);
int ctl_summary(int argc, char **argv);
int ctl_sessions(int argc, char **argv);
int ctl_history(int argc, char **argv);
int ctl_explain(int argc, char **argv);
int ctl_accounting(int argc, char **argv);
int ctl_relay(int argc, char **argv);
int ctl_call(int argc, char **argv);
int ctl_bench(int argc, char **argv);

/** Print "mediaproxy COMMAND: ..." to standard error. @return CTL_FAILED */
int ctl_fail(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** The same, and where the help is. @return CTL_USAGE */
int ctl_usage_error(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** After getopt_long() with opterr = 0 returned '?' or ':'. @return CTL_USAGE
 */
int ctl_bad_option(const char *command, int argc, char **argv);

/** Read a decimal option value within limits, or say what is allowed. */
bool ctl_number(const char *command, const char *option, const char *text,
		uint64_t min, uint64_t max, uint64_t *ret);

/** For a failed connect: a line that says what to do. error: negative errno */
int ctl_fail_to_reach(const char *command, const char *path, int error);
