"""Attacks on calls, by a host that sees none of their packets. docs/threat-model.md has them all.

Each runs with learning = safe, and most with first-packet too: there it is expected to work, which
shows that the attack is one, and what that setting gives up.
"""

import struct
import threading
import time

import pytest

from mp.attacker import (SSRC, Attacker, Spray, authenticated_request, everything, stun_response)
from mp.packets import rtcp_sr, rtp, rtp_series, stun_request
from mp.phone import talk
from mp.records import record
from mp.speech import Conversation
from mp.wait import wait_for

PORTS = range(40000, 40024)
# Long enough for a test that is held up by a loaded machine to have its phones speak within it.
SETTLE_S = 1.0
RULES = pytest.mark.parametrize("learning", ["safe", "first-packet"])


@pytest.fixture
def make_system(make_call_system, network):
    def make(**config):
        keys = {"settle_time": "%dms" % (1000 * SETTLE_S), "routable_private_ranges": "10.88.0.0/16",
                "port_range": "%d:%d" % (PORTS[0], PORTS[-1] + 1)}
        return make_call_system(network=network, relay_config=dict(keys, **config))

    return make


def ports_of(system, numbers=PORTS):
    return [(system.relay.ip, number) for number in numbers]


def drops(system):
    return {k: v for k, v in system.relay.summary()["drops"].items() if v}


def wait_until(moment):
    wait_for(lambda: time.monotonic() >= moment, SETTLE_S + 5)


def parties(system, network, place):
    """A caller, the address its signalling comes from, and a callee."""
    if place == "sdp":
        caller = system.phone("caller").stream()
        return caller, caller.phone.ip, system.phone("callee").stream()
    network.behind_nat()
    return system.phone("home").stream(), network.nat.ip, system.phone("callee").stream()


@pytest.mark.engine
@pytest.mark.parametrize("place", ["sdp", "nat"])
def test_a_spray_before_during_and_after_the_answer_gets_nothing(make_system, network, place):
    """The whole range, from a third address, with all kinds of packets. The party speaks within
    settle_time: nothing ever comes to the attacker, and the call loses nothing."""
    system = make_system()
    caller, signalling, callee = parties(system, network, place)
    attacker = Attacker(system.phone("stranger"), count=2)
    with Spray(attacker, ports_of(system)) as spray:
        wait_for(lambda: spray.rounds > 3)
        call = system.call(signaling_ip=signalling)
        callee.to = call.offer(caller).address()
        rounds = spray.rounds
        wait_for(lambda: spray.rounds > rounds + 3)
        caller.to = call.answer(callee, signaling_ip=callee.phone.ip).address()
        answered = time.monotonic()
        # Behind a NAT the caller is reached when it has sent something.
        first = rtp(1, 0x11111111)
        caller.rtp.send(first)
        callee.rtp.expect([first])
        conversation = Conversation(caller, callee, rate=50)
        try:
            wait_until(answered + SETTLE_S + 0.5)
            conversation.end()
        finally:
            conversation.close()
    # Reports go to the SDP's next port, or nowhere, but to no attacker.
    callee.rtcp.send(rtcp_sr(0x22222222))
    caller.rtcp.send(rtcp_sr(0x11111111))
    callee.rtcp.expect([rtcp_sr(0x11111111)])
    attacker.nothing_came()
    # The attacker was there: at every time, and by every door.
    assert drops(system).keys() >= {"not_open", "not_the_remote", "flood"}
    assert call.remove() == "removed"
    stream, = record(system, call.call_id)["streams"]
    assert stream["caller_remote"].split(":")[0] == signalling


