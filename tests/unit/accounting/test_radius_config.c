#include "accounting/radius_config.h"

#include <errno.h>

#include "base/cleanup.h"
#include "folder.h"

struct loaded {
	int err;
	struct radius_config config;
	struct buf why, warnings;
};

static void loaded_done(struct loaded *loaded)
{
	buf_done(&loaded->why);
	buf_done(&loaded->warnings);
}

static struct loaded load(struct folder *folder, const char *dictionary)
{
	char path[sizeof(folder->file)];
	struct loaded loaded = {0};

	strcpy(path, path_in(folder, "client.conf"));
	loaded.err = radius_config_load(&loaded.config, path, dictionary,
					&loaded.why, &loaded.warnings);
	return loaded;
}

/* It does not load, and the line has these words; no secret is in it. */
static void refuses(struct folder *folder, const char *client,
		    const char *words)
{
	CLEANUP(loaded_done) struct loaded loaded = {0};

	file_write(folder, "client.conf", client);
	loaded = load(folder, NULL);
	assert_int_equal(loaded.err, -EINVAL);
	if (!strstr(loaded.why.data, words))
		fail_msg("\"%s\" is not in \"%s\"", words, loaded.why.data);
	assert_null(strchr(loaded.why.data, '\n'));
	assert_null(strstr(loaded.why.data, "hidden"));
}

static void test_a_file_of_radcli_is_read(void **state)
{
	struct folder *folder = *state;
	CLEANUP(loaded_done) struct loaded loaded = {0};

	file_write(folder, "servers",
		   "# the secrets\n"
		   "10.0.0.1\thidden1\n"
		   "me/Radius.example hidden2 \n"
		   "2001:DB8::1 hidden3");
	/* The last line has no newline: radcli takes a letter off it. */
	file_write(folder, "client.conf",
		   "# a comment\n\n"
		   "auth_order\tradius\n"
		   "authserver localhost\n"
		   "acctserver 10.0.0.1, radius.example:1646\n"
		   "acctserver [2001:db8:0::1]:1999 [::1] 10.0.0.2:1:a:b\r\n"
		   "acctserver ::1\n"
		   "servers servers\n"
		   "radius_retries 0\n"
		   "bindaddr 127.0.0.1\n"
		   "radius_timeout\t\t12");
	loaded = load(folder, NULL);
	assert_int_equal(loaded.err, -EINVAL);
	assert_non_null(strstr(loaded.why.data, "write `::1 SECRET`"));
	loaded_done(&loaded);

	file_write(folder, "servers",
		   "10.0.0.1 hidden1\n"
		   "me/Radius.example hidden2 \n"
		   "2001:DB8::1 hidden3\n::1 hidden4");
	loaded = load(folder, NULL);
	assert_int_equal(loaded.err, 0);
	assert_int_equal(loaded.warnings.len, 0);
	assert_int_equal(loaded.config.server_count, 6);
	assert_string_equal(loaded.config.servers[0].host, "10.0.0.1");
	assert_int_equal(loaded.config.servers[0].port, 1813);
	assert_string_equal(loaded.config.servers[0].secret, "hidden1");
	assert_string_equal(loaded.config.servers[1].host, "radius.example");
	assert_int_equal(loaded.config.servers[1].port, 1646);
	assert_string_equal(loaded.config.servers[1].secret, "hidden2");
	assert_string_equal(loaded.config.servers[2].host, "2001:db8:0::1");
	assert_int_equal(loaded.config.servers[2].port, 1999);
	assert_string_equal(loaded.config.servers[2].secret, "hidden3");
	assert_string_equal(loaded.config.servers[3].host, "::1");
	assert_string_equal(loaded.config.servers[3].secret, "hidden4");
	assert_int_equal(loaded.config.servers[4].port, 1);
	assert_string_equal(loaded.config.servers[4].secret, "a:b");
	assert_string_equal(loaded.config.servers[5].host, "::1");
	assert_int_equal(loaded.config.timeout_s, 12);
	assert_int_equal(loaded.config.retries, 0);
	assert_true(ip_is_loopback(&loaded.config.bind_ip));
}

