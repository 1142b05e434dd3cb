#include "network_scene.h"

#include <linux/neighbour.h>

#include "media/kernel/next_hop.h"
#include "media/kernel/route.h"
#include "media/kernel/route_query.h"

/* Here 192.0.2.1 and 2001:db8::1, there .2 and .3, on m0 and "peer". */
struct scene {
	struct network net;
	struct interfaces *table;
	struct next_hops *hops;
	uint64_t skew_us; /* what the clock is ahead */
	unsigned changes;
};

/* Counts in the caller's field, too. */
static void hop_changed(struct destination *d, void *arg)
{
	struct scene *s = arg;

	s->changes++;
	d->hop_index++;
}

static void link_changed(const struct interface *interface, bool is_gone,
			 void *arg)
{
	struct scene *s = arg;

	(void)is_gone;
	next_hops_link_changed(s->hops, interface->ifindex);
}

static uint64_t now_us(const struct scene *s)
{
	return clock_mono_us() + s->skew_us;
}

static void scene_start(struct scene *s)
{
	*s = (struct scene){0};
	network_enter(&s->net);
	network_connect(&s->net, "m0");
	run_in(s->net.here, "ip addr add 192.0.2.1/24 dev m0;"
			    "ip addr add 2001:db8::1/64 dev m0 nodad;"
			    /* Quick to fail, and to believe a new MAC. */
			    "ip ntable change name arp_cache dev m0 "
			    "retrans 20 locktime 0;"
			    "ip ntable change name ndisc_cache dev m0 "
			    "retrans 20");
	run_in(s->net.there, "ip link set peer address 02:00:00:00:00:02;"
			     "ip addr add 192.0.2.2/24 dev peer;"
			     "ip addr add 192.0.2.3/24 dev peer;"
			     "ip addr add 2001:db8::2/64 dev peer nodad;"
			     "ip addr add 2001:db8::3/64 dev peer nodad");
	assert_int_equal(interfaces_new(&s->table, link_changed, s), 0);
	assert_int_equal(next_hops_new(&s->hops, s->table, hop_changed, s), 0);
}

static void scene_end(struct scene *s)
{
	assert_null(next_hops_free(s->hops));
	assert_null(interfaces_free(s->table));
	network_leave(&s->net);
}

/* One turn of a loop as the caller's. */
static void turn(struct scene *s)
{
	struct pollfd fds[] = {
		{.fd = interfaces_fd(s->table), .events = POLLIN},
		{.fd = next_hops_fd(s->hops), .events = POLLIN},
	};
	uint64_t wait_us = next_hops_wait_us(s->hops, now_us(s));

	poll(fds, 2,
	     wait_us < 20 * US_PER_MS ? (int)(wait_us / US_PER_MS) : 20);
	if (fds[0].revents)
		assert_int_equal(interfaces_dispatch(s->table), 0);
	if (fds[1].revents)
		next_hops_dispatch(s->hops, now_us(s));
	if (next_hops_wait_us(s->hops, now_us(s)) == 0)
		next_hops_tick(s->hops, now_us(s));
}

