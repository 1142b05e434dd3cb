#include "network_scene.h"

#include <linux/bpf.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <net/if_arp.h>
#include <sys/syscall.h>

struct report {
	unsigned calls;
	unsigned gone;
	struct interface last;
};

static void note(const struct interface *interface, bool is_gone, void *arg)
{
	struct report *report = arg;

	report->calls++;
	report->gone += is_gone;
	report->last = *interface;
}

struct scene {
	struct network net;
	struct interfaces *table;
	struct report report;
};

static void scene_start(struct scene *s, const char *commands)
{
	*s = (struct scene){0};
	network_enter(&s->net);
	if (commands)
		run_in(s->net.here, commands);
	assert_int_equal(interfaces_new(&s->table, note, &s->report), 0);
}

static void scene_end(struct scene *s)
{
	assert_null(interfaces_free(s->table));
	network_leave(&s->net);
}

static const struct interface *named(const struct scene *s, const char *name)
{
	return interfaces_find(s->table, ifindex_of(s->table, name));
}

/* Dispatch until the condition holds. */
#define WAIT_FOR(s, condition)                                                 \
	for (uint64_t end_us_ = clock_mono_us() + DEADLINE_US; !(condition);)  \
	wait_a_turn(s, end_us_, #condition)

static void wait_a_turn(struct scene *s, uint64_t end_us, const char *what)
{
	struct pollfd fd = {.fd = interfaces_fd(s->table), .events = POLLIN};

	if (clock_mono_us() > end_us)
		fail_msg("not in time: %s", what);
	poll(&fd, 1, 50);
	assert_int_equal(interfaces_dispatch(s->table), 0);
}

static void test_interfaces_are_read_with_what_they_are(void **state)
{
	struct scene s;
	const struct interface *i;
	unsigned veth, bridge, count = 0;

	(void)state;
	scene_start(&s, "ip link add w1 type veth peer name w2;"
			"ip link set w1 address 02:00:00:00:00:0a mtu 1400 up;"
			"ip link set w2 up;"
			"ip link add w9 type bridge;"
			"ip link set w2 master w9;"
			"ip tuntap add tun0 mode tun");
	veth = ifindex_of(s.table, "w1");
	bridge = ifindex_of(s.table, "w9");
	assert_true(veth && bridge);

	i = named(&s, "lo");
	assert_true(i->is_loopback);
	assert_string_equal(i->kind, "");
	i = named(&s, "w1");
	assert_string_equal(i->kind, "veth");
	assert_memory_equal(i->mac, "\x02\0\0\0\0\x0a", MAC_LEN);
	assert_int_equal(i->hardware, ARPHRD_ETHER);
	assert_int_equal(i->mtu, 1400);
	assert_true(i->is_up);
	assert_false(i->is_loopback);
	assert_int_equal(i->parent, 0);
	assert_string_equal(named(&s, "w9")->kind, "bridge");
	assert_int_equal(named(&s, "w2")->master, bridge);
	assert_string_equal(named(&s, "tun0")->kind, "tun");
	assert_int_not_equal(named(&s, "tun0")->hardware, ARPHRD_ETHER);

	for (i = NULL; (i = interfaces_next(s.table, i));)
		count++;
	assert_int_equal(count, 5);
	assert_null(interfaces_find(s.table, 9999));
	assert_int_equal(s.report.calls, 0);
	scene_end(&s);
}

static void test_a_vlan_names_its_parent_only_in_its_namespace(void **state)
{
	struct scene s;
	const struct interface *i;
	char commands[200];

	(void)state;
	scene_start(&s, "ip link add w1 type veth peer name w2");
	if (!can_add_vlans(&s.net, "w1")) {
		scene_end(&s);
		skip();
	}
	run_in(s.net.here, "ip link add link w1 name w1.7 type vlan id 7;"
			   "ip link add link w1 name w1.q type vlan "
			   "proto 802.1ad id 8");
	WAIT_FOR(&s, named(&s, "w1.7") && named(&s, "w1.q"));
	i = named(&s, "w1.7");
	assert_string_equal(i->kind, "vlan");
	assert_int_equal(i->parent, ifindex_of(s.table, "w1"));
	assert_int_equal(i->vlan_id, 7);
	assert_true(i->is_8021q);
	assert_false(named(&s, "w1.q")->is_8021q);

	snprintf(commands, sizeof(commands),
		 "ip link set w1.7 netns /proc/%d/fd/%d", getpid(),
		 s.net.there);
	run_in(s.net.here, commands);
	WAIT_FOR(&s, !named(&s, "w1.7"));
	interfaces_free(s.table);
	assert_int_equal(setns(s.net.there, CLONE_NEWNET), 0);
	assert_int_equal(interfaces_new(&s.table, note, &s.report), 0);
	assert_string_equal(named(&s, "w1.7")->kind, "vlan");
	assert_int_equal(named(&s, "w1.7")->parent, 0);
	scene_end(&s);
}

static void test_each_change_is_reported_once(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, "ip link add w1 type veth peer name w2");
	run_in(s.net.here, "ip link set w1 mtu 1300");
	WAIT_FOR(&s, named(&s, "w1")->mtu == 1300);
	assert_int_equal(s.report.calls, 1);
	assert_int_equal(s.report.last.mtu, 1300);

	/* Several between two dispatches are one. */
	run_in(s.net.here, "ip link set w1 mtu 1310; ip link set w1 mtu 1320;"
			   "ip link set w1 name w3");
	WAIT_FOR(&s, s.report.calls > 1);
	assert_int_equal(s.report.calls, 2);
	assert_int_equal(s.report.last.mtu, 1320);
	assert_string_equal(s.report.last.name, "w3");
	assert_int_equal(s.report.gone, 0);
	scene_end(&s);
}