static void test_servers_of_the_same_host_have_their_own_secrets(void **state)
{
	struct folder *folder = *state;
	CLEANUP(loaded_done) struct loaded loaded = {0};

	file_write(folder, "client.conf",
		   "acctserver 127.0.0.1:1:one,127.0.0.1:2:two\nbindaddr *\n");
	loaded = load(folder, NULL);
	assert_int_equal(loaded.err, 0);
	assert_string_equal(loaded.config.servers[0].secret, "one");
	assert_string_equal(loaded.config.servers[1].secret, "two");
	assert_int_equal(loaded.config.timeout_s, 10);
	assert_int_equal(loaded.config.retries, 3);
	assert_false(ip_is_set(&loaded.config.bind_ip));
}

static void test_what_is_wrong_is_said_in_one_line(void **state)
{
	struct folder *folder = *state;
	CLEANUP(loaded_done) struct loaded loaded = load(folder, NULL);

	assert_int_equal(loaded.err, -EINVAL);
	assert_non_null(strstr(loaded.why.data, "cannot read"));
	refuses(folder, "", "write `acctserver HOST[:PORT]`");
	refuses(folder, "authserver localhost\n", "write `acctserver");
	refuses(folder, "acctserver a\n", "write `servers FILE`");
	refuses(folder, "acctserver a\nservers gone\n", "gone: No such file");
	refuses(folder, "acctserver a:0:hidden\n", "client.conf:1: acctserver");
	refuses(folder, "acctserver a:hidden\n", "a port from 1 to 65535");
	refuses(folder, "acctserver [::1]1:hidden\n", "HOST[:PORT");
	refuses(folder, "acctserver [::1:1:hidden\n", "HOST[:PORT");
	refuses(folder, "acctserver :1:hidden\n", "HOST[:PORT");
	refuses(folder,
		"acctserver a:1:x a:1:x a:1:x a:1:x a:1:x a:1:x a:1:x "
		"a:1:x a:1:x\n",
		"at most 8");
	refuses(folder, "\nradius_timeout 0\n",
		"client.conf:2: radius_timeout is 1 to 3600 seconds, not "
		"\"0\"");
	refuses(folder, "radius_retries x\n", "not \"x\"");
	refuses(folder, "bindaddr eth0\n", "an IP address, not \"eth0\"");
	refuses(folder, "serv-type tls\n", "speaks udp, not \"tls\"");
	refuses(folder, "servers\n", "a path is missing");
	refuses(folder, "acctserver a:1:hidden\ndictionary gone\n",
		"gone: No such file");
	file_write(folder, "servers", "b hidden\n");
	refuses(folder, "acctserver a\nservers servers\n",
		"write `a SECRET` into");
	file_write(folder, "dictionary",
		   "# one\nATTRIBUTE A 1 string # x\n"
		   "ATTRIBUTE Class 25 octets\n");
	refuses(folder, "acctserver a:1:hidden\ndictionary dictionary\n",
		"not in radcli's format, line 3: write `ATTRIBUTE");
	file_write(folder, "dictionary", "VALUE x\n");
	refuses(folder, "acctserver a:1:hidden\ndictionary dictionary\n",
		"format: radcli tells syslog");
}

static void test_an_unknown_keyword_is_warned_of(void **state)
{
	struct folder *folder = *state;
	CLEANUP(loaded_done) struct loaded loaded = {0};

	file_write(folder, "client.conf",
		   "acctserver a:1:x\nradius_timout 3\n");
	loaded = load(folder, NULL);
	assert_int_equal(loaded.err, 0);
	assert_non_null(strstr(loaded.warnings.data,
			       "client.conf:2: unknown keyword "
			       "\"radius_timout\""));
}

