#include "link/relay_link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "link/relay_records.h"
#include "net/conn.h"

#define MAX_UNANSWERED_PINGS 3
/* How long nothing is sent to a dispatcher that has not said what it can. */
#define FEATURES_WITHIN_US US_PER_S
#define FAILURES_LOGGED LOG_LIMIT(2, 60 * US_PER_S)
#define MAX_LABEL 352 /* a name, an address and a port */

/* Records are written piece by piece: what the dispatcher has not read yet can
 * still be sent to it again after a reconnect as long as it is here. */
#define DRAIN_UP_TO_BYTES (1u << 20)
#define DRAIN_EVERY_US (10 * US_PER_MS)

static const struct conn_limits limits = {
	.max_line = LINK_MAX_DISPATCHER_LINE,
	.pause_reading_at = 2 * LINK_MAX_RELAY_LINE,
	.close_at = 16 * LINK_MAX_RELAY_LINE,
};

enum link_state {
	LINK_STOPPED,
	LINK_WAITING, /* for the time to dial */
	LINK_DIALING,
	LINK_GREETING, /* connected; the dispatcher has said nothing yet */
	LINK_UP
};

struct relay_link {
	struct relay_link_shared *shared;
	unsigned owner;
	struct endpoint to;
	char label[MAX_LABEL];
	enum link_state state;
	struct conn *conn; /* in the states from DIALING on */
	uint32_t session;  /* counts the connections */
	struct command_reader *reader;
	unsigned features, unanswered;
	bool knows_features; /* or has waited for them long enough */
	bool told_caught_up;
	struct timer *timer; /* WAITING: to dial. GREETING, UP: keepalive */
	struct timer *drain; /* UP: to wait for features, then to write on */
	struct relay_records *records;
	uint64_t failures; /* since the link was last up */
	struct log_limit log_failure, log_bad, log_late;
};

static void set_state(struct relay_link *link, enum link_state state)
{
	static const char *const names[] = {
		[LINK_STOPPED] = "stopped", [LINK_WAITING] = "waiting",
		[LINK_DIALING] = "dialing", [LINK_GREETING] = "greeting",
		[LINK_UP] = "up",
	};

	log_debug("link to dispatcher %s: %s -> %s", link->label,
		  names[link->state], names[state]);
	if (link->state == LINK_UP)
		link->shared->counts.up--;
	if (state == LINK_UP)
		link->shared->counts.up++;
	link->state = state;
}

static bool is_connected(const struct relay_link *link)
{
	return link->state == LINK_GREETING || link->state == LINK_UP;
}

/* Records */

static bool acknowledges(const struct relay_link *link)
{
	return link->features & (unsigned)LINK_FEATURE_ACK;
}

static bool write_record(struct relay_link *link, struct span json)
{
	CLEANUP(buf_done) struct buf line = {0};

	buf_add(&line, SPAN("expired "));
	buf_add(&line, json);
	buf_add(&line, SPAN("\r\n"));
	if (buf_failed(&line))
		return false;
	conn_write(link->conn, buf_span(&line));
	/* A connection that broke in this turn of the loop takes nothing and
	 * says so later: the next one gets the record. */
	return !conn_peer_is_gone(link->conn);
}

static void records_send(struct relay_link *link)
{
	struct span record_id, json;
	bool more;

	if (link->state != LINK_UP || !link->knows_features)
		return;
	while ((more = relay_records_next(link->records, &record_id, &json)) &&
	       conn_pending(link->conn) < DRAIN_UP_TO_BYTES) {
		if (!write_record(link, json))
			return;
		relay_records_sent(link->records);
	}
	if (more)
		timer_start(link->drain, DRAIN_EVERY_US);
	if (acknowledges(link) && !link->told_caught_up &&
	    relay_records_caught_up(link->records)) {
		link->told_caught_up = true;
		conn_write(link->conn, SPAN("caught-up\r\n"));
	}
}

static void records_came(void *arg)
{
	records_send(arg);
}

