"""rtpengine (Debian package rtpengine-daemon), to be measured side by side

In user space (--table=-1), driven by its NG protocol: bencoded dictionaries in UDP
datagrams, without TLS. It gets the same addresses, the same ports and the same phones, and
ends calls at once (--delete-delay=0), since 30 s, its default, would take all ports.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile

import lab

NG_PORT = 22222


def bencode(value):
    if isinstance(value, dict):
        return b'd' + b''.join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b'e'
    raw = value.encode('ascii')
    return b'%d:%s' % (len(raw), raw)


def socket_in(netns):
    """A UDP socket in another network namespace; None: in ours."""
    with lab.inside_netns(netns):
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def sdp_of(ip, port):
    return (f'v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n'
            f'm=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n')


class Rtpengine:
    """Use with `with`, as lab.MediaProxy."""

    title = 'rtpengine'

    def __init__(self, build, network):
        self.build = build
        self.network = network

    @staticmethod
    def is_installed():
        return shutil.which('rtpengine') is not None

    @staticmethod
    def version():
        done = subprocess.run(('rtpengine', '--version'), stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        found = re.search(r'Version: *(\S+)', done.stdout)
        return found.group(1) if found else 'unknown'

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix='mediaproxy-bench.')
        self.processes = lab.Processes(self.folder)
        self.counter = 0
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
        self.control = socket_in(self.network.names.get('relay'))
        self.control.settimeout(0.5)
        self.control.connect(('127.0.0.1', NG_PORT))
        child = self.processes.start('rtpengine', self.network.inside('relay', (
            'rtpengine', '--config-file=none', '--foreground', '--table=-1', '--log-stderr',
            '--log-level=6', f'--interface={self.network.relay_ip}',
            f'--listen-ng=127.0.0.1:{NG_PORT}', '--port-min=40000', '--port-max=59999',
            '--delete-delay=0', f'--pidfile={self.folder}/pid')))
        self.media_pid = child.pid
        lab.wait_for(lambda: self.processes.look() or self.answers(), 'rtpengine is ready')

    def answers(self):
        try:
            return self.ask({'command': 'ping'})
        except (OSError, lab.CannotMeasure):
            return False

    def ask(self, request):
        self.counter += 1
        cookie = b'c%d' % self.counter
        self.control.send(cookie + b' ' + bencode(request))
        while True:
            reply = self.control.recv(65536)
            if reply.startswith(cookie + b' '):
                break
        if b'6:result5:error' in reply:
            raise lab.CannotMeasure(f'rtpengine: {reply!r}')
        return reply.decode('ascii', 'replace')

    def update(self, number, kind, ip, port):
        request = {'command': kind, 'call-id': f'bench-{number}', 'from-tag': 'a',
                   'sdp': sdp_of(ip, port)}
        if kind == 'answer':
            request['to-tag'] = 'b'
        found = re.search(r'm=audio (\d+)', self.ask(request))
        if not found:
            raise lab.CannotMeasure('rtpengine gave no port')
        return self.network.relay_ip, int(found.group(1))

    def call(self, number, caller, callee):
        for_callee = self.update(number, 'offer', *caller)
        for_caller = self.update(number, 'answer', *callee)
        return for_caller, for_callee

    def has_taken(self, calls):
        return True

    def apply(self):
        """As lab.MediaProxy."""

    def hang_up(self, number):
        self.ask({'command': 'delete', 'call-id': f'bench-{number}', 'from-tag': 'a'})

    def signalling(self, connections, seconds):
        words = self.network.inside('relay', (
            os.path.join(self.build, 'bench', 'ng_load'), str(NG_PORT), str(connections),
            str(seconds), str(self.media_pid)))
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              timeout=seconds + lab.WAIT_SECONDS, check=False)
        try:
            figures = json.loads(done.stdout)
        except ValueError:
            raise lab.CannotMeasure('ng_load gave no figures') from None
        figures['port_range'] = '40000:60000'
        figures['port_rest_s'] = '0'
        return figures
