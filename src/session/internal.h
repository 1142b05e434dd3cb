#pragma once
/**
 * @file session/internal.h  The structs behind session.h, for this folder alone
 *
 * sessions (table) -> session -> stream. A session also has its exchanges: the
 * open offer, and the one that was answered last. An exchange points to streams
 * in the order of its m= lines; the session's list owns them, ended ones too,
 * since they are part of the record.
 */
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "session/offer_answer.h"
#include "session/port_pool.h"
#include "session/session.h"
#include "session/signals.h"
#include "session/silence.h"

enum stream_state {
	STREAM_STATE_OFFERED,  /* made by an open offer, not answered yet */
	STREAM_STATE_LIVE,     /* accepted by an answer */
	STREAM_STATE_REJECTED, /* port 0 in the answer; a fork may accept it yet
				*/
	STREAM_STATE_ENDED /* final status; the sockets are closed or closing */
};

struct stream {
	struct list link; /* session->streams, in the order they were made */
	struct session *session;
	struct media_stream *media; /* NULL once its final counters are here */
	enum stream_state state;
	enum stream_status final_status; /* once ENDED */
	bool was_answered;               /* counts for the record */
	bool hold[PARTY_COUNT];          /* that party put it on hold */
	bool ice; /* the latest offer and answer both have it */
	uint8_t direction[PARTY_COUNT]; /* enum direction, as its SDP says */
	bool asymmetric[PARTY_COUNT];   /* it was, and that is logged */
	struct endpoint local[PARTY_COUNT]; /* what that party sends to */
	struct endpoint sdp[PARTY_COUNT]; /* what its SDP says; may be unset */
	struct endpoint reach[PARTY_COUNT]; /* the same; a port of ours where it
					       is bound */
	uint64_t offered_us, answered_us, ended_us, since_us;
	uint64_t timeout_wait_us;
	/* at the last tick: */
	bool over_limit[PARTY_COUNT];
	uint64_t over_limit_drops[PARTY_COUNT];
	struct media_snapshot final;
	struct stream_history *history; /* once media is NULL; or NULL */
	char type[];                    /* the m= line's media type */
};

/** What was decided about its senders. */
struct stream_history {
	struct history_facts of[PARTY_COUNT][COMPONENT_COUNT];
};

/** One m= line of an exchange. */
struct slot {
	struct stream *stream; /* NULL: disabled before it ever lived */
	bool is_new;         /* made by this exchange, not kept from the last */
	bool disabled;       /* the offer says port 0 */
	bool holds;          /* the offerer puts it on hold */
	bool ice;            /* the offerer uses ICE */
	uint8_t direction;   /* enum direction, as the offerer says */
	struct endpoint sdp; /* of the offerer; unset: unchanged */
};

struct exchange {
	struct exchange_facts facts;
	size_t count;
	struct slot slots[];
};

#define SESSION_MAX_CALLEE_TAGS 16
#define RECORD_ID_SIZE (32 + 1 + 16 + 1) /* 32 and 1 to 16 digits */

struct session {
	struct hash_node node; /* sessions->table, by call-id */
	struct list link;      /* sessions->list, by id */
	uint64_t id;
	struct sessions *sessions;
	struct media_session *media;
	char *call_id, *from_tag, *from_uri, *to_uri, *dialog_id, *username;
	size_t call_id_len;
	char *user_agent[PARTY_COUNT];
	size_t tag_count; /* callee tags, the latest last */
	char *tags[SESSION_MAX_CALLEE_TAGS];
	unsigned owner;
	struct ip_addr signalling[PARTY_COUNT];
	struct ip_addr local[PARTY_COUNT]; /* ours, of its latest streams */

	bool seen[PARTY_COUNT];
	uint32_t highest_cseq[PARTY_COUNT];
	struct exchange *open, *answered;
	/* An open offer that an offer of the other party crossed (RFC 3261,
	 * section 14). Which of the two got the 491 only the answer will tell.
	 */
	struct exchange *crossed;
	struct list streams;
	struct signals signals; /* for its story */

	uint64_t began_us, began_wall_us; /* the first offer */
	uint64_t changed_us;              /* the last offer or answer */
	unsigned changes; /* of answered streams: there is something to log */
	uint64_t start_mono_us, start_wall_us; /* first answer; 0: none yet */
	uint64_t answered_wall_us;             /* first answer with a to-tag */

	/* Once it is dead: out of the tables, waiting for final counters. */
	bool dead;
	enum session_end end;
	uint64_t ended_us, ended_wall_us;
	char record_id[RECORD_ID_SIZE]; /* once its counters are final */
	size_t closing_streams;
	session_removed_h *removed; /* NULL: report as expired, or drop */
	void *removed_arg;
	bool silent;  /* drop without a report: it never became a session */
	bool is_kept; /* for its story alone: in sessions->kept */
	size_t kept_bytes; /* about what it takes then */
};

struct sessions {
	struct sessions_config config;
	struct silence_limits limits;
	struct media *media;
	struct port_pool *ports;
	struct own_ports *own_ports;
	struct session_handlers handlers;
	void *arg;
	struct hash_table table;
	struct list list;  /* living sessions */
	struct list dying; /* dead ones */
	struct list kept;  /* ended ones, for their stories; oldest first */
	size_t kept_count, kept_bytes;
	uint64_t next_id;
	uint64_t record_count; /* record ids given so far */
	struct session_counts counts;
	uint64_t now_us; /* of the latest call: when closed ports begin to rest
			  */
	struct stream_type_count {
		char *type;
		size_t live;
	} * types;
	size_t type_count;
	struct log_limit over_limit_log;
};

