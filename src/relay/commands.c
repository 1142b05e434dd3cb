#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/update.h"
#include "relay/relay.h"

/* A page is written in a millisecond or so, whatever callers put into their
 * headers.
 */
#define SESSIONS_PER_PAGE 500
#define BYTES_PER_PAGE (256u << 10)

/* What a refusal is about, in the log: limited, since a peer decides how many.
 */
static void log_refusal(struct relay *relay, struct span what,
			struct span call_id, const char *why)
{
	uint64_t suppressed;

	if (!log_limit_allows(&relay->refusals, loop_now_us(relay->loop),
			      &suppressed))
		return;
	if (suppressed > 0)
		log_warning("%" PRIu64 " more refusals were not logged",
			    suppressed);
	log_warning("[%.*s] %.*s refused: %s", SPAN_ARG(call_id),
		    SPAN_ARG(what), why);
}

static void reply(struct relay *relay, const struct relay_request *request,
		  struct span text)
{
	/* A dispatcher that is gone asks again what it still wants to know. */
	(void)relay_links_reply(relay->links, request, text);
}

static void reply_ports(struct relay *relay,
			const struct relay_request *request,
			const struct session_ports *ports)
{
	CLEANUP(buf_done) struct buf text = {0};
	char ip[ADDR_TEXT_SIZE];

	buf_add(&text, span_of(ip_format(&ports->ip, ip)));
	for (size_t i = 0; i < ports->count; i++)
		buf_printf(&text, " %u", ports->ports[i]);
	reply(relay, request,
	      buf_failed(&text) ? SPAN("error") : buf_span(&text));
}

static void take_update(struct relay *relay,
			const struct relay_request *request,
			const struct command *command)
{
	struct session_time now = relay_time(relay);
	struct session_ports ports;
	struct update update;
	const char *why = "";
	int r = update_decode(command, &update, &why);

	if (r == 0)
		r = sessions_update(relay->sessions, &update, request->owner,
				    relay->state == RELAY_RUNNING, &now, &ports,
				    &why);
	switch (r) {
	case 0:
		reply_ports(relay, request, &ports);
		break;
	case -ENODATA:
		reply(relay, request, SPAN("None"));
		break;
	case -ESHUTDOWN:
		reply(relay, request, SPAN("halting"));
		break;
	default:
		log_refusal(relay, command->name,
			    command_header(command, "call_id"), why);
		reply(relay, request, SPAN("error"));
	}
}

/* A remove that waits for the final counters. */
struct pending_removal {
	struct relay *relay;
	struct relay_request request;
};

static void encode(struct buf *out, const struct session_statistics *statistics,
		   enum statistics_use use)
{
	struct json_writer w = json_writer_over(out);

	statistics_encode(&w, NULL, statistics, use);
}

static void log_lost(const struct session_final *final)
{
	log_error("[%.*s] record lost: out of memory",
		  SPAN_ARG(final->statistics->call_id));
}

/* What is sent again to a dispatcher of ours may have either form. */
static void session_removed(const struct session_final *final, void *arg)
{
	struct pending_removal *pending = arg;
	struct relay *relay = pending->relay;
	CLEANUP(buf_done) struct buf reply = {0}, expired = {0};
	bool acks = relay_links_has_feature(
		relay->links, pending->request.owner, LINK_FEATURE_ACK);

	encode(&reply, final->statistics, STATISTICS_REMOVE);
	if (!acks)
		encode(&expired, final->statistics, STATISTICS_EXPIRED);
	if (buf_failed(&reply) || buf_failed(&expired))
		log_lost(final);
	else
		relay_links_removed(relay->links, &pending->request,
				    final->statistics->record_id,
				    buf_span(&reply),
				    buf_span(acks ? &reply : &expired));
	free(pending);
}

static void take_remove(struct relay *relay,
			const struct relay_request *request,
			const struct command *command)
{
	struct session_time now = relay_time(relay);
	struct pending_removal *pending = calloc(1, sizeof(*pending));
	struct removal removal;
	const char *why = "out of memory";
	int r = -ENOMEM;

	if (pending) {
		*pending = (struct pending_removal){relay, *request};
		r = removal_decode(command, &removal, &why);
	}
	if (r == 0) {
		why = "no such session";
		r = sessions_remove(relay->sessions, &removal, &now,
				    session_removed, pending);
	}
	if (r == 0)
		return;
	free(pending);
	log_refusal(relay, command->name, command_header(command, "call_id"),
		    why);
	reply(relay, request, SPAN("error"));
}

static void answer_summary(struct relay *relay,
			   const struct relay_request *request)
{
	CLEANUP(buf_done) struct buf json = {0};
	struct json_writer w = json_writer_over(&json);

	relay_write_summary(relay, &w);
	reply(relay, request,
	      buf_failed(&json) ? SPAN("error") : buf_span(&json));
}

