/**
 * @file bench/media_load.c  Phones for a benchmark of media relays
 *
 * Plays both phones of N calls: each sends a packet every 20 ms to the address
 * that a relay gave for it, spread evenly over the 20 ms, and counts what comes
 * back. It knows nothing of signalling, so that it fits any relay:
 *
 * 1. It opens 2 N sockets and prints one line for each call: the ports of the
 *    caller and of the callee.
 * 2. For each run it reads N lines from standard input: address and port that
 *    the caller sends to, then those for the callee; sends and receives; and
 *    prints one line of JSON. At the end of the input it ends.
 *
 * Delay is from the clock's time in the packet, read just before send(), to the
 * time at which the kernel took the packet from the receiving interface
 * (SO_TIMESTAMPNS): how soon this program gets to run does not count. With
 * --caller-netns and --callee-netns (root) the phones live in two network
 * namespaces. With --warm-up the first packets of each phone do not count for
 * the delay: a relay may be learning, or may be handing the call to the kernel.
 *
 * Usage: media_load --calls N --seconds S [--rate PACKETS] [--payload BYTES]
 *        [--caller-ip IP] [--callee-ip IP] [--caller-netns NAME]
 *        [--callee-netns NAME] [--pid PID] [--warm-up PACKETS]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

#define NS_PER_US 1000ull
#define TICK_US 100           /* how often it looks for packets that are due */
#define DRAIN_NS 300000000ull /* how long the last packets may take */
#define EVENTS_MAX 256
#define RTP_HEADER 12
#define MAGIC 0x6d70626cu
#define PACKET_MAX 1500

struct options {
	unsigned calls, seconds, rate, payload, warm_up;
	const char *ip[2], *netns[2];
	pid_t pid; /* 0: none */
};

/** What a packet says of itself, after the RTP header. */
struct mark {
	uint32_t magic, run, phone, number;
	uint64_t sent_ns;
};

struct phone {
	int fd;
	uint16_t port;
	uint8_t *seen; /* a bit for each packet of its peer */
};

struct load {
	struct options o;
	unsigned phone_count;
	struct phone *phones; /* caller and callee of call 0, of call 1, ... */
	int epoll_fd;
	uint32_t run;
	uint64_t total;   /* packets to be sent in a run */
	uint64_t step_ns; /* from one to the next, over all phones */
	uint64_t start_ns, tick_ns;
	/* of this run: */
	uint64_t sent, send_errors, received, duplicates, strange, timed;
	uint64_t late_max_ns;
	uint32_t *delay_us10; /* tenths of a microsecond */
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t = {0};

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- sockets ---- */

static void open_phone(struct load *load, unsigned index)
{
	struct phone *phone = &load->phones[index];
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
	const int on = 1, bytes = 256 * 1024;

	phone->fd =
		socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (phone->fd < 0)
		tool_fail("socket");
	if (inet_pton(AF_INET, load->o.ip[index % 2], &address.sin_addr) != 1) {
		errno = EINVAL;
		tool_fail(load->o.ip[index % 2]);
	}
	if (bind(phone->fd, (struct sockaddr *)&address, len) < 0 ||
	    getsockname(phone->fd, (struct sockaddr *)&address, &len) < 0)
		tool_fail(load->o.ip[index % 2]);
	phone->port = ntohs(address.sin_port);
	(void)setsockopt(phone->fd, SOL_SOCKET, SO_RCVBUF, &bytes,
			 sizeof(bytes));
	if (setsockopt(phone->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) <
		    0 ||
	    epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, phone->fd, &event) < 0)
		tool_fail("socket");
}

static void open_phones(struct load *load)
{
	for (unsigned party = 0; party < 2; party++) {
		tool_enter(load->o.netns[party]);
		for (unsigned i = party; i < load->phone_count; i += 2)
			open_phone(load, i);
	}
	for (unsigned i = 0; i < load->phone_count; i += 2)
		(void)printf("%u %u\n", load->phones[i].port,
			     load->phones[i + 1].port);
	(void)fflush(stdout);
}

static bool read_destination(const struct phone *phone)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	char ip[64];
	unsigned port;

	if (scanf("%63s %u", ip, &port) != 2)
		return false;
	address.sin_port = htons((uint16_t)port);
	if (inet_pton(AF_INET, ip, &address.sin_addr) != 1 || port > 65535) {
		errno = EINVAL;
		tool_fail(ip);
	}
	if (connect(phone->fd, (struct sockaddr *)&address, sizeof(address)) <
	    0)
		tool_fail("connect");
	return true;
}

static bool read_destinations(const struct load *load)
{
	for (unsigned i = 0; i < load->phone_count; i++)
		if (!read_destination(&load->phones[i]))
			return false;
	return true;
}

/* ---- sending ---- */