@pytest.mark.engine(few_packets=True)
def test_what_first_packet_gives_up(make_system):
    """The same spray with the original's rule: expected to take the call from both parties."""
    system = make_system(learning="first-packet")
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    attacker = Attacker(system.phone("stranger"))
    with Spray(attacker, ports_of(system)) as spray:
        call = system.call(signaling_ip=caller.phone.ip).establish([caller], [callee])
        rounds = spray.rounds
        wait_for(lambda: spray.rounds > rounds + 3)
        mine = rtp_series(10, ssrc=1), rtp_series(10, ssrc=2)
        caller.rtp.send(*mine[0])
        callee.rtp.send(*mine[1])
        wait_for(lambda: drops(system).get("not_the_remote", 0) >= 20)
    assert attacker.received(), "each of the attacker's packets comes back from the other port"
    for heard in caller.rtp.data, callee.rtp.data:
        assert not set(heard) & set(mine[0] + mine[1]), "the parties hear each other"
    assert call.remove() == "removed"


@pytest.mark.engine(few_packets=True)
@RULES
def test_a_race_for_the_first_packet(make_system, learning):
    """A perfect stream to the caller's port from before the answer until the caller speaks."""
    system = make_system(learning=learning)
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    attacker = Attacker(system.phone("stranger"))
    call = system.call(signaling_ip=caller.phone.ip)
    callee.to = call.offer(caller).address()
    attacker.send(rtp_series(20, SSRC), *ports_of(system))
    caller.to = call.answer(callee, signaling_ip=callee.phone.ip).address()
    attacker.send(rtp_series(20, SSRC, first=21), caller.to)
    wait_for(lambda: sum(drops(system).values()) >= (60 if learning == "safe" else 20),
             what=lambda: drops(system))
    answer = rtp_series(5, ssrc=2)
    callee.rtp.send(*answer)
    if learning == "safe":
        caller.rtp.expect(answer)  # where its SDP says
        callee.rtp.expect_silence(0.05)
        talk(caller, callee, first=100)
        attacker.nothing_came()
    else:
        wait_for(lambda: any(p in attacker.received() for p in rtp_series(40, SSRC) + answer))
        assert caller.rtp.received == []
    assert call.remove() == "removed"


@pytest.mark.engine
@RULES
def test_another_port_of_the_right_address_is_not_the_party(make_system, learning):
    """Another program on the caller's host, or another phone behind its NAT."""
    system = make_system(learning=learning)
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(signaling_ip=caller.phone.ip).establish([caller], [callee])
    talk(caller, callee)
    neighbour = Attacker(system.phone("caller"), count=2)
    conversation = Conversation(caller, callee, rate=50)
    try:
        for seq in range(1, 40):
            neighbour.send([rtp(seq, SSRC), rtcp_sr(SSRC)], caller.to)
            conversation.both(1)
        conversation.end()
    finally:
        conversation.close()
    neighbour.nothing_came()
    assert call.remove() == "removed"
    stream, = record(system, call.call_id)["streams"]
    assert stream["caller_remote"] == "%s:%d" % caller.rtp.address


@pytest.mark.engine
@RULES
def test_a_guess_of_ssrc_and_sequence_does_not_move_a_party_that_speaks(make_system, learning):
    """The luckiest of guesses: the attacker's packets would be the next ones."""
    system = make_system(learning=learning)
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(signaling_ip=caller.phone.ip).establish([caller], [callee])
    talk(caller, callee)
    attacker = Attacker(system.phone("stranger"))
    conversation = Conversation(caller, callee, rate=50)
    try:
        for _ in range(40):
            seq = len(conversation.caller.sent)
            attacker.send([rtp(seq + step, 0x11111111, data=b"never said") for step in (1, 2, 900)],
                          caller.to)
            conversation.both(1)
        conversation.end()
    finally:
        conversation.close()
    attacker.nothing_came()
    assert drops(system)["not_the_remote"] + drops(system).get("flood", 0) >= 100
    assert call.remove() == "removed"


