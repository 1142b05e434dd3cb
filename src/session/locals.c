/**
 * Our addresses of a session: one for each party, of its family.
 *
 * The reply to an update carries one address for all streams, so all streams of
 * an exchange have the same. The caller's family is that of its SDP. The
 * callee's is not known at the offer: it is that of the address where the SIP
 * proxy sends the message, if it says, else the caller's. A callee that answers
 * in another family has our address all the same, and may send there: its media
 * is learned, and never sent to an address that our socket cannot reach.
 */
#include "session/internal.h"

/* An exchange's stream: all have the same addresses of ours. */
static const struct stream *any_stream(const struct exchange *exchange)
{
	for (size_t i = 0; exchange && i < exchange->count; i++)
		if (exchange->slots[i].stream)
			return exchange->slots[i].stream;
	return NULL;
}

/* The address of the first line that asks for a stream. */
static struct ip_addr address_of(const struct update *update)
{
	for (size_t i = 0; i < update->stream_count; i++)
		if (update->streams[i].sdp.port != 0)
			return update->streams[i].sdp.ip;
	return update->streams[0].sdp.ip;
}

static struct address_wish wish_of_offerer(const struct session *session,
					   const struct update *update,
					   enum party offerer)
{
	struct address_wish wish = {
		.sdp = address_of(update),
		.signalling = ip_is_set(&update->signaling_ip)
				      ? update->signaling_ip
				      : session->signalling[offerer],
	};

	wish.family = wish.sdp.family;
	if (ip_is_unspecified(&wish.sdp))
		wish.sdp = (struct ip_addr){0};
	return wish;
}

/* What a party that has said nothing yet in this exchange was known by. */
static struct address_wish wish_of_answerer(const struct session *session,
					    const struct update *update,
					    enum party answerer,
					    uint8_t offered_family)
{
	const struct stream *answered = any_stream(session->answered);
	struct address_wish wish = {
		.family = offered_family,
		.signalling = ip_is_set(&update->destination_ip)
				      ? update->destination_ip
				      : session->signalling[answerer],
	};

	if (answered && ip_is_set(&answered->sdp[answerer].ip)) {
		wish.sdp = answered->sdp[answerer].ip;
		wish.family = wish.sdp.family;
	} else if (ip_is_set(&wish.signalling)) {
		wish.family = wish.signalling.family;
	}
	/* It may have media of the other family. */
	if (!addresses_have_family(session->sessions->config.addresses,
				   wish.family))
		wish.family = offered_family;
	return wish;
}

int locals_choose(const struct session *session, const struct exchange *offer,
		  const struct update *update,
		  struct ip_addr ret[static PARTY_COUNT], const char **ret_why)
{
	struct addresses *addresses = session->sessions->config.addresses;
	const struct stream *kept = any_stream(offer);
	enum party offerer = offer->facts.offerer;
	enum party answerer = party_other(offerer);
	struct address_wish wish;
	struct ip_addr local[PARTY_COUNT];
	const struct ip_addr *like;
	int r;

	if (kept) {
		for (int i = 0; i < PARTY_COUNT; i++)
			ret[i] = kept->local[i].ip;
		return 0;
	}
	wish = wish_of_offerer(session, update, offerer);
	r = addresses_choose(addresses, &wish, &session->local[offerer],
			     &local[offerer], ret_why);
	if (r < 0)
		return r;
	wish = wish_of_answerer(session, update, answerer, wish.family);
	/* In one family both have the same, unless it knows better. */
	like = ip_is_set(&session->local[answerer]) ? &session->local[answerer]
						    : &local[offerer];
	r = addresses_choose(addresses, &wish, like, &local[answerer], ret_why);
	if (r < 0)
		return r;
	memcpy(ret, local, sizeof(local));
	return 0;
}

struct ip_addr locals_reply(const struct session *session,
			    const struct exchange *exchange, enum party sender)
{
	const struct addresses *addresses = session->sessions->config.addresses;
	const struct stream *stream = any_stream(exchange);
	enum party other = party_other(sender);

	if (stream)
		return *addresses_shown(addresses, &stream->local[other].ip);
	if (ip_is_set(&session->local[other]))
		return *addresses_shown(addresses, &session->local[other]);
	return *addresses_name(addresses);
}
