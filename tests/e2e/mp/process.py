"""Programs under test: started with a log file, waited for with a deadline, stopped by pid."""

import os
import re
import signal
import subprocess

from .wait import SLOWNESS, Deadline, wait_for

SANITIZER = re.compile(
    r"ERROR: (Address|Leak|Thread|Memory)Sanitizer|WARNING: ThreadSanitizer"
    r"|runtime error:|SUMMARY: \w+Sanitizer")


class Process:
    """One program. Start it with start(), end it with stop(), which also judges it."""

    def __init__(self, name, argv, log_path, namespace=None, cwd=None, env=None, good=(0,)):
        """good: exit codes (negative: signals) that are a success."""
        self.name = name
        self.argv = [str(a) for a in argv]
        self.log_path = str(log_path)
        self.namespace = namespace
        self.cwd = cwd
        self.env = dict(os.environ, **(env or {}))
        self.good = good
        self._popen = None

    def start(self):
        assert not self.running(), "%s runs already" % self.name
        argv = self.namespace.command(self.argv) if self.namespace else self.argv
        # Nothing outlives a test run that is killed.
        argv = ["setpriv", "--pdeathsig", "KILL"] + argv
        with open(self.log_path, "ab") as log:
            log.write(b"+ " + " ".join(argv).encode() + b"\n")
            log.flush()
            self._popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, cwd=self.cwd, env=self.env)
        return self

    @property
    def pid(self):
        return self._popen.pid

    def running(self):
        return self._popen is not None and self._popen.poll() is None

    def fail(self, text):
        raise AssertionError("%s: %s\n--- end of %s\n%s"
                             % (self.name, text, self.log_path, self.log()[-4000:]))

    def log(self, since=0):
        """Its output so far, from a byte offset on."""
        with open(self.log_path, "rb") as log:
            log.seek(since)
            return log.read().decode("utf-8", "backslashreplace")

    def log_offset(self):
        """A place to give to log() and wait_log(): only what comes from now on."""
        return os.path.getsize(self.log_path)

    def wait_log(self, pattern, deadline=5.0, since=0):
        """Wait for a regular expression in the log; returns the match."""
        expression = re.compile(pattern)

        def fact():
            match = expression.search(self.log(since))
            if match is None and not self.running():
                match = expression.search(self.log(since))
                if match is None:
                    self.fail("ended with %s before its log said %r"
                              % (self._popen.returncode, pattern))
            return match

        return wait_for(fact, deadline, lambda: "%r in the log of %s:\n%s" % (
            pattern, self.name, self.log(since)[-4000:]))

    def wait_exit(self, deadline=5.0):
        """Wait until it ends by itself; returns its exit code, judges nothing."""
        try:
            return self._popen.wait(Deadline(deadline).left())
        except subprocess.TimeoutExpired:
            self.fail("still runs after %.1f s" % (deadline * SLOWNESS))

    def signal(self, number):
        self._popen.send_signal(number)

    def freeze(self):
        """Stop it from running at all, until thaw(): a peer that hangs."""
        self.signal(signal.SIGSTOP)
        wait_for(lambda: self._state() == "T", what="%s frozen" % self.name)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def _state(self):
        with open("/proc/%d/stat" % self.pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]

    def kill(self):
        """End it at once with SIGKILL, as a crash does. The test means to."""
        self._popen.kill()
        self._popen.wait()
        self.check_log()
        self._popen = None

    def stop(self, deadline=10.0):
        """SIGTERM, then judge exit code and log. Nothing if it was never started."""
        if self._popen is None:
            return
        popen = self._popen
        if popen.poll() is None:
            popen.send_signal(signal.SIGCONT)
            popen.send_signal(signal.SIGTERM)
        try:
            code = popen.wait(deadline * SLOWNESS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
            self._popen = None
            self.fail("did not end within %.1f s of SIGTERM; killed" % (deadline * SLOWNESS))
        self._popen = None
        self.check_log()
        if code not in self.good:
            self.fail("exit code %d" % code)

    def check_log(self):
        """Fail on anything that a sanitizer reported."""
        match = SANITIZER.search(self.log())
        if match:
            raise AssertionError("%s: a sanitizer reported\n%s"
                                 % (self.name, self.log()[match.start():][:6000]))

    def fds(self):
        """What its file descriptors are: {number: target}."""
        folder = "/proc/%d/fd" % self.pid
        found = {}
        for fd in os.listdir(folder):
            try:
                found[int(fd)] = os.readlink(os.path.join(folder, fd))
            except FileNotFoundError:
                pass
        return found

    def cpu_s(self):
        """CPU time that it has used so far, in seconds."""
        with open("/proc/%d/stat" % self.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
