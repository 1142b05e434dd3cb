"""Accounting to RADIUS: what a real FreeRADIUS gets, and what happens when it does not."""

import contextlib
import time

import pytest

from mp import programs
from mp.deliver import Deliver
from mp.radius import DICTIONARY, FreeRadius, StandIn, forged, honest, response, silent
from mp.wait import wait_for

SECRET = "s3cret"

pytestmark = pytest.mark.skipif(programs.missing("freeradius") is not None,
                                reason=str(programs.missing("freeradius")))


def stream(**keys):
    return dict({
        "media_type": "audio", "status": "closed", "timeout_wait": 0, "caller_codec": "G711u",
        "callee_codec": "G711a", "start_time": 0, "end_time": 61,
        "post_dial_delay": 3.31355834007263184, "caller_bytes": 6168, "callee_bytes": 5000,
        "caller_packets": 33, "callee_packets": 33, "caller_local": "10.88.0.1:40000",
        "callee_local": "10.88.0.1:40002", "caller_remote": "10.88.1.2:5000",
        "callee_remote": "10.88.2.2:6000"}, **keys)


def record(call_id="call-01@example.com", **keys):
    return dict({
        "call_id": call_id, "from_tag": "ftag1", "from_uri": "alice@example.com",
        "to_tag": "ttag1", "to_uri": "bob@example.com", "start_time": 1795340335.934527,
        "duration": 61, "caller_ua": "UA-Caller 1.0", "callee_ua": "UA-Callee 2.0",
        "username": None, "streams": [stream()], "dialog_id": "1:2", "timed_out": False,
        "record_id": "r-" + call_id}, **keys)


# What FreeRADIUS gets of record(), in order.
USUAL = [
    ("Acct-Status-Type", "Interim-Update"),
    ("User-Name", "mediaproxy@default"),
    ("Acct-Session-Id", "call-01@example.com"),
    ("Acct-Session-Time", "61"),
    ("Acct-Input-Octets", "6168"),
    ("Acct-Output-Octets", "5000"),
    ("Sip-From-Tag", "ftag1"),
    ("Sip-To-Tag", "ttag1"),
    ("NAS-IP-Address", "10.88.0.1"),
    ("Sip-User-Agents", "UA-Caller 1.0+UA-Callee 2.0"),
    ("Sip-Applications", "audio"),
    ("Media-Codecs", "G711u"),
    ("Acct-Delay-Time", "3"),
]


def usual(without=(), **other):
    """USUAL with other values (Sip_From_Tag for Sip-From-Tag) and without some."""
    return [(name, other.get(name.replace("-", "_"), value)) for name, value in USUAL
            if name not in without]


class Bench:
    """Servers, and a `deliver` that is told of them."""

    def __init__(self, folder, ports):
        self._folder = folder
        self._ports = ports
        self._ends = []

    def port(self, number):
        return self._ports.tcp(number)

    def server(self, number=0, **options):
        server = FreeRadius(self._folder / ("server%d" % number), self.port(number), **options)
        self._ends.append(server.stop)
        return server

    def stand_in(self, answer, number=0):
        server = StandIn(self.port(number), answer)
        self._ends.append(server.close)
        return server

    def deliver(self, *servers, timeout=1, retries=0, secret=SECRET, started=True, client="",
                **config):
        deliver = Deliver(self._folder / "deliver", "radius",
                          {"Radius": dict(config_file="client.conf", **config)})
        deliver.write("client.conf", "servers secrets\nradius_timeout %d\nradius_retries %d\n"
                      % (timeout, retries) + "".join(
                          "acctserver %s\n" % server.address for server in servers) + client)
        deliver.write("secrets", "127.0.0.1 %s\n" % secret)
        with open(DICTIONARY) as dictionary:
            deliver.write("radius/dictionary", dictionary.read())
        self._ends.append(deliver.stop)
        return deliver.start() if started else deliver

    def close(self):
        """End everything, even if one of them did not end well."""
        with contextlib.ExitStack() as stack:
            for end in self._ends:
                stack.callback(end)


