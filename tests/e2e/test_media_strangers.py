"""Who may send to a port: phones behind a NAT, and strangers, in a network of namespaces.

The stranger is a host that sends to the relay's ports. Whatever it does, nothing may ever be
sent to it; it has sockets for everything that could come back.
"""

import time

import pytest

from mp.packets import dtls_hello, rtcp_sr, rtp, rtp_series, stun_request, udptl
from mp.phone import settle, talk
from mp.records import check_stream, record
from mp.wait import wait_for

# The addresses of this network are private. The callee is to be found by its SDP all the same.
SETTLE = {"routable_private_ranges": "10.88.0.22/32", "settle_time": "100ms"}
STRANGE_SSRC = 0x666


@pytest.fixture
def make_system(make_call_system, network):
    """A function: a relay in the network, which sends to no private address but the callee's
    before something came from there."""
    def make(**config):
        return make_call_system(network=network, relay_config=dict(SETTLE, **config))

    return make


def drops(system):
    """The drop counters of the relay that are not 0, as the control channel shows them."""
    return {k: v for k, v in system.relay.summary()["drops"].items() if v}


def wait_drops(system, **expected):
    wait_for(lambda: all(drops(system).get(k) == v for k, v in expected.items()), 3.0,
             lambda: "drops %s, got %s" % (expected, drops(system)))


def everything(seq=1):
    """Packets of every kind, as a sprayer sends them."""
    return [rtp(seq, STRANGE_SSRC), rtcp_sr(STRANGE_SSRC), udptl(seq), stun_request(),
            dtls_hello(), b"", b"x"]


class Stranger:
    """Ports of another host. nothing_came() is the point of these tests."""

    def __init__(self, system, count=1):
        phone = system.phone("stranger")
        self.ports = [phone.port() for _ in range(count)]

    def spray(self, *targets, packets=None):
        sent = 0
        for address in targets:
            for port in self.ports:
                for packet in packets if packets is not None else everything():
                    port.send(packet, to=address)
                    sent += 1
        return sent

    def nothing_came(self):
        for port in self.ports:
            assert port.received == [], "the stranger got %r" % port.data[:3]


def natted_call(system, network, signaling_ip):
    """The caller is behind the NAT, with its private address in the SDP."""
    network.behind_nat()
    caller, callee = system.phone("home").stream(), system.phone("callee").stream()
    assert caller.phone.ip.startswith("192.168.")
    call = system.call(signaling_ip=signaling_ip)
    offered = call.offer(caller)
    callee.to = offered.address()
    caller.to = call.answer(callee, signaling_ip=callee.phone.ip).address()
    return call, caller, callee


def both_addresses(stream):
    return [stream.to, (stream.to[0], stream.to[1] + 1)]


def check_remote(system, network, call, caller):
    """The remote that was learned is the NAT's address, not what the SDP said."""
    statistics, = system.dispatcher.session(call.call_id)["streams"]
    ip, port = statistics["caller_remote"].rsplit(":", 1)
    assert ip == network.nat.ip and int(port) > 0
    assert ip != caller.phone.ip


@pytest.mark.engine
def test_a_phone_behind_a_nat_is_known_by_its_signalling(make_system, network):
    """Its first packet is enough: nothing is lost, although the SDP is private."""
    system = make_system()
    network.behind_nat()
    call, caller, callee = natted_call(system, network, network.nat.ip)
    stranger = Stranger(system)
    sprayed = stranger.spray(*both_addresses(caller), *both_addresses(callee))
    wait_for(lambda: sum(drops(system).values()) == sprayed, what=lambda: drops(system))
    first = rtp_series(5, ssrc=1)
    callee.rtp.send(*first)  # for a private address that nothing came from: nowhere
    wait_drops(system, no_destination=5)
    talk(caller, callee, ssrc=(2, 1), first=100)
    check_remote(system, network, call, caller)
    stranger.spray(*both_addresses(caller), *both_addresses(callee))
    talk(caller, callee, ssrc=(2, 1), first=200)
    assert drops(system)["not_the_remote"] >= sprayed / 2
    stranger.nothing_came()
    assert call.remove() == "removed"
    final = record(system, call.call_id)["streams"][0]
    assert final["caller_packets"] == len(caller.sent)
    assert final["callee_packets"] == len(callee.sent) - 5


