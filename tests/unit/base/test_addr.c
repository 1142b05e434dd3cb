#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "test.h"

static struct ip_addr ip(const char *text)
{
	struct ip_addr ret = {0};

	if (ip_parse(span_of(text), &ret) < 0)
		fail_msg("did not take %s", text);
	return ret;
}

static void test_addresses_read_and_print(void **state)
{
	static const struct {
		const char *text, *printed;
		int family;
	} good[] = {
		{"10.0.0.1", "10.0.0.1", AF_INET},
		{"255.255.255.255", "255.255.255.255", AF_INET},
		{"0.0.0.0", "0.0.0.0", AF_INET},
		{"2001:DB8::1", "2001:db8::1", AF_INET6},
		{"[2001:db8::1]", "2001:db8::1", AF_INET6},
		{"::", "::", AF_INET6},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AF_INET6},
	};
	char text[ADDR_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct ip_addr got = ip(good[i].text);

		assert_int_equal(got.family, good[i].family);
		assert_string_equal(ip_format(&got, text), good[i].printed);
	}
}

static void test_a_v4_mapped_address_is_its_ipv4_address(void **state)
{
	struct ip_addr plain = ip("10.1.2.3");
	struct ip_addr mapped = ip("::ffff:10.1.2.3");
	struct ip_addr brackets = ip("[::FFFF:a01:203]");
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons(7)};
	struct endpoint ep;

	(void)state;
	assert_true(ip_equal(&plain, &mapped));
	assert_true(ip_equal(&plain, &brackets));
	assert_int_equal(inet_pton(AF_INET6, "::ffff:10.1.2.3", &in6.sin6_addr),
			 1);
	ep = endpoint_from_sockaddr(&in6);
	assert_true(ip_equal(&plain, &ep.ip));
	assert_int_equal(ep.port, 7);
	/* Its neighbours are not. */
	assert_int_equal(ip("::fffe:10.1.2.3").family, AF_INET6);
	assert_int_equal(ip("::10.1.2.3").family, AF_INET6);
}

static void test_what_is_no_address_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"10.0.0",
		"10.0.0.256",
		"10.0.0.1.2",
		" 10.0.0.1",
		"10.0.0.1 ",
		"010.0.0.1",
		"0x0a.0.0.1",
		"167772161",
		"10.0.1",
		"10.0.0.1.",
		"10.0.0.1%eth0",
		"0177.0.0.1",
		"127.0.0.01",
		"0x7f000001",
		"+10.0.0.1",
		"-1.0.0.1",
		"10.0.0.-1",
		"::ffff:0177.0.0.1",
		"::ffff:127.0.0.1.",
		"::ffff:127.1",
		"::1%1",
		"::1.",
		"example.com.",
		"\xef\xbc\x91.1.1.1",
		"[10.0.0.1]",
		"[]",
		"[",
		"]",
		"[::1",
		"::1]",
		"[[::1]]",
		"fe80::1%lo",
		":::",
		"1::2::3",
		"localhost",
		"::g",
		"10.0.0.1:5",
		"[::1]:5",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffff",
		"0000:0000:0000:0000:0000:ffff:255.255.255.255000000000000",
	};
	struct ip_addr before = ip("10.0.0.1");
	struct ip_addr got = before;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (ip_parse(span_of(bad[i]), &got) != -EINVAL)
			fail_msg("took %s", bad[i]);
	assert_int_equal(ip_parse(SPAN("10.0.0.1\0"), &got), -EINVAL);
	assert_int_equal(ip_parse(SPAN("::1\0x"), &got), -EINVAL);
	assert_true(ip_equal(&before, &got));
}

static void test_no_address_prints_as_none(void **state)
{
	struct endpoint none = {0};
	char text[ADDR_TEXT_SIZE];

	(void)state;
	assert_false(ip_is_set(&none.ip));
	assert_string_equal(ip_format(&none.ip, text), "none");
	assert_string_equal(endpoint_format(&none, text), "none");
}

