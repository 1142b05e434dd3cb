#include "dispatcher/dialog_end.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "net/unix_datagram.h"
#include "net/unix_file.h"

#define ANSWER_TIMEOUT_US (3 * US_PER_S)
#define WAIT_TIMEOUT_US (60 * US_PER_S)

/* The proxy's socket is full: so much later again. */
#define RETRY_US (20 * US_PER_MS)

#define WHY_SIZE 320

struct dialog_end {
	struct loop *loop;
	const struct conf_opensips *proxy;
	struct unix_datagram *sock;
	struct dialog_forms forms;
	struct list waiting; /* for its turn; the oldest first */
	struct list asked;   /* for its answer; the oldest first */
	unsigned waiting_count, asked_count;
	bool alone; /* what is asked is the only one that may be */
	bool full;  /* the proxy takes nothing just now */
	struct timer *timer;
	struct buf datagram;
	uint32_t next_number;
	uint64_t answer_timeout_us, wait_timeout_us;
	struct dialog_end_counters counters;
	struct log_limit limits[DIALOG_OUTCOME_COUNT];
};

/* A call on its way. */
struct ending {
	struct list link;
	struct dialog_target target;
	enum dialog_form form;
	bool is_second;   /* the first form did not work */
	bool alone;       /* nothing else was asked beside it */
	bool had_garbage; /* for an answer */
	uint32_t number;  /* of what was asked last */
	uint64_t since_us, deadline_us;
	size_t call_id_len;
	char call_id[];
};

static const struct {
	const char *name;
	bool is_normal; /* not worth a warning */
} outcomes[DIALOG_OUTCOME_COUNT] = {
	[DIALOG_OUTCOME_ENDED] = {"ended", true},
	[DIALOG_OUTCOME_NOT_FOUND] = {"not_found", true},
	[DIALOG_OUTCOME_REFUSED] = {"refused", false},
	[DIALOG_OUTCOME_GARBAGE] = {"garbage", false},
	[DIALOG_OUTCOME_SILENT] = {"silent", false},
	[DIALOG_OUTCOME_UNREACHABLE] = {"unreachable", false},
	[DIALOG_OUTCOME_INVALID] = {"invalid", false},
	[DIALOG_OUTCOME_NO_ROOM] = {"no_room", false},
};

const char *dialog_outcome_name(enum dialog_outcome outcome)
{
	return outcomes[outcome].name;
}

static struct span call_id_of(const struct ending *ending)
{
	return span_make(ending->call_id, ending->call_id_len);
}

/* What came of it */

static void report(struct dialog_end *ends, struct span call_id,
		   enum dialog_outcome outcome, const char *what)
{
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	ends->counters.outcomes[outcome]++;
	if (!log_limit_allows(&ends->limits[outcome], loop_now_us(ends->loop),
			      &suppressed))
		return;
	log_left_out(suppressed, left_out);
	if (outcome == DIALOG_OUTCOME_ENDED)
		log_info("[%.*s] ended at the SIP proxy: %s%s",
			 SPAN_ARG(call_id), what, left_out);
	else if (outcome == DIALOG_OUTCOME_NOT_FOUND)
		log_info("[%.*s] has ended at the SIP proxy before: %s%s",
			 SPAN_ARG(call_id), what, left_out);
	else
		log_warning("[%.*s] not ended at the SIP proxy: %s%s",
			    SPAN_ARG(call_id), what, left_out);
}

static void free_ending(struct ending *ending)
{
	list_del(&ending->link);
	free(ending);
}

/* It is in no count any more. */
static void finish(struct dialog_end *ends, struct ending *ending,
		   enum dialog_outcome outcome, const char *what)
{
	dialog_forms_learn(&ends->forms, &ending->target, ending->form,
			   outcome);
	if (outcome == DIALOG_OUTCOME_SILENT && ending->had_garbage) {
		outcome = DIALOG_OUTCOME_GARBAGE;
		what = "its answer cannot be read";
	}
	report(ends, call_id_of(ending), outcome, what);
	free_ending(ending);
}

static void take_from_waiting(struct dialog_end *ends, struct ending *ending)
{
	list_del(&ending->link);
	ends->waiting_count--;
}

