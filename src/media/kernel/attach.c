#include "media/kernel/attach.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"

/* Where our filter stands in clsact. Another relay of this host takes the next
 * handle. */
#define TC_PRIORITY 0x4d50
#define TC_HANDLE 0x4d500000u
#define TC_HANDLES 8

struct attachment {
	struct list link;
	unsigned ifindex;
	char name[IFNAMSIZ];
	struct attach_choice wanted; /* reason NULL: not decided yet */
	struct attach_choice choice; /* what is in force */
	char failure[MEDIA_REASON_SIZE];
	uint32_t tc_handle;
	bool has_clsact; /* that goes when we go */
};

struct attachments {
	struct flow_maps *maps;
	const struct interfaces *interfaces;
	const char *names;
	enum media_forwarding forwarding;
	const char *off; /* why nothing is attached; NULL: it may be */
	struct list list;
	unsigned devices[FLOW_DEVICES]; /* ifindex; 0: free */
};

static const char *way_name(enum attach_way way)
{
	static const char *const names[] = {
		[ATTACH_NONE] = "userspace",
		[ATTACH_XDP] = "xdp",
		[ATTACH_TC] = "tc",
	};

	return names[way];
}

/* ---- the decision ---- */

static bool is_named(const char *names, const char *name)
{
	size_t len = strlen(name);

	if (names[strspn(names, " ,")] == '\0')
		return true;
	while (*names) {
		size_t word = strcspn(names, " ,");

		if (word == len && memcmp(names, name, len) == 0)
			return true;
		names += word;
		names += strspn(names, " ,");
	}
	return false;
}

static struct attach_choice choose_xdp(enum xdp_ability ability)
{
	switch (ability) {
	case XDP_ABLE:
		return (struct attach_choice){ATTACH_XDP,
					      "its driver runs and sends XDP"};
	case XDP_CANNOT_SEND:
		return (struct attach_choice){
			ATTACH_NONE, "what XDP sends by it would be dropped"};
	case XDP_UNKNOWN:
		break;
	}
	return (struct attach_choice){ATTACH_NONE,
				      "its driver is not known to run XDP"};
}

struct attach_choice attach_choose(const struct interface *interface,
				   enum media_forwarding forwarding,
				   const char *names, enum xdp_ability ability)
{
	if (interface->is_loopback)
		return (struct attach_choice){ATTACH_NONE, "loopback"};
	if (forwarding == FORWARDING_USERSPACE)
		return (struct attach_choice){ATTACH_NONE,
					      "forwarding = userspace"};
	if (!is_named(names, interface->name))
		return (struct attach_choice){ATTACH_NONE,
					      "not in forwarding_interfaces"};
	if (interface->hardware != ARPHRD_ETHER)
		return (struct attach_choice){ATTACH_NONE, "not Ethernet"};
	if (forwarding == FORWARDING_TC)
		return (struct attach_choice){ATTACH_TC, "forwarding = tc"};
	if (forwarding == FORWARDING_XDP)
		return choose_xdp(ability);
	if (interface->kind[0] != '\0')
		return (struct attach_choice){ATTACH_TC,
					      "no network card of its own"};
	if (ability == XDP_ABLE)
		return choose_xdp(ability);
	return (struct attach_choice){ATTACH_TC, choose_xdp(ability).reason};
}

/* ---- XDP ---- */

static void describe_failure(struct attachment *a, const char *what, int error)
{
	(void)snprintf(a->failure, sizeof(a->failure), "%s: %s", what,
		       strerror(error));
}

static int attach_xdp(struct attachments *as, struct attachment *a,
		      uint64_t now_us)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts);
	uint32_t flags = XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST;
	uint32_t prog_id = 0;
	int old_fd = -1;
	int r;

	(void)bpf_xdp_query_id((int)a->ifindex, XDP_FLAGS_DRV_MODE, &prog_id);
	if (prog_id != 0) {
		if (flow_maps_owner(as->maps, prog_id, now_us) !=
		    FLOW_OWNER_GONE) {
			(void)snprintf(a->failure, sizeof(a->failure),
				       "it runs an XDP program of another "
				       "(id %u)",
				       prog_id);
			return -EBUSY;
		}
		old_fd = bpf_prog_get_fd_by_id(prog_id);
		opts.old_prog_fd = old_fd;
		flags = XDP_FLAGS_DRV_MODE | XDP_FLAGS_REPLACE;
	}
	r = bpf_xdp_attach((int)a->ifindex, flow_maps_xdp(as->maps), flags,
			   prog_id ? &opts : NULL);
	closep(&old_fd);
	if (r < 0)
		describe_failure(a, "it takes no XDP program", -r);
	return r;
}

