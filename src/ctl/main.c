/**
 * @file ctl/main.c  The operator's command: one table of subcommands
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "version.h"

static const struct ctl_command commands[] = {
	{"summary", ctl_summary, "what a dispatcher and its relays are doing"},
	{"sessions", ctl_sessions, "the calls that are going on"},
	{"history", ctl_history, "the calls that have ended"},
	{"explain", ctl_explain, "what happened to a call, and who hears whom"},
	{"accounting", ctl_accounting,
	 "what becomes of their records; what was refused"},
	{"relay", ctl_relay,
	 "what of a relay's media the kernel forwards; change it"},
	{"call", ctl_call, "make a test call and say how its media fared"},
	{"certs", ctl_certs, "make, show and revoke certificates"},
	{"bench", ctl_bench, "measure how many calls a second are set up"},
};

static void print_help(FILE *out)
{
	(void)fputs("Usage: mediaproxy COMMAND [OPTION]...\n"
		    "\n"
		    "Look at, try out and prepare MediaProxy's dispatcher and "
		    "relays.\n"
		    "\n"
		    "Commands:\n",
		    out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)fprintf(out, "  %-10s %s\n", commands[i].name,
			      commands[i].summary);
	(void)fputs("\n"
		    "  mediaproxy COMMAND --help says more about a command.\n"
		    "  mediaproxy --version prints the version.\n"
		    "\n"
		    "Exit status: 0 it worked, 1 it did not, 2 wrong usage.\n",
		    out);
}

int main(int argc, char **argv)
{
	static char help_option[] = "--help";
	const char *name = argc > 1 ? argv[1] : NULL;

	if (!name) {
		print_help(stderr);
		return CTL_USAGE;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
	    strcmp(name, "help") == 0) {
		if (argc == 2) {
			print_help(stdout);
			return CTL_OK;
		}
		/* "help call" is "call --help". */
		argv[1] = argv[2];
		argv[2] = help_option;
		name = argv[1];
		argc = 3;
	}
	if (strcmp(name, "--version") == 0) {
		(void)printf("mediaproxy %s\n", MEDIAPROXY_VERSION);
		return CTL_OK;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	(void)fprintf(stderr,
		      "mediaproxy: there is no command \"%s\"; \"mediaproxy "
		      "--help\" lists them\n",
		      name);
	return CTL_USAGE;
}
