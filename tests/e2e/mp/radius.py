"""RADIUS servers, real and not."""

import hashlib
import os
import re
import socket
import struct
import threading

from .process import Process
from .programs import TOP
from .wait import wait_for

DICTIONARY = os.path.join(TOP, "packaging/radius/dictionary")

_RADIUSD = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
db_dir = {folder}
pidfile = {folder}/pid
max_request_time = 5
cleanup_delay = 1
max_requests = 1024
hostname_lookups = no
security {{
	allow_core_dumps = no
}}
client loopback {{
	ipaddr = 127.0.0.1
	secret = {secret}
}}
thread pool {{
	start_servers = 1
	max_servers = 2
	min_spare_servers = 1
	max_spare_servers = 2
	max_requests_per_server = 0
}}
modules {{
	detail {{
		filename = {folder}/detail
		permissions = 0600
	}}
}}
server default {{
	listen {{
		type = acct
		ipaddr = 127.0.0.1
		port = {port}
	}}
	accounting {{
		detail
	}}
}}
"""


def _unescape(text):
    """A value of a detail file: a number or a name, or a text in quotes, as bytes then."""
    if not text.startswith('"'):
        return text
    plain = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
    return re.sub(rb"\\(\d{3}|.)", lambda found: bytes([int(found[1], 8)])
                  if len(found[1]) == 3 else plain.get(found[1], found[1]),
                  text[1:-1].encode(), flags=re.DOTALL).decode("utf-8", "surrogateescape")


class FreeRadius(Process):
    """A FreeRADIUS of one's own, for accounting alone, on a port of loopback."""

    def __init__(self, folder, port, secret="s3cret"):
        self.folder = str(folder)
        self.port = port
        self.secret = secret
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, "radiusd.conf"), "w") as conf:
            conf.write(_RADIUSD.format(folder=self.folder, port=port, secret=secret))
        with open(os.path.join(self.folder, "dictionary"), "w") as dictionary:
            dictionary.write("$INCLUDE %s\n" % DICTIONARY)
        super().__init__("freeradius", ["/usr/sbin/freeradius", "-f", "-d", self.folder,
                                        "-l", "stdout"], os.path.join(self.folder, "log"))

    def start(self):
        since = self.log_offset() if os.path.exists(self.log_path) else 0
        super().start()
        self.wait_log("Ready to process requests", 20, since)
        return self

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def requests(self):
        """What it has taken: for each request a list of (attribute, value)."""
        try:
            with open(os.path.join(self.folder, "detail"), encoding="utf-8",
                      errors="surrogateescape") as detail:
                blocks = detail.read().split("\n\n")
        except FileNotFoundError:
            return []
        found = []
        for block in blocks:
            lines = [line[1:] for line in block.split("\n") if line.startswith("\t")]
            pairs = [line.split(" = ", 1) for line in lines]
            if pairs:
                found.append([(name, _unescape(value)) for name, value in pairs
                              if name != "Timestamp"])
        return found

    def session_ids(self):
        return [dict(request)["Acct-Session-Id"] for request in self.requests()]

    def wait_requests(self, count, deadline=10.0):
        """The detail file is written after the answer: wait for that many, and get them."""
        wait_for(lambda: len(self.requests()) >= count, deadline,
                 lambda: "%d requests: %s\n%s" % (count, self.requests(), self.log()[-2000:]))
        found = self.requests()
        assert len(found) == count, found
        return found


class StandIn:
    """A UDP socket where a RADIUS server should be: it answers as it is told.

    answer(number, request, secret): the datagrams to send back to the request with that
    number, from 0; see silent(), honest() and forged() below.
    """

    def __init__(self, port, answer, secret="s3cret"):
        self.port = port
        self.requests = []
        self._answer = answer
        self._secret = secret.encode()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def _serve(self):
        while True:
            request, peer = self._socket.recvfrom(8192)
            if not request:
                return
            self.requests.append(request)
            for datagram in self._answer(len(self.requests) - 1, request, self._secret):
                self._socket.sendto(datagram, peer)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        assert not self._thread.is_alive()
        self._socket.close()


def response(request, secret, code=5, attributes=b""):
    head = struct.pack(">BBH", code, request[1], 20 + len(attributes))
    return head + hashlib.md5(head + request[4:20] + attributes + secret).digest() + attributes


def silent(number, request, secret):
    return []


def honest(number, request, secret):
    return [response(request, secret)]


def forged(number, request, secret):
    return [response(request, b"another secret"), response(request, b"")]
