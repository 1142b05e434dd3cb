"""What offers and answers do to the streams of a call: more, fewer, rejected, held, T.38."""

import pytest

from mp.packets import rtcp_series, rtp_series, udptl
from mp.phone import talk
from mp.records import check_stream, point, record, statuses
from mp.wait import wait_for

PARTIES = pytest.mark.parametrize("by", ["caller", "callee"])
OTHER = {"caller": "callee", "callee": "caller"}


class Party:
    """A phone, with the streams of its latest SDP."""

    def __init__(self, system, name):
        self.phone = system.phone(name)
        self.streams = []

    def add(self, *types):
        self.streams += [self.phone.stream(t) for t in types]
        return self.streams


class Many:
    """A call with any number of streams: exchange() makes an offer and an answer."""

    def __init__(self, system, *types):
        self.system = system
        self.parties = {name: Party(system, name) for name in ("caller", "callee")}
        self.call = system.call()
        self.clock = 0
        for party in self.parties.values():
            party.add(*types)

    def __getitem__(self, name):
        return self.parties[name].streams

    def exchange(self, by="caller", offer=None, answer=None):
        """Offer by one, answer by the other: pieces of a media header, by default the streams."""
        other = OTHER[by]
        offered = self.call.offer(*(offer or self[by]), by=by)
        answered = self.call.answer(*(answer or self[other]), by=other)
        return offered, answered

    def establish(self):
        offered, answered = self.exchange()
        point(self["callee"], offered)
        point(self["caller"], answered)
        return self.talk()

    def talk(self, *which):
        """Packets both ways on these streams, or on all."""
        self.clock += 1
        for index in which or range(len(self["caller"])):
            talk(self["caller"][index], self["callee"][index], first=100 * self.clock)
        return self

    def statuses(self):
        return statuses(self.system.dispatcher.session(self.call.call_id))

    def end(self):
        assert self.call.remove() == "removed"
        return record(self.system, self.call.call_id)

    def pairs_in_use(self):
        summary = self.system.relay.summary()
        return summary["ports_taken"] - summary["ports_returned"]

    def wait_pairs(self, count):
        wait_for(lambda: self.pairs_in_use() == count,
                 what=lambda: "%d port pairs in use, not %d" % (count, self.pairs_in_use()))


def ports_towards(many, by):
    """What the replies have to say while nothing changes: to an offer of `by`, to its answer."""
    return [s.to[1] for s in many[OTHER[by]]], [s.to[1] for s in many[by]]


# -- more and fewer ----------------------------------------------------------------------------


@pytest.mark.engine
@PARTIES
def test_streams_may_be_added_and_removed_by_either_party(call_system, by):
    many = Many(call_system, "audio").establish()
    audio_ports = ports_towards(many, by)

    for party in many.parties.values():
        party.add("video")
    offered, answered = many.exchange(by)
    assert [offered.ports[0], answered.ports[0]] == [audio_ports[0][0], audio_ports[1][0]]
    point(many[OTHER[by]], offered)
    point(many[by], answered)
    many.talk()
    assert many.statuses() == [("audio", "active"), ("video", "active")]
    many.wait_pairs(4)

    # Removed as RFC 3264 has it: port 0, with the address that was there.
    old_audio, old_video = many["caller"][:], many["callee"][:]
    offered, answered = many.exchange(
        by, [many[by][0], many[by][1].media(port=0)],
        [many[OTHER[by]][0], many[OTHER[by]][1].media(port=0)])
    assert offered.ports == [audio_ports[0][0], 0]
    assert answered.ports == [audio_ports[1][0], 0]
    many.talk(0)
    many.wait_pairs(2)
    assert many.statuses() == [("audio", "active"), ("video", "closed")]

    # And added again: a new stream.
    offered, answered = many.exchange(by)
    assert offered.ports[0] == audio_ports[0][0] and offered.ports[1] != 0
    point(many[OTHER[by]], offered)
    point(many[by], answered)
    many.talk()
    final = many.end()
    assert statuses(final) == [("audio", "closed"), ("video", "closed"), ("video", "closed")]
    check_stream(final["streams"][0], old_audio[0], old_video[0], status="closed")


