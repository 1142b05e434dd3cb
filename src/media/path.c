#include "media/path.h"

#include "media/port_ice.h"
#include "media/receive.h"
#include "media/send.h"
#include "media/socket.h"

#define UDP_HEADER_LEN 8
#define IP4_HEADER_LEN 20
#define IP6_HEADER_LEN 40

/** One batch from one socket on its way to the other party. */
struct pass {
	struct worker *worker;
	struct port *from, *to;
	bool had_media;
	uint8_t tos;              /* of the packet, where it is kept */
	enum media_drop no_way;   /* why, if there is no destination */
	int payload_type;         /* -1: none in this batch */
	uint64_t silent_since_us; /* the remote, before it moved; 0: unknown */
	uint64_t first_media_us;
	uint32_t drops[DROP_COUNT];
	struct outbox out;
};

/** One packet of it. */
struct arrival {
	struct endpoint source;
	struct packet_facts facts;
	void *data;
	size_t len;
};

/* ---- classify ---- */

static struct arrival classify(const struct port *from, struct batch *b,
			       unsigned i)
{
	struct arrival a = {.data = b->in_iov[i].iov_base,
			    .len = b->in[i].msg_len};

	a.source = endpoint_from_sockaddr(&b->sources[i]);
	a.facts = from->stream->format == MEDIA_FORMAT_UDPTL
			  ? packet_read_udptl(a.data, a.len)
			  : packet_read(a.data, a.len);
	return a;
}

/* ---- evidence: nothing here is on the way of the remote's packets ---- */

static void tell_confirmed(const struct pass *pass)
{
	struct port *from = pass->from;
	uint64_t now_us = pass->worker->now_us;
	uint64_t silent_ms = pass->silent_since_us == 0
				     ? 0
				     : (now_us - pass->silent_since_us) / 1000;

	history_decided(&from->history, HISTORY_CONFIRMED, from->learning.rule,
			&from->learning.remote, media_history_ms(from, now_us),
			silent_ms);
}

static void tell_refused(const struct pass *pass, enum history_kind kind,
			 enum media_drop why, const struct endpoint *source,
			 uint64_t count)
{
	history_refused(&pass->from->history, kind, why, source,
			media_history_ms(pass->from, pass->worker->now_us),
			count);
}

/* What is dropped for the state of the call, whoever sent it. */
static void tell_dropped(const struct pass *pass, enum media_drop why)
{
	if (why == DROP_NO_DESTINATION || why == DROP_NOT_FORWARDING ||
	    why == DROP_SEND_FAILED || why == DROP_SEND_FULL)
		tell_refused(pass, HISTORY_REFUSED, why, NULL,
			     pass->drops[why]);
}

/* Something came: was the remote silent before? */
static void tell_silence(const struct worker *w, struct port *from)
{
	if (from->component == COMPONENT_RTP &&
	    ip_is_set(&from->learning.remote.ip))
		history_silent(&from->history,
			       media_history_ms(from, from->learning.heard_us),
			       media_history_ms(from, w->now_us));
}

/* ---- look up: what becomes of a packet ---- */

static void note_media(struct pass *pass, const struct packet_facts *facts,
		       uint64_t arrived_us)
{
	/* RTCP may share the port of RTP (RFC 5761). */
	if (facts->kind == PACKET_STUN || facts->kind == PACKET_RTCP)
		return;
	if (!pass->had_media)
		pass->first_media_us = arrived_us;
	pass->had_media = true;
	if (facts->payload_type >= 0)
		pass->payload_type = facts->payload_type;
}

static void note_tos(struct pass *pass, unsigned i)
{
	struct msghdr *msg = &pass->worker->batch.in[i].msg_hdr;

	pass->tos = (uint8_t)media_socket_received_tos(msg);
	msg->msg_controllen = MEDIA_SOCKET_CONTROL; /* for the next batch */
}

/* Like the packet's is from now on that of what is sent. It stays the same for
 * most of a call. */
static void keep_tos(struct pass *pass)
{
	struct port *to = pass->to;

	if (pass->tos == to->tos)
		return;
	outbox_send(&pass->out);
	(void)media_socket_set_tos(to->fd, to->stream->local[to->party].family,
				   pass->tos);
	to->tos = pass->tos;
}

static void forward(struct pass *pass, void *data, size_t len)
{
	if (pass->worker->keeps_tos)
		keep_tos(pass);
	if (pass->out.destination_len == 0)
		pass->drops[pass->no_way]++;
	else
		outbox_add(&pass->out, data, len);
}

static bool still_candidate(const struct held_packet *packet, void *arg)
{
	const struct learning *l = arg;

	return learning_is_candidate(l, &packet->source);
}

