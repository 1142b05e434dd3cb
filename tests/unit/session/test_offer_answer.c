#include "session/offer_answer.h"

#include "test.h"

#define CALLER PARTY_CALLER
#define CALLEE PARTY_CALLEE

/* What the session remembers, kept as the session keeps it. */
static struct negotiation_facts facts;

static int forget(void **state)
{
	(void)state;
	facts = (struct negotiation_facts){0};
	return 0;
}

/* Take a message and say what it was. */
static enum message_kind take(enum party sender, bool is_reply, uint32_t cseq)
{
	struct media_message message = {
		.sender = sender,
		.is_reply = is_reply,
		.transaction = {is_reply ? party_other(sender) : sender, cseq},
	};
	enum message_kind kind = message_classify(&facts, &message);
	struct sip_transaction t = message.transaction;

	if (kind == MESSAGE_OFFER) {
		facts.open = (struct exchange_facts){
			.exists = true,
			.offerer = sender,
			.offer_in_reply = is_reply,
			.offer = t,
		};
	} else if (kind == MESSAGE_ANSWER) {
		facts.answered = facts.open;
		facts.open = (struct exchange_facts){0};
	}
	if (kind == MESSAGE_ANSWER || kind == MESSAGE_ANSWER_AGAIN)
		facts.answered.answer = t;
	if (kind != MESSAGE_OLD && kind != MESSAGE_OFFER_AGAIN &&
	    (!facts.seen[t.requester] ||
	     t.cseq > facts.highest_cseq[t.requester])) {
		facts.seen[t.requester] = true;
		facts.highest_cseq[t.requester] = t.cseq;
	}
	return kind;
}

#define REQUEST(party, cseq) take(party, false, cseq)
#define REPLY(party, cseq) take(party, true, cseq)

static void test_invite_and_200_are_offer_and_answer(void **state)
{
	(void)state;
	assert_int_equal(REQUEST(CALLER, 1), MESSAGE_OFFER);
	assert_int_equal(REPLY(CALLEE, 1), MESSAGE_ANSWER);
}

static void test_183_and_200_answer_the_same_offer(void **state)
{
	(void)state;
	REQUEST(CALLER, 1);
	assert_int_equal(REPLY(CALLEE, 1), MESSAGE_ANSWER);
	assert_int_equal(REPLY(CALLEE, 1), MESSAGE_ANSWER_AGAIN);
}

static void test_a_retransmitted_offer_is_never_an_answer(void **state)
{
	(void)state;
	REQUEST(CALLER, 1);
	assert_int_equal(REQUEST(CALLER, 1), MESSAGE_OFFER_AGAIN);
	REPLY(CALLEE, 1);
	assert_int_equal(REQUEST(CALLER, 1), MESSAGE_OFFER_AGAIN);
}

static void test_the_ack_answers_a_late_offer(void **state)
{
	(void)state;
	assert_int_equal(REPLY(CALLEE, 1), MESSAGE_OFFER);
	assert_int_equal(REPLY(CALLEE, 1), MESSAGE_OFFER_AGAIN);
	assert_int_equal(REQUEST(CALLER, 1), MESSAGE_ANSWER);
	assert_int_equal(REQUEST(CALLER, 1), MESSAGE_ANSWER_AGAIN);
}

static void test_a_prack_answers_an_offer_in_a_reliable_183(void **state)
{
	(void)state;
	assert_int_equal(REPLY(CALLEE, 1), MESSAGE_OFFER);
	assert_int_equal(REQUEST(CALLER, 2), MESSAGE_ANSWER);
	assert_int_equal(REPLY(CALLEE, 1), MESSAGE_OFFER_AGAIN);
}

static void test_an_update_may_offer_after_the_first_answer(void **state)
{
	(void)state;
	REQUEST(CALLER, 1);
	REPLY(CALLEE, 1);
	assert_int_equal(REQUEST(CALLER, 3), MESSAGE_OFFER);
	assert_int_equal(REPLY(CALLEE, 3), MESSAGE_ANSWER);
	/* the 200 to the INVITE repeats what the 183 said */
	assert_int_equal(REPLY(CALLEE, 1), MESSAGE_OLD);
}

