"""What a final record says beyond the original's keys, and that CDRTool still reads it.

docs/accounting.md describes every key. Sums and the order of keys are checked by record().
"""

import json
import os
import re
import signal
import sqlite3
import time

import pytest

from mp import cdrtool
from mp.packets import ip_bytes, rtp, rtp_series
from mp.phone import talk
from mp.records import (EXPIRED_KEYS, PARTIES, REMOVE_KEYS, STREAM_KEYS, address_text, drops,
                        record)
from mp.wait import wait_for

DOCUMENT = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "accounting.md")
LINE = "audio:127.0.0.1:%d:sendrecv:ice=no"


def make_call(system, **options):
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(**options).establish([caller], [callee])
    return call, caller, callee


def remove(system, call):
    assert call.remove() == "removed"
    return record(system, call.call_id)


def wait_received(system, packets):
    """Wait until the relay has counted so many packets: forwarded, and dropped by userspace."""
    def counted():
        summary = system.relay.summary()
        return summary["packets"] + sum(summary["drops"].values())
    wait_for(lambda: counted() >= packets, 3.0, lambda: "%d packets" % counted())


# -- values ------------------------------------------------------------------------------------


@pytest.mark.engine
def test_a_record_says_when_where_and_by_what_a_call_went(call_network, engine):
    began = time.time()
    call, caller, callee = make_call(call_network)
    answered = time.time()
    talk(caller, callee)
    talk(caller, callee, first=100)  # by the kernel, if there is one
    ended = time.time()
    final = remove(call_network, call)
    assert list(final) == REMOVE_KEYS
    assert re.fullmatch("[0-9a-f]{32}-1", final["record_id"])
    assert final["schema"] == 2
    assert began <= final["start_time"] == final["answered_time"] <= answered
    assert ended <= final["end_time"] <= time.time()
    assert final["relay"] == call_network.relay.ip
    assert final["engine"] == engine
    assert final["end_reason"] == "removed"
    stream, = final["streams"]
    for party, phone in (("caller", caller), ("callee", callee)):
        assert stream[party + "_sdp"] == address_text(phone.rtp.address)
        assert drops(stream, party) == {}
        for component in ("rtp", "rtcp"):
            sent = getattr(phone, component).sent
            prefix = "%s_%s_" % (party, component)
            assert stream[prefix + "packets"] == len(sent)
            assert stream[prefix + "bytes"] == ip_bytes(sent, phone.phone.ip)
            kernel_packets = stream[prefix + "kernel_packets"]
            assert (kernel_packets > 0) == (engine != "userspace"), (prefix, kernel_packets)


def test_a_record_says_which_packets_were_dropped_and_whose(call_network):
    call, caller, callee = make_call(call_network)
    talk(caller, callee)
    before = call_network.relay.summary()
    stranger = call_network.phone("stranger").port()
    for packet in rtp_series(7, ssrc=0x666):
        stranger.send(packet, to=caller.to)
    wait_received(call_network, before["packets"] + 7)
    stream, = remove(call_network, call)["streams"]
    assert drops(stream, "caller") == {"not_the_remote": 7}
    assert drops(stream, "callee") == {}
    assert stream["caller_packets"] == len(caller.sent)


def test_a_record_shows_the_relay_as_others_know_it(make_call_system):
    system = make_call_system(relay_config={"advertised_ip": "192.0.2.7"}, started=False)
    system.dispatcher.start()
    system.relay.start()
    wait_for(lambda: system.relay.summary()["dispatchers_connected"] == 1)
    call = system.call()
    assert call.offer(LINE % 5000).ip == "192.0.2.7"
    assert remove(system, call)["relay"] == "192.0.2.7"


def test_no_two_records_have_the_same_id_nor_after_a_restart(call_system):
    ids = []
    for _ in range(2):
        for number in range(3):
            call = call_system.call()
            assert call.offer(LINE % (5000 + 2 * number)).ok
            ids.append(remove(call_system, call)["record_id"])
        call_system.relay.stop()
        call_system.start()
    bases = [one.partition("-")[0] for one in ids]
    assert [one.partition("-")[2] for one in ids] == ["1", "2", "3"] * 2
    assert len(set(bases)) == 2 and len(set(ids)) == 6


def test_only_a_reply_with_a_to_tag_is_the_time_of_answer(call_system):
    caller, callee = call_system.phone("caller").stream(), call_system.phone("callee").stream()
    call = call_system.call()
    assert call.offer(caller).ok
    assert call.answer(callee, provisional=True).ok
    ringing = time.time()
    assert call.answer(callee).ok
    final = remove(call_system, call)
    assert final["start_time"] <= ringing <= final["answered_time"] <= final["end_time"]


def test_our_dispatcher_sees_relay_and_answer_of_calls_that_are_up(call_system):
    call, _, _ = make_call(call_system)
    session = call_system.dispatcher.session(call.call_id)
    assert session["relay"] == call_system.relay.ip
    assert session["engine"] == "userspace"
    assert session["answered_time"] == session["start_time"]
    assert [list(stream) for stream in session["streams"]] == [STREAM_KEYS]
    assert remove(call_system, call)["answered_time"] == session["answered_time"]


# -- why it ended ------------------------------------------------------------------------------