static void features_known(struct relay_link *link)
{
	link->knows_features = true;
	timer_stop(link->drain);
	relay_records_up(link->records, acknowledges(link));
	records_send(link);
}

static void on_drain(void *arg)
{
	struct relay_link *link = arg;

	if (link->knows_features)
		records_send(link);
	else
		features_known(link);
}

void relay_link_expired(struct relay_link *link, struct span record_id,
			struct span json)
{
	relay_records_add(link->records, record_id, json);
	records_send(link);
}

void relay_link_removed(struct relay_link *link,
			const struct relay_request *request,
			struct span record_id, struct span reply,
			struct span expired)
{
	if (relay_link_reply(link, request, reply) < 0)
		relay_link_expired(link, record_id, expired);
	else if (acknowledges(link))
		relay_records_add_sent(link->records, record_id, expired);
	else if (conn_peer_is_gone(link->conn))
		relay_link_expired(link, record_id, expired);
}

/* The connection's life */

static void dial(struct relay_link *link);

static void wait_to_dial(struct relay_link *link, uint64_t delay_us)
{
	timer_start(link->timer, delay_us);
	set_state(link, LINK_WAITING);
}

static void conn_gone(struct relay_link *link)
{
	link->conn = NULL;
	link->features = 0;
	link->knows_features = link->told_caught_up = false;
	timer_stop(link->drain);
	relay_records_down(link->records);
}

/* The connection is gone, or is being hung up: the last of it is in the log. */
static void lost(struct relay_link *link, const char *why)
{
	struct relay_link_shared *shared = link->shared;
	uint64_t suppressed;

	conn_gone(link);
	if (link->state == LINK_UP) {
		log_info("link to dispatcher %s down: %s", link->label, why);
		shared->counts.lost++;
		wait_to_dial(link, shared->first_reconnect_us);
		return;
	}
	shared->counts.failed++;
	link->failures++;
	if (log_limit_allows(&link->log_failure, loop_now_us(shared->loop),
			     &suppressed))
		log_warning("no link to dispatcher %s: %s (%" PRIu64
			    " attempts failed)",
			    link->label, why, link->failures);
	/* Both daemons may just be starting: the first retry is soon, too. */
	wait_to_dial(link, link->failures == 1 ? shared->first_reconnect_us
					       : shared->reconnect_us);
}

void relay_link_drop(struct relay_link *link, const char *why)
{
	struct conn *conn = link->conn;

	if (!conn)
		return;
	lost(link, why);
	conn_close(conn);
}

static void ping(struct relay_link *link)
{
	if (link->unanswered == MAX_UNANSWERED_PINGS) {
		relay_link_drop(link, "no answer to 3 pings");
		return;
	}
	link->unanswered++;
	conn_write(link->conn, SPAN("ping\r\n"));
}

static void on_timer(void *arg)
{
	struct relay_link *link = arg;

	if (link->state == LINK_WAITING)
		dial(link);
	else if (is_connected(link))
		ping(link);
}

static void on_ready(struct conn *conn, void *arg)
{
	CLEANUP(buf_done) struct buf hello = {0};
	struct relay_link *link = arg;

	buf_add(&hello, SPAN("ping "));
	link_hello_encode(&hello, &link->shared->hello);
	buf_add(&hello, SPAN("\r\n"));
	conn_write(conn,
		   buf_failed(&hello) ? SPAN("ping\r\n") : buf_span(&hello));
	link->unanswered = 1;
	timer_start_every(link->timer, link->shared->keepalive_us);
	set_state(link, LINK_GREETING);
}

static void on_closed(struct conn *conn, const char *why, void *arg)
{
	struct relay_link *link = arg;

	if (link->conn == conn)
		lost(link, why);
}

/* The first line: the dispatcher has accepted us. */
static void came_up(struct relay_link *link)
{
	size_t records = relay_records_total(link->records);

	set_state(link, LINK_UP);
	link->failures = 0;
	link->log_failure = FAILURES_LOGGED;
	link->shared->counts.connected++;
	log_info("link to dispatcher %s up", link->label);
	if (records > 0)
		log_info("dispatcher %s gets %zu records that waited for it",
			 link->label, records);
	timer_start(link->drain, FEATURES_WITHIN_US);
}

