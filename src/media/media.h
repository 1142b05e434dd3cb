#pragma once
/**
 * @file media/media.h  The packet path, as sessions see it
 *
 * N worker threads move the packets. All streams of one session live on one
 * worker for life, so a packet is received, judged and sent without a lock, and
 * what one stream learned about a party serves the others. The functions here
 * belong to the control thread: they never wait for a worker, and a worker
 * never for them. Settings are published, and read by the worker when the next
 * packet comes; numbers are read from what the worker publishes. Closing is in
 * two steps: media_stream_close() stops the traffic at the worker, and its
 * final counters come back by media_dispatch().
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "media/history.h"
#include "proto/party.h"

struct media;
struct media_session;
struct media_stream;

enum learning_mode {
	LEARNING_SAFE,        /* ranks and proof, the default */
	LEARNING_STRICT,      /* ranks 1 and 2 only */
	LEARNING_FIRST_PACKET /* whoever comes first, as the original */
};

#define LEARNING_MAX_RANGES 32
#define LEARNING_MAX_OWN 16

/** How the remote of a party is found. Immutable, shared by all workers. */
struct learning_config {
	enum learning_mode mode;
	uint64_t settle_us; /* how long ranks 1 and 2 go before rank 3 */
	uint64_t rebind_silence_us; /* how long one is silent before it moves */
	uint64_t rtcp_forget_us;    /* silence that ends an RTCP remote */
	unsigned probation_packets; /* RTP in sequence that prove a stranger */
	size_t range_count;         /* routable_private_ranges */
	struct ip_network ranges[LEARNING_MAX_RANGES];
	uint32_t own_first, own_end; /* our own ports: [first, end) */
	size_t own_count;            /* at these addresses of ours */
	struct ip_addr own[LEARNING_MAX_OWN];
	size_t denied_count; /* denied_ranges: nothing to them or from them */
	struct ip_network denied[LEARNING_MAX_RANGES];
};

/** What one party may send to one port, in a second; 0: no limit. */
struct media_limits {
	uint64_t packets, bytes; /* of whole IP packets */
};

/** What forwards confirmed flows. */
enum media_forwarding {
	FORWARDING_AUTO, /* for each interface xdp, else tc, else userspace */
	FORWARDING_XDP,
	FORWARDING_TC,
	FORWARDING_USERSPACE
};

const char *media_forwarding_name(enum media_forwarding forwarding);

/** The engine that forwards confirmed flows in the kernel. */
struct media_engine_config {
	enum media_forwarding forwarding;
	/* names, by spaces or commas, "": all but lo; lives as long as media */
	const char *interfaces;
	struct ip_addr local; /* the first of ours; tells relays of one host
				 apart, as ports do */
	bool is_loopback;     /* all of ours are */
	uint32_t port_first, port_end;
	unsigned tos;      /* TOS byte, or traffic class, of what is sent */
	bool keeps_tos;    /* not that, but as it was received */
	uint64_t lease_us; /* for so long it goes on without us */
};

struct media_config {
	unsigned worker_count; /* 0: one for each core */
	struct learning_config learning;
	struct media_limits limits;
	struct media_engine_config engine;
};

/** Why a packet that arrived was not forwarded. In the metrics by name. */
enum media_drop {
	DROP_NOT_THE_REMOTE, /* a source other than the confirmed one */
	DROP_NOT_OPEN,       /* a stranger before the answer, or settling */
	DROP_STRICT,         /* a stranger, with learning = strict */
	DROP_NOT_PROVED,     /* of a candidate that did not prove itself */
	DROP_NO_DESTINATION, /* the other party's address is unknown */
	DROP_NOT_FORWARDING, /* the stream is rejected or closed */
	DROP_SEND_FAILED,    /* the kernel refused it: unreachable, too big */
	DROP_SEND_FULL,      /* the socket's send buffer was full */
	DROP_RECEIVE_FULL,   /* the socket's receive buffer was full */
	DROP_STUN_REFUSED,   /* of an ICE stream: malformed, played again, or
				a response that nobody waits for */
	DROP_STUN_LIMIT,     /* of an ICE stream: more than is passed on */
	DROP_FLOOD,          /* not the remote, and more than is worth a look */
	DROP_OVER_LIMIT,     /* the remote, and more than a stream may be */
	DROP_COUNT
};

