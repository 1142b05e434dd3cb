"""How many packets a second: all candidates in one run, in turn

Every candidate has three namespaces of its own and is set up once, with the same calls;
then they are measured in turn, several rounds, so that whatever else happens to the
machine happens to all. Figures are compared inside one round, and the median of the
rounds is shown.
"""
import contextlib
import functools
import os
import re
import statistics
import time

import frames
import lab
import peers

CALLS = 64
START_SECONDS = 0.2

# The search for the highest rate without loss: from where, how far each step, how long, and what
# counts as no loss.
LOSSLESS_FIRST = 30000
LOSSLESS_STEP = 1.12
LOSSLESS_SECONDS = 0.5
LOSS_MAX = 0.001

CANDIDATES = (peers.BareRedirect, peers.Xdp, peers.Tc, peers.Conntrack, peers.Userspace,
              peers.Rtpengine)
FLOWS = (64, 20000)  # of bench/flow_load
OWN_CORE, SAME_CORE = ', one core', ', all on one core'

# What is compared: a candidate, with what, by which figure, and the target.
RATE, PER_CPU = 'per_second', 'per_cpu_second'
RATIOS = (
    ('xdp', 'bare redirect', RATE, '>= 0.8'),
    ('xdp', 'conntrack', RATE, '>= 4'),
    ('xdp', 'rtpengine', RATE, '>= 25'),
    ('xdp', 'rtpengine, all on one core', RATE, ''),
    ('flow_load, 20000 flows', 'flow_load, 64 flows', RATE, '>= 0.65'),
    ('tc', 'conntrack', RATE, '>= 1'),
    ('userspace', 'rtpengine', RATE, ''),
    ('userspace', 'rtpengine', PER_CPU, '>= 3'),
    ('userspace, one core', 'rtpengine, one core', RATE, '>= 3'),
    ('userspace, one core', 'rtpengine, one core', PER_CPU, ''),
    ('userspace, all on one core', 'rtpengine, all on one core', RATE, ''),
    ('userspace, without loss', 'rtpengine, without loss', RATE, ''),
)


def pin(pid, cpus):
    """All threads of a process, those too that it makes later."""
    for thread in os.listdir(f'/proc/{pid}/task'):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), cpus)


class Field:
    """A candidate in a network of its own, with its calls set up. Use with `with`."""

    def __init__(self, build, kind, calls=CALLS, title=None):
        self.build = build
        self.kind = kind
        self.calls = calls
        self.title = title or kind.title
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.set_up()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *exc):
        self.stack.close()

    def set_up(self):
        label = re.sub(r'\W', '', self.title)
        self.network = self.stack.enter_context(lab.Network(label, frames=True))
        self.relay = self.stack.enter_context(self.kind(self.build, self.network))
        self.sink = self.stack.enter_context(frames.Sink(self.build, self.network))
        self.phones = frames.phones(self.network, self.calls)
        self.sockets = self.stack.enter_context(
            frames.Sockets(self.network, self.phones if self.relay.learns else []))
        self.set_up_calls()
        self.checked = self.check()

    def set_up_calls(self):
        destinations = [self.relay.call(i, *call) for i, call in enumerate(self.phones)]
        self.relay.apply()
        if self.relay.learns:
            self.sockets.settle(self.relay, destinations)
        self.flows, wanted = frames.flows_of(self.phones, destinations)['caller']
        self.sink.ask_for(self.flows if self.kind is peers.BareRedirect else wanted)

    def renew_calls(self):
        for i in range(self.calls):
            self.relay.hang_up(i)
        self.set_up_calls()

    def check(self):
        """A short run in which every packet is looked at."""
        self.sink.check(True)
        before = self.sink.count()
        with frames.Generator(self.build, self.network, self.flows, 0.3) as generator:
            sent = generator.figures()['sent']
        time.sleep(0.1)
        after = self.sink.count()
        self.sink.check(False)
        seen = {key: after[key] - before[key] for key in after if key != 'time_ns'}
        if not self.relay.whole_checksums:
            del seen['wrong_checksum']
        return {'sent': sent, **seen}

    def measure(self, seconds, cpus=None):
        """@return figures of one round at full load"""
        pid = self.relay.media_pid
        if self.relay.overload_kills:
            self.renew_calls()
        if pid:
            pin(pid, cpus or os.sched_getaffinity(0))
        with frames.Generator(self.build, self.network, self.flows,
                              seconds + 2 * START_SECONDS) as generator:
            time.sleep(START_SECONDS)
            figures = frames.window(self.sink, seconds, pid)
            sent = generator.figures()
        figures['offered_per_second'] = sent['sent'] / sent['seconds']
        figures['generator_percent'] = 100 * sent['cpu_seconds'] / sent['seconds']
        if pid and figures['per_second']:
            figures['cpu_us_per_packet'] = figures['cpu_percent'] * 1e4 / figures['per_second']
            figures[PER_CPU] = (figures['per_second'] / (figures['cpu_percent'] / 100)
                                if figures['cpu_percent'] else 0)
        return figures


    def carries(self, rate):
        """Whether it delivers that many packets a second, for half a second."""
        before = self.sink.count()
        with frames.Generator(self.build, self.network, self.flows, LOSSLESS_SECONDS,
                              rate) as generator:
            sent = generator.figures()['sent']
        time.sleep(0.05)
        received = self.sink.count()['received'] - before['received']
        return received >= (1 - LOSS_MAX) * sent >= (1 - 10 * LOSS_MAX) * rate * LOSSLESS_SECONDS

    def measure_lossless(self):
        """Upwards, since an overload may leave traces; three tries for each rate, each with new
        calls, since something else may have taken the CPU. @return as measure()"""
        pin(self.relay.media_pid, os.sched_getaffinity(0))
        self.renew_calls()
        rate, best, tries = LOSSLESS_FIRST, 0, 3
        while tries:
            if self.carries(rate):
                best, rate, tries = rate, round(rate * LOSSLESS_STEP), 3
            else:
                tries -= 1
                self.renew_calls()
        return {'per_second': best}


