#pragma once
/**
 * @file tests/unit/media/fake_engine.h  An engine whose kernel is the test
 *
 * It forwards nothing itself: fake_forward() counts what it would have
 * forwarded. Answers come at once, when the test says so, or from a thread at
 * random moments. It ends the process if a worker breaks the rules of engine.h:
 * workers cannot fail a test. Any thread.
 */
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "media/engine.h"

#include "test.h"

#define FAKE_PORTS 65536

/* Where a port's item is. */
enum fake_request { FAKE_IDLE, FAKE_ASKED, FAKE_ANSWERED, FAKE_SETTLING };

struct fake_port {
	enum fake_request request;
	struct engine_item *item; /* unless FAKE_IDLE */
	bool installed;
	struct engine_flow flow;
	struct endpoint destination;
	struct ip_addr source;
	uint64_t silence_us;
	struct engine_counters counters;
	unsigned asks, adds, dels, settles;
};

/* A worker waits at a door until the test lets it go on. */
struct fake_door {
	_Atomic bool shut;
	sem_t waits, go;
};

struct fake_engine {
	struct engine engine;
	pthread_mutex_t lock;
	_Atomic bool answers_by_hand, settles_by_hand;
	struct list waiting;               /* items, by in_way */
	struct fake_door at_ask, at_add;   /* at the beginning of either */
	_Atomic int fd_to_be_empty;        /* at each add(); -1: none */
	_Atomic unsigned adds_to_nonempty; /* when it was not */
	pthread_t thread;                  /* that answers at random */
	_Atomic bool has_thread, stop;
	struct fake_port ports[FAKE_PORTS];
};

static inline struct fake_engine *fake_of(const struct engine *engine)
{
	return container_of(engine, struct fake_engine, engine);
}

/* By number: no test has one port in two families. */
static inline struct fake_port *fake_at(struct fake_engine *f,
					const struct endpoint *local)
{
	return &f->ports[local->port];
}

static inline void fake_rule(bool holds, const char *rule,
			     const struct endpoint *local)
{
	char text[ADDR_TEXT_SIZE];

	if (holds)
		return;
	fprintf(stderr, "the engine's rules are broken: %s: %s\n",
		endpoint_format(local, text), rule);
	abort();
}

static inline void fake_pass_door(struct fake_door *door)
{
	bool shut = true;

	if (!atomic_compare_exchange_strong(&door->shut, &shut, false))
		return;
	sem_post(&door->waits);
	sem_wait(&door->go);
}

/* ---- what the engine says ---- */

/* With the lock. @return its news */
static inline unsigned fake_finish(struct fake_port *port)
{
	struct engine_item *item = port->item;

	list_del(&item->in_way);
	if (port->request == FAKE_ASKED) {
		port->request = FAKE_ANSWERED;
		return ENGINE_ANSWERED;
	}
	port->request = FAKE_IDLE;
	port->item = NULL;
	return ENGINE_SETTLED;
}

/* Answer the open request of a port, or say that it is settled. */
static inline void fake_answer(struct fake_engine *f,
			       const struct endpoint *local)
{
	struct fake_port *port = fake_at(f, local);
	struct engine_item *item;
	unsigned news;

	pthread_mutex_lock(&f->lock);
	assert_true(port->request == FAKE_ASKED ||
		    port->request == FAKE_SETTLING);
	item = port->item;
	news = fake_finish(port);
	pthread_mutex_unlock(&f->lock);
	engine_tell(&f->engine, item, news);
}

static inline void fake_silent(struct fake_engine *f,
			       const struct endpoint *local)
{
	pthread_mutex_lock(&f->lock);
	/* As the kernel engine: of what is not settled yet. */
	if (fake_at(f, local)->item)
		engine_tell(&f->engine, fake_at(f, local)->item, ENGINE_SILENT);
	pthread_mutex_unlock(&f->lock);
}

static inline void *fake_answer_at_random(void *arg)
{
	struct fake_engine *f = arg;
	unsigned seed = 1;

	while (!f->stop) {
		pthread_mutex_lock(&f->lock);
		list_for_each_safe (link, &f->waiting) {
			struct engine_item *item =
				list_item(link, struct engine_item, in_way);
			struct fake_port *port = fake_at(f, &item->local);
			int dice = rand_r(&seed) % 4;

			if (dice == 0)
				engine_tell(&f->engine, item, ENGINE_SILENT);
			else if (dice != 1)
				engine_tell(&f->engine, item,
					    fake_finish(port));
		}
		pthread_mutex_unlock(&f->lock);
		poll(NULL, 0, rand_r(&seed) % 3);
	}
	return NULL;
}

/* ---- what the kernel would do ---- */

/* A packet of RTP from this source: would it be forwarded? */
static inline bool fake_forward(struct fake_engine *f,
				const struct endpoint *local,
				const struct endpoint *source, uint32_t ssrc,
				uint16_t seq, size_t ip_len)
{
	struct fake_port *port = fake_at(f, local);
	bool forwards;

	pthread_mutex_lock(&f->lock);
	forwards =
		port->installed && endpoint_equal(&port->flow.remote, source);
	if (forwards) {
		struct engine_counters *c = &port->counters;

		c->packets++;
		c->bytes += ip_len;
		c->heard_us = c->media_us = clock_mono_us();
		c->has_ssrc = true;
		c->ssrc = ssrc;
		c->seq = seq;
		c->payload_type = 8;
	}
	pthread_mutex_unlock(&f->lock);
	return forwards;
}

/* ---- the interface ---- */

