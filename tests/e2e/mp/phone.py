"""A phone's media: UDP sockets that send, and record every packet that comes."""

import selectors
import socket
import threading
import time
from typing import NamedTuple

from .packets import rtcp_series, rtcp_sr, rtp, rtp_series
from .wait import Deadline, holds_for, wait_for


class Packet(NamedTuple):
    data: bytes
    source: tuple  # (ip, port)
    time: float    # monotonic


def _short(packets):
    return "[" + ", ".join("%d bytes %s" % (len(p), p[:16].hex()) for p in packets[:8]) + (
        ", ...]" if len(packets) > 8 else "]")


class Port:
    """One UDP socket. `to` is where send() sends, once the relay's address is known."""

    def __init__(self, phone, sock):
        self.phone = phone
        self.socket = sock
        self.address = sock.getsockname()[:2]
        self.to = None
        self.sent = []
        self._received = []

    def send(self, *packets, to=None):
        for packet in packets:
            if self.phone.gap_s and packet is not packets[0]:
                time.sleep(self.phone.gap_s)
            self.socket.sendto(packet, to or self.to)
            self.sent.append(packet)

    @property
    def received(self):
        """All packets so far."""
        return list(self._received)

    @property
    def data(self):
        return [p.data for p in self._received]

    def clear(self):
        del self._received[:]

    def wait(self, count, deadline=3.0):
        """Wait for count packets, and return what came."""
        wait_for(lambda: len(self._received) >= count, deadline,
                 lambda: "%d packets at %s, got %d: %s" % (
                     count, self.address, len(self._received), _short(self.data)))
        return self.received

    def expect(self, packets, source=None, deadline=3.0):
        """Exactly these packets, whole, in this order, and from source alone; forgets them.

        source: (ip, port); by default the address that this port sends to.
        """
        got = self.wait(len(packets), deadline)
        assert [p.data for p in got] == list(packets), (
            "other packets at %s:\nsent %s\ngot  %s" % (
                self.address, _short(packets), _short([p.data for p in got])))
        sources = {p.source for p in got}
        want = {tuple(source or self.to)}
        assert not got or sources == want, "from %s, not from %s" % (sources, want)
        del self._received[:len(got)]

    def expect_silence(self, seconds=0.3):
        """Nothing comes."""
        holds_for(lambda: not self._received, seconds,
                  "%s got %s" % (self.address, _short(self.data)))

    def _arrived(self):
        try:
            while True:
                data, source = self.socket.recvfrom(65535)
                self._received.append(Packet(data, source[:2], time.monotonic()))
        except BlockingIOError:
            pass
        except ConnectionError:
            pass  # an ICMP error for something that was sent


class Stream:
    """One m= line of a phone: a port for RTP and the next one for RTCP."""

    def __init__(self, phone, media_type, rtp, rtcp):
        self.phone = phone
        self.media_type = media_type
        self.rtp = rtp
        self.rtcp = rtcp

    @property
    def port(self):
        return self.rtp.address[1]

    @property
    def to(self):
        return self.rtp.to

    @to.setter
    def to(self, address):
        """Where the relay wants this stream: RTP there, RTCP on the next port."""
        self.rtp.to = address
        self.rtcp.to = (address[0], address[1] + 1)

    def media(self, direction="sendrecv", ice=False, ip=None, port=None):
        """Its piece of a `media` header."""
        return "%s:%s:%d:%s:ice=%s" % (
            self.media_type, ip or self.phone.ip, self.port if port is None else port,
            direction, "yes" if ice else "no")

    def sdp(self, *direction):
        """Its piece for sipp.make_sdp()."""
        return (self.media_type, self.port) + direction

    @property
    def sent(self):
        return self.rtp.sent + self.rtcp.sent


