"""Addresses of the relay: of both families, several, by route, advertised, and gone."""

import subprocess

import pytest

from mp.daemons import write_config
from mp.kamailio import USE
from mp.packets import ip_bytes, rtp_series
from mp.phone import gets_through, settle, talk
from mp.programs import missing, program
from mp.records import PARTIES, address_text, record
from mp.sipp import make_sdp
from mp.wait import wait_for

SECOND, SECOND6 = "10.88.0.111", "fd88::111"
THIRD, THIRD6 = "10.88.0.112", "fd88::112"


@pytest.fixture
def both(make_call_system, network):
    """A function: a system whose relay has these addresses; None: one of each family."""
    def make(relay_ip=None, started=True, **config):
        host = network.relay1
        return make_call_system(network=network, relay_config=dict(
            {"relay_ip": relay_ip or "%s, %s" % (host.ip, host.ip6),
             "routable_private_ranges": "10.88.0.0/16 10.99.0.0/24 fd88::/64 fd99::/64"},
            **config), started=started)

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


def test_a_callee_that_answers_in_another_family_than_was_guessed_is_learned(both, network):
    """Nothing says where the INVITE goes, so the callee was told an IPv4 address. It answers with
    an IPv6 one, and sends from IPv4 to where it was told."""
    system = both()
    caller, callee = dual(system, 4, 4)
    call = system.call()
    callee.to = call.offer(caller).address()
    answered = call.answer(callee.media(ip=network.callee.ip6))
    caller.to = answered.address()
    assert (callee.to[0], answered.ip) == (network.relay1.ip, network.relay1.ip)
    assert "callee's SDP is of another family than our address" in system.relay.log()
    settle(caller, callee)
    talk(caller, callee)
    # From now on its family is known: new streams of a re-INVITE are for IPv6.
    moved, there = dual(system, 4, 6)
    offered = call.offer(moved)
    assert offered.ip == network.relay1.ip6
    there.to, moved.to = offered.address(), call.answer(there).address()
    talk(moved, there)
    assert call.remove() == "removed"


def test_a_caller_that_moves_to_the_other_family_gets_new_ports_there(both, network):
    system = both()
    caller, callee = dual(system, 4, 4)
    call, offered, answered = start(system, caller, callee)
    talk(caller, callee)
    moved, same = dual(system, 6, 4)
    again = call.offer(moved)
    assert again.ip == offered.ip, "the callee's family is what it was"
    same.to, moved.to = again.address(), call.answer(same).address()
    assert moved.to[0] == network.relay1.ip6
    talk(moved, same)
    # The way back: the streams that stay have their place, a new one goes with them.
    video = system.phone("caller", network.caller.ip6).stream("video")
    offered = call.offer(moved, video)
    assert offered.address(0) == same.to
    answered = call.answer(same, "video:%s:6000:sendrecv:ice=no" % network.callee.ip)
    assert answered.ip == network.relay1.ip6 and answered.ports[0] == moved.to[1]
    assert call.remove() == "removed"


def test_a_hint_of_a_family_that_the_relay_has_not_counts_for_nothing(both, network):
    system = both(network.relay1.ip)
    caller, callee = dual(system, 4, 4)
    call, offered, _ = start(system, caller, callee, signaling_ip="%s_%s" % (
        network.caller.ip, network.callee.ip6))
    assert offered.ip == network.relay1.ip
    talk(caller, callee)
    assert call.remove() == "removed"


def test_a_test_call_goes_by_either_family(both, network):
    system = both()
    host = network.proxy
    for ip, expected in (host.ip, network.relay1.ip), (host.ip6, network.relay1.ip6):
        done = subprocess.run(host.command(
            [program("mediaproxy"), "call", "--seconds", "1", "--ip", ip, "--runtime-dir",
             system.dispatcher.runtime_dir]), stdout=subprocess.PIPE, text=True, timeout=20)
        assert done.returncode == 0 and expected in done.stdout, done.stdout