static void detach_xdp(const struct attachments *as, const struct attachment *a)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts,
		    .old_prog_fd = flow_maps_xdp(as->maps));

	(void)bpf_xdp_detach((int)a->ifindex,
			     XDP_FLAGS_DRV_MODE | XDP_FLAGS_REPLACE, &opts);
}

/* ---- TC ---- */

/* libbpf wants its padding zero, too. */
static void hook_init(struct bpf_tc_hook *hook, const struct attachment *a)
{
	memset(hook, 0, sizeof(*hook));
	hook->sz = sizeof(*hook);
	hook->ifindex = (int)a->ifindex;
	hook->attach_point = BPF_TC_INGRESS;
}

/* Our place, or the first one that is free or of a relay that is gone. Where
 * any relay has a filter, clsact is of the relays: the last one removes it. */
static int find_handle(const struct attachments *as, struct attachment *a,
		       uint64_t now_us, bool *ret_taken)
{
	struct bpf_tc_hook hook;
	bool found = false;

	hook_init(&hook, a);
	for (uint32_t i = 0; i < TC_HANDLES; i++) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE + i,
			    .priority = TC_PRIORITY);
		bool taken = bpf_tc_query(&hook, &opts) == 0;

		a->has_clsact = a->has_clsact || taken;
		if (found ||
		    (taken && flow_maps_owner(as->maps, opts.prog_id, now_us) !=
				      FLOW_OWNER_GONE))
			continue;
		found = true;
		a->tc_handle = TC_HANDLE + i;
		*ret_taken = taken;
	}
	return found ? 0 : -EBUSY;
}

static int attach_tc(struct attachments *as, struct attachment *a,
		     uint64_t now_us)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = flow_maps_tc(as->maps),
		    .priority = TC_PRIORITY);
	struct bpf_tc_hook hook;
	bool taken;
	int r;

	hook_init(&hook, a);
	r = bpf_tc_hook_create(&hook);
	if (r < 0 && r != -EEXIST) {
		describe_failure(a, "it takes no clsact", -r);
		return r;
	}
	a->has_clsact = a->has_clsact || r == 0;
	r = find_handle(as, a, now_us, &taken);
	if (r == 0) {
		opts.handle = a->tc_handle;
		opts.flags = taken ? BPF_TC_F_REPLACE : 0;
		r = bpf_tc_attach(&hook, &opts);
	}
	if (r < 0)
		describe_failure(a, "it takes no TC program", -r);
	return r;
}

static void detach_tc(const struct attachment *a, uint32_t handle)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle,
		    .priority = TC_PRIORITY);
	struct bpf_tc_hook hook;

	hook_init(&hook, a);
	(void)bpf_tc_detach(&hook, &opts);
}

/* Whenever clsact is made or destroyed, the kernel stops the interface's send
 * queues for a moment, and what is sent meanwhile is lost without a word. So it
 * stays as long as we run, and where others have filters. */
static void remove_clsact(const struct attachment *a)
{
	struct bpf_tc_hook hook;

	if (!a->has_clsact || clsact_has_filters(a->ifindex))
		return;
	hook_init(&hook, a);
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	(void)bpf_tc_hook_destroy(&hook);
}

/* ---- what is in force ---- */

static void set_device(struct attachments *as, unsigned ifindex, bool may_send)
{
	for (uint32_t i = 0; i < FLOW_DEVICES; i++)
		if (as->devices[i] == ifindex) {
			int r = flow_maps_set_device(as->maps, i,
						     may_send ? ifindex : 0);

			if (r < 0)
				log_warning("XDP cannot send by interface "
					    "%u: %s",
					    ifindex, strerror(-r));
		}
}

static void detach(struct attachments *as, struct attachment *a)
{
	switch (a->choice.way) {
	case ATTACH_XDP:
		set_device(as, a->ifindex, false);
		detach_xdp(as, a);
		break;
	case ATTACH_TC:
		detach_tc(a, a->tc_handle);
		break;
	case ATTACH_NONE:
		break;
	}
	a->choice.way = ATTACH_NONE;
}

static int attach(struct attachments *as, struct attachment *a,
		  enum attach_way way, uint64_t now_us)
{
	switch (way) {
	case ATTACH_XDP:
		return attach_xdp(as, a, now_us);
	case ATTACH_TC:
		return attach_tc(as, a, now_us);
	case ATTACH_NONE:
		break;
	}
	return 0;
}

