/* The kernel engine as a worker sees it, with a host that sends and receives:
 * from asking for a way to what is settled. */
#include <netinet/in.h>
#include <semaphore.h>
#include <sys/socket.h>

#include "bpf/flow_abi.h"
#include "media/engine.h"
#include "network_scene.h"

#define AWAIT(condition)                                                       \
	do {                                                                   \
		uint64_t until_ = clock_mono_us() + DEADLINE_US;               \
                                                                               \
		while (!(condition)) {                                         \
			assert_true(clock_mono_us() < until_);                 \
			poll(NULL, 0, 5);                                      \
		}                                                              \
	} while (0)

static struct endpoint at(const char *ip, uint16_t port)
{
	struct endpoint ep = {.port = port};

	assert_int_equal(ip_parse(span_of(ip), &ep.ip), 0);
	return ep;
}

static int open_socket(const struct endpoint *local)
{
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(local, &address);
	int fd = socket(local->ip.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	return fd;
}

static int open_socket_there(const struct network *net,
			     const struct endpoint *local)
{
	int fd;

	assert_int_equal(setns(net->there, CLONE_NEWNET), 0);
	fd = open_socket(local);
	assert_int_equal(setns(net->here, CLONE_NEWNET), 0);
	return fd;
}

static void send_from(int fd, const struct endpoint *to)
{
	struct sockaddr_storage address;
	socklen_t len = endpoint_to_sockaddr(to, &address);

	assert_int_equal(sendto(fd, "\x80\x08\0\1\0\0\0\0\0\0\0\7payload", 19,
				0, (struct sockaddr *)&address, len),
			 19);
}

static void assert_received(int fd, const struct endpoint *from)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	struct endpoint source;
	char data[100];

	assert_int_equal(poll(&p, 1, DEADLINE_US / US_PER_MS), 1);
	assert_int_equal(recvfrom(fd, data, sizeof(data), 0,
				  (struct sockaddr *)&address, &len),
			 19);
	source = endpoint_from_sockaddr(&address);
	assert_true(endpoint_equal(&source, from));
}

/* Two parties there, and our ports for them here. */
struct scene {
	struct network net;
	struct engine *engine;
	struct endpoint caller, callee, to_caller, to_callee;
	int caller_fd, callee_fd, to_caller_fd;
	struct engine_item item; /* what the caller sends */
};

/* The test looks at item.news itself. */
static void leave_news(struct engine_item *item, void *arg)
{
}

static void await_news(struct scene *s, unsigned news)
{
	AWAIT(atomic_load(&s->item.news) & news);
	atomic_store(&s->item.news, 0);
}

static void start(struct scene *s, enum media_forwarding forwarding,
		  bool is_ipv4)
{
	const struct media_engine_config config = {
		.forwarding = forwarding,
		.interfaces = "",
		.port_first = 50000,
		.port_end = 50010,
		.lease_us = 30 * US_PER_S,
	};
	const char *here = is_ipv4 ? "192.0.2.1" : "2001:db8::1";
	const char *there = is_ipv4 ? "192.0.2.2" : "2001:db8::2";
	char why[MEDIA_REASON_SIZE];
	int r;

	memset(s, 0, sizeof(*s));
	network_enter(&s->net);
	network_connect(&s->net, "mp0");
	run_in(s->net.here, "ip addr add 192.0.2.1/24 dev mp0;"
			    "ip addr add 2001:db8::1/64 dev mp0 nodad");
	/* Native XDP sees checksums that are not there yet. */
	run_in(s->net.there, "ip addr add 192.0.2.2/24 dev peer;"
			     "ip addr add 2001:db8::2/64 dev peer nodad;"
			     "ethtool -K peer gro on tx off >/dev/null");
	s->caller = at(there, 4000);
	s->callee = at(there, 4002);
	s->to_caller = at(here, 50000);
	s->to_callee = at(here, 50002);
	s->caller_fd = open_socket_there(&s->net, &s->caller);
	s->callee_fd = open_socket_there(&s->net, &s->callee);
	s->to_caller_fd = open_socket(&s->to_caller);
	s->item = (struct engine_item){.local = s->to_caller,
				       .destination = s->callee,
				       .source = s->to_callee.ip};
	list_init(&s->item.in_way);
	list_init(&s->item.in_watched);
	r = kernel_engine_open(&s->engine, &config, why, sizeof(why));
	if (r == -EPERM || r == -ENOSYS) {
		print_message("%s\n", why);
		skip();
	}
	if (r < 0)
		fail_msg("%s", why);
	s->engine->news = leave_news;
	s->engine->ops->reset(s->engine, &s->item.local);
}

static void end(struct scene *s)
{
	s->engine->ops->close(s->engine);
	close(s->caller_fd);
	close(s->callee_fd);
	close(s->to_caller_fd);
	network_leave(&s->net);
}

