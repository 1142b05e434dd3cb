"""SIP phones: sipp with the scenarios of tests/e2e/sipp/.

A scenario takes its SDP from files (sdp1.txt, sdp2.txt, ...) in the folder that sipp
runs in, and waits for an INFO where the test decides when it goes on: go_on() sends it.
What a phone sent and received is read from its message log.
"""

import os
import re
import socket

from .process import Process
from .wait import wait_for

SCENARIOS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "sipp")
SIP_PORT = 5060

_ENTRY = re.compile(r"^-{40,} [-0-9]+ [.0-9:]+\n"
                    r"\w+ message (sent|received) .*?:\n\n", re.M)


class SdpStream:
    """One m= line of an SDP body."""

    def __init__(self, media_type, ip, port, transport):
        self.media_type = media_type
        self.ip = ip
        self.port = port
        self.transport = transport
        self.attributes = []

    @property
    def address(self):
        return (self.ip, self.port)

    @property
    def direction(self):
        for name in self.attributes:
            if name in ("sendrecv", "sendonly", "recvonly", "inactive"):
                return name
        return "sendrecv"

    def __repr__(self):
        return "<%s %s:%d %s>" % (self.media_type, self.ip, self.port, self.direction)


def parse_sdp(body):
    """The streams of an SDP body, with the address that is in force for each."""
    session_ip = None
    streams = []
    for line in body.replace("\r\n", "\n").split("\n"):
        if line.startswith("c="):
            ip = line.split()[2]
            if streams:
                streams[-1].ip = ip
            else:
                session_ip = ip
        elif line.startswith("m="):
            media_type, port, transport = line[2:].split()[:3]
            streams.append(SdpStream(media_type, session_ip, int(port), transport))
        elif line.startswith("a=") and streams:
            streams[-1].attributes.append(line[2:])
    return streams


def make_sdp(ip, *streams, version=1, session=()):
    """An SDP body. Each stream is (type, port) or (type, port, direction)."""
    family = "IP6" if ":" in ip else "IP4"
    lines = ["v=0", "o=- 1 %d IN %s %s" % (version, family, ip), "s=-",
             "c=IN %s %s" % (family, ip), "t=0 0"]
    lines += session
    for media_type, port, *rest in streams:
        if media_type == "audio":
            lines += ["m=audio %d RTP/AVP 8" % port, "a=rtpmap:8 PCMA/8000"]
        elif media_type == "video":
            lines += ["m=video %d RTP/AVP 96" % port, "a=rtpmap:96 H264/90000"]
        elif media_type == "image":
            lines += ["m=image %d udptl t38" % port, "a=T38FaxVersion:0"]
        else:
            lines += ["m=%s %d RTP/AVP 97" % (media_type, port)]
        if rest:
            lines.append("a=" + rest[0])
    return "\r\n".join(lines) + "\r\n"


class SipMessage:
    """A message as sipp logged it."""

    def __init__(self, direction, text):
        self.direction = direction
        head, _, self.body = text.replace("\r\n", "\n").partition("\n\n")
        lines = head.split("\n")
        self.first_line = lines[0]
        self.header_lines = lines[1:]

    def header(self, name):
        for line in self.header_lines:
            if line.lower().startswith(name.lower() + ":"):
                return line.split(":", 1)[1].strip()
        return None

    @property
    def streams(self):
        return parse_sdp(self.body)

    def is_(self, what, cseq=None):
        """what: a method ("INVITE"), or a status and the method it is about ("200 INVITE")."""
        number, method = self.header("CSeq").split()
        if cseq is not None and int(number) != cseq:
            return False
        if self.first_line.startswith("SIP/2.0 "):
            return self.first_line.split()[1] + " " + method == what
        return self.first_line.split()[0] == what

    def __repr__(self):
        return "<%s %s>" % (self.direction, self.first_line)


