#include "accounting/database/dburi.h"

#include <errno.h>

#include "accounting/database/odbc_string.h"
#include "accounting/database/reason.h"
#include "base/cleanup.h"
#include "test.h"

static struct dburi parsed(const char *text)
{
	CLEANUP(buf_done) struct buf why = {0};
	struct dburi uri;

	if (dburi_parse(&uri, span_of(text), &why) < 0)
		fail_msg("%s: %s", text, why.data);
	return uri;
}

static void assert_refused(const char *text, const char *what)
{
	CLEANUP(buf_done) struct buf why = {0};
	struct dburi uri;

	assert_int_equal(dburi_parse(&uri, span_of(text), &why), -EINVAL);
	assert_non_null(strstr(why.data, what));
	assert_non_null(strstr(why.data, "allowed: scheme://"));
	assert_null(strstr(why.data, "hush"));
	assert_null(strchr(why.data, '\n'));
}

static void test_every_part_is_read(void **state)
{
	struct dburi uri = parsed("postgres://media:hush@db.example.com:5433/"
				  "cdr");

	assert_int_equal(uri.scheme, DBURI_POSTGRES);
	assert_string_equal(uri.user, "media");
	assert_string_equal(uri.password, "hush");
	assert_string_equal(uri.host, "db.example.com");
	assert_int_equal(uri.port, 5433);
	assert_string_equal(uri.database, "cdr");
}

static void test_user_password_and_port_may_be_left_out(void **state)
{
	struct dburi uri = parsed("mysql://db/cdr");

	assert_int_equal(uri.scheme, DBURI_MYSQL);
	assert_string_equal(uri.user, "");
	assert_string_equal(uri.host, "db");
	assert_int_equal(uri.port, 0);
	uri = parsed("mysql://media@db/cdr");
	assert_string_equal(uri.user, "media");
	assert_string_equal(uri.password, "");
	uri = parsed("postgres:///cdr");
	assert_string_equal(uri.host, "");
	assert_string_equal(uri.database, "cdr");
}

static void test_each_scheme_is_known(void **state)
{
	assert_int_equal(parsed("mssql://h/d").scheme, DBURI_MSSQL);
	assert_int_equal(parsed("sybase://h/d").scheme, DBURI_SYBASE);
	assert_int_equal(parsed("firebird://h/d").scheme, DBURI_FIREBIRD);
	assert_int_equal(parsed("maxdb://h/d").scheme, DBURI_MAXDB);
	assert_string_equal(dburi_scheme_name(DBURI_MAXDB), "maxdb");
}

static void test_percent_is_decoded_in_user_and_password(void **state)
{
	struct dburi uri = parsed("mysql://a%40b:%70%2F%3a%25%3F@h/d");

	assert_string_equal(uri.user, "a@b");
	assert_string_equal(uri.password, "p/:%?");
	assert_string_equal(parsed("mysql://u:50%@h/d").password, "50%");
	assert_string_equal(parsed("mysql://u:5%4@h/d").password, "5%4");
	assert_refused("mysql://u:hush%00@h/d", "user and password");
}

static void test_a_password_need_not_be_encoded_where_it_is_clear(void **state)
{
	struct dburi uri = parsed("mysql://u:p@ss:w/rd?@h:3307/d?charset=utf8");

	assert_string_equal(uri.password, "p@ss:w/rd?");
	assert_string_equal(uri.host, "h");
	assert_int_equal(uri.port, 3307);
	assert_string_equal(uri.database, "d");
}

static void test_an_ipv6_host_stands_in_brackets(void **state)
{
	struct dburi uri = parsed("postgres://u:p@[2001:db8::1]:5433/d");

	assert_string_equal(uri.host, "2001:db8::1");
	assert_int_equal(uri.port, 5433);
	assert_int_equal(parsed("postgres://[::1]/d").port, 0);
	assert_refused("postgres://u:hush@[::1/d", "host");
	assert_refused("postgres://u:hush@[::1]x/d", "host");
}

