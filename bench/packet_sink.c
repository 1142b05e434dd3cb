/**
 * @file bench/packet_sink.c  Counts what arrives at an interface, and drops it
 *
 * Attaches packet_sink.bpf.c to DEVICE and takes one word a line from standard
 * input:
 *
 *     flows N      N lines follow, "source-ip port destination-ip port": what
 *                  flow 0, 1, ... has to look like here
 *     check on     look at addresses and checksums too
 *     check off
 *     count        print one line of JSON: the counters, and the time of them
 *
 * It answers the others by "ok". At the end of the input it ends, and the
 * program leaves the interface with it.
 *
 * Usage: packet_sink --device DEVICE [--netns NAME]
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet_sink.skel.h"
#include "tool.h"

static struct packet_counters totals(const struct packet_sink_bpf *bpf)
{
	int cpus = libbpf_num_possible_cpus();
	struct packet_counters *of_cpu = calloc((size_t)cpus, sizeof(*of_cpu));
	struct packet_counters total = {0};
	uint32_t zero = 0;

	if (!of_cpu || bpf_map_lookup_elem(bpf_map__fd(bpf->maps.counters),
					   &zero, of_cpu) < 0)
		tool_fail("counters");
	for (int i = 0; i < cpus; i++) {
		total.packets += of_cpu[i].packets;
		total.bytes += of_cpu[i].bytes;
		total.other += of_cpu[i].other;
		total.wrong_address += of_cpu[i].wrong_address;
		total.wrong_checksum += of_cpu[i].wrong_checksum;
	}
	free(of_cpu);
	return total;
}

static void print_counters(const struct packet_sink_bpf *bpf)
{
	struct packet_counters c = totals(bpf);

	(void)printf("{\"time_ns\": %" PRIu64 ", \"received\": %" PRIu64
		     ", \"bytes\": %" PRIu64 ", \"other\": %" PRIu64
		     ", \"wrong_address\": %" PRIu64
		     ", \"wrong_checksum\": %" PRIu64 "}\n",
		     tool_now_ns(), (uint64_t)c.packets, (uint64_t)c.bytes,
		     (uint64_t)c.other, (uint64_t)c.wrong_address,
		     (uint64_t)c.wrong_checksum);
}

static void take_flows(const struct packet_sink_bpf *bpf)
{
	struct packet_flow *flows;
	uint32_t count = 0;

	if (scanf("%u", &count) != 1 || count > PACKET_FLOWS_MAX) {
		errno = EINVAL;
		tool_fail("flows");
	}
	flows = calloc(count + 1, sizeof(flows[0]));
	if (!flows)
		tool_fail("memory");
	tool_read_flows(flows, count);
	for (uint32_t i = 0; i < count; i++)
		if (bpf_map_update_elem(bpf_map__fd(bpf->maps.expected), &i,
					&flows[i], BPF_ANY) < 0)
			tool_fail("flows");
	free(flows);
}

static void set_checking(struct packet_sink_bpf *bpf)
{
	char word[8];

	bpf->bss->checking = scanf("%7s", word) == 1 && strcmp(word, "on") == 0;
}

static void obey(struct packet_sink_bpf *bpf)
{
	char word[16];

	while (scanf("%15s", word) == 1) {
		if (strcmp(word, "count") == 0) {
			print_counters(bpf);
		} else {
			if (strcmp(word, "flows") == 0)
				take_flows(bpf);
			else if (strcmp(word, "check") == 0)
				set_checking(bpf);
			(void)puts("ok");
		}
		(void)fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"netns", required_argument, NULL, 'n'},
		{"device", required_argument, NULL, 'd'},
		{NULL, 0, NULL, 0},
	};
	const char *netns = NULL, *device = "eth0";
	struct packet_sink_bpf *bpf;
	struct bpf_link *link;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n')
			netns = optarg;
		else if (c == 'd')
			device = optarg;
		else
			return 2;
	}
	tool_end_with_parent();
	tool_enter(netns);
	bpf = packet_sink_bpf__open();
	if (!bpf ||
	    bpf_map__set_max_entries(bpf->maps.expected, PACKET_FLOWS_MAX) <
		    0 ||
	    packet_sink_bpf__load(bpf) < 0)
		tool_fail("packet_sink.bpf.c");
	link = bpf_program__attach_xdp(bpf->progs.count,
				       (int)tool_interface(device));
	if (!link)
		tool_fail(device);
	(void)puts("ok");
	(void)fflush(stdout);
	obey(bpf);
	(void)bpf_link__destroy(link);
	packet_sink_bpf__destroy(bpf);
	return 0;
}
