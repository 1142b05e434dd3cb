/** media-relay: start, signals, stop. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/service.h"
#include "relay/relay.h"
#include "version.h"

#define TICK_US US_PER_S
#define STOP_LIMIT_US (5 * US_PER_S)

struct session_time relay_time(const struct relay *relay)
{
	return (struct session_time){
		.mono_us = loop_now_us(relay->loop),
		.wall_us = clock_wall_us(),
	};
}

static void links_closed(void *arg)
{
	struct relay *relay = arg;

	loop_stop(relay->loop);
}

/* Go when the last session is gone: its record is on its way. */
static void leave_if_empty(struct relay *relay)
{
	struct session_counts counts;

	if (relay->state == RELAY_RUNNING)
		return;
	sessions_count(relay->sessions, &counts);
	if (relay->leaving || counts.sessions > 0 || counts.ending > 0)
		return;
	relay->leaving = true;
	relay_links_close(relay->links, STOP_LIMIT_US, links_closed, relay);
}

static void media_ready(int fd, void *arg)
{
	struct relay *relay = arg;
	struct session_time now = relay_time(relay);

	sessions_dispatch(relay->sessions, &now);
	leave_if_empty(relay);
}

static void tick(void *arg)
{
	struct relay *relay = arg;
	struct session_time now = relay_time(relay);

	relay_check_addresses(relay);
	sessions_tick(relay->sessions, &now);
	leave_if_empty(relay);
}

static void sample_traffic(void *arg)
{
	struct relay *relay = arg;
	uint64_t now_us = loop_now_us(relay->loop);
	struct media_totals totals;

	media_read_totals(relay->media, &totals);
	if (now_us > relay->sampled_us)
		relay->bps_relayed =
			(double)(totals.bytes - relay->sampled_bytes) * 8 *
			(double)US_PER_S / (double)(now_us - relay->sampled_us);
	relay->sampled_bytes = totals.bytes;
	relay->sampled_us = now_us;
}

/* It does not stop by itself in time: records that could not be sent are in the
 * log. */
static void stop_now(void *arg)
{
	struct relay *relay = arg;

	log_warning("stopping with unfinished work");
	loop_stop(relay->loop);
}

static void on_stop(int signal_number, void *arg)
{
	struct relay *relay = arg;
	struct session_time now = relay_time(relay);

	if (relay->state == RELAY_STOPPING) {
		loop_stop(relay->loop);
		return;
	}
	log_info("signal %d: ending all sessions", signal_number);
	service_stopping();
	relay->state = RELAY_STOPPING;
	timer_start(relay->stop_limit, 2 * STOP_LIMIT_US);
	sessions_end_all(relay->sessions, &now);
	leave_if_empty(relay);
}

static void on_drain(int signal_number, void *arg)
{
	struct relay *relay = arg;
	struct session_counts counts;

	if (relay->state != RELAY_RUNNING)
		return;
	sessions_count(relay->sessions, &counts);
	log_info("signal %d: no new calls; leaving after the last of %zu "
		 "sessions",
		 signal_number, counts.sessions);
	relay->state = RELAY_DRAINING;
	leave_if_empty(relay);
}

/* Calls work all the same, at the speed of userspace. */
static void warn_without_engine(const struct relay *relay)
{
	struct media_engine_status status;

	media_engine_status(relay->media, &status);
	if (relay->conf->forwarding != CONF_FORWARDING_USERSPACE &&
	    strcmp(status.name, "userspace") == 0)
		log_warning("the kernel forwards nothing, media goes through "
			    "userspace: %s",
			    status.reason);
}

static bool all_loopback(const struct relay_addresses *locals)
{
	for (size_t i = 0; i < locals->count; i++)
		if (!ip_is_loopback(&locals->list[i].local.ip))
			return false;
	return true;
}

