"""How daemons start and end: signals to a relay with calls, the background, the pid file."""

import os
import signal
import subprocess

import pytest

from mp.daemons import write_config
from mp.packets import rtp, rtp_series
from mp.phone import talk
from mp.process import SANITIZER
from mp.records import check_stream, point, record, statuses
from mp.wait import wait_for

LINE = "audio:127.0.0.1:%d:sendrecv:ice=no"


def make_call(system, **options):
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(clients=1, signaling_ip=caller.phone.ip, **options)
    call.establish([caller], [callee])
    talk(caller, callee)
    return call, caller, callee


# -- the end of a relay ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_a_relay_that_is_stopped_ends_its_calls_and_reports_them(call_system, number):
    calls = [make_call(call_system) for _ in range(3)]
    ringing = call_system.call(call_id="ringing@x")
    assert ringing.offer(LINE % 5000).ok
    last = rtp_series(20, ssrc=5, first=100)
    calls[0][1].rtp.send(*last)  # on its way while the signal comes
    call_system.relay.signal(number)
    assert call_system.relay.wait_exit() == 0
    calls[0][2].rtp.expect(last)
    for call, caller, callee in calls:
        final = record(call_system, call.call_id)
        check_stream(final["streams"][0], caller, callee, status="closed")
        assert final["timed_out"] is False and final["start_time"] is not None
    assert record(call_system, "ringing@x")["start_time"] is None
    summary = call_system.dispatcher.summary()
    assert summary["expired"] == 4 and summary["expired_unknown"] == 0
    assert summary["sessions_waiting_for_remove"] == 4

    # The BYEs come later, and need no relay.
    for call, _, _ in calls:
        assert call.remove() == "removed"
    assert ringing.remove() == "removed"
    assert call_system.dispatcher.summary()["sessions_waiting_for_remove"] == 0
    assert "session ended: relay stopped" in call_system.relay.log()


def test_a_relay_that_drains_keeps_its_calls_and_takes_no_new_ones(call_system):
    relay = call_system.relay
    call, caller, callee = make_call(call_system)
    relay.drain()
    wait_for(lambda: relay.summary()["status"] == "halting")
    client = call_system.client()
    for number in range(3):
        assert client.update("request", "new%d@x" % number, "f", "", LINE % 5000) == "error"
    assert relay.summary()["session_count"] == 1
    # Another from-tag under the call-id that it has is a new session all the same.
    assert client.update("request", call.call_id, "other", "", LINE % 5000) == "error"
    talk(caller, callee, first=100)
    video = caller.phone.stream("video"), callee.phone.stream("video")
    offered = call.offer(caller, video[0])  # the call itself goes on in every way
    answered = call.answer(callee, video[1])
    point([callee, video[1]], offered)
    point([caller, video[0]], answered)
    talk(*video)
    talk(caller, callee, first=200)
    relay.drain()  # again: nothing more
    talk(caller, callee, first=300)
    assert relay.running()
    assert call.remove() == "removed"
    assert relay.wait_exit() == 0
    final = record(call_system, call.call_id)
    assert statuses(final) == [("audio", "closed"), ("video", "closed")]
    check_stream(final["streams"][0], caller, callee)
    assert call_system.dispatcher.summary()["expired"] == 0


def test_a_relay_that_drains_without_calls_leaves_at_once(call_system):
    call, _, _ = make_call(call_system)
    assert call.remove() == "removed"
    call_system.relay.drain()
    assert call_system.relay.wait_exit() == 0


def test_a_relay_that_drains_leaves_when_its_last_call_falls_silent(make_call_system):
    system = make_call_system(relay_config={"stream_timeout": 1, "unanswered_timeout": 1})
    call, caller, callee = make_call(system)
    assert system.call(call_id="ringing@x").offer(LINE % 5000).ok
    system.relay.drain()
    assert system.relay.wait_exit() == 0
    assert record(system, call.call_id)["streams"][0]["status"] == "conntrack timeout"
    assert record(system, "ringing@x")["start_time"] is None
    assert call.remove() == "removed"


def test_a_relay_that_drains_can_be_stopped(call_system):
    call, caller, callee = make_call(call_system)
    call_system.relay.drain()
    wait_for(lambda: call_system.relay.summary()["status"] == "halting")
    call_system.relay.signal(signal.SIGTERM)
    assert call_system.relay.wait_exit() == 0
    check_stream(record(call_system, call.call_id)["streams"][0], caller, callee)
    assert call.remove() == "removed"


def test_new_calls_go_to_the_other_relay_while_one_drains(make_call_system, network):
    system = make_call_system(network=network, relays=2)
    call, caller, callee = make_call(system, media_relay=system.relays[0].ip)
    assert caller.to[0] == system.relays[0].ip
    system.relays[0].drain()
    wait_for(lambda: system.relays[0].summary()["status"] == "halting")
    for _ in range(6):  # though it is preferred
        other = make_call(system, media_relay=system.relays[0].ip)
        assert other[1].to[0] == system.relays[1].ip
        assert other[0].remove() == "removed"
    talk(caller, callee, first=100)
    assert call.offer(caller).ip == system.relays[0].ip and call.answer(callee).ok
    talk(caller, callee, first=200)
    assert call.remove() == "removed"
    assert system.relays[0].wait_exit() == 0


def test_usr1_switches_debug_logging(make_call_system):
    system = make_call_system(started=False)
    relay = system.relay
    relay.argv.remove("--debug")
    relay.sections["Relay"]["log_level"] = "INFO"
    system.start()
    debug = [False, True, False, True]
    for number, on in enumerate(debug):
        if number > 0:
            before = relay.log_offset()
            relay.signal(signal.SIGUSR1)
            relay.wait_log("debug logging %s" % ("on" if on else "off"), since=before)
        before = relay.log_offset()
        call, _, _ = make_call(system)
        assert call.remove() == "removed"
        relay.wait_log(r"session ended: removed", since=before)
        assert (" DEBUG " in relay.log(before)) is on


