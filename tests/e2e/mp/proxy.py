"""The SIP proxy's side of the dispatcher's UNIX socket (docs/protocols.md, section 1)."""

import itertools
import os
import socket

from .wait import Deadline


class Closed(Exception):
    """The dispatcher closed the connection."""


class Reply:
    """One reply line."""

    def __init__(self, text):
        self.text = text
        words = text.split()
        self.ok = len(words) > 1 and all(w.isdigit() for w in words[1:])
        self.ip = words[0] if self.ok else None
        self.ports = [int(w) for w in words[1:]] if self.ok else []

    def address(self, index=0):
        assert self.ok, "no ports in reply %r" % self.text
        return (self.ip, self.ports[index])

    def __eq__(self, other):
        return self.text == (other.text if isinstance(other, Reply) else other)

    def __repr__(self):
        return "<Reply %r>" % self.text


def encode(name, headers):
    """A request as the modules write it. headers: (name, value) pairs."""
    lines = [name] + ["%s: %s" % pair for pair in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def update_headers(kind, call_id, from_tag, to_tag="", media=None, cseq=1, dialog_id="",
                   from_uri="alice@example.com", to_uri="bob@example.com",
                   user_agent="Phone 1.0", signaling_ip="127.0.0.1", media_relay=""):
    """The headers of an update in the modules' order. media: text, or None for no header."""
    headers = [
        ("type", kind), ("dialog_id", dialog_id), ("call_id", call_id), ("cseq", cseq),
        ("from_uri", from_uri), ("to_uri", to_uri), ("from_tag", from_tag),
        ("to_tag", to_tag), ("user_agent", user_agent), ("signaling_ip", signaling_ip),
        ("media_relay", media_relay)]
    if media is not None:
        headers.append(("media", media))
    return headers


class ProxyClient:
    """One connection, as a worker process of the SIP proxy has one."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self._buffer = b""

    def send(self, raw):
        """Any bytes."""
        self.socket.sendall(raw)

    def line(self, deadline=2.0):
        """The next reply line, without its CRLF. Closed if the dispatcher hung up."""
        end = deadline if isinstance(deadline, Deadline) else Deadline(deadline)
        while b"\r\n" not in self._buffer:
            self.socket.settimeout(max(end.left(), 0.001))
            try:
                got = self.socket.recv(65536)
            except socket.timeout:
                raise AssertionError("no reply within %.1f s; so far %r"
                                     % (end.seconds, self._buffer)) from None
            except ConnectionResetError:
                got = b""
            if not got:
                raise Closed(repr(self._buffer))
            self._buffer += got
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line.decode("utf-8", "surrogateescape")

    def request(self, name, headers=(), deadline=2.0):
        self.send(encode(name, headers))
        return Reply(self.line(deadline))

    def update(self, kind, *args, deadline=2.0, **headers):
        """kind: "request" or "reply". The rest: see update_headers()."""
        return self.request("update", update_headers(kind, *args, **headers), deadline)

    def remove(self, call_id, from_tag, to_tag="", deadline=2.0):
        return self.request("remove", [("call_id", call_id), ("from_tag", from_tag),
                                       ("to_tag", to_tag)], deadline)

    def close(self):
        self.socket.close()


_numbers = itertools.count(1)


def media_header(streams):
    """streams: a text, or Streams of a phone, or pieces of text."""
    if isinstance(streams, str) or streams is None:
        return streams
    return ",".join(s if isinstance(s, str) else s.media() for s in streams)


class Call:
    """A call as a SIP proxy tells it, over one connection or over several in turn."""

    def __init__(self, *clients, call_id=None, caller_tag="caller", callee_tag="callee", **common):
        """common: headers that go with every update, see update_headers()."""
        self.call_id = call_id or "call-%d-%d@example.com" % (os.getpid(), next(_numbers))
        self.tags = {"caller": caller_tag, "callee": callee_tag}
        self.common = common
        self.cseq = {"caller": 0, "callee": 0}
        self.answered = False
        self._clients = itertools.cycle(clients)

    def offer(self, *streams, by="caller", cseq=None, **headers):
        """An INVITE of one party. Streams: of a phone, or pieces of a media header."""
        if cseq is None:
            cseq = self.cseq[by] + 1
        self.cseq[by] = max(self.cseq[by], cseq)
        other = "callee" if by == "caller" else "caller"
        headers.setdefault("to_tag", self.tags[other] if self.answered else "")
        return self._update("request", by, streams, cseq, headers)

    def answer(self, *streams, by="callee", cseq=None, provisional=False, **headers):
        """The 200 to the other party's latest offer; provisional: a 183 without a to-tag."""
        offerer = "callee" if by == "caller" else "caller"
        if not provisional:
            self.answered = True
        headers.setdefault("to_tag", "" if provisional else self.tags[by])
        return self._update("reply", offerer, streams, cseq or self.cseq[offerer], headers)

    def _update(self, kind, offerer, streams, cseq, headers):
        headers = dict(self.common, **headers)
        headers.setdefault("from_tag", self.tags[offerer])
        headers.setdefault("media", media_header(streams) if streams else None)
        return next(self._clients).update(kind, self.call_id, cseq=cseq, **headers)

    def remove(self, **headers):
        """The BYE."""
        return next(self._clients).remove(
            self.call_id, headers.get("from_tag", self.tags["caller"]),
            headers.get("to_tag", self.tags["callee"] if self.answered else ""))

    def establish(self, caller_streams, callee_streams):
        """Offer and answer, and tell the streams where to send."""
        offered = self.offer(*caller_streams)
        answered = self.answer(*callee_streams)
        for index, stream in enumerate(callee_streams):
            stream.to = offered.address(index)
        for index, stream in enumerate(caller_streams):
            stream.to = answered.address(index)
        return self
