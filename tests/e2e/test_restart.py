"""What a stop, a crash and a restart cost: no call that could go on."""

import signal

from mp.phone import talk
from mp.wait import wait_for


def established(system, **options):
    """A call with one audio stream each way: (call, (caller's, callee's))."""
    streams = [system.phone(name).stream() for name in ("caller", "callee")]
    call = system.call(**options).establish(streams[:1], streams[1:])
    talk(*streams)
    return call, streams


def test_a_dispatcher_that_crashed_knows_its_calls_again(call_system):
    calls = [established(call_system, dialog_id="3078:%d" % number) for number in range(3)]
    call_system.dispatcher.kill()
    for _, streams in calls:
        talk(*streams, first=1000)
    call_system.start()

    assert sorted(s["call_id"] for s in call_system.dispatcher.sessions()) == \
        sorted(call.call_id for call, _ in calls)
    for call, streams in calls:
        # Old connections are gone, as for the SIP proxy's workers.
        again = call_system.call(call_id=call.call_id)
        again.answered, again.cseq = True, dict(call.cseq)
        assert again.offer(streams[0]).address() == streams[1].to
        assert again.answer(streams[1]).address() == streams[0].to
        talk(*streams, first=2000)
        assert again.remove() == "removed"


def test_a_relay_that_stops_ends_its_calls_at_once(call_system):
    call, _ = established(call_system)
    since = call_system.dispatcher.log_offset()
    call_system.relay.stop()
    call_system.dispatcher.wait_log("is down", since=since)
    # The session has expired, and the SIP proxy's BYE is still welcome.
    assert call.remove() == "removed"
    assert call_system.call().offer("audio:127.0.0.1:5000:sendrecv:ice=no") == "error"

    call_system.start()
    call, _ = established(call_system)
    assert call.remove() == "removed"


def test_a_relay_that_drains_serves_its_calls_to_their_end(call_system):
    relay = call_system.relay
    call, streams = established(call_system)
    since = call_system.dispatcher.log_offset()
    relay.drain()
    wait_for(lambda: relay.summary()["status"] == "halting", what="relay halting")

    assert call_system.call().offer("audio:127.0.0.1:5000:sendrecv:ice=no") == "error"
    call_system.dispatcher.wait_log("is halting", since=since)
    assert call.offer(streams[0]).address() == streams[1].to  # a re-INVITE
    assert call.answer(streams[1]).address() == streams[0].to
    talk(*streams, first=1000)
    assert relay.running()
    assert call.remove() == "removed"
    assert relay.wait_exit() == 0


def test_a_relay_that_crashed_is_used_again_as_soon_as_it_is_back(call_system):
    call, _ = established(call_system)
    call_system.relay.kill()
    call_system.dispatcher.wait_relays()
    call_system.start()
    assert call_system.dispatcher.session(call.call_id) is None
    call, _ = established(call_system)
    assert call.remove() == "removed"


def test_every_signal_that_stops_a_dispatcher_stops_it_well(make_call_system):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        dispatcher = make_call_system(relays=0).dispatcher
        dispatcher.signal(number)
        assert dispatcher.wait_exit() == 0
