#pragma once
/**
 * @file media/kernel/attach.h  The programs on the interfaces
 *
 * Decides for each interface what forwards there, attaches the program by
 * netlink (XDP in the driver, or clsact), and takes it off again. A program
 * outlives its relay: one that was killed leaves its programs, which let
 * everything pass once their lease is over; the next start takes them over. The
 * engine's thread only, but for what is said otherwise.
 */
#include "media/kernel/flow_maps.h"
#include "media/kernel/interfaces.h"
#include "media/media.h"

struct attachments;

/** What an interface can do for XDP. */
enum xdp_ability {
	XDP_ABLE,        /* the driver runs programs and sends for them */
	XDP_CANNOT_SEND, /* it drops what a program sends by it */
	XDP_UNKNOWN      /* the kernel does not say, and we do not know it */
};

enum attach_way { ATTACH_NONE, ATTACH_XDP, ATTACH_TC };

/** A decision, and why, for people. */
struct attach_choice {
	enum attach_way way;
	const char *reason;
};

/**
 * What shall forward what arrives at this interface. Pure.
 *
 * @param names    forwarding_interfaces; "": all
 * @param ability  Of the interface
 */
struct attach_choice attach_choose(const struct interface *interface,
				   enum media_forwarding forwarding,
				   const char *names, enum xdp_ability ability);

/** @param interfaces, names  Borrowed @return 0 or -ENOMEM */
int attachments_new(struct attachments **ret, struct flow_maps *maps,
		    const struct interfaces *interfaces, const char *names);

/** Attach nothing from now on, whatever is asked for. @param reason  Static */
void attachments_stay_off(struct attachments *attachments, const char *reason);

/** Take everything off and free it. NULL is fine. @return NULL */
struct attachments *attachments_free(struct attachments *attachments);

/** Bring all interfaces in line with this. Logs what changed. */
void attachments_apply(struct attachments *attachments,
		       enum media_forwarding forwarding, uint64_t now_us);

/** Remove what relays that are gone have left on all interfaces. */
void attachments_sweep(struct attachments *attachments, uint64_t now_us);

/** An interface is new, has changed or is gone. */
void attachments_interface_changed(struct attachments *attachments,
				   const struct interface *interface,
				   bool is_gone, uint64_t now_us);

/** See which interfaces take what XDP sends by them by now: no event tells of
 * it. Each few seconds. */
void attachments_check(struct attachments *attachments, uint64_t now_us);

/**
 * The entry of the map `devices` for an interface; it is empty as long as
 * nothing may be sent there.
 *
 * @param ifindex  0: none
 * @return FLOW_DEVICE_NONE if there are FLOW_DEVICES others
 */
uint16_t attachments_device(struct attachments *attachments, unsigned ifindex);

/** How many have this way. */
unsigned attachments_count(const struct attachments *attachments,
			   enum attach_way way);

/** The interfaces by number. @return false: there are no more */
bool attachments_status(const struct attachments *attachments, unsigned index,
			struct media_interface_status *ret);

/** xdp_ability.c: ask the kernel, or else go by the driver's name. */
enum xdp_ability xdp_ability_of(const struct interface *interface);

/** clsact.c: does anybody have a filter in an interface's clsact qdisc? true if
 * that cannot be found out. */
bool clsact_has_filters(unsigned ifindex);
