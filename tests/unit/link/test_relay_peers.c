/** The dispatcher's end of a link, with fake relays. */
#include "link/relay_peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dispatcher/rig.h"
#include "base/clock.h"
#include "net/certificate.h"
#include "test.h"

static struct relay_peer *only_peer(struct rig *rig)
{
	struct relay_peer *peer = relay_peers_next(rig->peers, NULL);

	assert_non_null(peer);
	assert_null(relay_peers_next(rig->peers, peer));
	return peer;
}

struct reply {
	int count;
	enum relay_outcome outcome;
	char text[64];
};

static void note_reply(struct relay_peer *peer, enum relay_outcome outcome,
		       struct span text, void *arg)
{
	struct reply *reply = arg;

	(void)peer;
	reply->count++;
	reply->outcome = outcome;
	snprintf(reply->text, sizeof(reply->text), "%.*s", SPAN_ARG(text));
}

static void ask(struct rig *rig, struct reply *reply)
{
	assert_int_equal(relay_peer_request(only_peer(rig), SPAN("summary"),
					    SPAN("\r\n"), note_reply, reply),
			 0);
}

static bool is_unresponsive(void *arg)
{
	return relay_peer_state(only_peer(arg)) == RELAY_PEER_UNRESPONSIVE;
}

static void test_sessions_are_asked_for_first_with_our_features(void **state)
{
	struct rig_end *relay;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_start(&rig);
	relay = rig_dial(&rig, "127.0.0.2");
	rig_expect(relay, "sessions 1");
	rig_expect(relay, "features: scope dialog_id paged ack explain");
	rig_expect(relay, "scope: own");
	rig_expect(relay, "page: 0");
	rig_expect(relay, "");
	assert_int_equal(relay_peer_state(only_peer(&rig)), RELAY_PEER_SYNCING);
	rig_say(relay, "1 []");
	rig_expect_nothing(relay);
	assert_int_equal(relay_peer_state(only_peer(&rig)), RELAY_PEER_ACTIVE);
	rig_end_free(relay);
	rig_done(&rig);
}

static void test_both_forms_of_ping_are_answered(void **state)
{
	struct rig_end *relay;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_start(&rig);
	relay = rig_relay(&rig, "127.0.0.2", "[]");
	rig_say(relay, "ping");
	rig_expect(relay, "pong");
	assert_string_equal(relay_peer_version(only_peer(&rig)), "");
	rig_say(relay, "ping {\"name\": \"media-relay\", \"version\": "
		       "\"5.1\", \"features\": [\"scope\", \"unheard of\"]}");
	rig_expect(relay, "pong");
	assert_string_equal(relay_peer_version(only_peer(&rig)), "5.1");
	rig_say(relay, "ping {nonsense");
	rig_expect(relay, "pong");
	assert_int_equal(relay_peers_counters(rig.peers)->bad_lines, 1);
	rig_end_free(relay);
	rig_done(&rig);
}

static void test_replies_are_matched_by_number(void **state)
{
	struct reply one = {0}, two = {0};
	struct rig_end *relay;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_start(&rig);
	relay = rig_relay(&rig, "127.0.0.2", "[]");
	ask(&rig, &one);
	ask(&rig, &two);
	rig_expect(relay, "summary 2");
	rig_expect(relay, "");
	rig_expect(relay, "summary 3");
	rig_expect(relay, "");
	rig_say(relay, "3 second");
	rig_say(relay, "3 again");
	rig_say(relay, "99 nobody");
	rig_say(relay, "2 error");
	rig_expect_nothing(relay);
	assert_int_equal(one.count, 1);
	assert_int_equal(one.outcome, RELAY_OUTCOME_ERROR);
	assert_int_equal(two.count, 1);
	assert_string_equal(two.text, "second");
	assert_int_equal(relay_peers_counters(rig.peers)->unknown_replies, 2);
	rig_end_free(relay);
	rig_done(&rig);
}

static void test_nonsense_is_counted_and_the_link_stays(void **state)
{
	struct rig_end *relay;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig_start(&rig);
	relay = rig_relay(&rig, "127.0.0.2", "[]");
	rig_say(relay, "what");
	rig_say(relay, "%s", "");
	rig_say(relay, "expired");
	rig_say(relay, "expired nonsense");
	rig_say(relay, "-1 x");
	rig_say(relay, "99999999999999999999999999 x");
	rig_expect_nothing(relay);
	assert_int_equal(relay_peers_counters(rig.peers)->bad_lines, 5);
	rig_end_free(relay);
	rig_done(&rig);
}