static void drop_held_of_others(struct pass *pass)
{
	struct port *from = pass->from;

	if (from->held.count > 0)
		pass->drops[DROP_NOT_PROVED] +=
			held_keep(&from->held, &pass->worker->held,
				  still_candidate, &from->learning);
}

/* A stranger that had RTCP loses it when the party's RTP comes. */
static void rtcp_follows(const struct port *rtp)
{
	struct port *rtcp = &rtp->stream->ports[rtp->party][COMPONENT_RTCP];

	if (rtp->component == COMPONENT_RTP &&
	    learning_follow_rtp(&rtcp->learning, &rtp->learning))
		media_port_show_remote(rtcp);
}

/* A remote is settled: what it sent while it was a candidate goes first. */
static void settled(struct pass *pass)
{
	struct port *from = pass->from;
	struct held_packet *packets[LEARNING_HELD_MAX];
	struct held_packet *packet;
	unsigned count = 0;

	tell_confirmed(pass);
	media_port_show_remote(from);
	rtcp_follows(from);
	if (from->held.count == 0)
		return;
	outbox_send(&pass->out);
	while ((packet = held_take(&from->held))) {
		packets[count++] = packet;
		if (!endpoint_equal(&packet->source, &from->learning.remote)) {
			pass->drops[DROP_NOT_PROVED]++;
			continue;
		}
		note_media(pass, &packet->facts, packet->arrived_us);
		forward(pass, packet->data, packet->len);
	}
	outbox_send(&pass->out);
	while (count > 0)
		held_packet_free(packets[--count], &pass->worker->held);
}

static void hold(struct pass *pass, const struct arrival *a)
{
	struct worker *w = pass->worker;

	drop_held_of_others(pass);
	pass->drops[DROP_NOT_PROVED] +=
		held_add(&pass->from->held, &w->held, &a->source, &a->facts,
			 a->data, a->len, w->now_us);
	tell_refused(pass, HISTORY_HELD, DROP_NOT_PROVED, &a->source, 1);
	worker_arm(w, pass->from);
}

/* ---- ICE: rare packets; docs/media.md has the rules ---- */

static void start_pass(struct pass *pass, struct worker *w, struct port *from);
static void account(struct pass *pass);

static bool is_over_limit(const struct port *from, uint64_t now_us)
{
	return limit_is_over(&from->packet_limit, now_us) ||
	       limit_is_over(&from->byte_limit, now_us);
}

static void set_destination(struct pass *pass)
{
	struct port *to = pass->to;
	const struct endpoint *destination = learning_destination(
		&to->learning, pass->worker->learning, &to->sdp, to->sdp_usable,
		pass->worker->now_us);

	pass->out.destination_len = 0;
	if (is_over_limit(pass->from, pass->worker->now_us))
		pass->no_way = DROP_OVER_LIMIT;
	else if (destination)
		pass->out.destination_len = endpoint_to_sockaddr(
			destination, &pass->out.destination);
}

/* It went to the other party once, however many places that was. */
static void send_to_places(struct pass *pass, const struct ice_verdict *verdict,
			   const struct arrival *a)
{
	for (size_t i = 0; i < verdict->count; i++) {
		struct outbox out = pass->out;

		out.destination_len =
			endpoint_to_sockaddr(&verdict->to[i], &out.destination);
		outbox_add(&out, a->data, a->len);
		outbox_send(&out);
		pass->out.full = out.full;
		pass->out.failed = out.failed;
		if (i > 0)
			continue;
		pass->out.packets = out.packets;
		pass->out.bytes = out.bytes;
	}
}

static void choose_here(struct pass *pass)
{
	if (port_ice_choose(pass->from, pass->worker->now_us))
		settled(pass);
}

/* A response makes a source of the other port valid. */
static void choose_there(struct worker *w, struct port *port)
{
	struct pass pass;

	start_pass(&pass, w, port);
	choose_here(&pass);
	account(&pass);
}

static void refuse_ice(struct pass *pass, enum media_drop why,
		       const struct arrival *a)
{
	pass->drops[why]++;
	if (why != DROP_NO_DESTINATION) /* account() tells that */
		tell_refused(pass, HISTORY_REFUSED, why, &a->source, 1);
}

static void judge_ice_stun(struct pass *pass, const struct arrival *a)
{
	struct worker *w = pass->worker;
	struct ice_verdict verdict;

	outbox_send(&pass->out);
	verdict = port_ice_stun(pass->from, &a->source, a->data, a->len,
				w->now_us);
	if (verdict.count == 0)
		refuse_ice(pass, verdict.drop, a);
	send_to_places(pass, &verdict, a);
	choose_there(w, pass->to);
	set_destination(pass);
	choose_here(pass);
}

