"""What goes wrong with the machine while a kernel engine forwards: calls go on.

The network of the tests is changed and put back; what is wrong with single packets is here too.
"""

import re
import socket
import subprocess
import time

import pytest

from mp.netns import ETHTOOL_SGRO
from mp.packets import payload, rtp, rtp_series
from mp.phone import gets_through, settle, talk
from mp.records import address_text, check_stream, record
from mp.speech import Conversation
from mp.wait import Deadline, wait_for

KERNEL = pytest.mark.engine("tc", "xdp")


@pytest.fixture
def restored(network):
    """The network, whose hosts get back what a test took from them."""
    yield network
    for name in ("relay1", "caller", "callee", "stranger"):
        network.configure(name)


def ip(host, *commands):
    for command in commands:
        host.run(["ip"] + command.split())


def make_call(system):
    """A call that the kernel forwards."""
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call().establish([caller], [callee])
    talk(caller, callee)
    talk(caller, callee, first=50)
    wait_for(lambda: system.relay.summary()["flows"] == 4, what=lambda: system.relay.summary())
    return call, caller, callee


def kernel_packets(system):
    return system.relay.summary()["kernel_packets"]


def goes_on(system, caller, callee):
    """Media flows again both ways, soon, and in the kernel before long."""
    settle(caller, callee, ssrc=(0x11111111, 0x22222222), deadline=10)
    before = kernel_packets(system)
    end = Deadline(10)
    first = 2000
    while kernel_packets(system) < before + 20:
        assert not end.over(), "all through userspace: %s" % system.relay.summary()
        talk(caller, callee, first=first)
        first += 100


# -- interfaces, addresses, routes, neighbours -------------------------------------------------


@KERNEL
def test_an_interface_that_goes_down_and_up(call_network, restored):
    call, caller, callee = make_call(call_network)
    log = call_network.relay.log_offset()
    ip(restored.relay1, "link set eth0 down")
    caller.rtp.send(*rtp_series(3, ssrc=0x11111111, first=500))
    ip(restored.relay1, "link set eth0 up")
    goes_on(call_network, caller, callee)
    call_network.relay.wait_log("WARNING way to 10.88.0.2[12] lost: ", since=log)
    assert call.remove() == "removed"


@KERNEL
def test_a_cable_that_is_pulled_and_put_back(call_network, restored):
    """No carrier for a while: the other end is down."""
    call, caller, callee = make_call(call_network)
    bridge = ["ip", "-n", restored.bridge, "link", "set", "relay1"]
    restored.relay1.run(bridge + ["down"])
    caller.rtp.send(*rtp_series(3, ssrc=0x11111111, first=500))
    restored.relay1.run(bridge + ["up"])
    goes_on(call_network, caller, callee)
    assert call.remove() == "removed"


@KERNEL
def test_the_relays_address_is_removed_and_comes_back(call_network, restored):
    call, caller, callee = make_call(call_network)
    relay = restored.relay1
    log = call_network.relay.log_offset()
    ip(relay, "addr del %s/24 dev eth0" % relay.ip)
    wait_for(lambda: not gets_through(caller, callee), what="no way without an address")
    call_network.relay.wait_log("WARNING way to 10.88.0.2[12] lost: ", since=log)
    ip(relay, "addr add %s/24 dev eth0" % relay.ip)
    goes_on(call_network, caller, callee)
    assert call.remove() == "removed"


FAR = "10.99.0.22"


@pytest.fixture
def far_callee(restored):
    """The callee has an address that is reached through the callee, or through the stranger."""
    callee, stranger = restored.callee, restored.stranger
    ip(callee, "addr add %s/32 dev lo" % FAR)
    ip(stranger, "route add %s via %s" % (FAR, callee.ip))
    stranger.run(["sysctl", "-q", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0",
                  "net.ipv4.conf.eth0.send_redirects=0"])
    ip(restored.relay1, "route add %s via %s" % (FAR, callee.ip))
    yield FAR
    stranger.run(["sysctl", "-q", "net.ipv4.ip_forward=0"])
    ip(callee, "addr del %s/32 dev lo" % FAR)