static void
test_an_unanswered_request_takes_the_relay_out_until_its_ping(void **state)
{
	struct reply reply = {0};
	struct rig_end *relay;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig.conf.dispatcher.relay_timeout_us = 20 * US_PER_MS;
	rig_start(&rig);
	relay = rig_relay(&rig, "127.0.0.2", "[]");
	ask(&rig, &reply);
	rig_until(&rig, is_unresponsive, &rig);
	rig_say(relay, "ping");
	rig_expect_request(relay, "summary");
	rig_expect(relay, "pong");
	assert_int_equal(relay_peer_state(only_peer(&rig)), RELAY_PEER_ACTIVE);
	/* The number lives on. */
	rig_say(relay, "2 late");
	rig_expect_nothing(relay);
	assert_string_equal(reply.text, "late");
	rig_end_free(relay);
	rig_done(&rig);
}

static void test_a_relay_that_does_not_recover_is_disconnected(void **state)
{
	struct reply reply = {0};
	struct rig_end *relay;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig.conf.dispatcher.relay_timeout_us = 5 * US_PER_MS;
	rig.conf.dispatcher.relay_recover_interval_us = 10 * US_PER_MS;
	rig_start(&rig);
	relay = rig_relay(&rig, "127.0.0.2", "[]");
	ask(&rig, &reply);
	rig_expect_closed(relay);
	assert_int_equal(reply.count, 1);
	assert_int_equal(reply.outcome, RELAY_OUTCOME_LOST);
	assert_null(relay_peers_next(rig.peers, NULL));
	rig_end_free(relay);
	rig_done(&rig);
}

static void test_a_line_that_is_too_long_loses_its_reply_alone(void **state)
{
	const size_t size = 5u << 20;
	char *line = malloc(size + 1);
	struct rig_end *relay;
	struct rig rig;

	(void)state;
	assert_non_null(line);
	memset(line, '[', size);
	line[size] = '\0';
	rig_init(&rig);
	rig_start(&rig);
	relay = rig_dial(&rig, "127.0.0.2");
	rig_say(relay, "%lu %s", rig_expect_request(relay, "sessions"), line);
	rig_expect_nothing(relay);
	assert_int_equal(relay_peers_counters(rig.peers)->long_lines, 1);
	assert_int_equal(relay_peer_state(only_peer(&rig)), RELAY_PEER_ACTIVE);
	free(line);
	rig_end_free(relay);
	rig_done(&rig);
}

static void
test_links_are_limited_but_for_a_relay_that_comes_again(void **state)
{
	struct rig_end *first, *second, *again;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig.conf.dispatcher.max_relay_connections = 1;
	rig_start(&rig);
	first = rig_relay(&rig, "127.0.0.2", "[]");
	second = rig_dial(&rig, "127.0.0.3");
	rig_expect_closed(second);
	assert_int_equal(relay_peers_counters(rig.peers)->refused, 1);
	again = rig_relay(&rig, "127.0.0.2", "[]");
	rig_expect_closed(first);
	assert_int_equal(relay_peers_counters(rig.peers)->replaced, 1);
	rig_end_free(first);
	rig_end_free(second);
	rig_end_free(again);
	rig_done(&rig);
}

/* With certificates */

struct certificates {
	char folder[64];
	struct passport passport;
};

static void make_certificates(struct certificates *c)
{
	const struct certificate_subject subject = {"Test", "link"};
	const char *names[] = {"dispatcher", "relay"};
	const char *why = "";

	strcpy(c->folder, "/tmp/mediaproxy-test.XXXXXX");
	assert_non_null(mkdtemp(c->folder));
	assert_int_equal(certificate_init(c->folder, &subject, 10, &why), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(certificate_issue(c->folder, c->folder,
						   names[i], &subject, 10,
						   false, &why),
				 0);
	assert_int_equal(passport_parse(SPAN("O:Test"), &c->passport), 0);
}

static void remove_certificates(const struct certificates *c)
{
	static const char *const files[] = {
		"ca.pem",         "ca.key",    "crl.pem",   "dispatcher.crt",
		"dispatcher.key", "relay.crt", "relay.key", "index.json"};
	char path[128];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", c->folder, files[i]);
		unlink(path);
	}
	rmdir(c->folder);
}

static struct tls_context *load(const struct certificates *c, const char *name)
{
	struct tls_options options = {
		.certs_path = c->folder,
		.name = name,
		.passport = &c->passport,
		.security_level = -1,
	};
	struct tls_context *tls;
	const char *why = "";

