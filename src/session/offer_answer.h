#pragma once
/**
 * @file session/offer_answer.h  What a message with media is: offer, answer, or
 * old
 *
 * Offer and answer go by party (RFC 3264; where SDP may stand: RFC 6337). The
 * messages reach us in the order in which the SIP proxy saw them, with
 * retransmissions and forked replies, and without the rejections. Pure.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/party.h"

/** A SIP transaction: whose request it is, and its CSeq. Each party counts for
 * itself. */
struct sip_transaction {
	enum party requester;
	uint32_t cseq;
};

static inline bool transaction_equal(struct sip_transaction a,
				     struct sip_transaction b)
{
	return a.requester == b.requester && a.cseq == b.cseq;
}

/** A message that carries media. */
struct media_message {
	enum party sender;
	bool is_reply;
	struct sip_transaction transaction;
};

/** One exchange of offer and answer, as far as it came. */
struct exchange_facts {
	bool exists;
	enum party offerer;
	bool offer_in_reply; /* a late offer: in a 200 or a reliable 183 */
	struct sip_transaction offer;
	struct sip_transaction answer; /* of an answered exchange */
};

struct negotiation_facts {
	struct exchange_facts open; /* the offer that waits for its answer */
	struct exchange_facts
		answered;       /* the last exchange that was answered */
	bool seen[PARTY_COUNT]; /* any request of that party yet? */
	uint32_t highest_cseq[PARTY_COUNT];
};

enum message_kind {
	MESSAGE_OFFER, /* a new offer; an open one of the same party is dead */
	MESSAGE_OFFER_AGAIN,  /* a retransmission of the open or answered offer
			       */
	MESSAGE_ANSWER,       /* the answer to the open offer */
	MESSAGE_ANSWER_AGAIN, /* 183 then 200, or a fork: may change the streams
			       */
	MESSAGE_OLD           /* changes nothing */
};

const char *message_kind_name(enum message_kind kind);

enum message_kind message_classify(const struct negotiation_facts *facts,
				   const struct media_message *message);
