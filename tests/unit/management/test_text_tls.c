/* Management over TLS: who is let in, and who is thrown out again. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "daemon.h"
#include "management/text.h"
#include "net/certificate.h"
#include "net/conn.h"
#include "net/tls.h"
#include "version.h"

static const struct management_handlers handlers = {
	.summary = daemon_asked,
	.sessions = daemon_sessions,
};

/* A CA, a dispatcher, and a management client that goes as "relay". */
struct setup {
	struct daemon_world world;
	char folder[64], client_folder[80];
	struct passport passport;
	struct tls_context *server_tls, *client_tls;
	struct management_text *text;

	struct conn *conn;
	struct buf said;
	bool closed;
};

static struct tls_context *make_context(const char *folder, const char *name,
					const struct passport *passport)
{
	const struct tls_options options = {.certs_path = folder,
					    .name = name,
					    .passport = passport,
					    .security_level = -1};
	struct tls_context *context = NULL;
	const char *why = "";

	if (tls_context_new(&context, &options, &why) < 0)
		fail_msg("%s", why);
	return context;
}

static void make_certificates(struct setup *setup)
{
	const struct certificate_subject client = {"Example",
						   "monitor.example"};
	const char *why;

	strcpy(setup->folder, "/tmp/mp-test-text-XXXXXX");
	assert_non_null(mkdtemp(setup->folder));
	snprintf(setup->client_folder, sizeof(setup->client_folder),
		 "%s/client", setup->folder);
	assert_int_equal(certificate_init(setup->folder, NULL, 0, &why), 0);
	assert_int_equal(certificate_issue(setup->folder, NULL, "dispatcher",
					   NULL, 0, false, &why),
			 0);
	assert_int_equal(certificate_issue(setup->folder, setup->client_folder,
					   "relay", &client, 0, false, &why),
			 0);
}

static void setup_init(struct setup *setup, const char *passport)
{
	struct management_text_config config = {
		.verify_interval_us = 10 * US_PER_MS,
		.max_connections = 5,
	};

	*setup = (struct setup){0};
	world_init(&setup->world);
	make_certificates(setup);
	assert_int_equal(passport_parse(span_of(passport), &setup->passport),
			 0);
	setup->server_tls =
		make_context(setup->folder, "dispatcher", &setup->passport);
	setup->client_tls = make_context(setup->client_folder, "relay", NULL);
	config.tls = setup->server_tls;
	assert_int_equal(ip_parse(SPAN("127.0.0.1"), &config.listen.ip), 0);
	assert_int_equal(management_text_new(&setup->text, setup->world.loop,
					     &config, &handlers, &setup->world),
			 0);
}

static void remove_folder(const char *folder)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

static void setup_done(struct setup *setup)
{
	if (setup->conn)
		conn_close(setup->conn);
	management_text_free(setup->text);
	world_turns(&setup->world, 3);
	world_done(&setup->world);
	tls_context_free(setup->server_tls);
	tls_context_free(setup->client_tls);
	buf_done(&setup->said);
	remove_folder(setup->folder);
}

static void heard(struct conn *conn, struct span line, bool too_long, void *arg)
{
	struct setup *setup = arg;

	(void)conn;
	(void)too_long;
	buf_add(&setup->said, line);
	buf_char(&setup->said, '|');
}

static void hung_up(struct conn *conn, const char *why, void *arg)
{
	struct setup *setup = arg;

	(void)conn;
	(void)why;
	setup->closed = true;
	setup->conn = NULL;
}

static void dial(struct setup *setup, const struct tls_context *tls)
{
	static const struct conn_handlers client = {.line = heard,
						    .closed = hung_up};
	struct endpoint at = management_text_address(setup->text);

	assert_int_equal(conn_dial(&setup->conn, setup->world.loop, &at, tls,
				   &(struct conn_limits){0}, &client, setup),
			 0);
}

