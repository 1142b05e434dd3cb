/**
 * @file tests/bpf/test_veth.c  The program for TC between real interfaces
 *
 * Three network namespaces: a caller, the relay's, a callee. What a socket
 * sends over veth has a checksum that nobody has computed yet; the relay's way
 * out computes it in software (its offload is off), and the callee's kernel
 * verifies it. What does not arrive there is sent again, until a deadline.
 */
#include "bpf_scene.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>

#include <bpf/libbpf.h>

#define DEADLINE_MS 10000
#define AGAIN_MS 100
#define CALLER_PORT 40000
#define SENT_FROM (SCENE_PORT + 2)
#define CALLEE_PORT 30000

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif

enum { CALLER, RELAY, CALLEE, NAMESPACES };

struct net {
	struct scene *scene;
	int namespaces[NAMESPACES];
	const char *reason; /* why there is none */
	bool has_vlan;
};

/* ---- the network ---- */

static int run_ip(char *words)
{
	char *argv[32] = {"ip"};
	size_t count = 1;
	pid_t pid;
	int status;

	for (char *word = strtok(words, " "); word && count < 31;
	     word = strtok(NULL, " "))
		argv[count++] = word;
	pid = fork();
	if (pid == 0) {
		execvp("ip", argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return status;
}

/* In that namespace. */
static int ip(struct net *net, int where, const char *command)
{
	char words[256];
	int status;

	snprintf(words, sizeof(words), "%s", command);
	if (setns(net->namespaces[where], CLONE_NEWNET) < 0)
		return -1;
	status = run_ip(words);
	if (setns(net->namespaces[RELAY], CLONE_NEWNET) < 0)
		return -1;
	if (status)
		print_error("ip %s: %d\n", command, status);
	return status;
}

static int open_namespaces(struct net *net)
{
	static const int order[] = {CALLER, CALLEE, RELAY};

	for (unsigned i = 0; i < NAMESPACES; i++) {
		if (unshare(CLONE_NEWNET) < 0)
			return -1;
		net->namespaces[order[i]] =
			open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		if (net->namespaces[order[i]] < 0)
			return -1;
	}
	return 0;
}

struct command {
	int where;
	const char *words;
};

static const struct command commands[] = {
	{RELAY, "link add to_caller address 02:00:00:00:01:01 type veth "
		"peer name caller address 02:00:00:00:01:02"},
	{RELAY, "link add to_callee address 02:00:00:00:02:01 type veth "
		"peer name callee address 02:00:00:00:02:02"},
	{RELAY, "addr add 10.0.1.1/24 dev to_caller"},
	{RELAY, "addr add 10.0.2.1/24 dev to_callee"},
	{RELAY, "addr add fd00:1::1/64 dev to_caller nodad"},
	{RELAY, "addr add fd00:2::1/64 dev to_callee nodad"},
	{RELAY, "link set to_caller up"},
	{RELAY, "link set to_callee up"},
	{CALLER, "addr add 10.0.1.2/24 dev caller"},
	{CALLER, "addr add fd00:1::2/64 dev caller nodad"},
	{CALLER, "link set caller up"},
	{CALLER, "neigh add 10.0.1.1 lladdr 02:00:00:00:01:01 dev caller"},
	{CALLER, "neigh add fd00:1::1 lladdr 02:00:00:00:01:01 dev caller"},
	{CALLEE, "addr add 10.0.2.2/24 dev callee"},
	{CALLEE, "addr add fd00:2::2/64 dev callee nodad"},
	{CALLEE, "link set callee up"},
};

/* A kernel may have no VLANs. */
static const struct command vlan_commands[] = {
	{RELAY, "link add link to_callee name to_callee.9 type vlan id 9"},
	{RELAY, "link set to_callee.9 up"},
	{CALLEE, "link add link callee name callee.9 type vlan id 9"},
	{CALLEE, "addr add 10.0.9.2/24 dev callee.9"},
	{CALLEE, "addr add fd00:9::2/64 dev callee.9 nodad"},
	{CALLEE, "link set callee.9 up"},
};

#define VLAN_COMMANDS (sizeof(vlan_commands) / sizeof(vlan_commands[0]))

static int move_away(struct net *net, const char *interface, int where)
{
	char words[128];

	snprintf(words, sizeof(words), "link set %s netns /proc/%d/fd/%d",
		 interface, getpid(), net->namespaces[where]);
	return ip(net, RELAY, words);
}

/* The first two make the pairs. */
static int build(struct net *net)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (i == 2 && (move_away(net, "caller", CALLER) ||
			       move_away(net, "callee", CALLEE)))
			return -1;
		if (ip(net, commands[i].where, commands[i].words))
			return -1;
	}
	net->has_vlan = true;
	for (size_t i = 0; net->has_vlan && i < VLAN_COMMANDS; i++)
		net->has_vlan = !ip(net, vlan_commands[i].where,
				    vlan_commands[i].words);
	return 0;
}

