#pragma once
/**
 * @file media/worker.h  A thread that moves packets
 *
 * It waits in epoll for the sockets of its streams and for commands, and waits
 * for nothing else. The control thread adds sockets to the epoll set itself
 * (epoll_ctl is safe for that) and only ever asks it to close a stream.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "media/socket.h"
#include "media/stream.h"

/** Packets that are received and sent at once. A socket has one batch in each
 * turn of the loop, so that a flood at one does not starve the others. */
#define BATCH_MAX 32

/** So many streams are closed in each turn of the loop. */
#define CLOSE_PER_TURN 16

/** And so many flows are installed or settled. */
#define NEWS_PER_TURN 32

/** Room for one datagram: the largest that UDP can carry, rounded up, and four
 * lines more, so that the first lines of all slots are not in one set of the
 * caches. */
#define BATCH_SLOT (65536 + 256)

union source_addr {
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

/** The buffers of a batch. Untouched pages of the slots cost nothing. */
struct batch {
	uint8_t *slots; /* BATCH_MAX of BATCH_SLOT bytes, mmapped */
	struct mmsghdr in[BATCH_MAX], out[BATCH_MAX];
	struct iovec in_iov[BATCH_MAX], out_iov[BATCH_MAX];
	union source_addr sources[BATCH_MAX];
	/* Only with keeps_tos: */
	_Alignas(struct cmsghdr)
		uint8_t control[BATCH_MAX][MEDIA_SOCKET_CONTROL];
};

struct worker {
	/* never change: */
	struct media *media;
	const struct learning_config *learning;
	struct limit_rate packet_rate, byte_rate; /* of one port's remote */
	bool keeps_tos;
	struct queue *done; /* closed streams, to the control thread */
	int done_fd;        /* eventfd, to wake it */
	int epoll_fd, wake_fd;
	pthread_t thread;
	/* worker: */
	uint64_t now_us; /* read once in each turn of the loop */
	uint32_t turn;   /* counts them */
	struct batch batch;
	struct list timers; /* components, the earliest first */
	struct held_budget held;
	struct queue_link *notes_left; /* taken from notes, not read yet */
	struct queue_link *news_left;  /* the same of the engine's */
	bool installing;               /* flow.c: do not begin another */
	/* both: */
	_Atomic bool stop;
	struct queue notes; /* streams that the control thread has noted */
	struct queue news;  /* engine items that there is news of */
	_Atomic uint64_t packets, bytes, sockets_closed;
	_Atomic uint64_t drops[DROP_COUNT];
	/* control: */
	size_t session_count;
	bool started;
};

/**
 * Make a worker and start its thread, with all signals blocked.
 *
 * @param worker  Zeroed, with media, learning, done and done_fd set
 * @return 0 or a negative errno; worker_stop() is fine in any case
 */
int worker_start(struct worker *worker, unsigned index);

/** Stop the thread and wait for its end. */
void worker_stop(struct worker *worker);

/** Free what it used, once nobody wakes it any more. */
void worker_done(struct worker *worker);

/** Put the four sockets into the epoll set. @return 0, or the error of epoll */
int worker_watch(struct worker *worker, struct media_stream *stream);

/**
 * Tell the worker something of a stream. One that is to be closed comes back in
 * the queue of done ones; nothing may be noted of it any more.
 *
 * @param notes  Of enum stream_notes
 */
void worker_note(struct worker *worker, struct media_stream *stream,
		 unsigned notes);

/** There is news of an engine's item; any thread. */
void worker_news(struct worker *worker, struct engine_item *item);

/* worker: */

/** Come back to this component, since somebody is proving himself there. */
void worker_arm(struct worker *worker, struct port *c);

/** Count packets that were not forwarded. */
void worker_count_drop(struct worker *worker, struct port *c,
		       enum media_drop why, uint64_t count);
