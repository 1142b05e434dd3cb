/**
 * @file bench/packet_gen.c  Packets of N calls, as fast as the CPU makes them
 *
 * Loads packet_gen.bpf.c and runs it in live-frame test-run mode
 * (BPF_F_TEST_XDP_LIVE_FRAMES), on one CPU: each run makes a number of packets
 * and redirects them to DEVICE. On veth they arrive at the peer, whose NAPI,
 * and all that follows as long as nothing hands the packet to another CPU, runs
 * between two batches on the same CPU. The flows take turns.
 *
 * Reads N lines "source-ip port destination-ip port" from standard input,
 * prints "ok" when it starts, and one line of JSON at the end. What an
 * interface drops is not known here; the far end counts (packet_sink.c).
 *
 * Usage: packet_gen --device DEVICE --to-mac MAC --flows N --milliseconds T
 *        [--rate PACKETS] [--cpu CPU] [--netns NAME] [--no-checksum]
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "packet_gen.skel.h"
#include "tool.h"

#define RUN_PACKETS                                                            \
	32768u /* at full speed; each run costs about 20 us more               \
		*/
#define NS_PER_MS 1000000ull
#define TICK_NS NS_PER_MS       /* between runs at a given rate */
#define LATE_MAX_NS 50000000ull /* what is later than this is left out */

struct options {
	const char *netns, *device, *to_mac;
	uint32_t flows, milliseconds, rate, cpu;
	bool pinned, no_checksum;
};

struct generator {
	struct packet_gen_bpf *bpf;
	struct bpf_link *known;
	uint8_t frame[PACKET_FRAME];
	uint64_t asked;
};

/* ---- set-up ---- */

/* Any audio will do, as long as its checksum is known. */
static uint32_t fill_audio(uint8_t frame[static PACKET_FRAME])
{
	uint32_t sum = 0;

	for (size_t i = PACKET_FRAME - PACKET_AUDIO; i < PACKET_FRAME; i += 2) {
		uint16_t word;

		frame[i] = (uint8_t)(i * 7);
		frame[i + 1] = (uint8_t)(i * 13);
		memcpy(&word, frame + i, sizeof(word));
		sum += word;
	}
	return sum;
}

static void fill_flows(const struct generator *gen, uint32_t count)
{
	struct packet_flow *flows = calloc(count, sizeof(flows[0]));
	int fd = bpf_map__fd(gen->bpf->maps.flows);

	if (!flows)
		tool_fail("memory");
	tool_read_flows(flows, count);
	for (uint32_t i = 0; i < count; i++)
		if (bpf_map_update_elem(fd, &i, &flows[i], BPF_ANY) < 0)
			tool_fail("flows");
	free(flows);
}

static void load(struct generator *gen, const struct options *o)
{
	uint32_t zero = 0, device = tool_interface(o->device);
	struct packet_gen_bpf *bpf = packet_gen_bpf__open();
	uint8_t macs[12];

	if (!bpf)
		tool_fail("packet_gen.bpf.c");
	gen->bpf = bpf;
	bpf->rodata->flow_count = o->flows;
	bpf->rodata->with_checksum = !o->no_checksum;
	bpf->rodata->audio_sum = fill_audio(gen->frame);
	tool_read_mac(macs, o->to_mac);
	tool_own_mac(macs + 6, o->device);
	memcpy((void *)(uintptr_t)bpf->rodata->macs, macs, sizeof(macs));
	if (bpf_map__set_max_entries(bpf->maps.flows, o->flows) < 0 ||
	    packet_gen_bpf__load(bpf) < 0)
		tool_fail("packet_gen.bpf.c");
	if (bpf_map_update_elem(bpf_map__fd(bpf->maps.out), &zero, &device,
				BPF_ANY) < 0)
		tool_fail("devmap");
	fill_flows(gen, o->flows);
}

/* A run makes its program known to the kernel's XDP dispatcher and forgets it
 * afterwards, and both wait for every CPU: 15 ms. A program that is attached
 * somewhere is known already. Nothing arrives at this interface. */
static void make_known(struct generator *gen)
{
	gen->known = bpf_program__attach_xdp(gen->bpf->progs.generate,
					     (int)tool_interface("lo"));
	if (!gen->known)
		tool_fail("lo");
}

/* ---- running ---- */

