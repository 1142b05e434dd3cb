/**
 * @file bench/ng_load.c  The load of `mediaproxy bench signalling` for
 * rtpengine
 *
 * Sets up and ends calls over rtpengine's NG protocol (bencoded dictionaries in
 * UDP datagrams), each by offer, answer and delete. Every connection has one
 * request in flight, as there. Prints one line of JSON with the names that
 * `mediaproxy bench signalling --json` has.
 *
 * Usage: ng_load PORT CONNECTIONS SECONDS PID
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ull
#define CONNECTIONS_MAX 256
#define SAMPLES_MAX 4000000
#define LOST_NS (2 * NS_PER_S)

enum step { OFFER, ANSWER, DELETE, STEPS };

static const char *const step_names[STEPS] = {"update_request", "update_reply",
					      "remove"};

struct connection {
	int fd;
	enum step step;
	unsigned call;
	uint64_t sent_ns;
	char cookie[32];
};

struct load {
	struct connection connections[CONNECTIONS_MAX];
	struct pollfd polls[CONNECTIONS_MAX];
	unsigned count, in_flight;
	uint64_t until_ns, calls, failed;
	uint32_t *latency_us[STEPS];
	size_t samples[STEPS];
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t = {0};

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	(void)fprintf(stderr, "ng_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- requests ---- */

struct text {
	char bytes[2048];
	size_t len;
};

static void add(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->bytes + t->len, sizeof(t->bytes) - t->len, format,
		      args);
	va_end(args);
	t->len += (size_t)n;
}

static void add_pair(struct text *t, const char *key, const char *value)
{
	add(t, "%zu:%s%zu:%s", strlen(key), key, strlen(value), value);
}

static void add_sdp(struct text *t, const char *ip, unsigned port)
{
	struct text sdp = {.len = 0};

	add(&sdp,
	    "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"
	    "m=audio %u RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n",
	    ip, ip, port);
	add_pair(t, "sdp", sdp.bytes);
}

static void send_request(struct connection *c, unsigned index)
{
	static const char *const commands[STEPS] = {"offer", "answer",
						    "delete"};
	struct text t = {.len = 0};
	char id[64];

	(void)snprintf(c->cookie, sizeof(c->cookie), "%u_%u_%d", index, c->call,
		       (int)c->step);
	(void)snprintf(id, sizeof(id), "bench-%u-%u@example.com", index,
		       c->call);
	add(&t, "%s d", c->cookie);
	add_pair(&t, "call-id", id);
	add_pair(&t, "command", commands[c->step]);
	add_pair(&t, "from-tag", "a");
	if (c->step != DELETE)
		add_sdp(&t, "192.0.2.1", c->step == OFFER ? 5000 : 6000);
	if (c->step != OFFER)
		add_pair(&t, "to-tag", "b");
	add(&t, "e");
	c->sent_ns = now_ns(CLOCK_MONOTONIC);
	if (send(c->fd, t.bytes, t.len, 0) < 0)
		fail("send");
}

/* ---- a run ---- */

static void go_on(struct load *load, struct connection *c, bool ok)
{
	if (!ok)
		load->failed++;
	else if (c->step == DELETE)
		load->calls++;
	if (ok && c->step != DELETE) {
		c->step++;
	} else {
		c->step = OFFER;
		c->call++;
		if (now_ns(CLOCK_MONOTONIC) >= load->until_ns) {
			load->in_flight--;
			c->sent_ns = 0;
			return;
		}
	}
	send_request(c, (unsigned)(c - load->connections));
}

