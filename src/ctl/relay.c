/**
 * @file ctl/relay.c  mediaproxy relay forwarding: what of a relay's media the
 * kernel forwards
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ctl/api.h"
#include "ctl/ctl.h"
#include "ctl/show.h"
#include "version.h"

#define COMMAND "relay forwarding"
#define PATH "/api/v1/forwarding"
#define WAIT_US (2 * US_PER_S)
#define POLL_NS 50000000

static const char help[] =
	"Usage: mediaproxy relay forwarding [OPTION]... "
	"[auto|xdp|tc|userspace]\n"
	"\n"
	"Show what forwards the confirmed flows of this host's relay at each "
	"interface, and\n"
	"why, with how many flows the kernel has, and what it gave to the "
	"relay instead.\n"
	"With a mode: change it, for calls that are up too, until the relay "
	"is started again.\n"
	"\n"
	"  auto       for each interface xdp, else tc, else userspace\n"
	"  xdp, tc    only this, else userspace\n"
	"  userspace  the kernel forwards nothing: tcpdump and nftables see "
	"all media\n"
	"\n"
	"  --runtime-dir DIR  where media-relay.ctl is "
	"(default " DEFAULT_RUNTIME_DIR ")\n"
	"  --socket PATH      ask at this control socket\n"
	"  --json             print the relay's JSON, for programs\n"
	"\n"
	"Examples:\n"
	"  mediaproxy relay forwarding\n"
	"  mediaproxy relay forwarding userspace\n"
	"  mediaproxy relay forwarding --json | jq .flows\n";

static bool is_mode(const char *word)
{
	static const char *const modes[] = {"auto", "xdp", "tc", "userspace"};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(word, modes[i]) == 0)
			return true;
	return false;
}

/* @return 0 to go on, or an exit status + 1. *ret_mode: NULL: none is given */
static int read_words(int argc, char **argv, const char **ret_mode)
{
	int count = argc - optind;

	if (count == 0 || strcmp(argv[optind], "forwarding") != 0)
		return ctl_usage_error("relay", "what of the relay? There is "
						"\"forwarding\"") +
		       1;
	*ret_mode = count > 1 ? argv[optind + 1] : NULL;
	if (*ret_mode && !is_mode(*ret_mode))
		return ctl_usage_error(COMMAND,
				       "\"%s\" is none of auto, xdp, tc and "
				       "userspace",
				       *ret_mode) +
		       1;
	if (count > 2)
		return ctl_usage_error(COMMAND, "\"%s\" is one word too many",
				       argv[optind + 2]) +
		       1;
	return 0;
}

static bool is_applied(const json_t *status)
{
	return !json_is_false(json_object_get(status, "applied"));
}

/* The relay has been told; it takes a moment until it is so everywhere. */
static int wait_applied(const struct api_target *target, json_t **status)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};
	uint64_t end_us = clock_mono_us() + WAIT_US;

	while (!is_applied(*status)) {
		int rc;

		if (clock_mono_us() >= end_us)
			return ctl_fail(COMMAND,
					"the relay was told, and has not done "
					"it yet");
		(void)nanosleep(&pause, NULL);
		json_decref(*status);
		*status = NULL;
		rc = api_get(COMMAND, target, PATH, status);
		if (rc != CTL_OK)
			return rc;
	}
	return CTL_OK;
}

static int change(const struct api_target *target, const char *mode,
		  json_t **status)
{
	json_auto_t *body = json_pack("{s:s}", "forwarding", mode);
	int rc = api_put(COMMAND, target, PATH, body, status);

	return rc == CTL_OK ? wait_applied(target, status) : rc;
}

int ctl_relay(int argc, char **argv)
{
	struct api_options o = {.target = {.runtime_dir = DEFAULT_RUNTIME_DIR,
					   .relay_only = true}};
	CLEANUP(buf_done) struct buf text = {0};
	json_auto_t *status = NULL;
	const char *mode = NULL;
	int rc = api_read_options("relay", help, argc, argv, &o);

	if (rc > 0 || (rc = read_words(argc, argv, &mode)) > 0)
		return rc - 1;
	rc = mode ? change(&o.target, mode, &status)
		  : api_get(COMMAND, &o.target, PATH, &status);
	if (rc != CTL_OK)
		return rc;
	if (o.json)
		return api_print_json(COMMAND, status);
	show_forwarding(&text, status);
	return api_print_text(COMMAND, &text);
}
