/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/**
 * @file bpf/packet.h  Reading, judging and rewriting a frame
 *
 * Pure inline functions over memory: no helper, no map, no clock. relay.bpf.c
 * makes the two programs of them; tests and the fuzzer compile them for user
 * space. Every read stands behind a comparison with `end`, in the form that
 * the kernel's verifier follows.
 */
#include <stdbool.h>

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "bpf/flow_abi.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define BE16(x) __builtin_bswap16(x)
#define BE32(x) __builtin_bswap32(x)
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "the programs are written for little-endian machines");

#define IP_DONT_FRAGMENT 0x4000
#define VLAN_TAG_LEN 4
#define UDP_LEN 8

struct vlan_tag {
	__be16 tci, protocol;
};

/** What stands behind the Ethernet header. */
enum frame_kind {
	FRAME_OTHER, /* not for us to look at */
	FRAME_FRAGMENT,
	FRAME_OPTIONS,
	FRAME_MALFORMED,
	FRAME_UDP4,
	FRAME_UDP6
};

struct frame {
	void *end;
	struct ethhdr *eth;
	struct vlan_tag *tag; /* NULL: none */
	struct iphdr *ip4;    /* FRAME_UDP4 */
	struct ipv6hdr *ip6;  /* FRAME_UDP6 */
	struct udphdr *udp;
	__u32 ip_len;      /* of the whole IP packet */
	__u32 payload_len; /* of UDP */
};

static __always_inline enum frame_kind read_udp4(struct frame *f, void *ip,
						 __u32 left)
{
	struct iphdr *ip4 = ip;

	if (ip + sizeof(*ip4) + UDP_LEN > f->end)
		return FRAME_OTHER;
	if (ip4->version != 4 || ip4->protocol != IPPROTO_UDP)
		return FRAME_OTHER;
	if (ip4->frag_off & BE16((__u16)~IP_DONT_FRAGMENT))
		return FRAME_FRAGMENT;
	if (ip4->ihl != 5)
		return ip4->ihl < 5 ? FRAME_MALFORMED : FRAME_OPTIONS;
	f->ip4 = ip4;
	f->udp = ip + sizeof(*ip4);
	f->ip_len = BE16(ip4->tot_len);
	f->payload_len = BE16(f->udp->len) - UDP_LEN;
	if (f->ip_len > left || BE16(f->udp->len) < UDP_LEN ||
	    f->ip_len != sizeof(*ip4) + UDP_LEN + f->payload_len)
		return FRAME_MALFORMED;
	return FRAME_UDP4;
}

static __always_inline enum frame_kind read_udp6(struct frame *f, void *ip,
						 __u32 left)
{
	struct ipv6hdr *ip6 = ip;

	if (ip + sizeof(*ip6) + UDP_LEN > f->end || ip6->version != 6)
		return FRAME_OTHER;
	switch (ip6->nexthdr) {
	case IPPROTO_UDP:
		break;
	case IPPROTO_FRAGMENT:
		return FRAME_FRAGMENT;
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		return FRAME_OPTIONS;
	default:
		return FRAME_OTHER;
	}
	f->ip6 = ip6;
	f->udp = ip + sizeof(*ip6);
	f->ip_len = sizeof(*ip6) + BE16(ip6->payload_len);
	f->payload_len = BE16(f->udp->len) - UDP_LEN;
	if (f->ip_len > left || BE16(f->udp->len) < UDP_LEN ||
	    f->ip_len != sizeof(*ip6) + UDP_LEN + f->payload_len)
		return FRAME_MALFORMED;
	/* Nobody accepts this, and we send nothing of the kind (RFC 8200). */
	if (f->udp->check == 0)
		return FRAME_MALFORMED;
	return FRAME_UDP6;
}

/**
 * Find the UDP datagram of a frame, behind one VLAN tag at most.
 *
 * @param len  Of the whole frame; [data, end) may be only its beginning
 */
