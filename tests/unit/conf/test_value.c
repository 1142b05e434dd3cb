#include "conf/value.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "parse.h"

static int make_conf(void **state)
{
	*state = calloc(1, sizeof(struct conf));
	return *state ? 0 : -1;
}

static int free_conf(void **state)
{
	free(*state);
	return 0;
}

static int set(struct conf *conf, const char *section, const char *name,
	       const char *text)
{
	const struct conf_key *key = conf_key_find(section, name);

	assert_non_null(key);
	return value_parse(key, span_of(text), conf);
}

static void refuses(struct conf *conf, const char *section, const char *name,
		    const char *const *texts)
{
	for (size_t i = 0; texts[i]; i++)
		if (set(conf, section, name, texts[i]) != -EINVAL)
			fail_msg("%s took \"%s\"", name, texts[i]);
}

#define REFUSES(section, name, ...)                                            \
	refuses(conf, section, name, (const char *const[]){__VA_ARGS__, NULL})

static void test_booleans_are_those_of_the_original_in_any_case(void **state)
{
	static const char *const yes[] = {"yes", "True", "ON", "1"};
	static const char *const no[] = {"No", "FALSE", "off", "0"};
	struct conf *conf = *state;

	for (size_t i = 0; i < 4; i++) {
		conf->tls.crl_strict = false;
		assert_int_equal(set(conf, "TLS", "crl_strict", yes[i]), 0);
		assert_true(conf->tls.crl_strict);
		assert_int_equal(set(conf, "TLS", "crl_strict", no[i]), 0);
		assert_false(conf->tls.crl_strict);
	}
	REFUSES("TLS", "crl_strict", "", "y", "2", "yes no");
}

static void test_times_are_seconds_or_have_a_unit(void **state)
{
	static const struct {
		const char *text;
		uint64_t us;
	} good[] = {
		{"90", 90000000},     {"90s", 90000000},   {"90 S", 90000000},
		{"1500ms", 1500000},  {"2min", 120000000}, {"12h", 43200000000},
		{"1 d", 86400000000}, {"001", 1000000},
	};
	struct conf *conf = *state;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(
			set(conf, "Relay", "stream_timeout", good[i].text), 0);
		assert_int_equal(conf->relay.stream_timeout_us, good[i].us);
	}
	REFUSES("Relay", "stream_timeout", "", "s", "-1", "1.5", "1m", "10us",
		"999ms", "0", "1 s s", "3651d", "99999999999999999999",
		"18446744073709551615d", "5124095576030d");
	assert_int_equal(conf->relay.stream_timeout_us, 1000000);
	assert_int_equal(set(conf, "Relay", "port_rest", "0"), 0);
	assert_int_equal(conf->relay.port_rest_us, 0);
}

static void test_port_ranges_are_even_and_in_order(void **state)
{
	struct conf *conf = *state;

	assert_int_equal(set(conf, "Relay", "port_range", "1024:65536"), 0);
	assert_int_equal(conf->relay.port_range.first, 1024);
	assert_int_equal(conf->relay.port_range.end, 65536);
	assert_int_equal(set(conf, "Relay", "port_range", "2000 : 2002"), 0);
	assert_int_equal(conf->relay.port_range.end, 2002);
	REFUSES("Relay", "port_range", "", "40000", "40000:", ":50000",
		"40001:50000", "40000:50001", "1022:50000", "50000:40000",
		"40000:40000", "40000:65538", "40000:50000:60000", "a:b",
		"40000-50000");
	assert_int_equal(conf->relay.port_range.first, 2000);
}

static void test_an_address_may_be_left_to_the_default(void **state)
{
	struct ip_addr expected = {{10, 0, 0, 1}, AF_INET};
	struct conf *conf = *state;
	const struct conf_address_list *list = &conf->relay.relay_ip;

	assert_int_equal(set(conf, "Relay", "relay_ip", "10.0.0.1"), 0);
	assert_int_equal(list->count, 1);
	assert_true(ip_equal(&list->addresses[0].ip, &expected));
	REFUSES("Relay", "relay_ip", "0.0.0.0", "::", "224.0.0.1", "ff02::1",
		"10.0.0.256", "host.example", "10.0.0.1:5", "any",
		"10.0.0.2 default", "default 10.0.0.2", "fe80::1%eth0");
	assert_int_equal(list->count, 1);
	assert_true(ip_equal(&list->addresses[0].ip, &expected));
	assert_int_equal(set(conf, "Relay", "relay_ip", "Default"), 0);
	assert_int_equal(list->count, 0);
	assert_int_equal(set(conf, "Relay", "relay_ip", "10.0.0.1"), 0);
	assert_int_equal(set(conf, "Relay", "relay_ip", ""), 0);
	assert_int_equal(list->count, 0);
}

