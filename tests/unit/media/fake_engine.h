#pragma once
/**
 * @file tests/unit/media/fake_engine.h  An engine whose kernel is the test
 *
 * It forwards nothing: the test counts what it would have forwarded. Answers
 * come at once, or when the test says so. Any thread.
 */
#include <pthread.h>
#include <string.h>

#include "base/cleanup.h"
#include "media/engine.h"

#include "test.h"

#define FAKE_PORTS 65536
#define FAKE_WAITING 64

struct fake_port {
	bool installed;
	struct engine_flow flow;
	struct endpoint destination;
	struct engine_counters counters;
	unsigned added, deleted;
};

struct fake_engine {
	struct engine engine;
	pthread_mutex_t lock;
	bool answers_by_hand, settles_by_hand;
	struct engine_item *asked[FAKE_WAITING], *settling[FAKE_WAITING];
	unsigned asked_count, settling_count;
	unsigned asks, settles; /* in all */
	struct fake_port ports[FAKE_PORTS];
};

static inline struct fake_engine *fake_of(const struct engine *engine)
{
	return container_of(engine, struct fake_engine, engine);
}

static inline void fake_close(struct engine *engine)
{
	pthread_mutex_destroy(&fake_of(engine)->lock);
	free(fake_of(engine));
}

static inline void fake_reset(struct engine *engine,
			      const struct endpoint *local)
{
	struct fake_engine *f = fake_of(engine);

	pthread_mutex_lock(&f->lock);
	f->ports[local->port] = (struct fake_port){
		.counters.payload_type = -1,
	};
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_read(const struct engine *engine,
			     const struct endpoint *local, uint64_t now_us,
			     struct engine_counters *ret)
{
	struct fake_engine *f = fake_of(engine);

	pthread_mutex_lock(&f->lock);
	*ret = f->ports[local->port].counters;
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_ask(struct engine *engine, struct engine_item *item)
{
	struct fake_engine *f = fake_of(engine);
	bool now;

	pthread_mutex_lock(&f->lock);
	f->asks++;
	now = !f->answers_by_hand;
	if (!now)
		f->asked[f->asked_count++] = item;
	pthread_mutex_unlock(&f->lock);
	if (now)
		engine_tell(engine, item, ENGINE_ANSWERED);
}

static inline void fake_settle(struct engine *engine, struct engine_item *item)
{
	struct fake_engine *f = fake_of(engine);
	bool now;

	pthread_mutex_lock(&f->lock);
	assert_false(f->ports[item->local.port].installed);
	f->settles++;
	now = !f->settles_by_hand;
	if (!now)
		f->settling[f->settling_count++] = item;
	pthread_mutex_unlock(&f->lock);
	if (now)
		engine_tell(engine, item, ENGINE_SETTLED);
}

static inline void fake_add(struct engine *engine, struct engine_item *item,
			    const struct engine_flow *flow)
{
	struct fake_engine *f = fake_of(engine);
	struct fake_port *port = &f->ports[item->local.port];

	pthread_mutex_lock(&f->lock);
	assert_false(port->installed);
	port->installed = true;
	port->flow = *flow;
	port->destination = item->destination;
	port->added++;
	port->counters.heard_us = flow->heard_us;
	port->counters.media_us = 0;
	port->counters.has_ssrc = false;
	port->counters.payload_type = -1;
	pthread_mutex_unlock(&f->lock);
}

static inline void fake_del(struct engine *engine, struct engine_item *item)
{
	struct fake_engine *f = fake_of(engine);
	struct fake_port *port = &f->ports[item->local.port];

	pthread_mutex_lock(&f->lock);
	assert_true(port->installed);
	port->installed = false;
	port->deleted++;
	pthread_mutex_unlock(&f->lock);
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
	.settle = fake_settle,
	.set_forwarding = fake_set_forwarding,
	.status = fake_status,
	.interface = fake_interface,
};

static inline struct fake_engine *fake_engine_new(void)
{
	struct fake_engine *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	pthread_mutex_init(&f->lock, NULL);
	f->engine.ops = &fake_ops;
	return f;
}

/* A copy, as of now. */
static inline struct fake_port fake_port_of(struct fake_engine *f,
					    const struct endpoint *local)
{
	struct fake_port port;

	pthread_mutex_lock(&f->lock);
	port = f->ports[local->port];
	pthread_mutex_unlock(&f->lock);
	return port;
}
