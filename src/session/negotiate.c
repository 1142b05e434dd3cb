/** Applying offers and answers to the streams of a session. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "session/internal.h"

/* A loop of re-INVITEs must not make a record of any size. */
#define SESSION_MAX_STREAMS 512

static bool is_hold(const struct media_line *line)
{
	if (line->direction == DIRECTION_SENDONLY ||
	    line->direction == DIRECTION_INACTIVE)
		return true;
	return ip_is_unspecified(&line->sdp.ip) && !line->ice;
}

/* Where media may never be sent, whatever an SDP says. */
static const char *refuse_address(const struct media *media,
				  const struct ip_addr *ip,
				  bool may_be_loopback)
{
	if (ip_is_ip4_compatible(ip))
		return "the SDP address is an IPv4 address written as IPv6 "
		       "(::a.b.c.d)";
	if (ip_is_metadata_service(ip))
		return "the SDP address is a metadata service";
	if (ip_is_link_local(ip))
		return "the SDP address is link-local";
	if (ip_is_multicast(ip))
		return "the SDP address is multicast or broadcast";
	if (ip_is_loopback(ip) && !may_be_loopback)
		return "the SDP address is loopback";
	if (media_is_denied(media, ip))
		return "the SDP address is in denied_ranges";
	return NULL;
}

int negotiate_check(const struct sessions *sessions,
		    const struct session *session, const struct update *update,
		    enum party sender, const char **ret_why)
{
	bool may_be_loopback =
		session && ip_is_set(&session->local[sender])
			? ip_is_loopback(&session->local[sender])
			: addresses_have_loopback(sessions->config.addresses);

	for (size_t i = 0; i < update->stream_count; i++) {
		const struct media_line *line = &update->streams[i];
		struct endpoint reach;
		const char *why;

		if (line->sdp.port == 0 || ip_is_unspecified(&line->sdp.ip))
			continue; /* no destination */
		why = refuse_address(sessions->media, &line->sdp.ip,
				     may_be_loopback);
		/* A port of ours is sent to where it is bound. */
		reach = own_ports_reach(sessions, &line->sdp);
		if (!why)
			why = refuse_address(sessions->media, &reach.ip,
					     may_be_loopback);
		if (!why && session && !own_ports_has(session, &line->sdp) &&
		    own_ports_lead_back(session, &line->sdp))
			why = "the SDP address leads back to this call";
		if (why) {
			*ret_why = why;
			return -EINVAL;
		}
	}
	return 0;
}

static bool matches(const struct stream *stream, const struct media_line *line,
		    enum party offerer)
{
	const struct endpoint *known = &stream->sdp[offerer];

	if (stream->state != STREAM_STATE_LIVE ||
	    !span_equal(span_of(stream->type), line->type))
		return false;
	if (ip_is_unspecified(&line->sdp.ip) || !ip_is_set(&known->ip))
		return true;
	if (own_ports_has(stream->session, &line->sdp))
		return true;
	if (line->sdp.port == 0)
		return ip_equal(&known->ip, &line->sdp.ip);
	return endpoint_equal(known, &line->sdp);
}

/* Agents name another address after a restart, or the one that they agreed on.
 * The media goes on until they have checked the new pair (RFC 8445, section 9),
 * so it has to be the same ports. */
static bool goes_on_by_ice(const struct stream *stream,
			   const struct media_line *line)
{
	return stream->state == STREAM_STATE_LIVE && stream->ice && line->ice &&
	       line->sdp.port != 0 &&
	       span_equal(span_of(stream->type), line->type);
}

static bool is_claimed(const struct exchange *exchange,
		       const struct stream *stream)
{
	for (size_t i = 0; i < exchange->count; i++)
		if (exchange->slots[i].stream == stream)
			return true;
	return false;
}

/* The answered stream that this line goes on with: at the same place first;
 * some phones leave m= lines out, so then at any place. */
static struct stream *find_kept(const struct exchange *answered,
				const struct exchange *offer,
				const struct media_line *line, size_t place)
{
	if (!answered)
		return NULL;
	if (place < answered->count) {
		struct stream *stream = answered->slots[place].stream;

		if (stream && !is_claimed(offer, stream) &&
		    (matches(stream, line, offer->facts.offerer) ||
		     goes_on_by_ice(stream, line)))
			return stream;
	}
	for (size_t i = 0; i < answered->count; i++) {
		struct stream *stream = answered->slots[i].stream;

		if (i != place && stream && !is_claimed(offer, stream) &&
		    !ip_is_unspecified(&line->sdp.ip) &&
		    matches(stream, line, offer->facts.offerer))
			return stream;
	}
	return NULL;
}

