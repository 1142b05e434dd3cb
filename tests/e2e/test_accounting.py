"""Accounting as a whole: a call through real daemons, into every backend at once."""

import json
import os
import subprocess

import pytest

from mp import programs
from mp.databases import PostgreSQL
from mp.kamailio import ENGAGE
from mp.phone import talk
from mp.programs import PortBlock
from mp.radius import DICTIONARY, FreeRadius
from mp.records import record
from mp.wait import wait_for
from test_dialog_end import silent_call


@pytest.fixture(scope="module")
def postgres():
    reason = PostgreSQL.missing()
    if reason:
        pytest.skip(reason)
    block = PortBlock()
    server = PostgreSQL(block.tcp(0))
    yield server
    server.close()
    block.close()


@pytest.fixture
def radius(tmp_path):
    reason = programs.missing("freeradius")
    if reason:
        pytest.skip(reason)
    block = PortBlock()
    server = FreeRadius(tmp_path / "radius", block.tcp(0))
    server.start()
    yield server
    server.stop()
    block.close()


def radius_section(folder, server, **keys):
    """[Radius] for a server, with the files that it names."""
    secrets = os.path.join(str(folder), "servers")
    with open(secrets, "w") as file:
        file.write("127.0.0.1 %s\n" % server.secret)
    client = os.path.join(str(folder), "client.conf")
    with open(client, "w") as file:
        file.write("acctserver 127.0.0.1:%d\nservers %s\nradius_timeout 2\nradius_retries 2\n"
                   % (server.port, secrets))
    return dict({"config_file": client, "additional_dictionary": DICTIONARY}, **keys)


def rows(postgres, database):
    if not postgres.run("SELECT 1 FROM pg_tables WHERE tablename = 'media_sessions'", database):
        return []
    return [json.loads(row[0]) for row in postgres.run(
        "SELECT convert_from(info, 'UTF8') FROM media_sessions", database)]


def lines(path):
    try:
        with open(path, encoding="ascii") as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []


def test_a_call_is_in_every_backend_the_same(make_call_system, postgres, radius, tmp_path):
    database = postgres.make_database()
    system = make_call_system(
        dispatcher_config={"accounting": "database, radius, file"},
        dispatcher_sections={"Database": {"dburi": postgres.dburi(database)},
                             "Radius": radius_section(tmp_path, radius)})
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call().establish([caller], [callee])
    talk(caller, callee)
    assert call.remove() == "removed"

    request, = radius.wait_requests(1)
    path = os.path.join(system.dispatcher.state_dir, "accounting.json")
    wait_for(lambda: rows(postgres, database) and lines(path), 10.0, "the record everywhere")
    stored, = rows(postgres, database)
    line, = lines(path)
    assert stored == line == record(system, call.call_id)
    stream, = stored["streams"]
    attributes = dict(request)
    assert attributes["Acct-Session-Id"] == call.call_id
    assert attributes["Acct-Input-Octets"] == str(stream["caller_bytes"])
    assert attributes["Acct-Output-Octets"] == str(stream["callee_bytes"])
    assert attributes["NAS-IP-Address"] == system.relay.ip
    backends = system.dispatcher.summary()["accounting"]["backends"]
    assert [(b["name"], b["state"], b["waiting"], b["delivered"]) for b in backends] == [
        ("database", "up", 0, 1), ("radius", "up", 0, 1), ("file", "up", 0, 1)]


def test_calls_that_are_up_are_reported_to_radius(make_call_system, radius, tmp_path):
    system = make_call_system(
        dispatcher_config={"accounting": "radius"},
        dispatcher_sections={"Radius": radius_section(tmp_path, radius, interim_interval="300ms")})
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call().establish([caller], [callee])
    talk(caller, callee)
    wait_for(lambda: len(radius.requests()) >= 3, 10.0, "three interim reports")
    assert call.remove() == "removed"
    stream, = record(system, call.call_id)["streams"]
    wait_for(lambda: dict(radius.requests()[-1])["Acct-Input-Octets"]
             == str(stream["caller_bytes"]), 10.0, "the last word is the record's")
    assert {dict(r)["Acct-Session-Id"] for r in radius.requests()} == {call.call_id}


def test_a_call_that_nobody_answered_is_in_no_table(make_call_system, postgres):
    database = postgres.make_database()
    system = make_call_system(
        dispatcher_config={"accounting": "database"},
        dispatcher_sections={"Database": {"dburi": postgres.dburi(database)}})
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    unanswered = system.call()
    unanswered.offer(caller)
    assert unanswered.remove() == "removed"
    call = system.call().establish([caller], [callee])
    assert call.remove() == "removed"
    wait_for(lambda: rows(postgres, database), 10.0, "the answered call")
    assert [row["call_id"] for row in rows(postgres, database)] == [call.call_id]


def test_a_silent_call_is_ended_at_kamailio_and_accounted_once(make_call_system, network,
                                                               tmp_path):
    reason = programs.missing("kamailio", "sipp")
    if reason:
        pytest.skip(reason)
    path = tmp_path / "cdr.sqlite"
    system = make_call_system(
        network=network, started=False, relay_config={"stream_timeout": 2},
        dispatcher_config={"accounting": "database"},
        dispatcher_sections={"Database": {"dburi": "sqlite://%s" % path}})
    system.dispatcher.sections["OpenSIPS"] = {
        "socket_path": os.path.join(system.dispatcher.runtime_dir, "mi.sock")}
    system.start()
    call = silent_call(system, ENGAGE)
    call.callee.wait_message("BYE", deadline=10.0)
    call.caller.wait_message("BYE", deadline=10.0)
    call.callee.finish()
    call.caller.finish()

    def stored():
        done = subprocess.run(["sqlite3", "-readonly", str(path),
                               "SELECT CAST(info AS TEXT) FROM media_sessions"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    wait_for(stored, 10.0, "the record in the database")
    found, = stored()
    assert found["end_reason"] == "timeout" and found["timed_out"] is True


@pytest.mark.root
def test_on_a_full_disk_calls_go_on_and_no_record_is_lost(make_call_system, postgres):
    """The disk of state_dir is full for a while: removes are answered by `error`, and kept."""
    database = postgres.make_database()
    system = make_call_system(
        started=False, dispatcher_config={"accounting": "database"},
        dispatcher_sections={"Database": {"dburi": postgres.dburi(database)}})
    folder = system.dispatcher.state_dir
    os.makedirs(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    try:
        system.start()
        caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
        calls = [system.call().establish([caller], [callee]) for _ in range(30)]
        filler = os.path.join(folder, "filler")
        with pytest.raises(OSError):
            with open(filler, "wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
        answers = [call.remove() for call in calls[:20]]
        assert "error" in answers
        # New calls are made all the same.
        calls.append(system.call().establish([caller], [callee]))
        wait_for(lambda: system.dispatcher.summary()["accounting"]["disk_failing"], 5.0,
                 "the disk's trouble in the summary")
        os.unlink(filler)
        wait_for(lambda: len(rows(postgres, database)) == 20, 15.0,
                 lambda: "20 records: %d" % len(rows(postgres, database)))
        assert all(call.remove() == "removed" for call in calls[20:])
        wait_for(lambda: len(rows(postgres, database)) == 31, 15.0,
                 lambda: "31 records: %d" % len(rows(postgres, database)))
        assert len({row["call_id"] for row in rows(postgres, database)}) == 31
        system.dispatcher.stop()
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