/* What the list of a key reads like when it is printed. */
static void addresses_are(struct conf *conf, const char *key_name,
			  const char *text, const char *expected)
{
	CLEANUP(buf_done) struct buf out = {0};
	const struct conf_key *key = conf_key_find("Relay", key_name);

	if (value_parse(key, span_of(text), conf) < 0)
		fail_msg("did not take %s", text);
	value_print(key, conf, &out);
	assert_string_equal(out.data, expected);
}

static void test_there_may_be_several_addresses_of_both_families(void **state)
{
	struct conf *conf = *state;

	addresses_are(conf, "relay_ip", "10.0.0.1 10.0.0.2,2001:db8::1",
		      "10.0.0.1, 10.0.0.2, 2001:db8::1");
	addresses_are(conf, "relay_ip",
		      "10.0.0.1!192.0.2.1, [2001:DB8::1]![2001:db8::2]",
		      "10.0.0.1!192.0.2.1, 2001:db8::1!2001:db8::2");
	addresses_are(conf, "relay_ip", "::ffff:10.0.0.1!192.0.2.1",
		      "10.0.0.1!192.0.2.1");
	addresses_are(conf, "advertised_ip", "192.0.2.1\t192.0.2.1",
		      "192.0.2.1, 192.0.2.1");
	REFUSES("Relay", "relay_ip", "10.0.0.1 10.0.0.1",
		"10.0.0.1 ::ffff:10.0.0.1", "10.0.0.1!", "!10.0.0.1",
		"10.0.0.1!2001:db8::1", "10.0.0.1!10.0.0.2!10.0.0.3",
		"10.0.0.1 ! 10.0.0.2", "10.0.0.1!host",
		"10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 "
		"10.0.0.7 10.0.0.8 10.0.0.9 10.0.0.10 10.0.0.11 10.0.0.12 "
		"10.0.0.13 10.0.0.14 10.0.0.15 10.0.0.16 10.0.0.17");
	REFUSES("Relay", "advertised_ip", "10.0.0.1!10.0.0.2");
}

static void test_tos_is_a_byte_or_kept(void **state)
{
	struct conf *conf = *state;

	assert_int_equal(set(conf, "Relay", "tos", "0"), 0);
	assert_int_equal(conf->relay.tos, 0);
	assert_int_equal(set(conf, "Relay", "tos", "255"), 0);
	assert_int_equal(conf->relay.tos, 255);
	assert_int_equal(set(conf, "Relay", "tos", "KEEP"), 0);
	assert_int_equal(conf->relay.tos, CONF_TOS_KEEP);
	REFUSES("Relay", "tos", "256", "-1", "EF", "", "keep 1", "0xb8");
}

static void listens(struct conf *conf, const char *text, const char *expected)
{
	CLEANUP(buf_done) struct buf out = {0};
	const struct conf_key *key = conf_key_find("Dispatcher", "listen");

	conf->dispatcher.listen = (struct endpoint){.port = 25060};
	assert_int_equal(value_parse(key, span_of(text), conf), 0);
	value_print(key, conf, &out);
	assert_string_equal(out.data, expected);
}

static void test_where_to_listen_is_an_address_a_port_or_both(void **state)
{
	struct conf *conf = *state;

	listens(conf, "any:1234", "any:1234");
	listens(conf, "ANY", "any:25060");
	listens(conf, "any", "any:25060");
	listens(conf, "1234", "any:1234");
	listens(conf, "0.0.0.0", "0.0.0.0:25060");
	listens(conf, "10.0.0.1:1", "10.0.0.1:1");
	listens(conf, "[2001:db8::1]:1", "[2001:db8::1]:1");
	listens(conf, "[2001:db8::1]", "[2001:db8::1]:25060");
	listens(conf, "2001:db8::1", "[2001:db8::1]:25060");
	listens(conf, "::", "[::]:25060");
	listens(conf, "localhost:5", "127.0.0.1:5");
	REFUSES("Dispatcher", "listen", "", ":", ":1", "any:", "any:0", "0",
		"any:65536", "host.example:1", "10.0.0.1:x", "1.2.3:4");
}

