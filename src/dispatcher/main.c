/** @file dispatcher/main.c  media-dispatcher: start, signals, stop */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "dispatcher/control.h"
#include "dispatcher/dispatcher.h"
#include "management/text.h"
#include "net/service.h"
#include "version.h"

/* Beside the connections: log, listeners, control channel, pid file, epoll,
 * databases. */
#define OTHER_FILES 96

/* What a stop waits for: backends in the middle of a batch, and a disk. */
#define BACKENDS_GRACE_US (3 * US_PER_S)
#define DISK_GRACE_US (5 * US_PER_S)

static void on_stop(int signal_number, void *arg)
{
	struct dispatcher *dispatcher = arg;

	log_info("signal %d: stopping", signal_number);
	service_stopping();
	loop_stop(dispatcher->loop);
}

static int watch_signals(struct dispatcher *dispatcher)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (loop_on_signal(dispatcher->loop, signals[i], on_stop,
				   dispatcher) < 0)
			return -ENOMEM;
	return loop_on_signal(dispatcher->loop, SIGUSR1, daemon_toggle_debug,
			      dispatcher->daemon);
}

static void raise_limits(const struct conf_dispatcher *conf)
{
	uint64_t wanted = OTHER_FILES + conf->max_proxy_connections +
			  conf->max_relay_connections +
			  conf->max_management_connections +
			  MANAGEMENT_TEXT_MAX_NEWCOMERS;
	uint64_t have = service_raise_open_files(wanted);

	if (have < wanted)
		log_warning("only %llu open files are allowed, %llu are wanted "
			    "for all connections of [Dispatcher]: raise the "
			    "hard limit (ulimit -Hn, LimitNOFILE=)",
			    (unsigned long long)have,
			    (unsigned long long)wanted);
}

static void disk_failing(bool is_failing, const char *why, void *arg)
{
	const struct dispatcher *dispatcher = arg;

	if (is_failing)
		log_error("%s cannot be written: %s; calls go on, records wait "
			  "in memory",
			  dispatcher->store_path, why);
	else
		log_info("%s can be written again", dispatcher->store_path);
}

static int open_store(struct dispatcher *dispatcher, bool set_aside,
		      struct buf *ret_why)
{
	const struct store_config config = {
		.loop = dispatcher->loop,
		.path = dispatcher->store_path,
		.set_aside = set_aside,
		.failing = disk_failing,
		.arg = dispatcher,
	};
	int err = service_make_state_dir(dispatcher->state_dir);

	snprintf(dispatcher->store_path, sizeof(dispatcher->store_path),
		 "%s/dispatcher.db", dispatcher->state_dir);
	if (err < 0)
		buf_printf(ret_why, "[Dispatcher] state_dir: %s: %s",
			   dispatcher->state_dir, strerror(-err));
	else
		err = store_open(&dispatcher->store, &config, ret_why);
	if (err == 0 && ret_why->len > 0)
		log_error("%s", ret_why->data);
	return err;
}

static int open_disk(struct dispatcher *dispatcher, bool set_aside,
		     struct buf *ret_why)
{
	uint64_t now_us = loop_now_us(dispatcher->loop);
	int err = directory_new(&dispatcher->directory);

	if (err == 0)
		err = open_store(dispatcher, set_aside, ret_why);
	if (err == 0)
		err = directory_disk_open(&dispatcher->disk, dispatcher->store,
					  dispatcher->directory, now_us,
					  ret_why);
	if (err == 0)
		err = accounting_new(&dispatcher->records.accounting,
				     dispatcher->loop, dispatcher->store,
				     dispatcher->store_path,
				     &dispatcher->backend_config, ret_why);
	return err;
}

static void close_disk(struct dispatcher *dispatcher)
{
	dispatcher->directory = directory_free(dispatcher->directory);
	dispatcher->store = store_free(dispatcher->store, 0);
	dispatcher->disk = directory_disk_free(dispatcher->disk);
}

/* What was known before the last end, and the backends. Calls are to go on
 * whatever has become of the file. */
static int start_accounting(struct dispatcher *dispatcher)
{
	CLEANUP(buf_done) struct buf why = {0};
	struct directory_counts counts;
	size_t unreadable;
	int err = open_disk(dispatcher, /* set_aside= */ false, &why);

	if (err == -EBADMSG) {
		close_disk(dispatcher);
		buf_reset(&why);
		err = open_disk(dispatcher, /* set_aside= */ true, &why);
	}
	if (err == 0)
		err = store_start(dispatcher->store);
	if (err == 0)
		err = accounting_start(dispatcher->records.accounting);
	if (err < 0) {
		log_error("%s: %s", dispatcher->daemon->config_file,
			  why.data ? why.data : strerror(-err));
		return err;
	}
	unreadable = directory_disk_unreadable(dispatcher->disk);
	if (unreadable > 0)
		log_warning("%zu sessions on the disk cannot be read, or are "
			    "too many; what is up is told by its relay",
			    unreadable);
	counts = directory_count(dispatcher->directory);
	if (counts.sessions > 0)
		log_info("%zu sessions known from the disk, %zu of them wait "
			 "for the SIP proxy's remove",
			 counts.sessions, counts.expired);
	return 0;
}

