/**
 * @file bench/packet_sink.bpf.c  The far end: counts packets, and drops them
 *
 * What is not UDP goes on to the kernel, so that the phone's address is still
 * found (ARP). All UDP ends here. While `checking` is set, source, destination
 * and checksums of each packet are looked at too; that costs time, and is for a
 * short run before the measured one.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/stddef.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet.h"

struct headers {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	__u32 rtp[3];
} __attribute__((packed));

volatile bool checking;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct packet_counters);
	__uint(max_entries, 1);
} counters SEC(".maps");

/* What each flow has to look like here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct packet_flow);
	__uint(max_entries, 1); /* user space: as many as there are flows */
} expected SEC(".maps");

static __always_inline bool sums_up(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static __always_inline bool addresses_are_right(const struct headers *h)
{
	__u32 number = bpf_ntohl(h->rtp[2]) - PACKET_SSRC;
	const struct packet_flow *flow =
		bpf_map_lookup_elem(&expected, &number);

	return flow && flow->source_be == h->ip.saddr &&
	       flow->destination_be == h->ip.daddr &&
	       flow->source_port_be == h->udp.source &&
	       flow->destination_port_be == h->udp.dest;
}

/* A UDP checksum of 0 is none at all, which is right. */
static __always_inline __u32 sum_of(void *data, __u32 len)
{
	return (__u32)bpf_csum_diff(NULL, 0, data, len, 0);
}

/* A UDP checksum of 0 is none at all, which is right. */
static __always_inline bool checksums_are_right(struct headers *h)
{
	__u64 pseudo = (__u64)h->ip.saddr + h->ip.daddr +
		       bpf_htons(IPPROTO_UDP) + h->udp.len;

	if (!sums_up(sum_of(&h->ip, sizeof(h->ip))))
		return false;
	return h->udp.check == 0 ||
	       sums_up(pseudo + sum_of(&h->udp, PACKET_UDP));
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	struct headers *h = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 zero = 0;
	struct packet_counters *seen = bpf_map_lookup_elem(&counters, &zero);

	if (!seen || (void *)(h + 1) > end ||
	    h->eth.h_proto != bpf_htons(ETH_P_IP) || *(__u8 *)&h->ip != 0x45 ||
	    h->ip.protocol != IPPROTO_UDP)
		return XDP_PASS;
	if ((void *)h + PACKET_FRAME > end ||
	    h->udp.len != bpf_htons(PACKET_UDP) ||
	    (bpf_ntohl(h->rtp[2]) & 0xffff0000) != PACKET_SSRC) {
		seen->other++;
		return XDP_DROP;
	}

	seen->packets++;
	seen->bytes += PACKET_FRAME;
	if (checking) {
		if (!addresses_are_right(h))
			seen->wrong_address++;
		if (!checksums_are_right(h))
			seen->wrong_checksum++;
	}
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
