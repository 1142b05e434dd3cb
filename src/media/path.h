#pragma once
/**
 * @file media/path.h  The way of a packet through userspace
 *
 * Receive a batch, classify, look up, send a batch, account. No allocation (but
 * for packets of candidates), no lock, no log line, and no system calls besides
 * receiving and sending. Worker only.
 */
#include "media/worker.h"

/** Something arrived at this socket: move one batch. @return how many */
unsigned path_serve(struct worker *worker, struct port *from);

/** Move one batch. @return whether there was none: more may have come while a
 * batch was sent */
bool path_drain(struct worker *worker, struct port *from);

/** Nothing was heard here for long: forget the remote, if it is one of RTCP. */
void path_forget(struct worker *worker, struct port *port);

/** Time passed while somebody was proving himself here. */
void path_settle(struct worker *worker, struct port *from);

/**
 * The stream ends: what arrived before is forwarded still, one batch of each
 * socket; what candidates sent is dropped.
 */
void path_finish(struct worker *worker, struct media_stream *stream);