@pytest.mark.engine
def test_a_phone_whose_address_is_known_nowhere_proves_itself(make_system, network):
    """Another proxy's address is what signalling shows. Strangers spray, before and after."""
    system = make_system()
    call, caller, callee = natted_call(system, network, "192.0.2.1")
    stranger = Stranger(system, count=3)
    stranger.spray(*both_addresses(caller))
    settle(caller, callee)  # 4 RTP packets in sequence, while others spray at random
    check_remote(system, network, call, caller)
    for turn in range(5):
        stranger.spray(*both_addresses(caller), packets=everything(turn))
        talk(caller, callee, first=1000 + 100 * turn)
    stranger.nothing_came()
    assert drops(system)["not_the_remote"] > 0
    assert call.remove() == "removed"


def test_what_proved_a_phone_is_forwarded_too(make_system, network):
    """Held while it was a candidate, then sent on in order: nothing of a call's start is lost."""
    system = make_system(settle_time="0")
    call, caller, callee = natted_call(system, network, "192.0.2.1")
    proof = rtp_series(4, ssrc=7)
    caller.rtp.send(*proof[:3])
    callee.rtp.expect_silence(0.05)  # three packets in sequence prove nothing yet
    caller.rtp.send(proof[3])
    callee.rtp.expect(proof)
    answer = rtp_series(5, ssrc=8)
    callee.rtp.send(*answer)
    caller.rtp.expect(answer)
    caller.rtcp.send(rtcp_sr(7))  # the IP address is known now
    callee.rtcp.expect([rtcp_sr(7)])
    assert drops(system) == {}
    assert call.remove() == "removed"
    final = record(system, call.call_id)["streams"][0]
    assert (final["caller_packets"], final["callee_packets"]) == (5, 5)


@pytest.mark.parametrize("packet", [udptl(0), dtls_hello(), b"", b"\x00\x00"],
                         ids=["udptl", "dtls", "empty", "keepalive"])
def test_one_packet_without_a_rival_is_a_proof_where_there_is_no_series(
        make_system, network, packet):
    system = make_system(settle_time="50ms")
    call, caller, callee = natted_call(system, network, "192.0.2.1")
    opened = time.monotonic() + 0.1
    wait_for(lambda: time.monotonic() > opened)
    sent = time.monotonic()
    caller.rtp.send(packet)
    callee.rtp.wait(1)
    assert callee.rtp.received[0].time - sent >= 0.045, "not before settle_time"
    callee.rtp.expect([packet])
    callee.rtp.send(packet)
    caller.rtp.expect([packet])
    assert call.remove() == "removed"


def test_before_the_answer_and_the_settling_a_stranger_gets_nowhere(make_system, network):
    system = make_system(settle_time="500ms")
    network.behind_nat()
    caller, callee = system.phone("home").stream(), system.phone("callee").stream()
    call = system.call(signaling_ip="192.0.2.1")
    callee.to = call.offer(caller).address()
    # The ports that the caller will be told are open already, and easy to guess.
    stranger = Stranger(system)
    first = int(system.relay.sections["Relay"]["port_range"].split(":")[0])
    for seq in range(6):
        for port in range(first, first + 8):
            stranger.ports[0].send(rtp(seq, STRANGE_SSRC), to=(system.relay.ip, port))
    wait_drops(system, not_open=24)  # RTP and RTCP ports of both parties, 6 packets each
    caller.to = call.answer(callee, signaling_ip=callee.phone.ip).address()
    for seq in range(10, 20):  # within settle_time: a perfect series of RTP
        stranger.ports[0].send(rtp(seq, STRANGE_SSRC), to=caller.to)
    wait_drops(system, not_open=34)
    settle(caller, callee, ssrc=(5, 6))
    stranger.nothing_came()
    check_remote(system, network, call, caller)
    assert call.remove() == "removed"


