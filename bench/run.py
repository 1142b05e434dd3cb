#!/usr/bin/python3
"""bench/run.py [--build DIR] [--only PART,...] [--seconds S]: what `make bench` runs

Measures signalling, media in user space, and memory, with the daemons built in DIR, and
the same for rtpengine where it is installed. Prints a table, and leaves it in DIR/results
as bench.md, with all figures in bench.json. It asserts nothing: it fails only when it
cannot measure. docs/performance.md says what the figures mean.
"""
import argparse
import json
import os
import platform
import signal
import subprocess
import sys

import lab
import rtpengine

PARTS = ('memory', 'media', 'signalling')


class Phones:
    """bench/media_load: both phones of N calls."""

    def __init__(self, build, network, calls, seconds, rate, pid):
        words = [os.path.join(build, 'bench', 'media_load'), '--calls', str(calls),
                 '--seconds', str(seconds), '--rate', str(rate), '--pid', str(pid)]
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
        return [relay.call(i, *phones) for i, phones in enumerate(self.calls)]

    def hang_up(self, relay):
        for i in range(len(self.calls)):
            relay.hang_up(i)


def measure_media(build, network, relay_type, options):
    with relay_type(build, network) as relay, \
            Phones(build, network, options.calls, options.seconds, 50, relay.media_pid) as phones:
        direct = phones.run_direct()
        destinations = phones.set_up(relay)
        relayed = phones.run(destinations)
        phones.hang_up(relay)
    return {'network': network.kind, 'calls': options.calls, 'packets_per_second': 50,
            'payload_bytes': 172, 'seconds': options.seconds, 'direct': direct,
            'relayed': relayed,
            'added_delay_p50_us': round(relayed['delay_p50_us'] - direct['delay_p50_us'], 1),
            'added_delay_p99_us': round(relayed['delay_p99_us'] - direct['delay_p99_us'], 1)}


def measure_memory(build, network, relay_type, options):
    """With a packet a second each way, so that every session has been used."""
    sessions = options.sessions
    with relay_type(build, network) as relay, \
            Phones(build, network, sessions, 3, 1, relay.media_pid) as phones:
        idle = lab.memory_kb(relay.media_pid)
        destinations = phones.set_up(relay)
        phones.run(destinations)
        loaded = lab.memory_kb(relay.media_pid)
        phones.hang_up(relay)
    return {'sessions': sessions, 'idle_kb': idle, 'loaded_kb': loaded,
            'per_session_bytes': round((loaded['pss'] - idle['pss']) * 1024 / sessions)}


def measure_signalling(build, network, relay_type, options):
    with relay_type(build, network) as relay:
        return relay.signalling(connections=8, seconds=2 * options.seconds)


MEASURE = {'memory': measure_memory, 'media': measure_media, 'signalling': measure_signalling}


# What is shown: title, format, target, and where it is in the figures of a candidate.
ROWS = (
    ('signalling: calls a second', '{:.0f}', '>= 5000', ('signalling', 'calls_per_second')),
    ('signalling: failed calls', '{}', '0', ('signalling', 'failed_calls')),
    ('signalling: update request, p50 us', '{}', '', ('signalling', 'update_request', 'p50_us')),
    ('signalling: update request, p99 us', '{}', '< 5000',
     ('signalling', 'update_request', 'p99_us')),
    ('signalling: update reply, p50 us', '{}', '', ('signalling', 'update_reply', 'p50_us')),
    ('signalling: update reply, p99 us', '{}', '< 5000',
     ('signalling', 'update_reply', 'p99_us')),
    ('signalling: remove, p50 us', '{}', '', ('signalling', 'remove', 'p50_us')),
    ('signalling: remove, p99 us', '{}', '< 5000', ('signalling', 'remove', 'p99_us')),
    ('signalling: CPU of all daemons, us a call', '{:.1f}', '< 200',
     ('signalling', 'cpu_us_per_call')),
    ('signalling: port_range', '{}', '', ('signalling', 'port_range')),
    ('signalling: port_rest, s', '{}', '', ('signalling', 'port_rest_s')),
    ('media: packets sent', '{}', '', ('media', 'relayed', 'sent')),
    ('media: lost', '{}', '0', ('media', 'relayed', 'lost')),
    ('media: lost without relay', '{}', '', ('media', 'direct', 'lost')),
    ('media: duplicates', '{}', '0', ('media', 'relayed', 'duplicates')),
    ('media: delay without relay, p50 us', '{}', '', ('media', 'direct', 'delay_p50_us')),
    ('media: delay without relay, p99 us', '{}', '', ('media', 'direct', 'delay_p99_us')),
    ('media: delay through relay, p50 us', '{}', '', ('media', 'relayed', 'delay_p50_us')),
    ('media: delay through relay, p99 us', '{}', '', ('media', 'relayed', 'delay_p99_us')),
    ('media: added delay, p50 us', '{}', '< 300', ('media', 'added_delay_p50_us')),
    ('media: added delay, p99 us', '{}', '', ('media', 'added_delay_p99_us')),
    ('media: CPU of the relay, % of a core', '{}', '< 40', ('media', 'relayed', 'cpu_percent')),
    ('media: CPU of the load, % of a core', '{}', '', ('media', 'relayed', 'load_cpu_percent')),
    ('memory: idle relay, RSS kB', '{}', '< 20480', ('memory', 'idle_kb', 'rss')),
    ('memory: idle relay, PSS kB', '{}', '', ('memory', 'idle_kb', 'pss')),
    ('memory: sessions', '{}', '', ('memory', 'sessions')),
    ('memory: a session, bytes', '{}', '< 8192', ('memory', 'per_session_bytes')),
)


