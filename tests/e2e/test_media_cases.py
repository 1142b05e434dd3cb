"""Media that is not plain RTP from the start: who is heard, when, and how much is clipped.

docs/nat.md has these cases as a table, with the numbers that are asserted here.
"""

import time

import pytest

from mp.packets import dtls_hello, rtcp_sr, rtp, rtp_series, udptl
from mp.phone import talk
from mp.records import drops, record
from mp.wait import wait_for

SETTLE_S = 0.1
NOWHERE = "192.168.99.99"  # behind a NAT, says the SDP
ELSEWHERE = "192.0.2.1"    # another proxy
PACE_S = 0.02


class Scene:
    """A call from the host `caller`; the other side are hosts of the test's choice."""

    def __init__(self, make_call_system, network):
        self.system = make_call_system(
            network=network, relay_config={"settle_time": "%dms" % (SETTLE_S * 1000)})
        self.caller = self.stream("caller")
        self.call = self.system.call(signaling_ip=self.caller.phone.ip)

    def stream(self, host, media_type="audio"):
        return self.system.phone(host).stream(media_type)

    def dropped(self):
        return sum(self.system.relay.summary()["drops"].values())

    def clipped(self, mouth, ear, packets, pace_s=0.001):
        """Send packets from one Port, and count those that the other one does not hear. Each is
        heard or dropped in the end; what is heard is in order."""
        before = self.dropped()
        for packet in packets:
            mouth.send(packet)
            time.sleep(pace_s)
        wait_for(lambda: len(ear.data) + self.dropped() - before >= len(packets), 3.0,
                 lambda: "%d packets heard or dropped: %d, %d" % (
                     len(packets), len(ear.data), self.dropped() - before))
        heard = ear.data
        assert heard == [p for p in packets if p in heard]
        assert len(heard) + self.dropped() - before == len(packets)
        ear.clear()
        return len(packets) - len(heard)

    def offered(self, *others, **headers):
        """The INVITE. Everybody on the other side is to send to the same port."""
        address = self.call.offer(self.caller, **headers).address()
        for stream in others:
            stream.to = address

    def answered(self, by, provisional=False, **headers):
        """A 183 or the 200 with the SDP of a stream."""
        self.caller.to = self.call.answer(
            by if isinstance(by, str) else by.media(), provisional=provisional,
            **headers).address()

    def reports(self, stream):
        """Its first RTCP: from now on the caller's reports go there, and not to the SDP's port."""
        report = rtcp_sr(1)
        stream.rtcp.send(report)
        self.caller.rtcp.expect([report])

    def not_heard_any_more(self, stream, ssrc, ended_streams):
        """It speaks to the ports of a stream that has ended; nobody has them now."""
        wait_for(lambda: self.system.relay.summary()["sockets_closed"] == 4 * ended_streams)
        stream.rtp.send(*voice(ssrc, 500, 3))
        self.caller.rtp.expect_silence(0.05)

    def end(self):
        """The BYE, and the reasons of all that was dropped of each party."""
        assert self.call.remove() == "removed"
        streams = record(self.system, self.call.call_id)["streams"]
        return {p: [drops(s, p) for s in streams] for p in ("caller", "callee")}


@pytest.fixture
def scene(make_call_system, network):
    return Scene(make_call_system, network)


def voice(ssrc, first=1, count=10):
    return rtp_series(count, ssrc=ssrc, first=first)


# -- early media -------------------------------------------------------------------------------


@pytest.mark.engine
def test_early_media_of_a_server_that_the_183_names_and_then_the_phone(scene):
    server, phone = scene.stream("stranger"), scene.stream("callee")
    scene.offered(server, phone)
    scene.answered(server, provisional=True)
    assert scene.clipped(server.rtp, scene.caller.rtp, voice(1)) == 0
    assert scene.clipped(scene.caller.rtp, server.rtp, voice(9)) == 0
    talk(scene.caller, server, first=50, ssrc=(9, 1))
    scene.answered(phone)
    assert scene.clipped(phone.rtp, scene.caller.rtp, voice(2)) == 0
    assert scene.clipped(scene.caller.rtp, phone.rtp, voice(9, first=100)) == 0
    assert scene.clipped(server.rtp, scene.caller.rtp, voice(1, first=100, count=3)) == 3
    talk(scene.caller, phone, first=200, ssrc=(9, 2))
    assert server.rtp.received == []
    assert scene.end() == {"caller": [{}], "callee": [{"not_the_remote": 3}]}