#define WAIT_FOR(s, condition)                                                 \
	for (uint64_t end_us_ = clock_mono_us() + DEADLINE_US; !(condition);)  \
	wait_a_turn(s, end_us_, #condition)

static void wait_a_turn(struct scene *s, uint64_t end_us, const char *what)
{
	if (clock_mono_us() > end_us)
		fail_msg("not in time: %s", what);
	turn(s);
}

/* Until nothing is to be done but what has time. */
static void settle(struct scene *s)
{
	struct pollfd fd = {.fd = next_hops_fd(s->hops), .events = POLLIN};

	do
		turn(s);
	while (poll(&fd, 1, 0) > 0 ||
	       next_hops_wait_us(s->hops, now_us(s)) < 300 * US_PER_MS);
}

static struct ip_addr address(const char *text)
{
	struct ip_addr ip;

	assert_int_equal(ip_parse(span_of(text), &ip), 0);
	return ip;
}

static struct destination *take_from(struct scene *s, const char *dst,
				     const char *src)
{
	struct ip_addr to = address(dst), from = address(src);
	struct destination *d;

	assert_int_equal(next_hops_take(s->hops, &to, &from, now_us(s), &d), 0);
	return d;
}

static struct destination *take(struct scene *s, const char *dst)
{
	return take_from(s, dst,
			 strchr(dst, ':') ? "2001:db8::1" : "192.0.2.1");
}

#define assert_problem(d, expected)                                            \
	do {                                                                   \
		assert_string_equal(                                           \
			next_hop_problem_name(destination_problem(d)),         \
			next_hop_problem_name(expected));                      \
		assert_int_equal(destination_hop(d) == NULL,                   \
				 (expected) != NEXT_HOP_OK);                   \
	} while (0)

static bool is_at(const struct destination *d, const char *mac)
{
	const struct next_hop *hop = destination_hop(d);

	return hop && memcmp(hop->dst_mac, mac, MAC_LEN) == 0;
}

#define PEER_MAC "\x02\0\0\0\0\x02"
#define OTHER_MAC "\x02\0\0\0\0\x09"

static void resolves(struct scene *s, const char *dst)
{
	struct destination *d = take(s, dst);
	const struct interface *m0 =
		interfaces_find(s->table, ifindex_of(s->table, "m0"));
	const struct next_hop *hop;

	WAIT_FOR(s, destination_hop(d));
	hop = destination_hop(d);
	assert_true(is_at(d, PEER_MAC));
	assert_memory_equal(hop->src_mac, m0->mac, MAC_LEN);
	assert_int_equal(hop->ifindex, m0->ifindex);
	assert_int_equal(hop->physical_ifindex, m0->ifindex);
	assert_false(hop->has_vlan);
	assert_int_equal(hop->mtu, 1500);
	next_hops_put(s->hops, d);
}

static void test_an_on_link_neighbour_is_resolved(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s);
	resolves(&s, "192.0.2.2");
	resolves(&s, "2001:db8::2");
	scene_end(&s);
}

static void test_a_gateway_is_resolved(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s);
	run_in(s.net.here, "ip route add default via 192.0.2.3;"
			   "ip route add default via 2001:db8::3;"
			   "ip route add 198.18.0.0/24 via inet6 2001:db8::2");
	resolves(&s, "203.0.113.9");
	resolves(&s, "2001:db8:9::9");
	resolves(&s, "198.18.0.1");
	scene_end(&s);
}

static void test_a_new_destination_is_ready_if_its_neighbour_is(void **state)
{
	struct scene s;
	struct destination *d, *again, *other;

	(void)state;
	scene_start(&s);
	run_in(s.net.here, "ip route add default via 192.0.2.2;"
			   "ip neigh replace 192.0.2.2 dev m0 "
			   "lladdr 02:00:00:00:00:09 nud permanent");
	d = take(&s, "203.0.113.9");
	assert_true(is_at(d, OTHER_MAC));
	assert_int_equal(d->hop_index, 0);
	assert_true(list_empty(&d->users));
	again = take(&s, "203.0.113.9");
	assert_ptr_equal(d, again);
	other = take(&s, "203.0.113.10");
	assert_ptr_not_equal(d, other);
	assert_int_equal(next_hops_counters(s.hops)->lookups, 2);
	next_hops_put(s.hops, again);
	assert_true(is_at(d, OTHER_MAC));
	next_hops_put(s.hops, d);
	scene_end(&s);
}

