#pragma once
/**
 * @file dispatcher/survey.h  Asking all relays one question for management
 *
 * `summary`, `sessions` and `explain` go to every linked relay; the answer is
 * finished when the last one has replied, or after relay_timeout with what has
 * come. A survey that outlives its answer waits for the replies that are still
 * owed.
 */
#include "conf/conf.h"
#include "link/relay_peers.h"
#include "management/request.h"
#include "net/loop.h"

#define SURVEYS_MAX 64 /* at a time; past that relays count as silent */

struct surveys;

/** @return 0 or -ENOMEM */
int surveys_new(struct surveys **ret, struct loop *loop,
		const struct conf_dispatcher *conf, struct relay_peers *peers);

/** Finish what is open, with what has come. Before the peers are freed. */
void surveys_stop(struct surveys *surveys);

/** After the peers are freed. @return NULL */
struct surveys *surveys_free(struct surveys *surveys);

/** One object for each relay; of one that is silent, status and ip. */
void surveys_summary(struct surveys *surveys,
		     struct management_request *request);
/** The sessions of all relays that reply. */
void surveys_sessions(struct surveys *surveys,
		      struct management_request *request);
/** What happened to a call: the stories of all relays that have one; of one
 * that did not say, status and ip. What can be no call-id, or NULL, is refused.
 */
void surveys_explain(struct surveys *surveys,
		     struct management_request *request, const char *call_id);
