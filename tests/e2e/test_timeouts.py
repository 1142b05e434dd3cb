"""When silence ends a stream and a session, and what keeps them. Timeouts are short here."""

import time

import pytest

from mp.packets import rtcp_sr, rtp, stun_request
from mp.phone import talk
from mp.records import check_stream, point, record, records, statuses
from mp.wait import Deadline, wait_for

TIMEOUTS = {"stream_timeout": 1, "on_hold_timeout": 2, "unanswered_timeout": 2}


@pytest.fixture
def system(make_call_system):
    return make_call_system(relay_config=TIMEOUTS)


class Audio:
    """A call with one audio stream, established."""

    def __init__(self, system, name, caller_form=None, callee_form=None, establish=True):
        self.name = name
        self.system = system
        self.caller = system.phone("caller").stream()
        self.callee = system.phone("callee").stream()
        self.call = system.call(call_id=name + "@x")
        self.seq = 0
        if establish:
            offer = self.caller.media(caller_form or "sendrecv")
            self.callee.to = self.call.offer(offer).address()
            answer = self.callee.media(callee_form or "sendrecv")
            self.caller.to = self.call.answer(answer).address()

    @property
    def alive(self):
        return self.system.dispatcher.session(self.call.call_id)

    def next_rtp(self, stream):
        self.seq += 1
        stream.rtp.send(rtp(self.seq))


def living(system):
    return {s["call_id"].split("@")[0] for s in system.dispatcher.sessions()}


def pump(system, calls, until, deadline=8.0):
    """Every 50 ms each call's function sends, until a fact is there."""
    end = Deadline(deadline)
    while not until():
        assert not end.over(), "alive: %s\n%s" % (living(system), system.relay.log()[-2000:])
        for send in calls:
            send()
        time.sleep(0.05)  # the rhythm of a phone


@pytest.mark.engine
def test_what_keeps_a_stream_and_what_does_not(system):
    """All at once, since each takes the time of a timeout."""
    a = {name: Audio(system, name) for name in (
        "talked", "never", "caller-only", "callee-only", "rtcp", "rtcp-mux", "stun", "stranger")}
    a["held"] = Audio(system, "held", "sendonly", "recvonly")
    a["held-music"] = Audio(system, "held-music", "sendonly", "recvonly")
    a["held-zero"] = Audio(system, "held-zero")
    stranger = system.phone("stranger", ip=None if system.network else "127.0.0.9").port()
    for name in ("talked", "rtcp", "rtcp-mux", "stun", "stranger", "held", "held-zero"):
        talk(a[name].caller, a[name].callee)
    a["held-zero"].call.offer(a["held-zero"].caller.media(ip="0.0.0.0"))
    a["held-zero"].call.answer(a["held-zero"].callee.media("recvonly"))
    muxed = 0

    def rtcp_mux():
        nonlocal muxed
        muxed += 1
        a["rtcp-mux"].caller.rtp.send(rtcp_sr(7, muxed))

    alone = [
        lambda: a["caller-only"].next_rtp(a["caller-only"].caller),
        lambda: a["callee-only"].next_rtp(a["callee-only"].callee),
        lambda: a["held-music"].next_rtp(a["held-music"].caller),
        lambda: a["rtcp"].caller.rtcp.send(rtcp_sr(7)),
        lambda: a["rtcp"].callee.rtcp.send(rtcp_sr(8)),
        rtcp_mux,
        lambda: a["stun"].caller.rtp.send(stun_request()),
        lambda: a["stun"].callee.rtp.send(stun_request()),
        lambda: a["stranger"].next_rtp(type("Stream", (), {"rtp": stranger})),
    ]
    stranger.to = a["stranger"].caller.to
    began = time.monotonic()
    silent = {"talked", "never", "rtcp", "rtcp-mux", "stun", "stranger"}
    kept = {"caller-only", "callee-only", "held-music"}
    pump(system, alone, lambda: not silent & living(system))
    assert living(system) >= kept | {"held", "held-zero"}, "a hold has its own timeout"
    pump(system, alone, lambda: not {"held", "held-zero"} & living(system))
    pump(system, alone, lambda: time.monotonic() - began > 3.5)  # longer than each timeout
    assert living(system) == kept

    expected = dict.fromkeys(silent, ("conntrack timeout", 1))
    expected.update({"never": ("no-traffic timeout", 1), "held": ("on hold timeout", 2),
                     "held-zero": ("on hold timeout", 2)})
    for name, (status, wait) in expected.items():
        final = record(system, name + "@x")
        assert final["timed_out"] is True, name
        statistics, = final["streams"]
        assert (statistics["status"], statistics["timeout_wait"]) == (status, wait), name
        assert final["start_time"] is not None
        assert statistics["end_time"] == final["duration"] >= wait
    assert record(system, "never@x")["streams"][0]["post_dial_delay"] is None
    check_stream(record(system, "talked@x")["streams"][0], a["talked"].caller, a["talked"].callee)

    # One party alone: its packets arrived, all of them. The proxy's late removes are answered.
    for name in ("caller-only", "held-music"):
        a[name].callee.rtp.expect(a[name].caller.rtp.sent)
    a["callee-only"].caller.rtp.expect(a["callee-only"].callee.rtp.sent)
    for one in a.values():
        assert one.call.remove() == "removed", one.name
    for name in kept:
        assert statuses(record(system, name + "@x")) == [("audio", "closed")]
    for name in a:
        assert len(records(system, name + "@x")) == 1, name


