"""Addresses of the relay: of both families, several, by route, advertised, and gone."""

import json
import subprocess

import pytest

from mp.packets import ip_bytes, rtp, rtp_series
from mp.phone import settle, talk
from mp.records import PARTIES, address_text, record
from mp.wait import wait_for

SECOND, SECOND6 = "10.88.0.111", "fd88::111"


@pytest.fixture
def both(make_call_system, network):
    """A function: a system whose relay has these addresses; None: one of each family."""
    def make(relay_ip=None, **config):
        host = network.relay1
        return make_call_system(network=network, relay_config=dict(
            {"relay_ip": relay_ip or "%s, %s" % (host.ip, host.ip6)}, **config))

    yield make
    network.configure("relay1")


@pytest.fixture
def two_of_each(both, network):
    """A system whose relay has two addresses of each family, in the order 4, 4, 6, 6."""
    network.another_address("relay1", SECOND, SECOND6)
    host = network.relay1
    return both(" ".join([host.ip, SECOND, host.ip6, SECOND6]))


def dual(system, caller_family, callee_family):
    """Streams of a caller and of a callee, each of its family."""
    hosts = system.network.caller, system.network.callee
    return [system.phone(name, host.ip6 if family == 6 else host.ip).stream()
            for name, host, family in zip(("caller", "callee"), hosts,
                                          (caller_family, callee_family))]


def family_of(ip):
    return 6 if ":" in ip else 4


def start(system, caller, callee, **headers):
    """A call; the replies to its offer and to its answer."""
    call = system.call()
    offered = call.offer(caller, **headers)
    answered = call.answer(callee)
    assert offered.ok and answered.ok, (offered, answered)
    callee.to, caller.to = offered.address(), answered.address()
    return call, offered, answered


# -- two families ------------------------------------------------------------------------------


@pytest.mark.parametrize("families", [(4, 6), (6, 4), (6, 6), (4, 4)])
@pytest.mark.engine(few_packets=True)
def test_each_party_has_an_address_of_its_own_family(both, network, families):
    system = both()
    caller, callee = dual(system, *families)
    call, offered, answered = start(system, caller, callee, signaling_ip="%s_%s" % (
        network.caller.ip, callee.phone.ip))
    assert (family_of(answered.ip), family_of(offered.ip)) == families
    talk(caller, callee)
    talk(caller, callee, first=100)
    assert call.remove() == "removed"
    stream = record(system, call.call_id)["streams"][0]
    assert stream["caller_local"] == address_text(caller.to)
    assert stream["callee_local"] == address_text(callee.to)
    assert stream["caller_remote"] == address_text(caller.rtp.address)
    assert stream["callee_remote"] == address_text(callee.rtp.address)
    # Whole IP packets, as they came from each party.
    assert stream["caller_bytes"] == ip_bytes(caller.sent, caller.phone.ip)
    assert stream["callee_bytes"] == ip_bytes(callee.sent, callee.phone.ip)


@pytest.mark.engine("tc", "xdp")
def test_the_kernel_forwards_within_each_family_and_userspace_between(both, network):
    system = both()
    calls = []
    for families in (4, 4), (6, 6), (4, 6):
        caller, callee = dual(system, *families)
        call, _, _ = start(system, caller, callee, signaling_ip="%s_%s" % (
            network.caller.ip, callee.phone.ip))
        talk(caller, callee)
        talk(caller, callee, first=100)
        calls.append((call, families, caller, callee))
    assert system.relay.summary()["flows"] == 8
    for call, families, caller, callee in calls:
        assert call.remove() == "removed"
        stream = record(system, call.call_id)["streams"][0]
        assert (stream["caller_packets"], stream["callee_packets"]) == (
            len(caller.sent), len(callee.sent))
        kernel = [stream["%s_%s_kernel_packets" % (p, c)] for p in PARTIES
                  for c in ("rtp", "rtcp")]
        assert all(kernel) if families[0] == families[1] else not any(kernel), (families, kernel)
