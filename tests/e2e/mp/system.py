"""A dispatcher with its relays, and what talks to them: the fixture of nearly every test."""

import os
import shutil
import tempfile

from .daemons import Dispatcher, Relay
from .kamailio import ENGAGE, Kamailio
from .phone import Phone
from .programs import PortBlock
from .proxy import Call, ProxyClient
from .sipp import Sipp, make_sdp


class CallSystem:
    """One dispatcher and some relays, on loopback or in a network of namespaces.

    The attributes dispatcher, relay (the first one) and relays are the daemons. Everything
    that is made by a method is closed by close(); the daemons are judged by check().
    """

    def __init__(self, folder, certs, network=None, relays=1, relay_config=None,
                 dispatcher_config=None, dispatcher_sections=None, relay_sections=None,
                 port_blocks=1, family=4, engine=None, place=0, started=True):
        """
        engine: what forwards media: userspace, tc or xdp; None leaves it to the relay.
        network: a Network, or None for loopback.
        relays: how many; more than one only in a network, since a relay is known by the
            address that it connects from.
        relay_config, dispatcher_config: keys of [Relay] and [Dispatcher]. relay_config may be
            a list, with one dict for each relay.
        place: of several systems in one network, one for each SIP proxy, this is number `place`.
            Its dispatcher has ports of its own, and its relays begin at relay{place + 1}.
        family: of the media: 4 or 6. Links and management are IPv4.
        port_blocks: on loopback each relay gets about 95 port pairs for each block.
        started: False leaves the start to the test: start(), or each daemon by itself.
        """
        assert network or relays <= 1, "relays on one address replace each other"
        if network:
            network.prepare(engine)
        self.folder = str(folder)
        self.network = network
        self.family = family
        self._place = place
        self.engine = engine
        self.keep_sessions = False
        self._runtimes = []
        self._blocks = []
        self._clients = []
        self._phones = []
        self._programs = []
        self.dispatcher = self._make_dispatcher(certs, dispatcher_config, dispatcher_sections)
        self.relays = []
        for index in range(relays):
            config = relay_config[index] if isinstance(relay_config, list) else relay_config
            if engine:
                config = dict({"forwarding": engine}, **(config or {}))
            self.relays.append(self._make_relay(index, certs, config, relay_sections, port_blocks))
        self.relay = self.relays[0] if relays else None
        if started:
            self.start()

    def runtime_dir(self):
        """A new folder for sockets. Short: a UNIX socket's path has 107 bytes at most."""
        folder = tempfile.mkdtemp(prefix="mp-", dir="/tmp")
        self._runtimes.append(folder)
        return folder

    def port_block(self, blocks=1):
        self._blocks.append(PortBlock(blocks))
        return self._blocks[-1]

    def _make_dispatcher(self, certs, config, sections):
        options = {"config": config, "sections": sections}
        if self.network:
            options.update(ip=self.network.proxy.ip, namespace=self.network.proxy,
                           link_port=25060 + 2 * self._place,
                           management_port=25061 + 2 * self._place)
        else:
            block = self.port_block()
            options.update(link_port=block.tcp(0), management_port=block.tcp(1))
        return Dispatcher(self.folder, self.runtime_dir(), certs, **options)

    def _make_relay(self, index, certs, config, sections, port_blocks):
        name = "relay%d" % (self._place + index + 1)
        options = {"config": config, "sections": sections, "name": name}
        if self.network:
            host = self.network.hosts[name]
            options.update(ip=self._ip(host), namespace=host)
        else:
            options.update(ip="::1" if self.family == 6 else "127.0.0.1",
                           port_range=self.port_block(port_blocks).media)
        return Relay(self.folder, self.runtime_dir(), certs, [self.dispatcher], **options)

    def start(self):
        """Start all that does not run, and wait until the relays are connected."""
        for daemon in self.daemons:
            if not daemon.running():
                daemon.start()
        self.dispatcher.wait_relays(*[r.media_ip for r in self.relays])
        for daemon in self.daemons:
            if daemon.baseline_fds is None:
                daemon.note_fds()
        return self

    @property
    def daemons(self):
        return [self.dispatcher] + self.relays

    def _ip(self, host):
        return host.ip6 if self.family == 6 else host.ip

    # -- what talks to them ------------------------------------------------------------

    def client(self):
        """A connection to the dispatcher's socket."""
        client = ProxyClient(self.dispatcher.socket_path)
        self._clients.append(client)
        return client

    def call(self, clients=2, **options):
        """A call, told over so many connections in turn. Options: see class Call."""
        return Call(*[self.client() for _ in range(clients)], **options)

    def phone(self, name, ip=None):
        """The media side of a phone: on the host of that name; on loopback any name."""
        if self.network:
            host = self.network.hosts[name]
            phone = Phone(name, ip or self._ip(host), host)
        else:
            phone = Phone(name, ip or ("::1" if self.family == 6 else "127.0.0.1"))
        if self.network and self.engine != "userspace":
            # Of packets that come back to back while their flow is installed, the kernel's may
            # overtake those that userspace has in hand. No phone sends audio so.
            phone.gap_s = 0.001
        if self.network and self.engine in ("tc", "xdp"):
            phone.talked = self.wait_flows
        self._phones.append(phone)
        return phone

    def release(self, phone):
        """Give the ports of a phone back before the end of the test."""
        self._phones.remove(phone)
        phone.close()

    def kamailio(self, mode=ENGAGE, **options):
        """A running Kamailio in the proxy's namespace."""
        kamailio = Kamailio(self.folder, self.network.proxy, self.dispatcher.socket_path,
                            self.network.callee.ip, mode, **options)
        self._programs.append(kamailio)
        return kamailio.start()

    def sip_callee(self, scenario="callee", *sdp, **options):
        """A running sipp that takes one call. sdp: a list of streams for each answer."""
        return self._sipp(self.network.callee, scenario, sdp, **options)

    def sip_caller(self, scenario="caller", *sdp, call_id=None, host="caller", **options):
        """A running sipp that makes one call through the proxy."""
        call_id = call_id or "call-%d-%s@caller" % (len(self._programs), scenario)
        return self._sipp(self.network.hosts[host], scenario, sdp, remote=self.network.proxy.ip,
                          call_id=call_id, **options)

    def _sipp(self, host, scenario, sdp, **options):
        bodies = [body if isinstance(body, str) else
                  make_sdp(host.ip, *body, version=number) for number, body in enumerate(sdp, 1)]
        options.setdefault("name", "%d-%s" % (len(self._programs), scenario))
        phone = Sipp(self.folder, host, scenario, bodies, **options)
        self._programs.append(phone)
        return phone.start()

    def wait_flows(self, *addresses, deadline=3.0):
        """Wait until it is settled who forwards what comes to these addresses of relays."""
        for relay in self.relays:
            relay.wait_flows(*[a for a in addresses if a[0] == relay.media_ip], deadline=deadline)

    # -- the end -----------------------------------------------------------------------

    def hang_up(self):
        """Close what talks to the daemons. Returns what went wrong."""
        errors = []
        for client in self._clients:
            client.close()
        for program in reversed(self._programs):
            errors += _caught(program.stop)
        for phone in self._phones:
            errors += _caught(phone.close)
        self._clients, self._phones = [], []
        return errors

    def check(self):
        """created == destroyed, and no file left open. Returns what is wrong."""
        errors = []
        for relay in self.relays:
            if relay.running() and not self.keep_sessions:
                errors += _caught(relay.wait_empty)
                errors += _caught(relay.check_no_flows)
        for daemon in self.daemons:
            if daemon.running() and not self.keep_sessions:
                errors += _caught(daemon.check_fds)
        return errors

    def stop(self):
        """Stop the daemons: relays first, as they report to the dispatcher."""
        errors = []
        for daemon in reversed(self.daemons):
            ran = daemon.running()
            errors += _caught(daemon.stop)
            if ran and self.network and daemon in self.relays:
                errors += _caught(lambda: _check_no_programs(daemon))
        return errors

    def check_engine(self, few_packets=False):
        """Packets were forwarded by the engine that was asked for. Returns what is wrong.

        few_packets: too few for all to be sure that the kernel had some.
        """
        running = [relay.summary() for relay in self.relays if relay.running()]
        errors = ["engine %s (%s), not %s: %s" % (
            s["engine"], s["engine_reason"], self.engine, s["interfaces"])
            for s in running if s["engine"] != self.engine]
        packets = sum(s["kernel_packets"] for s in running)
        if self.engine == "userspace" and packets > 0:
            errors.append("the kernel forwarded %d packets for userspace" % packets)
        if self.engine != "userspace" and running and packets == 0 and not few_packets:
            errors.append("the kernel forwarded nothing: %s" % running)
        return errors

    def close(self, judge=True):
        """The end of every test; fails it if anything was left. judge=False: it failed already."""
        errors = self.hang_up()
        errors = errors + self.check() if judge else []
        errors += self.stop()
        for block in self._blocks:
            block.close()
        for folder in self._runtimes:
            shutil.rmtree(folder, ignore_errors=True)
        if errors:
            raise AssertionError("\n\n".join(errors))

    def logs(self):
        """{name: the end of its log}, for the report of a failed test."""
        programs = self.daemons + self._programs
        return {p.name: p.log()[-8000:] for p in programs if os.path.exists(p.log_path)}


def _check_no_programs(relay):
    found = relay.namespace.programs()
    assert not found, "%s left in the kernel: %s" % (relay.name, found)


def _caught(function):
    try:
        function()
    except Exception as error:  # collected: every program has to be stopped
        return ["%s: %s" % (type(error).__name__, error)]
    return []
