#pragma once
/**
 * @file media/send.h  Sending a batch of datagrams from one socket to one place
 *
 * Neighbouring datagrams of one size go as the segments of one (UDP_SEGMENT):
 * the way through the kernel is gone once for all of them. What that way does
 * not take goes by sendmmsg, and one alone by sendto. Worker only.
 */
#include "media/worker.h"

struct outbox {
	struct worker *worker; /* whose batch holds the messages */
	struct port *to;       /* whose socket they leave from */
	unsigned header_len;   /* of IP and UDP, for the bytes */
	unsigned count;        /* messages that wait in batch->out */
	struct sockaddr_storage destination;
	socklen_t destination_len; /* 0: nowhere */
	/* what became of them: */
	uint64_t packets, bytes;
	uint32_t full, failed; /* send buffer full; refused by the kernel */
};

/** Add a datagram, which has to stay where it is until outbox_send(). */
void outbox_add(struct outbox *outbox, void *data, size_t len);

/** Send what waits, in order. A datagram that fails is skipped and counted. */
void outbox_send(struct outbox *outbox);