@pytest.mark.engine
def test_one_silent_stream_of_two_ends_alone(system):
    phones = system.phone("caller"), system.phone("callee")
    audio, video = ([phone.stream(kind) for phone in phones] for kind in ("audio", "video"))
    call = system.call().establish([audio[0], video[0]], [audio[1], video[1]])
    talk(*audio)
    talk(*video)
    seq = [1000]

    def speak():
        seq[0] += 1
        audio[0].rtp.send(rtp(seq[0]))

    def now():
        return statuses(system.dispatcher.session(call.call_id))

    pump(system, [speak], lambda: ("video", "conntrack timeout") in now())
    assert now() == [("audio", "active"), ("video", "conntrack timeout")]

    def pairs():
        summary = system.relay.summary()
        return summary["ports_taken"] - summary["ports_returned"]

    wait_for(lambda: pairs() == 2, what=lambda: "2 pairs in use, not %d" % pairs())
    audio[1].rtp.clear()
    talk(*audio, first=2000)

    # A reply to an offer that repeats both: 0 for the stream that timed out.
    offered = call.offer(audio[0], video[0])
    assert offered.ports[0] == audio[1].to[1]
    answered = call.answer(audio[1], video[1])
    assert answered.ports[0] == audio[0].to[1]
    point([audio[1], video[1]], offered)  # it was offered again: a new stream
    point([audio[0], video[0]], answered)
    talk(*video, first=500)
    talk(*audio, first=2500)

    # Then silence: the session ends with its last stream.
    final = record(system, call.call_id)
    assert statuses(final) == [("audio", "conntrack timeout"), ("video", "conntrack timeout"),
                               ("video", "conntrack timeout")]
    assert final["timed_out"] is True
    whole, first, again = final["streams"]
    assert (whole["start_time"], whole["end_time"]) == (0, final["duration"])
    assert 0 == first["start_time"] < first["end_time"] < final["duration"]
    assert first["end_time"] <= again["start_time"] < again["end_time"] == final["duration"]


