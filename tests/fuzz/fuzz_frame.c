/**
 * @file tests/fuzz/fuzz_frame.c  Any frame, read and rewritten as in the kernel
 *
 * bpf/packet.h compiled for user space. The first SETTINGS bytes choose the
 * flow's way and the clock, the rest is the frame, in memory of exactly its
 * size. What it says of the media is compared with proto/packet.h, and the
 * checksums with whole sums. Two differences to proto/ are meant: a header of
 * RTP whose extension is too long is noted here, and is not read there; and a
 * frame of which only the beginning is at hand is judged by that.
 */
#include <stdlib.h>
#include <string.h>

#include "bpf/packet.h"
#include "proto/packet.h"
#include "proto/rtp.h"
#include "proto/stun.h"

#define SETTINGS 56
#define CHECK(x)                                                               \
	do {                                                                   \
		if (!(x))                                                      \
			abort();                                               \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
	uint8_t flags, tos;
	uint8_t more; /* so many bytes of the frame are not at hand (TC) */
	uint8_t seen;
	uint16_t seq, src_port, dst_port;
	uint8_t src[16], dst[16];
	uint32_t ssrc, now, full;
};

/* ---- whole sums, in big endian (RFC 1071) ---- */

static uint32_t sum_of(const uint8_t *bytes, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return sum;
}

static uint16_t folded(uint32_t sum)
{
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* All ones: the checksum holds. */
static uint16_t udp_sum(const struct frame *f, enum frame_kind kind)
{
	const uint8_t *udp = (const uint8_t *)f->udp;
	const uint8_t *addresses = kind == FRAME_UDP4
					   ? (const uint8_t *)&f->ip4->saddr
					   : (const uint8_t *)&f->ip6->saddr;
	uint32_t len = UDP_LEN + f->payload_len;

	return folded(sum_of(addresses, kind == FRAME_UDP4 ? 8 : 32) +
		      IPPROTO_UDP + len + sum_of(udp, len));
}

/* As the relay makes the deltas of a flow. */
static uint16_t delta_of(const void *before, const void *after, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2) {
		uint16_t a, b;

		memcpy(&b, (const uint8_t *)before + i, 2);
		memcpy(&a, (const uint8_t *)after + i, 2);
		sum += (uint32_t)(uint16_t)~b + a;
	}
	return folded(sum);
}

/* ---- reading ---- */

static bool is_inside(const struct frame *f, const void *at, size_t len)
{
	const uint8_t *from = at;

	return from >= (const uint8_t *)f->eth &&
	       from + len <= (const uint8_t *)f->end;
}

static void check_read(const struct frame *f, enum frame_kind kind, size_t len)
{
	const uint8_t *ip = kind == FRAME_UDP4 ? (const uint8_t *)f->ip4
					       : (const uint8_t *)f->ip6;
	size_t header_len = kind == FRAME_UDP4 ? 20 : 40;
	size_t ip_at = (size_t)(ip - (const uint8_t *)f->eth);

	CHECK(ip_at == (f->tag ? 18u : 14u));
	CHECK(is_inside(f, ip, header_len + UDP_LEN));
	CHECK((const uint8_t *)f->udp == ip + header_len);
	CHECK(f->ip_len == header_len + UDP_LEN + f->payload_len);
	CHECK(ip_at + f->ip_len <= len);
	CHECK((f->eth->h_dest[0] & 1) == 0);
	CHECK(ip[0] >> 4 == (kind == FRAME_UDP4 ? 4 : 6));
	CHECK(kind == FRAME_UDP4 || f->udp->check != 0);
}

/* ---- media ---- */

static void check_rtp(const struct flow_counters *before,
		      const struct flow_counters *after, const uint8_t *payload,
		      size_t len)
{
	struct cursor in = cursor_over(payload, len);
	struct rtp_header rtp;
	bool newer;

	if (rtp_header_decode(&rtp, &in) < 0) {
		/* All but the extension has to be there. */
		CHECK(after->payload_type == before->payload_type ||
		      ((payload[0] & 0x10) &&
		       len >= 12u + 4u * (payload[0] & 0x0fu)));
		return;
	}
	newer = (int16_t)(uint16_t)(rtp.seq - before->seq) > 0 ||
		!(before->seen & FLOW_SEEN_RTP) || before->ssrc != rtp.ssrc;
	CHECK(after->payload_type == rtp.payload_type);
	CHECK(after->ssrc == rtp.ssrc);
	CHECK(after->seq == (newer ? rtp.seq : before->seq));
	CHECK(after->seen & FLOW_SEEN_RTP);
}

