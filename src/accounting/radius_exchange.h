#pragma once
/**
 * @file accounting/radius_exchange.h  One request to one RADIUS server, and the
 * wait for its answer
 *
 * The caller's thread waits: for the lookup of a host name, and up to timeout *
 * (1 + retries) for the answer. Each exchange has a socket of its own, so that
 * a late answer to another one cannot be taken for its.
 */
#include "accounting/radius_config.h"
#include "accounting/radius_packet.h"

/**
 * Send the request, again after each timeout, until it is answered.
 *
 * @return 0: the server has taken it. -ETIMEDOUT: silence. -EBADMSG: what came
 *         is not signed with our secret. -EPROTO: it answered something else.
 *         -EHOSTUNREACH: no such host name. -ECONNREFUSED: nobody listens
 *         there, which is known at once where ICMP gets through. Other negative
 *         errno: it could not be sent
 */
int radius_exchange(const struct radius_config *config,
		    const struct radius_server *server,
		    const struct radius_request *request);
