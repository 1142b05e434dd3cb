"""ICE: real agents check our ports, and media goes where they have agreed (docs/media.md)."""

import contextlib
import os
import socket
import struct
import time

import pytest

from mp.ice import HIGH, LOW, IceAgent, IceCall, relay_candidate
from mp.kamailio import ENGAGE
from mp.packets import dtls_hello, rtp_series
from mp.programs import missing
from mp.records import record
from mp.wait import SLOWNESS, holds_for, wait_for

pytestmark = pytest.mark.usefixtures("network")


@pytest.fixture
def make_ice(make_call_system, network, tmp_path):
    """A function that makes a system and an IceCall of two agents, which gather."""
    agents = []

    def make(*options, caller="caller", callee="callee", callee_options=None, preference=LOW,
             with_hosts=True, relay_config=None, ips=(None, None), components=1):
        system = make_call_system(network=network, relay_config=relay_config, started=False)
        # Where Kamailio would be told to end a dialog.
        system.dispatcher.sections["OpenSIPS"] = {
            "socket_path": os.path.join(system.dispatcher.runtime_dir, "mi.sock")}
        system.start()
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
    table = "wall" + other.ip.rsplit(".", 1)[1]
    one.run(["nft", "-f", "-"], text=True, input=(
        "table ip %s {\n chain out {\n type filter hook output priority 0;\n"
        "  ip daddr %s drop\n }\n chain in {\n type filter hook input priority 0;\n"
        "  ip saddr %s drop\n }\n}\n" % (table, other.ip, other.ip)))
    try:
        yield
    finally:
        one.run(["nft", "delete", "table", "ip", table])


def voices(count=40, first=1):
    return rtp_series(count, 0x1111, first), rtp_series(count, 0x2222, first)


def remotes(call):
    stream = call.system.dispatcher.session(call.call_id)["streams"][-1]
    return stream["caller_remote"], stream["callee_remote"]


def text_of(address):
    return "%s:%d" % tuple(address)


@pytest.mark.engine
def test_without_a_direct_path_media_flows_through_us(make_ice, network):
    with blocked(network.caller, network.callee):
        call = make_ice().exchange().wait_relayed()
        hello = dtls_hello()
        call.caller.send(hello)
        call.callee.wait_got([hello])
        call.talk(voices())
        call.talk(voices(60, first=41))
        assert remotes(call) == (text_of(call.caller.address), text_of(call.callee.address))
        assert call.call.remove() == "removed"


def test_with_a_direct_path_the_stream_ends_as_unselected(make_ice, network):
    call = make_ice(relay_config={"stream_timeout": 2}).exchange()
    call.caller.wait_selected(call.callee.address)
    call.callee.wait_selected(call.caller.address)
    call.talk(voices())
    ended = record(call.system, call.call_id, deadline=10)
    assert [s["status"] for s in ended["streams"]] == ["unselected ICE candidate"]
    assert (ended["all_streams_ice"], ended["timed_out"]) == (True, False)
    assert ended["end_reason"] == "unselected ICE candidate"
    assert call.call.remove() == "removed"


@pytest.mark.parametrize("nomination", [(), ("regular",)], ids=["aggressive", "regular"])
def test_agents_behind_two_nats_meet_at_our_ports(make_ice, network, nomination):
    """Both SDPs have private addresses that nothing is sent to."""
    network.behind_nat("home", "symmetric")
    network.behind_nat("office", "symmetric")
    call = make_ice(*nomination, caller="home", callee="office",
                    relay_config={"routable_private_ranges": None}).exchange().wait_relayed()
    call.talk(voices())
    assert [r.rsplit(":", 1)[0] for r in remotes(call)] == [network.nat.ip, network.officenat.ip]
    assert call.call.remove() == "removed"


def test_media_follows_a_nat_that_rebinds(make_ice, network):
    """Its agent knows nothing of it, and asks nobody anew."""
    network.behind_nat("home", "symmetric")
    call = make_ice(caller="home", with_hosts=False,
                    relay_config={"routable_private_ranges": None}).exchange().wait_relayed()
    call.talk(voices())
    network.nat.move("10.88.0.39")
    more = iter(rtp_series(1000, 0x1111, 41))

    def heard():
        packet = next(more)
        call.caller.send(packet)
        time.sleep(0.02)  # the rhythm of a phone
        return packet in call.callee.got()

    begun = time.monotonic()
    wait_for(heard, 3, "media from the new mapping")
    assert time.monotonic() - begun < 1 * SLOWNESS
    back = rtp_series(20, 0x2222, 41)
    call.callee.send(*back)
    call.caller.wait_got(back)
    assert remotes(call)[0].startswith("10.88.0.39:")
    assert call.call.remove() == "removed"


