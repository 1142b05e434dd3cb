"""Phones behind NATs of every kind: who is heard when, and what a new mapping costs.

The NATs are nftables in namespaces. Strangers beside them are in test_media_strangers.py.
"""

import itertools
import time

import pytest

from mp.netns import NATS
from mp.packets import rtcp_sr, rtp, rtp_series
from mp.phone import talk
from mp.records import drops as record_drops
from mp.records import record
from mp.speech import Speaker, clipped
from mp.wait import Deadline, wait_for

# The phones that are behind no NAT are found by their SDP, as on the Internet. What is behind a
# NAT has a private address in its SDP.
ROUTABLE = {"routable_private_ranges": "10.88.0.21/32, 10.88.0.22/32"}
# A phone sends every 20 ms, and media has to be back within 300 ms: the one after these comes 300
# ms after the first of them. A count, since a loaded machine makes phones slow, not quick.
MOST_CLIPPED = 14
HOME = {"caller": "home", "callee": "office"}
SSRC = {"caller": 0x11, "callee": 0x22}
NAT = {"caller": "nat", "callee": "officenat"}
ELSEWHERE = "192.0.2.1"  # another proxy


@pytest.fixture
def make_system(make_call_system, network):
    """A function: a relay in the network, which knows no private address but those without NAT."""
    def make(**config):
        network.behind_nat("home")
        network.behind_nat("office")
        return make_call_system(network=network, relay_config=dict(ROUTABLE, **config))

    return make


class NattedCall:
    """A call whose parties are behind NATs, or not. `speakers` say a packet every 20 ms."""

    def __init__(self, system, network, natted=("caller", "callee"), media=lambda s: s.media(),
                 signalling=None, ips=(None, None)):
        self.system, self.network = system, network
        self.nats = {p: network.hosts[NAT[p]] for p in natted}
        self.streams = {}
        for party, ip in zip(HOME, ips):
            phone = system.phone(HOME[party] if party in natted else party, ip)
            self.streams[party] = phone.stream()
        self.caller, self.callee = self.streams.values()
        seen = {p: signalling or self.address(p) for p in HOME}
        self.call = system.call()
        self.callee.to = self.call.offer(media(self.caller), signaling_ip=seen["caller"]).address()
        self.caller.to = self.call.answer(media(self.callee),
                                          signaling_ip=seen["callee"]).address()
        self.speakers = {}
        self._dropped = system.relay.summary()["drops"]

    def address(self, party):
        """What others see of a party."""
        return self.nats[party].ip if party in self.nats else self.streams[party].phone.ip

    def remote(self, party):
        statistics, = self.system.dispatcher.session(self.call.call_id)["streams"]
        ip, port = statistics[party + "_remote"].rsplit(":", 1)
        return ip, int(port)

    def lost(self, reason):
        """How many packets were dropped for this reason since the call began."""
        return self.system.relay.summary()["drops"][reason] - self._dropped[reason]

    def speak(self):
        for party, ssrc in SSRC.items():
            self.speakers[party] = Speaker(self.streams[party].rtp, ssrc, 50)

    def hush(self):
        for speaker in self.speakers.values():
            speaker.end()

    def clipped(self):
        """What each party said in vain, in runs, once all that was sent has come or has not."""
        last = {}
        for party, ears in (("caller", self.callee), ("callee", self.caller)):
            speaker = self.speakers[party]
            wait_for(lambda: speaker.sent[-1] in ears.rtp.data, 3.0,
                     lambda: "%s's last packet; clipped %s" % (
                         party, clipped(speaker.sent, ears.rtp)))
            last[party] = clipped(speaker.sent, ears.rtp)
        return last

    def drops(self):
        """{party: {reason: packets}} of its final record. Ends the call."""
        assert self.call.remove() == "removed"
        final, = record(self.system, self.call.call_id)["streams"]
        return {p: record_drops(final, p) for p in HOME}


@pytest.fixture
def natted_call(network):
    """A function that makes a NattedCall; its speakers end with the test."""
    made = []

    def make(system, *args, **options):
        made.append(NattedCall(system, network, *args, **options))
        return made[-1]

    yield make
    for call in made:
        call.hush()


def no_destination(system):
    return system.relay.summary()["drops"]["no_destination"]


def check_silent(*ports):
    for port in ports:
        assert port.received == [], (port.address, port.data[:3])


