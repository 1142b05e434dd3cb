/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once
/**
 * @file bpf/flow_abi.h  What the kernel engine and the relay share: the maps
 *
 * The one header that both sides include. All maps are arrays that the relay
 * has mapped into its memory: a flow is installed, taken back and read by plain
 * loads and stores, without a system call and without a lock.
 *
 * A flow is one direction of one component: packets that one party sends to one
 * of our ports. Its index is that port minus flow_control.first_port, so a
 * packet finds it without a hash, and the whole of an IPv4 flow is one cache
 * line.
 *
 * The rules of the field `hop`:
 *
 * 1. 0 means that packets go up to the socket. Anybody may store 0 at any time.
 * 2. The other fields may change only while hop is 0, and only after a grace
 *    period (RCU) has passed since it became 0: no packet is being rewritten by
 *    the old ones then. The counters are never reset while a port is open.
 * 3. Storing another index releases the fields. Entries of the table of hops
 *    never change while a flow points there: a new way is a new entry.
 *
 * Whoever changes anything here raises FLOW_ABI_VERSION.
 */
#include <linux/types.h>

#define FLOW_ABI_VERSION 2
#define FLOW_ABI_MAGIC 0x4d504652u /* "MPFR" */

/** Entries of the table of hops; the first two have a meaning of their own. */
#define FLOW_HOPS 16384
#define FLOW_HOP_UP 0      /* no flow: up to the socket */
#define FLOW_HOP_NOWHERE 1 /* a flow without a way: up, and counted */
#define FLOW_HOP_FIRST 2

/** Interfaces that XDP may send through. */
#define FLOW_DEVICES 64
#define FLOW_DEVICE_NONE 0xffff

/** Times of flow_counters are in units of 2^20 ns of CLOCK_MONOTONIC. They
 * wrap: compare by subtracting, which is right for 26 days. */
#define FLOW_TIME_SHIFT 20

/** Bits of flow flags. */
#define FLOW_IS_UDPTL 1 /* T.38: a sequence number first, never RTP */
#define FLOW_STUN_UP 2  /* ICE: STUN goes up, the remote's too */

/** Bits of flow_counters.seen: what seq, ssrc and payload_type are of. */
#define FLOW_SEEN_RTP 1
#define FLOW_SEEN_UDPTL 2
#define FLOW_SEEN_MEDIA 4 /* flow_counters.media is set */

/** What was forwarded. Writer: the kernel, but for the start of the relay's. */
struct flow_counters {
	__u64 packets, bytes; /* of whole IP packets */
	__u32 heard;          /* the latest packet, STUN excepted */
	__u32 media;          /* the latest that is neither STUN nor RTCP */
	__u32 ssrc;           /* host byte order, as all below */
	__u16 seq;
	__u8 payload_type; /* with FLOW_SEEN_RTP */
	__u8 seen;
};

/**
 * An IPv4 flow. The two deltas are what the rewriting adds to a checksum, in
 * ones' complement: of the addresses (IP header, and UDP's pseudo header) and
 * of the ports.
 */
struct flow4 {
	__u16 hop;
	__u8 flags, unused;
	__be16 remote_port, src_port, dst_port;
	__u16 address_delta, port_delta;
	__u16 unused2;
	__be32 remote; /* who may send */
	__be32 local;  /* to which address of ours */
	__be32 src, dst;
	struct flow_counters counters;
};

struct flow6 {
	__u16 hop;
	__u8 flags, unused;
	__be16 remote_port, src_port, dst_port;
	__u16 address_delta, port_delta;
	__u16 unused2;
	__be32 remote[4], local[4], src[4], dst[4];
	__u32 unused3[4];
	struct flow_counters counters;
};

#define FLOW_BUCKETS 6
#define FLOW_STUN_BUCKETS 2 /* the last ones */

/**
 * What others than the remote send to a port that has a flow. A bucket holds
 * the time at which it is full again (a token bucket written as GCRA): one for
 * each hash of a source, STUN in buckets of its own.
 */
struct flow_strangers {
	__u64 dropped;
	__u64 full_at_ns[FLOW_BUCKETS];
	__u64 unused;
};

/** So many packets of strangers go up at once, and one more after each. */
#define FLOW_BUCKET_BURST 32
#define FLOW_BUCKET_INTERVAL_NS 20000000ull

/** Where packets leave. */
struct flow_hop {
	__u8 dst_mac[6], src_mac[6]; /* as they stand in the frame */
	__u32 ifindex;               /* for TC; may be a VLAN, a bridge, ... */
	__u16 device; /* for XDP: of the map `devices`, or FLOW_DEVICE_NONE */
	__be16 vlan;  /* for XDP: the tag (TCI) to write; 0: none */
	__u16 mtu;    /* of IP packets; 0: this way cannot be gone */
	__u16 unused[5];
};

/** Why packets with a flow went up or were dropped, and some without. */
enum flow_stat {
	FLOW_UP_FRAGMENT,   /* UDP in fragments, to whatever address */
	FLOW_UP_OPTIONS,    /* UDP behind IP options or extension headers */
	FLOW_UP_MALFORMED,  /* UDP of wrong lengths; in IPv6 without checksum */
	FLOW_UP_TTL,        /* TTL or hop limit ends here */
	FLOW_UP_MTU,        /* too long for the next link */
	FLOW_UP_NO_HOP,     /* next hop unknown, or not to be reached by XDP */
	FLOW_UP_OFFLOAD,    /* several packets in one (GRO, GSO) */
	FLOW_UP_LEASE,      /* the relay has not renewed its lease */
	FLOW_UP_STRANGER,   /* not the remote: within its bucket */
	FLOW_UP_STUN,       /* of the remote, in a flow with FLOW_STUN_UP */
	FLOW_DROP_STRANGER, /* not the remote: its bucket is empty */
	FLOW_DROP_NO_ROOM,  /* no headroom for a VLAN tag */
	FLOW_STATS
};

/** One for each relay of a host. address, first_port and port_count tell them
 * apart. */
struct flow_control {
	__u32 magic, abi_version;
	__u32 first_port, port_count;
	__u64 lease_ns;   /* CLOCK_MONOTONIC; past it every packet goes up */
	__u64 renewed_ns; /* when the relay renewed it last */
	__u32 tos;        /* what is set; without the bits of tos_kept */
	__u32 pid;        /* of the relay; for people */
	__u8 address[16]; /* the first of the relay's */
	__u32 family;
	__u32 tos_kept; /* the bits that stay as they came */
};

#ifndef __BPF__
_Static_assert(sizeof(struct flow4) == 64, "one cache line");
_Static_assert(sizeof(struct flow6) == 128, "two cache lines");
_Static_assert(sizeof(struct flow_strangers) == 64, "one cache line");
_Static_assert(sizeof(struct flow_hop) == 32, "two in a cache line");
_Static_assert(sizeof(struct flow_control) == 64, "one cache line");
#endif
