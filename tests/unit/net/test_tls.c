#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/passport.h"
#include "net/tls.h"
#include "pki.h"
#include "world.h"

/* The dispatcher accepts, the relay dials, over a socket pair of TCP. */
struct tls {
	struct world world;
	struct pki pki;
	struct tls_context *dispatcher, *relay;
	struct end server, client;
	struct passport passport;
	bool crl_strict, check_extended_key_usage;
};

static void tls_init(struct tls *tls)
{
	*tls = (struct tls){0};
	world_init(&tls->world);
	pki_init(&tls->pki);
	tls->server.world = tls->client.world = &tls->world;
}

static struct tls_context *load(const struct tls *tls, const char *folder,
				const char *name,
				const struct passport *passport)
{
	const struct tls_options options = {
		.certs_path = folder,
		.name = name,
		.passport = passport,
		.crl_strict = tls->crl_strict,
		.check_extended_key_usage = tls->check_extended_key_usage,
		.security_level = -1};
	struct tls_context *context = NULL;
	const char *why = "";

	if (tls_context_new(&context, &options, &why) < 0)
		fail_msg("%s", why);
	return context;
}

/* The passport is what the dispatcher wants of the relay. */
static void tls_load(struct tls *tls, const char *passport)
{
	assert_int_equal(passport_parse(span_of(passport), &tls->passport), 0);
	tls->dispatcher = load(tls, tls->pki.ca, "dispatcher", &tls->passport);
	tls->relay = load(tls, tls->pki.relay, "relay", NULL);
}

/* A connected pair of TCP sockets, so that the options of TCP are met, too. */
static void tcp_pair(int fds[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&at, &len);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&at, len), 0);
	fds[1] = accept(listener, NULL, NULL);
	assert_true(fds[1] >= 0);
	close(listener);
}

static int listen_on_loopback(struct endpoint *ret_at)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	getsockname(fd, (struct sockaddr *)&at, &len);
	*ret_at = endpoint_from_sockaddr(&at);
	return fd;
}

static void tls_accept(struct tls *tls, int fd,
		       const struct conn_limits *limits)
{
	assert_int_equal(conn_accept(&tls->server.conn, tls->world.loop, fd,
				     tls->dispatcher, limits, &end_handlers,
				     &tls->server),
			 0);
}

static void tls_connect(struct tls *tls)
{
	struct endpoint to;
	int listener = listen_on_loopback(&to);

	assert_int_equal(conn_dial(&tls->client.conn, tls->world.loop, &to,
				   tls->relay, NULL, &end_handlers,
				   &tls->client),
			 0);
	tls_accept(tls, accept(listener, NULL, NULL), NULL);
	close(listener);
}

static void tls_done(struct tls *tls)
{
	end_done(&tls->server);
	end_done(&tls->client);
	world_turns(&tls->world, 5);
	timer_free(tls->world.watchdog);
	loop_free(tls->world.loop);
	tls_context_free(tls->dispatcher);
	tls_context_free(tls->relay);
	pki_done(&tls->pki);
}

static void test_two_sides_with_certificates_of_one_ca_speak(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "O:Example, CN:relay*");
	tls.server.echo = true;
	tls_connect(&tls);
	conn_write(tls.client.conn, SPAN("early\r\n"));
	assert_true(world_wait(&tls.world, &tls.client.lines, 1));
	assert_text(&tls.server, "early|");
	assert_text(&tls.client, "early|");
	assert_int_equal(tls.server.ready, 1);
	assert_null(tls_context_warning(tls.dispatcher));

	conn_close(tls.client.conn);
	tls.client.conn = NULL;
	assert_true(world_wait(&tls.world, &tls.server.closed, 1));
	assert_string_equal(tls.server.why, "closed by peer");
	tls_done(&tls);
}

static void test_thousands_of_lines_go_both_ways_in_order(void **state)
{
	struct tls tls;
	char line[32];

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tls.server.echo = true;
	tls_connect(&tls);
	for (int i = 0; i < 20000; i++) {
		snprintf(line, sizeof(line), "line %d\r\n", i);
		conn_write(tls.client.conn, span_of(line));
	}
	assert_true(world_wait(&tls.world, &tls.client.lines, 20000));
	assert_true(span_equal(buf_span(&tls.client.text),
			       buf_span(&tls.server.text)));
	assert_true(span_starts_with(buf_span(&tls.client.text),
				     SPAN("line 0|line 1|")));
	tls_done(&tls);
}