static void
test_without_a_dictionary_the_numbers_are_the_usual_ones(void **state)
{
	struct folder *folder = *state;
	CLEANUP(loaded_done) struct loaded loaded = {0};

	file_write(folder, "client.conf", "acctserver a:1:x\n");
	loaded = load(folder, "/nowhere/dictionary");
	assert_int_equal(loaded.err, 0);
	assert_non_null(strstr(loaded.warnings.data, "/nowhere/dictionary"));
	assert_int_equal(loaded.config.codes[RADIUS_USER_NAME].type, 1);
	assert_int_equal(loaded.config.codes[RADIUS_SIP_FROM_TAG].type, 206);
	assert_int_equal(loaded.config.codes[RADIUS_SIP_APPLICATIONS].type,
			 236);
	assert_int_equal(loaded.config.codes[RADIUS_SIP_APPLICATIONS].vendor,
			 0);
}

static void test_a_dictionary_may_give_other_numbers(void **state)
{
	struct folder *folder = *state;
	CLEANUP(loaded_done) struct loaded loaded = {0};
	char additional[sizeof(folder->file)];

	file_write(folder, "client.conf",
		   "acctserver a:1:x\ndictionary dictionary\n");
	file_write(folder, "dictionary",
		   "ATTRIBUTE Other 206 integer\n"
		   "ATTRIBUTE User-Name 77 string\n"
		   "VENDOR Phones 4660\n");
	file_write(folder, "additional",
		   "ATTRIBUTE Sip-To-Tag 150 string\n"
		   "BEGIN-VENDOR Phones\n"
		   "ATTRIBUTE Media-Info 9 string\n"
		   "END-VENDOR Phones\n");
	strcpy(additional, path_in(folder, "additional"));
	loaded = load(folder, additional);
	assert_int_equal(loaded.err, 0);
	assert_int_equal(loaded.warnings.len, 0);
	assert_int_equal(loaded.config.codes[RADIUS_USER_NAME].type, 1);
	assert_int_equal(loaded.config.codes[RADIUS_SIP_FROM_TAG].type, 206);
	assert_int_equal(loaded.config.codes[RADIUS_SIP_TO_TAG].type, 150);
	assert_int_equal(loaded.config.codes[RADIUS_MEDIA_INFO].type, 9);
	assert_int_equal(loaded.config.codes[RADIUS_MEDIA_INFO].vendor, 4660);
}

static void test_an_attribute_that_is_no_text_is_refused(void **state)
{
	struct folder *folder = *state;

	file_write(folder, "dictionary", "ATTRIBUTE Media-Info 234 integer\n");
	refuses(folder, "acctserver a:1:hidden\ndictionary dictionary\n",
		"write `ATTRIBUTE Media-Info 234 string`");
}

static void
test_the_dictionary_that_we_ship_is_the_table_in_the_source(void **state)
{
	struct radius_code shipped[RADIUS_NAME_COUNT];
	struct radius_code built_in[RADIUS_NAME_COUNT];
	CLEANUP(buf_done) struct buf why = {0};

	(void)state;
	assert_int_equal(
		radius_dictionary_load(shipped, DICTIONARY, NULL, &why, &why),
		0);
	assert_int_equal(
		radius_dictionary_load(built_in, NULL, NULL, &why, &why), 0);
	for (size_t i = 0; i < RADIUS_NAME_COUNT; i++) {
		assert_int_equal(shipped[i].type, built_in[i].type);
		assert_int_equal(shipped[i].vendor, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_a_file_of_radcli_is_read),
		IN_FOLDER(test_servers_of_the_same_host_have_their_own_secrets),
		IN_FOLDER(test_what_is_wrong_is_said_in_one_line),
		IN_FOLDER(test_an_unknown_keyword_is_warned_of),
		IN_FOLDER(
			test_without_a_dictionary_the_numbers_are_the_usual_ones),
		IN_FOLDER(test_a_dictionary_may_give_other_numbers),
		IN_FOLDER(test_an_attribute_that_is_no_text_is_refused),
		cmocka_unit_test(
			test_the_dictionary_that_we_ship_is_the_table_in_the_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
