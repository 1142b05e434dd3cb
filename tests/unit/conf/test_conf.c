#include "conf/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "conf/schema.h"
#include "conf/value.h"
#include "parse.h"

#define RELAY_ALONE "[Relay]\ndispatchers = a.example\n"

static void test_an_empty_file_gives_the_documented_defaults(void **state)
{
	PARSED p = parse("");

	(void)state;
	assert_good(&p);
	assert_string_equal(text_of(&p.warnings), "");
	assert_int_equal(p.conf->relay.dispatchers.count, 0);
	assert_int_equal(p.conf->relay.port_range.first, 40000);
	assert_int_equal(p.conf->relay.port_range.end, 60000);
	assert_int_equal(p.conf->relay.log_level, LOG_LEVEL_INFO);
	assert_int_equal(p.conf->relay.stream_timeout_us, 90000000);
	assert_int_equal(p.conf->relay.on_hold_timeout_us, 7200000000);
	assert_int_equal(p.conf->relay.unanswered_timeout_us, 600000000);
	assert_int_equal(p.conf->relay.port_rest_us, 5000000);
	assert_int_equal(p.conf->relay.settle_time_us, 300000);
	assert_int_equal(p.conf->relay.rebind_silence_us, 200000);
	assert_int_equal(p.conf->relay.rtcp_silence_us, 60000000);
	assert_int_equal(p.conf->relay.probation_packets, 4);
	assert_int_equal(p.conf->relay.learning, CONF_LEARNING_SAFE);
	assert_int_equal(p.conf->relay.forwarding, CONF_FORWARDING_AUTO);
	assert_int_equal(p.conf->relay.tos, 184);
	assert_int_equal(p.conf->relay.workers, 0);
	assert_int_equal(p.conf->relay.relay_ip.count, 0);
	assert_string_equal(p.conf->dispatcher.socket_path, "dispatcher.sock");
	assert_int_equal(p.conf->dispatcher.listen.port, 25060);
	assert_false(ip_is_set(&p.conf->dispatcher.listen.ip));
	assert_int_equal(p.conf->dispatcher.listen_management.port, 25061);
	assert_true(p.conf->dispatcher.management_use_tls);
	assert_int_equal(p.conf->dispatcher.failover_timeout_us, 150000);
	assert_int_equal(p.conf->dispatcher.answer_timeout_us, 400000);
	assert_int_equal(p.conf->dispatcher.cleanup_dead_relays_after_us,
			 43200000000);
	assert_int_equal(p.conf->dispatcher.passport.count, 0);
	assert_string_equal(p.conf->tls.certs_path, "tls");
	assert_int_equal(p.conf->tls.verify_interval_us, 300000000);
	assert_int_equal(p.conf->tls.security_level, -1);
	assert_string_equal(p.conf->database.sessions_table, "media_sessions");
	assert_string_equal(p.conf->opensips.socket_path,
			    "/run/opensips/socket");
}

/* The table itself: a default that its own key refuses, a member given to two
 * keys, a key that is named twice. */
static void test_every_row_of_the_table_is_sound(void **state)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	(void)state;
	assert_non_null(conf);
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];

		if (value_parse(key, span_of(key->fallback), conf) < 0)
			fail_msg("%s.%s refuses its default", key->section,
				 key->name);
		assert_non_null(conf_section_find(key->section));
		assert_ptr_equal(conf_key_find(key->section, key->name), key);
		assert_true(key->doc[strlen(key->doc) - 1] == '.');
		for (size_t k = 0; k < i; k++)
			if (key->size && conf_keys[k].offset == key->offset &&
			    conf_keys[k].size)
				fail_msg("%s.%s shares its member",
					 key->section, key->name);
	}
	free(conf);
}

