#pragma once
/**
 * @file media/learning.h  Who may send to a port: the remote of one component
 *
 * The policy against RTP bleed (CVE-2017-14114, CVE-2025-53399), as a pure
 * function over plain structs: facts in, verdict out. No I/O, no allocation, no
 * clock; nothing of a packet is kept here. One struct learning for one
 * component of one party. docs/media.md has the rules as a table.
 *
 * Sources have a rank: 1 is exactly the address in the SDP, 2 an IP address
 * that is known for the party, 3 anyone else. Ranks 1 and 2 are believed at
 * once, rank 3 has to prove itself after the answer. Nothing is ever sent to a
 * source that is not confirmed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "media/classify.h"
#include "media/media.h"

/** Sources that may prove themselves at the same time. */
#define LEARNING_CANDIDATES 4
/** Remotes replaced by new SDP that are remembered as such. */
#define LEARNING_REPLACED 2
/** Packets that wait for their source to be confirmed. */
#define LEARNING_HELD_MAX 8
/** Steps of the sequence number in a proof: 1 to this. */
#define LEARNING_PROOF_STEP 16
/** How far a stream may have gone on when it moves (RFC 3550: MAX_DROPOUT). */
#define LEARNING_REBIND_STEP 3000
/** A candidate that is silent for this long is forgotten (or settle_us, if that
 * is longer). */
#define LEARNING_CANDIDATE_US 1000000u

/**
 * Better first. Rank 2 comes in two strengths: an IP address that is known only
 * because a stranger proved itself there is believed as quickly, but gives way
 * to what the party itself told us. Otherwise a stranger that was thrown out of
 * one component would stay in the others.
 */
enum learning_rank {
	RANK_NONE,
	RANK_SDP,       /* 1 */
	RANK_KNOWN_IP,  /* 2 */
	RANK_PROVED_IP, /* 2, by the proof of a stranger */
	RANK_STRANGER   /* 3 */
};

/** An IP address of the party, and the rank of who sends from there. */
struct learning_known {
	struct ip_addr ip;
	uint8_t rank; /* RANK_KNOWN_IP or RANK_PROVED_IP */
};

struct learning_candidate {
	struct endpoint source; /* unset: a free slot */
	uint8_t run;            /* RTP packets in sequence so far */
	uint16_t seq;
	uint32_t ssrc;
	uint64_t seen_us;  /* its latest packet */
	uint64_t alone_us; /* since when one packet speaks for it; 0: none does
			    */
};

/** A remote that new SDP has replaced, and the SDP that it was learned under.
 */
struct learning_replaced {
	struct endpoint remote, sdp;
};

/** What is known of one component of one party. Zero it, then learning_init().
 */
struct learning {
	struct endpoint remote; /* confirmed; unset: not yet */
	uint8_t rank;           /* enum learning_rank of the remote */
	uint8_t rule;           /* enum learning_rule that settled it */
	uint8_t component;
	bool has_ssrc, has_udptl_seq;
	uint16_t seq; /* the highest of the remote's RTP or UDPTL */
	uint32_t ssrc;
	uint64_t heard_us;   /* the remote's latest packet; STUN is none */
	uint64_t changed_us; /* when new SDP replaced another address; 0: never
			      */
	uint8_t replaced_next;
	struct learning_replaced replaced[LEARNING_REPLACED];
	struct learning_candidate candidates[LEARNING_CANDIDATES];
};

/** What a verdict depends on besides the packets. Lives for one call. */
struct learning_facts {
	const struct learning_config *config;
	const struct endpoint *sdp; /* of this component; may be unset */
	/* its signalling, its remotes in all components and streams */
	const struct learning_known *known;
	size_t known_count;
	bool local_is_loopback; /* our address on this side */
	bool has_rtp_ssrc;      /* of the party's confirmed RTP, for RTCP */
	uint32_t rtp_ssrc;
	uint64_t opened_us;  /* when the answer came; 0: not yet */
	uint64_t resumed_us; /* when SDP last ended a hold; 0: never */
	uint64_t now_us;
};

enum learning_verdict {
	LEARNING_HEAR, /* from the remote: forward it */
	LEARNING_PASS, /* STUN of a known address: forward it, learn nothing */
	LEARNING_CONFIRM, /* its source is the remote now: forward what is held
			     of that source, drop what is held of others, then
			     as LEARNING_HEAR */
	LEARNING_HOLD,    /* of a candidate: keep it */
	LEARNING_DROP     /* for the reason given */
};

struct learning_decision {
	enum learning_verdict verdict;
	enum learning_rule rule; /* LEARNING_CONFIRM: which one */
	enum media_drop drop;    /* LEARNING_DROP: why */
};

const char *learning_verdict_name(enum learning_verdict verdict);

void learning_init(struct learning *l, enum component component);