static void test_a_four_megabyte_line_comes_whole(void **state)
{
	const size_t len = 4 * 1024 * 1024;
	char *line = malloc(len);
	struct endpoint to;
	struct tls tls;
	int listener;

	(void)state;
	memset(line, 'j', len);
	tls_init(&tls);
	tls_load(&tls, "None");
	listener = listen_on_loopback(&to);
	assert_int_equal(conn_dial(&tls.client.conn, tls.world.loop, &to,
				   tls.relay, NULL, &end_handlers, &tls.client),
			 0);
	tls_accept(&tls, accept(listener, NULL, NULL),
		   &(struct conn_limits){.max_line = len});
	close(listener);
	conn_write(tls.client.conn, span_make(line, len));
	conn_write(tls.client.conn, SPAN("\r\n"));
	assert_true(world_wait(&tls.world, &tls.server.lines, 1));
	assert_int_equal(tls.server.text.len, len + 1);
	assert_int_equal(tls.server.too_long, 0);
	free(line);
	tls_done(&tls);
}

/* What OpenSSL has read ahead does not make the socket readable. */
static void
test_a_resumed_connection_misses_nothing_that_tls_holds(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tls_connect(&tls);
	tls.server.pause_after = 1;
	for (int i = 0; i < 30000; i++)
		conn_write(tls.client.conn, SPAN("0123456789\r\n"));
	assert_true(world_wait(&tls.world, &tls.server.lines, 1));
	world_turns(&tls.world, 20);
	assert_int_equal(tls.server.lines, 1);
	conn_resume(tls.server.conn);
	assert_true(world_wait(&tls.world, &tls.server.lines, 30000));
	tls_done(&tls);
}

static void test_lines_and_the_close_behind_them_come_in_order(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tls_connect(&tls);
	assert_true(world_wait(&tls.world, &tls.client.ready, 1));
	for (int i = 0; i < 5000; i++)
		conn_write(tls.client.conn, SPAN("expired {}\r\n"));
	conn_close(tls.client.conn);
	tls.client.conn = NULL;
	assert_true(world_wait(&tls.world, &tls.server.closed, 1));
	assert_int_equal(tls.server.lines, 5000);
	assert_string_equal(tls.server.why, "closed by peer");
	tls_done(&tls);
}

static void expect_refusal(struct tls *tls, const char *server_says,
			   const char *client_says)
{
	tls_connect(tls);
	assert_true(world_wait(&tls->world, &tls->server.closed, 1));
	assert_true(world_wait(&tls->world, &tls->client.closed, 1));
	assert_int_equal(tls->server.ready, 0);
	if (!strstr(tls->server.why, server_says))
		fail_msg("server: %s", tls->server.why);
	if (!strstr(tls->client.why, client_says))
		fail_msg("client: %s", tls->client.why);
}

static void test_a_wrong_passport_names_the_attribute(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "O:Example, CN:media*");
	expect_refusal(
		&tls,
		"passport does not match: CN is \"relay1\", not \"media*\"",
		"refused by the peer");
	tls_done(&tls);
}

static void test_a_passport_for_an_attribute_that_is_missing_fails(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "OU:relays");
	expect_refusal(&tls, "passport does not match: OU", "refused");
	tls_done(&tls);
}

static void revoke_relay(struct tls *tls)
{
	const char *why;

	assert_int_equal(
		certificate_revoke(tls->pki.ca,
				   pki_path(tls->pki.relay, "relay.crt"), &why),
		0);
}

static void test_a_revoked_certificate_is_refused(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	revoke_relay(&tls);
	tls_load(&tls, "None");
	expect_refusal(&tls, "certificate revoked", "certificate revoked");
	tls_done(&tls);
}

static void
test_an_expired_certificate_is_refused_and_its_owner_warned(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	pki_redate(&tls.pki, pki_path(tls.pki.relay, "relay.crt"), -7200,
		   -3600);
	tls_load(&tls, "None");
	assert_non_null(strstr(tls_context_warning(tls.relay), "relay.crt: "));
	expect_refusal(&tls, "certificate has expired", "certificate expired");
	tls_done(&tls);
}