static inline void fake_close(struct engine *engine)
{
	struct fake_engine *f = fake_of(engine);

	f->stop = true;
	if (f->has_thread)
		pthread_join(f->thread, NULL);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static inline void fake_reset(struct engine *engine,
			      const struct endpoint *local)
{
	struct fake_engine *f = fake_of(engine);
	struct fake_port *port = fake_at(f, local);

	pthread_mutex_lock(&f->lock);
	fake_rule(port->request == FAKE_IDLE, "reset while it has a flow",
		  local);
	port->counters = (struct engine_counters){.payload_type = -1};
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_read(const struct engine *engine,
			     const struct endpoint *local, uint64_t now_us,
			     struct engine_counters *ret)
{
	struct fake_engine *f = fake_of(engine);

	pthread_mutex_lock(&f->lock);
	*ret = fake_at(f, local)->counters;
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_request(struct fake_engine *f, struct engine_item *item,
				enum fake_request request, bool by_hand)
{
	struct fake_port *port = fake_at(f, &item->local);
	unsigned news = 0;

	pthread_mutex_lock(&f->lock);
	if (request == FAKE_ASKED) {
		fake_rule(port->request == FAKE_IDLE, "asked twice",
			  &item->local);
		port->asks++;
		port->destination = item->destination;
		port->source = item->source;
		port->silence_us = item->silence_us;
	} else {
		fake_rule(port->request == FAKE_ANSWERED && !port->installed,
			  "to be settled while asked or installed",
			  &item->local);
		port->settles++;
	}
	port->item = item;
	port->request = request;
	list_add_tail(&f->waiting, &item->in_way);
	if (!by_hand && !f->has_thread)
		news = fake_finish(port);
	pthread_mutex_unlock(&f->lock);
	if (news)
		engine_tell(&f->engine, item, news);
}

static inline void fake_ask(struct engine *engine, struct engine_item *item)
{
	struct fake_engine *f = fake_of(engine);

	fake_request(f, item, FAKE_ASKED, f->answers_by_hand);
	fake_pass_door(&f->at_ask);
}

static inline void fake_settle(struct engine *engine, struct engine_item *item)
{
	struct fake_engine *f = fake_of(engine);

	fake_request(f, item, FAKE_SETTLING, f->settles_by_hand);
}

static inline void fake_add(struct engine *engine, struct engine_item *item,
			    const struct engine_flow *flow)
{
	struct fake_engine *f = fake_of(engine);
	struct fake_port *port = fake_at(f, &item->local);
	char byte;

	fake_pass_door(&f->at_add);
	if (f->fd_to_be_empty >= 0 &&
	    recv(f->fd_to_be_empty, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
		f->adds_to_nonempty++;
	pthread_mutex_lock(&f->lock);
	fake_rule(port->request == FAKE_ANSWERED && !port->installed,
		  "added while not answered, or twice", &item->local);
	fake_rule(endpoint_equal(&port->destination, &item->destination),
		  "another destination than was asked for", &item->local);
	port->installed = true;
	port->flow = *flow;
	port->adds++;
	port->counters.heard_us = flow->heard_us;
	port->counters.media_us = 0;
	port->counters.has_ssrc = false;
	port->counters.payload_type = -1;
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_del(struct engine *engine, struct engine_item *item)
{
	struct fake_engine *f = fake_of(engine);
	struct fake_port *port = fake_at(f, &item->local);

	pthread_mutex_lock(&f->lock);
	fake_rule(port->installed, "taken back and not there", &item->local);
	port->installed = false;
	port->dels++;
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_pause(struct engine *engine,
			      const struct endpoint *local)
{
}

static inline void fake_set_forwarding(struct engine *engine,
				       enum media_forwarding forwarding)
{
}

static inline void fake_status(const struct engine *engine,
			       struct media_engine_status *ret)
{
	*ret = (struct media_engine_status){.name = "fake"};
}

static inline bool fake_interface(const struct engine *engine, unsigned index,
				  struct media_interface_status *ret)
{
	return false;
}

static const struct engine_ops fake_ops = {
	.close = fake_close,
	.reset = fake_reset,
	.read = fake_read,
	.ask = fake_ask,
	.add = fake_add,
	.del = fake_del,
	.pause = fake_pause,
	.settle = fake_settle,
	.set_forwarding = fake_set_forwarding,
	.status = fake_status,
	.interface = fake_interface,
};

/* Of the media that it is given to. */
static inline struct fake_engine *fake_engine_new(void)
{
	struct fake_engine *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	pthread_mutex_init(&f->lock, NULL);
	list_init(&f->waiting);
	sem_init(&f->at_ask.waits, 0, 0);
	sem_init(&f->at_ask.go, 0, 0);
	sem_init(&f->at_add.waits, 0, 0);
	sem_init(&f->at_add.go, 0, 0);
	f->fd_to_be_empty = -1;
	f->engine.ops = &fake_ops;
	f->engine.forwards = true;
	return f;
}

/* Before there are streams. */
static inline void fake_start_thread(struct fake_engine *f)
{
	f->has_thread = true;
	assert_int_equal(
		pthread_create(&f->thread, NULL, fake_answer_at_random, f), 0);
}

/* A copy, as of now. */
static inline struct fake_port fake_port_of(struct fake_engine *f,
					    const struct endpoint *local)
{
	struct fake_port port;

	pthread_mutex_lock(&f->lock);
	port = *fake_at(f, local);
	pthread_mutex_unlock(&f->lock);
	return port;
}
