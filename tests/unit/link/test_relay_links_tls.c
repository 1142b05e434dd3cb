#include <stdio.h>

#include "../net/pki.h"
#include "base/clock.h"
#include "base/log.h"
#include "link/relay_links.h"
#include "net/conn.h"
#include "net/listener.h"
#include "test.h"

#define MS US_PER_MS

static struct pki pki;
static struct loop *loop;
static struct listener *listener;
static struct conn *peer; /* the dispatcher's end */
static struct tls_context *dispatcher_tls, *relay_tls;
static struct relay_links *links;
static struct relay_links_config config;
static struct conf_host_list hosts;
static struct passport passport;

static void on_line(struct conn *conn, struct span line, bool too_long,
		    void *arg)
{
	(void)too_long;
	(void)arg;
	if (span_starts_with(line, SPAN("ping")))
		conn_write(conn, SPAN("pong\r\n"));
}

static void on_closed(struct conn *conn, const char *why, void *arg)
{
	(void)why;
	(void)arg;
	if (peer == conn)
		peer = NULL;
}

static void on_accept(int fd, const struct endpoint *from, void *arg)
{
	static const struct conn_handlers handlers = {NULL, on_line, on_closed};

	(void)from;
	(void)arg;
	if (peer)
		conn_close(peer);
	assert_int_equal(conn_accept(&peer, loop, fd, dispatcher_tls, NULL,
				     &handlers, NULL),
			 0);
}

static void on_command(const struct relay_request *request,
		       const struct command *command, void *arg)
{
	(void)request;
	(void)command;
	(void)arg;
}

static bool (*wanted)(const struct relay_links_counts *now);
static uint64_t give_up_us;
static bool gave_up;

static void look(void *arg)
{
	struct relay_links_counts now;

	(void)arg;
	relay_links_count(links, &now);
	gave_up = loop_now_us(loop) > give_up_us;
	if (wanted(&now) || gave_up)
		loop_stop(loop);
}

static bool run_until(bool (*holds)(const struct relay_links_counts *now))
{
	struct timer *timer;

	wanted = holds;
	gave_up = false;
	give_up_us = clock_mono_us() + 10 * US_PER_S;
	assert_int_equal(timer_new(&timer, loop, look, NULL), 0);
	timer_start_every(timer, MS);
	assert_int_equal(loop_run(loop), 0);
	timer_free(timer);
	return !gave_up;
}

static bool is_up(const struct relay_links_counts *now)
{
	return now->up == 1;
}

static bool is_down(const struct relay_links_counts *now)
{
	return now->up == 0 && now->lost == 1;
}

static bool has_failed_twice(const struct relay_links_counts *now)
{
	return now->failed >= 2;
}

static void stop(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static struct tls_context *load(const char *folder, const char *name,
				const struct passport *checks)
{
	const struct tls_options options = {
		.certs_path = folder,
		.name = name,
		.passport = checks,
		.security_level = -1,
	};
	struct tls_context *context = NULL;
	const char *why;

	assert_int_equal(tls_context_new(&context, &options, &why), 0);
	return context;
}

static void links_start(const char *relay_passport)
{
	const struct relay_links_handlers handlers = {on_command};

	if (relay_passport)
		assert_int_equal(
			passport_parse(span_of(relay_passport), &passport), 0);
	relay_tls = load(pki.ca, "relay", relay_passport ? &passport : NULL);
	config.tls = relay_tls;
	assert_int_equal(relay_links_new(&links, &config, &handlers, NULL), 0);
}

static int setup(void **state)
{
	const struct certificate_subject relay = {"Example", "relay1"};
	struct endpoint at = {.port = 0};
	const char *why;

	(void)state;
	log_set_level(LOG_LEVEL_ERROR + 1);
	pki_init(&pki);
	/* Beside the CA, whose list it reads again. */
	assert_int_equal(certificate_issue(pki.ca, NULL, "relay", &relay, 0,
					   false, &why),
			 0);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(ip_parse(SPAN("127.0.0.1"), &at.ip), 0);
	assert_int_equal(
		listener_new_tcp(&listener, loop, &at, on_accept, NULL), 0);
	dispatcher_tls = load(pki.ca, "dispatcher", NULL);
	hosts.count = 1;
	snprintf(hosts.hosts[0].name, sizeof(hosts.hosts[0].name), "127.0.0.1");
	hosts.hosts[0].port = listener_address(listener).port;
	config = (struct relay_links_config){
		.loop = loop,
		.dispatchers = &hosts,
		.hello = {"media-relay", "5.0.0", LINK_FEATURES_OURS},
		.dns_check_interval_us = 3600 * US_PER_S,
		.keepalive_interval_us = 3600 * US_PER_S,
		.reconnect_delay_us = 5 * MS,
		.first_reconnect_us = 5 * MS,
		.verify_interval_us = 5 * MS,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	links = relay_links_free(links);
	if (peer)
		conn_close(peer);
	peer = NULL;
	listener_free(listener);
	loop_free(loop);
	tls_context_free(relay_tls);
	tls_context_free(dispatcher_tls);
	pki_done(&pki);
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

static void test_a_certificate_that_is_revoked_ends_the_link(void **state)
{
	struct relay_links_counts now;
	char path[256];
	const char *why;

	(void)state;
	links_start("O:Example, CN:dispatch*");
	assert_true(run_until(is_up));
	snprintf(path, sizeof(path), "%s/dispatcher.crt", pki.ca);
	assert_int_equal(certificate_revoke(pki.ca, path, &why), 0);
	assert_true(run_until(is_down));
	/* And it does not come back. */
	assert_true(run_until(has_failed_twice));
	relay_links_count(links, &now);
	assert_int_equal(now.connected, 1);
}

static void test_links_stay_up_while_certificates_are_good(void **state)
{
	struct relay_links_counts now;

	(void)state;
	links_start(NULL);
	assert_true(run_until(is_up));
	for (int i = 0; i < 5; i++) {
		struct timer *timer;

		assert_int_equal(timer_new(&timer, loop, stop, NULL), 0);
		timer_start(timer, config.verify_interval_us);
		loop_run(loop);
		timer_free(timer);
	}
	relay_links_count(links, &now);
	assert_int_equal(now.up, 1);
	assert_int_equal(now.lost, 0);
}

static void test_another_passport_gives_no_link(void **state)
{
	struct relay_links_counts now;

	(void)state;
	links_start("O:Somebody Else");
	assert_true(run_until(has_failed_twice));
	relay_links_count(links, &now);
	assert_int_equal(now.connected, 0);
}

/* The dispatcher looks at our certificate after our handshake has ended. */
static void test_a_relay_that_is_revoked_is_never_up(void **state)
{
	struct relay_links_counts now;
	char path[256];
	const char *why;

	(void)state;
	snprintf(path, sizeof(path), "%s/relay.crt", pki.ca);
	assert_int_equal(certificate_revoke(pki.ca, path, &why), 0);
	assert_int_equal(tls_context_reload(dispatcher_tls, &why), 0);
	links_start(NULL);
	assert_true(run_until(has_failed_twice));
	relay_links_count(links, &now);
	assert_int_equal(now.connected, 0);
	assert_int_equal(now.lost, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_certificate_that_is_revoked_ends_the_link),
		TEST(test_links_stay_up_while_certificates_are_good),
		TEST(test_another_passport_gives_no_link),
		TEST(test_a_relay_that_is_revoked_is_never_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
