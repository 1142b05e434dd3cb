#pragma once
/**
 * @file media/engine.h  What may forward packets instead of the workers
 *
 * Userspace forwards everything, always. An engine is an accelerator for
 * confirmed flows: one direction of one component whose two remotes are
 * settled. A packet that it cannot place comes up to the socket as before. The
 * kernel engine (kernel_engine.c) has the ways xdp and tc; tests bring one of
 * their own.
 *
 * An engine holds nothing that a worker waits for. A flow goes through these
 * states, which src/media/flow.c keeps:
 *
 *     ask() ... ENGINE_ANSWERED   the way to its destination is being found
 *     add()                       installed: from now on no packet comes up
 *     del()                       taken back: from now on packets come up
 *     settle() ... ENGINE_SETTLED nothing is on its way any more: the counters
 *                                 are final, and the flow may be added anew
 *
 * One request is open for an item at a time. Each function says which thread
 * calls it.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/list.h"
#include "media/media.h"
#include "media/queue.h"

struct engine;
struct destination;

/** What the engine tells the worker of an item; bits. */
enum engine_news {
	ENGINE_ANSWERED = 1,
	ENGINE_SETTLED = 2,
	ENGINE_SILENT = 4 /* installed, and not heard for silence_us */
};

/** A place for one flow, inside whatever has it. Zero it, then set local. */
struct engine_item {
	struct endpoint local; /* our port; never changes */
	/* worker, before ask(): */
	struct endpoint destination; /* where they go */
	struct ip_addr source;       /* our address there */
	uint64_t silence_us;         /* 0: it may be silent */
	/* engine: */
	_Atomic uint16_t hop; /* of the destination, at present */
	struct destination *way;
	struct list in_way, in_watched;
	struct queue_link to_engine;
	bool settles; /* what the request is */
	/* engine -> worker: */
	struct queue_link to_worker;
	_Atomic unsigned news;
};

/** What to forward. */
struct engine_flow {
	struct endpoint remote; /* who may send */
	struct endpoint source; /* our port that it leaves from */
	bool is_udptl;          /* T.38 */
	bool stun_up;           /* ICE: STUN comes up, the remote's too */
	uint64_t heard_us;      /* the remote's latest packet */
};

/** Of all flows that a port has had since engine_ops.reset(). */
struct engine_counters {
	uint64_t packets, bytes;
	uint64_t dropped; /* of others than the remote */
	/* of the flow that was added last; times 0: never */
	uint64_t heard_us, media_us;
	bool has_ssrc, has_udptl_seq;
	uint16_t seq;
	uint32_t ssrc;
	int payload_type; /* -1: none */
};

/** Called on any thread when an item's news was empty and is no longer. */
typedef void engine_news_h(struct engine_item *item, void *arg);

struct engine_ops {
	/** Wait until no thread of the engine runs, take everything back from
	 * the kernel, and free it. Control. */
	void (*close)(struct engine *engine);
	/** Begin at zero for a port that is opened. Control. */
	void (*reset)(struct engine *engine, const struct endpoint *local);
	/** Numbers as of now, 0 if the port is none of the engine's. Any. */
	void (*read)(const struct engine *engine, const struct endpoint *local,
		     uint64_t now_us, struct engine_counters *ret);
	/** Find the way to item->destination. Worker. */
	void (*ask)(struct engine *engine, struct engine_item *item);
	/** Install the flow. After ENGINE_ANSWERED. Worker. */
	void (*add)(struct engine *engine, struct engine_item *item,
		    const struct engine_flow *flow);
	/** Let packets come up. Worker. */
	void (*del)(struct engine *engine, struct engine_item *item);
	/** Let packets come up at once, ahead of the del() that follows if the
	 * port has a flow. Any thread. */
	void (*pause)(struct engine *engine, const struct endpoint *local);
	/** Say when nothing of it is on its way. After ENGINE_ANSWERED, and
	 * after del() if it was added. Worker. */
	void (*settle)(struct engine *engine, struct engine_item *item);
	/** Change what forwards. Control. */
	void (*set_forwarding)(struct engine *engine,
			       enum media_forwarding forwarding);
	/** What forwards, and why, for people. Control. */
	void (*status)(const struct engine *engine,
		       struct media_engine_status *ret);
	/** The interfaces, one after another. Control. @return false at the
	 * end */
	bool (*interface)(const struct engine *engine, unsigned index,
			  struct media_interface_status *ret);
};

/** The first member of every engine. */
struct engine {
	const struct engine_ops *ops;
	engine_news_h *news;
	void *arg;
	/* Is there an interface where it forwards? Otherwise nobody asks. */
	_Atomic bool forwards;
	_Atomic(const char *) name; /* of what forwards, as in the status */
};

/** Add to an item's news; call the handler if there were none. Any thread. */
static inline void engine_tell(struct engine *engine, struct engine_item *item,
			       unsigned news)
{
	if (atomic_fetch_or_explicit(&item->news, news, memory_order_acq_rel) ==
	    0)
		engine->news(item, engine->arg);
}

/** Take the news of an item that came out of the queue. Worker. */
static inline unsigned engine_item_news(struct engine_item *item)
{
	return atomic_exchange_explicit(&item->news, 0, memory_order_acq_rel);
}

/**
 * Open the kernel engine: load the programs, attach them as `forwarding` says,
 * start its thread. Whoever opens it sets engine.news and arg before a worker
 * asks.
 *
 * @param config   What it points to has to live as long as the engine
 * @param ret_why  On failure why, for people
 * @return 0, or a negative errno: -EPERM, -ENOSYS, ...
 */
int kernel_engine_open(struct engine **ret,
		       const struct media_engine_config *config, char *ret_why,
		       size_t why_size);

/** Remove the programs that a relay which was killed has left, for a start
 * without the engine. Without the right to look, there is nothing to say. */
void kernel_engine_sweep(const struct media_engine_config *config);