const char *media_drop_name(enum media_drop drop);

/** Which rule settled a remote. */
enum learning_rule {
	RULE_NONE,
	RULE_SDP,          /* rank 1: exactly the address in the SDP */
	RULE_KNOWN_IP,     /* rank 2: an IP address known for that party */
	RULE_PROVED,       /* rank 3: proved itself */
	RULE_REBIND,       /* the same stream went on from a new address */
	RULE_FIRST_PACKET, /* learning = first-packet */
	RULE_ICE           /* its check of the other party succeeded */
};

const char *learning_rule_name(enum learning_rule rule);

/** What came from one party on one component, since the stream began. */
struct media_counters {
	uint64_t packets; /* forwarded */
	uint64_t bytes;   /* of whole IP packets */
	uint64_t drops[DROP_COUNT];
	/* monotonic; 0: never. STUN and RTCP are no media */
	uint64_t first_media_us, last_media_us;
	struct endpoint remote; /* confirmed, or unset */
	enum learning_rule rule;
	int payload_type;        /* RTP: the latest; -1: none yet */
	uint64_t kernel_packets; /* those of `packets` that the kernel had */
};

struct media_snapshot {
	struct media_counters from[PARTY_COUNT][COMPONENT_COUNT];
};

/** Sums over all streams since the start, ended ones too. */
struct media_totals {
	uint64_t packets, bytes;
	uint64_t kernel_packets; /* those of `packets` that the kernel had */
	uint64_t drops[DROP_COUNT];
	uint64_t streams_created, streams_destroyed;
	uint64_t sockets_opened, sockets_closed;
	unsigned worker_count;
};

/**
 * Start the workers.
 *
 * @return 0, -ENOMEM, or the error that pthread or epoll gave
 */
int media_new(struct media **ret, const struct media_config *config);

/** For a start with FORWARDING_USERSPACE: remove what a relay with the same
 * address and ports, or any that was killed, has left in the kernel. */
void media_remove_leftovers(const struct media_engine_config *config);

/**
 * Stop the workers and close what is still open; no closed handler is called.
 * The one place where the control thread waits for the workers. NULL is fine.
 *
 * @return NULL
 */
struct media *media_free(struct media *media);

/** Readable when media_dispatch() has something to do. Belongs to the media. */
int media_event_fd(const struct media *media);

/** Call the closed handlers of all streams that the workers have finished. */
void media_dispatch(struct media *media);

void media_read_totals(const struct media *media, struct media_totals *ret);

#define MEDIA_REASON_SIZE 128
#define MEDIA_ENGINE_STATS 16

/** What forwards at present, and why. */
struct media_engine_status {
	const char *name; /* "xdp", "tc", "xdp+tc" or "userspace" */
	enum media_forwarding forwarding; /* that is in force */
	char reason[MEDIA_REASON_SIZE];
	uint64_t flows;         /* in the kernel */
	uint64_t destinations;  /* IP addresses that they go to */
	uint64_t hops;          /* neighbours that they go by */
	uint64_t hops_full;     /* how often there was no room for one more */
	uint64_t lookup_errors; /* of routes and neighbours */
	uint64_t neighbours_refused; /* we may not have them resolved */
	uint64_t netlink_resyncs;    /* events were lost, all was read anew */
	size_t stat_count; /* packets that went up or were dropped there */
	struct {
		const char *name;
		uint64_t value;
	} stats[MEDIA_ENGINE_STATS];
};

/** What forwards what arrives at an interface, and why. */
struct media_interface_status {
	char name[16];
	const char *engine;
	char reason[MEDIA_REASON_SIZE];
};

void media_engine_status(const struct media *media,
			 struct media_engine_status *ret);

/** Its name alone. */
const char *media_engine_name(const struct media *media);

/** The interfaces by number. @return false: there are no more */
bool media_interface_status(const struct media *media, unsigned index,
			    struct media_interface_status *ret);

/**
 * Change what forwards, for all calls. The engine is opened if it was not.
 * What came of it is in media_engine_status() soon after, and in the log.
 *
 * @return 0, or the error for which no engine can be opened
 */
int media_set_forwarding(struct media *media, enum media_forwarding forwarding);

