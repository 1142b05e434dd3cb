#include "media/kernel/neighbours.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "media/kernel/route_query.h"

#define SERVED_AT_ONCE 512
#define KEEP_ALIVE_US (16 * US_PER_S) /* and up to 7 s more, by the hash */
#define RETRY_FIRST_US (1 * US_PER_S)
#define RETRY_MOST_US (30 * US_PER_S)

int neighbours_init(struct neighbours *ns)
{
	list_init(&ns->turns);
	ns->due_us = UINT64_MAX;
	return hash_init(&ns->all);
}

void neighbours_done(struct neighbours *ns)
{
	hash_done(&ns->all);
}

/* Whole seconds, so that many are served in one walk over all. */
static void set_due(struct neighbours *ns, struct neighbour *n, uint64_t at_us)
{
	n->due_us = at_us - at_us % US_PER_S;
	if (n->due_us < ns->due_us)
		ns->due_us = n->due_us;
}

static uint64_t keep_alive_us(const struct neighbour *n)
{
	return KEEP_ALIVE_US + n->node.hash % 8 * US_PER_S;
}

static void told(struct neighbours *ns, struct neighbour *n,
		 const struct neighbour_state *state, uint64_t now_us)
{
	enum next_hop_problem problem = problem_of_neighbour(state, n->problem);
	bool is_same = problem == n->problem;

	if (is_same && (problem != NEXT_HOP_OK ||
			memcmp(n->mac, state->mac, MAC_LEN) == 0))
		return;
	n->problem = problem;
	memcpy(n->mac, state->mac, MAC_LEN);
	if (!is_same) {
		n->retry_us = RETRY_FIRST_US;
		set_due(ns, n,
			now_us + (problem == NEXT_HOP_OK ? keep_alive_us(n)
							 : n->retry_us));
	}
	if (!list_empty(&n->users))
		ns->changed(n, ns->arg);
}

/* Read its state, then tell the kernel that it is in use. The state comes
 * first, since that would end a permanent entry; and once more for one that was
 * not there, since some are complete from the start, which no event says. */
static void ask(struct neighbours *ns, struct neighbour *n, uint64_t now_us)
{
	struct neighbour_state state = {0};
	int result;

	if (problem_of_interface(interfaces_find(ns->interfaces, n->ifindex)) !=
	    NEXT_HOP_OK)
		return;
	if (neighbour_query(ns->questions, n->ifindex, &n->ip, &state) < 0) {
		ns->counters->lookup_errors++;
		return;
	}
	told(ns, n, &state, now_us);
	if (neighbour_is_permanent(state.nud))
		return;
	result = neighbour_use(ns->questions, n->ifindex, &n->ip);
	if (result == -EPERM)
		ns->counters->refused++;
	else if (result < 0)
		ns->counters->lookup_errors++;
	else if (state.nud == 0 && neighbour_query(ns->questions, n->ifindex,
						   &n->ip, &state) == 0)
		told(ns, n, &state, now_us);
}

static void serve(struct neighbours *ns, struct neighbour *n, uint64_t now_us)
{
	ask(ns, n, now_us);
	if (n->problem == NEXT_HOP_OK) {
		set_due(ns, n, now_us + keep_alive_us(n));
		return;
	}
	set_due(ns, n, now_us + n->retry_us);
	n->retry_us *= 2;
	if (n->retry_us > RETRY_MOST_US)
		n->retry_us = RETRY_MOST_US;
}

void neighbours_tick(struct neighbours *ns, uint64_t now_us)
{
	struct list turns;
	unsigned count = 0;

	if (now_us < ns->due_us)
		return;
	ns->due_us = UINT64_MAX;
	list_init(&turns);
	list_for_each_safe (link, &ns->turns) {
		struct neighbour *n = list_item(link, struct neighbour, turn);

		if (n->due_us <= now_us && count < SERVED_AT_ONCE) {
			list_del(link);
			list_add_tail(&turns, link);
			count++;
		} else if (n->due_us < ns->due_us) {
			ns->due_us = n->due_us;
		}
	}
	list_for_each_safe (link, &turns) {
		list_del(link);
		list_add_tail(&ns->turns, link);
		serve(ns, list_item(link, struct neighbour, turn), now_us);
	}
}

void neighbours_resync(struct neighbours *ns, uint64_t now_us)
{
	list_for_each (link, &ns->turns)
		set_due(ns, list_item(link, struct neighbour, turn), now_us);
}

static uint64_t hash_of(const struct neighbours *ns, unsigned ifindex,
			const struct ip_addr *ip)
{
	uint8_t key[sizeof(ifindex) + sizeof(*ip)];

	memcpy(key, &ifindex, sizeof(ifindex));
	memcpy(key + sizeof(ifindex), ip, sizeof(*ip));
	return hash_span(&ns->all, span_make(key, sizeof(key)));
}

bool neighbour_is(const struct neighbour *neighbour, unsigned ifindex,
		  const struct ip_addr *ip)
{
	return neighbour->ifindex == ifindex && ip_equal(&neighbour->ip, ip);
}

static struct neighbour *find(const struct neighbours *ns, unsigned ifindex,
			      const struct ip_addr *ip)
{
	struct hash_node *node = hash_first(&ns->all, hash_of(ns, ifindex, ip));

	for (; node; node = hash_next(node)) {
		struct neighbour *n = hash_item(node, struct neighbour, node);

		if (neighbour_is(n, ifindex, ip))
			return n;
	}
	return NULL;
}

void neighbours_told(struct neighbours *ns, const struct neighbour_state *state,
		     uint64_t now_us)
{
	struct neighbour *n = find(ns, state->ifindex, &state->ip);

	if (!n)
		return;
	ns->counters->neighbour_events++;
	told(ns, n, state, now_us);
}

/* Nobody is told of what comes out of the first question: the user joins after
 * it. */
struct neighbour *neighbours_take(struct neighbours *ns, unsigned ifindex,
				  const struct ip_addr *ip, struct list *user,
				  uint64_t now_us)
{
	struct neighbour *n = find(ns, ifindex, ip);

	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			return NULL;
		n->ifindex = ifindex;
		n->ip = *ip;
		n->problem = NEXT_HOP_UNRESOLVED;
		n->retry_us = RETRY_FIRST_US;
		list_init(&n->users);
		list_add_tail(&ns->turns, &n->turn);
		hash_add(&ns->all, &n->node, hash_of(ns, ifindex, ip));
		serve(ns, n, now_us);
	}
	list_add_tail(&n->users, user);
	return n;
}

void neighbours_put(struct neighbours *ns, struct neighbour *neighbour,
		    struct list *user)
{
	list_del(user);
	if (!list_empty(&neighbour->users))
		return;
	hash_del(&ns->all, &neighbour->node);
	list_del(&neighbour->turn);
	free(neighbour);
}
