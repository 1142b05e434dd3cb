"""A host that has no part in any call, and what it does to get one."""

import os
import struct
import threading
import time

from .packets import dtls_hello, rtcp_sr, rtp, stun_request, udptl

SSRC = 0x666
MAGIC = 0x2112a442


def stun_response(transaction, address=("10.88.0.66", 4000)):
    """A success response as one forges it: the address, and an integrity that nobody has keyed."""
    port = address[1] ^ (MAGIC >> 16)
    ip = struct.unpack("!I", bytes(int(n) for n in address[0].split(".")))[0] ^ MAGIC
    attributes = struct.pack("!HHBBHI", 0x0020, 8, 0, 1, port, ip)
    attributes += struct.pack("!HH", 0x0008, 20) + os.urandom(20)
    return struct.pack("!HHI", 0x0101, len(attributes), MAGIC) + transaction + attributes


def authenticated_request(transaction, username=b"callee:caller"):
    """A binding request with USERNAME and a MESSAGE-INTEGRITY that nobody has keyed."""
    padded = username + bytes(-len(username) % 4)
    attributes = struct.pack("!HH", 0x0006, len(username)) + padded
    attributes += struct.pack("!HH", 0x0008, 20) + os.urandom(20)
    return struct.pack("!HHI", 0x0001, len(attributes), MAGIC) + transaction + attributes


def everything(seq):
    """One of each kind: perfect RTP, RTCP, STUN, what it forges, and random bytes."""
    transaction = struct.pack("!III", seq, 1, 2)
    return [rtp(seq, SSRC), rtcp_sr(SSRC, seq), stun_request(transaction),
            authenticated_request(transaction), stun_response(transaction),
            udptl(seq), dtls_hello(), b"", os.urandom(33)]


class Attacker:
    """Sockets of a host; nothing may ever come back to them."""

    def __init__(self, phone, count=1):
        self.phone = phone
        self.phone.gap_s = 0  # no phone: it need not keep any order
        self.ports = [phone.port() for _ in range(count)]

    def send(self, packets, *targets):
        for target in targets:
            for port in self.ports:
                for packet in packets:
                    port.send(packet, to=target)

    def received(self):
        return [packet for port in self.ports for packet in port.data]

    def nothing_came(self):
        got = self.received()
        assert got == [], "the attacker got %d packets: %r" % (len(got), got[:3])


class Spray:
    """Sends everything to all targets, again and again, from a thread; as a context."""

    def __init__(self, attacker, targets, gap_s=0.01):
        self.attacker = attacker
        self.targets = targets
        self.rounds = 0
        self._gap_s = gap_s
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._ended:
            self.rounds += 1
            self.attacker.send(everything(self.rounds), *self.targets)
            time.sleep(self._gap_s)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended = True
        self._thread.join()