/* Others than the remote are worth a look now and then: a flood of them
 * has to cost less than that, and to keep nobody from being heard whom
 * the party's SDP or signalling names, or who goes on with its SSRC. */
static bool is_flood(struct pass *pass, const struct learning_facts *facts,
		     const struct arrival *a)
{
	struct port *from = pass->from;
	const struct limit_source who = {
		.source = &a->source,
		.is_known = !learning_is_stranger(&from->learning, facts,
						  &a->source, &a->facts),
		.is_stun = a->facts.kind == PACKET_STUN,
		.is_wanted = !ip_is_set(&from->learning.remote.ip),
	};

	if (!from->others)
		from->others = calloc(1, sizeof(*from->others));
	return !from->others ||
	       !limit_take(from->others, &who, pass->worker->now_us);
}

/* Valid sources are no strangers. */
static bool is_ice_flood(struct pass *pass, const struct arrival *a)
{
	struct port *from = pass->from;
	const struct ice *ice = from->stream->ice[from->component];
	struct learning_known known[STREAM_KNOWN_MAX];
	struct learning_facts facts;

	if (!ice || !ice_remote(ice, from->party) ||
	    ice_is_valid(ice, from->party, &a->source))
		return false;
	facts = media_stream_facts(from, pass->worker->learning, known,
				   pass->worker->now_us);
	return is_flood(pass, &facts, a);
}

/* @return false: learning decides */
static bool judge_ice_media(struct pass *pass, const struct arrival *a)
{
	struct worker *w = pass->worker;
	struct port *from = pass->from;

	if (is_ice_flood(pass, a)) {
		pass->drops[DROP_FLOOD]++;
		return true;
	}
	switch (port_ice_media(from, &a->source, &a->facts, w->now_us)) {
	case ICE_MEDIA_LEARN:
		return false;
	case ICE_MEDIA_REFUSE:
		refuse_ice(pass, DROP_NOT_THE_REMOTE, a);
		return true;
	case ICE_MEDIA_HEAR:
		break;
	}
	pass->silent_since_us = from->learning.heard_us;
	choose_here(pass);
	(void)learning_hear(&from->learning, w->learning, &a->source, &a->facts,
			    w->now_us);
	note_media(pass, &a->facts, w->now_us);
	forward(pass, a->data, a->len);
	return true;
}

static void judge(struct pass *pass, struct arrival *a)
{
	struct worker *w = pass->worker;
	struct learning_known known[STREAM_KNOWN_MAX];
	struct learning_facts facts =
		media_stream_facts(pass->from, w->learning, known, w->now_us);
	struct learning_decision d;

	if (is_flood(pass, &facts, a)) {
		pass->drops[DROP_FLOOD]++;
		return;
	}
	pass->silent_since_us = pass->from->learning.heard_us;
	d = learning_judge(&pass->from->learning, &facts, &a->source,
			   &a->facts);
	switch (d.verdict) {
	case LEARNING_CONFIRM:
		settled(pass);
		/* fall through */
	case LEARNING_HEAR:
		note_media(pass, &a->facts, w->now_us);
		/* fall through */
	case LEARNING_PASS:
		forward(pass, a->data, a->len);
		break;
	case LEARNING_HOLD:
		hold(pass, a);
		break;
	case LEARNING_DROP:
		pass->drops[d.drop]++;
		tell_refused(pass, HISTORY_REFUSED, d.drop, &a->source, 1);
		break;
	}
}

static void look_up(struct pass *pass, struct arrival *a)
{
	struct worker *w = pass->worker;

	if (!pass->from->stream->settings.forwarding) {
		pass->drops[DROP_NOT_FORWARDING]++;
		return;
	}
	if (a->facts.kind == PACKET_STUN && pass->from->stream->settings.ice) {
		judge_ice_stun(pass, a);
		return;
	}
	if (!learning_hear(&pass->from->learning, w->learning, &a->source,
			   &a->facts, w->now_us)) {
		if (!pass->from->stream->settings.ice ||
		    !judge_ice_media(pass, a))
			judge(pass, a);
		return;
	}
	note_media(pass, &a->facts, w->now_us);
	forward(pass, a->data, a->len);
}

/* ---- account ---- */

/* Learning forgets an RTCP remote by itself when it is asked after a
 * silence.
 */
static void show_forgotten(const struct worker *w, struct port *port)
{
	if (!port->shows_remote || ip_is_set(&port->learning.remote.ip))
		return;
	history_decided(&port->history, HISTORY_FORGOTTEN,
			/* reason= */ 0, NULL,
			media_history_ms(port, w->now_us), 0);
	media_port_show_remote(port);
}

