"""Offer and answer: which message means what, told by a SIP proxy, with packets flowing.

What happens to the streams of a call is in test_sessions_streams.py.
"""

import time

import pytest

from mp.packets import rtcp_series, rtp_series
from mp.phone import talk
from mp.proxy import Reply, encode, update_headers
from mp.records import PostDialDelay, check_stream, point, record, records, statuses
from mp.wait import wait_for

PARTIES = pytest.mark.parametrize("by", ["caller", "callee"])
OTHER = {"caller": "callee", "callee": "caller"}


class TwoPhones:
    """A call on loopback between two phones with one audio stream each."""

    def __init__(self, system, **options):
        self.system = system
        self.phones = {name: system.phone(name) for name in ("caller", "callee")}
        self.streams = {name: phone.stream() for name, phone in self.phones.items()}
        self.call = system.call(**options)

    caller = property(lambda self: self.streams["caller"])
    callee = property(lambda self: self.streams["callee"])

    def establish(self):
        self.call.establish([self.caller], [self.callee])
        self.talk()
        return self

    def talk(self, **options):
        talk(self.caller, self.callee, **options)

    def reinvite(self, by, offered=None, answered=None):
        """An exchange with these streams (by default those that are there): (ports, ports)."""
        offered = offered or self.streams[by]
        answered = answered or self.streams[OTHER[by]]
        return (self.call.offer(offered, by=by), self.call.answer(answered, by=OTHER[by]))

    def session(self):
        return self.system.dispatcher.session(self.call.call_id)

    def end(self):
        """The BYE, and the record that it makes."""
        assert self.call.remove() == "removed"
        return record(self.system, self.call.call_id)


@pytest.fixture
def two(call_system):
    return TwoPhones(call_system)


def ports_in_use(system):
    summary = system.relay.summary()
    return summary["ports_taken"] - summary["ports_returned"]


# -- re-INVITE ---------------------------------------------------------------------------------


@PARTIES
def test_a_reinvite_with_the_same_media_changes_nothing(two, by):
    two.establish()
    towards = {"caller": two.callee.to, "callee": two.caller.to}
    for turn in range(3):
        offered, answered = two.reinvite(by)
        assert offered.address() == towards[by]
        assert answered.address() == towards[OTHER[by]]
        two.talk(first=100 + 100 * turn)
    statistics, = two.session()["streams"]
    check_stream(statistics, two.caller, two.callee, status="active")
    final = two.end()
    check_stream(final["streams"][0], two.caller, two.callee, status="closed")
    assert len(final["streams"]) == 1


@pytest.mark.engine
@PARTIES
def test_a_reinvite_with_a_new_address_moves_the_call_when_it_is_answered(two, by):
    two.establish()
    old = two.streams[by], two.streams[OTHER[by]]
    new = two.phones[by].stream()
    offered = two.call.offer(new, by=by)
    assert offered.ip == two.system.relay.ip and offered.address() != old[1].to
    talk(*old, first=200)  # the old media flows until the answer

    answer_stream = two.phones[OTHER[by]].stream()
    answered = two.call.answer(answer_stream, by=OTHER[by])
    assert answered.address() != old[0].to
    answer_stream.to, new.to = offered.address(), answered.address()
    talk(new, answer_stream, first=300)

    # The old ports are closed: what still goes there arrives nowhere.
    wait_for(lambda: statuses(two.session()) == [("audio", "closed"), ("audio", "active")])
    wait_for(lambda: ports_in_use(two.system) == 2, what="the ports of the old stream are back")
    final = two.end()
    pairs = [old, (new, answer_stream)]
    for statistics, pair in zip(final["streams"], pairs):
        caller, callee = pair if by == "caller" else pair[::-1]
        check_stream(statistics, caller, callee, status="closed")
    assert final["to_tag"] == "callee"


@PARTIES
def test_an_answer_from_a_new_address_moves_that_party_alone(two, by):
    two.establish()
    moved = two.phones[OTHER[by]].stream()
    moved.to = two.streams[OTHER[by]].to
    offered, answered = two.reinvite(by, answered=moved)
    assert (offered.address(), answered.address()) == (moved.to, two.streams[by].to)
    talk(two.streams[by], moved, first=500)

    left = two.streams[OTHER[by]]
    left.rtp.send(*rtp_series(3, ssrc=9))  # replaced by the SDP: a stranger now
    left.rtcp.send(*rtcp_series(2, ssrc=9))
    talk(two.streams[by], moved, first=600)
    left.rtp.expect_silence(0.05)
    assert two.call.remove() == "removed"