	assert_int_equal(tls_context_new(&tls, &options, &why), 0);
	return tls;
}

static void test_a_relay_whose_certificate_is_revoked_is_dropped(void **state)
{
	struct certificates c;
	struct rig_end *relay;
	const char *why = "";
	struct rig rig;
	char path[128];

	(void)state;
	make_certificates(&c);
	rig_init(&rig);
	rig.tls = load(&c, "dispatcher");
	rig.relay_tls = load(&c, "relay");
	rig.conf.tls.verify_interval_us = 20 * US_PER_MS;
	rig_start(&rig);
	relay = rig_relay(&rig, "127.0.0.1", "[]");
	rig_expect_nothing(relay);
	snprintf(path, sizeof(path), "%s/relay.crt", c.folder);
	assert_int_equal(certificate_revoke(c.folder, path, &why), 0);
	rig_expect_closed(relay);
	assert_int_equal(relay_peers_counters(rig.peers)->verifications_failed,
			 1);
	rig_end_free(relay);
	rig_done(&rig);
	tls_context_free(rig.tls);
	tls_context_free(rig.relay_tls);
	remove_certificates(&c);
}

struct wanted_count {
	struct rig *rig;
	uint64_t accepted, refused;
};

static bool is_counted(void *arg)
{
	const struct wanted_count *wanted = arg;
	const struct relay_peers_counters *counters =
		relay_peers_counters(wanted->rig->peers);

	return counters->accepted == wanted->accepted &&
	       counters->refused == wanted->refused;
}

static void test_who_never_finishes_a_handshake_keeps_nobody_out(void **state)
{
	struct rig_end *strangers[300];
	struct wanted_count wanted;
	struct certificates c;
	struct rig_end *relay;
	struct rig rig;

	(void)state;
	make_certificates(&c);
	rig_init(&rig);
	rig.tls = load(&c, "dispatcher");
	rig_start(&rig);
	/* Of five from an address the first gives way to the last; past 128
	 * in all, the oldest do. */
	for (unsigned i = 0; i < 300; i++) {
		char address[32];

		snprintf(address, sizeof(address), "127.0.9.%u", i / 5 + 1);
		strangers[i] = rig_dial(&rig, address);
		wanted = (struct wanted_count){&rig, i + 1, (i + 1) / 5};
		if (i < 128)
			rig_until(&rig, is_counted, &wanted);
	}
	rig.relay_tls = load(&c, "relay");
	relay = rig_relay(&rig, "127.0.0.1", "[]");
	rig_expect_nothing(relay);
	for (unsigned i = 0; i < 300; i++)
		rig_end_free(strangers[i]);
	rig_end_free(relay);
	rig_done(&rig);
	tls_context_free(rig.tls);
	tls_context_free(rig.relay_tls);
	remove_certificates(&c);
}

static void test_mute_ones_at_a_relays_address_do_not_keep_it_out(void **state)
{
	struct rig_end *mute[10];
	struct certificates c;
	struct rig_end *relay;
	struct rig rig;

	(void)state;
	make_certificates(&c);
	rig_init(&rig);
	rig.tls = load(&c, "dispatcher");
	rig_start(&rig);
	for (unsigned i = 0; i < 10; i++)
		mute[i] = rig_dial(&rig, "127.0.0.1");
	rig.relay_tls = load(&c, "relay");
	relay = rig_relay(&rig, "127.0.0.1", "[]");
	rig_expect_nothing(relay);
	rig_expect_closed(mute[6]);
	assert_false(mute[9]->closed);
	for (unsigned i = 0; i < 10; i++)
		rig_end_free(mute[i]);
	rig_end_free(relay);
	rig_done(&rig);
	tls_context_free(rig.tls);
	tls_context_free(rig.relay_tls);
	remove_certificates(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
		T(test_sessions_are_asked_for_first_with_our_features),
		T(test_both_forms_of_ping_are_answered),
		T(test_replies_are_matched_by_number),
		T(test_nonsense_is_counted_and_the_link_stays),
		T(test_an_unanswered_request_takes_the_relay_out_until_its_ping),
		T(test_a_relay_that_does_not_recover_is_disconnected),
		T(test_a_line_that_is_too_long_loses_its_reply_alone),
		T(test_links_are_limited_but_for_a_relay_that_comes_again),
		T(test_a_relay_whose_certificate_is_revoked_is_dropped),
		T(test_who_never_finishes_a_handshake_keeps_nobody_out),
		T(test_mute_ones_at_a_relays_address_do_not_keep_it_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