static __always_inline enum frame_kind frame_read(struct frame *f, void *data,
						  void *end, __u32 len)
{
	void *ip = data + sizeof(struct ethhdr);
	__be16 protocol;

	f->end = end;
	f->eth = data;
	f->tag = NULL;
	if (ip > end)
		return FRAME_OTHER;
	/* Multicast and broadcast are not sent to anybody in particular. */
	if (f->eth->h_dest[0] & 1)
		return FRAME_OTHER;
	protocol = f->eth->h_proto;
	len -= (__u32)sizeof(struct ethhdr);
	if (protocol == BE16(ETH_P_8021Q)) {
		f->tag = ip;
		ip += VLAN_TAG_LEN;
		if (ip > end)
			return FRAME_OTHER;
		protocol = f->tag->protocol;
		len -= VLAN_TAG_LEN;
	}
	if (protocol == BE16(ETH_P_IP))
		return read_udp4(f, ip, len);
	if (protocol == BE16(ETH_P_IPV6))
		return read_udp6(f, ip, len);
	return FRAME_OTHER;
}

/* ---- what kind of packet (RFC 7983, RFC 5761), as proto/packet.c ---- */

#define RTP_LEN 12
#define RTCP_LEN 8
#define STUN_LEN 20
#define STUN_COOKIE 0x2112a442
#define UDPTL_LEN 3

static __always_inline bool media_is_stun(const struct frame *f)
{
	const __u8 *p = (void *)(f->udp + 1);
	__u32 len;

	if ((void *)(p + STUN_LEN) > f->end || f->payload_len < STUN_LEN)
		return false;
	len = (__u32)p[2] << 8 | p[3];
	return p[0] <= 3 && *(const __be32 *)(p + 4) == BE32(STUN_COOKIE) &&
	       len % 4 == 0 && len == f->payload_len - STUN_LEN;
}

static __always_inline void note_seq(struct flow_counters *c, __u8 seen,
				     __u32 ssrc, __u16 seq)
{
	if (!(c->seen & seen) || c->ssrc != ssrc ||
	    (__s16)(__u16)(seq - c->seq) > 0) {
		c->ssrc = ssrc;
		c->seq = seq;
	}
	if (!(c->seen & seen))
		c->seen |= seen;
}

/** Note what a packet of the remote says about the stream. */
static __always_inline void media_note(struct flow_counters *c, __u8 flags,
				       const struct frame *f, __u64 now_ns)
{
	const __u8 *p = (void *)(f->udp + 1);
	__u32 now = (__u32)(now_ns >> FLOW_TIME_SHIFT);

	if (media_is_stun(f))
		return;
	c->heard = now;
	if (flags & FLOW_IS_UDPTL) {
		if ((void *)(p + UDPTL_LEN) <= f->end &&
		    f->payload_len >= UDPTL_LEN)
			note_seq(c, FLOW_SEEN_UDPTL, 0,
				 (__u16)(p[0] << 8 | p[1]));
	} else if ((void *)(p + RTCP_LEN) <= f->end &&
		   f->payload_len >= RTCP_LEN && (p[0] & 0xc0) == 0x80) {
		__u8 payload_type = p[1] & 0x7f;

		if (payload_type >= 64 && payload_type <= 95)
			return; /* RTCP on the port of RTP */
		if ((void *)(p + RTP_LEN) <= f->end &&
		    f->payload_len >= RTP_LEN + 4u * (p[0] & 0x0f)) {
			c->payload_type = payload_type;
			note_seq(c, FLOW_SEEN_RTP,
				 BE32(*(const __be32 *)(p + 8)),
				 (__u16)(p[2] << 8 | p[3]));
		}
	}
	c->media = now;
	if (!(c->seen & FLOW_SEEN_MEDIA))
		c->seen |= FLOW_SEEN_MEDIA;
}

/* ---- checksums, in ones' complement (RFC 1624) ---- */

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/** The checksum after `delta` was added to what it covers. */
static __always_inline __u16 csum_update(__u16 check, __u32 delta)
{
	return (__u16)~csum_fold((__u16)~check + delta);
}

