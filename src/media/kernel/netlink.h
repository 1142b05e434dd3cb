#pragma once
/**
 * @file media/kernel/netlink.h  rtnetlink sockets: events, and questions to the
 * kernel
 *
 * Over libmnl. The kernel answers a question inside the send call, so nothing
 * here waits for anything but, briefly, a lock of the kernel. Messages are
 * input like any other: attributes of a wrong length read as if they were not
 * there. One thread for each socket.
 */
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A buffer with room enough for any question that is asked here. */
#define NETLINK_REQUEST(name) _Alignas(struct nlmsghdr) uint8_t name[256]

struct netlink {
	struct mnl_socket *socket;
	uint32_t seq;
	bool has_overrun; /* events were lost, and the rest is not read yet */
};

/** One message; it is complete, what is inside it is not checked. */
typedef void netlink_h(const struct nlmsghdr *message, void *arg);

/**
 * @param groups  RTNLGRP_* to listen to; NULL for a socket to ask with
 * @return 0 or a negative errno
 */
int netlink_open(struct netlink *ret, const unsigned *groups, size_t count);

/** Close; one that is all zero is fine. */
void netlink_close(struct netlink *nl);

int netlink_fd(const struct netlink *nl);

/** Start a question in buf, with size zero bytes of a header after netlink's.
 */
struct nlmsghdr *netlink_request(void *buf, uint16_t type, uint16_t flags,
				 size_t size);

/**
 * Ask, and hand each message of the answer on.
 *
 * @param answer  NULL if only success matters
 * @return 0, the kernel's negative errno, -EINTR if a dump is not consistent
 * (ask again), or -EPROTO if the answer did not end
 */
int netlink_ask(struct netlink *nl, struct nlmsghdr *request, netlink_h *answer,
		void *arg);

/**
 * Hand all events on that are there.
 *
 * @return 0, -EAGAIN if there are more than one call should read, -ENOBUFS once
 * if events were lost; then all others have been handed on, and what is asked
 * from now on is newer than what was lost
 */
int netlink_events(struct netlink *nl, netlink_h *event, void *arg);

/**
 * The payload behind the message's own header, of size bytes.
 *
 * @return NULL if the message is too short for it
 */
const void *netlink_header(const struct nlmsghdr *message, size_t size);

/**
 * Sort attributes by type into a table; unknown types and what is cut off are
 * left out. The last of two wins.
 */
void netlink_attributes(const struct nlmsghdr *message, size_t header_size,
			const struct nlattr **table, unsigned table_size);

/** As netlink_attributes(), of what is inside of nest, which may be NULL. */
void netlink_nested(const struct nlattr *nest, const struct nlattr **table,
		    unsigned table_size);

/* The value; 0 for NULL and for an attribute that is too short. */
uint8_t netlink_u8(const struct nlattr *attr);
uint16_t netlink_u16(const struct nlattr *attr);
uint32_t netlink_u32(const struct nlattr *attr);

/** Copy len bytes. @return false for NULL, and if there are not just as many */
bool netlink_bytes(const struct nlattr *attr, void *ret, size_t len);

/** Copy a text, with or without NUL, as much as fits; "" for NULL. */
void netlink_text(const struct nlattr *attr, char *ret, size_t size);
