// SPDX-License-Identifier: GPL-2.0-or-later
/**
 * @file bpf/relay.bpf.c  The kernel engine: forwards packets of confirmed flows
 *
 * Two programs over the same functions and maps: relay_xdp for interfaces whose
 * driver runs XDP, relay_tc (clsact ingress, direct action) for all others. A
 * packet whose flow is known and whose source is the confirmed remote is
 * rewritten and leaves by the flow's next hop. Whatever else arrives goes up to
 * the socket as if there were no program, but for floods of strangers.
 *
 * Only helpers, flags and map types of Linux 6.1.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "bpf/packet.h"

/* The relay sets max_entries of the first three to the ports that it has. */
#define PORTS_MOST 65536

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PORTS_MOST);
	__type(key, __u32);
	__type(value, struct flow4);
} flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PORTS_MOST);
	__type(key, __u32);
	__type(value, struct flow6);
} flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PORTS_MOST);
	__type(key, __u32);
	__type(value, struct flow_strangers);
} strangers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FLOW_HOPS);
	__type(key, __u32);
	__type(value, struct flow_hop);
} hops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, FLOW_DEVICES);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FLOW_STATS);
	__type(key, __u32);
	__type(value, __u64);
} stats SEC(".maps");

enum verdict { UP, DROP, FORWARD };

static __always_inline enum verdict up(enum flow_stat why)
{
	__u32 key = why;
	__u64 *count = bpf_map_lookup_elem(&stats, &key);

	if (count)
		*count += 1; /* per CPU */
	return UP;
}

static __always_inline enum verdict drop(enum flow_stat why)
{
	up(why);
	return DROP;
}

/* The port has a flow, and this is not its remote: up, where learning judges
 * it, but not so often that it gets in the way of those who may send. */
static __always_inline enum verdict stranger(const struct frame *f, __u32 index,
					     __u32 hash, __u64 now_ns)
{
	struct flow_strangers *s = bpf_map_lookup_elem(&strangers, &index);
	unsigned bucket = bucket_of(f, hash);

	if (!s || bucket >= FLOW_BUCKETS)
		return UP;
	if (bucket_take(&s->full_at_ns[bucket], now_ns))
		return up(FLOW_UP_STRANGER);
	__sync_fetch_and_add(&s->dropped, 1);
	return drop(FLOW_DROP_STRANGER);
}

/* With ICE, responses are matched with their requests by the relay. */
static __always_inline bool is_for_relay(const struct frame *f, __u8 flags)
{
	return flags & FLOW_STUN_UP && media_is_stun(f);
}

/* What may be sent on by this hop. `ttl` counts in IPv6, too. */
static __always_inline enum verdict check_hop(const struct flow_hop *hop,
					      const struct frame *f, __u8 ttl)
{
	if (!hop || hop->mtu == 0)
		return up(FLOW_UP_NO_HOP);
	if (ttl <= 1)
		return up(FLOW_UP_TTL);
	if (f->ip_len > hop->mtu)
		return up(FLOW_UP_MTU);
	return FORWARD;
}

static __always_inline void count(struct flow_counters *c, __u8 flags,
				  const struct frame *f, __u64 now_ns)
{
	__sync_fetch_and_add(&c->packets, 1);
	__sync_fetch_and_add(&c->bytes, f->ip_len);
	media_note(c, flags, f, now_ns);
}

static __always_inline void uncount(struct flow_counters *c, __u32 ip_len)
{
	__sync_fetch_and_add(&c->packets, (__u64)-1);
	__sync_fetch_and_add(&c->bytes, -(__u64)ip_len);
}

static __always_inline enum verdict frame_other(enum frame_kind kind)
{
	switch (kind) {
	case FRAME_FRAGMENT:
		return up(FLOW_UP_FRAGMENT);
	case FRAME_OPTIONS:
		return up(FLOW_UP_OPTIONS);
	case FRAME_MALFORMED:
		return up(FLOW_UP_MALFORMED);
	default:
		return UP;
	}
}

/* ---- a packet's flow ---- */

/** What was found for a packet that is to be sent on. */
struct match {
	struct flow4 *flow4; /* one of the two */
	struct flow6 *flow6;
	struct flow_hop *hop;
	__u64 now_ns, lease_ns;
	__u8 tos, tos_kept;
};

/* Once: another thread may store 0 between two looks. */
static __always_inline __u32 hop_of(const __u16 *hop)
{
	return *(const volatile __u16 *)hop;
}