/** What replacing a 16-bit word adds. */
static __always_inline __u32 csum_word(__u16 before, __u16 after)
{
	return (__u32)(__u16)~before + after;
}

/* UDP over IPv4 may have none: zero. Computed ones are never zero. */
static __always_inline void udp_csum_update(struct udphdr *udp, __u32 delta)
{
	__u16 check;

	if (udp->check == 0)
		return;
	check = csum_update(udp->check, delta);
	udp->check = check ? check : 0xffff;
}

/* ---- rewriting ---- */

static __always_inline void
rewrite_ip4(struct iphdr *ip, const struct flow4 *flow, __u8 tos, __u8 tos_kept)
{
	__u16 *words = (__u16 *)ip;
	__u16 first = words[0], ttl = words[4];
	__u32 delta = flow->address_delta;

	ip->tos = (__u8)(tos | (ip->tos & tos_kept));
	ip->ttl--;
	delta += csum_word(first, words[0]) + csum_word(ttl, words[4]);
	ip->check = csum_update(ip->check, delta);
	ip->saddr = flow->src;
	ip->daddr = flow->dst;
}

static __always_inline void copy16(__be32 *to, const __be32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

/** @return what it added to the sum of the header, which has no checksum */
static __always_inline __u32 rewrite_ip6(struct ipv6hdr *ip,
					 const struct flow6 *flow, __u8 tos,
					 __u8 tos_kept)
{
	const __u16 *words = (const __u16 *)ip;
	__u8 *bytes = (__u8 *)ip; /* version, traffic class, flow label */
	__u16 first = words[0], hop_limit = words[3];

	tos = (__u8)(tos | ((bytes[0] << 4 | bytes[1] >> 4) & tos_kept));
	bytes[0] = (__u8)(0x60 | tos >> 4);
	bytes[1] = (__u8)(tos << 4 | (bytes[1] & 0x0f));
	ip->hop_limit--;
	copy16(ip->saddr.in6_u.u6_addr32, flow->src);
	copy16(ip->daddr.in6_u.u6_addr32, flow->dst);
	return flow->address_delta + csum_word(first, words[0]) +
	       csum_word(hop_limit, words[3]);
}

/* ---- who sends ---- */

static __always_inline bool equal16(const __be32 *a, const __be32 *b)
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

static __always_inline bool flow4_is_remote(const struct flow4 *flow,
					    const struct frame *f)
{
	return flow->remote == f->ip4->saddr &&
	       flow->remote_port == f->udp->source;
}

static __always_inline bool flow6_is_remote(const struct flow6 *flow,
					    const struct frame *f)
{
	return equal16(flow->remote, f->ip6->saddr.in6_u.u6_addr32) &&
	       flow->remote_port == f->udp->source;
}

/* A product's low bits know nothing of the high ones of its factors, which are
 * the last byte of an IPv4 address here: so twice, and the upper half. */
static __always_inline __u32 hash_source(__u32 address, __u16 port)
{
	__u32 h = (address ^ ((__u32)port << 16 | port)) * 0x9e3779b1u;

	return (h ^ h >> 15) * 0x2c1b3c6du >> 16;
}

static __always_inline unsigned bucket_of(const struct frame *f, __u32 hash)
{
	return media_is_stun(f) ? FLOW_BUCKETS - FLOW_STUN_BUCKETS +
					  hash % FLOW_STUN_BUCKETS
				: hash % (FLOW_BUCKETS - FLOW_STUN_BUCKETS);
}

/** Take a packet's worth out of a bucket. Two CPUs at once may take one packet
 * too many, which does no harm. @return false: it is empty */
static __always_inline bool bucket_take(__u64 *full_at_ns, __u64 now_ns)
{
	__u64 full = *full_at_ns;

	if (full < now_ns)
		full = now_ns;
	if (full - now_ns > (FLOW_BUCKET_BURST - 1) * FLOW_BUCKET_INTERVAL_NS)
		return false;
	*full_at_ns = full + FLOW_BUCKET_INTERVAL_NS;
	return true;
}