@pytest.fixture
def bench(tmp_path):
    ports = programs.PortBlock()
    made = Bench(tmp_path, ports)
    yield made
    made.close()
    ports.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server and a `deliver` for tests that only compare what arrives."""
    ports = programs.PortBlock()
    made = Bench(tmp_path_factory.mktemp("radius"), ports)
    server = made.server().start()
    yield server, made.deliver(server, timeout=10, retries=2)
    made.close()
    ports.close()


def arrives(shared, sent):
    """Send a record; returns what the server got of it, which is one request."""
    server, deliver = shared
    count = len(server.requests())
    assert deliver.answer(sent) == ["done"]
    return server.wait_requests(count + 1)[-1]


def test_a_call_arrives_attribute_by_attribute_in_order(shared):
    assert arrives(shared, record()) == USUAL


def test_a_call_over_a_relay_of_ipv6_names_its_address(shared):
    expected = usual()
    expected[8] = ("NAS-IPv6-Address", "2001:db8::5")
    assert arrives(shared, record(relay="2001:db8::5")) == expected
    local = stream(caller_local="[2001:db8::5]:40000")
    assert arrives(shared, record(streams=[local])) == expected


def test_counters_over_four_gib_arrive_whole(shared):
    big = stream(caller_bytes=5 * 2**32 + 17, callee_bytes=2**32 - 1)
    expected = usual(Acct_Input_Octets="17", Acct_Output_Octets="4294967295")
    expected.insert(6, ("Acct-Input-Gigawords", "5"))
    assert arrives(shared, record(streams=[big])) == expected


def test_values_over_253_bytes_are_cut_between_characters(shared):
    sent = record(call_id="c" * 300, from_tag="x" + "é" * 150, to_tag="€" * 100,
                  caller_ua="a" * 252, callee_ua="b" * 252, username="\U0001f600" * 80)
    assert arrives(shared, sent) == usual(
        User_Name="\U0001f600" * 63, Acct_Session_Id="c" * 253, Sip_From_Tag="x" + "é" * 126,
        Sip_To_Tag="€" * 84, Sip_User_Agents="a" * 252 + "+")


def test_awkward_texts_arrive_as_they_are(shared):
    sent = record(call_id="a\"b'c\\d\n\r\te\0f %s $(x) `y`", from_tag="\x01\x7f\u0080",
                  to_tag="Sip-From-Tag = \"x\"\n\tUser-Name = root", username="a, b=c;d")
    assert arrives(shared, sent) == usual(
        Acct_Session_Id=sent["call_id"], Sip_From_Tag=sent["from_tag"],
        Sip_To_Tag=sent["to_tag"], User_Name=sent["username"])


def test_a_call_without_an_answer_is_sent_as_well(shared):
    sent = record(start_time=None, duration=0, to_tag=None, streams=[])
    assert arrives(shared, sent) == usual(
        without=("Sip-To-Tag", "NAS-IP-Address", "Sip-Applications", "Media-Codecs",
                 "Acct-Delay-Time"),
        Acct_Session_Time="0", Acct_Input_Octets="0", Acct_Output_Octets="0")


def test_a_record_of_a_strange_relay_is_sent_as_far_as_it_goes(shared):
    sent = {"call_id": "odd", "streams": {"media_type": 1}, "duration": "long", "username": 5}
    assert arrives(shared, sent) == [
        ("Acct-Status-Type", "Interim-Update"), ("User-Name", "mediaproxy@default"),
        ("Acct-Session-Id", "odd"), ("Acct-Input-Octets", "0"), ("Acct-Output-Octets", "0")]


def test_how_a_call_ended_and_who_paid_for_it_arrive(shared):
    expected = usual(User_Name="alice@example.com")
    expected.insert(12, ("Media-Info", "timeout"))
    assert arrives(shared, record(timed_out=True, username="alice@example.com")) == expected


def test_a_call_that_is_up_is_reported_by_the_same_packet(shared):
    server, deliver = shared
    count = len(server.requests())
    assert deliver.interim(record(streams=[stream(end_time=None)])) == "done"
    assert server.wait_requests(count + 1)[-1] == USUAL


def test_ten_records_arrive_exactly_once_each(shared):
    server, deliver = shared
    count = len(server.requests())
    calls = ["ten-%d" % number for number in range(10)]
    assert deliver.answer(*[record(call_id=call) for call in calls]) == ["done"] * 10
    server.wait_requests(count + 10)
    assert server.session_ids()[count:] == calls


def test_a_server_that_is_down_costs_no_record(bench):
    server = bench.server()
    deliver = bench.deliver(server)
    assert deliver.answer(record("a"), record("b")) == [
        "later", "later", "down RADIUS: %s: nobody listens there" % server.address]
    server.start()
    assert deliver.answer(record("a"), record("b")) == ["done", "done"]
    server.kill()
    assert deliver.answer(record("c"))[0] == "later"
    server.start()
    assert deliver.answer(record("c")) == ["done"]
    server.wait_requests(3)
    assert server.session_ids() == ["a", "b", "c"]


def test_a_server_that_hangs_may_get_a_record_twice_under_one_session_id(bench):
    server = bench.server().start()
    deliver = bench.deliver(server)
    server.freeze()
    lines = deliver.answer(record("a"), record("b"))
    assert lines[:2] == ["later", "later"]
    assert lines[2] == ("down RADIUS: %s: no answer (1 tries of 1 s each); if it is up, the "
                        "shared secret may be wrong, or it does not know this host"
                        % server.address)
    server.thaw()
    assert deliver.answer(record("a"), record("b")) == ["done", "done"]
    wait_for(lambda: len(server.requests()) >= 3, what=lambda: server.session_ids())
    assert sorted(server.session_ids()) == ["a", "a", "b"]


def test_a_record_that_is_never_answered_does_not_hold_up_the_others(bench):
    """As by FreeRADIUS over SQL, for a Call-ID that is longer than its column."""
    server = bench.stand_in(lambda number, request, secret:
                            [] if b"bad" in request else honest(number, request, secret))
    deliver = bench.deliver(server)
    bad, good = record("bad"), record("good")
    # Alone it may be the server that is down, whatever comes before.
    for batch in ([bad], [bad], [bad, record("bad", record_id="r2")], [bad, good], [bad, good]):
        lines = deliver.answer(*batch)
        assert lines[0] == "later" and "no answer" in lines[-1]
    assert deliver.answer(bad, good, record("more")) == [
        "refused the RADIUS server answers other records, and not this one: its log may say why",
        "done", "done"]


def test_a_server_that_answers_the_second_try_has_the_record(bench):
    server = bench.stand_in(lambda number, *request: honest(number, *request) if number else [])
    deliver = bench.deliver(server, retries=1)
    assert deliver.answer(record()) == ["done"]
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]


def test_a_late_answer_to_the_first_try_is_an_answer(bench):
    """As for a server that takes longer than the timeout: it signs the same request."""
    held = []

    def answer(number, request, secret):
        held.append(response(request, secret))
        return held if number else []

    server = bench.stand_in(answer)
    deliver = bench.deliver(server, retries=1)
    assert deliver.answer(record("a")) == ["done"]
    # The second answer to it must not become one to the next record.
    held.clear()
    assert deliver.answer(record("b")) == ["done"]
    assert len(server.requests) == 3


def test_the_next_server_takes_over_and_back(bench):
    one, two = bench.server(0).start(), bench.server(1).start()
    deliver = bench.deliver(one, two)
    assert deliver.answer(record("a")) == ["done"]
    one.freeze()
    assert deliver.answer(record("b")) == ["done"]
    # Now the second is asked first: no second goes by for each on the one that hangs.
    began = time.monotonic()
    assert deliver.answer(*[record("c%d" % n) for n in range(5)]) == ["done"] * 5
    assert time.monotonic() - began < 4
    two.kill()
    one.kill()
    lines = deliver.answer(record("d"))
    assert lines == ["later", "down RADIUS: %s: nobody listens there; %s: nobody listens there"
                     % (two.address, one.address)]
    one.start()
    assert deliver.answer(record("d")) == ["done"]
    assert one.session_ids()[0] == "a" and one.session_ids()[-1] == "d"
    two.start()
    assert two.session_ids() == ["b"] + ["c%d" % n for n in range(5)]


def test_all_silent_servers_are_named(bench):
    one, two = bench.stand_in(silent, 0), bench.stand_in(silent, 1)
    deliver = bench.deliver(one, two)
    lines = deliver.answer(record())
    assert lines[0] == "later"
    assert lines[1].startswith("down RADIUS: %s: no answer; %s: no answer (1 tries of 1 s each)"
                               % (one.address, two.address))


def test_a_wrong_secret_is_silence_that_says_what_it_may_be(bench):
    server = bench.server().start()
    deliver = bench.deliver(server, secret="an0ther")
    lines = deliver.answer(record())
    assert lines[0] == "later" and "the shared secret may be wrong" in lines[1]
    assert server.requests() == []
    assert "an0ther" not in "".join(lines) + deliver.log()


def test_an_answer_that_is_not_signed_with_the_secret_delivers_nothing(bench):
    server = bench.stand_in(forged)
    deliver = bench.deliver(server)
    assert deliver.answer(record()) == [
        "later", "down RADIUS: %s: its answer is not signed with our secret; the shared secret "
                 "may be wrong" % server.address]


def test_a_forged_answer_does_not_hide_the_true_one(bench):
    server = bench.stand_in(lambda *request: forged(*request) + honest(*request))
    assert bench.deliver(server).answer(record()) == ["done"]


def test_pieces_and_other_answers_deliver_nothing(bench):
    server = bench.stand_in(lambda number, request, secret: [
        b"\x05", request[:20], response(request, secret)[:-1], b"x" * 5000])
    assert "no answer" in bench.deliver(server).answer(record())[1]


def test_an_answer_of_another_kind_delivers_nothing(bench):
    server = bench.stand_in(lambda number, request, secret: [response(request, secret, code=3)])
    assert "no Accounting-Response" in bench.deliver(server).answer(record())[1]


def test_hosts_are_looked_up_when_records_are_sent(bench):
    server = bench.stand_in(honest)
    deliver = bench.deliver(started=False, client="acctserver localhost:%d:%s\nbindaddr 127.0.0.1\n"
                            % (server.port, SECRET)).start()
    assert deliver.answer(record()) == ["done"]
    deliver.stop()
    deliver.write("client.conf", "acctserver nowhere.invalid:1:x\n")
    deliver.start()
    assert deliver.answer(record())[1] == (
        "down RADIUS: nowhere.invalid:1: no such host, or no way to it")


def test_servers_of_one_host_have_secrets_of_their_own(bench):
    one, two = bench.stand_in(silent, 0), bench.stand_in(honest, 1)
    deliver = bench.deliver(client="acctserver %s:x,%s:%s\n" % (one.address, two.address, SECRET))
    assert deliver.answer(record()) == ["done"]


def test_failures_leave_no_descriptor_behind(bench):
    deliver = bench.deliver(client="acctserver 127.0.0.1:%d\n" % bench.port(5))
    assert deliver.answer(record())[0] == "later"
    before = len(deliver.fds())
    for _ in range(20):
        assert deliver.answer(record())[0] == "later"
    assert len(deliver.fds()) == before


def test_a_missing_additional_dictionary_is_a_warning(bench):
    server = bench.stand_in(honest)
    deliver = bench.deliver(server, additional_dictionary="gone")
    assert deliver.answer(record()) == ["done"]
    assert deliver.log().count("gone: No such file or directory; the attributes of SIP have "
                               "their usual numbers") == 1


@pytest.mark.parametrize("client, words", [
    ("", "names no server for accounting: write `acctserver HOST[:PORT]`"),
    ("authserver 127.0.0.1\n", "write `acctserver HOST[:PORT]`"),
    ("acctserver 127.0.0.1:99999:s3cret\n", "with a port from 1 to 65535"),
    ("acctserver 10.0.0.9\n", "there is no secret for the acctserver 10.0.0.9"),
    ("acctserver 127.0.0.1\nservers gone\n", "gone: No such file or directory"),
    ("acctserver 127.0.0.1\nradius_timeout soon\n",
     'radius_timeout is 1 to 3600 seconds, not "soon"'),
    ("acctserver 127.0.0.1\nbindaddr eth0\n", 'bindaddr is * or an IP address, not "eth0"'),
    ("acctserver 127.0.0.1\ndictionary gone\n", "cannot read the RADIUS dictionary"),
    ("acctserver 127.0.0.1\ndictionary bad\n", "is not in radcli's format"),
])
def test_a_wrong_file_is_refused_in_one_line(bench, client, words):
    deliver = bench.deliver(client=client, started=False)
    deliver.write("bad", "ATTRIBUTE Class 25 octets\n")
    reason = deliver.start().why_not()
    assert words in reason
    assert SECRET not in reason + deliver.log()


def test_a_missing_client_file_is_refused_in_one_line(bench):
    deliver = bench.deliver(started=False)
    deliver.write("config.ini", "[Radius]\nconfig_file = gone.conf\n")
    assert "gone.conf: No such file or directory" in deliver.start().why_not()
