"""Where a benchmark runs: namespaces or loopback, the daemons in it, and calls through them

As root: three network namespaces, caller - relay - callee, joined by two veth pairs, so
that the phones' packets cross links as in a network, and the direct way from phone to
phone is plain IP forwarding over the same two links. Otherwise everything is on loopback.
"""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

WAIT_SECONDS = 20
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

# 198.18.0.0/15 is for benchmarks (RFC 2544).
NET = {'caller': ('198.18.0.2', '198.18.0.1'), 'callee': ('198.18.1.2', '198.18.1.1')}

CONFIG = """\
[Dispatcher]
listen = 127.0.0.1:{link_port}
listen_management = 127.0.0.1:{management_port}
state_dir = state

[Relay]
dispatchers = 127.0.0.1:{link_port}
relay_ip = {relay_ip}
state_dir = state
port_range = {port_range}
port_rest = {port_rest}
max_stream_packets = 0
max_stream_bytes = 0
forwarding = {forwarding}
"""


class CannotMeasure(Exception):
    """Something that is needed does not work; what, for a person."""


class NotThere(Exception):
    """A candidate that this machine or this build does not have; why, for a person."""


def command(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=WAIT_SECONDS, check=False)
    if done.returncode != 0:
        raise CannotMeasure(f'{" ".join(words)}: {done.stdout.strip()}')
    return done.stdout


def wait_for(fact, what):
    deadline = time.monotonic() + WAIT_SECONDS
    while not fact():
        if time.monotonic() > deadline:
            raise CannotMeasure(f'{what}: not after {WAIT_SECONDS} s')
        time.sleep(0.05)


