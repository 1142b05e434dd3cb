#pragma once
/**
 * @file media/receive.h  Receiving a batch of datagrams from one socket
 *
 * Up to BATCH_MAX by recvmmsg, or one by recvfrom where no burst is on. Worker
 * only.
 */
#include "media/worker.h"

/** Lone packets that are still received as a batch after a burst. */
#define RECEIVE_BURST_TAIL 4

/** Set up the message headers, once. @param keeps_tos  The TOS of each packet
 * is wanted */
void receive_init_batch(struct batch *batch, bool keeps_tos);

/** Fill the worker's batch. @return how many came; 0: none */
unsigned receive_batch(struct worker *worker, struct port *from);

/** Count what the socket has dropped since the last look. */
void receive_note_drops(struct worker *worker, struct port *from);
