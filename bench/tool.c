#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

void tool_fail(const char *what)
{
	(void)fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name,
		      what, strerror(errno));
	exit(1);
}

uint32_t tool_number(const char *text, uint32_t min, uint32_t max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value < min || value > max) {
		(void)fprintf(stderr, "%s: %s: %u to %u\n",
			      program_invocation_short_name, text, min, max);
		exit(2);
	}
	return (uint32_t)value;
}

void tool_pin(uint32_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		tool_fail("--cpu");
}

void tool_enter(const char *netns)
{
	char path[256];
	int fd;

	if (!netns)
		return;
	(void)snprintf(path, sizeof(path), "/run/netns/%s", netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		tool_fail(path);
	(void)close(fd);
}

void tool_end_with_parent(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() == 1)
		exit(1);
}

uint32_t tool_interface(const char *name)
{
	uint32_t index = if_nametoindex(name);

	if (index == 0)
		tool_fail(name);
	return index;
}

void tool_own_mac(uint8_t ret[static 6], const char *interface)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s",
		       interface);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		tool_fail(interface);
	(void)close(fd);
	memcpy(ret, request.ifr_hwaddr.sa_data, 6);
}

void tool_read_mac(uint8_t ret[static 6], const char *text)
{
	errno = EINVAL;
	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &ret[0],
		   &ret[1], &ret[2], &ret[3], &ret[4], &ret[5]) != 6)
		tool_fail(text);
}

uint64_t tool_now_ns(void)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void tool_sleep_until(uint64_t mono_ns)
{
	struct timespec t = {.tv_sec = (time_t)(mono_ns / NS_PER_S),
			     .tv_nsec = (long)(mono_ns % NS_PER_S)};

	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

void tool_read_flows(struct packet_flow *flows, uint32_t count)
{
	char source[64], destination[64];
	unsigned port[2];

	for (uint32_t i = 0; i < count; i++) {
		errno = EINVAL;
		if (scanf("%63s %u %63s %u", source, &port[0], destination,
			  &port[1]) != 4 ||
		    inet_pton(AF_INET, source, &flows[i].source_be) != 1 ||
		    inet_pton(AF_INET, destination, &flows[i].destination_be) !=
			    1 ||
		    port[0] > 65535 || port[1] > 65535)
			tool_fail("a flow is \"ip port ip port\"");
		flows[i].source_port_be = htons((uint16_t)port[0]);
		flows[i].destination_port_be = htons((uint16_t)port[1]);
	}
}

void tool_run_xdp(const struct bpf_program *program, const char *interface)
{
	struct bpf_link *link = bpf_program__attach_xdp(
		program, (int)tool_interface(interface));

	if (!link)
		tool_fail(interface);
	(void)puts("ok");
	(void)fflush(stdout);
	while (getchar() != EOF)
		;
	(void)bpf_link__destroy(link);
}
