#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "dispatcher/directory_internal.h"
#include "proto/statistics.h"

int directory_new(struct directory **ret)
{
	struct directory *directory = calloc(1, sizeof(*directory));

	if (!directory)
		return -ENOMEM;
	if (hash_init(&directory->calls) < 0) {
		free(directory);
		return -ENOMEM;
	}
	list_init(&directory->relays);
	list_init(&directory->expired);
	*ret = directory;
	return 0;
}

void directory_set_changes(struct directory *directory,
			   const struct directory_changes *changes, void *arg)
{
	directory->changes = *changes;
	directory->arg = arg;
}

static void tell_changed(struct directory *directory,
			 struct directory_session *session)
{
	if (directory->changes.changed)
		directory->changes.changed(session, directory->arg);
}

/* Calls */

struct directory_counts directory_count(const struct directory *directory)
{
	return directory->counts;
}

struct directory_call *directory_find(const struct directory *directory,
				      struct span call_id)
{
	struct hash_node *node = hash_first(
		&directory->calls, hash_span(&directory->calls, call_id));

	for (; node; node = hash_next(node)) {
		struct directory_call *call =
			hash_item(node, struct directory_call, node);

		if (span_equal(span_make(call->call_id, call->call_id_len),
			       call_id))
			return call;
	}
	return NULL;
}

const struct ip_addr *directory_call_relay(const struct directory_call *call)
{
	return &call->relay->ip;
}

bool directory_call_is_live(const struct directory_call *call)
{
	return call->live_count > 0;
}

static struct directory_call *add_call(struct directory *directory,
				       struct relay *relay, struct span call_id)
{
	struct directory_call *call = malloc(sizeof(*call) + call_id.len);

	if (!call)
		return NULL;
	*call = (struct directory_call){.relay = relay,
					.call_id_len = call_id.len};
	memcpy(call->call_id, call_id.ptr, call_id.len);
	list_init(&call->sessions);
	list_add_tail(&relay->calls, &call->of_relay);
	hash_add(&directory->calls, &call->node,
		 hash_span(&directory->calls, call_id));
	directory->counts.calls++;
	return call;
}

static void drop_call_if_empty(struct directory *directory,
			       struct directory_call *call)
{
	if (!list_empty(&call->sessions))
		return;
	hash_del(&directory->calls, &call->node);
	list_del(&call->of_relay);
	directory->counts.calls--;
	free(call);
}

/* Sessions */

struct span directory_session_from_tag(const struct directory_session *session)
{
	return span_make(session->from_tag, session->from_tag_len);
}

struct span directory_session_last_tag(const struct directory_session *session)
{
	const struct directory_to_tag *last;

	if (list_empty(&session->to_tags))
		return (struct span){0};
	last = list_item(session->to_tags.prev, const struct directory_to_tag,
			 link);
	return span_make(last->text, last->len);
}

static bool has_to_tag(const struct directory_session *session, struct span tag)
{
	list_for_each (link, &session->to_tags) {
		const struct directory_to_tag *known =
			list_item(link, const struct directory_to_tag, link);

		if (span_equal(span_make(known->text, known->len), tag))
			return true;
	}
	return false;
}

/* How well a session fits, the better the higher; the relay has the same rules.
 * A session without a from-tag comes from a relay that listed call-ids alone,
 * and fits any leg. */
enum fit {
	FIT_NONE,
	FIT_ANY,
	FIT_TO_IS_CALLEE, /* a transfer replaced the caller */
	FIT_TO_IS_CALLER,
	FIT_FROM_IS_CALLEE,
	FIT_FROM_IS_CALLER
};

static enum fit fit(const struct directory_session *session,
		    struct span from_tag, struct span to_tag)
{
	if (session->from_tag_len == 0)
		return FIT_ANY;
	if (span_equal(directory_session_from_tag(session), from_tag))
		return FIT_FROM_IS_CALLER;
	if (has_to_tag(session, from_tag))
		return FIT_FROM_IS_CALLEE;
	if (to_tag.len == 0)
		return FIT_NONE;
	if (span_equal(directory_session_from_tag(session), to_tag))
		return FIT_TO_IS_CALLER;
	return has_to_tag(session, to_tag) ? FIT_TO_IS_CALLEE : FIT_NONE;
}

struct directory_session *directory_find_session(struct directory_call *call,
						 struct span from_tag,
						 struct span to_tag)
{
	struct directory_session *best = NULL;
	enum fit best_fit = FIT_NONE;

	list_for_each (link, &call->sessions) {
		struct directory_session *session =
			list_item(link, struct directory_session, of_call);
		enum fit this_fit = fit(session, from_tag, to_tag);

		if (this_fit > best_fit) {
			best = session;
			best_fit = this_fit;
		}
	}
	return best;
}

const struct ip_addr *
directory_session_relay(const struct directory_session *session)
{
	return &session->call->relay->ip;
}

bool directory_session_is_expired(const struct directory_session *session)
{
	return session->expired;
}

bool directory_session_is_in_doubt(const struct directory_session *session)
{
	return session->expired && session->in_doubt;
}

