"""Real ICE agents (libnice), as phones of a call."""

import os
import re
import subprocess

from .process import Process
from .programs import program
from .wait import wait_for

# What the SIP modules write for `low-priority` and `high-priority`: see RFC 8445, section 5.1.2.1,
# with the type preference of a relay candidate, and one above that of hosts.
LOW, HIGH = 0, 130


def relay_candidate(address, component=1, preference=LOW):
    """A candidate as a SIP module inserts it. address: of RTP."""
    ip, port = address
    priority = (preference << 24) + 16777215 - component + 1
    return "candidate:R%s %d UDP %d %s %d typ relay" % (
        format(int.from_bytes(bytes(map(int, ip.split("."))), "little"), "x"), component, priority,
        ip, port + component - 1)


class IceAgent(Process):
    """One agent: started, it gathers. Then connect(), send() and got()."""

    def __init__(self, folder, name, host, *options, ips=None, components=1):
        """options: controlling, regular, lite, consent. ips: its addresses; by default the host's.
        """
        argv = [program("ice_agent"), ",".join(ips or [host.ip]), *options,
                "components=%d" % components]
        super().__init__(name, argv, os.path.join(str(folder), name + ".log"), host, env={
            # Not ours to judge.
            "ASAN_OPTIONS": "detect_leaks=0"})
        self.host = host
        self.components = components
        self._read_from = 0

    def start(self):
        argv = ["setpriv", "--pdeathsig", "KILL"] + self.namespace.command(self.argv)
        with open(self.log_path, "ab") as log:
            self._popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log,
                                           env=self.env)
        self.wait_log("(?m)^gathered$")
        return self

    def stop(self, deadline=10.0):
        if self._popen is None:
            return
        self._popen.stdin.close()
        code = self.wait_exit(deadline)
        self._popen = None
        assert code == 0, "%s: exit code %d" % (self.name, code)

    def tell(self, *lines):
        self._popen.stdin.write("".join(line + "\n" for line in lines).encode())
        self._popen.stdin.flush()

    @property
    def credentials(self):
        """(ufrag, pwd) of the present generation."""
        return re.findall(r"(?m)^ufrag (\S+) (\S+)$", self.log())[-1]

    @property
    def candidates(self):
        """(component, line of SDP without a=)"""
        return [(int(c), line) for c, line in
                re.findall(r"(?m)^candidate (\d) (candidate:.*typ host.*)$", self.log())]

    @property
    def address(self):
        """Its first host candidate: what it writes into c= and m=."""
        words = self.candidates[0][1].split()
        return words[4], int(words[5])

    def media(self, direction="sendrecv"):
        """Its piece of a `media` header."""
        return "audio:%s:%d:%s:ice=yes" % (self.address + (direction,))

    def sdp(self):
        """Its SDP, for sipp."""
        ip, port = self.address
        return "\r\n".join(
            ["v=0", "o=- 1 1 IN IP4 " + ip, "s=-", "c=IN IP4 " + ip, "t=0 0",
             "m=audio %d RTP/AVP 8" % port, "a=rtpmap:8 PCMA/8000",
             "a=ice-ufrag:%s" % self.credentials[0], "a=ice-pwd:%s" % self.credentials[1]]
            + ["a=" + line for _, line in self.candidates]) + "\r\n"

    def take(self, credentials, candidates):
        """The SDP of the other agent: (ufrag, pwd), and [(component, candidate)]."""
        self.tell("remote %s %s" % credentials, *("candidate %d %s" % c for c in candidates),
                  "go")

    def take_sdp(self, body):
        """The same, from the body of a SIP message as it came. Returns the candidates."""
        lines = [line.strip()[2:] for line in body.splitlines() if line.startswith("a=")]
        value = {name: text for name, _, text in (line.partition(":") for line in lines)}
        candidates = [line for line in lines if line.startswith("candidate:")]
        self.take((value["ice-ufrag"], value["ice-pwd"]),
                  [(int(line.split()[1]), line) for line in candidates
                   if int(line.split()[1]) <= self.components])
        return candidates

    def wait_ready(self, component=1, deadline=10.0):
        self.wait_log(r"(?m)^state %d ready$" % component, deadline)
        return self

    @property
    def selected(self):
        """The address of the other end of the pair that it selected last; None: not yet."""
        found = re.findall(r"(?m)^selected 1 \S+ \d+ (\S+) (\d+)$", self.log())
        return (found[-1][0], int(found[-1][1])) if found else None

    def wait_selected(self, address, deadline=10.0):
        wait_for(lambda: self.selected == tuple(address), deadline,
                 lambda: "%s selects %s, not %s\n%s" % (
                     self.name, address, self.selected, self.log()[-2000:]))
        return self

    def restart(self):
        before = self.credentials
        self.tell("restart")
        wait_for(lambda: self.credentials != before, what="new credentials")

    def send(self, *packets, component=1):
        self.tell(*("send %d %s" % (component, p.hex()) for p in packets))

    def got(self, component=1):
        """All packets so far."""
        return [bytes.fromhex(text) for text in
                re.findall(r"(?m)^got %d ([0-9a-f]*)$" % component, self.log())]

    def wait_got(self, packets, component=1, deadline=5.0):
        """All of these came, in their order, and each once."""
        wanted = list(packets)

        def those():
            return [p for p in self.got(component) if p in set(wanted)]

        wait_for(lambda: len(those()) >= len(wanted), deadline,
                 lambda: "%s has %d of %d packets" % (self.name, len(those()), len(wanted)))
        assert those() == wanted


class IceCall:
    """Two agents, a call, and our candidates in the SDP of both."""

    def __init__(self, system, caller, callee, preference=LOW, with_hosts=True, **options):
        """with_hosts=False: the agents learn of our candidates alone."""
        self.system, self.caller, self.callee = system, caller, callee
        self.preference, self.with_hosts = preference, with_hosts
        self.call = system.call(**options)

    @property
    def call_id(self):
        return self.call.call_id

    def candidates(self, agent, port):
        """What the other one gets: the agent's own and ours, the relay's `port` for it."""
        ours = [(c, relay_candidate(port, c, self.preference))
                for c in range(1, agent.components + 1)]
        return (agent.candidates if self.with_hosts else []) + ours

    def exchange(self, by="caller"):
        """Offer and answer: the agents begin to check."""
        first, second = ((self.caller, self.callee) if by == "caller"
                         else (self.callee, self.caller))
        answerer = "callee" if by == "caller" else "caller"
        to_first = self.call.offer(first.media(), by=by).address()
        to_second = self.call.answer(second.media(), by=answerer).address()
        # What the offerer's SDP says leads to the offerer.
        self.leads_to = {first: to_first, second: to_second}
        second.take(first.credentials, self.candidates(first, to_first))
        first.take(second.credentials, self.candidates(second, to_second))
        return self

    def restart(self, by="caller"):
        self.caller.restart()
        self.callee.restart()
        return self.exchange(by)

    def wait_relayed(self):
        """Both have selected our candidate."""
        for agent, other in ((self.caller, self.callee), (self.callee, self.caller)):
            agent.wait_selected(self.leads_to[other])
            agent.wait_ready()
        return self

    def talk(self, packets, component=1):
        """packets: (of the caller, of the callee). All arrive at the other one."""
        for mine, theirs in zip(*packets):
            self.caller.send(mine, component=component)
            self.callee.send(theirs, component=component)
        self.callee.wait_got(packets[0], component)
        self.caller.wait_got(packets[1], component)