def forwarded_by(host):
    """How many IPv4 packets a host has forwarded as a router."""
    lines = [line.split() for line in host.run(
        ["cat", "/proc/net/snmp"], capture_output=True, text=True).stdout.splitlines()
        if line.startswith("Ip:")]
    return int(dict(zip(*lines))["ForwDatagrams"])


@KERNEL
def test_media_follows_a_route_to_another_gateway(make_call_system, restored, far_callee):
    """Not a packet is lost: the old way works until the new one is there."""
    system = make_call_system(network=restored, relay_config={
        "routable_private_ranges": "10.0.0.0/8"})
    caller, callee = system.phone("caller").stream(), system.phone("callee", ip=FAR).stream()
    call = system.call().establish([caller], [callee])
    talks = Conversation(caller, callee, rate=100)
    try:
        talks.both(30)
        before, kernel = forwarded_by(restored.stranger), kernel_packets(system)
        assert kernel > 0
        ip(restored.relay1, "route replace %s via %s" % (FAR, restored.stranger.ip))
        talks.both(60)
        assert forwarded_by(restored.stranger) - before >= 40
        assert kernel_packets(system) - kernel >= 80
        before = forwarded_by(restored.stranger)
        ip(restored.relay1, "route replace %s via %s" % (FAR, restored.callee.ip))
        talks.both(60)
        assert forwarded_by(restored.stranger) - before <= 20
        talks.end()
    finally:
        talks.close()
    assert call.remove() == "removed"


@KERNEL
def test_media_follows_a_route_that_is_gone_and_comes_back(
        make_call_system, restored, far_callee):
    system = make_call_system(network=restored, relay_config={
        "routable_private_ranges": "10.0.0.0/8"})
    ip(restored.relay1, "route del default")
    caller, callee = system.phone("caller").stream(), system.phone("callee", ip=FAR).stream()
    call = system.call().establish([caller], [callee])
    talk(caller, callee)
    talk(caller, callee, first=50)
    ip(restored.relay1, "route del " + FAR)
    wait_for(lambda: not gets_through(caller, callee), what="no way without a route")
    ip(restored.relay1, "route add %s via %s" % (FAR, restored.stranger.ip))
    goes_on(system, caller, callee)
    assert call.remove() == "removed"


@KERNEL
def test_media_follows_a_phone_with_a_new_mac(call_network, restored):
    """Another machine has taken over the address, and says so by ARP."""
    relay, callee_host = restored.relay1, restored.callee
    ip(relay, "neigh del %s dev eth0" % callee_host.ip)
    call, caller, callee = make_call(call_network)
    callee_host.run(["sysctl", "-q", "net.ipv4.conf.eth0.arp_notify=1"])
    ip(callee_host, "link set eth0 address 02:00:00:88:01:16")
    goes_on(call_network, caller, callee)
    assert call.remove() == "removed"


@KERNEL
def test_media_follows_a_neighbour_that_is_told(call_network, restored):
    """As keepalived or an administrator has it: no ARP at all."""
    call, caller, callee = make_call(call_network)
    ip(restored.callee, "link set eth0 address 02:00:00:88:01:17")
    ip(restored.relay1, "neigh replace %s lladdr 02:00:00:88:01:17 dev eth0 nud permanent"
       % restored.callee.ip)
    goes_on(call_network, caller, callee)
    assert call.remove() == "removed"


@KERNEL
def test_the_relays_host_is_no_router(call_network, restored):
    """The kernel forwards media, and no sysctl was touched for it."""
    call, caller, callee = make_call(call_network)
    before = kernel_packets(call_network)
    talk(caller, callee, first=100)
    assert kernel_packets(call_network) > before
    values = restored.relay1.run(
        ["sysctl", "-n", "net.ipv4.ip_forward", "net.ipv4.conf.eth0.forwarding",
         "net.ipv6.conf.all.forwarding", "net.ipv6.conf.eth0.forwarding"],
        capture_output=True, text=True).stdout.split()
    assert values == ["0"] * 4
    assert call.remove() == "removed"