static void test_a_certificate_of_another_ca_is_refused(void **state)
{
	struct pki other;
	struct tls tls;

	(void)state;
	tls_init(&tls);
	pki_init(&other);
	tls_load(&tls, "None");
	tls_context_free(tls.relay);
	tls.relay = load(&tls, other.relay, "relay", NULL);
	tls_connect(&tls);
	assert_true(world_wait(&tls.world, &tls.client.closed, 1));
	assert_true(world_wait(&tls.world, &tls.server.closed, 1));
	assert_non_null(strstr(tls.client.why, "certificate verify failed: "));
	assert_non_null(strstr(tls.server.why, "refused by the peer"));
	assert_int_equal(tls.client.ready + tls.server.ready, 0);
	pki_done(&other);
	tls_done(&tls);
}

static void test_an_expired_crl_lets_in_and_still_revokes(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	pki_redate_crl(&tls.pki, -3600);
	tls_load(&tls, "None");
	assert_non_null(strstr(tls_context_warning(tls.dispatcher),
			       "crl.pem expired on "));
	tls_connect(&tls);
	assert_true(world_wait(&tls.world, &tls.server.ready, 1));
	end_done(&tls.client);
	assert_true(world_wait(&tls.world, &tls.server.closed, 1));
	tls_done(&tls);

	tls_init(&tls);
	revoke_relay(&tls);
	pki_redate_crl(&tls.pki, -3600);
	tls_load(&tls, "None");
	expect_refusal(&tls, "certificate revoked", "certificate revoked");
	tls_done(&tls);
}

static void test_an_expired_crl_refuses_everybody_when_strict(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	tls.crl_strict = true;
	pki_redate_crl(&tls.pki, -3600);
	tls_load(&tls, "None");
	expect_refusal(&tls, "CRL has expired", "refused by the peer");
	tls_done(&tls);
}

static void test_a_client_that_never_speaks_is_closed(void **state)
{
	struct tls tls;
	int fds[2];

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tcp_pair(fds);
	tls_accept(&tls, fds[1], &(struct conn_limits){.handshake_us = 20000});
	assert_true(world_wait(&tls.world, &tls.server.closed, 1));
	assert_string_equal(tls.server.why, "no TLS handshake within 20 ms");
	close(fds[0]);
	tls_done(&tls);
}

static void test_a_client_that_speaks_no_tls_is_told_apart(void **state)
{
	struct tls tls;
	int fds[2];

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tcp_pair(fds);
	assert_int_equal(write(fds[0], "summary\r\n", 9), 9);
	tls_accept(&tls, fds[1], NULL);
	assert_true(world_wait(&tls.world, &tls.server.closed, 1));
	assert_non_null(strstr(tls.server.why, "TLS: wrong version number"));
	close(fds[0]);
	tls_done(&tls);
}

static void
test_a_client_that_leaves_in_the_handshake_is_told_apart(void **state)
{
	struct tls tls;
	int fds[2];

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tcp_pair(fds);
	close(fds[0]);
	tls_accept(&tls, fds[1], NULL);
	assert_true(world_wait(&tls.world, &tls.server.closed, 1));
	assert_string_equal(tls.server.why,
			    "closed by peer during the TLS handshake");
	tls_done(&tls);
}

static void test_a_revocation_is_seen_while_the_connection_is_up(void **state)
{
	const char *why = NULL;
	struct tls tls;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tls_connect(&tls);
	assert_true(world_wait(&tls.world, &tls.server.ready, 1));
	assert_int_equal(conn_verify_again(tls.server.conn, &why), 0);
	revoke_relay(&tls);
	assert_int_equal(conn_verify_again(tls.server.conn, &why), 0);
	assert_int_equal(tls_context_reload(tls.dispatcher, &why), 0);
	assert_int_equal(conn_verify_again(tls.server.conn, &why), -EACCES);
	assert_non_null(strstr(why, "certificate revoked"));
	assert_non_null(strstr(why, "CN=relay1"));
	/* The relay's own files know nothing of it. */
	assert_int_equal(conn_verify_again(tls.client.conn, &why), 0);
	tls_done(&tls);
}