@pytest.mark.engine
def test_early_media_from_an_address_in_no_sdp_and_then_the_phone(scene):
    """The 183 names the phone, and a server speaks: it has to prove itself, after settle_time.
    The phone's own first packet is the better one."""
    server, phone = scene.stream("stranger"), scene.stream("callee")
    scene.offered(server, phone)
    scene.answered(phone, provisional=True, signaling_ip=phone.phone.ip)
    early = scene.clipped(server.rtp, scene.caller.rtp, voice(1, count=15), PACE_S)
    assert early <= SETTLE_S / PACE_S + 1
    assert scene.clipped(scene.caller.rtp, server.rtp, voice(9)) == 0
    scene.reports(server)
    talk(scene.caller, server, first=50, ssrc=(9, 1))
    scene.answered(phone)
    assert scene.clipped(phone.rtp, scene.caller.rtp, voice(2)) == 0
    scene.reports(phone)
    assert scene.clipped(server.rtp, scene.caller.rtp, voice(1, first=200, count=3)) == 3
    talk(scene.caller, phone, first=200, ssrc=(9, 2))
    assert server.rtp.received == []
    lost = {"not_the_remote": 3}
    assert scene.end() == {"caller": [{}], "callee": [
        dict(lost, not_open=early) if early else lost]}


def test_media_before_any_sdp_of_its_party(scene):
    """A 180 without SDP, or packets that overtake the 200: nobody has said yet who may speak."""
    phone = scene.stream("callee")
    scene.offered(phone)
    assert scene.clipped(phone.rtp, scene.caller.rtp, voice(1, count=5)) == 5
    scene.answered(phone)
    assert scene.clipped(phone.rtp, scene.caller.rtp, voice(1, first=6)) == 0
    assert scene.end() == {"caller": [{}], "callee": [{"not_open": 5}]}


@pytest.mark.engine
def test_forks_that_send_early_media_at_once(scene):
    """One is heard at a time: the one whose SDP came last. Who answers is heard at once, though
    another SDP came in between."""
    forks = [scene.stream("callee"), scene.stream("stranger")]
    scene.offered(*forks)
    scene.answered(forks[0], provisional=True)
    assert scene.clipped(forks[0].rtp, scene.caller.rtp, voice(1)) == 0
    assert scene.clipped(forks[1].rtp, scene.caller.rtp, voice(2)) == 10
    scene.answered(forks[1], provisional=True)
    for turn in range(1, 3):
        assert scene.clipped(forks[1].rtp, scene.caller.rtp, voice(2, 10 * turn + 1)) == 0
        assert scene.clipped(forks[0].rtp, scene.caller.rtp, voice(1, 10 * turn + 1)) == 10
    scene.answered(forks[0])
    assert scene.clipped(forks[0].rtp, scene.caller.rtp, voice(1, 41)) == 0
    assert scene.clipped(forks[1].rtp, scene.caller.rtp, voice(2, 41)) == 10
    talk(scene.caller, forks[0], first=100, ssrc=(9, 1))
    assert forks[1].rtp.received == []
    lost = scene.end()
    refused, = lost["callee"]
    # Quicker than 32 at once and 50 a second: the rest of it is not looked at.
    assert refused["not_the_remote"] + refused.get("flood", 0) == 40 == sum(refused.values())
    assert lost["caller"] == [{}]


# -- the first packet is no voice --------------------------------------------------------------


def settled():
    over = time.monotonic() + SETTLE_S + 0.02
    wait_for(lambda: time.monotonic() > over)


@pytest.mark.parametrize("signalling, clipped", [("known", 0), ("elsewhere", 1)])
def test_dtls_before_rtp(scene, signalling, clipped):
    """Its phone repeats a lost hello after a second. From an address that is known nowhere one
    within settle_time is lost, and the next one waits for settle_time once more."""
    phone = scene.stream("callee")
    scene.offered(phone)
    known = signalling == "known"
    scene.answered(phone.media(ip=NOWHERE),
                   signaling_ip=phone.phone.ip if known else ELSEWHERE)
    hello = dtls_hello()
    phone.rtp.send(hello)
    if not known:
        wait_for(lambda: scene.dropped() == clipped)
        settled()
        sent = time.monotonic()
        phone.rtp.send(hello)
        scene.caller.rtp.wait(1)
        assert scene.caller.rtp.received[0].time - sent > SETTLE_S * 0.9
    scene.caller.rtp.expect([hello])
    scene.caller.rtp.send(hello)
    phone.rtp.expect([hello])
    scene.reports(phone)
    talk(scene.caller, phone)
    assert scene.end()["callee"] == [{"not_open": clipped} if clipped else {}]


@pytest.mark.parametrize("signalling, clipped", [("known", 0), ("elsewhere", 1)])
def test_comfort_noise_only(scene, signalling, clipped):
    """A muted phone: a packet of comfort noise now and then is enough to be found."""
    phone = scene.stream("callee")
    scene.offered(phone)
    known = signalling == "known"
    scene.answered(phone.media(ip=NOWHERE),
                   signaling_ip=phone.phone.ip if known else ELSEWHERE)
    noise = [rtp(seq, 7, payload_type=13, data=b"\x40") for seq in (1, 50)]
    phone.rtp.send(noise[0])
    if not known:
        wait_for(lambda: scene.dropped() == clipped)
        settled()
    phone.rtp.send(noise[1])
    scene.caller.rtp.expect(noise[clipped:])
    assert scene.clipped(scene.caller.rtp, phone.rtp, voice(9)) == 0
    assert scene.end()["callee"] == [{"not_open": clipped} if clipped else {}]


