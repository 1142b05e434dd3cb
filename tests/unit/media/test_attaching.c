/* Programs on real interfaces, in network namespaces of our own: what stands
 * there while a relay runs, beside the programs of others, and after its end.
 * iproute2 looks. */
#include <linux/if_link.h>
#include <net/if.h>
#include <signal.h>
#include <sys/prctl.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "media/kernel/attach.h"
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

static struct media_engine_config config_of(enum media_forwarding forwarding,
					    uint16_t first_port)
{
	return (struct media_engine_config){
		.forwarding = forwarding,
		.interfaces = "",
		.port_first = first_port,
		.port_end = first_port + 10u,
		.lease_us = 30 * US_PER_S,
	};
}

static struct engine *open_engine(enum media_forwarding forwarding,
				  uint16_t first_port)
{
	struct media_engine_config config = config_of(forwarding, first_port);
	char why[MEDIA_REASON_SIZE];
	struct engine *engine;
	int r = kernel_engine_open(&engine, &config, why, sizeof(why));

	if (r == -EPERM || r == -ENOSYS) {
		print_message("%s\n", why);
		skip();
	}
	if (r < 0)
		fail_msg("%s", why);
	return engine;
}

static void close_engine(struct engine *engine)
{
	engine->ops->close(engine);
}

static bool find_status(const struct engine *engine, const char *name,
			struct media_interface_status *ret)
{
	for (unsigned i = 0; engine->ops->interface(engine, i, ret); i++)
		if (strcmp(ret->name, name) == 0)
			return true;
	return false;
}

static bool is_way(const struct engine *engine, const char *name,
		   const char *way)
{
	struct media_interface_status status;

	return find_status(engine, name, &status) &&
	       strcmp(status.engine, way) == 0;
}

static bool is_reason(const struct engine *engine, const char *name,
		      const char *reason)
{
	struct media_interface_status status;

	return find_status(engine, name, &status) &&
	       strstr(status.reason, reason);
}

/* ---- what stands on mp0 ---- */

static void assert_tc(const struct network *net, unsigned count)
{
	char commands[200];

	snprintf(commands, sizeof(commands),
		 "test $(tc filter show dev mp0 ingress | grep -c relay_tc) "
		 "= %u",
		 count);
	run_in(net->here, commands);
}

static void assert_clsact(const struct network *net, bool is_there)
{
	run_in(net->here, is_there ? "tc qdisc show dev mp0 | grep -q clsact"
				   : "! tc qdisc show dev mp0 | grep clsact");
}

static uint32_t xdp_of(const char *name)
{
	uint32_t id = 0;

	assert_int_equal(bpf_xdp_query_id((int)if_nametoindex(name),
					  XDP_FLAGS_DRV_MODE, &id),
			 0);
	return id;
}

static void assert_nothing(const struct network *net)
{
	assert_tc(net, 0);
	assert_clsact(net, false);
	assert_int_equal(xdp_of("mp0"), 0);
}

static void enter(struct network *net)
{
	network_enter(net);
	network_connect(net, "mp0");
}

static void allow_xdp(const struct network *net)
{
	run_in(net->there, "ethtool -K peer gro on");
}

/* A program of another project: it lets everything pass. */
static int load_foreign(enum bpf_prog_type type)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K,
		 .dst_reg = BPF_REG_0,
		 .imm = type == BPF_PROG_TYPE_XDP ? XDP_PASS : -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(type, "foreign", "GPL", insns, 2, NULL);

	assert_true(fd >= 0);
	return fd;
}

/* ---- one relay ---- */

static void test_auto_takes_tc_on_veth_and_leaves_nothing(void **state)
{
	struct media_engine_status status;
	struct engine *engine;
	struct network net;

	(void)state;
	enter(&net);
	engine = open_engine(FORWARDING_AUTO, 50000);
	assert_true(is_way(engine, "mp0", "tc"));
	assert_true(is_way(engine, "lo", "userspace"));
	engine->ops->status(engine, &status);
	assert_string_equal(status.name, "tc");
	assert_tc(&net, 1);
	assert_int_equal(xdp_of("mp0"), 0);
	close_engine(engine);
	assert_nothing(&net);
	network_leave(&net);
}

