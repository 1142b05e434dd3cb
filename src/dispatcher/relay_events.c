#include "dispatcher/relay_events.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "link/session_report.h"
#include "proto/statistics.h"

#define SWEEP_INTERVAL_US US_PER_S

/* A relay writes `expired` when the session's last counters are read. Until
 * then an update may have made the session anew, and was answered first; and
 * the relay may have listed its sessions without it. */
#define DOUBT_US (2 * US_PER_S)

/* A list of sessions */

static struct directory_leg leg_of(const struct session_report *report)
{
	return (struct directory_leg){
		.call_id = report->call_id,
		.from_tag = report->from_tag,
		.to_tag = report->to_tag,
		.dialog_id = report->dialog_id,
	};
}

static void listing_begin(struct relay_peer *peer, void *arg)
{
	struct relay_events *events = arg;

	directory_relay_up(events->directory, relay_peer_ip(peer));
	directory_sync_begin(events->directory, relay_peer_ip(peer));
}

static void session_listed(struct relay_peer *peer,
			   const struct session_report *report, void *arg)
{
	struct relay_events *events = arg;
	struct directory_leg leg = leg_of(report);
	int err = directory_add(events->directory, relay_peer_ip(peer), &leg);
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	if (err == 0)
		return;
	events->not_listed++;
	if (log_limit_allows(&events->listed_limit, loop_now_us(events->loop),
			     &suppressed))
		log_warning("[%.*s] relay %s lists this call, but %s%s",
			    SPAN_ARG(report->call_id), relay_peer_name(peer),
			    err == -EEXIST ? "it is on another relay"
					   : "there is no room to know it",
			    log_left_out(suppressed, left_out));
}

/* What rang only ends by itself, and of streams that were all candidates of
 * ICE the phones have chosen others: their call is up. */
static void end_dialog(const struct relay_events *events, struct span call_id,
		       struct span dialog_id, bool is_shared)
{
	const struct dialog_end_call ended = {
		.call_id = call_id,
		.dialog_id = dialog_id,
		.call_id_is_shared = is_shared,
	};

	if (events->dialogs && dialog_id.len > 0)
		dialog_end(events->dialogs, &ended);
}

/* All that is left of a session is what went through here: when it was
 * answered, and by when its relay was gone. */
static void account_lost(struct relay_events *events,
			 const struct directory_session *session)
{
	CLEANUP(buf_done) struct buf json = {0};
	struct json_writer w = json_writer_over(&json);
	uint64_t down_us = directory_session_down_since_us(session);
	double ended = (double)clock_wall_us() / (double)US_PER_S;
	char id[ACCOUNTING_ID_SIZE];
	struct session_statistics statistics;

	accounting_make_id(events->records->accounting, id);
	directory_session_statistics(session, &statistics);
	statistics.record_id = span_of(id);
	statistics.relay = *directory_session_relay(session);
	statistics.engine = "unknown";
	statistics.end_reason = "lost by its relay";
	if (down_us > 0)
		ended -= (double)(loop_now_us(events->loop) - down_us) /
			 (double)US_PER_S;
	if (statistics.has_start_time && ended > statistics.start_time)
		statistics.duration_s =
			(int64_t)(ended - statistics.start_time);
	statistics.end_time = ended;
	statistics_encode(&w, NULL, &statistics, STATISTICS_EXPIRED);
	if (!buf_failed(&json))
		(void)records_take_own(events->records,
				       directory_session_relay(session),
				       buf_span(&json));
	/* Other legs of its call may be up: its Call-ID ends nothing. */
	if (statistics.has_start_time)
		end_dialog(events, statistics.call_id, statistics.dialog_id,
			   /* is_shared= */ true);
}

static void session_lost(const struct directory_session *session, void *arg)
{
	struct relay_events *events = arg;
	struct span call_id = directory_session_call_id(session);
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	if (directory_session_is_expired(session))
		return;
	events->lost_sessions++;
	if (log_limit_allows(&events->lost_limit, loop_now_us(events->loop),
			     &suppressed))
		log_warning("[%.*s] its relay does not have it any more: it is "
			    "accounted without its streams%s",
			    SPAN_ARG(call_id),
			    log_left_out(suppressed, left_out));
	account_lost(events, session);
}

static void listing_end(struct relay_peer *peer, size_t count, bool complete,
			void *arg)
{
	(void)complete;
	(void)arg;
	log_debug("relay %s listed %zu sessions", relay_peer_name(peer), count);
}

/* Now it is known that the record of a session that was not listed does not
 * come either. */
static void judge(void *arg)
{
	struct relay_events *events = arg;
	uint64_t now_us = loop_now_us(events->loop);
	uint64_t next_us = 0;
	struct ip_addr relay;
	char text[ADDR_TEXT_SIZE];

	while (directory_sync_due(events->directory, now_us, &relay,
				  &next_us)) {
		size_t lost = directory_sync_end(events->directory, &relay,
						 session_lost, events);

		if (lost > 0)
			log_warning("relay %s has lost %zu sessions that were "
				    "known",
				    ip_format(&relay, text), lost);
	}
	if (next_us > 0)
		timer_start(events->judge_timer, next_us - now_us);
}

/* A session that was just ending is not listed, and its record comes when its
 * last counters are read: one that has not come by then does not come. */
static void caught_up(struct relay_peer *peer, void *arg)
{
	struct relay_events *events = arg;

	directory_sync_caught_up(events->directory, relay_peer_ip(peer),
				 loop_now_us(events->loop) + events->doubt_us);
	judge(events);
}

/* Up and down */

