"""The statistics of a session, key for key, compared with what the phones sent."""

import pytest

from mp.packets import rtp_series
from mp.records import (NEW_STREAM_KEYS, REMOVE_KEYS, STREAM_KEYS, PostDialDelay, check_stream,
                        point, record)


@pytest.mark.engine(few_packets=True)
def test_codecs_and_bytes_of_many_streams(call_system):
    """Statistics key for key as the original's, then ours, with a codec of each kind."""
    codecs = {0: "G711u", 3: "GSM", 8: "G711a", 9: "G722", 18: "G729", 34: "H263",
              96: "Dynamic(96)", 127: "Dynamic(127)", 35: "Unknown(35)", None: "Unknown"}
    phones = call_system.phone("caller"), call_system.phone("callee")
    kinds = ["audio" if number % 2 == 0 else "video" for number in range(len(codecs))]
    caller, callee = ([phone.stream(kind) for kind in kinds] for phone in phones)
    signalling = '{"signaling_ip": "127.0.0.1", "destination_ip": null, "username": "alice@x"}'
    call = call_system.call(signaling_ip=signalling, dialog_id="3078:1789",
                            from_uri="alice@example.com", to_uri="b%\u00f6b@example.net")
    delay = PostDialDelay()
    offered = call.offer(*caller, user_agent="")
    delay.offered()
    answered = call.answer(*callee, user_agent="Callee \"2\" \\ 1")
    point(callee, offered)
    point(caller, answered)
    assert len(set(offered.ports + answered.ports)) == 2 * len(codecs)
    delay.sending()
    for size, (payload_type, one, other) in enumerate(zip(codecs, caller, callee)):
        if payload_type is None:
            continue
        packets = rtp_series(size + 1, ssrc=size, payload_type=payload_type, size=20 * size)
        one.rtp.send(*packets)
        other.rtp.expect(packets)
        other.rtp.send(*rtp_series(1, payload_type=0))
        one.rtp.expect(other.rtp.sent)
    delay.heard()
    assert call.remove() == "removed"
    final = record(call_system, call.call_id)
    assert list(final) == REMOVE_KEYS
    assert final["username"] == "alice@x" and final["dialog_id"] == "3078:1789"
    assert final["caller_ua"] == "Unknown" and final["callee_ua"] == "Callee \"2\" \\ 1"
    assert final["to_uri"] == "b%\u00f6b@example.net"
    assert final["timed_out"] is False
    assert len(final["streams"]) == len(codecs)
    for (payload_type, name), statistics, one, other in zip(
            codecs.items(), final["streams"], caller, callee):
        assert list(statistics) == STREAM_KEYS + NEW_STREAM_KEYS
        heard = payload_type is not None
        check_stream(statistics, one, other, status="closed", caller_codec=name,
                     callee_codec="G711u" if heard else "Unknown", timeout_wait=0, start_time=0,
                     end_time=final["duration"])
        if heard:
            delay.check(statistics)
        else:
            assert statistics["post_dial_delay"] is None
            assert statistics["caller_remote"] == statistics["callee_remote"] == "Unknown"
