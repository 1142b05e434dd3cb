#!/usr/bin/python3
"""tools/check.py [--long] [SUITE...]: build in every way that matters, run every test

What `make check` does once the packages are there. Each suite has a time limit; one
that crashes, runs over it or reports nothing counts as failed. The last line is
`N passed, N failed` over all suites, with `, N skipped` if there are any.
With CI=true a skip that tests/skips.txt does not name counts as failed.
"""
import argparse
import collections
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = 'build-check'
PYTEST = ['/usr/bin/python3', '-m', 'pytest', '-p', 'no:cacheprovider', '-q', '-ra']
SANITIZERS = {
    'ASAN_OPTIONS': 'detect_leaks=1:abort_on_error=1:strict_string_checks=1',
    'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1',
    'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1',
}

# Unit tests of what has several threads.
THREADED = ('media-', 'store-', 'accounting-accounting', 'accounting-delivery',
            'dispatcher-records', 'dispatcher-directory_disk', 'link-relay_records')

Case = collections.namedtuple('Case', 'suite name seconds outcome text')


class Running:
    """The process group of the suite that runs now, so that an interrupt ends it too."""
    group = None


def end_group(sig):
    if Running.group is not None:
        try:
            os.killpg(Running.group, sig)
        except ProcessLookupError:
            pass


def interrupted(signum, frame):
    end_group(signal.SIGTERM)
    sys.exit(128 + signum)


def run(name, command, limit, env=None):
    """Run a suite's command; its output goes to a file. Returns (ok, seconds, why)."""
    path = os.path.join(OUT, name + '.log')
    started = time.monotonic()
    with open(path, 'wb') as log:
        log.write(f'$ {" ".join(command)}\n'.encode())
        log.flush()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=subprocess.STDOUT, start_new_session=True,
                                 env={**os.environ, **SANITIZERS, **(env or {})})
        Running.group = child.pid
        why = None
        try:
            status = child.wait(timeout=limit)
            if status != 0:
                why = f'exit status {status}' if status > 0 else f'signal {-status}'
        except subprocess.TimeoutExpired:
            why = f'not done after {limit} s'
            end_group(signal.SIGTERM)
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                pass
        end_group(signal.SIGKILL)
        child.wait()
        Running.group = None
    return why is None, time.monotonic() - started, why


def tail(name, lines=80):
    with open(os.path.join(OUT, name + '.log'), encoding='utf-8', errors='replace') as log:
        return ''.join(collections.deque(log, lines))


def as_one_case(name, ok, seconds, why):
    """A suite without tests of its own, a build say, is one test."""
    if ok:
        return [Case(name, name, seconds, 'passed', '')]
    return [Case(name, name, seconds, 'failed', f'{why}\n{tail(name)}')]


def junit_cases(suite, path):
    cases = []
    for element in xml.parse(path).iter('testcase'):
        outcome, text = 'passed', ''
        for child in element:
            if child.tag in ('failure', 'error'):
                outcome = 'failed'
                text = (child.get('message') or '') + '\n' + (child.text or '')
            elif child.tag == 'skipped' and outcome == 'passed':
                outcome, text = 'skipped', child.get('message') or child.text or ''
        name = '.'.join(part for part in (element.get('classname'), element.get('name')) if part)
        cases.append(Case(suite, name, float(element.get('time') or 0), outcome, text.strip()))
    return cases


# What cmocka prints for each test of a program.
CMOCKA_LINE = re.compile(r'^\[ +(OK|FAILED|SKIPPED) +\] (\w+)$', re.MULTILINE)
CMOCKA_OUTCOME = {'OK': 'passed', 'FAILED': 'failed', 'SKIPPED': 'skipped'}