@pytest.mark.engine
def test_a_perfect_stream_to_a_silent_party_is_heard_until_its_first_packet(make_system):
    """What remains without SRTP: the attacker is believed, and sent what the other party says.
    One packet of the party ends it, for RTCP too, though it sends none."""
    system = make_system(settle_time="100ms")
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(signaling_ip=caller.phone.ip).establish([caller], [callee])
    thief = system.phone("stranger").stream()
    thief.to = caller.to
    seq = 0
    while rtcp_sr(2, 1) not in thief.rtcp.data:
        seq += 1
        assert seq < 500, drops(system)
        thief.rtp.send(rtp(seq, SSRC))
        thief.rtcp.send(rtcp_sr(SSRC, seq))
        callee.rtp.send(rtp(seq, 2))
        callee.rtcp.send(rtcp_sr(2, 1))
        time.sleep(0.02)
    assert thief.rtp.received, "the callee's RTP"

    callee.rtp.clear()
    first = rtp(1, 1)
    caller.rtp.send(first)
    wait_for(lambda: first in callee.rtp.data)
    for port in thief.rtp, thief.rtcp, caller.rtp, caller.rtcp:
        port.clear()
    answer = rtp_series(10, ssrc=2, first=seq + 10)
    callee.rtp.send(*answer)
    callee.rtcp.send(rtcp_sr(2, 77))
    caller.rtp.expect(answer)
    caller.rtcp.expect([rtcp_sr(2, 77)])  # to its SDP's next port
    thief.rtp.send(*rtp_series(10, SSRC, first=seq + 1))
    thief.rtcp.send(rtcp_sr(SSRC, 9))
    callee.rtp.clear()
    callee.rtcp.clear()
    talk(caller, callee, first=500)
    assert thief.rtp.received == thief.rtcp.received == []
    assert call.remove() == "removed"


@pytest.mark.engine(few_packets=True)
@pytest.mark.parametrize("ice", [False, True], ids=["plain", "ice"])
def test_replayed_stun_and_forged_responses_make_nobody_valid(make_system, ice):
    """The attacker plays both sides: its requests to one port, its success responses to the
    other. Then it sends a perfect stream from there."""
    system = make_system()
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(signaling_ip=caller.phone.ip)
    callee.to = call.offer(caller.media(ice=ice)).address()
    caller.to = call.answer(callee.media(ice=ice), signaling_ip=callee.phone.ip).address()
    asks, answers = Attacker(system.phone("stranger")), Attacker(system.phone("stranger"))
    for turn in range(2):  # the second time both parties are known
        for number in range(20):
            transaction = struct.pack("!III", number, 7, 7)
            for _ in range(2):
                asks.send([authenticated_request(transaction), stun_request(transaction)],
                          caller.to, callee.to)
                answers.send([stun_response(transaction, asks.ports[0].address)],
                             caller.to, callee.to)
        for port in caller.rtp, callee.rtp:
            port.clear()  # agents may be asked
        injected = rtp_series(20, SSRC)
        asks.send(injected, caller.to, callee.to)
        mine = rtp_series(10, ssrc=1, first=1 + 100 * turn), rtp_series(10, ssrc=2, first=1 + 100 * turn)
        caller.rtp.send(*mine[0])
        callee.rtp.send(*mine[1])
        wait_for(lambda: mine[0][-1] in callee.rtp.data and mine[1][-1] in caller.rtp.data,
                 what=lambda: drops(system))
        for heard, said in ((caller.rtp.data, mine[1]), (callee.rtp.data, mine[0])):
            assert not set(heard) & set(injected)
            assert [p for p in heard if p in said] == said
    asks.nothing_came()
    answers.nothing_came()
    assert call.remove() == "removed"


def send_for(port, seconds, rate):
    """A thread that has a port send RTP, so many packets a second. @return it, and what it sent"""
    sent = []

    def body():
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            while len(sent) < (time.monotonic() - began) * rate:
                sent.append(rtp(1000 + len(sent), 0x11111111, data=b"much"))
                port.socket.sendto(sent[-1], port.to)
            time.sleep(0.001)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread, sent


