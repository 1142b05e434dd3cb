"""TLS between dispatcher and relay: who is refused, when, and what both sides say about it."""

import os
import shutil
import socket
import ssl
import subprocess

import pytest

from mp.daemons import write_config
from mp.link import OriginalRelay, tls_context
from mp.programs import make_certificates, program
from mp.wait import wait_for


def certs_command(folder, *words):
    subprocess.run([program("mediaproxy"), "certs", *words, "--folder", str(folder)], check=True,
                   capture_output=True, timeout=20)


@pytest.fixture
def own_certs(tmp_path):
    """Certificates of this test alone, which it may spoil."""
    make_certificates(tmp_path / "tls")
    return str(tmp_path / "tls")


@pytest.fixture
def make_system(make_call_system):
    """A function: a system that was started, whether or not its relay is let in."""
    def make(certs=None, relay_certs=None, tls=None, **options):
        system = make_call_system(started=False, **options)
        for daemon in system.daemons:
            daemon.sections["TLS"].update(tls or {})
            if certs:
                daemon.sections["TLS"]["certs_path"] = certs
        if relay_certs:
            system.relay.sections["TLS"]["certs_path"] = relay_certs
        for daemon in system.daemons:
            daemon.start()
        return system

    return make


def works(system):
    system.dispatcher.wait_relays(system.relay.ip)
    call = system.call()
    assert call.offer("audio:127.0.0.1:5000:sendrecv:ice=no").ok
    assert call.remove() == "removed"


def works_beside(system, stand_in):
    """The real relay still gets its calls."""
    client = system.client()
    assert client.update("request", "beside@x", "f", "", "audio:127.0.0.1:5000:sendrecv:ice=no",
                         media_relay=system.relay.ip).ok
    assert client.remove("beside@x", "f") == "removed"
    stand_in.close()


def refused(system, by, pattern):
    """The one who refuses says why; the relay never gets calls."""
    getattr(system, by).wait_log(pattern)
    system.relay.wait_log("(no link to dispatcher|link to dispatcher .* down)")
    assert system.dispatcher.relays() == []
    assert all(daemon.running() for daemon in system.daemons)


def test_passports_that_fit_let_the_relay_in(make_system):
    works(make_system(dispatcher_config={"passport": "O:MediaProxy, CN:rel*"},
                      relay_config={"passport": "O:*Proxy, CN:dispatcher"}))


def test_a_relay_with_a_wrong_passport_is_refused(make_system):
    system = make_system(dispatcher_config={"passport": "O:MediaProxy, CN:other*"})
    refused(system, "dispatcher", r"relay connection from 127\.0\.0\.1\S* refused: .*passport")
    assert system.dispatcher.summary()["links"]["refused"] + \
        system.dispatcher.summary()["links"]["handshakes_failed"] > 0


def test_a_dispatcher_with_a_wrong_passport_is_refused(make_system):
    refused(make_system(relay_config={"passport": "O:Other"}), "relay",
            "dispatcher 127.*passport")


def test_another_ca_is_refused(make_system, tmp_path):
    make_certificates(tmp_path / "other")
    refused(make_system(relay_certs=str(tmp_path / "other")), "relay",
            "no link to dispatcher .*: .*(certificate|issuer)")


def test_a_certificate_that_is_revoked_already_is_refused(make_system, own_certs):
    certs_command(own_certs, "revoke", own_certs + "/relay.crt")
    refused(make_system(certs=own_certs), "dispatcher",
            r"relay connection from 127\.0\.0\.1\S* refused: .*revoked")


def test_a_relay_that_is_revoked_while_connected_is_hung_up_on(make_system, own_certs):
    system = make_system(certs=own_certs, tls={"verify_interval": 1})
    works(system)
    certs_command(own_certs, "revoke", own_certs + "/relay.crt")
    system.dispatcher.wait_log("its certificate no longer holds: .*revoked")
    wait_for(lambda: system.dispatcher.relays() == [], what="relay gone")
    assert system.dispatcher.summary()["links"]["verifications_failed"] == 1


def test_a_dispatcher_that_is_revoked_while_connected_is_hung_up_on(make_system, own_certs,
                                                                   tmp_path):
    shutil.copytree(own_certs, tmp_path / "relay-tls")
    system = make_system(certs=own_certs, relay_certs=str(tmp_path / "relay-tls"),
                         tls={"verify_interval": 1})
    works(system)
    certs_command(own_certs, "revoke", own_certs + "/dispatcher.crt")
    shutil.copy(own_certs + "/crl.pem", tmp_path / "relay-tls" / "crl.pem")
    system.relay.wait_log("(link to|no link to) dispatcher .*revoked")
    wait_for(lambda: system.dispatcher.relays() == [], what="relay gone")


def test_files_that_are_spoilt_while_running_change_nothing(make_system, own_certs):
    system = make_system(certs=own_certs, tls={"verify_interval": 1})
    works(system)
    with open(own_certs + "/crl.pem", "w") as file:
        file.write("no crl\n")
    system.dispatcher.wait_log("the old ones stay in force: .*crl.pem")
    system.relay.wait_log("the old ones stay in force: .*crl.pem")
    works(system)


