"""Calls that go through several relays in a row, and through one relay twice.

Each SIP proxy has a dispatcher and a relay of its own; the SDP that the next one sees has the
ports of the relay before it.
"""

import pytest

from mp.packets import rtcp_sr, rtp
from mp.phone import talk
from mp.records import drops, record
from mp.wait import wait_for

SECOND = "10.88.0.111"
SSRC = {"caller": 0x11111111, "callee": 0x22222222}


def relay_media(address):
    """A piece of a media header: what a proxy sees after a relay."""
    return "audio:%s:%d:sendrecv:ice=no" % address


class Chain:
    """A call through several proxies: `legs` are the (system, call) of each, from the caller's.
    They may be all of one system, where something between them makes a new call of it."""

    def __init__(self, caller, callee, legs, seen):
        """seen: the addresses that the signalling of caller and callee comes from."""
        self.legs = [call for _, call in legs]
        self.systems = [system for system, _ in legs]
        self.caller, self.callee = caller, callee
        proxies = ["192.0.2.%d" % (number + 1) for number in range(len(legs) - 1)]
        self._offer(caller.media(), seen[0], proxies)
        self._answer(callee.media(), seen[1], proxies)

    def _offer(self, media, seen, proxies):
        for call, ip in zip(self.legs, [seen] + proxies):
            self.callee.to = call.offer(media, signaling_ip=ip).address()
            media = relay_media(self.callee.to)

    def _answer(self, media, seen, proxies):
        for call, ip in zip(self.legs[::-1], [seen] + proxies[::-1]):
            self.caller.to = call.answer(media, signaling_ip=ip).address()
            media = relay_media(self.caller.to)

    def first_packets(self):
        """Each party speaks in turn, RTP and RTCP, as often as it takes. Returns how many packets
        of the caller and of the callee were not heard."""
        lost = [0, 0]
        for seq in range(1, 4):
            for who, (mouth, ear) in enumerate(((self.caller, self.callee),
                                                (self.callee, self.caller))):
                ssrc = list(SSRC.values())[who]
                before = sum(self.counted())
                mouth.rtp.send(rtp(seq, ssrc))
                mouth.rtcp.send(rtcp_sr(ssrc, seq))
                wait_for(lambda: sum(self.counted()) == before + 2 or (
                    ear.rtp.received and ear.rtcp.received))
                lost[who] += not ear.rtp.received
                assert bool(ear.rtp.received) == bool(ear.rtcp.received)
                ear.rtp.clear(), ear.rtcp.clear()
        return tuple(lost)

    def counted(self):
        """What each relay dropped."""
        return [sum(system.relay.summary()["drops"].values()) for system in set(self.systems)]

    def end(self):
        """The BYE at all proxies, and {reason: packets} of each party at each relay."""
        lost = []
        for system, call in zip(self.systems, self.legs):
            assert call.remove() == "removed"
            stream, = record(system, call.call_id)["streams"]
            lost.append((drops(stream, "caller"), drops(stream, "callee")))
        return lost


def make_systems(make_call_system, network, configs):
    return [make_call_system(network=network, place=place, relay_config=config)
            for place, config in enumerate(configs)]


def chains(systems, caller, callee, seen):
    """A call through the first two systems, then one through all three, of the same phones."""
    for count in 2, 3:
        yield count, Chain(systems[0].phone(caller).stream(), systems[count - 1].phone(
            callee).stream(), [(system, system.call(call_id="chain%d@example.com" % count))
                               for system in systems[:count]], seen)


def talk_on(chain):
    for turn in range(3):
        talk(chain.caller, chain.callee, first=100 + 100 * turn)


@pytest.mark.engine
def test_relays_in_a_row_whose_addresses_are_private_and_routable(make_call_system, network):
    """All of it is heard from the first packet on, RTP and RTCP, both ways."""
    systems = make_systems(make_call_system, network, [{}] * 3)
    for count, chain in chains(systems, "caller", "callee",
                               (network.caller.ip, network.callee.ip)):
        assert chain.first_packets() == (0, 0)
        talk_on(chain)
        assert chain.end() == [({}, {})] * count


