"""Packets as phones send them. All are bytes; what a test sends is what must arrive."""

import hashlib
import os
import struct


def payload(seed, size=160):
    """Bytes that look like audio and differ from packet to packet, the same in every run."""
    block = hashlib.sha256(str(seed).encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def rtp(seq, ssrc=0x1234, payload_type=8, data=None, timestamp=None, marker=False):
    """RFC 3550, section 5.1."""
    if timestamp is None:
        timestamp = seq * 160
    if data is None:
        data = payload((ssrc, seq))
    return struct.pack("!BBHII", 0x80, (marker << 7) | payload_type, seq & 0xffff,
                       timestamp & 0xffffffff, ssrc) + data


def rtp_series(count, ssrc=0x1234, first=1, payload_type=8, size=160):
    """count RTP packets that follow on each other."""
    return [rtp(seq, ssrc, payload_type, payload((ssrc, seq), size))
            for seq in range(first, first + count)]


def rtcp_sr(ssrc=0x1234, packets=0, octets=0):
    """A sender report without report blocks (RFC 3550, section 6.4.1)."""
    return struct.pack("!BBHIQIII", 0x80, 200, 6, ssrc, 0x83aa7e80 << 32, 0, packets, octets)


def rtcp_series(count, ssrc=0x1234):
    return [rtcp_sr(ssrc, number, number * 160) for number in range(count)]


def udptl(seq, data=b"\x01\x02\x03"):
    """T.38 over UDP (ITU-T T.38, annex A): sequence number, one primary packet."""
    return struct.pack("!HB", seq, len(data)) + data + b"\x00\x00"


def stun_request(transaction=None):
    """A binding request without attributes (RFC 8489)."""
    return struct.pack("!HHI", 0x0001, 0, 0x2112a442) + (transaction or os.urandom(12))


def dtls_hello(size=120):
    """Something that RFC 7983 takes for DTLS: a handshake record."""
    return b"\x16\xfe\xfd" + bytes(8) + struct.pack("!H", size) + payload("dtls", size)


def ip_bytes(packets, ip="127.0.0.1"):
    """What packets weigh in the statistics: with their UDP and IP headers."""
    header = (40 if ":" in ip else 20) + 8
    return sum(len(p) + header for p in packets)
