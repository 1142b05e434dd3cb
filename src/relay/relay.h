#pragma once
/**
 * @file relay/relay.h  The relay's parts and how they are wired
 *
 * One control thread: links bring commands, sessions carry them out, the media
 * workers move the packets. This folder only connects them.
 */
#include "conf/conf.h"
#include "link/relay_links.h"
#include "management/api.h"
#include "media/media.h"
#include "media/routes.h"
#include "net/daemon.h"
#include "net/loop.h"
#include "session/session.h"
#include "store/store.h"

enum relay_state {
	RELAY_RUNNING,
	RELAY_DRAINING, /* HUP: no new calls, exits after the last one */
	RELAY_STOPPING  /* INT, TERM: every session is ended and reported */
};

/** An address of ours. */
struct relay_address {
	struct local_address local;
	bool by_route; /* found by auto_detect_interfaces, not configured */
	bool is_gone;  /* not on this host at present */
};

#define RELAY_MAX_ADDRESSES (2 * CONF_MAX_ADDRESSES)

struct relay_addresses {
	size_t count;
	struct relay_address list[RELAY_MAX_ADDRESSES];
};

struct relay {
	struct daemon *daemon;
	const struct conf_relay *conf;
	struct loop *loop;
	struct store *store; /* NULL: nothing survives this process */
	struct tls_context *tls;
	struct media *media;
	struct watch *media_watch;
	struct sessions *sessions;
	struct relay_links *links;
	struct management_api *api;
	struct timer *tick, *sample, *stop_limit;
	enum relay_state state;
	enum media_forwarding forwarding; /* as asked for last */
	bool leaving; /* the last session is gone; links send what waits */
	struct relay_addresses locals;
	struct addresses *addresses; /* the same, for sessions */
	struct routes *routes; /* NULL: the kernel tells nothing of routes */
	uint64_t addresses_lost, route_failures;
	struct log_limit route_warnings;
	uint64_t started_us, sampled_us, sampled_bytes;
	double bps_relayed;
	struct log_limit refusals;
};

/** Both clocks, as sessions want them. */
struct session_time relay_time(const struct relay *relay);

/* commands.c: what dispatchers ask */

/** A command on a link. arg: the relay */
void relay_command(const struct relay_request *request,
		   const struct command *command, void *arg);
/** A session ended by itself: send its record. arg: the relay */
void relay_session_expired(const struct session_final *final, void *arg);

/* summary.c: what people and dispatchers want to know */

void relay_write_summary(const struct relay *relay, struct json_writer *w);
/** The control channel. arg: the relay */
void relay_api_summary(struct management_request *request, void *arg);
void relay_api_sessions(struct management_request *request, void *arg);

/* explain.c: what happened to a call */

/** A command on a link: answered by an array. */
void relay_explain(struct relay *relay, const struct relay_request *request,
		   struct span call_id);
/** The control channel. arg: the relay */
void relay_api_explain(struct management_request *request, void *arg);

/* forwarding.c: what forwards, and how it is changed while calls are up */

/** Members of an object: engine, reason, interfaces, flows, counters. */
void relay_write_engine(const struct relay *relay, const char *reason_key,
			struct json_writer *w);
/** The control channel, as struct management_handlers has it. arg: the relay */
void relay_api_forwarding(struct management_request *request, void *arg);
int relay_api_set_forwarding(struct span json, struct buf *ret_why, void *arg);

/* state.c: what survives this process */

/** Open STATE_DIR/relay.db for records. If that cannot be, it is logged, and
 * relay->store stays NULL. */
void relay_open_store(struct relay *relay);

/* limits.c: what the host gives us */

/**
 * Where the ports end that can be used: RLIMIT_NOFILE may allow fewer pairs
 * than port_range has. Raises the limit, and logs what to do when it is too
 * low.
 *
 * @return the end for struct sessions_config, or 0 after logging that not even
 * one call fits
 */
uint32_t relay_usable_port_end(const struct conf_relay *conf);

/* addresses.c: where media arrives */

/** Find the addresses to bind, and see that they are ours. @return 0, or
 * negative errno after logging why */
int relay_find_addresses(const struct conf_relay *conf,
			 struct relay_addresses *ret);
/** Have sessions choose among them, and by routes if wanted. @return 0 or
 * negative errno after logging why */
int relay_open_addresses(struct relay *relay);
void relay_close_addresses(struct relay *relay);
/** Look whether they are there still; once a second. */
void relay_check_addresses(struct relay *relay);
/** Members of the summary. */
void relay_write_addresses(const struct relay *relay, struct json_writer *w);
