"""What forwards, seen and changed while the relay runs: control channel, command, log.

That the engines forward what userspace would is tested elsewhere, with the media.
"""

import json
import subprocess

import pytest

from mp import control
from mp.packets import rtp_series
from mp.phone import talk
from mp.programs import program
from mp.wait import SLOWNESS, wait_for

PATH = "/api/v1/forwarding"


def command(relay, *words):
    done = subprocess.run([program("mediaproxy"), "relay", "forwarding", "--runtime-dir",
                           relay.runtime_dir, *words], text=True, capture_output=True,
                          timeout=30 * SLOWNESS, stdin=subprocess.DEVNULL)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done


def forwarding(relay, *words):
    """The JSON that `mediaproxy relay forwarding` prints, with these words."""
    done = command(relay, "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def put(daemon, body):
    """(status, JSON) of a PUT."""
    status, text = control.http_request(daemon.control_path, "PUT", PATH, body)
    return status, json.loads(text)


def engine_of(facts, name):
    return {i["name"]: i["engine"] for i in facts["interfaces"]}[name]


def needs_kernel(facts):
    """Skip where no program can be loaded: then there is nothing to switch."""
    if not facts["interfaces"]:
        pytest.skip("no engine in the kernel here: " + facts.get("reason", "?"))


def establish(system):
    streams = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(signaling_ip=streams[0].phone.ip)
    call.establish(streams[:1], streams[1:])
    return (call,) + streams


def install(relay, caller, callee):
    """Talk until the kernel has all four flows."""
    talk(caller, callee)
    talk(caller, callee, first=50)
    wait_for(lambda: relay.summary()["flows"] == 4, 5.0, lambda: (
        "four flows: %s" % relay.summary()))


def test_without_the_kernel_it_says_that_this_was_asked_for(make_call_system):
    system = make_call_system(relay_config={"forwarding": "userspace"})
    facts = forwarding(system.relay)
    assert (facts["forwarding"], facts["engine"]) == ("userspace", "userspace")
    assert (facts["reason"], facts["applied"]) == ("forwarding = userspace", True)
    assert facts["interfaces"] == [] and facts["flows"] == 0
    summary = system.relay.summary()
    assert (summary["engine"], summary["engine_reason"]) == ("userspace", facts["reason"])
    call, caller, callee = establish(system)
    talk(caller, callee)
    assert call.remove() == "removed"
    assert system.relay.summary()["kernel_packets"] == 0


def test_loopback_stays_in_userspace_and_says_why(call_system):
    facts = forwarding(call_system.relay)
    needs_kernel(facts)
    assert facts["forwarding"] == "auto" and facts["applied"]
    assert [(i["engine"], i["reason"]) for i in facts["interfaces"] if i["name"] == "lo"] == [
        ("userspace", "loopback")]
    text = command(call_system.relay).stdout
    assert text.startswith("forwarding = auto; engine "), text
    assert "lo " in text and "loopback" in text and "flows installed" in text, text
    call, caller, callee = establish(call_system)
    talk(caller, callee)
    assert call.remove() == "removed"
    assert call_system.relay.summary()["kernel_packets"] == 0


def test_a_wrong_word_changes_nothing(call_system):
    relay, before = call_system.relay, forwarding(call_system.relay)
    for body in ({"forwarding": "ebpf"}, {"forwarding": None}, {"forwarding": ["tc"]}, {}, [],
                 "tc", {"Forwarding": "tc"}):
        status, answer = put(relay, body)
        assert status == 400, body
        assert all(word in answer["error"] for word in ("auto", "xdp", "tc", "userspace"))
    status, _ = control.http_request(relay.control_path, "PUT", PATH)
    assert status == 400
    status, _ = control.http_request(relay.control_path, "POST", PATH, {"forwarding": "tc"})
    assert status == 405
    done = command(relay, "ebpf")
    assert done.returncode == 2 and "auto, xdp, tc and userspace" in done.stderr
    assert forwarding(relay)["forwarding"] == before["forwarding"]
    assert "control channel" not in relay.log()


def test_a_dispatcher_has_nothing_to_forward_with(call_system):
    dispatcher = call_system.dispatcher
    for method in ("GET", "PUT"):
        status, _ = control.http_request(dispatcher.control_path, method, PATH,
                                         {"forwarding": "tc"})
        assert status == 404
    done = command(dispatcher)  # its folder has no relay
    assert done.returncode == 1 and "media-relay.ctl" in done.stderr


def test_a_change_is_in_the_log(call_system):
    relay = call_system.relay
    forwarding(relay, "userspace")
    relay.wait_log("forwarding = userspace, asked for on the control channel")
    assert forwarding(relay)["forwarding"] == "userspace"


@pytest.mark.root
def test_without_the_right_to_load_programs_it_says_so_and_calls_work(make_call_system, network):
    system = make_call_system(network=network, started=False)
    relay = system.relay
    relay.argv = ["setpriv", "--bounding-set", "-bpf,-net_admin,-perfmon,-sys_admin",
                  "--"] + relay.argv
    system.start()
    relay.wait_log("WARNING the kernel forwards nothing, media goes through userspace: .*CAP_BPF")
    facts = forwarding(relay)
    assert (facts["forwarding"], facts["engine"], facts["interfaces"]) == ("auto", "userspace", [])
    assert "CAP_NET_ADMIN" in facts["reason"] and facts["applied"]
    status, answer = put(relay, {"forwarding": "tc"})
    assert status == 503 and "CAP_BPF" in answer["error"]
    relay.wait_log("WARNING forwarding = tc, asked for on the control channel, cannot be had")
    done = command(relay, "tc")
    assert done.returncode == 1 and "503" in done.stderr and "CAP_BPF" in done.stderr
    assert forwarding(relay)["forwarding"] == "auto"
    assert forwarding(relay, "userspace")["forwarding"] == "userspace"
    call, caller, callee = establish(system)
    talk(caller, callee)
    assert call.remove() == "removed"


@pytest.mark.root
def test_an_engine_is_opened_while_the_relay_runs(make_call_system, network):
    system = make_call_system(network=network, relay_config={"forwarding": "userspace"})
    relay = system.relay
    status, answer = put(relay, {"forwarding": "tc"})
    if status == 503:
        pytest.skip("no engine in the kernel here: " + answer["error"])
    wait_for(lambda: engine_of(forwarding(relay), "eth0") == "tc", 5.0, "tc on eth0")
    relay.note_fds()  # it stays open
    call, caller, callee = establish(system)
    install(relay, caller, callee)
    talk(caller, callee, first=100)
    assert relay.summary()["kernel_packets"] > 0
    assert call.remove() == "removed"


@pytest.mark.root
def test_media_goes_on_while_what_forwards_changes(call_network):
    """Userspace and kernel by turns, in the middle of a call: nothing is lost or reordered."""
    relay = call_network.relay
    needs_kernel(forwarding(relay))
    call, caller, callee = establish(call_network)
    install(relay, caller, callee)
    first, in_kernel = 1000, relay.summary()["kernel_packets"]
    for mode in ("userspace", "tc", "userspace", "auto", "tc"):
        facts = forwarding(relay, mode)
        assert (facts["forwarding"], facts["applied"]) == (mode, True)
        engine = "userspace" if mode == "userspace" else "tc"
        assert (facts["engine"], engine_of(facts, "eth0")) == (engine, engine)
        # While it changes back and forth, too.
        talk(caller, callee, first=first)
        now = relay.summary()
        assert now["engine"] == engine
        assert (now["kernel_packets"] > in_kernel) == (engine == "tc"), mode
        first, in_kernel = first + 100, now["kernel_packets"]
    assert sum(relay.summary()["drops"].values()) == 0
    assert call.remove() == "removed"


@pytest.mark.root
def test_a_change_in_the_middle_of_packets_loses_none(call_network):
    relay = call_network.relay
    needs_kernel(forwarding(relay))
    call, caller, callee = establish(call_network)
    install(relay, caller, callee)
    packets = rtp_series(500, first=2000)
    for number, packet in enumerate(packets):
        caller.rtp.send(packet)
        if number % 50 == 25:
            status, _ = put(relay, {"forwarding": "userspace" if number % 100 == 25 else "tc"})
            assert status == 200
    try:
        got = callee.rtp.wait(len(packets))
        assert sorted(p.data for p in got) == sorted(packets)
    finally:
        assert call.remove() == "removed"


@pytest.mark.root
def test_the_dispatchers_table_names_the_engine(call_network):
    needs_kernel(forwarding(call_network.relay))
    done = subprocess.run([program("mediaproxy"), "summary", "--runtime-dir",
                           call_network.dispatcher.runtime_dir], text=True, capture_output=True)
    assert done.returncode == 0 and " Engine " in done.stdout, done.stdout + done.stderr
    assert " tc" in done.stdout, done.stdout
