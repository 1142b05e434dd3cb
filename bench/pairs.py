"""Two builds of the relay, packet for packet: what a change costs the packet path

Each candidate stands twice, in networks of its own, and both are measured in turn, the
other one first in each second round. The ratio is made inside a pair; the median is shown.
"""
import contextlib
import os
import statistics

import lab
import peers
import rate

KINDS = (peers.Userspace, peers.Xdp, peers.Tc)
PER_PACKET = 'cpu_us_per_packet'


def figure_of(kind):
    """A daemon is compared by its CPU, on a core of its own: the rate depends on the scheduler."""
    return PER_PACKET if peers.moves_packets_itself(kind) else rate.RATE


def measure_pair(pair, cpus, seconds, swap):
    """@return figures of (before, after)"""
    order = reversed(pair) if swap else pair
    figures = [field.measure(seconds, cpus) for field in order]
    return tuple(reversed(figures) if swap else figures)


def measure(build, options, say):
    if not options.against:
        return {'missing': {'pairs': '--against names no other build'}, 'pairs': {}}
    own_core = {max(os.sched_getaffinity(0))}
    with contextlib.ExitStack() as stack:
        fields, missing = {}, {}
        for kind in KINDS:
            try:
                fields[kind] = [
                    stack.enter_context(rate.Field(where, kind, title=f'{kind.title} {when}'))
                    for when, where in (('before', options.against), ('after', build))]
            except lab.NotThere as reason:
                missing[kind.title] = str(reason)
        rounds = {kind: [] for kind in fields}
        for number in range(options.pairs):
            say(f'pairs, {number + 1} of {options.pairs}')
            for kind, pair in fields.items():
                cpus = own_core if peers.moves_packets_itself(kind) else None
                rounds[kind].append(measure_pair(pair, cpus, options.rate_seconds, number % 2))
    return {'missing': missing,
            'pairs': {kind.title: {'figure': figure_of(kind), 'rounds': pairs}
                      for kind, pairs in rounds.items()}}


def rows(figures):
    yield 'two builds', 'before', 'after', 'after / before', 'least', 'most', 'pairs'
    for title, measured in figures['pairs'].items():
        key = measured['figure']
        values = [(before[key], after[key]) for before, after in measured['rounds']]
        ratios = [after / before for before, after in values]
        form = '{:.3f}' if key == PER_PACKET else '{:.0f}'
        unit = 'us of CPU a packet' if key == PER_PACKET else 'packets a second'
        yield (f'{title}: {unit}',
               *(form.format(statistics.median(v[i] for v in values)) for i in (0, 1)),
               f'{statistics.median(ratios):.3f}', f'{min(ratios):.3f}', f'{max(ratios):.3f}',
               str(len(ratios)))