static void take_from_asked(struct dialog_end *ends, struct ending *ending)
{
	list_del(&ending->link);
	ends->asked_count--;
	ends->alone = false;
}

/*
 * What was asked has come to this: the other form, or the end of it.
 *
 * A proxy that is silent to several at once, in a form that has worked, hangs:
 * another form, of which there is one at a time, would only hold up the rest.
 */
static void asked_in_vain(struct dialog_end *ends, struct ending *ending,
			  enum dialog_outcome outcome, const char *what)
{
	bool hangs = outcome == DIALOG_OUTCOME_SILENT && !ending->alone;
	enum dialog_form second;

	take_from_asked(ends, ending);
	if (ending->is_second || hangs ||
	    !dialog_forms_second(&ends->forms, &ending->target, ending->form,
				 outcome, &second)) {
		finish(ends, ending, outcome, what);
		return;
	}
	dialog_forms_learn(&ends->forms, &ending->target, ending->form,
			   outcome);
	ending->is_second = true;
	ending->had_garbage = outcome == DIALOG_OUTCOME_GARBAGE;
	ending->form = second;
	list_add_tail(ends->waiting.next, &ending->link); /* the first now */
	ends->waiting_count++;
}

/* Asking */

static bool may_ask(const struct dialog_end *ends, bool alone)
{
	if (ends->asked_count == 0)
		return true;
	return !alone && !ends->alone &&
	       ends->asked_count < DIALOG_END_MAX_ASKED;
}

static int send_request(struct dialog_end *ends, struct ending *ending)
{
	buf_reset(&ends->datagram);
	dialog_request_encode(&ends->datagram, ending->form, ends->next_number,
			      &ending->target.id, call_id_of(ending));
	if (buf_failed(&ends->datagram))
		return -EAGAIN;
	return unix_datagram_send(ends->sock, ends->proxy->socket_path,
				  buf_span(&ends->datagram));
}

/* @return whether the next one may have its turn */
static bool ask(struct dialog_end *ends, struct ending *ending)
{
	char what[WHY_SIZE];
	bool alone;
	int err;

	/* Perhaps more is known than when it came. */
	if (!ending->is_second)
		ending->form =
			dialog_forms_first(&ends->forms, &ending->target);
	alone = !dialog_forms_are_numbered(&ends->forms, &ending->target,
					   ending->form);
	if (!may_ask(ends, alone))
		return false;
	err = send_request(ends, ending);
	if (err == -EAGAIN) {
		ends->full = true;
		return false;
	}
	take_from_waiting(ends, ending);
	if (err < 0) {
		snprintf(what, sizeof(what), "%.200s: %s",
			 ends->proxy->socket_path, strerror(-err));
		finish(ends, ending, DIALOG_OUTCOME_UNREACHABLE, what);
		return true;
	}
	ending->number = ends->next_number++;
	ending->deadline_us = loop_now_us(ends->loop) + ends->answer_timeout_us;
	list_add_tail(&ends->asked, &ending->link);
	ends->asked_count++;
	ending->alone = ends->alone = alone;
	return true;
}

static void arm(struct dialog_end *ends)
{
	struct list *asked = list_first(&ends->asked);
	struct list *waiting = list_first(&ends->waiting);
	uint64_t now_us = loop_now_us(ends->loop);
	uint64_t at_us = UINT64_MAX;

	if (asked)
		at_us = list_item(asked, struct ending, link)->deadline_us;
	if (waiting) {
		uint64_t given_up_us =
			list_item(waiting, struct ending, link)->since_us +
			ends->wait_timeout_us;

		if (given_up_us < at_us)
			at_us = given_up_us;
		if (ends->full && now_us + RETRY_US < at_us)
			at_us = now_us + RETRY_US;
	}
	if (at_us == UINT64_MAX)
		timer_stop(ends->timer);
	else
		timer_start(ends->timer, at_us > now_us ? at_us - now_us : 0);
}

static void go_on(struct dialog_end *ends)
{
	struct list *first;

	ends->full = false;
	while ((first = list_first(&ends->waiting)) &&
	       ask(ends, list_item(first, struct ending, link)))
		;
	arm(ends);
}

