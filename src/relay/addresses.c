#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "net/service.h"
#include "relay/relay.h"

/* ---- at the start ---- */

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

static void freeifaddrsp(struct ifaddrs **all)
{
	if (*all)
		freeifaddrs(*all);
}

/* Those that media could come to, for whoever mistyped one. */
static void list_own(struct buf *out)
{
	CLEANUP(freeifaddrsp) struct ifaddrs *all = NULL;
	char text[ADDR_TEXT_SIZE];

	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
		struct ip_addr ip;

		if (!at->ifa_addr)
			continue;
		ip = endpoint_from_sockaddr(at->ifa_addr).ip;
		if (ip_is_set(&ip) && !ip_is_link_local(&ip))
			buf_printf(out, "%s%s", out->len ? ", " : "",
				   ip_format(&ip, text));
	}
}

/* An IPv6 address that was just added cannot be bound for a second. */
static bool is_ours(const struct ip_addr *ip)
{
	CLEANUP(freeifaddrsp) struct ifaddrs *all = NULL;

	if (getifaddrs(&all) < 0)
		return false;
	for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
		struct ip_addr own;

		if (!at->ifa_addr)
			continue;
		own = endpoint_from_sockaddr(at->ifa_addr).ip;
		if (ip_equal(&own, ip))
			return true;
	}
	return false;
}

static int see_that_it_is_ours(const struct ip_addr *ip)
{
	CLEANUP(buf_done) struct buf own = {0};
	char text[ADDR_TEXT_SIZE];
	int r = try_to_bind(ip);

	if (r == -EADDRNOTAVAIL && is_ours(ip)) {
		log_error("relay_ip %s cannot be used yet: this host has it, "
			  "but is still looking for another one that has it "
			  "(duplicate address detection)",
			  ip_format(ip, text));
	} else if (r == -EADDRNOTAVAIL) {
		list_own(&own);
		log_error("relay_ip %s cannot be used: this host has no such "
			  "address, but %s",
			  ip_format(ip, text),
			  own.len && !buf_failed(&own) ? own.data : "none");
	} else if (r < 0) {
		log_error("relay_ip %s cannot be used: %s", ip_format(ip, text),
			  strerror(-r));
	}
	return r;
}

static size_t count_family(const struct conf_address_list *list, uint8_t family)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++)
		count += list->addresses[i].ip.family == family;
	return count;
}

/* The nth of a family. */
static const struct ip_addr *of_family(const struct conf_address_list *list,
				       uint8_t family, size_t nth)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->addresses[i].ip.family == family && nth-- == 0)
			return &list->addresses[i].ip;
	return NULL;
}

/* advertised_ip, for those that have none by `!`: one for all of its family, or
 * one for each in their order. */
static int advertise(const struct conf_address_list *advertised,
		     struct conf_address_list *bound)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};

	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		size_t shown = count_family(advertised, families[f]);
		size_t ours = count_family(bound, families[f]);
		size_t nth = 0;

		if (shown > 1 ? shown != ours : shown > ours) {
			log_error("advertised_ip has %zu addresses of IPv%d, "
				  "relay_ip has %zu: one for all, or one for "
				  "each",
				  shown, families[f] == AF_INET ? 4 : 6, ours);
			return -EINVAL;
		}
		for (size_t i = 0; shown > 0 && i < bound->count; i++) {
			struct conf_address *at = &bound->addresses[i];

			if (at->ip.family != families[f])
				continue;
			if (!ip_is_set(&at->advertised))
				at->advertised =
					*of_family(advertised, families[f],
						   shown > 1 ? nth : 0);
			nth++;
		}
	}
	return 0;
}

int relay_find_addresses(const struct conf_relay *conf,
			 struct relay_addresses *ret)
{
	struct conf_address_list bound = conf->relay_ip;
	struct relay_addresses found = {0};
	int r;

	if (bound.count == 0) {
		r = net_default_address(&bound.addresses[0].ip);
		if (r < 0) {
			log_error("there is no default route to take the "
				  "address of: "
				  "set relay_ip in [Relay]");
			return r;
		}
		bound.count = 1;
	}
	for (size_t i = 0; i < bound.count; i++) {
		r = see_that_it_is_ours(&bound.addresses[i].ip);
		if (r < 0)
			return r;
	}
	r = advertise(&conf->advertised_ip, &bound);
	if (r < 0)
		return r;
	for (; found.count < bound.count; found.count++)
		found.list[found.count].local = (struct local_address){
			bound.addresses[found.count].ip,
			bound.addresses[found.count].advertised,
		};
	*ret = found;
	return 0;
}

/* ---- while it runs ---- */

static void note_presence(struct relay *relay, struct relay_address *at,
			  bool is_here)
{
	char text[ADDR_TEXT_SIZE];

	if (at->is_gone == !is_here)
		return;
	at->is_gone = !is_here;
	routes_flush(relay->routes);
	ip_format(&at->local.ip, text);
	if (is_here) {
		log_info("address %s is back on this host", text);
		return;
	}
	relay->addresses_lost++;
	log_warning("address %s is not on this host any more: new calls get "
		    "another one, those that have it are silent until it is "
		    "back or stream_timeout ends them",
		    text);
}