static __always_inline enum verdict find4(struct match *m,
					  const struct frame *f, __u32 index)
{
	struct flow4 *flow = bpf_map_lookup_elem(&flows4, &index);
	__u32 hop;

	if (!flow)
		return UP;
	hop = hop_of(&flow->hop);
	if (hop == FLOW_HOP_UP || flow->local != f->ip4->daddr)
		return UP;
	if (m->now_ns > m->lease_ns)
		return up(FLOW_UP_LEASE);
	if (!flow4_is_remote(flow, f))
		return stranger(f, index,
				hash_source(f->ip4->saddr, f->udp->source),
				m->now_ns);
	if (is_for_relay(f, flow->flags))
		return up(FLOW_UP_STUN);
	m->flow4 = flow;
	m->hop = bpf_map_lookup_elem(&hops, &hop);
	return check_hop(m->hop, f, f->ip4->ttl);
}

static __always_inline enum verdict find6(struct match *m,
					  const struct frame *f, __u32 index)
{
	struct flow6 *flow = bpf_map_lookup_elem(&flows6, &index);
	const __be32 *from = f->ip6->saddr.in6_u.u6_addr32;
	__u32 hop;

	if (!flow)
		return UP;
	hop = hop_of(&flow->hop);
	if (hop == FLOW_HOP_UP ||
	    !equal16(flow->local, f->ip6->daddr.in6_u.u6_addr32))
		return UP;
	if (m->now_ns > m->lease_ns)
		return up(FLOW_UP_LEASE);
	if (!flow6_is_remote(flow, f))
		return stranger(
			f, index,
			hash_source(from[0] ^ from[1] ^ from[2] ^ from[3],
				    f->udp->source),
			m->now_ns);
	if (is_for_relay(f, flow->flags))
		return up(FLOW_UP_STUN);
	m->flow6 = flow;
	m->hop = bpf_map_lookup_elem(&hops, &hop);
	return check_hop(m->hop, f, f->ip6->hop_limit);
}

static __always_inline enum verdict find(struct match *m, const struct frame *f,
					 enum frame_kind kind)
{
	__u32 zero = 0;
	struct flow_control *c = bpf_map_lookup_elem(&control, &zero);
	__u32 index;

	if (!c)
		return UP;
	index = (__u32)BE16(f->udp->dest) - c->first_port;
	if (index >= c->port_count)
		return UP;
	m->flow4 = NULL;
	m->flow6 = NULL;
	m->tos = (__u8)c->tos;
	m->tos_kept = (__u8)c->tos_kept;
	m->lease_ns = c->lease_ns;
	m->now_ns = bpf_ktime_get_coarse_ns();
	return kind == FRAME_UDP4 ? find4(m, f, index) : find6(m, f, index);
}

/* ---- XDP ---- */

static __always_inline void write_link(struct ethhdr *eth,
				       const struct flow_hop *hop)
{
	__builtin_memcpy(eth, hop->dst_mac, 2 * ETH_ALEN);
}

/* The frame has a tag and should not, or the other way round. */
static __always_inline int
change_tag(struct xdp_md *ctx, const struct flow_hop *hop, __be16 protocol)
{
	struct ethhdr *eth;
	struct vlan_tag *tag;
	void *end;

	if (bpf_xdp_adjust_head(ctx, hop->vlan ? -VLAN_TAG_LEN : VLAN_TAG_LEN))
		return -1;
	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	tag = (void *)(eth + 1);
	if ((void *)(tag + 1) > end)
		return -1;
	write_link(eth, hop);
	if (hop->vlan) {
		eth->h_proto = BE16(ETH_P_8021Q);
		tag->tci = hop->vlan;
		tag->protocol = protocol;
	} else {
		eth->h_proto = protocol;
	}
	return 0;
}

static __always_inline int send_xdp(struct xdp_md *ctx, const struct frame *f,
				    const struct match *m)
{
	__be16 protocol = m->flow4 ? BE16(ETH_P_IP) : BE16(ETH_P_IPV6);

	if (!f->tag == !m->hop->vlan) {
		write_link(f->eth, m->hop);
		if (f->tag)
			f->tag->tci = m->hop->vlan;
	} else if (change_tag(ctx, m->hop, protocol)) {
		if (m->flow4)
			uncount(&m->flow4->counters, f->ip_len);
		else if (m->flow6)
			uncount(&m->flow6->counters, f->ip_len);
		drop(FLOW_DROP_NO_ROOM);
		return XDP_DROP;
	}
	return XDP_REDIRECT;
}

