#pragma once
/**
 * @file media/kernel/interfaces.h  The network interfaces of this network
 * namespace
 *
 * A table that follows the kernel by rtnetlink. Not every change of an XDP
 * program is an event: one by a BPF link is none, and one to an interface that
 * is down is seen when it comes up. One thread.
 */
#include <stdbool.h>
#include <stdint.h>

#define MAC_LEN 6
#define INTERFACE_NAME_SIZE                                                    \
	16 /* IFNAMSIZ; <net/if.h> and <linux/if.h> clash                      \
	    */

struct interface {
	unsigned ifindex;
	char name[INTERFACE_NAME_SIZE];
	char kind[16]; /* "" for a NIC, else "veth", "bridge", "vlan", ... */
	uint8_t mac[MAC_LEN]; /* zero unless six bytes long */
	uint16_t hardware;    /* ARPHRD_* */
	unsigned mtu;
	bool is_up;
	bool has_carrier;
	bool is_loopback;
	unsigned parent; /* ifindex below a vlan; 0: none in this namespace */
	uint16_t vlan_id;
	bool is_8021q;        /* a vlan of this protocol, not of 802.1ad */
	unsigned master;      /* ifindex of its bridge, bond or VRF, or 0 */
	uint32_t xdp_prog_id; /* 0: none */
	uint8_t xdp_mode;     /* XDP_ATTACHED_* */
};

struct interfaces_counters {
	uint64_t events;
	uint64_t resyncs; /* the kernel had no room for an event */
};

struct interfaces;
struct nlmsghdr;

/** An interface is new or has changed, or is gone. Valid during the call. */
typedef void interface_h(const struct interface *interface, bool is_gone,
			 void *arg);

/**
 * Subscribe and read what is there; the handler is not called for that.
 *
 * @param changed  NULL if nobody wants to know
 * @return 0 or a negative errno
 */
int interfaces_new(struct interfaces **ret, interface_h *changed, void *arg);

/** Free the table; NULL is fine. @return always NULL */
struct interfaces *interfaces_free(struct interfaces *table);

/** To be polled for reading. */
int interfaces_fd(const struct interfaces *table);

/**
 * Read the events, then call the handler once for each interface that is not
 * what it was. The handler may read the table.
 *
 * @return 0, or a negative errno if the table may be out of date: call again
 */
int interfaces_dispatch(struct interfaces *table);

/** @return the interface, or NULL; valid until the next dispatch */
const struct interface *interfaces_find(const struct interfaces *table,
					unsigned ifindex);

/** Walk: the one after this, or the first after NULL. @return NULL at the end
 */
const struct interface *interfaces_next(const struct interfaces *table,
					const struct interface *interface);

const struct interfaces_counters *
interfaces_counters(const struct interfaces *table);

/**
 * Read RTM_NEWLINK or RTM_DELLINK.
 *
 * @return 0, or -EBADMSG if it is no whole description of an interface
 */
int interface_decode(const struct nlmsghdr *message, struct interface *ret);