@PARTIES
def test_an_m_line_that_is_missing_in_the_offer_ends_its_stream(call_system, by):
    """Some phones leave m= lines out. The others go on, wherever they stand now."""
    many = Many(call_system, "audio", "video", "audio").establish()
    offered, answered = many.exchange(by, [many[by][2], many[by][0]],
                                      [many[OTHER[by]][2], many[OTHER[by]][0]])
    assert offered.ports == [many[OTHER[by]][2].to[1], many[OTHER[by]][0].to[1]]
    assert answered.ports == [many[by][2].to[1], many[by][0].to[1]]
    many.talk(0, 2)
    many.wait_pairs(4)
    assert many.statuses() == [("audio", "active"), ("video", "closed"), ("audio", "active")]
    assert len(many.end()["streams"]) == 3


def test_missing_and_extra_m_lines_in_an_answer(call_system):
    """Fewer: the missing ones are rejected. More: 0, as each stream of a message has a port."""
    many = Many(call_system, "audio", "video")
    offered = many.call.offer(*many["caller"])
    assert len(offered.ports) == 2
    answered = many.call.answer(many["callee"][0])
    assert len(answered.ports) == 1
    many["callee"][0].to, many["caller"][0].to = offered.address(0), answered.address(0)
    many.talk(0)
    assert many.statuses() == [("audio", "active"), ("video", "rejected")]

    answered = many.call.answer(many["callee"][0], many["callee"][1].media(port=0),
                                "audio:127.0.0.1:9:sendrecv:ice=no")
    assert answered.ports == [many["caller"][0].to[1], 0, 0]
    many.talk(0)
    final = many.end()
    assert statuses(final) == [("audio", "closed"), ("video", "rejected")]
    check_stream(final["streams"][0], many["caller"][0], many["callee"][0])


@pytest.mark.engine
def test_a_rejected_stream_forwards_nothing_and_gives_its_ports_back(call_system):
    many = Many(call_system, "audio", "video")
    offered, answered = many.exchange(answer=[many["callee"][0], many["callee"][1].media(port=0)])
    assert offered.ports[1] != 0 and answered.ports[1] == 0
    point(many["callee"], offered)
    many["caller"][0].to = answered.address(0)
    many["callee"][1].rtp.send(*rtp_series(5))
    many.talk(0)
    many["caller"][1].rtp.expect_silence(0.05)
    # The next exchange that rejects it again takes a new offer, and ends the old stream.
    many.exchange(answer=[many["callee"][0], many["callee"][1].media(port=0)])
    many.talk(0)
    final = many.end()
    assert statuses(final)[0] == ("audio", "closed")
    assert set(statuses(final)[1:]) == {("video", "rejected")}


def test_a_stream_that_is_offered_disabled_has_no_ports(call_system):
    many = Many(call_system, "audio", "video")
    offered, answered = many.exchange(
        offer=[many["caller"][0], many["caller"][1].media(port=0)],
        answer=[many["callee"][0], many["callee"][1].media(port=0)])
    assert offered.ports[1:] == answered.ports[1:] == [0]
    many.wait_pairs(2)
    many["callee"][0].to, many["caller"][0].to = offered.address(0), answered.address(0)
    many.talk(0)
    # A port in the answer to an m= line that was offered without one: still none.
    answered = many.call.answer(*many["callee"])
    assert answered.ports[1:] == [0]
    many.talk(0)
    offered, answered = many.exchange()  # enabled
    point(many["callee"], offered)
    point(many["caller"], answered)
    many.talk()
    assert statuses(many.end()) == [("audio", "closed"), ("video", "closed")]