/* What a killed relay left and we shall not replace by something of ours. */
static void sweep(const struct attachments *as, struct attachment *a,
		  uint64_t now_us)
{
	struct bpf_tc_hook hook;
	uint32_t prog_id = 0;

	hook_init(&hook, a);
	if (a->choice.way != ATTACH_XDP &&
	    bpf_xdp_query_id((int)a->ifindex, XDP_FLAGS_DRV_MODE, &prog_id) ==
		    0 &&
	    prog_id != 0 &&
	    flow_maps_owner(as->maps, prog_id, now_us) == FLOW_OWNER_GONE) {
		(void)bpf_xdp_detach((int)a->ifindex, XDP_FLAGS_DRV_MODE, NULL);
		log_info("interface %s: the XDP program of a relay that is "
			 "gone is removed",
			 a->name);
	}
	for (uint32_t i = 0; i < TC_HANDLES; i++) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE + i,
			    .priority = TC_PRIORITY);

		if ((a->choice.way == ATTACH_TC &&
		     a->tc_handle == TC_HANDLE + i) ||
		    bpf_tc_query(&hook, &opts) < 0 ||
		    flow_maps_owner(as->maps, opts.prog_id, now_us) !=
			    FLOW_OWNER_GONE)
			continue;
		detach_tc(a, TC_HANDLE + i);
		a->has_clsact = true;
		log_info("interface %s: the TC program of a relay that is gone "
			 "is removed",
			 a->name);
	}
}

static void log_choice(const struct attachment *a,
		       const struct attach_choice *wanted)
{
	if (a->choice.way != wanted->way)
		log_warning("interface %s: %s instead of %s: %s", a->name,
			    way_name(a->choice.way), way_name(wanted->way),
			    a->choice.reason);
	else
		log_info("interface %s: %s: %s", a->name,
			 way_name(a->choice.way), a->choice.reason);
}

/* Finding it out takes a socket and two questions to the kernel, each time. */
static bool ability_matters(const struct attachments *as,
			    const struct interface *interface)
{
	if (as->off || interface->is_loopback ||
	    interface->hardware != ARPHRD_ETHER ||
	    !is_named(as->names, interface->name))
		return false;
	return as->forwarding == FORWARDING_XDP ||
	       (as->forwarding == FORWARDING_AUTO &&
		interface->kind[0] == '\0');
}

/* xdp, else tc, else userspace. */
static void bring_in_line(struct attachments *as, struct attachment *a,
			  const struct interface *interface, uint64_t now_us)
{
	enum xdp_ability ability = ability_matters(as, interface)
					   ? xdp_ability_of(interface)
					   : XDP_UNKNOWN;
	struct attach_choice wanted =
		attach_choose(interface, as->forwarding, as->names, ability);
	struct attach_choice choice;

	if (as->off && !interface->is_loopback)
		wanted = (struct attach_choice){ATTACH_NONE, as->off};
	choice = wanted;
	/* What failed is not tried again at each event of the interface. */
	if (a->wanted.way == wanted.way && a->wanted.reason == wanted.reason)
		return;
	a->wanted = wanted;
	if (a->choice.way != wanted.way) {
		detach(as, a);
		if (attach(as, a, choice.way, now_us) < 0) {
			choice.reason = a->failure;
			choice.way = ATTACH_NONE;
			if (wanted.way == ATTACH_XDP &&
			    as->forwarding == FORWARDING_AUTO &&
			    attach(as, a, ATTACH_TC, now_us) == 0)
				choice.way = ATTACH_TC;
		}
	}
	a->choice = choice;
	if (!interface->is_loopback)
		log_choice(a, &wanted);
	if (choice.way == ATTACH_XDP)
		set_device(as, a->ifindex, ability == XDP_ABLE);
	sweep(as, a, now_us);
}

/* ---- all of them ---- */

int attachments_new(struct attachments **ret, struct flow_maps *maps,
		    const struct interfaces *interfaces, const char *names)
{
	struct attachments *as = calloc(1, sizeof(*as));

	if (!as)
		return -ENOMEM;
	as->maps = maps;
	as->interfaces = interfaces;
	as->names = names;
	as->forwarding = FORWARDING_USERSPACE;
	list_init(&as->list);
	*ret = as;
	return 0;
}

void attachments_stay_off(struct attachments *as, const char *reason)
{
	as->off = reason;
}