static void test_values_of_the_file_replace_the_defaults(void **state)
{
	PARSED p = parse("; a comment\n"
			 "# another\r\n"
			 "[Relay]\r\n"
			 "dispatchers = a.example, 10.0.0.1:1234\r\n"
			 "Port_Range=50000:50010 ; as in the original\r\n"
			 "log_level: debug\r\n"
			 "\r\n"
			 "[Dispatcher]\r\n"
			 "socket_path = /tmp/x;y\r\n");

	(void)state;
	assert_good(&p);
	assert_int_equal(p.conf->relay.dispatchers.count, 2);
	assert_string_equal(p.conf->relay.dispatchers.hosts[0].name,
			    "a.example");
	assert_int_equal(p.conf->relay.dispatchers.hosts[1].port, 1234);
	assert_int_equal(p.conf->relay.port_range.first, 50000);
	assert_int_equal(p.conf->relay.port_range.end, 50010);
	assert_int_equal(p.conf->relay.log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(p.conf->dispatcher.socket_path, "/tmp/x;y");
	assert_string_equal(text_of(&p.warnings), "");
}

static void test_a_value_goes_on_in_lines_that_begin_with_a_blank(void **state)
{
	PARSED p = parse("[Relay]\n"
			 "dispatchers = a.example\n"
			 "    b.example:1\n"
			 "\tc.example ; third\n"
			 "tos = 184\n");

	(void)state;
	assert_good(&p);
	assert_string_equal(text_of(&p.warnings), "");
	assert_int_equal(p.conf->relay.dispatchers.count, 3);
	assert_string_equal(p.conf->relay.dispatchers.hosts[2].name,
			    "c.example");
}

static void
test_a_bad_value_is_told_with_file_line_key_and_what_is_allowed(void **state)
{
	(void)state;
	assert_error("\n[Relay]\nport_range = 4000x: \n",
		     "config.ini:3: [Relay] port_range = 4000x:: expected "
		     "FIRST:LAST, even numbers in 1024..65536");
	assert_error("[Dispatcher]\nmanagement_use_tls = perhaps\n",
		     "config.ini:2: [Dispatcher] management_use_tls = perhaps: "
		     "expected yes, no, true, false, on, off, 1 or 0");
	assert_error("[Relay]\nstream_timeout = 0\n",
		     "config.ini:2: [Relay] stream_timeout = 0: expected a "
		     "time from 1 s to 3650 d, in seconds or with ms, s, min, "
		     "h or d");
	assert_error("[Relay]\nlearning = lax\n",
		     "config.ini:2: [Relay] learning = lax: expected safe, "
		     "strict or first-packet");
	assert_error("[Relay]\nworkers = 257\n",
		     "config.ini:2: [Relay] workers = 257: expected a number "
		     "in 0..256");
}

static void test_the_first_bad_value_of_the_file_is_the_one_told(void **state)
{
	(void)state;
	assert_error("[TLS]\ncrl_strict = x\n[Relay]\nworkers = x\n",
		     "config.ini:2: [TLS] crl_strict = x: expected yes, no, "
		     "true, false, on, off, 1 or 0");
}

static void test_a_relay_checks_the_dispatchers_keys_too(void **state)
{
	PARSED p = parse_as(RELAY_ALONE "[Dispatcher]\nlisten = :\n",
			    CONF_DAEMON_RELAY);

	(void)state;
	assert_int_equal(p.result, -EINVAL);
	assert_non_null(strstr(text_of(&p.error), "config.ini:4: [Dispatcher] "
						  "listen = :: expected"));
}

static void test_a_password_is_never_shown(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	PARSED bad = parse("[Database]\ndburi = oracle://u:secret@h/d\n");
	PARSED good = parse("[Database]\ndburi = postgres://u:se:c@ret@h/d\n");
	PARSED odbc = parse("[Database]\ndburi = odbc:DSN=x;PWD=secret\n");
	PARSED url = parse("[Database]\ndburi = odbc:x;PWD={a://secret}\n");

	(void)state;
	assert_int_equal(bad.result, -EINVAL);
	assert_null(strstr(text_of(&bad.error), "secret"));
	assert_good(&good);
	conf_print(good.conf, CONF_DAEMON_DISPATCHER, &out);
	assert_non_null(
		strstr(out.data, "Database.dburi = postgres://u:***@h/d\n"));
	buf_reset(&out);
	assert_good(&odbc);
	conf_print(odbc.conf, CONF_DAEMON_DISPATCHER, &out);
	assert_non_null(strstr(out.data, "Database.dburi = odbc:DSN=x;***\n"));
	assert_good(&url);
	conf_print(url.conf, CONF_DAEMON_DISPATCHER, &out);
	assert_non_null(strstr(out.data, "Database.dburi = odbc:x;***\n"));
}

static void test_control_bytes_of_a_value_do_not_reach_the_message(void **state)
{
	PARSED p = parse("[Relay]\nworkers = \x1b[31m\n");

	(void)state;
	assert_non_null(strstr(text_of(&p.error), "workers = ?[31m: "));
	assert_null(strchr(text_of(&p.error), 0x1b));
}

static void
test_unknown_keys_and_sections_are_warnings_with_their_line(void **state)
{
	PARSED p = parse("[Dispatcher]\n"
			 "lisen = any\n"
			 "    more of it\n"
			 "[Relais]\n"
			 "port_range = 1\n"
			 "workers = 3\n"
			 "[Dispatcher]\n"
			 "listen = any:1\n");

	(void)state;
	assert_good(&p);
	assert_string_equal(text_of(&p.warnings),
			    "config.ini:2: [Dispatcher] lisen: unknown key\n"
			    "config.ini:5: unknown section [Relais]\n");
	assert_int_equal(p.conf->dispatcher.listen.port, 1);
}

static void test_a_daemon_is_not_warned_of_the_others_keys(void **state)
{
	const char *text = RELAY_ALONE "userspace_transmit_every = 2\n"
				       "nonsense = 1\n"
				       "[Dispatcher]\n"
				       "accounting = database\n"
				       "rubbish = 1\n";
	PARSED relay = parse_as(text, CONF_DAEMON_RELAY);
	PARSED dispatcher = parse_as(text, CONF_DAEMON_DISPATCHER);

	(void)state;
	assert_string_equal(
		text_of(&relay.warnings),
		"config.ini:4: [Relay] nonsense: unknown key\n"
		"config.ini:3: [Relay] userspace_transmit_every: means nothing "
		"here and is ignored\n");
	assert_string_equal(
		text_of(&dispatcher.warnings),
		"config.ini:7: [Dispatcher] rubbish: unknown key\n");
}

static void test_a_key_that_comes_twice_counts_the_second_time(void **state)
{
	PARSED p = parse("[Dispatcher]\n"
			 "listen = any:1\n"
			 "[Dispatcher]\n"
			 "LISTEN = any:2\n");

	(void)state;
	assert_good(&p);
	assert_int_equal(p.conf->dispatcher.listen.port, 2);
	assert_string_equal(text_of(&p.warnings),
			    "config.ini:4: [Dispatcher] listen: stands in line "
			    "2 already, this one counts\n");
}

static void
test_keys_for_later_warn_only_when_they_are_not_the_default(void **state)
{
	PARSED same = parse_as(RELAY_ALONE "tos = 184\n"
					   "restart_grace = 30 s\n"
					   "auto_detect_interfaces = OFF\n"
					   "forwarding = userspace\n",
			       CONF_DAEMON_RELAY);
	PARSED other = parse_as(RELAY_ALONE "auto_detect_interfaces = yes\n"
					    "forwarding = XDP\n"
					    "userspace_transmit_every = 1\n",
				CONF_DAEMON_RELAY);

	(void)state;
	assert_good(&same);
	assert_string_equal(text_of(&same.warnings), "");
	assert_good(&other);
	assert_int_equal(other.conf->relay.forwarding, CONF_FORWARDING_XDP);
	assert_string_equal(
		text_of(&other.warnings),
		"config.ini:5: [Relay] userspace_transmit_every: means nothing "
		"here and is ignored\n");
}

static void test_a_relay_without_dispatchers_is_warned(void **state)
{
	PARSED p = parse_as("[Relay]\ndispatchers =\n", CONF_DAEMON_RELAY);

	(void)state;
	assert_good(&p);
	assert_non_null(strstr(text_of(&p.warnings), "no calls will come"));
}

static void test_lines_that_are_no_ini_are_errors(void **state)
{
	(void)state;
	assert_error("[Relay]\nworkers\n",
		     "config.ini:2: neither [section] nor key = value");
	assert_error("[Relay\n",
		     "config.ini:1: neither [section] nor key = value");
	assert_error("workers = 2\n",
		     "config.ini:1: workers stands before any [section]");
}

static void test_a_nul_byte_is_an_error(void **state)
{
	PARSED p = parse_span(SPAN("[Relay]\nworkers = 1\0002\n"),
			      CONF_DAEMON_RELAY);

	(void)state;
	assert_int_equal(p.result, -EINVAL);
	assert_string_equal(text_of(&p.error), "config.ini:2: a NUL byte");
}

/* inih would hand out the first part and take the rest for another line. */
static void test_a_line_that_is_too_long_is_refused_and_never_cut(void **state)
{
	CLEANUP(buf_done) struct buf text = {0};

	(void)state;
	buf_add(&text, SPAN("[Relay]\ndispatchers = a.example"));
	while (text.len < 9000)
		buf_add(&text, SPAN(" b.example"));
	buf_add(&text, SPAN("\nworkers = 2\n"));
	{
		PARSED p = parse(text.data);

		assert_int_equal(p.result, -EINVAL);
		assert_non_null(
			strstr(text_of(&p.error), "config.ini:2: a line of "));
	}
}

static void test_a_long_line_is_read_whole(void **state)
{
	CLEANUP(buf_done) struct buf text = {0};

	(void)state;
	buf_add(&text, SPAN("[Relay]\ndispatchers ="));
	for (int i = 0; i < CONF_MAX_DISPATCHERS; i++)
		buf_printf(&text, " dispatcher-%02d.sip.example.com:25060", i);
	{
		PARSED p = parse(text.data);

		assert_good(&p);
		assert_int_equal(p.conf->relay.dispatchers.count, 64);
		assert_string_equal(p.conf->relay.dispatchers.hosts[63].name,
				    "dispatcher-63.sip.example.com");
	}
	buf_add(&text, SPAN(" one.too.many"));
	{
		PARSED p = parse(text.data);

		assert_int_equal(p.result, -EINVAL);
	}
}

static void test_failover_has_to_come_before_the_answer(void **state)
{
	(void)state;
	assert_error("[Dispatcher]\nfailover_timeout = 400ms\n",
		     "config.ini:2: [Dispatcher] failover_timeout = 400ms: "
		     "expected less than answer_timeout (400ms)");
	assert_error("[Dispatcher]\n\nanswer_timeout = 100ms\n",
		     "config.ini:3: [Dispatcher] failover_timeout = 150ms: "
		     "expected less than answer_timeout (100ms)");
}

/* What --check prints can be put into the file again. */
static void test_what_is_printed_reads_back_as_the_same(void **state)
{
	static const char text[] =
		"[Relay]\n"
		"dispatchers = a.example:1 [2001:db8::1] [2001:db8::2]:77\n"
		"passport = O:A\\, B*, CN:*x\n"
		"relay_ip = 2001:db8::5 10.0.0.1!192.0.2.1\n"
		"advertised_ip = 2001:db8::9\ntos = Keep\nport_range = "
		"1024:65536\n"
		"stream_timeout = 1500 ms\non_hold_timeout = 2h\n"
		"routable_private_ranges = 10.0.0.0/8 fd00::/8\n"
		"log_level = critical\nlearning = First-Packet\n"
		"[Dispatcher]\nlisten = [::1]:9\nlisten_management = 8\n"
		"accounting = radius database\n"
		"[TLS]\nsecurity_level = 0\nverify_interval = 0\n";
	const char *section = "";
	CLEANUP(buf_done) struct buf out = {0};
	CLEANUP(buf_done) struct buf again = {0};
	CLEANUP(buf_done) struct buf file = {0};
	PARSED first = parse(text);

	(void)state;
	assert_good(&first);
	conf_print(first.conf, CONF_DAEMON_RELAY, &out);
	conf_print(first.conf, CONF_DAEMON_DISPATCHER, &out);
	assert_non_null(strstr(out.data, "Relay.port_range = 1024:65536\n"));
	assert_non_null(strstr(out.data, "Relay.stream_timeout = 1500 ms\n"));
	assert_non_null(
		strstr(out.data, "Relay.passport = O:A\\, B*, CN:*x\n"));
	assert_non_null(strstr(out.data, "Relay.log_level = ERROR\n"));
	assert_non_null(strstr(out.data, "Relay.dispatchers = a.example:1, "
					 "[2001:db8::1], [2001:db8::2]:77\n"));
	assert_non_null(strstr(out.data, "Dispatcher.listen = [::1]:9\n"));
	assert_non_null(
		strstr(out.data, "Dispatcher.listen_management = any:8\n"));

	for (char *line = strtok(out.data, "\n"); line;
	     line = strtok(NULL, "\n")) {
		char *dot = strchr(line, '.');

		*dot = '\0';
		if (strcmp(section, line) != 0)
			buf_printf(&file, "[%s]\n", line);
		section = line;
		/* A password is not printed. */
		if (strstr(dot + 1, "dburi") == NULL)
			buf_printf(&file, "%s\n", dot + 1);
	}
	buf_reset(&out);
	conf_print(first.conf, CONF_DAEMON_RELAY, &out);
	conf_print(first.conf, CONF_DAEMON_DISPATCHER, &out);
	{
		PARSED second = parse(file.data);

		assert_good(&second);
		conf_print(second.conf, CONF_DAEMON_RELAY, &again);
		conf_print(second.conf, CONF_DAEMON_DISPATCHER, &again);
	}
	assert_string_equal(again.data, out.data);
}

static void
test_a_file_is_read_and_a_missing_one_gives_the_defaults(void **state)
{
	char path[] = "/tmp/mp-test-conf-XXXXXX";
	int fd = mkstemp(path);
	PARSED p = {0};
	PARSED none = {0};
	PARSED folder = {0};

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "[Relay]\nworkers = 3\n", 20), 20);
	close(fd);
	assert_int_equal(conf_load(&p.conf, path, CONF_DAEMON_DISPATCHER,
				   &p.warnings, &p.error),
			 0);
	assert_int_equal(p.conf->relay.workers, 3);
	unlink(path);

	assert_int_equal(conf_load(&none.conf, path, CONF_DAEMON_DISPATCHER,
				   &none.warnings, &none.error),
			 0);
	assert_int_equal(none.conf->relay.workers, 0);
	assert_non_null(strstr(text_of(&none.warnings), path));

	assert_true(conf_load(&folder.conf, "/", CONF_DAEMON_DISPATCHER,
			      &folder.warnings, &folder.error) < 0);
	assert_non_null(strstr(text_of(&folder.error), "/: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_an_empty_file_gives_the_documented_defaults),
		cmocka_unit_test(test_every_row_of_the_table_is_sound),
		cmocka_unit_test(test_values_of_the_file_replace_the_defaults),
		cmocka_unit_test(
			test_a_value_goes_on_in_lines_that_begin_with_a_blank),
		cmocka_unit_test(
			test_a_bad_value_is_told_with_file_line_key_and_what_is_allowed),
		cmocka_unit_test(
			test_the_first_bad_value_of_the_file_is_the_one_told),
		cmocka_unit_test(test_a_relay_checks_the_dispatchers_keys_too),
		cmocka_unit_test(test_a_password_is_never_shown),
		cmocka_unit_test(
			test_control_bytes_of_a_value_do_not_reach_the_message),
		cmocka_unit_test(
			test_unknown_keys_and_sections_are_warnings_with_their_line),
		cmocka_unit_test(
			test_a_daemon_is_not_warned_of_the_others_keys),
		cmocka_unit_test(
			test_a_key_that_comes_twice_counts_the_second_time),
		cmocka_unit_test(
			test_keys_for_later_warn_only_when_they_are_not_the_default),
		cmocka_unit_test(test_a_relay_without_dispatchers_is_warned),
		cmocka_unit_test(test_lines_that_are_no_ini_are_errors),
		cmocka_unit_test(test_a_nul_byte_is_an_error),
		cmocka_unit_test(
			test_a_line_that_is_too_long_is_refused_and_never_cut),
		cmocka_unit_test(test_a_long_line_is_read_whole),
		cmocka_unit_test(test_failover_has_to_come_before_the_answer),
		cmocka_unit_test(test_what_is_printed_reads_back_as_the_same),
		cmocka_unit_test(
			test_a_file_is_read_and_a_missing_one_gives_the_defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