static void
test_a_changed_passport_is_seen_while_the_connection_is_up(void **state)
{
	const char *why = NULL;
	struct tls tls;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tls_connect(&tls);
	assert_true(world_wait(&tls.world, &tls.server.ready, 1));
	assert_int_equal(passport_parse(SPAN("O:Else*"), &tls.passport), 0);
	assert_int_equal(conn_verify_again(tls.server.conn, &why), -EACCES);
	assert_non_null(strstr(why, "O is \"Example\", not \"Else*\""));
	tls_done(&tls);
}

static void test_a_reload_that_fails_leaves_the_old_files_in_force(void **state)
{
	const char *why = NULL;
	struct tls tls;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	pki_write(pki_path(tls.pki.ca, "crl.pem"), "rubbish\n");
	assert_int_equal(tls_context_reload(tls.dispatcher, &why), -EINVAL);
	assert_non_null(strstr(why, "crl.pem: "));
	tls_connect(&tls);
	assert_true(world_wait(&tls.world, &tls.server.ready, 1));
	tls_done(&tls);
}

static void expect_load_error(struct tls *tls, const char *expected)
{
	const struct tls_options options = {.certs_path = tls->pki.relay,
					    .name = "relay",
					    .security_level = -1};
	struct tls_context *context = NULL;
	const char *why = "";

	assert_int_equal(tls_context_new(&context, &options, &why), -EINVAL);
	assert_null(context);
	if (!strstr(why, expected))
		fail_msg("%s", why);
}

static void test_files_that_are_missing_or_wrong_are_named(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	remove(pki_path(tls.pki.relay, "crl.pem"));
	expect_load_error(&tls, "/crl.pem: No such file or directory "
				"(`mediaproxy certs init`");
	pki_write(pki_path(tls.pki.relay, "crl.pem"), "rubbish\n");
	expect_load_error(&tls, "/crl.pem: no start line");
	remove(pki_path(tls.pki.relay, "relay.key"));
	tls_done(&tls);

	tls_init(&tls);
	remove(pki_path(tls.pki.relay, "relay.key"));
	expect_load_error(&tls, "/relay.key: No such file");
	tls_done(&tls);

	tls_init(&tls);
	pki_write(pki_path(tls.pki.relay, "ca.pem"), "rubbish\n");
	expect_load_error(&tls, "/ca.pem: ");
	tls_done(&tls);
}

static void test_a_weak_key_names_the_option_that_allows_it(void **state)
{
	struct tls_options options = {.name = "relay", .security_level = 0};
	const char *why = "";
	struct tls tls;

	(void)state;
	tls_init(&tls);
	pki_make_weak(&tls.pki);
	expect_load_error(&tls, "security_level");
	tls.dispatcher = load(&tls, tls.pki.ca, "dispatcher", NULL);
	options.certs_path = tls.pki.relay;
	assert_int_equal(tls_context_new(&tls.relay, &options, &why), 0);
	expect_refusal(&tls,
		       "EE certificate key too weak (CN=relay1,O=Example)"
		       "; a lower security_level allows it",
		       "refused");
	tls_done(&tls);
}

static void test_extended_key_usage_is_checked_only_when_asked(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	pki_set_usage(&tls.pki, pki_path(tls.pki.relay, "relay.crt"),
		      "serverAuth");
	tls_load(&tls, "None");
	tls_connect(&tls);
	assert_true(world_wait(&tls.world, &tls.server.ready, 1));
	tls_done(&tls);

	tls_init(&tls);
	tls.check_extended_key_usage = true;
	pki_set_usage(&tls.pki, pki_path(tls.pki.relay, "relay.crt"),
		      "serverAuth");
	tls_load(&tls, "None");
	expect_refusal(&tls, "certificate verify failed: ", "refused");
	tls_done(&tls);
}

/* A client of the test's own, for what ours would not do. */

static SSL *raw_client(struct tls *tls, int fd, int version)
{
	SSL_CTX *ssl_ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;

	SSL_CTX_set_security_level(ssl_ctx, 0);
	SSL_CTX_set_min_proto_version(ssl_ctx, version);
	SSL_CTX_set_max_proto_version(ssl_ctx, version);
	assert_int_equal(
		SSL_CTX_use_certificate_chain_file(
			ssl_ctx, pki_path(tls->pki.relay, "relay.crt")),
		1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(
				 ssl_ctx, pki_path(tls->pki.relay, "relay.key"),
				 SSL_FILETYPE_PEM),
			 1);
	ssl = SSL_new(ssl_ctx);
	SSL_CTX_free(ssl_ctx);
	SSL_set_fd(ssl, fd);
	SSL_set_connect_state(ssl);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return ssl;
}