@pytest.mark.engine
def test_nats_of_every_kind_in_front_of_caller_callee_and_both(make_system, network, natted_call):
    """A private SDP, signalling from the NAT. A packet goes nowhere while the other party is
    behind a NAT and has not spoken; nothing else is lost."""
    system = make_system()
    parties = [("caller",), ("callee",), ("caller", "callee")]
    for kind, natted in itertools.product(NATS, parties):
        network.nat.become(kind)
        network.officenat.become(kind)
        talks = natted_call(system, natted)
        hello, answer = rtp_series(3, 0x11111111), rtp_series(3, 0x22222222)
        talks.caller.rtp.send(*hello)
        talks.caller.rtcp.send(rtcp_sr(0x11111111))
        if "callee" not in natted:
            talks.callee.rtp.expect(hello)
            talks.callee.rtcp.expect([rtcp_sr(0x11111111)])
        else:
            wait_for(lambda: talks.lost("no_destination") == 4)
        talks.callee.rtp.send(*answer)
        talks.callee.rtcp.send(rtcp_sr(0x22222222))
        talks.caller.rtp.expect(answer)
        talks.caller.rtcp.expect([rtcp_sr(0x22222222)])
        talk(talks.caller, talks.callee, first=100)
        for party, nat in talks.nats.items():
            ip, port = talks.remote(party)
            assert ip == nat.ip
            assert (port == talks.streams[party].port) == (kind != "symmetric"), kind
        lost = {"no_destination": 4} if "callee" in natted else {}
        assert talks.drops() == {"caller": lost, "callee": {}}, (kind, natted)


def test_what_a_public_address_by_stun_in_the_sdp_is_worth(make_system, network, natted_call):
    """Packets go there at once. A full cone lets them in; the others do not before the phone has
    spoken, and behind a symmetric one the port is wrong as well. From the phone's first packet on
    all are the same."""
    system = make_system(routable_private_ranges="10.88.0.0/16")
    for kind in NATS:
        network.nat.become(kind)
        talks = natted_call(system, ("caller",), media=lambda s: s.media(
            ip=network.nat.ip if s.phone.name == "home" else None))
        early = rtp_series(3, 0x22222222)
        talks.callee.rtp.send(*early)
        if kind == "full cone":
            talks.caller.rtp.expect(early)
        else:
            talks.caller.rtp.expect_silence(0.05)
        talk(talks.caller, talks.callee, first=100)
        assert talks.drops() == {"caller": {}, "callee": {}}


def test_three_phones_behind_one_nat_with_the_same_port(make_system, network, natted_call):
    """Two of them call each other through the relay, and one calls out. The NAT tells them apart
    by ports of its own choice; nobody hears another call."""
    system = make_system()
    for kind in ("port restricted", "symmetric"):
        network.nat.become(kind)
        phones = [system.phone("home", "192.168.7.%d" % last) for last in (2, 3, 4)]
        streams = [phone.stream(port=16384) for phone in phones]
        streams.append(system.phone("callee").stream())
        calls = []
        for caller, callee in (streams[:2], streams[2:]):
            call = system.call()
            callee.to = call.offer(caller, signaling_ip=network.nat.ip).address()
            inside = callee.phone.name == "home"
            caller.to = call.answer(callee, signaling_ip=(
                network.nat.ip if inside else callee.phone.ip)).address()
            calls.append(call)
        # Each speaks once: of two behind the NAT, the first one speaks to nobody.
        for mouth, ear in ((0, None), (1, 0), (2, 3), (3, 2)):
            dropped = no_destination(system)
            streams[mouth].rtp.send(rtp(1, mouth))
            streams[mouth].rtcp.send(rtcp_sr(mouth))
            if ear is None:
                wait_for(lambda: no_destination(system) == dropped + 2)
            else:
                streams[ear].rtp.expect([rtp(1, mouth)])
                streams[ear].rtcp.expect([rtcp_sr(mouth)])
        check_silent(streams[1].rtp, streams[1].rtcp)
        for turn in range(3):
            talk(*streams[:2], first=100 + 100 * turn, ssrc=(1, 2))
            talk(*streams[2:], first=100 + 100 * turn, ssrc=(3, 4))
        for call in calls:
            assert call.remove() == "removed"
        for phone in phones:
            system.release(phone)


@pytest.mark.engine
def test_signalling_through_another_proxy_shows_nobodys_address(make_system, natted_call):
    """All that is known is the proxy's own: phones have to prove themselves, after settle_time.
    What a phone says until then is lost, and nothing after it."""
    system = make_system(settle_time="200ms")
    for natted in ("caller",), ("caller", "callee"):
        prove_themselves(natted_call(system, natted, signalling=ELSEWHERE))