def runs_of(fields):
    """(title, what measures one round). A daemon that moves packets itself is also measured on a
    core of its own, the last, and on the generator's: all on one core is what a candidate in the
    kernel has."""
    cores = ((OWN_CORE, {max(os.sched_getaffinity(0))}), (SAME_CORE, {frames.CPU}))
    for field in fields:
        yield field.title, field.measure
    daemons = [field for field in fields if peers.moves_packets_itself(field.kind)]
    for suffix, cpus in cores:
        for field in daemons:
            yield field.title + suffix, functools.partial(field.measure, cpus=cpus)


def set_up_all(stack, build, options, say):
    fields, missing = [], {}
    wanted = [(kind, CALLS, kind.title) for kind in peers.wanted(CANDIDATES, options)]
    wanted += [(peers.FlowLoad, count, f'{peers.FlowLoad.title}, {count} flows')
               for count in FLOWS]
    for kind, calls, title in wanted:
        say(f'rate, setting up {title}')
        try:
            fields.append(stack.enter_context(Field(build, kind, calls, title)))
        except lab.NotThere as reason:
            missing[title] = str(reason)
    return fields, missing


def summary(rounds):
    """Medians; of the rate also the extremes."""
    rates = [figures['per_second'] for figures in rounds]
    return {**{key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]},
            'min': min(rates), 'max': max(rates), 'rounds': rounds}


def ratio(results, title, by, key):
    """The median of the ratios in each round, or None."""
    if title not in results or by not in results:
        return None
    pairs = zip(results[title]['rounds'], results[by]['rounds'])
    ratios = [a[key] / b[key] for a, b in pairs if b.get(key)]
    return statistics.median(ratios) if ratios else None


def measure(build, options, say):
    with contextlib.ExitStack() as stack:
        fields, missing = set_up_all(stack, build, options, say)
        runs = list(runs_of(fields))
        rounds = {title: [] for title, _ in runs}
        for number in range(options.rounds):
            say(f'rate, round {number + 1} of {options.rounds}')
            for title, run in runs:
                rounds[title].append(run(options.rate_seconds))
        for field in fields:
            if peers.moves_packets_itself(field.kind):
                say(f'rate, {field.title} without loss')
                rounds[f'{field.title}, without loss'] = [field.measure_lossless()]
        results = {title: summary(figures) for title, figures in rounds.items()}
        for field in fields:
            results[field.title]['checked'] = field.checked
    return {'calls': CALLS, 'rounds': options.rounds, 'seconds': options.rate_seconds,
            'candidates': results, 'missing': missing,
            'ratios': [{'of': of, 'by': by, 'figure': key, 'target': target,
                        'ratio': ratio(results, of, by, key)}
                       for of, by, key, target in RATIOS]}


COLUMNS = (('delivered', 'per_second', '{:.0f}'), ('min', 'min', '{:.0f}'),
           ('max', 'max', '{:.0f}'), ('offered', 'offered_per_second', '{:.0f}'),
           ('CPU of the generator, %', 'generator_percent', '{:.0f}'),
           ('of the process, %', 'cpu_percent', '{:.0f}'),
           ('us a packet', 'cpu_us_per_packet', '{:.2f}'),
           ('wrong address', 'wrong_address', '{}'), ('wrong checksum', 'wrong_checksum', '{}'))


def rows(figures):
    """The table of rates."""
    yield ('packets a second', *(head for head, _, _ in COLUMNS))
    for title, c in figures['candidates'].items():
        values = {**c, **c.get('checked', {})}
        yield (title, *(form.format(values[key]) if values.get(key) is not None else '-'
                        for _, key, form in COLUMNS))


def ratio_rows(figures):
    yield ('ratio', 'target', 'measured')
    for r in figures['ratios']:
        per = ', for each second of CPU' if r['figure'] == PER_CPU else ''
        yield (f'{r["of"]} / {r["by"]}{per}', r['target'],
               '-' if r['ratio'] is None else f'{r["ratio"]:.2f}')