static void test_what_is_not_in_the_table_is_not_reported(void **state)
{
	struct scene s;
	uint64_t events;

	(void)state;
	scene_start(&s, "ip link add w1 type veth peer name w2;"
			"ip link set w1 up");
	events = interfaces_counters(s.table)->events;
	run_in(s.net.here, "ip link set w1 alias somebody");
	WAIT_FOR(&s, interfaces_counters(s.table)->events > events);
	assert_int_equal(s.report.calls, 0);
	scene_end(&s);
}

static void test_carrier_follows_the_other_end(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s,
		    "ip link add w1 type veth peer name w2; ip link set w1 up;"
		    "ip link set w2 up");
	WAIT_FOR(&s, named(&s, "w1")->has_carrier);
	run_in(s.net.here, "ip link set w2 down");
	WAIT_FOR(&s, !named(&s, "w1")->has_carrier);
	assert_true(named(&s, "w1")->is_up);
	run_in(s.net.here, "ip link set w1 down");
	WAIT_FOR(&s, !named(&s, "w1")->is_up);
	scene_end(&s);
}

static void test_interfaces_come_and_go(void **state)
{
	struct scene s;

	(void)state;
	scene_start(&s, NULL);
	run_in(s.net.here, "ip link add w4 type bridge");
	WAIT_FOR(&s, named(&s, "w4"));
	assert_int_equal(s.report.calls, 1);
	run_in(s.net.here, "ip link del w4");
	WAIT_FOR(&s, s.report.gone == 1);
	assert_null(named(&s, "w4"));
	assert_string_equal(s.report.last.name, "w4");

	/* Leaving a bridge is not leaving the host. */
	run_in(s.net.here, "ip link add w4 type veth peer name w5;"
			   "ip link add r type bridge;"
			   "ip link set w4 master r");
	WAIT_FOR(&s, named(&s, "r") && named(&s, "w4")->master);
	run_in(s.net.here, "ip link set w4 nomaster");
	WAIT_FOR(&s, named(&s, "w4") && named(&s, "w4")->master == 0);
	assert_int_equal(s.report.gone, 1);
	scene_end(&s);
}

static void test_lost_events_lose_no_change(void **state)
{
	struct scene s;
	int bytes = 1;
	int fd;

	(void)state;
	scene_start(&s,
		    "ip link add w1 type bridge; ip link add w2 type bridge;"
		    "ip link add w3 type bridge");
	fd = interfaces_fd(s.table);
	assert_int_equal(
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)),
		0);
	run_in(s.net.here, "for i in 1 2 3 4 5 6 7 8 9; do\n"
			   "ip link set w2 mtu 100$i; done;"
			   "ip link del w3; ip link add w4 type bridge");
	WAIT_FOR(&s, interfaces_counters(s.table)->resyncs > 0);
	assert_int_equal(named(&s, "w2")->mtu, 1009);
	assert_null(named(&s, "w3"));
	assert_non_null(named(&s, "w4"));
	assert_int_equal(s.report.calls, 3);
	assert_int_equal(s.report.gone, 1);
	scene_end(&s);
}

/* An XDP program that passes everything on. @return a file descriptor */
static int load_xdp(void)
{
	struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_XDP,
			       .insns = (uintptr_t)code,
			       .insn_cnt = ARRAY_SIZE(code),
			       .license = (uintptr_t) "GPL"};

	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static void attach_xdp(unsigned ifindex, int program)
{
	struct message m;
	struct ifinfomsg head = {.ifi_index = (int)ifindex};
	struct nlmsghdr *request =
		message_start(&m, RTM_SETLINK, &head, sizeof(head));
	struct nlattr *xdp = mnl_attr_nest_start(request, IFLA_XDP);
	struct netlink nl;

	mnl_attr_put_u32(request, IFLA_XDP_FD, (uint32_t)program);
	mnl_attr_nest_end(request, xdp);
	assert_int_equal(netlink_open(&nl, NULL, 0), 0);
	assert_int_equal(netlink_ask(&nl, request, NULL, NULL), 0);
	netlink_close(&nl);
}

