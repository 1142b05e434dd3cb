"""config.ini, --check and --version: what is said before anything starts."""

import grp
import os
import re
import socket
import stat
import subprocess

import pytest

from mp.daemons import write_config
from mp.programs import program

DAEMONS = {"media-relay": "Relay", "media-dispatcher": "Dispatcher"}


def run(name, *words, deadline=20):
    return subprocess.run([program(name), *words], text=True, capture_output=True,
                          timeout=deadline, stdin=subprocess.DEVNULL)


@pytest.fixture
def check(tmp_path, certs):
    """A function: --check of a daemon with a config.ini of this text or these sections."""
    def body(name, sections, *words):
        path = str(tmp_path / "config.ini")
        if isinstance(sections, str):
            with open(path, "w") as file:
                file.write(sections)
        else:
            write_config(path, {"TLS": {"certs_path": certs}, **sections})
        return run(name, *(words or ["--check"]), "--config-dir", str(tmp_path))

    return body


@pytest.mark.parametrize("name", DAEMONS)
def test_check_prints_what_is_in_force(check, name):
    section = DAEMONS[name]
    done = check(name, {section: {"log_level": "ERROR"}, "TLS": {"verify_interval": "2 min"}})
    assert done.returncode == 1 and "ca.pem" in done.stderr  # no certificates there
    assert section + ".log_level = ERROR" in done.stdout
    assert "TLS.verify_interval = 2 min" in done.stdout
    assert done.stderr.count("ERROR") == 1 and "ERROR TLS" in done.stderr


@pytest.mark.parametrize("name", DAEMONS)
def test_check_of_a_good_file_is_0(check, name):
    done = check(name, {"Relay": {"dispatchers": "127.0.0.1", "relay_ip": "127.0.0.1"}})
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr


BAD = [
    ("Relay", "port_range", "40001:50000", "even numbers in 1024..65536"),
    ("Relay", "port_range", "50000:40000", "even numbers in 1024..65536"),
    ("Relay", "relay_ip", "relay.example.com", "an IP address"),
    ("Relay", "dispatchers", "host:99999", "HOST:PORT"),
    ("Relay", "stream_timeout", "-1", "a time from 1 s"),
    ("Relay", "keepalive_interval", "0", "a time from 1 s to 1 h"),
    ("Relay", "workers", "1000", "0..256"),
    ("Relay", "learning", "sloppy", "safe, strict or first-packet"),
    ("Relay", "routable_private_ranges", "10.0.0.0/33", "ADDRESS/BITS"),
    ("Relay", "passport", "XY:z", "AN:value"),
    ("Relay", "log_level", "LOUD", "DEBUG, INFO, WARNING"),
    ("Dispatcher", "listen", "example.com:25060", "ADDRESS:PORT"),
    ("Dispatcher", "listen_management", "any:70000", "ADDRESS:PORT"),
    ("Dispatcher", "management_use_tls", "maybe", "yes, no, true, false"),
    ("Dispatcher", "management_format", "xml", "lines or array"),
    ("Dispatcher", "answer_timeout", "soon", "a time from 1 ms"),
    ("Dispatcher", "accounting", "paper", "database, radius"),
    ("Dispatcher", "max_proxy_connections", "0", "1..65536"),
    ("TLS", "verify_interval", "1 fortnight", "in seconds"),
    ("TLS", "security_level", "9", "0 to 5"),
    ("Database", "dburi", "user:secret@localhost", "scheme://"),
    ("Database", "sessions_table", "x; drop", "letters, digits"),
    ("OpenSIPS", "mi_format", "morse", "auto, opensips, kamailio or text"),
]


@pytest.mark.parametrize("section, key, value, allowed", BAD)
@pytest.mark.parametrize("name", DAEMONS)
def test_a_bad_value_is_told_with_its_place_and_what_is_allowed(check, name, section, key,
                                                                value, allowed):
    text = "; a comment\n[%s]\n%s = %s\n" % (section, key, value)
    for words in (["--check"], ["--no-fork", "--runtime-dir", "/nonexistent/mp"]):
        done = check(name, text, *words)
        assert done.returncode == 1
        line, = [l for l in done.stderr.splitlines() if "ERROR" in l and key in l]
        place = re.search(r"config\.ini:(\d+)", line)
        assert place and place.group(1) == "3", line
        assert "[%s]" % section in line and allowed in line, line
        assert "secret" not in line and (value in line or "secret" in value), line


