#include "session/addresses.h"

#include "session_scene.h"

/* ---- the choice alone ---- */

struct host {
	struct ip_addr gone;  /* not on this host */
	struct ip_addr route; /* unset: there is none */
	unsigned asked;
};

static bool is_here(const struct ip_addr *ip, void *arg)
{
	const struct host *host = arg;

	return !ip_equal(ip, &host->gone);
}

static int route(const struct address_wish *wish, struct ip_addr *ret,
		 void *arg)
{
	struct host *host = arg;

	(void)wish;
	host->asked++;
	if (!ip_is_set(&host->route))
		return -ENETUNREACH;
	*ret = host->route;
	return 0;
}

static void addresses_freep(struct addresses **addresses)
{
	addresses_free(*addresses);
}

#define ADDRESSES CLEANUP(addresses_freep) struct addresses *

static struct addresses *make_addresses(struct host *host, bool by_route)
{
	const struct local_address list[] = {
		{.ip = ip_of("192.0.2.1")},
		{.ip = ip_of("192.0.2.2"), .advertised = ip_of("203.0.113.2")},
		{.ip = ip_of("2001:db8::1")},
		{.ip = ip_of("127.0.0.1")},
	};
	struct address_handlers handlers = {.is_here = is_here,
					    .route = by_route ? route : NULL};
	struct addresses *addresses;

	assert_int_equal(addresses_new(&addresses, list, ARRAY_SIZE(list)), 0);
	addresses_ask(addresses, &handlers, host);
	return addresses;
}

/* What is chosen for a party with this SDP, in text; "-" and why it failed. */
static const char *chosen(struct addresses *addresses, const char *sdp,
			  const char *at_present)
{
	static char text[ADDR_TEXT_SIZE + 8];
	struct address_wish wish = {.sdp = ip_of(sdp)};
	struct ip_addr ip, has = {0};
	const char *refused = NULL;
	int r;

	if (at_present)
		has = ip_of(at_present);
	wish.family = wish.sdp.family;
	r = addresses_choose(addresses, &wish, &has, &ip, &refused);
	if (r == 0)
		return ip_format(&ip, text);
	assert_non_null(refused);
	return r == -EINVAL ? "- no family" : "- gone";
}

static void test_addresses_of_a_family_are_used_in_turn(void **state)
{
	struct host host = {0};
	ADDRESSES a = make_addresses(&host, false);

	(void)state;
	assert_string_equal(chosen(a, "198.51.100.1", NULL), "192.0.2.1");
	assert_string_equal(chosen(a, "2001:db8::9", NULL), "2001:db8::1");
	assert_string_equal(chosen(a, "198.51.100.1", NULL), "192.0.2.2");
	assert_string_equal(chosen(a, "2001:db8::9", NULL), "2001:db8::1");
	/* What a session has stays. */
	assert_string_equal(chosen(a, "198.51.100.1", "192.0.2.1"),
			    "192.0.2.1");
	/* But not for another family. */
	assert_string_equal(chosen(a, "2001:db8::9", "192.0.2.1"),
			    "2001:db8::1");
}

static void test_loopback_is_for_loopback(void **state)
{
	struct host host = {0};
	ADDRESSES a = make_addresses(&host, false);

	(void)state;
	assert_true(addresses_have_loopback(a));
	assert_string_equal(chosen(a, "127.0.0.9", NULL), "127.0.0.1");
	assert_string_equal(chosen(a, "127.0.0.9", "192.0.2.1"), "127.0.0.1");
	assert_string_equal(chosen(a, "::1", NULL), "- no family");
	assert_string_equal(chosen(a, "198.51.100.1", NULL), "192.0.2.1");
	assert_string_equal(chosen(a, "198.51.100.1", NULL), "192.0.2.2");
	assert_string_equal(chosen(a, "198.51.100.1", NULL), "192.0.2.1");
	/* The other party's being there makes it no better. */
	assert_string_equal(chosen(a, "198.51.100.1", "127.0.0.1"),
			    "192.0.2.2");
}

