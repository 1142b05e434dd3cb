#include "session/internal.h"
#include "session_scene.h"

static void test_offer_and_answer_get_the_ports_of_the_two_sides(void **state)
{
	struct world *world = *state;
	struct session_ports offer = REQUEST(1, .media = A);
	struct session_ports answer = REPLY(1, .media = B);

	assert_int_equal(offer.count, 1);
	assert_int_equal(answer.count, 1);
	assert_int_not_equal(offer.ports[0], answer.ports[0]);
	assert_int_equal(offer.ports[0] % 2, 0);
	assert_int_equal(ports_in_use(world), 2);
	pass(world, 3);
	remove_call(world, "caller");
	assert_record_has(world, "\"duration\": 3");
	assert_record_has_local(world, "callee", offer.ports[0]);
	assert_record_has_local(world, "caller", answer.ports[0]);
	assert_record_has(world, "\"status\": \"closed\"");
	assert_record_has(world, "\"to_tag\": \"callee\"");
	assert_record_has(world, "\"timed_out\": false");
	assert_int_equal(living(world), 0);
}

static void
test_a_retransmission_gets_the_same_ports_and_answers_nothing(void **state)
{
	struct world *world = *state;
	struct session_ports first = REQUEST(1, .media = A);
	struct session_ports again = REQUEST(1, .media = A);

	assert_int_equal(first.ports[0], again.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
	remove_call(world, "caller");
	assert_record_has(world, "\"start_time\": null");
	assert_record_has(world, "\"streams\": []");
}

static void
test_183_and_200_keep_the_ports_and_a_fork_moves_the_callee(void **state)
{
	struct world *world = *state;
	struct session_ports early, final, other;

	REQUEST(1, .media = A);
	early = say(world,
		    (struct message){.cseq = 1, .reply = true, .media = B});
	other = FORK_REPLY(1, "fork-2", .media = B_MOVED);
	final = REPLY(1, .media = B);
	assert_int_equal(early.ports[0], final.ports[0]);
	assert_int_equal(early.ports[0], other.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
}

static void test_a_late_offer_is_answered_by_the_ack(void **state)
{
	struct world *world = *state;
	struct session_ports offer = REPLY(1, .media = B);
	struct session_ports ack = REQUEST(1, .to_tag = "callee", .media = A);

	assert_int_not_equal(offer.ports[0], ack.ports[0]);
	remove_call(world, "caller");
	assert_record_has(world, "\"media_type\": \"audio\"");
}

static void test_a_new_address_in_a_reinvite_makes_a_new_stream(void **state)
{
	struct world *world = *state;
	struct session_ports first = REQUEST(1, .media = A);
	struct session_ports moved;

	REPLY(1, .media = B);
	moved = REQUEST(2, .to_tag = "callee", .media = A_MOVED);
	assert_int_not_equal(moved.ports[0], first.ports[0]);
	/* both flow until the answer comes */
	assert_int_equal(ports_in_use(world), 4);
	REPLY(2, .media = B);
	assert_int_equal(ports_in_use(world), 2);
	remove_call(world, "caller");
	assert_record_has(world, "\"streams\": [{\"media_type\": \"audio\"");
	assert_record_has(world, "}, {\"media_type\": \"audio\"");
}

static void
test_a_rejected_reinvite_followed_by_another_keeps_the_live_stream(void **state)
{
	struct world *world = *state;
	struct session_ports first = REQUEST(1, .media = A);
	struct session_ports back;

	REPLY(1, .media = B);
	REQUEST(2, .to_tag = "callee", .media = A_MOVED); /* 488 */
	back = REQUEST(3, .to_tag = "callee", .media = A);
	assert_int_equal(back.ports[0], first.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
	REPLY(3, .media = B);
	remove_call(world, "caller");
	assert_record_lacks(world, "}, {\"media_type\"");
}

static void test_after_a_rejected_reinvite_the_callee_may_offer(void **state)
{
	struct world *world = *state;
	struct session_ports first, offer;

	REQUEST(1, .media = A);
	first = REPLY(1, .media = B);
	REQUEST(2, .to_tag = "callee", .media = A_MOVED); /* 491 */
	offer = CALLEE_REQUEST(1, .media = B);
	assert_int_equal(offer.ports[0], first.ports[0]);
	CALLER_REPLY(1, .media = A);
	assert_int_equal(ports_in_use(world), 2);
}

static void
test_of_two_offers_that_cross_the_first_may_be_answered(void **state)
{
	struct world *world = *state;
	struct session_ports first, offer, again;

	REQUEST(1, .media = A);
	first = REPLY(1, .media = B);
	offer = REQUEST(2, .to_tag = "callee", .media = A_MOVED);
	CALLEE_REQUEST(1, .media = B_MOVED); /* 491 */
	again = REQUEST(2, .to_tag = "callee", .media = A_MOVED);
	assert_int_equal(again.ports[0], offer.ports[0]);
	assert_int_equal(ports_in_use(world), 6);
	again = REPLY(2, .media = B);
	assert_int_not_equal(again.ports[0], first.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
	remove_call(world, "caller");
	assert_record_has_local(world, "callee", offer.ports[0]);
}

static void test_of_two_offers_that_cross_both_may_be_rejected(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	for (unsigned i = 0; i < 5; i++) {
		REQUEST(2 + i, .to_tag = "callee", .media = A_MOVED);
		CALLEE_REQUEST(1 + i, .media = B_MOVED);
		assert_int_equal(ports_in_use(world), 6);
	}
	pass(world, UNANSWERED_S);
	REQUEST(9, .to_tag = "callee", .media = A);
	REPLY(9, .media = B);
	assert_int_equal(ports_in_use(world), 2);
}

static void test_a_reinvite_of_the_callee_moves_its_side(void **state)
{
	struct world *world = *state;
	struct session_ports offer, answer;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	offer = CALLEE_REQUEST(1, .media = B_MOVED);
	answer = CALLER_REPLY(1, .media = A);
	assert_int_not_equal(offer.ports[0], answer.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
}

static void test_streams_are_added_rejected_and_removed(void **state)
{
	struct world *world = *state;
	struct session_ports two, answer, off;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	two = REQUEST(2, .to_tag = "callee", .media = A "," AV);
	answer = REPLY(2, .media = B "," BV_OFF);
	assert_int_equal(two.count, 2);
	assert_true(two.ports[1] != 0);
	assert_int_equal(answer.ports[1], 0);
	REQUEST(3, .to_tag = "callee", .media = A "," AV);
	REPLY(3, .media = B "," BV);
	assert_int_equal(ports_in_use(world), 4);
	off = REQUEST(4, .to_tag = "callee",
		      .media = A ",video:127.0.0.1:0:sendrecv:ice=no");
	assert_int_equal(off.ports[1], 0);
	assert_int_equal(ports_in_use(world), 4);
	REPLY(4, .media = B "," BV_OFF);
	assert_int_equal(ports_in_use(world), 2);
	remove_call(world, "caller");
	assert_record_has(world, "\"status\": \"rejected\"");
}

static void test_a_rejected_stream_has_no_port_in_a_retransmission(void **state)
{
	struct world *world = *state;
	struct session_ports again;

	REQUEST(1, .media = A "," AV);
	REPLY(1, .media = B "," BV_OFF);
	again = REQUEST(1, .media = A "," AV);
	assert_true(again.ports[0] != 0);
	assert_int_equal(again.ports[1], 0);
}

static void
test_a_disabled_stream_stays_so_whatever_the_answer_says(void **state)
{
	struct world *world = *state;
	struct session_ports answer;

	REQUEST(1, .media = A "," AV);
	REPLY(1, .media = B "," BV);
	REQUEST(2, .to_tag = "callee",
		.media = A ",video:127.0.0.1:0:sendrecv:ice=no");
	answer = REPLY(2, .media = B "," BV);
	assert_int_equal(answer.ports[1], 0);
	assert_int_equal(ports_in_use(world), 2);
}

static void test_a_fork_may_accept_what_another_one_rejected(void **state)
{
	struct world *world = *state;
	struct session_ports first, second;

	REQUEST(1, .media = A "," AV);
	first = FORK_REPLY(1, "fork-1", .media = B "," BV_OFF);
	second = FORK_REPLY(1, "fork-2", .media = B_MOVED "," BV);
	assert_int_equal(first.ports[1], 0);
	assert_true(second.ports[1] != 0);
	remove_call(world, "caller");
	assert_record_lacks(world, "rejected");
}

static void test_extra_and_missing_lines_of_an_answer(void **state)
{
	struct world *world = *state;
	struct session_ports answer;

	REQUEST(1, .media = A "," AV);
	answer = REPLY(1, .media = B "," BV "," BV);
	assert_int_equal(answer.count, 3);
	assert_true(answer.ports[1] != 0);
	assert_int_equal(answer.ports[2], 0);
	answer = REPLY(1, .media = B);
	assert_int_equal(answer.count, 1);
}

static void
test_a_session_with_every_stream_rejected_ends_by_itself(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B_OFF);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(living(world), 1);
	pass(world, STREAM_TIMEOUT_S);
	sessions_tick(world->sessions, &world->now);
	settle(world);
	assert_int_equal(living(world), 0);
	assert_int_equal(world->end, SESSION_END_NO_STREAM);
	assert_int_equal(ports_in_use(world), 0);
}

static void test_a_switch_to_t38_and_back(void **state)
{
	struct world *world = *state;
	struct session_ports audio = REQUEST(1, .media = A);
	struct session_ports fax, back;

	REPLY(1, .media = B);
	fax = CALLEE_REQUEST(1, .media = B_FAX);
	CALLER_REPLY(1, .media = A_FAX);
	assert_int_not_equal(fax.ports[0], audio.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
	back = REQUEST(2, .to_tag = "callee", .media = A);
	REPLY(2, .media = B);
	assert_int_equal(back.count, 1);
	remove_call(world, "callee");
	assert_record_has(world, "\"media_type\": \"image\"");
}

static void
test_several_from_tags_under_one_call_id_are_several_sessions(void **state)
{
	struct world *world = *state;
	struct session_ports first = REQUEST(1, .media = A);
	struct session_ports second =
		REQUEST(1, .from_tag = "looped", .media = A);

	assert_int_not_equal(first.ports[0], second.ports[0]);
	assert_int_equal(living(world), 2);
	remove_call(world, "looped");
	assert_int_equal(living(world), 1);
	remove_call(world, "caller");
	assert_int_equal(living(world), 0);
}

static void test_a_bye_of_the_callee_finds_the_session(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	remove_call(world, "callee");
	assert_int_equal(living(world), 0);
}

static void test_a_transfer_may_replace_the_caller(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B);
	REQUEST(1, .from_tag = "successor", .to_tag = "callee",
		.media = A_MOVED);
	assert_int_equal(living(world), 1);
}

static void test_sdp_that_names_our_own_port_changes_nothing(void **state)
{
	struct world *world = *state;
	struct session_ports offer = REQUEST(1, .media = A);
	struct session_ports answer = REPLY(1, .media = B);
	struct session_ports again;
	char media[64];

	snprintf(media, sizeof(media), "audio:127.0.0.1:%u:sendrecv:ice=no",
		 answer.ports[0]);
	again = REPLY(1, .media = media);
	assert_int_equal(again.ports[0], answer.ports[0]);
	snprintf(media, sizeof(media), "audio:127.0.0.1:%u:sendrecv:ice=no",
		 offer.ports[0]);
	again = REQUEST(2, .to_tag = "callee", .media = media);
	assert_int_equal(again.ports[0], offer.ports[0]);
	assert_int_equal(ports_in_use(world), 2);
}

static void
test_an_unanswered_reinvite_gives_its_ports_back_in_time(void **state)
{
	struct world *world = *state;

	REQUEST(1, .media = A);
	REPLY(1, .media = B_RECVONLY);
	REQUEST(2, .to_tag = "callee", .media = A_HELD);
	REPLY(2, .media = B_RECVONLY);
	REQUEST(3, .to_tag = "callee", .media = A_MOVED);
	assert_int_equal(ports_in_use(world), 4);
	pass(world, UNANSWERED_S);
	sessions_tick(world->sessions, &world->now);
	assert_int_equal(ports_in_use(world), 2);
	assert_int_equal(living(world), 1);
}

static void
test_sdp_that_names_another_stream_of_the_session_changes_nothing(void **state)
{
	struct world *world = *state;
	struct session_ports offer = REQUEST(1, .media = A "," AV);
	struct session_ports answer;
	char media[128];

	/* The callee's audio is said to be where the caller sends its video. */
	answer = REPLY(1, .media = B "," BV);
	snprintf(media, sizeof(media),
		 "audio:127.0.0.1:%u:sendrecv:ice=no,"
		 "video:127.0.0.1:%u:sendrecv:ice=no",
		 answer.ports[1], offer.ports[0]);
	REPLY(1, .media = media);
	list_for_each (link, &world->sessions->list) {
		struct session *session = list_item(link, struct session, link);
		struct stream *audio =
			list_item(session->streams.next, struct stream, link);

		assert_int_equal(audio->sdp[PARTY_CALLEE].port, 6000);
	}
}

static void test_media_that_would_come_back_to_its_call_is_refused(void **state)
{
	struct world *world = *state;
	struct session_ports one = REQUEST(1, .media = A);
	struct session_ports two, refused;
	char media[64];

	REPLY(1, .media = B);
	/* The second call's caller is where the first one's callee sends... */
	snprintf(media, sizeof(media), "audio:127.0.0.1:%u:sendrecv:ice=no",
		 one.ports[0]);
	two = REQUEST(1, .call_id = "call-2", .media = media);
	REPLY(1, .call_id = "call-2", .media = B_MOVED);
	/* ... and the first one's caller may be the second one's callee: a
	 * chain */
	snprintf(media, sizeof(media), "audio:127.0.0.1:%u:sendrecv:ice=no",
		 two.ports[0]);
	assert_int_equal(send_to(world,
				 (struct message){.cseq = 2,
						  .to_tag = "callee",
						  .media = media},
				 &refused),
			 -EINVAL);
	assert_string_equal(why, "the SDP address leads back to this call");
}

static void test_a_call_may_go_through_the_relay_twice(void **state)
{
	struct world *world = *state;
	struct session_ports one = REQUEST(1, .media = A);
	struct session_ports two;
	char media[64];

	/* What the second proxy's relay gets is what the first one's answered.
	 */
	snprintf(media, sizeof(media), "audio:127.0.0.1:%u:sendrecv:ice=no",
		 one.ports[0]);
	REQUEST(1, .call_id = "call-2", .media = media);
	two = REPLY(1, .call_id = "call-2", .media = B);
	snprintf(media, sizeof(media), "audio:127.0.0.1:%u:sendrecv:ice=no",
		 two.ports[0]);
	REPLY(1, .media = media);
	assert_int_equal(living(world), 2);
	assert_int_equal(ports_in_use(world), 4);
}

static void test_a_disabled_line_may_name_any_address(void **state)
{
	struct world *world = *state;
	struct session_ports ports =
		REQUEST(1, .media = A ",video:2001:db8::1:0:inactive:ice=no");

	assert_true(ports.ports[0] != 0);
	assert_int_equal(ports.ports[1], 0);
}

static void
test_a_late_offer_after_a_rejected_one_keeps_the_live_stream(void **state)
{
	struct world *world = *state;
	struct session_ports first, late;

	REQUEST(1, .media = A);
	first = REPLY(1, .media = B);
	REQUEST(2, .to_tag = "callee", .media = A_MOVED); /* 488 */
	late = REPLY(3, .media = B); /* to an INVITE without SDP */
	assert_int_equal(late.ports[0], first.ports[0]);
	REQUEST(3, .to_tag = "callee", .media = A); /* its ACK */
	assert_int_equal(ports_in_use(world), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_offer_and_answer_get_the_ports_of_the_two_sides),
		TEST(test_a_retransmission_gets_the_same_ports_and_answers_nothing),
		TEST(test_183_and_200_keep_the_ports_and_a_fork_moves_the_callee),
		TEST(test_a_late_offer_is_answered_by_the_ack),
		TEST(test_a_new_address_in_a_reinvite_makes_a_new_stream),
		TEST(test_a_rejected_reinvite_followed_by_another_keeps_the_live_stream),
		TEST(test_after_a_rejected_reinvite_the_callee_may_offer),
		TEST(test_of_two_offers_that_cross_the_first_may_be_answered),
		TEST(test_of_two_offers_that_cross_both_may_be_rejected),
		TEST(test_a_reinvite_of_the_callee_moves_its_side),
		TEST(test_streams_are_added_rejected_and_removed),
		TEST(test_a_rejected_stream_has_no_port_in_a_retransmission),
		TEST(test_a_disabled_stream_stays_so_whatever_the_answer_says),
		TEST(test_a_fork_may_accept_what_another_one_rejected),
		TEST(test_extra_and_missing_lines_of_an_answer),
		TEST(test_a_session_with_every_stream_rejected_ends_by_itself),
		TEST(test_a_switch_to_t38_and_back),
		TEST(test_several_from_tags_under_one_call_id_are_several_sessions),
		TEST(test_a_bye_of_the_callee_finds_the_session),
		TEST(test_a_transfer_may_replace_the_caller),
		TEST(test_sdp_that_names_our_own_port_changes_nothing),
		TEST(test_an_unanswered_reinvite_gives_its_ports_back_in_time),
		TEST(test_sdp_that_names_another_stream_of_the_session_changes_nothing),
		TEST(test_media_that_would_come_back_to_its_call_is_refused),
		TEST(test_a_call_may_go_through_the_relay_twice),
		TEST(test_a_disabled_line_may_name_any_address),
		TEST(test_a_late_offer_after_a_rejected_one_keeps_the_live_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
