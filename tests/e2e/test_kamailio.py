"""Calls through a real Kamailio with its mediaproxy module, with sipp as both phones.

sipp does the signalling; the media of both phones is sent and recorded by Phone, from the
ports that stand in sipp's SDP.
"""

import os

import pytest

from mp.kamailio import ENGAGE, USE
from mp.packets import ip_bytes, udptl
from mp.phone import settle, talk
from mp.programs import missing
from mp.records import record
from mp.wait import wait_for

MODES = pytest.mark.parametrize("mode", [ENGAGE, USE], ids=["engage", "use"])


def relayed(system, message):
    """The streams of a SIP message's SDP, all of which have to lead to the relay."""
    streams = message.streams
    assert streams, message
    first, last = (int(p) for p in system.relay.sections["Relay"]["port_range"].split(":"))
    for stream in streams:
        assert stream.ip == system.relay.ip, message.body
        assert first <= stream.port < last and stream.port % 2 == 0, message.body
    return streams


def connect(system, streams, message):
    """Let a phone's streams send where the SDP that it got says."""
    for stream, line in zip(streams, relayed(system, message)):
        assert stream.media_type == line.media_type
        stream.to = line.address


class SipCall:
    """A caller and a callee, each a sipp for the signalling and a Phone for the media."""

    def __init__(self, system, mode, media_types=("audio",), caller_host="caller"):
        self.system = system
        self.caller_host = caller_host
        self.kamailio = system.kamailio(mode)
        phones = [system.phone(caller_host), system.phone("callee")]
        self.caller_streams, self.callee_streams = (
            [phone.stream(t) for t in media_types] for phone in phones)

    def sdp(self, streams, *direction):
        return [s.sdp(*direction) for s in streams]

    def dial(self, caller="caller", callee="callee", offers=None, answers=None, **options):
        """Start both; the offers and answers of the scenarios, by default one of each."""
        self.callee = self.system.sip_callee(
            callee, *(answers or [self.sdp(self.callee_streams)]))
        self.caller = self.system.sip_caller(
            caller, *(offers or [self.sdp(self.caller_streams)]), host=self.caller_host, **options)
        return self

    def answered(self):
        """Wait until the call is up, and tell the streams where to send."""
        connect(self.system, self.callee_streams, self.callee.wait_message("INVITE"))
        connect(self.system, self.caller_streams, self.caller.wait_message("200 INVITE"))
        self.caller.wait_message("ACK", "sent")
        self.callee.wait_message("ACK")
        return self

    def talk(self, **options):
        for one, other in zip(self.caller_streams, self.callee_streams):
            talk(one, other, **options)

    @property
    def session(self):
        """The statistics while the call is up."""
        return self.system.dispatcher.session(self.caller.call_id)

    def check_statistics(self):
        """Each stream's counters are what its two phones sent."""
        session = self.session
        assert session["call_id"] == self.caller.call_id
        assert session["from_tag"] == "caller-1" and session["to_tag"] == "callee-1"
        assert session["from_uri"] == "caller@example.com"
        assert session["to_uri"] == "callee@example.com"
        assert session["callee_ua"] == "sipp callee"
        for stream, caller, callee in zip(session["streams"], self.caller_streams,
                                          self.callee_streams):
            assert stream["media_type"] == caller.media_type
            for name, phone in (("caller", caller), ("callee", callee)):
                assert stream[name + "_packets"] == len(phone.sent)
                assert stream[name + "_bytes"] == ip_bytes(phone.sent)
                assert stream[name + "_remote"] == "%s:%d" % phone.rtp.address
                assert stream[name + "_local"] == "%s:%d" % phone.rtp.to

    def finish(self):
        """Both scenarios end well, and the relay has nothing left of the call."""
        self.caller.finish()
        self.callee.finish()
        wait_for(lambda: self.session is None, what="session gone")
        self.system.relay.wait_empty()

    def hang_up(self):
        """The BYE: its record says what the session said while it was up."""
        last = self.session
        self.caller.go_on()
        self.finish()
        final = record(self.system, self.caller.call_id)
        assert final["timed_out"] is False
        for key in ("from_tag", "to_tag", "caller_ua", "callee_ua", "start_time"):
            assert final[key] == last[key]
        for before, after in zip(last["streams"], final["streams"]):
            assert after["status"] == "closed"
            for key in ("caller_packets", "callee_packets", "caller_bytes", "callee_bytes",
                        "caller_remote", "callee_remote", "caller_codec", "callee_codec"):
                assert after[key] == before[key], key


