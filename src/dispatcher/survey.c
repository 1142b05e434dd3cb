#include "dispatcher/survey.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "link/link.h"

/* Of one relay; each has some hundred sessions. */
#define MAX_PAGES 10000

struct surveys {
	struct loop *loop;
	const struct conf_dispatcher *conf;
	struct relay_peers *peers; /* NULL: stopped */
	struct list running;
	unsigned count;
};

struct survey {
	struct surveys *surveys;
	struct list link;
	struct management_request *request; /* NULL: finished */
	struct timer *timer;
	bool is_summary;
	struct list questions; /* without a reply yet */
};

/* A relay that is asked; for sessions in pages again and again. */
struct question {
	struct list link;
	struct survey *survey;
	struct ip_addr relay;
	unsigned pages;
};

static void add_silent(struct management_request *request,
		       const struct ip_addr *relay)
{
	struct json_writer *w = management_request_item(request);
	char text[ADDR_TEXT_SIZE];

	json_object_begin(w, NULL);
	json_text(w, "status", "error");
	json_text(w, "ip", ip_format(relay, text));
	json_object_end(w);
}

static void free_if_done(struct survey *survey)
{
	if (survey->request || !list_empty(&survey->questions))
		return;
	list_del(&survey->link);
	survey->surveys->count--;
	timer_free(survey->timer);
	free(survey);
}

static void finish(struct survey *survey)
{
	struct management_request *request = survey->request;

	if (!request)
		return;
	survey->request = NULL;
	timer_stop(survey->timer);
	if (survey->is_summary)
		list_for_each (link, &survey->questions) {
			add_silent(
				request,
				&list_item(link, struct question, link)->relay);
		}
	management_request_finish(request);
}

static void too_late(void *arg)
{
	struct survey *survey = arg;

	finish(survey);
	free_if_done(survey);
}

static int ask(struct question *question, struct relay_peer *peer,
	       uint64_t cursor);

static void add_summary(struct survey *survey, const struct ip_addr *relay,
			enum relay_outcome outcome, struct span text)
{
	if (outcome != RELAY_OUTCOME_TEXT ||
	    management_request_add_object(survey->request, text) < 0)
		add_silent(survey->request, relay);
}

/* @return the cursor of the next page, or 0 */
static uint64_t add_sessions(struct survey *survey, enum relay_outcome outcome,
			     struct span text)
{
	struct span array = text;
	uint64_t next = 0;

	if (outcome != RELAY_OUTCOME_TEXT ||
	    (text.ptr[0] == '{' && session_page_split(text, &array, &next) < 0))
		return 0;
	if (management_request_add_array(survey->request, array) < 0)
		return 0;
	return next;
}

static void free_question(struct question *question)
{
	list_del(&question->link);
	free(question);
}

static void reply_came(struct relay_peer *peer, enum relay_outcome outcome,
		       struct span text, void *arg)
{
	struct question *question = arg;
	struct survey *survey = question->survey;
	uint64_t next = 0;

	if (survey->request && survey->is_summary)
		add_summary(survey, &question->relay, outcome, text);
	else if (survey->request)
		next = add_sessions(survey, outcome, text);
	if (next > 0 && ++question->pages < MAX_PAGES &&
	    management_request_is_wanted(survey->request) &&
	    ask(question, peer, next) == 0)
		return;
	free_question(question);
	if (list_empty(&survey->questions))
		finish(survey);
	free_if_done(survey);
}

/* Only who announced pages is asked for them: then a list of any length fits
 * the link. */
static int ask(struct question *question, struct relay_peer *peer,
	       uint64_t cursor)
{
	bool is_summary = question->survey->is_summary;
	char page[64] = "\r\n";

	if (!is_summary && relay_peer_features(peer) & LINK_FEATURE_PAGED)
		snprintf(page, sizeof(page), "page: %llu\r\n\r\n",
			 (unsigned long long)cursor);
	return relay_peer_request(
		peer, is_summary ? SPAN("summary") : SPAN("sessions"),
		span_of(page), reply_came, question);
}

static int add_question(struct survey *survey, struct relay_peer *peer)
{
	struct question *question = calloc(1, sizeof(*question));
	int err;

	if (!question)
		return -ENOMEM;
	question->survey = survey;
	question->relay = *relay_peer_ip(peer);
	list_add_tail(&survey->questions, &question->link);
	err = ask(question, peer, 0);
	if (err < 0)
		free_question(question);
	return err;
}

static struct survey *make_survey(struct surveys *surveys, bool is_summary)
{
	struct survey *survey;

	if (surveys->count >= SURVEYS_MAX)
		return NULL;
	survey = calloc(1, sizeof(*survey));
	if (!survey)
		return NULL;
	survey->surveys = surveys;
	survey->is_summary = is_summary;
	list_init(&survey->questions);
	if (timer_new(&survey->timer, surveys->loop, too_late, survey) < 0) {
		free(survey);
		return NULL;
	}
	list_add_tail(&surveys->running, &survey->link);
	surveys->count++;
	return survey;
}

/* Nobody can be asked: all are silent. */
static void finish_unasked(struct surveys *surveys,
			   struct management_request *request, bool is_summary)
{
	struct relay_peer *peer = NULL;

	while (surveys->peers && is_summary &&
	       (peer = relay_peers_next(surveys->peers, peer)))
		add_silent(request, relay_peer_ip(peer));
	management_request_finish(request);
}

static void run(struct surveys *surveys, struct management_request *request,
		bool is_summary)
{
	struct relay_peer *peer = NULL;
	struct survey *survey =
		surveys->peers ? make_survey(surveys, is_summary) : NULL;

	if (!survey) {
		finish_unasked(surveys, request, is_summary);
		return;
	}
	survey->request = request;
	while ((peer = relay_peers_next(surveys->peers, peer)))
		if (add_question(survey, peer) < 0 && is_summary)
			add_silent(request, relay_peer_ip(peer));
	timer_start(survey->timer, surveys->conf->relay_timeout_us);
	if (list_empty(&survey->questions))
		finish(survey);
	free_if_done(survey);
}

void surveys_summary(struct surveys *surveys,
		     struct management_request *request)
{
	run(surveys, request, true);
}

void surveys_sessions(struct surveys *surveys,
		      struct management_request *request)
{
	run(surveys, request, false);
}

int surveys_new(struct surveys **ret, struct loop *loop,
		const struct conf_dispatcher *conf, struct relay_peers *peers)
{
	struct surveys *surveys = calloc(1, sizeof(*surveys));

	if (!surveys)
		return -ENOMEM;
	surveys->loop = loop;
	surveys->conf = conf;
	surveys->peers = peers;
	list_init(&surveys->running);
	*ret = surveys;
	return 0;
}

void surveys_stop(struct surveys *surveys)
{
	if (!surveys)
		return;
	surveys->peers = NULL;
	list_for_each_safe (link, &surveys->running) {
		too_late(list_item(link, struct survey, link));
	}
}

struct surveys *surveys_free(struct surveys *surveys)
{
	free(surveys);
	return NULL;
}