def test_odd_forms_of_addresses_are_errors_and_make_no_session(both):
    system = both()
    client = system.client()
    for number, ip in enumerate((
            "fe80::1%eth0", "[fd88::21", "fd88::21]", "[10.88.0.21]", "10.88.0.021", "0x0a.88.0.21",
            "173539349", "10.88.21", "10.88.0.21.", "10.88.0.21 ", "caller.example.com", "", "[]",
            "::ffff:10.88.0.021", "fd88:::21", "fd88::21%1", "::10.88.0.21", "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254", "2002:7f00:1::1", "::ffff:0:127.0.0.1", "::127.0.0.1")):
        assert client.update("request", "odd%d@x" % number, "f", "",
                             "audio:%s:5000:sendrecv:ice=no" % ip) == "error", ip
    # A name in signaling_ip is looked up by nobody, and costs nothing.
    assert client.update("request", "odd@x", "f", "", "audio:10.88.0.21:5000:sendrecv:ice=no",
                         signaling_ip="proxy.example.com") == "error"
    assert system.relay.summary()["sessions_created"] == 0
    # Those that are another way to write an address are that address.
    for number, ip in enumerate(("::ffff:10.88.0.21", "[::ffff:10.88.0.21]", "::FFFF:a58:15")):
        reply = client.update("request", "same%d@x" % number, "f", "",
                              "audio:%s:5000:sendrecv:ice=no" % ip,
                              signaling_ip="::ffff:10.88.0.21")
        assert reply.ip == system.network.relay1.ip, ip
        assert client.remove("same%d@x" % number, "f") == "removed"
    assert "10.88.0.21:5000 port" in system.relay.log()


# -- several addresses -------------------------------------------------------------------------


@pytest.mark.engine(few_packets=True)
def test_several_addresses_of_a_family_are_used_in_turn(two_of_each, network):
    system = two_of_each
    host = network.relay1
    ports = set()
    for family, addresses in ((4, [host.ip, SECOND]), (6, [host.ip6, SECOND6])):
        for expected in addresses * 2:
            caller, callee = dual(system, family, family)
            call, offered, answered = start(system, caller, callee)
            assert (offered.ip, answered.ip) == (expected, expected)
            talk(caller, callee)
            talk(caller, callee, first=100)
            # One pool for all: no number twice, whatever the address.
            assert not ports & {offered.ports[0], answered.ports[0]}
            ports |= {offered.ports[0], answered.ports[0]}
            if expected == addresses[0]:
                assert call.remove() == "removed"
            else:  # a re-INVITE stays where the call is
                assert call.offer(caller) == offered and call.answer(callee) == answered
                assert call.remove() == "removed"


def test_each_address_has_its_own_advertised_one(both, network):
    network.another_address("relay1", SECOND)
    host = network.relay1
    system = both("%s!192.0.2.1 %s %s" % (host.ip, SECOND, host.ip6),
                  advertised_ip="192.0.2.9 2001:db8::9", started=False)
    system.dispatcher.start()
    system.relay.start()
    system.dispatcher.wait_relays("192.0.2.1")
    told = []
    for family in 4, 4, 6:
        caller, callee = dual(system, family, family)
        call, offered, answered = start(system, caller, callee)
        told.append(offered.ip)
        bound = {"192.0.2.1": host.ip, "192.0.2.9": SECOND, "2001:db8::9": host.ip6}
        callee.to, caller.to = [(bound[r.ip], r.ports[0]) for r in (offered, answered)]
        talk(caller, callee)
        # SDP that names our own port by what we told changes nothing.
        assert call.offer("audio:%s:%d:sendrecv:ice=no" % (answered.ip, answered.ports[0])).ok
        assert call.answer(callee).ok
        talk(caller, callee, first=50)
        assert call.remove() == "removed"
        last = record(system, call.call_id)
        assert last["relay"] == "192.0.2.1"
        assert last["streams"][0]["caller_local"] == address_text((answered.ip,
                                                                   answered.ports[0]))
    assert told == ["192.0.2.1", "192.0.2.9", "2001:db8::9"]
    assert [(a["ip"], a["advertised"], a["here"]) for a in system.relay.summary()["addresses"]] == [
        (host.ip, "192.0.2.1", True), (SECOND, "192.0.2.9", True),
        (host.ip6, "2001:db8::9", True)]


