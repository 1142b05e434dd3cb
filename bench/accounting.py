"""Records: how many a second reach the disk and a database, and what a backlog costs

With a PostgreSQL of its own, fsync on, and the daemons on loopback. Calls are those of
`mediaproxy bench signalling`: without media, each answered and removed, so each has a record.
"""
import os
import statistics
import sys
import threading
import time

import lab

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                'tests', 'e2e'))
from mp import databases  # noqa: E402  the tests' server

RATE = 1000
CONNECTIONS = 32
DRAIN_SECONDS = 300


class PostgreSQL(databases.PostgreSQL):
    """As people run it: what is committed is on disk."""

    def _command(self):
        return [*super()._command(), '-c', 'fsync=on', '-c', 'synchronous_commit=on']


class Accounted(lab.MediaProxy):
    """Daemons that account to a database, or to nothing but their own disk."""

    def __init__(self, build, network, dburi=None):
        super().__init__(build, network)
        if dburi:
            self.more_config = ('[Dispatcher]\naccounting = database\n'
                                f'[Database]\ndburi = {dburi}\n')

    def accounting(self):
        return self.summary('--runtime-dir', self.runtime)['accounting']

    def waiting(self):
        return self.accounting()['backends'][0]['waiting']

    def calls(self, **options):
        return self.bench(connections=CONNECTIONS, **options)


class Watch:
    """The most that waited for the database, looked at every half second."""

    def __init__(self, relay):
        self.relay, self.most, self.samples = relay, 0, []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self._stop.wait(0.5):
            self.samples.append(self.relay.waiting())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join()
        self.most = max(self.samples, default=0)


def to_database(build, server, options):
    """1,000 calls a second for a minute."""
    with Accounted(build, lab.Network(), server.dburi(server.make_database())) as relay:
        with Watch(relay) as watch:
            figures = relay.calls(rate=RATE, seconds=options.account_seconds)
        return {**figures, 'most_waiting': watch.most, 'waiting_at_end': relay.waiting()}


def to_disk(build, options):
    """As many as there can be, without a backend."""
    with Accounted(build, lab.Network()) as relay:
        figures = relay.calls(seconds=options.seconds)
        figures['records_per_second'] = relay.accounting()['stored'] / figures['seconds']
        figures['commits'] = relay.accounting()['disk_commits']
        return figures


def drain(relay, server, options, idle_seconds):
    """Calls at a rate while what waited goes to the database."""
    waiting = relay.waiting()
    server.thaw()
    began = time.monotonic()
    figures = relay.calls(rate=RATE // 2, seconds=idle_seconds)
    left = relay.waiting()
    if left == 0:
        raise lab.CannotMeasure('the backlog was drained before its end could be measured')
    taken = waiting - left + figures['calls']
    seconds = time.monotonic() - began
    while relay.waiting() > 0:
        if time.monotonic() - began > DRAIN_SECONDS:
            raise lab.CannotMeasure(f'{relay.waiting()} records still wait')
        time.sleep(0.2)
    return figures, taken / seconds, time.monotonic() - began


def backlog(build, server, options):
    """What so many records cost that the database does not take."""
    with Accounted(build, lab.Network(), server.dburi(server.make_database())) as relay:
        relay.calls(rate=RATE // 2, seconds=2)
        idle = [relay.calls(rate=RATE // 2, seconds=4) for _ in range(3)]
        server.freeze()
        before = lab.memory_kb(relay.dispatcher.pid)
        relay.calls(calls=options.backlog)
        after = lab.memory_kb(relay.dispatcher.pid)
        figures, rate, seconds = drain(relay, server, options, 8)
        p99 = statistics.median(run['remove']['p99_us'] for run in idle)
        return {'records': options.backlog, 'before_kb': before, 'after_kb': after,
                'added_kb': after['pss_anon'] - before['pss_anon'],
                'idle_remove_p99_us': p99, 'draining_remove_p99_us': figures['remove']['p99_us'],
                'p99_ratio': figures['remove']['p99_us'] / p99,
                'failed_calls': figures['failed_calls'],
                'drained_per_second': rate, 'drained_seconds': seconds}


def measure(build, options, say):
    reason = PostgreSQL.missing()
    if reason:
        return {'missing': {'accounting': reason}}
    port, = lab.free_ports(1)
    server = PostgreSQL(port)
    try:
        say('accounting, to a database')
        database = to_database(build, server, options)
        say('accounting, to the disk alone')
        disk = to_disk(build, options)
        say('accounting, a backlog')
        waited = backlog(build, server, options)
    finally:
        server.close()
    return {'missing': {}, 'database': database, 'disk': disk, 'backlog': waited}


def rows(figures):
    yield 'accounting', 'measured', 'target'
    if figures['missing']:
        return
    database, disk, waited = (figures[name] for name in ('database', 'disk', 'backlog'))
    yield 'PostgreSQL: calls a second', f'{database["calls_per_second"]:.0f}', f'{RATE}'
    yield 'PostgreSQL: failed calls', str(database['failed_calls']), '0'
    yield 'PostgreSQL: most records waiting', str(database['most_waiting']), 'does not grow'
    yield 'PostgreSQL: records waiting at the end', str(database['waiting_at_end']), ''
    yield 'PostgreSQL: remove, p50 us', str(database['remove']['p50_us']), ''
    yield 'PostgreSQL: remove, p99 us', str(database['remove']['p99_us']), '< 20000'
    yield 'disk alone: records a second', f'{disk["records_per_second"]:.0f}', '>= 5000'
    yield 'disk alone: remove, p99 us', str(disk['remove']['p99_us']), '< 20000'
    yield 'disk alone: CPU of both daemons, us a call', f'{disk["cpu_us_per_call"]:.0f}', ''
    yield 'backlog: records', str(waited['records']), ''
    yield 'backlog: memory added, kB', str(waited['added_kb']), 'none'
    yield 'backlog: drained, records a second', f'{waited["drained_per_second"]:.0f}', ''
    yield 'backlog: remove p99 while draining, of idle', f'{waited["p99_ratio"]:.2f}', '<= 1.5'
