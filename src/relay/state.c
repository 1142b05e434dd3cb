#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net/service.h"
#include "relay/relay.h"

static void disk_failing(bool is_failing, const char *why, void *arg)
{
	const struct relay *relay = arg;

	if (is_failing)
		log_error("%s/relay.db cannot be written, records wait in "
			  "memory: %s",
			  relay->conf->state_dir, why);
	else
		log_info("%s/relay.db is written again",
			 relay->conf->state_dir);
}

void relay_open_store(struct relay *relay)
{
	CLEANUP(buf_done) struct buf why = {0};
	char folder[CONF_MAX_TEXT * 2], path[CONF_MAX_TEXT * 2 + 16];
	const struct store_config config = {
		.loop = relay->loop,
		.path = path,
		.failing = disk_failing,
		.arg = relay,
	};
	int r;

	daemon_config_path(relay->daemon, relay->conf->state_dir, folder);
	snprintf(path, sizeof(path), "%s/relay.db", folder);
	r = service_make_state_dir(folder);
	if (r < 0)
		buf_printf(&why, "state_dir %s: %s", folder, strerror(-r));
	else
		r = store_open(&relay->store, &config, &why);
	if (r < 0)
		log_warning("records are kept in memory alone, and are lost if "
			    "the relay is killed: %s",
			    why.len > 0 ? why.data : strerror(-r));
	else if (why.len > 0)
		log_warning("%s", why.data);
}
