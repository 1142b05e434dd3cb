"""ICE: real agents check our ports, and media goes where they have agreed (docs/media.md)."""

import contextlib

import pytest

from mp.ice import HIGH, LOW, IceAgent, IceCall
from mp.packets import dtls_hello, rtp_series
from mp.records import record
from mp.wait import wait_for

pytestmark = pytest.mark.usefixtures("network")


@pytest.fixture
def make_ice(make_call_system, network, tmp_path):
    """A function that makes a system and an IceCall of two agents, which gather."""
    agents = []

    def make(*options, caller="caller", callee="callee", callee_options=None, preference=LOW,
             with_hosts=True, relay_config=None, ips=(None, None), components=1):
        system = make_call_system(network=network, relay_config=relay_config)
        caller, callee = (IceAgent(tmp_path, name, network.hosts[host], *words, ips=addresses,
                                   components=components)
                          for name, host, words, addresses in (
                              ("caller", caller, ("controlling",) + options, ips[0]),
                              ("callee", callee, callee_options or options, ips[1])))
        for agent in (caller, callee):
            agents.append(agent)
            agent.start()
        return IceCall(system, caller, callee, preference, with_hosts)

    yield make
    for agent in agents:
        agent.stop()


@contextlib.contextmanager
def blocked(one, other):
    """No packets between two hosts."""
    one.run(["nft", "-f", "-"], text=True, input=(
        "table ip wall {\n chain out {\n type filter hook output priority 0;\n"
        "  ip daddr %s drop\n }\n chain in {\n type filter hook input priority 0;\n"
        "  ip saddr %s drop\n }\n}\n" % (other.ip, other.ip)))
    try:
        yield
    finally:
        one.run(["nft", "delete", "table", "ip", "wall"])


def voices(count=40, first=1):
    return rtp_series(count, 0x1111, first), rtp_series(count, 0x2222, first)


def remotes(call):
    stream = call.system.dispatcher.session(call.call_id)["streams"][-1]
    return stream["caller_remote"], stream["callee_remote"]


def text_of(address):
    return "%s:%d" % tuple(address)


@pytest.mark.engine
@pytest.mark.parametrize("nomination", [(), ("regular",)], ids=["aggressive", "regular"])
def test_without_a_direct_path_media_flows_through_us(make_ice, network, nomination):
    with blocked(network.caller, network.callee):
        call = make_ice(*nomination).exchange().wait_relayed()
        hello = dtls_hello()
        call.caller.send(hello)
        call.callee.wait_got([hello])
        call.talk(voices())
        call.talk(voices(60, first=41))
        assert remotes(call) == (text_of(call.caller.address), text_of(call.callee.address))
        assert call.call.remove() == "removed"