/** Two bound sockets: RTP on an even port, RTCP on the next. */
struct media_port_pair {
	struct endpoint local; /* of RTP */
	int fd[COMPONENT_COUNT];
};

/**
 * Bind the sockets of a pair.
 *
 * @return 0, -EADDRINUSE if another program holds one of the ports (neither is
 *         kept), -EINVAL if the port is odd, or the error of socket() or
 * bind(): -EMFILE, -EADDRNOTAVAIL, ...
 */
int media_port_pair_open(struct media *media, const struct ip_addr *ip,
			 uint16_t rtp, struct media_port_pair *ret);
/** For a pair that no stream took. */
void media_port_pair_close(struct media *media, struct media_port_pair *pair);

/** A session's place on a worker. @return 0 or -ENOMEM */
int media_session_new(struct media_session **ret, struct media *media);
/**
 * Give a session up, before media_free(). Streams that are open or being closed
 * keep what they need of it. NULL is fine.
 *
 * @return NULL
 */
struct media_session *media_session_free(struct media_session *session);

/** The address that a party's signalling comes from: rank 2 for its media. */
void media_session_set_signalling(struct media_session *session,
				  enum party party, const struct ip_addr *ip);

/** What a stream carries, as far as its packets have to be told apart. */
enum media_format {
	MEDIA_FORMAT_RTP,  /* and all that shares a port with it (RFC 7983) */
	MEDIA_FORMAT_UDPTL /* T.38: a counter first, which looks like anything
			      in time */
};

/**
 * Put a stream on its worker. It forwards as soon as one party's address is
 * known.
 *
 * @param pairs  What each party sends to; taken over on success
 * @return 0 or -ENOMEM
 */
int media_stream_new(struct media_stream **ret, struct media_session *session,
		     const struct media_port_pair pairs[PARTY_COUNT],
		     enum media_format format);

/**
 * The party's address in the SDP: RTP there, RTCP on the next port. When it
 * differs from before, both components of that party learn anew, and the old
 * remote is a stranger. An unset address or port 0: none is known.
 */
void media_stream_set_sdp(struct media_stream *stream, enum party party,
			  const struct endpoint *sdp);

/** May packets be sent to this address in an SDP before anything came from
 * there, by a stream with this local address? */
bool media_may_send_to(const struct media *media, const struct endpoint *sdp,
		       const struct ip_addr *local);

/** The answer came (a 183 included): rank 3 opens after settle_us. Once is
 * enough. */
void media_stream_open(struct media_stream *stream);

/** SDP ended a hold: a party that is silent since before may come back from
 * another port of a known IP address, with another SSRC. */
void media_stream_resume(struct media_stream *stream);

/** Both parties use ICE on this stream, or no longer. To be said before the
 * addresses of the same SDP. */
void media_stream_set_ice(struct media_stream *stream, bool ice);

/** A rejected stream forwards nothing, until it is accepted after all. */
void media_stream_set_forwarding(struct media_stream *stream, bool forwarding);

/** Is it one of denied_ranges? */
bool media_is_denied(const struct media *media, const struct ip_addr *ip);

/**
 * Take flows of the stream that are over media_limits back from the kernel:
 * userspace drops what is too much, until it was below for a while. To be
 * called about once a second.
 *
 * @param snapshot  Of the stream, as of now
 */
void media_stream_check_limits(struct media_stream *stream,
			       const struct media_snapshot *snapshot,
			       uint64_t now_us);

/** Numbers as of now; exact for what the worker has finished. */
void media_stream_read(const struct media_stream *stream,
		       struct media_snapshot *ret);

/** What was decided about one component of a party, as of now; within the
 * closed handler too. @return false: it cannot be had just now */
bool media_stream_read_history(const struct media_stream *stream,
			       enum party party, enum component component,
			       struct history_facts *ret);

/** The final numbers of a stream; it is gone when the handler returns. */
typedef void media_closed_h(const struct media_snapshot *final, void *arg);

/**
 * Stop forwarding and close the sockets. What had arrived before is forwarded
 * and counted still, up to a batch of each socket.
 *
 * @param closed  Called later, by media_dispatch(); NULL: nobody wants to know.
 * A second call changes only who is told
 */
void media_stream_close(struct media_stream *stream, media_closed_h *closed,
			void *arg);