/* @return what SSL_do_handshake() came to, 1 is success */
static int handshake(struct tls *tls, SSL *ssl)
{
	int r = 0;

	for (int i = 0; i < 1000; i++) {
		ERR_clear_error();
		r = SSL_do_handshake(ssl);
		if (r == 1 || SSL_get_error(ssl, r) != SSL_ERROR_WANT_READ)
			break;
		world_turns(&tls->world, 1);
	}
	return r;
}

/* Half a close, by close_notify: `openssl s_client` and Python do that. */
static void
test_a_tls_client_that_has_sent_all_still_gets_its_answers(void **state)
{
	char text[32] = "";
	struct tls tls;
	int fds[2];
	SSL *ssl;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tls.server.echo = true;
	tls.server.pause_after = 1;
	tcp_pair(fds);
	ssl = raw_client(&tls, fds[0], TLS1_3_VERSION);
	tls_accept(&tls, fds[1], NULL);
	assert_int_equal(handshake(&tls, ssl), 1);
	assert_int_equal(SSL_write(ssl, "1\r\n2\r\n", 6), 6);
	assert_int_equal(SSL_shutdown(ssl), 0);
	assert_true(world_wait(&tls.world, &tls.server.lines, 1));
	world_turns(&tls.world, 5);
	conn_resume(tls.server.conn);
	assert_true(world_wait(&tls.world, &tls.server.closed, 1));
	world_turns(&tls.world, 5);
	for (int len = 0, n = 0; len < 6; len += n) {
		n = SSL_read(ssl, text + len, 6);
		assert_true(n > 0);
	}
	assert_string_equal(text, "1\r\n2\r\n");
	SSL_free(ssl);
	close(fds[0]);
	tls_done(&tls);
}

static void expect_nothing_to_resume(int version)
{
	struct tls tls;
	int fds[2];
	SSL *ssl;
	char c;

	tls_init(&tls);
	tls_load(&tls, "None");
	tcp_pair(fds);
	ssl = raw_client(&tls, fds[0], version);
	tls_accept(&tls, fds[1], NULL);
	assert_int_equal(handshake(&tls, ssl), 1);
	assert_true(world_wait(&tls.world, &tls.server.ready, 1));
	/* TLS 1.3 sends its tickets after the handshake. */
	world_turns(&tls.world, 3);
	assert_int_equal(SSL_read(ssl, &c, 1), -1);
	assert_false(SSL_SESSION_is_resumable(SSL_get_session(ssl)));
	SSL_free(ssl);
	close(fds[0]);
	tls_done(&tls);
}

static void test_no_session_can_be_resumed(void **state)
{
	(void)state;
	expect_nothing_to_resume(TLS1_2_VERSION);
	expect_nothing_to_resume(TLS1_3_VERSION);
}

static void test_a_renegotiation_is_refused(void **state)
{
	struct tls tls;
	int fds[2];
	SSL *ssl;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tcp_pair(fds);
	ssl = raw_client(&tls, fds[0], TLS1_2_VERSION);
	tls_accept(&tls, fds[1], NULL);
	assert_int_equal(handshake(&tls, ssl), 1);
	assert_true(world_wait(&tls.world, &tls.server.ready, 1));
	assert_int_equal(SSL_renegotiate(ssl), 1);
	assert_int_equal(handshake(&tls, ssl), -1);
	assert_int_equal(SSL_get_error(ssl, -1), SSL_ERROR_SSL);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
			 SSL_R_NO_RENEGOTIATION);
	SSL_free(ssl);
	close(fds[0]);
	tls_done(&tls);
}

static void test_tls_1_1_is_refused(void **state)
{
	struct tls tls;
	int fds[2];
	SSL *ssl;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tcp_pair(fds);
	ssl = raw_client(&tls, fds[0], TLS1_1_VERSION);
	tls_accept(&tls, fds[1], NULL);
	assert_int_equal(handshake(&tls, ssl), -1);
	assert_true(world_wait(&tls.world, &tls.server.closed, 1));
	assert_string_equal(tls.server.why, "TLS: unsupported protocol");
	SSL_free(ssl);
	close(fds[0]);
	tls_done(&tls);
}

