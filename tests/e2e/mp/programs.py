"""Where the programs under test are, and what runs need of the machine."""

import os
import shutil
import socket
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

# Where the build leaves them, and where Meson itself puts them.
FOLDERS = {"media-dispatcher": "src/dispatcher", "media-relay": "src/relay", "mediaproxy": "src/ctl",
           "deliver": "tests/e2e/programs", "ice_agent": "tests/e2e/programs"}


def program(name):
    """The path of media-dispatcher, media-relay or mediaproxy."""
    build = os.path.abspath(os.environ.get("MP_BUILD") or os.path.join(TOP, "build"))
    for path in (os.path.join(build, name), os.path.join(build, FOLDERS[name], name)):
        if os.access(path, os.X_OK):
            return path
    raise RuntimeError("no %s in %s: build first, or set MP_BUILD" % (name, build))


def make_certificates(folder):
    """A CA, a CRL and certificates of both daemons, made by `mediaproxy certs`."""
    for what in ("init", "dispatcher", "relay"):
        done = subprocess.run([program("mediaproxy"), "certs", what, "--folder", str(folder)],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, "mediaproxy certs %s: %s" % (what, done.stdout)


def missing(*commands):
    """None, or the reason why a test that needs these commands is skipped."""
    lost = [c for c in commands if not shutil.which(c, path=os.environ["PATH"] + ":/usr/sbin")]
    return "needs " + ", ".join(lost) if lost else None


class PortBlock:
    """Ports on loopback that no other test of ours uses.

    A block is claimed by an abstract UNIX socket, which goes away with the process. It lies
    below the ports that the kernel gives out by itself (32768 and up).
    """

    FIRST, SIZE, COUNT = 10000, 200, 110

    def __init__(self, blocks=1):
        """blocks: how many in a row."""
        self._locks = []
        index = os.getpid() * 7 % self.COUNT
        for step in range(self.COUNT):
            start = (index + step) % self.COUNT
            if start + blocks <= self.COUNT and self._claim(start, blocks):
                self.first = self.FIRST + start * self.SIZE
                self.end = self.first + blocks * self.SIZE
                return
        raise RuntimeError("no free block of ports")

    def _claim(self, start, blocks):
        for number in range(start, start + blocks):
            lock = socket.socket(socket.AF_UNIX)
            self._locks.append(lock)
            try:
                lock.bind("\0mp-ports-%d" % number)
            except OSError:
                self.close()
                return False
        return True

    def tcp(self, number):
        """One of ten ports for listeners."""
        assert 0 <= number < 10
        return self.first + number

    @property
    def media(self):
        """A value for port_range."""
        return "%d:%d" % (self.first + 10, self.end)

    def close(self):
        for lock in self._locks:
            lock.close()
        self._locks = []
