#include "dispatcher/interims.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "link/link.h"

/* Of one relay; each has some hundred sessions. */
#define MAX_PAGES 10000

struct interims {
	struct relay_peers *peers;
	struct accounting *accounting;
	struct timer *timer; /* NULL: stopped */
	struct list questions;
};

/* A relay that is asked. */
struct question {
	struct list link;
	struct interims *interims;
	struct ip_addr relay;
	unsigned pages;
};

static int ask(struct question *question, struct relay_peer *peer,
	       uint64_t cursor);

static void report(const struct session_report *session, void *arg)
{
	struct interims *interims = arg;

	if (session->has_start_time)
		accounting_interim(interims->accounting, session->json);
}

/* @return the cursor of the next page, or 0 */
static uint64_t read_sessions(struct interims *interims,
			      enum relay_outcome outcome, struct span text)
{
	struct span array = text;
	uint64_t next = 0;

	if (outcome != RELAY_OUTCOME_TEXT ||
	    (text.ptr[0] == '{' && session_page_split(text, &array, &next) < 0))
		return 0;
	return session_reports_decode(array, report, interims) < 0 ? 0 : next;
}

static void sessions_came(struct relay_peer *peer, enum relay_outcome outcome,
			  struct span text, void *arg)
{
	struct question *question = arg;
	struct interims *interims = question->interims;
	uint64_t next = 0;

	if (interims->timer)
		next = read_sessions(interims, outcome, text);
	if (next > 0 && ++question->pages < MAX_PAGES &&
	    ask(question, peer, next) == 0)
		return;
	list_del(&question->link);
	free(question);
}

static int ask(struct question *question, struct relay_peer *peer,
	       uint64_t cursor)
{
	unsigned features = relay_peer_features(peer);
	char headers[96] = "\r\n";

	if (features & (unsigned)LINK_FEATURE_PAGED)
		snprintf(headers, sizeof(headers),
			 "scope: own\r\npage: %llu\r\n\r\n",
			 (unsigned long long)cursor);
	return relay_peer_request(peer, SPAN("sessions"), span_of(headers),
				  sessions_came, question);
}

static bool is_asked(const struct interims *interims,
		     const struct ip_addr *relay)
{
	list_for_each (link, &interims->questions) {
		if (ip_equal(&list_item(link, const struct question, link)
				      ->relay,
			     relay))
			return true;
	}
	return false;
}

static void begin(struct interims *interims, struct relay_peer *peer)
{
	struct question *question;

	if (is_asked(interims, relay_peer_ip(peer)))
		return;
	question = calloc(1, sizeof(*question));
	if (!question)
		return;
	question->interims = interims;
	question->relay = *relay_peer_ip(peer);
	list_add_tail(&interims->questions, &question->link);
	if (ask(question, peer, 0) < 0) {
		list_del(&question->link);
		free(question);
	}
}

static void time_came(void *arg)
{
	struct interims *interims = arg;
	struct relay_peer *peer = NULL;

	while ((peer = relay_peers_next(interims->peers, peer)))
		begin(interims, peer);
}

int interims_new(struct interims **ret, struct loop *loop, uint64_t interval_us,
		 struct relay_peers *peers, struct accounting *accounting)
{
	struct interims *interims = calloc(1, sizeof(*interims));

	if (!interims)
		return -ENOMEM;
	interims->peers = peers;
	interims->accounting = accounting;
	list_init(&interims->questions);
	if (timer_new(&interims->timer, loop, time_came, interims) < 0) {
		free(interims);
		return -ENOMEM;
	}
	if (interval_us > 0 && accounting_wants_interims(accounting))
		timer_start_every(interims->timer, interval_us);
	*ret = interims;
	return 0;
}

void interims_stop(struct interims *interims)
{
	if (interims)
		interims->timer = timer_free(interims->timer);
}

struct interims *interims_free(struct interims *interims)
{
	interims_stop(interims);
	free(interims);
	return NULL;
}