def meson_cases(suite, path):
    cases = []
    with open(path, encoding='utf-8') as log:
        programs = [json.loads(line) for line in log]
    for program in programs:
        name, result = program['name'].split(' / ')[-1], program['result']
        text = (program.get('stdout') or '') + (program.get('stderr') or '')
        # A failed test is listed a second time, at the end.
        outcomes = {}
        for word, test in CMOCKA_LINE.findall(text):
            outcomes[test] = CMOCKA_OUTCOME[word]
        for number, (test, outcome) in enumerate(outcomes.items()):
            cases.append(Case(suite, f'{name}.{test}', 0 if number else program['duration'],
                              outcome, text if outcome == 'failed' else ''))
        if result == 'SKIP':
            cases.append(Case(suite, name, program['duration'], 'skipped', 'says the program'))
        elif result not in ('OK', 'EXPECTEDFAIL') and 'failed' not in outcomes.values():
            cases.append(Case(suite, name, program['duration'], 'failed', f'{result}\n{text}'))
        elif not outcomes:
            cases.append(Case(suite, name, program['duration'], 'passed', ''))
    return cases


def fuzz_cases(suite, path):
    with open(path, encoding='utf-8', errors='replace') as log:
        found = re.findall(r'^fuzz (\S+): (ok|FOUND SOMETHING)', log.read(), re.MULTILINE)
    return [Case(suite, target, 0, 'passed' if word == 'ok' else 'failed', f'see {path}')
            for target, word in found]


def reported(name, read, path, ok, seconds, why):
    """The tests of a report. A suite that failed, but reports no failure, crashed."""
    try:
        cases = read(name, path)
    except (OSError, ValueError, KeyError, xml.ParseError) as error:
        return [Case(name, name, seconds, 'failed', f'{why}; no report: {error}\n{tail(name)}')]
    if not cases:
        cases = [Case(name, name, seconds, 'failed', f'no test ran\n{tail(name)}')]
    elif not ok and not any(case.outcome == 'failed' for case in cases):
        cases.append(Case(name, name, seconds, 'failed', f'{why}\n{tail(name)}'))
    return cases


class Checks:
    """The suites, in their order. Each method gives its cases."""

    def __init__(self, long):
        self.fuzz_seconds = 300 if long else 3
        self.long = long

    def build(self, name, folder, options, compiler, targets=()):
        env = {'CC': compiler}
        if targets:
            command = ['sh', '-c', f'{{ [ -e {folder}/build.ninja ] || meson setup {folder} '
                       f'{" ".join(options)}; }} && ninja -k 0 -C {folder} {" ".join(targets)}']
        else:
            command = ['tools/build.sh', folder, *options]
        return as_one_case(name, *run(name, command, 900, env))

    def meson(self, name, folder, arguments, limit):
        log = os.path.join(folder, 'meson-logs', 'testlog.json')
        if os.path.exists(log):
            os.remove(log)
        done = run(name, ['meson', 'test', '-C', folder, '--no-rebuild', '--print-errorlogs',
                          *arguments], limit)
        return reported(name, meson_cases, log, *done)

    def pytest(self, name, folder, limit, env=None):
        report = os.path.join(OUT, name + '.xml')
        if os.path.exists(report):
            os.remove(report)
        done = run(name, [*PYTEST, folder, f'--junitxml={report}'], limit, env)
        return reported(name, junit_cases, report, *done)

    def build_gcc(self):
        return self.build('build-gcc', 'build-asan',
                          ['-Dwerror=true', '-Db_sanitize=address,undefined',
                           '-Db_lundef=false'], 'gcc')

    def build_clang(self):
        return self.build('build-clang', 'build-clang', ['-Dwerror=true'], 'clang')

    def unit(self):
        # The suite `fuzz` replays the corpora.
        return self.meson('unit', 'build-asan', ['--suite', 'unit', '--suite', 'fuzz',
                                                 '--timeout-multiplier', '3'], 600)

    def tsan(self):
        listing = subprocess.run(['meson', 'introspect', '--tests', 'build-asan'],
                                 stdout=subprocess.PIPE, text=True, check=True)
        tests = [test for test in json.loads(listing.stdout) if test['name'].startswith(THREADED)]
        targets = sorted({os.path.relpath(test['cmd'][0], os.path.join(TOP, 'build-asan'))
                          for test in tests})
        if not targets:
            raise ValueError(f'no test named {THREADED}')
        built = self.build('build-tsan', 'build-tsan',
                           ['-Dwerror=true', '-Db_sanitize=thread', '-Db_lundef=false'],
                           'gcc', targets)
        if built[0].outcome == 'failed':
            return built
        return built + self.meson('tsan', 'build-tsan', ['--timeout-multiplier', '6']
                                  + [test['name'] for test in tests], 600)

    def fuzz(self):
        # tests/fuzz/run.sh builds the targets, replays the corpora and runs each for a while.
        limit = 3600 * 6 if self.long else 600
        done = run('fuzz', ['tests/fuzz/run.sh', str(self.fuzz_seconds)], limit)
        return reported('fuzz', fuzz_cases, os.path.join(OUT, 'fuzz.log'), *done)

    def house(self):
        return self.pytest('house', 'tests/house', 600)

    def kernel(self):
        # The tests of the kernel's programs once more, under Debian's own kernel in qemu.
        return as_one_case('kernel', *run('kernel', ['tests/bpf/kernel61/boot.py', 'build-clang'],
                                          1200))

    def e2e(self):
        return self.pytest('e2e', 'tests/e2e', 5400 if self.long else 2100,
                           {'MP_BUILD': os.path.join(TOP, 'build-asan'),
                            'MP_LONG': '1' if self.long else '0'})