static void test_a_client_without_a_certificate_is_refused(void **state)
{
	SSL_CTX *ssl_ctx = SSL_CTX_new(TLS_client_method());
	struct tls tls;
	int fds[2];
	SSL *ssl;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tcp_pair(fds);
	ssl = SSL_new(ssl_ctx);
	SSL_set_fd(ssl, fds[0]);
	SSL_set_connect_state(ssl);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	tls_accept(&tls, fds[1], NULL);
	handshake(&tls, ssl);
	assert_true(world_wait(&tls.world, &tls.server.closed, 1));
	assert_string_equal(tls.server.why,
			    "TLS: peer did not return a certificate");
	assert_int_equal(tls.server.ready, 0);
	SSL_free(ssl);
	SSL_CTX_free(ssl_ctx);
	close(fds[0]);
	tls_done(&tls);
}

static void test_a_slow_tls_peer_pauses_and_goes_on(void **state)
{
	struct tls tls;

	(void)state;
	tls_init(&tls);
	tls_load(&tls, "None");
	tls.server.answer_bytes = 700000;
	tls_connect(&tls);
	assert_true(world_wait(&tls.world, &tls.client.ready, 1));
	assert_true(world_wait(&tls.world, &tls.server.ready, 1));
	conn_pause(tls.client.conn);
	for (int i = 0; i < 40; i++)
		conn_write(tls.client.conn, SPAN("give\r\n"));
	world_turns(&tls.world, 200);
	assert_true(tls.server.lines < 40);
	assert_true(conn_pending(tls.server.conn) > 100000);
	conn_resume(tls.client.conn);
	assert_true(world_wait(&tls.world, &tls.server.lines, 40));
	tls_done(&tls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_two_sides_with_certificates_of_one_ca_speak),
		cmocka_unit_test(test_thousands_of_lines_go_both_ways_in_order),
		cmocka_unit_test(test_a_four_megabyte_line_comes_whole),
		cmocka_unit_test(
			test_a_resumed_connection_misses_nothing_that_tls_holds),
		cmocka_unit_test(
			test_lines_and_the_close_behind_them_come_in_order),
		cmocka_unit_test(
			test_a_tls_client_that_has_sent_all_still_gets_its_answers),
		cmocka_unit_test(test_a_wrong_passport_names_the_attribute),
		cmocka_unit_test(
			test_a_passport_for_an_attribute_that_is_missing_fails),
		cmocka_unit_test(test_a_revoked_certificate_is_refused),
		cmocka_unit_test(
			test_an_expired_certificate_is_refused_and_its_owner_warned),
		cmocka_unit_test(test_a_certificate_of_another_ca_is_refused),
		cmocka_unit_test(test_an_expired_crl_lets_in_and_still_revokes),
		cmocka_unit_test(
			test_an_expired_crl_refuses_everybody_when_strict),
		cmocka_unit_test(test_a_client_that_never_speaks_is_closed),
		cmocka_unit_test(
			test_a_client_that_speaks_no_tls_is_told_apart),
		cmocka_unit_test(
			test_a_client_that_leaves_in_the_handshake_is_told_apart),
		cmocka_unit_test(
			test_a_revocation_is_seen_while_the_connection_is_up),
		cmocka_unit_test(
			test_a_changed_passport_is_seen_while_the_connection_is_up),
		cmocka_unit_test(
			test_a_reload_that_fails_leaves_the_old_files_in_force),
		cmocka_unit_test(
			test_files_that_are_missing_or_wrong_are_named),
		cmocka_unit_test(
			test_a_weak_key_names_the_option_that_allows_it),
		cmocka_unit_test(
			test_extended_key_usage_is_checked_only_when_asked),
		cmocka_unit_test(test_no_session_can_be_resumed),
		cmocka_unit_test(test_a_renegotiation_is_refused),
		cmocka_unit_test(test_tls_1_1_is_refused),
		cmocka_unit_test(
			test_a_client_without_a_certificate_is_refused),
		cmocka_unit_test(test_a_slow_tls_peer_pauses_and_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
