/**
 * @file bench/flow_load.c  The relay's XDP program with flows of no relay
 *
 * Loads bpf/relay.bpf.c, attaches its XDP program to the interface FROM of a
 * namespace, and fills its maps directly (bpf/flow_abi.h), so that there can be
 * as many flows as wanted. All leave through TO, for MAC. Reads N lines
 * "source-ip port destination-ip port" of packets as they arrive, then N of how
 * they have to leave; says "ok", and ends with its standard input.
 *
 * Usage: flow_load NETNS FROM TO MAC N
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "relay.skel.h"
#include "tool.h"

#define MTU 1500
#define TOS 184

static uint32_t words(uint32_t address_be)
{
	return (address_be & 0xffff) + (address_be >> 16);
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* What replacing the one by the other adds, in ones' complement. */
static uint16_t delta(uint32_t before, uint32_t after)
{
	return fold((uint32_t)(uint16_t)~fold(before) + fold(after));
}

static struct flow4 flow_of(const struct packet_flow *in,
			    const struct packet_flow *out)
{
	uint32_t before = words(in->source_be) + words(in->destination_be);
	uint32_t after = words(out->source_be) + words(out->destination_be);
	uint32_t ports = (uint32_t)in->source_port_be + in->destination_port_be;

	return (struct flow4){
		.hop = FLOW_HOP_FIRST,
		.remote = in->source_be,
		.remote_port = in->source_port_be,
		.local = in->destination_be,
		.src = out->source_be,
		.src_port = out->source_port_be,
		.dst = out->destination_be,
		.dst_port = out->destination_port_be,
		.address_delta = delta(before, after),
		.port_delta = delta(ports, (uint32_t)out->source_port_be +
						   out->destination_port_be),
	};
}

static void put(const struct bpf_map *map, uint32_t key, const void *value)
{
	if (bpf_map_update_elem(bpf_map__fd(map), &key, value, BPF_ANY) < 0)
		tool_fail(bpf_map__name(map));
}

static void fill_flows(const struct relay_bpf *bpf, uint32_t count)
{
	struct packet_flow *in = calloc(2 * (size_t)count, sizeof(*in));
	const struct packet_flow *out = in + count;

	if (!in)
		tool_fail("memory");
	tool_read_flows(in, 2 * count);
	for (uint32_t i = 0; i < count; i++) {
		struct flow4 flow = flow_of(&in[i], &out[i]);

		/* The first port is 0: a port is its index. */
		put(bpf->maps.flows4, ntohs(in[i].destination_port_be), &flow);
	}
	free(in);
}

static void fill_hop(const struct relay_bpf *bpf, const char *to,
		     const char *mac)
{
	struct flow_hop hop = {.ifindex = tool_interface(to), .mtu = MTU};
	uint32_t device = hop.ifindex;

	tool_read_mac(hop.dst_mac, mac);
	tool_own_mac(hop.src_mac, to);
	put(bpf->maps.hops, FLOW_HOP_FIRST, &hop);
	put(bpf->maps.devices, hop.device, &device);
}

static void fill_control(const struct relay_bpf *bpf)
{
	struct flow_control control = {.magic = FLOW_ABI_MAGIC,
				       .abi_version = FLOW_ABI_VERSION,
				       .port_count = 65536,
				       .lease_ns = UINT64_MAX,
				       .tos = TOS};

	put(bpf->maps.control, 0, &control);
}

int main(int argc, char **argv)
{
	struct relay_bpf *bpf;

	if (argc != 6) {
		(void)fputs("Usage: flow_load NETNS FROM TO MAC N\n", stderr);
		return 2;
	}
	tool_end_with_parent();
	tool_enter(argv[1]);
	bpf = relay_bpf__open();
	if (!bpf || bpf_program__set_autoload(bpf->progs.relay_tc, false) < 0 ||
	    relay_bpf__load(bpf) < 0)
		tool_fail("relay.bpf.c");
	fill_flows(bpf, tool_number(argv[5], 1, 32768));
	fill_hop(bpf, argv[3], argv[4]);
	fill_control(bpf);
	tool_run_xdp(bpf->progs.relay_xdp, argv[2]);
	relay_bpf__destroy(bpf);
	return 0;
}