def test_usr1_switches_debug_logging_of_the_dispatcher_too(make_call_system):
    system = make_call_system(started=False)
    dispatcher = system.dispatcher
    dispatcher.argv.remove("--debug")
    dispatcher.sections["Dispatcher"]["log_level"] = "INFO"
    system.start()
    for on in (True, False):
        before = dispatcher.log_offset()
        dispatcher.signal(signal.SIGUSR1)
        dispatcher.wait_log("debug logging %s" % ("on" if on else "off"), since=before)
    call, _, _ = make_call(system)
    assert call.remove() == "removed"


def test_a_remove_that_waits_for_the_last_packets_is_answered_while_the_relay_stops(call_system):
    """Stop and BYE at the same moment: one record, whoever was first."""
    calls = [make_call(call_system) for _ in range(4)]
    for call, _, _ in calls:
        client = call_system.client()
        client.send(("remove\r\ncall_id: %s\r\nfrom_tag: caller\r\nto_tag: callee\r\n\r\n"
                     % call.call_id).encode())
        call.late = client
    call_system.relay.signal(signal.SIGTERM)
    assert call_system.relay.wait_exit() == 0
    for call, caller, callee in calls:
        call.late.line()
        check_stream(record(call_system, call.call_id)["streams"][0], caller, callee)


# -- in the background -------------------------------------------------------------------------


class Background:
    """A daemon that is started without --no-fork. Ended by the pid in its pid file."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.argv = [a for a in daemon.argv if a != "--no-fork"]
        self.pid_path = os.path.join(daemon.runtime_dir, daemon.program_name + ".pid")
        write_config(os.path.join(daemon.folder, "config.ini"), daemon.sections)

    def start(self):
        """The exit code and the output of the program that was called."""
        done = subprocess.run(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=20,
                              env=self.daemon.env)
        assert not SANITIZER.search(done.stdout), done.stdout
        return done.returncode, done.stdout

    @property
    def pid(self):
        with open(self.pid_path) as file:
            return int(file.read())

    def stop(self, number=signal.SIGTERM):
        pid = self.pid
        os.kill(pid, number)
        wait_for(lambda: not os.path.exists("/proc/%d" % pid) or self._is_zombie(pid), 10.0,
                 "the daemon's end")
        assert not os.path.exists(self.pid_path)

    @staticmethod
    def _is_zombie(pid):
        try:
            with open("/proc/%d/stat" % pid) as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True


def test_both_daemons_go_to_the_background_with_a_pid_file(make_call_system):
    system = make_call_system(started=False)
    daemons = [Background(system.dispatcher), Background(system.relay)]
    started = []
    try:
        for background in daemons:
            code, output = background.start()
            assert code == 0, output
            started.append(background)
            pid = background.pid
            # It is ready when the start returns, and no child of ours.
            assert background.daemon.summary()
            with open("/proc/%d/stat" % pid) as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            assert int(fields[1]) != os.getpid()
            assert int(fields[3]) != os.getsid(0), "a session of its own"
            assert int(fields[4]) == 0, "no terminal"
            for fd in (0, 1, 2):
                assert os.readlink("/proc/%d/fd/%d" % (pid, fd)) == "/dev/null"

            code, output = background.start()  # a second one refuses, and harms nothing
            assert code == 1
            assert "another %s runs" % background.daemon.program_name in output
            assert str(pid) in output
            assert background.pid == pid and background.daemon.summary()
        wait_for(lambda: system.relay.summary()["dispatchers_connected"] == 1)

        caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
        call = system.call().establish([caller], [callee])
        talk(caller, callee)
        assert call.remove() == "removed"
        wait_for(lambda: not system.relay.leftovers(), what=system.relay.leftovers)
    finally:
        for background in reversed(started):
            background.stop()
    # After the end it can be started again.
    code, output = daemons[0].start()
    assert code == 0, output
    daemons[0].stop(signal.SIGINT)


def test_a_stale_pid_file_is_no_hindrance(make_call_system):
    system = make_call_system(started=False)
    background = Background(system.dispatcher)
    with open(background.pid_path, "w") as file:
        file.write("%d\n" % os.getpid())
    code, output = background.start()
    assert code == 0, output
    assert background.pid != os.getpid()
    background.stop()


def test_a_start_that_fails_is_told_to_who_started_it(make_call_system):
    system = make_call_system(started=False)
    system.relay.sections["Relay"]["relay_ip"] = "192.0.2.55"
    background = Background(system.relay)
    code, output = background.start()
    assert code == 1 and "192.0.2.55" in output and "no such address" in output
    assert not os.path.exists(background.pid_path)

    system.dispatcher.start()  # its port is taken now
    other = make_call_system(started=False)
    other.dispatcher.sections["Dispatcher"]["listen"] = system.dispatcher.link
    background = Background(other.dispatcher)
    code, output = background.start()
    assert code == 1 and output.strip(), output
    assert not os.path.exists(background.pid_path)


def test_a_second_start_in_the_foreground_refuses_too(call_system):
    relay = call_system.relay
    done = subprocess.run(relay.argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=relay.env, timeout=20)
    assert done.returncode == 1
    assert "another media-relay runs" in done.stdout and str(relay.pid) in done.stdout
    call, caller, callee = make_call(call_system)
    caller.rtp.send(rtp(99))
    callee.rtp.expect([rtp(99)])
    assert call.remove() == "removed"
