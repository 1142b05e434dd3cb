"""The SQL of docs/accounting.md, as it stands there, over a table of records in SQLite."""

import json
import os
import re
import sqlite3

import pytest

from mp import cdrtool
from mp.records import NEW_RECORD_KEYS, NEW_STREAM_KEYS, PARTIES, REMOVE_KEYS, STREAM_KEYS

DOCUMENT = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "accounting.md")
DAY = 86400
MONDAY = 1795392000.25  # 2026-11-23 00:00 UTC


def stream(caller, callee, kind="audio", codecs=("G711a", "G711a"), status="closed", **more):
    """A stream of a record. caller, callee: how many RTP packets; each has 200 bytes, and there
    is one RTCP packet of 100 for a party that was heard."""
    made = dict.fromkeys(STREAM_KEYS + NEW_STREAM_KEYS, "192.0.2.1:4000")
    made.update(media_type=kind, status=status, timeout_wait=0, start_time=0, end_time=10,
                post_dial_delay=0.5)
    for party, packets, codec in zip(PARTIES, (caller, callee), codecs):
        reports = min(packets, 1)
        made.update({party + "_codec": codec,
                     party + "_packets": packets + reports,
                     party + "_bytes": 200 * packets + 100 * reports})
        for component, count, size in (("rtp", packets, 200), ("rtcp", reports, 100)):
            prefix = "%s_%s_" % (party, component)
            made.update({prefix + "packets": count, prefix + "bytes": size * count,
                         prefix + "kernel_packets": count // 2})
    made.update(more)
    return made


def record(number, day=0, duration=10, streams=(), **more):
    made = {"call_id": "call-%d@x" % number, "from_tag": "f", "from_uri": "alice@example.com",
            "to_tag": "t", "to_uri": "bob@example.com", "start_time": MONDAY + day * DAY,
            "duration": duration, "caller_ua": "Phone", "callee_ua": "Unknown", "username": None,
            "streams": list(streams), "dialog_id": None, "timed_out": False,
            "record_id": "00-%x" % number, "schema": 2, "answered_time": MONDAY + day * DAY,
            "end_time": MONDAY + day * DAY + duration, "relay": "192.0.2.20", "engine": "xdp",
            "end_reason": "removed"}
    made.update(more)
    assert list(made) == REMOVE_KEYS
    return made


def as_the_original(made):
    """The same, as a relay of MediaProxy 4 would have written it."""
    made = {key: value for key, value in made.items() if key not in NEW_RECORD_KEYS}
    made["streams"] = [{key: one[key] for key in STREAM_KEYS} for one in made["streams"]]
    return made


def records():
    return [
        record(1, 0, 60, [stream(100, 100)]),
        record(2, 0, 3600, [stream(10, 20), stream(5, 5, "video", ("Dynamic(96)", "H263"),
                                                   callee_dropped_not_open=3)]),
        record(3, 1, 30, [stream(0, 50, codecs=("Unknown", "G711a"))], engine="userspace"),
        record(4, 1, 90, [stream(0, 0, codecs=("Unknown", "Unknown"),
                                 status="no-traffic timeout")],
               timed_out=True, end_reason="timeout", engine="userspace"),
        record(5, 1, 0, [], relay="2001:db8::20", end_reason="no stream", engine="userspace"),
        as_the_original(record(6, 2, 20, [stream(7, 7)])),
        # What a caller may put into his headers.
        record(7, 2, 5, [stream(1, 1)], call_id="n\0ul\\u0000 \"x\" \u20ac \x85@x", to_tag=None,
               from_uri="'; --@x"),
    ]


def section(text, heading):
    """What stands below a heading, up to the next one."""
    return re.search(r"^### %s\n(.*?)(?=^##|\Z)" % heading, text, re.MULTILINE | re.DOTALL)[1]


def blocks(text):
    return re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def questions():
    """{the first words before a query: the query}"""
    with open(DOCUMENT) as file:
        text = section(file.read(), "The questions")
    found = re.findall(r"^([A-Z][\w -]*)[^\n]*\n\n```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(found) == len(blocks(text))
    return dict(found)


@pytest.fixture
def database():
    connection = sqlite3.connect(":memory:")
    connection.execute(cdrtool.TABLE)
    for made in records():
        cdrtool.store(connection, json.dumps(made))
    with open(DOCUMENT) as file:
        views, = blocks(section(file.read(), "SQLite"))
    connection.executescript(views)
    yield connection
    connection.close()


def ids(rows):
    return [row[0] for row in rows]


def test_the_questions_have_their_answers(database):
    rows = {name: database.execute(query).fetchall() for name, query in questions().items()}
    assert rows.pop("Traffic by day") == [
        ("2026-11-23", 2, 2 * 20100 + 2100 + 4100 + 2 * 1100),
        ("2026-11-24", 3, 10100), ("2026-11-25", 2, 2 * 1500 + 2 * 300)]
    assert ids(rows.pop("Calls without media")) == [4, 5]
    one_way = rows.pop("One-way calls")
    assert one_way == [(3, "2026-11-24 00:00:00", "call-3@x", "alice@example.com",
                        "bob@example.com", 30, 0, 50)]
    assert ids(rows.pop("The longest calls")) == [2, 4, 1, 3, 6, 7, 5]
    assert rows.pop("Calls by relay and engine") == [
        ("192.0.2.20", "xdp", 3, 2 * 20100 + 2100 + 4100 + 2 * 1100 + 2 * 300),
        ("192.0.2.20", "userspace", 2, 10100),
        (None, None, 1, 3000), ("2001:db8::20", "userspace", 1, 0)]
    assert rows.pop("Streams by codec")[0] == (
        "audio", "G711a", "G711a", 4, 2 * 20100 + 2100 + 4100 + 2 * 1500 + 2 * 300)
    assert [(reason, calls) for reason, calls, _ in rows.pop("Why calls ended")] == [
        ("removed", 4), (None, 1), ("no stream", 1), ("timeout", 1)]
    assert rows == {}


def test_every_database_has_its_views_and_the_same_columns():
    with open(DOCUMENT) as file:
        text = file.read()
    for name in ("PostgreSQL", "MariaDB", "SQLite"):
        views, = blocks(section(text, name))
        assert re.findall(r"CREATE VIEW (\w+)", views)[-2:] == ["media_calls", "media_streams"]
        for column in ("caller", "callee", "started", "duration", "relay", "engine", "end_reason",
                       "caller_rtp", "callee_rtp"):
            assert re.search(r" AS %s\b" % column, views), (name, column)