static void test_xdp_runs_on_veth_whose_peer_takes_it(void **state)
{
	struct engine *engine;
	struct network net;

	(void)state;
	enter(&net);
	allow_xdp(&net);
	engine = open_engine(FORWARDING_XDP, 50000);
	assert_true(is_way(engine, "mp0", "xdp"));
	assert_int_not_equal(xdp_of("mp0"), 0);
	assert_clsact(&net, false);
	close_engine(engine);
	assert_nothing(&net);
	network_leave(&net);
}

static void test_xdp_stays_in_userspace_where_it_would_be_dropped(void **state)
{
	struct engine *engine;
	struct network net;

	(void)state;
	enter(&net);
	engine = open_engine(FORWARDING_XDP, 50000);
	assert_true(is_way(engine, "mp0", "userspace"));
	assert_true(is_reason(engine, "mp0", "dropped"));
	assert_nothing(&net);
	close_engine(engine);
	network_leave(&net);
}

static void test_an_interface_that_comes_later_gets_a_program(void **state)
{
	struct media_interface_status status;
	struct engine *engine;
	struct network net;

	(void)state;
	network_enter(&net);
	engine = open_engine(FORWARDING_AUTO, 50000);
	assert_false(find_status(engine, "mp0", &status));
	network_connect(&net, "mp0");
	AWAIT(is_way(engine, "mp0", "tc"));
	assert_tc(&net, 1);
	run_in(net.here, "ip link set mp0 down; ip link set mp0 name mp1");
	AWAIT(is_way(engine, "mp1", "tc"));
	assert_false(find_status(engine, "mp0", &status));
	run_in(net.here, "ip link del mp1");
	AWAIT(!find_status(engine, "mp1", &status));
	network_connect(&net, "mp0");
	AWAIT(is_way(engine, "mp0", "tc"));
	close_engine(engine);
	assert_nothing(&net);
	network_leave(&net);
}

static void test_forwarding_can_be_changed_while_it_runs(void **state)
{
	struct engine *engine;
	struct network net;

	(void)state;
	enter(&net);
	allow_xdp(&net);
	engine = open_engine(FORWARDING_TC, 50000);
	assert_tc(&net, 1);
	engine->ops->set_forwarding(engine, FORWARDING_XDP);
	AWAIT(is_way(engine, "mp0", "xdp"));
	assert_tc(&net, 0);
	/* Making and destroying it stops what is sent for a moment. */
	assert_clsact(&net, true);
	assert_int_not_equal(xdp_of("mp0"), 0);
	engine->ops->set_forwarding(engine, FORWARDING_USERSPACE);
	AWAIT(is_way(engine, "mp0", "userspace"));
	assert_tc(&net, 0);
	assert_int_equal(xdp_of("mp0"), 0);
	engine->ops->set_forwarding(engine, FORWARDING_AUTO);
	AWAIT(is_way(engine, "mp0", "tc"));
	assert_tc(&net, 1);
	assert_int_equal(xdp_of("mp0"), 0);
	close_engine(engine);
	assert_nothing(&net);
	network_leave(&net);
}

