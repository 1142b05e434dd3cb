"""Floods, garbage and half requests: bounded, counted, and nobody else notices."""

import contextlib
import multiprocessing
import os
import resource
import socket
import time

import pytest

from mp.link import OriginalDispatcher, OriginalRelay
from mp.proxy import Closed, ProxyClient, encode, update_headers
from mp.wait import SLOWNESS, wait_for

AUDIO = "audio:127.0.0.1:5000:sendrecv:ice=no"
MIB = 1 << 20


def rss(daemon):
    """Memory that a daemon has in RAM, in bytes."""
    with open("/proc/%d/statm" % daemon.pid) as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _make_calls(path, stop, results):
    """In a process of its own, so that it waits for nobody but the dispatcher."""
    client = ProxyClient(path)
    times = []
    try:
        while not stop.is_set():
            call_id = "neighbour%d@x" % len(times)
            begin = time.monotonic()
            answer = client.update("request", call_id, "f", "", AUDIO, media_relay="127.0.0.1")
            times.append(time.monotonic() - begin)
            assert answer.ok and client.remove(call_id, "f") == "removed", answer
            if len(times) == 10:
                results.send("warm")
        results.send(times)
    except BaseException as error:  # told by the test
        results.send(repr(error))


class Neighbour:
    """Another worker of the SIP proxy, that makes calls all the time and times them."""

    def __init__(self, system):
        context = multiprocessing.get_context("fork")
        self._stop = context.Event()
        self._results, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_make_calls, args=(system.dispatcher.socket_path, self._stop, theirs),
            daemon=True)

    def _result(self):
        assert self._results.poll(10 * SLOWNESS), "the neighbour's calls"
        return self._results.recv()

    def __enter__(self):
        self._process.start()
        assert self._result() == "warm"
        return self

    def __exit__(self, kind, value, trace):
        self._stop.set()
        try:
            times = self._result()
        finally:
            self._process.kill()
            self._process.join()
        if kind is None:
            assert isinstance(times, list), times
            slowest = sorted(times)[-max(1, len(times) // 100)]
            assert slowest < 0.1 * SLOWNESS, "%d calls, p99 %.3f s" % (len(times), slowest)


@pytest.fixture(autouse=True)
def limit_of_open_files():
    """A test may raise it."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def make_small_system(make_call_system):
    """A function: a system that uses memory again at once, whose memory can be measured."""
    def make(started=True, **options):
        system = make_call_system(started=False, **options)
        for daemon in system.daemons:
            daemon.env["ASAN_OPTIONS"] += (":quarantine_size_mb=0"
                                           ":thread_local_quarantine_size_kb=0")
        return system.start() if started else system

    return make


@pytest.fixture
def small_system(make_small_system):
    return make_small_system()


@contextlib.contextmanager
def unnoticed(system, *daemons, growth=16 * MIB):
    """The daemons stay small, and another connection is served all the while."""
    before = {daemon.name: rss(daemon) for daemon in daemons}
    with Neighbour(system):
        yield
    for daemon in daemons:
        assert daemon.running()
        assert rss(daemon) - before[daemon.name] < growth, (
            daemon.name, before[daemon.name] / MIB, rss(daemon) / MIB)


def still_serves(client):
    """The connection is as good as before."""
    assert client.update("request", "still@x", "f", "", AUDIO).ok
    assert client.remove("still@x", "f") == "removed"


def with_line(line):
    return b"update\r\ntype: request\r\ncall_id: bad@x\r\ncseq: 1\r\nfrom_tag: f\r\n" + line + \
        b"\r\nmedia: " + AUDIO.encode() + b"\r\n\r\n"


def test_a_line_of_a_megabyte_is_an_error_and_costs_no_memory(small_system):
    client = small_system.client()
    with unnoticed(small_system, small_system.dispatcher):
        for _ in range(30):
            client.send(with_line(b"user_agent: " + b"x" * MIB))
            assert client.line() == "error"
            client.send(b"y" * MIB + b"\r\n\r\n")
            assert client.line() == "error"
        still_serves(client)


def test_requests_without_an_end_cost_no_memory(small_system):
    """Headers without number, half lines, empty requests."""
    client = small_system.client()
    with unnoticed(small_system, small_system.dispatcher):
        client.send(b"update\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(200000)) + b"\r\n")
        assert client.line() == "error"
        client.send(b"update\r\nx: y\r\n" + b" folded on\r\n" * 100000 + b"\r\n")
        assert client.line() == "error"
        client.send(b"\n" * MIB + b"\r" * MIB + b"\r\n\r\n")
        assert client.line() == "error"
        still_serves(client)
        halves = [small_system.client() for _ in range(200)]
        for number, half in enumerate(halves):
            half.send(b"update\r\ncall_id: half%d\r\nuser_agent: " % number + b"z" * 10000)
    with unnoticed(small_system, small_system.dispatcher):
        for half in halves:
            half.close()
    wait_for(lambda: small_system.dispatcher.summary()["proxy_connections"] <= 2,
             what="halves forgotten")


def test_a_client_that_does_not_read_its_answers_is_not_read_from(small_system):
    client = small_system.client()
    client.socket.setblocking(False)
    with unnoticed(small_system, small_system.dispatcher):
        sent = 0
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while sent < 64 * MIB:
                sent += client.socket.send(b"dance\r\n\r\n" * 5000)
        assert sent < 64 * MIB, "it has to stop somewhere"


def test_random_bytes_cost_errors_at_most(small_system):
    with unnoticed(small_system, small_system.dispatcher):
        for number in range(40):
            client = small_system.client()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.send(os.urandom(65536) + b"\r\n\r\n")
            with contextlib.suppress(Closed):
                while client.line() != "error":
                    pass
            client.close()


def test_requests_that_come_in_pieces_or_after_rubbish_are_read_all_the_same(small_system):
    client = small_system.client()
    request = encode("update", update_headers("request", "pieces@x", "f", "", AUDIO))
    for size in (1, 2, 3, 7):
        for start in range(0, len(request), size):
            client.send(request[start:start + size])
        assert client.line().startswith("127.0.0.1 ")
    for line, wanted in ((b"user_agent: " + b"x" * (16384 - 12), "127.0.0.1"),
                         (b"user_agent: " + b"x" * (16384 - 11), "error"),
                         (b"user_agent: " + b"\0" * 100, None),
                         (b"user_agent: \xc3\x28", "error"), (b"\xff\xfe: x", "error"),
                         (b"x: y\rz\nw", None)):
        client.send(with_line(line))
        answer = client.line().split()[0]
        assert wanted is None or answer == wanted, (line[:40], answer)
        client.send(encode("remove", [("call_id", "bad@x"), ("from_tag", "f")]))
        assert client.line() == ("error" if answer == "error" else "removed")
    client.send(b"\r\n\r\n\r\n")  # empty lines between requests mean nothing
    assert client.remove("pieces@x", "f") == "removed"


# -- the link ------------------------------------------------------------------------------


def test_a_relay_that_talks_nonsense_harms_nobody(small_system, certs):
    """A stand-in with a valid certificate, from an address of its own."""
    dispatcher = small_system.dispatcher
    relay = OriginalRelay(dispatcher, certs, source_ip="127.0.0.9")
    relay.greet()
    relay.ping()
    for bad in ("", "x", "1", "99999999999999999999999 {}", "-1 error", "4000 {}", "ping {",
                "ping " + "{" * 5000, "expired", "expired {}", "expired []", "expired nonsense",
                'expired {"call_id": 7}', "expired " + "[" * 10000, "\x00\x01\x02", "1 " + "x" * 9999,
                "expired {\"call_id\": \"a\", \"call_id\": \"b\"}", "update 5", "pong"):
        relay.send(bad + "\r\n")
    relay.send(b"\xff\xfe\xc0\xaf" * 100 + b"\r\n")
    for _ in range(2):  # two of these were a ping
        assert relay.line() == "pong"
    relay.ping()
    client = small_system.client()
    for answer in ("127.0.0.9 40000 x", "None", "{}", "removed", "\x00", "relay 40000", ""):
        client.send(encode("update", update_headers("request", "bad@x", "f", "", AUDIO,
                                                    media_relay="127.0.0.9")))
        relay.reply(relay.command(), answer)
        # The other relay takes the call.
        assert client.line().startswith("127.0.0.1 "), answer
        assert client.remove("bad@x", "f") == "removed"
    counters = dispatcher_links(small_system, relay)
    assert counters["bad_lines"] > 5 and counters["unknown_replies"] >= 1


def dispatcher_links(system, stand_in):
    """The dispatcher's counters; a stand-in would not answer its `summary`."""
    stand_in.close()
    system.dispatcher.wait_relays(system.relay.ip)
    return system.dispatcher.summary()["links"]


def test_a_relay_that_sends_without_end_costs_no_memory(small_system, certs):
    dispatcher = small_system.dispatcher
    relay = OriginalRelay(dispatcher, certs, source_ip="127.0.0.9")
    relay.greet()
    relay.ping()
    with unnoticed(small_system, dispatcher, growth=24 * MIB):
        with contextlib.suppress(OSError):
            for _ in range(24):
                relay.send(b"expired " + b"x" * MIB)  # no end of line
            relay.send("\r\n" + "nonsense\r\n" * 100000)
            relay.ping()  # all read
    assert dispatcher_links(small_system, relay)["long_lines"] >= 1


def test_a_dispatcher_that_talks_nonsense_harms_nobody(make_small_system, certs):
    system = make_small_system(started=False)
    false_one = OriginalDispatcher(certs, system.port_block().tcp(0))
    system.relay.sections["Relay"]["dispatchers"] += " " + false_one.link
    system.dispatcher.start()
    system.relay.start()
    system.dispatcher.wait_relays(system.relay.ip)
    false_one.accept()
    with unnoticed(system, system.relay):
        for number, bad in enumerate((b"\r\n\r\n", b"dance\r\n\r\n", b"update\r\n\r\n",
                                      b"update x\r\n\r\n", b"update -1\r\nx: y\r\n\r\n",
                                      b"update 99999999999999999999\r\n\r\n", b"pong\r\n\r\n",
                                      b"update 7\r\nno header\r\n\r\n", b"ack\r\n\r\n",
                                      b"ack 1 2 3\r\n\r\n", b"remove 8\r\ncall_id: \xff\r\n\r\n",
                                      b"sessions 9\r\npage: -1\r\n\r\n", os.urandom(20000),
                                      b"update 10\r\n" + b"x: y\r\n" * 50000 + b"\r\n",
                                      b"z" * MIB + b"\r\n\r\n", b"ack 1\r\n" * 20000)):
            false_one.peer.send(bad + b"\r\n\r\n")
        assert false_one.command("sessions").startswith("[")
        assert false_one.command("update", [("type", "request")]) == "error"
    assert system.relay.summary()["commands_bad"] > 3
    false_one.close()


# -- connections ---------------------------------------------------------------------------


def try_connect(sock, address):
    """False: the backlog is full, so try again."""
    try:
        sock.connect(address)
    except BlockingIOError:
        return False
    except ConnectionError:
        pass  # refused at once
    return True


def connect_many(address, family, count):
    """As many connections as this process may have open, up to count."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(count, hard - 500)
    assert count >= 2000, "RLIMIT_NOFILE is too low: %d" % hard
    sockets = []
    for _ in range(count):
        sock = socket.socket(family)
        sock.settimeout(5)
        wait_for(lambda: try_connect(sock, address), what="room in the backlog")
        sockets.append(sock)
    return sockets


def closed_ones(sockets):
    """How many of them the peer has closed."""
    closed = 0
    for sock in sockets:
        sock.setblocking(False)
        try:
            closed += sock.recv(1) == b""
        except BlockingIOError:
            pass
        except OSError:
            closed += 1
    return closed


def test_ten_thousand_connections_of_sip_proxies(make_small_system):
    system = make_small_system(dispatcher_config={"max_proxy_connections": 300})
    with unnoticed(system, system.dispatcher):
        sockets = connect_many(system.dispatcher.socket_path, socket.AF_UNIX, 10000)
        facts = wait_for(lambda: next(
            (s for s in [system.dispatcher.summary()]
             if s["proxy_connections_refused"] >= len(sockets) - 300), None), 10,
            "refused ones counted")
        assert facts["proxy_connections"] <= 300
        assert closed_ones(sockets) >= len(sockets) - 300
        for sock in sockets:
            sock.close()
    wait_for(lambda: system.dispatcher.summary()["proxy_connections"] < 10, what="all closed")
    still_serves(system.client())


def test_ten_thousand_connections_to_the_port_of_relays(small_system):
    host, port = small_system.dispatcher.link.rsplit(":", 1)
    with unnoticed(small_system, small_system.dispatcher):
        sockets = connect_many((host, int(port)), socket.AF_INET, 10000)
        # Of one address no more than four may be in their handshakes.
        wait_for(lambda: closed_ones(sockets) >= len(sockets) - 4, 10, "the others closed")
        for sock in sockets:
            sock.close()
    assert small_system.dispatcher.summary()["links"]["refused"] >= len(sockets) - 4
    small_system.dispatcher.wait_relays(small_system.relay.ip)


def test_ten_thousand_management_clients(small_system):
    dispatcher = small_system.dispatcher
    with unnoticed(small_system, dispatcher):
        sockets = connect_many(dispatcher.management_address, socket.AF_INET, 10000)
        wait_for(lambda: closed_ones(sockets) >= len(sockets) - 64, 10, "the others closed")
        for sock in sockets:
            sock.close()
    dispatcher.wait_log("too many unfinished connections from its address")
    dispatcher.wait_relays(small_system.relay.ip)
