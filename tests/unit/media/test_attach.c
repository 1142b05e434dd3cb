/* What shall forward what arrives at an interface: a table of cases. */
#include <linux/if_arp.h>
#include <string.h>

#include "media/kernel/attach.h"

#include "test.h"

struct case_ {
	const char *title;
	const char *name, *kind, *names;
	uint16_t hardware;
	bool is_loopback;
	enum media_forwarding forwarding;
	enum xdp_ability ability;
	enum attach_way way;
	const char *reason; /* a part of it */
};

#define NIC .name = "eth0", .kind = "", .names = "", .hardware = ARPHRD_ETHER
#define VETH                                                                   \
	.name = "eth0", .kind = "veth", .names = "", .hardware = ARPHRD_ETHER

static const struct case_ cases[] = {
	{"a card that sends XDP, auto", NIC, .forwarding = FORWARDING_AUTO,
	 .ability = XDP_ABLE, .way = ATTACH_XDP, .reason = "runs and sends"},
	{"a card that cannot send XDP, auto", NIC,
	 .forwarding = FORWARDING_AUTO, .ability = XDP_CANNOT_SEND,
	 .way = ATTACH_TC, .reason = "would be dropped"},
	{"a card that nobody knows, auto", NIC, .forwarding = FORWARDING_AUTO,
	 .ability = XDP_UNKNOWN, .way = ATTACH_TC, .reason = "not known"},
	{"veth, auto, though it could send", VETH,
	 .forwarding = FORWARDING_AUTO, .ability = XDP_ABLE, .way = ATTACH_TC,
	 .reason = "no network card"},
	{"veth that sends, xdp", VETH, .forwarding = FORWARDING_XDP,
	 .ability = XDP_ABLE, .way = ATTACH_XDP, .reason = "runs and sends"},
	{"veth that cannot send, xdp", VETH, .forwarding = FORWARDING_XDP,
	 .ability = XDP_CANNOT_SEND, .way = ATTACH_NONE,
	 .reason = "would be dropped"},
	{"a card that nobody knows, xdp", NIC, .forwarding = FORWARDING_XDP,
	 .ability = XDP_UNKNOWN, .way = ATTACH_NONE, .reason = "not known"},
	{"a card that sends XDP, tc", NIC, .forwarding = FORWARDING_TC,
	 .ability = XDP_ABLE, .way = ATTACH_TC, .reason = "= tc"},
	{"a card that sends XDP, userspace", NIC,
	 .forwarding = FORWARDING_USERSPACE, .ability = XDP_ABLE,
	 .way = ATTACH_NONE, .reason = "= userspace"},
	{"loopback", .name = "lo", .kind = "", .names = "lo",
	 .hardware = ARPHRD_LOOPBACK, .is_loopback = true,
	 .forwarding = FORWARDING_TC, .ability = XDP_ABLE, .way = ATTACH_NONE,
	 .reason = "loopback"},
	{"a tunnel", .name = "tun0", .kind = "tun", .names = "",
	 .hardware = ARPHRD_NONE, .forwarding = FORWARDING_AUTO,
	 .ability = XDP_ABLE, .way = ATTACH_NONE, .reason = "not Ethernet"},
	{"one that is named", .name = "eth0", .kind = "", .names = "eth1, eth0",
	 .hardware = ARPHRD_ETHER, .forwarding = FORWARDING_TC,
	 .way = ATTACH_TC, .reason = "= tc"},
	{"one by commas alone", .name = "eth0", .kind = "",
	 .names = "eth0,eth1", .hardware = ARPHRD_ETHER,
	 .forwarding = FORWARDING_TC, .way = ATTACH_TC, .reason = "= tc"},
	{"one with commas before", .name = "eth0", .kind = "",
	 .names = " ,eth0", .hardware = ARPHRD_ETHER,
	 .forwarding = FORWARDING_TC, .way = ATTACH_TC, .reason = "= tc"},
	{"one that is not named", .name = "eth0", .kind = "",
	 .names = "eth1,eth00,eth", .hardware = ARPHRD_ETHER,
	 .forwarding = FORWARDING_AUTO, .ability = XDP_ABLE, .way = ATTACH_NONE,
	 .reason = "not in forwarding_interfaces"},
	{"nothing but separators names all", .name = "eth0", .kind = "",
	 .names = " , ", .hardware = ARPHRD_ETHER, .forwarding = FORWARDING_TC,
	 .way = ATTACH_TC, .reason = "= tc"},
};

static void test_each_case_is_chosen_as_the_table_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct case_ *c = &cases[i];
		struct interface interface = {.ifindex = 2,
					      .hardware = c->hardware,
					      .is_loopback = c->is_loopback};
		struct attach_choice choice;

		strcpy(interface.name, c->name);
		strcpy(interface.kind, c->kind);
		choice = attach_choose(&interface, c->forwarding, c->names,
				       c->ability);
		if (choice.way != c->way || !strstr(choice.reason, c->reason))
			fail_msg("%s: way %d, %s", c->title, (int)choice.way,
				 choice.reason);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_case_is_chosen_as_the_table_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