/* The peer's GRO makes the difference. No event tells of it. */
static void test_xdp_ends_and_begins_with_what_takes_it(void **state)
{
	struct media_engine_config config = config_of(FORWARDING_XDP, 50000);
	char why[MEDIA_REASON_SIZE];
	struct attachments *attachments;
	struct interfaces *interfaces;
	struct flow_maps *maps;
	struct network net;

	(void)state;
	enter(&net);
	allow_xdp(&net);
	if (flow_maps_new(&maps, &config, why, sizeof(why)) < 0) {
		print_message("%s\n", why);
		skip();
	}
	assert_int_equal(interfaces_new(&interfaces, NULL, NULL), 0);
	assert_int_equal(attachments_new(&attachments, maps, interfaces, ""),
			 0);
	attachments_apply(attachments, FORWARDING_XDP, clock_mono_us());
	assert_int_equal(attachments_count(attachments, ATTACH_XDP), 1);
	run_in(net.there, "ethtool -K peer gro off");
	attachments_check(attachments, clock_mono_us());
	assert_int_equal(attachments_count(attachments, ATTACH_XDP), 0);
	assert_int_equal(xdp_of("mp0"), 0);
	allow_xdp(&net);
	attachments_check(attachments, clock_mono_us());
	assert_int_equal(attachments_count(attachments, ATTACH_XDP), 1);
	assert_int_not_equal(xdp_of("mp0"), 0);
	attachments_free(attachments);
	interfaces_free(interfaces);
	flow_maps_free(maps);
	assert_nothing(&net);
	network_leave(&net);
}

/* ---- beside others ---- */

static void test_the_xdp_program_of_another_project_is_left_alone(void **state)
{
	int fd;
	struct engine *engine;
	struct network net;
	uint32_t foreign;

	(void)state;
	enter(&net);
	allow_xdp(&net);
	fd = load_foreign(BPF_PROG_TYPE_XDP);
	assert_int_equal(bpf_xdp_attach((int)if_nametoindex("mp0"), fd,
					XDP_FLAGS_DRV_MODE, NULL),
			 0);
	foreign = xdp_of("mp0");
	assert_int_not_equal(foreign, 0);
	engine = open_engine(FORWARDING_XDP, 50000);
	assert_true(is_way(engine, "mp0", "userspace"));
	assert_true(is_reason(engine, "mp0", "of another"));
	assert_int_equal(xdp_of("mp0"), foreign);
	engine->ops->set_forwarding(engine, FORWARDING_TC);
	AWAIT(is_way(engine, "mp0", "tc"));
	close_engine(engine);
	assert_int_equal(xdp_of("mp0"), foreign);
	assert_tc(&net, 0);
	close(fd);
	network_leave(&net);
}

static void test_the_filter_of_another_project_stays_in_clsact(void **state)
{
	struct network net;
	struct engine *engine;
	int fd;

	(void)state;
	enter(&net);
	fd = load_foreign(BPF_PROG_TYPE_SCHED_CLS);
	{
		LIBBPF_OPTS(bpf_tc_hook, hook,
			    .ifindex = (int)if_nametoindex("mp0"),
			    .attach_point = BPF_TC_INGRESS);
		LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = fd, .handle = 1,
			    .priority = 7);

		assert_int_equal(bpf_tc_hook_create(&hook), 0);
		assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	}
	engine = open_engine(FORWARDING_TC, 50000);
	assert_true(is_way(engine, "mp0", "tc"));
	assert_tc(&net, 1);
	close_engine(engine);
	assert_tc(&net, 0);
	assert_clsact(&net, true);
	run_in(net.here, "tc filter show dev mp0 ingress | grep -q foreign");
	close(fd);
	network_leave(&net);
}

static void test_two_relays_have_a_filter_each(void **state)
{
	struct engine *first, *second;
	struct network net;

	(void)state;
	enter(&net);
	first = open_engine(FORWARDING_TC, 50000);
	second = open_engine(FORWARDING_TC, 51000);
	assert_tc(&net, 2);
	close_engine(first);
	assert_tc(&net, 1);
	first = open_engine(FORWARDING_TC, 50000);
	assert_tc(&net, 2);
	close_engine(second);
	assert_tc(&net, 1);
	close_engine(first);
	assert_nothing(&net);
	network_leave(&net);
}