/* End the streams that an exchange made and that no answer took. */
static void end_new_streams(struct exchange *exchange, uint64_t now_us)
{
	for (size_t i = 0; i < exchange->count; i++)
		if (exchange->slots[i].is_new)
			stream_end(exchange->slots[i].stream, STREAM_CLOSED,
				   now_us);
}

static void drop_exchange(struct exchange **exchange, uint64_t now_us)
{
	if (*exchange)
		end_new_streams(*exchange, now_us);
	free(*exchange);
	*exchange = NULL;
}

void exchange_drop_open(struct session *session, uint64_t now_us)
{
	drop_exchange(&session->open, now_us);
	drop_exchange(&session->crossed, now_us);
}

/* A new offer takes the place of the open one. That of the other party may be
 * answered all the same: then it was the new one that was rejected. */
static void replace_open(struct session *session, struct exchange *offer,
			 uint64_t now_us)
{
	struct exchange *open = session->open;

	if (open && open->facts.offerer != offer->facts.offerer) {
		drop_exchange(&session->crossed, now_us);
		session->crossed = open;
		session->open = NULL;
	}
	drop_exchange(&session->open, now_us);
	session->open = offer;
}

static bool is_of_crossed(const struct session *session,
			  const struct media_message *message)
{
	return session->crossed &&
	       transaction_equal(message->transaction,
				 session->crossed->facts.offer);
}

/* The crossed offer gets its answer: it is the open one after all. */
static void reopen_crossed(struct session *session, uint64_t now_us)
{
	drop_exchange(&session->open, now_us);
	session->open = session->crossed;
	session->crossed = NULL;
}

static bool is_in_use(const struct session *session,
		      const struct stream *stream)
{
	const struct exchange *exchanges[] = {session->open, session->crossed,
					      session->answered};

	for (size_t i = 0; i < ARRAY_SIZE(exchanges); i++)
		if (exchanges[i] && is_claimed(exchanges[i], stream))
			return true;
	return stream->media != NULL;
}

/* Is there room for more streams? A call that lasts, and offers video again and
 * again to somebody who rejects it, gets room by forgetting what was rejected.
 */
static bool has_room(struct session *session, size_t more)
{
	size_t count = 0;

	list_for_each (link, &session->streams)
		count++;
	list_for_each_safe (link, &session->streams) {
		struct stream *stream = list_item(link, struct stream, link);

		if (count + more <= SESSION_MAX_STREAMS)
			break;
		if (stream_status(stream) == STREAM_REJECTED &&
		    !is_in_use(session, stream)) {
			stream_free(stream);
			count--;
		}
	}
	return count + more <= SESSION_MAX_STREAMS;
}

static void fill_slot(struct session *session, struct exchange *offer,
		      const struct media_line *line)
{
	struct slot slot = {
		.disabled = line->sdp.port == 0,
		.holds = is_hold(line),
		.ice = line->ice,
		.direction = (uint8_t)line->direction,
	};

	slot.stream = find_kept(session->answered, offer, line, offer->count);
	if (slot.stream && !own_ports_has(session, &line->sdp))
		slot.sdp = line->sdp;
	offer->slots[offer->count++] = slot;
}

static bool wants_stream(const struct slot *slot)
{
	return !slot->stream && !slot->disabled;
}

static bool wants_streams(const struct exchange *offer)
{
	for (size_t i = 0; i < offer->count; i++)
		if (wants_stream(&offer->slots[i]))
			return true;
	return false;
}

/* What goes on with no stream gets a new one. On failure those that were made
 * are the caller's to end. */
static int make_streams(struct session *session, struct exchange *offer,
			const struct update *update,
			const struct session_time *now, const char **ret_why)
{
	struct ip_addr local[PARTY_COUNT];
	int r;

	if (!wants_streams(offer))
		return 0;
	r = locals_choose(session, offer, update, local, ret_why);
	for (size_t i = 0; r == 0 && i < offer->count; i++) {
		struct slot *slot = &offer->slots[i];

		if (!wants_stream(slot))
			continue;
		r = stream_new(&slot->stream, session, &update->streams[i],
			       offer->facts.offerer, local, now, ret_why);
		slot->is_new = r == 0;
	}
	if (r == 0)
		memcpy(session->local, local, sizeof(session->local));
	return r;
}

