"""The first thing that has to work: one call, with RTP and RTCP both ways."""

import pytest

from mp.packets import (dtls_hello, ip_bytes, payload, rtcp_series, rtp_series, stun_request,
                        udptl)
from mp.phone import settle, talk


def test_rtp_and_rtcp_pass_both_ways_whole_and_in_order(call_system):
    caller = call_system.phone("caller").stream()
    callee = call_system.phone("callee").stream()
    call = call_system.call()

    offered = call.offer(caller)
    assert offered.ip == call_system.relay.ip and len(offered.ports) == 1
    answered = call.answer(callee)
    assert answered.ip == call_system.relay.ip and len(answered.ports) == 1
    assert answered.ports != offered.ports
    assert all(port % 2 == 0 for port in offered.ports + answered.ports)

    callee.to = offered.address()
    caller.to = answered.address()
    talk(caller, callee, count=50)
    assert call.remove() == "removed"


def test_statistics_say_what_was_sent(call_system):
    caller = call_system.phone("caller").stream()
    callee = call_system.phone("callee").stream()
    call = call_system.call(from_uri="alice@example.com", to_uri="bob@example.net")
    offered = call.offer(caller, user_agent="Caller's Phone 1.0")
    answered = call.answer(callee, user_agent="Callee/2")
    callee.to, caller.to = offered.address(), answered.address()

    to_callee = rtp_series(30, ssrc=1, payload_type=8)
    to_caller = rtp_series(20, ssrc=2, payload_type=0, size=80)
    caller.rtp.send(*to_callee)
    callee.rtp.expect(to_callee)
    callee.rtp.send(*to_caller)
    caller.rtp.expect(to_caller)
    reports = rtcp_series(3, ssrc=1)
    caller.rtcp.send(*reports)
    callee.rtcp.expect(reports)

    session = call_system.dispatcher.session(call.call_id)
    assert session["from_tag"] == "caller" and session["to_tag"] == "callee"
    assert session["from_uri"] == "alice@example.com"
    assert session["to_uri"] == "bob@example.net"
    assert session["caller_ua"] == "Caller's Phone 1.0"
    assert session["callee_ua"] == "Callee/2"
    stream, = session["streams"]
    assert stream["media_type"] == "audio" and stream["status"] == "active"
    assert stream["caller_codec"] == "G711a" and stream["callee_codec"] == "G711u"
    assert stream["caller_packets"] == len(to_callee) + len(reports)
    assert stream["callee_packets"] == len(to_caller)
    assert stream["caller_bytes"] == ip_bytes(to_callee + reports)
    assert stream["callee_bytes"] == ip_bytes(to_caller)
    assert stream["caller_local"] == "%s:%d" % caller.to
    assert stream["callee_local"] == "%s:%d" % callee.to
    assert stream["caller_remote"] == "%s:%d" % caller.rtp.address
    assert stream["callee_remote"] == "%s:%d" % callee.rtp.address
    assert 0 <= stream["post_dial_delay"] < 5
    assert call.remove() == "removed"
    assert call_system.dispatcher.session(call.call_id) is None


def test_a_phone_behind_a_nat_is_found_by_its_packets(make_call_system):
    """The default: private addresses are not sent to before they are heard."""
    system = make_call_system(relay_config={"routable_private_ranges": None,
                                            "settle_time": "50ms"})
    caller = system.phone("caller").stream()
    callee = system.phone("callee").stream()
    call = system.call(signaling_ip="192.0.2.1")
    offered = call.offer(caller.media(ip="10.1.1.1", port=5000))
    answered = call.answer(callee.media(ip="10.2.2.2", port=6000))
    callee.to, caller.to = offered.address(), answered.address()

    # Their real addresses are nowhere in the SDP: each has to prove itself by its packets.
    settle(caller, callee)
    talk(caller, callee, ssrc=(1, 2), first=5000)
    stream, = system.dispatcher.session(call.call_id)["streams"]
    assert stream["caller_remote"] == "%s:%d" % caller.rtp.address
    assert stream["callee_remote"] == "%s:%d" % callee.rtp.address
    assert call.remove() == "removed"


@pytest.mark.family
@pytest.mark.parametrize("family", [4, 6])
def test_a_call_between_hosts_passes_through_the_relay_alone(make_call_system, network, family):
    system = make_call_system(network=network, family=family)
    streams = [system.phone(name).stream() for name in ("caller", "callee")]
    call = system.call(signaling_ip=streams[0].phone.ip)
    call.establish(streams[:1], streams[1:])
    assert streams[0].to[0] == system.relay.ip
    talk(*streams, count=50)
    stream, = system.dispatcher.session(call.call_id)["streams"]
    for name, phone in zip(("caller", "callee"), streams):
        assert stream[name + "_packets"] == len(phone.sent)
        assert stream[name + "_bytes"] == ip_bytes(phone.sent, phone.phone.ip)
    assert call.remove() == "removed"


def test_a_call_over_ipv6_on_loopback(make_call_system):
    system = make_call_system(family=6)
    streams = [system.phone(name).stream() for name in ("caller", "callee")]
    call = system.call(signaling_ip="::1").establish(streams[:1], streams[1:])
    talk(*streams)
    stream, = system.dispatcher.session(call.call_id)["streams"]
    assert stream["caller_local"] == "[::1]:%d" % streams[0].to[1]
    assert call.remove() == "removed"


def test_datagrams_of_every_size_pass_whole(call_system):
    """Empty ones and big ones too; what the relay does not know is passed on as well."""
    caller = call_system.phone("caller").stream()
    callee = call_system.phone("callee").stream()
    call = call_system.call().establish([caller], [callee])
    talk(caller, callee)
    packets = [b"", b"x", rtp_series(1, size=1460)[0], payload("any", 9000), dtls_hello(),
               udptl(1), stun_request(), b"\x00", b"\xff" * 65]
    caller.rtp.send(*packets)
    callee.rtp.expect(packets)
    callee.rtp.send(*packets)
    caller.rtp.expect(packets)
    assert call.remove() == "removed"