static void forget(struct attachment *a)
{
	list_del(&a->link);
	free(a);
}

struct attachments *attachments_free(struct attachments *as)
{
	if (!as)
		return NULL;
	list_for_each_safe (link, &as->list) {
		struct attachment *a = list_item(link, struct attachment, link);

		detach(as, a);
		remove_clsact(a);
		forget(a);
	}
	free(as);
	return NULL;
}

static struct attachment *find(const struct attachments *as, unsigned ifindex)
{
	list_for_each (link, &as->list) {
		struct attachment *a = list_item(link, struct attachment, link);

		if (a->ifindex == ifindex)
			return a;
	}
	return NULL;
}

static struct attachment *add(struct attachments *as,
			      const struct interface *interface)
{
	struct attachment *a = calloc(1, sizeof(*a));

	if (!a) {
		log_warning("out of memory: interface %s stays in userspace",
			    interface->name);
		return NULL;
	}
	a->ifindex = interface->ifindex;
	list_add_tail(&as->list, &a->link);
	return a;
}

void attachments_interface_changed(struct attachments *as,
				   const struct interface *interface,
				   bool is_gone, uint64_t now_us)
{
	struct attachment *a = find(as, interface->ifindex);

	if (is_gone) {
		/* The kernel took the programs off. */
		set_device(as, interface->ifindex, false);
		if (a)
			forget(a);
		return;
	}
	/* What is attached before an interface comes up does not reset it. */
	if (!a)
		a = add(as, interface);
	if (!a)
		return;
	memcpy(a->name, interface->name, sizeof(a->name));
	bring_in_line(as, a, interface, now_us);
}

void attachments_apply(struct attachments *as, enum media_forwarding forwarding,
		       uint64_t now_us)
{
	const struct interface *interface = NULL;

	as->forwarding = forwarding;
	list_for_each (link, &as->list)
		list_item(link, struct attachment, link)->wanted.reason = NULL;
	while ((interface = interfaces_next(as->interfaces, interface)))
		attachments_interface_changed(as, interface, false, now_us);
}

void attachments_sweep(struct attachments *as, uint64_t now_us)
{
	const struct interface *interface = NULL;

	while ((interface = interfaces_next(as->interfaces, interface))) {
		struct attachment nothing = {.ifindex = interface->ifindex};

		memcpy(nothing.name, interface->name, sizeof(nothing.name));
		sweep(as, &nothing, now_us);
		remove_clsact(&nothing);
	}
}

void attachments_check(struct attachments *as, uint64_t now_us)
{
	if (as->forwarding != FORWARDING_AUTO &&
	    as->forwarding != FORWARDING_XDP)
		return;
	list_for_each_safe (link, &as->list) {
		struct attachment *a = list_item(link, struct attachment, link);
		const struct interface *interface =
			interfaces_find(as->interfaces, a->ifindex);

		if (interface)
			bring_in_line(as, a, interface, now_us);
	}
}

uint16_t attachments_device(struct attachments *as, unsigned ifindex)
{
	const struct attachment *a = find(as, ifindex);
	uint16_t unused = FLOW_DEVICE_NONE;

	if (ifindex == 0)
		return FLOW_DEVICE_NONE;
	for (uint16_t i = 0; i < FLOW_DEVICES; i++) {
		if (as->devices[i] == ifindex)
			return i;
		if (as->devices[i] == 0 && unused == FLOW_DEVICE_NONE)
			unused = i;
	}
	if (unused == FLOW_DEVICE_NONE)
		return unused;
	as->devices[unused] = ifindex;
	set_device(as, ifindex, a && a->choice.way == ATTACH_XDP);
	return unused;
}

unsigned attachments_count(const struct attachments *as, enum attach_way way)
{
	unsigned count = 0;

	list_for_each (link, &as->list)
		count += list_item(link, struct attachment, link)->choice.way ==
			 way;
	return count;
}

bool attachments_status(const struct attachments *as, unsigned index,
			struct media_interface_status *ret)
{
	list_for_each (link, &as->list) {
		const struct attachment *a =
			list_item(link, struct attachment, link);

		if (index-- > 0)
			continue;
		*ret = (struct media_interface_status){
			.engine = way_name(a->choice.way)};
		(void)snprintf(ret->name, sizeof(ret->name), "%s", a->name);
		(void)snprintf(ret->reason, sizeof(ret->reason), "%s",
			       a->choice.reason);
		return true;
	}
	return false;
}
