"""media-dispatcher and media-relay: configured, started, asked, stopped."""

import json
import os
import re
import signal
import socket

from . import control
from .process import Process
from .programs import program
from .wait import wait_for

# What a test leaves behind is told by pairs of counters in the relay's summary.
PAIRS = [
    ("sessions_created", "sessions_destroyed"),
    ("streams_created", "streams_destroyed"),
    ("ports_taken", "ports_returned"),
    ("sockets_opened", "sockets_closed"),
]


def write_config(path, sections):
    """sections: {"Relay": {"relay_ip": ...}}. A value of None leaves the key out."""
    with open(path, "w") as file:
        for name, keys in sections.items():
            file.write("[%s]\n" % name)
            for key, value in keys.items():
                if value is not None:
                    file.write("%s = %s\n" % (key, value))
            file.write("\n")


class Daemon(Process):
    """What both daemons share: a config folder, a runtime folder, a control channel."""

    program_name = None
    section = None

    def __init__(self, name, folder, runtime_dir, sections, namespace=None, debug=True,
                 options=(), env=None):
        self.folder = os.path.join(str(folder), name)
        os.makedirs(self.folder)
        # Relative to it: a folder of this daemon's own.
        sections[self.section].setdefault("state_dir", "state")
        self.runtime_dir = runtime_dir
        self.sections = sections
        self.baseline_fds = None
        argv = [program(self.program_name), "--no-fork", "--config-dir", self.folder,
                "--runtime-dir", runtime_dir] + (["--debug"] if debug else []) + list(options)
        super().__init__(name, argv, os.path.join(self.folder, name + ".log"), namespace,
                         env=dict({"ASAN_OPTIONS": "detect_stack_use_after_return=1",
                                   "UBSAN_OPTIONS": "print_stacktrace=1"}, **(env or {})))

    @property
    def state_dir(self):
        return os.path.join(self.folder, self.sections[self.section]["state_dir"])

    @property
    def control_path(self):
        return os.path.join(self.runtime_dir, self.program_name + ".ctl")

    def start(self):
        write_config(os.path.join(self.folder, "config.ini"), self.sections)
        super().start()
        wait_for(self._answers, 15.0, lambda: "%s answering\n%s" % (self.name, self.log()))
        return self

    def _answers(self):
        if not self.running():
            self.fail("ended while starting")
        try:
            return self._ready()
        except (OSError, ValueError):
            return False

    def _ready(self):
        return self.summary() is not None

    def get(self, target, timeout=3.0):
        """The JSON that the control channel answers to GET /api/v1/TARGET."""
        status, text = control.http_request(self.control_path, "GET", "/api/v1/" + target,
                                            timeout=timeout)
        assert status == 200, "GET %s: %d %s" % (target, status, text)
        return json.loads(text)

    def put(self, target, value):
        """The same for PUT of some JSON."""
        status, text = control.http_request(self.control_path, "PUT", "/api/v1/" + target,
                                            value)
        assert status == 200, "PUT %s: %d %s" % (target, status, text)
        return json.loads(text)

    def summary(self):
        return self.get("summary")

    def note_fds(self):
        """Remember what is open now, as what has to be open at the end.

        The connections that asked whether it is ready may be closing still, so it is what
        stays the same for a while.
        """
        seen = []

        def quiet():
            seen.append(self.fds())
            return len(seen) > 5 and all(s == seen[-1] for s in seen[-5:])

        wait_for(quiet, 5.0, lambda: "%s with open files that stay: %s" % (self.name, seen[-2:]))
        self.baseline_fds = seen[-1]

    def check_fds(self):
        """No more is open than at note_fds()."""
        if self.baseline_fds is None or not self.running():
            return
        # A backend of accounting keeps its connection, or file, from its first record on.
        more = 3 * len(self.sections[self.section].get("accounting", "").split())
        wait_for(lambda: len(self.fds()) <= len(self.baseline_fds) + more, 5.0, lambda: (
            "%s: no more open files than at its start\nbefore %s\nnow    %s" % (
                self.name, sorted(self.baseline_fds.items()), sorted(self.fds().items()))))


