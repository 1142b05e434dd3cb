"""Requests as OpenSIPS's mediaproxy module writes them, replayed byte for byte.

The files of fixtures/ hold whole requests, one after the other: the module's headers in the
module's order, with the decimal dialog_id of OpenSIPS.
"""

import os

import pytest

from mp.phone import talk
from mp.proxy import Reply

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")


def requests(name):
    with open(os.path.join(FIXTURES, name + ".txt"), "rb") as file:
        return [part + b"\r\n\r\n" for part in file.read().split(b"\r\n\r\n")[:-1]]


def replay(client, parts):
    replies = []
    for part in parts:
        client.send(part)
        replies.append(Reply(client.line()))
    return replies


def test_a_call_of_opensips_has_rtp_both_ways(call_system):
    caller = call_system.phone("caller").stream()
    callee = call_system.phone("callee").stream()
    client = call_system.client()
    offer, answer, remove = requests("opensips_call")
    for template, stream in ((b"127.0.0.1:50000", caller), (b"127.0.0.1:50002", callee)):
        address = b"127.0.0.1:%d" % stream.port
        offer, answer = (part.replace(template, address) for part in (offer, answer))

    offered, answered = replay(client, [offer, answer])
    callee.to, caller.to = offered.address(), answered.address()
    talk(caller, callee)
    session, = call_system.dispatcher.sessions()
    assert session["call_id"] == "f81d4fae-7dec-11d0-a765-00a0c91e6bf6@198.51.100.7"
    assert session["to_uri"] == "bob@example.net"
    assert session["caller_ua"] == "Linphone/3.12.0 (belle-sip/1.6.3)"
    assert replay(client, [remove]) == ["removed"]


@pytest.mark.parametrize("name, counts, statuses", [
    ("opensips_hold", [2, 2, 2, 2, 2], ["on hold", "rejected"]),
    ("opensips_late_offer", [1, 1], ["active"]),
    ("opensips_json_signaling", [2, 2, None], ["active", "active"]),
])
def test_a_conversation_of_opensips_is_understood(call_system, name, counts, statuses):
    """counts: how many ports each reply has, None for a message without media."""
    client = call_system.client()
    parts = requests(name)
    for reply, count in zip(replay(client, parts[:-1]), counts):
        if count is None:
            # A 200 without SDP, for a call that has media: an address and no port.
            assert reply.text == call_system.relay.ip
        else:
            assert len(reply.ports) == count, reply
    session, = call_system.dispatcher.sessions()
    assert [s["status"] for s in session["streams"]] == statuses
    if name == "opensips_json_signaling":
        assert session["username"] == "alice@provider.example"
    assert replay(client, parts[-1:]) == ["removed"]
    assert call_system.dispatcher.sessions() == []


def test_all_conversations_pipelined_on_one_connection(call_system):
    """Replies come in the order of the requests, whatever call they are about."""
    client = call_system.client()
    parts = [requests(name) for name in ("opensips_hold", "opensips_late_offer",
                                         "opensips_json_signaling")]
    mixed = [part for row in range(6) for conversation in parts
             for part in conversation[row:row + 1]]
    client.send(b"".join(mixed))
    for part in mixed:
        reply = Reply(client.line())
        if part.startswith(b"remove"):
            assert reply.text == "removed"
        elif b"\r\nmedia: " in part:
            assert len(reply.ports) == part.split(b"\r\nmedia: ")[1].count(b"ice=")
