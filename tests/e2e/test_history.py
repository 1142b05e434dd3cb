"""The records of calls that ended, as operators see them: mediaproxy history, accounting."""

import json
import re

import pytest

from mp.control import http_request
from mp.phone import talk
from mp.wait import wait_for
from test_command import asked, mediaproxy

AUDIO = "audio:127.0.0.1:5000:sendrecv:ice=no"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def ended_call(system, **options):
    """A call with audio both ways that was hung up: (call, (caller's, callee's stream))."""
    streams = [system.phone(name).stream() for name in ("caller", "callee")]
    call = system.call(**options).establish(streams[:1], streams[1:])
    talk(*streams)
    assert call.remove() == "removed"
    return call, streams


def history(system, *words):
    """The rows that `mediaproxy history --json` prints."""
    return json.loads(asked(system.dispatcher, "history", "--json", *words))


def shown(system, *words):
    return asked(system.dispatcher, "history", *words)


def test_a_call_that_ended_is_in_the_history(call_system):
    call, streams = ended_call(call_system, from_uri="alice@example.com",
                               to_uri="bob@example.net")
    packets = r"%d / %d" % tuple(len(stream.sent) for stream in streams)
    text = shown(call_system)
    assert re.search(r"^%s +%s.* +alice@example\.com +bob@example\.net +00:00:0\d +removed "
                     r"+127\.0\.0\.1 +audio .* +%s$" % (TIME, re.escape(call.call_id[:25]), packets),
                     text, re.M), text
    assert text.endswith("\n1 record\n")

    row, = history(call_system)
    assert list(row) == ["seq", "stored", "record"]
    assert row["record"]["call_id"] == call.call_id
    assert abs(row["stored"] - row["record"]["end_time"]) < 5

    text = shown(call_system, call.call_id)
    remotes = [r"%s:%d" % stream.rtp.address for stream in streams]
    assert re.search(r" audio +closed +\S+ / \S+ +%s +%s +%s$" % (*remotes, packets),
                     text, re.M), text


def test_every_stream_of_a_call_is_on_a_line_of_its_own(call_system):
    call = call_system.call()
    media = [AUDIO, "video:127.0.0.1:5002:sendrecv:ice=no"]
    assert call.offer(*media).ok and call.answer(*media).ok
    assert call.remove() == "removed"
    text = shown(call_system, call.call_id)
    assert re.search(r" audio +closed .*\n +video +closed ", text), text


def two_ended_calls(system):
    """Their call-ids, the older one first."""
    calls = [system.call(call_id="call%d@example.com" % number) for number in (1, 2)]
    for call in calls:
        assert call.offer(AUDIO).ok and call.answer(AUDIO).ok and call.remove() == "removed"
    return [call.call_id for call in calls]


def test_of_two_calls_the_newest_is_first_and_limit_and_before_choose(call_system):
    first, second = two_ended_calls(call_system)
    rows = history(call_system)
    assert [row["record"]["call_id"] for row in rows] == [second, first]
    text = shown(call_system)
    assert text.index(second) < text.index(first)

    text = shown(call_system, "--limit", 1)
    assert second in text and first not in text
    before = re.search(r"older ones: --before (\d+)$", text, re.M).group(1)
    assert int(before) == rows[0]["seq"]
    text = shown(call_system, "--before", before)
    assert first in text and second not in text

    assert history(call_system, first) == rows[1:]
    assert history(call_system, first[:-1]) == []
    lines = asked(call_system.dispatcher, "accounting", "export", "--all").splitlines()
    assert [json.loads(line) for line in lines] == [row["record"] for row in rows]


@pytest.mark.parametrize("crash", [False, True])
def test_the_history_outlives_the_dispatcher(call_system, crash):
    call, _ = ended_call(call_system)
    rows = history(call_system)
    if crash:
        call_system.dispatcher.kill()
    else:
        call_system.dispatcher.stop()
    call_system.start()
    assert history(call_system) == rows and len(rows) == 1
    assert call.call_id[:25] in shown(call_system)


