/**
 * @file bench/packet_gen.bpf.c  Makes packets, and hands them to an interface
 *
 * Runs in live-frame test-run mode: the kernel calls it with an empty page for
 * each packet that is wanted. Pages come back from earlier packets, which a
 * relay has rewritten, so that the whole header is written again every time.
 * The audio behind it is never changed by anyone.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"

struct rtp {
	__u8 version, type;
	__be16 seq_be;
	__be32 timestamp_be, ssrc_be;
};

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	struct rtp rtp;
} __attribute__((packed));

const volatile __u32 flow_count = 1;
const volatile __u8 macs[12]; /* destination, source */
const volatile __u32 audio_sum;
const volatile bool with_checksum = true;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct packet_flow);
	__uint(max_entries, 1); /* user space: flow_count */
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct packet_position);
	__uint(max_entries, 1);
} positions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} out SEC(".maps");

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

static __always_inline void write_ip(struct frame *frame,
				     const struct packet_flow *flow)
{
	__u64 sum = (__u64)bpf_htons(0x4500) + bpf_htons(PACKET_IP) +
		    bpf_htons(0x4000) + bpf_htons(64 << 8 | IPPROTO_UDP) +
		    flow->source_be + flow->destination_be;

	*(__u8 *)&frame->ip = 0x45;
	frame->ip.tos = 0;
	frame->ip.tot_len = bpf_htons(PACKET_IP);
	frame->ip.id = 0;
	frame->ip.frag_off = bpf_htons(0x4000);
	frame->ip.ttl = 64;
	frame->ip.protocol = IPPROTO_UDP;
	frame->ip.check = fold(sum);
	frame->ip.saddr = flow->source_be;
	frame->ip.daddr = flow->destination_be;
}

static __always_inline void write_udp(struct frame *frame,
				      const struct packet_flow *flow,
				      const struct rtp *rtp)
{
	__u64 sum = (__u64)flow->source_be + flow->destination_be +
		    bpf_htons(IPPROTO_UDP) + 2 * bpf_htons(PACKET_UDP) +
		    flow->source_port_be + flow->destination_port_be +
		    bpf_htons(0x8008) + rtp->seq_be + rtp->timestamp_be +
		    rtp->ssrc_be + audio_sum;
	__u16 check = fold(sum);

	frame->udp.source = flow->source_port_be;
	frame->udp.dest = flow->destination_port_be;
	frame->udp.len = bpf_htons(PACKET_UDP);
	frame->udp.check = !with_checksum ? 0 : check ? check : 0xffff;
	frame->rtp = *rtp;
}

static __always_inline void write_frame(struct frame *frame,
					const struct packet_flow *flow,
					const struct packet_position *at)
{
	struct rtp rtp = {.version = 0x80,
			  .type = 8,
			  .seq_be = bpf_htons((__u16)at->round),
			  .timestamp_be = bpf_htonl(at->round * PACKET_AUDIO),
			  .ssrc_be = bpf_htonl(PACKET_SSRC + at->flow)};

#pragma unroll
	for (int i = 0; i < 12; i++)
		((__u8 *)frame)[i] = macs[i];
	frame->eth.h_proto = bpf_htons(ETH_P_IP);
	write_ip(frame, flow);
	write_udp(frame, flow, &rtp);
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, number;
	struct packet_position *at = bpf_map_lookup_elem(&positions, &zero);
	struct packet_flow *flow;

	if (!at || (void *)(frame + 1) > end)
		return XDP_ABORTED;
	number = at->flow;
	flow = bpf_map_lookup_elem(&flows, &number);
	if (!flow)
		return XDP_ABORTED;

	write_frame(frame, flow, at);
	at->sent++;
	if (++number == flow_count) {
		number = 0;
		at->round++;
	}
	at->flow = number;
	return (int)bpf_redirect_map(&out, 0, 0);
}

char LICENSE[] SEC("license") = "GPL";
