"""What moves the packets between the two phones: the candidates of the packet rate

Each has a title, is used with `with`, and has the names of lab.MediaProxy: call() says where
the phones of a call send to, apply() is called when all calls are set up, has_taken() says
whether it is ready for them, hang_up() ends one. media_pid is the process that moves
packets, or None. learns: phones have to send first. whole_checksums: what it sends through
veth has its UDP checksum already; otherwise the network card would make it. overload_kills:
calls that had more packets than it can move are of no use afterwards.
"""
import os
import subprocess

import frames
import lab
import rtpengine

FIRST_PORT = 20000


class Userspace(lab.MediaProxy):
    title = 'userspace'
    learns, whole_checksums, overload_kills = True, False, False


class Xdp(lab.MediaProxy):
    title = 'xdp'
    forwarding = 'xdp'
    learns, whole_checksums, overload_kills = True, True, False


class Tc(lab.MediaProxy):
    title = 'tc'
    forwarding = 'tc'
    learns, whole_checksums, overload_kills = True, True, False


class Kernel:
    """What needs no daemon: calls get ports in turn."""

    media_pid = None
    learns, whole_checksums, overload_kills = False, True, False

    def __init__(self, build, network):
        self.build = build
        self.network = network
        self.calls = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def call(self, number, caller, callee):
        port = FIRST_PORT + 2 * len(self.calls)
        self.calls[number] = (caller, callee, port)
        return (self.network.relay_ip, port), (self.network.relay_ip, port + 1)

    def hang_up(self, number):
        pass

    def apply(self):
        pass

    def has_taken(self, calls):
        return True


class BareRedirect(Kernel):
    """bench/bare_redirect: what XDP cannot be faster than. Packets arrive unchanged."""

    title = 'bare redirect'

    def __enter__(self):
        self.tool = frames.Tool([os.path.join(self.build, 'bench', 'bare_redirect'),
                                 self.network.names['relay'], 'caller', 'callee'])
        return self

    def __exit__(self, *exc):
        self.tool.__exit__(*exc)


class FlowLoad(Kernel):
    """bench/flow_load: the relay's XDP program and maps without a relay, so that there can be as
    many flows as wanted. It is given NETNS FROM TO MAC N, then N flows as they arrive and N as they
    have to leave; MAC is where they go."""

    title = 'flow_load'
    tool = None

    def apply(self):
        program = os.path.join(self.build, 'bench', 'flow_load')
        if not os.path.exists(program):
            raise lab.NotThere('bench/flow_load is not built')
        relay_ip = self.network.relay_ip
        arriving = [(*caller, relay_ip, port) for caller, _, port in self.calls.values()]
        leaving = [(relay_ip, port + 1, *callee) for _, callee, port in self.calls.values()]
        self.tool = frames.Tool(
            [program, self.network.names['relay'], 'caller', 'callee',
             self.network.mac('callee', 'eth0'), str(len(arriving))],
            frames.as_lines(arriving + leaving))

    def __exit__(self, *exc):
        if self.tool:
            self.tool.__exit__(*exc)


RULES = """\
table ip bench {{
    map receiver {{
        type inet_service : ipv4_addr . inet_service
        elements = {{ {receivers} }}
    }}
    map sender {{
        type ipv4_addr . inet_service : ipv4_addr . inet_service
        elements = {{ {senders} }}
    }}
    chain to_phone {{
        type nat hook prerouting priority dstnat
        ip daddr {relay_ip} meta l4proto udp dnat ip to udp dport map @receiver
    }}
    chain from_relay {{
        type nat hook postrouting priority srcnat
        meta l4proto udp snat ip to ip daddr . udp dport map @sender
    }}
}}
"""


class Conntrack(Kernel):
    """NAT by nftables and conntrack, which is how MediaProxy 4 moved packets. The rules are looked
    at once for each call, since conntrack keeps what came of them."""

    title = 'conntrack'

    def apply(self):
        receivers, senders = [], []
        relay_ip = self.network.relay_ip
        for caller, callee, port in self.calls.values():
            receivers += [f'{port} : {callee[0]} . {callee[1]}',
                          f'{port + 1} : {caller[0]} . {caller[1]}']
            senders += [f'{callee[0]} . {callee[1]} : {relay_ip} . {port + 1}',
                        f'{caller[0]} . {caller[1]} : {relay_ip} . {port}']
        rules = RULES.format(receivers=', '.join(receivers), senders=', '.join(senders),
                             relay_ip=relay_ip)
        done = subprocess.run(self.network.inside('relay', ('nft', '-f', '-')), input=rules,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
        if done.returncode != 0:
            raise lab.CannotMeasure(f'nft: {done.stdout.strip()[:500]}')


class Rtpengine(rtpengine.Rtpengine):
    """Each measurement gets new calls: rtpengine 10.5 is edge-triggered and leaves a socket after
    50 packets, so that one whose buffer is full by then is never heard of again."""

    learns, whole_checksums, overload_kills = True, False, True

    def __enter__(self):
        if not self.is_installed():
            raise lab.NotThere('rtpengine is not installed')
        return super().__enter__()


def wanted(kinds, options):
    return [kind for kind in kinds if not (options.alone and kind is Rtpengine)]


def moves_packets_itself(kind):
    """Not the kernel, but a daemon."""
    return kind in (Userspace, Rtpengine)