static void put_be(uint8_t *to, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static void send_packet(struct load *load, uint64_t index)
{
	uint8_t packet[PACKET_MAX] = {0x80, 0};
	unsigned i = (unsigned)(index % load->phone_count);
	struct mark mark = {.magic = MAGIC,
			    .run = load->run,
			    .phone = i,
			    .number = (uint32_t)(index / load->phone_count)};

	put_be(packet + 2, mark.number & 0xffff, 2);
	put_be(packet + 4, mark.number * 160, 4);
	put_be(packet + 8, (load->run << 24) + i + 1, 4); /* SSRC */
	mark.sent_ns = now_ns(CLOCK_REALTIME);
	memcpy(packet + RTP_HEADER, &mark, sizeof(mark));
	if (send(load->phones[i].fd, packet, RTP_HEADER + load->o.payload, 0) <
	    0)
		load->send_errors++;
}

static void send_due(struct load *load)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC);

	while (load->sent < load->total) {
		uint64_t due = load->start_ns + load->sent * load->step_ns;

		if (due > now)
			return;
		if (now - due > load->late_max_ns)
			load->late_max_ns = now - due;
		send_packet(load, load->sent++);
	}
}

/* ---- receiving ---- */

static uint64_t kernel_time(struct msghdr *msg)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	struct timespec t;

	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET ||
	    cmsg->cmsg_type != SCM_TIMESTAMPNS)
		return now_ns(CLOCK_REALTIME);
	memcpy(&t, CMSG_DATA(cmsg), sizeof(t));
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void take_packet(struct load *load, unsigned index, const void *packet,
			size_t len, uint64_t arrived_ns)
{
	struct mark mark;
	uint8_t *byte, bit;

	if (len != RTP_HEADER + load->o.payload) {
		load->strange++;
		return;
	}
	memcpy(&mark, (const uint8_t *)packet + RTP_HEADER, sizeof(mark));
	if (mark.magic != MAGIC || mark.run != load->run ||
	    mark.phone != (index ^ 1) ||
	    mark.number >= load->total / load->phone_count) {
		load->strange++;
		return;
	}
	byte = &load->phones[index].seen[mark.number / 8];
	bit = (uint8_t)(1u << mark.number % 8);
	if (*byte & bit) {
		load->duplicates++;
		return;
	}
	*byte |= bit;
	load->received++;
	if (mark.number < load->o.warm_up)
		return;
	load->delay_us10[load->timed++] =
		arrived_ns > mark.sent_ns
			? (uint32_t)((arrived_ns - mark.sent_ns) / 100)
			: 0;
}

static void receive(struct load *load, unsigned index)
{
	uint8_t packet[PACKET_MAX];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct timespec))];
	} control;
	struct iovec iov = {packet, sizeof(packet)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	ssize_t len = recvmsg(load->phones[index].fd, &msg, 0);

	if (len >= 0)
		take_packet(load, index, packet, (size_t)len,
			    kernel_time(&msg));
}

/* ---- a run ---- */

static uint64_t cpu_ns(clockid_t clock)
{
	return clock ? now_ns(clock) : 0;
}

/* It sleeps until the next tick and then takes all that has come: were it
 * woken by each packet, the relay would pay for that, since what it sends over
 * veth or loopback is received in its own time. */
static void turn(struct load *load)
{
	struct epoll_event events[EVENTS_MAX];
	int count;

	load->tick_ns += TICK_US * NS_PER_US;
	tool_sleep_until(load->tick_ns);
	do {
		count = epoll_wait(load->epoll_fd, events, EVENTS_MAX, 0);
		for (int i = 0; i < count; i++)
			receive(load, events[i].data.u32);
		send_due(load);
	} while (count == EVENTS_MAX);
}

