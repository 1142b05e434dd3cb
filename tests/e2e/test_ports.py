"""The relay's ports: taken by others, run out, resting, too few files, many calls at once."""

import os
import resource
import socket
import time

import pytest

from mp.packets import rtp_series
from mp.phone import talk
from mp.proxy import Reply, encode, update_headers
from mp.records import point, record, records, statuses
from mp.wait import wait_for

LINE = "audio:127.0.0.1:%d:sendrecv:ice=no"


def pairs(system):
    """The first ports of all pairs of the relay's range."""
    first, last = (int(p) for p in system.relay.sections["Relay"]["port_range"].split(":"))
    return list(range(first, last, 2))


@pytest.fixture
def make_small(make_call_system):
    """A function: a system whose relay has so many port pairs."""
    def make(count, **config):
        system = make_call_system(relay_config=config, started=False)
        first = pairs(system)[0]
        system.relay.sections["Relay"]["port_range"] = "%d:%d" % (first, first + 2 * count)
        return system.start()

    return make


def hold(*ports):
    """Sockets of "another program"."""
    held = []
    for port in ports:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", port))
        held.append(sock)
    return held


def wait_all_back(system):
    wait_for(lambda: system.relay.summary()["ports_free"] == system.relay.summary()["ports_total"],
             what=lambda: system.relay.summary())


def wait_free(system, count):
    """What a refused offer took comes back when the workers have closed it."""
    wait_for(lambda: system.relay.summary()["ports_free"] == count,
             what=lambda: "%d free, not %d" % (system.relay.summary()["ports_free"], count))


def make_call(system):
    """A call with one audio stream and packets both ways; its relay ports."""
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(clients=1).establish([caller], [callee])
    talk(caller, callee)
    return call, caller, callee


# -- ports that others hold --------------------------------------------------------------------


def test_ports_of_other_programs_are_skipped(make_small):
    system = make_small(8)
    all_pairs = pairs(system)
    # An RTP port, an RTCP port, and both of a pair.
    others = hold(all_pairs[0], all_pairs[1] + 1, all_pairs[3], all_pairs[3] + 1)
    busy = {all_pairs[0], all_pairs[1], all_pairs[3]}
    try:
        calls = [make_call(system) for _ in range(2)]
        used = {stream.to[1] for call in calls for stream in call[1:]}
        assert len(used) == 4 and not used & busy
        assert system.relay.summary()["ports_skipped"] == 3
        # One pair is left that is free: not enough for a call.
        began, cpu = time.monotonic(), system.relay.cpu_s()
        client = system.client()
        for number in range(20):
            assert client.update("request", "no%d@x" % number, "f", "", LINE % 5000) == "error"
        assert time.monotonic() - began < 2 and system.relay.cpu_s() - cpu < 1
        assert system.relay.summary()["ports_free"] == 4
        for call, caller, callee in calls:
            talk(caller, callee, first=100)
            assert call.remove() == "removed"
        wait_all_back(system)
    finally:
        for sock in others:
            sock.close()
    # The others went away: each of the pairs can be used.
    calls = [make_call(system) for _ in range(4)]
    assert {stream.to[1] for call in calls for stream in call[1:]} == set(all_pairs)
    for call, _, _ in calls:
        assert call.remove() == "removed"


def test_a_range_that_others_hold_wholly_costs_an_error_and_no_cpu(make_small):
    """The original looped for ever, at 100 %."""
    system = make_small(90)
    others = hold(*[port + 1 for port in pairs(system)])
    try:
        client = system.client()
        for number in range(3):
            began = time.monotonic()
            assert client.update("request", "c%d@x" % number, "f", "", LINE % 5000) == "error"
            assert time.monotonic() - began < 0.5
        cpu = system.relay.cpu_s()
        assert system.relay.summary()["session_count"] == 0
        assert system.relay.summary()["ports_free"] == 90
        assert system.relay.cpu_s() - cpu < 0.3
    finally:
        for sock in others:
            sock.close()
    call, _, _ = make_call(system)
    assert call.remove() == "removed"


# -- a range that runs out ---------------------------------------------------------------------


