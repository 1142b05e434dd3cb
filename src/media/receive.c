#include "media/receive.h"

#include <errno.h>
#include <linux/sock_diag.h>

#include "media/socket.h"

void receive_init_batch(struct batch *b, bool keeps_tos)
{
	for (unsigned i = 0; i < BATCH_MAX; i++) {
		b->in_iov[i].iov_base = b->slots + (size_t)i * BATCH_SLOT;
		b->in_iov[i].iov_len = BATCH_SLOT;
		b->in[i].msg_hdr.msg_iov = &b->in_iov[i];
		b->in[i].msg_hdr.msg_iovlen = 1;
		b->in[i].msg_hdr.msg_name = &b->sources[i];
		b->in[i].msg_hdr.msg_namelen = sizeof(b->sources[i]);
		if (keeps_tos) {
			b->in[i].msg_hdr.msg_control = b->control[i];
			b->in[i].msg_hdr.msg_controllen = MEDIA_SOCKET_CONTROL;
		}
		b->out[i].msg_hdr.msg_iov = &b->out_iov[i];
		b->out[i].msg_hdr.msg_iovlen = 1;
	}
}

/* How many the socket has dropped since it was made. With each packet, by
 * SO_RXQ_OVFL, the same number costs a twentieth of all that a packet does. */
void receive_note_drops(struct worker *w, struct port *from)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t size = sizeof(info);
	uint32_t dropped;

	if (getsockopt(from->fd, SOL_SOCKET, SO_MEMINFO, info, &size) < 0)
		return;
	dropped = info[SK_MEMINFO_DROPS];
	if (dropped != from->rxq_dropped)
		worker_count_drop(w, from, DROP_RECEIVE_FULL,
				  dropped - from->rxq_dropped);
	from->rxq_dropped = dropped;
}

static unsigned receive_one(struct worker *w, struct port *from)
{
	struct batch *b = &w->batch;
	socklen_t size = sizeof(b->sources[0]);
	ssize_t len;

	do {
		len = recvfrom(from->fd, b->in_iov[0].iov_base, BATCH_SLOT,
			       MSG_DONTWAIT, (struct sockaddr *)&b->sources[0],
			       &size);
	} while (len < 0 && errno == EINTR);
	if (len < 0)
		return 0;
	b->in[0].msg_len = (unsigned)len;
	return 1;
}

static unsigned receive_many(struct worker *w, struct port *from)
{
	struct batch *b = &w->batch;
	int count;

	do {
		count = recvmmsg(from->fd, b->in, BATCH_MAX, MSG_DONTWAIT,
				 NULL);
	} while (count < 0 && errno == EINTR);
	if (count <= 0)
		return 0;

	for (int i = 0; i < count; i++)
		b->in[i].msg_hdr.msg_namelen = sizeof(b->sources[i]);
	return (unsigned)count;
}

/* A phone sends a packet every 20 ms: then recvfrom() is cheaper than
 * recvmmsg() by a tenth. A port that has something in two turns of the loop
 * running is in a burst. Only then can its socket have dropped packets: that is
 * looked at when a batch was full, and when the burst is over. */
unsigned receive_batch(struct worker *w, struct port *from)
{
	bool was_burst;
	unsigned count;

	if (from->served_turn + 1 == w->turn)
		from->burst = RECEIVE_BURST_TAIL;
	from->served_turn = w->turn;
	if (from->burst == 0 && !w->keeps_tos)
		return receive_one(w, from);
	was_burst = from->burst > 0;
	count = receive_many(w, from);
	if (count > 1)
		from->burst = RECEIVE_BURST_TAIL;
	else if (count == 1 && from->burst > 0)
		from->burst--;
	if (count == BATCH_MAX || (was_burst && from->burst == 0))
		receive_note_drops(w, from);
	return count;
}
