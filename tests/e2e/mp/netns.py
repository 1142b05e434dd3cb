"""Network namespaces: a small network for each test run, gone when the run is.

    caller   callee   proxy   relay1 .. relay3       each with eth0
       |        |       |        |        |
       +--------+---- bridge ----+--------+          10.88.0.0/24, fd88::/64
                        |
                       nat ---- home                 192.168.7.0/24, on demand
                 officenat ---- office               192.168.8.0/24, on demand

    relay1 eth1 ---- eth1 callee                     10.99.0.0/24, fd99::/64, on demand

All are named mp-PID-NAME. Those of a pid that is gone are removed at the start and the
end of every run.
"""

import ctypes
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import threading

NAMES = {
    "proxy": 2,
    "relay1": 11,
    "relay2": 12,
    "relay3": 13,
    "caller": 21,
    "callee": 22,
    "stranger": 66,
}
# Hosts behind a NAT: the NAT's name, the last byte of its address, the network behind it.
HOMES = {
    "home": ("nat", 31, "192.168.7"),
    "office": ("officenat", 41, "192.168.8"),
}
NETNS_DIR = "/run/netns"
CLONE_NEWNET = 0x40000000

# linux/sockios.h, linux/ethtool.h
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17
ETHTOOL_SGRO = 0x2c

_libc = ctypes.CDLL(None, use_errno=True)