static void check_udptl(const struct flow_counters *before,
			const struct flow_counters *after,
			const uint8_t *payload, size_t len)
{
	uint16_t seq;
	bool newer;

	CHECK(after->payload_type == before->payload_type);
	if (udptl_seq(payload, len, &seq) < 0) {
		CHECK(after->seq == before->seq);
		return;
	}
	newer = (int16_t)(uint16_t)(seq - before->seq) > 0 ||
		!(before->seen & FLOW_SEEN_UDPTL) || before->ssrc != 0;
	CHECK(after->seq == (newer ? seq : before->seq));
	CHECK(after->seen & FLOW_SEEN_UDPTL);
}

static void check_media(const struct frame *f, const struct settings *set)
{
	const uint8_t *payload = (const uint8_t *)(f->udp + 1);
	size_t len = f->payload_len;
	uint8_t flags = set->flags & FLOW_IS_UDPTL;
	struct flow_counters before = {.ssrc = set->ssrc,
				       .seq = set->seq,
				       .seen = set->seen & 7,
				       .payload_type = 0xff};
	struct flow_counters after = before;
	enum packet_kind kind;
	uint32_t now = 1u + (set->now >> 1);

	media_note(&after, flags, f, (__u64)now << FLOW_TIME_SHIFT);
	CHECK(after.packets == 0 && after.bytes == 0);
	if (!is_inside(f, payload, len))
		return;

	kind = packet_classify(payload, len);
	CHECK(media_is_stun(f) == (kind == PACKET_STUN));
	CHECK(after.heard == (kind == PACKET_STUN ? 0 : now));
	if (kind == PACKET_STUN || (kind == PACKET_RTCP && !flags)) {
		CHECK(after.media == 0 && after.seen == before.seen);
		CHECK(after.seq == before.seq && after.ssrc == before.ssrc);
		CHECK(after.payload_type == before.payload_type);
		return;
	}
	CHECK(after.media == now && (after.seen & FLOW_SEEN_MEDIA));
	if (flags)
		check_udptl(&before, &after, payload, len);
	else if (kind == PACKET_RTP)
		check_rtp(&before, &after, payload, len);
	else
		CHECK(after.seq == before.seq && after.ssrc == before.ssrc &&
		      after.payload_type == before.payload_type);
}

/* ---- rewriting ---- */

static uint16_t rewrite4(struct frame *f, const struct settings *set)
{
	struct flow4 flow = {.remote_port = f->udp->source,
			     .remote = f->ip4->saddr,
			     .local = f->ip4->daddr};
	uint8_t *ttl = &f->ip4->ttl, was = *ttl;
	uint8_t kept = set->dst[0];
	uint8_t tos = (uint8_t)(set->tos | (f->ip4->tos & kept));

	memcpy(&flow.src, set->src, 4);
	memcpy(&flow.dst, set->dst, 4);
	flow.address_delta =
		folded((uint32_t)delta_of(&f->ip4->saddr, &flow.src, 4) +
		       delta_of(&f->ip4->daddr, &flow.dst, 4));
	CHECK(flow4_is_remote(&flow, f));
	flow.remote ^= 1;
	CHECK(!flow4_is_remote(&flow, f));
	rewrite_ip4(f->ip4, &flow, set->tos, kept);
	CHECK(*ttl == (uint8_t)(was - 1) && f->ip4->tos == tos);
	CHECK(memcmp(&f->ip4->saddr, set->src, 4) == 0 &&
	      memcmp(&f->ip4->daddr, set->dst, 4) == 0);
	return flow.address_delta;
}