def test_media_flows_on_through_a_restart(make_ice, network):
    with blocked(network.caller, network.callee):
        call = make_ice().exchange().wait_relayed()
        call.talk(voices())
        before = remotes(call)
        offset = call.caller.log_offset()
        call.restart(by="callee")
        call.talk(voices(60, first=41))
        call.caller.wait_log("state 1 ready", since=offset, deadline=10)
        call.talk(voices(20, first=101))
        assert remotes(call) == before
        assert call.call.remove() == "removed"


def test_we_are_selected_after_the_direct_path_is_lost(make_ice, network):
    call = make_ice().exchange()
    call.caller.wait_selected(call.callee.address)
    call.callee.wait_selected(call.caller.address)
    call.talk(voices())
    with blocked(network.caller, network.callee):
        call.restart()
        call.wait_relayed()
        call.talk(voices(40, first=41))
        assert call.call.remove() == "removed"


def test_components_of_their_own_for_rtp_and_rtcp(make_ice, network):
    with blocked(network.caller, network.callee):
        call = make_ice(components=2).exchange().wait_relayed()
        call.caller.wait_ready(2)
        call.callee.wait_ready(2)
        call.talk(voices())
        call.talk(voices(20, first=1001), component=2)
        assert call.call.remove() == "removed"


def test_a_lite_agent_that_never_asks(make_ice, network):
    call = make_ice("regular", callee_options=("lite",), preference=HIGH, with_hosts=False)
    call.exchange()
    call.caller.wait_selected(call.leads_to[call.callee])
    call.caller.wait_ready()
    call.callee.wait_ready()
    call.talk(voices())
    assert call.call.remove() == "removed"


@pytest.mark.engine("tc")
def test_consent_is_asked_for_while_the_kernel_forwards(make_ice, network):
    """Its checks come up, and their responses find who asked."""
    def counts():
        stream = call.system.dispatcher.session(call.call_id)["streams"][0]
        return stream["caller_packets"], stream["callee_packets"]

    with blocked(network.caller, network.callee):
        call = make_ice("consent").exchange().wait_relayed()
        call.talk(voices())
        call.system.wait_flows(*call.leads_to.values())
        call.talk(voices(20, first=41))
        before = counts()
        # Each asks, and each answers.
        wait_for(lambda: all(now >= was + 2 for now, was in zip(counts(), before)), 10,
                 lambda: "%s after %s" % (counts(), before))
        summary = call.system.relay.summary()
        assert summary["kernel"]["up_stun"] >= 2, summary
        dropped = summary["drops"]
        assert (dropped["stun_refused"], dropped["stun_limit"]) == (0, 0)
        assert call.call.remove() == "removed"


def test_one_side_with_ice_alone_is_an_ordinary_call(make_ice, network):
    """Its agent checks our port and draws no answer; media is learned as ever."""
    call = make_ice()
    phone = call.system.phone("callee").stream()
    offered = call.call.offer(call.caller.media())
    phone.to = offered.address()
    answered = call.call.answer(phone)
    call.caller.take(("abcd", "0123456789012345678901"),
                     [(1, relay_candidate(answered.address()))])
    other = call.system.phone("caller").stream()
    other.to = answered.address()
    mine = rtp_series(10, 0x3333)
    for packet in mine:
        other.rtp.send(packet)
    wait_for(lambda: [d for d in phone.rtp.data if d in mine] == mine, what="its packets")
    dropped = call.system.relay.summary()["drops"]
    assert (dropped["stun_refused"], dropped["stun_limit"]) == (0, 0)
    assert call.call.remove() == "removed"