static void test_what_is_gone_is_not_chosen(void **state)
{
	struct host host = {.gone = ip_of("192.0.2.1")};
	ADDRESSES a = make_addresses(&host, false);

	(void)state;
	assert_string_equal(chosen(a, "198.51.100.1", NULL), "192.0.2.2");
	assert_string_equal(chosen(a, "198.51.100.1", "192.0.2.1"),
			    "192.0.2.2");
	assert_string_equal(chosen(a, "198.51.100.1", "192.0.2.2"),
			    "192.0.2.2");
	host.gone = ip_of("2001:db8::1");
	assert_string_equal(chosen(a, "2001:db8::9", NULL), "- gone");
}

static void test_the_route_chooses_first(void **state)
{
	struct host host = {.route = ip_of("10.9.9.9")};
	ADDRESSES a = make_addresses(&host, true);

	(void)state;
	assert_true(addresses_have_family(a, AF_INET6));
	assert_string_equal(chosen(a, "198.51.100.1", NULL), "10.9.9.9");
	assert_string_equal(chosen(a, "198.51.100.1", "192.0.2.1"), "10.9.9.9");
	/* What it says is no use there. */
	assert_string_equal(chosen(a, "2001:db8::9", NULL), "2001:db8::1");
	assert_string_equal(chosen(a, "127.0.0.1", NULL), "127.0.0.1");
	/* A proxy that sends to itself has signalling from loopback. */
	host.route = ip_of("127.0.0.1");
	assert_string_equal(chosen(a, "198.51.100.1", "192.0.2.2"),
			    "192.0.2.2");
	host.route = (struct ip_addr){0};
	assert_string_equal(chosen(a, "198.51.100.1", "192.0.2.2"),
			    "192.0.2.2");
	assert_int_equal(host.asked, 6);
}

static void test_others_are_told_what_is_advertised(void **state)
{
	struct host host = {0};
	ADDRESSES a = make_addresses(&host, false);
	char text[ADDR_TEXT_SIZE];
	struct ip_addr ip = ip_of("192.0.2.2");

	(void)state;
	assert_string_equal(ip_format(addresses_shown(a, &ip), text),
			    "203.0.113.2");
	ip = ip_of("10.9.9.9");
	assert_ptr_equal(addresses_shown(a, &ip), &ip);
	assert_string_equal(ip_format(addresses_name(a), text), "192.0.2.1");
	assert_true(addresses_have_family(a, AF_INET));
}

/* ---- sessions of a relay with an address of each family ---- */

static int begin_dual(void **state)
{
	const struct local_address list[] = {
		{.ip = ip_of("127.0.0.1")},
		{.ip = ip_of("::1")},
	};

	return begin_with(state, 42400, 42500, list, ARRAY_SIZE(list));
}

static int begin_ip4(void **state)
{
	return begin_with_ports(state, 42500, 42520);
}

static void assert_ip(const struct session_ports *ports, const char *expected)
{
	char text[ADDR_TEXT_SIZE];

	assert_string_equal(ip_format(&ports->ip, text), expected);
}

#define SAYS(expected, message)                                                \
	do {                                                                   \
		struct session_ports ports_ = message;                         \
                                                                               \
		assert_ip(&ports_, expected);                                  \
	} while (0)

#define A4 "audio:127.0.0.1:5000:sendrecv:ice=no"
#define A4_MOVED "audio:127.0.0.1:5100:sendrecv:ice=no"
#define V4 "video:127.0.0.1:5002:sendrecv:ice=no"
#define A6 "audio:::1:5000:sendrecv:ice=no"
#define V6 "video:::1:5002:sendrecv:ice=no"
#define B4 "audio:127.0.0.1:6000:sendrecv:ice=no"
#define B6 "audio:::1:6000:sendrecv:ice=no"

