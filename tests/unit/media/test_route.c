#include <errno.h>
#include <linux/neighbour.h>
#include <net/if_arp.h>

#include "media/kernel/route.h"
#include "network_scene.h"

static struct nlmsghdr *route_message(struct message *m)
{
	struct rtmsg head = {.rtm_family = AF_INET, .rtm_type = RTN_UNICAST};
	struct nlmsghdr *message =
		message_start(m, RTM_NEWROUTE, &head, sizeof(head));
	struct nlattr *metrics;

	mnl_attr_put_u32(message, RTA_OIF, 3);
	mnl_attr_put(message, RTA_GATEWAY, 4, "\xc0\0\2\1");
	metrics = mnl_attr_nest_start(message, RTA_METRICS);
	mnl_attr_put_u32(message, RTAX_MTU, 1400);
	mnl_attr_nest_end(message, metrics);
	return message;
}

static void test_a_route_is_read(void **state)
{
	struct message m;
	struct route route;
	char text[ADDR_TEXT_SIZE];

	(void)state;
	assert_int_equal(route_decode(route_message(&m), &route), 0);
	assert_int_equal(route.type, RTN_UNICAST);
	assert_int_equal(route.ifindex, 3);
	assert_int_equal(route.mtu, 1400);
	assert_string_equal(ip_format(&route.gateway, text), "192.0.2.1");
}

static void test_a_gateway_that_cannot_be_read_is_not_on_link(void **state)
{
	struct rtmsg head = {.rtm_family = AF_INET};
	struct message m;
	struct nlmsghdr *message =
		message_start(&m, RTM_NEWROUTE, &head, sizeof(head));
	struct route route;

	(void)state;
	assert_int_equal(route_decode(message, &route), 0);
	mnl_attr_put(message, RTA_GATEWAY, 3, "\xc0\0\2");
	assert_int_equal(route_decode(message, &route), -EBADMSG);

	message = message_start(&m, RTM_NEWROUTE, &head, sizeof(head));
	mnl_attr_put(message, RTA_VIA, 6, "\x0a\0\x20\1\x0d\xb8");
	assert_int_equal(route_decode(message, &route), -EBADMSG);
}

static void decode_route(const struct nlmsghdr *message)
{
	struct route route;

	(void)route_decode(message, &route);
}

static struct nlmsghdr *neighbour_message(struct message *m, uint16_t nud)
{
	struct ndmsg head = {
		.ndm_family = AF_INET, .ndm_ifindex = 3, .ndm_state = nud};
	struct nlmsghdr *message =
		message_start(m, RTM_NEWNEIGH, &head, sizeof(head));

	mnl_attr_put(message, NDA_DST, 4, "\xc0\0\2\1");
	mnl_attr_put(message, NDA_LLADDR, MAC_LEN, "\2\3\4\5\6\7");
	return message;
}

static void decode_neighbour(const struct nlmsghdr *message)
{
	struct neighbour_state neighbour;

	(void)neighbour_decode(message, &neighbour);
}

static void test_damaged_messages_are_no_danger(void **state)
{
	struct message m;

	(void)state;
	damage(route_message(&m), decode_route);
	damage(neighbour_message(&m, NUD_STALE), decode_neighbour);
}

static void test_a_port_of_a_bridge_is_no_neighbour(void **state)
{
	struct message m;
	struct nlmsghdr *message = neighbour_message(&m, NUD_REACHABLE);
	struct ndmsg *head = mnl_nlmsg_get_payload(message);
	struct neighbour_state neighbour;

	(void)state;
	assert_int_equal(neighbour_decode(message, &neighbour), 0);
	head->ndm_flags = NTF_PROXY;
	assert_int_equal(neighbour_decode(message, &neighbour), -EBADMSG);
	head->ndm_flags = 0;
	head->ndm_family = AF_BRIDGE;
	assert_int_equal(neighbour_decode(message, &neighbour), -EBADMSG);
}

static enum next_hop_problem problem_of(uint16_t nud, bool has_mac,
					enum next_hop_problem before)
{
	struct neighbour_state neighbour = {.nud = nud, .has_mac = has_mac};

	return problem_of_neighbour(&neighbour, before);
}

static void test_a_neighbour_counts_with_a_mac_in_a_valid_state(void **state)
{
	static const uint16_t valid[] = {NUD_REACHABLE, NUD_STALE,
					 NUD_DELAY,     NUD_PROBE,
					 NUD_PERMANENT, NUD_NOARP};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
		assert_int_equal(problem_of(valid[i], true, NEXT_HOP_FAILED),
				 NEXT_HOP_OK);
		assert_int_equal(problem_of(valid[i], false, NEXT_HOP_OK),
				 NEXT_HOP_UNRESOLVED);
	}
	assert_int_equal(problem_of(NUD_FAILED, true, NEXT_HOP_OK),
			 NEXT_HOP_FAILED);
	assert_int_equal(problem_of(NUD_INCOMPLETE, false, NEXT_HOP_OK),
			 NEXT_HOP_UNRESOLVED);
}

static void test_a_neighbour_that_failed_stays_so_while_asked(void **state)
{
	(void)state;
	assert_int_equal(problem_of(NUD_INCOMPLETE, false, NEXT_HOP_FAILED),
			 NEXT_HOP_FAILED);
	assert_int_equal(problem_of(0, false, NEXT_HOP_FAILED),
			 NEXT_HOP_FAILED);
}

