#pragma once
/**
 * @file dispatcher/directory_internal.h  What directory.c and
 * directory_relays.c share
 *
 * directory.c has calls and their sessions; directory_relays.c has the relays:
 * what they list, what they have lost, what is forgotten in time.
 */
#include "base/hash.h"
#include "base/list.h"
#include "dispatcher/directory.h"

/* A relay that has calls here, or is connected. */
struct relay {
	struct list link;
	struct ip_addr ip;
	struct list calls;
	bool up;
	uint64_t down_since_us;
	uint64_t generation;  /* of its list of sessions */
	uint64_t judge_at_us; /* when what was not listed is lost; 0: never */
};

struct directory {
	struct hash_table calls;
	struct list relays;
	struct list expired; /* sessions, the longest expired first */
	struct directory_counts counts;
	uint64_t last_id;
	struct directory_changes changes;
	void *arg;
};

struct directory_call {
	struct hash_node node;
	struct list of_relay;
	struct relay *relay;
	struct list sessions;
	size_t live_count;
	size_t call_id_len;
	char call_id[];
};

struct directory_to_tag {
	struct list link;
	size_t len;
	char text[];
};

struct directory_session {
	uint64_t id; /* on disk */
	struct list of_call;
	struct list of_expired;
	struct directory_call *call;
	struct list to_tags;
	unsigned to_tag_count;
	bool expired, in_doubt;
	uint64_t expired_us;
	uint64_t asked_order, asked_us; /* the last update that was sent */
	uint64_t made_order;            /* the last one that succeeded */
	uint64_t generation;
	uint64_t removing; /* generation of its last remove; 0: none */
	uint64_t removing_order;
	char *dialog_id; /* NULL: not known */
	size_t dialog_id_len;
	char *from_uri, *to_uri; /* NULL: not known */
	size_t from_uri_len, to_uri_len;
	uint64_t answered_us; /* UNIX time; 0: not yet */
	size_t from_tag_len;
	char from_tag[];
};

struct span directory_session_from_tag(const struct directory_session *session);
/** The callee tag that was learned last; empty: none. */
struct span directory_session_last_tag(const struct directory_session *session);
/** Without telling of it. What does not fit into memory is missed when a BYE
 * names it, no sooner. @return whether it is a new one */
bool directory_session_add_tag(struct directory_session *session,
			       struct span tag);

/** A relay that is known, or NULL. */
struct relay *directory_find_relay(const struct directory *directory,
				   const struct ip_addr *ip);

/** The same; one that is not known is made. NULL: no memory. */
struct relay *directory_take_relay(struct directory *directory,
				   const struct ip_addr *ip);

/** Drop it with all its calls. @return how many sessions */
size_t directory_forget_relay(struct directory *directory, struct relay *relay,
			      directory_drop_h *drop, void *arg);
