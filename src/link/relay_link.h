#pragma once
/**
 * @file link/relay_link.h  One link of a relay to one address of a dispatcher
 *
 * Dials, keeps alive, dials again; frames commands; sends the records that
 * relay_records.h keeps. Private to relay_links.c, which says what the words
 * mean.
 */
#include "base/addr.h"
#include "link/relay_links.h"
#include "link/relay_records.h"

struct relay_link;

/** What all links of a relay share. */
struct relay_link_shared {
	struct loop *loop;
	const struct tls_context *tls;
	uint64_t keepalive_us, first_reconnect_us, reconnect_us;
	struct relay_record_file *file;       /* or NULL */
	size_t max_records, max_record_bytes; /* in memory, of a dispatcher */
	struct link_hello hello;
	struct relay_links_counts counts;
	struct relay_links_handlers handlers;
	void *arg;
};

/** A link that is not started. @param label  for logs, copied. @return 0 or
 * -ENOMEM */
int relay_link_new(struct relay_link **ret, struct relay_link_shared *shared,
		   unsigned owner, const struct endpoint *to,
		   const char *label);
struct relay_link *relay_link_free(struct relay_link *link);

/** Dial, and again until relay_link_stop(). Harmless when started. */
void relay_link_start(struct relay_link *link);
/** Hang up, and stay so. Harmless when stopped. */
void relay_link_stop(struct relay_link *link, const char *why);
bool relay_link_is_started(const struct relay_link *link);

/** Hang up for now, and dial again. */
void relay_link_drop(struct relay_link *link, const char *why);

/** Check the dispatcher's certificate again; hang up if it is not good any
 * more. */
void relay_link_verify(struct relay_link *link);

int relay_link_reply(struct relay_link *link,
		     const struct relay_request *request, struct span text);
void relay_link_expired(struct relay_link *link, struct span record_id,
			struct span json);
void relay_link_removed(struct relay_link *link,
			const struct relay_request *request,
			struct span record_id, struct span reply,
			struct span expired);

/** Nothing waits to be sent or acknowledged. */
bool relay_link_is_flushed(const struct relay_link *link);
void relay_link_count_records(const struct relay_link *link,
			      struct relay_records_counts *ret);

unsigned relay_link_features(const struct relay_link *link);
const struct endpoint *relay_link_endpoint(const struct relay_link *link);
const char *relay_link_label(const struct relay_link *link);
