/** @file media/learning_address.c  Addresses that media may go to, or come from
 */
#include "media/learning.h"

bool learning_is_denied(const struct learning_config *config,
			const struct ip_addr *ip)
{
	struct ip_addr inside = *ip;

	/* Not by another way of writing, either. */
	(void)ip_embedded(ip, &inside);
	for (size_t i = 0; i < config->denied_count; i++)
		if (ip_network_contains(&config->denied[i], ip) ||
		    ip_network_contains(&config->denied[i], &inside))
			return true;
	return false;
}

bool learning_is_refused(const struct learning_config *config,
			 const struct ip_addr *ip, bool local_is_loopback)
{
	return !ip_is_set(ip) || ip_is_unspecified(ip) || ip_is_multicast(ip) ||
	       ip_is_link_local(ip) || ip_is_metadata_service(ip) ||
	       (ip_is_loopback(ip) && !local_is_loopback) ||
	       learning_is_denied(config, ip);
}

bool learning_is_own_port(const struct learning_config *config,
			  const struct endpoint *sdp,
			  const struct ip_addr *local)
{
	if (sdp->port < config->own_first || sdp->port >= config->own_end)
		return false;
	for (size_t i = 0; i < config->own_count; i++)
		if (ip_equal(&sdp->ip, &config->own[i]))
			return true;
	return ip_equal(&sdp->ip, local);
}

bool learning_sdp_is_usable(const struct learning_config *config,
			    const struct endpoint *sdp,
			    const struct ip_addr *local)
{
	if (sdp->port == 0 || sdp->ip.family != local->family ||
	    learning_is_refused(config, &sdp->ip, ip_is_loopback(local)))
		return false;
	if (!ip_is_private(&sdp->ip) || ip_is_loopback(&sdp->ip) ||
	    /* Of two calls that wait for each other's first packet neither
	     * would send. */
	    learning_is_own_port(config, sdp, local))
		return true;
	for (size_t i = 0; i < config->range_count; i++)
		if (ip_network_contains(&config->ranges[i], &sdp->ip))
			return true;
	return false;
}

struct endpoint learning_component_sdp(const struct endpoint *sdp,
				       enum component component)
{
	struct endpoint ep = *sdp;

	if (ep.port == 0 || !ip_is_set(&ep.ip) || ip_is_unspecified(&ep.ip))
		return (struct endpoint){0};
	if (component == COMPONENT_RTP)
		return ep;
	if (ep.port == UINT16_MAX)
		return (struct endpoint){0};
	ep.port++;
	return ep;
}
