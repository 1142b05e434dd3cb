#include "dispatcher/survey.h"

#include <errno.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/log.h"

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

struct question {
	struct list link;
	struct survey *survey;
	struct ip_addr relay;
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

static void add_reply(struct survey *survey, const struct ip_addr *relay,
		      enum relay_outcome outcome, struct span text)
{
	int err = -EBADMSG;

	if (outcome == RELAY_OUTCOME_TEXT)
		err = survey->is_summary
			      ? management_request_add_object(survey->request,
							      text)
			      : management_request_add_array(survey->request,
							     text);
	if (err < 0 && survey->is_summary)
		add_silent(survey->request, relay);
}

static void reply_came(struct relay_peer *peer, enum relay_outcome outcome,
		       struct span text, void *arg)
{
	struct question *question = arg;
	struct survey *survey = question->survey;

	(void)peer;
	list_del(&question->link);
	if (survey->request)
		add_reply(survey, &question->relay, outcome, text);
	free(question);
	if (list_empty(&survey->questions))
		finish(survey);
	free_if_done(survey);
}

static int ask(struct survey *survey, struct relay_peer *peer)
{
	struct question *question = calloc(1, sizeof(*question));
	int err;

	if (!question)
		return -ENOMEM;
	question->survey = survey;
	question->relay = *relay_peer_ip(peer);
	err = relay_peer_request(
		peer, survey->is_summary ? SPAN("summary") : SPAN("sessions"),
		SPAN("\r\n"), reply_came, question);
	if (err < 0) {
		free(question);
		return err;
	}
	list_add_tail(&survey->questions, &question->link);
	return 0;
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
		if (ask(survey, peer) < 0 && is_summary)
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
