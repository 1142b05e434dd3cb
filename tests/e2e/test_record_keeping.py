"""The relay keeps each final record until its dispatcher has acknowledged it."""

import json
import os

import pytest

from mp.link import AckingDispatcher, OriginalDispatcher
from mp.proxy import Reply, update_headers
from mp.wait import wait_for

AUDIO = "audio:127.0.0.1:5000:sendrecv:ice=no"


@pytest.fixture
def relay_with(make_call_system, certs):
    """A function: a relay of ours (.system.relay) on a stand-in of this class."""
    made = []

    def make(kind, **config):
        system = make_call_system(started=False, relay_config=config)
        dispatcher = kind(certs, system.port_block().tcp(0))
        dispatcher.system = system
        made.append(dispatcher)
        system.relay.sections["Relay"]["dispatchers"] = dispatcher.link
        system.relay.start()
        dispatcher.accept()
        system.relay.note_fds()
        return dispatcher

    yield make
    for dispatcher in made:
        dispatcher.close()


def end_calls(dispatcher, *call_ids):
    """Calls that are made and removed at once; returns their records."""
    records = []
    for call_id in call_ids:
        for kind, tag in (("request", ""), ("reply", "t")):
            assert Reply(dispatcher.command("update", update_headers(
                kind, call_id, "f", tag, AUDIO))).ok
        records.append(json.loads(dispatcher.command("remove", [
            ("call_id", call_id), ("from_tag", "f"), ("to_tag", "t")])))
    return records


def ids(records):
    return [(r["call_id"], r["record_id"]) for r in records]


def wait_counter(relay, name, value):
    wait_for(lambda: relay.summary()[name] == value, 5.0, lambda: "%s = %d: %s" % (
        name, value, relay.summary()))


def restart(dispatcher):
    """Killed, and started again. Returns what it sends before `caught-up`."""
    relay = dispatcher.system.relay
    relay.kill()
    relay.start()
    return dispatcher.accept().backlog()


def test_a_killed_relay_sends_what_was_not_acknowledged(relay_with):
    dispatcher = relay_with(AckingDispatcher)
    relay = dispatcher.system.relay
    assert dispatcher.backlog() == []
    records = end_calls(dispatcher, "c1@x", "c2@x", "c3@x")
    dispatcher.ack(records[1])
    wait_counter(relay, "records_acked", 1)
    wait_counter(relay, "records_on_disk", 2)

    again = restart(dispatcher)
    assert ids(again) == ids([records[0], records[2]])
    for record in again:
        assert record["timed_out"] is False and record["end_reason"] == "removed"
        dispatcher.ack(record)
    wait_counter(relay, "records_on_disk", 0)
    assert relay.summary()["records_waiting"] == 0
    assert restart(dispatcher) == []


def test_a_new_link_gets_all_again_and_new_ones_behind(relay_with):
    dispatcher = relay_with(AckingDispatcher, unanswered_timeout=1)
    relay = dispatcher.system.relay
    dispatcher.backlog()
    records = end_calls(dispatcher, "c1@x", "c2@x")
    assert Reply(dispatcher.command("update", update_headers(
        "request", "rings@x", "f", "", AUDIO))).ok
    dispatcher.peer.close()
    dispatcher.accept()
    assert ids(dispatcher.backlog()) == ids(records)
    dispatcher.ack(records[0])
    dispatcher.ack(records[1])
    expired = dispatcher.record(dispatcher.next_line(5.0))
    assert expired["call_id"] == "rings@x"
    dispatcher.ack(expired)
    wait_counter(relay, "records_acked", 3)
    assert relay.summary()["records_resent"] == 2


def test_what_ends_while_no_dispatcher_is_there_survives_the_relay(relay_with):
    dispatcher = relay_with(AckingDispatcher)
    relay = dispatcher.system.relay
    for number in range(30):
        assert Reply(dispatcher.command("update", update_headers(
            "request", "c%d@x" % number, "f", "", AUDIO))).ok
    dispatcher.stop_listening()
    dispatcher.peer.close()
    wait_counter(relay, "dispatchers_connected", 0)
    relay.signal(15)
    assert relay.wait_exit(20) == 0
    assert os.stat(os.path.join(relay.state_dir, "relay.db")).st_size > 0
    assert os.stat(relay.state_dir).st_mode & 0o777 == 0o750

    dispatcher.listen()
    relay.start()
    records = dispatcher.accept().backlog()
    assert sorted(r["call_id"] for r in records) == sorted("c%d@x" % n for n in range(30))
    assert len({r["record_id"] for r in records}) == 30
    for record in records:
        dispatcher.ack(record)
    wait_counter(relay, "records_on_disk", 0)


def test_the_originals_dispatcher_gets_each_record_once(relay_with):
    dispatcher = relay_with(OriginalDispatcher, unanswered_timeout=1)
    relay = dispatcher.system.relay
    end_calls(dispatcher, "c1@x", "c2@x")
    assert Reply(dispatcher.command("update", update_headers(
        "request", "rings@x", "f", "", AUDIO))).ok
    dispatcher.stop_listening()
    dispatcher.peer.close()
    wait_counter(relay, "records_on_disk", 1)
    relay.kill()

    dispatcher.listen()
    relay.start()
    # It may come before the reply to `sessions`, and behind it.
    lines = dispatcher.accept().unsolicited
    word, _, text = (lines[0] if lines else dispatcher.next_line()).partition(" ")
    assert word == "expired" and json.loads(text)["call_id"] == "rings@x"
    wait_counter(relay, "records_on_disk", 0)
    assert relay.summary()["records_waiting"] == 0
    dispatcher.peer.close()
    assert dispatcher.accept().unsolicited == []
    relay.kill()
    relay.start()
    assert dispatcher.accept().unsolicited == []


def test_without_a_folder_for_its_state_a_relay_works(relay_with):
    dispatcher = relay_with(AckingDispatcher, state_dir="/proc/nowhere")
    relay = dispatcher.system.relay
    assert "records are kept in memory alone" in relay.log()
    record, = end_calls(dispatcher, "c1@x")
    dispatcher.ack(record)
    wait_counter(relay, "records_acked", 1)


def test_records_for_a_dispatcher_that_is_gone_stay(relay_with):
    dispatcher = relay_with(AckingDispatcher)
    relay = dispatcher.system.relay
    end_calls(dispatcher, "c1@x", "c2@x")
    wait_counter(relay, "records_on_disk", 2)
    relay.kill()
    since = relay.log_offset()
    port = dispatcher.system.port_block().tcp(0)
    relay.sections["Relay"]["dispatchers"] = "127.0.0.1:%d" % port
    relay.start()
    relay.wait_log("2 records on disk are for dispatchers that are not configured any more, and "
                   "stay there: %s \\(2\\)" % dispatcher.link, since=since)
    assert relay.summary()["records_on_disk"] == 2
    relay.kill()
    relay.sections["Relay"]["dispatchers"] = dispatcher.link
    relay.start()
    records = dispatcher.accept().backlog()
    assert [r["call_id"] for r in records] == ["c1@x", "c2@x"]
    for record in records:
        dispatcher.ack(record)
    wait_counter(relay, "records_on_disk", 0)