static void
test_a_host_has_a_name_or_an_address_and_perhaps_a_port(void **state)
{
	struct conf *conf = *state;
	const struct conf_host *hosts = conf->relay.dispatchers.hosts;

	assert_int_equal(
		set(conf, "Relay", "dispatchers",
		    "a.example,  b_c.example.:7\t10.0.0.1,[2001:db8::1]:8 "
		    "2001:db8::2,"),
		0);
	assert_int_equal(conf->relay.dispatchers.count, 5);
	assert_string_equal(hosts[0].name, "a.example");
	assert_int_equal(hosts[0].port, 0);
	assert_string_equal(hosts[1].name, "b_c.example.");
	assert_int_equal(hosts[1].port, 7);
	assert_string_equal(hosts[2].name, "10.0.0.1");
	assert_string_equal(hosts[3].name, "2001:db8::1");
	assert_int_equal(hosts[3].port, 8);
	assert_string_equal(hosts[4].name, "2001:db8::2");
	assert_int_equal(hosts[4].port, 0);
	assert_int_equal(set(conf, "Relay", "dispatchers", "3com.example"), 0);
	REFUSES("Relay", "dispatchers", "a:0", "a:65536", "a:b", "a:", ":1",
		"10.0.0.300", "10.0.0", "a..b", ".a", "-a", "a;b", "[a]",
		"[10.0.0.1]", "a/b", "[2001:db8::1", "a:1:2", "\xc3\xa4");
	assert_int_equal(conf->relay.dispatchers.count, 1);
}

static void test_a_host_name_has_at_most_253_bytes(void **state)
{
	struct conf *conf = *state;
	char name[256];

	memset(name, 'a', sizeof(name));
	name[253] = '\0';
	assert_int_equal(set(conf, "Relay", "dispatchers", name), 0);
	assert_int_equal(strlen(conf->relay.dispatchers.hosts[0].name), 253);
	name[253] = 'a';
	name[254] = '\0';
	assert_int_equal(set(conf, "Relay", "dispatchers", name), -EINVAL);
}

static void test_networks_are_lists_of_prefixes_and_addresses(void **state)
{
	struct conf *conf = *state;
	const struct conf_network_list *list =
		&conf->relay.routable_private_ranges;

	assert_int_equal(set(conf, "Relay", "routable_private_ranges",
			     "10.0.0.0/8, fd00::/8 192.168.1.1"),
			 0);
	assert_int_equal(list->count, 3);
	assert_int_equal(list->networks[0].prefix_len, 8);
	assert_int_equal(list->networks[1].ip.family, AF_INET6);
	assert_int_equal(list->networks[2].prefix_len, 32);
	assert_int_equal(set(conf, "Relay", "routable_private_ranges", "any"),
			 0);
	assert_int_equal(list->count, 2);
	assert_int_equal(list->networks[1].prefix_len, 0);
	REFUSES("Relay", "routable_private_ranges", "10.0.0.0/33", "10/8",
		"10.0.0.0/", "/8", "fd00::/129", "x");
	assert_int_equal(set(conf, "Relay", "routable_private_ranges", "None"),
			 0);
	assert_int_equal(list->count, 0);
}

static void test_log_levels_are_those_of_the_original(void **state)
{
	struct conf *conf = *state;

	assert_int_equal(set(conf, "Relay", "log_level", "warning"), 0);
	assert_int_equal(conf->relay.log_level, LOG_LEVEL_WARNING);
	assert_int_equal(set(conf, "Relay", "log_level", "CRITICAL"), 0);
	assert_int_equal(conf->relay.log_level, LOG_LEVEL_ERROR);
	REFUSES("Relay", "log_level", "", "trace", "INFO,");
	assert_int_equal(set(conf, "Relay", "log_level", "Debug"), 0);
	assert_int_equal(conf->relay.log_level, LOG_LEVEL_DEBUG);
}