def test_a_range_that_runs_out_in_the_middle_gives_every_port_back(make_small):
    system = make_small(5, port_rest="0")
    client = system.client()
    fds = len(system.relay.fds())
    for number in range(50):  # 3 streams want 6 pairs, and there are 5
        media = ",".join([LINE % 5000, LINE % 5002, LINE % 5004])
        assert client.update("request", "c%d@x" % number, "f", "", media) == "error"
    wait_free(system, 5)
    assert system.relay.summary()["session_count"] == 0
    assert system.dispatcher.sessions() == []
    wait_for(lambda: len(system.relay.fds()) <= fds, what="no file left open")
    system.relay.wait_log(r"refused: no port pair of port_range is free")

    call, caller, callee = make_call(system)
    # A re-INVITE that wants more than there is: error, and the call goes on as it was.
    videos = [caller.media(port=6000 + 2 * n).replace("audio", "video") for n in range(3)]
    for _ in range(10):
        assert call.offer(caller, *videos) == "error"
        wait_free(system, 3)
        talk(caller, callee, first=100)
    assert call.offer(caller, videos[0]).ports[0] == callee.to[1]  # one more does fit
    assert call.offer(caller).ports == [callee.to[1]]
    assert call.answer(callee).ports == [caller.to[1]]
    talk(caller, callee, first=200)
    assert call.remove() == "removed"
    assert statuses(record(system, call.call_id)) == [("audio", "closed")]
    wait_all_back(system)


def test_a_full_relay_takes_calls_again_when_others_end(make_small):
    system = make_small(4, port_rest="0")
    for _ in range(3):
        calls = [make_call(system) for _ in range(2)]
        client = system.client()
        assert client.update("request", "more@x", "f", "", LINE % 5000) == "error"
        for call, caller, callee in calls:
            talk(caller, callee, first=50)
            assert call.remove() == "removed"
        wait_all_back(system)


# -- rest --------------------------------------------------------------------------------------


def test_freed_ports_rest_and_the_one_that_rested_longest_is_taken_in_need(make_small):
    system = make_small(6, port_rest="1 h")
    used = []
    for number in range(3):
        call, caller, callee = make_call(system)
        used.append({caller.to[1], callee.to[1]})
        assert call.remove() == "removed"
        wait_all_back(system)
    assert len(set.union(*used)) == 6 and system.relay.summary()["ports_early"] == 0
    for number in range(3):  # none has rested: in the order in which they were freed
        call, caller, callee = make_call(system)
        assert {caller.to[1], callee.to[1]} == used[number]
        assert system.relay.summary()["ports_early"] == 2 * (number + 1)
        assert call.remove() == "removed"
        wait_all_back(system)


def test_a_late_packet_of_an_old_call_does_not_reach_the_next_one(make_small):
    system = make_small(8)
    old, caller, callee = make_call(system)
    assert old.remove() == "removed"
    wait_all_back(system)
    call, new_caller, new_callee = make_call(system)
    late = rtp_series(5, ssrc=9, first=500)
    caller.rtp.send(*late)
    callee.rtp.send(*late)
    talk(new_caller, new_callee, first=100)
    assert not {caller.to, callee.to} & {new_caller.to, new_callee.to}
    assert new_callee.rtp.received == new_caller.rtp.received == []
    assert callee.rtp.received == caller.rtp.received == []
    assert call.remove() == "removed"


# -- open files --------------------------------------------------------------------------------


def limit_files(system, count):
    """Start the relay with a limit that it may not raise."""
    command = ["prlimit", "--nofile=%d:%d" % (count, count)]
    if os.geteuid() == 0:
        command += ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-all", "--"]
    system.relay.argv = command + system.relay.argv