/* The last one to send computes UDP's checksum itself. */
static int stop_offload(const char *interface)
{
	struct ethtool_value off = {.cmd = ETHTOOL_STXCSUM, .data = 0};
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	request.ifr_data = (void *)&off;
	error = ioctl(fd, SIOCETHTOOL, &request);
	close(fd);
	return error;
}

static int attach(struct scene *scene, const char *interface)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, options);

	hook.ifindex = (int)if_nametoindex(interface);
	options.prog_fd = scene_program_fd(scene, SCENE_TC);
	if (bpf_tc_hook_create(&hook))
		return -1;
	return bpf_tc_attach(&hook, &options);
}

static int net_start(void **state)
{
	static struct net net;
	void *scene = NULL;

	*state = &net;
	if (scene_start(&scene) < 0)
		return -1;
	net.scene = scene;
	if (!scene) {
		net.reason = "no BPF, or not root";
		return 0;
	}
	if (open_namespaces(&net) < 0) {
		net.reason = "no network namespaces";
		return 0;
	}
	if (build(&net)) {
		net.reason = "no veth, or no command ip";
		return 0;
	}
	if (attach(scene, "to_caller")) {
		net.reason = "no clsact here";
		return 0;
	}
	return stop_offload("to_callee");
}

static int net_stop(void **state)
{
	struct net *net = *state;
	void *scene = net->scene;

	for (unsigned i = 0; i < NAMESPACES; i++)
		if (net->namespaces[i] > 0)
			close(net->namespaces[i]);
	return scene_stop(&scene);
}

static struct net *net_of(void **state)
{
	struct net *net = *state;

	if (net->reason) {
		print_message("skipped: %s\n", net->reason);
		skip();
	}
	scene_reset(net->scene);
	return net;
}

/* ---- sockets ---- */

static struct sockaddr_storage address(const char *text, uint16_t port,
				       socklen_t *ret_len)
{
	struct sockaddr_storage s = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&s;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*ret_len = sizeof(*v4);
		return s;
	}
	assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	*ret_len = sizeof(*v6);
	return s;
}

static int bound(struct net *net, int where, const char *ip_text, uint16_t port)
{
	socklen_t len;
	struct sockaddr_storage s = address(ip_text, port, &len);
	int fd;

	assert_int_equal(setns(net->namespaces[where], CLONE_NEWNET), 0);
	fd = socket(s.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&s, len), 0);
	assert_int_equal(setns(net->namespaces[RELAY], CLONE_NEWNET), 0);
	return fd;
}

static int packet_socket(struct net *net, int where, const char *interface)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET};
	int fd;

	assert_int_equal(setns(net->namespaces[where], CLONE_NEWNET), 0);
	at.sll_ifindex = (int)if_nametoindex(interface);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(setns(net->namespaces[RELAY], CLONE_NEWNET), 0);
	return fd;
}

static void aim(int fd, const char *ip_text, uint16_t port)
{
	socklen_t len;
	struct sockaddr_storage s = address(ip_text, port, &len);

	assert_int_equal(connect(fd, (struct sockaddr *)&s, len), 0);
}

/* ---- a call ---- */

/** Where the packets come from and go to. */
struct line {
	const char *caller, *local, *src, *callee;
	const char *out; /* the interface to leave by */
	int options;
	int flags; /* of send() */
};

static void put_ip(uint8_t *to, const char *text)
{
	if (!strchr(text, ':'))
		assert_int_equal(inet_pton(AF_INET, text, to), 1);
	else
		assert_int_equal(inet_pton(AF_INET6, text, to), 1);
}