static int start_links(struct dispatcher *dispatcher)
{
	char address[ADDR_TEXT_SIZE];
	int err = relay_peers_new(&dispatcher->peers, dispatcher->loop,
				  dispatcher->daemon->conf, dispatcher->tls,
				  &relay_events_handlers, &dispatcher->events);

	if (err < 0)
		log_error("%s: [Dispatcher] listen = %s: %s",
			  dispatcher->daemon->config_file,
			  dispatcher_listen_text(&dispatcher->conf->listen,
						 address),
			  strerror(-err));
	else
		router_set_peers(dispatcher->router, dispatcher->peers);
	dispatcher->records.peers = dispatcher->peers;
	if (err == 0)
		err = interims_new(
			&dispatcher->interims, dispatcher->loop,
			dispatcher->daemon->conf->radius.interim_interval_us,
			dispatcher->peers, dispatcher->records.accounting);
	return err;
}

/* A group that is named must be there; one that is only guessed may be out of
 * our reach. */
static int find_access(const struct dispatcher *dispatcher,
		       struct proxy_access *ret)
{
	const char *name = dispatcher->conf->socket_group;
	gid_t group;

	if (name[0] == '\0') {
		*ret = proxy_access_choose(service_group("opensips"),
					   service_group("kamailio"));
		return 0;
	}
	group = service_group(name);
	if (group == (gid_t)-1) {
		log_error("%s: [Dispatcher] socket_group = %s: there is no "
			  "such group",
			  dispatcher->daemon->config_file, name);
		return -EINVAL;
	}
	*ret = (struct proxy_access){.mode = 0660, .group = group};
	return 0;
}

/* Open something for the SIP proxy, with its group's rights, or if the group
 * was guessed and we may not give it to it, with everybody's. */
static int open_to_proxy(struct dispatcher *dispatcher,
			 struct proxy_access *access,
			 int (*opener)(struct dispatcher *dispatcher,
				       const struct proxy_access *access))
{
	bool is_named = dispatcher->conf->socket_group[0] != '\0';
	int err = opener(dispatcher, access);

	if (err == -EPERM && !is_named && access->group != (gid_t)-1) {
		*access = (struct proxy_access){0666, (gid_t)-1, true};
		err = opener(dispatcher, access);
	}
	return err;
}

static int open_proxy_socket(struct dispatcher *dispatcher,
			     const struct proxy_access *access)
{
	return proxy_socket_new(&dispatcher->proxy, dispatcher->loop,
				dispatcher->socket_path, access,
				dispatcher->conf->max_proxy_connections,
				dispatcher->router);
}

static int start_proxy_socket(struct dispatcher *dispatcher,
			      struct proxy_access access)
{
	int err = open_to_proxy(dispatcher, &access, open_proxy_socket);

	if (err < 0)
		log_error("%s: [Dispatcher] socket_path: %s: %s",
			  dispatcher->daemon->config_file,
			  dispatcher->socket_path, strerror(-err));
	else if (access.open_to_all)
		log_warning("%s is open to every user of this host; set "
			    "[Dispatcher] socket_group to the SIP proxy's "
			    "group",
			    dispatcher->socket_path);
	return err;
}

static int open_dialog_socket(struct dispatcher *dispatcher,
			      const struct proxy_access *access)
{
	char path[CONF_MAX_TEXT * 2];
	struct hash_table random = {0};
	struct dialog_end_config config = {
		.proxy = &dispatcher->daemon->conf->opensips,
		.path = path,
		.mode = access->mode,
		.group = access->group,
	};

	daemon_runtime_path(dispatcher->daemon, "media-dispatcher.mi", path);
	if (hash_init(&random) < 0)
		return -ENOMEM;
	config.first_number = (uint32_t)hash_span(&random, SPAN("dialogs"));
	hash_done(&random);
	return dialog_end_new(&dispatcher->dialogs, dispatcher->loop, &config);
}

/* Its own socket is where the answers come: the proxy has to write to it as to
 * the other one. */
static int start_dialogs(struct dispatcher *dispatcher,
			 struct proxy_access access)
{
	int err = open_to_proxy(dispatcher, &access, open_dialog_socket);

	if (err < 0)
		log_error("media-dispatcher.mi, for answers from [OpenSIPS] "
			  "socket_path = %s: %s",
			  dispatcher->daemon->conf->opensips.socket_path,
			  strerror(-err));
	dispatcher->events.dialogs = dispatcher->dialogs;
	return err;
}

static int start(struct dispatcher *dispatcher)
{
	struct proxy_access access;
	int err = find_access(dispatcher, &access);

	if (err < 0 || (err = loop_new(&dispatcher->loop)) < 0)
		return err;
	dispatcher->started_us = loop_now_us(dispatcher->loop);
	if ((err = watch_signals(dispatcher)) < 0 ||
	    (err = start_accounting(dispatcher)) < 0 ||
	    (err = router_new(&dispatcher->router, dispatcher->loop,
			      dispatcher->conf, dispatcher->directory,
			      &dispatcher->records)) < 0 ||
	    (err = relay_events_start(&dispatcher->events, dispatcher->loop,
				      dispatcher->conf, dispatcher->directory,
				      &dispatcher->records)) < 0 ||
	    (err = start_dialogs(dispatcher, access)) < 0 ||
	    (err = start_links(dispatcher)) < 0 ||
	    (err = control_new(&dispatcher->control, dispatcher)) < 0)
		return err;
	/* Last, so that whoever can connect finds all the rest. */
	return start_proxy_socket(dispatcher, access);
}