@pytest.mark.engine
def test_reinvites_of_both_sides_in_turn(two):
    two.establish()
    for turn, by in enumerate(("callee", "caller", "callee", "callee", "caller")):
        new = {name: two.phones[name].stream() for name in (by, OTHER[by])}
        offered, answered = two.reinvite(by, new[by], new[OTHER[by]])
        two.streams = new
        point([new[OTHER[by]]], offered)
        point([new[by]], answered)
        two.talk(first=1000 * turn)
        two.talk(first=1000 * turn + 100)
    assert len(two.end()["streams"]) == 6


@PARTIES
def test_a_rejected_reinvite_leaves_the_call_as_it_was(two, by):
    """488 is not signalled. The original cut the live stream at the re-INVITE after it."""
    two.establish()
    towards = {"caller": two.callee.to, "callee": two.caller.to}
    for turn in range(3):  # each with another address, each rejected
        assert two.call.offer(two.phones[by].stream(), by=by).ok
        two.talk(first=100 * (turn + 1))
        assert ports_in_use(two.system) == 4 or turn > 0
    wait_for(lambda: ports_in_use(two.system) == 4, what="ports of one open offer")

    offered, answered = two.reinvite(by)  # back to the address that is in use
    assert offered.address() == towards[by]
    assert answered.address() == towards[OTHER[by]]
    two.talk(first=900)
    wait_for(lambda: ports_in_use(two.system) == 2, what="the ports of rejected offers are back")
    final = two.end()
    check_stream(final["streams"][0], two.caller, two.callee, status="closed")
    assert len(final["streams"]) == 1  # what was never answered is in no record


@PARTIES
def test_after_a_rejected_reinvite_the_other_party_may_make_one(two, by):
    """The rejected offer must not take the other party's new offer for its answer."""
    two.establish()
    assert two.call.offer(two.phones[by].stream(), by=by).ok  # rejected
    other = OTHER[by]
    moved = two.phones[other].stream()
    offered = two.call.offer(moved, by=other)
    two.talk(first=300)
    here = two.phones[by].stream()
    answered = two.call.answer(here, by=by)
    here.to, moved.to = offered.address(), answered.address()
    talk(here, moved, first=400)
    final = two.end()
    assert statuses(final) == [("audio", "closed"), ("audio", "closed")]


def test_a_rejected_reinvite_before_the_bye_is_in_no_record(two):
    two.establish()
    assert two.call.offer(two.phones["caller"].stream(), two.phones["caller"].stream("video")).ok
    final = two.end()
    assert statuses(final) == [("audio", "closed")]


def test_reinvites_that_cross_are_both_rejected_and_one_is_tried_again(two):
    """Glare: 491 to both (RFC 3261, section 14)."""
    two.establish()
    moved = {name: two.phones[name].stream() for name in two.phones}
    assert two.call.offer(moved["caller"], by="caller").ok
    assert two.call.offer(moved["callee"], by="callee").ok
    two.talk(first=100)
    offered = two.call.offer(moved["callee"], by="callee")
    two.talk(first=200)
    answered = two.call.answer(two.caller, by="caller")
    two.caller.to, moved["callee"].to = offered.address(), answered.address()
    talk(two.caller, moved["callee"], first=300)
    wait_for(lambda: ports_in_use(two.system) == 2, what="the ports of both rejected offers")
    assert len(two.end()["streams"]) == 2


@PARTIES
def test_of_two_reinvites_that_cross_one_is_accepted(two, by):
    """The other party's re-INVITE got a 491, which is not signalled, and then it answers."""
    two.establish()
    other = OTHER[by]
    moved = {name: two.phones[name].stream() for name in two.phones}
    offered = two.call.offer(moved[by], by=by)
    assert two.call.offer(moved[other], by=other).ok  # 491
    two.talk(first=100)
    answered = two.call.answer(two.streams[other], by=other)  # 200 to the first one
    two.streams[other].to, moved[by].to = offered.address(), answered.address()
    talk(moved[by], two.streams[other], first=300)
    wait_for(lambda: ports_in_use(two.system) == 2, what="the ports of the rejected offer")
    assert len(two.end()["streams"]) == 2


