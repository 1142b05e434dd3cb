/* What is kept of decisions, and read while the worker writes. */
#include <pthread.h>

#include "media/stream.h"
#include "media_scene.h"

static struct endpoint at(const char *ip, uint16_t port)
{
	struct endpoint ep = {.port = port};

	assert_int_equal(ip_parse(span_of(ip), &ep.ip), 0);
	return ep;
}

static struct history_facts read_back(const struct history *history)
{
	struct history_facts facts;

	assert_true(history_read(history, &facts));
	return facts;
}

static void assert_source(const struct history_entry *entry,
			  struct endpoint source)
{
	struct endpoint got = history_source(entry);

	assert_true(endpoint_equal(&got, &source));
}

static void test_an_empty_history_says_nothing(void **state)
{
	static const struct history history;
	struct history_facts facts = read_back(&history);

	(void)state;
	assert_int_equal(facts.counts.decisions, 0);
	for (unsigned i = 0; i < HISTORY_REFUSALS; i++)
		assert_int_equal(facts.refused[i].kind, HISTORY_NONE);
	assert_source(&facts.refused[0], (struct endpoint){0});
}

static void test_sources_of_both_families_come_back_as_they_were(void **state)
{
	const struct endpoint v4 = at("198.51.100.7", 6000);
	const struct endpoint v6 = at("2001:db8::7", 6001);
	struct history history = {0};
	struct history_facts facts;

	(void)state;
	history_decided(&history, HISTORY_CONFIRMED, RULE_SDP, &v4, 830, 0);
	history_decided(&history, HISTORY_CONFIRMED, RULE_REBIND, &v6, 900, 70);
	history_decided(&history, HISTORY_FORGOTTEN, 0, NULL, 950, 0);
	facts = read_back(&history);
	assert_int_equal(facts.counts.decisions, 3);
	assert_source(&facts.decided[0], v4);
	assert_int_equal(facts.decided[0].first_ms, 830);
	assert_source(&facts.decided[1], v6);
	assert_int_equal(facts.decided[1].reason, RULE_REBIND);
	assert_int_equal(facts.decided[1].count, 70);
	assert_source(&facts.decided[2], (struct endpoint){0});
}

static void test_the_latest_decisions_are_kept(void **state)
{
	const struct endpoint source = at("192.0.2.1", 1);
	struct history history = {0};
	struct history_facts facts;

	(void)state;
	for (uint32_t i = 0; i < 200000; i++)
		history_decided(&history, HISTORY_CONFIRMED, RULE_SDP, &source,
				i, 0);
	facts = read_back(&history);
	assert_in_range(facts.counts.decisions, UINT16_MAX - 10, UINT16_MAX);
	for (uint32_t i = 1; i <= HISTORY_DECISIONS; i++)
		assert_int_equal(facts.decided[(facts.counts.decisions - i) %
					       HISTORY_DECISIONS]
					 .first_ms,
				 200000 - i);
}

static void test_refusals_of_one_source_are_one_entry(void **state)
{
	const struct endpoint source = at("203.0.113.9", 5000);
	struct history history = {0};
	struct history_facts facts;

	(void)state;
	history_refused(&history, HISTORY_REFUSED, DROP_NOT_OPEN, &source, 10,
			1);
	history_refused(&history, HISTORY_REFUSED, DROP_NOT_OPEN, &source, 25,
			2);
	history_refused(&history, HISTORY_REFUSED, DROP_NOT_PROVED, &source, 30,
			1);
	facts = read_back(&history);
	assert_int_equal(facts.refused[0].count, 3);
	assert_int_equal(facts.refused[0].first_ms, 10);
	assert_int_equal(facts.refused[0].last_ms, 25);
	assert_int_equal(facts.refused[1].reason, DROP_NOT_PROVED);
	assert_int_equal(facts.refused[2].kind, HISTORY_NONE);
	history_refused(&history, HISTORY_REFUSED, DROP_NOT_OPEN, &source, 40,
			UINT64_MAX);
	assert_int_equal(read_back(&history).refused[0].count, UINT32_MAX);
}