static void test_the_mtu_is_the_smaller_of_route_and_interface(void **state)
{
	struct scene s;
	struct destination *d, *v6;

	(void)state;
	scene_start(&s);
	run_in(s.net.here, "ip route add 198.18.0.0/24 via 192.0.2.2 mtu 1400;"
			   "ip route add 2001:db8:9::/64 via 2001:db8::2 "
			   "mtu 1390");
	d = take(&s, "198.18.0.1");
	v6 = take(&s, "2001:db8:9::1");
	WAIT_FOR(&s, destination_hop(d) && destination_hop(v6));
	assert_int_equal(destination_hop(d)->mtu, 1400);
	assert_int_equal(destination_hop(v6)->mtu, 1390);
	run_in(s.net.here, "ip link set m0 mtu 1350");
	WAIT_FOR(&s, destination_hop(d)->mtu == 1350);
	WAIT_FOR(&s, destination_hop(v6)->mtu == 1350);
	scene_end(&s);
}

static void test_what_a_route_says_is_told_apart(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s);
	run_in(s.net.here, "ip route add blackhole 198.18.1.0/24;"
			   "ip route add unreachable 198.18.2.0/24;"
			   "ip route add prohibit 198.18.3.0/24;"
			   "ip route add blackhole 2001:db8:1::/64;"
			   "ip route add unreachable 2001:db8:2::/64;"
			   "ip route add prohibit 2001:db8:3::/64;"
			   "ip tuntap add tun0 mode tun; ip link set tun0 up;"
			   "ip route add 198.18.4.0/24 dev tun0;"
			   "ip route add 198.18.5.0/24 dev lo");
	WAIT_FOR(&s, ifindex_of(s.table, "tun0") != 0);
	assert_problem(take(&s, "203.0.113.9"), NEXT_HOP_NO_ROUTE);
	assert_problem(take(&s, "2001:db8:9::9"), NEXT_HOP_NO_ROUTE);
	assert_problem(take(&s, "fe80::1"), NEXT_HOP_NO_ROUTE);
	assert_problem(take(&s, "192.0.2.1"), NEXT_HOP_LOCAL);
	assert_problem(take(&s, "127.0.0.1"), NEXT_HOP_LOCAL);
	assert_problem(take(&s, "198.18.5.1"), NEXT_HOP_LOCAL);
	assert_problem(take(&s, "2001:db8::1"), NEXT_HOP_LOCAL);
	assert_problem(take(&s, "::1"), NEXT_HOP_LOCAL);
	assert_problem(take(&s, "198.18.1.1"), NEXT_HOP_REFUSED);
	assert_problem(take(&s, "198.18.2.1"), NEXT_HOP_REFUSED);
	assert_problem(take(&s, "198.18.3.1"), NEXT_HOP_REFUSED);
	assert_problem(take(&s, "2001:db8:1::1"), NEXT_HOP_REFUSED);
	assert_problem(take(&s, "2001:db8:2::1"), NEXT_HOP_REFUSED);
	assert_problem(take(&s, "2001:db8:3::1"), NEXT_HOP_REFUSED);
	assert_problem(take(&s, "192.0.2.255"), NEXT_HOP_NOT_UNICAST);
	assert_problem(take(&s, "224.0.0.5"), NEXT_HOP_NOT_UNICAST);
	assert_problem(take(&s, "ff02::5"), NEXT_HOP_NOT_UNICAST);
	assert_problem(take(&s, "198.18.4.1"), NEXT_HOP_NOT_ETHERNET);
	assert_problem(take_from(&s, "192.0.2.2", "192.0.2.77"),
		       NEXT_HOP_SOURCE_GONE);
	assert_problem(take_from(&s, "2001:db8::2", "2001:db8::77"),
		       NEXT_HOP_SOURCE_GONE);
	assert_int_equal(next_hops_counters(s.hops)->lookup_errors, 0);
	scene_end(&s);
}

