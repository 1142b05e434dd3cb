#include "dispatcher/records.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "link/link.h"

struct waiting {
	struct records *records;
	struct ip_addr relay;
	bool is_own; /* its relay knows nothing of it */
	records_taken_h *taken;
	void *arg;
};

void records_drop(struct records *records, const struct ip_addr *relay,
		  struct span record_id)
{
	struct relay_peer *peer =
		records->peers ? relay_peers_find(records->peers, relay) : NULL;

	if (peer && record_id.len > 0)
		relay_peer_ack(peer, record_id);
}

/* Without the ack the relay sends it again on its next connection: better
 * there than nowhere. */
static void record_taken(int err, const char *record_id, void *arg)
{
	struct waiting *waiting = arg;

	if (err == 0 && !waiting->is_own)
		records_drop(waiting->records, &waiting->relay,
			     span_of(record_id));
	if (waiting->taken)
		waiting->taken(err, waiting->arg);
	free(waiting);
}

static int take(const struct waiting *what, struct span json)
{
	struct waiting *waiting = malloc(sizeof(*waiting));
	char text[ADDR_TEXT_SIZE];
	int err = -ENOMEM;

	log_debug("final record from relay %s: %.*s",
		  ip_format(&what->relay, text), SPAN_ARG(json));
	if (waiting) {
		*waiting = *what;
		err = accounting_take(what->records->accounting, &what->relay,
				      json, record_taken, waiting);
	}
	if (err < 0)
		free(waiting);
	return err;
}

int records_take(struct records *records, const struct ip_addr *relay,
		 struct span json, records_taken_h *taken, void *arg)
{
	const struct waiting waiting = {.records = records,
					.relay = *relay,
					.taken = taken,
					.arg = arg};

	return take(&waiting, json);
}

int records_take_own(struct records *records, const struct ip_addr *relay,
		     struct span json)
{
	const struct waiting waiting = {
		.records = records, .relay = *relay, .is_own = true};

	return take(&waiting, json);
}
