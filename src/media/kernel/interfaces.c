#include "media/kernel/interfaces.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/list.h"
#include "media/kernel/netlink.h"

_Static_assert(INTERFACE_NAME_SIZE == IFNAMSIZ, "the kernel's");

#define DUMP_TRIES 5

struct entry {
	struct interface interface;
	struct hash_node node;
	struct list link;
	struct list changed; /* links into the table's list of that name */
	bool is_gone;        /* only while it is in that list */
	bool is_seen;        /* by the current dump */
};

struct interfaces {
	struct netlink events;
	struct netlink questions;
	struct hash_table by_ifindex; /* the ifindex is the hash */
	struct list all;
	struct list changed;
	bool is_stale;
	interface_h *handler;
	void *arg;
	struct interfaces_counters counters;
};

static void read_link_info(const struct nlattr *info, bool has_far_parent,
			   struct interface *ret)
{
	const struct nlattr *of_info[IFLA_INFO_DATA + 1];
	const struct nlattr *of_vlan[IFLA_VLAN_PROTOCOL + 1];

	netlink_nested(info, of_info, ARRAY_SIZE(of_info));
	netlink_text(of_info[IFLA_INFO_KIND], ret->kind, sizeof(ret->kind));
	if (strcmp(ret->kind, "vlan") != 0 || has_far_parent)
		ret->parent = 0;
	if (strcmp(ret->kind, "vlan") != 0)
		return;
	netlink_nested(of_info[IFLA_INFO_DATA], of_vlan, ARRAY_SIZE(of_vlan));
	ret->vlan_id = netlink_u16(of_vlan[IFLA_VLAN_ID]);
	ret->is_8021q =
		netlink_u16(of_vlan[IFLA_VLAN_PROTOCOL]) == htons(ETH_P_8021Q);
}

static void read_xdp(const struct nlattr *xdp, struct interface *ret)
{
	const struct nlattr *of_xdp[IFLA_XDP_MAX + 1];

	netlink_nested(xdp, of_xdp, ARRAY_SIZE(of_xdp));
	ret->xdp_mode = netlink_u8(of_xdp[IFLA_XDP_ATTACHED]);
	ret->xdp_prog_id = netlink_u32(of_xdp[IFLA_XDP_PROG_ID]);
	/* Of several programs (XDP_ATTACHED_MULTI), the first to see a frame.
	 */
	for (unsigned type = IFLA_XDP_DRV_PROG_ID;
	     type <= IFLA_XDP_HW_PROG_ID && ret->xdp_prog_id == 0; type++)
		ret->xdp_prog_id = netlink_u32(of_xdp[type]);
}

int interface_decode(const struct nlmsghdr *message, struct interface *ret)
{
	const struct ifinfomsg *head = netlink_header(message, sizeof(*head));
	const struct nlattr *attrs[IFLA_MAX + 1];
	struct interface i = {0};

	/* Bridges tell of their ports in the same group, by another family. */
	if (!head || head->ifi_family != AF_UNSPEC || head->ifi_index <= 0)
		return -EBADMSG;
	netlink_attributes(message, sizeof(*head), attrs, ARRAY_SIZE(attrs));
	/* What wireless drivers tell has neither. */
	if (!attrs[IFLA_IFNAME] || !attrs[IFLA_MTU])
		return -EBADMSG;

	i.ifindex = (unsigned)head->ifi_index;
	i.hardware = head->ifi_type;
	i.is_up = head->ifi_flags & IFF_UP;
	i.has_carrier = (head->ifi_flags & IFF_LOWER_UP) &&
			(head->ifi_flags & IFF_RUNNING);
	i.is_loopback = head->ifi_flags & IFF_LOOPBACK;
	netlink_text(attrs[IFLA_IFNAME], i.name, sizeof(i.name));
	i.mtu = netlink_u32(attrs[IFLA_MTU]);
	(void)netlink_bytes(attrs[IFLA_ADDRESS], i.mac, sizeof(i.mac));
	i.master = netlink_u32(attrs[IFLA_MASTER]);
	i.parent = netlink_u32(attrs[IFLA_LINK]);
	read_link_info(attrs[IFLA_LINKINFO], attrs[IFLA_LINK_NETNSID], &i);
	read_xdp(attrs[IFLA_XDP], &i);
	*ret = i;
	return 0;
}

static bool interface_equal(const struct interface *a,
			    const struct interface *b)
{
	return a->ifindex == b->ifindex && strcmp(a->name, b->name) == 0 &&
	       strcmp(a->kind, b->kind) == 0 &&
	       memcmp(a->mac, b->mac, sizeof(a->mac)) == 0 &&
	       a->hardware == b->hardware && a->mtu == b->mtu &&
	       a->is_up == b->is_up && a->has_carrier == b->has_carrier &&
	       a->is_loopback == b->is_loopback && a->parent == b->parent &&
	       a->vlan_id == b->vlan_id && a->is_8021q == b->is_8021q &&
	       a->master == b->master && a->xdp_prog_id == b->xdp_prog_id &&
	       a->xdp_mode == b->xdp_mode;
}

static struct entry *find(const struct interfaces *table, unsigned ifindex)
{
	struct hash_node *node = hash_first(&table->by_ifindex, ifindex);

	return node ? hash_item(node, struct entry, node) : NULL;
}