def test_an_invite_that_comes_again_with_credentials(two):
    """407 to the first one, which is not signalled: the second is another offer."""
    two.call.offer(two.caller)
    offered = two.call.offer(two.caller)
    two.callee.to = offered.address()
    two.caller.to = two.call.answer(two.callee).address()
    two.talk()
    wait_for(lambda: ports_in_use(two.system) == 2, what="the ports of the first INVITE")
    assert len(two.end()["streams"]) == 1


def test_a_call_id_may_be_used_again(two):
    """After CANCEL or a failure the same tags may come again. Each has its own record."""
    for turn in range(3):
        two.call.answered = False
        two.callee.to = two.call.offer(two.caller).address()
        two.caller.to = two.call.answer(two.callee).address()
        two.talk(first=100 * turn)
        assert two.call.remove() == "removed"
        wait_for(lambda: len(records(two.system, two.call.call_id)) == turn + 1)
    assert [r["streams"][0]["caller_packets"] for r in records(two.system, two.call.call_id)] == (
        [12] * 3)
    # CANCEL and the next INVITE at once, before the workers have closed the old ports.
    client = two.system.client()
    ids = [("call_id", two.call.call_id), ("from_tag", "caller"), ("to_tag", "")]
    update = update_headers("request", two.call.call_id, "caller", "", two.caller.media(), cseq=9)
    client.send((encode("update", update) + encode("remove", ids)) * 10)
    replies = [client.line() for _ in range(20)]
    assert replies[1::2] == ["removed"] * 10 and all(Reply(r).ok for r in replies[::2])


# -- when offer and answer come ----------------------------------------------------------------


def test_late_offer(two):
    """INVITE without SDP, the offer in the 200, the answer in the ACK."""
    assert two.call.offer() == "None"
    answered = two.call.answer(two.callee)
    two.caller.to = answered.address()
    assert two.session()["start_time"] is None  # an offer is no answer
    acked = two.call.offer(two.caller, cseq=1, to_tag="callee")
    two.callee.to = acked.address()
    two.talk()
    # The 200 and the ACK again: answered from what is there.
    assert two.call.answer(two.callee).address() == two.caller.to
    assert two.call.offer(two.caller, cseq=1, to_tag="callee").address() == two.callee.to
    two.talk(first=50)
    session = two.session()
    assert session["start_time"] is not None and session["from_tag"] == "caller"
    final = two.end()
    check_stream(final["streams"][0], two.caller, two.callee, status="closed")


def test_late_offer_in_a_reinvite(two):
    two.establish()
    caller, callee = two.phones["caller"].stream(), two.phones["callee"].stream()
    two.call.cseq["caller"] = 2
    assert not two.call.offer(cseq=2, to_tag="callee").ports  # no SDP
    two.talk(first=100)
    caller.to = two.call.answer(callee, cseq=2).address()
    two.talk(first=200)  # until the ACK
    callee.to = two.call.offer(caller, cseq=2, to_tag="callee").address()
    talk(caller, callee, first=300)
    assert statuses(two.end()) == [("audio", "closed"), ("audio", "closed")]


def test_late_offer_in_a_reliable_183_is_answered_by_prack(two):
    assert two.call.offer() == "None"
    two.caller.to = two.call.answer(two.callee, provisional=True).address()
    two.callee.to = two.call.offer(two.caller, cseq=2, to_tag="callee").address()
    two.talk()
    assert not two.call.answer(cseq=2, to_tag="callee").ports  # 200 to the PRACK
    assert not two.call.answer(cseq=1, to_tag="callee").ports  # 200 to the INVITE
    two.talk(first=100)
    assert len(two.end()["streams"]) == 1