static void reply_came(struct load *load, struct connection *c)
{
	char reply[8192];
	ssize_t len = recv(c->fd, reply, sizeof(reply) - 1, MSG_DONTWAIT);
	size_t cookie_len = strlen(c->cookie);
	uint64_t us;

	if (len < 0 || c->sent_ns == 0)
		return;
	reply[len] = '\0';
	if (strncmp(reply, c->cookie, cookie_len) != 0 ||
	    reply[cookie_len] != ' ')
		return; /* of a request that was given up */
	us = (now_ns(CLOCK_MONOTONIC) - c->sent_ns) / 1000;
	if (load->samples[c->step] < SAMPLES_MAX)
		load->latency_us[c->step][load->samples[c->step]++] =
			(uint32_t)us;
	go_on(load, c, strstr(reply, "6:result2:ok") != NULL);
}

static void run(struct load *load)
{
	for (unsigned i = 0; i < load->count; i++)
		send_request(&load->connections[i], i);
	while (load->in_flight > 0) {
		uint64_t now;

		if (poll(load->polls, load->count, 100) < 0)
			fail("poll");
		for (unsigned i = 0; i < load->count; i++)
			if (load->polls[i].revents)
				reply_came(load, &load->connections[i]);
		now = now_ns(CLOCK_MONOTONIC);
		for (unsigned i = 0; i < load->count; i++) {
			struct connection *c = &load->connections[i];

			if (c->sent_ns != 0 && now > c->sent_ns + LOST_NS)
				go_on(load, c, false);
		}
	}
}

static void open_connections(struct load *load, uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	for (unsigned i = 0; i < load->count; i++) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		if (fd < 0 ||
		    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
			fail("socket");
		load->connections[i].fd = fd;
		load->polls[i] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	for (unsigned step = 0; step < STEPS; step++) {
		load->latency_us[step] = malloc(SAMPLES_MAX * sizeof(uint32_t));
		if (!load->latency_us[step])
			fail("memory");
	}
	load->in_flight = load->count;
}

/* ---- the result ---- */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t percentile(const struct load *load, unsigned step,
			   unsigned percent)
{
	size_t n = load->samples[step];

	return n ? load->latency_us[step][(n - 1) * percent / 100] : 0;
}

static void print(struct load *load, double seconds, double cpu_ns)
{
	(void)printf("{\"connections\": %u, \"calls\": %" PRIu64
		     ", \"seconds\": %.3f, \"calls_per_second\": %.1f, "
		     "\"failed_calls\": %" PRIu64 ", \"cpu_us_per_call\": %.1f",
		     load->count, load->calls, seconds,
		     (double)load->calls / seconds, load->failed,
		     load->calls ? cpu_ns / 1000 / (double)load->calls : 0);
	for (unsigned step = 0; step < STEPS; step++) {
		qsort(load->latency_us[step], load->samples[step],
		      sizeof(uint32_t), compare);
		(void)printf(", \"%s\": {\"answers\": %zu, \"p50_us\": %u, "
			     "\"p99_us\": %u}",
			     step_names[step], load->samples[step],
			     percentile(load, step, 50),
			     percentile(load, step, 99));
	}
	(void)printf("}\n");
}

int main(int argc, char **argv)
{
	static struct load load;
	uint64_t start_ns, cpu_ns;
	clockid_t clock;

	if (argc != 5) {
		(void)fprintf(stderr,
			      "Usage: ng_load PORT CONNECTIONS SECONDS PID\n");
		return 2;
	}
	load.count = (unsigned)atoi(argv[2]);
	if (load.count < 1 || load.count > CONNECTIONS_MAX)
		load.count = 8;
	if (clock_getcpuclockid(atoi(argv[4]), &clock) != 0)
		fail("PID");
	open_connections(&load, (uint16_t)atoi(argv[1]));
	start_ns = now_ns(CLOCK_MONOTONIC);
	load.until_ns = start_ns + (unsigned)atoi(argv[3]) * NS_PER_S;
	cpu_ns = now_ns(clock);
	run(&load);
	print(&load, (double)(now_ns(CLOCK_MONOTONIC) - start_ns) / NS_PER_S,
	      (double)(now_ns(clock) - cpu_ns));
	return 0;
}