static int take_offer(struct session *session, const struct update *update,
		      const struct media_message *message,
		      const struct session_time *now, const char **ret_why)
{
	struct exchange *offer;
	int r;

	if (!has_room(session, update->stream_count)) {
		*ret_why = "too many streams in one session";
		return -ENOSPC;
	}
	offer = calloc(1, sizeof(*offer) + update->stream_count *
						   sizeof(offer->slots[0]));
	if (!offer) {
		*ret_why = "out of memory";
		return -ENOMEM;
	}
	offer->facts = (struct exchange_facts){
		.exists = true,
		.offerer = message->sender,
		.offer_in_reply = message->is_reply,
		.offer = message->transaction,
	};
	for (size_t i = 0; i < update->stream_count; i++)
		fill_slot(session, offer, &update->streams[i]);
	r = make_streams(session, offer, update, now, ret_why);
	if (r < 0) {
		end_new_streams(offer, now->mono_us);
		free(offer);
		return r;
	}
	replace_open(session, offer, now->mono_us);
	return 0;
}

/* One m= line of an answer; line is NULL if the answer has fewer lines. */
static void answer_slot(struct slot *slot, enum party answerer,
			const struct media_line *line, uint64_t now_us)
{
	struct stream *stream = slot->stream;

	if (!stream || stream->state == STREAM_STATE_ENDED)
		return;
	if (!line || line->sdp.port == 0 || slot->disabled) {
		if (slot->is_new)
			stream_reject(stream, now_us);
		else
			stream_end(stream, STREAM_CLOSED, now_us);
		return;
	}
	stream_set_ice(stream, slot->ice && line->ice);
	if (ip_is_set(&slot->sdp.ip))
		stream_set_sdp(stream, party_other(answerer), &slot->sdp,
			       now_us);
	stream_set_sdp(stream, answerer, &line->sdp, now_us);
	stream_set_hold(stream, party_other(answerer), slot->holds, now_us);
	stream_set_hold(stream, answerer, is_hold(line), now_us);
	stream->direction[party_other(answerer)] = slot->direction;
	stream->direction[answerer] = (uint8_t)line->direction;
	stream_accept(stream, now_us);
}

/* The streams of the exchange before that the new one does not go on with. */
static void end_replaced(struct exchange *old,
			 const struct exchange *now_answered, uint64_t now_us)
{
	for (size_t i = 0; old && i < old->count; i++) {
		struct stream *stream = old->slots[i].stream;

		if (!stream || is_claimed(now_answered, stream))
			continue;
		stream_end(stream,
			   stream->state == STREAM_STATE_REJECTED
				   ? STREAM_REJECTED
				   : STREAM_CLOSED,
			   now_us);
	}
}

/* It was told an address of ours of a family that it does not use, and has to
 * be heard before it can be sent anything. */
static void log_other_family(const struct session *session,
			     const struct exchange *exchange,
			     enum party answerer)
{
	for (size_t i = 0; i < exchange->count; i++) {
		const struct stream *stream = exchange->slots[i].stream;

		if (!stream || !ip_is_set(&stream->sdp[answerer].ip) ||
		    stream->sdp[answerer].ip.family ==
			    stream->local[answerer].ip.family)
			continue;
		log_info("[%s] the %s's SDP is of another family than our "
			 "address for it: it is sent nothing before it is "
			 "heard",
			 session->call_id, party_name(answerer));
		return;
	}
}

static void take_answer(struct session *session, const struct update *update,
			const struct media_message *message,
			const struct session_time *now)
{
	struct exchange *exchange =
		session->open ? session->open : session->answered;

	for (size_t i = 0; i < exchange->count; i++)
		answer_slot(&exchange->slots[i], message->sender,
			    i < update->stream_count ? &update->streams[i]
						     : NULL,
			    now->mono_us);
	if (!transaction_equal(exchange->facts.answer, message->transaction))
		log_other_family(session, exchange, message->sender);
	exchange->facts.answer = message->transaction;
	if (session->open) {
		end_replaced(session->answered, session->open, now->mono_us);
		free(session->answered);
		session->answered = session->open;
		session->open = NULL;
		drop_exchange(&session->crossed, now->mono_us);
	}
	if (session->start_mono_us == 0) {
		session->start_mono_us = now->mono_us;
		session->start_wall_us = now->wall_us;
	}
}

