#include "dispatcher/survey.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "link/link.h"

/* Of one relay; each has some hundred sessions. */
#define MAX_PAGES 10000

/* With it, a line of a request is within LINK_MAX_DISPATCHER_LINE. */
#define CALL_ID_MOST 8192

struct surveys {
	struct loop *loop;
	const struct conf_dispatcher *conf;
	struct relay_peers *peers; /* NULL: stopped */
	struct list running;
	unsigned count;
};

enum survey_kind { SURVEY_SUMMARY, SURVEY_SESSIONS, SURVEY_EXPLAIN };

struct survey {
	struct surveys *surveys;
	struct list link;
	struct management_request *request; /* NULL: finished */
	struct timer *timer;
	enum survey_kind kind;
	struct buf headers;    /* SURVEY_EXPLAIN: which call */
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

/* Is it said of a relay that it did not reply? */
static bool tells_silent(enum survey_kind kind)
{
	return kind != SURVEY_SESSIONS;
}

static void free_if_done(struct survey *survey)
{
	if (survey->request || !list_empty(&survey->questions))
		return;
	list_del(&survey->link);
	survey->surveys->count--;
	timer_free(survey->timer);
	buf_done(&survey->headers);
	free(survey);
}

static void finish(struct survey *survey)
{
	struct management_request *request = survey->request;

	if (!request)
		return;
	survey->request = NULL;
	timer_stop(survey->timer);
	if (tells_silent(survey->kind))
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

static void add_stories(struct survey *survey, const struct ip_addr *relay,
			enum relay_outcome outcome, struct span text)
{
	if (outcome != RELAY_OUTCOME_TEXT ||
	    management_request_add_array(survey->request, text) < 0)
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

/* @return the cursor of the next page, or 0 */
static uint64_t add_reply(const struct question *question,
			  enum relay_outcome outcome, struct span text)
{
	struct survey *survey = question->survey;

	switch (survey->kind) {
	case SURVEY_SUMMARY:
		add_summary(survey, &question->relay, outcome, text);
		return 0;
	case SURVEY_EXPLAIN:
		add_stories(survey, &question->relay, outcome, text);
		return 0;
	case SURVEY_SESSIONS:
		break;
	}
	return add_sessions(survey, outcome, text);
}

static void reply_came(struct relay_peer *peer, enum relay_outcome outcome,
		       struct span text, void *arg)
{
	struct question *question = arg;
	struct survey *survey = question->survey;
	uint64_t next = 0;

	if (survey->request)
		next = add_reply(question, outcome, text);
	if (next > 0 && ++question->pages < MAX_PAGES &&
	    management_request_is_wanted(survey->request) &&
	    ask(question, peer, next) == 0)
		return;
	free_question(question);
	if (list_empty(&survey->questions))
		finish(survey);
	free_if_done(survey);
}

static int ask_to_explain(struct question *question, struct relay_peer *peer)
{
	const struct buf *headers = &question->survey->headers;

	if (buf_failed(headers))
		return -ENOMEM;
	if (!(relay_peer_features(peer) & LINK_FEATURE_EXPLAIN))
		return -EOPNOTSUPP;
	return relay_peer_request(peer, SPAN("explain"), buf_span(headers),
				  reply_came, question);
}

/* Only who announced pages is asked for them: then a list of any length fits
 * the link. */
static int ask(struct question *question, struct relay_peer *peer,
	       uint64_t cursor)
{
	const struct survey *survey = question->survey;
	char page[64] = "\r\n";

	if (survey->kind == SURVEY_EXPLAIN)
		return ask_to_explain(question, peer);
	if (survey->kind == SURVEY_SESSIONS &&
	    relay_peer_features(peer) & LINK_FEATURE_PAGED)
		snprintf(page, sizeof(page), "page: %llu\r\n\r\n",
			 (unsigned long long)cursor);
	return relay_peer_request(peer,
				  survey->kind == SURVEY_SUMMARY
					  ? SPAN("summary")
					  : SPAN("sessions"),
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

static struct survey *make_survey(struct surveys *surveys,
				  enum survey_kind kind)
{
	struct survey *survey;

	if (surveys->count >= SURVEYS_MAX)
		return NULL;
	survey = calloc(1, sizeof(*survey));
	if (!survey)
		return NULL;
	survey->surveys = surveys;
	survey->kind = kind;
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
			   struct management_request *request,
			   enum survey_kind kind)
{
	struct relay_peer *peer = NULL;

	while (surveys->peers && tells_silent(kind) &&
	       (peer = relay_peers_next(surveys->peers, peer)))
		add_silent(request, relay_peer_ip(peer));
	management_request_finish(request);
}

static void run(struct surveys *surveys, struct management_request *request,
		enum survey_kind kind, const char *call_id)
{
	struct relay_peer *peer = NULL;
	struct survey *survey =
		surveys->peers ? make_survey(surveys, kind) : NULL;

	if (!survey) {
		finish_unasked(surveys, request, kind);
		return;
	}
	survey->request = request;
	if (call_id)
		buf_printf(&survey->headers, "call_id: %s\r\n\r\n", call_id);
	while ((peer = relay_peers_next(surveys->peers, peer)))
		if (add_question(survey, peer) < 0 && tells_silent(kind))
			add_silent(request, relay_peer_ip(peer));
	timer_start(survey->timer, surveys->conf->relay_timeout_us);
	if (list_empty(&survey->questions))
		finish(survey);
	free_if_done(survey);
}

void surveys_summary(struct surveys *surveys,
		     struct management_request *request)
{
	run(surveys, request, SURVEY_SUMMARY, NULL);
}

void surveys_sessions(struct surveys *surveys,
		      struct management_request *request)
{
	run(surveys, request, SURVEY_SESSIONS, NULL);
}

/* It becomes a header: nobody may write more of them than one. */
static bool is_call_id(const char *text)
{
	size_t len = text ? strcspn(text, "\r\n") : 0;

	return len > 0 && len <= CALL_ID_MOST && text[len] == '\0';
}

void surveys_explain(struct surveys *surveys,
		     struct management_request *request, const char *call_id)
{
	if (!is_call_id(call_id))
		management_request_refuse(request, 400,
					  "call_id is needed: one that can "
					  "stand on a line");
	else
		run(surveys, request, SURVEY_EXPLAIN, call_id);
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
