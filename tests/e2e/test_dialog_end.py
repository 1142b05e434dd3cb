"""A call whose media has stopped is ended at the SIP proxy: both phones get a BYE.

With a real Kamailio, and with a stand-in for OpenSIPS of both kinds.
"""

import grp
import os
import pwd
import shutil
import socket

import pytest

from mp import programs
from mp.kamailio import ENGAGE, USE
from mp.opensips import OpenSips
from mp.phone import talk
from mp.proxy import Call
from mp.records import record
from mp.wait import wait_for
from test_kamailio import SipCall

TIMEOUTS = {"stream_timeout": 2}

# The script follows the dialog too.
USE_WITH_DIALOG = dict(USE, invite="dlg_manage(); use_media_proxy();")


def dialogs(system):
    """The counters, without those that are 0."""
    return {k: v for k, v in system.dispatcher.summary()["dialogs"].items() if v}


def wait_dialogs(system, **expected):
    wait_for(lambda: dialogs(system) == expected, 10.0, lambda: "%s, not %s\n%s" % (
        expected, dialogs(system), system.dispatcher.log()[-3000:]))


# -- Kamailio -------------------------------------------------------------------------


@pytest.fixture
def proxied(make_call_system, network):
    """With a dispatcher that knows where Kamailio's management interface will be."""
    reason = programs.missing("kamailio", "sipp")
    if reason:
        pytest.skip(reason)
    system = make_call_system(network=network, relay_config=TIMEOUTS, started=False)
    system.dispatcher.sections["OpenSIPS"] = {
        "socket_path": os.path.join(system.dispatcher.runtime_dir, "mi.sock")}
    return system.start()


def silent_call(system, mode, **options):
    """A call that was up, and whose phones say nothing any more."""
    call = SipCall(system, mode).dial(caller="caller_is_ended", **options).answered()
    call.talk()
    return call


def check_both_hung_up(call):
    call.callee.wait_message("BYE", deadline=10.0)
    call.caller.wait_message("BYE", deadline=10.0)
    call.finish()
    assert record(call.system, call.caller.call_id)["timed_out"] is True


def test_a_silent_call_of_kamailio_is_ended_with_a_bye_to_both(proxied):
    call = silent_call(proxied, ENGAGE)
    check_both_hung_up(call)
    wait_dialogs(proxied, requested=1, ended=1)
    proxied.dispatcher.wait_log(r"\[%s\] ended at the SIP proxy: by dlg.end_dlg"
                                % call.caller.call_id)
    # The module's remove came with the end of the dialog, and was answered from memory.
    wait_for(lambda: proxied.dispatcher.summary()["sessions_waiting_for_remove"] == 0)
    assert proxied.dispatcher.summary()["errors"]["unknown_call"] == 0


@pytest.mark.parametrize("mode", [USE, USE_WITH_DIALOG], ids=["use", "use-with-dialog"])
def test_without_a_dialog_id_nothing_is_asked_for(proxied, mode):
    """use_media_proxy() never gives one, engage_media_proxy() does."""
    call = SipCall(proxied, mode).dial().answered()
    call.talk()
    assert record(proxied, call.caller.call_id, deadline=10.0)["dialog_id"] is None
    assert dialogs(proxied) == {}
    call.caller.go_on()
    call.finish()
    wait_for(lambda: proxied.dispatcher.summary()["sessions_waiting_for_remove"] == 0)


def test_a_call_that_hung_up_is_not_asked_for(proxied):
    call = SipCall(proxied, ENGAGE).dial().answered()
    call.talk()
    call.hang_up()
    assert dialogs(proxied) == {}


@pytest.mark.parametrize("state", ["kept", "lost"])
def test_a_dispatcher_that_was_away_when_the_call_expired_ends_it(proxied, state):
    """The record waits at the relay. Without its state, the dispatcher does not know the call."""
    call = silent_call(proxied, ENGAGE)
    proxied.dispatcher.kill()
    proxied.relay.wait_log("session ended", deadline=10.0)
    since = proxied.dispatcher.log_offset()
    if state == "lost":
        shutil.rmtree(proxied.dispatcher.state_dir)
    proxied.start()
    proxied.dispatcher.wait_log("session expired by timeout" if state == "kept"
                                else "which was not known here", since=since)
    call.callee.wait_message("BYE", deadline=10.0)
    call.caller.wait_message("BYE", deadline=10.0)
    call.callee.finish()
    call.caller.finish()
    wait_dialogs(proxied, requested=1, ended=1)


def test_many_calls_that_end_together_are_all_asked_for(proxied):
    """More than a datagram socket holds. Kamailio has none of these dialogs."""
    proxied.kamailio(ENGAGE)
    media = "audio:%s:5000:sendrecv:ice=no" % proxied.network.caller.ip
    clients = [proxied.client() for _ in range(2)]
    calls = [Call(*clients, dialog_id="%d:%d" % (number, number + 1)) for number in range(200)]
    for call in calls:
        assert call.offer(media).ok and call.answer(media).ok
    wait_dialogs(proxied, requested=200, not_found=200)
    for call in calls:
        assert call.remove() == "removed"


def test_a_relay_that_stops_has_its_calls_ended(proxied):
    call = silent_call(proxied, ENGAGE)
    proxied.relay.stop()
    call.callee.wait_message("BYE", deadline=10.0)
    call.caller.wait_message("BYE", deadline=10.0)
    call.callee.finish()
    call.caller.finish()
    wait_dialogs(proxied, requested=1, ended=1)


# -- OpenSIPS ---------------------------------------------------------------------------