static struct relay_address *find(struct relay_addresses *locals,
				  const struct ip_addr *ip)
{
	for (size_t i = 0; i < locals->count; i++)
		if (ip_equal(&locals->list[i].local.ip, ip))
			return &locals->list[i];
	return NULL;
}

static bool is_here(const struct ip_addr *ip, void *arg)
{
	struct relay *relay = arg;
	bool here = routes_is_here(relay->routes, ip);
	struct relay_address *at = find(&relay->locals, ip);

	if (at)
		note_presence(relay, at, here);
	return here;
}

/* Calls have it from now on, so it is watched, too, as long as there is room.
 */
static void watch(struct relay_addresses *locals, const struct ip_addr *ip)
{
	if (find(locals, ip) || locals->count == RELAY_MAX_ADDRESSES)
		return;
	locals->list[locals->count++] = (struct relay_address){
		.local.ip = *ip,
		.by_route = true,
	};
}

void relay_check_addresses(struct relay *relay)
{
	for (size_t i = 0; relay->routes && i < relay->locals.count; i++)
		(void)is_here(&relay->locals.list[i].local.ip, relay);
}

/* Where packets to the party will go: the SDP's address, if it can be one from
 * here; what is behind a NAT has a private one, and its SIP came from the
 * NAT. */
static const struct ip_addr *whereabouts(const struct conf_relay *conf,
					 const struct address_wish *wish)
{
	const struct conf_network_list *routable =
		&conf->routable_private_ranges;
	bool signalling_serves = wish->signalling.family == wish->family;

	if (wish->sdp.family != wish->family)
		return signalling_serves ? &wish->signalling : NULL;
	if (!ip_is_private(&wish->sdp) || !signalling_serves)
		return &wish->sdp;
	for (size_t i = 0; i < routable->count; i++)
		if (ip_network_contains(&routable->networks[i], &wish->sdp))
			return &wish->sdp;
	return &wish->signalling;
}

static void warn_of_route(struct relay *relay, const struct ip_addr *peer,
			  int error)
{
	char text[ADDR_TEXT_SIZE];
	uint64_t suppressed;

	relay->route_failures++;
	if (!log_limit_allows(&relay->route_warnings, loop_now_us(relay->loop),
			      &suppressed))
		return;
	log_warning("no address by the route to %s: %s; one of relay_ip is "
		    "taken (%" PRIu64 " more of these were not logged)",
		    ip_format(peer, text), strerror(-error), suppressed);
}

/* Of a callee nothing may be known at the offer: no route to look up. */
static int route(const struct address_wish *wish, struct ip_addr *ret,
		 void *arg)
{
	struct relay *relay = arg;
	const struct ip_addr *peer = whereabouts(relay->conf, wish);
	int r;

	if (!peer)
		return -EDESTADDRREQ;
	r = routes_source(relay->routes, peer, loop_now_us(relay->loop), ret);
	if (r == 0 && !is_here(ret, relay)) {
		routes_flush(relay->routes);
		r = routes_source(relay->routes, peer, loop_now_us(relay->loop),
				  ret);
	}
	if (r < 0)
		warn_of_route(relay, peer, r);
	else
		watch(&relay->locals, ret);
	return r;
}

int relay_open_addresses(struct relay *relay)
{
	struct address_handlers handlers = {.is_here = is_here};
	struct local_address list[CONF_MAX_ADDRESSES];
	int r;

	for (size_t i = 0; i < relay->locals.count; i++)
		list[i] = relay->locals.list[i].local;
	r = addresses_new(&relay->addresses, list, relay->locals.count);
	if (r < 0)
		return r;
	r = routes_new(&relay->routes);
	if (r == 0) {
		if (relay->conf->auto_detect_interfaces)
			handlers.route = route;
		addresses_ask(relay->addresses, &handlers, relay);
		return 0;
	}
	log_warning("the kernel cannot be asked for routes (%s): addresses are "
		    "not watched, and not chosen by route",
		    strerror(-r));
	return 0;
}

void relay_close_addresses(struct relay *relay)
{
	relay->addresses = addresses_free(relay->addresses);
	relay->routes = routes_free(relay->routes);
}

void relay_write_addresses(const struct relay *relay, struct json_writer *w)
{
	struct routes_counters none = {0};
	const struct routes_counters *routes =
		relay->routes ? routes_counters(relay->routes) : &none;
	char text[ADDR_TEXT_SIZE];

	json_array_begin(w, "addresses");
	for (size_t i = 0; i < relay->locals.count; i++) {
		const struct relay_address *at = &relay->locals.list[i];
		const struct ip_addr *ip = &at->local.ip;

		json_object_begin(w, NULL);
		json_text(w, "ip", ip_format(ip, text));
		json_text(
			w, "advertised",
			ip_format(addresses_shown(relay->addresses, ip), text));
		json_bool(w, "here", !at->is_gone);
		json_bool(w, "by_route", at->by_route);
		json_object_end(w);
	}
	json_array_end(w);
	json_u64(w, "addresses_lost", relay->addresses_lost);
	json_u64(w, "route_lookups", routes->lookups);
	json_u64(w, "route_lookups_cached", routes->cached);
	json_u64(w, "route_failures", relay->route_failures);
}
