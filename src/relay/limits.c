#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "net/service.h"
#include "relay/relay.h"

#define DESCRIPTORS_BESIDE_MEDIA                                               \
	320 /* links, workers, control channel, libraries */
#define DESCRIPTORS_PER_PAIR 2
#define PAIRS_PER_CALL 2 /* with one stream */

uint32_t relay_usable_port_end(const struct conf_relay *conf)
{
	uint32_t pairs = (conf->port_range.end - conf->port_range.first) / 2;
	uint64_t wanted = DESCRIPTORS_BESIDE_MEDIA +
			  DESCRIPTORS_PER_PAIR * (uint64_t)pairs;
	uint64_t allowed = service_raise_open_files(wanted);
	uint64_t fit;

	if (allowed >= wanted)
		return conf->port_range.end;
	fit = allowed > DESCRIPTORS_BESIDE_MEDIA
		      ? (allowed - DESCRIPTORS_BESIDE_MEDIA) /
				DESCRIPTORS_PER_PAIR
		      : 0;
	if (fit < PAIRS_PER_CALL) {
		log_error(
			"%" PRIu64
			" open files are allowed, too few for one call: raise "
			"RLIMIT_NOFILE (LimitNOFILE in the systemd unit)",
			allowed);
		return 0;
	}
	log_warning("%" PRIu64 " open files are allowed: enough for %" PRIu64
		    " calls with one stream, port_range has ports for %u. "
		    "Using %" PRIu64 " of %u port pairs; raise RLIMIT_NOFILE "
		    "(LimitNOFILE in the systemd "
		    "unit) to %" PRIu64 " for all",
		    allowed, fit / PAIRS_PER_CALL, pairs / PAIRS_PER_CALL, fit,
		    pairs, wanted);
	return conf->port_range.first + 2 * (uint32_t)fit;
}
