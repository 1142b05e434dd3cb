#include "media/routes.h"

#include <arpa/inet.h>

#include "network_scene.h"

struct scene {
	struct network net;
	struct routes *routes;
	uint64_t now_us;
};

static int begin(void **state)
{
	static struct scene scene;

	scene = (struct scene){.now_us = 1000 * US_PER_S};
	network_enter(&scene.net);
	run_in(scene.net.here,
	       "ip link add x1 type veth peer y1; ip link add x2 type veth "
	       "peer y2; ip link set y1 up; ip link set y2 up;"
	       "ip link set x1 up; ip link set x2 up;"
	       "ip addr add 10.1.0.1/24 dev x1; ip addr add 10.2.0.1/24 dev x2;"
	       "ip addr add fd01::1/64 dev x1 nodad;"
	       "ip addr add fd02::1/64 dev x2 nodad;"
	       "ip route add 10.9.0.0/16 via 10.2.0.9;"
	       "ip route add fd09::/16 via fd02::9;"
	       "ip route add blackhole 10.8.0.0/16;"
	       "ip route add unreachable fd08::/16");
	assert_int_equal(routes_new(&scene.routes), 0);
	*state = &scene;
	return 0;
}

static int end(void **state)
{
	struct scene *s = *state;

	routes_free(s->routes);
	close(s->net.here);
	close(s->net.there);
	return 0;
}

static struct ip_addr ip_of(const char *text)
{
	struct ip_addr ip = {0};

	assert_int_equal(ip_parse(span_of(text), &ip), 0);
	return ip;
}

/* Our address towards somebody; NULL: there is none. */
static const char *towards(struct scene *s, const char *peer)
{
	static char text[ADDR_TEXT_SIZE];
	struct ip_addr to = ip_of(peer), source = ip_of("192.0.2.99");
	int r = routes_source(s->routes, &to, s->now_us, &source);

	ip_format(&source, text);
	if (r == 0)
		return text;
	assert_string_equal(text, "192.0.2.99");
	return NULL;
}

static void test_the_route_tells_the_address(void **state)
{
	struct scene *s = *state;

	assert_string_equal(towards(s, "10.1.0.7"), "10.1.0.1");
	assert_string_equal(towards(s, "10.2.0.7"), "10.2.0.1");
	assert_string_equal(towards(s, "10.9.1.1"), "10.2.0.1");
	assert_string_equal(towards(s, "fd01::7"), "fd01::1");
	assert_string_equal(towards(s, "fd09::7"), "fd02::1");
	assert_string_equal(towards(s, "127.0.0.1"), "127.0.0.1");
	assert_string_equal(towards(s, "10.1.0.1"), "10.1.0.1");
}

static void test_a_lookup_may_fail(void **state)
{
	struct scene *s = *state;
	const struct routes_counters *counters = routes_counters(s->routes);

	assert_null(towards(s, "192.0.2.1"));   /* no route */
	assert_null(towards(s, "10.8.0.1"));    /* blackhole */
	assert_null(towards(s, "fd08::1"));     /* unreachable */
	assert_null(towards(s, "2001:db8::1")); /* no route */
	assert_null(towards(s, "224.0.0.1"));
	assert_int_equal(counters->lookups, 5);
	assert_int_equal(counters->failures, 5);
	/* And is not asked again at once. */
	assert_null(towards(s, "192.0.2.1"));
	assert_int_equal(counters->lookups, 5);
	assert_int_equal(counters->cached, 1);
}

static void test_an_answer_is_kept_for_a_while_or_until_a_change(void **state)
{
	struct scene *s = *state;

	assert_string_equal(towards(s, "10.9.1.1"), "10.2.0.1");
	run_in(s->net.here, "ip route replace 10.9.0.0/16 via 10.1.0.9");
	assert_string_equal(towards(s, "10.9.1.1"), "10.2.0.1");
	s->now_us += 5 * US_PER_S - 1;
	assert_string_equal(towards(s, "10.9.1.1"), "10.2.0.1");
	s->now_us += 1;
	assert_string_equal(towards(s, "10.9.1.1"), "10.1.0.1");
	run_in(s->net.here, "ip route replace 10.9.0.0/16 via 10.2.0.9");
	routes_flush(s->routes);
	assert_string_equal(towards(s, "10.9.1.1"), "10.2.0.1");
}

/* The table has a fixed size: many peers push each other out, none gets the
 * answer of another. */
static void test_many_peers_get_the_answers_that_are_theirs(void **state)
{
	struct scene *s = *state;
	char peer[32];

	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < 6000; i++) {
			snprintf(peer, sizeof(peer), "10.%s.%u.%u",
				 i % 2 ? "9" : "1", i % 2 ? i / 200 : 0,
				 i % 200 + 2);
			assert_string_equal(towards(s, peer),
					    i % 2 ? "10.2.0.1" : "10.1.0.1");
		}
	assert_true(routes_counters(s->routes)->cached > 0);
}

static void test_an_address_of_ours_that_goes_is_told(void **state)
{
	struct scene *s = *state;
	struct ip_addr ip4 = ip_of("10.1.0.1"), ip6 = ip_of("fd02::1");
	struct ip_addr loopback = ip_of("127.0.0.1");
	struct ip_addr others = ip_of("10.1.0.2");

	assert_true(routes_is_here(s->routes, &ip4));
	assert_true(routes_is_here(s->routes, &ip6));
	assert_true(routes_is_here(s->routes, &loopback));
	assert_false(routes_is_here(s->routes, &others));
	run_in(s->net.here, "ip addr del 10.1.0.1/24 dev x1; ip link del x2");
	assert_false(routes_is_here(s->routes, &ip4));
	assert_false(routes_is_here(s->routes, &ip6));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_route_tells_the_address),
		TEST(test_a_lookup_may_fail),
		TEST(test_an_answer_is_kept_for_a_while_or_until_a_change),
		TEST(test_many_peers_get_the_answers_that_are_theirs),
		TEST(test_an_address_of_ours_that_goes_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
