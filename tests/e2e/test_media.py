"""The way of packets: every kind and size, byte for byte, and the two families of addresses.

Who may send is in test_media_strangers.py.
"""

import random
import struct
import time

import pytest

from mp.packets import (dtls_hello, ip_bytes, payload, rtcp_series, rtcp_sr, rtp, rtp_series,
                        stun_request, udptl)
from mp.phone import settle, talk
from mp.records import address_text, check_stream, point, record
from mp.wait import wait_for


def assortment(seed=1):
    """Datagrams of every kind and of many sizes, and none twice."""
    choice = random.Random(seed)
    fixed = [
        b"", b"\x00", b"\xff", b"\r\n\r\n", b"\x80", bytes(12), b"\xff" * 65,
        rtp(1, 7), rtp(65535, 7, marker=True), rtp(2, 7, payload_type=127, data=b""),
        rtp(3, 7, data=payload("jumbo", 8988)), rtcp_sr(7, 1), rtcp_sr(7) + bytes(400),
        b"\x80\x64", b"\xbf" * 5000,
        udptl(0), udptl(0x8041, b"looks like RTP"), udptl(65535, payload("fax", 255)),
        stun_request(b"transaction1"), struct.pack("!HHI", 0x0101, 0, 0x2112a442) + bytes(12),
        dtls_hello(), dtls_hello(1300), b"\x17\xfe\xfd" + payload("data", 500),
        b"\x10\x00\x00\x00ZRTP" + bytes(20), b"\x40\x00\x00\x04turn",
        payload("9000", 9000), payload("1472", 1472), payload("1473", 1473),
        b"INVITE sip:bob@example.com SIP/2.0\r\n\r\n", b"update\r\ncall_id: x\r\n\r\n",
    ]
    sizes = [choice.randrange(1, 2000) for _ in range(40)]
    return fixed + [bytes(choice.randrange(256) for _ in range(size)) for size in sizes]


def establish(system, family=4, kind="audio"):
    streams = system.phone("caller").stream(kind), system.phone("callee").stream(kind)
    call = system.call(signaling_ip=streams[0].phone.ip)
    call.establish(streams[:1], streams[1:])
    return (call,) + streams


def pass_all(caller, callee, burst=10):
    """The assortment each way, on RTP and RTCP, in turn with media of the other way."""
    for one, other in ((caller, callee), (callee, caller)):
        for here, there in ((one.rtp, other.rtp), (one.rtcp, other.rtcp)):
            packets = assortment(here.address[1])
            for start in range(0, len(packets), burst):
                here.send(*packets[start:start + burst])
                there.expect(packets[start:start + burst])


def test_datagrams_of_every_kind_and_size_pass_whole(call_system):
    call, caller, callee = establish(call_system)
    talk(caller, callee)
    pass_all(caller, callee)
    assert call.remove() == "removed"
    final = record(call_system, call.call_id)
    check_stream(final["streams"][0], caller, callee)
    assert call_system.relay.summary()["bytes"] == ip_bytes(caller.sent + callee.sent)
    assert call_system.relay.summary()["packets"] == len(caller.sent + callee.sent)


@pytest.mark.engine
@pytest.mark.family
@pytest.mark.parametrize("family", [4, 6])
def test_datagrams_of_every_kind_pass_between_hosts(make_call_system, network, family):
    """Those of 9,000 bytes go in fragments here: up to the socket. What the kernel forwards
    might overtake them, so each is sent when the one before has arrived."""
    system = make_call_system(network=network, family=family)
    call, caller, callee = establish(system)
    talk(caller, callee)
    pass_all(caller, callee, burst=1)
    assert call.remove() == "removed"
    check_stream(record(system, call.call_id)["streams"][0], caller, callee)


def test_the_first_datagram_may_be_of_any_kind(make_call_system, network):
    """From an address that the SDP names, none has to be RTP."""
    system = make_call_system(network=network)
    for first in (b"", b"x", stun_request(), dtls_hello(), udptl(0), rtcp_sr(1)):
        call, caller, callee = establish(system)
        caller.rtp.send(first)
        callee.rtp.expect([first])
        callee.rtcp.send(first)
        caller.rtcp.expect([first])
        assert call.remove() == "removed"


@pytest.mark.engine
def test_order_is_kept_in_a_burst(call_system):
    """More than a batch of the relay, while the other direction is busy too."""
    call, caller, callee = establish(call_system)
    talk(caller, callee)
    talk(caller, callee, first=50)  # the kernel has it by now, if there is an engine
    one, other = rtp_series(300, ssrc=1, first=100), rtp_series(300, ssrc=2, first=100)
    for a, b in zip(one, other):
        caller.rtp.send(a)
        callee.rtp.send(b)
    callee.rtp.expect(one)
    caller.rtp.expect(other)
    assert call.remove() == "removed"