bool directory_session_was_removed(const struct directory_session *session)
{
	return session->removing > 0 &&
	       session->removing < session->call->relay->generation;
}

uint64_t
directory_session_down_since_us(const struct directory_session *session)
{
	return session->call->relay->down_since_us;
}

void directory_session_statistics(const struct directory_session *session,
				  struct session_statistics *ret)
{
	*ret = (struct session_statistics){
		.call_id = directory_session_call_id(session),
		.from_tag = directory_session_from_tag(session),
		.from_uri = span_make(session->from_uri, session->from_uri_len),
		.to_tag = directory_session_last_tag(session),
		.to_uri = span_make(session->to_uri, session->to_uri_len),
		.has_start_time = session->answered_us > 0,
		.start_time = (double)session->answered_us / (double)US_PER_S,
		.dialog_id = directory_session_dialog_id(session),
	};
}

uint64_t directory_session_asked_us(const struct directory_session *session)
{
	return session->asked_us;
}

struct span directory_session_call_id(const struct directory_session *session)
{
	return span_make(session->call->call_id, session->call->call_id_len);
}

struct span directory_session_dialog_id(const struct directory_session *session)
{
	return span_make(session->dialog_id, session->dialog_id_len);
}

static struct directory_session *add_session(struct directory *directory,
					     struct directory_call *call,
					     struct span from_tag)
{
	struct directory_session *session =
		malloc(sizeof(*session) + from_tag.len);

	if (!session)
		return NULL;
	*session = (struct directory_session){.id = ++directory->last_id,
					      .call = call,
					      .from_tag_len = from_tag.len};
	if (from_tag.len > 0)
		memcpy(session->from_tag, from_tag.ptr, from_tag.len);
	list_init(&session->of_expired);
	list_init(&session->to_tags);
	list_add_tail(&call->sessions, &session->of_call);
	call->live_count++;
	directory->counts.sessions++;
	return session;
}

bool directory_session_add_tag(struct directory_session *session,
			       struct span tag)
{
	struct directory_to_tag *entry;

	if (tag.len == 0 || session->to_tag_count >= DIRECTORY_MAX_TO_TAGS ||
	    span_equal(tag, directory_session_from_tag(session)) ||
	    has_to_tag(session, tag))
		return false;
	entry = malloc(sizeof(*entry) + tag.len);
	if (!entry)
		return false;
	entry->len = tag.len;
	memcpy(entry->text, tag.ptr, tag.len);
	list_add_tail(&session->to_tags, &entry->link);
	session->to_tag_count++;
	return true;
}

/* The first that is told stays. @return whether it is new */
static bool set_text(char **text, size_t *len, struct span value)
{
	if (value.len == 0 || *text)
		return false;
	*text = span_dup(value);
	if (*text)
		*len = value.len;
	return *text != NULL;
}

static bool set_facts(struct directory_session *session,
		      const struct directory_leg *leg)
{
	bool is_news = set_text(&session->dialog_id, &session->dialog_id_len,
				leg->dialog_id);

	is_news |= set_text(&session->from_uri, &session->from_uri_len,
			    leg->from_uri);
	is_news |=
		set_text(&session->to_uri, &session->to_uri_len, leg->to_uri);
	if (session->answered_us == 0 && leg->answered_us > 0) {
		session->answered_us = leg->answered_us;
		is_news = true;
	}
	return is_news;
}

static bool unexpire(struct directory *directory,
		     struct directory_session *session)
{
	if (!session->expired)
		return false;
	session->expired = false;
	list_del(&session->of_expired);
	if (!session->in_doubt)
		session->call->live_count++;
	directory->counts.expired--;
	return true;
}

void directory_asked(struct directory_session *session, uint64_t order,
		     uint64_t now_us)
{
	if (order <= session->asked_order)
		return;
	session->asked_order = order;
	session->asked_us = now_us;
}

void directory_removing(struct directory_session *session, uint64_t order)
{
	session->removing = session->call->relay->generation;
	session->removing_order = order;
}

bool directory_session_is_unlisted(const struct directory_session *session)
{
	return !session->expired &&
	       session->generation != session->call->relay->generation;
}

/* As if it had been over the link before this one. */
void directory_removed_unlisted(struct directory_session *session)
{
	session->removing = session->call->relay->generation - 1;
}

void directory_expire(struct directory *directory,
		      struct directory_session *session, uint64_t now_us,
		      bool in_doubt)
{
	if (session->expired)
		return;
	session->expired = true;
	session->in_doubt = in_doubt;
	session->expired_us = now_us;
	list_add_tail(&directory->expired, &session->of_expired);
	if (!in_doubt)
		session->call->live_count--;
	directory->counts.expired++;
	tell_changed(directory, session);
}

void directory_remove(struct directory *directory,
		      struct directory_session *session)
{
	struct directory_call *call = session->call;