static void test_a_reinvite_of_the_callee_counts_its_own_cseq(void **state)
{
	(void)state;
	REQUEST(CALLER, 50);
	REPLY(CALLEE, 50);
	assert_int_equal(REQUEST(CALLEE, 1), MESSAGE_OFFER);
	assert_int_equal(REPLY(CALLER, 1), MESSAGE_ANSWER);
	assert_int_equal(REQUEST(CALLER, 51), MESSAGE_OFFER);
}

static void
test_a_rejected_offer_is_replaced_by_the_same_partys_next(void **state)
{
	(void)state;
	REQUEST(CALLER, 1);
	REPLY(CALLEE, 1);
	assert_int_equal(REQUEST(CALLER, 2), MESSAGE_OFFER);
	assert_int_equal(REQUEST(CALLER, 3), MESSAGE_OFFER);
	assert_int_equal(REPLY(CALLEE, 3), MESSAGE_ANSWER);
}

static void
test_a_rejected_offer_is_not_answered_by_the_other_partys_request(void **state)
{
	(void)state;
	REQUEST(CALLER, 1);
	REPLY(CALLEE, 1);
	assert_int_equal(REQUEST(CALLER, 2), MESSAGE_OFFER);
	assert_int_equal(REQUEST(CALLEE, 7), MESSAGE_OFFER);
	assert_int_equal(REPLY(CALLER, 7), MESSAGE_ANSWER);
}

static void
test_an_old_request_of_the_other_party_answers_no_offer(void **state)
{
	(void)state;
	REQUEST(CALLER, 1);
	REPLY(CALLEE, 1);
	REQUEST(CALLEE, 7);
	REPLY(CALLER, 7);
	assert_int_equal(REQUEST(CALLER, 2), MESSAGE_OFFER);
	assert_int_equal(REQUEST(CALLEE, 7), MESSAGE_OLD);
	assert_int_equal(REPLY(CALLEE, 2), MESSAGE_ANSWER);
}

static void
test_before_the_first_answer_any_media_of_the_other_party_answers(void **state)
{
	(void)state;
	REQUEST(CALLER, 1);
	assert_int_equal(REQUEST(CALLEE, 9), MESSAGE_ANSWER);
}

static void
test_a_late_200_of_an_older_transaction_answers_nothing(void **state)
{
	(void)state;
	REQUEST(CALLER, 1);
	REPLY(CALLEE, 1);
	assert_int_equal(REQUEST(CALLER, 2), MESSAGE_OFFER);
	assert_int_equal(REPLY(CALLEE, 1), MESSAGE_OLD);
	assert_int_equal(REPLY(CALLEE, 2), MESSAGE_ANSWER);
}

static void test_an_older_cseq_changes_nothing(void **state)
{
	(void)state;
	REQUEST(CALLER, 5);
	REPLY(CALLEE, 5);
	assert_int_equal(REQUEST(CALLER, 4), MESSAGE_OLD);
	REQUEST(CALLER, 6);
	assert_int_equal(REQUEST(CALLER, 4), MESSAGE_OLD);
}

static void test_a_reinvite_without_sdp_is_answered_by_its_ack(void **state)
{
	(void)state;
	REQUEST(CALLER, 1);
	REPLY(CALLEE, 1);
	assert_int_equal(REPLY(CALLEE, 2), MESSAGE_OFFER);
	assert_int_equal(REQUEST(CALLER, 2), MESSAGE_ANSWER);
}

#define TEST(name) cmocka_unit_test_setup(name, forget)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_invite_and_200_are_offer_and_answer),
		TEST(test_183_and_200_answer_the_same_offer),
		TEST(test_a_retransmitted_offer_is_never_an_answer),
		TEST(test_the_ack_answers_a_late_offer),
		TEST(test_a_prack_answers_an_offer_in_a_reliable_183),
		TEST(test_an_update_may_offer_after_the_first_answer),
		TEST(test_a_reinvite_of_the_callee_counts_its_own_cseq),
		TEST(test_a_rejected_offer_is_replaced_by_the_same_partys_next),
		TEST(test_a_rejected_offer_is_not_answered_by_the_other_partys_request),
		TEST(test_an_old_request_of_the_other_party_answers_no_offer),
		TEST(test_before_the_first_answer_any_media_of_the_other_party_answers),
		TEST(test_a_late_200_of_an_older_transaction_answers_nothing),
		TEST(test_an_older_cseq_changes_nothing),
		TEST(test_a_reinvite_without_sdp_is_answered_by_its_ack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