/* Its first `sessions` says what it can; others need not say it again. */
static void sessions_asked(struct relay_link *link,
			   const struct command *command)
{
	struct span words = command_header(command, "features");
	bool acknowledged = acknowledges(link);

	if (words.len > 0)
		link->features = link_features_decode(words);
	if (!link->knows_features || acknowledges(link) != acknowledged)
		features_known(link);
}

static void command_done(struct relay_link *link)
{
	const struct command *command = command_reader_command(link->reader);
	struct relay_request request = {link->owner, link->session,
					command->seq};

	link->shared->counts.commands++;
	if (span_equal(command->name, SPAN("sessions")))
		sessions_asked(link, command);
	link->shared->handlers.command(&request, command, link->shared->arg);
}

static void command_bad(struct relay_link *link)
{
	const struct command *command = command_reader_command(link->reader);
	struct span call_id = command_header(command, "call_id");
	uint64_t suppressed;

	link->shared->counts.commands_bad++;
	if (log_limit_allows(&link->log_bad, loop_now_us(link->shared->loop),
			     &suppressed))
		log_warning("[%.*s] bad command of dispatcher %s: %s (%" PRIu64
			    " more not shown)",
			    SPAN_ARG(call_id), link->label,
			    command_reader_why(link->reader), suppressed);
	if (command->name.len > 0) {
		struct relay_request request = {link->owner, link->session,
						command->seq};

		(void)relay_link_reply(link, &request, SPAN("error"));
	}
}

/* pong and ack are one line each. */
static bool is_no_request(struct relay_link *link, struct span line)
{
	static const struct span ack = {"ack ", 4};

	if (span_equal(line, SPAN("pong"))) {
		link->unanswered = 0;
		return true;
	}
	if (!span_starts_with(line, ack))
		return false;
	relay_records_acked(link->records,
			    span_make(line.ptr + ack.len, line.len - ack.len));
	records_send(link);
	return true;
}

static void on_line(struct conn *conn, struct span line, bool too_long,
		    void *arg)
{
	struct relay_link *link = arg;

	if (link->conn != conn)
		return;
	if (link->state == LINK_GREETING)
		came_up(link);
	if (!too_long && command_reader_idle(link->reader) &&
	    is_no_request(link, line))
		return;
	switch (command_reader_line(link->reader, line, too_long)) {
	case COMMAND_MORE:
		break;
	case COMMAND_DONE:
		command_done(link);
		break;
	case COMMAND_BAD:
		command_bad(link);
		break;
	}
}

static void dial(struct relay_link *link)
{
	static const struct conn_handlers handlers = {on_ready, on_line,
						      on_closed};
	struct relay_link_shared *shared = link->shared;
	struct command_reader *reader = NULL;

	/* A new one: the old may stand in the middle of a request. */
	if (command_reader_new(&reader, COMMAND_FORM_LINK) == 0 &&
	    conn_dial(&link->conn, shared->loop, &link->to, shared->tls,
		      &limits, &handlers, link) == 0) {
		command_reader_free(link->reader);
		link->reader = reader;
		link->session++;
		set_state(link, LINK_DIALING);
		return;
	}
	command_reader_free(reader);
	lost(link, "out of memory");
}

/* For its owner */