@pytest.mark.engine
def test_a_remote_that_floods_costs_others_nothing_and_is_cut(make_system, engine):
    """Ten times what its stream may be, for some seconds. In the kernel, too: the relay takes the
    flow back, drops the rest, and lets it in again when it has come to its senses."""
    limit, seconds = 200, 2.5
    system = make_system(max_stream_packets=limit)
    loud = system.phone("caller").stream(), system.phone("callee").stream()
    call = system.call(signaling_ip=loud[0].phone.ip).establish(loud[:1], loud[1:])
    quiet = system.phone("caller").stream(), system.phone("callee").stream()
    other = system.call(signaling_ip=quiet[0].phone.ip).establish(quiet[:1], quiet[1:])
    talk(*loud)
    talk(*quiet)
    conversation = Conversation(*quiet, rate=50)
    try:
        thread, sent = send_for(loud[0].rtp, seconds, 10 * limit)
        system.relay.wait_log(r"\[%s\] the caller sends more audio than max_stream_packets or "
                              "max_stream_bytes allows" % call.call_id, deadline=8.0)
        thread.join()
        conversation.end()
    finally:
        conversation.close()
    wait_for(lambda: len(loud[1].rtp.received) + drops(system)["over_limit"] >= len(sent),
             what=lambda: (len(loud[1].rtp.received), drops(system), len(sent)))
    heard = loud[1].rtp.data
    loud[1].rtp.clear()
    # In order; a few that come half a millisecond apart may overtake one another while a flow
    # begins or ends.
    in_order = [p for p in sent if p in set(heard)]
    assert sorted(heard) == sorted(in_order), "each once"
    moved = sum(a != b for a, b in zip(heard, in_order))
    assert moved <= (0 if engine == "userspace" else 8), moved
    # A second's worth at once; and what the kernel let through until it was looked at.
    most = (seconds + 1.5) * limit if engine == "userspace" else 0.9 * len(sent)
    assert limit < len(heard) < most, (len(heard), len(sent))

    # It is heard again, and where it was a flow, it is one again.
    talk(*loud, first=9000)
    if engine != "userspace":
        wait_until(time.monotonic() + 2.2)
        talk(*loud, first=9100)
        before = system.relay.summary()["kernel_packets"]
        talk(*loud, first=9200)
        wait_for(lambda: system.relay.summary()["kernel_packets"] >= before + 20)
    assert call.remove() == "removed"
    assert other.remove() == "removed"
    stream, = record(system, call.call_id)["streams"]
    assert stream["caller_dropped_over_limit"] == len(sent) - len(heard)


@pytest.mark.parametrize("form", ["%s", "::ffff:%s"])
def test_a_denied_network_is_refused_and_not_believed(make_system, network, form):
    system = make_system(denied_ranges="192.0.2.0/24 %s" % network.stranger.ip)
    caller, callee = system.phone("caller").stream(), system.phone("callee").stream()
    denied = form % network.stranger.ip
    refused = system.call(signaling_ip=caller.phone.ip)
    assert refused.offer(caller.media(ip=denied)) == "error"
    system.relay.wait_log(r"\[%s\] update refused: the SDP address is in denied_ranges"
                          % refused.call_id)
    # Nor is it heard, though the caller's signalling comes from there, and it sends a perfect stream.
    call = system.call(signaling_ip=network.stranger.ip)
    callee.to = call.offer(caller).address()
    assert call.answer(callee.media(ip=denied)) == "error"
    caller.to = call.answer(callee, signaling_ip=callee.phone.ip).address()
    attacker = Attacker(system.phone("stranger"))
    answered = time.monotonic()
    for seq in range(1, 20):
        attacker.send(everything(seq), caller.to)
    wait_until(answered + SETTLE_S)
    for seq in range(20, 30):
        attacker.send([rtp(seq, SSRC)], caller.to)
    callee.rtp.expect_silence(0.05)
    talk(caller, callee)
    attacker.nothing_came()
    assert call.remove() == "removed"