static void install(struct net *net, const struct line *line)
{
	static const uint8_t dst_mac[] = {2, 0, 0, 0, 2, 2};
	static const uint8_t src_mac[] = {2, 0, 0, 0, 2, 1};
	struct scene *s = net->scene;
	struct flow_hop *hop = &s->hops[SCENE_HOP];
	struct way way = {.remote_port = CALLER_PORT,
			  .src_port = SENT_FROM,
			  .dst_port = CALLEE_PORT};

	put_ip(way.remote, line->caller);
	put_ip(way.local, line->local);
	put_ip(way.src, line->src);
	put_ip(way.dst, line->callee);
	memcpy(hop->dst_mac, dst_mac, 6);
	memcpy(hop->src_mac, src_mac, 6);
	hop->ifindex = if_nametoindex(line->out);
	assert_int_not_equal(hop->ifindex, 0);
	scene_install(s, strchr(line->local, ':') ? 6 : 4, &way);
}

/** What is sent, and what is to arrive of it. */
struct parcel {
	const uint8_t *sent, *payload;
	size_t sent_len, payload_len;
	const char *source;
	uint16_t source_port;
	int flags;
};

static bool arrives(int to, const struct parcel *p)
{
	static uint8_t got[2000];
	struct pollfd ready = {.fd = to, .events = POLLIN};
	socklen_t wanted_len, len = sizeof(struct sockaddr_storage);
	struct sockaddr_storage came = {0};
	struct sockaddr_storage wanted =
		address(p->source, p->source_port, &wanted_len);

	if (poll(&ready, 1, AGAIN_MS) <= 0)
		return false;
	assert_int_equal(recvfrom(to, got, sizeof(got), 0,
				  (struct sockaddr *)&came, &len),
			 p->payload_len);
	assert_memory_equal(got, p->payload, p->payload_len);
	assert_memory_equal(&came, &wanted, wanted_len);
	return true;
}

static void expect_arrival(int from, int to, const struct parcel *p)
{
	uint64_t deadline_ns = scene_now_ns() + DEADLINE_MS * 1000000ull;

	do {
		assert_true(scene_now_ns() < deadline_ns);
		assert_int_equal(send(from, p->sent, p->sent_len, p->flags),
				 p->sent_len);
	} while (!arrives(to, p));
}

static void drain(int fd)
{
	uint8_t bytes[2000];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) >= 0)
		;
}

static void call(void **state, const struct line *line)
{
	/* Among them what is shorter than the headers that are looked at. */
	static const size_t lengths[] = {1, 2, 11, 12, 19, 21, 172, 999, 1400};
	struct net *net = net_of(state);
	uint8_t bytes[1400];
	struct numbers n = {.state = 1};
	int from = bound(net, CALLER, line->caller, CALLER_PORT);
	int to = bound(net, CALLEE, line->callee, CALLEE_PORT), one = 1;
	int family = strchr(line->local, ':') ? 6 : 4;

	numbers_fill(&n, bytes, sizeof(bytes));
	bytes[0] = 0x80;
	bytes[1] = 97;
	install(net, line);
	aim(from, line->local, SCENE_PORT);
	if (line->options)
		assert_int_equal(setsockopt(from, SOL_SOCKET, line->options,
					    &one, sizeof(one)),
				 0);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct parcel parcel = {.sent = bytes,
					.payload = bytes,
					.sent_len = lengths[i],
					.payload_len = lengths[i],
					.source = line->src,
					.source_port = SENT_FROM,
					.flags = line->flags};

		expect_arrival(from, to, &parcel);
		drain(to);
	}
	/* From what is behind the headers. */
	assert_int_equal(scene_counters(net->scene, family)->payload_type, 97);
	assert_true(scene_counters(net->scene, family)->packets >=
		    sizeof(lengths) / sizeof(lengths[0]));
	close(from);
	close(to);
}

static const struct line plain4 = {.caller = "10.0.1.2",
				   .local = "10.0.1.1",
				   .src = "10.0.2.1",
				   .callee = "10.0.2.2",
				   .out = "to_callee"};
static const struct line plain6 = {.caller = "fd00:1::2",
				   .local = "fd00:1::1",
				   .src = "fd00:2::1",
				   .callee = "fd00:2::2",
				   .out = "to_callee"};