/* What the first reply says is for the callee, what the second says for the
 * caller. */
static void test_the_callees_family_is_where_the_message_goes(void **state)
{
	struct world *world = *state;

	SAYS("::1", REQUEST(1, .media = A4, .signalling = "127.0.0.1_::1"));
	SAYS("127.0.0.1", REPLY(1, .media = B6, .signalling = "::1"));
	remove_call(world, "caller");
	assert_record_has(world, "\"caller_local\": \"127.0.0.1:");
	assert_record_has(world, "\"callee_local\": \"[::1]:");
	SAYS("127.0.0.1",
	     REQUEST(1, .media = A6, .signalling = "::1_127.0.0.1"));
	SAYS("::1", REPLY(1, .media = B4));
}

static void test_without_a_hint_it_is_that_of_the_caller(void **state)
{
	struct world *world = *state;

	SAYS("::1", REQUEST(1, .media = A6));
	/* An answer of another family is taken, whatever comes of it. */
	SAYS("::1", REPLY(1, .media = B4));
	remove_call(world, "caller");
	assert_record_has(world, "\"callee_local\": \"[::1]:");
	assert_record_has(world, "\"callee_sdp\": \"127.0.0.1:6000\"");
}

static void test_what_is_added_to_a_stream_goes_where_that_is(void **state)
{
	struct world *world = *state;

	SAYS("127.0.0.1", REQUEST(1, .media = A4));
	REPLY(1, .media = B6);
	/* The callee is known to be IPv6, but its audio stays, and one reply
	 * has one address. */
	SAYS("127.0.0.1", REQUEST(2, .media = V4 "," A4));
	SAYS("127.0.0.1", REPLY(2, .media = V6 "," B6));
	remove_call(world, "caller");
	assert_record_has(world, "\"media_type\": \"video\"");
	assert_record_lacks(world, "_local\": \"[::1]");
}

static void test_a_known_family_is_taken_for_new_streams_alone(void **state)
{
	struct world *world = *state;

	SAYS("127.0.0.1", REQUEST(1, .media = A4));
	REPLY(1, .media = B6);
	/* The callee's SDP is known to be IPv6. */
	SAYS("::1", REQUEST(3, .media = A4_MOVED));
	SAYS("127.0.0.1", REPLY(3, .media = B6));
}

static void test_a_party_may_change_its_family(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A4);
	REPLY(1, .media = B4);
	SAYS("127.0.0.1", REQUEST(2, .media = A6));
	SAYS("::1", REPLY(2, .media = B4));
	/* And so may the one that was called. */
	SAYS("::1", CALLEE_REQUEST(1, .media = B6));
	SAYS("::1", CALLER_REPLY(1, .media = A6));
}

static void test_hold_has_a_family_too(void **state)
{
	struct world *world = *state;

	SAYS("::1", REQUEST(1, .media = "audio::::5000:sendrecv:ice=no"));
	SAYS("::1", REPLY(1, .media = B6));
	/* Of the same call: the stream stays. */
	SAYS("::1", REQUEST(2, .media = "audio:0.0.0.0:5000:sendrecv:ice=no"));
}

static void test_what_cannot_work_is_refused_with_its_reason(void **state)
{
	struct world *world = *state;
	struct session_ports ports;

	assert_int_equal(send_to(world,
				 (struct message){.cseq = 1, .media = A6},
				 &ports),
			 -EINVAL);
	assert_non_null(strstr(why, "a family that relay_ip has not"));
	/* A hint counts for nothing then. */
	SAYS("127.0.0.1",
	     REQUEST(1, .media = A4, .signalling = "127.0.0.1_2001:db8::1"));
	SAYS("127.0.0.1", REPLY(1, .media = "audio:2001:db8::1:6000:"
					    "sendrecv:ice=no"));
	assert_int_equal(send_to(world,
				 (struct message){.cseq = 2, .media = A6},
				 &ports),
			 -EINVAL);
	/* The call is what it was. */
	SAYS("127.0.0.1", REQUEST(3, .media = A4));
}

