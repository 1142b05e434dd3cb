#include "base/clock.h"
#include "relay/relay.h"
#include "version.h"

static const char *state_name(enum relay_state state)
{
	return state == RELAY_RUNNING ? "active" : "halting";
}

static void write_drops(struct json_writer *w,
			const uint64_t drops[static DROP_COUNT])
{
	json_object_begin(w, "drops");
	for (int i = 0; i < DROP_COUNT; i++)
		json_u64(w, media_drop_name((enum media_drop)i), drops[i]);
	json_object_end(w);
}

static void write_media(const struct relay *relay, struct json_writer *w)
{
	struct media_totals totals;

	media_read_totals(relay->media, &totals);
	relay_write_engine(relay, "engine_reason", w);
	json_u64(w, "workers", totals.worker_count);
	json_u64(w, "packets", totals.packets);
	json_u64(w, "kernel_packets", totals.kernel_packets);
	json_u64(w, "bytes", totals.bytes);
	write_drops(w, totals.drops);
	json_u64(w, "sockets_opened", totals.sockets_opened);
	json_u64(w, "sockets_closed", totals.sockets_closed);
}

static void write_sessions(const struct session_counts *counts,
			   struct json_writer *w)
{
	json_u64(w, "sessions_created", counts->created);
	json_u64(w, "sessions_destroyed", counts->destroyed);
	json_u64(w, "sessions_ending", counts->ending);
	json_u64(w, "streams_created", counts->streams_created);
	json_u64(w, "streams_destroyed", counts->streams_destroyed);
	json_u64(w, "updates_refused", counts->refused);
	json_u64(w, "ports_taken", counts->ports_taken);
	json_u64(w, "ports_returned", counts->ports_returned);
	json_u64(w, "ports_early", counts->ports_early);
	json_u64(w, "ports_skipped", counts->ports_skipped);
	json_u64(w, "ports_total", counts->ports_total);
	json_u64(w, "ports_free", counts->ports_free);
}

static void write_links(const struct relay *relay, struct json_writer *w)
{
	struct relay_links_counts links;

	relay_links_count(relay->links, &links);
	json_u64(w, "dispatchers_known", links.known);
	json_u64(w, "dispatchers_connected", links.up);
	json_u64(w, "links_lost", links.lost);
	json_u64(w, "links_failed", links.failed);
	json_u64(w, "commands", links.commands);
	json_u64(w, "commands_bad", links.commands_bad);
	json_u64(w, "replies_lost", links.replies_lost);
	json_u64(w, "records_sent", links.records_sent);
	json_u64(w, "records_waiting", links.records_waiting);
	json_u64(w, "records_dropped", links.records_dropped);
	json_u64(w, "records_on_disk", links.records_on_disk);
	json_u64(w, "records_acked", links.records_acked);
	json_u64(w, "records_resent", links.records_resent);
	json_u64(w, "acks_unknown", links.acks_unknown);
	json_bool(w, "disk_failing", links.disk_failing);
}

void relay_write_summary(const struct relay *relay, struct json_writer *w)
{
	struct session_counts counts;
	char ip[ADDR_TEXT_SIZE];

	sessions_count(relay->sessions, &counts);
	json_object_begin(w, NULL);
	json_text(w, "ip", ip_format(addresses_name(relay->addresses), ip));
	json_text(w, "version", MEDIAPROXY_VERSION);
	json_text(w, "status", state_name(relay->state));
	json_u64(w, "uptime",
		 (loop_now_us(relay->loop) - relay->started_us) / US_PER_S);
	json_u64(w, "session_count", counts.sessions);
	json_object_begin(w, "stream_count");
	sessions_write_stream_count(relay->sessions, w);
	json_object_end(w);
	json_float(w, "bps_relayed", relay->bps_relayed);
	relay_write_addresses(relay, w);
	write_media(relay, w);
	write_sessions(&counts, w);
	write_links(relay, w);
	json_object_end(w);
}

void relay_api_summary(struct management_request *request, void *arg)
{
	relay_write_summary(arg, management_request_item(request));
	management_request_finish(request);
}

static bool add_wanted(const struct session_statistics *statistics, void *arg)
{
	struct management_request *request = arg;

	if (management_request_wants(request, statistics->call_id))
		statistics_encode(management_request_item(request), NULL,
				  statistics, STATISTICS_SESSIONS_NEW);
	return true;
}

void relay_api_sessions(struct management_request *request, void *arg)
{
	const struct relay *relay = arg;
	struct session_time now = relay_time(relay);
	uint64_t cursor = 0;

	if (management_request_is_wanted(request))
		sessions_visit(relay->sessions, &cursor, -1, SIZE_MAX, &now,
			       add_wanted, request);
	management_request_finish(request);
}