@pytest.mark.engine
@MODES
def test_a_call_has_rtp_both_ways(sip_network, mode):
    call = SipCall(sip_network, mode).dial().answered()
    call.talk(count=50)
    call.talk(first=100)
    assert call.session["caller_ua"] == "sipp caller"
    call.check_statistics()
    call.hang_up()


@MODES
def test_a_caller_behind_a_nat_is_found(sip_network, mode):
    """Its SDP has an address of its own network, and its packets come from the NAT."""
    reason = missing("nft")
    if reason:
        pytest.skip(reason)
    home = sip_network.network.behind_nat()
    sip_network.relay.stop()
    sip_network.relay.sections["Relay"]["routable_private_ranges"] = None
    sip_network.start()
    call = SipCall(sip_network, mode, caller_host="home").dial().answered()
    settle(call.caller_streams[0], call.callee_streams[0])
    call.talk(ssrc=(1, 2), first=5000)
    stream, = call.session["streams"]
    ip, port = stream["caller_remote"].rsplit(":", 1)
    assert ip == sip_network.network.nat.ip
    assert int(port) != call.caller_streams[0].port
    assert home.ip in call.caller.messages("sent")[0].body
    call.hang_up()


def test_audio_of_sipp_itself_is_played_and_echoed(sip_network):
    """sipp plays a recording, and the other sipp echoes it: nothing of ours in the phones."""
    recording = "/usr/share/sip-tester/g711a.pcap"
    if not os.path.exists(recording):
        pytest.skip("needs " + recording)
    sip_network.kamailio(ENGAGE)
    callee = sip_network.sip_callee("callee", [("audio", 6000)], extra=["-rtp_echo"])
    caller = sip_network.sip_caller("caller_plays", files={"g711a.pcap": recording})
    caller.wait_message("ACK", "sent")

    def heard():
        stream, = sip_network.dispatcher.session(caller.call_id)["streams"]
        return stream["caller_packets"] >= 20 and stream["callee_packets"] >= 20

    wait_for(heard, what="20 packets each way")
    caller.go_on()
    caller.finish()
    callee.finish()


@pytest.mark.engine
@MODES
def test_early_media_flows_before_the_answer(sip_network, mode):
    call = SipCall(sip_network, mode)
    answer = call.sdp(call.callee_streams)
    call.dial(callee="callee_early", answers=[answer, answer])
    connect(sip_network, call.callee_streams, call.callee.wait_message("INVITE"))
    early = call.caller.wait_message("183 INVITE")
    connect(sip_network, call.caller_streams, early)
    call.talk()
    call.callee.go_on()
    call.answered()
    assert [s.address for s in call.caller.wait_message("200 INVITE").streams] == \
        [s.address for s in early.streams]
    call.talk(first=1000)
    call.check_statistics()
    call.hang_up()


@MODES
def test_a_call_that_is_cancelled_leaves_nothing(sip_network, mode):
    call = SipCall(sip_network, mode).dial("caller_cancel", "callee_cancel")
    relayed(sip_network, call.callee.wait_message("INVITE"))
    call.caller.wait_message("180 INVITE")
    assert call.session is not None
    call.caller.go_on()
    call.finish()


@MODES
def test_a_callee_that_is_busy_leaves_nothing(sip_network, mode):
    call = SipCall(sip_network, mode).dial("caller_busy", "callee_busy")
    relayed(sip_network, call.callee.wait_message("INVITE"))
    call.finish()


