"""What a stop, a crash and a restart cost: no call that could go on."""

import os
import signal
import threading

import pytest

from mp.phone import talk
from mp.proxy import encode, update_headers
from mp.wait import wait_for

AUDIO = "audio:127.0.0.1:5000:sendrecv:ice=no"


def established(system, **options):
    """A call with one audio stream each way: (call, (caller's, callee's))."""
    streams = [system.phone(name).stream() for name in ("caller", "callee")]
    call = system.call(**options).establish(streams[:1], streams[1:])
    talk(*streams)
    return call, streams


def test_a_dispatcher_that_crashed_knows_its_calls_again(call_system):
    calls = [established(call_system, dialog_id="3078:%d" % number) for number in range(3)]
    call_system.dispatcher.kill()
    for _, streams in calls:
        talk(*streams, first=1000)
    call_system.start()

    assert sorted(s["call_id"] for s in call_system.dispatcher.sessions()) == \
        sorted(call.call_id for call, _ in calls)
    for call, streams in calls:
        # Old connections are gone, as for the SIP proxy's workers.
        again = call_system.call(call_id=call.call_id)
        again.answered, again.cseq = True, dict(call.cseq)
        assert again.offer(streams[0]).address() == streams[1].to
        assert again.answer(streams[1]).address() == streams[0].to
        talk(*streams, first=2000)
        assert again.remove() == "removed"


def test_a_relay_that_stops_ends_its_calls_at_once(call_system):
    call, _ = established(call_system)
    since = call_system.dispatcher.log_offset()
    call_system.relay.stop()
    call_system.dispatcher.wait_log("is down", since=since)
    # The session has expired, and the SIP proxy's BYE is still welcome.
    assert call.remove() == "removed"
    assert call_system.call().offer("audio:127.0.0.1:5000:sendrecv:ice=no") == "error"

    call_system.start()
    call, _ = established(call_system)
    assert call.remove() == "removed"


def test_a_relay_that_drains_serves_its_calls_to_their_end(call_system):
    relay = call_system.relay
    call, streams = established(call_system)
    since = call_system.dispatcher.log_offset()
    relay.drain()
    wait_for(lambda: relay.summary()["status"] == "halting", what="relay halting")

    assert call_system.call().offer("audio:127.0.0.1:5000:sendrecv:ice=no") == "error"
    call_system.dispatcher.wait_log("is halting", since=since)
    assert call.offer(streams[0]).address() == streams[1].to  # a re-INVITE
    assert call.answer(streams[1]).address() == streams[0].to
    talk(*streams, first=1000)
    assert relay.running()
    assert call.remove() == "removed"
    assert relay.wait_exit() == 0


def test_a_relay_that_crashed_is_used_again_as_soon_as_it_is_back(call_system):
    call, _ = established(call_system)
    call_system.relay.kill()
    call_system.dispatcher.wait_relays()
    call_system.start()
    assert call_system.dispatcher.session(call.call_id) is None
    call, _ = established(call_system)
    assert call.remove() == "removed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_that_stops_a_dispatcher_stops_it_well(call_system, number):
    dispatcher = call_system.dispatcher
    call, streams = established(call_system)
    left = [dispatcher.socket_path, dispatcher.control_path]
    assert all(os.path.exists(path) for path in left)
    dispatcher.signal(number)
    assert dispatcher.wait_exit() == 0
    assert not any(os.path.exists(path) for path in left), os.listdir(dispatcher.runtime_dir)

    talk(*streams, first=1000)
    call_system.start()
    assert call_system.call(call_id=call.call_id).remove(to_tag="callee") == "removed"


def test_a_request_that_is_open_when_the_dispatcher_stops_is_an_error(make_call_system):
    system = make_call_system(dispatcher_config={"answer_timeout": "10s"})
    client = system.client()
    system.relay.freeze()
    client.send(encode("update", update_headers("request", "open@x", "f", "", AUDIO)))
    client.send(b"dance\r\n\r\n")
    other = system.client()
    other.send(b"dance\r\n\r\n")
    assert other.line() == "error"
    system.dispatcher.signal(signal.SIGTERM)
    assert [client.line(), client.line()] == ["error", "error"]
    assert system.dispatcher.wait_exit() == 0
    system.relay.thaw()
    system.start()
    assert system.client().remove("open@x", "f") in ("removed", "error")


def many_calls(system, count):
    """count calls of one stream each, offered over one connection, many at a time."""
    client = system.client()
    media = "audio:%s:5000:sendrecv:ice=no" % system.network.caller.ip
    ids = ["many%d@example.com" % number for number in range(count)]
    requests = b"".join(encode("update", update_headers("request", call_id, "f", "", media,
                                                        from_uri="x" * 100, dialog_id="1:2"))
                        for call_id in ids)
    sender = threading.Thread(target=client.send, args=(requests,))
    sender.start()
    for call_id in ids:
        assert client.line(10).startswith(system.relay.ip + " "), call_id
    sender.join()
    return ids


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dispatcher_that_is_started_again_knows_all_of_many_calls(make_call_system, network,
                                                                  number):
    """So many that their list comes in pages."""
    count = 1500
    system = make_call_system(network=network, relay_config={
        "port_range": "10000:60000", "port_rest": 0})
    ids = many_calls(system, count)
    assert system.dispatcher.summary()["sessions"] == count
    if number == signal.SIGKILL:
        system.dispatcher.kill()
    else:
        system.dispatcher.stop()
    system.start()
    wait_for(lambda: system.dispatcher.summary()["sessions"] == count, what=lambda: (
        "all read: %s" % system.dispatcher.summary()))
    assert {s["call_id"] for s in system.dispatcher.sessions()} == set(ids)

    client = system.client()
    requests = b"".join(encode("remove", [("call_id", call_id), ("from_tag", "f")])
                        for call_id in ids)
    sender = threading.Thread(target=client.send, args=(requests,))
    sender.start()
    assert {client.line(10) for _ in ids} == {"removed"}
    sender.join()
    assert system.dispatcher.summary()["records"] == count


def test_two_dispatchers_share_a_relay(make_call_system):
    first = make_call_system(started=False)
    second = make_call_system(relays=0)
    relay = first.relay
    relay.sections["Relay"]["dispatchers"] += " " + second.dispatcher.link
    first.start()
    second.dispatcher.wait_relays(relay.ip)
    calls = []
    for system in (first, second):
        streams = [first.phone(name).stream() for name in ("caller", "callee")]
        call = system.call().establish(streams[:1], streams[1:])
        talk(*streams)
        calls.append((call, streams))
    assert relay.summary()["dispatchers_connected"] == 2

    # The crash of one costs the other nothing, and its own calls go on.
    first.dispatcher.kill()
    for _, streams in calls:
        talk(*streams, first=1000)
    assert calls[1][0].remove() == "removed"
    assert relay.summary()["session_count"] == 1
    first.start()
    assert first.call(call_id=calls[0][0].call_id).remove(to_tag="callee") == "removed"
    second.dispatcher.baseline_fds = None  # it was noted before the relay came
