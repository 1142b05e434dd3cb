"""Which relay gets a call, and what a slow, silent, broken or halting one costs.

Where the order of answers matters, the relays are stand-ins that answer when the test says so.
"""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mp.link import OriginalRelay
from mp.phone import talk
from mp.proxy import encode, update_headers
from mp.wait import SLOWNESS, wait_for

IPS = ["127.0.0.11", "127.0.0.12"]
AUDIO = "audio:127.0.0.1:5000:sendrecv:ice=no"
PATIENT = {"failover_timeout": "20s", "answer_timeout": "30s"}


def update(call_id, relay=None, kind="request", to_tag="", cseq=1):
    return encode("update", update_headers(kind, call_id, "f", to_tag, AUDIO, cseq=cseq,
                                           media_relay=relay or ""))


def remove(call_id):
    return encode("remove", [("call_id", call_id), ("from_tag", "f"), ("to_tag", "")])


def record(call_id, **more):
    return json.dumps(dict({"call_id": call_id, "from_tag": "f", "to_tag": None,
                            "dialog_id": None, "start_time": None, "duration": 0,
                            "timed_out": True, "all_streams_ice": False, "streams": []}, **more))


class StandIn(OriginalRelay):
    """A relay that answers `summary` by itself while the dispatcher is asked for its own."""

    def __init__(self, dispatcher, certs, ip, sessions):
        super().__init__(dispatcher, certs, source_ip=ip)
        self.ip = ip
        self._waiting = []
        command = self.command()
        assert command.name == "sessions", command
        self.reply(command, sessions)
        self.ping()

    def command(self, deadline=3.0):
        return self._waiting.pop(0) if self._waiting else super().command(deadline)

    def ping(self):
        """And with it: nothing was asked until now."""
        assert not self._waiting, self._waiting
        super().ping()

    def waiting(self):
        """How many commands came while its summary was served."""
        return len(self._waiting)

    def serve_summary(self):
        try:
            line = self.line(0.002)
        except (AssertionError, OSError):  # nothing came; closed by us
            return
        if line is None:
            return
        self._buffer = line.encode() + b"\r\n" + self._buffer
        command = super().command()
        if command.name == "summary":
            self.reply(command, '{"ip": "%s", "status": "active"}' % self.ip)
        else:
            self._waiting.append(command)


