"""Nothing that was answered is lost, whatever is killed, hung or full meanwhile.

MP_LONG=1 (`make check-long`) makes these runs as long as the ones that operators care for.
"""

import collections
import os
import random
import re
import time

import pytest

from mp.call_load import CallLoad
from mp.databases import PASSWORD, USER, PostgreSQL
from mp.programs import PortBlock
from mp.wait import wait_for

LONG = os.environ.get("MP_LONG") == "1"


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
def accounted_system(make_call_system, postgres):
    """A function that makes a system with accounting to a new database."""
    def make(**options):
        database = postgres.make_database()
        options.setdefault("port_blocks", 30)
        options.setdefault("relay_config", {"stream_timeout": 1, "port_rest": 1})
        system = make_call_system(
            dispatcher_config=dict({"accounting": "database"},
                                   **options.pop("dispatcher_config", {})),
            dispatcher_sections={"Database": {"dburi": postgres.dburi(database)}}, **options)
        system.database = database
        return system
    return make


def stored(postgres, system):
    """How often each call-id stands in the database."""
    found = collections.Counter()
    tables = postgres.run("SELECT tablename FROM pg_tables WHERE tablename IN"
                          " ('media_sessions', 'dropped')", system.database)
    for table, in tables:
        rows = postgres.run("SELECT call_id FROM " + table, system.database)
        found.update(row[0] for row in rows)
    return found


def drop_table(postgres, system):
    """Drop the table, and keep a copy of what was in it for stored()."""
    postgres.run("BEGIN; LOCK TABLE media_sessions; CREATE TABLE dropped AS SELECT * FROM"
                 " media_sessions; DROP TABLE media_sessions; COMMIT", system.database)


def backend(system):
    return system.dispatcher.summary()["accounting"]["backends"][0]


def wait_drained(system, deadline=60.0):
    """Until the relay has no record left, and the database has all that the dispatcher has."""
    def drained():
        relay = system.relay.summary()
        return (relay["records_waiting"] == 0 and relay["records_on_disk"] == 0
                and relay["session_count"] == 0 and backend(system)["waiting"] == 0)

    wait_for(drained, deadline, lambda: "all records delivered: %s %s" % (
        system.dispatcher.summary()["accounting"], system.relay.summary()))


def expired(system):
    """The calls that ended by themselves, as the relay's log has them."""
    return set(re.findall(r"\[(\S+)\] session ended: timeout", system.relay.log()))


def check_exactly_once(postgres, system, wanted):
    counts = stored(postgres, system)
    lost = sorted(call for call in wanted if counts[call] == 0)
    twice = sorted(call for call, count in counts.items() if count > 1)
    assert not lost, "%d of %d are not in the database: %s" % (len(lost), len(wanted), lost[:5])
    assert not twice, "%d are there more than once: %s" % (len(twice), twice[:5])


@pytest.mark.leaves_sessions
def test_kill_9_of_dispatcher_and_relay_loses_no_record_and_doubles_none(accounted_system,
                                                                         postgres):
    kills, seconds, rate = (20, 180, 100) if LONG else (4, 24, 40)
    system = accounted_system()
    chance = random.Random(7)
    load = CallLoad(system.dispatcher.socket_path, rate)
    began = time.monotonic()
    for number in range(kills):
        # Spread over the run, each at a moment of its own.
        due = began + seconds * (number + chance.random()) / kills
        wait_for(lambda: time.monotonic() >= due, seconds)
        victim = (system.dispatcher, system.relay)[number % 2]
        victim.kill()
        victim.start()
    wait_for(lambda: time.monotonic() >= began + seconds, seconds)
    load.stop()
    wait_drained(system)
    wanted = load.removed | (expired(system) & load.answered)
    assert len(load.removed) > rate * seconds / 4, "the load was no load: %d" % len(load.removed)
    assert len(expired(system)) > 0
    check_exactly_once(postgres, system, wanted)


@pytest.mark.leaves_sessions
@pytest.mark.parametrize("fault", ["killed", "hung", "dropped", "password"])
def test_a_database_that_fails_meanwhile_gets_every_record_once(accounted_system, postgres,
                                                                fault):
    seconds, rate = (30, 100) if LONG else (4, 40)
    system = accounted_system()
    load = CallLoad(system.dispatcher.socket_path, rate)
    wait_for(lambda: len(stored(postgres, system)) > 10, 20.0, "records in the database")
    if fault == "killed":
        postgres.kill()
    elif fault == "hung":
        postgres.freeze()
    elif fault == "dropped":
        drop_table(postgres, system)
    else:
        postgres.set_password(USER, "another")
        postgres.disconnect_all()
    end = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= end, seconds + 5)
    if fault == "killed":
        postgres.start()
        postgres.wait_ready()
    elif fault == "hung":
        postgres.thaw()
    elif fault == "password":
        postgres.set_password(USER, PASSWORD)
    end = time.monotonic() + 2
    wait_for(lambda: time.monotonic() >= end, 5)
    load.stop()
    # Rather than wait for the backend's next try.
    system.dispatcher.put("accounting/retry", {})
    wait_drained(system)
    assert load.refused == 0 and load.unanswered == 0, (load.refused, load.unanswered)
    check_exactly_once(postgres, system, load.removed | load.left)


@pytest.mark.leaves_sessions
def test_a_backlog_waits_on_disk_and_not_in_memory(accounted_system, postgres):
    wanted = 10000 if LONG else 1500
    system = accounted_system()
    postgres.freeze()
    try:
        load = CallLoad(system.dispatcher.socket_path, 400, left_share=10 ** 9)
        wait_for(lambda: len(load.removed) >= wanted, 300.0,
                 lambda: "%d calls" % len(load.removed))
        load.stop()
        waiting = backend(system)["waiting"]
    finally:
        postgres.thaw()
    assert waiting >= wanted - 600, waiting
    wait_drained(system)
    assert load.refused == 0 and load.unanswered == 0, (load.refused, load.unanswered)
    check_exactly_once(postgres, system, load.removed)