SEC("xdp")
int relay_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct frame f;
	struct match m;
	enum frame_kind kind = frame_read(&f, data, end, (__u32)(end - data));
	enum verdict verdict;

	if (kind != FRAME_UDP4 && kind != FRAME_UDP6) {
		frame_other(kind);
		return XDP_PASS;
	}
	verdict = find(&m, &f, kind);
	if (verdict != FORWARD)
		return verdict == DROP ? XDP_DROP : XDP_PASS;
	/* This only notes where to; nothing is sent before we return. */
	if (bpf_redirect_map(&devices, m.hop->device, 0) != XDP_REDIRECT) {
		up(FLOW_UP_NO_HOP);
		return XDP_PASS;
	}
	if (m.flow4) {
		count(&m.flow4->counters, m.flow4->flags, &f, m.now_ns);
		rewrite_ip4(f.ip4, m.flow4, m.tos, m.tos_kept);
		udp_csum_update(f.udp, (__u32)m.flow4->address_delta +
					       m.flow4->port_delta);
		f.udp->source = m.flow4->src_port;
		f.udp->dest = m.flow4->dst_port;
	} else if (m.flow6) {
		count(&m.flow6->counters, m.flow6->flags, &f, m.now_ns);
		rewrite_ip6(f.ip6, m.flow6, m.tos, m.tos_kept);
		udp_csum_update(f.udp, (__u32)m.flow6->address_delta +
					       m.flow6->port_delta);
		f.udp->source = m.flow6->src_port;
		f.udp->dest = m.flow6->dst_port;
	}
	return send_xdp(ctx, &f, &m);
}

/* ---- TC ---- */

#define HEADERS_MOST                                                           \
	(sizeof(struct ethhdr) + VLAN_TAG_LEN + sizeof(struct ipv6hdr) +       \
	 UDP_LEN + STUN_LEN)

/* The kernel knows whether UDP's checksum still waits to be computed, by a
 * network card or in software; then it covers only the addresses so far. */
static __always_inline int tc_checksum(struct __sk_buff *skb, __u32 check_at,
				       __u16 address_delta, __u16 port_delta)
{
	int error =
		bpf_l4_csum_replace(skb, check_at, 0, address_delta,
				    BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);

	return error ? error
		     : bpf_l4_csum_replace(skb, check_at, 0, port_delta,
					   BPF_F_MARK_MANGLED_0);
}

static __always_inline int send_tc(struct __sk_buff *skb, const struct frame *f,
				   const struct match *m)
{
	__u32 check_at = (__u32)((void *)f->udp - (void *)f->eth) +
			 __builtin_offsetof(struct udphdr, check);
	__u32 ifindex = m->hop->ifindex;
	bool has_check = f->udp->check != 0;
	__u16 address_delta = 0, port_delta = 0;
	__u32 whole = 0;

	write_link(f->eth, m->hop);
	if (m->flow4) {
		count(&m->flow4->counters, m->flow4->flags, f, m->now_ns);
		rewrite_ip4(f->ip4, m->flow4, m->tos, m->tos_kept);
		f->udp->source = m->flow4->src_port;
		f->udp->dest = m->flow4->dst_port;
		address_delta = m->flow4->address_delta;
		port_delta = m->flow4->port_delta;
		whole = has_check ? 0 : port_delta;
	} else if (m->flow6) {
		count(&m->flow6->counters, m->flow6->flags, f, m->now_ns);
		whole = rewrite_ip6(f->ip6, m->flow6, m->tos, m->tos_kept);
		f->udp->source = m->flow6->src_port;
		f->udp->dest = m->flow6->dst_port;
		address_delta = m->flow6->address_delta;
		port_delta = m->flow6->port_delta;
	}
	if (has_check && tc_checksum(skb, check_at, address_delta, port_delta))
		return TC_ACT_SHOT;
	/* A card may have summed up the whole packet (CHECKSUM_COMPLETE). What
	 * the checksums of IPv4 and UDP make up for leaves that sum as it was;
	 * in IPv6 bpf_l4_csum_replace() believes in one of the header. */
	if (whole)
		bpf_csum_update(skb, whole);
	/* The hop's interface writes a tag of its own, if it is one of a VLAN.
	 */
	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return TC_ACT_SHOT;
	return (int)bpf_redirect(ifindex, 0);
}

SEC("tc")
int relay_tc(struct __sk_buff *skb)
{
	struct frame f;
	struct match m;
	enum frame_kind kind;
	enum verdict verdict;
	__u32 there;

	if (skb->pkt_type != 0 /* PACKET_HOST */)
		return TC_ACT_UNSPEC;
	there = skb->data_end - skb->data;
	if (there < HEADERS_MOST && there < skb->len)
		bpf_skb_pull_data(skb, skb->len < HEADERS_MOST ? skb->len
							       : HEADERS_MOST);
	kind = frame_read(&f, (void *)(long)skb->data,
			  (void *)(long)skb->data_end, skb->len);
	if (kind != FRAME_UDP4 && kind != FRAME_UDP6) {
		frame_other(kind);
		return TC_ACT_UNSPEC;
	}
	/* A tag in the data stands behind one that the card took off. */
	if (f.tag)
		return TC_ACT_UNSPEC;
	verdict = find(&m, &f, kind);
	if (verdict == FORWARD && skb->gso_size)
		verdict = up(FLOW_UP_OFFLOAD);
	if (verdict != FORWARD)
		return verdict == DROP ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	return send_tc(skb, &f, &m);
}

char LICENSE[] SEC("license") = "GPL";