static void test_endpoints_have_brackets_around_ipv6_alone(void **state)
{
	struct endpoint four = {ip("10.0.0.1"), 5000};
	struct endpoint six = {ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
			       65535};
	char text[ADDR_TEXT_SIZE];

	(void)state;
	assert_string_equal(endpoint_format(&four, text), "10.0.0.1:5000");
	assert_string_equal(endpoint_format(&six, text),
			    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void test_endpoints_differ_in_address_family_and_port(void **state)
{
	struct endpoint a = {ip("10.0.0.1"), 5000};
	struct endpoint port = {ip("10.0.0.1"), 5001};
	struct endpoint address = {ip("10.0.0.2"), 5000};
	/* The same bytes in the other family. */
	struct endpoint family = {ip("a00:1::"), 5000};

	(void)state;
	assert_true(endpoint_equal(&a, &a));
	assert_false(endpoint_equal(&a, &port));
	assert_false(endpoint_equal(&a, &address));
	assert_memory_equal(a.ip.bytes, family.ip.bytes, 16);
	assert_false(endpoint_equal(&a, &family));
}

static void
test_endpoints_survive_the_way_through_the_kernels_form(void **state)
{
	struct endpoint all[] = {{ip("192.0.2.1"), 1}, {ip("2001:db8::9"), 2}};
	struct sockaddr_storage storage;
	struct sockaddr unix_address = {.sa_family = AF_UNIX};
	struct endpoint got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		memset(&storage, 0xff, sizeof(storage));
		assert_int_equal(endpoint_to_sockaddr(&all[i], &storage),
				 i == 0 ? sizeof(struct sockaddr_in)
					: sizeof(struct sockaddr_in6));
		got = endpoint_from_sockaddr(&storage);
		assert_true(endpoint_equal(&got, &all[i]));
	}
	got = endpoint_from_sockaddr(&unix_address);
	assert_false(ip_is_set(&got.ip));
}

static bool contains(const char *network, const char *address)
{
	struct ip_network net;
	struct ip_addr addr = ip(address);

	if (ip_network_parse(span_of(network), &net) < 0)
		fail_msg("did not take %s", network);
	return ip_network_contains(&net, &addr);
}

static void test_a_network_contains_what_shares_its_prefix(void **state)
{
	(void)state;
	assert_true(contains("10.0.0.0/8", "10.255.255.255"));
	assert_false(contains("10.0.0.0/8", "11.0.0.0"));
	assert_true(contains("10.0.0.0/9", "10.127.255.255"));
	assert_false(contains("10.0.0.0/9", "10.128.0.0"));
	assert_true(contains("10.0.0.1", "10.0.0.1"));
	assert_false(contains("10.0.0.1", "10.0.0.2"));
	assert_true(contains("10.0.0.2/31", "10.0.0.3"));
	assert_false(contains("10.0.0.2/31", "10.0.0.4"));
	assert_true(contains("0.0.0.0/0", "255.1.2.3"));
	assert_false(contains("0.0.0.0/0", "::1"));
	assert_true(contains("::/0", "2001:db8::1"));
	assert_false(contains("::/0", "10.0.0.1"));
	assert_true(contains("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(contains("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(contains("[2001:db8::1]", "2001:db8::1"));
	/* Bits behind the prefix mean nothing. */
	assert_true(contains("10.1.2.3/8", "10.9.9.9"));
	/* A mapped address is its IPv4 address. */
	assert_true(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
}

static void test_what_is_no_network_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"/",
		"/8",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10/8",
		"::/129",
		"10.0.0.0/-1",
		"10.0.0.0/8/8",
		"10.0.0.0/ 8",
		"10.0.0.0/255.0.0.0",
	};
	struct ip_network net;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (ip_network_parse(span_of(bad[i]), &net) != -EINVAL)
			fail_msg("took %s", bad[i]);
}

typedef bool predicate_h(const struct ip_addr *address);

/* The first and the last address that a predicate holds for, and the ones
 * before and behind; NULL at the end. */
static void holds(predicate_h *predicate, const char *const *in,
		  const char *const *out)
{
	for (; *in; in++) {
		struct ip_addr address = ip(*in);

		if (!predicate(&address))
			fail_msg("not true of %s", *in);
	}
	for (; *out; out++) {
		struct ip_addr address = ip(*out);

		if (predicate(&address))
			fail_msg("true of %s", *out);
	}
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_each_kind_of_address_has_its_borders(void **state)
{
	struct ip_addr none = {0};

	(void)state;
	holds(ip_is_unspecified, LIST("0.0.0.0", "::", "::ffff:0.0.0.0"),
	      LIST("0.0.0.1", "::1", "255.255.255.255"));
	assert_false(ip_is_unspecified(&none));
	holds(ip_is_loopback,
	      LIST("127.0.0.0", "127.255.255.255", "::1", "::ffff:127.0.0.1"),
	      LIST("126.255.255.255", "128.0.0.0", "::", "::2"));
	holds(ip_is_link_local,
	      LIST("169.254.0.0", "169.254.255.255", "fe80::", "febf:ffff::1"),
	      LIST("169.253.255.255", "169.255.0.0", "fe7f::1", "fec0::"));
	holds(ip_is_multicast,
	      LIST("224.0.0.0", "239.255.255.255", "240.0.0.0",
		   "255.255.255.255", "ff00::", "ffff::"),
	      LIST("223.255.255.255", "feff::"));
	holds(ip_is_private,
	      LIST("10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255",
		   "192.168.0.0", "192.168.255.255", "100.64.0.0",
		   "100.127.255.255", "127.0.0.1", "169.254.1.1", "0.0.0.0",
		   "fc00::", "fdff::1", "fe80::1", "::", "::1",
		   "::ffff:192.168.1.1"),
	      LIST("9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0",
		   "192.167.255.255", "192.169.0.0", "100.63.255.255",
		   "100.128.0.0", "1.0.0.0", "8.8.8.8",
		   "fbff::", "fe00::", "2001:db8::1", "2::"));
	holds(ip_is_metadata_service,
	      LIST("169.254.169.254", "100.100.100.200", "fd00:ec2::254",
		   "::ffff:169.254.169.254"),
	      LIST("169.254.169.253", "100.100.100.201", "fd00:ec2::253",
		   "fd00:ec2:1::254"));
}

struct embedding {
	const char *text, *inside; /* NULL: none */
};

static void test_an_embedded_ipv4_address_is_found(void **state)
{
	static const struct embedding table[] = {
		{"::10.1.2.3", "10.1.2.3"},
		{"::ffff:0:10.1.2.3", "10.1.2.3"},
		{"64:ff9b::10.1.2.3", "10.1.2.3"},
		{"64:ff9b:1::10.1.2.3", "10.1.2.3"},
		{"64:ff9b:1:ffff::10.1.2.3", "10.1.2.3"},
		{"2002:a01:203::1", "10.1.2.3"},
		{"2001::f5fe:fdfc", "10.1.2.3"},
		{"10.1.2.3", NULL},
		{"::ffff:10.1.2.3", NULL}, /* it is 10.1.2.3 itself */
		{"::", NULL},
		{"::1", NULL},
		{"64:ff9b:0:0:0:1:a01:203", NULL},
		{"64:ff9b:2::10.1.2.3", NULL},
		{"64:ff9c::10.1.2.3", NULL},
		{"2001:1::f5fe:fdfc", NULL},
		{"2003:a01:203::1", NULL},
		{"::fffe:0:10.1.2.3", NULL},
		{"2001:db8::10.1.2.3", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct embedding *row = &table[i];
		struct ip_addr outer = ip(row->text), inside = {0};
		bool found = ip_embedded(&outer, &inside);
		char text[ADDR_TEXT_SIZE];

		if (found != (row->inside != NULL))
			fail_msg("%s: %s", row->text, found ? "one" : "none");
		if (found)
			assert_string_equal(ip_format(&inside, text),
					    row->inside);
	}
}

static void
test_an_embedded_address_is_of_the_kind_of_what_it_embeds(void **state)
{
	(void)state;
	holds(ip_is_loopback,
	      LIST("::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1",
		   "64:ff9b:1::127.0.0.1", "2002:7f00:1::1", "2001::80ff:fffe"),
	      LIST("64:ff9b::128.0.0.1", "2001:db8::127.0.0.1"));
	holds(ip_is_link_local, LIST("64:ff9b::169.254.1.1", "2002:a9fe:101::"),
	      LIST("64:ff9b::169.253.1.1"));
	holds(ip_is_multicast, LIST("64:ff9b::224.0.0.1", "2002:e000:1::"),
	      LIST("64:ff9b::192.0.2.1"));
	holds(ip_is_metadata_service,
	      LIST("64:ff9b::169.254.169.254", "::169.254.169.254",
		   "2002:a9fe:a9fe::1"),
	      LIST("64:ff9b::169.254.169.253"));
	holds(ip_is_private,
	      LIST("64:ff9b::10.0.0.1", "2002:c0a8:1::", "::192.168.1.1",
		   "fec0::1"),
	      LIST("64:ff9b::8.8.8.8", "2002:808:808::", "::8.8.8.8"));
	holds(ip_is_ip4_compatible, LIST("::8.8.8.8", "::2"),
	      LIST("::", "::1", "::ffff:8.8.8.8", "::1:0:0", "8.8.8.8"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_read_and_print),
		cmocka_unit_test(test_a_v4_mapped_address_is_its_ipv4_address),
		cmocka_unit_test(test_what_is_no_address_is_refused),
		cmocka_unit_test(test_no_address_prints_as_none),
		cmocka_unit_test(
			test_endpoints_have_brackets_around_ipv6_alone),
		cmocka_unit_test(
			test_endpoints_differ_in_address_family_and_port),
		cmocka_unit_test(
			test_endpoints_survive_the_way_through_the_kernels_form),
		cmocka_unit_test(
			test_a_network_contains_what_shares_its_prefix),
		cmocka_unit_test(test_what_is_no_network_is_refused),
		cmocka_unit_test(test_each_kind_of_address_has_its_borders),
		cmocka_unit_test(test_an_embedded_ipv4_address_is_found),
		cmocka_unit_test(
			test_an_embedded_address_is_of_the_kind_of_what_it_embeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
