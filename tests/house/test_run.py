"""`make run`, as a new user meets it: it starts, takes a call, and leaves nothing"""
import os
import re
import shlex
import signal
import socket
import subprocess
import time

import pytest

import tree

BUILD_SECONDS = 900
READY_SECONDS = 60
STOP_SECONDS = 30
RUN = ['/usr/bin/python3', 'tools/run.py']


class Started:
    """A started command, with what it says read into a file."""

    def __init__(self, command, folder):
        self.path = folder / 'output'
        with open(self.path, 'wb') as output:
            self.process = subprocess.Popen(command, cwd=tree.TOP, stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=subprocess.STDOUT,
                                            env={**os.environ, 'TMPDIR': str(folder)},
                                            start_new_session=True)

    def said(self):
        return self.path.read_text(encoding='utf-8', errors='replace')

    def wait_until_ready(self, seconds):
        """The command for a first call, as the ready lines give it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            call = re.search(r'run: ready: .*\nrun: +(\S.*)\n', self.said())
            if call:
                return shlex.split(call.group(1))
            assert self.process.poll() is None, self.said()
            time.sleep(0.1)
        raise AssertionError(f'not ready after {seconds} s:\n{self.said()}')

    def descendants(self):
        """Every process below ours, the daemons in sessions of their own included."""
        parents = {}
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as stat:
                    parents[int(pid)] = int(stat.read().rpartition(')')[2].split()[1])
            except OSError:
                continue
        found = {self.process.pid}
        while True:
            below = {pid for pid, parent in parents.items() if parent in found} - found
            if not below:
                return found - {self.process.pid}
            found |= below

    def kill(self):
        for pid in [*self.descendants(), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()


@pytest.fixture(scope='module', autouse=True)
def built():
    subprocess.run(['tools/build.sh', 'build'], cwd=tree.TOP, check=True,
                   stdin=subprocess.DEVNULL, timeout=BUILD_SECONDS)


@pytest.fixture
def folder(tmp_path_factory):
    """A short path: UNIX sockets lie below it."""
    return tmp_path_factory.mktemp('r')


@pytest.fixture
def start(folder):
    started = []

    def go(command):
        started.append(Started(command, folder))
        return started[-1]
    yield go
    for one in started:
        if one.process.poll() is None:
            one.kill()


def leftovers(folder):
    return sorted(name for name in os.listdir(folder) if name != 'output')


def call_goes_through(call):
    done = subprocess.run(call, cwd=tree.TOP, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def assert_gone(pids):
    deadline = time.monotonic() + STOP_SECONDS
    while any(os.path.exists(f'/proc/{pid}') for pid in pids):
        assert time.monotonic() < deadline, 'a process stayed'
        time.sleep(0.1)


def test_make_run_takes_a_call_and_leaves_nothing_on_sigterm(start, folder):
    run = start(['make', 'run'])
    call = run.wait_until_ready(BUILD_SECONDS)
    call_goes_through(call)
    pids = run.descendants()
    run.process.terminate()
    # GNU make ends itself by the signal once the recipe has exited.
    assert run.process.wait(timeout=STOP_SECONDS) == -signal.SIGTERM
    assert_gone(pids)
    assert leftovers(folder) == []
    assert 'ended by itself' not in run.said()


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
def test_a_run_stops_both_daemons_and_exits_0(start, folder, signum):
    run = start(RUN)
    run.wait_until_ready(READY_SECONDS)
    pids = run.descendants()
    assert len(pids) >= 2
    run.process.send_signal(signum)
    assert run.process.wait(timeout=STOP_SECONDS) == 0, run.said()
    assert_gone(pids)
    assert leftovers(folder) == []


def test_an_interrupt_to_make_alone_stops_the_run(start, folder):
    run = start(['make', 'run'])
    run.wait_until_ready(BUILD_SECONDS)
    pids = run.descendants()
    run.process.send_signal(signal.SIGINT)
    run.process.wait(timeout=STOP_SECONDS)
    assert_gone(pids)
    assert leftovers(folder) == []


def test_a_daemon_that_dies_is_said_and_ends_the_run_with_1(start, folder):
    run = start(RUN)
    run.wait_until_ready(READY_SECONDS)
    os.kill(daemon(run, 'media-relay'), signal.SIGKILL)
    assert run.process.wait(timeout=STOP_SECONDS) == 1
    assert 'media-relay ended by itself (signal 9)' in run.said()
    assert leftovers(folder) == []


def test_a_second_run_beside_the_first_uses_other_ports_and_says_so(start, folder):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(('127.0.0.1', 25060))
            taken.listen()
        except OSError:
            pass  # something else has it: as good
        run = start(RUN)
        call = run.wait_until_ready(READY_SECONDS)
        assert re.search(r'run: port 25060 \(relays\) is taken: using \d+', run.said())
        call_goes_through(call)


def daemon(run, name):
    for pid in run.descendants():
        with open(f'/proc/{pid}/cmdline', 'rb') as cmdline:
            if cmdline.read().split(b'\0')[0].endswith(b'/' + name.encode()):
                return pid
    raise AssertionError(f'no {name}')