static void test_accounting_names_the_known_backends(void **state)
{
	struct conf *conf = *state;

	assert_int_equal(
		set(conf, "Dispatcher", "accounting", "Radius,database"), 0);
	assert_string_equal(conf->dispatcher.accounting, "database, radius");
	assert_int_equal(set(conf, "Dispatcher", "accounting", "radius"), 0);
	assert_string_equal(conf->dispatcher.accounting, "radius");
	assert_int_equal(
		set(conf, "Dispatcher", "accounting", "file database radius"),
		0);
	assert_string_equal(conf->dispatcher.accounting,
			    "database, radius, file");
	REFUSES("Dispatcher", "accounting", "mysql", "database;radius");
	assert_int_equal(set(conf, "Dispatcher", "accounting", ""), 0);
	assert_string_equal(conf->dispatcher.accounting, "");
}

static void test_names_for_sql_are_letters_digits_and_underscores(void **state)
{
	struct conf *conf = *state;

	assert_int_equal(set(conf, "Database", "info_column", "_info2"), 0);
	assert_string_equal(conf->database.info_column, "_info2");
	REFUSES("Database", "info_column", "", "2info", "a b", "a;b", "a'b",
		"a-b",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aa");
}

static void test_databases_have_a_scheme_that_is_known(void **state)
{
	struct conf *conf = *state;

	assert_int_equal(set(conf, "Database", "dburi", "sqlite:///x.db"), 0);
	assert_int_equal(set(conf, "Database", "dburi", "odbc:mydsn"), 0);
	assert_string_equal(conf->database.dburi, "odbc:mydsn");
	REFUSES("Database", "dburi", "", "mysql", "mysql://", "sqlite://x",
		"oracle://u@h/d", "odbc:");
}

static void test_a_text_that_does_not_fit_is_refused_and_not_cut(void **state)
{
	struct conf *conf = *state;
	char text[CONF_MAX_TEXT + 1];

	memset(text, 'x', sizeof(text));
	text[CONF_MAX_TEXT - 1] = '\0';
	assert_int_equal(set(conf, "TLS", "certs_path", text), 0);
	assert_int_equal(strlen(conf->tls.certs_path), CONF_MAX_TEXT - 1);
	text[CONF_MAX_TEXT - 1] = 'x';
	text[CONF_MAX_TEXT] = '\0';
	assert_int_equal(set(conf, "TLS", "certs_path", text), -EINVAL);
	REFUSES("TLS", "certs_path", "");
	assert_int_equal(set(conf, "TLS", "certs_path", "y"), 0);
	assert_string_equal(conf->tls.certs_path, "y");
}

static void test_security_levels_are_those_of_openssl(void **state)
{
	struct conf *conf = *state;

	assert_int_equal(set(conf, "TLS", "security_level", "0"), 0);
	assert_int_equal(conf->tls.security_level, 0);
	REFUSES("TLS", "security_level", "6", "-1", "low");
	assert_int_equal(set(conf, "TLS", "security_level", "default"), 0);
	assert_int_equal(conf->tls.security_level, -1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make_conf, free_conf)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_booleans_are_those_of_the_original_in_any_case),
		TEST(test_times_are_seconds_or_have_a_unit),
		TEST(test_port_ranges_are_even_and_in_order),
		TEST(test_an_address_may_be_left_to_the_default),
		TEST(test_there_may_be_several_addresses_of_both_families),
		TEST(test_tos_is_a_byte_or_kept),
		TEST(test_where_to_listen_is_an_address_a_port_or_both),
		TEST(test_a_host_has_a_name_or_an_address_and_perhaps_a_port),
		TEST(test_a_host_name_has_at_most_253_bytes),
		TEST(test_networks_are_lists_of_prefixes_and_addresses),
		TEST(test_log_levels_are_those_of_the_original),
		TEST(test_accounting_names_the_known_backends),
		TEST(test_names_for_sql_are_letters_digits_and_underscores),
		TEST(test_databases_have_a_scheme_that_is_known),
		TEST(test_a_text_that_does_not_fit_is_refused_and_not_cut),
		TEST(test_security_levels_are_those_of_openssl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