@pytest.mark.engine
def test_early_media_flows_and_the_200_changes_nothing(two):
    delay = PostDialDelay()
    offered = two.call.offer(two.caller)
    delay.offered()
    two.callee.to = offered.address()
    assert two.session()["start_time"] is None
    before = time.time()
    two.caller.to = two.call.answer(two.callee, provisional=True).address()
    after = time.time()

    ringback = rtp_series(20, ssrc=5)  # the gateway's tone: only the callee sends
    delay.sending()
    two.callee.rtp.send(*ringback)
    two.caller.rtp.expect(ringback)
    delay.heard()
    session = two.session()
    assert before - 0.01 <= session["start_time"] <= after + 0.01
    assert session["to_tag"] is None
    delay.check(session["streams"][0])

    assert two.call.answer(two.callee).address() == two.caller.to
    two.talk(ssrc=(6, 5), first=100)
    two.talk(ssrc=(6, 5), first=200)
    session = two.session()
    assert before - 0.01 <= session["start_time"] <= after + 0.01
    assert session["to_tag"] == "callee"
    final = two.end()
    check_stream(final["streams"][0], two.caller, two.callee, status="closed")
    delay.check(final["streams"][0])


def test_prack_and_update_before_the_200(two):
    """INVITE, 183, PRACK without SDP, UPDATE with a new address, 200 to both."""
    two.callee.to = two.call.offer(two.caller).address()
    two.caller.to = two.call.answer(two.callee, to_tag="callee").address()
    two.talk()
    assert not two.call.offer(cseq=2, to_tag="callee").ports
    assert not two.call.answer(cseq=2, to_tag="callee").ports

    moved = two.phones["caller"].stream()
    offered = two.call.offer(moved, cseq=3, to_tag="callee")
    answered = two.call.answer(two.callee, cseq=3)
    there = two.callee
    there.to, moved.to = offered.address(), answered.address()
    talk(moved, there, first=50)
    # The 200 to the INVITE repeats what the 183 said, for a transaction before the UPDATE's.
    late = two.call.answer(two.callee, cseq=1)
    assert late.address() == moved.to
    talk(moved, there, first=100)
    assert two.session()["to_tag"] == "callee"
    assert len(two.end()["streams"]) == 2


def test_prack_may_carry_an_offer(two):
    two.callee.to = two.call.offer(two.caller).address()
    two.caller.to = two.call.answer(two.callee, provisional=True).address()
    two.talk()
    video = two.phones["caller"].stream("video"), two.phones["callee"].stream("video")
    offered = two.call.offer(two.caller, video[0], cseq=2, to_tag="callee")
    answered = two.call.answer(two.callee, video[1], cseq=2)
    assert offered.address(0) == two.callee.to and answered.address(0) == two.caller.to
    video[1].to, video[0].to = offered.address(1), answered.address(1)
    talk(*video)
    two.talk(first=100)
    # 200 to the INVITE, with the SDP of the 183: one stream. It is old and cuts nothing.
    assert two.call.answer(two.callee, cseq=1).address() == two.caller.to
    talk(*video, first=50)
    two.talk(first=200)
    assert len(two.end()["streams"]) == 2


def test_an_update_of_the_callee_before_the_200(two):
    two.callee.to = two.call.offer(two.caller).address()
    two.caller.to = two.call.answer(two.callee, provisional=True).address()
    two.talk()
    moved = two.phones["callee"].stream()
    offered = two.call.offer(moved, by="callee", to_tag="caller")
    answered = two.call.answer(two.caller, by="caller", to_tag="caller", from_tag="callee")
    # The callee moved, so it is a new stream with new ports, for both.
    two.caller.to, moved.to = offered.address(), answered.address()
    talk(two.caller, moved, first=60)
    assert len(two.end()["streams"]) == 2


# -- retransmissions, forks, tags --------------------------------------------------------------


def test_retransmissions_are_answered_from_what_is_there(two):
    offered = two.call.offer(two.caller)
    assert two.call.offer(two.caller, cseq=1) == offered
    assert two.call.offer(two.caller, cseq=1) == offered
    # The original took the second request for the answer, and accounted calls nobody answered.
    assert two.session()["start_time"] is None and two.session()["streams"] == []
    answered = two.call.answer(two.callee)
    assert two.call.answer(two.callee) == answered
    assert two.call.offer(two.caller, cseq=1, to_tag="") == offered
    two.callee.to, two.caller.to = offered.address(), answered.address()
    two.talk()
    assert ports_in_use(two.system) == 2

    start_time = two.session()["start_time"]
    moved = two.phones["caller"].stream()
    offered = two.call.offer(moved)
    assert two.call.offer(moved, cseq=2) == offered
    two.talk(first=50)
    answered = two.call.answer(two.callee)
    assert two.call.offer(moved, cseq=2) == offered
    assert two.call.answer(two.callee, cseq=2) == answered
    two.callee.to, moved.to = offered.address(), answered.address()
    talk(moved, two.callee, first=100)
    assert two.session()["start_time"] == start_time
    # A request of long ago changes nothing, whatever it says.
    assert two.call.offer(two.phones["caller"].stream(), cseq=1).ok
    talk(moved, two.callee, first=200)
    assert len(two.end()["streams"]) == 2