class Phone:
    """The media side of one phone, on loopback or in a namespace."""

    def __init__(self, name, ip="127.0.0.1", namespace=None):
        self.name = name
        self.ip = ip
        self.namespace = namespace
        self.gap_s = 0  # between two packets of a send()
        self.talked = lambda *addresses: None
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._wake, waker = socket.socketpair()
        self._selector.register(waker, selectors.EVENT_READ, None)
        self._waker = waker
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    if self._waker.recv(64) == b"":
                        return
                else:
                    key.data._arrived()

    def _socket(self, port):
        family = socket.AF_INET6 if ":" in self.ip else socket.AF_INET
        if self.namespace:
            sock = self.namespace.socket(family)
        else:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.bind((self.ip, port))
        except OSError:
            sock.close()
            raise
        return sock

    def _record(self, sock):
        sock.setblocking(False)
        port = Port(self, sock)
        with self._lock:
            self._selector.register(sock, selectors.EVENT_READ, port)
        return port

    def port(self, number=0):
        """One UDP port; 0: any."""
        return self._record(self._socket(number))

    def stream(self, media_type="audio", port=0):
        """A pair of ports; port: the even one, 0: any."""
        for _ in range(100):
            first = self._socket(port)
            number = first.getsockname()[1]
            if number % 2 == 0:
                try:
                    second = self._socket(number + 1)
                    return Stream(self, media_type, self._record(first), self._record(second))
                except OSError:
                    pass
            first.close()
        raise RuntimeError("no two free ports on " + self.ip)

    def close(self):
        self._wake.close()
        self._thread.join()
        self._waker.close()
        with self._lock:
            ports = [key.data for key in self._selector.get_map().values() if key.data]
        self._selector.close()
        for port in ports:
            port.socket.close()


def talk(one, other, count=10, ssrc=(0x11111111, 0x22222222), first=1):
    """RTP and RTCP both ways between two streams: whole, in order, from the relay alone.

    In a test of a kernel engine it is the kernel that forwards what they send afterwards.
    """
    packets = [rtp_series(count, s, first) for s in ssrc]
    reports = [rtcp_series(2, s) for s in ssrc]
    for stream, rtp_packets, rtcp_packets in zip((one, other), packets, reports):
        stream.rtp.send(*rtp_packets)
        stream.rtcp.send(*rtcp_packets)
    for stream, rtp_packets, rtcp_packets in zip((other, one), packets, reports):
        stream.rtp.expect(rtp_packets)
        stream.rtcp.expect(rtcp_packets)
    one.phone.talked(*[port.to for stream in (one, other) for port in (stream.rtp, stream.rtcp)])


def gets_through(caller, callee):
    """Whether a packet arrives within a moment."""
    callee.rtp.clear()
    caller.rtp.send(rtp(600, 0x11111111))
    end = Deadline(0.1)
    while not end.over():
        if callee.rtp.received:
            return True
        time.sleep(0.005)
    return False


def settle(one, other, ssrc=(1, 2), deadline=5.0):
    """Send RTP and RTCP both ways, as phones do, until both ways are open for both.

    For streams whose remotes have to be learned: what was sent before may be lost.
    """
    ports = [(one.rtp, other.rtp), (other.rtp, one.rtp),
             (one.rtcp, other.rtcp), (other.rtcp, one.rtcp)]
    end = Deadline(deadline)
    last = {}
    seq = 0
    while any(last.get(a) not in b.data for a, b in ports):
        assert not end.over(), "no way for %s" % [a.address for a, b in ports if not b.received]
        seq += 1
        for (sender, _), which in zip(ports, ssrc * 2):
            rtp_port = sender in (one.rtp, other.rtp)
            last[sender] = rtp(seq, which) if rtp_port else rtcp_sr(which, seq)
            sender.send(last[sender])
        waited = Deadline(0.02)  # the rhythm of a phone
        while not waited.over() and any(last[a] not in b.data for a, b in ports):
            time.sleep(0.001)
    for _, receiver in ports:
        receiver.clear()