static void test_no_destination_has_two_families(void **state)
{
	struct scene s;
	struct ip_addr v4 = address("192.0.2.1"), v6 = address("::1");
	struct ip_addr none = {0};
	struct destination *d;

	(void)state;
	scene_start(&s);
	assert_int_equal(next_hops_take(s.hops, &v4, &v6, 0, &d), -EINVAL);
	assert_int_equal(next_hops_take(s.hops, &none, &none, 0, &d), -EINVAL);
	scene_end(&s);
}

static void test_a_bridge_has_no_physical_form(void **state)
{
	struct scene s;
	struct destination *d;

	(void)state;
	scene_start(&s);
	run_in(s.net.here, "ip link add w9 type bridge; ip link set w9 up;"
			   "ip addr flush dev m0; ip link set m0 master w9;"
			   "ip addr add 192.0.2.1/24 dev w9");
	WAIT_FOR(&s, ifindex_of(s.table, "w9") != 0);
	d = take(&s, "192.0.2.2");
	WAIT_FOR(&s, destination_hop(d));
	assert_int_equal(destination_hop(d)->ifindex,
			 ifindex_of(s.table, "w9"));
	assert_int_equal(destination_hop(d)->physical_ifindex, 0);
	scene_end(&s);
}

static void test_a_vlan_is_its_parent_with_a_tag(void **state)
{
	struct scene s;
	struct destination *d;

	(void)state;
	scene_start(&s);
	if (!can_add_vlans(&s.net, "m0")) {
		scene_end(&s);
		skip();
	}
	run_in(s.net.here, "ip link add link m0 name m0.7 type vlan id 7;"
			   "ip link set m0.7 up;"
			   "ip addr add 198.18.0.1/24 dev m0.7");
	run_in(s.net.there, "ip link add link peer name peer.7 type vlan id 7;"
			    "ip link set peer.7 up;"
			    "ip addr add 198.18.0.2/24 dev peer.7");
	WAIT_FOR(&s, ifindex_of(s.table, "m0.7") != 0);
	d = take_from(&s, "198.18.0.2", "198.18.0.1");
	WAIT_FOR(&s, destination_hop(d));
	assert_int_equal(destination_hop(d)->ifindex,
			 ifindex_of(s.table, "m0.7"));
	assert_int_equal(destination_hop(d)->physical_ifindex,
			 ifindex_of(s.table, "m0"));
	assert_true(destination_hop(d)->has_vlan);
	assert_int_equal(destination_hop(d)->vlan_id, 7);
	scene_end(&s);
}

static void
test_a_neighbour_that_is_silent_fails_and_may_come_back(void **state)
{
	struct scene s;
	struct destination *d, *v6;

	(void)state;
	scene_start(&s);
	d = take(&s, "192.0.2.44");
	v6 = take(&s, "2001:db8::44");
	assert_problem(d, NEXT_HOP_UNRESOLVED);
	assert_problem(v6, NEXT_HOP_UNRESOLVED);
	WAIT_FOR(&s, destination_problem(d) == NEXT_HOP_FAILED &&
			     destination_problem(v6) == NEXT_HOP_FAILED);
	/* Asking again does not look like news. */
	for (unsigned i = 0; i < 3; i++) {
		s.skew_us += 10 * US_PER_S;
		settle(&s);
	}
	assert_int_equal(d->hop_index, 1);
	run_in(s.net.there, "ip addr add 192.0.2.44/24 dev peer;"
			    "ip addr add 2001:db8::44/64 dev peer nodad");
	s.skew_us += 30 * US_PER_S;
	WAIT_FOR(&s, is_at(d, PEER_MAC) && is_at(v6, PEER_MAC));
	scene_end(&s);
}