/**
 * New SDP named another address: learn anew, and the old remote is a stranger,
 * until the SDP that it was learned under comes back (music on hold, and then
 * the phone again).
 *
 * @param before, after  Of this component; may be unset
 */
void learning_sdp_changed(struct learning *l, const struct endpoint *before,
			  const struct endpoint *after, uint64_t now_us);

/**
 * The way of nearly all packets: does this one come from the remote?
 *
 * @return true: forward it (LEARNING_HEAR); false: ask learning_judge()
 */
bool learning_hear(struct learning *l, const struct learning_config *config,
		   const struct endpoint *source,
		   const struct packet_facts *packet, uint64_t now_us);

/** What an engine has heard from the remote while no packet came to us. */
struct learning_heard {
	uint64_t heard_us;
	bool has_ssrc, has_udptl_seq;
	uint16_t seq;
	uint32_t ssrc;
};

/** Take it over, as if its latest packet had come by learning_hear(). */
void learning_hear_from_engine(struct learning *l,
			       const struct learning_heard *heard);

/** Judge a packet from any source. */
struct learning_decision learning_judge(struct learning *l,
					const struct learning_facts *facts,
					const struct endpoint *source,
					const struct packet_facts *packet);

/**
 * The party's RTP is settled. A stranger that is the remote of RTCP was not the
 * party, if RTP comes from another IP address with a better rank: forget it.
 *
 * @return whether the remote of RTCP is forgotten
 */
bool learning_follow_rtp(struct learning *rtcp, const struct learning *rtp);

/** Is anybody proving itself, so that learning_tick() has to be called? */
bool learning_is_waiting(const struct learning *l);

/**
 * Time passed without a packet: confirm a candidate that had no rival, forget
 * the silent ones. Call it settle_us after a packet was held.
 *
 * @return true if the remote is settled now, as by LEARNING_CONFIRM
 */
bool learning_tick(struct learning *l, const struct learning_facts *facts);

/** Nobody is proving itself any more. */
void learning_forget_candidates(struct learning *l);

/** Is this source proving itself? What is held of others can be dropped. */
bool learning_is_candidate(const struct learning *l,
			   const struct endpoint *source);

/**
 * Where packets for this party go: its remote, else its SDP where that may be
 * used, never a candidate.
 *
 * @param sdp_usable  What learning_sdp_is_usable() said
 * @return NULL: nowhere
 */
const struct endpoint *
learning_destination(struct learning *l, const struct learning_config *config,
		     const struct endpoint *sdp, bool sdp_usable,
		     uint64_t now_us);

/**
 * May packets be sent to the address in the SDP before anything came from
 * there? Not to private addresses out of routable_private_ranges, unless it is
 * a port of our own, nor to what
 * no media ever goes to (multicast, link-local, metadata services, loopback
 * unless our address is loopback too), nor to the other family.
 */
bool learning_sdp_is_usable(const struct learning_config *config,
			    const struct endpoint *sdp,
			    const struct ip_addr *local);

/** The rank of a source; RANK_NONE: nothing is ever sent there. */
enum learning_rank learning_rank_of(const struct learning *l,
				    const struct learning_facts *facts,
				    const struct endpoint *source);

/** May strangers be believed: rank 3, after the answer and settle_us? */
bool learning_is_open(const struct learning *l,
		      const struct learning_facts *facts);

/** Does the stream of the silent remote go on from this source? */
bool learning_rebinds(const struct learning *l,
		      const struct learning_facts *facts,
		      const struct endpoint *source,
		      const struct packet_facts *packet);

/** Others have decided who the remote is. @return whether something changed, as
 * by LEARNING_CONFIRM */
bool learning_set_remote(struct learning *l, const struct learning_facts *facts,
			 const struct endpoint *source, enum learning_rank rank,
			 enum learning_rule rule);

/** What ICE has decided stands, as if it had been known. */
void learning_end_ice(struct learning *l);

/** Is it one of denied_ranges? */
bool learning_is_denied(const struct learning_config *config,
			const struct ip_addr *ip);

/** Is it a port of this relay? @param local  Our address on this side */
bool learning_is_own_port(const struct learning_config *config,
			  const struct endpoint *sdp,
			  const struct ip_addr *local);

/** No packet goes there, and nothing is believed that comes from there. */
bool learning_is_refused(const struct learning_config *config,
			 const struct ip_addr *ip, bool local_is_loopback);

/** Does this packet show nothing of the party: neither an address in the SDP
 * nor an IP address that is known, nor the SSRC of its remote? */
bool learning_is_stranger(const struct learning *l,
			  const struct learning_facts *facts,
			  const struct endpoint *source,
			  const struct packet_facts *packet);

/** The address of a component, of the SDP's for RTP; unset without one. */
struct endpoint learning_component_sdp(const struct endpoint *sdp,
				       enum component component);
