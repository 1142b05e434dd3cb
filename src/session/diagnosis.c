#include "session/diagnosis.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"

const char *diagnosis_name(enum diagnosis diagnosis)
{
	static const char *const names[] = {
		[DIAGNOSIS_FINE] = "fine",
		[DIAGNOSIS_NOT_ANSWERED] = "not_answered",
		[DIAGNOSIS_REJECTED] = "rejected",
		[DIAGNOSIS_ON_HOLD] = "on_hold",
		[DIAGNOSIS_NO_DESTINATION] = "no_destination",
		[DIAGNOSIS_NOT_SENT] = "not_sent",
		[DIAGNOSIS_WRONG_SOURCE] = "wrong_source",
		[DIAGNOSIS_ELSEWHERE] = "elsewhere",
		[DIAGNOSIS_FELL_SILENT] = "fell_silent",
		[DIAGNOSIS_NOTHING_CAME] = "nothing_came",
	};

	return names[diagnosis];
}

bool diagnosis_is_asymmetric(const struct endpoint *sdp,
			     const struct endpoint *remote)
{
	if (!ip_is_set(&sdp->ip) || !ip_is_set(&remote->ip) ||
	    endpoint_equal(sdp, remote))
		return false;
	return ip_equal(&sdp->ip, &remote->ip) || !ip_is_private(&sdp->ip);
}

/* Those that are not here speak for themselves. */
const char *diagnosis_drop_text(enum media_drop why)
{
	switch (why) {
	case DROP_NOT_THE_REMOTE:
		return "another source is the confirmed one";
	case DROP_NOT_OPEN:
		return "a stranger before the answer, or within settle_time";
	case DROP_STRICT:
		return "a stranger, with learning = strict";
	case DROP_NOT_PROVED:
		return "it proved by nothing that it is the party";
	case DROP_NO_DESTINATION:
		return "the other party has no address that may be used";
	case DROP_NOT_FORWARDING:
		return "the stream is rejected";
	case DROP_SEND_FAILED:
		return "the kernel refused to send: unreachable, filtered, or "
		       "too big";
	case DROP_SEND_FULL:
		return "the send buffer was full";
	case DROP_STUN_REFUSED:
		return "STUN that nobody waits for, or played again";
	case DROP_STUN_LIMIT:
		return "more STUN than is passed on";
	case DROP_FLOOD:
		return "a flood: more of others than is looked at";
	case DROP_OVER_LIMIT:
		return "more than max_stream_packets or max_stream_bytes";
	default:
		return NULL;
	}
}

const char *diagnosis_rule_text(enum learning_rule rule)
{
	switch (rule) {
	case RULE_SDP:
		return "exactly the address in its SDP";
	case RULE_KNOWN_IP:
		return "an IP address that is known for it";
	case RULE_PROVED:
		return "a stranger that proved itself by its media";
	case RULE_REBIND:
		return "the same stream went on from there";
	case RULE_FIRST_PACKET:
		return "the first packet, with learning = first-packet";
	case RULE_ICE:
		return "its ICE check of the other party succeeded";
	default:
		return learning_rule_name(rule);
	}
}

const char *diagnosis_packets(uint64_t count, char text[static 40])
{
	(void)snprintf(text, 40, "%" PRIu64 " packet%s", count,
		       count == 1 ? "" : "s");
	return text;
}

/* ---- the verdict ---- */

static enum party listener_of(const struct diagnosis_facts *f)
{
	return party_other(f->speaker);
}

static bool fell_silent(const struct diagnosis_facts *f)
{
	return f->from.last_media_us != 0 &&
	       f->now_us >= f->from.last_media_us + DIAGNOSIS_SILENCE_US;
}

/* More than was forwarded: that is what the listener notices. */
static bool is_most(const struct diagnosis_facts *f, enum media_drop why)
{
	return f->from.drops[why] > f->from.packets;
}

/* Nothing is to be heard, if SDP is right. Whoever is put on hold hears music,
 * if the other phone plays any. */
static bool is_meant_to_be_silent(const struct diagnosis_facts *f)
{
	enum direction says = f->direction[f->speaker];
	enum direction wants = f->direction[listener_of(f)];

	return says == DIRECTION_RECVONLY || says == DIRECTION_INACTIVE ||
	       wants == DIRECTION_SENDONLY || wants == DIRECTION_INACTIVE ||
	       f->hold[PARTY_CALLER] || f->hold[PARTY_CALLEE];
}

static bool is_refused(const struct diagnosis_facts *f)
{
	return f->refused_packets > 0 &&
	       f->refused_last_us >= f->from.last_media_us;
}