def test_a_rejected_offer_of_more_streams_gives_their_ports_back(call_system):
    many = Many(call_system, "audio").establish()
    for _ in range(3):
        video = many.parties["caller"].phone.stream("video")
        assert len(many.call.offer(many["caller"][0], video, video.media(port=20000)).ports) == 3
        many.talk(0)
    offered, answered = many.exchange()
    assert len(offered.ports) == len(answered.ports) == 1
    many.talk(0)
    many.wait_pairs(2)
    assert statuses(many.end()) == [("audio", "closed")]


# -- hold --------------------------------------------------------------------------------------


def held(stream, form):
    """The stream's piece of the SDP that puts it on hold."""
    zero = "::" if ":" in stream.phone.ip else "0.0.0.0"
    return {
        "sendonly": lambda: stream.media("sendonly"),
        "inactive": lambda: stream.media("inactive"),
        "zero": lambda: stream.media(ip=zero),
        "zero-sendonly": lambda: stream.media("sendonly", ip=zero),
        "zero-inactive": lambda: stream.media("inactive", ip=zero),
    }[form]()


@pytest.mark.engine
@PARTIES
@pytest.mark.parametrize("form", ["sendonly", "inactive", "zero", "zero-sendonly",
                                  "zero-inactive"])
def test_hold_and_resume(call_system, by, form):
    many = Many(call_system, "audio").establish()
    mine, other = many[by][0], many[OTHER[by]][0]
    ports = [other.to[1]], [mine.to[1]]
    answer = "recvonly" if "inactive" not in form else "inactive"

    offered = many.call.offer(held(mine, form), by=by)
    assert offered.ports == ports[0]
    assert many.statuses() == [("audio", "active")]  # it may be rejected yet
    many.talk()
    assert many.call.answer(other.media(answer), by=OTHER[by]).ports == ports[1]
    assert many.statuses() == [("audio", "on hold")]
    music = rtp_series(10, ssrc=77)  # nothing is cut: hold music, RTCP, keepalives
    mine.rtp.send(*music)
    other.rtp.expect(music)
    mine.rtcp.send(*rtcp_series(2, 77))
    other.rtcp.expect(rtcp_series(2, 77))

    # Held again, by a session refresh: nothing changes.
    assert many.exchange(by, [held(mine, form)], [other.media(answer)])[0].ports == ports[0]
    assert many.statuses() == [("audio", "on hold")]

    offered, answered = many.exchange(by)
    assert (offered.ports, answered.ports) == ports
    assert many.statuses() == [("audio", "active")]
    many.talk()
    final = many.end()
    check_stream(final["streams"][0], many["caller"][0], many["callee"][0], status="closed")
    assert len(final["streams"]) == 1


def test_a_hold_of_both_ends_with_the_resume_of_both(call_system):
    many = Many(call_system, "audio").establish()
    caller, callee = many["caller"][0], many["callee"][0]
    many.exchange("caller", [caller.media("sendonly")], [callee.media("recvonly")])
    many.exchange("callee", [callee.media("inactive")], [caller.media("inactive")])
    assert many.statuses() == [("audio", "on hold")]
    # The caller resumes, the callee does not.
    many.exchange("caller", [caller.media()], [callee.media("sendonly")])
    assert many.statuses() == [("audio", "on hold")]
    many.exchange("callee", [callee.media()], [caller.media()])
    assert many.statuses() == [("audio", "active")]
    many.talk()
    many.end()


def test_a_rejected_hold_holds_nothing(call_system):
    many = Many(call_system, "audio").establish()
    many.call.offer(many["caller"][0].media("sendonly"))  # 488
    many.talk()
    assert many.statuses() == [("audio", "active")]
    many.exchange("callee")
    assert many.statuses() == [("audio", "active")]
    many.talk()
    many.end()


