"""Text management (docs/protocols.md, section 4) and the control channel, as clients see them."""

import json
import os
import re
import socket
import ssl
import subprocess

import pytest

from mp.control import http_request
from mp.link import OriginalRelay
from mp.programs import make_certificates, program
from mp.wait import wait_for

AUDIO = "audio:127.0.0.1:5000:sendrecv:ice=no"
SUMMARY_KEYS = ["ip", "version", "status", "uptime", "session_count", "stream_count",
                "bps_relayed"]
SESSION_KEYS = ["call_id", "from_tag", "from_uri", "to_tag", "to_uri", "start_time", "duration",
                "caller_ua", "callee_ua", "username", "streams"]
STREAM_KEYS = ["media_type", "status", "timeout_wait", "caller_codec", "callee_codec",
               "start_time", "end_time", "post_dial_delay", "caller_bytes", "callee_bytes",
               "caller_packets", "callee_packets", "caller_local", "callee_local",
               "caller_remote", "callee_remote"]


class Client:
    """A management client. context: of TLS, or None."""

    def __init__(self, dispatcher, context=None):
        self.socket = socket.create_connection(dispatcher.management_address, 5)
        if context:
            self.socket = context.wrap_socket(self.socket)
        self._file = self.socket.makefile("rb")

    def send(self, text):
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def line(self):
        """The next line without its CRLF, or None."""
        line = self._file.readline()
        assert not line or line.endswith(b"\r\n"), line
        return line[:-2].decode() if line else None

    def paragraph(self):
        """Lines up to an empty one."""
        lines = []
        while True:
            line = self.line()
            assert line is not None, lines
            if line == "":
                return lines
            lines.append(line)

    def ask(self, command):
        self.send(command + "\r\n")
        return self.paragraph()

    def close(self):
        self._file.close()
        self.socket.close()


@pytest.fixture
def connect(request):
    def make(dispatcher, context=None):
        client = Client(dispatcher, context)
        request.addfinalizer(client.close)
        return client

    return make


def two_calls(system):
    calls = [system.call() for _ in range(2)]
    for call in calls:
        assert call.offer(AUDIO, "video:127.0.0.1:5002:sendrecv:ice=no").ok
        assert call.answer(AUDIO, "video:127.0.0.1:5004:sendrecv:ice=no").ok
    return calls


def hang_up(calls):
    for call in calls:
        assert call.remove() == "removed"


def check_session(text, calls):
    session = json.loads(text)
    assert list(session)[:len(SESSION_KEYS)] == SESSION_KEYS
    assert session["call_id"] in [call.call_id for call in calls]
    assert [s["media_type"] for s in session["streams"]] == ["audio", "video"]
    for stream in session["streams"]:
        assert list(stream)[:len(STREAM_KEYS)] == STREAM_KEYS


def test_lines_one_object_a_line_and_an_empty_line_after_them(call_system, connect):
    calls = two_calls(call_system)
    client = connect(call_system.dispatcher)
    summary, = client.ask("summary")
    facts = json.loads(summary)
    assert list(facts)[:len(SUMMARY_KEYS)] == SUMMARY_KEYS
    assert (facts["ip"], facts["status"], facts["session_count"], facts["stream_count"]) == (
        "127.0.0.1", "active", 2, {"audio": 2, "video": 2})
    assert isinstance(facts["bps_relayed"], float)
    sessions = client.ask("sessions")
    assert len(sessions) == 2
    for text in sessions:
        check_session(text, calls)
    version, = client.ask("version")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", version)
    hang_up(calls)
    assert client.ask("sessions") == []


