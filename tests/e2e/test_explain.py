"""What happened to a call, and who hears whom, as `mediaproxy explain` tells it."""

import json
import re
import time

import pytest

from mp.control import http_request
from mp.packets import rtp_series
from mp.phone import talk
from mp.records import record
from mp.wait import wait_for
from test_command import asked, mediaproxy

AUDIO = "audio:127.0.0.1:5000:sendrecv:ice=no"
PRIVATE = "audio:10.0.0.5:4000:sendrecv:ice=no"
NO_PRIVATE = {"routable_private_ranges": None}


def story(daemon, call_id):
    """The one story of this call, and its text: the same facts for programs and for people."""
    told, = json.loads(asked(daemon, "explain", "--json", call_id))
    text = asked(daemon, "explain", call_id)
    assert told["call_id"] == call_id and text.startswith(call_id)
    for event in told["events"]:
        assert "%10.3f  %s" % (event["at"], event["text"]) in text
    return told, text


def verdicts(told):
    return {d["from"]: d["verdict"] for d in told["diagnosis"]}


def said(told, party):
    """What the diagnosis says of the media from a party."""
    text, = [d["text"] for d in told["diagnosis"] if d["from"] == party]
    return text


def events(told, what):
    return [event for event in told["events"] if event["event"] == what]


def address(port):
    return "%s:%d" % port.address


def streams(system, **ips):
    return [system.phone(name, ips.get(name)).stream() for name in ("caller", "callee")]


def wait_verdicts(system, call, **wanted):
    """The worker may have something to do still."""
    wait_for(lambda: verdicts(story(system.dispatcher, call.call_id)[0]) == wanted,
             what=lambda: "%s, got %s" % (wanted, asked(system.dispatcher, "explain",
                                                        call.call_id)))
    return story(system.dispatcher, call.call_id)


def test_a_call_that_is_well_is_told_by_dispatcher_and_relay_alike(call_system):
    caller, callee = streams(call_system)
    call = call_system.call(from_uri="alice@example.com", to_uri="bob@example.net")
    call.establish([caller], [callee])
    talk(caller, callee)
    wait_for(lambda: asked(call_system.relay, "explain", call.call_id).count(": 10 packets") == 2)
    told, text = wait_verdicts(call_system, call, caller="fine", callee="fine")
    assert "alice@example.com -> bob@example.net\nrelay 127.0.0.1, engine userspace" in text
    words = [event["text"] for event in told["events"]]
    assert words[:3] == ["caller offers audio at " + address(caller.rtp),
                         "callee answers audio at " + address(callee.rtp),
                         "the call is picked up"]
    for party, stream in (("caller", caller), ("callee", callee)):
        assert ("%s audio RTP from %s confirmed: exactly the address in its SDP"
                % (party, address(stream.rtp))) in words
        assert "10 packets from %s, exactly" % address(stream.rtp) in said(told, party)
    assert not events(told, "refused") and told["end_reason"] is None
    times = [event["at"] for event in told["events"]]
    assert times == sorted(times)
    assert story(call_system.relay, call.call_id)[0]["events"] == told["events"]
    assert call.remove() == "removed"


def test_an_ended_call_is_remembered_until_the_relay_is_restarted(call_system):
    caller, callee = streams(call_system)
    call = call_system.call().establish([caller], [callee])
    talk(caller, callee)
    assert call.remove() == "removed"
    told, text = story(call_system.dispatcher, call.call_id)
    assert told["end_reason"] == "removed" and re.search(r" ended after \d+\.\d s: removed\n", text)
    assert told["events"][-1]["text"] == "the call ends: removed"
    assert verdicts(told) == {"caller": "fine", "callee": "fine"}
    assert "the callee heard the caller: 10 packets" in text

    # The same call-id again is a story of its own.
    assert call.offer(AUDIO).ok
    both = json.loads(asked(call_system.relay, "explain", "--json", call.call_id))
    assert [one["end_reason"] for one in both] == ["removed", None]
    assert call.remove() == "removed"

    call_system.relay.stop()
    call_system.start()
    done = mediaproxy("explain", call.call_id, "--runtime-dir", call_system.relay.runtime_dir)
    assert done.returncode == 1 and call.call_id in done.stderr