def test_a_low_limit_of_open_files_is_told_and_calls_work(make_call_system):
    system = make_call_system(started=False, relay_config={"workers": 2})
    limit_files(system, 340)
    system.start()
    warning = system.relay.wait_log(r"340 open files are allowed: enough for (\d+) calls.*")
    calls = int(warning.group(1))
    assert 2 <= calls <= 20
    assert "RLIMIT_NOFILE" in warning.group(0) and "LimitNOFILE" in warning.group(0)
    assert system.relay.summary()["ports_total"] == 2 * calls
    made = [make_call(system) for _ in range(calls)]
    client = system.client()
    for number in range(10):
        assert client.update("request", "no%d@x" % number, "f", "", LINE % 5000) == "error"
    assert "no file descriptors" not in system.relay.log()
    for call, caller, callee in made:
        talk(caller, callee, first=100)
        assert call.remove() == "removed"
    wait_all_back(system)
    call, _, _ = make_call(system)
    assert call.remove() == "removed"


def test_a_limit_that_is_too_low_for_any_call_stops_the_start(make_call_system):
    system = make_call_system(started=False)
    limit_files(system, 100)
    system.dispatcher.start()
    relay = system.relay
    with pytest.raises(AssertionError, match="ended while starting"):
        relay.start()
    assert relay.wait_exit() == 1
    assert "100 open files are allowed, too few for one call" in relay.log()
    relay.good = (0, 1)


# -- many at once ------------------------------------------------------------------------------


def test_300_calls_that_start_their_media_at_the_same_moment(make_call_system):
    """The original: 1 % of the packets from a wrong port, and no timeouts any more after it."""
    count, each = 300, 12
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096 <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    system = make_call_system(relay_config={"stream_timeout": 3}, port_blocks=7)
    phones = system.phone("caller"), system.phone("callee")
    calls = [(phones[0].port(), phones[1].port()) for _ in range(count)]
    clients = [system.client() for _ in range(4)]

    def tell(kind, tag, party):
        """The same update for all calls, over four connections; the ports of the replies."""
        for number, call in enumerate(calls):
            clients[number % 4].send(encode("update", update_headers(
                kind, "many%d@x" % number, "f", tag, LINE % call[party].address[1])))
        return [Reply(clients[number % 4].line(deadline=10)).address() for number in range(count)]

    for call, address in zip(calls, tell("request", "", 0)):
        call[1].to = address
    for call, address in zip(calls, tell("reply", "t", 1)):
        call[0].to = address
    assert len({port.to for call in calls for port in call}) == 2 * count
    assert system.relay.summary()["session_count"] == count

    series = [(rtp_series(each, ssrc=2 * n), rtp_series(each, ssrc=2 * n + 1))
              for n in range(count)]
    for step in range(each):  # all first packets, then all second ones, ...
        for call, packets in zip(calls, series):
            call[0].send(packets[0][step])
            call[1].send(packets[1][step])
    for call, packets in zip(calls, series):
        call[1].expect(packets[0], deadline=10)
        call[0].expect(packets[1], deadline=10)
    summary = system.relay.summary()
    assert not any(summary["drops"].values()), summary["drops"]
    assert summary["packets"] == 2 * count * each

    # Half of them hang up; the rest is silent, and times out.
    for number in range(0, count, 2):
        clients[number % 4].send(encode("remove", [
            ("call_id", "many%d@x" % number), ("from_tag", "f"), ("to_tag", "t")]))
    assert [clients[number % 4].line(deadline=10) for number in range(0, count, 2)] == (
        ["removed"] * (count // 2))
    system.relay.wait_empty(deadline=12)
    wait_for(lambda: system.dispatcher.log().count("final record from relay ") == count)
    summary = system.relay.summary()
    assert summary["session_count"] == 0 and summary["ports_free"] == summary["ports_total"]
    for number in (0, 1, 150, 299):
        final, = records(system, "many%d@x" % number)
        timed_out = number % 2 == 1
        statistics, = final["streams"]
        assert final["timed_out"] is timed_out
        assert statistics["status"] == ("conntrack timeout" if timed_out else "closed")
        assert statistics["caller_packets"] == statistics["callee_packets"] == each
    # And timeouts go on for calls that come later.
    caller, callee = phones[0].stream(), phones[1].stream()
    call = system.call()
    point([callee], call.offer(caller))
    point([caller], call.answer(callee))
    talk(caller, callee)
    assert record(system, call.call_id, deadline=9)["timed_out"] is True