	if (directory->changes.dropped)
		directory->changes.dropped(session, directory->arg);
	unexpire(directory, session);
	call->live_count--;
	directory->counts.sessions--;
	list_del(&session->of_call);
	list_for_each_safe (link, &session->to_tags) {
		free(list_item(link, struct directory_to_tag, link));
	}
	free(session->dialog_id);
	free(session->from_uri);
	free(session->to_uri);
	free(session);
	drop_call_if_empty(directory, call);
}

void directory_removed(struct directory *directory,
		       struct directory_session *session, uint64_t order,
		       uint64_t now_us)
{
	if (session->made_order > order)
		return;
	if (session->asked_order > order)
		directory_expire(directory, session, now_us,
				 /* in_doubt= */ true);
	else
		directory_remove(directory, session);
}

/* A leg that fits an existing session but for its from-tag is the callee's
 * view of it: the to-tag that it teaches is then its own from-tag. But after a
 * transfer it is the new caller's, and teaches nothing. */
static void learn(struct directory *directory,
		  struct directory_session *session,
		  const struct directory_leg *leg, bool is_new)
{
	enum fit this_fit = fit(session, leg->from_tag, leg->to_tag);
	bool is_news = is_new || unexpire(directory, session);

	session->generation = session->call->relay->generation;
	is_news |= directory_session_add_tag(session, leg->to_tag);
	if (this_fit == FIT_TO_IS_CALLER)
		is_news |= directory_session_add_tag(session, leg->from_tag);
	is_news |= set_facts(session, leg);
	directory_asked(session, leg->order, leg->sent_us);
	if (leg->order > session->made_order)
		session->made_order = leg->order;
	if (session->made_order > session->removing_order)
		session->removing = 0;
	if (is_news)
		tell_changed(directory, session);
}

/* A report without tags: all that is known of the call is still there. */
static void learn_all(struct directory_call *call)
{
	list_for_each (link, &call->sessions) {
		list_item(link, struct directory_session, of_call)->generation =
			call->relay->generation;
	}
}

static int place_call(struct directory *directory, const struct ip_addr *ip,
		      struct span call_id, struct directory_call **ret)
{
	struct directory_call *call = directory_find(directory, call_id);
	struct relay *relay;

	if (call && ip_equal(&call->relay->ip, ip)) {
		*ret = call;
		return 0;
	}
	if (call && directory_call_is_live(call))
		return -EEXIST;
	relay = directory_take_relay(directory, ip);
	if (!relay)
		return -ENOMEM;
	if (call) {
		list_del(&call->of_relay);
		call->relay = relay;
		list_add_tail(&relay->calls, &call->of_relay);
	} else {
		call = add_call(directory, relay, call_id);
	}
	if (!call)
		return -ENOMEM;
	*ret = call;
	return 0;
}

int directory_add(struct directory *directory, const struct ip_addr *relay,
		  const struct directory_leg *leg)
{
	struct directory_session *session;
	struct directory_call *call;
	bool is_new = false;
	int err;

	err = place_call(directory, relay, leg->call_id, &call);
	if (err < 0)
		return err;
	if (leg->from_tag.len == 0 && directory_call_is_live(call)) {
		learn_all(call);
		return 0;
	}
	session = directory_find_session(call, leg->from_tag, leg->to_tag);
	if (!session) {
		if (directory->counts.sessions < DIRECTORY_MAX_SESSIONS)
			session = add_session(directory, call, leg->from_tag);
		else
			err = -ENOSPC;
		is_new = true;
	}
	if (!session) {
		drop_call_if_empty(directory, call);
		return err < 0 ? err : -ENOMEM;
	}
	learn(directory, session, leg, is_new);
	return 0;
}

int directory_restore(struct directory *directory, const struct ip_addr *ip,
		      const struct directory_leg *leg, uint64_t id,
		      uint64_t expired_us, uint64_t now_us,
		      struct directory_session **ret)
{
	struct relay *relay = directory_take_relay(directory, ip);
	struct directory_session *session;
	struct directory_call *call;
	int err;

	if (!relay)
		return -ENOMEM;
	relay->up = false;
	relay->down_since_us = now_us;
	err = place_call(directory, ip, leg->call_id, &call);
	if (err < 0)
		return err;
	session = directory->counts.sessions < DIRECTORY_MAX_SESSIONS
			  ? add_session(directory, call, leg->from_tag)
			  : NULL;
	if (!session) {
		drop_call_if_empty(directory, call);
		return -ENOSPC;
	}
	session->id = id;
	if (id > directory->last_id)
		directory->last_id = id;
	set_facts(session, leg);
	if (expired_us > 0)
		directory_expire(directory, session, expired_us,
				 /* in_doubt= */ false);
	*ret = session;
	return 0;
}

struct directory *directory_free(struct directory *directory)
{
	if (!directory)
		return NULL;
	/* What ends is the process, not the sessions. */
	directory->changes = (struct directory_changes){0};
	list_for_each_safe (link, &directory->relays) {
		directory_forget_relay(directory,
				       list_item(link, struct relay, link),
				       NULL, NULL);
	}
	hash_done(&directory->calls);
	free(directory);
	return NULL;
}