def test_what_is_not_known_or_not_active_is_a_warning(check, certs):
    text = ("[Relay]\ndispatchers = 127.0.0.1\nrelay_ip = 127.0.0.1\nstrem_timeout = 9\n"
            "auto_detect_interfaces = yes\nuserspace_transmit_every = 3\nworkers = 1\n"
            "workers = 2\n[Relays]\nx = 1\n[TLS]\ncerts_path = %s\n" % certs)
    done = check("media-relay", text)
    assert done.returncode == 0, done.stderr
    warnings = [l for l in done.stderr.splitlines() if "WARNING" in l]
    for number, word in ((4, "strem_timeout"), (6, "userspace_transmit_every"),
                         (8, "workers"), (10, "Relays")):
        assert any(":%d:" % number in l and word in l for l in warnings), (number, done.stderr)
    assert "Relay.workers = 2" in done.stdout


def test_a_file_that_is_no_config_is_refused(check):
    done = check("media-relay", "this is not a config\n")
    assert done.returncode == 1 and "config.ini:1" in done.stderr


@pytest.mark.parametrize("name", [*DAEMONS, "mediaproxy"])
def test_version_is_one_line(name):
    done = run(name, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(name + r" \d+\.\d+\.\d+\S*\n", done.stdout)


@pytest.mark.parametrize("name", DAEMONS)
def test_an_option_that_is_not_known_is_told(name):
    done = run(name, "--dance")
    assert done.returncode in (1, 2) and "--dance" in done.stderr


# -- what is checked when a daemon starts --------------------------------------------------


def test_a_second_start_in_the_same_runtime_folder_refuses(call_system):
    for daemon in call_system.daemons:
        done = run(daemon.program_name, "--no-fork", "--config-dir", daemon.folder,
                   "--runtime-dir", daemon.runtime_dir)
        assert done.returncode == 1
        assert "another %s runs" % daemon.program_name in done.stderr
        assert str(daemon.pid) in done.stderr
    call = call_system.call()
    assert call.offer("audio:127.0.0.1:5000:sendrecv:ice=no").ok
    assert call.remove() == "removed"


def start_by_hand(dispatcher, **keys):
    dispatcher.sections["Dispatcher"].update(keys)
    write_config(os.path.join(dispatcher.folder, "config.ini"), dispatcher.sections)
    return run(dispatcher.program_name, "--no-fork", "--config-dir", dispatcher.folder,
               "--runtime-dir", dispatcher.runtime_dir)


@pytest.mark.parametrize("key", ["listen", "listen_management"])
def test_an_address_that_is_taken_is_told_by_its_key(make_call_system, key):
    dispatcher = make_call_system(relays=0, started=False).dispatcher
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = "127.0.0.1:%d" % taken.getsockname()[1]
        done = start_by_hand(dispatcher, **{key: at})
    assert done.returncode == 1
    assert "%s = %s" % (key, at) in done.stderr and "in use" in done.stderr
    assert not os.path.exists(dispatcher.socket_path)


def test_a_socket_that_a_dispatcher_answers_on_is_not_taken(make_call_system):
    first = make_call_system(relays=0).dispatcher
    second = make_call_system(relays=0, started=False).dispatcher
    done = start_by_hand(second, socket_path=first.socket_path)
    assert done.returncode == 1 and first.socket_path in done.stderr
    socket.socket(socket.AF_UNIX).connect(first.socket_path)


def test_the_socket_is_for_the_group_that_is_named(make_call_system):
    group = grp.getgrgid(os.getgid()).gr_name
    dispatcher = make_call_system(relays=0, dispatcher_config={"socket_group": group}).dispatcher
    status = os.stat(dispatcher.socket_path)
    assert stat.S_IMODE(status.st_mode) == 0o660 and status.st_gid == os.getgid()
    control = os.stat(dispatcher.control_path)
    assert stat.S_IMODE(control.st_mode) == 0o660


def test_a_group_that_is_not_there_stops_the_start(make_call_system):
    dispatcher = make_call_system(relays=0, started=False).dispatcher
    done = start_by_hand(dispatcher, socket_group="nobody-has-this-name")
    assert done.returncode == 1
    assert "socket_group = nobody-has-this-name: there is no such group" in done.stderr