def test_a_retransmitted_answer_gives_0_for_a_stream_that_timed_out(system):
    phones = system.phone("caller"), system.phone("callee")
    audio, video = ([phone.stream(kind) for phone in phones] for kind in ("audio", "video"))
    call = system.call().establish([audio[0], video[0]], [audio[1], video[1]])
    seq = [0]

    def speak():
        seq[0] += 1
        audio[1].rtp.send(rtp(seq[0]))

    pump(system, [speak], lambda: ("video", "no-traffic timeout") in statuses(
        system.dispatcher.session(call.call_id)))
    assert call.answer(audio[1], video[1]).ports == [audio[0].to[1], 0]
    assert call.offer(audio[0], video[0], cseq=1).ports == [audio[1].to[1], 0]
    assert call.remove() == "removed"
    assert statuses(record(system, call.call_id)) == [
        ("audio", "closed"), ("video", "no-traffic timeout")]


def test_a_call_may_ring_for_longer_than_stream_timeout(make_call_system):
    """The original lost the session, and the 200 made a half-open one. With and without 183."""
    system = make_call_system(relay_config=dict(TIMEOUTS, unanswered_timeout=3))
    plain, early = (Audio(system, name, establish=False) for name in ("plain", "early"))
    lost = Audio(system, "lost", establish=False)
    began = time.monotonic()
    for one in (plain, early, lost):
        one.callee.to = one.call.offer(one.caller).address()
    early.caller.to = early.call.answer(early.callee, provisional=True).address()
    wait_for(lambda: time.monotonic() - began > 2.3 * TIMEOUTS["stream_timeout"])
    assert living(system) == {"plain", "early", "lost"}
    for one in (plain, early):
        one.caller.to = one.call.answer(one.callee).address()
        talk(one.caller, one.callee)
        assert one.alive["from_tag"] == "caller"  # the session that rang, not a half-open one
        assert one.call.remove() == "removed"
        check_stream(record(system, one.call.call_id)["streams"][0], one.caller, one.callee)

    # What nobody answers and nobody removes ends too: expired, without a start_time.
    final = record(system, "lost@x")
    assert time.monotonic() - began > 3
    assert final["start_time"] is None and final["streams"] == []
    assert final["timed_out"] is True and final["duration"] == 0
    assert lost.call.remove() == "removed"


def test_early_media_that_nobody_answers_ends_too(system):
    call = Audio(system, "early", establish=False)
    call.callee.to = call.call.offer(call.caller).address()
    call.caller.to = call.call.answer(call.callee, provisional=True).address()
    talk(call.caller, call.callee)
    final = record(system, "early@x", deadline=7.0)
    assert final["timed_out"] is True and final["to_tag"] is None
    check_stream(final["streams"][0], call.caller, call.callee)


def test_sessions_without_a_live_stream_end(system):
    """The original kept them for ever: every stream rejected, or switched off from the start."""
    phone = system.phone("caller")
    rejected, disabled, switched = (system.call(call_id=name + "@x") for name in (
        "rejected", "disabled", "switched"))
    stream = phone.stream()
    rejected.offer(stream)
    assert rejected.answer(stream.media(port=0)).ports == [0]
    assert disabled.offer(stream.media(port=0)).ports == [0]
    assert disabled.answer(stream.media(port=0)).ports == [0]
    switched.establish([stream], [phone.stream()])
    assert switched.offer(stream.media(port=0)).ports == [0]
    assert switched.answer(stream.media(port=0)).ports == [0]
    unanswered = system.call(call_id="unanswered@x")
    assert unanswered.offer(stream.media(port=0)).ports == [0]
    assert statuses(record(system, "rejected@x")) == [("audio", "rejected")]
    assert statuses(record(system, "switched@x")) == [("audio", "closed")]
    assert record(system, "disabled@x")["streams"] == []
    assert record(system, "unanswered@x", deadline=7.0)["start_time"] is None
    system.relay.wait_empty()
    for call in (rejected, disabled, switched, unanswered):
        assert call.remove() == "removed"