@pytest.mark.engine
@MODES
def test_hold_and_resume_keep_the_ports(sip_network, mode):
    call = SipCall(sip_network, mode)
    caller, callee = call.caller_streams, call.callee_streams
    call.dial("caller_changes", "callee_follows",
              [call.sdp(caller), call.sdp(caller, "sendonly"), call.sdp(caller)],
              [call.sdp(callee), call.sdp(callee, "recvonly"), call.sdp(callee)])
    call.answered()
    call.talk()
    ports = [s.to for s in caller + callee]

    for cseq, status in ((2, "on hold"), (3, "active")):
        call.caller.go_on()
        connect(sip_network, callee, call.callee.wait_message("INVITE", cseq=cseq))
        connect(sip_network, caller, call.caller.wait_message("200 INVITE", cseq=cseq))
        call.callee.wait_message("ACK", cseq=cseq)
        assert [s.to for s in caller + callee] == ports
        assert [s["status"] for s in call.session["streams"]] == [status]
        call.talk(first=1000 * cseq)  # music on hold passes too
    call.check_statistics()
    call.hang_up()


@MODES
def test_a_late_offer_is_answered_by_the_ack(sip_network, mode):
    """The INVITE has no SDP: the callee offers in its 200, the caller answers in the ACK."""
    call = SipCall(sip_network, mode).dial("caller_late")
    connect(sip_network, call.caller_streams, call.caller.wait_message("200 INVITE"))
    connect(sip_network, call.callee_streams, call.callee.wait_message("ACK"))
    call.talk()
    call.check_statistics()
    call.hang_up()


@MODES
def test_a_reinvite_that_is_rejected_changes_nothing(sip_network, mode):
    """And the next one, with yet another address, moves the media there."""
    call = SipCall(sip_network, mode)
    caller, callee = call.caller_streams, call.callee_streams
    rejected, moved = [[s.phone.stream("audio")] for s in caller * 2]
    call.dial("caller_rejected", "callee_rejects",
              [call.sdp(caller), call.sdp(rejected), call.sdp(moved)],
              [call.sdp(callee), call.sdp(callee)])
    call.answered()
    call.talk()

    call.caller.go_on()
    relayed(sip_network, call.callee.wait_message("INVITE", cseq=2))
    call.talk(first=1000)
    call.caller.wait_message("488 INVITE")
    call.callee.wait_message("ACK", cseq=2)
    call.talk(first=2000)

    call.caller.go_on()
    connect(sip_network, callee, call.callee.wait_message("INVITE", cseq=3))
    connect(sip_network, moved, call.caller.wait_message("200 INVITE", cseq=3))
    call.callee.wait_message("ACK", cseq=3)
    talk(moved[0], callee[0], first=3000)
    assert [s["caller_remote"] for s in call.session["streams"] if s["status"] == "active"] == \
        ["%s:%d" % moved[0].rtp.address]
    call.hang_up()


@MODES
def test_audio_and_video_have_ports_of_their_own(sip_network, mode):
    call = SipCall(sip_network, mode, ["audio", "video"]).dial().answered()
    assert len({s.to for s in call.caller_streams + call.callee_streams}) == 4
    call.talk(count=30)
    call.check_statistics()
    assert [s["media_type"] for s in call.session["streams"]] == ["audio", "video"]
    call.hang_up()


