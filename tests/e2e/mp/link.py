"""Stand-ins for the original's relay and dispatcher on the TLS link (docs/protocols.md, section 2).

They know nothing that MediaProxy 4 does not know: no features, no ack, no pages. The test
says each answer itself, so that it can be late, wrong or missing. AckingDispatcher is one of
ours, as far as a test makes it so.
"""

import json
import os
import socket
import ssl
from typing import NamedTuple

from .wait import Deadline


class LinkCommand(NamedTuple):
    name: str
    seq: int
    headers: list  # (name, value) pairs, in their order

    def get(self, name):
        return dict(self.headers).get(name)


def tls_context(certs, role):
    """What the daemons use: certificates on both sides, and no check of host names.

    role: "relay" (dials out) or "dispatcher" (listens).
    """
    dials = role == "relay"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if dials else ssl.PROTOCOL_TLS_SERVER)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(os.path.join(certs, "ca.pem"))
    context.load_cert_chain(os.path.join(certs, role + ".crt"), os.path.join(certs, role + ".key"))
    return context


class Link:
    """One end of a link: lines out, lines in."""

    def __init__(self, sock):
        self.socket = sock
        self._buffer = b""

    def send(self, text):
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def line(self, deadline=3.0):
        """The next line, without its CRLF; None when the peer hung up."""
        end = deadline if isinstance(deadline, Deadline) else Deadline(deadline)
        while b"\r\n" not in self._buffer:
            self.socket.settimeout(max(end.left(), 0.001))
            try:
                got = self.socket.recv(1 << 16)
            except socket.timeout:
                raise AssertionError("no line on the link within %.1f s; so far %r" % (
                    end.seconds, self._buffer)) from None
            except (ConnectionError, ssl.SSLError):
                got = b""
            if not got:
                return None
            self._buffer += got
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line.decode()

    def close(self):
        self.socket.close()


class OriginalRelay(Link):
    """A relay of the original, linked to a dispatcher of ours."""

    def __init__(self, dispatcher, certs, source_ip=None):
        """dispatcher: of class Dispatcher. source_ip: the address that it is known by."""
        host, port = dispatcher.link.rsplit(":", 1)
        plain = socket.create_connection((host, int(port)), 5,
                                         (source_ip, 0) if source_ip else None)
        super().__init__(tls_context(certs, "relay").wrap_socket(plain))

    def greet(self):
        """Answer the dispatcher's first command, `sessions`: there are none."""
        command = self.command()
        assert command.name == "sessions", command
        self.reply(command, "[]")
        return command

    def ping(self):
        self.send("ping\r\n")
        assert self.line() == "pong"

    def command(self, deadline=3.0):
        """The dispatcher's next command."""
        name, seq = self.line(deadline).split(" ")
        headers = []
        while True:
            line = self.line(deadline)
            if line == "":
                return LinkCommand(name, int(seq), headers)
            headers.append(tuple(line.split(": ", 1)))

    def reply(self, command, text):
        self.send("%d %s\r\n" % (command.seq, text))


class OriginalDispatcher:
    """A dispatcher of the original, to which relays of ours connect."""

    announces = ()  # headers of the first `sessions`

    def __init__(self, certs, port, ip="127.0.0.1"):
        self.link = "%s:%d" % (ip, port)
        self._context = tls_context(certs, "dispatcher")
        self._address = (ip, port)
        self._listener = None
        self.listen()
        self._seq = 0
        self.peer = None
        self.hello = None
        self.unsolicited = []

    def listen(self):
        self._listener = socket.create_server(self._address)

    def stop_listening(self):
        self._listener.close()

    def accept(self, deadline=5.0):
        """Wait for the relay, and greet it as the original does."""
        self._listener.settimeout(Deadline(deadline).left())
        plain, _ = self._listener.accept()
        plain.settimeout(5)
        if self.peer:
            self.peer.close()
        self.peer = Link(self._context.wrap_socket(plain, server_side=True))
        self.unsolicited = []
        assert self.command("sessions", self.announces).startswith("[")
        return self

    def command(self, name, headers=(), deadline=3.0):
        """Send a command and return the text of its reply."""
        self._seq += 1
        lines = ["%s %d" % (name, self._seq)] + ["%s: %s" % h for h in headers if h[1] != ""]
        self.peer.send("\r\n".join(lines) + "\r\n\r\n")
        while True:
            line = self.next_line(deadline)
            seq, _, text = line.partition(" ")
            if seq == str(self._seq):
                return text
            self.unsolicited.append(line)

    def next_line(self, deadline=3.0):
        """The relay's next line that is not a ping; pings are answered by `pong`."""
        while True:
            line = self.peer.line(deadline)
            if line is None or line.split(" ")[0] != "ping":
                return line
            self.hello = self.hello or line
            self.peer.send("pong\r\n")

    def close(self):
        self._listener.close()
        if self.peer:
            self.peer.close()


class AckingDispatcher(OriginalDispatcher):
    """One that announces `ack`; the test says what it acknowledges."""

    announces = [("features", "ack")]

    def ack(self, record):
        self.peer.send("ack %s\r\n" % record["record_id"])

    def backlog(self, deadline=5.0):
        """After accept(): the records that the relay sends up to its `caught-up`."""
        lines, self.unsolicited = self.unsolicited, []
        while "caught-up" not in lines:
            lines.append(self.next_line(deadline))
        assert lines[-1] == "caught-up"
        return [self.record(line) for line in lines[:-1]]

    @staticmethod
    def record(line):
        word, _, text = line.partition(" ")
        assert word == "expired", line
        return json.loads(text)