@pytest.mark.engine("xdp")
def test_an_interface_that_stops_to_take_what_xdp_sends(call_network, restored):
    """veth whose other end has GRO switched off drops it in silence: then userspace sends."""
    bridge = type(restored.relay1)(restored.bridge, None, None)
    call, caller, callee = make_call(call_network)
    try:
        bridge.offload(ETHTOOL_SGRO, False, "relay1")
        settle(caller, callee, ssrc=(0x11111111, 0x22222222), deadline=15)
    finally:
        bridge.offload(ETHTOOL_SGRO, True, "relay1")
    call_network.relay.wait_log("interface eth0: xdp", deadline=15,
                                since=call_network.relay.log().rindex("interface eth0: userspace"))
    goes_on(call_network, caller, callee)
    assert call.remove() == "removed"


@pytest.fixture
def tagged(restored):
    """The caller is in a VLAN of the relay's."""
    hosts = {"relay1": "10.89.0.11", "caller": "10.89.0.21"}
    for name, address in hosts.items():
        done = subprocess.run(restored.hosts[name].command(
            "ip link add link eth0 name eth0.5 type vlan id 5".split()), capture_output=True,
            text=True)
        if done.returncode != 0:
            pytest.skip("the kernel has no VLANs: " + done.stderr.strip())
        ip(restored.hosts[name], "addr add %s/24 dev eth0.5" % address, "link set eth0.5 up")
    ip(restored.caller, "route add %s/32 dev eth0.5 src %s" % (
        restored.relay1.ip, hosts["caller"]))
    yield hosts["caller"]
    for name in hosts:
        ip(restored.hosts[name], "link del eth0.5")


@pytest.mark.engine("tc", "xdp", few_packets=True)
def test_a_vlan_on_one_side(make_call_system, restored, tagged):
    system = make_call_system(network=restored, relay_config={
        "routable_private_ranges": "10.0.0.0/8"})
    caller, callee = system.phone("caller", ip=tagged).stream(), system.phone("callee").stream()
    call = system.call().establish([caller], [callee])
    settle(caller, callee, ssrc=(0x11111111, 0x22222222))
    for first in (100, 200, 300):
        talk(caller, callee, first=first)
    assert call.remove() == "removed"


# -- single packets ----------------------------------------------------------------------------


@KERNEL
def test_packets_that_are_too_long_for_the_way_are_delivered(call_network, restored):
    """In fragments, by userspace; the short ones between them by the kernel."""
    ip(restored.relay1, "route add %s/32 dev eth0 mtu 600" % restored.callee.ip)
    call, caller, callee = make_call(call_network)
    before = call_network.relay.summary()
    for number in range(10):
        for size in (160, 1200):
            packet = rtp(100 + number, 0x11111111, data=payload((number, size), size))
            caller.rtp.send(packet)
            callee.rtp.expect([packet])
    after = call_network.relay.summary()
    assert after["kernel_packets"] - before["kernel_packets"] == 10
    assert after["packets"] - before["packets"] == 20
    assert call.remove() == "removed"
    check_stream(record(call_network, call.call_id)["streams"][0], caller, callee)


OPTIONS = {
    "ttl": lambda sock: sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1),
    "options": lambda sock: sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\1" * 4),
}


@KERNEL
@pytest.mark.parametrize("what", OPTIONS)
def test_packets_that_a_router_would_not_forward_are_delivered(call_network, network, what):
    """The relay is where they go to; what it sends is its own."""
    call, caller, callee = make_call(call_network)
    before = call_network.relay.summary()
    OPTIONS[what](caller.rtp.socket)
    for packet in rtp_series(10, ssrc=0x11111111, first=100):
        caller.rtp.send(packet)
        callee.rtp.expect([packet])
    after = call_network.relay.summary()
    assert after["kernel_packets"] == before["kernel_packets"]
    assert after["packets"] - before["packets"] == 10
    assert sum(after["kernel"].values()) - sum(before["kernel"].values()) == 10
    assert call.remove() == "removed"