enum diagnosis diagnose(const struct diagnosis_facts *f)
{
	/* STUN is passed on and counted, and is no media. */
	bool heard = f->from.last_media_us != 0;

	if (f->rejected)
		return DIAGNOSIS_REJECTED;
	if (!f->listener_is_reachable && is_most(f, DROP_NO_DESTINATION))
		return DIAGNOSIS_NO_DESTINATION;
	if (is_most(f, DROP_SEND_FAILED))
		return DIAGNOSIS_NOT_SENT;
	if (heard && !fell_silent(f))
		return DIAGNOSIS_FINE;
	if (!f->answered)
		return DIAGNOSIS_NOT_ANSWERED;
	if (is_meant_to_be_silent(f))
		return DIAGNOSIS_ON_HOLD;
	if (is_refused(f))
		return DIAGNOSIS_WRONG_SOURCE;
	if (f->ice)
		return DIAGNOSIS_ELSEWHERE;
	return heard ? DIAGNOSIS_FELL_SILENT : DIAGNOSIS_NOTHING_CAME;
}

/* ---- its words ---- */

static void write_since(struct buf *out, const struct diagnosis_facts *f)
{
	uint64_t last_us = f->from.last_media_us;

	if (f->from.packets > 0 && last_us > f->began_us)
		buf_printf(out, " since %.3f",
			   (double)(last_us - f->began_us) / (double)US_PER_S);
}

static void write_fine(struct buf *out, const struct diagnosis_facts *f)
{
	const struct media_counters *from = &f->from;
	uint64_t lost =
		from->drops[DROP_SEND_FULL] + from->drops[DROP_RECEIVE_FULL];
	char remote[ADDR_TEXT_SIZE], sdp[ADDR_TEXT_SIZE], number[40];

	buf_printf(out, ": %s", diagnosis_packets(from->packets, number));
	if (ip_is_set(&from->remote.ip))
		buf_printf(out, " from %s, %s",
			   endpoint_format(&from->remote, remote),
			   diagnosis_rule_text(from->rule));
	if (!f->ice && !f->remote_is_ours &&
	    diagnosis_is_asymmetric(&f->sdp[f->speaker], &from->remote))
		buf_printf(out, "; an asymmetric phone: its SDP says %s",
			   endpoint_format(&f->sdp[f->speaker], sdp));
	if (from->drops[DROP_NO_DESTINATION] > 0)
		buf_printf(out, "; %" PRIu64 " before had nowhere to go yet",
			   from->drops[DROP_NO_DESTINATION]);
	if (from->drops[DROP_SEND_FAILED] > 0)
		buf_printf(out, "; %" PRIu64 " could not be sent",
			   from->drops[DROP_SEND_FAILED]);
	if (lost > 0)
		buf_printf(out, "; the relay, which is too busy, lost %s",
			   diagnosis_packets(lost, number));
}

static const char *direction_text(enum direction direction)
{
	static const char *const texts[] = {
		[DIRECTION_SENDRECV] = "sendrecv",
		[DIRECTION_SENDONLY] = "sendonly",
		[DIRECTION_RECVONLY] = "recvonly",
		[DIRECTION_INACTIVE] = "inactive",
	};

	return texts[direction];
}

static void write_on_hold(struct buf *out, const struct diagnosis_facts *f)
{
	bool both = f->hold[PARTY_CALLER] && f->hold[PARTY_CALLEE];

	if (both)
		buf_add(out, SPAN(": both parties put the stream on hold"));
	for (enum party p = 0; !both && p < PARTY_COUNT; p++)
		if (f->hold[p])
			buf_printf(out, ": the %s put the stream on hold",
				   party_name(p));
	buf_printf(out, " (the SDP of the %s says %s, that of the %s %s)",
		   party_name(f->speaker),
		   direction_text(f->direction[f->speaker]),
		   party_name(listener_of(f)),
		   direction_text(f->direction[listener_of(f)]));
}

static void write_no_destination(struct buf *out,
				 const struct diagnosis_facts *f)
{
	const struct endpoint *sdp = &f->sdp[listener_of(f)];
	char text[ADDR_TEXT_SIZE], number[40];

	buf_printf(
		out,
		": %s of the %s had nowhere to go, since "
		"nothing ever came from the %s, and its SDP ",
		diagnosis_packets(f->from.drops[DROP_NO_DESTINATION], number),
		party_name(f->speaker), party_name(listener_of(f)));
	if (ip_is_set(&sdp->ip))
		buf_printf(out, "says %s, %s", endpoint_format(sdp, text),
			   ip_is_private(&sdp->ip) ? "a private address out of "
						     "routable_private_ranges"
						   : "which may not be used");
	else
		buf_add(out, SPAN("gives no address"));
}