/* Time */

static void give_up_silent(struct dialog_end *ends, uint64_t now_us)
{
	struct list *first;
	char what[WHY_SIZE];

	while ((first = list_first(&ends->asked))) {
		struct ending *ending = list_item(first, struct ending, link);

		if (ending->deadline_us > now_us)
			break;
		snprintf(what, sizeof(what), "no answer from %.200s to %s",
			 ends->proxy->socket_path,
			 dialog_form_name(ending->form));
		asked_in_vain(ends, ending, DIALOG_OUTCOME_SILENT, what);
	}
}

static void give_up_waiting(struct dialog_end *ends, uint64_t now_us)
{
	struct list *first;
	char what[WHY_SIZE];

	while ((first = list_first(&ends->waiting))) {
		struct ending *ending = list_item(first, struct ending, link);

		if (ending->since_us + ends->wait_timeout_us > now_us)
			break;
		take_from_waiting(ends, ending);
		snprintf(what, sizeof(what), "%.200s takes no more requests",
			 ends->proxy->socket_path);
		finish(ends, ending, DIALOG_OUTCOME_SILENT, what);
	}
}

static void time_is_up(void *arg)
{
	struct dialog_end *ends = arg;
	uint64_t now_us = loop_now_us(ends->loop);

	give_up_silent(ends, now_us);
	give_up_waiting(ends, now_us);
	go_on(ends);
}

/* Answers */

/* An answer that does not say whose it is belongs to the one that waits
 * longest: datagrams keep their order. To a text there may be one that comes
 * too late, and is taken for the next one's; then a log line is wrong. */
static struct ending *find_asked(const struct dialog_end *ends,
				 const struct dialog_answer *answer)
{
	if (answer->to == DIALOG_TO_ANYBODY && !list_empty(&ends->asked))
		return list_item(ends->asked.next, struct ending, link);
	if (answer->to != DIALOG_TO_NUMBER)
		return NULL;
	list_for_each (link, &ends->asked) {
		struct ending *ending = list_item(link, struct ending, link);

		if (ending->number == answer->number)
			return ending;
	}
	return NULL;
}

/* JSON is no answer to the text, and text none to JSON. */
static enum dialog_outcome outcome_of(const struct ending *ending,
				      const struct dialog_answer *answer)
{
	static const enum dialog_outcome verdicts[] = {
		[DIALOG_ENDED] = DIALOG_OUTCOME_ENDED,
		[DIALOG_NOT_FOUND] = DIALOG_OUTCOME_NOT_FOUND,
		[DIALOG_REFUSED] = DIALOG_OUTCOME_REFUSED,
		[DIALOG_GARBAGE] = DIALOG_OUTCOME_GARBAGE,
	};

	if (answer->is_json == (ending->form == DIALOG_FORM_TEXT))
		return DIALOG_OUTCOME_GARBAGE;
	return verdicts[answer->verdict];
}

static void answered(struct dialog_end *ends, struct ending *ending,
		     const struct dialog_answer *answer)
{
	enum dialog_outcome outcome = outcome_of(ending, answer);
	const char *form = dialog_form_name(ending->form);
	char what[WHY_SIZE];

	if (outcome == DIALOG_OUTCOME_ENDED) {
		snprintf(what, sizeof(what), "by %s", form);
		take_from_asked(ends, ending);
		finish(ends, ending, outcome, what);
		return;
	}
	if (outcome == DIALOG_OUTCOME_GARBAGE)
		snprintf(what, sizeof(what),
			 "its answer to %s cannot be read: %.60s", form,
			 answer->reason);
	else
		snprintf(what, sizeof(what), "%s: %d %s", form, answer->code,
			 answer->reason);
	asked_in_vain(ends, ending, outcome, what);
}

static void answer_came(struct span datagram, void *arg)
{
	struct dialog_end *ends = arg;
	struct dialog_answer answer;
	struct ending *ending;

	dialog_answer_decode(datagram, &answer);
	ending = find_asked(ends, &answer);
	if (!ending) {
		ends->counters.late++;
		log_debug("SIP proxy: an answer that nobody waits for: %.*s",
			  (int)(datagram.len < 200 ? datagram.len : 200),
			  datagram.ptr);
		return;
	}
	answered(ends, ending, &answer);
	go_on(ends);
}