static int start_media(struct relay *relay)
{
	const struct conf_relay *conf = relay->conf;
	struct media_config config = {
		.worker_count = conf->workers,
		.learning =
			{
				.mode = (enum learning_mode)conf->learning,
				.settle_us = conf->settle_time_us,
				.rebind_silence_us = conf->rebind_silence_us,
				.rtcp_forget_us = conf->rtcp_silence_us,
				.probation_packets = conf->probation_packets,
				.range_count =
					conf->routable_private_ranges.count,
				.own_first = conf->port_range.first,
				.own_end = conf->port_range.end,
				.denied_count = conf->denied_ranges.count,
			},
		.limits = {.packets = conf->max_stream_packets,
			   .bytes = conf->max_stream_bytes},
		.engine =
			{
				.forwarding =
					(enum media_forwarding)conf->forwarding,
				.interfaces = conf->forwarding_interfaces,
				.local = relay->locals.list[0].local.ip,
				.is_loopback = all_loopback(&relay->locals),
				.port_first = conf->port_range.first,
				.port_end = conf->port_range.end,
				.tos = conf->tos & 0xff,
				.keeps_tos = conf->tos == CONF_TOS_KEEP,
				.lease_us = conf->restart_grace_us,
			},
	};
	int r;

	_Static_assert((int)CONF_LEARNING_SAFE == (int)LEARNING_SAFE &&
			       (int)CONF_LEARNING_STRICT ==
				       (int)LEARNING_STRICT &&
			       (int)CONF_LEARNING_FIRST_PACKET ==
				       (int)LEARNING_FIRST_PACKET,
		       "the configuration names the modes in the same order");
	_Static_assert((int)CONF_FORWARDING_AUTO == (int)FORWARDING_AUTO &&
			       (int)CONF_FORWARDING_XDP ==
				       (int)FORWARDING_XDP &&
			       (int)CONF_FORWARDING_TC == (int)FORWARDING_TC &&
			       (int)CONF_FORWARDING_USERSPACE ==
				       (int)FORWARDING_USERSPACE,
		       "the same for what forwards");
	_Static_assert(CONF_MAX_RANGES <= LEARNING_MAX_RANGES,
		       "all configured ranges have room");
	memcpy(config.learning.ranges, conf->routable_private_ranges.networks,
	       conf->routable_private_ranges.count *
		       sizeof(config.learning.ranges[0]));
	for (size_t i = 0;
	     i < relay->locals.count && i < ARRAY_SIZE(config.learning.own);
	     i++)
		config.learning.own[config.learning.own_count++] =
			relay->locals.list[i].local.ip;
	memcpy(config.learning.denied, conf->denied_ranges.networks,
	       conf->denied_ranges.count * sizeof(config.learning.denied[0]));
	if (config.engine.forwarding == FORWARDING_USERSPACE)
		media_remove_leftovers(&config.engine);
	r = media_new(&relay->media, &config);
	if (r < 0) {
		log_error("cannot start the media workers: %s", strerror(-r));
		return r;
	}
	relay->forwarding = config.engine.forwarding;
	warn_without_engine(relay);
	return watch_new(&relay->media_watch, relay->loop,
			 media_event_fd(relay->media), media_ready, relay);
}

static int start_sessions(struct relay *relay)
{
	const struct conf_relay *conf = relay->conf;
	const struct session_handlers handlers = {
		.expired = relay_session_expired};
	struct sessions_config config = {
		.addresses = relay->addresses,
		.port_first = conf->port_range.first,
		.port_end = relay_usable_port_end(conf),
		.port_rest_us = conf->port_rest_us,
		.stream_timeout_us = conf->stream_timeout_us,
		.on_hold_timeout_us = conf->on_hold_timeout_us,
		.unanswered_timeout_us = conf->unanswered_timeout_us,
	};

	if (config.port_end == 0)
		return -EMFILE;
	if (getrandom(config.record_base, sizeof(config.record_base), 0) !=
	    (ssize_t)sizeof(config.record_base)) {
		log_error("no random numbers: %s", strerror(errno));
		return -EIO;
	}
	return sessions_new(&relay->sessions, &config, relay->media, &handlers,
			    relay);
}

static int start_links(struct relay *relay)
{
	const struct conf_relay *conf = relay->conf;
	const struct relay_links_handlers handlers = {.command = relay_command};
	const struct relay_links_config config = {
		.loop = relay->loop,
		.tls = relay->tls,
		.dispatchers = &conf->dispatchers,
		.hello = {.name = "media-relay",
			  .version = MEDIAPROXY_VERSION,
			  .features = LINK_FEATURES_OURS},
		.dns_check_interval_us = conf->dns_check_interval_us,
		.keepalive_interval_us = conf->keepalive_interval_us,
		.reconnect_delay_us = conf->reconnect_delay_us,
		.verify_interval_us =
			relay->daemon->conf->tls.verify_interval_us,
		.store = relay->store,
	};

	return relay_links_new(&relay->links, &config, &handlers, relay);
}

static int start_timers(struct relay *relay)
{
	if (timer_new(&relay->tick, relay->loop, tick, relay) < 0 ||
	    timer_new(&relay->sample, relay->loop, sample_traffic, relay) < 0 ||
	    timer_new(&relay->stop_limit, relay->loop, stop_now, relay) < 0)
		return -ENOMEM;
	timer_start_every(relay->tick, TICK_US);
	relay->sampled_us = loop_now_us(relay->loop);
	timer_start_every(relay->sample,
			  relay->conf->traffic_sampling_period_us);
	if (loop_on_signal(relay->loop, SIGINT, on_stop, relay) < 0 ||
	    loop_on_signal(relay->loop, SIGTERM, on_stop, relay) < 0 ||
	    loop_on_signal(relay->loop, SIGHUP, on_drain, relay) < 0 ||
	    loop_on_signal(relay->loop, SIGUSR1, daemon_toggle_debug,
			   relay->daemon) < 0)
		return -ENOMEM;
	return 0;
}