def test_array_one_line_with_an_array_and_no_empty_line(make_call_system, connect):
    # The harness reads lines: what it waits for is asked of the control channel here.
    system = make_call_system(started=False, dispatcher_config={"management_format": "array"})
    for daemon in system.daemons:
        daemon.start()
    wait_for(lambda: system.dispatcher.summary()["relays"], what="the relay")
    calls = two_calls(system)
    client = connect(system.dispatcher)
    client.send("version\r\nsummary\r\nsessions\r\nquit\r\n")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", client.line())
    summary, = json.loads(client.line())
    assert list(summary)[:len(SUMMARY_KEYS)] == SUMMARY_KEYS
    text = client.line()
    for session in json.loads(text):
        check_session(json.dumps(session), calls)
    assert client.line() is None
    hang_up(calls)
    client = connect(system.dispatcher)
    client.send("sessions\r\ndance\r\n")
    assert [client.line(), client.line()] == ["[]", "error"]


@pytest.mark.parametrize("word", ["quit", "exit"])
def test_commands_are_answered_in_their_order_until_the_client_leaves(call_system, connect, word):
    client = connect(call_system.dispatcher)
    client.send("dance\r\nsummary\r\nversion\r\nSUMMARY\r\n\r\nsessions\r\n%s\r\nversion\r\n" % word)
    assert client.line() == "error"
    lines = [client.line()]
    while lines[-1] is not None:
        lines.append(client.line())
    assert '"ip": "127.0.0.1"' in lines[0] and lines[1] == ""
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", lines[2]) and lines.count("error") >= 1
    assert sum(bool(re.fullmatch(r"\d+\.\d+\.\d+\S*", line or "")) for line in lines) == 1


def test_garbage_is_an_error_and_others_do_not_notice(call_system, connect):
    bad, good = connect(call_system.dispatcher), connect(call_system.dispatcher)
    bad.send(b"\xff\xfe\x00\r\n" + b"x" * 100000 + b"\r\nversion \r\n")
    assert [bad.line() for _ in range(2)] == ["error", "error"]
    assert len(good.ask("summary")) == 1


def test_a_relay_that_does_not_answer_is_shown_as_an_error(make_call_system, connect, certs):
    system = make_call_system(dispatcher_config={"relay_timeout": 1})
    calls = two_calls(system)
    silent = OriginalRelay(system.dispatcher, certs, source_ip="127.0.0.9")
    silent.greet()
    silent.ping()
    client, other = connect(system.dispatcher), connect(system.dispatcher)
    client.send("summary\r\nsessions\r\n")
    assert len(other.ask("version")) == 1  # nobody waits for it
    summary = [json.loads(line) for line in client.paragraph()]
    assert {"status": "error", "ip": "127.0.0.9"} in summary and len(summary) == 2
    assert [list(s) for s in summary if s["ip"] == "127.0.0.9"] == [["status", "ip"]]
    assert len(client.paragraph()) == 2
    silent.close()
    hang_up(calls)


def test_a_relay_that_hangs_is_shown_as_an_error(make_call_system, connect):
    system = make_call_system(dispatcher_config={"relay_timeout": 1})
    client = connect(system.dispatcher)
    system.relay.freeze()
    assert [json.loads(line) for line in client.ask("summary")] == [
        {"status": "error", "ip": "127.0.0.1"}]
    system.relay.thaw()
    wait_for(lambda: json.loads(client.ask("summary")[0])["status"] == "active",
             what="the relay again")


# -- TLS -----------------------------------------------------------------------------------