def available():
    """None, or the reason why no namespace can be made here."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    return None


def remove(name):
    """Remove a namespace of ours, and end what still runs in it."""
    done = subprocess.run(["ip", "netns", "pids", name], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for pid in done.stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def remove_stale():
    """Remove the namespaces of test runs whose process is gone."""
    try:
        names = os.listdir(NETNS_DIR)
    except FileNotFoundError:
        return
    for name in names:
        match = re.fullmatch(r"mp-(\d+)-[a-z0-9]+", name)
        if match and not os.path.exists("/proc/" + match.group(1)):
            remove(name)


def _ip(commands, namespace=None):
    argv = ["ip"] + (["-n", namespace] if namespace else []) + ["-batch", "-"]
    done = subprocess.run(argv, input="\n".join(commands) + "\n", text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise RuntimeError("ip -batch failed: %s\n%s" % (done.stdout, "\n".join(commands)))


def _mac(number):
    return "02:00:00:88:00:%02x" % number


def _neighbours(own):
    """They know each other from the start: what waits for an ARP reply may be overtaken by what
    is sent just after it, and tests compare the order of packets."""
    return ["neigh add %s lladdr %s dev eth0 nud permanent" % (prefix % number, _mac(number))
            for number in NAMES.values() if number != own
            for prefix in ("10.88.0.%d", "fd88::%d")]


class Namespace:
    """One host of the network, with its addresses."""

    def __init__(self, name, ip, ip6):
        self.name = name
        self.ip = ip
        self.ip6 = ip6

    def command(self, argv):
        """argv, run inside. `ip netns exec` execs: the pid is that of the program."""
        return ["ip", "netns", "exec", self.name] + list(argv)

    def run(self, argv, **options):
        return subprocess.run(self.command(argv), check=True, **options)

    def inside(self, function):
        """Call a function on a thread that has entered the namespace."""
        result = []

        def body():
            try:
                fd = os.open(os.path.join(NETNS_DIR, self.name), os.O_RDONLY)
                try:
                    if _libc.setns(fd, CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns " + self.name)
                finally:
                    os.close(fd)
                result.append((function(), None))
            except BaseException as error:  # handed to the caller's thread
                result.append((None, error))

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        value, error = result[0]
        if error is not None:
            raise error
        return value

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_DGRAM):
        """A socket of this namespace; it may be used from any thread."""
        return self.inside(lambda: socket.socket(family, kind))


    def offload(self, command, on, device="eth0"):
        """`ethtool -K`: ETHTOOL_STXCSUM or ETHTOOL_SGRO, on or off."""
        value = ctypes.create_string_buffer(struct.pack("=II", command, int(on)))
        request = struct.pack("16sP", device.encode(), ctypes.addressof(value)).ljust(40, b"\0")
        with self.socket() as sock:
            fcntl.ioctl(sock, SIOCETHTOOL, request)

    def programs(self):
        """What forwards packets on its interfaces: XDP programs, clsact and its filters."""
        links = self.run(["ip", "-d", "-o", "link"], text=True, stdout=subprocess.PIPE).stdout
        found = [line for line in links.splitlines() if "prog/xdp" in line]
        for line in links.splitlines():
            name = line.split(": ")[1].split("@")[0]
            for argv in (["tc", "qdisc", "show", "dev", name, "clsact"],
                         ["tc", "filter", "show", "dev", name, "ingress"]):
                found += self.run(argv, text=True, stdout=subprocess.PIPE).stdout.splitlines()
        return [line.strip() for line in found if line.strip()]


# What a NAT does to packets that go out, and whom it lets in: RFC 3489 has the names. All but the
# symmetric one keep a phone's port where it is free.
_MASQUERADE = "type nat hook postrouting priority 100; oifname eth0 masquerade"
_TO_HOME = "type nat hook prerouting priority -100; iifname eth0"
NATS = {
    "full cone": {"going": _MASQUERADE, "coming": _TO_HOME + " udp dport 1024-65535 dnat to HOME"},
    "address restricted": {
        "going": _MASQUERADE,
        "noted": "type filter hook forward priority 0; iifname eth1 "
                "update @spoken { ip daddr . udp sport }",
        "coming": _TO_HOME + " ip saddr . udp dport @spoken dnat to HOME"},
    "port restricted": {"going": _MASQUERADE},
    "symmetric": {"going": _MASQUERADE + " fully-random"},
}
_SPOKEN = " set spoken { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; }\n"


class Nat(Namespace):
    """A NAT between the bridge (eth0) and a home (eth1), by nftables."""

    def __init__(self, network, name, ip, home_ip, mac):
        super().__init__(name, ip, None)
        self.mac = mac
        self._network = network
        self._first_ip = ip
        self._home_ip = home_ip
        self._timeout_s = 30
        self._neighbours_know = set()

    def become(self, kind):
        """A NAT of another kind, with the address and the timeouts of the start."""
        chains = "".join(" chain %s {\n  %s\n }\n" % (name, rule)
                         for name, rule in NATS[kind].items())
        self.run(["nft", "-f", "-"], text=True, input=(
            "table ip nat\ndelete table ip nat\ntable ip nat {\n%s%s}\n"
            % (_SPOKEN, chains.replace("HOME", self._home_ip))))
        if self._timeout_s != 30:
            self.forget_after(30)
        if self.ip != self._first_ip:
            self.move(self._first_ip)

    def move(self, ip):
        """Another public address, or the same one: all mappings are gone, as they are when a
        modem connects again."""
        self.ip = ip
        if ip not in self._neighbours_know:
            self._neighbours_know.add(ip)
            for host in self._network.hosts.values():
                if host is not self and host.ip.startswith("10.88."):
                    _ip(["neigh replace %s lladdr %s dev eth0 nud permanent" % (ip, self.mac)],
                        host.name)
        _ip(["addr flush dev eth0 scope global", "addr add %s/24 dev eth0" % ip], self.name)

    def forget_after(self, seconds):
        """How long a mapping lives without packets."""
        self._timeout_s = seconds
        self.run(["sysctl", "-q"] + ["net.netfilter.nf_conntrack_udp_timeout%s=%d"
                                     % (which, seconds) for which in ("", "_stream")])


class Network:
    """Hosts as attributes: network.caller, .callee, .proxy, .relay1 to .relay3, .stranger.

    After behind_nat() also .home and .nat, after behind_nat("office") .office and .officenat.
    """

    def __init__(self):
        remove_stale()
        prefix = "mp-%d-" % os.getpid()
        self.bridge = prefix + "bridge"
        self.hosts = {}
        self._made = []
        self._sums = True
        self._side_road = []
        try:
            self._build(prefix)
        except BaseException:
            self.close()
            raise

    def _build(self, prefix):
        _ip(["netns add " + self.bridge] + ["netns add " + prefix + name for name in NAMES])
        self._made = [self.bridge] + [prefix + name for name in NAMES]
        _ip(["link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
             "link set br0 up"], self.bridge)
        _ip(["link add %s netns %s type veth peer name eth0 netns %s address %s"
             % (name, self.bridge, prefix + name, _mac(number)) for name, number in NAMES.items()])
        _ip(["link set %s master br0 up" % name for name in NAMES], self.bridge)
        for name, number in NAMES.items():
            host = Namespace(prefix + name, "10.88.0.%d" % number, "fd88::%d" % number)
            self._take_redirected(name)
            self.hosts[name] = host
            setattr(self, name, host)
            _ip(["link set lo up", "link set eth0 addrgenmode none"], host.name)
            self.configure(name)

    def configure(self, name):
        """Give a host the addresses, routes and neighbours that it has from the start; it may
        have lost any of them."""
        host, number = self.hosts[name], NAMES[name]
        _ip(["route flush table main", "addr flush dev eth0 scope global",
             "neigh flush dev eth0 nud all",
             "link set eth0 up mtu 1500 address %s" % _mac(number),
             "addr add %s/24 dev eth0" % host.ip,
             "addr add %s/64 dev eth0 nodad" % host.ip6,
             "route add default via 10.88.0.1"] + _neighbours(number), host.name)

    def make_public(self, *names):
        """Give hosts public addresses too, and say by which: all know the way there."""
        public = {name: "203.0.113.%d" % NAMES[name] for name in names}
        for name, host in self.hosts.items():
            if name in HOMES:
                continue
            lines = ["route replace 203.0.113.0/24 dev eth0"]
            if name in public:
                lines = ["addr replace %s/24 dev eth0" % public[name]]
            lines += ["neigh replace %s lladdr %s dev eth0 nud permanent" % (
                ip, _mac(NAMES[other])) for other, ip in public.items() if other != name]
            _ip(lines, host.name)
        return [public[name] for name in names]

    def another_address(self, name, ip, ip6=None):
        """More addresses for a host, until configure(): /24 and /64, known to all others."""
        host, number = self.hosts[name], NAMES[name]
        _ip(["addr add %s/24 dev eth0" % ip]
            + (["addr add %s/64 dev eth0 nodad" % ip6] if ip6 else []), host.name)
        for other in NAMES:
            if other != name:
                _ip(["neigh replace %s lladdr %s dev eth0 nud permanent" % (a, _mac(number))
                     for a in (ip, ip6) if a], self.hosts[other].name)

    def side_road(self):
        """A second network between relay1 and callee: eth1 of both, with `side` and `side6`. Gone
        with close_side_road()."""
        relay, callee = self.relay1, self.callee
        macs = [_mac(number + 0x60) for number in (NAMES["relay1"], NAMES["callee"])]
        _ip(["link add eth1 netns %s address %s type veth peer name eth1 netns %s address %s"
             % (relay.name, macs[0], callee.name, macs[1])])
        for host, number, own, there in ((relay, 11, macs[0], macs[1]),
                                         (callee, 22, macs[1], macs[0])):
            host.side, host.side6 = "10.99.0.%d" % number, "fd99::%d" % number
            peer = 33 - number
            _ip(["link set eth1 addrgenmode none up",
                 "addr add %s/24 dev eth1" % host.side,
                 "addr add %s/64 dev eth1 nodad" % host.side6,
                 "neigh add 10.99.0.%d lladdr %s dev eth1 nud permanent" % (peer, there),
                 "neigh add fd99::%d lladdr %s dev eth1 nud permanent" % (peer, there)], host.name)
            host.offload(ETHTOOL_SGRO, True, "eth1")
            host.offload(ETHTOOL_STXCSUM, self._sums, "eth1")
        self._side_road = [relay, callee]

    def close_side_road(self):
        """May have happened before."""
        self._side_road = []
        subprocess.run(self.relay1.command(["ip", "link", "del", "eth1"]), check=False,
                       stderr=subprocess.DEVNULL)

    def _take_redirected(self, peer):
        """Let the bridge's end of a cable take what XDP sends through the other end: with GRO,
        it is a NAPI device, and the kernel says of the other one that XDP may send (NDO_XMIT).
        """
        Namespace(self.bridge, None, None).offload(ETHTOOL_SGRO, True, peer)

    def prepare(self, engine):
        """XDP on veth loses the mark of a checksum that still waits to be computed; TC does not,
        and this is worth a test. So hosts compute it themselves for XDP, and only then."""
        self._sums = engine != "xdp"
        for host in self.hosts.values():
            host.offload(ETHTOOL_STXCSUM, self._sums)
        for host in self._side_road:
            host.offload(ETHTOOL_STXCSUM, self._sums, "eth1")

    def behind_nat(self, name="home", kind="symmetric"):
        """The host `home` (or `office`) behind its Nat `nat` (`officenat`), of a kind of NATS."""
        nat_name, number, inner = HOMES[name]
        if name not in self.hosts:
            self._make_home(name, nat_name, number, inner)
        self.hosts[nat_name].become(kind)
        return self.hosts[name]

    def _make_home(self, name, nat_name, number, inner):
        prefix = "mp-%d-" % os.getpid()
        nat = Nat(self, prefix + nat_name, "10.88.0.%d" % number, inner + ".2", _mac(number))
        home = Namespace(prefix + name, inner + ".2", None)
        _ip(["netns add " + host.name for host in (nat, home)])
        self._made += [nat.name, home.name]
        inside = [_mac(number + 1), _mac(number + 2)]
        _ip(["link add %s netns %s type veth peer name eth0 netns %s address %s"
             % (nat_name, self.bridge, nat.name, nat.mac),
             "link add eth1 netns %s address %s type veth peer name eth0 netns %s address %s"
             % (nat.name, inside[0], home.name, inside[1])])
        _ip(["link set %s master br0 up" % nat_name], self.bridge)
        # Three phones: they share the host, each with an address of its own.
        phones = ["%s.%d" % (inner, last) for last in (2, 3, 4)]
        _ip(["link set lo up", "link set eth0 up",
             "addr add %s.1/24 dev eth1" % inner, "link set eth1 up"]
            + ["neigh add %s lladdr %s dev eth1 nud permanent" % (ip, inside[1]) for ip in phones]
            + [line for line in _neighbours(number) if "fd88" not in line], nat.name)
        _ip(["link set lo up", "link set eth0 up"]
            + ["addr add %s/24 dev eth0" % ip for ip in phones]
            + ["neigh add %s.1 lladdr %s dev eth0 nud permanent" % (inner, inside[0]),
               "route add default via %s.1" % inner], home.name)
        nat.run(["sysctl", "-q", "net.ipv4.ip_forward=1"])
        nat.move(nat.ip)
        self._take_redirected(nat_name)
        for host in nat, home:
            host.offload(ETHTOOL_STXCSUM, self._sums)
        self.hosts.update({nat_name: nat, name: home})
        setattr(self, nat_name, nat)
        setattr(self, name, home)

    def close(self):
        for name in self._made:
            remove(name)
        self._made = []
        remove_stale()