static void add(struct scene *s)
{
	const struct engine_flow flow = {.remote = s->caller,
					 .source = s->to_callee,
					 .heard_us = clock_mono_us()};

	s->engine->ops->add(s->engine, &s->item, &flow);
}

static struct engine_counters read_counters(struct scene *s)
{
	struct engine_counters counters;

	s->engine->ops->read(s->engine, &s->item.local, clock_mono_us(),
			     &counters);
	return counters;
}

static void forwards_until_taken_back(enum media_forwarding forwarding,
				      bool is_ipv4)
{
	struct engine_counters c;
	struct scene s;

	start(&s, forwarding, is_ipv4);
	s.engine->ops->ask(s.engine, &s.item);
	await_news(&s, ENGINE_ANSWERED);
	/* The neighbour answers sooner or later. */
	AWAIT(atomic_load(&s.item.hop) >= FLOW_HOP_FIRST);
	add(&s);
	for (unsigned i = 0; i < 10; i++) {
		send_from(s.caller_fd, &s.to_caller);
		assert_received(s.callee_fd, &s.to_callee);
	}
	c = read_counters(&s);
	assert_int_equal(c.packets, 10);
	assert_int_equal(c.bytes, 10 * (19 + 8 + (is_ipv4 ? 20 : 40)));
	assert_int_equal(c.payload_type, 8);
	assert_int_equal(c.ssrc, 7);

	s.engine->ops->del(s.engine, &s.item);
	send_from(s.caller_fd, &s.to_caller);
	assert_received(s.to_caller_fd, &s.caller);
	s.engine->ops->settle(s.engine, &s.item);
	await_news(&s, ENGINE_SETTLED);
	assert_int_equal(read_counters(&s).packets, 10);
	end(&s);
}

static void test_tc_forwards_ipv4_until_a_flow_is_taken_back(void **state)
{
	(void)state;
	forwards_until_taken_back(FORWARDING_TC, true);
}

static void test_tc_forwards_ipv6_until_a_flow_is_taken_back(void **state)
{
	(void)state;
	forwards_until_taken_back(FORWARDING_TC, false);
}

static void test_xdp_forwards_ipv4_until_a_flow_is_taken_back(void **state)
{
	(void)state;
	forwards_until_taken_back(FORWARDING_XDP, true);
}

static void test_xdp_forwards_ipv6_until_a_flow_is_taken_back(void **state)
{
	(void)state;
	forwards_until_taken_back(FORWARDING_XDP, false);
}

static bool has_status(const struct scene *s, uint64_t flows, uint64_t hops,
		       uint64_t destinations)
{
	struct media_engine_status status;

	s->engine->ops->status(s->engine, &status);
	return status.flows == flows && status.hops == hops &&
	       status.destinations == destinations;
}

static void test_a_flow_that_is_not_heard_is_told_of(void **state)
{
	struct scene s;

	(void)state;
	start(&s, FORWARDING_TC, true);
	s.item.silence_us = 1;
	s.engine->ops->ask(s.engine, &s.item);
	await_news(&s, ENGINE_ANSWERED);
	AWAIT(atomic_load(&s.item.hop) >= FLOW_HOP_FIRST);
	add(&s);
	await_news(&s, ENGINE_SILENT);
	AWAIT(has_status(&s, 1, 1, 1));
	s.engine->ops->del(s.engine, &s.item);
	s.engine->ops->settle(s.engine, &s.item);
	await_news(&s, ENGINE_SETTLED);
	AWAIT(has_status(&s, 0, 0, 0));
	end(&s);
}

static void test_a_destination_without_a_way_lets_packets_come_up(void **state)
{
	struct scene s;

	(void)state;
	start(&s, FORWARDING_TC, true);
	s.item.destination = at("203.0.113.1", 4002);
	s.engine->ops->ask(s.engine, &s.item);
	await_news(&s, ENGINE_ANSWERED);
	assert_int_equal(atomic_load(&s.item.hop), FLOW_HOP_NOWHERE);
	add(&s);
	send_from(s.caller_fd, &s.to_caller);
	assert_received(s.to_caller_fd, &s.caller);
	assert_int_equal(read_counters(&s).packets, 0);
	/* It finds one: the same flow goes by it, from now on. */
	run_in(s.net.there, "ip addr add 203.0.113.1/32 dev peer");
	close(s.callee_fd);
	s.callee_fd = open_socket_there(&s.net, &s.item.destination);
	run_in(s.net.here, "ip route add 203.0.113.1/32 via 192.0.2.2");
	AWAIT(atomic_load(&s.item.hop) >= FLOW_HOP_FIRST);
	AWAIT((send_from(s.caller_fd, &s.to_caller),
	       read_counters(&s).packets > 0));
	assert_received(s.callee_fd, &s.to_callee);
	end(&s);
}