@pytest.mark.engine
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("tos", [None, 98, "keep"])
def test_packets_leave_with_the_tos_that_is_configured(make_call_system, network, engine, family,
                                                       tos):
    """184 (EF) unless it is said, or that of the phone. The kernel leaves ECN, the last two bits,
    alone; userspace sends none of its own, and passes on what came only where it keeps all."""
    system = make_call_system(network=network, family=family, relay_config={"tos": tos})
    caller, callee = system.phone("caller").stream(), system.phone("callee")
    level, receive, kind, own = (
        (socket.IPPROTO_IP, socket.IP_RECVTOS, socket.IP_TOS, socket.IP_TOS) if family == 4 else
        (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, socket.IPV6_TCLASS, socket.IPV6_TCLASS))
    sent = [0x20 + number % 7 for number in range(20)]
    ear = network.callee.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
    with ear:
        ear.bind((callee.ip, 0))
        ear.setsockopt(level, receive, 1)
        ear.settimeout(3)
        call = system.call()
        line = "audio:%s:%d:sendrecv:ice=no" % (callee.ip, ear.getsockname()[1])
        offered = call.offer(caller)
        caller.to = call.answer(line).address()
        ear.sendto(rtp(1, 5), offered.address())
        wait_for(lambda: caller.rtp.received)
        seen = []
        for number in range(20):
            caller.rtp.socket.setsockopt(level, own, sent[number])
            caller.rtp.send(rtp(number, 6))
            _, control, _, _ = ear.recvmsg(2000, 100)
            seen += [data[0] for at, what, data in control if (at, what) == (level, kind)]
            if number == 0 and engine != "userspace":
                # The others are the kernel's.
                system.relay.wait_log(re.escape("flow of %s: ready -> on" % address_text(
                    caller.to)))
    if tos == "keep":
        assert seen == sent
    else:
        dscp = 184 if tos is None else 96
        assert seen[0] == dscp
        assert seen[1:] == [dscp + (0 if engine == "userspace" else ecn & 3) for ecn in sent[1:]]
    assert call.remove() == "removed"


# -- the engine itself -------------------------------------------------------------------------


@pytest.mark.parametrize("forwarding", ["auto", "tc", "xdp"])
def test_without_permission_userspace_forwards_and_says_why(make_call_system, network, forwarding):
    system = make_call_system(network=network, started=False, relay_config={
        "forwarding": forwarding})
    system.relay.argv = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--"
                         ] + system.relay.argv
    system.start()
    system.relay.wait_log(r"WARNING.*permission")
    summary = system.relay.summary()
    assert summary["engine"] == "userspace" and "permission" in summary["engine_reason"]
    assert network.relay1.programs() == []
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call().establish([caller], [callee])
    talk(caller, callee)
    talk(caller, callee, first=100)
    assert call.remove() == "removed"
    check_stream(record(system, call.call_id)["streams"][0], caller, callee)


@KERNEL
def test_a_killed_relays_flows_end_with_its_lease(make_call_system, network):
    """And a new relay takes over what it left."""
    system = make_call_system(network=network, relay_config={"restart_grace": 2})
    _, caller, callee = make_call(system)
    attached = network.relay1.programs()
    system.relay.kill()
    killed = time.monotonic()
    number = 100
    heard = killed
    while time.monotonic() - heard < 1:
        assert time.monotonic() - killed < 6, "still forwarded"
        number += 1
        caller.rtp.send(rtp(number, 0x11111111))
        time.sleep(0.02)  # the rhythm of a phone
        if callee.rtp.received:
            heard = callee.rtp.received[-1].time
            callee.rtp.clear()
    assert 0.9 < heard - killed < 3, "ended after %.1f s" % (heard - killed)
    assert network.relay1.programs() == attached

    system.relay.baseline_fds = None
    system.start()
    now = network.relay1.programs()
    assert len(now) == len(attached), (attached, now)
    assert now != attached
    call, caller, callee = make_call(system)
    talk(caller, callee, first=200)
    assert call.remove() == "removed"


@pytest.mark.parametrize("before, after", [("tc", "xdp"), ("xdp", "tc"), ("tc", "userspace"),
                                          ("xdp", "userspace")])