/* Requests */

static struct ending *make_ending(struct dialog_end *ends,
				  const struct dialog_end_call *call,
				  const struct dialog_id *id)
{
	struct ending *ending = malloc(sizeof(*ending) + call->call_id.len + 1);

	if (!ending)
		return NULL;
	*ending = (struct ending){
		.target = {*id, .by_call_id = !call->call_id_is_shared},
		.since_us = loop_now_us(ends->loop),
		.call_id_len = call->call_id.len,
	};
	memcpy(ending->call_id, call->call_id.ptr, call->call_id.len);
	return ending;
}

void dialog_end(struct dialog_end *ends, const struct dialog_end_call *call)
{
	struct ending *ending = NULL;
	struct dialog_id id;
	char what[WHY_SIZE];

	ends->counters.requested++;
	if (dialog_id_decode(call->dialog_id, &id) < 0) {
		snprintf(what, sizeof(what),
			 "its dialog_id cannot be read: %.*s",
			 (int)(call->dialog_id.len < 64 ? call->dialog_id.len
							: 64),
			 call->dialog_id.ptr);
		report(ends, call->call_id, DIALOG_OUTCOME_INVALID, what);
		return;
	}
	if (ends->asked_count + ends->waiting_count < DIALOG_END_MAX_OPEN)
		ending = make_ending(ends, call, &id);
	if (!ending) {
		report(ends, call->call_id, DIALOG_OUTCOME_NO_ROOM,
		       "too many calls wait for that already");
		return;
	}
	list_add_tail(&ends->waiting, &ending->link);
	ends->waiting_count++;
	if (!ends->full)
		go_on(ends);
}

struct dialog_end_counters dialog_end_counts(const struct dialog_end *ends)
{
	struct dialog_end_counters counters = ends->counters;

	counters.waiting = ends->asked_count + ends->waiting_count;
	return counters;
}

/* Start and stop */

int dialog_end_new(struct dialog_end **ret, struct loop *loop,
		   const struct dialog_end_config *config)
{
	struct dialog_end *ends = calloc(1, sizeof(*ends));
	struct sockaddr_un address;
	int err;

	if (!ends)
		return -ENOMEM;
	ends->loop = loop;
	ends->proxy = config->proxy;
	ends->forms.format = config->proxy->mi_format;
	ends->next_number = config->first_number;
	ends->answer_timeout_us = config->answer_timeout_us
					  ? config->answer_timeout_us
					  : ANSWER_TIMEOUT_US;
	ends->wait_timeout_us = config->wait_timeout_us
					? config->wait_timeout_us
					: WAIT_TIMEOUT_US;
	list_init(&ends->waiting);
	list_init(&ends->asked);
	for (int i = 0; i < DIALOG_OUTCOME_COUNT; i++)
		ends->limits[i] = outcomes[i].is_normal
					  ? LOG_LIMIT(100, 10 * US_PER_S)
					  : LOG_LIMIT(5, 60 * US_PER_S);
	err = unix_address(config->proxy->socket_path, &address);
	if (err == 0)
		err = timer_new(&ends->timer, loop, time_is_up, ends);
	if (err == 0)
		err = unix_datagram_new(&ends->sock, loop, config->path,
					config->mode, config->group,
					answer_came, ends);
	if (err < 0) {
		dialog_end_free(ends);
		return err;
	}
	*ret = ends;
	return 0;
}

static void free_all(struct list *endings)
{
	list_for_each_safe (link, endings)
		free_ending(list_item(link, struct ending, link));
}

struct dialog_end *dialog_end_free(struct dialog_end *ends)
{
	if (!ends)
		return NULL;
	if (ends->waiting_count > 0)
		log_warning("%u calls are not ended at the SIP proxy any more",
			    ends->waiting_count);
	free_all(&ends->asked);
	free_all(&ends->waiting);
	unix_datagram_free(ends->sock);
	timer_free(ends->timer);
	buf_done(&ends->datagram);
	free(ends);
	return NULL;
}