static void entry_changed(struct interfaces *table, struct entry *entry)
{
	list_del(&entry->changed);
	list_add_tail(&table->changed, &entry->changed);
}

static void entry_free(struct interfaces *table, struct entry *entry)
{
	hash_del(&table->by_ifindex, &entry->node);
	list_del(&entry->link);
	list_del(&entry->changed);
	free(entry);
}

static void interface_gone(struct interfaces *table, unsigned ifindex)
{
	struct entry *entry = find(table, ifindex);

	if (!entry || entry->is_gone)
		return;
	entry->is_gone = true;
	entry_changed(table, entry);
}

static void interface_told(struct interfaces *table,
			   const struct interface *interface)
{
	struct entry *entry = find(table, interface->ifindex);

	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry) {
			table->is_stale = true;
			return;
		}
		list_init(&entry->changed);
		list_add_tail(&table->all, &entry->link);
		hash_add(&table->by_ifindex, &entry->node, interface->ifindex);
	}
	entry->is_seen = true;
	if (!entry->is_gone && interface_equal(&entry->interface, interface))
		return;
	entry->is_gone = false;
	entry->interface = *interface;
	entry_changed(table, entry);
}

static void link_message(const struct nlmsghdr *message, void *arg)
{
	struct interfaces *table = arg;
	struct interface interface;

	if (interface_decode(message, &interface) < 0)
		return;
	table->counters.events++;
	if (message->nlmsg_type == RTM_NEWLINK)
		interface_told(table, &interface);
	else if (message->nlmsg_type == RTM_DELLINK)
		interface_gone(table, interface.ifindex);
}

static int dump(struct interfaces *table)
{
	NETLINK_REQUEST(buf);
	struct nlmsghdr *request = netlink_request(buf, RTM_GETLINK, NLM_F_DUMP,
						   sizeof(struct ifinfomsg));
	int result = -EINTR;

	mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	table->is_stale = false;
	for (unsigned i = 0; i < DUMP_TRIES && result == -EINTR; i++) {
		list_for_each (link, &table->all)
			list_item(link, struct entry, link)->is_seen = false;
		result = netlink_ask(&table->questions, request, link_message,
				     table);
	}
	if (result == 0 && table->is_stale)
		result = -ENOMEM;
	table->is_stale = result < 0;
	if (result < 0)
		return result;
	list_for_each (link, &table->all) {
		struct entry *entry = list_item(link, struct entry, link);

		if (!entry->is_seen)
			interface_gone(table, entry->interface.ifindex);
	}
	return 0;
}

static void report(struct interfaces *table)
{
	struct list *link;

	while ((link = list_first(&table->changed))) {
		struct entry *entry = list_item(link, struct entry, changed);

		list_del(link);
		if (table->handler)
			table->handler(&entry->interface, entry->is_gone,
				       table->arg);
		if (entry->is_gone)
			entry_free(table, entry);
	}
}

int interfaces_dispatch(struct interfaces *table)
{
	int result = netlink_events(&table->events, link_message, table);

	if (result == -ENOBUFS) {
		table->counters.resyncs++;
		table->is_stale = true;
	}
	result = result != -EAGAIN && table->is_stale ? dump(table) : 0;
	report(table);
	return result;
}

int interfaces_new(struct interfaces **ret, interface_h *changed, void *arg)
{
	static const unsigned groups[] = {RTNLGRP_LINK};
	struct interfaces *table = calloc(1, sizeof(*table));
	int result;

	if (!table)
		return -ENOMEM;
	list_init(&table->all);
	list_init(&table->changed);
	result = hash_init(&table->by_ifindex);
	/* Listen first: what changes during the dump comes as an event. */
	if (result == 0)
		result = netlink_open(&table->events, groups,
				      ARRAY_SIZE(groups));
	if (result == 0)
		result = netlink_open(&table->questions, NULL, 0);
	if (result == 0)
		result = dump(table);
	if (result < 0) {
		interfaces_free(table);
		return result;
	}
	report(table);
	table->handler = changed;
	table->arg = arg;
	table->counters = (struct interfaces_counters){0};
	*ret = table;
	return 0;
}

struct interfaces *interfaces_free(struct interfaces *table)
{
	if (!table)
		return NULL;
	list_for_each_safe (link, &table->all)
		entry_free(table, list_item(link, struct entry, link));
	hash_done(&table->by_ifindex);
	netlink_close(&table->events);
	netlink_close(&table->questions);
	free(table);
	return NULL;
}

int interfaces_fd(const struct interfaces *table)
{
	return netlink_fd(&table->events);
}

const struct interface *interfaces_find(const struct interfaces *table,
					unsigned ifindex)
{
	const struct entry *entry = find(table, ifindex);

	return entry && !entry->is_gone ? &entry->interface : NULL;
}

const struct interface *interfaces_next(const struct interfaces *table,
					const struct interface *interface)
{
	const struct list *link =
		interface ? &container_of(interface, struct entry, interface)
				     ->link
			  : &table->all;

	while ((link = link->next) != &table->all) {
		const struct entry *entry = list_item(link, struct entry, link);

		if (!entry->is_gone)
			return &entry->interface;
	}
	return NULL;
}

const struct interfaces_counters *
interfaces_counters(const struct interfaces *table)
{
	return &table->counters;
}