def test_a_start_removes_what_a_killed_relay_left(make_call_system, network, before, after):
    """Another engine than before: nothing of the old one stays."""
    system = make_call_system(network=network, engine=before)
    call, _, _ = make_call(system)
    system.relay.kill()
    assert network.relay1.programs()
    system.relay.sections["Relay"]["forwarding"] = after
    network.prepare(after)
    system.relay.baseline_fds = None
    system.start()
    found = network.relay1.programs()
    assert any("prog/xdp" in line for line in found) == (after == "xdp"), found
    assert any("relay_tc" in line for line in found) == (after == "tc"), found
    system.engine = after
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call().establish([caller], [callee])
    talk(caller, callee)
    talk(caller, callee, first=100)
    assert call.remove() == "removed"
    assert system.relay.summary()["engine"] == after


# -- the same from all engines -----------------------------------------------------------------


def scripted_call(system):
    """A call in which much happens, and its record without what is another one's each time."""
    kinds = ("audio", "video")
    caller, callee = ([system.phone(n).stream(k) for k in kinds] for n in ("caller", "callee"))
    call = system.call(call_id="script@x").establish(caller, callee)
    for _ in range(3):
        for one, other in zip(caller, callee):
            for number in range(5):
                base = len(one.rtp.sent)
                one.rtp.send(rtp(base, 1, payload_type=0, data=payload(base, 20 + 7 * number)))
                other.rtp.expect(one.rtp.sent[-1:])
                other.rtp.send(rtp(base, 2, payload_type=96, data=payload(base, 300)))
                one.rtp.expect(other.rtp.sent[-1:])
        talk(*[c[0] for c in (caller, callee)], first=1000)
    call.offer(caller[0].media("sendonly"), caller[1].media(port=0))
    call.answer(callee[0].media("recvonly"), callee[1].media(port=0))
    caller[0].rtp.send(*rtp_series(5, ssrc=3, first=2000, payload_type=3))
    callee[0].rtp.expect(caller[0].rtp.sent[-5:])
    for stream in caller + callee:  # on hold: one second, then it ends
        stream.rtp.clear()
    final = record(system, "script@x", deadline=8)
    assert call.remove() == "removed"
    summary = system.relay.summary()
    for key in ("start_time", "answered_time", "end_time", "record_id"):
        assert final.pop(key)
    assert final.pop("engine") == system.engine
    kernel_packets = 0
    for stream in final["streams"]:
        for key in list(stream):
            if key.endswith(("_remote", "_local", "_sdp")) or key == "post_dial_delay":
                assert stream.pop(key) not in (None, "Unknown")
            elif key.endswith("_kernel_packets"):
                kernel_packets += stream.pop(key)
    assert (kernel_packets > 0) == (system.engine != "userspace")
    return final, {key: summary[key] for key in ("packets", "bytes", "drops")}


def test_records_and_counters_are_the_same_from_all_engines(make_call_system, network):
    results = {}
    for engine in ("userspace", "tc", "xdp"):
        system = make_call_system(network=network, engine=engine, relay_config={
            "on_hold_timeout": 1, "stream_timeout": 3})
        results[engine] = scripted_call(system)
        assert not system.check_engine()
        system.close()
    assert results["tc"] == results["userspace"]
    assert results["xdp"] == results["userspace"]


@pytest.mark.engine
def test_bps_relayed_is_what_the_phones_send(make_call_system, network):
    system = make_call_system(network=network, relay_config={"traffic_sampling_period": 2})
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call().establish([caller], [callee])
    talks = Conversation(caller, callee, rate=50)
    want = 2 * 50 * (172 + 28) * 8
    seen = []

    def close():
        seen.append(system.relay.summary()["bps_relayed"])
        return 0.8 * want < seen[-1] < 1.1 * want

    try:
        wait_for(close, 15, lambda: "about %d bit/s, had %s" % (want, sorted(set(seen))))
        session = system.dispatcher.session(call.call_id)["streams"][0]
        assert session["caller_packets"] > 20
    finally:
        talks.close()
    assert call.remove() == "removed"
