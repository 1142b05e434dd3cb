#include "session/silence.h"

bool silence_ends_stream(const struct silence_facts *facts,
			 const struct silence_limits *limits, uint64_t now_us,
			 enum stream_status *ret_status, uint64_t *ret_wait_us)
{
	uint64_t limit_us = facts->on_hold ? limits->on_hold_timeout_us
					   : limits->stream_timeout_us;
	uint64_t quiet_since_us = facts->last_media_us > facts->since_us
					  ? facts->last_media_us
					  : facts->since_us;

	if (now_us < quiet_since_us || now_us - quiet_since_us < limit_us)
		return false;
	*ret_wait_us = limit_us;
	if (facts->on_hold)
		*ret_status = STREAM_ON_HOLD_TIMEOUT;
	else if (facts->ice)
		*ret_status = STREAM_UNSELECTED_ICE;
	else if (facts->had_media)
		*ret_status = STREAM_CONNTRACK_TIMEOUT;
	else
		*ret_status = STREAM_NO_TRAFFIC_TIMEOUT;
	return true;
}