def test_a_call_that_nobody_answered_has_no_start_time(two):
    two.call.offer(two.caller)
    two.call.offer(two.caller, cseq=1)
    final = two.end()
    assert final["start_time"] is None and final["duration"] == 0
    assert final["streams"] == [] and final["to_tag"] is None and final["timed_out"] is False


@pytest.mark.engine
def test_forked_replies_move_the_callee_to_the_branch_that_answers(two):
    """A 183 of one branch, a 180 with SDP of another, the 200 of a third: one relay port."""
    two.callee.to = two.call.offer(two.caller).address()
    branches = [two.callee] + [two.phones["callee"].stream() for _ in range(2)]
    replies = []
    for number, branch in enumerate(branches):
        branch.to = two.callee.to
        final = number == 2
        replies.append(two.call.answer(branch, to_tag="branch%d" % number if final else ""))
        two.caller.to = replies[-1].address()
        talk(two.caller, branch, first=100 * number, ssrc=(1, 10 + number))
    assert len({r.text for r in replies}) == 1
    for loser in branches[:2]:
        loser.rtp.send(*rtp_series(5, ssrc=99))
    talk(two.caller, branches[2], first=400, ssrc=(1, 12))
    assert all(loser.rtp.received == [] for loser in branches[:2])

    # The callee's own requests come with the tag of the branch that answered.
    assert two.system.client().update(
        "request", two.call.call_id, "branch2", "caller", branches[2].media(), cseq=7
    ).address() == two.caller.to
    assert two.system.client().update(
        "reply", two.call.call_id, "branch2", "caller", two.caller.media(), cseq=7
    ).address() == branches[2].to
    talk(two.caller, branches[2], first=500, ssrc=(1, 12))
    final = two.end()
    assert final["to_tag"] == "branch2" and len(final["streams"]) == 1


def test_a_fork_may_accept_what_another_branch_rejected(two):
    video = two.phones["caller"].stream("video"), two.phones["callee"].stream("video")
    offered = two.call.offer(two.caller, video[0])
    point([two.callee, video[1]], offered)
    early = two.call.answer(two.callee, video[1].media(port=0), provisional=True)
    assert early.ports[1] == 0
    assert statuses(two.session())[1] == ("video", "rejected")
    point([two.caller], early)
    two.talk()
    point([two.caller, video[0]], two.call.answer(two.callee, video[1]))
    two.talk(first=50)
    talk(*video)
    assert statuses(two.end()) == [("audio", "closed"), ("video", "closed")]


def test_sessions_with_one_call_id_and_several_from_tags_are_kept_apart(call_system):
    """A forked or looped call. The original forgot the first one when the second came."""
    calls = [TwoPhones(call_system, call_id="same@example.com", caller_tag="from%d" % n,
                       callee_tag="to%d" % n) for n in range(3)]
    for two in calls:
        two.call.establish([two.caller], [two.callee])
    assert len({two.caller.to for two in calls} | {two.callee.to for two in calls}) == 6
    for number, two in enumerate(calls):
        two.talk(first=100 * number)
    sessions = call_system.dispatcher.sessions()
    assert sorted((s["from_tag"], s["to_tag"]) for s in sessions) == [
        ("from%d" % n, "to%d" % n) for n in range(3)]

    for number, two in enumerate(calls):
        assert two.call.remove() == "removed"
        for alive in calls[number + 1:]:
            alive.talk(first=1000 + 100 * number)
        wait_for(lambda: len(records(call_system, "same@example.com")) == number + 1)
        final = [r for r in records(call_system, "same@example.com")
                 if r["from_tag"] == "from%d" % number]
        check_stream(final[0]["streams"][0], two.caller, two.callee, status="closed")