static void test_a_mac_that_changed_is_reported(void **state)
{
	struct scene s;
	struct destination *d, *v6;

	(void)state;
	scene_start(&s);
	d = take(&s, "192.0.2.2");
	v6 = take(&s, "2001:db8::2");
	WAIT_FOR(&s, destination_hop(d) && destination_hop(v6));
	d->hop_index = v6->hop_index = 0;
	run_in(s.net.there, "echo 1 >/proc/sys/net/ipv4/conf/peer/arp_notify;"
			    "ip link set peer address 02:00:00:00:00:09");
	WAIT_FOR(&s, is_at(d, OTHER_MAC));
	assert_int_equal(d->hop_index, 1);
	run_in(s.net.here, "ip neigh replace 2001:db8::2 dev m0 "
			   "lladdr 02:00:00:00:00:09");
	WAIT_FOR(&s, is_at(v6, OTHER_MAC));
	assert_int_equal(v6->hop_index, 1);
	scene_end(&s);
}

static void test_an_event_is_for_those_through_its_neighbour(void **state)
{
	struct scene s;
	struct destination *one, *other;
	uint64_t lookups;

	(void)state;
	scene_start(&s);
	one = take(&s, "192.0.2.2");
	other = take(&s, "192.0.2.3");
	WAIT_FOR(&s, destination_hop(one) && destination_hop(other));
	settle(&s);
	s.changes = 0;
	lookups = next_hops_counters(s.hops)->lookups;
	run_in(s.net.here, "ip neigh replace 192.0.2.2 dev m0 "
			   "lladdr 02:00:00:00:00:09 nud reachable;"
			   "ip neigh replace 192.0.2.99 dev m0 "
			   "lladdr 02:00:00:00:00:09 nud reachable");
	WAIT_FOR(&s, is_at(one, OTHER_MAC));
	settle(&s);
	assert_int_equal(s.changes, 1);
	assert_int_equal(next_hops_counters(s.hops)->lookups, lookups);
	scene_end(&s);
}

static uint16_t nud_of(struct scene *s, const char *text)
{
	struct ip_addr ip = address(text);
	struct neighbour_state neighbour = {0};
	struct netlink nl;

	assert_int_equal(netlink_open(&nl, NULL, 0), 0);
	assert_int_equal(neighbour_query(&nl, ifindex_of(s->table, "m0"), &ip,
					 &neighbour),
			 0);
	netlink_close(&nl);
	return neighbour.nud;
}

static void test_a_stale_neighbour_in_use_is_probed(void **state)
{
	struct scene s;
	struct destination *d;

	(void)state;
	scene_start(&s);
	d = take(&s, "192.0.2.2");
	WAIT_FOR(&s, destination_hop(d));
	run_in(s.net.here, "ip neigh change 192.0.2.2 dev m0 nud stale");
	settle(&s);
	assert_int_equal(nud_of(&s, "192.0.2.2"), NUD_STALE);
	s.skew_us += 25 * US_PER_S;
	turn(&s);
	assert_true(nud_of(&s, "192.0.2.2") &
		    (NUD_DELAY | NUD_PROBE | NUD_REACHABLE));
	assert_true(is_at(d, PEER_MAC));
	scene_end(&s);
}

static void test_a_permanent_neighbour_stays_permanent(void **state)
{
	struct scene s;
	struct destination *d;

	(void)state;
	scene_start(&s);
	d = take(&s, "192.0.2.2");
	WAIT_FOR(&s, destination_hop(d));
	run_in(s.net.here, "ip neigh replace 192.0.2.2 dev m0 "
			   "lladdr 02:00:00:00:00:09 nud permanent");
	WAIT_FOR(&s, is_at(d, OTHER_MAC));
	for (unsigned i = 0; i < 3; i++) {
		s.skew_us += 25 * US_PER_S;
		settle(&s);
	}
	assert_int_equal(nud_of(&s, "192.0.2.2"), NUD_PERMANENT);
	scene_end(&s);
}

static void test_a_neighbour_that_was_flushed_is_found_again(void **state)
{
	struct scene s;
	struct destination *d;

	(void)state;
	scene_start(&s);
	d = take(&s, "192.0.2.2");
	WAIT_FOR(&s, destination_hop(d));
	run_in(s.net.here, "ip neigh flush all");
	WAIT_FOR(&s, !destination_hop(d));
	WAIT_FOR(&s, is_at(d, PEER_MAC));
	scene_end(&s);
}

