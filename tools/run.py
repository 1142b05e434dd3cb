#!/usr/bin/python3
"""tools/run.py [--build DIR]: a dispatcher and a relay on loopback, in the foreground

What `make run` does after the build: throw-away certificates, a config.ini and both
daemons, in folders of their own, on ports that are free. Says when they are ready
and how to make a first call. SIGINT and SIGTERM stop both, remove what was made here,
and exit 0. If a daemon ends by itself: exit 1.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

READY_SECONDS = 30
STOP_SECONDS = 10
DEFAULT_RUNTIME_DIR = '/run/mediaproxy'

CONFIG = """\
; made by `make run`; removed when it ends
[Dispatcher]
listen = 127.0.0.1:{link_port}
listen_management = 127.0.0.1:{management_port}
state_dir = state

[Relay]
dispatchers = 127.0.0.1:{link_port}
relay_ip = 127.0.0.1
state_dir = state
; nothing on loopback can be forwarded in the kernel
forwarding = userspace
; enough for 500 calls; more may be more files than this shell may open
port_range = 40000:42000
"""


class Stop(Exception):
    """Somebody asked us to stop."""


class Failure(Exception):
    """What went wrong, for a person."""


def say(text):
    print(f'run: {text}', flush=True)


def stop_requested(signum, frame):
    raise Stop


class Parent:
    """GNU make hands SIGTERM on, but not an interrupt meant for it alone: it blocks
    the signal and waits for us. And it may be killed outright."""

    def __init__(self):
        self.pid = os.getppid()
        self.had_blocked = self.blocked()

    def blocked(self):
        try:
            with open(f'/proc/{self.pid}/status', encoding='ascii', errors='replace') as status:
                mask = next(line for line in status if line.startswith('SigBlk:'))
        except (OSError, StopIteration):
            return False
        return bool(int(mask.split()[1], 16) & (1 << (signal.SIGINT - 1)))

    def wants_us_to_stop(self):
        if os.getppid() != self.pid:
            return True
        return self.blocked() and not self.had_blocked


def free_port(wanted, what):
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
            found = probe.getsockname()[1]
        if found != wanted:
            say(f'port {wanted} ({what}) is taken: using {found}')
        return found
    raise Failure(f'no free port for {what}')


def in_use(folder):
    """Does a program hold a socket below this folder?"""
    try:
        with open('/proc/net/unix', encoding='utf-8', errors='replace') as table:
            return any(f' {folder}/' in line for line in table)
    except OSError:
        return bool(os.listdir(folder))


class Run:
    def __init__(self, build):
        self.build = build
        self.parent = Parent()
        self.made = []  # folders to remove
        self.children = {}  # name -> Popen

    def program(self, name):
        path = os.path.join(self.build, name)
        if not os.access(path, os.X_OK):
            raise Failure(f'{path} is not there; `make` builds it')
        return path

    def make_folders(self):
        self.top = tempfile.mkdtemp(prefix='mediaproxy-run.')
        self.made.append(self.top)
        self.config_dir = os.path.join(self.top, 'config')
        self.tls_dir = os.path.join(self.config_dir, 'tls')
        os.makedirs(self.tls_dir)
        self.runtime_dir = self.find_runtime_dir()

    def find_runtime_dir(self):
        own = os.path.join(self.top, 'run')
        os.mkdir(own)
        if os.geteuid() != 0:
            return own
        try:
            os.mkdir(DEFAULT_RUNTIME_DIR)
            self.made.append(DEFAULT_RUNTIME_DIR)
        except FileExistsError:
            if in_use(DEFAULT_RUNTIME_DIR):
                say(f'{DEFAULT_RUNTIME_DIR} is in use: using {own}')
                return own
        except OSError as error:
            say(f'{DEFAULT_RUNTIME_DIR}: {error.strerror}: using {own}')
            return own
        return DEFAULT_RUNTIME_DIR

    def make_certificates(self):
        for words in (['init'], ['dispatcher'], ['relay']):
            command = [self.program('mediaproxy'), 'certs', *words, '--folder', self.tls_dir]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=READY_SECONDS, check=False)
            if done.returncode != 0:
                raise Failure(f'{" ".join(command)}: {done.stdout.strip()}')

    def write_config(self):
        config = CONFIG.format(link_port=free_port(25060, 'relays'),
                               management_port=free_port(25061, 'management'))
        with open(os.path.join(self.config_dir, 'config.ini'), 'w', encoding='ascii') as out:
            out.write(config)

    def start(self, name):
        # A session of its own: an interrupt typed at the terminal is for us, and we stop
        # the two in order.
        self.children[name] = subprocess.Popen(
            [self.program(name), '--no-fork', '--config-dir', self.config_dir,
             '--runtime-dir', self.runtime_dir],
            stdin=subprocess.DEVNULL, start_new_session=True)

    def look(self):
        """Raise if it is time to end."""
        if self.parent.wants_us_to_stop():
            raise Stop
        for name, child in self.children.items():
            status = child.poll()
            if status is not None:
                raise Failure(f'{name} ended by itself ({describe(status)})')

    def relays(self):
        """How many relays the dispatcher has; None while it does not answer."""
        command = [self.program('mediaproxy'), 'summary', '--json',
                   '--runtime-dir', self.runtime_dir]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, timeout=5, check=False)
            return len(json.loads(done.stdout)['relays'])
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return None

    def wait_for(self, fact, otherwise):
        deadline = time.monotonic() + READY_SECONDS
        while not fact(self.relays()):
            self.look()
            if time.monotonic() > deadline:
                raise Failure(f'{otherwise} after {READY_SECONDS} s')
            time.sleep(0.1)

    def say_ready(self):
        where = ''
        if self.runtime_dir != DEFAULT_RUNTIME_DIR:
            where = f' --runtime-dir {self.runtime_dir}'
        say('ready: a dispatcher and a relay are connected. A first call, from another terminal:')
        say(f'    {self.build}/mediaproxy call{where}')
        say('and what is kept of it:')
        say(f'    {self.build}/mediaproxy history{where}')

    def stop(self):
        # The relay first: what its calls come to still reaches the dispatcher.
        for name, child in reversed(self.children.items()):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                say(f'{name} does not stop: killing it')
                child.kill()
                child.wait()

    def remove(self):
        for folder in self.made:
            shutil.rmtree(folder, ignore_errors=True)

    def start_all(self):
        self.make_folders()
        self.make_certificates()
        self.write_config()
        self.start('media-dispatcher')
        # The dispatcher first, so that the first dial succeeds.
        self.wait_for(lambda relays: relays is not None, 'the dispatcher does not answer')
        self.start('media-relay')
        self.wait_for(lambda relays: relays, 'the relay is not connected')

    def go(self):
        self.start_all()
        self.say_ready()
        while True:
            self.look()
            time.sleep(0.2)


def describe(status):
    return f'exit status {status}' if status >= 0 else f'signal {-status}'


def main():
    parser = argparse.ArgumentParser(description='Run a dispatcher and a relay on loopback.')
    parser.add_argument('--build', default='build', help='where the programs are')
    run = Run(parser.parse_args().build)

    # Set outright: a shell starts background jobs with SIGINT ignored.
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for signum in signals:
        signal.signal(signum, stop_requested)
    status = 0
    try:
        run.go()
    except Stop:
        say('stopping')
    except (Failure, OSError, subprocess.TimeoutExpired) as failure:
        say(str(failure))
        status = 1
    finally:
        for signum in signals:
            signal.signal(signum, signal.SIG_IGN)
        run.stop()
        run.remove()
    return status


if __name__ == '__main__':
    sys.exit(main())