def test_a_spiral_through_two_proxies_that_share_the_relay(two):
    """The second proxy shows our own ports as the SDP. They must not become destinations."""
    second = two.system.call(call_id=two.call.call_id)
    offered = two.call.offer(two.caller)
    spiral = "audio:%s:%d:sendrecv:ice=no"
    two.callee.to = second.offer(spiral % offered.address()).address()
    assert two.callee.to == offered.address()
    answered = second.answer(two.callee)
    two.caller.to = two.call.answer(spiral % answered.address()).address()
    assert two.caller.to == answered.address()
    two.talk(count=20)
    assert ports_in_use(two.system) == 2

    # A re-INVITE of the callee goes the other way round: the second proxy sees it first.
    offered = second.offer(two.callee, by="callee", to_tag="caller")
    again = two.call.offer(spiral % offered.address(), by="callee", to_tag="caller")
    assert offered == again and offered.address() == two.caller.to
    answered = two.call.answer(two.caller, by="caller")
    assert second.answer(spiral % answered.address(), by="caller") == answered
    two.talk(first=100)
    assert len(two.end()["streams"]) == 1


def test_a_transfer_replaces_the_caller(two):
    """The callee stays; the new party has another tag and another phone."""
    two.establish()
    other = two.system.phone("transferee").stream()
    client = two.system.client()
    tags = two.call.call_id, "transferee", "callee"
    offered = client.update("request", *tags, other.media(), cseq=70, user_agent="Third 3.0")
    two.talk(first=100)
    answered = client.update("reply", *tags, two.callee.media(), cseq=70)
    two.callee.to, other.to = offered.address(), answered.address()
    talk(other, two.callee, first=200)
    two.caller.rtp.clear()
    # The callee's re-INVITE finds the party that replaced the caller.
    assert client.update("request", two.call.call_id, "callee", "transferee",
                         two.callee.media(), cseq=8).address() == other.to
    assert client.update("reply", two.call.call_id, "callee", "transferee",
                         other.media(), cseq=8).address() == two.callee.to
    talk(other, two.callee, first=300)
    assert two.caller.rtp.received == []
    assert len(two.system.dispatcher.sessions()) == 1
    assert client.remove(*tags) == "removed"
    final = record(two.system, two.call.call_id)
    assert statuses(final) == [("audio", "closed"), ("audio", "closed")]


def test_a_transfer_replaces_the_callee(two):
    two.establish()
    other = two.system.phone("transferee").stream()
    client = two.system.client()
    tags = two.call.call_id, "transferee", "caller"
    offered = client.update("request", *tags, other.media(), cseq=70)
    answered = client.update("reply", *tags, two.caller.media(), cseq=70)
    two.caller.to, other.to = offered.address(), answered.address()
    talk(two.caller, other, first=200)
    assert client.update("request", two.call.call_id, "caller", "transferee",
                         two.caller.media(), cseq=9).address() == other.to
    assert client.update("reply", two.call.call_id, "caller", "transferee",
                         other.media(), cseq=9).address() == two.caller.to
    talk(two.caller, other, first=300)
    assert client.remove(*tags) == "removed"
    assert record(two.system, two.call.call_id)["to_tag"] == "transferee"


def test_the_bye_of_either_party_ends_the_call(two):
    two.establish()
    assert two.system.client().remove(two.call.call_id, "callee", "caller") == "removed"
    final = record(two.system, two.call.call_id)
    assert (final["from_tag"], final["to_tag"]) == ("caller", "callee")
    check_stream(final["streams"][0], two.caller, two.callee)


# -- several requests at once ------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_their_order(call_system):
    phones = call_system.phone("caller"), call_system.phone("callee")
    streams = [phone.stream() for phone in phones]
    client = call_system.client()
    raw = b""
    for number in range(20):
        tags = "pipe%d@x" % number, "f", "t"
        raw += encode("update", update_headers("request", *tags[:2], "", streams[0].media()))
        raw += encode("update", update_headers("reply", *tags, streams[1].media()))
        raw += encode("remove", [("call_id", tags[0]), ("from_tag", "f"), ("to_tag", "t")])
    client.send(raw)
    for number in range(20):
        replies = [Reply(client.line()) for _ in range(3)]
        assert replies[0].ok and replies[1].ok and replies[2] == "removed", replies
        assert replies[0].ports != replies[1].ports