def test_the_record_of_a_call_that_ended_by_itself_says_why(make_call_system):
    system = make_call_system(relay_config={"stream_timeout": 1, "unanswered_timeout": 1})
    silent, caller, callee = make_call(system)
    talk(caller, callee)
    unanswered, rejected = system.call(), system.call()
    assert unanswered.offer(LINE % 5000).ok
    assert rejected.offer(LINE % 5000).ok
    assert rejected.answer("audio:127.0.0.1:0:sendrecv:ice=no").ok
    for call, reason in ((silent, "timeout"), (unanswered, "unanswered"),
                         (rejected, "no stream")):
        final = record(system, call.call_id)
        assert list(final) == EXPIRED_KEYS
        assert final["end_reason"] == reason
        assert final["timed_out"] is (reason != "no stream")
        assert (final["answered_time"] is None) is (reason == "unanswered")
        assert call.remove() == "removed"


def test_the_record_of_a_call_that_a_stop_ended_says_so(call_system):
    call, caller, callee = make_call(call_system)
    talk(caller, callee)
    call_system.relay.signal(signal.SIGTERM)
    assert call_system.relay.wait_exit() == 0
    final = record(call_system, call.call_id)
    assert final["end_reason"] == "relay stopped" and final["timed_out"] is False
    assert call.remove() == "removed"


# -- who reads it ------------------------------------------------------------------------------


@pytest.fixture
def database():
    """A table of sessions, in memory."""
    connection = sqlite3.connect(":memory:")
    connection.execute(cdrtool.TABLE)
    yield connection
    connection.close()


def trace(database, final):
    """What CDRTool shows of a record that was stored."""
    cdrtool.store(database, json.dumps(final))
    return cdrtool.media_trace(database, final["call_id"], final["from_tag"], final["to_tag"])


def test_cdrtool_shows_a_call_that_was_removed(call_system, database):
    streams = [[call_system.phone(name).stream(kind) for kind in ("audio", "video")]
               for name in PARTIES]
    call = call_system.call().establish(*streams)
    talk(streams[0][0], streams[1][0])
    final = remove(call_system, call)
    page = trace(database, final)
    assert page["relay"] == final["relay"]
    assert page["types"] == ["audio", "video"]
    assert list(page["rows"]) == list(final["streams"][0])
    assert page["rows"]["caller_packets"] == [str(len(streams[0][0].sent)), "0"]
    assert page["rows"]["callee_codec"] == ["G711a", "Unknown"]
    assert page["rows"]["post_dial_delay"][1] == ""
    assert page["bars"] == [("audio", "%d s" % final["duration"]),
                            ("video", "No stream data found")]


def test_cdrtool_shows_a_call_that_timed_out(make_call_system, database):
    system = make_call_system(relay_config={"stream_timeout": 1})
    call, caller, callee = make_call(system)
    talk(caller, callee)
    final = record(system, call.call_id)
    assert call.remove() == "removed"
    page = trace(database, final)
    assert page["rows"]["status"] == ["conntrack timeout"]
    assert page["bars"] == [("audio", "%d s" % (final["duration"] - 1))]


def test_cdrtool_shows_drops_as_one_more_row(call_system, database):
    caller = call_system.phone("caller").stream()
    call = call_system.call()
    caller.to = call.offer(caller).address()
    stranger = call_system.phone("stranger", ip="127.0.0.9").port()
    before = call_system.relay.summary()["packets"]
    for seq in range(3):
        stranger.send(rtp(seq, 0x666), to=caller.to)
    wait_received(call_system, before + 3)
    callee = call_system.phone("callee").stream()
    assert call.answer(callee).ok
    page = trace(database, remove(call_system, call))
    dropped = {key: values for key, values in page["rows"].items() if "_dropped_" in key}
    assert dropped == {"callee_dropped_not_open": ["3"]}


def test_cdrtool_would_not_show_an_object_in_a_stream(database):
    """The fixture tells the truth: this is why new keys of streams are numbers and texts."""
    stream = dict.fromkeys(STREAM_KEYS, 0)
    final = {"call_id": "c", "from_tag": "f", "to_tag": "t", "duration": 1,
             "streams": [dict(stream, caller_local="192.0.2.1:1", caller={"rtp": {}})]}
    with pytest.raises(cdrtool.NotShown):
        trace(database, final)


def test_the_document_describes_every_key_and_every_word(call_system):
    call, caller, callee = make_call(call_system)
    talk(caller, callee)
    final = remove(call_system, call)
    with open(DOCUMENT) as file:
        described = set()
        for row in re.findall(r"^\| (`.*?) \|", file.read(), re.MULTILINE):
            described.update(re.findall(r"`([^`]+)`", row))
    wanted = set(REMOVE_KEYS + EXPIRED_KEYS)
    for key in final["streams"][0]:
        wanted.add(re.sub("^(caller|callee)_", "PARTY_", key))
    wanted |= {"removed", "timeout", "unanswered", "no stream", "relay stopped"}
    wanted |= {"active", "on hold", "closed", "rejected", "no-traffic timeout", "on hold timeout",
               "conntrack timeout", "unselected ICE candidate"}
    wanted |= {"PARTY_dropped_" + reason for reason in call_system.relay.summary()["drops"]}
    assert wanted - described == set()