static uint16_t rewrite6(struct frame *f, const struct settings *set)
{
	struct flow6 flow = {.remote_port = f->udp->source};
	const uint8_t *ip = (const uint8_t *)f->ip6;
	uint16_t before = folded(sum_of(ip, 40));
	uint8_t kept = set->dst[0];
	uint8_t came = (uint8_t)(ip[0] << 4 | ip[1] >> 4);
	uint32_t label = BE32(*(const uint32_t *)ip) & 0xfffff;
	uint32_t added;

	memcpy(flow.remote, &f->ip6->saddr, 16);
	memcpy(flow.src, set->src, 16);
	memcpy(flow.dst, set->dst, 16);
	flow.address_delta =
		folded((uint32_t)delta_of(&f->ip6->saddr, set->src, 16) +
		       delta_of(&f->ip6->daddr, set->dst, 16));
	CHECK(flow6_is_remote(&flow, f));
	flow.remote[3] ^= 0x80;
	CHECK(!flow6_is_remote(&flow, f));
	added = rewrite_ip6(f->ip6, &flow, set->tos, kept);
	CHECK(folded(sum_of(ip, 40)) ==
	      folded(before + (uint32_t)BE16(folded(added))));
	CHECK((BE32(*(const uint32_t *)ip) & 0xfffff) == label);
	CHECK((uint8_t)(ip[0] << 4 | ip[1] >> 4) ==
	      (uint8_t)(set->tos | (came & kept)));
	CHECK(memcmp(&f->ip6->saddr, set->src, 16) == 0 &&
	      memcmp(&f->ip6->daddr, set->dst, 16) == 0);
	return flow.address_delta;
}

/* A right checksum stays right, none stays none, and a wrong one stays
 * wrong. Of IPv4 the header's as well. */
static void check_rewrite(struct frame *f, enum frame_kind kind,
			  const struct settings *set)
{
	bool is_whole = is_inside(f, f->udp, UDP_LEN + f->payload_len);
	const uint8_t *ip = (const uint8_t *)f->ip4;
	uint16_t check = f->udp->check, delta;
	uint16_t ip_before = kind == FRAME_UDP4 ? folded(sum_of(ip, 20)) : 0;
	uint16_t udp_before = is_whole ? udp_sum(f, kind) : 0;
	__be16 ports[2] = {f->udp->source, f->udp->dest};
	__be16 new_ports[2] = {set->src_port, set->dst_port};

	delta = kind == FRAME_UDP4 ? rewrite4(f, set) : rewrite6(f, set);
	udp_csum_update(f->udp, (__u32)delta + delta_of(ports, new_ports, 4));
	f->udp->source = new_ports[0];
	f->udp->dest = new_ports[1];

	CHECK((check == 0) == (f->udp->check == 0));
	if (kind == FRAME_UDP4)
		CHECK(folded(sum_of(ip, 20)) == ip_before);
	if (is_whole && check != 0)
		CHECK(udp_sum(f, kind) == udp_before);
}

/* ---- strangers ---- */

static void check_bucket(const struct frame *f, const struct settings *set)
{
	__u32 hash = hash_source(set->ssrc, set->src_port);
	unsigned bucket = bucket_of(f, hash);
	__u64 now = (__u64)set->now << 10, full = (__u64)set->full << 10;
	__u64 most = (FLOW_BUCKET_BURST - 1) * FLOW_BUCKET_INTERVAL_NS;
	__u64 after = full;
	bool taken = bucket_take(&after, now);

	CHECK(bucket < FLOW_BUCKETS);
	CHECK((bucket >= FLOW_BUCKETS - FLOW_STUN_BUCKETS) == media_is_stun(f));
	CHECK(taken == (full < now || full - now <= most));
	CHECK(taken || after == full);
	CHECK(!taken ||
	      after == (full < now ? now : full) + FLOW_BUCKET_INTERVAL_NS);
}

static void one_frame(uint8_t *bytes, size_t size, const struct settings *set)
{
	struct frame f;
	size_t len = size + set->more;
	enum frame_kind kind = frame_read(&f, bytes, bytes + size, (__u32)len);

	if (kind != FRAME_UDP4 && kind != FRAME_UDP6)
		return;
	check_read(&f, kind, len);
	check_media(&f, set);
	check_bucket(&f, set);
	check_rewrite(&f, kind, set);
}

/* Two bytes before it, as in the kernel: what is behind Ethernet's header is
 * aligned then. */
#define ALIGN 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings set;
	uint8_t *memory;

	_Static_assert(sizeof(set) == SETTINGS, "as in the corpus");
	if (size < SETTINGS)
		return 0;
	memcpy(&set, data, SETTINGS);
	size -= SETTINGS;
	memory = malloc(ALIGN + size);
	CHECK(memory);
	memcpy(memory + ALIGN, data + SETTINGS, size);
	one_frame(memory + ALIGN, size, &set);
	free(memory);
	return 0;
}