static void test_no_way_of_writing_gets_round_the_checks(void **state)
{
	static const struct {
		const char *sdp, *reason;
	} table[] = {
		{"::ffff:169.254.169.254", "metadata service"},
		{"::ffff:a9fe:a9fe", "metadata service"},
		{"64:ff9b::169.254.169.254", "metadata service"},
		{"64:ff9b::a9fe:a9fe", "metadata service"},
		{"2002:a9fe:a9fe::1", "metadata service"},
		{"::ffff:0:169.254.169.254", "metadata service"},
		{"::ffff:169.254.1.1", "link-local"},
		{"64:ff9b::169.254.1.1", "link-local"},
		{"64:ff9b:1::169.254.1.1", "link-local"},
		{"fe80::1", "link-local"},
		{"[fe80::1]", "link-local"},
		{"::ffff:224.0.0.1", "multicast"},
		{"64:ff9b::255.255.255.255", "multicast"},
		{"2002:e000:1::", "multicast"},
		{"ff02::1", "multicast"},
		{"::ffff:127.0.0.1", "loopback"},
		{"[::1]", "loopback"},
		{"64:ff9b::127.0.0.1", "loopback"},
		{"2002:7f00:1::1", "loopback"},
		{"2001::80ff:fffe", "loopback"},
		{"::127.0.0.1", "written as IPv6"},
		{"::8.8.8.8", "written as IPv6"},
	};
	const struct local_address list[] = {
		{.ip = ip_of("192.0.2.1")},
		{.ip = ip_of("2001:db8::1")},
	};
	struct world *world = *state;
	struct sessions_config config = {.port_first = 42600,
					 .port_end = 42604};
	struct session_handlers handlers = {.expired = expired};
	ADDRESSES addresses;

	assert_int_equal(addresses_new(&addresses, list, ARRAY_SIZE(list)), 0);
	config.addresses = addresses;
	sessions_free(world->sessions);
	assert_int_equal(sessions_new(&world->sessions, &config, world->media,
				      &handlers, world),
			 0);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct session_ports ports;
		char media[128];

		snprintf(media, sizeof(media), "audio:%s:5000:sendrecv:ice=no",
			 table[i].sdp);
		if (send_to(world, (struct message){.cseq = 1, .media = media},
			    &ports) != -EINVAL)
			fail_msg("took %s", media);
		if (!strstr(why, table[i].reason))
			fail_msg("%s: %s", table[i].sdp, why);
	}
	assert_int_equal(living(world), 0);
	/* Their addresses go before the scene ends. */
	sessions_free(world->sessions);
	config.addresses = world->addresses;
	assert_int_equal(sessions_new(&world->sessions, &config, world->media,
				      &handlers, world),
			 0);
}

#define DUAL(name) cmocka_unit_test_setup_teardown(name, begin_dual, end)
#define IP4(name) cmocka_unit_test_setup_teardown(name, begin_ip4, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_of_a_family_are_used_in_turn),
		cmocka_unit_test(test_loopback_is_for_loopback),
		cmocka_unit_test(test_what_is_gone_is_not_chosen),
		cmocka_unit_test(test_the_route_chooses_first),
		cmocka_unit_test(test_others_are_told_what_is_advertised),
		DUAL(test_the_callees_family_is_where_the_message_goes),
		DUAL(test_without_a_hint_it_is_that_of_the_caller),
		DUAL(test_what_is_added_to_a_stream_goes_where_that_is),
		DUAL(test_a_known_family_is_taken_for_new_streams_alone),
		DUAL(test_a_party_may_change_its_family),
		DUAL(test_hold_has_a_family_too),
		IP4(test_what_cannot_work_is_refused_with_its_reason),
		IP4(test_no_way_of_writing_gets_round_the_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
