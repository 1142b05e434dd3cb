"""What a relay adds to the delay, and what it costs when the kernel does the work

Delay: bench/media_load plays both phones of 500 calls, first without a relay (plain IP
forwarding over the same two links), then through it. CPU: 2,000 calls whose packets
bench/packet_gen makes, 50 a second from each phone.
"""
import contextlib
import json
import os
import subprocess

import frames
import lab
import peers

WARM_UP = 50  # packets of each phone, one second
PACKETS_PER_SECOND = 50
DELAY_CANDIDATES = (peers.Xdp, peers.Tc, peers.Conntrack, peers.Userspace, peers.Rtpengine)
CPU_CANDIDATES = (peers.Xdp, peers.Tc)


class Phones:
    """bench/media_load: both phones of N calls."""

    def __init__(self, build, network, calls, seconds, rate, pid, warm_up=0):
        words = [os.path.join(build, 'bench', 'media_load'), '--calls', str(calls),
                 '--seconds', str(seconds), '--rate', str(rate), '--warm-up', str(warm_up)]
        if pid:
            words += ['--pid', str(pid)]
        self.process = subprocess.Popen(words + network.load_options(), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.calls = []
        for _ in range(calls):
            ports = self.process.stdout.readline().split()
            if not ports:
                raise lab.CannotMeasure('media_load did not start')
            self.calls.append(tuple((network.phone_ip[party], int(port))
                                    for party, port in zip(('caller', 'callee'), ports)))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.wait()

    def run(self, destinations):
        """Send for a while; two (ip, port) for each call. @return the figures"""
        for pair in destinations:
            self.process.stdin.write(' '.join(f'{ip} {port}' for ip, port in pair) + '\n')
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise lab.CannotMeasure('media_load ended early')
        return json.loads(line)

    def run_direct(self):
        return self.run([(callee, caller) for caller, callee in self.calls])

    def set_up(self, relay):
        destinations = [relay.call(i, *phones) for i, phones in enumerate(self.calls)]
        relay.apply()
        return destinations

    def hang_up(self, relay):
        for i in range(len(self.calls)):
            relay.hang_up(i)


def media_of(build, network, relay_type, options, seconds, warm_up=0):
    with relay_type(build, network) as relay, \
            Phones(build, network, options.calls, seconds, PACKETS_PER_SECOND,
                   relay.media_pid, warm_up) as phones:
        relay.has_taken(0)  # says at once if this is not the engine that was asked for
        direct = phones.run_direct()
        destinations = phones.set_up(relay)
        relayed = phones.run(destinations)
        taken = relay.has_taken(options.calls)
        phones.hang_up(relay)
    return {'network': network.kind, 'calls': options.calls,
            'packets_per_second': PACKETS_PER_SECOND, 'payload_bytes': 172, 'seconds': seconds,
            'direct': direct, 'relayed': relayed, 'all_taken': taken,
            'added_delay_p50_us': round(relayed['delay_p50_us'] - direct['delay_p50_us'], 1),
            'added_delay_p99_us': round(relayed['delay_p99_us'] - direct['delay_p99_us'], 1)}


def each(candidates, missing, part, say, measure_one):
    results = {}
    for kind in candidates:
        say(f'{part}, {kind.title}')
        try:
            results[kind.title] = measure_one(kind)
        except lab.NotThere as reason:
            missing[kind.title] = str(reason)
    return results


def measure(build, options, say):
    """The delay that each candidate adds."""
    missing = {}

    def one(kind):
        with lab.Network('delay', frames=True) as network:
            return media_of(build, network, kind, options, options.seconds, WARM_UP)
    results = each(peers.wanted(DELAY_CANDIDATES, options), missing, 'delay', say, one)
    return {'calls': options.calls, 'seconds': options.seconds, 'candidates': results,
            'missing': missing}


def rows(figures):
    yield ('delay, us', 'without, p50', 'without, p99', 'with, p50', 'with, p99', 'added, p50',
           'added, p99', 'lost', 'CPU of the process, %')
    for title, c in figures['candidates'].items():
        direct, relayed = c['direct'], c['relayed']
        cpu = relayed['cpu_percent']
        yield (title, *(f'{run[key]:.1f}' for run in (direct, relayed)
                        for key in ('delay_p50_us', 'delay_p99_us')),
               f'{c["added_delay_p50_us"]:.1f}', f'{c["added_delay_p99_us"]:.1f}',
               f'{relayed["lost"]} of {relayed["sent"]}', f'{cpu:.1f}' if cpu else '-')


def cpu_of(build, kind, options):
    """CPU of a relay whose calls are all in the kernel; both phones send."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(lab.Network('cpu', frames=True))
        relay = stack.enter_context(kind(build, network))
        sinks = [stack.enter_context(frames.Sink(build, network, party))
                 for party in ('callee', 'caller')]
        phones = frames.phones(network, options.sessions)
        destinations = [relay.call(i, *call) for i, call in enumerate(phones)]
        with frames.Sockets(network, phones) as sockets:
            sockets.settle(relay, destinations)
        idle = frames.window(sinks[0], options.cpu_seconds, relay.media_pid)['cpu_percent']
        flows = frames.flows_of(phones, destinations)
        generators = [stack.enter_context(frames.Generator(
            build, network, flows[party][0], options.cpu_seconds + 1,
            rate=PACKETS_PER_SECOND * options.sessions, party=party))
            for party in ('caller', 'callee')]
        figures = frames.window(sinks[0], options.cpu_seconds, relay.media_pid)
        sent = sum(generator.figures()['sent'] for generator in generators)
        received = sum(sink.count()['received'] for sink in sinks)
    return {'cpu_percent': figures['cpu_percent'], 'idle_cpu_percent': idle, 'sent': sent,
            'lost': sent - received}


def measure_cpu(build, options, say):
    """What the relay's process uses while the kernel forwards."""
    missing = {}
    results = each(CPU_CANDIDATES, missing, 'kernel_cpu', say,
                   lambda kind: cpu_of(build, kind, options))
    return {'calls': options.sessions, 'packets_per_second': PACKETS_PER_SECOND,
            'candidates': results, 'missing': missing}


def cpu_rows(figures):
    yield (f'{figures["calls"]} calls in the kernel', 'target', 'CPU of the process, %',
           'without media, %', 'sent', 'lost')
    for title, c in figures['candidates'].items():
        yield (title, '< 2', f'{c["cpu_percent"]:.2f}', f'{c["idle_cpu_percent"]:.2f}',
               f'{c["sent"]}', f'{c["lost"]}')