def test_a_transfer_to_another_phone_leaves_the_old_one_out(make_ice, network, tmp_path):
    """The callee's place is taken by an agent on the host `stranger`, who is behind no address
    that the signalling names."""
    with blocked(network.caller, network.callee), blocked(network.caller, network.stranger):
        call = make_ice().exchange().wait_relayed()
        call.talk(voices())
        old, ports = call.callee, dict(call.leads_to)
        new = IceAgent(tmp_path, "new", network.stranger).start()
        try:
            call.caller.restart()
            call.callee = new
            call.exchange(by="callee").wait_relayed()
            assert call.leads_to[call.caller] == ports[call.caller]
            call.talk(voices(40, first=41))
            before = len(call.caller.got())
            old.send(*rtp_series(20, 0x2222, 1000))
            call.talk(voices(20, first=81))
            assert len(call.caller.got()) == before + 20
            assert remotes(call)[1] == text_of(new.address)
            assert call.call.remove() == "removed"
        finally:
            new.stop()


# ---- Kamailio ----

class SipAgents:
    """Two agents whose SDP goes through Kamailio and its mediaproxy module, by sipp."""

    def __init__(self, system, caller, callee, ice_candidate, mode=ENGAGE):
        self.caller, self.callee = caller, callee
        self.kamailio = system.kamailio(
            mode, modparams='modparam("mediaproxy", "ice_candidate", "%s")' % ice_candidate)
        self.sip_callee = system.sip_callee("callee", callee.sdp())
        self.sip_caller = system.sip_caller("caller", caller.sdp())

    def connect(self):
        """The candidates that the callee and the caller got."""
        to_callee = self.callee.take_sdp(self.sip_callee.wait_message("INVITE").body)
        to_caller = self.caller.take_sdp(self.sip_caller.wait_message("200 INVITE").body)
        return to_callee, to_caller

    @property
    def call_id(self):
        return self.sip_caller.call_id

    def hang_up(self):
        self.sip_caller.go_on()
        self.sip_caller.finish()
        self.sip_callee.finish()


def ours_of(candidates, relay):
    """(component, priority, port) of our candidates, which have to be relay candidates."""
    found = []
    for line in candidates:
        words = line.split()
        if words[4] == relay.ip:
            assert words[2].upper() == "UDP" and words[6:] == ["typ", "relay"], line
            found.append((int(words[1]), int(words[3]), int(words[5])))
    return found


@pytest.mark.parametrize("preference,value", [("low-priority", LOW), ("high-priority", HIGH)])
def test_agents_take_the_candidates_that_kamailio_inserts(make_ice, network, preference, value):
    missed = missing("kamailio", "sipp")
    if missed:
        pytest.skip(missed)
    call = make_ice()
    system = call.system
    with blocked(network.caller, network.callee):
        sip = SipAgents(system, call.caller, call.callee, preference)
        for candidates in sip.connect():
            (component, priority, port), = ours_of(candidates, system.relay)
            ours = relay_candidate((system.relay.ip, port), component, value)
            assert component == 1 and ours in candidates, candidates
            assert port % 2 == 0
        call.caller.wait_ready()
        call.callee.wait_ready()
        call.talk(voices())
        assert call.caller.selected[0] == call.callee.selected[0] == system.relay.ip
        sip.hang_up()


def test_kamailio_keeps_a_call_whose_agents_chose_the_direct_path(make_ice, network):
    """Its record says so, and nobody sends a BYE until a phone does."""
    missed = missing("kamailio", "sipp")
    if missed:
        pytest.skip(missed)
    call = make_ice(relay_config={"stream_timeout": 2})
    sip = SipAgents(call.system, call.caller, call.callee, "low-priority")
    sip.connect()
    call.caller.wait_selected(call.callee.address)
    call.callee.wait_selected(call.caller.address)
    ended = record(call.system, sip.call_id, deadline=10)
    assert [s["status"] for s in ended["streams"]] == ["unselected ICE candidate"]
    assert (ended["all_streams_ice"], ended["timed_out"]) == (True, False)
    assert ended["dialog_id"]
    holds_for(lambda: not [m for m in sip.sip_callee.messages() + sip.sip_caller.messages()
                           if m.first_line.startswith("BYE")], 1.0, "no BYE")
    call.talk(voices())
    sip.hang_up()


# ---- attackers ----

COOKIE = struct.pack("!I", 0x2112a442)


def stun(kind, transaction, username=b"abcd:efgh"):
    """A message with attributes of an agent, and a MESSAGE-INTEGRITY that is none."""
    body = struct.pack("!HH", 0x0006, len(username)) + username + bytes(-len(username) % 4)
    body += struct.pack("!HHI", 0x0024, 4, 0x6e7f1eff) + struct.pack("!HH", 0x0008, 20) + bytes(20)
    return struct.pack("!HH", kind, len(body)) + COOKIE + transaction + body


