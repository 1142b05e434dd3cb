#include <errno.h>
#include <stdlib.h>

#include "dispatcher/directory_internal.h"

struct relay *directory_find_relay(const struct directory *directory,
				   const struct ip_addr *ip)
{
	list_for_each (link, &directory->relays) {
		struct relay *relay = list_item(link, struct relay, link);

		if (ip_equal(&relay->ip, ip))
			return relay;
	}
	return NULL;
}

struct relay *directory_take_relay(struct directory *directory,
				   const struct ip_addr *ip)
{
	struct relay *relay = directory_find_relay(directory, ip);

	if (relay)
		return relay;
	relay = calloc(1, sizeof(*relay));
	if (!relay)
		return NULL;
	relay->ip = *ip;
	relay->up = true;
	relay->generation = 1; /* 0: of what is known from the disk */
	list_init(&relay->calls);
	list_add_tail(&directory->relays, &relay->link);
	return relay;
}

void directory_relay_up(struct directory *directory, const struct ip_addr *ip)
{
	struct relay *relay = directory_take_relay(directory, ip);

	if (relay)
		relay->up = true;
}

void directory_relay_down(struct directory *directory, const struct ip_addr *ip,
			  uint64_t now_us)
{
	struct relay *relay = directory_find_relay(directory, ip);

	if (!relay)
		return;
	relay->up = false;
	relay->judge_at_us = 0;
	relay->down_since_us = now_us;
}

/* The list of a relay */

void directory_sync_begin(struct directory *directory, const struct ip_addr *ip)
{
	struct relay *relay = directory_take_relay(directory, ip);

	if (!relay)
		return;
	relay->generation++;
	relay->judge_at_us = 0;
}

void directory_sync_caught_up(struct directory *directory,
			      const struct ip_addr *ip, uint64_t judge_at_us)
{
	struct relay *relay = directory_find_relay(directory, ip);

	if (relay)
		relay->judge_at_us = judge_at_us;
}

bool directory_sync_due(const struct directory *directory, uint64_t now_us,
			struct ip_addr *ret_relay, uint64_t *ret_at_us)
{
	uint64_t at_us = 0;

	list_for_each (link, &directory->relays) {
		const struct relay *relay =
			list_item(link, const struct relay, link);

		if (relay->judge_at_us == 0)
			continue;
		if (relay->judge_at_us <= now_us) {
			*ret_relay = relay->ip;
			return true;
		}
		if (at_us == 0 || relay->judge_at_us < at_us)
			at_us = relay->judge_at_us;
	}
	*ret_at_us = at_us;
	return false;
}

static size_t drop_unlisted(struct directory *directory,
			    struct directory_call *call, directory_drop_h *drop,
			    void *arg)
{
	struct list *link = call->sessions.next;
	bool last = list_empty(&call->sessions);
	size_t count = 0;

	/* The call goes with its last session: look ahead before that. */
	while (!last) {
		struct directory_session *session =
			list_item(link, struct directory_session, of_call);

		link = link->next;
		last = link == &call->sessions;
		if (session->expired ||
		    session->generation == call->relay->generation ||
		    session->removing == call->relay->generation)
			continue;
		if (drop)
			drop(session, arg);
		directory_remove(directory, session);
		count++;
	}
	return count;
}

size_t directory_sync_end(struct directory *directory, const struct ip_addr *ip,
			  directory_drop_h *drop, void *arg)
{
	struct relay *relay = directory_find_relay(directory, ip);
	size_t count = 0;

	if (!relay)
		return 0;
	relay->judge_at_us = 0;
	list_for_each_safe (link, &relay->calls) {
		struct directory_call *call =
			list_item(link, struct directory_call, of_relay);

		count += drop_unlisted(directory, call, drop, arg);
	}
	return count;
}

/* The end */

static size_t forget_call(struct directory *directory,
			  struct directory_call *call, directory_drop_h *drop,
			  void *arg)
{
	struct list *first = list_first(&call->sessions);
	size_t count = 0;

	while (first) {
		bool last = first->next == &call->sessions;

		if (drop)
			drop(list_item(first, struct directory_session,
				       of_call),
			     arg);
		directory_remove(
			directory,
			list_item(first, struct directory_session, of_call));
		count++;
		first = last ? NULL : list_first(&call->sessions);
	}
	return count;
}

size_t directory_forget_relay(struct directory *directory, struct relay *relay,
			      directory_drop_h *drop, void *arg)
{
	struct list *first;
	size_t count = 0;

	while ((first = list_first(&relay->calls)))
		count += forget_call(
			directory,
			list_item(first, struct directory_call, of_relay), drop,
			arg);
	list_del(&relay->link);
	free(relay);
	return count;
}

size_t directory_sweep(struct directory *directory, uint64_t now_us,
		       uint64_t expired_after_us, uint64_t dead_after_us,
		       directory_drop_h *drop, directory_dead_relay_h *dead,
		       void *arg)
{
	struct list *first;
	size_t count = 0;

	while ((first = list_first(&directory->expired))) {
		struct directory_session *session =
			list_item(first, struct directory_session, of_expired);

		if (now_us - session->expired_us < expired_after_us)
			break;
		directory_remove(directory, session);
		count++;
	}
	list_for_each_safe (link, &directory->relays) {
		struct relay *relay = list_item(link, struct relay, link);
		struct ip_addr ip = relay->ip;
		size_t sessions;

		if (relay->up || now_us - relay->down_since_us < dead_after_us)
			continue;
		sessions = directory_forget_relay(directory, relay, drop, arg);
		if (dead && sessions > 0)
			dead(&ip, sessions, arg);
	}
	return count;
}
