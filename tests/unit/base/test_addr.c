#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "test.h"

static struct ip_addr ip_of(const char *text)
{
	struct ip_addr ip = {0};

	assert_int_equal(ip_parse(span_of(text), &ip), 0);
	return ip;
}

static void test_an_address_reads_and_writes_as_the_same_text(void **state)
{
	static const char *const texts[] = {"10.0.0.1", "0.0.0.0",
					    "::", "2001:db8::1",
					    "fe80::aaaa:bbbb:cccc:dddd"};
	char text[ADDR_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct ip_addr ip = ip_of(texts[i]);

		assert_string_equal(ip_format(&ip, text), texts[i]);
	}
}

static void test_brackets_are_for_ipv6(void **state)
{
	struct ip_addr ip = ip_of("[2001:db8::1]");
	struct ip_addr bare = ip_of("2001:db8::1");

	(void)state;
	assert_true(ip_equal(&ip, &bare));
	assert_int_equal(ip_parse(SPAN("[10.0.0.1]"), &ip), -EINVAL);
}

static void test_a_mapped_address_is_its_ipv4_address(void **state)
{
	struct ip_addr mapped = ip_of("::ffff:10.1.2.3");
	struct ip_addr plain = ip_of("10.1.2.3");
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons(5000)};
	struct endpoint from_kernel;

	(void)state;
	assert_true(ip_equal(&mapped, &plain));
	inet_pton(AF_INET6, "::ffff:10.1.2.3", &in6.sin6_addr);
	from_kernel = endpoint_from_sockaddr(&in6);
	assert_true(ip_equal(&from_kernel.ip, &plain));
}

static void test_what_is_no_numeric_address_is_refused(void **state)
{
	static const char *const texts[] = {
		"",          "localhost",    "10.0.0", "10.0.0.256",
		"10.0.0.1 ", "fe80::1%eth0", "[",      "[]",
		":::",       "1.2.3.4.5"};
	struct ip_addr ip = ip_of("192.0.2.1");
	const struct ip_addr before = ip;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(ip_parse(span_of(texts[i]), &ip), -EINVAL);
	assert_int_equal(ip_parse(span_make("10.0.0.1\0x", 10), &ip), -EINVAL);
	assert_true(ip_equal(&ip, &before));
}

static void test_an_endpoint_survives_the_kernels_form(void **state)
{
	static const char *const texts[] = {"10.0.0.1", "2001:db8::1"};
	static const char *const shown[] = {"10.0.0.1:5000",
					    "[2001:db8::1]:5000"};
	char text[ADDR_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct endpoint ep = {.ip = ip_of(texts[i]), .port = 5000};
		struct sockaddr_storage kernel;
		struct endpoint back;

		endpoint_to_sockaddr(&ep, &kernel);
		back = endpoint_from_sockaddr(&kernel);
		assert_true(endpoint_equal(&ep, &back));
		assert_string_equal(endpoint_format(&ep, text), shown[i]);
	}
}

static void test_an_unset_endpoint_is_shown_as_none(void **state)
{
	struct sockaddr unix_one = {.sa_family = AF_UNIX};
	struct endpoint ep = endpoint_from_sockaddr(&unix_one);
	char text[ADDR_TEXT_SIZE];

	(void)state;
	assert_false(ip_is_set(&ep.ip));
	assert_string_equal(ip_format(&ep.ip, text), "none");
}

static bool contains(const char *network, const char *ip)
{
	struct ip_network net;
	struct ip_addr one = ip_of(ip);

	assert_int_equal(ip_network_parse(span_of(network), &net), 0);
	return ip_network_contains(&net, &one);
}

static void test_a_network_has_the_addresses_of_its_prefix(void **state)
{
	(void)state;
	assert_true(contains("10.0.0.0/8", "10.255.255.255"));
	assert_false(contains("10.0.0.0/8", "11.0.0.0"));
	assert_true(contains("10.1.2.0/23", "10.1.3.255"));
	assert_false(contains("10.1.2.0/23", "10.1.4.0"));
	assert_true(contains("10.1.2.3", "10.1.2.3"));
	assert_false(contains("10.1.2.3", "10.1.2.2"));
	assert_true(contains("0.0.0.0/0", "255.1.2.3"));
	assert_true(contains("fd00::/8", "fdff::1"));
	assert_false(contains("fd00::/8", "fe00::1"));
	assert_false(contains("::/0", "10.0.0.1"));
}

static void test_a_network_with_a_wrong_prefix_is_refused(void **state)
{
	static const char *const texts[] = {
		"10.0.0.0/33", "fd00::/129",   "10.0.0.0/",  "10.0.0.0/-1",
		"/8",          "10.0.0.0/8/8", "10.0.0.0/8x"};
	struct ip_network net;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(ip_network_parse(span_of(texts[i]), &net),
				 -EINVAL);
}

static void test_kinds_of_addresses_end_where_their_ranges_end(void **state)
{
	static const struct {
		bool (*is)(const struct ip_addr *ip);
		const char *yes[4], *no[4];
	} kinds[] = {
		{ip_is_unspecified, {"0.0.0.0", "::"}, {"0.0.0.1", "::1"}},
		{ip_is_loopback,
		 {"127.0.0.1", "127.255.255.255", "::1"},
		 {"126.255.255.255", "128.0.0.0", "::2"}},
		{ip_is_link_local,
		 {"169.254.0.0", "169.254.255.255", "fe80::1", "febf::1"},
		 {"169.253.255.255", "169.255.0.0", "fec0::1"}},
		{ip_is_multicast,
		 {"224.0.0.0", "239.255.255.255", "255.255.255.255", "ff02::1"},
		 {"223.255.255.255", "fe80::1"}},
		{ip_is_private,
		 {"10.0.0.0", "172.31.255.255", "192.168.1.1", "fd00::1"},
		 {"11.0.0.0", "172.32.0.0", "192.169.0.0", "2a00::1"}},
		{ip_is_private, {"100.64.0.0", "172.16.0.0"}, {"100.128.0.0"}},
		{ip_is_metadata_service,
		 {"169.254.169.254"},
		 {"169.254.169.253", "8.8.8.8"}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (size_t j = 0; j < 4 && kinds[i].yes[j]; j++) {
			struct ip_addr ip = ip_of(kinds[i].yes[j]);

			assert_true(kinds[i].is(&ip));
		}
		for (size_t j = 0; j < 4 && kinds[i].no[j]; j++) {
			struct ip_addr ip = ip_of(kinds[i].no[j]);

			assert_false(kinds[i].is(&ip));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_an_address_reads_and_writes_as_the_same_text),
		cmocka_unit_test(test_brackets_are_for_ipv6),
		cmocka_unit_test(test_a_mapped_address_is_its_ipv4_address),
		cmocka_unit_test(test_what_is_no_numeric_address_is_refused),
		cmocka_unit_test(test_an_endpoint_survives_the_kernels_form),
		cmocka_unit_test(test_an_unset_endpoint_is_shown_as_none),
		cmocka_unit_test(
			test_a_network_has_the_addresses_of_its_prefix),
		cmocka_unit_test(test_a_network_with_a_wrong_prefix_is_refused),
		cmocka_unit_test(
			test_kinds_of_addresses_end_where_their_ranges_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