def is_stun(packet):
    return packet[4:8] == COOKIE


class Attacker:
    """Ports of another host, which note what comes."""

    def __init__(self, system, count=1):
        phone = system.phone("stranger")
        self.ports = [phone.port() for _ in range(count)]
        self.asked = set()

    def ask(self, address, count=1):
        for port in self.ports:
            for _ in range(count):
                transaction = os.urandom(12)
                self.asked.add(transaction)
                port.send(stun(0x0001, transaction), to=address)

    def send(self, address, packets):
        for port in self.ports:
            port.send(*packets, to=address)

    def check(self):
        """It got responses to its own requests at the most, and no more bytes than it sent."""
        for port in self.ports:
            assert sum(map(len, port.data)) <= sum(map(len, port.sent))
            for packet in port.data:
                assert is_stun(packet) and packet[0] == 1 and packet[8:20] in self.asked, packet


def test_strangers_at_both_ports_get_nothing_of_the_call(make_ice, network):
    """They ask, they answer whatever they get, and they send media, before the call and in it."""
    with blocked(network.caller, network.callee):
        call = make_ice(relay_config={"routable_private_ranges": None, "settle_time": "100ms"})
        ports = [call.call.offer(call.caller.media()).address(),
                 call.call.answer(call.callee.media()).address()]
        attackers = [Attacker(call.system), Attacker(call.system)]
        for _ in range(3):
            for attacker, port in zip(attackers, ports):
                attacker.ask(port)
                attacker.send(port, [stun(0x0101, t) for t in sorted(attackers[0].asked)])
        call.exchange().wait_relayed()
        seen = set()
        for step in range(4):
            call.talk(voices(20, first=1 + 20 * step))
            for attacker, port in zip(attackers, ports):
                asked = {p[8:20] for a in attackers for p in a.ports[0].data if is_stun(p)} - seen
                seen |= asked
                attacker.ask(port)
                attacker.send(port, [stun(0x0101, t) for t in sorted(asked)]
                              + rtp_series(10, 0x6666, 1 + 10 * step))
        for attacker in attackers:
            attacker.check()
        heard = call.caller.got() + call.callee.got()
        assert not [p for p in heard if p[8:12] == bytes.fromhex("00006666")]
        assert call.system.relay.summary()["drops"]["stun_refused"] > 0
        assert call.call.remove() == "removed"


@contextlib.contextmanager
def tapped(host):
    """The UDP payloads that arrive at a host, as somebody sees them who sits there."""
    with host.socket(socket.AF_PACKET, socket.SOCK_RAW) as tap:
        tap.bind(("eth0", 0x0800))
        tap.setblocking(False)

        def seen():
            packets = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    frame = tap.recv(65535)
                    if frame[23] == 17:
                        packets.append((struct.unpack("!H", frame[36:38])[0], frame[42:]))
            return packets

        yield seen


def test_requests_that_are_played_again_open_nothing(make_ice, network):
    with blocked(network.caller, network.callee), tapped(network.relay1) as seen:
        call = make_ice().exchange().wait_relayed()
        call.talk(voices())
        before = call.system.relay.summary()["drops"]["stun_refused"]
        attacker = Attacker(call.system)
        to = call.leads_to[call.callee]
        requests = [p for port, p in seen() if port == to[1] and is_stun(p) and p[0] == 0]
        assert requests
        attacker.send(to, requests + rtp_series(20, 0x6666))
        wait_for(lambda: call.system.relay.summary()["drops"]["stun_refused"]
                 >= before + len(requests), what="refused")
        call.talk(voices(20, first=41))
        assert attacker.ports[0].data == []
        assert not [p for p in call.callee.got() if p[8:12] == bytes.fromhex("00006666")]
        assert call.call.remove() == "removed"


def test_a_storm_of_requests_costs_the_call_nothing(make_ice, network):
    with blocked(network.caller, network.callee):
        call = make_ice(relay_config={"routable_private_ranges": None})
        ports = [call.call.offer(call.caller.media()).address(),
                 call.call.answer(call.callee.media()).address()]
        attacker = Attacker(call.system, count=8)
        for port in ports:
            attacker.ask(port, 100)
        call.exchange().wait_relayed()
        for port in ports:
            attacker.ask(port, 100)
        call.talk(voices())
        attacker.check()
        assert call.system.relay.summary()["drops"]["stun_limit"] > 1000
        assert call.call.remove() == "removed"