int relay_link_new(struct relay_link **ret, struct relay_link_shared *shared,
		   unsigned owner, const struct endpoint *to, const char *label)
{
	struct relay_link *link = calloc(1, sizeof(*link));
	char name[ADDR_TEXT_SIZE];
	const struct relay_records_config records = {
		.loop = shared->loop,
		.file = shared->file,
		.owner = endpoint_format(to, name),
		.label = label,
		.max_records = shared->max_records,
		.max_bytes = shared->max_record_bytes,
		.more = records_came,
		.arg = link,
	};

	if (!link)
		return -ENOMEM;
	link->shared = shared;
	link->owner = owner;
	link->to = *to;
	snprintf(link->label, sizeof(link->label), "%s", label);
	link->log_failure = FAILURES_LOGGED;
	link->log_bad = LOG_LIMIT(10, 10 * US_PER_S);
	link->log_late = LOG_LIMIT(10, 10 * US_PER_S);
	if (timer_new(&link->timer, shared->loop, on_timer, link) < 0 ||
	    timer_new(&link->drain, shared->loop, on_drain, link) < 0 ||
	    relay_records_new(&link->records, &records) < 0) {
		relay_link_free(link);
		return -ENOMEM;
	}
	*ret = link;
	return 0;
}

struct relay_link *relay_link_free(struct relay_link *link)
{
	if (!link)
		return NULL;
	relay_link_stop(link, "the relay stops");
	relay_records_free(link->records);
	timer_free(link->timer);
	timer_free(link->drain);
	command_reader_free(link->reader);
	free(link);
	return NULL;
}

void relay_link_start(struct relay_link *link)
{
	if (link->state == LINK_STOPPED)
		dial(link);
}

void relay_link_stop(struct relay_link *link, const char *why)
{
	struct conn *conn = link->conn;

	if (link->state == LINK_STOPPED)
		return;
	if (link->state == LINK_UP) {
		log_info("link to dispatcher %s down: %s", link->label, why);
		link->shared->counts.lost++;
	}
	conn_gone(link);
	timer_stop(link->timer);
	set_state(link, LINK_STOPPED);
	if (conn)
		conn_close(conn);
}

bool relay_link_is_started(const struct relay_link *link)
{
	return link->state != LINK_STOPPED;
}

void relay_link_verify(struct relay_link *link)
{
	CLEANUP(buf_done) struct buf text = {0};
	const char *why;

	if (!is_connected(link) || conn_verify_again(link->conn, &why) == 0)
		return;
	buf_printf(&text, "its certificate is not good any more: %s", why);
	relay_link_drop(link, buf_failed(&text) ? "certificate" : text.data);
}

int relay_link_reply(struct relay_link *link,
		     const struct relay_request *request, struct span text)
{
	CLEANUP(buf_done) struct buf line = {0};
	uint64_t suppressed;

	if (!is_connected(link) || link->session != request->session) {
		link->shared->counts.replies_lost++;
		if (log_limit_allows(&link->log_late,
				     loop_now_us(link->shared->loop),
				     &suppressed))
			log_info("dispatcher %s has gone before reply %" PRIu64
				 " (%" PRIu64 " more not shown)",
				 link->label, request->seq, suppressed);
		return -ENOTCONN;
	}
	if (text.len > LINK_MAX_RELAY_LINE - 24) {
		log_error("reply %" PRIu64 " to dispatcher %s has %zu bytes, "
			  "too many for a line",
			  request->seq, link->label, text.len);
		text = SPAN("error");
	}
	buf_printf(&line, "%" PRIu64 " ", request->seq);
	buf_add(&line, text);
	buf_add(&line, SPAN("\r\n"));
	if (buf_failed(&line)) {
		relay_link_drop(link, "out of memory");
		return -ENOTCONN;
	}
	conn_write(link->conn, buf_span(&line));
	return 0;
}

bool relay_link_is_flushed(const struct relay_link *link)
{
	/* What waits for an address that a name has no more waits on. */
	if (link->state == LINK_STOPPED)
		return true;
	return relay_records_empty(link->records) &&
	       (!is_connected(link) || conn_pending(link->conn) == 0);
}

void relay_link_count_records(const struct relay_link *link,
			      struct relay_records_counts *ret)
{
	relay_records_count(link->records, ret);
}

unsigned relay_link_features(const struct relay_link *link)
{
	return link->features;
}

const struct endpoint *relay_link_endpoint(const struct relay_link *link)
{
	return &link->to;
}

const char *relay_link_label(const struct relay_link *link)
{
	return link->label;
}
