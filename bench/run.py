#!/usr/bin/python3
"""bench/run.py [--build DIR] [--only PART,...] [--seconds S]: what `make bench` runs

Measures signalling, media in user space, and memory, with the daemons built in DIR, and
the same for rtpengine where it is installed; as root also the packet rate of everything
that can move packets, the delay that each adds, and the relay's CPU while the kernel does
the work. Prints tables, and leaves them in DIR/results as bench.md, with all figures in
bench.json and the delays in delay.svg. It asserts nothing: it fails only when it cannot
measure. docs/performance.md says what the figures mean.
"""
import argparse
import json
import os
import platform
import signal
import subprocess
import sys

import accounting
import delay
import lab
import pairs
import plot
import rate
import rtpengine
import table

PARTS = ('memory', 'media', 'signalling', 'accounting', 'rate', 'delay', 'kernel_cpu')
MORE = ('pairs',)  # with --against alone


def measure_media(build, network, relay_type, options):
    return delay.media_of(build, network, relay_type, options, options.seconds)


def measure_memory(build, network, relay_type, options):
    """With a packet a second each way, so that every session has been used."""
    sessions = options.sessions
    with relay_type(build, network) as relay, \
            delay.Phones(build, network, sessions, 3, 1, relay.media_pid) as phones:
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


# Of one daemon at a time, in one table.
MEASURE = {'memory': measure_memory, 'media': measure_media, 'signalling': measure_signalling}

# Of every candidate, each with tables of its own; for root.
COMPARE = {'accounting': (accounting.measure, (accounting.rows,)),
           'rate': (rate.measure, (rate.ratio_rows, rate.rows)),
           'pairs': (pairs.measure, (pairs.rows,)),
           'delay': (delay.measure, (delay.rows,)),
           'kernel_cpu': (delay.measure_cpu, (delay.cpu_rows,))}


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
    ('signalling: remove, p99 us', '{}', '< 20000', ('signalling', 'remove', 'p99_us')),
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
    return table.markdown(rows)


def machine():
    with open('/proc/cpuinfo', encoding='utf-8', errors='replace') as text:
        model = next((line.split(':')[1].strip() for line in text
                      if line.startswith('model name')), 'unknown')
    return {'cpu': model, 'cores': len(os.sched_getaffinity(0)), 'kernel': platform.release(),
            'load_before': os.getloadavg()[0]}


def versions(build, with_rtpengine):
    shown = lab.command(os.path.join(build, 'mediaproxy'), '--version').strip()
    if with_rtpengine:
        shown += f', rtpengine {rtpengine.Rtpengine.version()}'
    return shown


def describe(about):
    return (f'{about["cores"]} cores, {about["cpu"]}, Linux {about["kernel"]}; '
            f'{about["versions"]}')


def details(about, network):
    where = ('namespaces: caller - veth - relay - veth - callee' if network.kind == 'veth'
             else 'loopback (root gets namespaces)')
    return (f'{where}; load of the machine before: {about["load_before"]:.1f}. Load and daemons '
            'share the cores.')


def write(folder, name, text):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), 'w', encoding='utf-8') as out:
        out.write(text + '\n')


def say(words):
    print(f'bench: {words}', file=sys.stderr, flush=True)


def measure_each(options, network, candidates):
    results = {candidate.title: {} for candidate in candidates}
    for part in options.only:
        for candidate in candidates if part in MEASURE else ():
            say(f'{part}, {candidate.title}')
            results[candidate.title][part] = MEASURE[part](options.build, network, candidate,
                                                           options)
    return results


def compare(options):
    results = {}
    for part in options.only:
        if part not in COMPARE:
            continue
        if os.geteuid() != 0:
            say(f'{part} is left out: it needs root')
            continue
        results[part] = COMPARE[part][0](options.build, options, say)
    return results


def tables(results, compared, candidates):
    if any(results.values()):
        yield table_of(results, candidates)
    for part, figures in compared.items():
        for rows in COMPARE[part][1]:
            yield table.markdown(rows(figures))
        for title, reason in figures['missing'].items():
            yield f'Not measured: {title}: {reason}'


def parse():
    parser = argparse.ArgumentParser(description='Measure speed, delay and memory.')
    parser.add_argument('--build', default='build-bench', help='where the programs are')
    parser.add_argument('--only', type=lambda text: text.split(','),
                        help=f'some of {",".join(PARTS + MORE)}')
    parser.add_argument('--seconds', type=int, default=10,
                        help='how long media flows, twice; signalling takes double')
    parser.add_argument('--calls', type=int, default=500, help='of the media and delay parts')
    parser.add_argument('--sessions', type=int, default=2000,
                        help='of the memory and kernel_cpu parts')
    parser.add_argument('--rounds', type=int, default=3, help='of the rate part')
    parser.add_argument('--rate-seconds', type=float, default=2,
                        help='each candidate in each round of the rate part')
    parser.add_argument('--account-seconds', type=int, default=60,
                        help='of the accounting part, into the database')
    parser.add_argument('--backlog', type=int, default=100000,
                        help='records of the accounting part that wait')
    parser.add_argument('--cpu-seconds', type=float, default=10, help='of the kernel_cpu part')
    parser.add_argument('--alone', action='store_true', help='without rtpengine')
    parser.add_argument('--against', metavar='BUILD',
                        help='another build of this program: measure the packet path of both, '
                        'in pairs, and nothing else unless --only says so')
    parser.add_argument('--pairs', type=int, default=9, help='how many of them')
    options = parser.parse_args()
    if options.only is None:
        options.only = list(MORE if options.against else PARTS)
    if not set(options.only) <= set(PARTS + MORE):
        parser.error(f'--only: {",".join(PARTS + MORE)}')
    return options


def report(options, about, network, shown, figures):
    text = '\n\n'.join([f'{describe(about)}; {details(about, network)}', *shown])
    folder = os.path.join(options.build, 'results')
    written = ['bench.md', 'bench.json']
    write(folder, 'bench.md', text)
    write(folder, 'bench.json', json.dumps(figures, indent=2))
    if 'delay' in figures:
        written.append('delay.svg')
        write(folder, 'delay.svg', plot.delays(figures['delay'], describe(about)))
    print(text)
    print(f'\nin {folder}: {", ".join(written)}')


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    candidates = [lab.MediaProxy]
    if not options.alone and rtpengine.Rtpengine.is_installed():
        candidates.append(rtpengine.Rtpengine)
    lab.remove_left_namespaces()
    about = machine()
    network = lab.Network()
    try:
        about['versions'] = versions(options.build, len(candidates) > 1)
        network.start()
        results = measure_each(options, network, candidates)
        compared = compare(options)
    except (lab.CannotMeasure, OSError, subprocess.TimeoutExpired) as failure:
        print(f'bench: cannot measure: {failure}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        network.stop()
    report(options, about, network, list(tables(results, compared, candidates)),
           {'machine': about, 'results': results, **compared})
    return 0


if __name__ == '__main__':
    sys.exit(main())