def test_nothing_there_is_said(call_system):
    assert shown(call_system) == "No record of a call is kept.\n"
    assert "nobody@x" in shown(call_system, "nobody@x")
    assert history(call_system) == []
    assert asked(call_system.dispatcher, "accounting", "list") == "Nothing is set aside.\n"
    assert asked(call_system.dispatcher, "accounting", "export") == ""


def test_what_a_caller_calls_himself_cannot_move_the_terminal(call_system):
    call = call_system.call(call_id="\x1b[2J@x", from_uri="\x1b]0;evil\x07@x")
    assert call.offer(AUDIO).ok and call.answer(AUDIO).ok and call.remove() == "removed"
    for words in ([], [call.call_id]):
        text = shown(call_system, *words)
        assert "1 record" in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), repr(text)


def test_a_call_that_fell_silent_ended_by_a_timeout(make_call_system):
    system = make_call_system(relay_config={"stream_timeout": 1})
    call = system.call()
    assert call.offer(AUDIO).ok and call.answer(AUDIO).ok
    wait_for(lambda: history(system), what="a record")
    assert re.search(r" timeout +127\.0\.0\.1 ", shown(system)), shown(system)
    assert re.search(r" audio +no-traffic timeout ", shown(system, call.call_id))


def test_accounting_without_backends_shows_the_disk(call_system):
    ended_call(call_system)
    text = asked(call_system.dispatcher, "accounting")
    assert re.search(r"^Disk +in order", text, re.M), text
    assert re.search(r"^Records +1 stored", text, re.M), text
    assert "No backend is configured" in text
    facts = json.loads(asked(call_system.dispatcher, "accounting", "--json"))["accounting"]
    assert facts["stored"] == 1 and facts["backends"] == [] and not facts["disk_failing"]
    summary = call_system.dispatcher.summary()["accounting"]
    assert (summary["stored"], summary["lost"]) == (1, 0)
    text = asked(call_system.dispatcher, "accounting", "retry")
    assert text == "Nothing is set aside that could be tried again.\n"


def test_accounting_says_which_backend_is_down_why_and_that_it_is_up_again(make_call_system,
                                                                           tmp_path):
    folder = tmp_path / "records"
    folder.mkdir()
    system = make_call_system(dispatcher_config={"accounting": "file"},
                              dispatcher_sections={"File": {"path": folder / "records.json"}})
    folder.rmdir()
    ended_call(system)

    def line():
        text = asked(system.dispatcher, "accounting")
        return re.search(r"^file .*$", text, re.M).group()

    wait_for(lambda: re.match(r"file +down +1 +0 +0 +00:00:\d\d +\S.*No such file", line()),
             what=line)
    folder.mkdir()
    wait_for(lambda: re.match(r"file +up +0 +1 +0$", line()), deadline=15.0, what=line)
    system.dispatcher.note_fds()  # the file stays open


def test_a_backend_that_is_not_there_is_told(call_system):
    done = mediaproxy("accounting", "retry", "telepathy", "--runtime-dir",
                      call_system.dispatcher.runtime_dir)
    assert done.returncode == 1 and "no such backend" in done.stderr


@pytest.mark.parametrize("target", ["history?limit=0", "history?limit=1001", "history?limit=x",
                                    "history?before=-1", "accounting/set-aside?limit="])
def test_a_bad_number_is_refused(call_system, target):
    status, text = http_request(call_system.dispatcher.control_path, "GET", "/api/v1/" + target)
    assert status == 400 and "whole number" in json.loads(text)["error"]


@pytest.mark.parametrize("method, target, wanted", [
    ("GET", "history", 404), ("GET", "accounting", 404), ("GET", "accounting/set-aside", 404),
    ("PUT", "accounting/retry", 404)])
def test_a_relay_has_no_records_to_show(call_system, method, target, wanted):
    status, text = http_request(call_system.relay.control_path, method, "/api/v1/" + target)
    assert status == wanted and "error" in json.loads(text)
    done = mediaproxy("history", "--runtime-dir", call_system.relay.runtime_dir)
    assert done.returncode == 1 and "is the dispatcher running" in done.stderr