@pytest.mark.parametrize("keys, words", [
    ({"relay_ip": "127.0.0.1 192.0.2.55"}, ["relay_ip 192.0.2.55", "no such address", "127.0.0.1"]),
    ({"relay_ip": "127.0.0.1", "advertised_ip": "192.0.2.1 192.0.2.2"},
     ["advertised_ip has 2 addresses of IPv4, relay_ip has 1"]),
    ({"relay_ip": "127.0.0.1", "advertised_ip": "2001:db8::1"},
     ["advertised_ip has 1 addresses of IPv6, relay_ip has 0"]),
])
@pytest.mark.parametrize("check", [True, False])
def test_addresses_that_cannot_be_used_stop_the_start(make_call_system, keys, words, check):
    relay = make_call_system(started=False).relay
    relay.sections["Relay"].update(keys)
    write_config(relay.folder + "/config.ini", relay.sections)
    done = subprocess.run(relay.argv + (["--check"] if check else []), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env=relay.env, timeout=20)
    line, = [l for l in done.stdout.splitlines() if "ERROR" in l and "_ip" in l]
    assert done.returncode == 1 and all(word in line for word in words), done.stdout


# -- by route ----------------------------------------------------------------------------------


@pytest.fixture
def side_road(network):
    network.side_road()
    yield network
    network.close_side_road()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.engine(few_packets=True)
def test_each_party_gets_the_address_of_the_route_to_it(both, side_road, family):
    system = both(auto_detect_interfaces="yes")
    relay, callee_host = side_road.relay1, side_road.callee
    there = callee_host.side6 if family == 6 else callee_host.side
    here = relay.ip6 if family == 6 else relay.ip
    caller, _ = dual(system, family, family)
    callee = system.phone("callee", there).stream()
    call, offered, answered = start(system, caller, callee, signaling_ip="%s_%s" % (
        caller.phone.ip, there))
    assert answered.ip == here and offered.ip == (relay.side6 if family == 6 else relay.side)
    talk(caller, callee)
    talk(caller, callee, first=100)
    # Known from before: answered from the table.
    looked_up = system.relay.summary()["route_lookups"]
    other, its_callee = dual(system, family, family)[0], system.phone("callee", there).stream()
    second, _, _ = start(system, other, its_callee, signaling_ip="%s_%s" % (
        other.phone.ip, there))
    talk(other, its_callee)
    summary = system.relay.summary()
    assert summary["route_lookups"] == looked_up and summary["route_lookups_cached"] >= 2
    assert summary["route_failures"] == 0
    assert call.remove() == second.remove() == "removed"


def test_a_private_sdp_address_is_routed_as_its_signalling(both, side_road):
    """What is behind a NAT has an address that means nothing here."""
    system = both(auto_detect_interfaces="yes", routable_private_ranges=None)
    caller, _ = dual(system, 4, 4)
    call = system.call()
    offered = call.offer(caller, signaling_ip="%s_%s" % (
        caller.phone.ip, side_road.callee.side))
    assert offered.ip == side_road.relay1.side
    # Its signalling came from the other side: so will its media.
    moved = call.offer("audio:192.168.1.5:5000:sendrecv:ice=no",
                       signaling_ip="%s_%s" % (side_road.callee.side, side_road.callee.ip))
    assert moved.ip == side_road.relay1.ip
    assert call.answer("audio:192.168.1.6:5000:sendrecv:ice=no").ip == side_road.relay1.side
    assert call.remove() == "removed"