static void test_without_the_right_to_ask_it_is_counted(void **state)
{
	struct scene s;
	struct destination *d;

	(void)state;
	scene_start(&s);
	assert_int_equal(seteuid(65534), 0);
	d = take(&s, "192.0.2.2");
	assert_int_equal(seteuid(0), 0);
	assert_problem(d, NEXT_HOP_UNRESOLVED);
	assert_int_equal(next_hops_counters(s.hops)->refused, 1);
	/* Whatever the stack finds out is good enough. */
	run_in(s.net.here, "ip neigh add 192.0.2.2 dev m0 "
			   "lladdr 02:00:00:00:00:09 nud stale");
	WAIT_FOR(&s, is_at(d, OTHER_MAC));
	scene_end(&s);
}

static void test_an_interface_goes_down_and_comes_up(void **state)
{
	struct scene s;
	struct destination *d;

	(void)state;
	scene_start(&s);
	d = take(&s, "192.0.2.2");
	WAIT_FOR(&s, destination_hop(d));
	run_in(s.net.here, "ip link set m0 down");
	while (interfaces_find(s.table, d->ifindex)->is_up)
		assert_int_equal(interfaces_dispatch(s.table), 0);
	assert_problem(d, NEXT_HOP_DOWN); /* at once */
	settle(&s);
	run_in(s.net.here, "ip link set m0 up");
	WAIT_FOR(&s, is_at(d, PEER_MAC));
	run_in(s.net.there, "ip link set peer down");
	WAIT_FOR(&s, destination_problem(d) == NEXT_HOP_DOWN);
	run_in(s.net.there, "ip link set peer up");
	WAIT_FOR(&s, is_at(d, PEER_MAC));
	run_in(s.net.here, "ip link del m0");
	WAIT_FOR(&s, !destination_hop(d));
	scene_end(&s);
}

static void test_an_address_that_goes_takes_its_destinations_along(void **state)
{
	struct scene s;
	struct destination *d, *v6, *other;

	(void)state;
	scene_start(&s);
	run_in(s.net.here, "ip addr add 192.0.2.9/32 dev m0");
	d = take(&s, "192.0.2.2");
	v6 = take(&s, "2001:db8::2");
	other = take_from(&s, "192.0.2.2", "192.0.2.9");
	WAIT_FOR(&s, destination_hop(d) && destination_hop(v6));
	settle(&s);
	other->hop_index = 0;
	run_in(s.net.here, "ip addr del 192.0.2.1/24 dev m0;"
			   "ip route add 192.0.2.0/24 dev m0;"
			   "ip addr del 2001:db8::1/64 dev m0;"
			   "ip route add 2001:db8::/64 dev m0");
	WAIT_FOR(&s, destination_problem(d) == NEXT_HOP_SOURCE_GONE);
	WAIT_FOR(&s, destination_problem(v6) == NEXT_HOP_SOURCE_GONE);
	settle(&s);
	assert_true(is_at(other, PEER_MAC));
	run_in(s.net.here, "ip addr add 192.0.2.1/24 dev m0;"
			   "ip addr add 2001:db8::1/64 dev m0 nodad");
	WAIT_FOR(&s, is_at(d, PEER_MAC) && is_at(v6, PEER_MAC));
	scene_end(&s);
}