static void
test_a_checksum_that_nobody_has_computed_yet_arrives_right(void **state)
{
	call(state, &plain4);
	call(state, &plain6);
}

static void test_a_socket_without_checksums_is_forwarded_without(void **state)
{
	struct line line = plain4;

	line.options = SO_NO_CHECK;
	call(state, &line);
}

/* The payload stands in pages of the sender's, behind the headers. */
static void test_a_packet_in_pieces_is_read_whole(void **state)
{
	struct line line4 = plain4, line6 = plain6;

	line4.options = line6.options = SO_ZEROCOPY;
	line4.flags = line6.flags = MSG_ZEROCOPY;
	call(state, &line4);
	call(state, &line6);
}

/* A frame as it stands on the wire. */
static void tagged(void **state, const struct line *line, int family)
{
	static const uint8_t payload[] = {0x80, 0, 1, 2, 3};
	struct net *net = net_of(state);
	int from, to = bound(net, CALLEE, line->callee, CALLEE_PORT);
	struct way way = {.remote_port = CALLER_PORT};
	struct frame_spec spec;
	uint8_t frame[FRAME_MOST];
	struct parcel parcel = {.sent = frame,
				.payload = payload,
				.payload_len = sizeof(payload),
				.source = line->src,
				.source_port = SENT_FROM};

	install(net, line);
	put_ip(way.remote, line->caller);
	put_ip(way.local, line->local);
	spec = scene_sent(family, &way, payload, sizeof(payload));
	memcpy(spec.dst_mac, (uint8_t[]){2, 0, 0, 0, 1, 1}, 6);
	spec.tagged = true;
	spec.tci = 7;
	parcel.sent_len = frame_spec_build(&spec, frame);
	from = packet_socket(net, CALLER, "caller");
	expect_arrival(from, to, &parcel);
	close(from);
	close(to);
}

static void test_a_tag_that_the_kernel_took_off_does_not_leave(void **state)
{
	tagged(state, &plain4, 4);
	tagged(state, &plain6, 6);
}

static void test_a_way_out_through_a_vlan_is_tagged(void **state)
{
	struct line line4 = plain4, line6 = plain6;

	if (!net_of(state)->has_vlan) {
		print_message("skipped: this kernel has no VLANs\n");
		skip();
	}
	line4.src = "10.0.9.1";
	line4.callee = "10.0.9.2";
	line4.out = "to_callee.9";
	call(state, &line4);
	line6.src = "fd00:9::1";
	line6.callee = "fd00:9::2";
	line6.out = "to_callee.9";
	call(state, &line6);
	/* From one VLAN into another. */
	tagged(state, &line4, 4);
	tagged(state, &line6, 6);
}

/* With everything in place but a flow. */
static void test_what_has_no_flow_reaches_our_socket_as_it_was(void **state)
{
	static const struct line *const lines[] = {&plain4, &plain6};

	for (unsigned i = 0; i < 2; i++) {
		const struct line *line = lines[i];
		struct net *net = net_of(state);
		int from = bound(net, CALLER, line->caller, CALLER_PORT);
		int ours = bound(net, RELAY, line->local, SCENE_PORT);
		static const uint8_t bytes[172] = {0x80};
		struct parcel parcel = {.sent = bytes,
					.payload = bytes,
					.sent_len = sizeof(bytes),
					.payload_len = sizeof(bytes),
					.source = line->caller,
					.source_port = CALLER_PORT};

		install(net, line);
		net->scene->control->lease_ns = 0;
		aim(from, line->local, SCENE_PORT);
		expect_arrival(from, ours, &parcel);
		close(from);
		close(ours);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_checksum_that_nobody_has_computed_yet_arrives_right),
		cmocka_unit_test(
			test_a_socket_without_checksums_is_forwarded_without),
		cmocka_unit_test(test_a_packet_in_pieces_is_read_whole),
		cmocka_unit_test(
			test_a_tag_that_the_kernel_took_off_does_not_leave),
		cmocka_unit_test(test_a_way_out_through_a_vlan_is_tagged),
		cmocka_unit_test(
			test_what_has_no_flow_reaches_our_socket_as_it_was),
	};

	return cmocka_run_group_tests(tests, net_start, net_stop);
}