@pytest.mark.engine
def test_relays_in_a_row_with_the_default_and_phones_behind_nats(make_call_system, network):
    """routable_private_ranges is empty; relays have public addresses. Whoever speaks first is not
    heard until the other one has spoken: one packet."""
    network.behind_nat("home")
    network.behind_nat("office")
    systems = make_systems(make_call_system, network, [
        {"routable_private_ranges": None, "relay_ip": ip}
        for ip in network.make_public("relay1", "relay2", "relay3")])
    for count, chain in chains(systems, "home", "office",
                               (network.nat.ip, network.officenat.ip)):
        assert chain.first_packets() == (1, 0)
        talk_on(chain)
        # Lost at the last relay, which alone did not know the way.
        assert chain.end() == [({}, {})] * (count - 1) + [({"no_destination": 2}, {})]


def test_relays_with_private_addresses_have_to_be_told_that_they_are_routable(
        make_call_system, network):
    """Otherwise each waits for the other one's first packet. The counters say so."""
    systems = make_systems(make_call_system, network, [{"routable_private_ranges": None}] * 2)
    caller, callee = systems[0].phone("caller").stream(), systems[-1].phone("callee").stream()
    chain = Chain(caller, callee, [(s, s.call(call_id="chain@example.com")) for s in systems],
                  (caller.phone.ip, callee.phone.ip))
    assert chain.first_packets() == (3, 3)
    assert chain.end() == [({"no_destination": 6}, {}), ({}, {"no_destination": 6})]


# What goes to the relay itself, the kernel does not forward.
@pytest.mark.engine(few_packets=True)
def test_one_call_twice_through_the_same_relay(make_call_system, network):
    """As two calls, since something between the proxies makes a new Call-ID of it. The relay's
    address is private, and its own ports are routable all the same."""
    call_twice(make_call_system(network=network, relay_config={"routable_private_ranges": None}))


@pytest.mark.parametrize("config", [{}, {"advertised_ip": "203.0.113.99",
                                         "routable_private_ranges": None}],
                         ids=["routable", "advertised"])
def test_one_call_twice_through_a_relay_with_other_addresses(make_call_system, network, config):
    """The advertised address leads nowhere here, and need not: it is the relay's own."""
    system = make_call_system(network=network, relay_config=config, started=False)
    system.dispatcher.start()
    system.relay.start()
    wait_for(lambda: system.relay.summary()["dispatchers_connected"] == 1)
    call_twice(system, config.get("advertised_ip", system.relay.ip))
    assert "asymmetric" not in system.relay.log()


def test_one_call_twice_through_a_relay_with_several_addresses(make_call_system, network):
    """The two calls have one address each, in turn; both are private."""
    network.another_address("relay1", SECOND)
    both = {network.relay1.ip, SECOND}
    system = make_call_system(network=network, relay_config={
        "relay_ip": " ".join(sorted(both)), "routable_private_ranges": None})
    assert {stream.to[0] for stream in call_twice(system, *both)} == both


def call_twice(system, *shown):
    network = system.network
    network.behind_nat("home")
    network.behind_nat("office")
    caller, callee = system.phone("home").stream(), system.phone("office").stream()
    chain = Chain(caller, callee, [(system, system.call()) for _ in range(2)],
                  (network.nat.ip, network.officenat.ip))
    for stream in caller, callee:
        assert stream.to[0] in (shown or [system.relay.ip])
        if len(shown) == 1:
            stream.to = (system.relay.ip, stream.to[1])
    assert chain.first_packets() == (1, 0)
    talk_on(chain)
    assert chain.end() == [({}, {}), ({"no_destination": 2}, {})]
    return caller, callee