static void relay_up(struct relay_peer *peer, void *arg)
{
	struct relay_events *events = arg;
	const char *version = relay_peer_version(peer);

	log_info("relay %s is up, version %s, %zu sessions known in all",
		 relay_peer_name(peer), version[0] ? version : "not told",
		 directory_count(events->directory).sessions);
}

static void relay_down(struct relay_peer *peer, const char *why, void *arg)
{
	struct relay_events *events = arg;

	directory_relay_down(events->directory, relay_peer_ip(peer),
			     loop_now_us(events->loop));
	log_warning("relay %s is down: %s", relay_peer_name(peer), why);
}

/* Sessions that ended by themselves */

struct ended {
	struct relay_events *events;
	struct relay_peer *peer;
};

static void log_expired(const struct ended *ended,
			const struct session_report *report, const char *what)
{
	struct relay_events *events = ended->events;
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	if (log_limit_allows(&events->expired_limit, loop_now_us(events->loop),
			     &suppressed))
		log_info("[%.*s] relay %s: session expired%s%s%s",
			 SPAN_ARG(report->call_id),
			 relay_peer_name(ended->peer),
			 report->timed_out ? " by timeout" : "", what,
			 log_left_out(suppressed, left_out));
}

/*
 * @return whether the call is over: not if it may have begun anew, and not if
 *         this was known already
 */
static bool expire(struct relay_events *events,
		   struct directory_session *session, bool timed_out)
{
	uint64_t now_us = loop_now_us(events->loop);
	uint64_t asked_us = directory_session_asked_us(session);
	bool in_doubt = asked_us > 0 && now_us - asked_us < events->doubt_us;
	bool is_new = !directory_session_is_expired(session) ||
		      directory_session_is_in_doubt(session);

	/* Whoever removed it over an earlier link was not answered, and asks no
	 * more. */
	if (directory_session_was_removed(session)) {
		directory_remove(events->directory, session);
		return false;
	}
	events->expired++;
	directory_expire(events->directory, session, now_us, in_doubt);
	/* A relay that stops begins nothing anew. */
	return is_new && (!in_doubt || !timed_out);
}

static void session_ended(const struct session_report *report, void *arg)
{
	const struct ended *ended = arg;
	struct relay_events *events = ended->events;
	const struct ip_addr *ip = relay_peer_ip(ended->peer);
	struct directory_call *call =
		directory_find(events->directory, report->call_id);
	struct directory_session *session = NULL;
	bool is_over = !report->was_removed;

	if (call && !ip_equal(directory_call_relay(call), ip)) {
		events->expired_foreign++;
		log_expired(ended, report,
			    ", but the call is on another relay: dropped");
		records_drop(events->records, ip, report->record_id);
		return;
	}
	if (call)
		session = directory_find_session(call, report->from_tag,
						 report->to_tag);
	(void)records_take(events->records, ip, report->json, NULL, NULL);
	if (session) {
		is_over = expire(events, session, report->timed_out) && is_over;
		log_expired(ended, report, "");
	} else {
		events->expired_unknown++;
		log_expired(ended, report, ", which was not known here");
	}
	if (is_over && report->has_start_time && !report->all_streams_ice) {
		call = directory_find(events->directory, report->call_id);
		end_dialog(events, report->call_id, report->dialog_id,
			   call && directory_call_is_live(call));
	}
}

static void expired_came(struct relay_peer *peer, struct span json, void *arg)
{
	struct ended ended = {arg, peer};

	if (session_report_decode(json, session_ended, &ended) < 0)
		log_warning("relay %s: an `expired` that cannot be read: %.*s",
			    relay_peer_name(peer),
			    (int)(json.len < 200 ? json.len : 200), json.ptr);
}

const struct relay_peers_handlers relay_events_handlers = {
	.listing_begin = listing_begin,
	.listed = session_listed,
	.listing_end = listing_end,
	.up = relay_up,
	.down = relay_down,
	.expired = expired_came,
	.caught_up = caught_up,
};

/* Forgetting */

static void relay_forgotten(const struct ip_addr *relay, size_t sessions,
			    void *arg)
{
	char text[ADDR_TEXT_SIZE];

	(void)arg;
	log_warning("relay %s did not come back within "
		    "cleanup_dead_relays_after: its %zu sessions are "
		    "forgotten",
		    ip_format(relay, text), sessions);
}

static void sweep(void *arg)
{
	struct relay_events *events = arg;
	size_t forgotten =
		directory_sweep(events->directory, loop_now_us(events->loop),
				events->conf->cleanup_expired_sessions_after_us,
				events->conf->cleanup_dead_relays_after_us,
				session_lost, relay_forgotten, events);

	if (forgotten > 0)
		log_info("%zu expired sessions forgotten that no SIP proxy "
			 "removed",
			 forgotten);
}

int relay_events_start(struct relay_events *events, struct loop *loop,
		       const struct conf_dispatcher *conf,
		       struct directory *directory, struct records *records)
{
	int err;

	*events = (struct relay_events){
		.loop = loop,
		.conf = conf,
		.directory = directory,
		.records = records,
		.doubt_us = DOUBT_US,
		.expired_limit = LOG_LIMIT(100, 10 * US_PER_S),
		.listed_limit = LOG_LIMIT(100, 10 * US_PER_S),
		.lost_limit = LOG_LIMIT(100, 10 * US_PER_S),
	};
	err = timer_new(&events->sweep_timer, loop, sweep, events);
	if (err == 0)
		err = timer_new(&events->judge_timer, loop, judge, events);
	if (err < 0)
		return err;
	timer_start_every(events->sweep_timer, SWEEP_INTERVAL_US);
	return 0;
}

void relay_events_stop(struct relay_events *events)
{
	events->sweep_timer = timer_free(events->sweep_timer);
	events->judge_timer = timer_free(events->judge_timer);
}
