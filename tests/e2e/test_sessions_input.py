"""Requests that are wrong, late, or left by who made them: `error`, nothing leaked, and the
connection goes on, since a SIP worker that loses it is blind for 10 seconds."""

import time

import pytest

from mp.phone import talk
from mp.proxy import Reply, encode, update_headers
from mp.records import record, records
from mp.wait import wait_for

LINE = "audio:127.0.0.1:5000:sendrecv:ice=no"


def update(call_id="c@x", media=LINE, kind="request", to_tag="", **headers):
    return update_headers(kind, call_id, "f", to_tag, media, **headers)


BAD_MEDIA = [
    "audio", "audio:", "audio:127.0.0.1", "audio:127.0.0.1:5000", "audio:127.0.0.1:5000:sendrecv",
    "audio:127.0.0.1:65536:sendrecv:ice=no", "audio:127.0.0.1:-1:sendrecv:ice=no",
    "audio:127.0.0.1:port:sendrecv:ice=no", "audio:host.example.com:5000:sendrecv:ice=no",
    "audio:127.0.0.1:5000:sideways:ice=no", "audio:127.0.0.1:5000:sendrecv:ice=maybe",
    LINE + ",", "," + LINE, LINE + ",,", LINE + "," + LINE[:-6],
    "a b:127.0.0.1:5000:sendrecv:ice=no",
    ":127.0.0.1:5000:sendrecv:ice=no", ",".join([LINE] * 1000), "audio:1.2.3:5000:sendrecv:ice=no",
    "audio:[::1:5000:sendrecv:ice=no", "x" * 16000,
]


def without(headers, name):
    return [h for h in headers if h[0] != name]


def test_what_is_wrong_gets_an_error_and_makes_no_session(call_system):
    client = call_system.client()
    bad = [encode("update", update("bad%d@x" % n, media)) for n, media in enumerate(BAD_MEDIA)]
    bad += [encode("update", headers) for headers in (
        without(update(), "call_id"), without(update(), "from_tag"), without(update(), "cseq"),
        without(update(), "type"), update(kind="question"), update(cseq=-1), update(cseq="two"),
        update(cseq=2 ** 32), update(signaling_ip="phone.example.com"),
        update(signaling_ip='{"signaling_ip": 5}'), update(signaling_ip="{"),
        update() + [("media", LINE)], update() + [("call_id", "other@x")],
    )]
    bad += [b"update\r\n\r\n", b"remove\r\n\r\n", b"dance\r\ncall_id: c@x\r\n\r\n",
            b"update\r\nno colon here\r\n\r\n", b"update\r\n: no name\r\n\r\n",
            b"update\r\ncall_id: \xff\xfe\r\ntype: request\r\n\r\n",
            encode("remove", [("call_id", "nobody@x"), ("from_tag", "f"), ("to_tag", "t")])]
    for request in bad:
        client.send(request)
        assert client.line() == "error", request[:200]
    assert call_system.dispatcher.sessions() == []
    assert call_system.relay.summary()["sessions_created"] == 0
    # The same connection is good for a call.
    assert client.update("request", "good@x", "f", "", LINE).ok
    assert client.remove("good@x", "f") == "removed"


def test_bad_requests_for_a_call_that_is_up_change_nothing(call_system):
    caller, callee = call_system.phone("caller").stream(), call_system.phone("callee").stream()
    call = call_system.call(clients=1).establish([caller], [callee])
    for number, media in enumerate(BAD_MEDIA):
        assert call.offer(media) == "error"
        talk(caller, callee, count=2, first=10 * number)
    assert call.offer(caller).ok and call.answer(callee).ok
    talk(caller, callee, first=1000)
    assert call.remove() == "removed"
    assert len(record(call_system, call.call_id)["streams"]) == 1


def test_a_callers_folded_header_becomes_no_header_of_the_request(call_system):
    """Kamailio passes them on. The original let the caller set call_id and media_relay."""
    client = call_system.client()
    raw = encode("update", update("folded@x", user_agent="Evil\r\n call_id: victim@x"
                                  "\r\n\tmedia: audio:10.9.9.9:9:sendrecv:ice=no"))
    client.send(raw)
    assert Reply(client.line()).ok
    client.send(encode("update", update("folded@x", kind="reply", to_tag="t")))
    assert Reply(client.line()).ok
    session = call_system.dispatcher.session("folded@x")
    assert "victim@x" in session["caller_ua"] and "\n" not in session["caller_ua"]
    assert call_system.dispatcher.session("victim@x") is None
    # Not folded but smuggled by a bare LF: it stays inside the value.
    client.send(encode("update", update("lf@x", user_agent="Evil\ncall_id: victim@x")))
    assert Reply(client.line()).ok
    assert call_system.dispatcher.session("victim@x") is None
    for call_id in ("folded@x", "lf@x"):
        assert client.remove(call_id, "f") == "removed"
    final = record(call_system, "folded@x")
    assert "10.9.9.9" not in final["streams"][0]["caller_remote"]


def test_a_host_name_in_signaling_ip_is_looked_up_by_nobody(call_system):
    """The original did, and blocked its loop for all calls."""
    client = call_system.client()
    began = time.monotonic()
    for number in range(20):
        signalling = '{"signaling_ip": "nowhere%d.invalid", "destination_ip": "x.invalid"}' % number
        assert client.update("request", "dns%d@x" % number, "f", "", LINE,
                             signaling_ip=signalling).ok
    assert time.monotonic() - began < 1.5
    for number in range(20):
        assert client.remove("dns%d@x" % number, "f") == "removed"


def test_bytes_of_any_kind_in_names_are_kept_apart_and_shown(call_system):
    """Quotes, controls and what is not ASCII come out as JSON can say it. No UTF-8: an error."""
    ids = ["plain@x", "\"quoted\\\"@x", "tab\t@x", "esc\x1b[31m@x", "utf-\u00e9@x",
           "%s%n@x", "../../etc@x", "a" * 2000 + "@x"]
    client = call_system.client()
    for call_id in ids:
        assert client.update("request", call_id, "f", "", LINE).ok, call_id
    shown = sorted(s["call_id"] for s in call_system.dispatcher.sessions())
    assert shown == sorted(ids)
    assert client.update("request", "raw-\udcff\udc80@x", "f", "", LINE) == "error"
    for call_id in ids:
        assert client.remove(call_id, "f") == "removed", call_id
    assert "\x1b" not in call_system.relay.log() + call_system.dispatcher.log()


@pytest.mark.parametrize("hang_up", [True, False], ids=["hangs-up", "waits"])
def test_a_request_that_is_answered_too_late_leaves_no_session(call_system, hang_up):
    """The SIP proxy went on without the relay: nobody would ever remove it."""
    relay = call_system.relay
    client = call_system.client()
    relay.freeze()
    try:
        client.send(encode("update", update("late@x")))
        if hang_up:
            client.close()
        else:
            began = time.monotonic()
            assert client.line(deadline=0.8) == "error"
            assert time.monotonic() - began < 0.6
    finally:
        relay.thaw()
    wait_for(lambda: relay.summary()["sessions_created"] == 1)
    relay.wait_empty()
    assert records(call_system, "late@x") == []
    again = call_system.client()
    assert again.update("request", "late@x", "f", "", LINE, cseq=2).ok
    assert again.remove("late@x", "f") == "removed"