def test_without_a_route_the_configured_address_is_taken(both, network):
    system = both(auto_detect_interfaces="yes")
    network.relay1.run(["ip", "route", "add", "unreachable", "198.51.100.0/24"])
    network.relay1.run(["ip", "route", "add", "blackhole", "2001:db8:dead::/48"])
    for ip in "198.51.100.7", "2001:db8:dead::7", "2001:db8:bad::7":
        call = system.call()
        offered = call.offer("audio:%s:5000:sendrecv:ice=no" % ip, signaling_ip=ip)
        answered = call.answer("audio:%s:5000:sendrecv:ice=no" % ip, signaling_ip=ip)
        expected = network.relay1.ip6 if ":" in ip else network.relay1.ip
        assert offered.ip == answered.ip == expected, ip
        assert call.remove() == "removed"
    assert "no address by the route to 198.51.100.7" in system.relay.log()
    summary = system.relay.summary()
    assert summary["route_failures"] >= 3
    # A flood of them is not a flood of log lines.
    for number in range(30):
        other = system.call()
        assert other.offer("audio:198.51.100.%d:5000:sendrecv:ice=no" % (number + 10)).ok
        assert other.remove() == "removed"
    assert system.relay.log().count("no address by the route to") < 10
    assert system.relay.summary()["route_failures"] >= 33


# -- addresses that go -------------------------------------------------------------------------


def present(system):
    return {a["ip"]: a["here"] for a in system.relay.summary()["addresses"]}


def wait_present(system, ip, here):
    wait_for(lambda: present(system)[ip] == here, 4.0,
             lambda: "%s %s: %s" % (ip, "here" if here else "gone", present(system)))


@pytest.mark.engine(few_packets=True)
@pytest.mark.parametrize("family", [4, 6])
def test_an_address_that_goes_and_comes_back(both, network, family):
    """The call that has it is silent meanwhile and goes on then; new ones get the other address;
    without any there is an error. The link to the dispatcher has an address of its own."""
    host = network.relay1
    network.another_address("relay1", SECOND, SECOND6)
    network.another_address("relay1", THIRD, THIRD6)
    system = both(" ".join([SECOND, THIRD, SECOND6, THIRD6]), started=False)
    system.dispatcher.start()
    system.relay.start()
    system.dispatcher.wait_relays(SECOND)
    first, second = (SECOND6, THIRD6) if family == 6 else (SECOND, THIRD)
    bits = 64 if family == 6 else 24
    caller, callee = dual(system, family, family)
    call, offered, _ = start(system, caller, callee)
    assert offered.ip == first
    talk(caller, callee)

    def change(what, ip):
        host.run(["ip", "addr", what, "%s/%d" % (ip, bits), "dev", "eth0"]
                 + (["nodad"] if what == "add" and family == 6 else []))

    change("del", first)
    for attempt in range(4):  # no waiting: the next call sees it
        other = system.call()
        assert other.offer(caller.media(port=7000 + attempt * 2)).ip == second
        assert other.remove() == "removed"
    system.relay.wait_log("address %s is not on this host any more" % first)
    wait_present(system, first, False)
    # The neighbours know it still, so packets for it arrive at the host all the same.
    wait_for(lambda: not gets_through(caller, callee), 3.0, "no way without the address")
    change("del", second)
    refused = system.call().offer(caller.media(port=7100))
    assert refused == "error"
    system.relay.wait_log("refused: none of the relay's addresses of that family is on this host")

    change("add", first)
    system.relay.wait_log("address %s is back on this host" % first)
    wait_present(system, first, True)
    wait_for(lambda: gets_through(caller, callee), 3.0, "media is back")
    settle(caller, callee)
    talk(caller, callee, first=400)
    assert system.relay.summary()["addresses_lost"] >= 2
    assert call.remove() == "removed"