def prove_themselves(talks):
    talks.speak()
    wait_for(lambda: all(ear.rtp.received for ear in (talks.caller, talks.callee)))
    both_hear(talks)
    talks.hush()
    lost = talks.clipped()
    drops = talks.drops()
    for party in HOME:
        other = talks.streams["callee" if party == "caller" else "caller"]
        speaker = talks.speakers[party]
        assert all(first == 0 for first, _ in lost[party]), (lost, "from the start alone")
        assert sum(n for _, n in lost[party]) == sum(drops[party].values()), (lost, drops)
        # The proof itself is heard: it is held until it is complete.
        assert drops[party].get("not_open", 0) <= 200 / 20 + 1
        assert other.rtp.data == speaker.sent[sum(drops[party].values()):]
    assert drops["caller"]["not_open"] > 0


def both_hear(talks, more=10):
    """Both speak until each has been heard again so many times."""
    counts = [len(ear.rtp.received) + more for ear in (talks.callee, talks.caller)]
    wait_for(lambda: all(len(ear.rtp.received) >= count for ear, count in
                         zip((talks.callee, talks.caller), counts)),
             what=lambda: "%d packets more heard by both: %s" % (
                 more, [len(e.rtp.received) for e in (talks.callee, talks.caller)]))


def rtcp_passes(talks):
    """Reports both ways, in the SSRCs of the speakers, until each way is open."""
    end = Deadline(5.0)
    ways = [(talks.caller, talks.callee, SSRC["caller"]),
            (talks.callee, talks.caller, SSRC["callee"])]
    for _, ear, _ in ways:
        ear.rtcp.clear()
    for number in itertools.count(1):
        for mouth, _, ssrc in ways:
            mouth.rtcp.send(rtcp_sr(ssrc, number))
        time.sleep(0.05)
        if all(ear.rtcp.received for _, ear, _ in ways):
            return
        assert not end.over(), [len(ear.rtcp.received) for _, ear, _ in ways]


@pytest.mark.engine
def test_nats_that_change_their_ports_and_then_their_addresses(make_system, natted_call):
    """In the middle of a call, both behind NATs, and without any SIP message. What is lost is
    what rebind_silence says: less than 300 ms of packets each way, for each change."""
    system = make_system()
    talks = natted_call(system)
    talks.speak()
    both_hear(talks)
    rtcp_passes(talks)
    start = {p: len(s.sent) for p, s in talks.speakers.items()}
    for party, new_ip in (("caller", "10.88.0.50"), ("callee", "10.88.0.60")):
        remotes = [talks.remote(party)]
        for ip in (talks.nats[party].ip, new_ip):
            talks.nats[party].move(ip)
            wait_for(lambda: talks.remote(party) not in remotes, 3.0,
                     lambda: "a remote that is none of %s" % remotes)
            remotes.append(talks.remote(party))
            assert remotes[-1][0] == ip
            both_hear(talks)
            rtcp_passes(talks)
    talks.hush()
    lost = talks.clipped()
    for party, speaker in talks.speakers.items():
        runs = [run for run in lost[party] if run[0] >= start[party]]
        assert len(runs) == 4, "one for each change: %s" % lost
        assert all(count <= MOST_CLIPPED for _, count in runs), (party, lost, [
            "%.3f s" % (speaker.times[first + count] - speaker.times[first])
            for first, count in runs])
    for party, reasons in talks.drops().items():
        assert 0 < reasons["not_the_remote"] <= 2 * MOST_CLIPPED, (party, reasons)


@pytest.mark.engine
def test_another_ssrc_from_a_new_mapping_is_not_taken(make_system, network, natted_call):
    """Only the stream that goes on. It is heard at its first packet, since it was silent."""
    system = make_system()
    talks = natted_call(system)
    talks.speak()
    both_hear(talks)
    for speaker in talks.speakers.values():
        speaker.pause()
    time.sleep(0.05)
    before = talks.remote("caller")
    heard = len(talks.callee.rtp.received)
    network.nat.move("10.88.0.60")
    over = time.monotonic() + 0.25
    wait_for(lambda: time.monotonic() > over)
    for packet in rtp_series(20, ssrc=0x666, first=len(talks.speakers["caller"].sent) + 1):
        talks.caller.rtp.send(packet)
        time.sleep(0.005)
    wait_for(lambda: talks.lost("not_the_remote") == 20)
    assert talks.remote("caller") == before
    assert len(talks.callee.rtp.received) == heard
    said = len(talks.speakers["caller"].sent)
    talks.speakers["caller"].go_on()
    wait_for(lambda: len(talks.callee.rtp.received) > heard)
    talks.speakers["callee"].go_on()
    both_hear(talks)
    talks.hush()
    assert [run for run in talks.clipped()["caller"] if run[0] >= said] == []
    assert talks.drops()["caller"]["not_the_remote"] == 20


