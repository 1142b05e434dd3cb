"""Database servers of our own on loopback, and records for them."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

from . import programs
from .process import Process
from .wait import SLOWNESS, wait_for

USER, PASSWORD = "mediaproxy", "s3cret;}word"

ORIGINAL_TABLE = (
    "CREATE TABLE media_sessions (id INT PRIMARY KEY AUTO_INCREMENT, call_id VARCHAR(255) NOT NULL,"
    " from_tag VARCHAR(64) NOT NULL, to_tag VARCHAR(64), info MEDIUMBLOB)")
ORIGINAL_INDEX = ("CREATE UNIQUE INDEX media_sessions_callid_idx"
                  " ON media_sessions (call_id, from_tag, to_tag)")

# Debian puts PostgreSQL's programs where no PATH goes.
_POSTGRES_BIN = "/usr/lib/postgresql/15/bin"


def _quoted(text):
    """The password as a part of an address."""
    return "".join(c if c.isalnum() else "%%%02X" % ord(c) for c in text)


class _Server(Process):
    """A server in a folder that its user owns: root itself may run none of them."""

    SCHEME = ACCOUNT = None

    def __init__(self, port):
        self.port = port
        self.folder = tempfile.mkdtemp(prefix="mp-%s-" % self.SCHEME)
        self._databases = 0
        os.chmod(self.folder, 0o755)
        self.data = os.path.join(self.folder, "data")
        if os.getuid() == 0:
            account = pwd.getpwnam(self.ACCOUNT)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        super().__init__(self.SCHEME, self._as_account(self._command()),
                         os.path.join(self.folder, "log"))
        try:
            self._install()
            self.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise

    def _as_account(self, argv):
        if os.getuid() != 0:
            return argv
        # The user first: a change of it forgets the signal.
        return ["setpriv", "--reuid=" + self.ACCOUNT, "--regid=" + self.ACCOUNT,
                "--clear-groups", "--pdeathsig", "KILL"] + argv

    def _prepare(self, argv):
        done = subprocess.run(self._as_account(argv), stdout=subprocess.PIPE, cwd=self.folder,
                              stderr=subprocess.STDOUT, text=True, timeout=60 * SLOWNESS)
        assert done.returncode == 0, "%s: %s" % (argv[0], done.stdout)

    def wait_ready(self):
        wait_for(self.answers, 30.0, lambda: "%s answers\n%s" % (self.name, self.log()[-2000:]))

    def answers(self):
        return self._client("SELECT 1", None).returncode == 0

    def run(self, sql, database=None):
        """The rows of a statement, as lists of texts."""
        done = self._client(sql, database)
        assert done.returncode == 0, "%s\n%s" % (sql, done.stderr)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def restart(self):
        self.stop()
        self.start()
        self.wait_ready()

    def dburi(self, database, user=USER, password=PASSWORD):
        return "%s://%s:%s@127.0.0.1:%d/%s" % (self.SCHEME, user, _quoted(password), self.port,
                                               database)

    def make_database(self):
        self._databases += 1
        name = "cdr%d" % self._databases
        self._make_database(name)
        return name

    def pids(self):
        """Its processes, the one that makes the others first."""
        with open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as children:
            return [self.pid] + [int(pid) for pid in children.read().split()]

    def freeze(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: self._state() == "T", what="%s frozen" % self.name)

    def thaw(self):
        self._wake_all()

    def _wake_all(self):
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def close(self):
        try:
            self.stop(30.0)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class PostgreSQL(_Server):
    SCHEME, ACCOUNT = "postgres", "postgres"

    @staticmethod
    def missing():
        if not os.path.exists(_POSTGRES_BIN + "/postgres"):
            return "needs PostgreSQL 15"
        return programs.missing("psql")

    def _command(self):
        return [_POSTGRES_BIN + "/postgres", "-D", self.data, "-k", self.folder,
                "-h", "127.0.0.1", "-p", str(self.port), "-c", "fsync=off"]

    def _install(self):
        self._prepare([_POSTGRES_BIN + "/initdb", "-D", self.data, "-N", "-E", "UTF8",
                       "--locale=C", "-U", "postgres", "--auth-local=trust",
                       "--auth-host=scram-sha-256"])

    def _client(self, sql, database):
        return subprocess.run(
            ["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h",
             self.folder, "-p", str(self.port), "-U", "postgres", database or "postgres", "-c",
             sql], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(os.environ, PGCLIENTENCODING="UTF8"), encoding="utf-8",
            timeout=30 * SLOWNESS)

    def make_user(self, user, password):
        self.run("CREATE ROLE %s LOGIN PASSWORD '%s'" % (user, password))

    def set_password(self, user, password):
        self.run("ALTER ROLE %s PASSWORD '%s'" % (user, password))

    def _make_database(self, name):
        if not self.run("SELECT 1 FROM pg_roles WHERE rolname = '%s'" % USER):
            self.make_user(USER, PASSWORD)
        self.run("CREATE DATABASE %s OWNER %s" % (name, USER))

    def disconnect_all(self):
        self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")

    def stop(self, deadline=30.0):
        if self.running():
            self._wake_all()
            # Without waiting for those who are connected
            self.signal(signal.SIGINT)
        super().stop(deadline)

    def kill(self):
        """A crash. SIGKILL would leave the processes of its connections for a while."""
        self.signal(signal.SIGQUIT)
        self.wait_exit(30.0)
        self._popen = None


class MariaDB(_Server):
    SCHEME, ACCOUNT = "mysql", "mysql"

    @staticmethod
    def missing():
        return programs.missing("mariadbd", "mariadb-install-db", "mariadb")

    @property
    def _socket(self):
        return os.path.join(self.folder, "socket")

    def _command(self):
        return ["mariadbd", "--no-defaults", "--datadir=" + self.data, "--socket=" + self._socket,
                "--port=%d" % self.port, "--bind-address=127.0.0.1",
                "--pid-file=" + os.path.join(self.folder, "pid"),
                "--innodb-flush-log-at-trx-commit=2", "--skip-name-resolve"]

    def _install(self):
        self._prepare(["mariadb-install-db", "--no-defaults", "--datadir=" + self.data,
                       "--auth-root-authentication-method=normal", "--skip-test-db"])

    def _client(self, sql, database):
        return subprocess.run(
            ["mariadb", "--no-defaults", "--default-character-set=utf8mb4", "-u", "root", "-S",
             self._socket, "-N", "-B", "-e", sql] + ([database] if database else []),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", timeout=30 * SLOWNESS)

    def make_user(self, user, password):
        self.run("CREATE USER '%s'@'127.0.0.1' IDENTIFIED BY '%s'" % (user, password))

    def set_password(self, user, password):
        self.run("ALTER USER '%s'@'127.0.0.1' IDENTIFIED BY '%s'" % (user, password))

    def _make_database(self, name):
        if not self.run("SELECT 1 FROM mysql.user WHERE user = '%s'" % USER):
            self.make_user(USER, PASSWORD)
        self.run("CREATE DATABASE %s CHARACTER SET latin1" % name)
        self.run("GRANT CREATE, ALTER, SELECT, INSERT ON %s.* TO '%s'@'127.0.0.1'" % (name, USER))

    def disconnect_all(self):
        self.run("KILL USER '%s'@'127.0.0.1'" % USER)


def record(record_id, call_id="call", from_tag="from", to_tag="to", start_time=1700000000.0,
           **more):
    """A final record as a line of JSON."""
    fields = dict(record_id=record_id, call_id=call_id, from_tag=from_tag, to_tag=to_tag,
                  start_time=start_time, streams=[], **more)
    return json.dumps(fields)