/* In this order: open requests get their `error`, what calls others goes before
 * what is called, and loop_free() writes what is still to be written. */
static void stop(struct dispatcher *dispatcher)
{
	if (dispatcher->router)
		router_stop(dispatcher->router);
	control_stop(dispatcher->control);
	proxy_socket_free(dispatcher->proxy);
	interims_stop(dispatcher->interims);
	relay_peers_free(dispatcher->peers);
	interims_free(dispatcher->interims);
	dispatcher->records.peers = NULL;
	accounting_stop(dispatcher->records.accounting, BACKENDS_GRACE_US);
	store_free(dispatcher->store, DISK_GRACE_US);
	control_free(dispatcher->control);
	if (dispatcher->loop)
		relay_events_stop(&dispatcher->events);
	dialog_end_free(dispatcher->dialogs);
	router_free(dispatcher->router);
	directory_free(dispatcher->directory);
	directory_disk_free(dispatcher->disk);
	accounting_free(dispatcher->records.accounting);
	loop_free(dispatcher->loop);
	tls_context_free(dispatcher->tls);
	tls_context_free(dispatcher->management_tls);
}

static void say_ready(const struct dispatcher *dispatcher)
{
	struct endpoint at = relay_peers_address(dispatcher->peers);
	CLEANUP(buf_done) struct buf status = {0};
	struct endpoint text = control_text_address(dispatcher->control);
	char address[2][ADDR_TEXT_SIZE];

	buf_printf(&status, "SIP proxy on %s, relays on %s, management on %s",
		   dispatcher->socket_path, endpoint_format(&at, address[0]),
		   endpoint_format(&text, address[1]));
	daemon_ready(dispatcher->daemon, status.data ? status.data : "");
}

static int load_tls(struct dispatcher *dispatcher)
{
	const struct conf_dispatcher *conf = dispatcher->conf;
	int err = daemon_load_tls(dispatcher->daemon, &conf->passport,
				  &dispatcher->tls);

	if (err == 0 && conf->management_use_tls)
		err = daemon_load_tls(dispatcher->daemon,
				      &conf->management_passport,
				      &dispatcher->management_tls);
	return err;
}

static void prepare(struct dispatcher *dispatcher)
{
	const struct daemon *daemon = dispatcher->daemon;

	daemon_runtime_path(daemon, dispatcher->conf->socket_path,
			    dispatcher->socket_path);
	daemon_config_path(daemon, dispatcher->conf->state_dir,
			   dispatcher->state_dir);
	dispatcher->backend_config = (struct backend_config){
		.conf = daemon->conf,
		.config_dir = daemon->config_dir,
		.state_dir = dispatcher->state_dir,
	};
}

/* What can be checked without starting. */
static int check(struct daemon *daemon)
{
	struct dispatcher dispatcher = {.daemon = daemon,
					.conf = &daemon->conf->dispatcher};
	CLEANUP(buf_done) struct buf text = {0};
	struct proxy_access access;
	CLEANUP(buf_done) struct buf why = {0};
	int tls_err = load_tls(&dispatcher);
	int access_err = find_access(&dispatcher, &access);
	int accounting_err;

	prepare(&dispatcher);
	accounting_err = accounting_check(&dispatcher.backend_config, &why);
	if (accounting_err < 0)
		log_error("%s: %s", daemon->config_file,
			  why.data ? why.data : strerror(-accounting_err));

	stop(&dispatcher);
	conf_print(daemon->conf, CONF_DAEMON_DISPATCHER, &text);
	fputs(text.data ? text.data : "", stdout);
	return tls_err < 0 || access_err < 0 || accounting_err < 0;
}

static int run(struct daemon *daemon)
{
	struct dispatcher dispatcher = {.daemon = daemon,
					.conf = &daemon->conf->dispatcher};
	int status = 1;

	prepare(&dispatcher);
	if (load_tls(&dispatcher) == 0 && daemon_start(daemon) == 0) {
		raise_limits(dispatcher.conf);
		if (start(&dispatcher) == 0) {
			say_ready(&dispatcher);
			status = loop_run(dispatcher.loop) < 0;
		} else {
			log_error("media-dispatcher cannot start");
		}
	}
	stop(&dispatcher);
	if (status == 0)
		log_info("media-dispatcher stopped");
	return status;
}

int main(int argc, char **argv)
{
	struct daemon daemon = {.name = "media-dispatcher",
				.kind = CONF_DAEMON_DISPATCHER};
	int status = 1;

	if (daemon_prepare(&daemon, argc, argv, &status))
		status = daemon.check ? check(&daemon) : run(&daemon);
	daemon_done(&daemon);
	return status;
}