@pytest.mark.engine
def test_resume_at_a_new_address(call_system):
    """Held by 0.0.0.0, resumed from another port, as phones do that were moved meanwhile."""
    many = Many(call_system, "audio").establish()
    many.exchange("caller", [held(many["caller"][0], "zero")])
    assert many.statuses() == [("audio", "on hold")]
    many["caller"][0] = many.parties["caller"].phone.stream()
    offered, answered = many.exchange("caller")
    point(many["callee"], offered)
    point(many["caller"], answered)
    many.talk()
    many.talk()
    assert many.statuses()[-1] == ("audio", "active")
    many.end()


def test_a_stream_that_is_offered_on_hold_shows_as_held(call_system):
    """The original showed it as active."""
    many = Many(call_system, "audio", "audio")
    offered = many.call.offer(many["caller"][0].media("sendonly"), many["caller"][1])
    answered = many.call.answer(many["callee"][0].media("recvonly"), many["callee"][1])
    point(many["callee"], offered)
    point(many["caller"], answered)
    assert many.statuses() == [("audio", "on hold"), ("audio", "active")]
    many.talk()
    many.exchange()
    assert many.statuses() == [("audio", "active"), ("audio", "active")]
    many.talk()
    many.end()


def test_an_offer_with_the_address_zero_learns_the_address_at_the_resume(call_system):
    """A call that begins on hold by c=0.0.0.0: third-party call control (RFC 3725) does this."""
    many = Many(call_system, "audio")
    offered, answered = many.exchange(offer=[many["caller"][0].media(ip="0.0.0.0")])
    assert many.statuses() == [("audio", "on hold")]
    resumed = many.exchange()
    assert resumed == (offered, answered)
    point(many["callee"], offered)
    point(many["caller"], answered)
    assert many.statuses() == [("audio", "active")]
    many.talk()
    final = many.end()
    check_stream(final["streams"][0], many["caller"][0], many["callee"][0])


def test_the_address_zero_with_ice_is_no_hold(call_system):
    """Trickle ICE (RFC 8840) offers 0.0.0.0 before it has candidates."""
    many = Many(call_system, "audio")
    many.exchange(offer=[many["caller"][0].media(ip="0.0.0.0", ice=True)],
                  answer=[many["callee"][0].media(ice=True)])
    assert many.statuses() == [("audio", "active")]
    many.end()


def test_recvonly_is_no_hold(call_system):
    many = Many(call_system, "audio").establish()
    many.exchange("caller", [many["caller"][0].media("recvonly")],
                  [many["callee"][0].media("recvonly")])
    assert many.statuses() == [("audio", "active")]
    many.end()


def test_hold_by_port_zero_with_the_same_address(call_system):
    """Some phones hold by disabling: the stream ends, and comes back as a new one."""
    many = Many(call_system, "audio", "video").establish()
    many.exchange("caller", [many["caller"][0], many["caller"][1].media(port=0)])
    many.talk(0)
    assert many.statuses() == [("audio", "active"), ("video", "closed")]
    offered, answered = many.exchange("caller")
    assert 0 not in offered.ports + answered.ports
    point(many["callee"], offered)
    point(many["caller"], answered)
    many.talk()
    many.end()


# -- T.38 --------------------------------------------------------------------------------------


def fax(one, other, first=0):
    """UDPTL both ways: whole, in order, from the relay alone."""
    pages = [udptl(n, b"page %d" % n) for n in range(first, first + 20)]
    answers = [udptl(n, b"received %d" % n) for n in range(first, first + 20)]
    one.rtp.send(*pages)
    other.rtp.expect(pages)
    other.rtp.send(*answers)
    one.rtp.expect(answers)