def client_context(folder, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(os.path.join(folder, "ca.pem"))
    if name:
        context.load_cert_chain(os.path.join(folder, name + ".crt"),
                                os.path.join(folder, name + ".key"))
    return context


@pytest.fixture
def tls_dispatcher(make_call_system):
    """Management by TLS, for those whose certificate is the dispatcher's."""
    system = make_call_system(relays=0, started=False, dispatcher_config={
        "management_use_tls": "yes", "management_passport": "O:MediaProxy, CN:disp*"})
    return system.dispatcher.start()


def is_refused(dispatcher, context):
    """With TLS 1.3 a client learns of it when it reads."""
    try:
        client = Client(dispatcher, context)
    except (ssl.SSLError, ConnectionError):
        return True
    try:
        client.send("version\r\n")
        return client.line() is None
    except (ssl.SSLError, ConnectionError):
        return True
    finally:
        client.close()


def test_management_by_tls_needs_the_right_certificate(tls_dispatcher, connect, certs, tmp_path):
    version, = connect(tls_dispatcher, client_context(certs, "dispatcher")).ask("version")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", version)
    assert is_refused(tls_dispatcher, client_context(certs, "relay"))
    tls_dispatcher.wait_log("management client .* refused: .*passport")
    since = tls_dispatcher.log_offset()
    assert is_refused(tls_dispatcher, client_context(certs, None))
    tls_dispatcher.wait_log("management client .* refused", since=since)
    make_certificates(tmp_path / "other")
    stranger = client_context(str(tmp_path / "other"), "dispatcher")
    stranger.verify_mode = ssl.CERT_NONE
    assert is_refused(tls_dispatcher, stranger)
    client = connect(tls_dispatcher)  # plain text to a TLS port
    client.send("summary\r\n" * 100)
    with pytest.raises((ConnectionError, AssertionError)):
        while client.line() is not None:
            pass
        raise ConnectionError
    assert len(connect(tls_dispatcher, client_context(certs, "dispatcher")).ask("version")) == 1


def test_a_management_client_that_is_revoked_is_dropped(make_call_system, connect, tmp_path):
    folder = str(tmp_path / "tls")
    make_certificates(folder)
    system = make_call_system(relays=0, started=False,
                              dispatcher_config={"management_use_tls": "yes"})
    system.dispatcher.sections["TLS"].update(certs_path=folder, verify_interval=1)
    system.dispatcher.start()
    client = connect(system.dispatcher, client_context(folder, "relay"))
    client.ask("version")
    subprocess.run([program("mediaproxy"), "certs", "revoke", folder + "/relay.crt", "--folder",
                    folder], check=True, capture_output=True)
    system.dispatcher.wait_log("management client .* is dropped: .*revoked")
    with pytest.raises((AssertionError, ssl.SSLError, ConnectionError)):
        client.ask("version")


# -- the control channel -------------------------------------------------------------------


def test_both_daemons_have_a_control_channel(call_system):
    calls = two_calls(call_system)
    for daemon in call_system.daemons:
        version = daemon.get("version")
        assert version["name"] == daemon.program_name and version["version"]
        sessions = daemon.get("sessions")
        assert sorted(s["call_id"] for s in sessions) == sorted(c.call_id for c in calls)
        one, = daemon.get("sessions?call_id=" + calls[0].call_id.replace("@", "%40"))
        check_session(json.dumps(one), calls[:1])
        assert daemon.get("sessions?call_id=nobody") == []
    assert list(call_system.relay.summary())[:7] == SUMMARY_KEYS
    facts = call_system.dispatcher.summary()
    assert (facts["calls"], facts["sessions"], facts["updates"]) == (2, 2, 4)
    assert [r["ip"] for r in facts["relays"]] == ["127.0.0.1"]
    hang_up(calls)


@pytest.mark.parametrize("method, target, wanted", [
    ("GET", "/api/v1/nothing", 404), ("GET", "/", 404), ("GET", "/api/v1/summary/x", 404),
    ("POST", "/api/v1/summary", 405), ("DELETE", "/api/v1/sessions", 405)])
def test_what_the_control_channel_does_not_have_is_told(call_system, method, target, wanted):
    for daemon in call_system.daemons:
        status, text = http_request(daemon.control_path, method, target)
        assert status == wanted and "error" in json.loads(text)


def test_garbage_on_the_control_channel_harms_nobody(call_system):
    for daemon in call_system.daemons:
        for garbage in (b"\0" * 5000, b"GET " + b"x" * 100000, b"GET / HTTP/9.9\r\n\r\n",
                        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20000,
                        b"POST /api/v1/summary HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(daemon.control_path)
                try:
                    sock.sendall(garbage)
                except ConnectionError:
                    pass
        assert daemon.summary()