class Silent:
    """A call that is up, told by a SIP proxy with dialogs."""

    def __init__(self, system, dialog_id, **options):
        self.system = system
        self.streams = system.phone("caller").stream(), system.phone("callee").stream()
        self.call = system.call(dialog_id=dialog_id, **options)
        self.call.establish(self.streams[:1], self.streams[1:])
        talk(*self.streams)

    def expire(self):
        assert record(self.system, self.call.call_id, deadline=10.0)["timed_out"] is True


def proxied_on_loopback(make_call_system, **options):
    """With no SIP proxy yet at .mi_path."""
    system = make_call_system(relay_config=TIMEOUTS, started=False, **options)
    system.mi_path = os.path.join(system.dispatcher.runtime_dir, "mi.sock")
    system.dispatcher.sections["OpenSIPS"] = {"socket_path": system.mi_path}
    return system.start()


@pytest.fixture
def system(make_call_system):
    return proxied_on_loopback(make_call_system)


@pytest.fixture
def opensips():
    """A function that makes the stand-in for a system."""
    made = []

    def make(system, **options):
        made.append(OpenSips(system.mi_path, **options))
        return made[-1]

    yield make
    for proxy in made:
        proxy.stop()
        assert not proxy.errors


def test_opensips_3_is_asked_by_its_own_dialog_id(system, opensips):
    proxy = opensips(system)
    silent = Silent(system, "9329077222918")
    proxy.know("c78.60e75581", silent.call.call_id)
    silent.expire()
    wait_dialogs(system, requested=1, ended=1)
    assert proxy.ended == [silent.call.call_id]
    request, = proxy.requests
    assert '"method": "dlg_end_dlg", "params": ["c78.60e75581"]' in request
    assert silent.call.remove() == "removed"


def test_opensips_3_is_asked_by_the_call_id_when_it_does_not_know_the_id(system, opensips):
    proxy = opensips(system)
    silent = Silent(system, "9329077222918", call_id='a"b\\c\u00e9@x')
    proxy.know("other.form", silent.call.call_id)
    wait_dialogs(system, requested=1, ended=1)
    assert proxy.ended == [silent.call.call_id] and len(proxy.requests) == 2
    assert silent.call.remove() == "removed"


def test_opensips_2_is_asked_with_a_text(system, opensips):
    proxy = opensips(system, version=2)
    calls = [Silent(system, "3078:%d" % number) for number in (1789, 1790, 1791)]
    for number, silent in zip((1789, 1790), calls):
        proxy.know((3078, number), silent.call.call_id)
    for silent in calls:
        silent.expire()
    # The third has ended at the proxy by itself.
    wait_dialogs(system, requested=3, ended=2, not_found=1)
    assert sorted(proxy.ended) == sorted(s.call.call_id for s in calls[:2])
    assert sum(r.startswith("{") for r in proxy.requests) == 1, "text is remembered"
    for silent in calls:
        assert silent.call.remove() == "removed"


def test_a_proxy_without_rights_may_answer(make_call_system, opensips):
    """It runs as a user of its own; the dispatcher, as root, lets its group answer."""
    try:
        user = pwd.getpwnam("kamailio")
    except KeyError:
        pytest.skip("there is no user kamailio")
    if os.getuid() != 0:
        pytest.skip("only root gives a socket to a group that it is not in")
    system = proxied_on_loopback(make_call_system, dispatcher_config={
        "socket_group": grp.getgrgid(user.pw_gid).gr_name})
    os.chmod(system.dispatcher.runtime_dir, 0o755)  # as the daemon makes it
    proxy = opensips(system, user=(user.pw_uid, user.pw_gid))
    silent = Silent(system, "9329077222918")
    proxy.know("c78.60e75581", silent.call.call_id)
    silent.expire()
    wait_dialogs(system, requested=1, ended=1)
    assert silent.call.remove() == "removed"


def test_a_proxy_without_a_socket_costs_the_relay_nothing(system, opensips):
    """The original dropped the relay's connection."""
    silent = Silent(system, "9329077222918")
    silent.expire()
    wait_dialogs(system, requested=1, unreachable=1)
    system.dispatcher.wait_log(r"not ended at the SIP proxy: %s: No such file" % system.mi_path)
    # The proxy is back, and needs nobody to be restarted.
    proxy = opensips(system)
    again = Silent(system, "9329077222918")
    proxy.know("c78.60e75581", again.call.call_id)
    again.expire()
    wait_dialogs(system, requested=2, unreachable=1, ended=1)
    assert "is down" not in system.dispatcher.log()
    assert silent.call.remove() == "removed" and again.call.remove() == "removed"


def test_strange_answers_cost_the_relay_nothing(system):
    """The original dropped the relay's connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as proxy:
        proxy.bind(system.mi_path)
        proxy.settimeout(10.0)
        silent = Silent(system, "9329077222918")
        silent.expire()
        _, sender = proxy.recvfrom(65536)
        proxy.sendto(b"\xff\x00{[", sender)
        wait_dialogs(system, requested=1, garbage=1)
        system.dispatcher.wait_log(r"cannot be read: \\xff")
        assert os.stat(sender).st_mode & 0o060 == 0o060
    assert "is down" not in system.dispatcher.log()
    assert silent.call.remove() == "removed"


def test_a_proxy_that_says_nothing_holds_up_nobody(system):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as proxy:
        proxy.bind(system.mi_path)
        silent = Silent(system, "9329077222918")
        silent.expire()
        wait_for(lambda: dialogs(system).get("waiting") == 1)
        other = Silent(system, "9329077222919")
        assert other.call.remove() == "removed"
        wait_dialogs(system, requested=1, silent=1)
    assert silent.call.remove() == "removed"