static void start_run(struct load *load)
{
	load->run++;
	load->sent = load->send_errors = load->received = 0;
	load->duplicates = load->strange = load->late_max_ns = 0;
	load->timed = 0;
	for (unsigned i = 0; i < load->phone_count; i++)
		memset(load->phones[i].seen, 0,
		       load->total / load->phone_count / 8 + 1);
	load->start_ns = load->tick_ns = now_ns(CLOCK_MONOTONIC);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_us(const struct load *load, double percent)
{
	if (load->timed == 0)
		return 0;
	return load->delay_us10[(uint64_t)((double)(load->timed - 1) * percent /
					   100)] /
	       10.0;
}

static void print_run(struct load *load, uint64_t wall_ns, uint64_t own_ns,
		      uint64_t pid_ns)
{
	double wall = (double)wall_ns;

	qsort(load->delay_us10, load->timed, sizeof(load->delay_us10[0]),
	      compare);
	(void)printf("{\"sent\": %" PRIu64 ", \"received\": %" PRIu64
		     ", \"lost\": %" PRIu64 ", \"duplicates\": %" PRIu64
		     ", \"strange\": %" PRIu64 ", \"send_errors\": %" PRIu64
		     ", \"delay_p50_us\": %.1f, \"delay_p99_us\": %.1f"
		     ", \"delay_max_us\": %.1f, \"sender_late_max_us\": %.1f"
		     ", \"load_cpu_percent\": %.1f, \"cpu_percent\": %.1f}\n",
		     load->sent, load->received, load->sent - load->received,
		     load->duplicates, load->strange, load->send_errors,
		     percentile_us(load, 50), percentile_us(load, 99),
		     percentile_us(load, 100),
		     (double)load->late_max_ns / (double)NS_PER_US,
		     100 * (double)own_ns / wall, 100 * (double)pid_ns / wall);
	(void)fflush(stdout);
}

static void run(struct load *load, clockid_t pid_clock)
{
	uint64_t pid_ns = cpu_ns(pid_clock);
	uint64_t own_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t end_ns, wall_ns;

	start_run(load);
	while (load->sent < load->total)
		turn(load);
	end_ns = now_ns(CLOCK_MONOTONIC);
	wall_ns = end_ns - load->start_ns;
	own_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID) - own_ns;
	pid_ns = cpu_ns(pid_clock) - pid_ns;
	while (now_ns(CLOCK_MONOTONIC) < end_ns + DRAIN_NS)
		turn(load);
	print_run(load, wall_ns, own_ns, pid_ns);
}

/* ---- start ---- */

static unsigned number(const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value < min || value > max) {
		(void)fprintf(stderr, "media_load: %s: %u to %u\n", text, min,
			      max);
		exit(2);
	}
	return (unsigned)value;
}

static void read_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{"calls", required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 's'},
		{"rate", required_argument, NULL, 'r'},
		{"payload", required_argument, NULL, 'b'},
		{"caller-ip", required_argument, NULL, 'a'},
		{"callee-ip", required_argument, NULL, 'c'},
		{"caller-netns", required_argument, NULL, 'A'},
		{"callee-netns", required_argument, NULL, 'C'},
		{"pid", required_argument, NULL, 'p'},
		{"warm-up", required_argument, NULL, 'w'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			o->calls = number(optarg, 1, 50000);
			break;
		case 's':
			o->seconds = number(optarg, 1, 3600);
			break;
		case 'r':
			o->rate = number(optarg, 1, 1000);
			break;
		case 'b':
			o->payload = number(optarg, sizeof(struct mark), 1400);
			break;
		case 'a':
			o->ip[0] = optarg;
			break;
		case 'c':
			o->ip[1] = optarg;
			break;
		case 'A':
			o->netns[0] = optarg;
			break;
		case 'C':
			o->netns[1] = optarg;
			break;
		case 'p':
			o->pid = (pid_t)number(optarg, 1, INT32_MAX);
			break;
		case 'w':
			o->warm_up = number(optarg, 0, 100000);
			break;
		default:
			exit(2);
		}
	}
}

static void *allocate(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		tool_fail("memory");
	return p;
}

static void prepare(struct load *load)
{
	const struct options *o = &load->o;
	uint64_t each = (uint64_t)o->rate * o->seconds;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	load->phone_count = 2 * o->calls;
	load->total = each * load->phone_count;
	load->step_ns = NS_PER_S / o->rate / load->phone_count;
	load->phones = allocate(load->phone_count, sizeof(load->phones[0]));
	load->delay_us10 = allocate(load->total, sizeof(load->delay_us10[0]));
	for (unsigned i = 0; i < load->phone_count; i++)
		load->phones[i].seen = allocate(each / 8 + 1, 1);
	/* Pages that are touched now are not waited for while it measures. */
	memset(load->delay_us10, 1, load->total * sizeof(load->delay_us10[0]));
}

int main(int argc, char **argv)
{
	struct load load = {.o = {.calls = 500,
				  .seconds = 10,
				  .rate = 50,
				  .payload = 160,
				  .ip = {"127.0.0.1", "127.0.0.1"}}};
	clockid_t pid_clock = 0;

	(void)prctl(PR_SET_TIMERSLACK, 1000ul);
	read_options(argc, argv, &load.o);
	if (load.o.pid && clock_getcpuclockid(load.o.pid, &pid_clock) != 0) {
		errno = ESRCH;
		tool_fail("--pid");
	}
	prepare(&load);
	load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (load.epoll_fd < 0)
		tool_fail("epoll");
	open_phones(&load);
	while (read_destinations(&load))
		run(&load, pid_clock);
	for (unsigned i = 0; i < load.phone_count; i++) {
		(void)close(load.phones[i].fd);
		free(load.phones[i].seen);
	}
	(void)close(load.epoll_fd);
	free(load.phones);
	free(load.delay_us10);
	return 0;
}