static void account(struct pass *pass)
{
	struct port *from = pass->from;
	struct shown_counters *shown = &from->shown;
	struct worker *w = pass->worker;

	if (pass->out.packets > 0) {
		limit_use(&from->packet_limit, &w->packet_rate, w->now_us,
			  pass->out.packets);
		limit_use(&from->byte_limit, &w->byte_rate, w->now_us,
			  pass->out.bytes);
		count_up(&shown->packets, pass->out.packets);
		count_up(&shown->bytes, pass->out.bytes);
		count_up(&w->packets, pass->out.packets);
		count_up(&w->bytes, pass->out.bytes);
	}
	if (pass->had_media) {
		if (count_read(&shown->first_media_us) == 0)
			atomic_store_explicit(&shown->first_media_us,
					      pass->first_media_us,
					      memory_order_relaxed);
		atomic_store_explicit(&shown->last_media_us, w->now_us,
				      memory_order_relaxed);
	}
	if (pass->payload_type >= 0)
		atomic_store_explicit(&shown->payload_type, pass->payload_type,
				      memory_order_relaxed);
	pass->drops[DROP_SEND_FULL] += pass->out.full;
	pass->drops[DROP_SEND_FAILED] += pass->out.failed;
	for (enum media_drop why = 0; why < DROP_COUNT; why++) {
		if (pass->drops[why] == 0)
			continue;
		worker_count_drop(w, from, why, pass->drops[why]);
		tell_dropped(pass, why);
	}
	if (pass->drops[DROP_OVER_LIMIT] > 0)
		from->limited_until_us = w->now_us + LIMIT_HOLD_US;
	show_forgotten(w, from);
	show_forgotten(w, pass->to);
}

static void start_pass(struct pass *pass, struct worker *w, struct port *from)
{
	struct media_stream *stream = from->stream;
	struct port *to = media_port_other(from);

	if (latch_version(&stream->settings_latch) != stream->applied)
		media_stream_apply_settings(stream);
	flow_sync(w, stream);
	*pass = (struct pass){
		.worker = w,
		.from = from,
		.to = to,
		.no_way = DROP_NO_DESTINATION,
		.payload_type = -1,
		.out = {.worker = w,
			.to = to,
			.header_len =
				UDP_HEADER_LEN +
				(stream->local[from->party].family == AF_INET
					 ? IP4_HEADER_LEN
					 : IP6_HEADER_LEN)},
	};
	set_destination(pass);
}

unsigned path_serve(struct worker *w, struct port *from)
{
	unsigned count = receive_batch(w, from);
	struct pass pass;

	if (count == 0)
		return 0;
	start_pass(&pass, w, from);
	if (w->now_us >= from->learning.heard_us + HISTORY_SILENCE_US)
		tell_silence(w, from);
	media_stream_join_session(from->stream);
	for (unsigned i = 0; i < count; i++) {
		struct arrival a = classify(from, &w->batch, i);

		if (w->keeps_tos)
			note_tos(&pass, i);
		look_up(&pass, &a);
	}
	outbox_send(&pass.out);
	account(&pass);
	flow_consider(w, from);
	return count;
}

bool path_drain(struct worker *w, struct port *from)
{
	from->burst = RECEIVE_BURST_TAIL;
	return path_serve(w, from) == 0;
}

void path_forget(struct worker *w, struct port *port)
{
	(void)learning_destination(&port->learning, w->learning, &port->sdp,
				   port->sdp_usable, w->now_us);
	show_forgotten(w, port);
}

void path_settle(struct worker *w, struct port *from)
{
	struct learning_known known[STREAM_KNOWN_MAX];
	struct learning_facts facts;
	struct pass pass;

	start_pass(&pass, w, from);
	facts = media_stream_facts(from, w->learning, known, w->now_us);
	if (from->stream->settings.forwarding &&
	    learning_tick(&from->learning, &facts))
		settled(&pass);
	drop_held_of_others(&pass);
	account(&pass);
	if (learning_is_waiting(&from->learning))
		worker_arm(w, from);
}

void path_finish(struct worker *w, struct media_stream *stream)
{
	for (unsigned party = 0; party < PARTY_COUNT; party++)
		for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
			(void)path_drain(w, &stream->ports[party][i]);
		}
	for (unsigned party = 0; party < PARTY_COUNT; party++)
		for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
			struct port *c = &stream->ports[party][i];
			unsigned dropped = held_clear(&c->held, &w->held);

			receive_note_drops(w, c);
			if (dropped > 0)
				worker_count_drop(w, c, DROP_NOT_PROVED,
						  dropped);
			list_del(&c->timer);
		}
}