@MODES
@pytest.mark.parametrize("by", ["caller", "callee"])
def test_a_switch_to_t38_and_back(sip_network, mode, by):
    call = SipCall(sip_network, mode)
    audio = call.caller_streams, call.callee_streams
    fax = [[s.phone.stream("image")] for s, in audio]
    offers, answers = [], []
    for caller, callee in (audio, fax, audio):
        offers.append(call.sdp(caller))
        answers.append(call.sdp(callee))
    if by == "callee":
        offers[1:], answers[1:] = answers[1:], offers[1:]
        call.dial("caller_follows", "callee_changes", offers[:1] + answers[1:],
                  answers[:1] + offers[1:])
    else:
        call.dial("caller_changes", "callee_follows", offers, answers)
    call.answered()
    call.talk()

    active, passive = (call.caller, call.callee) if by == "caller" else (call.callee, call.caller)
    for cseq, (caller, callee) in ((2, fax), (3, audio)):
        ours, theirs = (caller, callee) if by == "caller" else (callee, caller)
        active.go_on()
        connect(sip_network, theirs, passive.wait_message("INVITE", cseq=cseq))
        connect(sip_network, ours, active.wait_message("200 INVITE", cseq=cseq))
        passive.wait_message("ACK", cseq=cseq)
        if caller is fax[0]:
            for one, other in ((caller[0], callee[0]), (callee[0], caller[0])):
                packets = [udptl(seq) for seq in range(10)]
                one.rtp.send(*packets)
                other.rtp.expect(packets)
            image = [s for s in call.session["streams"] if s["media_type"] == "image"]
            assert [s["status"] for s in image] == ["active"]
            assert image[0]["caller_packets"] == image[0]["callee_packets"] == 10
        else:
            call.talk(first=3000)
    live = [s["media_type"] for s in call.session["streams"] if s["status"] == "active"]
    assert live == ["audio"]
    call.hang_up()


@MODES
def test_a_folded_header_of_a_phone_stays_a_part_of_its_line(sip_network, mode):
    """A caller's User-Agent that looks like headers of ours reaches nobody else's call."""
    victim = sip_network.call(call_id="victim@x", caller_tag="caller-1")
    streams = [sip_network.phone(name).stream() for name in ("caller", "callee")]
    victim.establish(*([s] for s in streams))
    talk(*streams)
    before = sip_network.dispatcher.session("victim@x")

    call = SipCall(sip_network, mode)
    call.dial(user_agent="Evil\r\n call_id: victim@x\r\n\tmedia_relay: 6.6.6.6").answered()
    call.talk()
    call.check_statistics()
    assert call.session["caller_ua"] == "Evil call_id: victim@x media_relay: 6.6.6.6"

    after = sip_network.dispatcher.session("victim@x")
    for key in ("from_tag", "to_tag", "caller_ua", "callee_ua", "from_uri"):
        assert after[key] == before[key]
    assert [s["caller_local"] for s in after["streams"]] == \
        [s["caller_local"] for s in before["streams"]]
    talk(*streams, first=1000)
    assert victim.remove() == "removed"
    call.hang_up()


def test_a_call_without_a_relay_goes_on_with_its_own_sdp(sip_network):
    """No relay: `error` in time, so that the SIP proxy stays with the dispatcher."""
    sip_network.relay.stop()
    sip_network.dispatcher.wait_relays()
    call = SipCall(sip_network, ENGAGE).dial()
    for phone, streams in ((call.callee, call.caller_streams), (call.caller, call.callee_streams)):
        message = phone.wait_message("INVITE" if phone is call.callee else "200 INVITE")
        assert [s.address for s in message.streams] == [s.rtp.address for s in streams]
    call.caller.wait_message("ACK", "sent")
    call.caller.go_on()
    call.caller.finish()
    call.callee.finish()

    sip_network.start()
    call.dial().answered()
    call.talk()
    call.hang_up()


def test_a_dispatcher_restarted_between_two_calls(sip_network):
    """The workers of the SIP proxy find the new one on their old connections' address."""
    first = SipCall(sip_network, ENGAGE).dial().answered()
    first.talk()
    first.hang_up()
    sip_network.dispatcher.stop()
    sip_network.start()

    second = first.dial().answered()
    second.talk(first=1000)
    second.hang_up()


def test_a_dispatcher_restarted_in_the_middle_of_a_call(sip_network):
    """Media goes on, and the BYE of a call that the old one made ends it at the relay."""
    call = SipCall(sip_network, ENGAGE).dial().answered()
    call.talk()
    sip_network.dispatcher.stop()
    call.talk(first=1000)
    sip_network.start()
    wait_for(lambda: call.session, what="the session known again")
    call.talk(first=2000)
    call.check_statistics()
    call.hang_up()
