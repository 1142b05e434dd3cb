#include "dispatcher/records.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "link/link.h"

struct waiting {
	struct records *records;
	struct ip_addr relay;
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

	if (err == 0)
		records_drop(waiting->records, &waiting->relay,
			     span_of(record_id));
	if (waiting->taken)
		waiting->taken(err, waiting->arg);
	free(waiting);
}

int records_take(struct records *records, const struct ip_addr *relay,
		 struct span json, records_taken_h *taken, void *arg)
{
	struct waiting *waiting = calloc(1, sizeof(*waiting));
	char text[ADDR_TEXT_SIZE];
	int err = -ENOMEM;

	log_debug("final record from relay %s: %.*s", ip_format(relay, text),
		  SPAN_ARG(json));
	if (waiting) {
		*waiting = (struct waiting){records, *relay, taken, arg};
		err = accounting_take(records->accounting, relay, json,
				      record_taken, waiting);
	}
	if (err < 0)
		free(waiting);
	return err;
}