class Fleet:
    """A dispatcher with stand-ins for its relays, each known by its own address."""

    def __init__(self, system, certs, count=2):
        self.system = system
        self.dispatcher = system.dispatcher
        self._certs = certs
        self.relays = [self.connect(ip) for ip in IPS[:count]]

    def connect(self, ip, sessions="[]"):
        return StandIn(self.dispatcher, self._certs, ip, sessions)

    def facts(self):
        """What the dispatcher counts."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.dispatcher.summary)
            while not future.done():
                for relay in self.relays:
                    relay.serve_summary()
            return future.result()

    def establish(self, client, call_id, relay):
        client.send(update(call_id, relay.ip))
        relay.reply(relay.command(), "%s 40002" % relay.ip)
        assert client.line() == "%s 40002" % relay.ip

    def close(self):
        for relay in self.relays:
            relay.close()


@pytest.fixture
def make_fleet(make_call_system, certs):
    made = []

    def make(count=2, **config):
        made.append(Fleet(make_call_system(relays=0, dispatcher_config=config), certs, count))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


def is_quiet(relay):
    """Nothing was asked of it: the next line is the answer to our ping."""
    relay.ping()


def all_read(system):
    """What was sent on other connections before this has been read."""
    client = system.client()
    client.send(b"dance\r\n\r\n")
    assert client.line() == "error"
    client.close()


# -- the order of answers ------------------------------------------------------------------


def test_answers_come_in_the_order_of_the_requests(make_fleet):
    fleet = make_fleet(**PATIENT)
    first, second = fleet.relays
    client, other = fleet.system.client(), fleet.system.client()
    client.send(update("a@x", first.ip) + update("b@x", second.ip) + b"dance\r\n\r\n" +
                remove("nobody@x") + update("c@x", second.ip))
    held = first.command()
    for number in (2, 3):
        second.reply(second.command(), "%s 4000%d" % (second.ip, 2 * number))

    # They are all there, but for the first one. Another connection does not wait for it.
    wait_for(lambda: fleet.facts()["sessions"] == 2, what="b and c answered")
    fleet.establish(other, "d@x", second)
    client.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.socket.recv(1)

    first.reply(held, "%s 40002" % first.ip)
    assert [client.line() for _ in range(5)] == [
        "%s 40002" % first.ip, "%s 40004" % second.ip, "error", "error", "%s 40006" % second.ip]


def test_a_hundred_requests_at_once_are_answered_in_order(call_system):
    """More than a connection may have open: it is not read from for a while."""
    client = call_system.client()
    tags = ["t%d" % number for number in range(100)]
    client.send(b"".join(
        update("many@x", kind="request", cseq=1) if number % 2 == 0 else remove("other@x")
        for number in range(len(tags))))
    replies = [client.line() for _ in tags]
    assert set(replies[1::2]) == {"error"}
    assert len(set(replies[0::2])) == 1 and replies[0].startswith("127.0.0.1 ")
    client.send(remove("many@x"))
    assert client.line() == "removed"


def test_a_client_that_closed_before_its_answer_leaves_no_session(make_fleet):
    fleet = make_fleet(count=1, **PATIENT)
    relay, = fleet.relays
    client = fleet.system.client()
    client.send(update("a@x"))
    command = relay.command()
    client.close()
    wait_for(lambda: fleet.facts()["proxy_connections"] == 0, what="close noticed")
    relay.reply(command, "192.0.2.7 40002")
    assert relay.command().name == "remove"
    assert fleet.facts()["sessions"] == 0


def test_a_client_that_closed_while_it_was_not_read_from_leaves_no_session(make_fleet):
    """Its end is behind requests that nobody reads while so many are open."""
    fleet = make_fleet(count=1, **PATIENT)
    relay, = fleet.relays
    client = fleet.system.client()
    client.send(b"".join(update("c%d@x" % number) for number in range(70)))
    commands = [relay.command() for _ in range(64)]
    assert fleet.facts()["proxy_connections_paused"] == 1
    client.close()
    for command in commands:
        relay.reply(command, "192.0.2.7 40002")
    removed, updated = set(), []
    while len(removed) < len(commands):
        command = relay.command()
        if command.name == "remove":
            removed.add(command.get("call_id"))
            relay.reply(command, record(command.get("call_id")))
        else:
            updated.append(command)
    assert removed == {command.get("call_id") for command in commands}
    summary = fleet.facts()
    assert (summary["sessions"], summary["records"]) == (0, 0)


# -- timeouts of a request -----------------------------------------------------------------


def test_a_relay_that_is_late_is_passed_over(make_fleet):
    fleet = make_fleet(failover_timeout="50ms", answer_timeout="10s")
    slow, prompt = fleet.relays
    client = fleet.system.client()
    client.send(update("a@x", slow.ip))
    late = slow.command()
    command = prompt.command()
    assert command.name == "update" and command.headers == late.headers
    prompt.reply(command, "%s 40002" % prompt.ip)
    assert client.line() == "%s 40002" % prompt.ip

    # Its late success is undone there, and is no record.
    slow.reply(late, "%s 41000" % slow.ip)
    command = slow.command()
    assert (command.name, command.get("call_id"), command.get("from_tag")) == (
        "remove", "a@x", "f")
    slow.reply(command, record("a@x", start_time=1.5))
    is_quiet(slow)
    summary = fleet.facts()
    assert (summary["failovers"], summary["late_sessions"], summary["records"]) == (1, 1, 0)
    # The call is where it was answered.
    client.send(remove("a@x"))
    prompt.reply(prompt.command(), record("a@x"))
    assert client.line() == "removed"
    assert fleet.facts()["records"] == 1


def test_the_first_relay_to_answer_wins_though_it_was_passed_over(make_fleet):
    fleet = make_fleet(failover_timeout="50ms", answer_timeout="10s")
    slow, asked_next = fleet.relays
    client = fleet.system.client()
    client.send(update("a@x", slow.ip))
    late, second = slow.command(), asked_next.command()
    slow.reply(late, "%s 41000" % slow.ip)
    assert client.line() == "%s 41000" % slow.ip
    asked_next.reply(second, "%s 42000" % asked_next.ip)
    assert asked_next.command().name == "remove"
    is_quiet(slow)


def test_an_answer_comes_in_time_even_if_no_relay_gives_one(make_fleet):
    fleet = make_fleet()
    client = fleet.system.client()
    begin = time.monotonic()
    client.send(update("a@x"))
    assert client.line() == "error"
    took = time.monotonic() - begin
    assert 0.35 < took < 0.5 * SLOWNESS, "answer_timeout is 400 ms, the proxy waits 500"
    # Both made a session in the end, which nobody wants.
    for relay in fleet.relays:
        relay.reply(relay.command(), "%s 40002" % relay.ip)
        assert relay.command().name == "remove"
    assert fleet.facts()["errors"]["timeout"] == 1


def test_a_known_call_does_not_go_to_another_relay(make_fleet):
    fleet = make_fleet(failover_timeout="20ms", answer_timeout="200ms")
    first, second = fleet.relays
    client = fleet.system.client()
    fleet.establish(client, "a@x", first)
    client.send(update("a@x", second.ip, kind="reply", to_tag="t"))
    first.reply(first.command(), "%s 40004" % first.ip)
    assert client.line() == "%s 40004" % first.ip
    client.send(update("a@x", second.ip, cseq=2, to_tag="t"))
    assert first.command().name == "update"
    assert client.line() == "error"
    is_quiet(second)


# -- which relay ---------------------------------------------------------------------------


def test_the_preferred_relay_is_taken_and_the_others_share_the_rest(make_fleet):
    fleet = make_fleet(**PATIENT)
    client = fleet.system.client()
    for number in range(10):
        fleet.establish(client, "p%d@x" % number, fleet.relays[number % 2])
    for relay in fleet.relays:
        is_quiet(relay)

    # One that is not there, or is no address at all: anyone. 40 coins all alike: 2 in 10^12.
    clients = [fleet.system.client() for _ in range(40)]
    for number, one in enumerate(clients):
        one.send(update("r%d@x" % number, "192.0.2.99" if number % 2 else "not an address"))
    all_read(fleet.system)
    assert fleet.facts()["updates"] == 50
    got = [0, 0]
    for index, relay in enumerate(fleet.relays):
        while relay.waiting():
            relay.reply(relay.command(), "192.0.2.7 40002")
            got[index] += 1
    assert sum(got) == 40 and min(got) > 0, got
    assert {one.line() for one in clients} == {"192.0.2.7 40002"}


@pytest.mark.parametrize("refusal", ["error", "halting", "nonsense", "1.2.3.4 x", None])
def test_the_next_relay_is_asked_at_once_when_one_cannot(make_fleet, refusal):
    """None: it hangs up."""
    fleet = make_fleet(**PATIENT)
    first, second = fleet.relays
    client = fleet.system.client()
    client.send(update("a@x", first.ip))
    command = first.command()
    if refusal is None:
        first.close()
    else:
        first.reply(command, refusal)
    second.reply(second.command(), "%s 40002" % second.ip)
    assert client.line() == "%s 40002" % second.ip
    assert fleet.facts()["failovers"] == 1


def test_a_relay_that_hangs_up_costs_its_calls_an_error_at_once(make_fleet):
    fleet = make_fleet(**PATIENT)
    first, second = fleet.relays
    client, other = fleet.system.client(), fleet.system.client()
    fleet.establish(client, "a@x", first)
    fleet.establish(other, "b@x", second)
    client.send(update("a@x", cseq=2))
    assert first.command().name == "update"
    first.close()
    assert client.line() == "error"
    client.send(remove("a@x"))
    assert client.line() == "error"
    other.send(remove("b@x"))
    second.reply(second.command(), record("b@x"))
    assert other.line() == "removed"

    # It comes back with its sessions, and goes on where it was.
    first = fleet.relays[0] = fleet.connect(first.ip, "[%s]" % record("a@x"))
    client.send(remove("a@x"))
    first.reply(first.command(), record("a@x"))
    assert client.line() == "removed"


def test_a_relay_that_connects_again_replaces_its_old_link(make_fleet):
    fleet = make_fleet(count=1, **PATIENT)
    old, = fleet.relays
    client = fleet.system.client()
    client.send(update("a@x"))
    assert old.command().name == "update"
    new = fleet.relays[0] = fleet.connect(old.ip)
    assert old.line() is None
    assert client.line() == "error"
    fleet.establish(client, "b@x", new)
    assert fleet.facts()["links"]["replaced"] == 1
    old.close()


def test_a_relay_that_halts_gets_no_new_calls_until_it_reconnects(make_fleet):
    fleet = make_fleet(**PATIENT)
    first, second = fleet.relays
    client = fleet.system.client()
    fleet.establish(client, "a@x", first)
    client.send(update("b@x", first.ip))
    first.reply(first.command(), "halting")
    second.reply(second.command(), "%s 40002" % second.ip)
    assert client.line() == "%s 40002" % second.ip
    for number in range(10):
        client.send(update("c%d@x" % number, first.ip))
        second.reply(second.command(), "%s 40002" % second.ip)
        assert client.line() == "%s 40002" % second.ip
    is_quiet(first)  # a ping changes nothing
    client.send(remove("a@x"))  # its own call is served
    first.reply(first.command(), record("a@x"))
    assert client.line() == "removed"

    first.close()
    first = fleet.relays[0] = fleet.connect(first.ip)
    fleet.establish(client, "d@x", first)


def test_a_relay_that_does_not_answer_loses_its_standing_and_then_its_link(make_fleet):
    fleet = make_fleet(count=1, relay_timeout=1, relay_recover_interval=2,
                       failover_timeout="20ms", answer_timeout="50ms")
    relay, = fleet.relays
    client = fleet.system.client()
    since = fleet.dispatcher.log_offset()
    client.send(update("a@x"))
    assert relay.command().get("call_id") == "a@x"
    assert client.line() == "error"
    fleet.dispatcher.wait_log("no new calls for it until its next ping", since=since)
    client.send(update("b@x"))
    assert client.line() == "error"
    is_quiet(relay)  # it was not asked; but now it has said ping
    fleet.dispatcher.wait_log("pings again", since=since)
    client.send(update("c@x"))
    assert relay.command().get("call_id") == "c@x"
    assert client.line() == "error"
    begin = time.monotonic()
    assert relay.line(deadline=5) is None
    assert time.monotonic() - begin < 2.5 * SLOWNESS
    counters = fleet.facts()["links"]
    assert counters["timeouts"] >= 1 and counters["recoveries_failed"] == 1


# -- what relays say -----------------------------------------------------------------------


def test_a_session_that_expired_is_removed_without_asking_the_relay(make_fleet):
    fleet = make_fleet(count=1, **PATIENT)
    relay, = fleet.relays
    client = fleet.system.client()
    relay.close()
    relay = fleet.relays[0] = fleet.connect(relay.ip, "[%s]" % record("a@x"))
    relay.send("expired %s\r\n" % record("a@x"))
    relay.ping()
    assert fleet.facts()["sessions_waiting_for_remove"] == 1
    client.send(remove("a@x"))
    assert client.line() == "removed"
    is_quiet(relay)
    client.send(remove("a@x"))
    assert client.line() == "error"
    summary = fleet.facts()
    assert (summary["sessions"], summary["expired"], summary["sessions_waiting_for_remove"]) == (
        0, 1, 0)


def test_a_session_that_expired_right_after_an_update_may_be_another_one(make_fleet):
    """The relay is asked; but the proxy is not told that there was nothing left."""
    fleet = make_fleet(count=1, **PATIENT)
    relay, = fleet.relays
    client = fleet.system.client()
    for answer in ("error", record("a@x")):
        fleet.establish(client, "a@x", relay)
        relay.send("expired %s\r\n" % record("a@x"))
        relay.ping()
        client.send(remove("a@x"))
        relay.reply(relay.command(), answer)
        assert client.line() == "removed"
    assert fleet.facts()["sessions"] == 0


def test_an_expired_session_is_forgotten_after_a_while(make_fleet):
    fleet = make_fleet(count=1, cleanup_expired_sessions_after=1, **PATIENT)
    relay, = fleet.relays
    client = fleet.system.client()
    fleet.establish(client, "a@x", relay)
    relay.send("expired %s\r\n" % record("a@x"))
    relay.ping()
    fleet.dispatcher.wait_log("1 expired sessions? forgotten that no SIP proxy removed")
    client.send(remove("a@x"))
    assert client.line() == "error"


def test_expired_of_a_call_that_is_not_the_relays_changes_nothing(make_fleet):
    fleet = make_fleet(**PATIENT)
    owner, stranger = fleet.relays
    client = fleet.system.client()
    fleet.establish(client, "a@x", owner)
    stranger.send("expired %s\r\n" % record("a@x"))
    stranger.send("expired %s\r\n" % record("unknown@x"))
    stranger.ping()
    summary = fleet.facts()
    assert (summary["sessions"], summary["sessions_waiting_for_remove"]) == (1, 0)
    assert (summary["expired_foreign"], summary["expired_unknown"]) == (1, 1)
    client.send(remove("a@x"))
    owner.reply(owner.command(), record("a@x"))
    assert client.line() == "removed"


# -- real relays ---------------------------------------------------------------------------


@pytest.fixture
def two_relays(make_call_system, network):
    return make_call_system(network=network, relays=2, relay_config={"port_rest": 0})


def test_a_relay_that_hangs_is_passed_over_and_keeps_nothing(two_relays):
    first, second = two_relays.relays
    client = two_relays.client()
    first.freeze()
    begin = time.monotonic()
    answer = client.update("request", "hangs@x", "f", "", "audio:10.88.0.21:5000:sendrecv:ice=no",
                           media_relay=first.ip)
    took = time.monotonic() - begin
    assert answer.ip == second.ip
    assert 0.14 < took < 0.5 * SLOWNESS, "failover_timeout is 150 ms, the proxy waits 500"
    first.thaw()
    wait_for(lambda: two_relays.dispatcher.summary()["late_sessions"] == 1, what="late success")
    first.wait_empty()
    summary = first.summary()
    assert (summary["session_count"], summary["sessions_created"]) == (0, 1)
    assert client.remove("hangs@x", "f") == "removed"
    assert two_relays.dispatcher.summary()["records"] == 1


def test_a_relay_that_hangs_holds_back_only_who_waits_for_it(two_relays):
    first, second = two_relays.relays
    streams = [two_relays.phone(name).stream() for name in ("caller", "callee")]
    call = two_relays.call(media_relay=first.ip)
    call.establish(streams[:1], streams[1:])
    assert streams[0].to[0] == first.ip
    waiting, others = two_relays.client(), two_relays.client()
    first.freeze()
    waiting.send(encode("remove", [("call_id", call.call_id), ("from_tag", "caller"),
                                   ("to_tag", "callee")]) + b"dance\r\n\r\n")
    for number in range(20):
        begin = time.monotonic()
        call_id = "other%d@x" % number
        answer = others.update("request", call_id, "f", "", streams[0].media(),
                               media_relay=second.ip)
        assert answer.ip == second.ip
        assert others.remove(call_id, "f") == "removed"
        assert time.monotonic() - begin < 0.1 * SLOWNESS
    assert [waiting.line(), waiting.line()] == ["error", "error"]
    first.thaw()
    # A remove is carried out in any case, and is a record however late.
    wait_for(lambda: two_relays.dispatcher.summary()["late_records"] == 1, what="late record")
    first.wait_empty()


def test_a_relay_that_crashes_in_a_request_costs_the_new_call_nothing(two_relays):
    first, second = two_relays.relays
    known = two_relays.call(media_relay=first.ip)
    assert known.offer("audio:10.88.0.21:5000:sendrecv:ice=no").ip == first.ip
    new, old = two_relays.client(), two_relays.client()
    first.freeze()
    new.send(encode("update", update_headers("request", "new@x", "f", "",
                                             "audio:10.88.0.21:5000:sendrecv:ice=no",
                                             media_relay=first.ip)))
    old.send(encode("remove", [("call_id", known.call_id), ("from_tag", "caller")]))
    all_read(two_relays)
    first.kill()
    assert new.line().split()[0] == second.ip
    assert old.line() == "error"
    two_relays.start()  # the relay again
    assert known.remove() == "error"  # it was lost
    for ip in (first.ip, second.ip):
        call = two_relays.call(media_relay=ip)
        assert call.offer("audio:10.88.0.21:5000:sendrecv:ice=no").ip == ip
        assert call.remove() == "removed"
    assert new.remove("new@x", "f") == "removed"


def test_a_relay_that_drains_leaves_new_calls_to_the_other(two_relays):
    first, second = two_relays.relays
    streams = [two_relays.phone(name).stream() for name in ("caller", "callee")]
    call = two_relays.call(media_relay=first.ip)
    call.establish(streams[:1], streams[1:])
    first.drain()
    wait_for(lambda: first.summary()["status"] == "halting")
    for number in range(10):
        other = two_relays.call(media_relay=first.ip)
        assert other.offer(streams[0].media()).ip == second.ip
        assert other.remove() == "removed"
    talk(*streams)
    assert call.remove() == "removed"
    assert first.wait_exit() == 0


def test_a_dispatcher_that_hangs_is_dropped_after_three_pings(make_call_system):
    system = make_call_system(relay_config={"keepalive_interval": 1})
    streams = [system.phone(name).stream() for name in ("caller", "callee")]
    call = system.call().establish(streams[:1], streams[1:])
    since = system.relay.log_offset()
    begin = time.monotonic()
    system.dispatcher.freeze()
    system.relay.wait_log("link to dispatcher .* down", 8, since)
    took = time.monotonic() - begin
    assert 1.9 < took < 5 * SLOWNESS
    talk(*streams)  # the call goes on
    system.dispatcher.thaw()
    system.relay.wait_log("link to dispatcher .* up", 8, since)
    system.dispatcher.wait_relays(system.relay.ip)
    assert call.remove() == "removed"


def test_a_relay_reconnects_after_a_second_and_then_every_reconnect_delay(make_call_system):
    system = make_call_system(started=False, relay_config={"reconnect_delay": 2})
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5 * SLOWNESS)
    system.relay.sections["Relay"]["dispatchers"] = "127.0.0.1:%d" % listener.getsockname()[1]
    system.relay.start()
    came = []
    for _ in range(4):
        sock, _ = listener.accept()
        came.append(time.monotonic())
        sock.close()
    listener.close()
    gaps = [later - earlier for earlier, later in zip(came, came[1:])]
    for gap, wanted in zip(gaps, [1, 2, 2]):
        assert wanted - 0.2 < gap < wanted + 0.7 * SLOWNESS, gaps
    assert system.relay.summary()["links_failed"] >= 3