/* A spray of the whole Internet: what matters stays. */
static void test_a_flood_pushes_out_no_decision_and_no_loud_source(void **state)
{
	const struct endpoint remote = at("198.51.100.7", 6000);
	const struct endpoint loud = at("203.0.113.9", 5000);
	struct history history = {0};
	struct history_facts facts;
	unsigned found = 0;

	(void)state;
	history_decided(&history, HISTORY_CONFIRMED, RULE_SDP, &remote, 1, 0);
	history_refused(&history, HISTORY_REFUSED, DROP_NOT_OPEN, &loud, 2, 50);
	for (uint32_t i = 0; i < 100000; i++) {
		struct endpoint other = at("192.0.2.1", (uint16_t)(i + 1));

		history_refused(&history, HISTORY_REFUSED, DROP_NOT_OPEN,
				&other, 3 + i, 1);
	}
	facts = read_back(&history);
	assert_int_equal(facts.counts.decisions, 1);
	assert_source(&facts.decided[0], remote);
	for (unsigned i = 0; i < HISTORY_REFUSALS; i++)
		found += facts.refused[i].count == 50;
	assert_int_equal(found, 1);
	assert_int_equal(facts.counts.pushed_out, UINT16_MAX);
}

static void test_a_silence_that_goes_on_is_one_silence(void **state)
{
	struct history history = {0};
	struct history_facts facts;

	(void)state;
	history_silent(&history, 0, 6000);
	history_silent(&history, 0, 7000);
	history_silent(&history, 9000, 20000);
	facts = read_back(&history);
	assert_int_equal(facts.counts.silences, 2);
	assert_int_equal(facts.silence_from_ms, 9000);
	assert_int_equal(facts.silence_to_ms, 20000);
}

static void test_the_first_time_with_the_kernel_is_kept(void **state)
{
	struct history history = {0};
	struct history_facts facts;

	(void)state;
	history_handed(&history, 40);
	history_handed(&history, 90);
	facts = read_back(&history);
	assert_int_equal(facts.counts.handed, 2);
	assert_int_equal(facts.handed_ms, 40);
}

/* A worker that was preempted in the middle must not stop the control thread.
 */
static void test_a_reader_gives_up_on_a_writer_that_does_not_go_on(void **state)
{
	struct history history = {0};
	struct history_facts facts = {.counts.decisions = 9};
	uint64_t begin_us = clock_mono_us();

	(void)state;
	history_silent(&history, 1, 2);
	atomic_fetch_add(&history.version, 1);
	assert_false(history_read(&history, &facts));
	assert_int_equal(facts.counts.decisions, 0);
	assert_int_equal(facts.counts.silences, 0);
	assert_true(clock_mono_us() - begin_us < US_PER_S);
	atomic_fetch_add(&history.version, 1);
	assert_int_equal(read_back(&history).counts.silences, 1);
}

#define WRITES 100000

/* Each entry that is written has the same number everywhere. */
static void *write_all(void *arg)
{
	struct history *history = arg;

	for (uint32_t i = 1; i <= WRITES; i++) {
		struct endpoint source = at("192.0.2.1", (uint16_t)(i | 1));

		history_decided(history, HISTORY_CONFIRMED, i % 5, &source, i,
				i);
		history_silent(history, i, i);
	}
	return NULL;
}

static void test_a_reader_never_sees_half_of_an_entry(void **state)
{
	static struct history history;
	struct history_facts facts = {0};
	pthread_t writer;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, write_all, &history), 0);
	while (facts.silence_from_ms < WRITES) {
		if (!history_read(&history, &facts))
			continue;
		assert_int_equal(facts.silence_from_ms, facts.silence_to_ms);
		for (unsigned i = 0; i < HISTORY_DECISIONS; i++) {
			const struct history_entry *e = &facts.decided[i];

			assert_int_equal(e->first_ms, e->count);
			assert_int_equal(e->reason, e->count % 5);
			if (e->count > 0)
				assert_int_equal(e->port,
						 (uint16_t)(e->count | 1));
		}
	}
	pthread_join(writer, NULL);
	assert_int_equal(facts.counts.silences, UINT16_MAX);
}

/* ---- what the packet path writes ---- */

static struct history_facts history_of(const struct call *call,
				       enum party party)
{
	struct history_facts facts;

	assert_true(media_stream_read_history(call->stream, party,
					      COMPONENT_RTP, &facts));
	return facts;
}