static void test_sqlite_has_an_absolute_path(void **state)
{
	struct dburi uri = parsed("sqlite:///var/lib/cdr%20x.db?timeout=5");

	assert_int_equal(uri.scheme, DBURI_SQLITE);
	assert_string_equal(uri.database, "/var/lib/cdr x.db");
	assert_string_equal(parsed("sqlite:////a@b.db").database, "//a@b.db");
	assert_refused("sqlite://relative/path", "three slashes");
	assert_refused("sqlite:///", "needs a path");
}

static void
test_a_firebird_path_keeps_its_slash_and_an_alias_has_none(void **state)
{
	assert_string_equal(parsed("firebird://h/srv/cdr.fdb").database,
			    "/srv/cdr.fdb");
	assert_string_equal(parsed("firebird://h/cdr").database, "cdr");
}

static void test_useful_parameters_are_read_and_others_ignored(void **state)
{
	struct dburi uri = parsed("mysql://u:p@localhost/d?charset=utf8&"
				  "unix_socket=%2Frun%2Fx.sock&sqlobject&x=");

	assert_string_equal(uri.unix_socket, "/run/x.sock");
	assert_string_equal(uri.database, "d");
	assert_string_equal(parsed("postgres://h/d?sslmode=require").sslmode,
			    "require");
}

static void test_a_data_source_is_handed_through(void **state)
{
	struct dburi uri = parsed("odbc:cdr;UID=media;pwd={hush;};X=1");

	assert_int_equal(uri.scheme, DBURI_ODBC);
	assert_string_equal(uri.database, "cdr");
	assert_string_equal(uri.attributes, "UID=media;pwd={hush;};X=1");
	uri = parsed("odbc:cdr;UID=media;PWD=hush");
	assert_string_equal(uri.password, "hush");
	uri = parsed("odbc:cdr;X;Y={PWD=no;};PWD = {h=u;s}}h};UID=media");
	assert_string_equal(uri.password, "h=u;s}h");
	assert_string_equal(parsed("odbc:cdr;PWD={hu}}").password, "hu}");
	assert_string_equal(parsed("odbc:cdr;PWD={hush").password, "hush");
	assert_string_equal(parsed("odbc:cdr;pwd= hush ;X").password, "hush");
	assert_string_equal(parsed("odbc:cdr;PWD=;X=y").password, "");
	assert_string_equal(parsed("odbc:cdr").attributes, "");
	assert_refused("odbc:", "data source");
	assert_refused("odbc:;PWD=hush", "data source");
	assert_refused("odbc:UID=x;PWD=hush", "data source");
}

static void test_what_is_wrong_is_said_without_the_password(void **state)
{
	char longest[CONF_MAX_TEXT + 1];

	assert_refused("", "no scheme");
	assert_refused("hush", "no scheme");
	assert_refused("oracle://u:hush@h/d", "scheme is unknown");
	assert_refused("MySQL://u:hush@h/d", "scheme is unknown");
	assert_refused("mysql:u:hush@h/d", "no //");
	assert_refused("mysql://u:hush@h", "no /database");
	assert_refused("mysql://u:hush@h/", "no database");
	assert_refused("mysql://u:hush@h:0/d", "host or its port");
	assert_refused("mysql://u:hush@h:65536/d", "host or its port");
	assert_refused("mysql://u:hush@h:x/d", "host or its port");
	memset(longest, 'x', sizeof(longest));
	longest[CONF_MAX_TEXT] = '\0';
	assert_refused(longest, "too long");
}

static void assert_string(const char *dburi, const char *expected)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct dburi uri = parsed(dburi);

	odbc_string_make(&out, &uri,
			 uri.scheme == DBURI_ODBC
				 ? NULL
				 : odbc_string_drivers(uri.scheme)[0]);
	assert_string_equal(out.data, expected);
}

