"""The harness itself: a test that cannot fail tells nothing."""

import os
import subprocess
import sys

import pytest

from mp import netns
from mp.packets import rtp_series
from mp.phone import Phone
from mp.process import Process
from mp.wait import wait_for


@pytest.fixture
def ports():
    phones = [Phone("one"), Phone("other"), Phone("third")]
    made = [phone.port() for phone in phones]
    made[0].to = made[1].address
    made[1].to = made[0].address
    yield made
    for phone in phones:
        phone.close()


def test_a_fact_that_does_not_come_fails_at_its_deadline():
    with pytest.raises(AssertionError, match="pigs fly"):
        wait_for(lambda: False, 0.02, "pigs fly")


def test_packets_are_compared_whole_and_in_order(ports):
    one, other, _ = ports
    packets = rtp_series(3)
    one.send(*packets)
    other.expect(packets)

    for wrong in (packets[::-1], packets[:2] + [packets[2] + b"x"], packets[:2] + [b""]):
        one.send(*wrong)
        with pytest.raises(AssertionError, match="other packets"):
            other.expect(packets)
        other.clear()


def test_a_packet_from_elsewhere_is_noticed(ports):
    one, other, third = ports
    third.send(b"hello", to=other.address)
    with pytest.raises(AssertionError, match="from"):
        other.expect([b"hello"])


def test_a_lost_packet_is_noticed(ports):
    one, other, _ = ports
    one.send(b"hello")
    with pytest.raises(AssertionError, match="2 packets"):
        other.expect([b"hello", b"again"], deadline=0.05)


@pytest.mark.parametrize("script, complaint", [
    ("exit 3", "exit code 3"),
    ("echo 'x.c:1: runtime error: shift'; exit 0", "sanitizer"),
    ("echo '==1==ERROR: LeakSanitizer: detected'; exit 0", "sanitizer"),
])
def test_a_program_that_ends_badly_is_judged(tmp_path, script, complaint):
    program = Process("program", ["sh", "-c", script], tmp_path / "log").start()
    program.wait_exit()
    with pytest.raises(AssertionError, match=complaint):
        program.stop()


def test_a_program_that_does_not_stop_is_killed_and_judged(tmp_path):
    program = Process("program", ["sh", "-c", "trap '' TERM; echo up; while :; do :; done"],
                      tmp_path / "log").start()
    program.wait_log("^up$|\nup\n")
    with pytest.raises(AssertionError, match="did not end"):
        program.stop(deadline=0.1)


def test_a_program_does_not_outlive_a_run_that_is_killed(tmp_path):
    script = ("import os, sys\n"
              "from mp.process import Process\n"
              "program = Process('program', ['sleep', '600'], sys.argv[1]).start()\n"
              "while os.readlink('/proc/%d/exe' % program.pid).find('sleep') < 0: pass\n"
              "print(program.pid, flush=True)\n"
              "os.kill(os.getpid(), 9)\n")
    here = os.path.dirname(os.path.abspath(__file__))
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "log")], cwd=here,
                          stdout=subprocess.PIPE, text=True)
    pid = int(done.stdout)

    def gone():
        try:
            with open("/proc/%d/stat" % pid) as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_for(gone, what="the program of a killed run gone")


def test_a_session_that_is_left_is_noticed(call_system):
    call = call_system.call()
    assert call.offer("audio:127.0.0.1:5000:sendrecv:ice=no").ok
    with pytest.raises(AssertionError, match="sessions_created"):
        call_system.relay.wait_empty(deadline=0.1)
    assert call.remove() == "removed"
    call_system.relay.wait_empty()


@pytest.mark.root
def test_namespaces_of_runs_that_are_gone_are_removed():
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = ["mp-%d-left" % gone.pid, "mp-%d-ours" % os.getpid(), "mpx-%d-other" % gone.pid]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        left_over = subprocess.Popen(["ip", "netns", "exec", names[0], "sleep", "600"])
        wait_for(lambda: subprocess.run(["ip", "netns", "pids", names[0]],
                                        stdout=subprocess.PIPE).stdout, what="sleep inside")
        netns.remove_stale()
        left = os.listdir(netns.NETNS_DIR)
        assert [name in left for name in names] == [False, True, True]
        assert left_over.wait(5) == -9
    finally:
        for name in names[1:]:
            subprocess.run(["ip", "netns", "del", name], check=False)