def value_of(figures, path, form):
    for key in path:
        if not isinstance(figures, dict) or key not in figures:
            return '-'
        figures = figures[key]
    return form.format(figures)


def table_of(results, candidates):
    rows = [('', 'target', *(candidate.title for candidate in candidates))]
    for title, form, target, path in ROWS:
        row = tuple(value_of(results[c.title], path, form) for c in candidates)
        if any(cell != '-' for cell in row):
            rows.append((title, target, *row))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |'
             for row in rows]
    lines.insert(1, '| ' + ' | '.join('-' * width for width in widths) + ' |')
    return '\n'.join(lines)


def machine():
    with open('/proc/cpuinfo', encoding='utf-8', errors='replace') as text:
        model = next((line.split(':')[1].strip() for line in text
                      if line.startswith('model name')), 'unknown')
    return {'cpu': model, 'cores': len(os.sched_getaffinity(0)), 'kernel': platform.release(),
            'load_before': os.getloadavg()[0]}


def describe(about, network):
    where = ('namespaces: caller - veth - relay - veth - callee' if network.kind == 'veth'
             else 'loopback (root gets namespaces)')
    return (f'{about["cores"]} cores, {about["cpu"]}, Linux {about["kernel"]}; {where}; load of '
            f'the machine before: {about["load_before"]:.1f}. Load and daemons share the cores.')


def write(folder, name, text):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), 'w', encoding='utf-8') as out:
        out.write(text + '\n')


def measure_all(options, network, candidates):
    results = {candidate.title: {} for candidate in candidates}
    for part in options.only:
        for candidate in candidates:
            print(f'bench: {part}, {candidate.title}', file=sys.stderr, flush=True)
            results[candidate.title][part] = MEASURE[part](options.build, network, candidate,
                                                           options)
    return results


def parse():
    parser = argparse.ArgumentParser(description='Measure signalling, media and memory.')
    parser.add_argument('--build', default='build-bench', help='where the programs are')
    parser.add_argument('--only', type=lambda text: text.split(','), default=list(PARTS),
                        help=f'some of {",".join(PARTS)}')
    parser.add_argument('--seconds', type=int, default=10,
                        help='how long media flows, twice; signalling takes double')
    parser.add_argument('--calls', type=int, default=500, help='of the media part')
    parser.add_argument('--sessions', type=int, default=2000, help='of the memory part')
    parser.add_argument('--alone', action='store_true', help='without rtpengine')
    options = parser.parse_args()
    if not set(options.only) <= set(PARTS):
        parser.error(f'--only: {",".join(PARTS)}')
    return options


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    candidates = [lab.MediaProxy]
    if not options.alone and rtpengine.Rtpengine.is_installed():
        candidates.append(rtpengine.Rtpengine)
    about = machine()
    network = lab.Network()
    try:
        network.start()
        results = measure_all(options, network, candidates)
    except (lab.CannotMeasure, OSError, subprocess.TimeoutExpired) as failure:
        print(f'bench: cannot measure: {failure}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        network.stop()
    text = f'{describe(about, network)}\n\n{table_of(results, candidates)}'
    folder = os.path.join(options.build, 'results')
    write(folder, 'bench.md', text)
    write(folder, 'bench.json', json.dumps({'machine': about, 'results': results}, indent=2))
    print(text)
    print(f'\nin {folder}: bench.md, bench.json')
    return 0


if __name__ == '__main__':
    sys.exit(main())