def test_rtcp_from_another_port(scene):
    """It is heard at once. Until then reports for it go to the port after its RTP."""
    phone = scene.stream("callee")
    scene.offered(phone)
    scene.answered(phone)
    mapped = phone.phone.port()
    mapped.to = phone.rtcp.to
    assert scene.clipped(scene.caller.rtcp, phone.rtcp, [rtcp_sr(9, 1)]) == 0
    assert scene.clipped(mapped, scene.caller.rtcp, [rtcp_sr(1, 1), rtcp_sr(1, 2)]) == 0
    assert scene.clipped(scene.caller.rtcp, mapped, [rtcp_sr(9, 2), rtcp_sr(9, 3)]) == 0
    assert scene.end() == {"caller": [{}], "callee": [{}]}


@pytest.mark.engine
def test_t38_from_another_port_than_the_sdps(scene):
    """Of the same host, as many gateways do: heard at once, and answered there."""
    phone = scene.stream("callee")
    scene.offered(phone)
    scene.answered(phone)
    talk(scene.caller, phone)
    fax = [scene.stream("caller", "image"), scene.stream("callee", "image")]
    offered = scene.call.offer(fax[1], by="callee")
    answered = scene.call.answer(fax[0], by="caller")
    fax[0].to, fax[1].to = offered.address(), answered.address()
    elsewhere = fax[1].phone.port()
    elsewhere.to = fax[1].to
    assert scene.clipped(fax[0].rtp, fax[1].rtp, [udptl(0)]) == 0
    assert scene.clipped(elsewhere, fax[0].rtp, [udptl(n) for n in range(5)]) == 0
    assert scene.clipped(fax[0].rtp, elsewhere, [udptl(n) for n in range(1, 10)]) == 0
    assert scene.end() == {"caller": [{}, {}], "callee": [{}, {}]}


# -- another party in the middle of the call ---------------------------------------------------


@pytest.mark.engine
def test_music_on_hold_from_a_third_address_and_the_phone_again(scene):
    """The re-INVITE names the server. All is heard from its first packet on."""
    music, phone = scene.stream("stranger"), scene.stream("callee")
    scene.offered(phone)
    scene.answered(phone)
    talk(scene.caller, phone)
    for who, direction, ssrc in ((music, "sendonly", 5), (phone, "sendrecv", 0x22222222)):
        to = scene.call.offer(who.media(direction), by="callee").address()
        who.to = scene.call.answer(scene.caller, by="caller").address()
        scene.caller.to = to
        assert scene.clipped(who.rtp, scene.caller.rtp, voice(ssrc, 50)) == 0
        talk(scene.caller, who, first=100, ssrc=(0x11111111, ssrc))
    scene.not_heard_any_more(music, 5, ended_streams=2)
    assert scene.end() == {"caller": [{}] * 3, "callee": [{}] * 3}


def test_music_on_hold_that_no_sdp_names_is_not_heard(scene):
    """The phone was heard, and is silent now: whoever speaks instead may be anybody."""
    music, phone = scene.stream("stranger"), scene.stream("callee")
    scene.offered(phone, music)
    scene.answered(phone)
    talk(scene.caller, phone)
    assert scene.call.offer(phone.media("sendonly"), by="callee").ok
    assert scene.call.answer(scene.caller, by="caller").ok
    phone_was_silent = time.monotonic() + 0.25
    wait_for(lambda: time.monotonic() > phone_was_silent)
    assert scene.clipped(music.rtp, scene.caller.rtp, voice(5)) == 10
    assert scene.end()["callee"] == [{"not_the_remote": 10}]


@pytest.mark.engine
def test_a_transfer_to_a_third_phone(scene):
    """A re-INVITE with another tag: the third phone and the one that stays lose nothing."""
    phone, third = scene.stream("callee"), scene.stream("stranger")
    scene.offered(phone)
    scene.answered(phone)
    talk(scene.caller, phone)
    client = scene.system.client()
    tags = scene.call.call_id, "transferee", "caller"
    offered = client.update("request", *tags, third.media(), cseq=70)
    assert scene.clipped(phone.rtp, scene.caller.rtp, voice(0x22222222, 50)) == 0
    answered = client.update("reply", *tags, scene.caller.media(), cseq=70)
    scene.caller.to, third.to = offered.address(), answered.address()
    assert scene.clipped(third.rtp, scene.caller.rtp, voice(3)) == 0
    assert scene.clipped(scene.caller.rtp, third.rtp, voice(0x11111111, 50)) == 0
    scene.not_heard_any_more(phone, 0x22222222, ended_streams=1)
    talk(scene.caller, third, first=100, ssrc=(0x11111111, 3))
    assert client.remove(*tags) == "removed"
