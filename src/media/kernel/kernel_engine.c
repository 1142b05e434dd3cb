/**
 * @file media/kernel/kernel_engine.c  The engine that forwards in the kernel
 *
 * A thread of its own does what may take its time: it attaches programs, asks
 * for routes, follows interfaces and neighbours, renews the lease, and waits
 * for grace periods. Workers install flows and take them back themselves, by
 * writing to the maps (flow_maps.h), and wait for nothing.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "media/engine.h"
#include "media/kernel/attach.h"
#include "media/kernel/flow_maps.h"
#include "media/kernel/interfaces.h"
#include "media/kernel/ways.h"

#define TICK_US US_PER_S
#define CHECK_TICKS 5
#define ON_LOOPBACK "relay_ip is a loopback address"
#define STACK_BYTES (256u * 1024)
/* Where the kernel cannot tell when a grace period is over. */
#define GRACE_GUESS_NS 200000000

struct kernel_engine {
	struct engine engine;
	struct media_engine_config config;
	struct flow_maps *maps;
	pthread_t thread;
	int wake_fd;
	bool started;
	/* any thread: */
	_Atomic bool stop;
	_Atomic int forwarding; /* as it was asked for */
	struct queue requests;  /* items, by to_engine */
	_Atomic uint64_t flows; /* that are installed */
	/* the engine's thread: */
	struct interfaces *interfaces;
	struct attachments *attachments;
	struct ways *ways;
	enum media_forwarding applied;
	uint64_t now_us, ticked_us;
	unsigned ticks;
	struct list watched;  /* items with silence_us */
	bool guessed_a_grace; /* logged once */
	/* under the lock, for the control thread: */
	pthread_mutex_t lock;
	struct media_engine_status status;
	struct media_interface_status interface_status[FLOW_DEVICES];
	unsigned interface_count;
};

static struct kernel_engine *of(const struct engine *engine)
{
	return container_of(engine, struct kernel_engine, engine);
}

static void wake(struct kernel_engine *k)
{
	eventfd_write(k->wake_fd, 1);
}

/* ---- what workers ask ---- */

/* No program that began before this call is running after it: XDP and TC run
 * under RCU. */
static void wait_grace(struct kernel_engine *k)
{
	const struct timespec guess = {.tv_nsec = GRACE_GUESS_NS};

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return;
	if (!k->guessed_a_grace)
		log_debug("membarrier: %s: grace periods are guessed",
			  strerror(errno));
	k->guessed_a_grace = true;
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &guess, NULL);
}

static void serve_requests(struct kernel_engine *k)
{
	struct queue_link *link = queue_take_all(&k->requests);
	struct queue_link *settling = NULL;

	while (link) {
		struct engine_item *item =
			container_of(link, struct engine_item, to_engine);

		link = link->next;
		if (item->settles) {
			list_del(&item->in_watched);
			ways_leave(k->ways, item, k->now_us);
			item->to_engine.next = settling;
			settling = &item->to_engine;
			continue;
		}
		ways_find(k->ways, item, k->now_us);
		if (item->silence_us > 0)
			list_add_tail(&k->watched, &item->in_watched);
		engine_tell(&k->engine, item, ENGINE_ANSWERED);
	}
	if (settling)
		wait_grace(k);
	while (settling) {
		struct engine_item *item =
			container_of(settling, struct engine_item, to_engine);

		settling = settling->next;
		engine_tell(&k->engine, item, ENGINE_SETTLED);
	}
}

/* ---- the thread ---- */

static void publish_status(struct kernel_engine *k)
{
	struct media_engine_status s = {0};
	unsigned xdp = attachments_count(k->attachments, ATTACH_XDP);
	unsigned tc = attachments_count(k->attachments, ATTACH_TC);

	s.name = xdp && tc ? "xdp+tc" : xdp ? "xdp" : tc ? "tc" : "userspace";
	atomic_store(&k->engine.forwards, xdp + tc > 0);
	atomic_store(&k->engine.name, s.name);
	s.forwarding = k->applied;
	(void)snprintf(s.reason, sizeof(s.reason), "forwarding = %s%s",
		       media_forwarding_name(k->applied),
		       k->config.is_loopback ? ", " ON_LOOPBACK : "");
	ways_count(k->ways, &s);
	s.netlink_resyncs += interfaces_counters(k->interfaces)->resyncs;
	pthread_mutex_lock(&k->lock);
	k->status = s;
	k->interface_count = 0;
	while (k->interface_count < FLOW_DEVICES &&
	       attachments_status(k->attachments, k->interface_count,
				  &k->interface_status[k->interface_count]))
		k->interface_count++;
	pthread_mutex_unlock(&k->lock);
}