def test_a_reinvite_that_nobody_answers_keeps_no_ports(system):
    call = Audio(system, "open")
    talk(call.caller, call.callee)
    call.seq = 1000
    video = call.caller.phone.stream("video")
    assert call.call.offer(call.caller, video).ports[1] != 0

    def pairs():
        summary = system.relay.summary()
        return summary["ports_taken"] - summary["ports_returned"]

    assert pairs() == 4
    pump(system, [lambda: call.next_rtp(call.caller)], lambda: pairs() == 2)
    call.callee.rtp.clear()
    talk(call.caller, call.callee, first=5000)
    assert call.call.remove() == "removed"


@pytest.mark.engine
def test_a_resumed_stream_has_the_shorter_timeout_again(system):
    call = Audio(system, "resumed", "sendonly", "recvonly")
    talk(call.caller, call.callee)
    talk(call.caller, call.callee, first=50)
    assert call.call.offer(call.caller).ok and call.call.answer(call.callee).ok
    assert call.alive["streams"][0]["status"] == "active"
    final = record(system, "resumed@x")
    statistics, = final["streams"]
    assert (statistics["status"], statistics["timeout_wait"]) == ("conntrack timeout", 1)


def test_one_of_two_sessions_with_the_same_call_id_falls_silent(system):
    """A fork: the dispatcher has to know which one expired, and which remove is for which."""
    calls = []
    for number in range(2):
        streams = system.phone("caller").stream(), system.phone("callee").stream()
        calls.append((system.call(call_id="fork@x", caller_tag="from%d" % number,
                                  callee_tag="to%d" % number),) + streams)
        calls[-1][0].establish(streams[:1], streams[1:])
        talk(*streams)
    seq = [100]

    def speak():
        seq[0] += 1
        calls[1][1].rtp.send(rtp(seq[0]))

    pump(system, [speak], lambda: records(system, "fork@x"))
    final = record(system, "fork@x")
    assert final["from_tag"] == "from0" and final["timed_out"] is True
    calls[1][2].rtp.clear()
    talk(*calls[1][1:], first=1000)
    assert calls[0][0].remove() == "removed"
    talk(*calls[1][1:], first=1100)
    assert calls[1][0].remove() == "removed"
    wait_for(lambda: len(records(system, "fork@x")) == 2)
    assert records(system, "fork@x")[1]["timed_out"] is False
    assert calls[1][0].remove() == "error"  # both are gone


def test_a_call_that_timed_out_may_come_back(system):
    """Its phones were silent for too long, and then one sends a re-INVITE."""
    call = Audio(system, "back")
    talk(call.caller, call.callee)
    assert record(system, "back@x")["timed_out"] is True
    call.callee.to = call.call.offer(call.caller).address()
    call.caller.to = call.call.answer(call.callee).address()
    talk(call.caller, call.callee, first=100)
    assert system.dispatcher.session("back@x")["to_tag"] == "callee"
    assert call.call.remove() == "removed"
    wait_for(lambda: len(records(system, "back@x")) == 2)
    final = records(system, "back@x")[1]
    assert final["timed_out"] is False and final["streams"][0]["status"] == "closed"
    assert final["streams"][0]["caller_packets"] == 12
    assert system.dispatcher.summary()["sessions_waiting_for_remove"] == 0


def test_a_call_that_timed_out_may_come_back_from_the_callees_side(system):
    """The relay does not know the call any more: the callee is the caller of the new session."""
    call = Audio(system, "back")
    talk(call.caller, call.callee)
    assert record(system, "back@x")["timed_out"] is True
    offered = call.call.offer(call.callee, by="callee")
    answered = call.call.answer(call.caller, by="caller")
    call.caller.to, call.callee.to = offered.address(), answered.address()
    talk(call.caller, call.callee, first=100)
    assert call.call.remove() == "removed"  # with the caller's tag first
    wait_for(lambda: len(records(system, "back@x")) == 2)
    assert system.dispatcher.summary()["sessions_waiting_for_remove"] == 0