/* session.c */
int session_new(struct session **ret, struct sessions *sessions,
		const struct update *update, unsigned owner,
		const struct session_time *now);
/** What a message says beside its media: addresses, tags, agent, dialog. */
int session_note(struct session *session, const struct update *update,
		 enum party sender, bool from_caller);
bool session_has_callee_tag(const struct session *session, struct span tag);
/** Leave the tables and close the streams; the report follows when they are
 * closed. */
void session_kill(struct session *session, enum session_end end,
		  const struct session_time *now);
/** Free a session that is in no table. */
void session_destroy(struct session *session);
/** A stream's final counters are here. */
void session_stream_closed(struct session *session);
struct span session_call_id(const struct session *session);
bool session_any_stream_in(const struct session *session,
			   enum stream_state state);

/* stream.c */
/** @param local  Our address for each party */
int stream_new(struct stream **ret, struct session *session,
	       const struct media_line *line, enum party offerer,
	       const struct ip_addr local[static PARTY_COUNT],
	       const struct session_time *now, const char **ret_why);
/** End it with a status. Never answered: it leaves no trace in the record. */
void stream_end(struct stream *stream, enum stream_status status,
		uint64_t now_us);
/** Free one whose counters are final, or that never had media. */
struct stream *stream_free(struct stream *stream);
bool stream_on_hold(const struct stream *stream);
/** Log it, once, if a party's media comes from elsewhere than its SDP says. */
void stream_note_asymmetric(struct stream *stream,
			    const struct media_snapshot *media);
/** What was decided about a component of a party. @return false: it cannot be
 * had, for want of memory or just now */
bool stream_read_history(const struct stream *stream, enum party party,
			 enum component component, struct history_facts *ret);
enum stream_status stream_status(const struct stream *stream);
void stream_read(const struct stream *stream, struct media_snapshot *ret);
void stream_set_sdp(struct stream *stream, enum party party,
		    const struct endpoint *sdp, uint64_t now_us);
void stream_accept(struct stream *stream, uint64_t now_us);
void stream_reject(struct stream *stream, uint64_t now_us);
void stream_set_ice(struct stream *stream, bool ice);
void stream_set_hold(struct stream *stream, enum party party, bool hold,
		     uint64_t now_us);

/* negotiate.c */
/** Take a message with media. @return 0 or negative errno; then nothing has
 * changed */
int negotiate(struct session *session, const struct update *update,
	      enum party sender, const struct session_time *now,
	      struct session_ports *ret, const char **ret_why);
/** May media be sent to the addresses of the message? @param session  NULL: a
 * new one. @return 0 or -EINVAL */
int negotiate_check(const struct sessions *sessions,
		    const struct session *session, const struct update *update,
		    enum party sender, const char **ret_why);
/** Give up the offers that nobody has answered. */
void exchange_drop_open(struct session *session, uint64_t now_us);

/* locals.c: our addresses of a session */

/** Those for the new streams of an offer, whose kept streams have their place
 * already. @return 0, -EINVAL or -EADDRNOTAVAIL */
int locals_choose(const struct session *session, const struct exchange *offer,
		  const struct update *update,
		  struct ip_addr ret[static PARTY_COUNT], const char **ret_why);
/** What the other party of the sender is told to send to, in the reply to a
 * message of that exchange, which may be NULL. */
struct ip_addr locals_reply(const struct session *session,
			    const struct exchange *exchange, enum party sender);

/* own_ports.c */
struct own_ports;
int own_ports_new(struct own_ports **ret, uint32_t first, uint32_t end);
void own_ports_add(struct own_ports *own, struct stream *stream);
void own_ports_del(struct own_ports *own, const struct stream *stream);
/** Where the relay itself finds the SDP: its own ports not at advertised_ip. */
struct endpoint own_ports_reach(const struct sessions *sessions,
				const struct endpoint *sdp);
/** Does the SDP name a port of this session itself? */
bool own_ports_has(const struct session *session, const struct endpoint *sdp);
/** Would what is sent there come back to this session, through others too? */
bool own_ports_lead_back(const struct session *session,
			 const struct endpoint *sdp);

/* report.c */
/** Fill in statistics; streams points to an array the caller frees. @return 0,
 * -ENOMEM */
int session_statistics_fill(const struct session *session, uint64_t now_us,
			    struct session_statistics *ret,
			    struct stream_statistics **ret_streams);
void session_log_ended(const struct session *session);
const char *session_end_name(enum session_end end);
/** What forwarded any of it, and the relay's address as others see it. */
const char *session_engine(const struct session *session);
struct ip_addr session_relay_ip(const struct session *session);

/* ended.c */
#define SESSIONS_KEPT 1000
#define SESSIONS_KEPT_BYTES (4u << 20)
/** Keep an ended one for its story, and forget the oldest ones. */
void session_keep(struct session *session);
/** Forget all. */
void sessions_forget_kept(struct sessions *sessions);

/* story.c */
/** Write what happened to it, as an object. */
void session_write_story(const struct session *session, uint64_t now_us,
			 struct json_writer *w);