static void test_connection_strings_of_each_server(void **state)
{
	assert_string("mysql://u:p@h/d?unix_socket=/s",
		      "DRIVER={MariaDB Unicode};SERVER=h;PORT=3306;DATABASE=d;"
		      "SOCKET=/s;CHARSET=utf8mb4;CONN_TIMEOUT=10;"
		      "READ_TIMEOUT=60;WRITE_TIMEOUT=60;UID=u;PWD=p;");
	assert_string("postgres://u:p@[::1]/d?sslmode=require",
		      "DRIVER={PostgreSQL Unicode};SERVER=::1;PORT=5432;"
		      "DATABASE=d;SSLmode=require;Protocol=7.4-0;"
		      "ByteaAsLongVarBinary=1;LFConversion=0;"
		      "pqopt={connect_timeout=10 keepalives_idle=30 "
		      "keepalives_interval=10 keepalives_count=3 "
		      "tcp_user_timeout=60000};UID=u;PWD=p;");
	assert_string("mssql://u:p@h:1434/d",
		      "DRIVER={FreeTDS};SERVER=h;PORT=1434;DATABASE=d;"
		      "TDS_Version=7.4;ClientCharset=UTF-8;UID=u;PWD=p;");
	assert_string("sybase://u:p@h/d",
		      "DRIVER={FreeTDS};SERVER=h;PORT=5000;DATABASE=d;"
		      "TDS_Version=5.0;ClientCharset=UTF-8;UID=u;PWD=p;");
	assert_string("firebird://u:p@h/srv/d.fdb",
		      "DRIVER={Firebird};DBNAME=h/3050:/srv/d.fdb;"
		      "CHARSET=UTF8;UID=u;PWD=p;");
	assert_string("maxdb://u:p@h/d",
		      "DRIVER={MaxDB};SERVERNODE=h:7210;SERVERDB=d;UID=u;"
		      "PWD=p;");
	assert_string("odbc:cdr;UID=u;PWD=p", "DSN=cdr;UID=u;PWD=p");
}

static void test_no_password_adds_an_attribute(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};
	struct dburi uri = parsed("mssql://u:x%7D;SERVER=evil;a=%7B@h/d;x");

	odbc_string_make(&out, &uri, "FreeTDS");
	assert_non_null(strstr(out.data, "PWD={x}};SERVER=evil;a={};"));
	assert_non_null(strstr(out.data, "DATABASE={d;x};"));
}

static void test_a_reason_is_one_line_without_the_password(void **state)
{
	CLEANUP(buf_done) struct buf out = {0};

	reason_add(&out, SPAN("no\nhu}sh\tPWD={hu}}sh}; hu}s"), "hu}sh");
	assert_string_equal(out.data, "no *** PWD={***}; hu}s");
	buf_reset(&out);
	reason_add(&out, SPAN("no password"), "");
	assert_string_equal(out.data, "no password");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_part_is_read),
		cmocka_unit_test(test_user_password_and_port_may_be_left_out),
		cmocka_unit_test(test_each_scheme_is_known),
		cmocka_unit_test(test_percent_is_decoded_in_user_and_password),
		cmocka_unit_test(
			test_a_password_need_not_be_encoded_where_it_is_clear),
		cmocka_unit_test(test_an_ipv6_host_stands_in_brackets),
		cmocka_unit_test(test_sqlite_has_an_absolute_path),
		cmocka_unit_test(
			test_a_firebird_path_keeps_its_slash_and_an_alias_has_none),
		cmocka_unit_test(
			test_useful_parameters_are_read_and_others_ignored),
		cmocka_unit_test(test_a_data_source_is_handed_through),
		cmocka_unit_test(
			test_what_is_wrong_is_said_without_the_password),
		cmocka_unit_test(test_connection_strings_of_each_server),
		cmocka_unit_test(test_no_password_adds_an_attribute),
		cmocka_unit_test(
			test_a_reason_is_one_line_without_the_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