def test_one_way_because_nothing_arrives(call_system):
    caller, callee = streams(call_system)
    call = call_system.call().establish([caller], [callee])
    callee.rtp.send(*rtp_series(5, ssrc=1))
    told, text = wait_verdicts(call_system, call, caller="nothing_came", callee="fine")
    assert said(told, "caller").startswith(
        "audio: the callee hears nothing: nothing ever came from the caller to %s:%d (its SDP says "
        "%s)" % (*caller.to, address(caller.rtp)))
    assert said(told, "caller") in text
    assert call.remove() == "removed"


def test_one_way_because_media_comes_from_another_address(make_call_system):
    system = make_call_system(relay_config={"settle_time": "60s"})
    caller, callee = streams(system)
    stranger = system.phone("stranger", "127.0.0.9").port()
    call = system.call().establish([caller], [callee])
    stranger.send(*rtp_series(7, ssrc=1), to=caller.to)
    callee.rtp.send(*rtp_series(5, ssrc=2))
    told, _ = wait_verdicts(system, call, caller="wrong_source", callee="fine")
    assert ("7 packets from %s refused as not_open" % address(stranger)
            in said(told, "caller"))
    assert ("nothing ever came from the caller's SDP address %s" % address(caller.rtp)
            in said(told, "caller"))
    refused, = events(told, "refused")
    assert refused["packets"] == 7 and refused["reason"] == "not_open"
    assert refused["address"] == address(stranger) and stranger.received == []
    assert call.remove() == "removed"


def test_one_way_because_the_other_address_is_private_and_silent(make_call_system):
    system = make_call_system(relay_config=NO_PRIVATE)
    caller = system.phone("caller").stream()
    call = system.call()
    call.offer(caller)
    caller.to = call.answer(PRIVATE).address()
    caller.rtp.send(*rtp_series(6, ssrc=1))
    told, text = wait_verdicts(system, call, caller="no_destination", callee="nothing_came")
    assert "callee answers audio at 10.0.0.5:4000 (private: nothing is sent there before" in text
    assert "6 packets of the caller had nowhere to go" in said(told, "caller")
    assert "says 10.0.0.5:4000, a private address" in said(told, "caller")
    assert call.remove() == "removed"


def test_one_way_because_it_cannot_be_sent(call_system):
    """From a socket on loopback nothing goes to the world."""
    caller = call_system.phone("caller").stream()
    call = call_system.call()
    call.offer(caller)
    caller.to = call.answer("audio:198.51.100.7:4000:sendrecv:ice=no").address()
    caller.rtp.send(*rtp_series(3, ssrc=1))
    told, _ = wait_verdicts(call_system, call, caller="not_sent", callee="nothing_came")
    assert "3 packets of the caller could not be sent to the callee" in said(told, "caller")
    assert call.remove() == "removed"


def test_nothing_to_hear_because_of_a_hold_or_a_rejection(call_system):
    call = call_system.call()
    assert call.offer(AUDIO.replace("sendrecv", "inactive"), AUDIO.replace("audio", "video")).ok
    assert call.answer(AUDIO.replace("sendrecv", "inactive"), "video:127.0.0.1:0:sendrecv:ice=no").ok
    told, text = story(call_system.dispatcher, call.call_id)
    assert "caller offers audio at 127.0.0.1:5000, inactive\n" in text
    assert "callee rejects video (port 0)\n" in text
    by_media = {(d["media_type"], d["verdict"]) for d in told["diagnosis"]}
    assert by_media == {("audio", "on_hold"), ("video", "rejected")}
    assert ("audio: the caller hears nothing: both parties put the stream on hold (the SDP of the "
            "callee says inactive, that of the caller inactive)" in text)
    assert call.remove() == "removed"


def test_an_asymmetric_phone_is_named_once_in_the_log_in_the_story_and_in_the_record(call_system):
    caller, callee = streams(call_system)
    call = call_system.call().establish([caller], [callee])
    elsewhere = caller.phone.port()
    line = "[%s] asymmetric caller: the SDP of its audio says %s, its media comes from %s" % (
        call.call_id, address(caller.rtp), address(elsewhere))
    elsewhere.send(*rtp_series(3, ssrc=1), to=caller.to)
    callee.rtp.send(*rtp_series(3, ssrc=2))
    call_system.relay.wait_log(re.escape(line))
    told, _ = wait_verdicts(call_system, call, caller="fine", callee="fine")
    assert told["streams"][0]["caller"]["asymmetric"] is True
    assert told["streams"][0]["callee"]["asymmetric"] is False
    assert "an asymmetric phone: its SDP says " + address(caller.rtp) in said(told, "caller")
    assert call.remove() == "removed"
    assert call_system.relay.log().count("asymmetric caller") == 1
    final, = record(call_system, call.call_id)["streams"]
    assert final["caller_asymmetric"] == 1 and "callee_asymmetric" not in final