@pytest.mark.engine
def test_the_party_itself_takes_its_call_back_from_a_stranger_that_proved_itself(
        make_system, network):
    """The threat that remains (docs: only SRTP ends it): until the party's first packet."""
    system = make_system()
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(signaling_ip="192.0.2.1").establish([caller], [callee])
    stranger = system.phone("stranger").stream()
    stranger.to = caller.to
    deadline = time.monotonic() + 3
    seq = 0
    while not callee.rtp.received:
        assert time.monotonic() < deadline
        seq += 1
        stranger.rtp.send(rtp(seq, STRANGE_SSRC))
        time.sleep(0.02)
    before = len(stranger.rtp.received)
    talk_back = rtp_series(3, ssrc=1)
    caller.rtp.send(*talk_back)  # exactly the address in the SDP: rank 1
    wait_for(lambda: [p for p in callee.rtp.data if p in talk_back] == talk_back)
    callee.rtp.clear()
    talk(caller, callee, first=500)
    stranger.rtp.send(*rtp_series(10, ssrc=STRANGE_SSRC, first=seq + 1))
    talk(caller, callee, first=600)
    assert len(stranger.rtp.received) == before == 0
    assert call.remove() == "removed"


@pytest.mark.engine(few_packets=True)
def test_a_nat_rebinding_is_followed_and_a_copy_of_it_is_not(make_system, network):
    """After rebind_silence the same SSRC goes on from another port of the NAT."""
    system = make_system(rebind_silence="100ms")
    network.behind_nat()
    call, caller, callee = natted_call(system, network, network.nat.ip)
    talk(caller, callee, ssrc=(7, 8))
    moved = caller.phone.stream()  # another flow, so another port of the NAT
    moved.to = caller.to
    heir = rtp_series(40, ssrc=7, first=20)
    sent = []
    end = time.monotonic() + 3
    while not callee.rtp.received:
        assert time.monotonic() < end, drops(system)
        sent.append(heir[len(sent)])
        moved.rtp.send(sent[-1])
        time.sleep(0.03)
    got = callee.rtp.data
    assert got == sent[-len(got):] and len(got) < len(sent), "not before rebind_silence"
    callee.rtp.clear()
    answer = rtp_series(5, ssrc=8, first=50)
    callee.rtp.send(*answer)
    moved.rtp.expect(answer)
    assert caller.rtp.received == []

    # The same SSRC from elsewhere with numbers of long ago: no heir.
    stranger = Stranger(system)
    time_of_silence = time.monotonic() + 0.15
    wait_for(lambda: time.monotonic() > time_of_silence)
    for packet in rtp_series(10, ssrc=7, first=40000) + rtp_series(10, ssrc=9, first=70):
        stranger.ports[0].send(packet, to=caller.to)
    wait_for(lambda: drops(system).get("not_the_remote", 0) >= 20, what=lambda: drops(system))
    stranger.nothing_came()
    callee.rtp.expect_silence(0.05)
    assert call.remove() == "removed"


@pytest.mark.engine
def test_a_spray_over_the_whole_range_disturbs_no_call(make_system, network):
    """The original: 400 sprayed ports ended the media of all calls."""
    system = make_system(routable_private_ranges="10.88.0.0/16", settle_time="100ms",
                         port_range="40000:40400")
    calls = []
    phones = system.phone("caller"), system.phone("callee")
    for _ in range(20):
        pair = phones[0].stream(), phones[1].stream()
        calls.append((system.call(clients=1, signaling_ip=phones[0].ip).establish(
            pair[:1], pair[1:]),) + pair)
    for _, caller, callee in calls:
        talk(caller, callee)
    stranger = Stranger(system, count=2)
    ports = [(system.relay.ip, port) for port in range(40000, 40080)]
    for seq in range(1, 9):
        stranger.spray(*ports, packets=[rtp(seq, STRANGE_SSRC), udptl(seq)])
    for _, caller, callee in calls:
        talk(caller, callee, first=1000)
    stranger.spray(*ports, packets=[rtp(50, STRANGE_SSRC)])
    for call, caller, callee in calls:
        talk(caller, callee, first=2000)
        assert call.remove() == "removed"
    stranger.nothing_came()


