#pragma once
/**
 * @file session/diagnosis.h  Does one party hear the other, and if not, why?
 *
 * The last lines of `mediaproxy explain`, as a pure function: facts in, verdict
 * and words out. One direction of one stream, from the party that speaks to the
 * one that listens, RTP alone.
 */
#include "base/buf.h"
#include "media/media.h"
#include "proto/update.h"

/** Media that stopped this long ago is worth a word. */
#define DIAGNOSIS_SILENCE_US 5000000u

enum diagnosis {
	DIAGNOSIS_FINE,
	DIAGNOSIS_NOT_ANSWERED,   /* the call is not set up yet */
	DIAGNOSIS_REJECTED,       /* the stream was not accepted */
	DIAGNOSIS_ON_HOLD,        /* SDP says that nothing is to be heard */
	DIAGNOSIS_NO_DESTINATION, /* it comes, and can go nowhere */
	DIAGNOSIS_NOT_SENT,       /* the kernel refused to send it */
	DIAGNOSIS_WRONG_SOURCE,   /* it comes from somebody who is refused */
	DIAGNOSIS_ELSEWHERE,      /* ICE may have chosen a way without us */
	DIAGNOSIS_FELL_SILENT,    /* it came, and stopped */
	DIAGNOSIS_NOTHING_CAME
};

const char *diagnosis_name(enum diagnosis diagnosis);

struct diagnosis_facts {
	enum party speaker;
	const char *type; /* of media */
	bool answered, rejected, ended;
	bool ice;                              /* both parties use it */
	bool hold[PARTY_COUNT];                /* that party put it on hold */
	enum direction direction[PARTY_COUNT]; /* that party's SDP says */
	struct endpoint sdp[PARTY_COUNT];      /* unset: none */
	struct endpoint local;                 /* what the speaker sends to */
	bool listener_is_reachable;            /* packets have where to go */
	bool local_is_gone;         /* our address is not on this host */
	bool remote_is_ours;        /* the port of ours that the SDP names */
	struct media_counters from; /* the speaker's RTP */
	/* The source that most of it was refused of; unset: none. */
	struct endpoint refused_source;
	enum media_drop refused_why;
	uint64_t refused_packets, refused_last_us;
	uint64_t began_us; /* of the session: 0.000 in its story */
	uint64_t now_us;   /* or when the stream ended */
};

enum diagnosis diagnose(const struct diagnosis_facts *facts);

/** What diagnose() says, as a sentence without a full stop. */
void diagnosis_write(struct buf *out, const struct diagnosis_facts *facts);

/** "1 packet", "2 packets". @return text */
const char *diagnosis_packets(uint64_t count, char text[static 40]);

/** Does media come from elsewhere than a public address in the SDP, or from
 * another port? Behind a NAT, with a private one, that says nothing. */
bool diagnosis_is_asymmetric(const struct endpoint *sdp,
			     const struct endpoint *remote);

/** Why packets are refused, and how a remote was found, for people. */
const char *diagnosis_drop_text(enum media_drop why);
const char *diagnosis_rule_text(enum learning_rule rule);
