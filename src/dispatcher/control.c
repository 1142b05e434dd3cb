#include "dispatcher/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "dispatcher/control_records.h"
#include "dispatcher/survey.h"
#include "management/api.h"
#include "management/text.h"
#include "version.h"

struct control {
	struct dispatcher *dispatcher;
	struct surveys *surveys;
	struct management_api *api;
	struct management_text *text;
};

/* The dispatcher's own facts */

static void write_requests(struct json_writer *w, const struct router *router)
{
	const struct router_counters *c = router_counters(router);

	json_u64(w, "updates", c->updates);
	json_u64(w, "removes", c->removes);
	json_object_begin(w, "errors");
	for (int i = 0; i < REFUSAL_COUNT; i++)
		json_u64(w, refusal_name((enum refusal)i), c->refused[i]);
	json_object_end(w);
	json_u64(w, "failovers", c->failovers);
	json_u64(w, "late_sessions", c->late_sessions);
	json_u64(w, "records", c->records);
	json_u64(w, "late_records", c->late_records);
}

static void write_sessions(struct json_writer *w,
			   const struct dispatcher *dispatcher)
{
	struct directory_counts counts = directory_count(dispatcher->directory);
	const struct relay_events *events = &dispatcher->events;

	json_u64(w, "calls", counts.calls);
	json_u64(w, "sessions", counts.sessions);
	json_u64(w, "sessions_waiting_for_remove", counts.expired);
	json_u64(w, "expired", events->expired);
	json_u64(w, "expired_unknown", events->expired_unknown);
	json_u64(w, "expired_foreign", events->expired_foreign);
	json_u64(w, "lost_sessions", events->lost_sessions);
	json_u64(w, "listed_elsewhere", events->not_listed);
}

static void write_dialogs(struct json_writer *w, const struct dialog_end *ends)
{
	struct dialog_end_counters c = dialog_end_counts(ends);

	json_object_begin(w, "dialogs");
	json_u64(w, "requested", c.requested);
	for (int i = 0; i < DIALOG_OUTCOME_COUNT; i++)
		json_u64(w, dialog_outcome_name((enum dialog_outcome)i),
			 c.outcomes[i]);
	json_u64(w, "late_answers", c.late);
	json_u64(w, "waiting", c.waiting);
	json_object_end(w);
}

/* Which relays are linked, and whether they get new calls. */
static void write_standing(struct json_writer *w, struct relay_peers *peers)
{
	struct relay_peer *peer = NULL;
	char ip[ADDR_TEXT_SIZE];

	json_array_begin(w, "standing");
	while ((peer = relay_peers_next(peers, peer))) {
		json_object_begin(w, NULL);
		json_text(w, "ip", ip_format(relay_peer_ip(peer), ip));
		json_text(w, "state",
			  relay_peer_state_name(relay_peer_state(peer)));
		json_object_end(w);
	}
	json_array_end(w);
}

static void write_management(struct json_writer *w,
			     const struct management_text *text)
{
	struct management_text_counts counts;

	management_text_count(text, &counts);
	json_object_begin(w, "management");
	json_u64(w, "connections", counts.connections);
	json_u64(w, "accepted", counts.accepted);
	json_u64(w, "refused", counts.refused);
	json_u64(w, "failed", counts.failed);
	json_u64(w, "verifications_failed", counts.verifications_failed);
	json_u64(w, "commands", counts.commands);
	json_u64(w, "commands_bad", counts.commands_bad);
	json_object_end(w);
}

static void write_links(struct json_writer *w, struct relay_peers *peers)
{
	const struct relay_peers_counters *c = relay_peers_counters(peers);

	json_object_begin(w, "links");
	json_u64(w, "accepted", c->accepted);
	json_u64(w, "refused", c->refused);
	json_u64(w, "handshakes_failed", c->handshakes_failed);
	json_u64(w, "replaced", c->replaced);
	json_u64(w, "timeouts", c->timeouts);
	json_u64(w, "recoveries_failed", c->recoveries_failed);
	json_u64(w, "verifications_failed", c->verifications_failed);
	json_u64(w, "unknown_replies", c->unknown_replies);
	json_u64(w, "bad_lines", c->bad_lines);
	json_u64(w, "long_lines", c->long_lines);
	write_standing(w, peers);
	json_object_end(w);
}

static void write_proxies(struct json_writer *w,
			  const struct proxy_socket *proxy)
{
	const struct proxy_socket_counters *c = proxy_socket_counters(proxy);

	json_u64(w, "proxy_connections", c->connections);
	json_u64(w, "proxy_connections_accepted", c->accepted);
	json_u64(w, "proxy_connections_refused", c->refused);
	json_u64(w, "proxy_connections_paused", c->paused);
}