@pytest.mark.engine(few_packets=True)
def test_an_interface_that_is_set_down_or_deleted(both, side_road):
    """Nothing comes in or out by it: the call ends by silence. The relay goes on, and says what
    was not sent. The address of an interface that is down is the host's still."""
    system = both(auto_detect_interfaces="yes", stream_timeout=2)
    caller, _ = dual(system, 4, 4)
    callee = system.phone("callee", side_road.callee.side).stream()
    call, offered, _ = start(system, caller, callee, signaling_ip="%s_%s" % (
        caller.phone.ip, side_road.callee.side))
    assert offered.ip == side_road.relay1.side
    talk(caller, callee)
    side_road.relay1.run(["ip", "link", "set", "eth1", "down"])
    caller.rtp.send(*rtp_series(5, first=100))
    callee.rtp.expect_silence()
    side_road.relay1.run(["ip", "link", "set", "eth1", "up"])
    settle(caller, callee)
    talk(caller, callee, first=200)
    side_road.close_side_road()
    # At once: no route goes there any more, so the address of the default one is taken.
    other = system.call()
    assert other.offer(callee).ip and other.remove() == "removed"
    system.relay.wait_log("address 10.99.0.11 is not on this host any more")
    caller.rtp.send(*rtp_series(5, first=300))
    system.relay.wait_log("session ended: timeout", deadline=6.0)
    stream = record(system, call.call_id)["streams"][0]
    assert stream["status"] == "conntrack timeout"
    assert stream["caller_dropped_send_failed"] > 0


# -- with a real proxy -------------------------------------------------------------------------

# The script of docs/operating.md, for callees that are IPv6.
FAMILIES = r"""
modparam("mediaproxy", "signaling_ip_avp", "$avp(signaling_ip)")

route[RELAY_OFFER] {
	if (search_body("c=IN IP6"))
		setflag(6);
	$avp(signaling_ip) = $si + "_" + $var(callee);
	if (!use_media_proxy())
		return;
	if ($var(callee) =~ ":")
		replace_body_all("c=IN IP4", "c=IN IP6");
	else
		replace_body_all("c=IN IP6", "c=IN IP4");
}

route[RELAY_ANSWER] {
	$avp(signaling_ip) = $si;
	if (!use_media_proxy())
		return;
	if (isflagset(6))
		replace_body_all("c=IN IP4", "c=IN IP6");
	else
		replace_body_all("c=IN IP6", "c=IN IP4");
}
"""


@pytest.fixture
def sip_tools():
    reason = missing("kamailio", "sipp")
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize("families", [(4, 6), (6, 4), (4, 4)])
def test_kamailio_writes_the_family_of_whom_it_tells(both, sip_tools, network, families):
    system = both()
    caller, callee = dual(system, *families)
    kamailio = dict(USE, reply='if (status =~ "(18[0-9])|(2[0-9][0-9])") route(RELAY_ANSWER);',
                    invite='$var(callee) = "%s"; route(RELAY_OFFER);' % callee.phone.ip)
    system.kamailio(kamailio, modparams=FAMILIES)
    there = system.sip_callee("callee", make_sdp(callee.phone.ip, callee.sdp()))
    here = system.sip_caller("caller", make_sdp(caller.phone.ip, caller.sdp()))
    for phone, stream, what, family in ((there, callee, "INVITE", families[1]),
                                        (here, caller, "200 INVITE", families[0])):
        message = phone.wait_message(what)
        ip = network.relay1.ip6 if family == 6 else network.relay1.ip
        assert "c=IN IP%d %s\n" % (family, ip) in message.body, message.body
        stream.to = message.streams[0].address
    talk(caller, callee)
    here.go_on()
    here.finish()
    there.finish()
    stream = record(system, here.call_id)["streams"][0]
    assert stream["caller_packets"] == len(caller.sent)
    assert stream["callee_remote"] == address_text(callee.rtp.address)
