/**
 * SDP that names a port of this relay. Two proxies that share a relay show us
 * our own ports, and a call may go through the same relay twice; but packets
 * must never go in a circle: one would be forwarded for ever, and keep the call
 * alive by itself.
 */
#include <errno.h>
#include <stdlib.h>

#include "session/internal.h"

#define MAX_HOPS 16

struct own_ports {
	uint32_t first, end;
	struct own_port {
		struct stream *stream; /* NULL: nobody's */
		enum party party;      /* who sends to it */
	} pairs[];
};

int own_ports_new(struct own_ports **ret, uint32_t first, uint32_t end)
{
	size_t count = (end - first) / 2 + 1;
	struct own_ports *own;

	own = calloc(1, sizeof(*own) + count * sizeof(own->pairs[0]));
	if (!own)
		return -ENOMEM;
	own->first = first & ~1u;
	own->end = end;
	*ret = own;
	return 0;
}

static struct own_port *at_port(struct own_ports *own, uint16_t port)
{
	if (port < own->first || port >= own->end)
		return NULL;
	return &own->pairs[(port - own->first) / 2];
}

void own_ports_add(struct own_ports *own, struct stream *stream)
{
	for (enum party p = 0; p < PARTY_COUNT; p++)
		*at_port(own, stream->local[p].port) =
			(struct own_port){stream, p};
}

void own_ports_del(struct own_ports *own, const struct stream *stream)
{
	for (enum party p = 0; p < PARTY_COUNT; p++)
		*at_port(own, stream->local[p].port) = (struct own_port){0};
}

static const struct own_port *find(const struct sessions *sessions,
				   const struct endpoint *sdp)
{
	const struct own_port *at = at_port(sessions->own_ports, sdp->port);
	const struct ip_addr *local;

	if (!at || !at->stream)
		return NULL;
	local = &at->stream->local[at->party].ip;
	if (!ip_equal(&sdp->ip, local) &&
	    !ip_equal(&sdp->ip,
		      addresses_shown(sessions->config.addresses, local)))
		return NULL;
	return at;
}

struct endpoint own_ports_reach(const struct sessions *sessions,
				const struct endpoint *sdp)
{
	struct endpoint ep = *sdp;

	const struct own_port *at = find(sessions, sdp);

	if (at)
		ep.ip = at->stream->local[at->party].ip;
	return ep;
}

bool own_ports_has(const struct session *session, const struct endpoint *sdp)
{
	const struct own_port *at = find(session->sessions, sdp);

	return at && at->stream->session == session;
}

bool own_ports_lead_back(const struct session *session,
			 const struct endpoint *sdp)
{
	for (int hop = 0; hop < MAX_HOPS; hop++) {
		const struct own_port *at = find(session->sessions, sdp);

		if (!at)
			return false;
		if (at->stream->session == session)
			return true;
		/* What comes in there goes on to its other party. */
		sdp = &at->stream->sdp[party_other(at->party)];
	}
	return true;
}
