"""Packets that the kernel makes and counts: bench/packet_gen, bench/packet_sink, and phones

A flow is (source ip, source port, destination ip, destination port). The generator stands
at one phone's interface, the sink at the other's.
"""
import itertools
import json
import os
import socket
import subprocess
import time

import lab

FIRST_PHONE = 10000  # its port
CPU = 0  # of the generator, and of all that runs in its softirq


def as_lines(flows):
    return ''.join(f'{a} {b} {c} {d}\n' for a, b, c, d in flows)


class Tool:
    """A program of bench/ that says "ok" when it is ready. Use with `with`."""

    def __init__(self, words, text=''):
        self.process = subprocess.Popen(words, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.name = os.path.basename(words[0])
        try:
            self.tell(text)
            self.expect_ok()
        except BaseException:
            self.__exit__()
            raise

    def tell(self, text):
        try:
            self.process.stdin.write(text)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise lab.CannotMeasure(f'{self.name} ended early') from None

    def expect_ok(self):
        if self.process.stdout.readline() != 'ok\n':
            raise lab.CannotMeasure(f'{self.name} did not start')

    def figures(self):
        line = self.process.stdout.readline()
        if not line:
            raise lab.CannotMeasure(f'{self.name} gave no figures')
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if exc and exc[0]:
            self.process.terminate()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait()
        self.process.stdout.close()


class Sink(Tool):
    """Counts what arrives at one phone's interface."""

    def __init__(self, build, network, party='callee'):
        super().__init__([os.path.join(build, 'bench', 'packet_sink'), '--netns',
                          network.names[party], '--device', 'eth0'])

    def ask_for(self, flows):
        """What each flow has to look like here, for check()."""
        self.tell(f'flows {len(flows)}\n{as_lines(flows)}')
        self.expect_ok()

    def check(self, wanted):
        self.tell(f'check {"on" if wanted else "off"}\n')
        self.expect_ok()

    def count(self):
        self.tell('count\n')
        return self.figures()


class Generator(Tool):
    """Sends flows for a while; rate 0: as many as there can be."""

    def __init__(self, build, network, flows, seconds, rate=0, party='caller'):
        super().__init__([os.path.join(build, 'bench', 'packet_gen'),
                          '--netns', network.names[party], '--device', 'eth0',
                          '--to-mac', network.mac('relay', party), '--flows', str(len(flows)),
                          '--milliseconds', str(round(seconds * 1000)), '--rate', str(rate),
                          '--cpu', str(CPU)], as_lines(flows))


def phones(network, calls):
    """Where caller and callee of each call are."""
    return [((network.phone_ip['caller'], port), (network.phone_ip['callee'], port))
            for port in range(FIRST_PHONE, FIRST_PHONE + 2 * calls, 2)]


class Sockets:
    """Both phones of calls, as sockets. They send so that a relay learns. Use with `with`."""

    def __init__(self, network, calls):
        self.calls = calls
        self.network = network
        self.sockets = []
        self.sent = 0

    def __enter__(self):
        try:
            for i, party in enumerate(('caller', 'callee')):
                with lab.inside_netns(self.network.names[party]):
                    self.sockets.append([self.open(call[i]) for call in self.calls])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        for phone in itertools.chain(*self.sockets):
            phone.close()

    @staticmethod
    def open(address):
        phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        phone.bind(address)
        return phone

    def send(self, destinations):
        """One packet of each phone; two (ip, port) for each call."""
        self.sent += 1
        header = bytes((0x80, 8)) + self.sent.to_bytes(2, 'big')
        header += (160 * self.sent).to_bytes(4, 'big')
        for party, sockets in enumerate(self.sockets):
            for i, phone in enumerate(sockets):
                ssrc = (2 * i + party + 1).to_bytes(4, 'big')
                phone.sendto(header + ssrc + bytes(160), destinations[i][party])

    def settle(self, relay, destinations):
        """Send until the relay knows both phones of every call, and does with them what it is
        to be measured with."""
        deadline = time.monotonic() + lab.WAIT_SECONDS
        for _ in range(5):
            self.send(destinations)
            time.sleep(0.02)
        while not relay.has_taken(len(self.calls)):
            if time.monotonic() > deadline:
                raise lab.CannotMeasure(f'{relay.title}: not all calls after '
                                        f'{lab.WAIT_SECONDS} s')
            self.send(destinations)
            time.sleep(0.1)


def flows_of(calls, destinations):
    """Both directions: what (caller, callee) send, and what arrives at the other phone. What the
    relay sends from is where that phone sends to."""
    caller_sends = [(*caller, *to) for (caller, _), (to, _) in zip(calls, destinations)]
    callee_gets = [(*back, *callee) for (_, callee), (_, back) in zip(calls, destinations)]
    callee_sends = [(*callee, *to) for (_, callee), (_, to) in zip(calls, destinations)]
    caller_gets = [(*back, *caller) for (caller, _), (back, _) in zip(calls, destinations)]
    return {'caller': (caller_sends, callee_gets), 'callee': (callee_sends, caller_gets)}


def window(sink, seconds, pid=None):
    """What arrives in a while, in the middle of a run, and the CPU that a process uses for it."""
    used = lab.cpu_seconds(pid) if pid else 0
    before = sink.count()
    time.sleep(seconds)
    after = sink.count()
    used = lab.cpu_seconds(pid) - used if pid else 0
    took = (after['time_ns'] - before['time_ns']) / 1e9
    figures = {'received': after['received'] - before['received'], 'seconds': took,
               'per_second': (after['received'] - before['received']) / took}
    if pid:
        figures['cpu_percent'] = 100 * used / took
    return figures