def test_a_rebinding_and_new_sdp_are_told(make_call_system):
    system = make_call_system(relay_config={"rebind_silence": "50ms"})
    caller, callee = streams(system)
    call = system.call().establish([caller], [callee])
    talk(caller, callee, ssrc=(7, 8))
    moved = caller.phone.port()
    packets = iter(rtp_series(200, ssrc=7, first=20))
    while not callee.rtp.received:
        moved.send(next(packets), to=caller.to)
        time.sleep(0.02)
    told, _ = story(system.dispatcher, call.call_id)
    rebound, = [e for e in events(told, "confirmed") if e["reason"] == "rebind"]
    assert re.fullmatch("caller audio RTP from %s confirmed: the same stream went on from there, "
                        r"0\.\d+ s after the last from the one before"
                        % re.escape(address(moved)), rebound["text"])

    other = caller.phone.stream()
    offered = call.offer(other)
    assert offered.ok and call.answer(callee).ok
    told, text = story(system.dispatcher, call.call_id)
    assert "caller offers audio at %s" % address(other.rtp) in text
    assert call.remove() == "removed"


def test_a_call_that_nobody_has_answered(call_system):
    call = call_system.call()
    assert call.offer(AUDIO).ok
    told, _ = story(call_system.dispatcher, call.call_id)
    assert verdicts(told) == {"caller": "not_answered", "callee": "not_answered"}
    assert call.remove() == "removed"


def test_what_the_relay_refused_in_the_middle_of_a_call_is_told(call_system):
    call = call_system.call()
    assert call.offer(AUDIO).ok and call.answer(AUDIO).ok
    assert call.offer("audio:169.254.169.254:80:sendrecv:ice=no") == "error"
    _, text = story(call_system.dispatcher, call.call_id)
    assert "a message of the SIP proxy is refused: the SDP address is a metadata service" in text
    assert call.remove() == "removed"


@pytest.mark.engine("tc")
def test_what_the_kernel_forwards_is_told(call_system):
    caller, callee = streams(call_system)
    call = call_system.call(signaling_ip=caller.phone.ip).establish([caller], [callee])
    talk(caller, callee)
    told, _ = story(call_system.dispatcher, call.call_id)
    kernel = {event["text"] for event in events(told, "kernel")}
    assert {"%s audio RTP: the kernel forwards it" % p for p in ("caller", "callee")} <= kernel
    talk(caller, callee, first=50)
    assert verdicts(told) == {"caller": "fine", "callee": "fine"}
    assert call.remove() == "removed"


def test_a_call_id_that_nobody_knows_is_said_to_be_unknown(call_system):
    for daemon in call_system.daemons:
        done = mediaproxy("explain", "no\x1b[2Jbody@x", "--runtime-dir", daemon.runtime_dir)
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith(r"mediaproxy explain: no call with call-id no\x1b[2Jbody@x ")
        assert "1,000" in done.stderr and "mediaproxy history" in done.stderr


def test_what_a_caller_calls_himself_cannot_move_the_terminal(call_system):
    call = call_system.call(call_id="\x1b[2J@x", from_uri="\x1b]0;evil\x07@x",
                            caller_tag="\x1b[31m")
    assert call.offer(AUDIO).ok and call.answer(AUDIO).ok
    for daemon in call_system.daemons:
        text = asked(daemon, "explain", call.call_id)
        assert r"\x1b[2J@x" in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), repr(text)
    assert call.remove() == "removed"


@pytest.mark.parametrize("query", ["", "?call_id=", "?call_id=a%0d%0ax%3a%20y", "?call=x"])
def test_a_question_without_a_call_id_is_refused(call_system, query):
    """A line end in it would be a header of its own on the link."""
    status, text = http_request(call_system.dispatcher.control_path, "GET",
                                "/api/v1/explain" + query)
    assert status == 400 and "call_id is needed" in json.loads(text)["error"]