static int start_api(struct relay *relay)
{
	const struct management_handlers handlers = {
		.name = "media-relay",
		.summary = relay_api_summary,
		.sessions = relay_api_sessions,
		.explain = relay_api_explain,
		.forwarding = relay_api_forwarding,
		.set_forwarding = relay_api_set_forwarding,
	};
	char path[CONF_MAX_TEXT * 2];
	int r;

	daemon_runtime_path(relay->daemon, "media-relay.ctl", path);
	r = management_api_new(&relay->api, relay->loop, path, &handlers,
			       relay);
	if (r < 0)
		log_error("control channel %s: %s", path, strerror(-r));
	return r;
}

static int relay_start(struct relay *relay)
{
	int r = loop_new(&relay->loop);

	if (r < 0)
		return r;
	relay->started_us = loop_now_us(relay->loop);
	relay_open_store(relay);
	if ((r = relay_open_addresses(relay)) < 0 ||
	    (r = start_media(relay)) < 0 || (r = start_sessions(relay)) < 0 ||
	    (r = start_timers(relay)) < 0 || (r = start_links(relay)) < 0 ||
	    (r = start_api(relay)) < 0)
		return r;
	return 0;
}

/* In this order: what calls others goes before what is called. The links hand
 * the last records to the store, which writes them. */
static void relay_stop(struct relay *relay)
{
	management_api_free(relay->api);
	relay_links_free(relay->links);
	sessions_free(relay->sessions);
	watch_free(relay->media_watch);
	media_free(relay->media);
	relay_close_addresses(relay);
	timer_free(relay->tick);
	timer_free(relay->sample);
	timer_free(relay->stop_limit);
	tls_context_free(relay->tls);
	store_free(relay->store, STOP_LIMIT_US);
	loop_free(relay->loop);
}

static void log_ready(const struct relay *relay)
{
	CLEANUP(buf_done) struct buf status = {0};
	struct session_counts counts;
	struct media_engine_status engine;
	struct media_totals totals;
	char text[ADDR_TEXT_SIZE];

	sessions_count(relay->sessions, &counts);
	media_read_totals(relay->media, &totals);
	media_engine_status(relay->media, &engine);
	for (size_t i = 0; i < relay->locals.count; i++) {
		const struct local_address *at = &relay->locals.list[i].local;

		buf_printf(&status, "%s%s", i ? ", " : "media on ",
			   ip_format(&at->ip, text));
		if (ip_is_set(&at->advertised))
			buf_printf(&status, " (shown as %s)",
				   ip_format(&at->advertised, text));
	}
	if (relay->conf->auto_detect_interfaces)
		buf_add(&status, SPAN(" or by route"));
	buf_printf(&status,
		   ", %zu port pairs from %u, %u workers, engine %s (%s), "
		   "%zu dispatchers configured",
		   counts.ports_total, relay->conf->port_range.first,
		   totals.worker_count, engine.name, engine.reason,
		   relay->conf->dispatchers.count);
	daemon_ready(relay->daemon, status.data);
}

/* What can be checked without starting. */
static int check(struct daemon *daemon)
{
	const struct conf_relay *conf = &daemon->conf->relay;
	CLEANUP(buf_done) struct buf text = {0};
	struct tls_context *tls = NULL;
	struct relay_addresses locals;
	int r = daemon_load_tls(daemon, &conf->passport, &tls);
	int r2 = relay_find_addresses(conf, &locals);

	tls_context_free(tls);
	conf_print(daemon->conf, CONF_DAEMON_RELAY, &text);
	fputs(text.data ? text.data : "", stdout);
	return r < 0 || r2 < 0 || relay_usable_port_end(conf) == 0;
}

static int run(struct daemon *daemon)
{
	struct relay relay = {
		.daemon = daemon,
		.conf = &daemon->conf->relay,
		.refusals = LOG_LIMIT(50, US_PER_S),
		.route_warnings = LOG_LIMIT(5, 60 * US_PER_S),
	};
	int status = 1;

	if (relay_find_addresses(relay.conf, &relay.locals) < 0 ||
	    daemon_load_tls(daemon, &relay.conf->passport, &relay.tls) < 0 ||
	    daemon_start(daemon) < 0) {
		tls_context_free(relay.tls);
		return 1;
	}
	if (relay.conf->dispatchers.count == 0)
		log_warning("no dispatchers in [Relay]: this relay will get no "
			    "calls");
	if (relay_start(&relay) == 0) {
		log_ready(&relay);
		status = loop_run(relay.loop) < 0;
		log_info("media-relay stopped");
	} else {
		log_error("media-relay cannot start");
	}
	relay_stop(&relay);
	return status;
}

int main(int argc, char **argv)
{
	struct daemon daemon = {.name = "media-relay",
				.kind = CONF_DAEMON_RELAY};
	int status = 1;

	if (daemon_prepare(&daemon, argc, argv, &status))
		status = daemon.check ? check(&daemon) : run(&daemon);
	daemon_done(&daemon);
	return status;
}