static void apply_forwarding(struct kernel_engine *k)
{
	enum media_forwarding wanted =
		(enum media_forwarding)atomic_load(&k->forwarding);

	if (wanted == k->applied)
		return;
	k->applied = wanted;
	attachments_apply(k->attachments, wanted, k->now_us);
	publish_status(k);
}

static void interface_changed(const struct interface *interface, bool is_gone,
			      void *arg)
{
	struct kernel_engine *k = arg;

	attachments_interface_changed(k->attachments, interface, is_gone,
				      k->now_us);
	ways_link_changed(k->ways, interface->ifindex, k->now_us);
	publish_status(k);
}

static void watch_silence(struct kernel_engine *k)
{
	list_for_each (link, &k->watched) {
		struct engine_item *item =
			list_item(link, struct engine_item, in_watched);
		struct engine_counters c;

		flow_maps_read(k->maps, &item->local, k->now_us, &c);
		if (c.heard_us > 0 &&
		    k->now_us >= c.heard_us + item->silence_us)
			engine_tell(&k->engine, item, ENGINE_SILENT);
	}
}

static void tick(struct kernel_engine *k)
{
	k->ticked_us = k->now_us;
	flow_maps_renew(k->maps, k->now_us, k->config.lease_us);
	ways_tick(k->ways, k->now_us);
	watch_silence(k);
	if (++k->ticks % CHECK_TICKS == 0)
		attachments_check(k->attachments, k->now_us);
	publish_status(k);
}

static int wait_ms(const struct kernel_engine *k)
{
	uint64_t next_us = k->ticked_us + TICK_US;
	uint64_t hops_us = ways_wait_us(k->ways, k->now_us);
	uint64_t wait_us = next_us > k->now_us ? next_us - k->now_us : 0;

	if (hops_us < wait_us)
		wait_us = hops_us;
	return (int)((wait_us + US_PER_MS - 1) / US_PER_MS);
}

static void *run(void *arg)
{
	struct kernel_engine *k = arg;
	struct pollfd fds[] = {
		{.fd = k->wake_fd, .events = POLLIN},
		{.fd = interfaces_fd(k->interfaces), .events = POLLIN},
		{.fd = ways_fd(k->ways), .events = POLLIN},
	};
	eventfd_t ignored;

	while (!atomic_load(&k->stop)) {
		(void)poll(fds, ARRAY_SIZE(fds), wait_ms(k));
		k->now_us = clock_mono_us();
		if (fds[0].revents)
			eventfd_read(k->wake_fd, &ignored);
		if (fds[1].revents)
			(void)interfaces_dispatch(k->interfaces);
		if (fds[2].revents)
			ways_dispatch(k->ways, k->now_us);
		if (ways_wait_us(k->ways, k->now_us) == 0)
			ways_tick(k->ways, k->now_us);
		apply_forwarding(k);
		serve_requests(k);
		if (k->now_us >= k->ticked_us + TICK_US)
			tick(k);
	}
	return NULL;
}

/* ---- the interface ---- */

static void kernel_reset(struct engine *engine, const struct endpoint *local)
{
	flow_maps_reset(of(engine)->maps, local);
}

static void kernel_read(const struct engine *engine,
			const struct endpoint *local, uint64_t now_us,
			struct engine_counters *ret)
{
	flow_maps_read(of(engine)->maps, local, now_us, ret);
}

static void request(struct kernel_engine *k, struct engine_item *item,
		    bool settles)
{
	item->settles = settles;
	if (queue_push(&k->requests, &item->to_engine))
		wake(k);
}

static void kernel_ask(struct engine *engine, struct engine_item *item)
{
	request(of(engine), item, /* settles= */ false);
}

static void kernel_settle(struct engine *engine, struct engine_item *item)
{
	request(of(engine), item, /* settles= */ true);
}

static void kernel_add(struct engine *engine, struct engine_item *item,
		       const struct engine_flow *flow)
{
	struct kernel_engine *k = of(engine);
	uint16_t hop = atomic_load(&item->hop);
	uint16_t now;

	flow_maps_add(k->maps, item, flow, hop);
	/* The way may have changed while the flow could not be moved yet. */
	while ((now = atomic_load(&item->hop)) != hop) {
		flow_maps_move(k->maps, &item->local, hop, now);
		hop = now;
	}
	atomic_fetch_add(&k->flows, 1);
}

static void kernel_del(struct engine *engine, struct engine_item *item)
{
	struct kernel_engine *k = of(engine);

	flow_maps_del(k->maps, &item->local);
	atomic_fetch_sub(&k->flows, 1);
}

static void kernel_pause(struct engine *engine, const struct endpoint *local)
{
	flow_maps_del(of(engine)->maps, local);
}

static void kernel_set_forwarding(struct engine *engine,
				  enum media_forwarding forwarding)
{
	struct kernel_engine *k = of(engine);

	atomic_store(&k->forwarding, (int)forwarding);
	wake(k);
}

