"""`mediaproxy certs`: a CA, a CRL and certificates, as somebody makes them for the first time."""

import json
import os
import stat
import subprocess

import pytest

from mp.programs import program


@pytest.fixture
def certs_in(tmp_path):
    """A function: run `mediaproxy certs` on a folder that is not there yet."""
    folder = tmp_path / "new" / "tls"

    def run(*words, code=0, at=folder):
        done = subprocess.run([program("mediaproxy"), "certs", *words, "--folder", str(at)],
                              text=True, capture_output=True, timeout=20)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    run.folder = folder
    return run


def openssl(*words, code=0):
    done = subprocess.run(["openssl", *words], text=True, capture_output=True, timeout=20)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def modes(folder):
    return {name: stat.S_IMODE(os.stat(folder / name).st_mode) for name in os.listdir(folder)}


def test_three_commands_make_what_both_daemons_need(certs_in):
    for what in ("init", "dispatcher", "relay"):
        assert "Made" in certs_in(what)
    folder = certs_in.folder
    assert sorted(os.listdir(folder)) == [
        "ca.key", "ca.pem", "crl.pem", "dispatcher.crt", "dispatcher.key", "index.json",
        "relay.crt", "relay.key"]
    for name, mode in modes(folder).items():
        assert mode & 0o077 == (0 if name.endswith(".key") else 0o044), (name, oct(mode))


def test_keys_are_private_whatever_the_umask_is(certs_in):
    old = os.umask(0)
    try:
        for what in ("init", "dispatcher", "relay"):
            certs_in(what)
    finally:
        os.umask(old)
    for name, mode in modes(certs_in.folder).items():
        assert mode & 0o022 == 0, (name, oct(mode))
        assert not name.endswith(".key") or mode == 0o600, (name, oct(mode))


def test_openssl_takes_the_chain_and_the_revocation(certs_in):
    for what in ("init", "dispatcher", "relay"):
        certs_in(what, *(["--organization", "Example Ltd"] if what == "init" else []))
    folder = certs_in.folder
    verify = ["verify", "-x509_strict", "-CAfile", str(folder / "ca.pem"), "-CRLfile",
              str(folder / "crl.pem"), "-crl_check"]
    for name in ("dispatcher", "relay"):
        crt = str(folder / (name + ".crt"))
        for purpose in ("sslserver", "sslclient"):
            assert "OK" in openssl(*verify, "-purpose", purpose, crt)
        text = openssl("x509", "-in", crt, "-noout", "-subject", "-text")
        assert "O = Example Ltd, CN = " + name in text
        assert "prime256v1" in text and "ecdsa-with-SHA256" in text and "Version: 3" in text
        public = openssl("pkey", "-in", str(folder / (name + ".key")), "-pubout")
        assert public == openssl("x509", "-in", crt, "-noout", "-pubkey")

    certs_in("revoke", str(folder / "relay.crt"))
    assert "revoked" in openssl(*verify, str(folder / "relay.crt"), code=2)
    assert "OK" in openssl(*verify, str(folder / "dispatcher.crt"))
    # The CRL may be written anew; what was revoked stays so.
    certs_in("renew-crl", "--days", "30")
    assert "revoked" in openssl(*verify, str(folder / "relay.crt"), code=2)
    assert "relay" in certs_in("show") and "revoked" in certs_in("show")


def test_a_certificate_is_revoked_by_its_serial_number_too(certs_in):
    certs_in("init")
    certs_in("relay")
    relay, = json.loads(certs_in("show", "--json"))["certificates"]
    assert relay["problems"] == []
    certs_in("revoke", relay["serial"])
    shown = json.loads(certs_in("show", "--json"))
    assert len(shown["crl"]["revoked"]) == 1
    assert shown["certificates"][0]["problems"] != []
    assert "neither" in certs_in("revoke", "no-such-file", code=1)


def test_nothing_is_overwritten_unasked(certs_in):
    for what in ("init", "relay"):
        certs_in(what)
    folder = certs_in.folder
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    assert "CA" in certs_in("init", code=1)
    assert "CA" in certs_in("init", "--force", code=1)
    assert "--force" in certs_in("relay", code=1)
    assert before == {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    certs_in("relay", "--force")
    assert (folder / "relay.crt").read_bytes() != before["relay.crt"]
    assert (folder / "ca.key").read_bytes() == before["ca.key"]


def test_a_relay_on_another_host_gets_all_that_it_needs_and_no_more(certs_in, tmp_path):
    certs_in("init")
    certs_in("relay", "--out", str(tmp_path / "relay2"), "--common-name", "relay2")
    assert sorted(os.listdir(tmp_path / "relay2")) == ["ca.pem", "crl.pem", "relay.crt",
                                                       "relay.key"]
    assert "CN = relay2" in openssl("x509", "-in", str(tmp_path / "relay2" / "relay.crt"),
                                    "-noout", "-subject")
    certs_in("revoke", str(tmp_path / "relay2" / "relay.crt"))


@pytest.mark.parametrize("words, code", [
    (["relay"], 1), (["revoke"], 2), (["show"], 1), (["dance"], 2), ([], 2),
    (["init", "--days", "x"], 2)])
def test_what_cannot_be_done_is_said_in_one_line(certs_in, words, code):
    text, *more = certs_in(*words, code=code).splitlines()
    assert text.startswith("mediaproxy certs: ")
    assert more == (['Try "mediaproxy certs --help".'] if code == 2 else [])