static void test_the_second_relay_leaves_xdp_to_the_first(void **state)
{
	struct engine *first, *second;
	struct network net;
	uint32_t program;

	(void)state;
	enter(&net);
	allow_xdp(&net);
	first = open_engine(FORWARDING_XDP, 50000);
	program = xdp_of("mp0");
	second = open_engine(FORWARDING_XDP, 51000);
	assert_true(is_way(second, "mp0", "userspace"));
	assert_int_equal(xdp_of("mp0"), program);
	close_engine(second);
	assert_int_equal(xdp_of("mp0"), program);
	close_engine(first);
	assert_nothing(&net);
	network_leave(&net);
}

/* ---- after one that was killed ---- */

/* Start a relay in a process of its own, and kill that when it runs. */
static void leave_programs(enum media_forwarding forwarding,
			   uint16_t first_port)
{
	int pipe_fds[2], status;
	char byte = 0;
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct media_engine_config config =
			config_of(forwarding, first_port);
		char why[MEDIA_REASON_SIZE];
		struct engine *engine;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = kernel_engine_open(&engine, &config, why, sizeof(why)) ==
		       0;
		if (write(pipe_fds[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	if (!byte) {
		print_message("the kernel takes no program\n");
		skip();
	}
}

static void test_the_programs_of_a_killed_relay_are_taken_over(void **state)
{
	struct engine *engine;
	struct network net;
	uint32_t left;

	(void)state;
	enter(&net);
	allow_xdp(&net);
	leave_programs(FORWARDING_TC, 50000);
	assert_tc(&net, 1);
	engine = open_engine(FORWARDING_TC, 50000);
	assert_true(is_way(engine, "mp0", "tc"));
	assert_tc(&net, 1);
	close_engine(engine);
	assert_nothing(&net);

	leave_programs(FORWARDING_XDP, 50000);
	left = xdp_of("mp0");
	assert_int_not_equal(left, 0);
	engine = open_engine(FORWARDING_XDP, 50000);
	assert_true(is_way(engine, "mp0", "xdp"));
	assert_int_not_equal(xdp_of("mp0"), left);
	close_engine(engine);
	assert_nothing(&net);
	network_leave(&net);
}

static void test_what_a_killed_relay_left_goes_with_another_way(void **state)
{
	const struct media_engine_config config =
		config_of(FORWARDING_USERSPACE, 50000);
	struct engine *engine;
	struct network net;

	(void)state;
	enter(&net);
	allow_xdp(&net);
	leave_programs(FORWARDING_XDP, 50000);
	engine = open_engine(FORWARDING_TC, 50000);
	assert_tc(&net, 1);
	assert_int_equal(xdp_of("mp0"), 0);
	close_engine(engine);
	leave_programs(FORWARDING_TC, 50000);
	engine = open_engine(FORWARDING_XDP, 50000);
	assert_tc(&net, 0);
	close_engine(engine);
	assert_nothing(&net);

	leave_programs(FORWARDING_XDP, 50000);
	kernel_engine_sweep(&config);
	assert_nothing(&net);
	leave_programs(FORWARDING_TC, 50000);
	kernel_engine_sweep(&config);
	assert_nothing(&net);
	network_leave(&net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_auto_takes_tc_on_veth_and_leaves_nothing),
		cmocka_unit_test(test_xdp_runs_on_veth_whose_peer_takes_it),
		cmocka_unit_test(
			test_xdp_stays_in_userspace_where_it_would_be_dropped),
		cmocka_unit_test(
			test_an_interface_that_comes_later_gets_a_program),
		cmocka_unit_test(test_forwarding_can_be_changed_while_it_runs),
		cmocka_unit_test(test_xdp_ends_and_begins_with_what_takes_it),
		cmocka_unit_test(
			test_the_xdp_program_of_another_project_is_left_alone),
		cmocka_unit_test(
			test_the_filter_of_another_project_stays_in_clsact),
		cmocka_unit_test(test_two_relays_have_a_filter_each),
		cmocka_unit_test(test_the_second_relay_leaves_xdp_to_the_first),
		cmocka_unit_test(
			test_the_programs_of_a_killed_relay_are_taken_over),
		cmocka_unit_test(
			test_what_a_killed_relay_left_goes_with_another_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
