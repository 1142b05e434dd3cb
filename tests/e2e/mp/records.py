"""What the statistics of a session have to say, compared with what the phones sent."""

import json
import re
import time

from .packets import ip_bytes
from .wait import wait_for

SESSION_KEYS = ["call_id", "from_tag", "from_uri", "to_tag", "to_uri", "start_time", "duration",
                "caller_ua", "callee_ua", "username", "streams"]
STREAM_KEYS = ["media_type", "status", "timeout_wait", "caller_codec", "callee_codec",
               "start_time", "end_time", "post_dial_delay", "caller_bytes", "callee_bytes",
               "caller_packets", "callee_packets", "caller_local", "callee_local",
               "caller_remote", "callee_remote"]

# What a record has after the original's keys, in this order; in a stream the reasons of drops
# come in between, each where it dropped something (docs/accounting.md).
NEW_RECORD_KEYS = ["record_id", "schema", "answered_time", "end_time", "relay", "engine",
                   "end_reason"]
PARTIES = ("caller", "callee")
COMPONENT_KEYS = ["%s_%s" % (component, number) for component in ("rtp", "rtcp")
                  for number in ("packets", "bytes", "kernel_packets")]
# Only there where there is something to say.
OPTIONAL_KEY = re.compile(r"(caller|callee)_(dropped_\w+|asymmetric)$")
NEW_STREAM_KEYS = ["%s_%s" % (party, key) for party in PARTIES for key in ["sdp"] + COMPONENT_KEYS]
REMOVE_KEYS = SESSION_KEYS + ["dialog_id", "timed_out"] + NEW_RECORD_KEYS
EXPIRED_KEYS = SESSION_KEYS + ["timed_out", "dialog_id", "all_streams_ice"] + NEW_RECORD_KEYS


def point(streams, reply):
    """Let streams send to the ports of the reply that the other party's SDP got."""
    for index, stream in enumerate(streams):
        stream.to = reply.address(index)


def records(system, call_id):
    """All final records of a call-id that the dispatcher has taken so far."""
    marker = "final record from relay "
    found = []
    for line in system.dispatcher.log().splitlines():
        if marker in line and call_id in line:
            found.append(json.loads(line[line.index("{"):]))
    return [r for r in found if r["call_id"] == call_id]


def record(system, call_id, deadline=5.0):
    """The final record of a call, once it came; there is exactly one."""
    wait_for(lambda: records(system, call_id), deadline,
             lambda: "a record of %s\n%s" % (call_id, system.relay.log()[-3000:]))
    found = records(system, call_id)
    assert len(found) == 1, found
    check_streams_keys(found[0])
    return found[0]


def drops(statistics, party):
    """{reason: packets} of a party on a stream of a record."""
    prefix = party + "_dropped_"
    return {key[len(prefix):]: value for key, value in statistics.items()
            if key.startswith(prefix)}


def check_streams_keys(final):
    """Every stream of a record has all keys, in order, and its sums are those of its parts."""
    for stream in final["streams"]:
        assert [k for k in stream if not OPTIONAL_KEY.match(k)] == STREAM_KEYS + NEW_STREAM_KEYS
        for party in PARTIES:
            for number in ("packets", "bytes"):
                parts = [stream["%s_%s_%s" % (party, c, number)] for c in ("rtp", "rtcp")]
                assert stream["%s_%s" % (party, number)] == sum(parts), (party, number, stream)
            for component in ("%s_rtp_", "%s_rtcp_"):
                prefix = component % party
                assert stream[prefix + "kernel_packets"] <= stream[prefix + "packets"]
            assert all(count > 0 for count in drops(stream, party).values()), stream


def statuses(session):
    """[(media type, status), ...] of a session's statistics."""
    return [(s["media_type"], s["status"]) for s in session["streams"]]


def address_text(address):
    return ("[%s]:%d" if ":" in address[0] else "%s:%d") % tuple(address)


def check_stream(statistics, caller, callee, **expected):
    """A stream's numbers are what two Streams of phones sent, all of which was forwarded."""
    for party, stream in (("caller", caller), ("callee", callee)):
        assert statistics[party + "_packets"] == len(stream.sent), (party, statistics)
        assert statistics[party + "_bytes"] == ip_bytes(stream.sent, stream.phone.ip), (
            party, statistics)
        assert statistics[party + "_local"] == address_text(stream.to), (party, statistics)
        if stream.rtp.sent:
            assert statistics[party + "_remote"] == address_text(stream.rtp.address), (
                party, statistics)
    assert statistics["media_type"] == caller.media_type
    for key, value in expected.items():
        assert statistics[key] == value, (key, value, statistics)


class PostDialDelay:
    """Between which two values the post_dial_delay of a stream has to be.

    Make it before the offer, call sending() before and heard() after the first packet.
    """

    def __init__(self):
        self._before_offer = time.monotonic()
        self._after_offer = None

    def offered(self):
        self._after_offer = time.monotonic()
        return self

    def sending(self):
        self._least = time.monotonic() - self._after_offer
        return self

    def heard(self):
        self._most = time.monotonic() - self._before_offer
        return self

    def check(self, statistics):
        delay = statistics["post_dial_delay"]
        assert self._least - 0.001 <= delay <= self._most + 0.001, (
            delay, self._least, self._most)
