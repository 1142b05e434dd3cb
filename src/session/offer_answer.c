#include "session/offer_answer.h"

static bool is_newer(const struct negotiation_facts *facts,
		     struct sip_transaction t)
{
	return !facts->seen[t.requester] ||
	       t.cseq > facts->highest_cseq[t.requester];
}

const char *message_kind_name(enum message_kind kind)
{
	static const char *const names[] = {"offer", "offer again", "answer",
					    "answer again", "old message"};

	return names[kind];
}

static enum message_kind while_open(const struct negotiation_facts *facts,
				    const struct media_message *message)
{
	const struct exchange_facts *open = &facts->open;
	bool newer = is_newer(facts, message->transaction);

	if (message->sender == open->offerer) {
		if (transaction_equal(message->transaction, open->offer))
			return MESSAGE_OFFER_AGAIN;
		return newer ? MESSAGE_OFFER : MESSAGE_OLD;
	}
	if (message->is_reply && !open->offer_in_reply &&
	    message->transaction.requester == open->offer.requester) {
		/* A late 200 of a transaction before the offer's. */
		if (message->transaction.cseq < open->offer.cseq)
			return MESSAGE_OLD;
		/* A late offer after a rejected one: its request had no SDP. */
		if (message->transaction.cseq > open->offer.cseq &&
		    facts->answered.exists)
			return MESSAGE_OFFER;
	}
	/* An offer in a request is answered in a reply to it. When the other
	 * party sends a new request with media instead, in a call that is up,
	 * the open offer was rejected (a 488 is not signalled), or the two
	 * cross, and this is an offer. Before the first answer there is nothing
	 * to fall back to: take it as the answer. A request of before is one
	 * that comes again. */
	if (message->is_reply || open->offer_in_reply)
		return MESSAGE_ANSWER;
	if (!newer)
		return MESSAGE_OLD;
	return facts->answered.exists ? MESSAGE_OFFER : MESSAGE_ANSWER;
}

enum message_kind message_classify(const struct negotiation_facts *facts,
				   const struct media_message *message)
{
	const struct exchange_facts *last = &facts->answered;

	if (facts->open.exists)
		return while_open(facts, message);
	if (!last->exists)
		return MESSAGE_OFFER;
	if (message->sender == last->offerer) {
		if (transaction_equal(message->transaction, last->offer))
			return MESSAGE_OFFER_AGAIN;
	} else if (transaction_equal(message->transaction, last->answer) ||
		   (message->is_reply &&
		    transaction_equal(message->transaction, last->offer))) {
		return MESSAGE_ANSWER_AGAIN;
	}
	return is_newer(facts, message->transaction) ? MESSAGE_OFFER
						     : MESSAGE_OLD;
}