SUITES = ['build_gcc', 'build_clang', 'unit', 'tsan', 'fuzz', 'house', 'kernel', 'e2e']
ONLY_LONG = ['kernel']  # or by name


def read_skips():
    """The patterns of tests/skips.txt, each with its reason."""
    skips = {}
    with open('tests/skips.txt', encoding='utf-8') as table:
        for line in table:
            line = line.strip()
            if line and not line.startswith('#'):
                pattern, _, reason = line.partition(': ')
                if reason.strip():
                    skips[pattern] = reason.strip()
    return skips


def judge_skips(cases):
    """With CI=true a skip without an entry fails."""
    if os.environ.get('CI') != 'true':
        return cases
    skips = read_skips()
    judged = []
    for case in cases:
        if case.outcome == 'skipped' and not any(
                fnmatch.fnmatchcase(f'{case.suite}/{case.name}', pattern) for pattern in skips):
            case = case._replace(outcome='failed',
                                 text=f'skipped ({case.text}), and not in tests/skips.txt')
        judged.append(case)
    return judged


def report(cases):
    count = collections.Counter(case.outcome for case in cases)
    for case in cases:
        if case.outcome == 'failed':
            print(f'\n--- FAILED {case.suite}/{case.name}\n{case.text}')
    for case in cases:
        if case.outcome == 'skipped':
            print(f'skipped {case.suite}/{case.name}: {case.text}')
    print('\nThe slowest tests:')
    for case in sorted(cases, key=lambda case: -case.seconds)[:10]:
        print(f'{case.seconds:7.1f} s  {case.suite}/{case.name}')
    print()
    line = f'{count["passed"]} passed, {count["failed"]} failed'
    if count['skipped']:
        line += f', {count["skipped"]} skipped'
    print(line, flush=True)
    return 0 if count['failed'] == 0 and count['passed'] > 0 else 1


def main():
    parser = argparse.ArgumentParser(description='Run the tests.')
    parser.add_argument('--long', action='store_true', help='fuzz for minutes, not seconds; boot another kernel')
    parser.add_argument('suites', nargs='*', metavar='SUITE',
                        help='of: ' + ', '.join(SUITES))
    arguments = parser.parse_args()
    for name in arguments.suites:
        if name not in SUITES:
            parser.error(f'no suite {name}')

    os.chdir(TOP)
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupted)

    checks = Checks(arguments.long)
    cases = []
    started = time.monotonic()
    suites = arguments.suites or [name for name in SUITES
                                  if arguments.long or name not in ONLY_LONG]
    for name in suites:
        print(f'{name} ...', end=' ', flush=True)
        suite_started = time.monotonic()
        try:
            found = getattr(checks, name)()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            found = [Case(name, name, 0, 'failed', str(error))]
        cases += found
        count = collections.Counter(case.outcome for case in found)
        print(', '.join(f'{count[word]} {word}' for word in ('passed', 'failed', 'skipped')
                        if count[word]), f'({time.monotonic() - suite_started:.0f} s)', flush=True)
    print(f'{time.monotonic() - started:.0f} s in all')
    return report(judge_skips(cases))


if __name__ == '__main__':
    sys.exit(main())