static void
test_a_call_tells_who_was_confirmed_and_who_was_refused(void **state)
{
	struct history_facts facts;
	struct phone stranger;
	struct endpoint to;
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	stranger = open_phone(call.media, AF_INET);
	say_rtp(&call, PARTY_CALLER, 1);
	hear_rtp(&call, PARTY_CALLEE, 1, 1);
	to = relay_port(&call, PARTY_CALLER, COMPONENT_RTP);
	for (unsigned i = 0; i < 3; i++)
		send_to(stranger.fd[0], &to, "x", 1);
	await_drops(&call, PARTY_CALLER, DROP_NOT_THE_REMOTE, 3);
	facts = history_of(&call, PARTY_CALLER);
	assert_int_equal(facts.counts.decisions, 1);
	assert_int_equal(facts.decided[0].kind, HISTORY_CONFIRMED);
	assert_int_equal(facts.decided[0].reason, RULE_SDP);
	assert_int_equal(facts.decided[0].count, 0);
	assert_source(&facts.decided[0], call.phones[PARTY_CALLER].at[0]);
	assert_int_equal(facts.refused[0].kind, HISTORY_REFUSED);
	assert_int_equal(facts.refused[0].reason, DROP_NOT_THE_REMOTE);
	assert_int_equal(facts.refused[0].count, 3);
	assert_source(&facts.refused[0], stranger.at[0]);
	assert_int_equal(facts.refused[1].kind, HISTORY_NONE);
	assert_int_equal(facts.counts.silences, 0);
	assert_int_equal(history_of(&call, PARTY_CALLEE).counts.decisions, 0);
	close_phone(call.media, &stranger);
	end_call(&call);
}

static void test_new_sdp_replaces_the_remote_and_it_is_told(void **state)
{
	struct history_facts facts;
	struct phone moved;
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	say_rtp(&call, PARTY_CALLER, 1);
	hear_rtp(&call, PARTY_CALLEE, 1, 1);
	moved = open_phone(call.media, AF_INET);
	media_stream_set_sdp(call.stream, PARTY_CALLER, &moved.at[0]);
	say_rtp(&call, PARTY_CALLEE, 1);
	wait_readable(moved.fd[0]);
	facts = history_of(&call, PARTY_CALLER);
	assert_int_equal(facts.counts.decisions, 2);
	assert_int_equal(facts.decided[1].kind, HISTORY_REPLACED);
	assert_source(&facts.decided[1], call.phones[PARTY_CALLER].at[0]);
	close_phone(call.media, &moved);
	end_call(&call);
}

static void test_packets_that_had_nowhere_to_go_are_told(void **state)
{
	const struct endpoint none = {0};
	struct history_facts facts;
	struct call call;

	(void)state;
	start_call(&call, AF_INET);
	media_stream_set_sdp(call.stream, PARTY_CALLEE, &none);
	for (uint16_t i = 0; i < 4; i++)
		say_rtp(&call, PARTY_CALLER, i);
	await_drops(&call, PARTY_CALLER, DROP_NO_DESTINATION, 4);
	let_worker_finish(&call);
	facts = history_of(&call, PARTY_CALLER);
	assert_int_equal(facts.refused[0].reason, DROP_NO_DESTINATION);
	assert_int_equal(facts.refused[0].count, 4);
	assert_source(&facts.refused[0], none);
	media_stream_set_forwarding(call.stream, false);
	say_rtp(&call, PARTY_CALLER, 5);
	await_drops(&call, PARTY_CALLER, DROP_NOT_FORWARDING, 1);
	let_worker_finish(&call);
	facts = history_of(&call, PARTY_CALLER);
	assert_int_equal(facts.refused[1].reason, DROP_NOT_FORWARDING);
	end_call(&call);
}

