#pragma once
/**
 * @file session/silence.h  When silence ends a stream
 *
 * Before the answer silence ends nothing. From then on a stream ends when
 * neither party has sent media on its RTP port for stream_timeout; on hold,
 * when nothing came for on_hold_timeout. RTCP and STUN are not media. With ICE
 * the media may well flow elsewhere, from the beginning or since the agents
 * agreed on something better: such a stream ends with a status of its own.
 * Pure.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/statistics.h"

struct silence_facts {
	bool on_hold;
	bool ice;               /* of both parties */
	bool had_media;         /* from either party, ever */
	uint64_t last_media_us; /* the latest of both; 0: never */
	uint64_t since_us; /* answered, held, resumed or moved: the clock starts
			      anew */
};

struct silence_limits {
	uint64_t stream_timeout_us, on_hold_timeout_us;
};

/**
 * Has the stream been silent for too long?
 *
 * @param ret_status  On true: the status that the stream ends with
 * @param ret_wait_us On true: how long was waited
 */
bool silence_ends_stream(const struct silence_facts *facts,
			 const struct silence_limits *limits, uint64_t now_us,
			 enum stream_status *ret_status, uint64_t *ret_wait_us);
