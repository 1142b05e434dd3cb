"""The link between dispatcher and relay, each against a stand-in for the original's other end."""

import json

import pytest

from mp.link import OriginalDispatcher, OriginalRelay
from mp.phone import talk
from mp.proxy import Reply, encode, media_header, update_headers
from mp.records import (EXPIRED_KEYS, REMOVE_KEYS, SESSION_KEYS, STREAM_KEYS, check_streams_keys)


@pytest.fixture
def original_relay(make_call_system, certs):
    """A dispatcher of ours (.system.dispatcher) with a relay of the original."""
    system = make_call_system(relays=0)
    relay = OriginalRelay(system.dispatcher, certs)
    relay.system = system
    relay.greet()
    relay.ping()
    yield relay
    relay.close()


@pytest.fixture
def original_dispatcher(make_call_system, certs):
    """A relay of ours (.system.relay), linked to a dispatcher of the original."""
    system = make_call_system(started=False)
    dispatcher = OriginalDispatcher(certs, system.port_block().tcp(0))
    dispatcher.system = system
    system.relay.sections["Relay"]["dispatchers"] = dispatcher.link
    system.relay.start()
    dispatcher.accept()
    system.relay.note_fds()
    yield dispatcher
    dispatcher.close()


def test_an_update_reaches_the_originals_relay_with_its_headers_in_order(original_relay):
    client = original_relay.system.client()
    headers = update_headers("request", "c1@x", "f1", "", "audio:10.0.0.1:5000:sendrecv:ice=no",
                             dialog_id="3078:1789", media_relay="127.0.0.1")
    client.send(encode("update", headers))
    command = original_relay.command()
    assert command.name == "update"
    assert command.headers == [(n, str(v)) for n, v in headers if v != ""]
    original_relay.reply(command, "192.0.2.7 40002")
    assert client.line() == "192.0.2.7 40002"

    client.send(encode("remove", [("call_id", "c1@x"), ("from_tag", "f1"), ("to_tag", "t1")]))
    command = original_relay.command()
    assert (command.name, command.headers) == (
        "remove", [("call_id", "c1@x"), ("from_tag", "f1"), ("to_tag", "t1")])
    original_relay.reply(command, '{"call_id": "c1@x", "from_tag": "f1", "start_time": null}')
    assert client.line() == "removed"


def test_what_the_originals_relay_refuses_is_an_error(original_relay):
    client = original_relay.system.client()
    client.send(encode("update", update_headers("request", "c1@x", "f1", "",
                                                "audio:10.0.0.1:5000:sendrecv:ice=no")))
    original_relay.reply(original_relay.command(), "error")
    assert client.line() == "error"


def test_a_relay_that_does_not_answer_costs_an_error_in_time(original_relay):
    client = original_relay.system.client()
    client.send(encode("update", update_headers("request", "c1@x", "f1", "",
                                                "audio:10.0.0.1:5000:sendrecv:ice=no")))
    late = original_relay.command()
    assert client.line(deadline=0.5) == "error"
    # Its late success made a session that nobody knows: it is told to remove it.
    original_relay.reply(late, "192.0.2.7 40002")
    command = original_relay.command()
    assert command.name == "remove" and command.get("call_id") == "c1@x"


def test_our_relay_makes_a_call_for_the_originals_dispatcher(original_dispatcher):
    relay = original_dispatcher.system.relay
    phones = [original_dispatcher.system.phone(name) for name in ("caller", "callee")]
    caller, callee = [phone.stream() for phone in phones]
    tags = ("c1@x", "f1")
    offered = Reply(original_dispatcher.command("update", update_headers(
        "request", *tags, "", media_header([caller]), from_uri="jos\u00e9@example.com")))
    answered = Reply(original_dispatcher.command("update", update_headers(
        "reply", *tags, "t1", media_header([callee]))))
    callee.to, caller.to = offered.address(), answered.address()
    talk(caller, callee)

    session, = json.loads(original_dispatcher.command("sessions"))
    assert list(session) == SESSION_KEYS
    assert [list(s) for s in session["streams"]] == [STREAM_KEYS]
    text = original_dispatcher.command("remove", [("call_id", "c1@x"), ("from_tag", "f1"),
                                                  ("to_tag", "t1")])
    final = json.loads(text)
    assert json.dumps(final) == text  # separators, and \\u for what is not ASCII
    assert list(final) == REMOVE_KEYS
    check_streams_keys(final)
    assert final["timed_out"] is False and final["streams"][0]["status"] == "closed"
    assert final["streams"][0]["caller_packets"] == len(caller.sent)
    assert original_dispatcher.command("sessions") == "[]"
    assert original_dispatcher.hello.startswith("ping {")
    relay.wait_empty()


def test_our_relay_answers_what_it_cannot_do_by_error(original_dispatcher):
    assert original_dispatcher.command("dance") == "error"
    assert original_dispatcher.command("update", [("type", "request")]) == "error"
    assert original_dispatcher.command("remove", [("call_id", "x"), ("from_tag", "y")]) == "error"
    summary = json.loads(original_dispatcher.command("summary"))
    assert list(summary)[:7] == ["ip", "version", "status", "uptime", "session_count",
                                 "stream_count", "bps_relayed"]


def test_a_relay_that_stops_reports_its_sessions_as_expired(original_dispatcher):
    relay = original_dispatcher.system.relay
    for number in (1, 2):
        for kind, tag in (("request", ""), ("reply", "t")):
            assert Reply(original_dispatcher.command("update", update_headers(
                kind, "c%d@x" % number, "f", tag, "audio:127.0.0.1:5000:sendrecv:ice=no"))).ok
    relay.signal(15)
    expired = {}
    while len(expired) < 2:
        word, _, text = original_dispatcher.next_line().partition(" ")
        assert word == "expired"
        session = json.loads(text)
        expired[session["call_id"]] = session
    assert sorted(expired) == ["c1@x", "c2@x"]
    for session in expired.values():
        assert list(session) == EXPIRED_KEYS
        assert session["end_reason"] == "relay stopped"
    assert original_dispatcher.next_line() is None
    original_dispatcher.peer.close()
    assert relay.wait_exit() == 0