static void write_source(struct buf *out, const struct diagnosis_facts *f)
{
	const char *why = diagnosis_drop_text(f->refused_why);
	char text[ADDR_TEXT_SIZE], number[40];

	buf_printf(out, ": %s from %s refused as %s",
		   diagnosis_packets(f->refused_packets, number),
		   endpoint_format(&f->refused_source, text),
		   media_drop_name(f->refused_why));
	if (why)
		buf_printf(out, " (%s)", why);
	if (f->from.packets > 0 || !ip_is_set(&f->sdp[f->speaker].ip))
		return;
	buf_printf(out, "; nothing ever came from the %s's SDP address %s",
		   party_name(f->speaker),
		   endpoint_format(&f->sdp[f->speaker], text));
}

static void write_gone(struct buf *out, const struct diagnosis_facts *f)
{
	char text[ADDR_TEXT_SIZE];

	if (f->local_is_gone)
		buf_printf(out,
			   ": the relay's address for it, %s, is not on "
			   "this host any more",
			   endpoint_format(&f->local, text));
}

static void write_silence(struct buf *out, const struct diagnosis_facts *f)
{
	char text[ADDR_TEXT_SIZE], number[40];

	buf_printf(out, ": nothing more came from the %s, after %s",
		   party_name(f->speaker),
		   diagnosis_packets(f->from.packets, number));
	if (ip_is_set(&f->from.remote.ip))
		buf_printf(out, " from %s",
			   endpoint_format(&f->from.remote, text));
	write_gone(out, f);
}

static void write_nothing(struct buf *out, const struct diagnosis_facts *f)
{
	char local[ADDR_TEXT_SIZE], sdp[ADDR_TEXT_SIZE];

	buf_printf(out, ": nothing ever came from the %s to %s",
		   party_name(f->speaker), endpoint_format(&f->local, local));
	if (ip_is_set(&f->sdp[f->speaker].ip))
		buf_printf(out, " (its SDP says %s)",
			   endpoint_format(&f->sdp[f->speaker], sdp));
	if (f->local_is_gone)
		write_gone(out, f);
	else
		buf_add(out, SPAN(": it sends nothing, sends it elsewhere, or "
				  "a firewall is on the way"));
}

static void write_reason(struct buf *out, const struct diagnosis_facts *f,
			 enum diagnosis diagnosis)
{
	char number[40];

	switch (diagnosis) {
	case DIAGNOSIS_FINE:
		write_fine(out, f);
		break;
	case DIAGNOSIS_NOT_ANSWERED:
		buf_add(out, SPAN(": the offer has no answer yet"));
		break;
	case DIAGNOSIS_REJECTED:
		buf_add(out, SPAN(": the answer rejected the stream"));
		break;
	case DIAGNOSIS_ON_HOLD:
		write_on_hold(out, f);
		break;
	case DIAGNOSIS_NO_DESTINATION:
		write_no_destination(out, f);
		break;
	case DIAGNOSIS_NOT_SENT:
		buf_printf(out,
			   ": %s of the %s could not be sent "
			   "to the %s: unreachable, filtered, or too big",
			   diagnosis_packets(f->from.drops[DROP_SEND_FAILED],
					     number),
			   party_name(f->speaker), party_name(listener_of(f)));
		break;
	case DIAGNOSIS_WRONG_SOURCE:
		write_source(out, f);
		break;
	case DIAGNOSIS_ELSEWHERE:
		buf_printf(out,
			   " here: with ICE the phones may have chosen a way "
			   "without the relay, since nothing%s came from the "
			   "%s",
			   f->from.packets > 0 ? " more" : "",
			   party_name(f->speaker));
		break;
	case DIAGNOSIS_FELL_SILENT:
		write_silence(out, f);
		break;
	case DIAGNOSIS_NOTHING_CAME:
		write_nothing(out, f);
		break;
	}
}

void diagnosis_write(struct buf *out, const struct diagnosis_facts *f)
{
	enum diagnosis diagnosis = diagnose(f);

	buf_printf(out, "%.32s: the %s %s ", f->type,
		   party_name(listener_of(f)), f->ended ? "heard" : "hears");
	if (diagnosis == DIAGNOSIS_FINE) {
		buf_printf(out, "the %s", party_name(f->speaker));
	} else {
		buf_add(out, SPAN("nothing"));
		write_since(out, f);
	}
	write_reason(out, f, diagnosis);
}