static struct interface ethernet(unsigned ifindex, const char *kind)
{
	struct interface i = {.ifindex = ifindex,
			      .hardware = ARPHRD_ETHER,
			      .mtu = 1500,
			      .is_up = true,
			      .has_carrier = true,
			      .mac = {2, 0, 0, 0, 0, 1}};

	snprintf(i.kind, sizeof(i.kind), "%s", kind);
	return i;
}

static const uint8_t some_mac[MAC_LEN] = {2, 0, 0, 0, 0, 9};

static void test_xdp_sends_to_nics_veth_and_below_a_vlan_only(void **state)
{
	struct interface nic = ethernet(1, ""), veth = ethernet(2, "veth");
	struct interface bridge = ethernet(3, "bridge");
	struct interface vlan = ethernet(4, "vlan");
	struct next_hop hop;

	(void)state;
	vlan.vlan_id = 7;
	vlan.is_8021q = true;
	assert_int_equal(
		next_hop_make(&nic, NULL, 0, some_mac).physical_ifindex, 1);
	assert_int_equal(
		next_hop_make(&veth, NULL, 0, some_mac).physical_ifindex, 2);
	assert_int_equal(
		next_hop_make(&bridge, NULL, 0, some_mac).physical_ifindex, 0);

	hop = next_hop_make(&vlan, &nic, 0, some_mac);
	assert_int_equal(hop.ifindex, 4);
	assert_int_equal(hop.physical_ifindex, 1);
	assert_true(hop.has_vlan);
	assert_int_equal(hop.vlan_id, 7);

	assert_int_equal(
		next_hop_make(&vlan, NULL, 0, some_mac).physical_ifindex, 0);
	assert_int_equal(
		next_hop_make(&vlan, &bridge, 0, some_mac).physical_ifindex, 0);
	assert_int_equal(
		next_hop_make(&vlan, &vlan, 0, some_mac).physical_ifindex, 0);
	vlan.is_8021q = false;
	assert_int_equal(
		next_hop_make(&vlan, &nic, 0, some_mac).physical_ifindex, 0);
}

static void test_the_smaller_mtu_counts(void **state)
{
	struct interface nic = ethernet(1, "");

	(void)state;
	assert_int_equal(next_hop_make(&nic, NULL, 0, some_mac).mtu, 1500);
	assert_int_equal(next_hop_make(&nic, NULL, 1400, some_mac).mtu, 1400);
	assert_int_equal(next_hop_make(&nic, NULL, 9000, some_mac).mtu, 1500);
}

static void test_next_hops_differ_in_any_field(void **state)
{
	struct interface nic = ethernet(1, "");
	struct next_hop a = next_hop_make(&nic, NULL, 0, some_mac), b = a;

	(void)state;
	assert_true(next_hop_equal(&a, &b));
	b.dst_mac[5]++;
	assert_false(next_hop_equal(&a, &b));
	b = a;
	b.has_vlan = true;
	assert_false(next_hop_equal(&a, &b));
	b = a;
	b.mtu--;
	assert_false(next_hop_equal(&a, &b));
}

static void test_frames_leave_by_ethernet_that_is_up(void **state)
{
	struct interface i = ethernet(1, "");

	(void)state;
	assert_int_equal(problem_of_interface(&i), NEXT_HOP_OK);
	assert_int_equal(problem_of_interface(NULL), NEXT_HOP_DOWN);
	i.has_carrier = false;
	assert_int_equal(problem_of_interface(&i), NEXT_HOP_DOWN);
	i.hardware = ARPHRD_PPP;
	assert_int_equal(problem_of_interface(&i), NEXT_HOP_NOT_ETHERNET);
	i.is_loopback = true;
	assert_int_equal(problem_of_interface(&i), NEXT_HOP_LOCAL);
}

static void test_what_the_kernel_says_to_a_sender_is_a_problem(void **state)
{
	(void)state;
	assert_int_equal(problem_of_route_error(-ENETUNREACH),
			 NEXT_HOP_NO_ROUTE);
	assert_int_equal(problem_of_route_error(-EINVAL), NEXT_HOP_REFUSED);
	assert_int_equal(problem_of_route_error(-EACCES), NEXT_HOP_REFUSED);
	assert_int_equal(problem_of_route_error(-ENOMEM), NEXT_HOP_OK);
}

static void test_every_problem_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (unsigned a = NEXT_HOP_OK; a <= NEXT_HOP_FAILED; a++)
		for (unsigned b = NEXT_HOP_OK; b <= NEXT_HOP_FAILED + 1; b++)
			assert_int_equal(strcmp(next_hop_problem_name(a),
						next_hop_problem_name(b)) == 0,
					 a == b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_route_is_read),
		cmocka_unit_test(
			test_a_gateway_that_cannot_be_read_is_not_on_link),
		cmocka_unit_test(test_damaged_messages_are_no_danger),
		cmocka_unit_test(test_a_port_of_a_bridge_is_no_neighbour),
		cmocka_unit_test(
			test_a_neighbour_counts_with_a_mac_in_a_valid_state),
		cmocka_unit_test(
			test_a_neighbour_that_failed_stays_so_while_asked),
		cmocka_unit_test(
			test_xdp_sends_to_nics_veth_and_below_a_vlan_only),
		cmocka_unit_test(test_the_smaller_mtu_counts),
		cmocka_unit_test(test_next_hops_differ_in_any_field),
		cmocka_unit_test(test_frames_leave_by_ethernet_that_is_up),
		cmocka_unit_test(
			test_what_the_kernel_says_to_a_sender_is_a_problem),
		cmocka_unit_test(test_every_problem_has_a_name_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