static void make(struct generator *gen, uint32_t packets)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = gen->frame,
		    .data_size_in = sizeof(gen->frame),
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		    .repeat = (int)packets);

	if (bpf_prog_test_run_opts(bpf_program__fd(gen->bpf->progs.generate),
				   &run) < 0)
		tool_fail("test run");
	gen->asked += packets;
}

static void make_all(struct generator *gen, uint64_t end_ns)
{
	while (tool_now_ns() < end_ns)
		make(gen, RUN_PACKETS);
}

/* What cannot be sent in time because the CPU is taken is never made up for:
 * a burst would be another measurement. */
static void make_at_rate(struct generator *gen, uint64_t start_ns,
			 uint64_t end_ns, uint32_t rate)
{
	uint64_t tick = start_ns, now;

	while ((now = tool_now_ns()) < end_ns) {
		uint64_t due = (now - start_ns) * rate / NS_PER_S;
		uint64_t late = LATE_MAX_NS * rate / NS_PER_S;

		if (due > gen->asked + late)
			gen->asked = due - late;
		if (due > gen->asked)
			make(gen, (uint32_t)(due - gen->asked));
		tick += TICK_NS;
		tool_sleep_until(tick);
	}
}

static uint64_t sent(const struct generator *gen)
{
	int cpus = libbpf_num_possible_cpus();
	struct packet_position *positions =
		calloc((size_t)cpus, sizeof(positions[0]));
	uint32_t zero = 0;
	uint64_t total = 0;

	if (!positions ||
	    bpf_map_lookup_elem(bpf_map__fd(gen->bpf->maps.positions), &zero,
				positions) < 0)
		tool_fail("positions");
	for (int i = 0; i < cpus; i++)
		total += positions[i].sent;
	free(positions);
	return total;
}

static void run(struct generator *gen, const struct options *o)
{
	uint64_t start_ns = tool_now_ns();
	uint64_t end_ns = start_ns + o->milliseconds * NS_PER_MS, took_ns;
	struct timespec cpu = {0};

	if (o->rate == 0)
		make_all(gen, end_ns);
	else
		make_at_rate(gen, start_ns, end_ns, o->rate);
	took_ns = tool_now_ns() - start_ns;
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	(void)printf("{\"sent\": %" PRIu64
		     ", \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n",
		     sent(gen), (double)took_ns / (double)NS_PER_S,
		     (double)cpu.tv_sec +
			     (double)cpu.tv_nsec / (double)NS_PER_S);
}

/* ---- start ---- */

static void read_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{"netns", required_argument, NULL, 'n'},
		{"device", required_argument, NULL, 'd'},
		{"to-mac", required_argument, NULL, 'm'},
		{"flows", required_argument, NULL, 'f'},
		{"milliseconds", required_argument, NULL, 't'},
		{"rate", required_argument, NULL, 'r'},
		{"cpu", required_argument, NULL, 'c'},
		{"no-checksum", no_argument, NULL, 'x'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			o->netns = optarg;
			break;
		case 'd':
			o->device = optarg;
			break;
		case 'm':
			o->to_mac = optarg;
			break;
		case 'f':
			o->flows = tool_number(optarg, 1, PACKET_FLOWS_MAX);
			break;
		case 't':
			o->milliseconds = tool_number(optarg, 1, 3600000);
			break;
		case 'r':
			o->rate = tool_number(optarg, 0, 10000000);
			break;
		case 'c':
			o->cpu = tool_number(optarg, 0, 4095);
			o->pinned = true;
			break;
		case 'x':
			o->no_checksum = true;
			break;
		default:
			exit(2);
		}
	}
	if (!o->device || !o->to_mac) {
		(void)fputs("packet_gen: --device and --to-mac are needed\n",
			    stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct options o = {.flows = 1, .milliseconds = 1000};
	struct generator gen = {0};

	tool_end_with_parent();
	(void)prctl(PR_SET_TIMERSLACK, 1000ul);
	read_options(argc, argv, &o);
	tool_enter(o.netns);
	load(&gen, &o);
	make_known(&gen);
	if (o.pinned)
		tool_pin(o.cpu);
	(void)puts("ok");
	(void)fflush(stdout);
	run(&gen, &o);
	(void)bpf_link__destroy(gen.known);
	packet_gen_bpf__destroy(gen.bpf);
	return 0;
}
