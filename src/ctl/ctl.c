/** @file ctl/ctl.c */
#include "ctl/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/span.h"

static void print_error(const char *command, const char *format, va_list args)
{
	fflush(stdout);
	(void)fprintf(stderr, "mediaproxy %s: ", command);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
}

int ctl_fail(const char *command, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_error(command, format, args);
	va_end(args);
	return CTL_FAILED;
}

int ctl_usage_error(const char *command, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_error(command, format, args);
	va_end(args);
	(void)fprintf(stderr, "Try \"mediaproxy %s --help\".\n", command);
	return CTL_USAGE;
}

int ctl_bad_option(const char *command, int argc, char **argv)
{
	const char *option =
		optind > 0 && optind <= argc ? argv[optind - 1] : "?";

	return ctl_usage_error(command, "%s is unknown, or lacks its value",
			       option);
}

bool ctl_number(const char *command, const char *option, const char *text,
		uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t value;

	if (span_to_u64(span_of(text), max, &value) < 0 || value < min) {
		(void)ctl_usage_error(command,
				      "%s %s: a whole number from %llu to "
				      "%llu is needed",
				      option, text, (unsigned long long)min,
				      (unsigned long long)max);
		return false;
	}
	*ret = value;
	return true;
}

int ctl_fail_to_reach(const char *command, const char *path, int error)
{
	bool dispatcher = strstr(path, "dispatcher") != NULL;
	const char *daemon = dispatcher ? "dispatcher" : "daemon";

	switch (-error) {
	case ENOENT:
	case ECONNREFUSED:
		return ctl_fail(command,
				"nobody listens at %s: is the %s running?",
				path, daemon);
	case EACCES:
	case EPERM:
		return ctl_fail(command,
				"no right to use %s: run it as root, or as a "
				"member of the socket's group",
				path);
	case ETIMEDOUT:
		return ctl_fail(command, "no answer at %s in time", path);
	default:
		return ctl_fail(command, "cannot use %s: %s", path,
				strerror(-error));
	}
}