static struct management_text_counts counts_of(const struct setup *setup)
{
	struct management_text_counts counts;

	management_text_count(setup->text, &counts);
	return counts;
}

static void test_a_client_with_the_right_certificate_is_answered(void **state)
{
	struct setup setup;

	(void)state;
	setup_init(&setup, "O:Example, CN:*.example");
	dial(&setup, setup.client_tls);
	conn_write(setup.conn, SPAN("version\r\nquit\r\n"));
	world_wait(&setup.world, setup.closed);
	assert_string_equal(setup.said.data, MEDIAPROXY_VERSION "||");
	assert_int_equal(counts_of(&setup).failed, 0);
	setup_done(&setup);
}

static void test_a_client_with_the_wrong_passport_is_refused(void **state)
{
	struct setup setup;

	(void)state;
	setup_init(&setup, "CN:*.example.org");
	dial(&setup, setup.client_tls);
	conn_write(setup.conn, SPAN("version\r\n"));
	world_wait(&setup.world, setup.closed);
	world_wait(&setup.world, counts_of(&setup).failed == 1);
	assert_int_equal(setup.said.len, 0);
	assert_int_equal(counts_of(&setup).commands, 0);
	assert_int_equal(counts_of(&setup).connections, 0);
	setup_done(&setup);
}

static void test_a_client_without_tls_is_refused(void **state)
{
	struct setup setup;

	(void)state;
	setup_init(&setup, "None");
	dial(&setup, NULL);
	conn_write(setup.conn, SPAN("version\r\nversion\r\n"));
	world_wait(&setup.world, setup.closed);
	world_wait(&setup.world, counts_of(&setup).failed == 1);
	assert_int_equal(counts_of(&setup).commands, 0);
	setup_done(&setup);
}

static void test_who_shows_no_certificate_keeps_nobody_out(void **state)
{
	struct endpoint at;
	struct sockaddr_storage to;
	struct setup setup;
	socklen_t len;
	int mute[100];

	(void)state;
	setup_init(&setup, "None");
	at = management_text_address(setup.text);
	len = endpoint_to_sockaddr(&at, &to);
	for (int i = 0; i < 100; i++) {
		mute[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(mute[i], (struct sockaddr *)&to, len),
				 0);
	}
	world_wait(&setup.world, counts_of(&setup).accepted == 100);
	assert_int_equal(counts_of(&setup).connections, 16);
	dial(&setup, setup.client_tls);
	conn_write(setup.conn, SPAN("version\r\nquit\r\n"));
	world_wait(&setup.world, setup.closed);
	assert_string_equal(setup.said.data, MEDIAPROXY_VERSION "||");
	for (int i = 0; i < 100; i++)
		close(mute[i]);
	setup_done(&setup);
}

static void
test_a_revoked_client_is_thrown_out_while_it_is_connected(void **state)
{
	struct setup setup;
	char file[128];
	const char *why;

	(void)state;
	setup_init(&setup, "None");
	dial(&setup, setup.client_tls);
	conn_write(setup.conn, SPAN("version\r\n"));
	world_wait(&setup.world, setup.said.len > 0);
	assert_false(setup.closed);

	snprintf(file, sizeof(file), "%s/relay.crt", setup.client_folder);
	assert_int_equal(certificate_revoke(setup.folder, file, &why), 0);
	world_wait(&setup.world, setup.closed);
	assert_int_equal(counts_of(&setup).verifications_failed, 1);
	assert_int_equal(counts_of(&setup).connections, 0);
	setup_done(&setup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_client_with_the_right_certificate_is_answered),
		cmocka_unit_test(
			test_a_client_with_the_wrong_passport_is_refused),
		cmocka_unit_test(test_a_client_without_tls_is_refused),
		cmocka_unit_test(
			test_who_shows_no_certificate_keeps_nobody_out),
		cmocka_unit_test(
			test_a_revoked_client_is_thrown_out_while_it_is_connected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
