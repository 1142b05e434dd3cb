#pragma once
/**
 * @file proto/party.h  The two parties of a session, the two components of a
 * stream
 */

/** The caller sent the request that made the session, the callee answered it.
 */
enum party { PARTY_CALLER, PARTY_CALLEE };
#define PARTY_COUNT 2

static inline enum party party_other(enum party party)
{
	return party == PARTY_CALLER ? PARTY_CALLEE : PARTY_CALLER;
}

static inline const char *party_name(enum party party)
{
	return party == PARTY_CALLER ? "caller" : "callee";
}

/** The transports of a stream (RFC 8445): RTP on the even port, RTCP on the
 * next. */
enum component { COMPONENT_RTP, COMPONENT_RTCP };
#define COMPONENT_COUNT 2