static void test_a_route_to_another_gateway_is_reported(void **state)
{
	struct scene s;
	struct destination *d;

	(void)state;
	scene_start(&s);
	run_in(s.net.here, "ip route add default via 192.0.2.2;"
			   "ip neigh add 192.0.2.3 dev m0 "
			   "lladdr 02:00:00:00:00:09 nud permanent");
	d = take(&s, "203.0.113.9");
	WAIT_FOR(&s, is_at(d, PEER_MAC));
	d->hop_index = 0;
	run_in(s.net.here, "ip route replace default via 192.0.2.3");
	WAIT_FOR(&s, is_at(d, OTHER_MAC));
	assert_int_equal(d->hop_index, 1);

	/* By a rule and a table of its own. */
	run_in(s.net.here, "ip route add default via 192.0.2.2 table 100");
	settle(&s);
	run_in(s.net.here, "ip rule add from 192.0.2.1 lookup 100");
	WAIT_FOR(&s, is_at(d, PEER_MAC));
	run_in(s.net.here, "ip rule del from 192.0.2.1 lookup 100");
	WAIT_FOR(&s, is_at(d, OTHER_MAC));
	scene_end(&s);
}

/* 2,000 commands for `ip -batch`. */
#define BATCH(command)                                                         \
	"for a in 0 1 2 3 4 5 6 7 8 9; do for b in $(seq 0 199); do\n"         \
	"echo " command "; done; done | ip -batch -"

static void test_a_storm_of_routes_causes_few_lookups(void **state)
{
	struct scene s;
	struct destination *d[10];
	uint64_t lookups, began_us;
	char text[20];
	pid_t feed;
	int status;

	(void)state;
	scene_start(&s);
	run_in(s.net.here, "ip route add default via 192.0.2.2");
	for (unsigned i = 0; i < ARRAY_SIZE(d); i++) {
		snprintf(text, sizeof(text), "203.0.113.%u", i);
		d[i] = take(&s, text);
	}
	WAIT_FOR(&s, destination_hop(d[0]));
	settle(&s);
	lookups = next_hops_counters(s.hops)->lookups;
	began_us = clock_mono_us();
	feed = fork();
	assert_true(feed >= 0);
	if (feed == 0) {
		run_in(s.net.here, BATCH("route add 198.18.$a.$b/32 "
					 "via 192.0.2.3"));
		_exit(0);
	}
	WAIT_FOR(&s, waitpid(feed, &status, WNOHANG) == feed);
	assert_int_equal(status, 0);
	settle(&s);
	/* One round at first, one each 250 ms, one at the end. */
	lookups = next_hops_counters(s.hops)->lookups - lookups;
	assert_true(lookups >= ARRAY_SIZE(d));
	assert_true(lookups <=
		    ARRAY_SIZE(d) * (2 + (clock_mono_us() - began_us) /
						 (250 * US_PER_MS)));
	scene_end(&s);
}

static void test_lost_events_lose_no_change(void **state)
{
	struct scene s;
	struct destination *d, *direct;
	int bytes = 1;

	(void)state;
	scene_start(&s);
	run_in(s.net.here, "ip route add default via 192.0.2.2");
	d = take(&s, "203.0.113.9");
	direct = take(&s, "192.0.2.3");
	WAIT_FOR(&s, destination_hop(d) && destination_hop(direct));
	settle(&s);
	assert_int_equal(setsockopt(next_hops_fd(s.hops), SOL_SOCKET, SO_RCVBUF,
				    &bytes, sizeof(bytes)),
			 0);
	run_in(s.net.here,
	       BATCH("route add 198.18.$a.$b/32 via 192.0.2.3") ";ip route "
								"replace "
								"blackhole "
								"default;"
								"ip neigh "
								"replace "
								"192.0.2.3 dev "
								"m0 lladdr "
								"02:00:00:00:"
								"00:09 "
								"nud "
								"permanent");
	WAIT_FOR(&s, next_hops_counters(s.hops)->resyncs > 0);
	WAIT_FOR(&s, destination_problem(d) == NEXT_HOP_REFUSED);
	WAIT_FOR(&s, is_at(direct, OTHER_MAC));
	scene_end(&s);
}