class Sipp(Process):
    """One phone in a namespace, which makes or takes one call."""

    def __init__(self, folder, namespace, scenario, sdp=(), remote=None, call_id=None,
                 user_agent="sipp caller", name=None, timeout_s=60, extra=(),
                 files=None):
        """
        sdp: the bodies of its offers and answers, in their order.
        remote: whom a caller calls; None for a callee.
        call_id: of a caller's call.
        user_agent: as it stands in the INVITE, folded lines too.
        files: {name: path} of files that the scenario finds by that name.
        """
        name = name or scenario
        self.folder = os.path.join(str(folder), "sipp-" + name)
        os.makedirs(self.folder)
        self.call_id = call_id
        for number, body in enumerate(sdp, 1):
            self._write("sdp%d.txt" % number, body)
        self._write("user_agent.txt", user_agent)
        for link, path in (files or {}).items():
            os.symlink(path, os.path.join(self.folder, link))
        argv = ["sipp", "-sf", os.path.join(SCENARIOS, scenario + ".xml"), "-m", "1",
                "-i", namespace.ip, "-p", SIP_PORT, "-mp", 6000, "-nostdin", "-nd",
                "-timeout", "%ds" % timeout_s, "-timeout_error",
                "-trace_msg", "-message_file", "messages.log",
                "-trace_err", "-error_file", "errors.log"]
        if call_id:
            argv += ["-cid_str", call_id]
        argv += list(extra)
        if remote:
            argv.append("%s:%d" % (remote, SIP_PORT))
        super().__init__("sipp " + name, argv, os.path.join(self.folder, "output.log"),
                         namespace, cwd=self.folder, env={"TERM": "dumb"})

    def _write(self, name, text):
        with open(os.path.join(self.folder, name), "w", newline="") as file:
            file.write(text)

    def start(self):
        super().start()
        wait_for(self._listens, what=lambda: "%s on its port\n%s" % (self.name, self.errors()))
        return self

    def _listens(self):
        if not self.running():
            self.fail("ended at once\n" + self.errors())
        with open("/proc/%d/net/udp" % self.pid) as table:
            return any(line.split()[1].endswith(":%04X" % SIP_PORT) for line in
                       table.readlines()[1:])

    def errors(self):
        try:
            with open(os.path.join(self.folder, "errors.log"), errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def messages(self, direction=None):
        """All messages so far, in their order."""
        try:
            with open(os.path.join(self.folder, "messages.log"), errors="replace",
                      newline="") as file:
                text = file.read()
        except FileNotFoundError:
            return []
        parts = _ENTRY.split(text)
        found = [SipMessage(which, body) for which, body in zip(parts[1::2], parts[2::2])]
        return [m for m in found if direction in (None, m.direction)]

    def wait_message(self, what, direction="received", cseq=None, count=1, deadline=8.0):
        """Wait for the count-th message of a kind, and return it. See SipMessage.is_()."""
        def fact():
            found = [m for m in self.messages(direction) if m.is_(what, cseq)]
            return found[count - 1] if len(found) >= count else None

        return wait_for(fact, deadline, lambda: "%s: %s %s; had %s\n%s" % (
            self.name, direction, what, self.messages(), self.errors()))

    def go_on(self):
        """Let the scenario go past the <recv request="INFO"/> where it waits.

        The INFO has the headers of the message that came last, so that sipp's [last_Via:]
        and so on still mean that one.
        """
        last = self.messages("received")[-1]
        lines = ["INFO sip:%s SIP/2.0" % self.namespace.ip] + [
            line for line in last.header_lines if not line.lower().startswith("content-")]
        text = "\r\n".join(lines + ["Content-Length: 0", "", ""])
        with self.namespace.socket(socket.AF_INET) as sock:
            sock.sendto(text.encode(), (self.namespace.ip, SIP_PORT))

    def finish(self, deadline=15.0):
        """Wait for the end of the scenario; it must have been a success."""
        code = self.wait_exit(deadline)
        self._popen = None
        assert code == 0, "%s: exit code %d\n%s\n%s" % (
            self.name, code, self.errors(), self.messages())