static void facts(struct json_writer *w, void *arg)
{
	const struct control *control = arg;
	const struct dispatcher *dispatcher = control->dispatcher;

	json_text(w, "version", MEDIAPROXY_VERSION);
	json_u64(w, "uptime",
		 (loop_now_us(dispatcher->loop) - dispatcher->started_us) /
			 US_PER_S);
	write_sessions(w, dispatcher);
	write_requests(w, dispatcher->router);
	write_dialogs(w, dispatcher->dialogs);
	if (dispatcher->proxy)
		write_proxies(w, dispatcher->proxy);
	write_links(w, dispatcher->peers);
	if (control->text)
		write_management(w, control->text);
	accounting_write(dispatcher->records.accounting, w);
}

/* Questions */

static void summary(struct management_request *request, void *arg)
{
	const struct control *control = arg;

	surveys_summary(control->surveys, request);
}

static void sessions(struct management_request *request, void *arg)
{
	const struct control *control = arg;

	surveys_sessions(control->surveys, request);
}

static void explain(struct management_request *request, void *arg)
{
	const struct control *control = arg;

	surveys_explain(control->surveys, request,
			management_request_parameter(request, "call_id"));
}

static struct accounting *accounting_of(const struct control *control)
{
	return control->dispatcher->records.accounting;
}

static void history(struct management_request *request, void *arg)
{
	control_show_history(accounting_of(arg), request);
}

static void accounting(struct management_request *request, void *arg)
{
	control_show_accounting(accounting_of(arg), request);
}

static void set_aside(struct management_request *request, void *arg)
{
	control_show_set_aside(accounting_of(arg), request);
}

static void retry(struct management_request *request, void *arg)
{
	control_retry(accounting_of(arg), request);
}

static const struct management_handlers handlers = {
	.name = "media-dispatcher",
	.summary = summary,
	.sessions = sessions,
	.explain = explain,
	.history = history,
	.accounting = accounting,
	.set_aside = set_aside,
	.retry = retry,
	.facts = facts,
};

/* Both ways in */

const char *dispatcher_listen_text(const struct endpoint *at,
				   char text[static ADDR_TEXT_SIZE])
{
	if (ip_is_set(&at->ip))
		return endpoint_format(at, text);
	snprintf(text, ADDR_TEXT_SIZE, "any:%u", at->port);
	return text;
}

static int start_api(struct control *control)
{
	const struct dispatcher *dispatcher = control->dispatcher;
	char path[CONF_MAX_TEXT * 2];
	int err;

	daemon_runtime_path(dispatcher->daemon, "media-dispatcher.ctl", path);
	err = management_api_new(&control->api, dispatcher->loop, path,
				 &handlers, control);
	if (err < 0)
		log_error("control channel %s: %s", path, strerror(-err));
	return err;
}

static int start_text(struct control *control)
{
	const struct dispatcher *dispatcher = control->dispatcher;
	const struct conf_dispatcher *conf = dispatcher->conf;
	const struct management_text_config config = {
		.listen = conf->listen_management,
		.tls = dispatcher->management_tls,
		.verify_interval_us =
			dispatcher->daemon->conf->tls.verify_interval_us,
		.format = conf->management_format,
		.max_connections = conf->max_management_connections,
	};
	char address[ADDR_TEXT_SIZE];
	int err = management_text_new(&control->text, dispatcher->loop, &config,
				      &handlers, control);

	if (err < 0)
		log_error("%s: [Dispatcher] listen_management = %s: %s",
			  dispatcher->daemon->config_file,
			  dispatcher_listen_text(&conf->listen_management,
						 address),
			  strerror(-err));
	return err;
}

int control_new(struct control **ret, struct dispatcher *dispatcher)
{
	struct control *control = calloc(1, sizeof(*control));
	int err;

	if (!control)
		return -ENOMEM;
	control->dispatcher = dispatcher;
	err = surveys_new(&control->surveys, dispatcher->loop, dispatcher->conf,
			  dispatcher->peers);
	if (err == 0)
		err = start_text(control);
	if (err == 0)
		err = start_api(control);
	if (err < 0) {
		control_stop(control);
		control_free(control);
		return err;
	}
	*ret = control;
	return 0;
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	surveys_stop(control->surveys);
	control->api = management_api_free(control->api);
	control->text = management_text_free(control->text);
}

struct control *control_free(struct control *control)
{
	if (!control)
		return NULL;
	surveys_free(control->surveys);
	free(control);
	return NULL;
}

struct endpoint control_text_address(const struct control *control)
{
	return management_text_address(control->text);
}