/* Ways come and go while flows do. */
static void
test_a_flow_that_is_installed_while_its_way_changes_takes_it(void **state)
{
	struct scene s;

	(void)state;
	start(&s, FORWARDING_TC, true);
	for (unsigned i = 0; i < 50; i++) {
		s.engine->ops->ask(s.engine, &s.item);
		if (i % 5 == 0)
			run_in(s.net.here, "ip neigh flush dev mp0");
		await_news(&s, ENGINE_ANSWERED);
		add(&s);
		if (i % 7 == 0) {
			uint64_t before = read_counters(&s).packets;

			AWAIT((send_from(s.caller_fd, &s.to_caller),
			       read_counters(&s).packets > before));
		}
		s.engine->ops->del(s.engine, &s.item);
		s.engine->ops->settle(s.engine, &s.item);
		await_news(&s, ENGINE_SETTLED);
	}
	end(&s);
}

/* So many neighbours on the link, each with a MAC of its own. */
static void add_neighbours(unsigned count)
{
	FILE *ip;

	ip = popen("ip -batch -", "w");
	assert_non_null(ip);
	fprintf(ip, "addr add 10.9.255.254/16 dev mp0\n");
	for (unsigned i = 1; i <= count; i++)
		fprintf(ip,
			"neigh add 10.9.%u.%u dev mp0 nud permanent lladdr "
			"02:09:00:00:%02x:%02x\n",
			i / 256, i % 256, i / 256, i % 256);
	assert_int_equal(pclose(ip), 0);
}

static uint64_t hops_full(const struct scene *s)
{
	struct media_engine_status status;

	s->engine->ops->status(s->engine, &status);
	return status.hops_full;
}

static void test_a_full_table_of_hops_leaves_the_rest_to_userspace(void **state)
{
	const unsigned room = FLOW_HOPS - FLOW_HOP_FIRST, count = room + 2;
	struct engine_item *items = calloc(count, sizeof(*items));
	struct scene s;

	(void)state;
	assert_non_null(items);
	start(&s, FORWARDING_TC, true);
	add_neighbours(count);
	for (unsigned i = 0; i < count; i++) {
		char ip[32];

		snprintf(ip, sizeof(ip), "10.9.%u.%u", (i + 1) / 256,
			 (i + 1) % 256);
		items[i] = s.item;
		items[i].destination = at(ip, 4002);
		list_init(&items[i].in_way);
		list_init(&items[i].in_watched);
		s.engine->ops->ask(s.engine, &items[i]);
	}
	for (unsigned i = 0; i < count; i++)
		AWAIT(atomic_load(&items[i].news) & ENGINE_ANSWERED);
	for (unsigned i = 0; i < room; i++)
		assert_true(atomic_load(&items[i].hop) >= FLOW_HOP_FIRST);
	for (unsigned i = room; i < count; i++)
		assert_int_equal(atomic_load(&items[i].hop), FLOW_HOP_NOWHERE);
	AWAIT(hops_full(&s) == 2);

	/* Its flow may be installed all the same: packets come up. */
	s.engine->ops->add(s.engine, &items[room],
			   &(struct engine_flow){.remote = s.caller,
						 .source = s.to_callee,
						 .heard_us = clock_mono_us()});
	send_from(s.caller_fd, &s.to_caller);
	assert_received(s.to_caller_fd, &s.caller);
	assert_int_equal(read_counters(&s).packets, 0);
	end(&s);
	free(items);
}

static void test_the_engine_closes_with_flows_and_questions(void **state)
{
	struct scene s;

	(void)state;
	start(&s, FORWARDING_TC, true);
	s.engine->ops->ask(s.engine, &s.item);
	await_news(&s, ENGINE_ANSWERED);
	add(&s);
	end(&s);
	start(&s, FORWARDING_TC, true);
	s.engine->ops->ask(s.engine, &s.item);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_tc_forwards_ipv4_until_a_flow_is_taken_back),
		cmocka_unit_test(
			test_tc_forwards_ipv6_until_a_flow_is_taken_back),
		cmocka_unit_test(
			test_xdp_forwards_ipv4_until_a_flow_is_taken_back),
		cmocka_unit_test(
			test_xdp_forwards_ipv6_until_a_flow_is_taken_back),
		cmocka_unit_test(test_a_flow_that_is_not_heard_is_told_of),
		cmocka_unit_test(
			test_a_destination_without_a_way_lets_packets_come_up),
		cmocka_unit_test(
			test_a_flow_that_is_installed_while_its_way_changes_takes_it),
		cmocka_unit_test(
			test_a_full_table_of_hops_leaves_the_rest_to_userspace),
		cmocka_unit_test(
			test_the_engine_closes_with_flows_and_questions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
