#pragma once
/**
 * @file tests/unit/media/network_scene.h  Two hosts: network namespaces of our
 * own
 *
 * The test is in the first, which is empty but for lo; the second is entered by
 * commands only. Both end with the test. Needs root.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "media/kernel/interfaces.h"
#include "media/kernel/netlink.h"
#include "test.h"

#define DEADLINE_US (20 * US_PER_S)

struct network {
	int here, there; /* file descriptors of the namespaces */
};

static inline int new_namespace(void)
{
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Run shell commands in a namespace up to the first that fails. @return its
 * status */
static inline int try_in(int netns, const char *commands)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setns(netns, CLONE_NEWNET) == 0)
			execl("/bin/sh", "sh", "-ec", commands, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static inline void run_in(int netns, const char *commands)
{
	int status = try_in(netns, commands);

	if (status != 0)
		fail_msg("status %d of: %s", status, commands);
}

static inline void network_enter(struct network *net)
{
	if (geteuid() != 0) {
		print_message("needs root, for network namespaces\n");
		skip();
	}
	if (unshare(CLONE_NEWNET) < 0) {
		print_message("no network namespaces: %s\n", strerror(errno));
		skip();
	}
	net->there = new_namespace();
	net->here = new_namespace();
	run_in(net->here, "ip link set lo up");
	run_in(net->there, "ip link set lo up");
}

static inline void network_leave(struct network *net)
{
	close(net->here);
	close(net->there);
}

/* A veth pair with this name here and "peer" there, whose IPv6 addresses
 * are ready at once. */
static inline void network_connect(struct network *net, const char *name)
{
	char commands[300];

	snprintf(commands, sizeof(commands),
		 "ip link add %s type veth peer name peer netns /proc/%d/fd/%d;"
		 "echo 0 >/proc/sys/net/ipv6/conf/%s/accept_dad;"
		 "ip link set %s up",
		 name, getpid(), net->there, name, name);
	run_in(net->here, commands);
	run_in(net->there, "echo 0 >/proc/sys/net/ipv6/conf/peer/accept_dad;"
			   "ip link set peer up");
}

/* Some kernels are built without. Says so. */
static inline bool can_add_vlans(struct network *net, const char *parent)
{
	char commands[200];

	snprintf(commands, sizeof(commands),
		 "ip link add link %s name try type vlan id 4000 2>&1 |"
		 "grep -q 'Unknown device type' || exit 0; exit 9",
		 parent);
	if (try_in(net->here, commands) != 0) {
		print_message("needs a kernel with CONFIG_VLAN_8021Q\n");
		return false;
	}
	run_in(net->here, "ip link del try");
	return true;
}

static inline unsigned ifindex_of(const struct interfaces *table,
				  const char *name)
{
	const struct interface *i = NULL;

	while ((i = interfaces_next(table, i)))
		if (strcmp(i->name, name) == 0)
			return i->ifindex;
	return 0;
}

/* A message with a header of its own, and attributes that follow it. */
struct message {
	_Alignas(struct nlmsghdr) uint8_t bytes[1024];
};

static inline struct nlmsghdr *message_start(struct message *m, uint16_t type,
					     const void *head, size_t size)
{
	struct nlmsghdr *message = netlink_request(m->bytes, type, 0, size);

	memcpy(mnl_nlmsg_get_payload(message), head, size);
	return message;
}

/* Decode every beginning of a message, from memory that ends there; and every
 * message with one byte of its attributes changed. */
static inline void damage(const struct nlmsghdr *message,
			  void (*decode)(const struct nlmsghdr *))
{
	size_t len = message->nlmsg_len;

	for (size_t cut = sizeof(*message); cut <= len; cut++) {
		struct nlmsghdr *copy = malloc(cut);

		assert_non_null(copy);
		memcpy(copy, message, cut);
		copy->nlmsg_len = (uint32_t)cut;
		decode(copy);
		free(copy);
	}
	for (size_t at = sizeof(*message); at < len; at++) {
		static const uint8_t values[] = {0, 1, 3, 4, 5, 8, 0x7f, 0xff};
		struct nlmsghdr *copy = malloc(len);

		assert_non_null(copy);
		for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
			memcpy(copy, message, len);
			((uint8_t *)copy)[at] = values[i];
			decode(copy);
		}
		free(copy);
	}
}
