"""Two phones that speak all the time: RTP at a steady rate, each packet accounted for."""

import threading
import time

from .packets import rtp
from .wait import wait_for


class Speaker:
    """One party's RTP, from a thread. It may be paused, and go on from another port."""

    def __init__(self, port, ssrc, rate):
        self.port = port
        self.ssrc = ssrc
        self.sent = []
        self.times = []  # when, of each
        self._step_s = 1 / rate
        self._lock = threading.Lock()
        self._paused = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ended:
            with self._lock:
                if not self._paused:
                    self.sent.append(rtp(len(self.sent) + 1, self.ssrc))
                    self.times.append(time.monotonic())
                    self.port.send(self.sent[-1])
            time.sleep(self._step_s)  # the rhythm of a phone; never two at once

    def pause(self):
        with self._lock:
            self._paused = True
        return len(self.sent)

    def go_on(self, port=None, to=None):
        """From another port, or to another one, if one is given."""
        with self._lock:
            self.port = port or self.port
            self.port.to = to or self.port.to
            self._paused = False

    def said(self, more, deadline=5.0):
        """Wait until it has sent so many packets more."""
        count = len(self.sent) + more
        wait_for(lambda: len(self.sent) >= count, deadline, "%d packets sent" % count)

    def end(self):
        self._ended = True
        self._thread.join()


class Conversation:
    """Two streams whose phones speak until end(), which accounts for every packet.

    `ears` are the ports at which a party hears, in the order in which the other one's packets
    go there: all packets to the first, from some packet on all to the second, ... `sources`
    are the relay's ports from which they come, in their order.
    """

    def __init__(self, caller, callee, rate):
        self.ears = {"caller": [caller.rtp], "callee": [callee.rtp]}
        self.sources = {"caller": [caller.to], "callee": [callee.to]}
        self.caller = Speaker(caller.rtp, 0x11111111, rate)
        self.callee = Speaker(callee.rtp, 0x22222222, rate)

    def both(self, more):
        """Wait until so many packets more have gone each way."""
        self.caller.said(more)
        self.callee.said(more)

    def end(self):
        """Every packet arrived once, in order, and from the relay's one port."""
        self.caller.end()
        self.callee.end()
        for speaker, party in ((self.caller, "callee"), (self.callee, "caller")):
            ears = self.ears[party]
            wait_for(lambda: sum(len(e.received) for e in ears) >= len(speaker.sent), 3.0,
                     lambda: describe(speaker.sent, ears))
            heard = [p.data for ear in ears for p in ear.received]
            assert heard == speaker.sent, describe(speaker.sent, ears)
            sources = [p.source for ear in ears for p in ear.received]
            assert [a for a, b in zip(sources, [None] + sources) if a != b] == [
                tuple(source) for source in self.sources[party]]

    def close(self):
        """For a test that failed."""
        self.caller.end()
        self.callee.end()


class Choir:
    """The phones of many calls, which all speak from one thread. calls: pairs of ports."""

    def __init__(self, calls, rate):
        self.ways = [way for one, other in calls for way in ((one, other), (other, one))]
        self._rate = rate
        self.rounds = 0
        self._ended = False
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ended:
            self.rounds += 1
            for number, (port, _) in enumerate(self.ways):
                port.send(rtp(self.rounds, number, data=b""))
            time.sleep(max(0, self._began + self.rounds / self._rate - time.monotonic()))
        self._seconds = time.monotonic() - self._began

    def sung(self, rounds):
        wait_for(lambda: self.rounds >= rounds, 10.0, "%d rounds" % rounds)

    def end(self):
        self._ended = True
        self._thread.join()

    def rate_was(self):
        return self.rounds * len(self.ways) / self._seconds

    def check(self):
        """Each call's packets arrived, in their order, and from the relay's port."""
        for port, ear in self.ways:
            ear.expect(port.sent, deadline=5.0)


def clipped(sent, *ears):
    """The runs of packets that no ear heard: [(number of the first, how many), ...]."""
    heard = {p.data for ear in ears for p in ear.received}
    runs = []
    for number, packet in enumerate(sent):
        if packet in heard:
            continue
        if runs and sum(runs[-1]) == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs


def describe(sent, ears):
    """How what was heard differs from what was sent, by numbers."""
    numbers = {packet: number for number, packet in enumerate(sent)}
    heard = [[numbers.get(p.data, "?") for p in ear.received] for ear in ears]
    flat = [n for ear in heard for n in ear]
    lost = [n for n in range(len(sent)) if n not in set(flat)]
    doubled = [n for n in set(flat) if flat.count(n) > 1]
    turned = [flat[i:i + 2] for i in range(len(flat) - 1)
              if "?" not in flat[i:i + 2] and flat[i] > flat[i + 1]]
    return "of %d packets lost %s, doubled %s, out of order %s; heard by each port %s" % (
        len(sent), lost[:50], doubled[:50], turned[:20],
        [(e[0], e[-1], len(e)) if e else () for e in heard])
