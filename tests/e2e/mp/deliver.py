"""The program `deliver`: one backend of accounting by itself."""

import json
import os
import select
import subprocess

from .process import Process
from .programs import program
from .wait import Deadline, wait_for


class Deliver(Process):
    """Fed with records, asked what became of them. A record is a dict, or its line of JSON."""

    def __init__(self, folder, backend, config, env=None):
        """config: {section: {key: value}}. Files that it names go into config_dir, by write()."""
        folder = str(folder)
        self.config_dir = os.path.join(folder, "etc")
        self.state_dir = os.path.join(folder, "state")
        for path in (self.config_dir, self.state_dir):
            os.makedirs(path, exist_ok=True)
        super().__init__("deliver", [program("deliver"), backend, self.config_dir,
                                     self.state_dir], os.path.join(folder, "log"), env=env)
        self.write("config.ini", "".join(
            "[%s]\n" % section + "".join("%s = %s\n" % item for item in keys.items())
            for section, keys in config.items()))
        self._rest = b""

    def write(self, name, text):
        path = os.path.join(self.config_dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def start(self):
        assert not self.running()
        argv = ["setpriv", "--pdeathsig", "KILL"] + self.argv
        with open(self.log_path, "ab") as log:
            self._popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           stderr=log, env=self.env)
        self._rest = b""
        return self

    def line(self, deadline=10.0):
        """The next line that it writes."""
        if not isinstance(deadline, Deadline):
            deadline = Deadline(deadline)
        output = self._popen.stdout.fileno()
        while b"\n" not in self._rest:
            if not select.select([output], [], [], deadline.left())[0]:
                self.fail("no line within %.1f s" % deadline.seconds)
            data = os.read(output, 65536)
            if not data:
                self.fail("its output ended after %r" % self._rest)
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode("utf-8", "backslashreplace")

    def is_silent(self):
        """Whether it has written nothing that was not read."""
        return not self._rest and not select.select([self._popen.stdout.fileno()], [], [], 0)[0]

    def _write(self, text):
        self._popen.stdin.write(text.encode())
        self._popen.stdin.flush()

    def send(self, records):
        """Give it a batch, and do not wait for what becomes of it."""
        self._write("".join((r if isinstance(r, str) else json.dumps(r)) + "\n"
                            for r in records) + "\n")

    def results(self, count, deadline=10.0):
        """(outcomes of a batch, the reason why it is down or None)"""
        deadline = Deadline(deadline)
        outcomes = [self.line(deadline) for _ in range(count)]
        down = self.line(deadline) if "later" in outcomes else None
        assert down is None or down.startswith("down "), down
        return outcomes, down

    def deliver(self, records, deadline=10.0):
        self.send(records)
        return self.results(len(records), deadline)

    def answer(self, *records, deadline=20.0):
        """All that it says of a batch: a line for each record, and `down REASON` if it is."""
        outcomes, down = self.deliver(records, deadline)
        return outcomes + [down] if down else outcomes

    def deliver_well(self, records, deadline=10.0):
        outcomes, down = self.deliver(records, deadline)
        assert outcomes == ["done"] * len(records) and down is None, (outcomes, down)

    def deliver_until_done(self, records, deadline=20.0):
        """Again and again, as the spool does with a backend that is down."""
        def done():
            outcomes, down = self.deliver(records, deadline)
            last.append((outcomes, down))
            return outcomes == ["done"] * len(records)

        last = []
        wait_for(done, deadline, lambda: "delivered: %s" % (last[-1:],))

    def interim(self, session, deadline=20.0):
        self._write("interim " + json.dumps(session) + "\n")
        return self.line(deadline).rstrip()

    def _end(self, deadline):
        code = self.wait_exit(deadline)
        self._popen.stdout.close()
        self._popen = None
        self.check_log()
        return code

    def stop(self, deadline=10.0):
        """End its input; it ends by itself, well. Nothing if it does not run."""
        if self._popen is None:
            return
        self._popen.stdin.close()
        code = self._end(deadline)
        if code not in self.good:
            self.fail("exit code %d" % code)

    def why_not(self, deadline=20.0):
        """Its reason for not starting, which is one line."""
        reason = self.line(deadline)
        self.wait_exit(deadline)
        more = self._rest + self._popen.stdout.read()
        self._popen.stdin.close()
        code = self._end(deadline)
        assert (code, more) == (1, b""), (code, more)
        return reason

    def kill(self):
        """End it at once, as a crash does."""
        self._popen.stdin.close()
        self._popen.stdout.close()
        super().kill()