static void kernel_status(const struct engine *engine,
			  struct media_engine_status *ret)
{
	struct kernel_engine *k = of(engine);
	uint64_t stats[FLOW_STATS];

	_Static_assert((int)FLOW_STATS <= MEDIA_ENGINE_STATS, "all have room");
	pthread_mutex_lock(&k->lock);
	*ret = k->status;
	pthread_mutex_unlock(&k->lock);
	ret->flows = atomic_load(&k->flows);
	flow_maps_read_stats(k->maps, stats);
	ret->stat_count = FLOW_STATS;
	for (unsigned i = 0; i < FLOW_STATS; i++) {
		ret->stats[i].name = flow_stat_name((enum flow_stat)i);
		ret->stats[i].value = stats[i];
	}
}

static bool kernel_interface(const struct engine *engine, unsigned index,
			     struct media_interface_status *ret)
{
	struct kernel_engine *k = of(engine);
	bool found;

	pthread_mutex_lock(&k->lock);
	found = index < k->interface_count;
	if (found)
		*ret = k->interface_status[index];
	pthread_mutex_unlock(&k->lock);
	return found;
}

static void kernel_close(struct engine *engine)
{
	struct kernel_engine *k = of(engine);

	if (k->started) {
		atomic_store(&k->stop, true);
		wake(k);
		pthread_join(k->thread, NULL);
	}
	attachments_free(k->attachments);
	ways_free(k->ways);
	interfaces_free(k->interfaces);
	flow_maps_free(k->maps);
	closep(&k->wake_fd);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static const struct engine_ops kernel_ops = {
	.close = kernel_close,
	.reset = kernel_reset,
	.read = kernel_read,
	.ask = kernel_ask,
	.add = kernel_add,
	.del = kernel_del,
	.pause = kernel_pause,
	.settle = kernel_settle,
	.set_forwarding = kernel_set_forwarding,
	.status = kernel_status,
	.interface = kernel_interface,
};

static int start_thread(struct kernel_engine *k)
{
	int r = thread_start(&k->thread, "engine", STACK_BYTES, run, k);

	k->started = r == 0;
	return r;
}

static int open_rest(struct kernel_engine *k, const char **ret_why)
{
	int r = interfaces_new(&k->interfaces, interface_changed, k);

	*ret_why = "the interfaces cannot be read";
	if (r < 0)
		return r;
	*ret_why = "out of memory";
	r = attachments_new(&k->attachments, k->maps, k->interfaces,
			    k->config.interfaces);
	if (r < 0)
		return r;
	*ret_why = "the routes cannot be read";
	r = ways_new(&k->ways, k->maps, k->interfaces, k->attachments);
	if (r < 0)
		return r;
	k->now_us = clock_mono_us();
	k->ticked_us = k->now_us;
	flow_maps_renew(k->maps, k->now_us, k->config.lease_us);
	/* No packet for it comes in by another interface. */
	if (k->config.is_loopback)
		attachments_stay_off(k->attachments, ON_LOOPBACK);
	k->applied = k->config.forwarding;
	atomic_store(&k->forwarding, (int)k->applied);
	attachments_apply(k->attachments, k->applied, k->now_us);
	publish_status(k);
	*ret_why = "its thread cannot be started";
	return start_thread(k);
}

int kernel_engine_open(struct engine **ret,
		       const struct media_engine_config *config, char *ret_why,
		       size_t why_size)
{
	struct kernel_engine *k = calloc(1, sizeof(*k));
	const char *why;
	int r;

	(void)snprintf(ret_why, why_size, "out of memory");
	if (!k)
		return -ENOMEM;
	k->engine.ops = &kernel_ops;
	k->config = *config;
	list_init(&k->watched);
	pthread_mutex_init(&k->lock, NULL);
	k->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = k->wake_fd < 0 ? -errno
			   : flow_maps_new(&k->maps, config, ret_why, why_size);
	if (r == 0) {
		r = open_rest(k, &why);
		if (r < 0)
			(void)snprintf(ret_why, why_size, "%s: %s", why,
				       strerror(-r));
	}
	if (r < 0) {
		kernel_close(&k->engine);
		return r;
	}
	*ret = &k->engine;
	return 0;
}

void kernel_engine_sweep(const struct media_engine_config *config)
{
	struct attachments *attachments = NULL;
	struct interfaces *interfaces = NULL;
	struct flow_maps *maps = NULL;
	char why[MEDIA_REASON_SIZE];

	if (flow_maps_new(&maps, config, why, sizeof(why)) == 0 &&
	    interfaces_new(&interfaces, NULL, NULL) == 0 &&
	    attachments_new(&attachments, maps, interfaces, "") == 0)
		attachments_sweep(attachments, clock_mono_us());
	attachments_free(attachments);
	interfaces_free(interfaces);
	flow_maps_free(maps);
}
