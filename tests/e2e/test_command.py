"""The operator's command against running daemons."""

import json
import os
import re
import subprocess

import pytest

from mp.programs import program
from mp.wait import SLOWNESS

AUDIO = "audio:127.0.0.1:5000:sendrecv:ice=no"


def mediaproxy(*words, namespace=None, deadline=30):
    argv = [program("mediaproxy"), *[str(w) for w in words]]
    done = subprocess.run(namespace.command(argv) if namespace else argv, text=True,
                          capture_output=True, timeout=deadline * SLOWNESS,
                          stdin=subprocess.DEVNULL)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done


def asked(daemon, *words, **options):
    """The standard output of a command that has to work."""
    done = mediaproxy(*words, "--runtime-dir", daemon.runtime_dir, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_summary_shows_the_dispatcher_and_its_relays(call_system):
    call = call_system.call()
    assert call.offer(AUDIO).ok
    text = asked(call_system.dispatcher, "summary")
    assert re.search(r"^ +calls +1$", text, re.M), text
    assert re.search(r"^127\.0\.0\.1 +active +\S+ +00:00:\d\d +1 .*audio", text, re.M), text
    facts = json.loads(asked(call_system.dispatcher, "summary", "--json"))
    assert facts["calls"] == 1 and facts["relays"][0]["session_count"] == 1
    # A relay's folder has no dispatcher in it.
    text = asked(call_system.relay, "summary")
    assert "active" in text and re.search(r"sessions_created +1", text), text
    assert json.loads(asked(call_system.relay, "summary", "--json"))["session_count"] == 1
    assert call.remove() == "removed"


def test_sessions_shows_the_calls_that_are_meant(call_system):
    calls = [call_system.call(from_uri="%s@example.com" % name) for name in ("alice", "eve")]
    for call in calls:
        assert call.offer(AUDIO).ok and call.answer(AUDIO).ok
    for daemon in call_system.daemons:
        text = asked(daemon, "sessions")
        assert all(call.call_id in text for call in calls), text
        text = asked(daemon, "sessions", "eve@")
        assert calls[1].call_id in text and calls[0].call_id not in text
        assert "audio" in text
        shown = json.loads(asked(daemon, "sessions", "--json"))
        assert sorted(s["call_id"] for s in shown) == sorted(call.call_id for call in calls)
    for call in calls:
        assert call.remove() == "removed"
    assert call_system.dispatcher.summary()["calls"] == 0
    assert calls[0].call_id not in asked(call_system.dispatcher, "sessions")


def test_what_a_caller_calls_himself_cannot_move_the_terminal(call_system):
    call = call_system.call(from_uri="\x1b[2J\x1b]0;evil\x07@x", user_agent="\x9b31m\x7f")
    assert call.offer(AUDIO).ok and call.answer(AUDIO).ok
    text = asked(call_system.dispatcher, "sessions")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), repr(text)
    assert call.remove() == "removed"


def test_a_test_call_says_that_all_its_packets_came(call_system):
    text = asked(call_system.dispatcher, "call", "--seconds", "1", "--streams", "2")
    assert "127.0.0.1" in text, text
    facts = call_system.dispatcher.summary()
    assert (facts["calls"], facts["records"], facts["updates"]) == (0, 1, 2)
    # Two streams, both ways, 50 packets a second.
    call_system.relay.wait_empty()


@pytest.mark.root
def test_a_test_call_whose_media_is_blocked_fails(call_network, network):
    dispatcher, host = call_network.dispatcher, network.proxy
    words = ["call", "--seconds", "1", "--ip", host.ip, "--runtime-dir", dispatcher.runtime_dir]
    assert mediaproxy(*words, namespace=host).returncode == 0
    network.relay1.run(["nft", "-f", "-"], text=True, input=(
        "table ip blocked {\n chain in {\n  type filter hook input priority 0\n"
        "  meta l4proto udp drop\n }\n}\n"))
    try:
        done = mediaproxy(*words, namespace=host)
    finally:
        network.relay1.run(["nft", "delete", "table", "ip", "blocked"])
    assert done.returncode == 1, done.stdout
    for way in ("caller -> callee", "callee -> caller"):
        assert re.search(way + r" +RTP +50 +0 +50 ", done.stdout), done.stdout
    assert dispatcher.summary()["calls"] == 0  # it hung up all the same


def test_a_test_call_without_a_relay_fails(make_call_system):
    dispatcher = make_call_system(relays=0).dispatcher
    done = mediaproxy("call", "--runtime-dir", dispatcher.runtime_dir)
    assert done.returncode == 1 and "error" in done.stdout + done.stderr


def test_signalling_is_measured(make_call_system):
    system = make_call_system(relay_config={"port_rest": 0})
    text = asked(system.dispatcher, "bench", "signalling", "--calls", "200", "--connections", "4",
                 "--pid", "%d,%d" % (system.dispatcher.pid, system.relay.pid))
    assert "calls/s" in text or "calls a second" in text, text
    found = json.loads(asked(system.dispatcher, "bench", "signalling", "--calls", "200",
                             "--json"))
    assert found["calls"] == 200 and found["failed_calls"] == 0, found
    facts = system.dispatcher.summary()
    assert (facts["updates"], facts["removes"], facts["records"]) == (800, 400, 400)
    assert facts["calls"] == 0


def test_a_benchmark_that_only_gets_errors_fails(make_call_system):
    dispatcher = make_call_system(relays=0).dispatcher
    done = mediaproxy("bench", "signalling", "--calls", "10", "--runtime-dir",
                      dispatcher.runtime_dir)
    assert done.returncode == 1, done.stdout


@pytest.mark.parametrize("words", [["summary"], ["sessions"], ["call"], ["history"],
                                   ["accounting"], ["accounting", "export"],
                                   ["bench", "signalling", "--calls", "1"]])
def test_without_daemons_it_says_where_it_looked(tmp_path, words):
    done = mediaproxy(*words, "--runtime-dir", tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert str(tmp_path) in done.stderr and done.stderr.count("\n") <= 2, done.stderr


def test_a_daemon_that_hangs_is_told_and_not_waited_for(call_system):
    call_system.dispatcher.freeze()
    try:
        done = mediaproxy("summary", "--runtime-dir", call_system.dispatcher.runtime_dir)
    finally:
        call_system.dispatcher.thaw()
    assert done.returncode == 1 and done.stderr.startswith("mediaproxy"), done.stderr


@pytest.mark.parametrize("words", [[], ["dance"], ["summary", "--dance"], ["call", "--seconds"],
                                   ["call", "--seconds", "x"], ["bench"], ["bench", "dance"],
                                   ["call", "--streams", "99"], ["call", "--ip", "host"],
                                   ["history", "--limit", "0"], ["accounting", "dance"]])
def test_a_wrong_command_line_tries_nothing(words):
    done = mediaproxy(*words)
    assert done.returncode == 2 and done.stdout == "" and done.stderr, done.stdout


def test_help_and_version_work_for_everybody():
    for words in (["--help"], ["summary", "--help"], ["sessions", "--help"], ["call", "--help"],
                  ["history", "--help"], ["accounting", "--help"],
                  ["certs", "--help"], ["bench", "signalling", "--help"], ["--version"]):
        done = mediaproxy(*words)
        assert done.returncode == 0 and done.stderr == "" and done.stdout
    assert os.access(program("mediaproxy"), os.X_OK)