def test_rtcp_goes_to_the_port_after_the_sdps_before_it_is_learned(call_system):
    """The original never sent RTCP to a party that had not sent RTCP itself."""
    call, caller, callee = establish(call_system)
    reports = rtcp_series(5)
    caller.rtcp.send(*reports)
    callee.rtcp.expect(reports)  # the callee has sent nothing at all
    assert callee.rtcp.address[1] == callee.port + 1
    answers = rtcp_series(5, 2)
    callee.rtcp.send(*answers)
    caller.rtcp.expect(answers)
    assert caller.rtp.received == callee.rtp.received == []
    assert call.remove() == "removed"


@pytest.mark.engine(few_packets=True)
def test_rtcp_from_another_port_than_the_sdps(call_system):
    """RTCP that a NAT maps anywhere is learned; from then on packets go there."""
    call, caller, callee = establish(call_system)
    talk(caller, callee)
    mapped = caller.phone.port()
    mapped.to = caller.rtcp.to
    report = rtcp_sr(0x11111111, 50)
    mapped.send(report)
    callee.rtcp.expect_silence(0.05)  # the SDP's own address spoke first and is the better one
    assert call.remove() == "removed"

    call, caller, callee = establish(call_system)
    mapped.to = caller.rtcp.to
    mapped.send(report)
    callee.rtcp.expect([report])
    callee.rtcp.send(report)
    mapped.expect([report])
    assert caller.rtcp.received == []
    caller.rtcp.send(report)  # the address in the SDP takes it back at any time
    callee.rtcp.expect([report])
    callee.rtcp.send(report)
    caller.rtcp.expect([report])
    mapped.expect_silence(0.05)
    assert call.remove() == "removed"


@pytest.mark.engine
def test_a_silent_rtcp_remote_is_forgotten_and_nothing_ends(make_call_system):
    system = make_call_system(relay_config={"rtcp_silence": 1, "stream_timeout": 60})
    call, caller, callee = establish(system)
    mapped = caller.phone.port()
    mapped.to = caller.rtcp.to
    mapped.send(rtcp_sr(1))
    callee.rtcp.expect([rtcp_sr(1)])
    number = 0
    while not caller.rtcp.received:  # to the one that was learned, and then to the SDP's again
        number += 1
        assert number < 100, "still sent to %s" % (mapped.address,)
        callee.rtcp.send(rtcp_sr(2, number))
        time.sleep(0.03)  # the rhythm of a phone that reports much
        wait_for(lambda: len(mapped.received) + len(caller.rtcp.received) == number)
    assert len(mapped.received) > 0
    caller.rtcp.clear()
    talk(caller, callee, first=5)
    assert system.dispatcher.session(call.call_id)["streams"][0]["status"] == "active"
    assert call.remove() == "removed"


def test_early_packets_wait_for_no_answer(call_system):
    """The caller's side is known from the offer: what the callee sends before its answer may
    come through only when the callee is known. Nothing of it is ever misdirected."""
    caller, callee = call_system.phone("caller").stream(), call_system.phone("callee").stream()
    call = call_system.call()
    callee.to = call.offer(caller).address()
    callee.rtp.send(*rtp_series(5))
    wait_for(lambda: sum(call_system.relay.summary()["drops"].values()) == 5)
    caller.to = call.answer(callee).address()
    talk(caller, callee)
    assert call_system.relay.summary()["drops"]["not_the_remote"] == 0
    assert call.remove() == "removed"
    final = record(call_system, call.call_id)["streams"][0]
    assert final["callee_packets"] == len(callee.sent) - 5


@pytest.mark.engine
def test_packets_that_were_sent_before_the_bye_count(call_system):
    """The final counters are read when the last packet has gone."""
    for _ in range(5):
        call, caller, callee = establish(call_system)
        talk(caller, callee, first=100)
        talk(caller, callee, first=200)
        packets = rtp_series(30)
        caller.rtp.send(*packets)
        assert call.remove() == "removed"
        callee.rtp.expect(packets)
        check_stream(record(call_system, call.call_id)["streams"][0], caller, callee)