def expired_crl(folder, *revoked):
    """A CRL of the folder's CA that was to be renewed long ago."""
    config = os.path.join(folder, "openssl.cnf")
    open(os.path.join(folder, "index.txt"), "w").close()
    write_config(config, {"ca": {"default_ca": "it"}, "it": {
        "database": os.path.join(folder, "index.txt"), "default_md": "sha256"}})
    ca = ["openssl", "ca", "-config", config, "-keyfile", folder + "/ca.key", "-cert",
          folder + "/ca.pem"]
    for name in revoked:
        subprocess.run(ca + ["-revoke", folder + "/" + name], check=True, capture_output=True)
    subprocess.run(ca + ["-gencrl", "-crl_lastupdate", "20200101000000Z", "-crl_nextupdate",
                         "20200201000000Z", "-out", folder + "/crl.pem"],
                   check=True, capture_output=True)


def test_an_expired_crl_is_a_warning(make_system, own_certs):
    expired_crl(own_certs)
    system = make_system(certs=own_certs)
    works(system)
    for daemon in system.daemons:
        daemon.wait_log("WARNING TLS: .*crl.pem.*expired")


def test_an_expired_crl_still_revokes(make_system, own_certs):
    expired_crl(own_certs, "relay.crt")
    refused(make_system(certs=own_certs), "dispatcher", "refused: .*revoked")


def test_an_expired_crl_refuses_everybody_when_strict(make_system, own_certs):
    expired_crl(own_certs)
    refused(make_system(certs=own_certs, tls={"crl_strict": "yes"}), "relay",
            "dispatcher .*CRL")


@pytest.mark.parametrize("name", ["relay", "dispatcher"])
@pytest.mark.parametrize("lost", ["ca.pem", "crl.pem", "own.crt", "own.key"])
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_file_that_cannot_be_used_stops_the_start_in_one_line(
        make_call_system, own_certs, name, lost, how):
    daemon = getattr(make_call_system(started=False), name)
    daemon.sections["TLS"]["certs_path"] = own_certs
    lost = lost.replace("own", name)
    os.remove(os.path.join(own_certs, lost))
    if how == "empty":
        open(os.path.join(own_certs, lost), "w").close()
    write_config(os.path.join(daemon.folder, "config.ini"), daemon.sections)
    done = subprocess.run(daemon.argv, text=True, capture_output=True, timeout=20)
    errors = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert done.returncode == 1 and len(errors) == 1, done.stderr
    assert "TLS" in errors[0] and lost in errors[0], errors
    assert not os.path.exists(os.path.join(daemon.runtime_dir, daemon.program_name + ".pid"))


def test_a_key_of_another_certificate_is_told(make_call_system, own_certs):
    shutil.copy(own_certs + "/relay.key", own_certs + "/dispatcher.key")
    dispatcher = make_call_system(relays=0, started=False).dispatcher
    dispatcher.sections["TLS"]["certs_path"] = own_certs
    write_config(os.path.join(dispatcher.folder, "config.ini"), dispatcher.sections)
    done = subprocess.run(dispatcher.argv, text=True, capture_output=True, timeout=20)
    assert done.returncode == 1 and "dispatcher.key" in done.stderr, done.stderr


# -- strangers on the port for relays ------------------------------------------------------


def dial(dispatcher, source_ip=None):
    host, port = dispatcher.link.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), 5, (source_ip, 0) if source_ip else None)
    sock.settimeout(5)
    return sock


def hung_up(sock):
    """Wait until the peer has closed."""
    try:
        while sock.recv(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    return True


def test_a_client_without_a_certificate_is_refused(call_system):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with dial(call_system.dispatcher, "127.0.0.9") as plain:
        try:
            with context.wrap_socket(plain) as sock:  # TLS 1.3: it learns of it afterwards
                assert hung_up(sock)
        except (ssl.SSLError, ConnectionError):
            pass
    call_system.dispatcher.wait_log(r"relay connection from 127\.0\.0\.9\S* refused")
    works(call_system)


def test_garbage_instead_of_tls_is_hung_up_on(call_system):
    for number, garbage in enumerate((b"GET / HTTP/1.0\r\n\r\n", b"\0" * 4096, b"\xff" * 4096,
                                      b"ping\r\n" * 1000, os.urandom(65536))):
        with dial(call_system.dispatcher, "127.0.0.9") as sock:
            try:
                sock.sendall(garbage)
            except ConnectionError:
                pass
            assert hung_up(sock)
    wait_for(lambda: call_system.dispatcher.summary()["links"]["handshakes_failed"] >= 5,
             what="five counted")
    works(call_system)


def test_clients_that_never_speak_keep_no_relay_out(call_system, certs):
    """An address may have four unfinished handshakes, and all together 128."""
    silent = [dial(call_system.dispatcher, "127.0.0.9") for _ in range(10)]
    for sock in silent[:6]:  # the oldest ones of an address give way to its newest
        assert hung_up(sock)
    for number in range(300):
        silent.append(dial(call_system.dispatcher, "127.0.1.%d" % (number % 200 + 1)))
    for sock in silent[6:10]:  # the oldest ones of all gave way
        assert hung_up(sock)
    relay = OriginalRelay(call_system.dispatcher, certs, source_ip="127.0.0.8")
    relay.greet()
    relay.ping()
    works_beside(call_system, relay)
    for sock in silent:
        sock.close()


def test_half_a_handshake_and_then_silence_keeps_nobody_waiting(call_system, certs):
    sock = dial(call_system.dispatcher, "127.0.0.9")
    sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of a ClientHello
    works(call_system)
    sock.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_1_is_not_spoken(call_system, certs):
    context = tls_context(certs, "relay")
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with dial(call_system.dispatcher, "127.0.0.9") as plain:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain)