/* One listing of sessions on its way into a buffer. */
struct session_list {
	struct json_writer w;
	enum statistics_use use;
	bool brief; /* call_id alone */
	size_t max_bytes;
	int owner; /* -1: of all dispatchers */
};

static bool add_session(const struct session_statistics *statistics, void *arg)
{
	struct session_list *list = arg;

	if (list->brief) {
		json_object_begin(&list->w, NULL);
		json_span(&list->w, "call_id", statistics->call_id);
		json_object_end(&list->w);
	} else {
		statistics_encode(&list->w, NULL, statistics, list->use);
	}
	return list->w.out->len < list->max_bytes;
}

/* Write an array of at most max sessions from the cursor on. */
static void list_sessions(struct relay *relay, struct session_list *list,
			  const char *key, uint64_t *cursor, size_t max)
{
	struct session_time now = relay_time(relay);

	json_array_begin(&list->w, key);
	sessions_visit(relay->sessions, cursor, list->owner, max, &now,
		       add_session, list);
	json_array_end(&list->w);
}

/* A page for our dispatcher: {"sessions": [...], "next": CURSOR}, 0 at the end.
 */
static void write_page(struct relay *relay, struct session_list *list,
		       uint64_t cursor)
{
	list->max_bytes = BYTES_PER_PAGE;
	json_object_begin(&list->w, NULL);
	list_sessions(relay, list, "sessions", &cursor, SESSIONS_PER_PAGE);
	json_u64(&list->w, "next", cursor);
	json_object_end(&list->w);
}

/* All at once. A line that is too long is dropped by the original's dispatcher,
 * which then reconnects for ever: it gets call-ids alone. */
static void write_all(struct relay *relay, const struct relay_request *request,
		      struct session_list *list)
{
	uint64_t cursor = 0;

	list->max_bytes = LINK_MAX_RELAY_LINE - 64; /* "SEQ " is in front */
	list_sessions(relay, list, NULL, &cursor, SIZE_MAX);
	if (cursor == 0 && list->w.out->len <= list->max_bytes)
		return;
	log_warning("the list of sessions is too long for %s: only call-ids "
		    "are sent",
		    relay_links_owner_name(relay->links, request->owner));
	buf_reset(list->w.out);
	list->w = json_writer_over(list->w.out);
	list->brief = true;
	list->max_bytes = SIZE_MAX;
	cursor = 0;
	list_sessions(relay, list, NULL, &cursor, SIZE_MAX);
}

static void answer_sessions(struct relay *relay,
			    const struct relay_request *request,
			    const struct command *command)
{
	CLEANUP(buf_done) struct buf json = {0};
	struct span page = command_header(command, "page");
	bool own = span_equal(command_header(command, "scope"), SPAN("own"));
	bool new_keys = relay_links_has_feature(relay->links, request->owner,
						LINK_FEATURE_DIALOG_ID);
	struct session_list list = {
		.w = json_writer_over(&json),
		.use = new_keys ? STATISTICS_SESSIONS_NEW : STATISTICS_SESSIONS,
		.owner = own ? (int)request->owner : -1,
	};
	uint64_t cursor;

	if (page.len == 0) {
		write_all(relay, request, &list);
	} else if (span_to_u64(page, UINT64_MAX, &cursor) == 0) {
		write_page(relay, &list, cursor);
	} else {
		reply(relay, request, SPAN("error"));
		return;
	}
	reply(relay, request,
	      buf_failed(&json) ? SPAN("error") : buf_span(&json));
}

void relay_command(const struct relay_request *request,
		   const struct command *command, void *arg)
{
	struct relay *relay = arg;

	if (span_equal(command->name, SPAN("update"))) {
		take_update(relay, request, command);
	} else if (span_equal(command->name, SPAN("remove"))) {
		take_remove(relay, request, command);
	} else if (span_equal(command->name, SPAN("summary"))) {
		answer_summary(relay, request);
	} else if (span_equal(command->name, SPAN("sessions"))) {
		answer_sessions(relay, request, command);
	} else if (span_equal(command->name, SPAN("explain"))) {
		relay_explain(relay, request,
			      command_header(command, "call_id"));
	} else {
		log_refusal(relay, command->name,
			    command_header(command, "call_id"),
			    "unknown command");
		reply(relay, request, SPAN("error"));
	}
}

void relay_session_expired(const struct session_final *final, void *arg)
{
	CLEANUP(buf_done) struct buf json = {0};
	struct relay *relay = arg;
	struct span record_id = final->statistics->record_id;

	encode(&json, final->statistics, STATISTICS_EXPIRED);
	if (buf_failed(&json))
		log_lost(final);
	else
		relay_links_expired(relay->links, final->owner, record_id,
				    buf_span(&json));
}