static void test_an_xdp_program_is_seen(void **state)
{
	struct scene s;
	int program = load_xdp();
	unsigned veth;

	(void)state;
	if (program < 0) {
		print_message("no XDP programs: %s\n", strerror(errno));
		skip();
	}
	scene_start(&s, "ip link add w1 type veth peer name w2;"
			"ip link set w1 up");
	veth = ifindex_of(s.table, "w1");
	assert_int_equal(named(&s, "w1")->xdp_prog_id, 0);
	attach_xdp(veth, program);
	WAIT_FOR(&s, named(&s, "w1")->xdp_prog_id != 0);
	assert_int_equal(named(&s, "w1")->xdp_mode, XDP_ATTACHED_DRV);
	attach_xdp(veth, -1);
	WAIT_FOR(&s, named(&s, "w1")->xdp_prog_id == 0);
	close(program);
	scene_end(&s);
}

static struct nlmsghdr *vlan_message(struct message *m)
{
	struct ifinfomsg head = {
		.ifi_index = 5, .ifi_type = ARPHRD_ETHER, .ifi_flags = IFF_UP};
	struct nlmsghdr *message =
		message_start(m, RTM_NEWLINK, &head, sizeof(head));
	struct nlattr *info, *data, *xdp;

	mnl_attr_put_strz(message, IFLA_IFNAME, "eth0.7");
	mnl_attr_put_u32(message, IFLA_MTU, 1500);
	mnl_attr_put_u32(message, IFLA_LINK, 2);
	mnl_attr_put(message, IFLA_ADDRESS, MAC_LEN, "\2\3\4\5\6\7");
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_KIND, "vlan");
	data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
	mnl_attr_put_u16(message, IFLA_VLAN_ID, 7);
	mnl_attr_nest_end(message, data);
	mnl_attr_nest_end(message, info);
	xdp = mnl_attr_nest_start(message, IFLA_XDP);
	mnl_attr_put_u8(message, IFLA_XDP_ATTACHED, XDP_ATTACHED_MULTI);
	mnl_attr_put_u32(message, IFLA_XDP_SKB_PROG_ID, 40);
	mnl_attr_nest_end(message, xdp);
	return message;
}

static void decode_any(const struct nlmsghdr *message)
{
	struct interface i;

	if (interface_decode(message, &i) == 0) {
		assert_true(strnlen(i.name, sizeof(i.name)) < sizeof(i.name));
		assert_true(strnlen(i.kind, sizeof(i.kind)) < sizeof(i.kind));
	}
}

static void test_a_damaged_message_is_no_danger(void **state)
{
	struct message m;
	struct interface i;

	(void)state;
	assert_int_equal(interface_decode(vlan_message(&m), &i), 0);
	assert_int_equal(i.vlan_id, 7);
	assert_int_equal(i.parent, 2);
	assert_int_equal(i.xdp_prog_id, 40);
	damage(vlan_message(&m), decode_any);
}

static void test_a_message_without_name_or_of_a_bridge_is_refused(void **state)
{
	struct ifinfomsg head = {.ifi_index = 5};
	struct message m;
	struct nlmsghdr *message;
	struct interface i;

	(void)state;
	message = message_start(&m, RTM_NEWLINK, &head, sizeof(head));
	mnl_attr_put_u32(message, IFLA_MTU, 1500);
	assert_int_equal(interface_decode(message, &i), -EBADMSG);
	mnl_attr_put(message, IFLA_IFNAME, 40,
		     "a-name-without-an-end-that-is-too-long!!");
	assert_int_equal(interface_decode(message, &i), 0);
	assert_string_equal(i.name, "a-name-without-");

	head.ifi_family = AF_BRIDGE;
	memcpy(mnl_nlmsg_get_payload(message), &head, sizeof(head));
	assert_int_equal(interface_decode(message, &i), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interfaces_are_read_with_what_they_are),
		cmocka_unit_test(
			test_a_vlan_names_its_parent_only_in_its_namespace),
		cmocka_unit_test(test_each_change_is_reported_once),
		cmocka_unit_test(test_what_is_not_in_the_table_is_not_reported),
		cmocka_unit_test(test_carrier_follows_the_other_end),
		cmocka_unit_test(test_interfaces_come_and_go),
		cmocka_unit_test(test_lost_events_lose_no_change),
		cmocka_unit_test(test_an_xdp_program_is_seen),
		cmocka_unit_test(test_a_damaged_message_is_no_danger),
		cmocka_unit_test(
			test_a_message_without_name_or_of_a_bridge_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