def test_strict_knows_no_strangers(make_system, network):
    system = make_system(learning="strict", settle_time="0")
    network.behind_nat()
    call, caller, callee = natted_call(system, network, "192.0.2.1")
    caller.rtp.send(*rtp_series(20, ssrc=3))
    caller.rtcp.send(rtcp_sr(3))
    wait_drops(system, strict=21)
    callee.rtp.expect_silence(0.05)
    assert call.remove() == "removed"

    call, caller, callee = natted_call(system, network, network.nat.ip)
    stranger = Stranger(system)
    stranger.spray(*both_addresses(caller))
    wait_drops(system, strict=21 + 2 * (len(everything())))
    talk(caller, callee)
    stranger.nothing_came()
    check_remote(system, network, call, caller)
    assert call.remove() == "removed"


def test_first_packet_is_the_originals_rule(make_system, network):
    """Whoever comes first has the port, and nobody else gets it."""
    system = make_system(learning="first-packet")
    network.behind_nat()
    call, caller, callee = natted_call(system, network, "192.0.2.1")
    talk(caller, callee)  # no proof, no settling
    check_remote(system, network, call, caller)
    stranger = Stranger(system)
    sent = stranger.spray(*both_addresses(caller), packets=rtp_series(10, ssrc=STRANGE_SSRC))
    wait_drops(system, not_the_remote=sent)
    talk(caller, callee, first=100)
    stranger.nothing_came()
    assert call.remove() == "removed"

    call, caller, callee = natted_call(system, network, "192.0.2.1")
    thief = system.phone("stranger").port()
    stolen = rtp(1, STRANGE_SSRC)
    thief.send(stolen, to=caller.to)
    callee.rtp.expect([stolen])
    caller.rtp.send(*rtp_series(5))
    callee.rtp.expect_silence(0.05)
    assert call.remove() == "removed"


@pytest.mark.engine
@pytest.mark.family
def test_strangers_over_ipv6(make_call_system, network):
    system = make_call_system(network=network, family=6, relay_config={"settle_time": "100ms"})
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(signaling_ip=caller.phone.ip).establish([caller], [callee])
    stranger = Stranger(system)
    stranger.spray(*both_addresses(caller), *both_addresses(callee))
    talk(caller, callee)
    sent = stranger.spray(*both_addresses(caller), *both_addresses(callee))
    wait_for(lambda: drops(system).get("not_the_remote", 0) >= sent, what=lambda: drops(system))
    talk(caller, callee, first=100)
    stranger.nothing_came()
    assert call.remove() == "removed"
    check_stream(record(system, call.call_id)["streams"][0], caller, callee)


@pytest.mark.engine
def test_a_media_address_that_new_sdp_replaced_is_a_stranger(make_system, network):
    """After a move the old address may not hold on to the stream, though its IP was known."""
    system = make_system(routable_private_ranges="10.88.0.0/16")
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(signaling_ip="192.0.2.1").establish([caller], [callee])
    talk(caller, callee)
    elsewhere = system.phone("stranger").stream()  # the same person's other phone
    elsewhere.to = callee.to
    offered = call.offer(caller)
    assert call.answer(elsewhere).address() == caller.to and offered.address() == callee.to
    for seq in range(500, 520):
        callee.rtp.send(rtp(seq, 0x22222222))
        caller.rtp.send(rtp(seq, 0x11111111))
    elsewhere.rtp.expect([rtp(seq, 0x11111111) for seq in range(500, 520)])
    caller.rtp.expect_silence(0.05)
    callee.rtp.expect_silence(0.05)
    talk(caller, elsewhere, first=900)
    talk(caller, elsewhere, first=950)
    assert call.remove() == "removed"