/* Four packets in sequence from elsewhere: three are held. */
static void test_a_stranger_is_told_as_held_and_then_as_confirmed(void **state)
{
	struct phone stranger;
	struct history_facts facts;
	struct endpoint to;
	struct call call;

	(void)state;
	start_call_settling(&call, AF_INET, SHORT_US);
	stranger = open_phone(call.media, AF_INET);
	/* Loopback is one address for all: forget that it is known. */
	media_stream_set_sdp(
		call.stream, PARTY_CALLER,
		&(struct endpoint){.ip = at("192.0.2.1", 0).ip, .port = 4000});
	to = relay_port(&call, PARTY_CALLER, COMPONENT_RTP);
	for (uint16_t i = 0; i < 4; i++) {
		uint8_t packet[RTP_LEN];

		make_rtp(packet, 7, i);
		send_to(stranger.fd[0], &to, packet, RTP_LEN);
	}
	hear_rtp(&call, PARTY_CALLEE, 7, 0);
	let_worker_finish(&call);
	facts = history_of(&call, PARTY_CALLER);
	assert_int_equal(facts.refused[0].kind, HISTORY_HELD);
	assert_int_equal(facts.refused[0].count, 3);
	assert_int_equal(facts.counts.decisions, 1);
	assert_int_equal(facts.decided[0].reason, RULE_PROVED);
	assert_source(&facts.decided[0], stranger.at[0]);
	close_phone(call.media, &stranger);
	end_call(&call);
}

/* Six seconds pass, as far as the worker knows. */
static void test_a_silence_of_the_remote_is_told_when_it_is_over(void **state)
{
	static const uint8_t report[8] = {0x80, 201, 0, 1};
	struct history_facts facts;
	struct phone moved;
	struct call call;
	struct port *ports;

	(void)state;
	start_call(&call, AF_INET);
	moved = open_phone(call.media, AF_INET);
	ports = call.stream->ports[PARTY_CALLER];
	say_rtp(&call, PARTY_CALLER, 1);
	hear_rtp(&call, PARTY_CALLEE, 1, 1);
	say(&call, PARTY_CALLER, COMPONENT_RTCP, report, sizeof(report));
	hear(&call, PARTY_CALLEE, COMPONENT_RTCP, report, sizeof(report));
	let_worker_finish(&call);
	assert_int_equal(history_of(&call, PARTY_CALLER).counts.silences, 0);
	/* The worker reads it behind the settings that are published next. */
	call.stream->began_us -= 6 * US_PER_S;
	for (enum component c = 0; c < COMPONENT_COUNT; c++)
		ports[c].learning.heard_us =
			call.stream->began_us + 500 * US_PER_MS;
	media_stream_set_sdp(call.stream, PARTY_CALLEE, &moved.at[0]);
	say_rtp(&call, PARTY_CALLER, 2);
	wait_readable(moved.fd[COMPONENT_RTP]);
	let_worker_finish(&call);
	facts = history_of(&call, PARTY_CALLER);
	assert_int_equal(facts.counts.silences, 1);
	assert_int_equal(facts.silence_from_ms, 500);
	assert_true(facts.silence_to_ms >= 6000);
	/* RTCP comes as seldom as it likes. */
	say(&call, PARTY_CALLER, COMPONENT_RTCP, report, sizeof(report));
	wait_readable(moved.fd[COMPONENT_RTCP]);
	let_worker_finish(&call);
	assert_true(media_stream_read_history(call.stream, PARTY_CALLER,
					      COMPONENT_RTCP, &facts));
	assert_int_equal(facts.counts.silences, 0);
	close_phone(call.media, &moved);
	end_call(&call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_history_says_nothing),
		cmocka_unit_test(
			test_sources_of_both_families_come_back_as_they_were),
		cmocka_unit_test(test_the_latest_decisions_are_kept),
		cmocka_unit_test(test_refusals_of_one_source_are_one_entry),
		cmocka_unit_test(
			test_a_flood_pushes_out_no_decision_and_no_loud_source),
		cmocka_unit_test(test_a_silence_that_goes_on_is_one_silence),
		cmocka_unit_test(test_the_first_time_with_the_kernel_is_kept),
		cmocka_unit_test(
			test_a_reader_gives_up_on_a_writer_that_does_not_go_on),
		cmocka_unit_test(test_a_reader_never_sees_half_of_an_entry),
		cmocka_unit_test(
			test_a_call_tells_who_was_confirmed_and_who_was_refused),
		cmocka_unit_test(
			test_new_sdp_replaces_the_remote_and_it_is_told),
		cmocka_unit_test(test_packets_that_had_nowhere_to_go_are_told),
		cmocka_unit_test(
			test_a_silence_of_the_remote_is_told_when_it_is_over),
		cmocka_unit_test(
			test_a_stranger_is_told_as_held_and_then_as_confirmed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