class Dispatcher(Daemon):
    program_name = "media-dispatcher"
    section = "Dispatcher"

    def __init__(self, folder, runtime_dir, certs, ip="127.0.0.1", link_port=25060,
                 management_port=25061, config=None, sections=None, name="dispatcher", **options):
        """config: more keys of [Dispatcher]; sections: more sections."""
        self.ip = ip
        self.link = "%s:%d" % ("[%s]" % ip if ":" in ip else ip, link_port)
        self.management_address = (ip, management_port)
        keys = {
            "socket_path": os.path.join(runtime_dir, "dispatcher.sock"),
            "listen": self.link,
            "listen_management": "%s:%d" % self.management_address,
            "management_use_tls": "no",
            "log_level": "DEBUG",
        }
        keys.update(config or {})
        self.socket_path = keys["socket_path"]
        everything = {"Dispatcher": keys, "TLS": {"certs_path": certs}}
        for section, more in (sections or {}).items():
            everything.setdefault(section, {}).update(more)
        super().__init__(name, folder, runtime_dir, everything, **options)

    def _ready(self):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.socket_path)
        return super()._ready()

    def manage(self, command):
        """The lines that the text management answers."""
        return control.management(self.management_address, command, self.namespace)

    def relays(self):
        """What each connected relay says in the management's `summary`."""
        return [json.loads(line) for line in self.manage("summary")]

    def sessions(self):
        """The statistics of all sessions, as the management's `sessions` gives them."""
        return [json.loads(line) for line in self.manage("sessions")]

    def session(self, call_id):
        """The statistics of one session, or None."""
        found = [s for s in self.sessions() if s["call_id"] == call_id]
        assert len(found) < 2, found
        return found[0] if found else None

    def wait_relays(self, *ips, deadline=10.0):
        """Wait until exactly the relays with these addresses are connected and active."""
        def fact():
            try:
                active = [r["ip"] for r in self.relays() if r["status"] == "active"]
            except (OSError, ValueError, KeyError):
                return False
            return sorted(active) == sorted(ips)

        wait_for(fact, deadline, lambda: "relays %s at %s:\n%s" % (
            list(ips), self.name, self.log()[-3000:]))


class Relay(Daemon):
    program_name = "media-relay"
    section = "Relay"

    def __init__(self, folder, runtime_dir, certs, dispatchers, ip="127.0.0.1",
                 port_range="40000:42000", config=None, sections=None, name="relay", **options):
        """dispatchers: of class Dispatcher, or host:port. config: more keys of [Relay]."""
        self.ip = ip
        keys = {
            "dispatchers": " ".join(d if isinstance(d, str) else d.link for d in dispatchers),
            "relay_ip": ip,
            "port_range": port_range,
            "reconnect_delay": 1,
            # The networks of these tests are private. With this, a packet for a party that
            # has not been heard yet goes to its SDP address, as it would on the Internet.
            "routable_private_ranges": "10.88.0.0/16, 127.0.0.0/8, fd88::/16, ::1/128",
            "log_level": "DEBUG",
        }
        keys.update(config or {})
        everything = {"Relay": keys, "TLS": {"certs_path": certs}}
        for section, more in (sections or {}).items():
            everything.setdefault(section, {}).update(more)
        super().__init__(name, folder, runtime_dir, everything, **options)

    @property
    def media_ip(self):
        """Where media comes; `ip` is where its links come from."""
        return re.split(r"[\s,]+", self.sections["Relay"]["relay_ip"])[0]

    def leftovers(self):
        """What of the sessions so far is still there: {} when all is gone."""
        summary = self.summary()
        return {pair: (summary[pair[0]], summary[pair[1]]) for pair in PAIRS
                if summary[pair[0]] != summary[pair[1]]}

    def wait_empty(self, deadline=5.0):
        """created == destroyed, for sessions, streams, ports and sockets."""
        wait_for(lambda: not self.leftovers(), deadline, lambda: (
            "created == destroyed at %s: %s\n%s" % (
                self.name, self.leftovers(), self.log()[-3000:])))

    def check_no_flows(self, deadline=5.0):
        """Without sessions the kernel has nothing to forward."""
        wait_for(lambda: self.summary()["flows"] == 0, deadline, lambda: (
            "no flow at %s: %d\n%s" % (self.name, self.summary()["flows"], self.log()[-3000:])))

    def wait_flows(self, *addresses, deadline=3.0):
        """Wait until no flow of these addresses is between userspace and the kernel.

        It begins with a packet that comes when the remotes of both parties are known.
        """
        texts = [("[%s]:%d" if ":" in a[0] else "%s:%d") % tuple(a) for a in addresses]

        def states():
            found = dict(re.findall(r"flow of (\S+): \w+ -> (\w+)", self.log()))
            return [found.get(text) for text in texts]

        wait_for(lambda: set(states()) <= {"on", "none", None}, deadline, lambda: (
            "flows of %s: %s\n%s" % (texts, states(), self.log()[-3000:])))

    def drain(self):
        """HUP: no new sessions, and exit after the last one."""
        self.signal(signal.SIGHUP)