def end_with_parent():
    """In a child: not even a bench that is killed leaves it behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def inside_netns(netns):
    """This thread, in another network namespace; None: where it is."""
    if not netns:
        yield
        return
    with open('/proc/self/ns/net', 'rb') as home, open(f'/run/netns/{netns}', 'rb') as there:
        if LIBC.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise CannotMeasure(f'setns {netns}: {os.strerror(ctypes.get_errno())}')
        try:
            yield
        finally:
            LIBC.setns(home.fileno(), CLONE_NEWNET)


def cpu_seconds(pid):
    """What a process has used so far, by its CPU clock; as clock_getcpuclockid() names it."""
    return time.clock_gettime((~pid << 3) | 2)


def remove_left_namespaces():
    """Those of a run that was killed."""
    folder = '/run/netns'
    for name in os.listdir(folder) if os.path.isdir(folder) and os.geteuid() == 0 else ():
        found = re.match(r'mp-(\d+)-', name)
        if found and not os.path.exists(f'/proc/{found.group(1)}'):
            subprocess.run(('ip', 'netns', 'delete', name), check=False)


def free_ports(count):
    """TCP ports of loopback in the present namespace."""
    probes = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Network:
    """Three namespaces, or loopback.

    With `frames`, the interfaces are ready for XDP: veth takes a redirected frame only if
    its peer has a program or GRO, and a program in the driver sees no mark of a checksum
    that is still to be made, so that phones have to make it.
    """

    def __init__(self, label='', frames=False):
        self.label = f'{label}-' if label else ''
        self.frames = frames
        self.names = {}
        self.relay_ip = '127.0.0.1'
        self.phone_ip = {'caller': '127.0.0.1', 'callee': '127.0.0.1'}
        self.kind = 'loopback'

    def start(self):
        if os.geteuid() != 0:
            return
        names = {name: f'mp-{os.getpid()}-{self.label}{name}'
                 for name in ('relay', 'caller', 'callee')}
        for name, netns in names.items():
            command('ip', 'netns', 'add', netns)
            self.names[name] = netns
            command('ip', '-n', netns, 'link', 'set', 'lo', 'up')
        for name, (phone_ip, router_ip) in NET.items():
            command('ip', '-n', names['relay'], 'link', 'add', name, 'type', 'veth',
                    'peer', 'name', 'eth0', 'netns', names[name])
            for netns, link, address in ((names['relay'], name, router_ip),
                                         (names[name], 'eth0', phone_ip)):
                command('ip', '-n', netns, 'address', 'add', f'{address}/24', 'dev', link)
                command('ip', '-n', netns, 'link', 'set', link, 'up')
            command('ip', '-n', names[name], 'route', 'add', 'default', 'via', router_ip)
            self.phone_ip[name] = phone_ip
        command('ip', 'netns', 'exec', names['relay'], 'sysctl', '-q', 'net.ipv4.ip_forward=1')
        if self.frames:
            self.prepare_for_frames()
        self.relay_ip = NET['caller'][1]
        self.kind = 'veth'

    def prepare_for_frames(self):
        for name in NET:
            command(*self.inside('relay', ('ethtool', '-K', name, 'gro', 'on')))
            command(*self.inside(name, ('ethtool', '-K', 'eth0', 'gro', 'on', 'tx', 'off')))

    def mac(self, name, device):
        """The address of an interface in the namespace of caller, callee or relay."""
        link, = json.loads(command('ip', '-json', '-netns', self.names[name], 'link', 'show',
                                   device))
        return link['address']

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        for netns in self.names.values():
            subprocess.run(('ip', 'netns', 'delete', netns), check=False)
        self.names = {}

    def inside(self, name, words):
        return ['ip', 'netns', 'exec', self.names[name], *words] if self.names else list(words)

    def load_options(self):
        words = ['--caller-ip', self.phone_ip['caller'], '--callee-ip', self.phone_ip['callee']]
        if self.names:
            words += ['--caller-netns', self.names['caller'],
                      '--callee-netns', self.names['callee']]
        return words


class Processes:
    """Children that are stopped in reverse order, with one log each."""

    def __init__(self, folder):
        self.folder = folder
        self.children = []

    def start(self, name, words):
        log = os.path.join(self.folder, f'{name}.log')
        with open(log, 'wb') as out:
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out,
                                     stderr=subprocess.STDOUT, process_group=0,
                                     preexec_fn=end_with_parent)
        self.children.append((name, child, log))
        return child

    def look(self):
        for name, child, log in self.children:
            if child.poll() is not None:
                with open(log, encoding='utf-8', errors='replace') as text:
                    raise CannotMeasure(f'{name} ended by itself: {text.read()[-2000:]}')

    def stop(self):
        for _, child, _ in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout=WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children = []


class MediaProxy:
    """A dispatcher and a relay, joined by mTLS. Use with `with`."""

    title = 'MediaProxy'
    forwarding = 'userspace'
    more_config = ''

    def __init__(self, build, network, port_range='40000:60000', port_rest='5'):
        self.build = build
        self.network = network
        self.port_range = port_range
        self.port_rest = port_rest

    def program(self, name):
        return os.path.join(self.build, name)

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix='mediaproxy-bench.')
        self.processes = Processes(self.folder)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        self.processes.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        config, self.runtime = (os.path.join(self.folder, name) for name in ('config', 'run'))
        tls = os.path.join(config, 'tls')
        os.makedirs(tls)
        os.mkdir(self.runtime)
        for what in ('init', 'dispatcher', 'relay'):
            command(self.program('mediaproxy'), 'certs', what, '--folder', tls)
        link_port, management_port = free_ports(2)
        with open(os.path.join(config, 'config.ini'), 'w', encoding='ascii') as out:
            out.write(CONFIG.format(link_port=link_port, management_port=management_port,
                                    relay_ip=self.network.relay_ip, port_range=self.port_range,
                                    port_rest=self.port_rest, forwarding=self.forwarding)
                      + self.more_config)
        options = ('--no-fork', '--config-dir', config, '--runtime-dir', self.runtime)
        self.dispatcher, self.relay = (
            self.run(name, options, fact) for name, fact in
            (('media-dispatcher', lambda: self.relays() is not None),
             ('media-relay', self.relays)))
        self.media_pid = self.relay.pid
        self.requests = self.connect()

    def run(self, name, options, ready):
        child = self.processes.start(name, self.network.inside(
            'relay', (self.program(name), *options)))
        wait_for(lambda: self.processes.look() or ready(), f'{name} is ready')
        return child

    def summary(self, *where):
        done = subprocess.run((self.program('mediaproxy'), 'summary', '--json', *where),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=5, check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {}

    def relays(self):
        summary = self.summary('--runtime-dir', self.runtime)
        return len(summary['relays']) if 'relays' in summary else None

    def kernel_flows(self):
        """How many flows the kernel forwards now. The one place that knows the relay's JSON."""
        summary = self.summary('--socket', os.path.join(self.runtime, 'media-relay.ctl'))
        if summary.get('engine') != self.forwarding:
            raise NotThere(f'the relay runs {summary.get("engine")}, not {self.forwarding}')
        return summary.get('flows', 0)

    def has_taken(self, calls):
        """Whether what the candidate is to be measured with has these calls by now."""
        return self.forwarding == 'userspace' or self.kernel_flows() >= 2 * calls

    def apply(self):
        """All calls are set up. Here nothing is left to do."""

    def connect(self):
        proxy = socket.socket(socket.AF_UNIX)
        proxy.settimeout(WAIT_SECONDS)
        proxy.connect(os.path.join(self.runtime, 'dispatcher.sock'))
        self.socket = proxy
        return proxy.makefile('rb')

    def ask(self, request):
        self.socket.sendall(request.encode('ascii'))
        reply = self.requests.readline().decode('ascii').split()
        if not reply or reply[0] in ('error', 'None'):
            raise CannotMeasure(f'{self.title} answered {reply} to {request!r}')
        return reply

    def update(self, number, kind, ip, port):
        answer = 'to_tag: b\r\n' if kind == 'reply' else ''
        reply = self.ask(f'update\r\ntype: {kind}\r\ncall_id: bench-{number}@example.com\r\n'
                         f'cseq: 1\r\nfrom_uri: alice@example.com\r\nto_uri: bob@example.com\r\n'
                         f'from_tag: a{number}\r\n{answer}user_agent: bench\r\n'
                         f'signaling_ip: {ip}\r\nmedia: audio:{ip}:{port}:sendrecv:ice=no\r\n\r\n')
        return reply[0], int(reply[1])

    def call(self, number, caller, callee):
        """Set a call up; (ip, port) of the phones. @return where each of them sends to"""
        for_callee = self.update(number, 'request', *caller)
        for_caller = self.update(number, 'reply', *callee)
        return for_caller, for_callee

    def hang_up(self, number):
        self.ask(f'remove\r\ncall_id: bench-{number}@example.com\r\nfrom_tag: a{number}\r\n'
                 'to_tag: b\r\n\r\n')

    def signalling(self, connections, seconds):
        return self.bench(connections=connections, seconds=seconds)

    def bench(self, **options):
        """`mediaproxy bench signalling` with these options: the figures, by their names there."""
        words = [self.program('mediaproxy'), 'bench', 'signalling', '--runtime-dir', self.runtime,
                 '--pid', f'{self.dispatcher.pid},{self.relay.pid}', '--json']
        for name, value in options.items():
            words += [f'--{name}', str(value)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              timeout=options.get('seconds', 300) + WAIT_SECONDS, check=False)
        try:
            figures = json.loads(done.stdout)
        except ValueError:
            raise CannotMeasure('mediaproxy bench signalling gave no figures') from None
        figures['cpu_us_per_call'] = sum(daemon['us_per_call'] for daemon in figures['cpu'])
        figures['port_range'] = self.port_range
        figures['port_rest_s'] = self.port_rest
        return figures


def memory_kb(pid):
    """What a process holds, from /proc/PID/smaps_rollup."""
    with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as text:
        lines = [line.split() for line in text if line.endswith(' kB\n')]
    values = {line[0].rstrip(':').lower(): int(line[1]) for line in lines}
    return {'rss': values['rss'], 'pss': values['pss'], 'pss_anon': values['pss_anon'],
            'private': values['private_clean'] + values['private_dirty']}
