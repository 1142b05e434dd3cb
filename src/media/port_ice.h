#pragma once
/**
 * @file media/port_ice.h  ICE at the ports of a stream
 *
 * Brings together what ice.h decides and what learning.h knows: a source that
 * ICE has chosen becomes the remote. For streams with settings.ice. Worker
 * only.
 */
#include "media/ice.h"
#include "media/stream.h"

/** A STUN packet came. port_ice_choose() has to be called for both ports then.
 */
struct ice_verdict port_ice_stun(struct port *from,
				 const struct endpoint *source,
				 const void *data, size_t len, uint64_t now_us);

/** A packet came that is not STUN and not of the remote. port_ice_choose() of
 * this port has to be called if it is to be heard. */
enum ice_media_verdict port_ice_media(struct port *from,
				      const struct endpoint *source,
				      const struct packet_facts *packet,
				      uint64_t now_us);

/** Make the source that ICE has chosen the remote. @return whether it was not:
 * what has to be done when a remote is confirmed is the caller's */
bool port_ice_choose(struct port *port, uint64_t now_us);