def both_silent(talks, seconds):
    """Both pause, for longer than their NATs remember: (their remotes, what they have said)."""
    for nat in talks.nats.values():
        nat.forget_after(1)
    both_hear(talks)  # a timeout counts from the packet after it was set
    for speaker in talks.speakers.values():
        speaker.pause()
    over = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > over)
    return ([talks.remote(party) for party in HOME],
            [len(talks.speakers[party].sent) for party in HOME])


@pytest.mark.engine
def test_a_mapping_that_ends_while_nobody_speaks(make_system, network, natted_call):
    """A NAT with a short timeout, and a pause of both: the phone's first packet comes from a new
    port and is heard. What the other one says before it goes to the old mapping."""
    system = make_system()
    talks = natted_call(system)
    talks.speak()
    both_hear(talks)
    before, start = both_silent(talks, 1.3)
    talks.speakers["caller"].go_on()
    wait_for(lambda: talks.remote("caller") != before[0])
    talks.speakers["callee"].go_on()
    both_hear(talks)
    talks.hush()
    lost = talks.clipped()
    assert talks.remote("callee") != before[1]
    assert talks.remote("caller")[0] == network.nat.ip
    # Nothing of who came back second; of the first, what it said to the old mapping.
    assert [run for run in lost["callee"] if run[0] >= start[1]] == []
    assert [run[0] for run in lost["caller"] if run[0] >= start[0]] == [start[0]]
    assert talks.drops()["caller"].get("not_the_remote", 0) == 0


def came_back(one, other):
    """The first reports from new mappings, each to the other's old one until that has spoken."""
    end = Deadline(3.0)
    for number in itertools.count(100):
        one.rtcp.send(rtcp_sr(0x33, number))
        other.rtcp.send(rtcp_sr(0x44, number))
        time.sleep(0.02)
        if one.rtcp.received and other.rtcp.received:
            break
        assert not end.over(), [len(s.rtcp.received) for s in (one, other)]
    for stream, ssrc in ((one, 0x44), (other, 0x33)):
        wait_for(lambda: rtcp_sr(ssrc, number) in stream.rtcp.data)
        stream.rtcp.clear()


@pytest.mark.engine(few_packets=True)
def test_phones_that_resume_with_another_ssrc_from_a_new_mapping(
        make_system, network, natted_call):
    """The SDP names the same private address as before the hold. Without it this would be a
    stranger's stream."""
    system = make_system()
    talks = natted_call(system)
    talks.speak()
    both_hear(talks)
    rtcp_passes(talks)
    assert talks.call.offer(talks.caller.media("sendonly"), signaling_ip=network.nat.ip).ok
    assert talks.call.answer(talks.callee.media("recvonly"),
                             signaling_ip=network.officenat.ip).ok
    before, _ = both_silent(talks, 1.3)
    early = rtp_series(3, ssrc=0x33)
    talks.caller.rtp.send(*early)
    wait_for(lambda: talks.lost("not_the_remote") == 3)
    assert talks.call.offer(talks.caller, signaling_ip=network.nat.ip).ok
    assert talks.call.answer(talks.callee, signaling_ip=network.officenat.ip).ok
    for stream in talks.caller, talks.callee:
        stream.rtp.clear(), stream.rtcp.clear()
    first = rtp_series(3, ssrc=0x33, first=10)
    talks.caller.rtp.send(*first)  # to the callee's old mapping: only the relay hears it
    wait_for(lambda: talks.remote("caller") != before[0])
    answer = rtp_series(3, ssrc=0x44, first=10)
    talks.callee.rtp.send(*answer)
    talks.caller.rtp.expect(answer)
    came_back(talks.caller, talks.callee)
    talk(talks.caller, talks.callee, first=100, ssrc=(0x33, 0x44))
    lost = talks.drops()
    assert lost["caller"]["not_the_remote"] == 3 and lost["callee"] == {}