/* The exchange that a message belongs to. What is old is answered from the
 * streams that are in force. */
static const struct exchange *exchange_of(const struct session *session,
					  const struct media_message *message)
{
	const struct exchange *open = session->open;

	if (open && message->sender == open->facts.offerer &&
	    transaction_equal(message->transaction, open->facts.offer))
		return open;
	if (is_of_crossed(session, message))
		return session->crossed;
	return session->answered ? session->answered : open;
}

/* One port for each stream of the message, in its order: those that the other
 * party is to send to. */
static void fill_ports(const struct session *session,
		       const struct update *update,
		       const struct media_message *message,
		       struct session_ports *ret)
{
	const struct exchange *exchange = exchange_of(session, message);

	ret->ip = locals_reply(session, exchange, message->sender);
	ret->count = update->stream_count;
	for (size_t i = 0; i < ret->count; i++) {
		const struct stream *stream =
			exchange && i < exchange->count
				? exchange->slots[i].stream
				: NULL;
		bool usable = stream && update->streams[i].sdp.port != 0 &&
			      !exchange->slots[i].disabled &&
			      stream->state != STREAM_STATE_REJECTED &&
			      stream->state != STREAM_STATE_ENDED;

		ret->ports[i] =
			usable ? stream->local[party_other(message->sender)]
					 .port
			       : 0;
	}
}

static struct negotiation_facts facts_of(const struct session *session)
{
	struct negotiation_facts facts = {0};

	if (session->open)
		facts.open = session->open->facts;
	if (session->answered)
		facts.answered = session->answered->facts;
	for (int i = 0; i < PARTY_COUNT; i++) {
		facts.seen[i] = session->seen[i];
		facts.highest_cseq[i] = session->highest_cseq[i];
	}
	return facts;
}

static void note_cseq(struct session *session, struct sip_transaction t)
{
	if (session->seen[t.requester] &&
	    t.cseq <= session->highest_cseq[t.requester])
		return;
	session->seen[t.requester] = true;
	session->highest_cseq[t.requester] = t.cseq;
}

static void note_lines(struct session *session, const struct update *update,
		       enum signal_kind kind, enum party sender,
		       uint64_t now_us)
{
	const struct sessions *sessions = session->sessions;

	for (size_t i = 0; i < update->stream_count; i++) {
		const struct media_line *line = &update->streams[i];
		struct endpoint reach = own_ports_reach(sessions, &line->sdp);

		signals_note_line(&session->signals, kind, sender, line,
				  media_may_send_to(sessions->media, &reach,
						    &session->local[sender]),
				  now_us);
	}
}

int negotiate(struct session *session, const struct update *update,
	      enum party sender, const struct session_time *now,
	      struct session_ports *ret, const char **ret_why)
{
	struct media_message message = {
		.sender = sender,
		.is_reply = update->is_reply,
		.transaction = {update->is_reply ? party_other(sender) : sender,
				update->cseq},
	};
	struct negotiation_facts facts;
	enum message_kind kind;
	int r;

	if (is_of_crossed(session, &message) && message.is_reply)
		reopen_crossed(session, now->mono_us);
	facts = facts_of(session);
	kind = message_classify(&facts, &message);
	log_debug("[%.*s] %s from the %s, cseq %u", SPAN_ARG(update->call_id),
		  message_kind_name(kind), party_name(sender), update->cseq);
	switch (kind) {
	case MESSAGE_OFFER:
		r = take_offer(session, update, &message, now, ret_why);
		if (r < 0)
			return r;
		note_lines(session, update, SIGNAL_OFFER, sender, now->mono_us);
		break;
	case MESSAGE_ANSWER:
	case MESSAGE_ANSWER_AGAIN:
		note_lines(session, update, SIGNAL_ANSWER, sender,
			   now->mono_us);
		take_answer(session, update, &message, now);
		break;
	case MESSAGE_OFFER_AGAIN:
	case MESSAGE_OLD:
		break;
	}
	if (kind != MESSAGE_OLD && kind != MESSAGE_OFFER_AGAIN) {
		note_cseq(session, message.transaction);
		session->changed_us = now->mono_us;
	}
	fill_ports(session, update, &message, ret);
	return 0;
}