def test_the_advertised_address_is_what_others_are_told(make_call_system):
    """A relay behind a 1:1 NAT: packets come to the address that is bound."""
    system = make_call_system(relay_config={"advertised_ip": "192.0.2.7"}, started=False)
    system.dispatcher.start()
    system.relay.start()
    wait_for(lambda: system.relay.summary()["dispatchers_connected"] == 1)
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call()
    offered, answered = call.offer(caller), call.answer(callee)
    assert offered.ip == answered.ip == "192.0.2.7"
    callee.to = (system.relay.ip, offered.ports[0])
    caller.to = (system.relay.ip, answered.ports[0])
    talk(caller, callee)
    # Another proxy shows our own advertised port as the SDP: it changes nothing.
    assert call.offer("audio:192.0.2.7:%d:sendrecv:ice=no" % offered.ports[0], cseq=1) == offered
    talk(caller, callee, first=50)
    assert system.relay.summary()["ip"] == "192.0.2.7"
    assert call.remove() == "removed"
    statistics, = record(system, call.call_id)["streams"]
    assert statistics["caller_local"] == "192.0.2.7:%d" % answered.ports[0]
    assert statistics["callee_local"] == "192.0.2.7:%d" % offered.ports[0]


# -- IPv6 --------------------------------------------------------------------------------------


def test_ipv6_calls_have_ipv6_in_replies_and_statistics(make_call_system):
    system = make_call_system(family=6)
    phones = system.phone("caller"), system.phone("callee")
    audio, video = ([phone.stream(kind) for phone in phones] for kind in ("audio", "video"))
    call = system.call(signaling_ip="::1")
    # Brackets or not: both are understood.
    offered = call.offer(audio[0].media(ip="[::1]"), video[0])
    answered = call.answer(audio[1], video[1].media(ip="[::1]"))
    assert offered.ip == answered.ip == "::1"
    point([audio[1], video[1]], offered)
    point([audio[0], video[0]], answered)
    talk(*audio)
    talk(*video)
    # Hold and resume by "::".
    call.offer(audio[0].media(ip="::"), video[0])
    call.answer(audio[1].media("recvonly"), video[1])
    statistics = system.dispatcher.session(call.call_id)["streams"]
    assert [s["status"] for s in statistics] == ["on hold", "active"]
    assert call.offer(audio[0], video[0]) == offered and call.answer(audio[1], video[1]) == answered
    talk(*audio, first=100)
    assert call.remove() == "removed"
    final = record(system, call.call_id)["streams"]
    for statistics, pair in zip(final, (audio, video)):
        check_stream(statistics, *pair, status="closed")
        assert statistics["caller_remote"] == address_text(pair[0].rtp.address)
        assert statistics["caller_remote"].startswith("[::1]:")


@pytest.mark.parametrize("family", [4, 6])
def test_an_offer_of_a_family_that_the_relay_has_not_is_refused(make_call_system, family):
    """Such a call gets an error, and goes on without the relay. An answer is taken: the callee has
    the relay's address, and may send there."""
    system = make_call_system(family=family)
    here, there = ("127.0.0.1", "fd88::1") if family == 4 else ("fd88::1", "127.0.0.1")
    if family == 6:
        here = "::1"
    call = system.call()
    assert call.offer("audio:%s:5000:sendrecv:ice=no" % there) == "error"
    assert system.dispatcher.sessions() == []
    caller, callee = system.phone("alice").stream(), system.phone("bob").stream()
    callee.to = call.offer(caller).address()
    caller.to = call.answer("audio:%s:5000:sendrecv:ice=no" % there).address()
    system.relay.wait_log("callee's SDP is of another family", deadline=1.0)
    settle(caller, callee)
    talk(caller, callee)
    assert call.answer("audio:%s:5000:sendrecv:ice=no" % here).ok
    assert call.remove() == "removed"


# -- where media is never sent -----------------------------------------------------------------


def test_addresses_that_media_is_never_sent_to(make_call_system, network):
    system = make_call_system(network=network)
    client = system.client()
    for number, ip in enumerate((
            "169.254.1.1", "169.254.169.254", "224.0.0.1", "239.1.2.3", "255.255.255.255",
            "127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "fe80::1", "ff02::1",
            "100.100.100.200", "::1")):
        assert client.update("request", "bad%d@x" % number, "f", "",
                             "audio:%s:5000:sendrecv:ice=no" % ip) == "error", ip
    assert system.dispatcher.sessions() == []
    assert system.relay.summary()["sessions_created"] == 0
    # In a re-INVITE: the call goes on as it was.
    call, caller, callee = establish(system)
    talk(caller, callee)
    assert call.offer(caller.media(ip="127.0.0.1")) == "error"
    assert call.offer(caller, caller.media(ip="224.0.0.5").replace("audio", "video")) == "error"
    talk(caller, callee, first=100)
    assert call.offer(caller).ok and call.answer(callee).ok
    talk(caller, callee, first=200)
    assert call.remove() == "removed"