static void test_a_round_over_all_is_cut_into_pieces(void **state)
{
	struct scene s;
	struct ip_addr src, dst;
	struct destination *d;
	uint64_t lookups;

	(void)state;
	scene_start(&s);
	run_in(s.net.here, "ip route add default via 192.0.2.2");
	src = address("192.0.2.1");
	dst = address("203.0.0.0");
	for (unsigned i = 0; i < NEXT_HOPS_MAX; i++) {
		dst.bytes[2] = (uint8_t)(i >> 8);
		dst.bytes[3] = (uint8_t)i;
		assert_int_equal(
			next_hops_take(s.hops, &dst, &src, now_us(&s), &d), 0);
	}
	dst.bytes[1]++;
	assert_int_equal(next_hops_take(s.hops, &dst, &src, now_us(&s), &d),
			 -ENOSPC);
	WAIT_FOR(&s, destination_hop(take(&s, "203.0.7.7")));
	run_in(s.net.here, "ip route replace default via 192.0.2.3");
	for (unsigned i = 0; i < 3; i++) {
		lookups = next_hops_counters(s.hops)->lookups;
		turn(&s);
		lookups = next_hops_counters(s.hops)->lookups - lookups;
		assert_in_range(lookups, 0, 512); /* a dispatch and a tick */
	}
	assert_int_equal(next_hops_wait_us(s.hops, now_us(&s)), 0);
	lookups = next_hops_counters(s.hops)->lookups;
	WAIT_FOR(&s, next_hops_counters(s.hops)->lookups - lookups >
			     NEXT_HOPS_MAX - 2048);
	scene_end(&s);
}

static void test_what_has_no_event_is_found_within_a_minute(void **state)
{
	struct scene s;
	struct destination *d;
	uint64_t lookups;

	(void)state;
	scene_start(&s);
	d = take(&s, "192.0.2.2");
	WAIT_FOR(&s, destination_hop(d));
	settle(&s);
	lookups = next_hops_counters(s.hops)->lookups;
	assert_true(next_hops_wait_us(s.hops, now_us(&s)) <= 60 * US_PER_S);
	s.skew_us += 61 * US_PER_S;
	settle(&s);
	assert_int_equal(next_hops_counters(s.hops)->lookups, lookups + 1);
	scene_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_on_link_neighbour_is_resolved),
		cmocka_unit_test(test_a_gateway_is_resolved),
		cmocka_unit_test(
			test_a_new_destination_is_ready_if_its_neighbour_is),
		cmocka_unit_test(
			test_the_mtu_is_the_smaller_of_route_and_interface),
		cmocka_unit_test(test_what_a_route_says_is_told_apart),
		cmocka_unit_test(test_no_destination_has_two_families),
		cmocka_unit_test(test_a_bridge_has_no_physical_form),
		cmocka_unit_test(test_a_vlan_is_its_parent_with_a_tag),
		cmocka_unit_test(
			test_a_neighbour_that_is_silent_fails_and_may_come_back),
		cmocka_unit_test(test_a_mac_that_changed_is_reported),
		cmocka_unit_test(
			test_an_event_is_for_those_through_its_neighbour),
		cmocka_unit_test(test_a_stale_neighbour_in_use_is_probed),
		cmocka_unit_test(test_a_permanent_neighbour_stays_permanent),
		cmocka_unit_test(
			test_a_neighbour_that_was_flushed_is_found_again),
		cmocka_unit_test(test_without_the_right_to_ask_it_is_counted),
		cmocka_unit_test(test_an_interface_goes_down_and_comes_up),
		cmocka_unit_test(
			test_an_address_that_goes_takes_its_destinations_along),
		cmocka_unit_test(test_a_route_to_another_gateway_is_reported),
		cmocka_unit_test(test_a_storm_of_routes_causes_few_lookups),
		cmocka_unit_test(test_lost_events_lose_no_change),
		cmocka_unit_test(test_a_round_over_all_is_cut_into_pieces),
		cmocka_unit_test(
			test_what_has_no_event_is_found_within_a_minute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
