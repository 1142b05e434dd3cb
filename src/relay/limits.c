#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
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

static int try_to_bind(const struct ip_addr *ip)
{
	CLEANUP(closep)
	int fd = socket(ip->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct endpoint any_port = {.ip = *ip};
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(&any_port, &address);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, len) < 0)
		return -errno;
	return 0;
}

int relay_find_address(const struct conf_relay *conf, struct ip_addr *ret)
{
	struct ip_addr ip = conf->relay_ip;
	char text[ADDR_TEXT_SIZE];
	int r;

	if (!ip_is_set(&ip)) {
		r = net_default_address(&ip);
		if (r < 0) {
			log_error("there is no default route to take the "
				  "address of: "
				  "set relay_ip in [Relay]");
			return r;
		}
	}
	r = try_to_bind(&ip);
	if (r < 0) {
		log_error("relay_ip %s cannot be used: %s",
			  ip_format(&ip, text),
			  r == -EADDRNOTAVAIL ? "this host has no such address"
					      : strerror(-r));
		return r;
	}
	*ret = ip;
	return 0;
}