@pytest.mark.engine
@PARTIES
def test_a_switch_to_t38_and_back(call_system, by):
    """The callee asks for fax as a rule; its UDPTL may come from the port of its audio."""
    many = Many(call_system, "audio").establish()
    audio = {name: many[name][:] for name in many.parties}
    caller, callee = (many.parties[n].phone.stream("image") for n in ("caller", "callee"))
    image = {"caller": [caller], "callee": [callee]}

    offered = many.call.offer(*image[by], by=by)
    many.talk()  # audio until the answer
    answered = many.call.answer(*image[OTHER[by]], by=OTHER[by])
    point(image[OTHER[by]], offered)
    point(image[by], answered)
    fax(caller, callee)
    assert many.statuses() == [("audio", "closed"), ("image", "active")]
    many.wait_pairs(2)

    # Back: the audio ports were given up, so it is a new stream, with the phones' old ports.
    offered, answered = many.exchange(by)
    fax_statistics = {"caller": len(caller.sent), "callee": len(callee.sent)}
    before = {name: len(many[name][0].sent) for name in many.parties}
    point(many[OTHER[by]], offered)
    point(many[by], answered)
    many.talk()
    final = many.end()
    assert statuses(final) == [("audio", "closed"), ("image", "closed"), ("audio", "closed")]
    check_stream(final["streams"][1], caller, callee, caller_codec="Unknown",
                 callee_codec="Unknown")
    for name in many.parties:
        assert final["streams"][0][name + "_packets"] == before[name]
        assert final["streams"][1][name + "_packets"] == fax_statistics[name]
        assert final["streams"][2][name + "_packets"] == len(many[name][0].sent) - before[name]
        assert audio[name] == many[name]


def test_t38_from_the_ports_of_the_audio(call_system):
    """Gateways keep the port and change what goes through it."""
    many = Many(call_system, "audio").establish()
    image = {name: many[name][0].media().replace("audio", "image") for name in many.parties}
    offered, answered = many.exchange("callee", [image["callee"]], [image["caller"]])
    assert offered.address() != many["caller"][0].to
    point(many["caller"], offered)
    point(many["callee"], answered)
    fax(many["caller"][0], many["callee"][0])
    assert statuses(many.end()) == [("audio", "closed"), ("image", "closed")]


def test_t38_beside_audio_that_is_switched_off(call_system):
    """Two m= lines: audio with port 0, image. And back the same way."""
    many = Many(call_system, "audio").establish()
    audio = {name: many[name][0] for name in many.parties}
    image = {name: many.parties[name].phone.stream("image") for name in many.parties}
    offered, answered = many.exchange(
        "callee", [audio["callee"].media(port=0), image["callee"]],
        [audio["caller"].media(port=0), image["caller"]])
    assert offered.ports[0] == answered.ports[0] == 0
    image["caller"].to, image["callee"].to = offered.address(1), answered.address(1)
    fax(image["caller"], image["callee"])
    offered, answered = many.exchange(
        "callee", [audio["callee"], image["callee"].media(port=0)],
        [audio["caller"], image["caller"].media(port=0)])
    audio["caller"].to, audio["callee"].to = offered.address(0), answered.address(0)
    many.talk(0)
    many.wait_pairs(2)
    assert statuses(many.end()) == [("audio", "closed"), ("image", "closed"), ("audio", "closed")]


def test_a_rejected_switch_to_t38_leaves_the_audio(call_system):
    many = Many(call_system, "audio").establish()
    image = many.parties["callee"].phone.stream("image")
    assert many.call.offer(image, by="callee").ok  # 488
    many.talk()
    assert many.exchange("callee")[0].ports == [many["caller"][0].to[1]]
    many.talk()
    assert statuses(many.end()) == [("audio", "closed")]


def test_a_switch_to_t38_that_is_answered_by_port_zero_ends_the_audio_too(call_system):
    """That is what the SDP says: the audio was not offered any more, the image was refused."""
    many = Many(call_system, "audio").establish()
    image = {name: many.parties[name].phone.stream("image") for name in many.parties}
    offered, answered = many.exchange("callee", [image["callee"]],
                                      [image["caller"].media(port=0)])
    assert answered.ports == [0]
    assert many.statuses() == [("audio", "closed"), ("image", "rejected")]
    offered, answered = many.exchange("callee")
    point(many["caller"], offered)
    point(many["callee"], answered)
    many.talk()
    assert statuses(many.end()) == [
        ("audio", "closed"), ("image", "rejected"), ("audio", "closed")]
