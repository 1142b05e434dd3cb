#include "media/send.h"

#include <errno.h>
#include <netinet/udp.h>

static bool is_full(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

static void count_error(struct outbox *o, int error)
{
	if (is_full(error))
		o->full++;
	else
		o->failed++;
}

void outbox_add(struct outbox *o, void *data, size_t len)
{
	struct iovec *iov = &o->worker->batch.out_iov[o->count];
	struct msghdr *msg = &o->worker->batch.out[o->count].msg_hdr;

	iov->iov_base = data;
	iov->iov_len = len;
	msg->msg_name = &o->destination;
	msg->msg_namelen = o->destination_len;
	o->count++;
}

/* So many datagrams of one size in a row are worth a segmented one. */
#define SEGMENTS_LEAST 3
/* UDP_MAX_SEGMENTS of Linux 6.1, and what one datagram may carry. */
#define SEGMENTS_MOST 64
#define SEGMENTED_MOST 65000

/* How many messages from here on may go as the segments of one: all of a size,
 * the last one may be shorter. */
static unsigned segments_at(const struct outbox *o, unsigned at)
{
	const struct iovec *iov = o->worker->batch.out_iov + at;
	unsigned left = o->count - at;
	size_t size = iov[0].iov_len, total = size;
	unsigned count = 1;

	if (size == 0 || o->to->refuses_segments)
		return 1;
	while (count < left && count < SEGMENTS_MOST &&
	       iov[count].iov_len > 0 && iov[count].iov_len <= size &&
	       total + iov[count].iov_len <= SEGMENTED_MOST) {
		total += iov[count].iov_len;
		if (iov[count++].iov_len < size)
			break;
	}
	return count;
}

/* UDP_SEGMENT: the way through the kernel is gone once for all of them. */
static bool send_segmented(struct outbox *o, unsigned at, unsigned count)
{
	struct batch *b = &o->worker->batch;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(uint16_t))];
	} control = {0};
	struct msghdr msg = {
		.msg_name = &o->destination,
		.msg_namelen = o->destination_len,
		.msg_iov = b->out_iov + at,
		.msg_iovlen = count,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	uint16_t size = (uint16_t)b->out_iov[at].iov_len;
	ssize_t n;

	cmsg->cmsg_level = SOL_UDP;
	cmsg->cmsg_type = UDP_SEGMENT;
	cmsg->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(cmsg), &size, sizeof(size));
	do {
		n = sendmsg(o->to->fd, &msg, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	/* Longer than the link takes, or no checksums by the interface. */
	if (n < 0 && !is_full(errno))
		o->to->refuses_segments = true;
	return n >= 0;
}

static int send_some(struct outbox *o, struct mmsghdr *from, unsigned count)
{
	const struct msghdr *msg = &from->msg_hdr;

	if (count > 1)
		return sendmmsg(o->to->fd, from, count, MSG_DONTWAIT);
	return sendto(o->to->fd, msg->msg_iov->iov_base, msg->msg_iov->iov_len,
		      MSG_DONTWAIT, msg->msg_name, msg->msg_namelen) < 0
		       ? -1
		       : 1;
}

/* How many from here on go one by one. */
static unsigned singles_at(const struct outbox *o, unsigned at)
{
	unsigned count = 1;

	while (at + count < o->count &&
	       segments_at(o, at + count) < SEGMENTS_LEAST)
		count++;
	return count;
}

static void count_sent(struct outbox *o, unsigned at, unsigned count)
{
	for (unsigned i = at; i < at + count; i++)
		o->bytes += o->worker->batch.out_iov[i].iov_len + o->header_len;
	o->packets += count;
}

/* sendmmsg() stops at a message that fails and tells its error only if it is
 * the first: so go on from there, and skip the one that failed. */
void outbox_send(struct outbox *o)
{
	struct batch *b = &o->worker->batch;
	unsigned sent = 0;

	while (sent < o->count) {
		unsigned count = segments_at(o, sent);
		int n;

		if (count >= SEGMENTS_LEAST && send_segmented(o, sent, count)) {
			count_sent(o, sent, count);
			sent += count;
			continue;
		}
		if (count < SEGMENTS_LEAST)
			count = singles_at(o, sent);
		n = send_some(o, b->out + sent, count);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			count_error(o, errno);
			sent++;
			continue;
		}
		count_sent(o, sent, (unsigned)n);
		sent += (unsigned)n;
	}
	o->count = 0;
}
